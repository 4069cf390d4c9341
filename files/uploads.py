"""The life of a file: sign, confirm, cancel, rename, trash, restore, sweep.

      (nothing) --sign--> PENDING --confirm--> READY --trash--> TRASHED
                             |                   |  <-restore--    |
                      cancel, sweep              |         after ten seconds
                             '----> DELETING <---+-----------------'
                                       |
                     object gone, then document gone

Only this module changes a file's status, each time by one compare-and-set that names the status it expects: whoever comes
second finds nothing to change. MongoDB and the bucket share no transaction, so the order of the steps is what keeps them
in agreement, and every step can be repeated:

- The document comes before the URL. A document without an object is harmless; the sweep removes it.
- The object goes before the document. A crash in between leaves a DELETING document, which the next sweep finishes.
- A young key is remembered for a day after its document went (`SpentKey`). Its URL may still be good, or a slow PUT be under
  way that no one can stop: what they put there, a later sweep deletes.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

from django.conf import settings
from django.utils.translation import gettext as _
from pymongo import UpdateOne

from . import names, storage
from .documents import File, FileQuerySet, Share, Signing, SpentKey, Status, named
from .kinds import kind_of
from .models import StoredFile
from .refusals import Refusal

logger = logging.getLogger(__name__)

TRASH_LIVES: timedelta = settings.TRASH_LIVES
URL_LIVES = 60  # seconds that an upload or download URL is good for
URL_DEAD = timedelta(seconds=URL_LIVES + 60)  # after its signing, with a minute for clocks that disagree
# No PUT is still under way then: 50 MiB in a day are 600 bytes a second.
PUT_OVER = timedelta(days=1)
REASONS_KEPT = 100
UNFINISHED_SHOWN = 20


class NotFound(Refusal):
    code = "not_found"
    status = HTTPStatus.NOT_FOUND

    def __init__(self) -> None:
        super().__init__(_("There is no such file among yours. It may have been deleted, or its upload given up."))


class NotUploaded(Refusal):
    code = "not_uploaded"
    status = HTTPStatus.CONFLICT

    def __init__(self) -> None:
        super().__init__(_("The file has not arrived in the bucket. Upload it, then confirm again."))


class Mismatch(Refusal):
    code = "mismatch"
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, file: File, found: storage.Head) -> None:
        super().__init__(
            _(
                "What arrived is not what was signed: %(size)d bytes of %(type)s instead of %(signed_size)d bytes of "
                "%(signed_type)s. Upload the file again."
            )
            % {
                "size": found.size,
                "type": found.content_type or _("no type"),
                "signed_size": file.size,
                "signed_type": file.content_type,
            }
        )


class AlreadyReady(Refusal):
    code = "already_ready"
    status = HTTPStatus.CONFLICT

    def __init__(self) -> None:
        super().__init__(_("The upload is already complete. Delete the file instead."))


@dataclass(frozen=True, slots=True)
class Signed:
    """Leave to upload one file: send `put` before `expires_at` (UTC), then confirm `key`."""

    key: str
    put: storage.SignedPut
    expires_at: datetime


def now() -> datetime:
    """The time as MongoDB keeps it: UTC, in milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def sign(owner_id: str, *, filename: str, content_type: str, size: int, sha256: str | None = None) -> Signed:
    """Write a PENDING document, then sign a PUT of exactly `size` bytes of `content_type`, with that checksum if it is known.

    Takes what `files.forms` has cleaned. Raises one of `documents.Error` when the document could not be written; then no
    URL exists either.
    """
    created_at = now()
    key = names.new_key(owner_id, filename)
    signed: dict[str, Any] = {"content_type": content_type, "size": size, "sha256": sha256}
    File.insert(key=key, owner_id=owner_id, name=filename, created_at=created_at, **signed)
    put = storage.sign_put(key, lives=URL_LIVES, **signed)
    return Signed(key, put, created_at + timedelta(seconds=URL_LIVES))


def confirm(owner_id: str, key: str) -> File:
    """Make the upload READY if the bucket has what was signed. Confirming a READY file again changes nothing.

    Raises NotFound, NotUploaded, Mismatch; `storage.Error` when the bucket does not answer.
    """
    if not names.is_key_of(owner_id, key):
        raise NotFound
    # The bucket is asked first, so that what it has is a condition of the compare-and-set, and MongoDB is asked once.
    try:
        found = storage.head(key)
    except storage.Error:
        file = fetch(owner_id, key)
        if file.status == Status.READY:
            return file
        raise
    return (found and _turn_ready(owner_id, key, found)) or _not_turned(owner_id, key, found)


def _turn_ready(owner_id: str, key: str, found: storage.Head) -> File | None:
    as_signed = {"size": found.size, "content_type": found.content_type}
    return File.turn(owner_id, key, [Status.PENDING], Status.READY, having=as_signed, ready_at=now(), etag=found.etag)


def _not_turned(owner_id: str, key: str, found: storage.Head | None) -> File:
    """Why a confirm changed nothing: the file is READY already, or it is not as it was signed, or a sweep has given it up."""
    file = fetch(owner_id, key)
    if file.status == Status.READY:
        return file
    raise Mismatch(file, found) if found else NotUploaded


def has_arrived(file: File) -> bool:
    """Whether the bucket has what was signed. Raises `storage.Error`."""
    found = storage.head(file.key)
    return found is not None and (found.size, found.content_type) == (file.size, file.content_type)


class Unfinished(NamedTuple):
    """An upload that is not confirmed. `arrived` is None where the bucket does not say."""

    file: File
    arrived: bool | None


def unfinished(owner_id: str) -> list[Unfinished]:
    """The newest of the owner's PENDING uploads, and which of them have arrived. The bucket is asked for all at once, and its
    silence is no error.
    """

    def ask(file: File) -> bool | None:
        try:
            return has_arrived(file)
        except storage.Error as error:
            logger.warning("the bucket does not say whether %s has arrived: %s", file.key, error)
            return None

    files = File.unfinished(owner_id, UNFINISHED_SHOWN)
    with ThreadPoolExecutor(UNFINISHED_SHOWN) as threads:
        return [Unfinished(file, arrived) for file, arrived in zip(files, threads.map(ask, files), strict=True)]


def fetch(owner_id: str, key: str, *statuses: Status) -> File:
    """The owner's file, PENDING or READY unless told. Raises NotFound, also for a stranger's key and for a malformed one."""
    wanted = statuses or (Status.PENDING, Status.READY)
    file = File.find(owner_id, key, wanted) if names.is_key_of(owner_id, key) else None
    if file is None:
        raise NotFound
    return file


def download_url(file: File | StoredFile) -> str:
    """A URL that downloads the file under its own name for the next minute."""
    return storage.sign_get(file.key, filename=file.name, lives=URL_LIVES)


def cancel(owner_id: str, key: str) -> None:
    """Give up an upload that is not confirmed. Raises NotFound, AlreadyReady."""
    uploading = (Status.PENDING, Status.READY, Status.DELETING)
    file = fetch(owner_id, key, *uploading)
    if file.status == Status.PENDING:
        # None: between the two a confirm won, or another cancel did.
        file = File.turn(owner_id, key, [Status.PENDING], Status.DELETING) or fetch(owner_id, key, *uploading)
    if file.status == Status.READY:
        raise AlreadyReady
    _discard(file)


def rename(owner_id: str, key: str, name: str) -> File:
    """Give a READY file another name, one that `files.forms` has cleaned. The bucket does not know it. Raises NotFound."""
    signed = fetch(owner_id, key, Status.READY)
    kind = kind_of(signed.content_type, name)
    file = File.turn(owner_id, key, [Status.READY], Status.READY, kind=kind, **named(name))
    if file is None:  # trashed between the two
        raise NotFound
    return file


def trash(owner_id: str, keys: Iterable[str]) -> int:
    """Take those of the owner's READY files from the list. For `TRASH_LIVES` this can be undone; then a sweep deletes them.

    Return how many of the keys are in the trash. That some were there already is no error, since the first answer may have been
    lost on the way; these can be undone from now on as well.
    """
    return _those_of(owner_id, keys).turn([Status.READY, Status.TRASHED], Status.TRASHED, trashed_at=now())


def restore(owner_id: str, keys: Iterable[str]) -> int:
    """Put those of the owner's files back on the list that no sweep has deleted yet. Return how many of the keys are there.

    That some were there already is no error, as with `trash`.
    """
    return _those_of(owner_id, keys).turn([Status.TRASHED, Status.READY], Status.READY, unset__trashed_at=True)


def _those_of(owner_id: str, keys: Iterable[str]) -> FileQuerySet:
    return File.objects.owned_by(owner_id).keyed(key for key in keys if names.is_key_of(owner_id, key))  # type: ignore[no-any-return]


def delete_many(keys: Iterable[str]) -> int:
    """Delete files of any owner and status, for operations; up to 1,000 keys.

    Return how many the bucket did not delete now; the next sweep does.
    """
    doomed = list(keys)
    living = (Status.PENDING, Status.READY, Status.TRASHED)
    File.objects.keyed(doomed).filter(status__in=living).update(status=Status.DELETING)
    try:
        result = Sweep()
        _finish(doomed, result)
    except storage.Error as error:
        logger.warning("the bucket did not delete %d files, the next sweep will: %s", len(doomed), error)
        return len(doomed)
    return result.refused


@dataclass(slots=True)
class Sweep:
    """What a sweep did: documents given up and removed, keys refused, and what the bucket said of the first 100 of those."""

    expired: int = 0
    removed: int = 0
    refused: int = 0
    reasons: dict[str, str] = field(default_factory=dict)


def sweep(
    *,
    older_than: timedelta,
    batch: int = storage.DELETE_LIMIT,
    batches: int | None = None,
    dry_run: bool = False,
    each: Callable[[list[str]], None] = lambda keys: None,
) -> Sweep:
    """Give up PENDING uploads older than `older_than`, delete what is TRASHED for longer than `TRASH_LIVES` and finish what is
    DELETING, `batch` keys at a time (at most 1,000).

    Safe to run twice at once and to cut anywhere: the claim decides between this and a confirm, and whatever is claimed
    is DELETING until a sweep has seen its object gone. Memory is that of one batch. `each` is called with the keys of every
    batch of documents before it is worked on; `batches` bounds the number of these, and of batches of spent keys. Raises
    `storage.Error` when the bucket does not answer; what was claimed by then is left for the next sweep.
    """
    result = Sweep()
    moment = now()
    overdue = File.objects.pending().created_before(moment - older_than)
    # What is DELETING comes first, so that what this very sweep claims is not met a second time; and only what was signed by
    # now, so that it does not run after those who cancel meanwhile.
    deleting = File.objects.deleting().created_before(moment)
    trashed = File.objects.trashed_before(moment - TRASH_LIVES)
    doomed = (_batches(files, batch) for files in (deleting, trashed, overdue))
    for keys in itertools.islice(itertools.chain.from_iterable(doomed), batches):
        each(keys)
        if dry_run:
            result.expired += File.objects.keyed(keys).pending().count()
            result.removed += len(keys)
        else:
            result.expired += _claim(keys, moment)
            _finish(keys, result)
    if not dry_run:
        for keys in itertools.islice(_spent(moment, batch), batches):
            _look_again(keys, moment, result)
    return result


def empty_trash() -> Sweep:
    """Delete what can no longer be undone. Raises `storage.Error`."""
    result, moment = Sweep(), now()
    for keys in _batches(File.objects.trashed_before(moment - TRASH_LIVES), storage.DELETE_LIMIT):
        _claim(keys, moment)
        _finish(keys, result)
    return result


def sweep_once() -> Sweep:
    """One batch of documents and one of spent keys, for a person who waits for it."""
    return sweep(older_than=settings.PENDING_MAX_AGE, batches=1)


def _batches(files: FileQuerySet, size: int) -> Iterator[list[str]]:
    last = None
    while page := files.oldest_first(after=last).limit(size).signings():
        last = page[-1]
        yield [signing.key for signing in page]


def _claim(keys: list[str], moment: datetime) -> int:
    """Turn those of the keys DELETING that are still to go. Return how many of them were PENDING."""
    # With its time: since it was looked for, a file may have been restored and trashed again.
    File.objects.keyed(keys).trashed_before(moment - TRASH_LIVES).update(status=Status.DELETING)
    claimed: int = File.objects.keyed(keys).pending().update(status=Status.DELETING)
    return claimed


def _finish(keys: list[str], result: Sweep) -> None:
    """Remove the objects of those of `keys` that are DELETING, then their documents."""
    # Asked again, since a confirm may have won one of them: a READY file's object must never be touched.
    doomed = File.objects.keyed(keys).deleting().signings()
    refused = _delete_objects([signing.key for signing in doomed], result)
    result.removed += _forget([signing for signing in doomed if signing.key not in refused])


def _delete_objects(keys: list[str], result: Sweep) -> set[str]:
    """Delete the objects and return the keys that the bucket refused."""
    refused = storage.delete_many(keys) if keys else {}
    for key, reason in refused.items():
        logger.warning("the bucket refused to delete %s: %s", key, reason)
        if len(result.reasons) < REASONS_KEPT:
            result.reasons[key] = reason
    result.refused += len(refused)
    return set(refused)


def _forget(gone: list[Signing]) -> int:
    """Remove DELETING documents whose objects are gone. Return how many there were."""
    moment = now()
    young = [signing for signing in gone if signing.moment > moment - PUT_OVER]
    if young:  # before the document goes, so that at any moment one of the two knows the key
        SpentKey._get_collection().bulk_write([_remember(signing, moment) for signing in young], ordered=False)
    Share.forget(signing.key for signing in gone)  # before the document too, or nothing would lead to what a crash left
    removed: int = File.objects.keyed(signing.key for signing in gone).deleting().delete()
    return removed


def _remember(signing: Signing, moment: datetime) -> UpdateOne:
    dead = signing.moment + URL_DEAD
    # The deletion just now was already the look at a URL that is dead.
    look_at = dead if dead > moment else signing.moment + PUT_OVER
    return UpdateOne({"_id": signing.key}, {"$set": {"signed_at": signing.moment, "look_at": look_at}}, upsert=True)


def _spent(moment: datetime, size: int) -> Iterator[list[str]]:
    # Whoever works on a batch puts it off, so that the next is another.
    due = SpentKey.objects(look_at__lte=moment).order_by("look_at", "key")
    while keys := list(due.limit(size).scalar("key")):
        yield keys


def _look_again(keys: list[str], moment: datetime, result: Sweep) -> None:
    """Delete what came after its document went: once the URL is dead, and a last time when no PUT can be under way."""
    refused = _delete_objects(keys, result)
    looked = SpentKey.objects(key__in=[key for key in keys if key not in refused])
    looked.filter(signed_at__lte=moment - PUT_OVER).delete()
    looked.update(look_at=moment + PUT_OVER)
    SpentKey.objects(key__in=refused).update(look_at=moment + URL_DEAD)


def _discard(file: File) -> None:
    """Remove a DELETING file's object, then its document. The sweep does what this leaves undone."""
    try:
        storage.delete(file.key)
    except storage.Error as error:
        logger.warning("the bucket did not delete %s, the next sweep will: %s", file.key, error)
        return
    _forget([Signing(file.key, file.created_at)])
