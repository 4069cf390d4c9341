"""What goes: uploads given up, the trash, what has outlived its policy; in an order that can be cut anywhere and run again.

MongoDB and the bucket share no transaction, so the order is what keeps them in agreement:

- The object goes before the document. A crash in between leaves a DELETING document, which the next sweep finishes. Where the
  document stays, it says which objects are still to go (`leftovers`).
- A young key is remembered for a day after its document went (`SpentKey`). Its URL may still be good, or a slow PUT be under
  way that no one can stop: what they put there, a later sweep deletes.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from pymongo import UpdateOne

from . import policies, quotas, storage
from .documents import File, FileQuerySet, Past, Share, Signing, SpentKey, Status
from .trail import SWEEP, event, now

logger = logging.getLogger(__name__)

TRASH_LIVES: timedelta = settings.TRASH_LIVES
URL_DEAD = timedelta(seconds=storage.URL_LIVES + 60)  # after its signing, with a minute for clocks that disagree
# No PUT is still under way then: 50 MiB in a day are 600 bytes a second.
PUT_OVER = timedelta(days=1)
REASONS_KEPT = 100


@dataclass(slots=True)
class Sweep:
    """What a sweep did: documents given up and removed, keys refused, and what the bucket said of the first 100 of those."""

    expired: int = 0
    removed: int = 0
    refused: int = 0
    reasons: dict[str, str] = field(default_factory=dict)


def sweep(
    *,
    older_than: timedelta | None = None,
    batch: int = storage.DELETE_LIMIT,
    batches: int | None = None,
    dry_run: bool = False,
    each: Callable[[list[str]], None] = lambda keys: None,
) -> Sweep:
    """Give up PENDING uploads older than `older_than`, or than their policies let them be; delete what is TRASHED for longer
    than `TRASH_LIVES`, what has outlived its policy and the records of what was REJECTED; finish what is DELETING, and what is
    to go of files that stay. `batch` keys at a time (at most 1,000).

    Safe to run twice at once and to cut anywhere: the claim decides between this and a confirm, and whatever is claimed
    is DELETING until a sweep has seen its object gone. Memory is that of one batch. `each` is called with the keys of every
    batch of documents before it is worked on; `batches` bounds the number of these, and of batches of spent keys. Raises
    `storage.Error` when the bucket does not answer; what was claimed by then is left for the next sweep.
    """
    result = Sweep()
    moment = now()
    for keys in itertools.islice(_batches_to_delete(moment, older_than, batch), batches):
        each(keys)
        if dry_run:
            result.expired += File.objects.keyed(keys).pending().count()
            result.removed += len(keys)
        else:
            result.expired += _claim(keys, moment)
            _finish(keys, result)
    if not dry_run:
        for files in itertools.islice(_with_leftovers(batch), batches):
            _clear_leftovers(files, result)
        for keys in itertools.islice(_spent(moment, batch), batches):
            _look_again(keys, moment, result)
    return result


def _batches_to_delete(moment: datetime, older_than: timedelta | None, batch: int) -> Iterator[list[str]]:
    # What is DELETING comes first, so that what this very sweep claims is not met a second time; and only what was signed by
    # now, so that it does not run after those who cancel meanwhile.
    files = [
        File.objects.deleting().created_before(moment),
        File.objects.trashed_before(moment - TRASH_LIVES),
        *_overdue(moment, older_than),
        File.objects.expired(moment),
        File.objects.rejected_before(moment - settings.REJECTED_LIVES),
    ]
    return itertools.chain.from_iterable(_batches(some, batch) for some in files)


def _overdue(moment: datetime, older_than: timedelta | None) -> list[FileQuerySet]:
    pending = File.objects.pending()
    if older_than is not None:
        return [pending.created_before(moment - older_than)]
    lives = {name: policy.pending_lives for name, policy in policies.all_named()}
    own = {name: age for name, age in lives.items() if age != settings.PENDING_MAX_AGE}
    others = pending.filter(policy__nin=list(own)) if own else pending
    return [
        others.created_before(moment - settings.PENDING_MAX_AGE),
        *(pending.of_policies([name]).created_before(moment - age) for name, age in own.items()),
    ]


def empty_trash() -> Sweep:
    """Delete what can no longer be undone. Raises `storage.Error`."""
    result, moment = Sweep(), now()
    for keys in _batches(File.objects.trashed_before(moment - TRASH_LIVES), storage.DELETE_LIMIT):
        _claim(keys, moment)
        _finish(keys, result)
    return result


def sweep_once() -> Sweep:
    """One batch of documents and one of spent keys, for a person who waits for it."""
    return sweep(batches=1)


def _batches(files: FileQuerySet, size: int) -> Iterator[list[str]]:
    last = None
    while page := files.oldest_first(after=last).limit(size).signings():
        last = page[-1]
        yield [signing.key for signing in page]


def _with_leftovers(size: int) -> Iterator[list[File]]:
    last = ""
    while page := list(File.objects.with_leftovers().filter(key__gt=last).order_by("key").limit(size)):
        last = page[-1].key
        yield page


def _claim(keys: list[str], moment: datetime) -> int:
    """Turn those of the keys DELETING that are still to go. Return how many of them were PENDING."""

    def claim(files: FileQuerySet, before: Status, what: str) -> int:
        return files.compare_and_set([before], Status.DELETING, who=SWEEP, what=what)

    files = File.objects.keyed(keys)
    # With its time: since it was looked for, a file may have been restored and trashed again.
    claim(files.trashed_before(moment - TRASH_LIVES), Status.TRASHED, "emptied")
    claim(files.expired(moment), Status.READY, "outlived")
    # As is the record of a rejection: what was PENDING when it was looked for may have been confirmed, and rejected.
    claim(files.rejected_before(moment - settings.REJECTED_LIVES), Status.REJECTED, "forgotten")
    return claim(files, Status.PENDING, "expired")


def _finish(keys: list[str], result: Sweep) -> None:
    """Remove the objects of those of `keys` that are DELETING, then their documents."""
    # Asked again, since a confirm may have won one of them: a READY file's object must never be touched.
    doomed = File.objects.keyed(keys).deleting().signings()
    refused = _delete_objects([key for signing in doomed for key in signing.objects], result)
    result.removed += _forget([signing for signing in doomed if not refused.intersection(signing.objects)])


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
    keys = [signing.key for signing in gone]
    if not keys:
        return 0
    _remember_young(gone)  # before the document goes, so that at any moment one of the two knows the key
    Share.forget(keys)  # before the document too, or nothing would lead to what a crash left
    quotas.refund(keys)  # before the document, which knows whether that was done
    Past.keep(keys, event(SWEEP, "removed", "gone", before=Status.DELETING))
    removed: int = File.objects.keyed(keys).deleting().delete()
    return removed


def _remember_young(gone: list[Signing]) -> None:
    """Remember the keys to which something may still be written: by their URLs, or by a worker that is slow."""
    moment = now()
    young = [signing for signing in gone if signing.moment > moment - PUT_OVER]
    made = [Signing(key, moment) for signing in gone for key in signing.made]
    if young or made:
        SpentKey._get_collection().bulk_write([_remember(signing, moment) for signing in (*young, *made)], ordered=False)


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


def discard(file: File) -> None:
    """Remove a DELETING file's object, then its document. The sweep does what this leaves undone."""
    try:
        for key in file.signing.objects:
            storage.delete(key)
    except storage.Error as error:
        logger.warning("the bucket did not delete %s, the next sweep will: %s", file.key, error)
        return
    _forget([file.signing])


def clear_leftovers(file: File) -> None:
    """Remove what is left of a file that stays. The sweep does what this leaves undone."""
    try:
        for key in file.leftovers:
            storage.delete(key)
    except storage.Error as error:
        logger.warning("the bucket did not delete what is left of %s, the next sweep will: %s", file.key, error)
        return
    _cleared([file])


def _clear_leftovers(files: list[File], result: Sweep) -> None:
    """Remove objects whose documents stay."""
    refused = _delete_objects([key for file in files for key in file.leftovers], result)
    _cleared([file for file in files if not refused.intersection(file.leftovers)])


def _cleared(files: list[File]) -> None:
    """Remember the leftovers to which something may still be written. What else belongs to the files lives."""
    moment = now()
    _remember_young([Signing(key, file.created_at if key == file.key else moment) for file in files for key in file.leftovers])
    quotas.refund([file.key for file in files if file.status == Status.REJECTED])
    for file in files:
        File.update_if(file.key, Status(file.status), having={"leftovers": file.leftovers}, leftovers=None)


# --- for operations: files of any owner, up to 1,000 keys --------------------------------------------------------------------


def delete_many(keys: Iterable[str], *, who: str) -> int:
    """Delete files of any status. Return how many the bucket did not delete now; the next sweep does."""
    doomed = list(keys)
    try:
        return delete(doomed, who=who)
    except storage.Error as error:
        logger.warning("the bucket did not delete %d files, the next sweep will: %s", len(doomed), error)
        return len(doomed)


def delete(keys: list[str], *, who: str) -> int:
    """`delete_many`, for whoever would rather wait for the bucket than leave it to the sweep. Raises `storage.Error`."""
    return _remove(keys, [status for status in Status if status is not Status.DELETING], who=who, what="deleted")


def give_up(keys: list[str], *, who: str) -> int:
    """What a sweep does with PENDING files that are overdue, for those that are not. Returns and raises as `delete`."""
    return _remove(keys, [Status.PENDING], who=who, what="expired")


def _remove(keys: list[str], living: list[Status], *, who: str, what: str) -> int:
    File.objects.keyed(keys).compare_and_set(living, Status.DELETING, who=who, what=what)
    result = Sweep()
    _finish(keys, result)
    return result.refused
