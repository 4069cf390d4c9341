"""How long `make run` takes until the landing page answers, once its data is there, and how long its end."""

from __future__ import annotations

import http.client
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.effort import Effort
from bench.findings import Findings, Table
from bench.wrk import Wrong
from tests.processes import ROOT, copy_of_the_project, without_configuration
from uploadkit import localstack
from uploadkit.localstack import HOST

WITHIN = 120  # seconds


@dataclass(frozen=True)
class Run:
    start: float  # seconds
    stop: float


@dataclass(frozen=True)
class Measured:
    first: Run  # with nothing there but the installation
    later: list[Run]


def measure(effort: Effort) -> Measured:
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "var", ignore_cleanup_errors=True) as name:
        project = copy_of_the_project(Path(name) / "project")
        return Measured(run(project), [run(project) for _ in range(effort.starts)])


def run(project: Path) -> Run:
    """What `make run` runs, from its start to its end."""
    port = localstack.free_port()
    argv = [sys.executable, "manage.py", "dev", "--port", str(port)]
    began = time.perf_counter()
    with (project.parent / "dev.log").open("wb") as log:
        program = subprocess.Popen(
            argv, cwd=project, env=without_configuration(DEBUG="1"), stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not answers(port):
            if program.poll() is not None or time.perf_counter() - began > WITHIN:
                raise Wrong(f"make run did not start: {(project.parent / 'dev.log').read_text()[-1000:]}")
            time.sleep(0.02)
        started = time.perf_counter()
        program.send_signal(signal.SIGINT)
        program.wait(WITHIN)
        return Run(started - began, time.perf_counter() - started)
    finally:
        if program.poll() is None:
            program.terminate()
            program.wait(WITHIN)


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def findings(measured: Measured) -> Findings:
    rows = [("first, its data made", f"{measured.first.start:.1f}", f"{measured.first.stop:.1f}")]
    if measured.later:
        start, stop = (statistics.median(getattr(run, name) for run in measured.later) for name in ("start", "stop"))
        rows.append((f"later, the median of {len(measured.later)}", f"{start:.1f}", f"{stop:.1f}"))
    return Findings(
        tables=[Table("Start of make run", ("", "seconds until the landing page answers", "seconds to stop"), rows)]
    )
