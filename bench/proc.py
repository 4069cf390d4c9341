"""CPU time and memory of a process and all it started, as the kernel counts them."""

from __future__ import annotations

import os
import re
from pathlib import Path


def family(pid: int) -> list[int]:
    """`pid`, what it started, and what those started. Linux lists children by the thread that started them."""
    children = [child for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
    return [pid, *(member for child in children for member in family(int(child)))]


def cpu(pid: int) -> float:
    """Seconds of CPU that the family has used."""
    ticks = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Megabytes that are the family's alone, or its share of what it has in common with others (PSS)."""
    return sum(_kilobytes(f"/proc/{member}/smaps_rollup", "Pss") for member in family(pid)) / 1000


def peak_memory(pid: int) -> float:
    """Megabytes that one process had at most until now; 0 once it has ended."""
    try:
        return _kilobytes(f"/proc/{pid}/status", "VmHWM") / 1000
    except (OSError, AttributeError):  # a process that ends has no memory first, and then no folder
        return 0


def _kilobytes(path: str, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(path).read_text(), re.MULTILINE)
    assert found or name == "VmHWM", path
    return int(found[1]) * 1.024 if found else 0
