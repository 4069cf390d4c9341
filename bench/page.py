"""docs/performance.md and the chart in it."""

from __future__ import annotations

from html import escape
from itertools import groupby
from pathlib import Path

from bench.findings import Bar, Findings, markdown
from tests.processes import ROOT

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"

INTRODUCTION = """# Performance

{machine}.

This page is the output of `python -m bench --page`, which took {minutes:.0f} minutes; whoever runs it gets their own. Servers,
load and browser share the machine's cores, so CPU a request says more than requests a second. Each figure stands beside its
floor: what the same work costs in this very run without the application.

![Each figure beside its floor and its aim](performance.svg)
"""

REPEAT = """## How to repeat it

On Linux, from a fresh clone, in under fifteen minutes on two cores:

```
make bench                    # prints all of this
make bench ARGS=--page        # prints it and writes this page
make bench ARGS=requests      # or floors, bytes, list, cleanup, start
make bench ARGS=profile       # where the time of each kind of request goes; flame graphs in var/bench/
make bench ARGS=checks        # the memory of a worker that checks 5 GiB; takes 10 GiB of disk for a few minutes
make bench ARGS=admin         # the admin's pages over ten million documents; takes 10 GiB of disk and half an hour
make bench ARGS="admin --documents 1000000"
make bench ARGS=reconcile     # the bucket against MongoDB, a million keys of each; ten minutes
make bench ARGS=--quick       # shows that the bench works, in about a minute
```

Load is wrk's, which is installed by apt as root where it is missing, and every answer's status is checked. The site runs by the
Procfile's own line from a copy of the project, with limits raised that the load would run into, and with real servers on the
same machine: mongod, Valkey and SeaweedFS in the place of R2. CPU is what the kernel counted for the web server and its
workers, memory is their PSS.
"""


def write(machine: list[tuple[str, str]], findings: Findings, seconds: float) -> list[Path]:
    described = ", ".join(value if name in ("date", "processor") else f"{name} {value}" for name, value in machine)
    pieces = [INTRODUCTION.format(machine=described, minutes=seconds / 60), *map(markdown, findings.all_tables()), REPEAT]
    PAGE.write_text("\n".join(pieces))
    CHART.write_text(chart(findings.bars))
    return [PAGE, CHART]


# --- the chart ------------------------------------------------------------------------------------------------------

WIDTH, LABEL, RIGHT = 760, 210, 100  # of the picture; before the bars; behind them, for figures
ROW, BAR, HEAD = 30, 14, 44

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #24292f; }
  .title { font-weight: 600; font-size: 14px; }
  .quiet { fill: #57606a; }
  .floor { fill: #0b5c8a; }
  .own { fill: #4aa3d8; }
  .other { fill: #8c959f; opacity: .45; }
  .aim { stroke: #cf222e; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet { fill: #9198a1; }
    .floor { fill: #1f78b4; }
    .own { fill: #79c0ff; }
    .aim { stroke: #ff7b72; }
  }
"""


def chart(bars: list[Bar]) -> str:
    """Bars in groups, each with its own scale: the floor dark, the rest light, the aim a red line, others' ranges grey."""
    body, top = [legend()], 34
    for title, members in groupby(sorted(bars, key=lambda bar: bar.chart), key=lambda bar: bar.chart):
        group = list(members)
        body.append(f'<text class="title" x="0" y="{top + 20}">{escape(title)}</text>')
        scale = (WIDTH - LABEL - RIGHT) / max(most(bar) for bar in group)
        for number, bar in enumerate(group):
            body += drawn(bar, top + HEAD - 12 + number * ROW, scale)
        top += HEAD + len(group) * ROW
    size = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="uploadkit beside its floors and aims">'
    return "\n".join([opening, f"<style>{STYLE}</style>", *body, "</svg>", ""])


def legend() -> str:
    entries = (("floor", "floor, or idle"), ("own", "uploadkit"), ("other", "Next.js, as given to us"))
    parts, x = [], 0
    for style, words in entries:
        parts.append(rectangle(style, x, 4, BAR) + f'<text x="{x + 20}" y="16">{words}</text>')
        x += 44 + 7 * len(words)
    return "".join([*parts, aim_line(x, 4), f'<text x="{x + 8}" y="16">aim</text>'])


def drawn(bar: Bar, y: float, scale: float) -> list[str]:
    middle = y + BAR - 2
    parts = [f'<text x="0" y="{middle}">{escape(bar.name)}</text>']
    if bar.other:
        least, highest = bar.other
        parts.append(rectangle("other", LABEL + least * scale, y, (highest - least) * scale))
        parts.append(f'<text class="quiet" x="{LABEL + highest * scale + 8:.1f}" y="{middle}">{least:g} to {highest:g}</text>')
    parts.append(rectangle("own", LABEL, y, bar.value * scale))
    if bar.floor is not None:
        parts.append(rectangle("floor", LABEL, y, min(bar.floor, bar.value) * scale))
    if bar.aim is not None:
        parts.append(aim_line(LABEL + bar.aim * scale, y))
    behind = LABEL + max(bar.value, bar.aim or 0) * scale + 8
    parts.append(f'<text x="{behind:.1f}" y="{middle}">{written(bar.value)}</text>')
    return parts


def aim_line(x: float, y: float) -> str:
    return f'<line class="aim" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 4}" y2="{y + BAR + 4}"/>'


def rectangle(style: str, x: float, y: float, width: float) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y}" width="{max(width, 1):.1f}" height="{BAR}" rx="2"/>'


def most(bar: Bar) -> float:
    return max(bar.value, bar.aim or 0, *(bar.other or (0,)))


def written(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"
