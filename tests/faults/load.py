"""A thousand uploads in flight for minutes, and none of them lost: from a machine like a laptop, to the site as it is shipped.

    python -m tests.faults.load --uploads 1000 --minutes 5 --seed 1

Each upload is signed, sent slowly (a part of it every few seconds, so that it stays in flight) and confirmed; then the same
client begins the next. Whatever a confirm acknowledged is downloaded at the end and compared. The memory is the proportional
share (PSS) of granian and all its processes, and must at the end be what it was after the first minute.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import itertools
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from tests import servers
from tests.faults import CSRF, Stack, pid_of
from tests.processes import children, prepare

PEOPLE = 50
PACE = 30.0  # seconds that an upload takes on average
PARTS = 8
LARGEST = 256 * 1024
ATTEMPTS = 5  # of a request that got no answer or a 503, as a person tries again
MAY_GROW = 1.10
PATIENCE = 30


class Sample(NamedTuple):
    at: float  # seconds since the beginning
    in_flight: int
    confirmed: int
    megabytes: float


class Acknowledged(NamedTuple):
    session: str
    sha256: str


@dataclass
class Load:
    """So many clients at one site, for so long. All that they were answered is written down."""

    stack: Stack
    sessions: list[str]
    uploads: int
    seconds: float
    seed: int
    pace: float = PACE
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    samples: list[Sample] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    in_flight: int = 0
    began: float = 0

    async def run(self) -> None:
        async with contextlib.AsyncExitStack() as exits:
            self.people = [await exits.enter_async_context(self._client(session)) for session in self.sessions]
            self.outside = await exits.enter_async_context(self._client())
            self.began = time.monotonic()
            clients = [self._live(number) for number in range(self.uploads)]
            watching = asyncio.create_task(self._watch())
            try:
                await asyncio.gather(*clients)
            finally:
                watching.cancel()
            await self._compare_all()

    def _client(self, session: str | None = None) -> httpx.AsyncClient:
        people = {"cookies": {"sessionid": session, "csrftoken": CSRF}, "headers": {"X-CSRFToken": CSRF}} if session else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        return httpx.AsyncClient(timeout=PATIENCE, limits=limits, trust_env=False, verify=False, **people)  # type: ignore[arg-type]

    # --- one client ---

    async def _live(self, number: int) -> None:
        dice = random.Random(f"{self.seed}/{number}")
        # They come one after the other, in about the time that the first takes.
        await asyncio.sleep(dice.uniform(0, min(self.pace / 2, self.seconds / 5)))
        while self._now() < self.seconds:
            self.in_flight += 1
            try:
                await self._upload(number % len(self.people), dice)
            except Exception as error:
                self.lost.append(f"an upload of client {number} ended by {error!r}")
                await asyncio.sleep(1)
            finally:
                self.in_flight -= 1

    async def _upload(self, who: int, dice: random.Random) -> None:
        body = dice.randbytes(dice.randint(1, LARGEST))
        wish = {"filename": "päper.bin", "contentType": "application/octet-stream", "size": len(body)}
        signed = (await self._ask(who, "sign", wish)).json()
        said = await put_slowly(signed["url"], signed["headers"], body, dice.uniform(0.5, 1.5) * self.pace)
        self.answers[f"put {said}"] += 1
        if said != "200":
            raise RuntimeError(f"the bucket said {said}")
        await self._ask(who, "confirm", {"key": signed["key"]})
        self.acknowledged[signed["key"]] = Acknowledged(self.sessions[who], hashlib.sha256(body).hexdigest())

    async def _ask(self, who: int, what: str, body: dict[str, Any]) -> httpx.Response:
        said = "nothing"
        for attempt in range(ATTEMPTS):
            began = time.monotonic()
            try:
                answer = await self.people[who].post(f"{self.stack.site}/api/uploads/{what}", json=body)
            except httpx.TransportError as error:
                said = type(error).__name__
            else:
                said = str(answer.status_code)
                self.took[what].append(time.monotonic() - began)
            self.answers[f"{what} {said}"] += 1
            if said == "200":
                return answer
            await asyncio.sleep(attempt)
        raise RuntimeError(f"{what}: {said}")

    # --- while they are at it, and afterwards ---

    async def _watch(self) -> None:
        step = min(1.0, self.seconds / 20)
        while True:
            self.samples.append(Sample(self._now(), self.in_flight, len(self.acknowledged), memory(pid_of(self.stack.web))))
            await asyncio.sleep(step)

    async def _compare_all(self) -> None:
        """Download all that was acknowledged, a few at a time."""
        left = iter(list(self.acknowledged.items()))
        await asyncio.gather(*(self._compare(left) for _ in range(16)))

    async def _compare(self, files: Iterator[tuple[str, Acknowledged]]) -> None:
        for key, file in files:
            person = self.people[self.sessions.index(file.session)]
            location = await person.get(f"{self.stack.site}/files/{key}/download")
            body = await self.outside.get(location.headers.get("Location", f"{self.stack.site}/nowhere"))
            if body.status_code != HTTPStatus.OK or hashlib.sha256(body.content).hexdigest() != file.sha256:
                self.lost.append(
                    f"{key} was acknowledged: {location.status_code}, {body.status_code}, {len(body.content)} bytes"
                )

    def _now(self) -> float:
        return time.monotonic() - self.began

    # --- what it comes to ---

    @property
    def warm(self) -> float:
        """When the first minute is over; of a shorter run the first third."""
        return min(60, self.seconds / 3)

    def under_load(self) -> list[Sample]:
        return [sample for sample in self.samples if self.warm <= sample.at <= self.seconds]

    def levels(self) -> tuple[float, float]:
        """Megabytes after the first minute and at the end, each over ten seconds."""
        samples, over = self.under_load(), min(10, self.seconds / 6)
        first = [sample.megabytes for sample in samples if sample.at <= self.warm + over]
        last = [sample.megabytes for sample in samples if sample.at >= self.seconds - over]
        return statistics.mean(first), statistics.mean(last)

    def faults(self) -> list[str]:
        first, last = self.levels()
        fewest = min(sample.in_flight for sample in self.under_load())
        wrong = [said for said in self.answers if not said.endswith(" 200")]
        return [
            *self.lost,
            *([f"memory grew from {first:.0f} to {last:.0f} MB"] if last > first * MAY_GROW else []),
            *([f"only {fewest} uploads were in flight"] if fewest < self.uploads else []),
            *([f"not all answers were 200: {', '.join(wrong)}"] if wrong else []),
        ]

    def __str__(self) -> str:
        first, last = self.levels()
        answers = ", ".join(f"{said}: {count}" for said, count in sorted(self.answers.items()))
        return "\n".join(
            [
                f"{self.uploads} uploads in flight for {self.seconds:.0f} s, seed {self.seed}",
                f"  confirmed and compared {len(self.acknowledged)}, lost {len(self.lost)}",
                f"  answers        {answers}",
                *(f"  {what:8} p50 {ms(times, 0.5)}, p99 {ms(times, 0.99)}" for what, times in self.took.items()),
                f"  web tier       {first:.0f} MB after {self.warm:.0f} s, {last:.0f} MB at the end ({last / first - 1:+.1%})",
                f"  {'at':>6}{'in flight':>12}{'confirmed':>12}{'MB':>8}",
                *(f"  {s.at:5.0f}s{s.in_flight:12}{s.confirmed:12}{s.megabytes:8.0f}" for s in thinned(self.samples, 12)),
                *(f"  FAULT: {fault}" for fault in self.faults()[:20]),
            ]
        )


async def put_slowly(url: str, headers: dict[str, str], body: bytes, seconds: float) -> str:
    """Send the body in parts, evenly over so many seconds; return the status. By hand: httpx looks through a thousand
    connections for each that it opens or closes, and would be what is measured.
    """
    to = urlsplit(url)
    fields = {**headers, "Host": to.netloc, "Content-Length": str(len(body)), "Connection": "close"}
    head = [f"PUT {to.path}?{to.query} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    async with asyncio.timeout(seconds + PATIENCE):
        answer, request = await asyncio.open_connection(to.hostname, to.port)
        with contextlib.closing(request):
            request.write("\r\n".join(head).encode())
            step = -(-len(body) // PARTS)
            for start in range(0, len(body), step):
                request.write(body[start : start + step])
                await request.drain()
                await asyncio.sleep(seconds / PARTS)
            return (await answer.readline()).decode().split()[1]


def memory(pid: int) -> float:
    """Megabytes of a process and all that it started: what is theirs alone and their share of the rest (PSS)."""
    total = 0
    for member in family(pid):
        with contextlib.suppress(OSError):  # it ended meanwhile
            rollup = Path(f"/proc/{member}/smaps_rollup").read_text()
            total += int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
    return total / 1024


def family(pid: int) -> list[int]:
    return [pid, *itertools.chain.from_iterable(family(child) for child in children(pid))]


def ms(times: list[float], share: float) -> str:
    return f"{sorted(times)[int(len(times) * share)] * 1000:.0f} ms"


def thinned(samples: list[Sample], count: int) -> Iterable[Sample]:
    return samples[:: max(1, len(samples) // count)]


# --- all of it ------------------------------------------------------------------------------------------------------


def put_load_on(stack: Stack, uploads: int, seconds: float, seed: int, pace: float = PACE) -> Load:
    """Let them upload to a stack that runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    people = [f"person-{number}" for number in range(min(PEOPLE, uploads))]
    load = Load(stack, prepare(stack.folder, stack.environment, *people), uploads, seconds, seed, pace)
    run_apart(load)
    return load


def run_apart(load: Load) -> None:
    """In a thread of its own: this one may have an event loop already, Playwright's."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, load.run()).result()


@contextlib.contextmanager
def stack_of_our_own(**environment: str) -> Iterator[Stack]:
    """A stack for a program that is no test: with the settings of the tests, and what is given here over them."""
    with tempfile.TemporaryDirectory(prefix="uploadkit-", ignore_cleanup_errors=True) as folder:
        os.environ |= {servers.FOLDER: folder, servers.PORTS: "1 1 1"}  # a stack names its own
        servers.point_settings_at_servers("main")
        stack = Stack(Path(folder))
        stack.environment |= environment
        # What serves a laptop in 256 MiB does nothing but collect garbage with a thousand uploads open.
        stack.seaweedfs.env = {"GOMEMLIMIT": "2GiB"}
        with stack.running():
            yield stack


def main() -> int:
    parser = argparse.ArgumentParser(description="Keep many uploads in flight, and lose none.")
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--pace", type=float, default=PACE, help="seconds that an upload takes on average")
    options = parser.parse_args()
    with stack_of_our_own() as stack:
        load = put_load_on(stack, options.uploads, options.minutes * 60, options.seed, options.pace)
    sys.stdout.write(f"{load}\n")
    return 1 if load.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
