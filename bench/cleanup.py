"""The sweep of uploads that nobody confirmed, by `manage.py cleanup_pending`, beside a bare loop of delete_objects."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bench import proc
from bench.effort import Effort
from bench.findings import RATES, Bar, Findings, Ratio, Table
from bench.seed import documents
from bench.stack import Stack
from bench.wrk import Wrong
from uploadkit.localstack import BUCKET

OWNER = "900000002"
OVERDUE = timedelta(hours=2)  # as old as what the sweep finds in everyday life
AT_ONCE = 1000  # keys a request, as many as S3 takes
LEAST_SHARE = 0.8
FLAT = 1.1  # of the largest sweep's memory to that of the smallest


@dataclass(frozen=True)
class Sweep:
    expired: int
    objects: bool
    removed: int  # fewer than expired where the time was over first
    seconds: float
    memory: float  # MB at the most

    def rate(self, start: float) -> float:
        """Documents a second, without what the command takes to start."""
        return self.removed / max(self.seconds - start, 0.001)


@dataclass(frozen=True)
class Measured:
    start: float  # seconds that the command takes with nothing to do
    bare: float  # objects a second
    wanted: tuple[int, ...]  # documents to sweep, each time
    sweeps: list[Sweep]


def measure(stack: Stack, effort: Effort) -> Measured:
    stack.forget()
    start = min(swept(stack, effort.sweep_seconds)[0] for _ in range(2))
    bare = bare_loop(stack, effort.bare_objects, effort.put_seconds)
    sweeps = [sweep(stack, uploaded(stack, count, effort.put_seconds), effort.sweep_seconds) for count in effort.sweeps]
    sweeps.append(sweep(stack, effort.sweep_without_objects, effort.sweep_seconds))
    return Measured(start, bare, (*effort.sweeps, effort.sweep_without_objects), sweeps)


def bare_loop(stack: Stack, count: int, seconds: int) -> float:
    keys = [f"bench/{number:09}-report.pdf" for number in range(count)]
    keys = keys[: stack.put(keys, seconds)]
    began = time.perf_counter()
    for first in range(0, len(keys), AT_ONCE):
        objects = [{"Key": key} for key in keys[first : first + AT_ONCE]]
        stack.bucket.delete_objects(Bucket=BUCKET, Delete={"Objects": objects, "Quiet": True})  # type: ignore[typeddict-item]
    return len(keys) / (time.perf_counter() - began)


def sweep(stack: Stack, expired: Sequence[dict[str, Any]] | int, seconds: int) -> Sweep:
    """Sweep documents whose objects are there, or as many as are said, whose objects are not."""
    objects = not isinstance(expired, int)
    count = expired if isinstance(expired, int) else len(expired)
    stack.write(documents(OWNER, count, "pending", OVERDUE) if isinstance(expired, int) else iter(expired))
    took, memory = swept(stack, seconds)
    left = stack.files.count_documents({})
    if left and took < seconds:
        raise Wrong(f"A sweep left {left} of {count} documents")
    stack.forget()
    return Sweep(count, objects, count - left, took, memory)


def uploaded(stack: Stack, count: int, seconds: int) -> list[dict[str, Any]]:
    """Overdue documents, as many as objects could be made for in that time."""
    expired = list(documents(OWNER, count, "pending", OVERDUE))
    return expired[: stack.put([document["_id"] for document in expired], seconds)]


def swept(stack: Stack, seconds: float) -> tuple[float, float]:
    """Run the command, for so long at the most; a sweep may be cut anywhere. Return seconds and MB at the peak."""
    began, memory = time.perf_counter(), 0.0
    argv = [sys.executable, "manage.py", "cleanup_pending"]
    with ended(subprocess.Popen(argv, cwd=stack.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)) as command:
        while command.poll() is None and time.perf_counter() - began < seconds:
            memory = max(memory, proc.peak_memory(command.pid))
            time.sleep(0.02)
        took = time.perf_counter() - began
        if command.poll():
            assert command.stderr
            raise Wrong(f"cleanup_pending: {command.stderr.read()[-500:]!r}")
    return took, memory


@contextlib.contextmanager
def ended(command: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield command
    finally:
        command.kill()
        command.communicate()


# --- as tables ------------------------------------------------------------------------------------------------------


def findings(measured: Measured) -> Findings:
    largest = [sweep for sweep in measured.sweeps if sweep.objects][-1]
    share = largest.rate(measured.start) / measured.bare
    flat = max(sweep.memory for sweep in measured.sweeps) / measured.sweeps[0].memory
    name = f"cleanup of {largest.expired:,}"
    return Findings(
        ratios=[
            Ratio(
                f"{name}: documents/s to a bare delete_objects loop's", share, f"{LEAST_SHARE} at least", share >= LEAST_SHARE
            ),
            Ratio(f"cleanup's peak memory: the most to that of {measured.sweeps[0].expired:,}", flat, "flat", flat <= FLAT),
        ],
        tables=[table(measured)],
        bars=[Bar(RATES, "cleanup, to a bare loop", share, aim=LEAST_SHARE)],
    )


def table(measured: Measured) -> Table:
    rows = [
        (
            f"{sweep.expired:,} expired, {'with their objects' if sweep.objects else 'no objects'}",
            f"{sweep.removed:,}",
            f"{sweep.seconds:.1f}",
            f"{sweep.rate(measured.start):.0f}",
            f"{sweep.rate(measured.start) / measured.bare:.2f}",
            f"{sweep.memory:.0f}",
        )
        for sweep in measured.sweeps
    ]
    bare = ("bare delete_objects loop", "", "", f"{measured.bare:.0f}", "1.00", "")
    note = (
        f"The rate leaves out the {measured.start:.2f} s that the command takes to start. The uploads are "
        f"{OVERDUE.seconds // 3600} hours old, so every key is remembered for a day, as in everyday life."
    )
    fewer = [
        f"Objects for {sweep.expired:,} of {wanted:,} could be made in the time there was, so that many were swept."
        for sweep, wanted in zip(measured.sweeps, measured.wanted, strict=True)
        if sweep.expired < wanted
    ]
    cut = [
        f"The sweep of {sweep.expired:,} was cut after {sweep.seconds:.0f} s; at this rate all of it takes "
        f"{sweep.expired / max(sweep.rate(measured.start), 1) / 60:.0f} minutes."
        for sweep in measured.sweeps
        if sweep.removed < sweep.expired
    ]
    return Table(
        "Cleanup", ("", "removed", "seconds", "documents/s", "of the bare loop", "peak MB"), [bare, *rows], [note, *fewer, *cut]
    )
