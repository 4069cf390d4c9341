"""`make bench ARGS=--quick`: every part works and prints its rows. The figures themselves are for the page."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from .processes import ROOT, left_of, without_configuration

WITHIN = 300  # seconds; a third of a minute of it is load, the rest are servers that start

pytestmark = [pytest.mark.timeout(WITHIN), pytest.mark.long]

ROWS = (
    "sign: its floor's CPU to its own",
    "sign: CPU to its aim of 1.0 ms",
    "confirm, with its HEAD: CPU to its aim of 1.2 ms",
    "list of fifty: CPU to its aim of 1.5 ms",
    "web tier's memory under load to its aim of 160 MB",
    "bytes of the file that went through Django to all",
    "upload of 2 MB by the browser: rate to curl -T's",
    "first page of 500 files: its time to that of 50",
    "cleanup of 200: documents/s to a bare delete_objects loop's",
    "MongoDB: insert one, majority and journal",
    "Redis: the limiter's script",
    "HMAC-SHA256: the chain of a signed URL",
    "bare WSGI hello, 16 connections",
    *(
        f"{kind}, {connections} connections"
        for kind in ("sign", "confirm, with its HEAD", "list of fifty", "401")
        for connections in (16, 64)
    ),
    "20 expired, with their objects",
    "300 expired, no objects",
    "curl -T",
    "first, its data made",
)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(
        argv, cwd=ROOT, env=without_configuration(), capture_output=True, text=True, timeout=WITHIN, check=False
    )


def traces() -> set[str]:
    """Folders that a bench is at work in, and processes that have to do with them."""
    return {*left_of(ROOT / "var" / "bench-"), *(path.name for path in (ROOT / "var").glob("bench-*"))}


@pytest.fixture(scope="module")
def traces_of_others() -> set[str]:
    return traces()


@pytest.fixture(scope="module")
def quick(traces_of_others: set[str]) -> subprocess.CompletedProcess[str]:
    return bench("--quick")


def test_the_whole_table_is_printed(quick: subprocess.CompletedProcess[str]) -> None:
    assert quick.returncode == 0, quick.stderr
    for row in ROWS:
        found = re.search(rf"^{re.escape(row)}(.*)$", quick.stdout, re.MULTILINE)
        assert found, f"no row {row!r} in\n{quick.stdout}"
        assert re.search(r"\d", found[1]), found[0]


def test_ratios_come_before_absolute_figures(quick: subprocess.CompletedProcess[str]) -> None:
    titles = re.findall(r"^(\S.*)\n\n.*\n--", quick.stdout, re.MULTILINE)
    assert titles[0] == "Ratios"
    assert len(titles) == 9


def test_no_byte_of_the_file_goes_through_django(quick: subprocess.CompletedProcess[str]) -> None:
    assert ", pages and headers both ways; 0 bytes of the file were among them" in quick.stdout


def test_nothing_is_left_running_or_lying_about(quick: subprocess.CompletedProcess[str], traces_of_others: set[str]) -> None:
    assert traces() <= traces_of_others


def test_an_unknown_part_is_refused_by_name() -> None:
    done = bench("memory")

    assert done.returncode == 2
    assert "there is no part 'memory'; there are floors, requests, bytes, list, cleanup, start, profile" in done.stderr
