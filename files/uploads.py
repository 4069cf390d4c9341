"""The life of a file: sign, confirm, cancel, delete, sweep.

      (nothing) --sign--> PENDING --confirm--> READY
                             |                   |
                      cancel, sweep            delete
                             '----> DELETING <---'
                                       |
                     object gone, then document gone

Only this module changes a file's status, each time by one compare-and-set that names the status it expects: whoever comes
second finds nothing to change. MongoDB and the bucket share no transaction, so the order of the steps is what keeps them
in agreement, and every step can be repeated:

- The document comes before the URL. A document without an object is harmless; the sweep removes it.
- The object goes before the document. A crash in between leaves a DELETING document, which the next sweep finishes.
- The document of a young upload stays, DELETING, after its object went. Its URL may still be good, or a PUT be under way
  that no one can stop: should that put an object there again, the next sweep finds the document and with it the object.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from django.conf import settings

from . import names, storage
from .documents import File, Status
from .refusals import Refusal

logger = logging.getLogger(__name__)

URL_LIVES = 60  # seconds that an upload or download URL is good for
# No document is forgotten sooner after its signing than this: the URL's life, and a minute for clocks that disagree.
SHORTEST_MEMORY = timedelta(seconds=URL_LIVES + 60)


class NotFound(Refusal):
    code = "not_found"
    status = HTTPStatus.NOT_FOUND

    def __init__(self) -> None:
        super().__init__("There is no such file among yours. It may have been deleted, or its upload given up.")


class NotUploaded(Refusal):
    code = "not_uploaded"
    status = HTTPStatus.CONFLICT

    def __init__(self) -> None:
        super().__init__("The file has not arrived in the bucket. Upload it, then confirm again.")


class Mismatch(Refusal):
    code = "mismatch"
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, file: File, found: storage.Head) -> None:
        super().__init__(
            f"What arrived is not what was signed: {found.size} bytes of {found.content_type or 'no type'} instead of "
            f"{file.size} bytes of {file.content_type}. Upload the file again."
        )


class AlreadyReady(Refusal):
    code = "already_ready"
    status = HTTPStatus.CONFLICT

    def __init__(self) -> None:
        super().__init__("The upload is already complete. Delete the file instead.")


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


def sign(owner_id: str, *, filename: str, content_type: str, size: int) -> Signed:
    """Write a PENDING document, then sign a PUT of exactly `size` bytes of `content_type`.

    Takes what `files.forms` has cleaned. Raises pymongo's exceptions when the document could not be written; then no URL
    exists either.
    """
    created_at = now()
    key = names.new_key(owner_id, filename)
    File(key=key, owner_id=owner_id, name=filename, content_type=content_type, size=size, created_at=created_at).save(
        force_insert=True
    )
    put = storage.sign_put(key, content_type=content_type, size=size, lives=URL_LIVES)
    return Signed(key, put, created_at + timedelta(seconds=URL_LIVES))


def confirm(owner_id: str, key: str) -> File:
    """Make the upload READY if the bucket has what was signed. Confirming a READY file again changes nothing.

    Raises NotFound, NotUploaded, Mismatch; `storage.Error` when the bucket does not answer.
    """
    file = fetch(owner_id, key)
    if file.status == Status.READY:
        return file
    found = storage.head(key)
    if found is None:
        raise NotUploaded
    if (found.size, found.content_type) != (file.size, file.content_type):
        raise Mismatch(file, found)
    ready = _pending(owner_id, key).modify(status=Status.READY, ready_at=now(), etag=found.etag, new=True)
    # None: between the HEAD and here a second confirm won, and the file is READY; or a sweep did, and it is not there.
    return ready or fetch(owner_id, key, Status.READY)


def fetch(owner_id: str, key: str, *statuses: Status) -> File:
    """The owner's file, PENDING or READY unless told. Raises NotFound, also for a stranger's key and for a malformed one."""
    wanted = statuses or (Status.PENDING, Status.READY)
    file: File | None = None
    if names.KEY.fullmatch(key):
        file = File.objects.owned_by(owner_id).filter(key=key, status__in=wanted).first()
    if file is None:
        raise NotFound
    return file


def download_url(file: File) -> str:
    """A URL that downloads the file under its own name for the next minute."""
    return storage.sign_get(file.key, filename=file.name, lives=URL_LIVES)


def cancel(owner_id: str, key: str) -> None:
    """Give up an upload that is not confirmed. Raises NotFound, AlreadyReady."""
    file = fetch(owner_id, key, *Status)
    if file.status == Status.PENDING:
        _pending(owner_id, key).modify(status=Status.DELETING)
        file = fetch(owner_id, key, *Status)
    if file.status == Status.READY:
        raise AlreadyReady
    _discard(file)


def delete(owner_id: str, key: str) -> None:
    """Delete a READY file. Once this returns it is gone for its owner, whatever the bucket does. Raises NotFound.

    Deleting again what is being deleted is no error: the first answer may have been lost on the way.
    """
    gone = (Status.READY, Status.DELETING)
    fetch(owner_id, key, *gone)
    file = File.objects.owned_by(owner_id).filter(key=key, status__in=gone).modify(status=Status.DELETING, new=True)
    if file is not None:
        _discard(file)


def delete_many(keys: Iterable[str]) -> None:
    """Delete files of any owner and status, for operations; up to 1,000 keys.

    What the bucket does not delete now, the next sweep does.
    """
    doomed = list(keys)
    File.objects.keyed(doomed).filter(status__in=(Status.PENDING, Status.READY)).update(status=Status.DELETING)
    try:
        _finish(doomed, now() - settings.PENDING_MAX_AGE, Sweep())
    except storage.Error as error:
        logger.warning("the bucket did not delete %d files, the next sweep will: %s", len(doomed), error)


@dataclass(slots=True)
class Sweep:
    """What a sweep did. Every number counts documents; `refused` has the reason the bucket gave for a key."""

    expired: int = 0
    removed: int = 0
    remembered: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def sweep(
    *,
    older_than: timedelta,
    batch: int = storage.DELETE_LIMIT,
    batches: int | None = None,
    dry_run: bool = False,
    each: Callable[[list[str]], None] = lambda keys: None,
) -> Sweep:
    """Give up PENDING uploads older than `older_than` and finish what is DELETING, `batch` keys at a time (at most 1,000).

    Safe to run twice at once and to cut anywhere: the claim decides between this and a confirm, and whatever is claimed
    is DELETING until a sweep has seen its object gone. Memory is that of one batch. `each` is called with the keys of every
    batch before it is worked on; `batches` bounds their number. Raises `storage.Error` when the bucket does not answer; what
    was claimed by then is left for the next sweep.
    """
    result = Sweep()
    moment = now()
    forget_before = moment - max(older_than, SHORTEST_MEMORY)
    overdue = File.objects.pending().created_before(moment - older_than)
    for count, (status, keys) in enumerate(_batches(overdue, batch)):
        if batches is not None and count >= batches:
            break
        each(keys)
        if status == Status.PENDING:
            result.expired += len(keys) if dry_run else _claim(keys)
        if not dry_run:
            _finish(keys, forget_before, result)
    return result


def sweep_once() -> Sweep:
    """One batch of what the schedule sweeps, for a person who waits for it."""
    return sweep(older_than=settings.PENDING_MAX_AGE, batches=1)


def _batches(overdue, size: int) -> Iterator[tuple[Status, list[str]]]:  # type: ignore[no-untyped-def]
    # What is DELETING comes first, so that what this very sweep claims is not met a second time.
    for status, files in ((Status.DELETING, File.objects.deleting()), (Status.PENDING, overdue)):
        last = None
        while page := list(files.oldest_first(after=last).only("key", "created_at").limit(size)):
            last = page[-1]
            yield status, [file.key for file in page]


def _claim(keys: list[str]) -> int:
    claimed: int = File.objects.keyed(keys).pending().update(status=Status.DELETING)
    return claimed


def _finish(keys: list[str], forget_before: datetime, result: Sweep) -> None:
    """Remove the objects of those of `keys` that are DELETING, then the documents that are old enough."""
    # Asked again, since a confirm may have won one of them: a READY file's object must never be touched.
    doomed = list(File.objects.keyed(keys).deleting().scalar("key"))
    if not doomed:
        return
    refused = storage.delete_many(doomed)
    for key, reason in refused.items():
        logger.warning("the bucket refused to delete %s: %s", key, reason)
    result.refused |= refused
    gone = File.objects.keyed(key for key in doomed if key not in refused).deleting()
    result.removed += gone.created_before(forget_before).delete()
    result.remembered += gone.count()


def _pending(owner_id: str, key: str):  # type: ignore[no-untyped-def]
    return File.objects.owned_by(owner_id).pending().filter(key=key)


def _discard(file: File) -> None:
    """Remove a DELETING file's object, then its document if it is old enough. The sweep does what this leaves undone."""
    try:
        storage.delete(file.key)
    except storage.Error as error:
        logger.warning("the bucket did not delete %s, the next sweep will: %s", file.key, error)
        return
    File.objects.keyed([file.key]).deleting().created_before(now() - settings.PENDING_MAX_AGE).delete()
