"""Fifty processes of one user sign as fast as they can: twenty get through in any 60 s, never 21, and never fewer.

    python -m tests.faults.limiter --processes 50 --minutes 3 --seed 1

Times are of the wall clock, which is the one that Redis counts by and, on one machine, the same for all. Each signing
counted at some moment between the request's start and the end of its answer; what is judged below holds whichever moment
that was, so that an alarm is never a false one. The first twenty are spread over 40 s, so that each leaves the window at a
moment of its own and is followed by one that comes in.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.faults import CSRF, Stack
from tests.faults.load import stack_of_our_own
from uploadkit import localstack
from uploadkit.localstack import Process

LIMIT = 20
WINDOW = 60
PAUSE = 0.2  # seconds between an answer and the next request of one process
SPREAD = 40  # seconds over which the first twenty come

# Without Django, so that fifty of them start within a second; and a request in one piece, as browsers send it.
CLIENT = """
import http.client, json, socket, sys, time
order = json.loads(sys.argv[1])
site = None

def ask():
    global site
    sent = time.time()
    try:
        site = site or socket.create_connection((order["host"], order["port"]), timeout=30)
        site.sendall(order["request"].encode())
        answer = http.client.HTTPResponse(site, method="POST")
        answer.begin()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        site = None
        return sent, time.time(), type(error).__name__, None
    return sent, time.time(), str(answer.status), answer.headers.get("Retry-After")

asked = []
for moment in order["moments"]:
    time.sleep(max(0, moment - time.time()))
    asked.append(ask())
    site = None  # until the next it may be a while, and the server ends what is idle
time.sleep(max(0, order["start"] - time.time()))
while time.time() < order["end"]:
    asked.append(ask())
    time.sleep(order["pause"])
print(json.dumps(asked))
"""


class Asked(NamedTuple):
    """One request: when it was sent and answered, by what, and in how many seconds to come again."""

    sent: float
    answered: float
    status: str
    retry_after: str | None = None

    @property
    def signed(self) -> bool:
        return self.status == "200"


# --- what must hold -------------------------------------------------------------------------------------------------


@dataclass
class Judge:
    """`asked` is everything that the user ever asked. The n-th signing counted between the n-th start and the n-th end."""

    asked: list[Asked]
    signed: list[Asked] = field(init=False)
    starts: list[float] = field(init=False)
    ends: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.signed = [one for one in self.asked if one.signed]
        self.refused = [one for one in self.asked if one.status == "429"]
        self.starts = sorted(one.sent for one in self.signed)
        self.ends = sorted(one.answered for one in self.signed)

    def most(self) -> int:
        """The most signings that certainly lay within some 60 s: sent after its first moment, answered before its last."""
        return max((self._surely_within(start) for start in self.starts), default=0)

    def _surely_within(self, start: float) -> int:
        return sum(one.sent >= start and one.answered <= start + WINDOW for one in self.signed)

    def fewest(self) -> int | None:
        """The fewest signings that may have lain in the 60 s before a refusal; None if nobody was refused."""
        return min((self._maybe_before(one) for one in self.refused), default=None)

    def _maybe_before(self, refusal: Asked) -> int:
        # All that may have counted before it, without those that had certainly left.
        return bisect.bisect_right(self.starts, refusal.answered) - bisect.bisect_left(self.ends, refusal.sent - WINDOW)

    def longest_wait(self) -> float | None:
        """Seconds from one signing to the 20th after it, at the least that they may have been: how late the door opened."""
        pairs = zip(self.ends, self.starts[LIMIT:], strict=False)
        return max((later - earlier for earlier, later in pairs), default=None)

    def true_answers(self, refusal: Asked) -> range:
        """What Retry-After may say: the seconds, rounded up, until the oldest of the twenty has left."""
        surely, maybe = bisect.bisect_left(self.ends, refusal.sent), bisect.bisect_right(self.starts, refusal.answered)
        oldest_from, oldest_to = self.starts[max(0, surely - LIMIT)], self.ends[max(0, maybe - LIMIT)]
        least, most = oldest_from + WINDOW - refusal.answered, oldest_to + WINDOW - refusal.sent
        return range(max(1, math.ceil(least)), max(1, math.ceil(most)) + 1)

    def faults(self) -> Iterator[str]:
        others = Counter(one.status for one in self.asked) - Counter({"200": len(self.signed), "429": len(self.refused)})
        yield from (f"{count} answers were {status}" for status, count in others.items())
        if self.most() > LIMIT:
            yield f"{self.most()} signings within {WINDOW} s"
        fewest = self.fewest()
        if fewest is None:
            yield "nobody was refused, so that nothing is shown"
        elif fewest < LIMIT:
            yield f"somebody was refused after {fewest} signings in {WINDOW} s"
        untrue = [one for one in self.refused if not self._says_true(one)]
        if untrue:
            yield f"{len(untrue)} answers had no true Retry-After, like {untrue[0]}: {self.true_answers(untrue[0])}"

    def _says_true(self, refusal: Asked) -> bool:
        said = refusal.retry_after or ""
        return said.isdecimal() and bool(self.signed) and int(said) in self.true_answers(refusal)


# --- all of it ------------------------------------------------------------------------------------------------------


@dataclass
class Crowd:
    """Processes of one user, which all ask from `spread` seconds on until the end; before, they come in one by one."""

    stack: Stack
    session: str
    processes: int
    seconds: float
    seed: int
    spread: float = SPREAD
    pause: float = PAUSE
    past: list[Asked] = field(default_factory=list)  # signings from before that count still
    asked: list[Asked] = field(default_factory=list)
    clock_moved: float = 0

    def run(self) -> None:
        start = time.time() + 1  # when the last process is there
        difference = time.time() - time.monotonic()
        group = localstack.Group()
        processes = [self._process(number, moments, start) for number, moments in enumerate(self._moments(start))]
        try:
            group.start(*processes)
            for process in processes:
                assert process.popen is not None
                assert process.popen.wait(self.seconds + 60) == 0, process.last_words()
        finally:
            group.stop()
        self.clock_moved = time.time() - time.monotonic() - difference
        self.asked = [*self.past, *(one for process in processes for one in said(process))]

    def _moments(self, start: float) -> list[list[float]]:
        """When each process asks before all do: twenty times in all, some of them at once."""
        dice = random.Random(self.seed)
        together = [start + dice.uniform(0, self.spread) for _ in range(LIMIT * 2 // 3)]
        moments: list[list[float]] = [[] for _ in range(self.processes)]
        for number in range(LIMIT if self.spread else 0):
            moments[number % self.processes].append(together[number] if number < len(together) else dice.choice(together))
        return [sorted(some) for some in moments]

    def _process(self, number: int, moments: list[float], start: float) -> Process:
        host, port = self.stack.site.removeprefix("http://").split(":")
        order = {
            "host": host,
            "port": int(port),
            "request": request(host, self.session),
            "moments": moments,
            "start": start + self.spread,
            "end": start + self.seconds,
            "pause": self.pause,
        }
        log = localstack.log_file(self.stack.folder.parent, f"client-{number}")
        log.unlink(missing_ok=True)
        return Process(f"client {number}", [sys.executable, "-S", "-c", CLIENT, json.dumps(order)], None, log)

    def judge(self) -> Judge:
        return Judge(self.asked)

    def __str__(self) -> str:
        judge = self.judge()
        wait = judge.longest_wait()
        return "\n".join(
            [
                f"{self.processes} processes of one user for {self.seconds:.0f} s, seed {self.seed}",
                f"  signed                                {len(judge.signed):8}",
                f"  refused                               {len(judge.refused):8}",
                f"  most signed in any 60 s               {judge.most():8}",
                f"  fewest in the 60 s before a refusal   {judge.fewest():8}",
                *([f"  longest from one to the 20th after it {wait:8.3f} s"] if wait else []),
                f"  wall clock against the monotonic one  {self.clock_moved * 1000:+8.1f} ms",
                *(f"  FAULT: {fault}" for fault in judge.faults()),
            ]
        )


def request(host: str, session: str) -> str:
    wish = json.dumps({"filename": "a.bin", "contentType": "application/octet-stream", "size": 5})
    head = [
        "POST /api/uploads/sign HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(wish)}",
        f"Cookie: sessionid={session}; csrftoken={CSRF}",
        f"X-CSRFToken: {CSRF}",
    ]
    return "\r\n".join([*head, "", wish])


def said(process: Process) -> list[Asked]:
    assert process.log is not None
    return [Asked(*one) for one in json.loads(process.log.read_text())]


def main() -> int:
    parser = argparse.ArgumentParser(description="Sign from many processes of one user, and count.")
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds between an answer and the next request")
    options = parser.parse_args()
    with stack_of_our_own(SIGNINGS_PER_MINUTE=str(LIMIT)) as stack:
        crowd = Crowd(stack, stack.sessions[0], options.processes, options.minutes * 60, options.seed, pause=options.pause)
        crowd.run()
    sys.stdout.write(f"{crowd}\n")
    return 1 if any(crowd.judge().faults()) else 0


if __name__ == "__main__":
    sys.exit(main())
