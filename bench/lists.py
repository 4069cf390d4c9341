"""The first page of somebody who has fifty files, and of somebody who has a million."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from bench import wrk
from bench.effort import Effort
from bench.findings import RATES, Bar, Findings, Ratio, Table
from bench.floors import load
from bench.stack import Person, Site, Stack, documents, people

MOST = 1.1


@dataclass(frozen=True)
class Page:
    files: int
    p50: float  # milliseconds, of one request at a time
    cpu: float


def measure(stack: Stack, effort: Effort) -> list[Page]:
    """Turn by turn, so that what disturbs the one disturbs the other; the best of each."""
    owners = people(2)
    for person, count in zip(owners, effort.list_sizes, strict=True):
        stack.write(documents(person.owner_id, count, "ready", timedelta(hours=1)))
    with stack.serving() as site:
        rounds = [
            [
                page(site, person, count, max(1, effort.seconds // 2))
                for person, count in zip(owners, effort.list_sizes, strict=True)
            ]
            for _ in range(effort.rounds + 1)
        ]
    stack.forget()
    # The first round warms up the servers and does not count.
    return [min(pages, key=lambda page: page.p50) for pages in zip(*rounds[1:], strict=True)]


def page(site: Site, person: Person, count: int, seconds: int) -> Page:
    found = load(site, [wrk.request("GET", "/files/", person.headers())], 1, seconds)
    return Page(count, found.answers.p50, found.cpu)


def findings(pages: list[Page]) -> Findings:
    few, many = pages
    ratio = many.p50 / few.p50
    rows = [(f"of {page.files:,} files", f"{page.p50:.2f}", f"{page.cpu:.2f}") for page in pages]
    return Findings(
        ratios=[
            Ratio(
                f"first page of {many.files:,} files: its time to that of {few.files}", ratio, f"{MOST} at most", ratio <= MOST
            )
        ],
        tables=[Table("List: the first page, one request at a time", ("", "p50 ms", "CPU ms"), rows)],
        bars=[Bar(RATES, "list of a million, to one of fifty", few.p50 / many.p50, aim=1 / MOST)],
    )
