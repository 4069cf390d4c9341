"""`make bench`: all parts in order, or those that are named. Figures go to standard output, progress to standard error."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

from bench import admin, bytes, checks, cleanup, floors, lists, machine, page, profile, reconcile, requests, start, wrk  # noqa: A004
from bench.effort import FULL, QUICK, Effort
from bench.findings import Findings, text
from bench.floors import Floors
from bench.stack import Stack, running
from uploadkit.localstack import Failed

PARTS = ("floors", "requests", "bytes", "list", "cleanup", "start")
PARTS_OF_THE_PAGE = (*PARTS, "profile")
TITLES = {
    "floors": "what the servers and a bare application cost",
    "requests": "sign, confirm, list and 401",
    "bytes": "a large file, by browser and by curl",
    "list": "the first page of fifty files and of a million",
    "cleanup": "sweeps of expired uploads",
    "start": "the start of make run",
    "profile": "where the time goes",
    "checks": "the memory of a worker that checks large files",
    "admin": "the admin's pages over ten million documents",
    "reconcile": "the bucket against MongoDB, a million keys of each",
}


def main() -> None:
    arguments = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))
    try:
        with ExitStack() as stack:
            bench = Bench(effort(arguments), stack)
            for part in arguments.parts or (PARTS_OF_THE_PAGE if arguments.page else PARTS):
                bench.run(part)
            report(bench, write_page=arguments.page)
    except (wrk.Wrong, Failed) as error:
        sys.exit(f"The bench stopped, since its figures would be wrong. {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped.")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m bench", description="What uploadkit costs here, beside the floors of this machine."
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(TITLES)} (default: {', '.join(PARTS)})")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md and its chart too, with profile")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of everything: shows that the bench works, and no figures to quote"
    )
    parser.add_argument("--documents", type=int, help=f"of admin, in the place of {FULL.administered[1]:,}: a rehearsal")
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in TITLES]:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(TITLES)}")
    if arguments.page and (arguments.parts or arguments.quick):
        parser.error("the page is made of all parts, and not of quick ones")
    return arguments


def effort(arguments: argparse.Namespace) -> Effort:
    wanted = QUICK if arguments.quick else FULL
    few, many = wanted.administered
    return replace(wanted, administered=(few, arguments.documents or many))


class Bench:
    """The parts, which share servers and floors. Servers start with the first part that needs them."""

    def __init__(self, effort: Effort, exits: ExitStack) -> None:
        self.effort = effort
        self.exits = exits
        self.began = time.monotonic()
        self.findings = Findings()
        self.machine: list[tuple[str, str]] = []
        self._stack: Stack | None = None
        self._floors: Floors | None = None

    @property
    def stack(self) -> Stack:
        if self._stack is None:
            wrk.install()
            self._stack = self.exits.enter_context(running())
            self.machine = machine.described()
        return self._stack

    @property
    def floors(self) -> Floors:
        self._floors = self._floors or floors.measure(self.stack, self.effort)
        return self._floors

    def run(self, part: str) -> None:
        began = time.monotonic()
        print(f"{part}: {TITLES[part]} …", end=" ", file=sys.stderr, flush=True)
        self.findings.add(self.found(part))
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)

    def found(self, part: str) -> Findings:
        match part:
            case "floors":
                return floors.findings(self.floors)
            case "requests":
                return requests.findings(requests.measure(self.stack, self.effort), self.floors)
            case "bytes":
                return bytes.findings(bytes.measure(self.stack, self.effort))
            case "list":
                return lists.findings(lists.measure(self.stack, self.effort))
            case "cleanup":
                return cleanup.findings(cleanup.measure(self.stack, self.effort))
            case "start":
                return start.findings(start.measure(self.effort))
            case _:
                return self.found_apart(part)

    def found_apart(self, part: str) -> Findings:
        """By the parts that are run by their names alone."""
        match part:
            case "profile":
                return profile.findings(profile.measure(self.stack, self.effort))
            case "checks":
                return checks.findings(checks.measure(self.stack, self.effort))
            case "admin":
                return admin.findings(admin.measure(self.stack, self.effort))
            case _:
                return reconcile.findings(reconcile.measure(self.stack, self.effort))


def report(bench: Bench, *, write_page: bool) -> None:
    tables = bench.findings.all_tables()
    print(", ".join(f"{name} {value}" for name, value in bench.machine), end="\n\n")
    print("\n".join(text(table) for table in tables))
    seconds = time.monotonic() - bench.began
    print(f"All of it took {seconds / 60:.1f} minutes.")
    if write_page:
        for path in page.write(bench.machine, bench.findings, seconds):
            print(f"Written: {path}")


if __name__ == "__main__":
    main()
