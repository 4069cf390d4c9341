"""kill -9 of whoever checks a file, in each step, twenty times; and of Celery's own process."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import kombu.pools
import pytest
from django.contrib.auth.models import User

from files import checking, documents, scanner, storage, sweeps, uploads
from files.documents import File, Status
from files.reasons import Reason
from uploadkit.localstack import Process

from .clamd import EICAR, Clamd
from .corpus.make import exif, picture, saved
from .lifecycle import Actor, disagreements, objects, put_object, somebody
from .processes import BIN, children, wait_until

LEASE = 6  # seconds, which is how long a check may take as well
PHOTO = saved("JPEG", picture(size=(1600, 1200)), quality=92, exif=exif(gps=True))  # long enough to be met in each step


class Kind(NamedTuple):
    """A file to check, and what becomes of it."""

    body: bytes
    end: tuple[str, str | None]


GOOD = Kind(PHOTO, (Status.READY, None))
INFECTED = Kind(PHOTO + EICAR, (Status.REJECTED, Reason.MALWARE))
CUT = Kind(PHOTO[:-40_000], (Status.REJECTED, Reason.BROKEN))
# Which file is killed from which step on; "write" is the end of the last one.
PLAN = [
    *((GOOD, "integrity"), (GOOD, "scan"), (GOOD, "image"), (GOOD, "write")) * 3,
    *((INFECTED, "integrity"), (INFECTED, "scan"), (CUT, "scan"), (CUT, "image")) * 2,
]


@pytest.fixture(autouse=True)
def scanned(settings: Any, clamd: Clamd, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.CLAMD_URL = clamd.url
    monkeypatch.setenv("CLAMD_URL", clamd.url)  # of the processes that the tests start
    monkeypatch.setattr(storage, "verifies_checksums", lambda: False)  # so that there is a step for it
    yield
    scanner.expect_to_be_told.cache_clear()


def test_a_check_that_is_killed_in_any_step_is_made_again_and_ends_once() -> None:
    chance, alice = random.Random(20), somebody()
    files: list[tuple[Kind, File]] = []
    killed_at = Counter[str]()
    with Actor() as actor:
        for number, (kind, step) in enumerate(PLAN):
            file = uploaded(alice, kind)
            files.append((kind, file))
            assert file.check_at
            order = {"key": file.key, "ticket": file.check_at.isoformat()}
            child = actor.ask("check", **order, in_a_child=True)["child"]
            wait_until_it_is_at(file, step)
            time.sleep(chance.uniform(0, 0.03) if number >= len(PLAN) // 2 else 0)

            os.kill(child, signal.SIGKILL)

            actor.ask("wait_for", child=child)
            killed_at[state(file)] += 1
            assert disagreements(alice) == []
    assert len(PLAN) == 20
    assert killed_at.keys() >= {"integrity", "scan", "image"} and killed_at.total() - killed_at["ready"] >= 12, killed_at

    File.objects(status=Status.CHECKING).update(check_at=uploads.now())
    for due in uploads.due_checks():
        checking.check(due.key, due.check_at)  # type: ignore[arg-type]
    sweeps.sweep()

    for kind, file in files:
        now = again(file)
        assert (now.status, now.reason, now.leftovers) == (*kind.end, [])
        assert ends(file) == [now.status], "none came to an end twice"
    assert disagreements(alice) == []
    ready = [again(file) for kind, file in files if kind is GOOD]
    assert objects(alice) == {key for file in ready for key in (file.cleaned, file.thumbnail)}


class Worker(Process):
    """A Celery worker with one process that does the work."""

    def __init__(self, folder: Path) -> None:
        argv = [str(BIN / "celery"), "--app", "uploadkit", "worker", "--concurrency", "1", "--loglevel", "INFO"]
        super().__init__("worker", argv, log=folder / "worker.log", env={"CHECK_LEASE": f"{LEASE}s"})

    @property
    def child(self) -> int:
        assert self.popen is not None
        return next(iter(children(self.popen.pid)), 0)


def test_celerys_worker_that_is_killed_in_a_check_is_replaced_and_the_file_checked_again(tmp_path: Path) -> None:
    kombu.pools.reset()  # the test before emptied Redis, and with it the queue that these connections believe in
    alice, worker = somebody(), Worker(tmp_path)
    file = uploaded(alice, GOOD)
    worker.start()
    try:
        assert checking.queue(file)
        wait_until_it_is_at(file, "scan")
        os.kill(worker.child, signal.SIGKILL)
        wait_until(lambda: checked_when_due(alice), "the file is checked")
    finally:
        worker.stop()

    assert (again(file).status, ends(file)) == ("ready", ["ready"])
    assert disagreements(alice) == []


def uploaded(owner: User, kind: Kind) -> File:
    """A picture to be cleaned that is CHECKING."""
    owner_id, sha256 = str(owner.pk), hashlib.sha256(kind.body).hexdigest()
    wish = {"filename": "photo.jpg", "content_type": "image/jpeg", "size": len(kind.body), "policy": "avatars"}
    signed = uploads.sign(owner_id, **wish, sha256=sha256)  # type: ignore[arg-type]
    put_object(signed.key, kind.body, "image/jpeg")
    file = uploads.confirm(owner_id, signed.key)
    assert file.checks == ["integrity", "scan", "image"]
    return file


def wait_until_it_is_at(file: File, step: str) -> None:
    """Without a pause, since steps are short. One that is past it is late, and is killed all the same."""
    deadline = time.monotonic() + 30
    while not is_at(file, step):
        assert time.monotonic() < deadline, f"not within 30 s: {step}"


ORDER = ["integrity", "scan", "image", "write"]


def is_at(file: File, step: str) -> bool:
    now = again(file)
    if now.status != Status.CHECKING:
        return True
    reached = "write" if now.made else now.step
    return bool(now.attempts) and ORDER.index(reached or "") >= ORDER.index(step)


def state(file: File) -> str:
    now = again(file)
    return now.step if now.status == Status.CHECKING and now.step else now.status


def checked_when_due(owner: User) -> bool:
    """What the beat does every half minute, and whether that is enough."""
    checking.queue_due()
    return not File.objects.owned_by(str(owner.pk)).filter(status=Status.CHECKING).count()


def again(file: File) -> File:
    return File.objects.get(key=file.key)  # type: ignore[no-any-return]


def ends(file: File) -> list[str]:
    history = documents.history(file.key)
    assert history is not None
    return [event.after for event in history.events if event.after in (Status.READY, Status.REJECTED)]
