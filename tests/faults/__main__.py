"""`make faults`: every proof at its full length, one after the other, or those that are named. It takes an hour and a half.

    make faults
    make faults ARGS="races load --seed 7"

With --page docs/faults.md is written of what they print; parts that were not run keep what they printed last.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench import machine

ROOT = Path(__file__).parent.parent.parent
PRINTED = ROOT / "var" / "faults"
PAGE = ROOT / "docs" / "faults.md"
SUMMARY_LINE = "  "  # what is indented belongs to the summary; a rounds' progress is longer than anyone reads

PARTS = {
    "rounds": "Servers and processes are killed, stopped, filled up, cut off and slowed down while people upload",
    "races": "Sign, confirm, cancel, rename, delete, undo and expire of one key from eight processes",
    "load": "A thousand uploads in flight",
    "limiter": "Fifty processes of one user at the limit of twenty signings a minute",
    "api": "Whatever may be sent to the JSON endpoints",
}
FULL: dict[str, list[str]] = {name: [] for name in PARTS}
QUICK = {
    "rounds": ["--rounds", "20", "--longest-stop", "4"],
    "races": ["--rounds", "200"],
    "load": ["--uploads", "60", "--minutes", "0.3"],
    "limiter": ["--processes", "8", "--minutes", "1.2"],
    "api": ["--cases", "500"],
}


def main() -> int:
    options = parsed()
    PRINTED.mkdir(parents=True, exist_ok=True)
    failed = [part for part in options.parts or PARTS if not shown(part, options)]
    if options.page:
        PAGE.write_text(page())
        say(f"Written: {PAGE.relative_to(ROOT)}")
    say(f"Not held: {', '.join(failed)}." if failed else "All of it held.")
    return 1 if failed else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description="Break it in every way there is, and lose nothing.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats what chance chose")
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works, in six minutes")
    parser.add_argument("--page", action="store_true", help="write docs/faults.md")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return options


def shown(part: str, options: argparse.Namespace) -> bool:
    """Run it, pass on what it prints, and keep that for the page."""
    length = (QUICK if options.quick else FULL)[part]
    argv = [sys.executable, "-m", f"tests.faults.{part}", "--seed", str(options.seed), *length]
    say(f"\n{PARTS[part]}: {' '.join(argv[1:])}")
    began, printed = time.monotonic(), []
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        for line in run.stdout:
            say(line.rstrip())
            printed.append(line)
    command = " ".join(["python", *argv[1:]])
    took = f"{(time.monotonic() - began) / 60:.0f} min"
    head = f"`{command}`, {datetime.now(UTC):%-d %B %Y}, {took}, {'held' if run.returncode == 0 else '**not held**'}:"
    (PRINTED / f"{part}.md").write_text(f"{head}\n\n```\n{''.join(printed[first_of_summary(printed) :])}```\n")
    return run.returncode == 0


def first_of_summary(printed: list[str]) -> int:
    """The last line that is not indented begins it, before lines that say where the logs are."""
    heads = [number for number, line in enumerate(printed) if not line.startswith(SUMMARY_LINE) and " seed " in line]
    return heads[-1] if heads else 0


def page() -> str:
    """What the parts printed last."""
    parts = [
        f"## {title}\n\n{printed.read_text()}" for part, title in PARTS.items() if (printed := PRINTED / f"{part}.md").exists()
    ]
    where = ", ".join(f"{name} {value}" for name, value in machine.hardware())
    return "\n".join([ABOUT, f"On {where}.\n", *parts])


ABOUT = """# Faults

What `make faults` printed. Everything is real: servers, processes, disks, connections and a browser. After each round of faults
there is a sweep, and then: every upload that was acknowledged downloads byte for byte, every object has a document and every
ready document its object, no file is in two states, and nobody was ever answered a 500.

A seed repeats a round's faults and their moments: `python -m tests.faults.rounds --seed 7 --round 123`. Defects that were found
this way are in the [CHANGELOG](../CHANGELOG.md), each with the test that holds it. `make test` runs a short form of all of it.

After a full disk SeaweedFS is stopped, the indexes of its volumes are made again by `weed fix`, and it is started, as whoever
runs it would have to: its index of names repeats the error until then, and a volume whose index ends half-way is not served.
"""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
