"""`manage.py reconcile` over as many objects as documents: keys a second, and memory, which must not grow with them."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any

from bench import objects, proc, seed
from bench.cleanup import ended
from bench.effort import Effort
from bench.findings import Findings, Ratio, Table
from bench.stack import Stack
from bench.wrk import Wrong

BODY = b"x"
FLAT = 1.1  # of the largest run's memory to that of the smallest
AGE = timedelta(days=2)
PLANTED = 5  # objects without document, and as many documents without object
OWNERS = [str(number) for number in range(1000)]


@dataclass(frozen=True)
class Run:
    keys: int
    made: float  # seconds that it took to make them
    seconds: float
    rate: float  # keys a second, as the command prints it
    memory: float  # MB at the most


def measure(stack: Stack, effort: Effort) -> list[Run]:
    return [run(stack, count) for count in effort.reconciled]


def run(stack: Stack, count: int) -> Run:
    """Both sides get as many, of which a few are planted for it to find."""
    bucket = f"reconcile-{count}"
    there = {"MONGODB_URI": stack.database(bucket), "R2_BUCKET": bucket}
    began = time.perf_counter()
    keys = [seed.key_of(OWNERS[number % len(OWNERS)]) for number in range(count)]
    objects.load(stack, bucket, keys[PLANTED:], BODY, AGE)
    stack.manage("ensure_indexes", **there)
    with seed.connected(there["MONGODB_URI"]) as files:
        found = documents(keys[: count - PLANTED])
        while some := list(itertools.islice(found, seed.BATCH)):
            files.insert_many(some, ordered=False)
    made = time.perf_counter() - began
    try:
        return reconciled(stack, count, made, there)
    finally:
        with seed.connected(there["MONGODB_URI"]) as files:
            files.database.client.drop_database(files.database.name)


def documents(keys: list[str]) -> Iterator[dict[str, Any]]:
    for key, document in zip(keys, seed.documents("1", len(keys), "ready", AGE), strict=True):
        yield document | {"_id": key, "owner_id": key.split("/")[1], "size": len(BODY)}


def reconciled(stack: Stack, count: int, made: float, there: dict[str, str]) -> Run:
    argv = [sys.executable, "manage.py", "reconcile"]
    began, memory = time.perf_counter(), 0.0
    # Into files, so that it never waits for whoever reads.
    with tempfile.TemporaryFile("w+") as out, ended(start(argv, stack, there, out)) as command:
        while command.poll() is None:
            memory = max(memory, proc.peak_memory(command.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        out.seek(0)
        printed = out.read()
    compared = rf"Compared {count - PLANTED:,} objects, {count - PLANTED:,} documents, ([\d,]+) keys a second"
    rate = re.search(compared, printed)
    rows = [
        re.search(rf"^{title} +{PLANTED} ", printed, re.MULTILINE) for title in ("orphan objects", "documents without object")
    ]
    if not rate or not all(rows) or command.returncode != 1:
        raise Wrong(f"reconcile did not find what was planted: {printed[-1000:]}")
    return Run(count, made, seconds, float(rate[1].replace(",", "")), memory)


def start(argv: list[str], stack: Stack, there: dict[str, str], out: IO[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, cwd=stack.folder, env={**os.environ, **there}, stdout=out, stderr=subprocess.STDOUT)


# --- as tables ------------------------------------------------------------------------------------------------------


def findings(runs: list[Run]) -> Findings:
    flat = max(run.memory for run in runs) / runs[0].memory
    rows = [(f"{run.keys:,} keys", f"{run.seconds:.1f}", f"{run.rate:,.0f}", f"{run.memory:.0f}") for run in runs]
    note = (
        f"As many objects as documents, of {len(OWNERS):,} owners. {PLANTED} of each have no other side, and were found. "
        f"Making the last {runs[-1].keys:,} took {runs[-1].made:.0f} s."
    )
    return Findings(
        ratios=[Ratio(f"reconcile's peak memory: the most to that of {runs[0].keys:,} keys", flat, "flat", flat <= FLAT)],
        tables=[Table("Reconcile: the bucket against MongoDB", ("", "seconds", "keys/s", "peak MB"), rows, [note])],
    )
