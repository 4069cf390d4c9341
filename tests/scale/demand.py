"""People who come again as a browser does, and a watch that asks four times a second and never waits: what each was answered,
and when.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx

from tests.faults.people import Person, Traffic

PAUSE = 0.1  # seconds between a person's uploads
# As static/files.js has it.
RETRIES = 5
BACKOFF, BACKOFF_MOST = 1.0, 30.0  # seconds

WATCHED_EVERY = 0.25  # seconds
WATCHES = 64  # at once, of which each may take seconds
WISH = {"filename": "watch.bin", "contentType": "application/octet-stream", "size": 5}


class Answer(NamedTuple):
    """What somebody asked, when by the monotonic clock, and what came of it; 0: no answer."""

    at: float
    took: float
    what: str
    status: int
    retry_after: str | None

    @property
    def good(self) -> bool:
        return 0 < self.status < HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass
class Demand(Traffic):
    """Traffic through the proxy, all of it written down."""

    pause: float = PAUSE
    pictures: bool = True
    log: list[Answer] = field(default_factory=list)  # list.append is atomic
    gave_up: int = 0  # requests that were refused as often as a browser tries
    closing: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def flowing(self) -> Iterator[Demand]:
        with super().flowing():
            try:
                yield self
            finally:
                self.closing.set()

    @contextlib.contextmanager
    def person(self, session: str, site: str | None = None) -> Iterator[Person]:
        with self.stack.client(session, site) as client, httpx.Client(timeout=10) as outside:
            yield Patient(self, session, client, outside)

    def write_down(self, asked: float, what: str, answer: httpx.Response | None) -> Answer:
        retry_after = answer.headers.get("Retry-After") if answer is not None else None
        status = answer.status_code if answer is not None else 0
        written = Answer(asked, time.monotonic() - asked, what, status, retry_after)
        self.log.append(written)
        if status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is None:
            self.bugs.append(f"{what}: a 503 that does not say when to come again")
        return written


@dataclass
class Patient(Person):
    """Asks again as the browser's queue does: after a while of chance that doubles, and not before it was told to."""

    def ask(self, path: str, method: str = "POST", **options: Any) -> httpx.Response | None:
        demand = self.traffic
        assert isinstance(demand, Demand)
        for tried in range(RETRIES + 1):
            asked = time.monotonic()
            answer = super().ask(path, method, **options)
            written = demand.write_down(asked, kind(path), answer)
            if written.good:
                return answer
            told = float(written.retry_after or 0)
            if demand.closing.wait(told + random.uniform(0, min(BACKOFF_MOST, BACKOFF * 2**tried))):
                return answer
        demand.gave_up += 1
        return answer


def kind(path: str) -> str:
    last = path.rstrip("/").rpartition("/")[2]
    return last if last in ("sign", "confirm", "cancel", "download", "delete", "rename", "share", "restore") else "list"


class Watch:
    """One who signs, confirms and lists, four times a second each, whatever comes of it."""

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.log: list[Answer] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watch]:
        stopping = threading.Event()
        session = self.demand.stack.sessions[0]
        with self.demand.stack.client(session) as client, ThreadPoolExecutor(WATCHES) as pool:
            client.timeout = httpx.Timeout(60)
            confirmed = self._a_file(session)
            thread = threading.Thread(target=self._look, args=(client, pool, confirmed, stopping))
            thread.start()
            try:
                yield self
            finally:
                stopping.set()
                thread.join()

    def _a_file(self, session: str) -> str:
        with self.demand.person(session) as person:
            signed = person.sign(WISH["filename"], WISH["contentType"], b"hello")  # type: ignore[arg-type]
            assert signed and person.send(signed, b"hello")
            person.confirm(signed["key"], "", self.demand.closing)
            del self.demand.acknowledged[signed["key"]]
            return str(signed["key"])

    def _look(self, client: httpx.Client, pool: ThreadPoolExecutor, key: str, stopping: threading.Event) -> None:
        asks: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("POST", "/api/uploads/sign", {"json": WISH}),
            ("POST", "/api/uploads/confirm", {"json": {"key": key}}),
            ("GET", "/files/", {"headers": {"HX-Request": "true"}}),
        )
        while not stopping.wait(WATCHED_EVERY):
            for method, path, options in asks:
                pool.submit(self._ask, client, method, path, options)

    def _ask(self, client: httpx.Client, method: str, path: str, options: dict[str, Any]) -> None:
        asked, answer = time.monotonic(), None
        with contextlib.suppress(httpx.TransportError):
            answer = client.request(method, path, **options)
        self.log.append(self.demand.write_down(asked, kind(path), answer))
        if answer is not None and answer.status_code not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
            self.demand.bugs.append(f"{path}: {answer.status_code} {answer.text[:200]}")
        if answer is None:
            self.demand.bugs.append(f"{path}: nginx did not answer")

    def all_is_well(self, since: float) -> bool:
        """Whether the newest answer of each kind is good, to what was asked after that moment."""
        newest = {answer.what: answer for answer in sorted(self.log) if answer.at >= since}
        return len(newest) == 3 and all(answer.good for answer in newest.values())


# --- what it comes to -------------------------------------------------------------------------------------------------


def refused_for(answers: Iterable[Answer], what: str) -> float:
    """Seconds from the first refusal to the first success after the last one; what is refused to the end counts to there."""
    asked = sorted(answer for answer in answers if answer.what == what)
    refused = [answer for answer in asked if not answer.good]
    if not refused:
        return 0
    after = next((answer.at for answer in asked if answer.good and answer.at > refused[-1].at), asked[-1].at)
    return after - refused[0].at


def longest_silence(answers: Iterable[Answer], began: float) -> float:
    """Seconds between two successes, one after the other, of whatever kind; or from the beginning to the first one."""
    moments = [began, *sorted(answer.at + answer.took for answer in answers if answer.good)]
    return max((later - sooner for sooner, later in itertools.pairwise(moments)), default=0)


def quantile(answers: Iterable[Answer], what: str, share: float) -> float:
    """Milliseconds."""
    times = sorted(answer.took for answer in answers if answer.what == what and answer.good)
    return times[int(len(times) * share)] * 1000 if times else 0
