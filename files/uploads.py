"""The life of a file: sign, confirm, check, cancel, rename, trash, restore. What goes is in `files.sweeps`.

      (nothing) --sign--> PENDING --confirm--> READY --trash--> TRASHED
                          |   |                ^  | <-restore--    |
                          |   '-> CHECKING ----'  |      after ten seconds
                          |       |      |        |                |
                       cancel, sweep     |        '-> DELETING <---+
                          |       |      v                ^        |
                          |       |   REJECTED --a month--+   object gone,
                          '-------+-----------------------'   then document gone

Only these two modules change a file's status, each time by one compare-and-set that names the status it expects, and writes
the event of `files.trail` with it: whoever comes second finds nothing to change. MongoDB and the bucket share no transaction,
so the order of the steps is what keeps them in agreement, and every step can be repeated:

- The document comes before the URL. A document without an object is harmless; the sweep removes it.
- What we write ourselves is named in the document before it is in the bucket.
- The object goes before the document, which `files.sweeps` sees to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Any, NamedTuple

from django.conf import settings
from django.utils.translation import gettext as _

from . import content, metrics, names, policies, quotas, storage, sweeps, trail
from .documents import File, FileQuerySet, Status, name_fields
from .kinds import PICTURES, kind_of
from .models import StoredFile
from .reasons import SENTENCES, Reason
from .refusals import Refusal
from .trail import CHECKER

logger = logging.getLogger(__name__)

now = trail.now

BEFORE_TRASH = (Status.PENDING, Status.CHECKING, Status.READY, Status.REJECTED)
UNFINISHED_SHOWN = 20
# Until a check that was queued is given to somebody else, since the queue may have lost it.
QUEUED = timedelta(minutes=1)
DUE_AT_ONCE = 1000
CHECK_AGAIN = "check again"


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


class Rejected(Refusal):
    code = "rejected"
    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, reason: str) -> None:
        super().__init__(SENTENCES[Reason(reason)])
        self.reason = Reason(reason).value


class WrongName(Refusal):
    """A new name that says of the file what it is not."""

    code = "invalid"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.fields = {"name": sentence}


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


def sign(
    owner_id: str, *, filename: str, content_type: str, size: int, policy: str = policies.DEFAULT, sha256: str | None = None
) -> Signed:
    """Write a PENDING document, then sign a PUT of exactly `size` bytes of `content_type`, and of that SHA-256 if it is given.

    Takes what `files.forms` has cleaned. Raises `quotas.Full` when the owner has no room for it, and one of `documents.Error`
    when the document could not be written; then no URL exists either.
    """
    created_at = now()
    key = names.new_key(owner_id, filename)
    with quotas.signing():
        quotas.charge(owner_id, key, size)
        File.insert(
            key=key,
            owner_id=owner_id,
            name=filename,
            content_type=content_type,
            size=size,
            created_at=created_at,
            policy=policy,
            sha256=sha256,
        )
    put = storage.sign_put(key, content_type=content_type, size=size, lives=storage.URL_LIVES, sha256=sha256)
    return Signed(key, put, created_at + timedelta(seconds=storage.URL_LIVES))


class Check(StrEnum):
    """What takes too long for a request, in this order; and what a request does, when it is done again."""

    CONTENT = "content"
    INTEGRITY = "integrity"
    SCAN = "scan"
    IMAGE = "image"


def needed(content_type: str, detected: str, policy: policies.Policy) -> list[Check]:
    """Which checks a file has to pass after its arrival, by what it says it is and what its bytes are.

    Where pictures are cleaned, none may pass because nobody here knows its format: a camera's raw pictures say where they were
    taken, too.
    """
    claims = any(kind.startswith("image/") for kind in (content_type, detected))
    picture = detected in PICTURES or (policy.images == policies.Images.CLEAN and claims)
    return [check for check, wanted in ((Check.SCAN, policy.scan), (Check.IMAGE, picture)) if wanted]


def confirm(owner_id: str, key: str) -> File:
    """Make the upload READY if the bucket has what was signed, or CHECKING if that takes longer to see. Confirming it again
    changes nothing, and says how it stands.

    Raises NotFound, NotUploaded, Mismatch, Rejected; `storage.Error` when the bucket does not answer.
    """
    if not names.is_key_of(owner_id, key):
        raise NotFound
    # The bucket is asked first, so that what it has is a condition of the compare-and-set, and MongoDB is asked once.
    try:
        arrival = storage.opening(key, content.FIRST)
        look = _look(key, arrival) if arrival else None
    except storage.Error:
        file = fetch(owner_id, key, *BEFORE_TRASH)
        if file.status == Status.PENDING:
            raise
        return _settled(file)
    ready = _turn_ready(owner_id, key, arrival, look) if arrival and look else None
    return ready or _turn_slowly(fetch(owner_id, key, *BEFORE_TRASH), arrival, look)


def _settled(file: File) -> File:
    """A file that was confirmed before. Raises Rejected."""
    if file.status == Status.REJECTED:
        raise Rejected(file.reason or Reason.TYPE)
    return file


def _look(key: str, arrival: storage.Opening, stored_as: str | None = None) -> content.Look:
    """What the bytes are. The key ends as the name does that was signed; `stored_as` is where they are, if not there."""
    if arrival.encoded:
        return content.Look(names.UNKNOWN, Reason.INTEGRITY)
    head, last = arrival.head, b""
    if head.size > content.FIRST and content.needs_end(head.content_type, key):
        last = storage.ending(stored_as or key, head.size, content.LAST)
    return content.look(head.content_type, key, arrival.first, last)


def _turn_ready(owner_id: str, key: str, arrival: storage.Opening, look: content.Look) -> File | None:
    """The way of most files, without reading the document first: nothing is left to check, and the bucket vouches for the
    checksum where one was signed.
    """
    if look.fault or look.detected in PICTURES:
        return None
    found = arrival.head
    content_types = {"$in": [found.content_type, names.UNKNOWN]}
    as_signed = {"owner_id": owner_id, "size": found.size, "content_type": content_types}
    plain = {"policy": {"$in": [None, *policies.without_checks()]}}
    return File.compare_and_set(
        key,
        Status.PENDING,
        Status.READY,
        who=owner_id,
        what="confirmed",
        having={**as_signed, **plain, **_with_its_checksum(arrival)},
        ready_at=now(),
        **_found_out(arrival, look),
    )


def _found_out(arrival: storage.Opening, look: content.Look) -> dict[str, Any]:
    known = {"etag": arrival.head.etag, "detected": look.detected}
    return known | ({"sha256": arrival.sha256} if arrival.sha256 else {})


def _with_its_checksum(arrival: storage.Opening) -> dict[str, object]:
    if arrival.sha256:
        return {"sha256": {"$in": [None, arrival.sha256]}}
    return {} if _vouches_for_checksums() else {"sha256": None}


def _vouches_for_checksums() -> bool:
    """Whether what the bucket has is of the checksum that was signed. If it does not tell, a worker computes the file's."""
    try:
        return storage.verifies_checksums()
    except storage.Error as error:
        logger.warning("the bucket does not tell whether it compares checksums: %s", error)
        return False


def _turn_slowly(file: File, arrival: storage.Opening | None, look: content.Look | None) -> File:
    """What `_turn_ready` did not take: it has checks to pass, or a time to live, was confirmed already, or is not as signed."""
    if file.status != Status.PENDING:
        return _settled(file)
    if arrival is None or look is None:
        raise NotUploaded
    found = arrival.head
    if not _as_signed(file, found):
        raise Mismatch(file, found)
    known = _found_out(arrival, look)
    differs = file.sha256 and arrival.sha256 not in (None, file.sha256)
    fault = look.fault or (Reason.INTEGRITY if differs else None)
    if fault:
        turned = reject(file, fault, who=file.owner_id, **known | {"sha256": file.sha256})
    else:
        turned = _turn_checking(file, _checks(file, arrival, look), known)
    return _settled(turned or fetch(file.owner_id, file.key, *BEFORE_TRASH))


def _checks(file: File, arrival: storage.Opening, look: content.Look) -> list[Check]:
    unproven = file.sha256 and not arrival.sha256 and not _vouches_for_checksums()
    return [Check.INTEGRITY] * bool(unproven) + needed(file.content_type, look.detected, policies.policy_for(file.policy))


def _turn_checking(file: File, checks: list[Check], known: dict[str, Any]) -> File | None:
    if not checks:
        return _pass(file, who=file.owner_id, what="confirmed", **known)
    return File.compare_and_set(
        file.key,
        Status.PENDING,
        Status.CHECKING,
        who=file.owner_id,
        what="confirmed",
        checks=checks,
        step=checks[0],
        check_at=now() + QUEUED,
        **known,
    )


def _pass(file: File, *, who: str, what: str, having: Mapping[str, object] = {}, **known: Any) -> File | None:
    """Make a file READY that passed all it had to. Return it, or None if it is no longer what it was."""
    lives, moment = policies.policy_for(file.policy).ready_lives, now()
    expires_at = moment + lives if lives else None
    if file.ready_at:  # and is again: in its old place on the list, and for no longer than it had
        moment, expires_at = file.ready_at, file.expires_at
    return File.compare_and_set(
        file.key,
        Status(file.status),
        Status.READY,
        who=who,
        what=what,
        having=having,
        ready_at=moment,
        expires_at=expires_at,
        checks=None,
        step=None,
        check_at=None,
        attempts=None,
        **known,
    )


# --- checks: `files.checking` makes them ------------------------------------------------------------------------------------


def due_checks() -> list[File]:
    """Files to check that nobody works on, each with a new ticket (its `check_at`) for whoever takes it."""
    moment = now()
    due = File.due_for_a_check(moment, DUE_AT_ONCE)
    nobodys = {"check_at": {"$lte": moment}}
    found = (File.update_if(key, Status.CHECKING, having=nobodys, check_at=moment + QUEUED) for key in due)
    return [file for file in found if file]


def claim_check(key: str, ticket: datetime) -> File | None:
    """Take a CHECKING file to work on until CHECK_LEASE is over; its `check_at` is the ticket from then on.

    None: it has no such ticket any more. Somebody else works on it, or it is CHECKING no longer.
    """
    return _claim(key, ticket, counted="attempts")


def renew_claim(file: File, **known: Any) -> File | None:
    """Work on for CHECK_LEASE from now, with a new ticket; None if the file was taken away."""
    assert file.check_at is not None, "a file that was taken has a ticket"
    return _claim(file.key, file.check_at, **known)


def _claim(key: str, ticket: datetime, **change: Any) -> File | None:
    return File.update_if(key, Status.CHECKING, having={"check_at": ticket}, check_at=now() + settings.CHECK_LEASE, **change)


def postpone_check(file: File, wait: timedelta, *, counted: bool = False) -> None:
    """Leave a check to a later attempt. This one is `counted` unless the file has nothing to do with why it came to no end."""
    attempts = max(0, (file.attempts or 0) - (not counted))
    File.update_if(file.key, Status.CHECKING, having={"check_at": file.check_at}, check_at=now() + wait, attempts=attempts)


def pass_checks(file: File, **known: Any) -> File | None:
    """Make a file READY that was taken and has passed; None if it was taken away meanwhile."""
    passed = _pass(file, who=CHECKER, what="passed", having={"check_at": file.check_at}, **known)
    if passed and passed.leftovers:
        sweeps.clear_leftovers(passed)
    return passed


def reject(file: File, reason: Reason, *, who: str = CHECKER, **known: Any) -> File | None:
    """Make a PENDING or CHECKING file REJECTED, then remove its objects; None if it is no longer what it was."""
    moment = now()
    rejected = File.compare_and_set(
        file.key,
        Status(file.status),
        Status.REJECTED,
        who=who,
        what="rejected",
        reason=reason,
        having={"check_at": file.check_at},
        rejected_at=moment,
        check_at=moment,
        step=None,
        leftovers=list(file.signing.objects),
        **known,
    )
    if rejected:
        metrics.count(metrics.REJECTIONS, reason)
        sweeps.clear_leftovers(rejected)
    return rejected


def check_again(keys: list[str], *, who: str) -> None:
    """Have READY files of any owner go through all the checks of their policies, those that were made at their arrival too; and
    have what is CHECKING taken up at once, as if no attempt had been made. `checking.queue_due` queues them.

    Done again by the same cause (`trail.caused_by`), it changes nothing. A file whose policy the settings have no more stays
    as it is, since no worker could check it.
    """
    moment, cause = now(), trail.request_id.get()
    done = {"trail": {"$elemMatch": {"what": CHECK_AGAIN, "request": cause}}}
    files = File.objects.keyed(keys).filter(__raw__={"$nor": [done]})
    due: dict[str, Any] = {"who": who, "what": CHECK_AGAIN, "check_at": moment, "attempts": None}
    files = files.of_policies([None, *settings.UPLOAD_POLICIES])
    files.compare_and_set([Status.CHECKING], Status.CHECKING, **due)
    alike: dict[tuple[Check, ...], list[str]] = {}
    for file in files.ready():
        alike.setdefault(all_checks(file, file.detected or file.content_type), []).append(file.key)
    for checks, some in alike.items():
        again = File.objects.keyed(some)
        again.compare_and_set([Status.READY], Status.CHECKING, checks=list(checks), step=checks[0], **due)


def all_checks(file: File, detected: str) -> tuple[Check, ...]:
    """Those of a file that was READY, by what its bytes are."""
    sums = [Check.INTEGRITY] * bool(file.sha256)
    return (Check.CONTENT, *sums, *needed(file.content_type, detected, policies.policy_for(file.policy)))


def look_again(file: File) -> content.Look:
    """What the bytes are that people are given. Raises `storage.Missing`, or another `storage.Error`."""
    arrival = storage.opening(file.object_key, content.FIRST)
    if arrival is None:
        raise storage.Missing(file.object_key)
    if not _as_signed(file, arrival.head):
        return content.Look(names.UNKNOWN, Reason.INTEGRITY)
    return _look(file.key, arrival, file.object_key)


def dismiss(owner_id: str, key: str) -> None:
    """Take a rejected file from its owner's page; the record stays. Raises NotFound."""
    if not names.is_key_of(owner_id, key):
        raise NotFound
    if not File.update_if(key, Status.REJECTED, having={"owner_id": owner_id}, dismissed=True):
        raise NotFound


def has_arrived(file: File) -> bool:
    """Whether the bucket has what was signed. Raises `storage.Error`."""
    found = storage.head(file.key)
    return found is not None and _as_signed(file, found)


def _as_signed(file: File, found: storage.Head) -> bool:
    """Where no type is signed some buckets make one of the key's ending: SeaweedFS does."""
    return found.size == file.size and file.content_type in (found.content_type, names.UNKNOWN)


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
    return storage.sign_get(file.object_key, filename=file.name, lives=storage.URL_LIVES)


def cancel(owner_id: str, key: str) -> None:
    """Give up an upload that is not READY, and never was. Raises NotFound, AlreadyReady."""
    uploading = (Status.PENDING, Status.CHECKING, Status.READY, Status.DELETING)
    file = fetch(owner_id, key, *uploading)
    if file.status in (Status.PENDING, Status.CHECKING):
        before, own = Status(file.status), {"owner_id": owner_id, "ready_at": None}
        cancelled = File.compare_and_set(key, before, Status.DELETING, who=owner_id, what="cancelled", having=own)
        # None: between the two a confirm won, or another cancel did; or it is checked again.
        file = cancelled or fetch(owner_id, key, *uploading)
    if file.status != Status.DELETING:
        raise AlreadyReady
    sweeps.discard(file)


def _turn_of(owner_id: str, key: str, before: Status, after: Status, what: str, **fields: Any) -> File | None:
    """A compare-and-set that the owner brings about."""
    return File.compare_and_set(key, before, after, who=owner_id, what=what, having={"owner_id": owner_id}, **fields)


def rename(owner_id: str, key: str, name: str) -> File:
    """Give a READY file another name, one that `files.forms` has cleaned. The bucket does not know it.

    Raises NotFound, WrongName.
    """
    signed = fetch(owner_id, key, Status.READY)
    policy = policies.policy_for(signed.policy)
    sentence = policy.fault_of_name(name) or content.contradiction(signed.content_type, name)
    if not sentence and signed.detected:  # which files of an earlier version are not known to be
        sentence = content.misnomer(signed.detected, signed.content_type, key, name)
    if sentence:
        raise WrongName(sentence)
    kind = kind_of(signed.content_type, name)
    file = _turn_of(owner_id, key, Status.READY, Status.READY, "renamed", kind=kind, **name_fields(name))
    if file is None:  # trashed between the two
        raise NotFound
    return file


def trash(owner_id: str, keys: Iterable[str]) -> int:
    """Take those of the owner's READY files from the list. For `TRASH_LIVES` this can be undone; then a sweep deletes them.

    Return how many of the keys are in the trash. That some were there already is no error, since the first answer may have been
    lost on the way; these can be undone from now on as well.
    """
    files = _those_of(owner_id, keys)
    return files.compare_and_set([Status.READY, Status.TRASHED], Status.TRASHED, who=owner_id, what="deleted", trashed_at=now())


def restore(owner_id: str, keys: Iterable[str]) -> int:
    """Put those of the owner's files back on the list that no sweep has deleted yet. Return how many of the keys are there.

    That some were there already is no error, as with `trash`.
    """
    files = _those_of(owner_id, keys)
    return files.compare_and_set([Status.TRASHED, Status.READY], Status.READY, who=owner_id, what="restored", trashed_at=None)


def _those_of(owner_id: str, keys: Iterable[str]) -> FileQuerySet:
    return File.objects.owned_by(owner_id).keyed(key for key in keys if names.is_key_of(owner_id, key))  # type: ignore[no-any-return]
