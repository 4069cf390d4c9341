"""The admin's pages over ten thousand documents and over ten million: what operations looks at when something is wrong."""

from __future__ import annotations

import http.client
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench import seed
from bench.effort import Effort
from bench.findings import Findings, Ratio, Table
from bench.stack import Site, Stack, staff
from uploadkit.localstack import HOST

MOST = 1.5  # times as long as with few documents
CACHE = "2G"  # of MongoDB, which by itself takes half of the memory
ASKED = 15  # times in a round
PATIENCE = 60  # seconds for a page
NO_SUCH_PAGE = (302, 404)  # the admin redirects from what it takes for a file that is gone
# What the release and the beat would have done by then.
SETTLED = (("ensure_indexes", "--again"), ("reconcile_quota", "--fix"))
COUNTED = "import django; django.setup(); from files import tasks; getattr(tasks, 'count_days', lambda: None)()"

FILES = "/admin/files/storedfile/"
PAGES = {
    "dashboard": "/admin/",
    "list": FILES,
    "list, of one status": f"{FILES}?status__exact=rejected",
    "search by the beginning of one key": f"{FILES}?q={{one}}",
    "search by the beginning of the keys of the owner with a tenth": f"{FILES}?q=u/{seed.LARGEST}/",
    "list, of the owner with a tenth": f"{FILES}?owner={seed.LARGEST}",
    "page of the owner with a tenth": f"{FILES}owner/{seed.LARGEST}/",
    "page of an owner in the middle": f"{FILES}owner/{seed.OWNERS[100]}/",
}


@dataclass(frozen=True)
class Side:
    documents: int
    site: Site
    one: str  # the beginning of a key


@dataclass(frozen=True)
class Page:
    documents: int
    status: int
    milliseconds: float  # the median of one request at a time


@dataclass
class Measured:
    sizes: tuple[int, int]
    seeded: list[float] = field(default_factory=list)  # seconds
    pages: dict[str, list[Page]] = field(default_factory=dict)


def measure(stack: Stack, effort: Effort) -> Measured:
    stack.cache(CACHE)
    measured = Measured(effort.administered)
    session = staff()
    with ExitStack() as sites:
        sides = []
        for number, count in enumerate(effort.administered, 1):
            there = {"MONGODB_URI": stack.database(f"admin-{count}"), "REDIS_URL": stack.redis(number)}
            measured.seeded.append(seeded(stack, count, there))
            sides.append(Side(count, sites.enter_context(stack.serving(**there)), beginning_of_one(there["MONGODB_URI"])))
        for name, path in PAGES.items():
            measured.pages[name] = best(sides, path, session, effort.rounds)
    return measured


def seeded(stack: Stack, count: int, there: dict[str, str]) -> float:
    began = time.perf_counter()
    stack.manage("ensure_indexes", **there)
    seed.fill(there["MONGODB_URI"], count)
    for command in SETTLED:
        stack.manage(*command, **there)
    stack.python("-c", COUNTED, **there)
    took = time.perf_counter() - began
    print(f"{count:,} documents in {took:.0f} s …", end=" ", file=sys.stderr, flush=True)
    return took


def beginning_of_one(uri: str) -> str:
    """So much of a key that no other begins so."""
    with seed.connected(uri) as files:
        found = files.find_one({"owner_id": seed.LARGEST, "status": "ready"}, {"_id": 1})
    assert found, "the owner with a tenth has some"
    return str(found["_id"][:-15])


def best(sides: list[Side], path: str, session: str, rounds: int) -> list[Page]:
    """Turn by turn, so that what disturbs the one disturbs the other. The first turn warms up and does not count."""
    turns = [[page(side, path.format(one=side.one), session) for side in sides] for _ in range(rounds + 1)]
    return [min(pages, key=lambda page: page.milliseconds) for pages in zip(*turns[1:], strict=True)]


def page(side: Side, path: str, session: str) -> Page:
    times, status = [], 0
    connection = http.client.HTTPConnection(HOST, side.site.port, timeout=PATIENCE)
    for _ in range(ASKED):
        began = time.perf_counter()
        connection.request("GET", path, headers={"Host": HOST, "Cookie": f"sessionid={session}"})
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - began)
        status = answer.status
        if status != 200 or times[-1] > 1:
            break  # no more has to be known
    connection.close()
    return Page(side.documents, status, statistics.median(times) * 1000)


# --- as tables ------------------------------------------------------------------------------------------------------


def findings(measured: Measured) -> Findings:
    few, many = measured.sizes
    missing = [name for name, pages in measured.pages.items() if pages[0].status in NO_SUCH_PAGE]
    rows = [
        (name, *(f"{page.milliseconds:.1f}" if page.status == 200 else f"({page.status})" for page in pages))
        for name, pages in measured.pages.items()
        if name not in missing
    ]
    said = (
        f"MongoDB had a cache of {CACHE}. Writing {many:,} documents with their indexes, quotas and daily counts took "
        f"{measured.seeded[-1]:.0f} s."
    )
    notes = [
        said,
        *(f"Not measured, since there is no such page: {name}." for name in missing),
    ]
    columns = ("", f"ms, {few:,} documents", f"ms, {many:,} documents")
    return Findings(ratios=list(ratios(measured)), tables=[Table("Admin: one request at a time", columns, rows, notes)])


def ratios(measured: Measured) -> Iterator[Ratio]:
    for name, (few, many) in measured.pages.items():
        if few.status in NO_SUCH_PAGE:
            continue
        ratio, right = many.milliseconds / few.milliseconds, few.status == many.status == 200
        said = f"admin's {name}: its time at {many.documents:,} documents to that at {few.documents:,}"
        yield Ratio(said, ratio, f"{MOST} at most", right and ratio <= MOST)
