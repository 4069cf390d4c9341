"""The first page of somebody who has fifty files, and of somebody who has a million: newest first, and asked for otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from bench import wrk
from bench.effort import Effort
from bench.findings import RATES, Bar, Findings, Ratio, Table
from bench.floors import load
from bench.seed import LISTED, documents
from bench.stack import Person, Site, Stack, people

MOST, MOST_OTHERWISE = 1.1, 1.3
NEWEST = "newest first"
ASKED = {  # how else a list is asked for: what its address says
    "by name": "sort=name",
    "largest first": "sort=size",
    "of one kind": "kind=image",
    "of one kind, by name": "kind=image&sort=name",
    "a word in a third of the names": "q=photo",
    "a word in one name of a thousand": "q=0043",
    "two words": "q=photo+0043",
    "a word, largest first": "q=photo&sort=size",
}


@dataclass(frozen=True)
class Page:
    files: int
    p50: float  # milliseconds, of one request at a time
    cpu: float


Pages = dict[str, list[Page]]  # of few files and of many


def measure(stack: Stack, effort: Effort) -> Pages:
    sides = list(zip(people(2), effort.list_sizes, strict=True))
    # Those of whom has few are found by whatever is asked for, so that both pages have fifty rows.
    for (person, count), listed in zip(sides, (LISTED[43:44], LISTED), strict=True):
        stack.write(documents(person.owner_id, count, "ready", timedelta(hours=1), listed))
    with stack.serving() as site:
        pages = {NEWEST: best(site, sides, "", max(1, effort.seconds // 2), effort.rounds)}
        asked = list(ASKED.items())[: effort.lists]
        pages |= {name: best(site, sides, f"?{query}", 1, effort.rounds) for name, query in asked}
    stack.forget()
    return pages


def best(site: Site, sides: list[tuple[Person, int]], query: str, seconds: int, rounds: int) -> list[Page]:
    """Turn by turn, so that what disturbs the one disturbs the other. The first turn warms up and does not count."""
    turns = [[page(site, person, count, query, seconds) for person, count in sides] for _ in range(rounds + 1)]
    return [min(pages, key=lambda page: page.p50) for pages in zip(*turns[1:], strict=True)]


def page(site: Site, person: Person, count: int, query: str, seconds: int) -> Page:
    found = load(site, [wrk.request("GET", f"/files/{query}", person.headers())], 1, seconds)
    return Page(count, found.answers.p50, found.cpu)


def findings(pages: Pages) -> Findings:
    rows = [
        (f"{name}, of {page.files:,} files", f"{page.p50:.2f}", f"{page.cpu:.2f}") for name in pages for page in pages[name]
    ]
    few, many = pages[NEWEST]
    return Findings(
        ratios=list(ratios(pages)),
        tables=[Table("List: the first page, one request at a time", ("", "p50 ms", "CPU ms"), rows)],
        bars=[Bar(RATES, "list of a million, to one of fifty", few.p50 / many.p50, aim=1 / MOST)],
    )


def ratios(pages: Pages) -> Iterator[Ratio]:
    for name, (few, many) in pages.items():
        asked, most = ("", MOST) if name == NEWEST else (f", {name}", MOST_OTHERWISE)
        ratio = many.p50 / few.p50
        said = f"first page of {many.files:,} files{asked}: its time to that of {few.files}"
        yield Ratio(said, ratio, f"{most} at most", ratio <= most)
