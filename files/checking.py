"""The checks that take too long for a request, made by Celery: integrity, viruses, pictures.

A file waits as CHECKING with a ticket, its `check_at`. Whoever takes it replaces the ticket by one that lasts CHECK_LEASE, and
so does every step: of two workers that have the same file, one holds a ticket that is no longer good, and stops. A worker that
dies leaves a ticket that runs out, and `queue_due` gives the file to another, which begins at the first step. What a step
writes is named in the document before, and written again in the same place.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from celery import current_app
from django.conf import settings
from kombu.exceptions import KombuError
from kombu.pools import producers

from . import documents, images, metrics, names, policies, scanner, storage, trail, uploads, worker
from .documents import File, Status
from .reasons import Reason, Rejected
from .refusals import Refusal
from .uploads import Check

logger = logging.getLogger(__name__)

AGAIN = timedelta(minutes=1)  # after something was down
# After that no worker is older than the settings, and a policy that they do not have is not theirs any more.
WORKERS_LIVE = timedelta(days=1)
WAITS = (1, 2, 5, 10, 15)  # seconds, for a MongoDB that is between two primaries
# Of those for which the file may be to blame: it crashes its worker or the scanner, or takes longer than CHECK_LEASE.
ATTEMPTS = 5
CHUNK = 1024 * 1024  # bytes
IN_MEMORY = 16 * 1024 * 1024  # bytes of a picture; more goes to the disk
# What waits for the queue is a person; `queue_due` finds what the queue does not take. Kombu would try again for 6 s.
PATIENCE = {"socket_timeout": 0.25, "socket_connect_timeout": 0.25, "max_retries": 0}


def confirm(owner_id: str, key: str) -> File:
    """`uploads.confirm`, and the checks of a file that has some to pass are under way."""
    began = trail.now()
    try:
        file = uploads.confirm(owner_id, key)
    except Refusal as refusal:
        metrics.count(metrics.CONFIRMS, refusal.code)
        raise
    metrics.count(metrics.CONFIRMS, file.status)
    # Clients ask every few seconds how it stands. A message that was lost is sent again by `queue_due`, not by them.
    if file.status == Status.CHECKING and file.trail[-1]["at"] >= began:
        queue(file)
    return file


def queue(file: File) -> bool:
    """Have the file checked soon. With Redis down it is checked when that is back: MongoDB knows that it waits."""
    assert file.check_at is not None, "a file that is CHECKING has a ticket"
    return send("check", key=file.key, ticket=file.check_at.isoformat())


def send(task: str, *, countdown: int | None = None, **message: str | None) -> bool:
    """Give a task of `files.tasks` to the queue; whether it took it. `countdown` is in seconds."""
    try:
        connection = current_app.connection_for_write(
            transport_options={**settings.CELERY_BROKER_TRANSPORT_OPTIONS, **PATIENCE}
        )
        # Ten of them, so that with Redis frozen nobody waits for more than one time-out and the end of another.
        with producers[connection].acquire(block=True, timeout=0.25) as producer:
            name = f"files.tasks.{task}"
            current_app.send_task(name, kwargs=message, countdown=countdown, producer=producer, retry=False)
    except (KombuError, OSError) as error:
        logger.warning("the queue did not take %s %s, the next look at what is due will: %s", task, message["key"], error)
        return False
    return True


def queue_due() -> int:
    """Queue the files that wait for a check which nobody makes, until the queue takes no more. Return how many it took."""
    if worker.is_behind():  # every message would be sent again each minute, and fill the Redis that signings need
        return 0
    return len(list(itertools.takewhile(queue, uploads.due_checks())))


@dataclass
class Checked:
    """A file under its checks, and what they found out."""

    file: File
    known: dict[str, Any] = field(default_factory=dict)

    @property
    def policy(self) -> policies.Policy:
        # Not another in its place: a worker that is older than the policy would let pass what that forbids.
        return policies.policy_named(self.file.policy or policies.DEFAULT)

    def renew(self, **known: object) -> bool:
        """Whether the file is still ours; then for CHECK_LEASE from now."""
        taken = uploads.renew_claim(self.file, **known)
        self.file = taken or self.file
        return taken is not None


def check(key: str, ticket: datetime) -> None:
    """Put a file through the checks that it has to pass: READY or REJECTED in the end, or waiting for what is down.

    Does nothing with a ticket that is no longer good.
    """
    taken = uploads.claim_check(key, ticket)
    if taken is not None:
        metrics.count(metrics.CHECKS, _outcome(Checked(taken)))


def _outcome(checked: Checked) -> str:
    if (checked.file.attempts or 0) > ATTEMPTS:
        return _rejected(checked, Reason.UNCHECKED)
    try:
        whole = _all_steps(checked)
        return "passed" if whole and uploads.pass_checks(checked.file, **checked.known) else "taken_away"
    except Rejected as rejected:
        return _rejected(checked, rejected.reason)
    except storage.Missing:
        return _rejected(checked, Reason.INTEGRITY)
    except scanner.FailedOnStream as error:
        attempts = checked.file.attempts or 0
        logger.warning("the scanner failed on %s, attempt %d of %d: %s", checked.file.key, attempts, ATTEMPTS, error)
        if attempts >= ATTEMPTS:
            return _rejected(checked, Reason.UNCHECKED)
        _postpone(checked.file, _backoff(attempts), counted=True)
        return "put_off"
    except policies.Unknown as error:  # this worker is older than the policy, or the settings have it no more
        return _rejected(checked, Reason.UNCHECKED) if _is_given_up(checked.file) else _put_off(checked, error)
    except (scanner.Unavailable, OSError, *storage.Error, *documents.Error) as error:  # what is down, or a disk that is full
        return _put_off(checked, error)


def _rejected(checked: Checked, reason: Reason) -> str:
    return "rejected" if uploads.reject(checked.file, reason) else "taken_away"


def _put_off(checked: Checked, error: Exception) -> str:
    logger.warning("the check of %s has to wait: %s", checked.file.key, error)
    _postpone(checked.file)
    return "put_off"


def _is_given_up(file: File) -> bool:
    """Not one that was READY before: nobody wants to lose it by a line of the settings that is missing."""
    return file.unchanged_for > WORKERS_LIVE and not file.ready_at


def _backoff(attempts: int) -> timedelta:
    """1, 2, 4, 8 minutes, and up to as many again: what kills the scanner under other files must not meet them each time."""
    return AGAIN * 2.0 ** (attempts - 1) * random.uniform(1, 2)  # noqa: S311  no secret


def _postpone(file: File, after: timedelta = AGAIN, *, counted: bool = False) -> None:
    """What is down may be MongoDB itself. If it is back soon, nobody has to wait for the end of CHECK_LEASE."""
    for wait in WAITS:
        try:
            return uploads.postpone_check(file, after, counted=counted)
        except documents.Error:
            time.sleep(wait)
    return uploads.postpone_check(file, after, counted=counted)


def _all_steps(checked: Checked) -> bool:
    """Whether the file is still ours after them. The first may find out which others there are."""
    done: list[str] = []
    while step := next((step for step in checked.file.checks if step not in done), None):
        if not (checked.renew(step=step) and STEPS[Check(step)](checked)):
            return False
        done.append(step)
    return True


# --- the steps: each says whether the file is still ours, or raises Rejected -------------------------------------------------


def _content(checked: Checked) -> bool:
    """What a confirm sees, of a file that was READY before: what its bytes are may be known better today."""
    look = uploads.look_again(checked.file)
    if look.fault:
        raise Rejected(look.fault)
    return checked.renew(detected=look.detected, checks=list(uploads.all_checks(checked.file, look.detected)))


def _integrity(checked: Checked) -> bool:
    digest = hashlib.sha256()
    with storage.reading(checked.file.object_key) as stream:
        while some := stream.read(CHUNK):
            digest.update(some)
    if digest.hexdigest() != checked.file.sha256:
        raise Rejected(Reason.INTEGRITY)
    return True


def _scan(checked: Checked) -> bool:
    if checked.file.size > settings.CLAMD_MAX_SIZE:
        raise Rejected(Reason.UNSCANNABLE)
    with storage.reading(checked.file.object_key) as stream:
        found = scanner.scan(stream)
    if found:
        logger.warning("the virus scanner found %s in %s", found, checked.file.key)
        raise Rejected(Reason.MALWARE)
    return True


def _image(checked: Checked) -> bool:
    file = checked.file
    clean = checked.policy.images == policies.Images.CLEAN and not file.cleaned  # what is clean would only lose by it
    detected = file.detected or file.content_type
    if not images.readable(detected):
        raise Rejected(Reason.UNREADABLE)
    if file.size > images.most_bytes(detected, settings.IMAGE_MAX_PIXELS):
        raise Rejected(Reason.BOMB)
    with images.Spool(IN_MEMORY) as body:
        with storage.reading(file.object_key) as stream:
            shutil.copyfileobj(stream, body)
        body.seek(0)
        try:
            picture = images.looked_at(body, detected, clean=clean, max_pixels=settings.IMAGE_MAX_PIXELS)
        except Rejected as rejected:
            if rejected.reason == Reason.UNREADABLE and checked.policy.images == policies.Images.KEEP:
                return True  # without a thumbnail
            raise
    with picture.cleaned or contextlib.nullcontext():
        return _write(checked, picture)


def _write(checked: Checked, picture: images.Picture) -> bool:
    """Store what was made of a picture, under names that the document has first."""
    cleaned = names.made_of(checked.file.key, "cleaned") if picture.cleaned else None
    thumbnail = names.made_of(checked.file.key, "thumbnail")
    # With those of an earlier attempt, which another policy may have made.
    if not checked.renew(made=sorted({*checked.file.made, *(key for key in (thumbnail, cleaned) if key)})):
        return False
    storage.write(thumbnail, picture.thumbnail, content_type="image/webp")
    checked.known["thumbnail"] = thumbnail
    if cleaned and picture.cleaned:
        sha256, size = _measured(picture.cleaned)
        etag = storage.write(cleaned, picture.cleaned, content_type=checked.file.content_type)
        checked.known |= {"cleaned": cleaned, "leftovers": [checked.file.key], "sha256": sha256, "size": size, "etag": etag}
    return True


def _measured(body: BinaryIO) -> tuple[str, int]:
    """Its SHA-256 in hexadecimal and its size in bytes; it is at its beginning after that."""
    body.seek(0)
    sha256, size = hashlib.file_digest(body, "sha256").hexdigest(), body.tell()  # type: ignore[arg-type]  # typeshed#8993
    body.seek(0)
    return sha256, size


STEPS: dict[Check, Callable[[Checked], bool]] = {
    Check.CONTENT: _content,
    Check.INTEGRITY: _integrity,
    Check.SCAN: _scan,
    Check.IMAGE: _image,
}
