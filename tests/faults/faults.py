"""The faults: what is done to the stack, for how long, and what brings it back."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pymongo
from celery import Celery
from pymongo.errors import PyMongoError

from tests.faults.breakable import Breakable
from tests.faults.disks import Disk
from tests.faults.people import Traffic
from tests.faults.stack import web_workers
from tests.processes import wait_until
from uploadkit.localstack import Process

SERVERS = ("mongod", "valkey", "seaweedfs")
PROCESSES = (*SERVERS, "web worker", "web", "worker", "cleanup")
LINES = ("mongo", "redis", "bucket")

KINDS: dict[str, tuple[str, ...]] = {
    "kill -9": PROCESSES,
    "stop": PROCESSES,
    "full disk": ("mongod", "seaweedfs"),
    "cut line": LINES,
    "line that swallows": LINES,
    "line that swallows answers": LINES,
    "slow line": LINES,
    "clock of the signing host": ("ahead", "behind"),
    "two beats": ("every second",),
    "kill -9 with messages unacknowledged": ("worker",),
}
ALL = [(kind, target) for kind, targets in KINDS.items() for target in targets]


@dataclass(frozen=True, order=True)
class Fault:
    at: float  # seconds after the round began
    kind: str
    target: str
    lasts: float  # seconds
    amount: float  # of seconds, for a line that is slow and a clock that is wrong

    @property
    def victims(self) -> set[str]:
        """What it needs for itself. Two faults with a victim in common come one after the other."""
        if self.target == "cleanup" or self.kind == "kill -9 with messages unacknowledged":
            return {target for targets in KINDS.values() for target in targets}
        if self.kind == "two beats":  # begins when both have reached the queue
            return {self.target, "valkey", "redis"}
        return {"web" if self.target == "web worker" else self.target}

    def __str__(self) -> str:
        return f"{self.kind}: {self.target}, at {self.at:.1f} s for {self.lasts:.1f} s"


@dataclass
class Scene:
    stack: Breakable
    traffic: Traffic
    dice: random.Random
    done: Counter[tuple[str, str]] = field(default_factory=Counter)  # what really happened, by kind and target

    def process(self, name: str) -> Process:
        process = getattr(self.stack, name)
        assert isinstance(process, Process)
        return process

    def happened(self, fault: Fault) -> None:
        self.done[fault.kind, fault.target] += 1


def play(scene: Scene, faults: list[Fault]) -> None:
    """Each at its moment, side by side where they do not need the same victim."""
    began, order = time.monotonic(), itertools.count()
    plan = [(fault.at, next(order), fault) for fault in faults]
    heapq.heapify(plan)
    under_way: dict[Fault, ExitStack] = {}
    with ExitStack() as exits:
        while plan:
            moment, _, fault = heapq.heappop(plan)
            time.sleep(max(0, began + moment - time.monotonic()))
            if fault in under_way:
                under_way.pop(fault).close()
            elif any(fault.victims & other.victims for other in under_way):
                heapq.heappush(plan, (moment + 0.1, next(order), fault))
            else:
                under_way[fault] = exits.enter_context(ExitStack())
                under_way[fault].enter_context(MANNERS[fault.kind](scene, fault))
                heapq.heappush(plan, (time.monotonic() - began + fault.lasts, next(order), fault))


# --- processes ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def kill(scene: Scene, fault: Fault) -> Iterator[None]:
    with victim(scene, fault) as send:
        send(signal.SIGKILL)
        yield
    if fault.target not in ("web worker", "cleanup"):
        process = scene.process(fault.target)
        assert process.popen is not None
        process.popen.wait()
        scene.stack.revive(process)


@contextlib.contextmanager
def stop(scene: Scene, fault: Fault) -> Iterator[None]:
    with victim(scene, fault) as send:
        send(signal.SIGSTOP)
        try:
            yield
        finally:
            send(signal.SIGCONT)


@contextlib.contextmanager
def victim(scene: Scene, fault: Fault) -> Iterator[Callable[[signal.Signals], None]]:
    """What sends a signal to it, whether it still lives or not."""
    if fault.target == "web worker":
        workers = sorted(web_workers(scene.stack.web))
        chosen = scene.dice.choice(workers) if workers else None
        yield lambda number: to_one(scene, fault, chosen, number)
    elif fault.target == "cleanup":
        with a_cleanup_that_runs(scene) as cleanup:
            yield lambda number: to_all(scene, fault, cleanup, number)
    else:
        yield lambda number: to_all(scene, fault, scene.process(fault.target), number)


def to_one(scene: Scene, fault: Fault, pid: int | None, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, number)
            scene.done[fault.kind, fault.target] += number != signal.SIGCONT


def to_all(scene: Scene, fault: Fault, process: Process, number: signal.Signals) -> None:
    scene.done[fault.kind, fault.target] += scene.stack.signal(process, number) and number != signal.SIGCONT


@contextlib.contextmanager
def a_cleanup_that_runs(scene: Scene) -> Iterator[Process]:
    """In the middle of its work: it has named its first keys."""
    stack = scene.stack
    stack.abandon(400, f"{scene.dice.randrange(10**9)}x")
    cleanup = stack.cleanup()
    assert cleanup.log is not None
    cleanup.log.unlink(missing_ok=True)
    cleanup.start()
    try:
        said = cleanup.log
        wait_until(lambda: cleanup.ended or b"-abandoned.bin" in said.read_bytes(), "the cleanup has begun")
        yield cleanup
        wait_until(lambda: cleanup.ended, "the cleanup ends")
    finally:
        cleanup.stop()


@contextlib.contextmanager
def kill_with_messages(scene: Scene, fault: Fault) -> Iterator[None]:
    """The worker has taken messages from the queue and not yet begun with them."""
    stack = scene.stack
    stack.abandon(200, f"{scene.dice.randrange(10**9)}y")
    before = taken(stack)
    with Celery(broker=stack.redis_url) as beat:
        for _ in range(50):
            beat.send_task("files.tasks.cleanup_pending")
    with contextlib.suppress(AssertionError):
        wait_until(lambda: taken(stack) > before, "messages are with the worker", within=10)
    stack.worker.kill()
    if taken(stack) > before:
        scene.happened(fault)
    yield
    stack.revive(stack.worker)


def taken(stack: Breakable) -> int:
    """Messages that workers took from the queue and have not acknowledged."""
    count = stack.redis.hlen("unacked")
    assert isinstance(count, int)
    return count


# --- disks and lines ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(scene: Scene, fault: Fault) -> Iterator[None]:
    disk = scene.stack.disks.get(fault.target)
    if disk is None:
        yield
        return
    disk.fill()
    scene.done[fault.kind, fault.target] += disk.bytes_free == 0
    try:
        yield
        if fault.target == "mongod":
            wait_until_it_aborts(scene, disk)
    finally:
        disk.clear()
    if fault.target == "seaweedfs":
        # As whoever runs it would: its index of names (goleveldb) answers by the full disk's error until it is opened anew, and
        # a volume whose own index ends half-way through an entry is not served before `weed fix` has made that again.
        scene.stack.seaweedfs.stop()
        scene.stack.fix_volumes()
        scene.stack.restart(scene.stack.seaweedfs)
    else:
        scene.stack.revive(scene.stack.mongod)


def wait_until_it_aborts(scene: Scene, disk: Disk) -> None:
    """mongod cannot write, and ends; until it has, nobody knows whether it will."""

    def is_ended() -> bool:
        disk.fill()  # it lives on for a while by removing what it needs no more
        with contextlib.suppress(PyMongoError), pymongo.timeout(1):
            scene.stack.files.database["filler"].insert_one({"filler": "x" * 10_000})
        return scene.stack.mongod.ended

    wait_until(is_ended, "mongod aborts on its full disk")


@contextlib.contextmanager
def broken_line(scene: Scene, fault: Fault) -> Iterator[None]:
    line = scene.stack.lines[fault.target]
    if fault.kind == "cut line":
        line.cut()
    elif fault.kind == "slow line":
        line.delay = fault.amount
    else:
        line.swallow(requests=fault.kind == "line that swallows")
    scene.happened(fault)
    try:
        yield
    finally:
        line.mend()


# --- clocks and beats -----------------------------------------------------------------------------------------------

URL_LIVES = 60  # seconds


@contextlib.contextmanager
def skew(scene: Scene, fault: Fault) -> Iterator[None]:
    """Another web server of the site, whose clock is wrong, and somebody who uploads through it."""
    seconds = fault.amount if fault.target == "ahead" else -fault.amount
    web, site = scene.stack.skewed_web(seconds)
    web.start()
    try:
        web.wait_until_ready()
        with scene.traffic.somebody_at(site) as person:
            with contextlib.suppress(AssertionError):
                wait_until(lambda: person.signed, "something is signed by that clock", within=10)
            yield
        scene.done[fault.kind, fault.target] += person.signed > 0
        # Of a date that is ahead SeaweedFS thinks nothing; R2 refuses it from a quarter of an hour on.
        if person.arrived and seconds < -URL_LIVES:
            scene.traffic.bugs.append(f"the bucket took what was signed by a clock {seconds:.0f} s off")
    finally:
        web.stop()


@contextlib.contextmanager
def two_beats(scene: Scene, fault: Fault) -> Iterator[None]:
    """Both send a cleanup every second, while uploads that are under way become overdue, and what can be undone no more."""
    beats = [scene.stack.beat(number) for number in (1, 2)]
    stopping = threading.Event()
    thread = threading.Thread(target=let_time_fly, args=(scene, stopping))
    try:
        for beat in beats:
            assert beat.log is not None
            beat.log.unlink(missing_ok=True)
            beat.start()
        thread.start()
        wait_until(lambda: all(has_sent(beat) for beat in beats), "both have sent a cleanup")
        scene.happened(fault)
        yield
    finally:
        stopping.set()
        thread.join()
        for beat in beats:
            beat.stop()


def has_sent(beat: Process) -> bool:
    assert beat.log is not None
    return b"Sending due task cleanup" in beat.log.read_bytes()


def let_time_fly(scene: Scene, stopping: threading.Event) -> None:
    files = scene.stack.files
    while not stopping.wait(0.2):
        with contextlib.suppress(PyMongoError), pymongo.timeout(1):
            for status, since in (("pending", "created_at"), ("trashed", "trashed_at")):
                waiting = sorted(scene.stack.files_that_are(status))
                chosen = random.sample(waiting, len(waiting) // 2)
                scene.traffic.given_up.update(chosen)  # first, since a sweep may be quicker than we are
                long_ago = datetime.now(UTC) - timedelta(hours=2)
                files.update_many({"_id": {"$in": chosen}, "status": status}, {"$set": {since: long_ago}})


Manner = Callable[[Scene, Fault], AbstractContextManager[None]]
MANNERS: dict[str, Manner] = {
    "kill -9": kill,
    "stop": stop,
    "full disk": full_disk,
    "cut line": broken_line,
    "line that swallows": broken_line,
    "line that swallows answers": broken_line,
    "slow line": broken_line,
    "clock of the signing host": skew,
    "two beats": two_beats,
    "kill -9 with messages unacknowledged": kill_with_messages,
}
