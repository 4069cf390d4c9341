"""Eight processes at one key: they sign, send, confirm, cancel, trash, restore and expire it at once, and none errs.

    python -m tests.faults.races --rounds 10000 --processes 8 --seed 1

The processes call `files.uploads` as the views do, against servers of their own: without HTTP between them they come closer
together. Each plans every round from the seed, so that they need tell each other the key only. As the bucket takes up to a
second over two deletions of one object, many rounds are under way at once, each in a lane: a thread of every process, and a
barrier. A sweep of one lane meets what the others left, as sweeps do. `judge` says what must hold after a round, `settle`
what must hold after all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import math
import multiprocessing
import os
import random
import secrets
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from tests import servers
from uploadkit import localstack

if TYPE_CHECKING:
    from files.documents import File
    from files.uploads import Signed

LANES = 32
BEGINNINGS = ("unsigned", "signed", "arrived", "ready")  # where the file stands when the race begins
ACTS = ("confirm", "cancel", "rename", "trash", "restore", "remove", "expire")  # remove is the admin's deletion, of any status
SWEEPS = ("remove", "expire")
CLOSE = 0.012  # seconds within which all begin: about what an act takes
OVERDUE = timedelta(hours=2)
PATIENCE = 60  # seconds; the longest that an act may take on a busy machine
CONTENT_TYPE = "application/octet-stream"
NAME, NEW_NAME = "race.bin", "Renamed räce.bin"

# What an act may answer. Whatever else it raises is a violation.
ANSWERS = {
    "sign": {"ok"},
    "send": {"ok"},
    "confirm": {"ok", "not_found", "not_uploaded"},  # nothing but what was signed is ever sent: no mismatch
    "cancel": {"ok", "not_found", "already_ready"},
    "rename": {"ok", "not_found"},
    "trash": {"ok", "not_found"},
    "restore": {"ok", "not_found"},
    "remove": {"ok"},
    "expire": {"ok"},
}


# --- a round --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Race:
    """What happens in a round: where it begins, and what each process does how many seconds after the start."""

    number: int
    owner: str
    begins: str
    body: bytes
    starter: int  # the process that makes the beginning; it alone knows the upload's URL
    acts: list[str]
    delays: list[float]


def plan(seed: int, number: int, processes: int, run: str) -> Race:
    """The same race in every process that asks."""
    dice = random.Random(f"{seed}/{number}")
    begins, starter = dice.choice(BEGINNINGS), dice.randrange(processes)
    # A few kinds each time: with all of them in each round hardly a file would ever stay.
    kinds = dice.sample(ACTS, dice.randint(1, 3))
    # One sweep at the most: it meets those of the other lanes, and the bucket is slow at deletions of many by many.
    sweeps = [kind for kind in kinds if kind in SWEEPS]
    others = ["confirm", *(kind for kind in kinds if kind not in SWEEPS)]
    acts = sweeps + [dice.choice(others) for _ in range(processes - len(sweeps))]
    dice.shuffle(acts)
    if begins in ("unsigned", "signed"):
        acts[starter] = "sign" if begins == "unsigned" else "send"
    close = dice.choice([0, CLOSE / 4, CLOSE])
    delays = [dice.uniform(0, close) for _ in range(processes)]
    return Race(number, f"{run}{number:06}", begins, dice.randbytes(dice.randint(1, 200)), starter, acts, delays)


class Done(NamedTuple):
    """What a process did in a round and was answered, and what it then saw of the file. All share the monotonic clock."""

    act: str
    answer: str
    ready_at: datetime | None  # of the file that a confirm answered with
    began: float
    looked: float
    status: str  # "gone" without a document
    saw: float


class Left(NamedTuple):
    """What a look at both stores finds after a round."""

    key: str
    status: str
    ready_at: datetime | None
    sha256: str | None  # of the object
    spent: bool  # whether the key is remembered
    name: str | None  # None as well where it is not sorted and found by it
    saw: float


@dataclass(slots=True)
class Outcome:
    done: list[Done] = field(default_factory=list)
    left: Left | None = None


# --- a process of the eight -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Lane:
    """What the threads of one lane share across the processes."""

    barrier: Barrier
    key: Any  # multiprocessing.Array of bytes: empty until the file is signed


@dataclass(slots=True)
class Runner:
    me: int
    processes: int
    rounds: int
    seed: int
    run: str
    lanes: list[Lane]
    outcomes: dict[int, Outcome] = field(default_factory=lambda: defaultdict(Outcome))
    bugs: list[str] = field(default_factory=list)

    def work(self) -> None:
        threads = [threading.Thread(target=self._lane, args=(number,), daemon=True) for number in range(len(self.lanes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _lane(self, number: int) -> None:
        lane = self.lanes[number]
        try:
            for round_number in range(number, self.rounds, len(self.lanes)):
                self._round(lane, plan(self.seed, round_number, self.processes, self.run))
        except threading.BrokenBarrierError:
            pass  # somebody else has said why
        except BaseException:
            self.bugs.append(traceback.format_exc())
            lane.barrier.abort()

    def _round(self, lane: Lane, race: Race) -> None:
        mine = begin(lane, race) if race.starter == self.me else None
        lane.barrier.wait(PATIENCE)
        self.outcomes[race.number].done.append(take_part(lane, race, self.me, mine))
        key = lane.key.value.decode()  # read now, since behind the barrier the next round begins
        lane.barrier.wait(PATIENCE)
        if race.starter == self.me:
            self.outcomes[race.number].left = look(key)


def in_a_process(runner: Runner, environment: dict[str, str], pipe: Connection) -> None:
    localstack.die_with_parent()
    os.environ.clear()
    os.environ.update(environment)
    import django

    django.setup()
    import logging

    logging.disable(logging.WARNING)  # the bucket that refuses a deletion is heard of after the sweep
    runner.work()
    pipe.send((dict(runner.outcomes), runner.bugs))


def begin(lane: Lane, race: Race) -> Signed | None:
    from files import uploads

    lane.key.value = b""
    if race.begins == "unsigned":
        return None
    signed = sign(race)
    if race.begins != "signed":
        assert send(signed, race.body) == "ok"
    if race.begins == "ready":
        uploads.confirm(race.owner, signed.key)
    lane.key.value = signed.key.encode()
    return signed


def sign(race: Race) -> Signed:
    from files import uploads

    return uploads.sign(race.owner, filename=NAME, content_type=CONTENT_TYPE, size=len(race.body))


def send(signed: Signed, body: bytes) -> str:
    status, answer = request(signed.put.method, signed.put.url, body, signed.put.headers)
    return "ok" if status == http.HTTPStatus.OK else f"{status} {answer!r}"


def request(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    to = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(to.hostname or "", to.port, timeout=PATIENCE)) as connection:
        connection.request(method, f"{to.path}?{to.query}", body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()


def take_part(lane: Lane, race: Race, me: int, signed: Signed | None) -> Done:
    act = race.acts[me]
    key = "" if act == "sign" else wait_for_the_key(lane, race.owner)
    time.sleep(race.delays[me])
    began = time.monotonic()
    answer, ready_at = "ok", None
    try:
        if act == "sign":
            signed = sign(race)
            key = signed.key
            lane.key.value = key.encode()
        if act in ("sign", "send"):
            assert signed is not None
            answer = send(signed, race.body)
        else:
            ready_at = VERBS[act](race.owner, key)
    except Exception as error:
        answer = getattr(error, "code", None) or f"{type(error).__name__}: {error}"
    looked = time.monotonic()
    status = status_of(key)
    return Done(act, answer, ready_at, began, looked, status, time.monotonic())


def wait_for_the_key(lane: Lane, owner: str) -> str:
    """The key as soon as MongoDB has it, which is before whoever signs has an answer."""
    from files.documents import File

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if lane.key.value:
            return str(lane.key.value.decode())
        if file := File.objects.owned_by(owner).first():
            return str(file.key)
        time.sleep(0.001)
    raise AssertionError(f"{owner} never signed")


def confirm(owner: str, key: str) -> datetime | None:
    from files import uploads

    return uploads.confirm(owner, key).ready_at


def cancel(owner: str, key: str) -> None:
    from files import uploads

    uploads.cancel(owner, key)


def rename(owner: str, key: str) -> datetime | None:
    from files import uploads

    return uploads.rename(owner, key, NEW_NAME).ready_at


def trash(owner: str, key: str) -> None:
    from files import uploads

    if not uploads.trash(owner, [key]):
        raise uploads.NotFound


def restore(owner: str, key: str) -> None:
    from files import uploads

    if not uploads.restore(owner, [key]):
        raise uploads.NotFound


def remove(owner: str, key: str) -> None:
    from files import sweeps

    sweeps.delete_many([key], who="ops:1")


def expire(owner: str, key: str) -> None:
    """A sweep that finds the upload overdue, or in the trash for long, and meanwhile whatever else there is to sweep."""
    from files import sweeps, uploads
    from files.documents import File

    File.objects.keyed([key]).pending().update(created_at=uploads.now() - OVERDUE)
    File.objects.keyed([key]).trashed().update(trashed_at=uploads.now() - OVERDUE)
    sweeps.sweep(older_than=OVERDUE / 2)


VERBS: dict[str, Callable[[str, str], datetime | None]] = {
    "confirm": confirm,
    "cancel": cancel,
    "rename": rename,
    "trash": trash,
    "restore": restore,
    "remove": remove,
    "expire": expire,
}


def status_of(key: str) -> str:
    from files.documents import File

    file = File.objects.keyed([key]).first()
    return str(file.status) if file else "gone"


def look(key: str) -> Left:
    from files.documents import File, SpentKey

    file = File.objects.keyed([key]).first()
    saw = time.monotonic()
    body = stored(key)
    return Left(
        key=key,
        status=str(file.status) if file else "gone",
        ready_at=file.ready_at if file else None,
        sha256=hashlib.sha256(body).hexdigest() if body is not None else None,
        spent=SpentKey.objects(key=key).first() is not None,
        name=name_of(file) if file else None,
        saw=saw,
    )


def name_of(file: File) -> str | None:
    from files import documents

    known = {"name": file.name, "sort_name": file.sort_name, "words": file.words}
    return file.name if known == documents.name_fields(file.name) else None


def stored(key: str) -> bytes | None:
    from files import storage

    status, body = request("GET", storage.sign_get(key, filename=NAME, lives=60))
    assert status in (200, 404), f"{status} {body!r}"
    return body if status == http.HTTPStatus.OK else None


# --- what must hold -------------------------------------------------------------------------------------------------


def judge(race: Race, outcome: Outcome) -> Iterator[str]:
    """What is wrong with a round, now that all who took part have their answers and before any sweep tidies up."""
    left = outcome.left
    assert left is not None
    told = Counter((done.act, done.answer) for done in outcome.done)
    yield from (f"{act} was answered {answer}" for act, answer in told if answer not in ANSWERS[act])
    yield from judge_order(race, outcome.done, left)
    moments = {done.ready_at for done in outcome.done if done.ready_at} | ({left.ready_at} - {None})
    if len(moments) > 1:
        yield f"it became ready more than once: {moments}"
    if left.status in ("ready", "trashed") and left.sha256 != hashlib.sha256(race.body).hexdigest():
        yield f"it is {left.status}, and the bucket has " + ("something else" if left.sha256 else "nothing")
    if left.status == "gone" and left.sha256 is not None and not left.spent:
        yield "an object is left that nobody knows"
    if told["confirm", "not_uploaded"] and race.begins in ("arrived", "ready"):
        yield "a confirm was told that nothing had arrived"
    name = NEW_NAME if told["rename", "ok"] else NAME
    if left.status != "gone" and left.name != name:
        yield f"it should be called {name}, and is {left.name}"


UNDONE = frozenset({"deleting", "gone"})
# What a file was at some moment of an act that was answered so. Whatever is not here says nothing.
SHOWS = {
    ("confirm", "ok"): {"ready"},
    ("confirm", "not_uploaded"): {"pending"},
    ("confirm", "not_found"): {"trashed", *UNDONE},
    ("cancel", "ok"): UNDONE,
    ("cancel", "already_ready"): {"ready"},
    ("cancel", "not_found"): {"trashed", "gone"},
    ("rename", "ok"): {"ready"},
    ("rename", "not_found"): {"pending", "trashed", *UNDONE},
    ("trash", "ok"): {"trashed"},
    ("trash", "not_found"): {"pending", *UNDONE},
    ("restore", "ok"): {"ready"},
    ("restore", "not_found"): {"pending", *UNDONE},
    ("remove", "ok"): UNDONE,
}
# What brings a file from one status to another. From the trash time does too, and from DELETING on any sweep.
LEADS = {
    ("pending", "ready"): {"confirm"},
    ("pending", "deleting"): {"cancel", "remove", "expire"},
    ("ready", "trashed"): {"trash"},
    ("ready", "deleting"): {"remove"},
    ("trashed", "ready"): {"restore"},
    ("trashed", "deleting"): {"remove", "expire"},
}
UNDO_FOR = 10  # seconds that a file is safe in the trash from a sweep of another lane


class Seen(NamedTuple):
    """One of these statuses it had, at some moment between the two."""

    statuses: Set[str]
    since: float
    until: float


def judge_order(race: Race, done: list[Done], left: Left) -> Iterator[str]:
    """Whether there is a way from all that anybody saw to all that was seen later, by the clock that all share, and the acts
    that were under way meanwhile are enough for it. Most of what an answer promises follows from this.
    """
    began = min((one.began for one in done), default=0.0)
    seen = [Seen({"ready" if race.begins == "ready" else "pending"}, began, began)]
    seen += [Seen(SHOWS[one.act, one.answer], one.began, one.looked) for one in done if (one.act, one.answer) in SHOWS]
    seen += [Seen({one.status}, one.looked, one.saw) for one in done]
    seen.append(Seen({left.status}, max((one.saw for one in done), default=began), left.saw))
    trashed = min((one.began for one in done if one.act == "trash"), default=math.inf)
    for earlier in seen:
        for later in seen:
            # What is over when another begins; the beginning and the end are that by themselves.
            if earlier is not later and earlier.until <= later.since:
                acts = {one.act for one in done if one.answer == "ok" and meanwhile(one, earlier, later)}
                if later.until - trashed > UNDO_FOR:
                    acts.add("expire")
                if not reached(earlier.statuses, acts) & later.statuses:
                    within = f"within {later.until - earlier.since:.3f} s"
                    yield f"it was {said(earlier)}, then {said(later)} {within}, by no more than {', '.join(sorted(acts))}"


def meanwhile(one: Done, earlier: Seen, later: Seen) -> bool:
    return one.began <= later.until and one.looked >= earlier.since


def reached(statuses: Set[str], acts: Set[str]) -> set[str]:
    """The statuses that these acts may bring a file to."""
    found, before = set(statuses), set[str]()
    while found != before:
        before = set(found)
        found |= {after for (status, after), by in LEADS.items() if status in found and by & acts}
    return found | ({"gone"} if "deleting" in found else set())


def said(seen: Seen) -> str:
    return " or ".join(sorted(seen.statuses))


def settle(races: list[Race], outcomes: dict[int, Outcome], run: str) -> Iterator[str]:
    """What a sweep leaves once everything is overdue and every URL dead: ready files, each with its bytes, and nothing else."""
    from files import sweeps
    from files.documents import File, SpentKey

    ours = {"_id": {"$regex": f"^u/{run}"}}
    long_ago = datetime.now(UTC) - 24 * OVERDUE
    for status, since in (("pending", {}), ("trashed", {"trashed_at": long_ago})):
        File._get_collection().update_many({**ours, "status": status}, {"$set": {"created_at": long_ago, **since}})
    two_days = 2 * 24 * 60 * 60 * 1000
    aged = {name: {"$subtract": [f"${name}", two_days]} for name in ("signed_at", "look_at")}
    SpentKey._get_collection().update_many(ours, [{"$set": aged}])
    sweeps.sweep(older_than=OVERDUE / 2)

    known = {str(file["_id"]): str(file["status"]) for file in File._get_collection().find(ours, {"status": 1})}
    yield from (f"after the sweep {key} is {status}" for key, status in known.items() if status != "ready")
    yield from (f"after the sweep {spent['_id']} is still spent" for spent in SpentKey._get_collection().find(ours))
    found = objects(run)
    wanted = {}
    for race in races:
        left = outcomes[race.number].left
        assert left is not None
        if left.status == "ready":
            wanted[left.key] = hashlib.md5(race.body).hexdigest()
    for name, keys in (("documents", known.keys()), ("objects", found.keys())):
        yield from (f"after the sweep {key} is not among the {name}" for key in wanted.keys() - keys)
        yield from (f"after the sweep {key} is among the {name}" for key in keys - wanted.keys())
    yield from (f"{key} has other bytes" for key, etag in wanted.items() if found.get(key, etag) != etag)


def objects(run: str) -> dict[str, str]:
    """Each object of this run with its ETag, which is the MD5 of what was sent in one piece."""
    from django.conf import settings

    from files import storage

    pages = storage._client().get_paginator("list_objects_v2").paginate(Bucket=settings.R2_BUCKET, Prefix=f"u/{run}")
    return {item["Key"]: item["ETag"].strip('"') for page in pages for item in page.get("Contents", [])}


# --- all of it ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Report:
    rounds: int
    processes: int
    seed: int
    seconds: float = 0
    acts: Counter[tuple[str, str]] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [f"  {act:9}{answer:15}{count:8}" for (act, answer), count in sorted(self.acts.items())]
        ends = ", ".join(f"{count} {status}" for status, count in sorted(self.ends.items()))
        lines = [
            f"{self.rounds} rounds of {self.processes} processes at one key, seed {self.seed}: {self.seconds:.0f} s",
            *rows,
            f"  left by the rounds, before the last sweep: {ends}",
            f"  violations: {len(self.violations)}",
            *(f"    {violation}" for violation in self.violations[:20]),
        ]
        return "\n".join(lines)


def race(rounds: int, processes: int = 8, seed: int = 1, lanes: int = LANES) -> Report:
    """Let them race against the servers that the environment names, and judge them."""
    run, began = str(secrets.randbelow(9 * 10**9) + 10**9), time.monotonic()
    report = Report(rounds, processes, seed)
    outcomes, bugs = let_them_run(rounds, processes, seed, run, lanes)
    report.violations += bugs
    races = [plan(seed, number, processes, run) for number in range(rounds)]
    if not bugs:
        for one in races:
            outcome = outcomes[one.number]
            report.acts.update((done.act, done.answer) for done in outcome.done)
            report.ends[outcome.left.status if outcome.left else "?"] += 1
            report.violations += [f"round {one.number}, {one.begins}: {wrong}" for wrong in judge(one, outcome)]
        report.violations += settle(races, outcomes, run)
    report.seconds = time.monotonic() - began
    return report


def let_them_run(rounds: int, processes: int, seed: int, run: str, lanes: int) -> tuple[dict[int, Outcome], list[str]]:
    spawn = multiprocessing.get_context("spawn")  # this process has threads and connections, which a fork would share
    shared = [Lane(spawn.Barrier(processes), spawn.Array("c", 200)) for _ in range(lanes)]
    started, pipes = [], []
    for me in range(processes):
        ours, theirs = spawn.Pipe(duplex=False)
        runner = Runner(me, processes, rounds, seed, run, shared)
        process = spawn.Process(target=in_a_process, args=(runner, dict(os.environ), theirs))
        process.start()
        theirs.close()
        started.append(process)
        pipes.append(ours)
    try:
        return collect(pipes)
    finally:
        for process in started:
            process.kill()
            process.join()


def collect(pipes: list[Connection]) -> tuple[dict[int, Outcome], list[str]]:
    outcomes: dict[int, Outcome] = defaultdict(Outcome)
    bugs: list[str] = []
    waiting: list[Any] = list(pipes)
    while waiting:
        for pipe in wait_for_any(waiting):
            assert isinstance(pipe, Connection)
            theirs, said = pipe.recv()
            bugs += said
            for number, outcome in theirs.items():
                outcomes[number].done += outcome.done
                outcomes[number].left = outcomes[number].left or outcome.left
            waiting.remove(pipe)
    return outcomes, bugs


@contextlib.contextmanager
def servers_of_our_own() -> Iterator[None]:
    """The three servers, and the environment that points Django at them, as the tests have it."""
    with (
        tempfile.TemporaryDirectory(prefix="uploadkit-", ignore_cleanup_errors=True) as folder,
        localstack.running(Path(folder)) as running,
    ):
        os.environ[servers.FOLDER] = folder
        os.environ[servers.PORTS] = " ".join(str(server.port) for server in running.values())
        servers.point_settings_at_servers("main")
        os.environ["DJANGO_SETTINGS_MODULE"] = "uploadkit.settings"
        import django

        django.setup()
        from django.core.management import call_command

        from files import storage

        call_command("ensure_indexes", stdout=sys.stderr)
        storage.set_up(["http://testserver"])
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description="Many processes at one key at once.")
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--lanes", type=int, default=LANES, help="rounds that are under way at once")
    options = parser.parse_args()
    with servers_of_our_own():
        report = race(options.rounds, options.processes, options.seed, options.lanes)
    sys.stdout.write(f"{report}\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
