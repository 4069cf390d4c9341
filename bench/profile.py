"""Where the time goes: py-spy looks into the web workers while they answer one kind of request.

Only at threads that hold the interpreter's lock: what waits for a server or a database is no work of ours. What C code does
without the lock (the kernel's part of sending and receiving, SQLite) is missing for the same reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench import wrk
from bench.effort import Effort
from bench.findings import Findings, Table
from bench.floors import CONNECTIONS
from bench.requests import KINDS, Kind, Wishes
from bench.stack import Site, Stack
from tests.processes import BIN, ROOT

KEPT = ROOT / "var" / "bench"  # the flame graphs
RATE = 200  # samples a second
ROWS = 20
EVERYTHING = 0.9  # of the samples: what stands around every request says nothing
REFUSED = (
    "py-spy may not look into the web workers. As root it may; or let it with: sudo sysctl kernel.yama.ptrace_scope=0\n"
    "In a container it needs the capability SYS_PTRACE. It said:"
)


@dataclass(frozen=True)
class Profile:
    """Samples by function."""

    kind: str
    samples: int
    own: Counter[str]
    below: Counter[str]  # with what it calls
    packages: Counter[str]


def measure(stack: Stack, effort: Effort) -> list[Profile]:
    KEPT.mkdir(parents=True, exist_ok=True)
    wishes = Wishes.prepared(stack)
    with stack.serving() as site:
        return [profile(site, wishes, kind, effort) for kind in KINDS]


def profile(site: Site, wishes: Wishes, kind: Kind, effort: Effort) -> Profile:
    """py-spy writes one format a run, so there are two: stacks to count, and a picture."""
    name = kind.name.split(",")[0].replace(" ", "-")
    for form, ending in (("flamegraph", "svg"), ("raw", "txt")):
        requests = wishes.of(kind, effort.confirms)
        with recording(site, form, KEPT / f"{name}.{ending}", effort.seconds) as spy:
            answers = wrk.replay(
                site.port, requests, connections=CONNECTIONS[0], seconds=effort.seconds + 1, status=kind.status, once=kind.once
            )
            said = spy.communicate()[0]
        if spy.returncode:
            sys.exit(f"{REFUSED}\n{said.decode(errors='replace')[-500:]}")
        if answers.wrong:
            raise wrk.Wrong(f"Not all answers were {kind.status}: {answers}")
    return counted(kind.name, (KEPT / f"{name}.txt").read_text())


def recording(site: Site, form: str, file: Path, seconds: int) -> subprocess.Popen[bytes]:
    argv = [str(BIN / "py-spy"), "record", "--pid", str(site.pid), "--subprocesses", "--gil", "--function", "--full-filenames"]
    argv += ["--rate", str(RATE), "--duration", str(seconds), "--format", form, "--output", str(file)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def counted(kind: str, raw: str) -> Profile:
    """py-spy's lines are `outermost (file:line);…;innermost (file:line) samples`."""
    own, below, packages = Counter[str](), Counter[str](), Counter[str]()
    for line in raw.splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = [shown(frame) for frame in stack.split(";") if not frame.startswith("process ")]
        if not frames:
            continue
        own[frames[-1]] += int(samples)
        packages[frames[-1].partition("/")[0]] += int(samples)
        below.update(dict.fromkeys(frames, int(samples)))
    return Profile(kind, own.total(), own, below, packages)


def shown(frame: str) -> str:
    """`django/core/handlers/base.py get_response`, from the whole path; `python/…` for the standard library."""
    found = re.fullmatch(r"(.*) \((.*?)(?::\d+)?\)", frame)
    if not found:
        return frame
    path = re.sub(r".*/(site-packages|project)/", "", found[2])
    return f"{re.sub(r'.*/lib/python[0-9.]+/', 'python/', path)} {found[1]}"


def findings(profiles: list[Profile]) -> Findings:
    found = Findings()
    for profile in profiles:
        inner = Counter({name: samples for name, samples in profile.below.items() if samples < EVERYTHING * profile.samples})
        for title, counter in (("by package", profile.packages), ("own time", profile.own), ("with what it calls", inner)):
            rows = [(name, f"{samples / max(profile.samples, 1):.1%}") for name, samples in counter.most_common(ROWS)]
            found.tables.append(Table(f"{profile.kind}: {title}, {profile.samples} samples", ("", "share"), rows))
    return found
