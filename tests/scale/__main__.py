"""`make scale`: the site on several machines, all of them this one, while its parts are killed in turn and people upload.

    python -m tests.scale
    python -m tests.scale --quick
    python -m tests.scale --page

With --page what it prints takes its place in docs/scaling.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from bench import machine, proc
from tests import servers as settings_of_tests
from tests.faults.invariants import settle, violations
from tests.faults.stack import pid_of
from tests.processes import ROOT, wait_until
from tests.scale.cluster import PEOPLE, Cluster
from tests.scale.demand import Answer, Demand, Watch, longest_silence, quantile, refused_for
from uploadkit.localstack import Process

PAGE = ROOT / "docs" / "scaling.md"
MEASURED = re.compile(r"(<!-- measured: .*? -->\n).*(<!-- end of what was measured -->)", re.DOTALL)
WATCHED = ("sign", "confirm", "list")
SIZES = (10, 5_000, 50_000)  # bytes
BUSY = 1.0  # a load from which on the page says so
WELL_WITHIN = 60  # seconds, after what was killed is back
OWN, FAST = 10_000, 2_000  # electionTimeoutMillis: MongoDB's own, and one for machines that are near each other


@dataclass(frozen=True)
class Pace:
    """In seconds: before the first fault and after the last, and between two."""

    calm: float
    between: float
    factor: float  # of how long something is away


FULL, QUICK = Pace(25, 8, 1), Pace(4, 2, 0.3)


@dataclass(frozen=True)
class Fault:
    """What is done, for how many seconds, and what brings it back."""

    name: str
    begin: Callable[[], Callable[[], None]]
    lasts: float
    at_full_length_only: bool = False


@dataclass
class Span:
    """What was answered while something was away and until all was well again."""

    name: str
    began: float
    answers: list[Answer]
    watched: list[Answer]


@dataclass
class Calm:
    """What was answered while nothing was away, and the CPU that each part took for it, in milliseconds an upload."""

    seconds: float
    answers: list[Answer]
    uploads: int
    cpu: dict[str, float]

    def __str__(self) -> str:
        times = [(quantile(self.answers, what, 0.5), quantile(self.answers, what, 0.99)) for what in WATCHED[:2]]
        figures = "".join(f"{f'{p50:.0f} ms':>13}{f'{p99:.0f} ms':>9}" for p50, p99 in times)
        return f"{self.uploads / self.seconds:10.1f}{len(self.answers) / self.seconds:12.0f}{figures}"


@dataclass
class Report:
    seed: int
    load: float  # of the machine, before we add to it
    seconds: float = 0
    idle: dict[str, float] = field(default_factory=dict)  # percent of a core, with nobody there
    calms: dict[str, Calm] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    acknowledged: int = 0
    deleted: int = 0
    gave_up: int = 0
    document: int = 0  # bytes
    still_checking: int = 0
    started_again: Counter[str] = field(default_factory=Counter)
    violated: list[str] = field(default_factory=list)

    def count(self, *words: str) -> int:
        return sum(any(word in line for word in words) for line in self.violated)

    def __str__(self) -> str:
        bugs = sum(n for status, n in self.answers.items() if status >= 500 and status != HTTPStatus.SERVICE_UNAVAILABLE)
        answers = ", ".join(f"{n} of {status or 'none'}" for status, n in sorted(self.answers.items()))
        return "\n".join(
            [
                f"{len(PEOPLE)} people and a watch, seed {self.seed}: {self.seconds:.0f} s",
                f"  answers               {answers}",
                f"  acknowledged, kept    {self.acknowledged}; deleted by their owners: {self.deleted}",
                f"  lost                  {self.count('was acknowledged', 'there is no object')}",
                f"  orphans               {self.count('without a document')}",
                f"  500s                  {bugs}",
                f"  503s that do not say when to come again: {self.count('when to come again')}",
                f"  requests that a browser would have given up: {self.gave_up}",
                f"  still checking 15 s after all was over: {self.still_checking}",
                f"  ended by themselves   {', '.join(f'{name} {n}' for name, n in self.started_again.items()) or 'none'}",
                f"  violations            {len(self.violated)}",
                *(f"    {line}" for line in self.violated[:20]),
                "",
                f"  {'':42}{'seconds in which were refused':^31}{'503s':>7}{'slowest':>10}{'longest':>10}",
                f"  {'':42}{'sign':>9}{'confirm':>11}{'list':>9}{'':9}{'answer':>10}{'silence':>10}",
                *(f"  {line_of(span)}" for span in self.spans),
                "",
                f"  {'':10}{'uploads/s':>10}{'requests/s':>12}{'sign p50':>13}{'p99':>9}{'confirm p50':>13}{'p99':>9}",
                *(f"  {name:10}{calm}" for name, calm in self.calms.items()),
                "",
                "  CPU, ms for an upload with all that people do beside it, besides what is taken with nobody there",
                *(
                    f"    {name:24}"
                    + "".join(f"{calm.cpu[name]:8.2f} {when}" for when, calm in self.calms.items())
                    + f"{idle:10.1f} % of a core"
                    for name, idle in self.idle.items()
                ),
                "",
                f"  a document of files is {self.document} bytes on average",
            ]
        )


def line_of(span: Span) -> str:
    sign, confirm, listed = (f"{refused_for(span.watched, what):.1f}" for what in WATCHED)
    refused = sum(not answer.good for answer in span.answers)
    slowest = max((answer.took for answer in span.answers), default=0)
    silence = longest_silence(span.answers, span.began)
    return f"{span.name:42}{sign:>9}{confirm:>11}{listed:>9}{refused:9}{slowest:8.1f} s{silence:8.1f} s"


# --- the faults -------------------------------------------------------------------------------------------------------


def faults(cluster: Cluster) -> list[Fault]:
    replica_set = cluster.replica_set

    def killed(process: Callable[[], Process]) -> Callable[[], Callable[[], None]]:
        return lambda: kill(cluster, process())

    def faster_elections() -> Callable[[], None]:
        replica_set.set_election(FAST)
        return kill(cluster, replica_set.primary())

    def step_down() -> Callable[[], None]:
        replica_set.step_down()
        return lambda: wait_until(replica_set.is_whole, "the nodes agree", within=60)

    return [
        Fault("MongoDB's primary is killed", killed(replica_set.primary), 20, at_full_length_only=True),
        Fault("… with electionTimeoutMillis 2,000", faster_elections, 12),
        Fault("… or asked to step down", step_down, 3),
        Fault("a secondary is killed", killed(lambda: a_secondary(cluster)), 5, at_full_length_only=True),
        Fault("a web process is killed", killed(lambda: cluster.webs[0]), 6),
        Fault("all web processes are killed", lambda: kill(cluster, *cluster.webs), 4),
        Fault("a worker is killed", killed(lambda: cluster.workers[0]), 6),
        Fault("a beat is killed", killed(lambda: cluster.beats[0]), 6, at_full_length_only=True),
        Fault("Valkey is killed", killed(lambda: cluster.valkey), 5),
        Fault("Postgres is killed", killed(lambda: cluster.postgres), 5),
    ]


def a_secondary(cluster: Cluster) -> Process:
    primary = cluster.replica_set.primary()
    return next(node for node in cluster.replica_set.nodes if node is not primary)


def kill(cluster: Cluster, *processes: Process) -> Callable[[], None]:
    """kill -9. What is returned starts them again."""
    cluster.away += processes
    for process in processes:
        process.kill()

    def start_again() -> None:
        for process in processes:
            cluster.restart(process)
            cluster.away.remove(process)
        if processes[0] in cluster.replica_set.nodes:
            wait_until(cluster.replica_set.is_whole, "the node has caught up", within=60)

    return start_again


# --- the run ----------------------------------------------------------------------------------------------------------


def play(cluster: Cluster, pace: Pace, report: Report) -> Demand:
    demand = Demand(cluster, str(report.seed), sizes=SIZES)
    report.idle = idle(cluster, pace)
    with demand.flowing():
        demand.wait_for_more(10 * len(PEOPLE))
        report.calms["before"] = calm(cluster, demand, pace, report.idle)
        with Watch(demand).watching() as watch:
            for fault in faults(cluster):
                if pace is FULL or not fault.at_full_length_only:
                    report.spans.append(span_of(cluster, demand, watch, fault, pace))
                    say(f"  {line_of(report.spans[-1])}")
                    cluster.pass_time(pace.between)
        report.calms["after"] = calm(cluster, demand, pace, report.idle)
    return demand


def idle(cluster: Cluster, pace: Pace) -> dict[str, float]:
    """What each part takes with nobody there, in percent of a core."""
    with used_by(cluster) as used:
        cluster.pass_time(pace.calm / 2)
    return {name: 100 * seconds / (pace.calm / 2) for name, seconds in used.items()}


def calm(cluster: Cluster, demand: Demand, pace: Pace, idle: dict[str, float]) -> Calm:
    began = time.monotonic()
    with used_by(cluster) as used:
        cluster.pass_time(pace.calm)
    took = time.monotonic() - began
    answers = [answer for answer in demand.log if answer.at >= began]
    uploads = sum(answer.what == "sign" and answer.status == HTTPStatus.OK for answer in answers)
    spent = {name: 1000 * max(seconds - took * idle[name] / 100, 0) / max(uploads, 1) for name, seconds in used.items()}
    return Calm(took, answers, uploads, spent)


@contextlib.contextmanager
def used_by(cluster: Cluster) -> Iterator[dict[str, float]]:
    """The seconds of CPU that each part uses meanwhile, once it is over."""
    parts, used = cluster.parts(), dict[str, float]()
    before = {name: cpu(processes) for name, processes in parts.items()}
    yield used
    used |= {name: cpu(processes) - before[name] for name, processes in parts.items()}


def cpu(processes: list[Process]) -> float:
    """Seconds that they have used, with all that they started."""
    return sum(proc.cpu(pid_of(process)) for process in processes)


def span_of(cluster: Cluster, demand: Demand, watch: Watch, fault: Fault, pace: Pace) -> Span:
    began = time.monotonic()
    end = fault.begin()
    cluster.pass_time(fault.lasts * pace.factor)
    end()
    back = time.monotonic()

    def is_well() -> bool:
        cluster.supervise()
        return watch.all_is_well(since=back)

    wait_until(is_well, f"all is well after: {fault.name}", within=WELL_WITHIN)
    everybody = [answer for answer in demand.log if answer.at >= began]
    return Span(fault.name, began, everybody, [answer for answer in watch.log if answer.at >= began])


def judge(cluster: Cluster, demand: Demand, report: Report) -> None:
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not cluster.files_that_are("checking"), "the checks are through", within=15)
    report.still_checking = len(cluster.files_that_are("checking"))
    settle(cluster)
    report.violated += violations(cluster, demand)
    report.answers = Counter(answer.status for answer in demand.log)
    report.acknowledged, report.deleted = len(demand.acknowledged), len(demand.deleted)
    report.gave_up, report.started_again = demand.gave_up, cluster.started_again
    report.document = cluster.files.database.command("collStats", "files")["avgObjSize"]


@contextlib.contextmanager
def a_cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="uploadkit-scale-", ignore_cleanup_errors=True) as folder:
        os.environ |= {settings_of_tests.FOLDER: folder, settings_of_tests.PORTS: "1 1 1"}  # a stack names its own
        settings_of_tests.point_settings_at_servers("main")
        with Cluster(Path(folder), election=OWN).running() as cluster:
            yield cluster


def main() -> int:
    options = parsed()
    report, began = Report(options.seed, load=os.getloadavg()[0]), time.monotonic()
    say("Starting Postgres, three MongoDB nodes, Valkey, SeaweedFS, two web processes behind nginx, two each of the rest …")
    with a_cluster() as cluster:
        demand = play(cluster, QUICK if options.quick else FULL, report)
        say("Comparing all that was acknowledged …")
        judge(cluster, demand, report)
    report.seconds = time.monotonic() - began
    say(str(report))
    if options.page:
        PAGE.write_text(page(PAGE.read_text(), report))
        say(f"Written: {PAGE.relative_to(ROOT)}")
    return 1 if report.violated else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make scale", description="Several machines in one, whose parts are killed in turn.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what people do, though not when")
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works, in a minute")
    parser.add_argument("--page", action="store_true", help="write what was measured into docs/scaling.md")
    options = parser.parse_args()
    if options.page and options.quick:
        parser.error("the page is not made of a quick run")
    return options


def page(text: str, report: Report) -> str:
    where = ", ".join(f"{name} {value}" for name, value in machine.hardware())
    held = "**not held**" if report.violated else "held"
    busy = f" (which had other work to do: a load of {report.load:.0f})" if report.load > BUSY else ""
    head = f"`python -m tests.scale --seed {report.seed}`, {held}, on {where}{busy}:"
    written = f"\n{head}\n\n```\n{report}\n```\n\n"
    assert MEASURED.search(text), "docs/scaling.md has no place for what was measured"
    return MEASURED.sub(lambda found: found[1] + written + found[2], text)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
