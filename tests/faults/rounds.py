"""Rounds of faults at seeded random moments, while people upload; after each a sweep, and a look at what must hold.

    python -m tests.faults.rounds --rounds 500 --seed 7
    python -m tests.faults.rounds --seed 7 --round 123

A round's faults and their moments follow from the seed and its number, so that one can be had again by itself. Real processes
do not run twice alike, so a race may need a few repetitions.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from tests import servers
from tests.faults.breakable import Breakable
from tests.faults.browser import AtThePage
from tests.faults.faults import ALL, KINDS, Fault, Scene, play
from tests.faults.invariants import lost, settle, violations
from tests.faults.people import Acknowledged, Traffic
from uploadkit import localstack

PASS = 20  # rounds in which every fault comes at least once
OFTEN, SELDOM = 0.4, 0.1  # a fault more in a round; a stop of the longest kind
LONGEST_STOP = 20.0  # seconds
WITH_A_BROWSER = 7  # one round in so many
PAUSE = 0.1
STOPPED_WITHIN = 30  # seconds
SIZES = (10, 2_000, 30_000)  # bytes; what is acknowledged is kept to the end


# --- what is going to happen ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    seed: int
    number: int
    faults: list[Fault]
    browser: bool

    def __str__(self) -> str:
        return "; ".join([*map(str, sorted(self.faults)), *(["with a browser"] if self.browser else [])])


def deal(seed: int, number: int, longest_stop: float = LONGEST_STOP) -> Round:
    """All faults are dealt to the rounds of a pass; chance adds to them."""
    turn, place = divmod(number, PASS)
    deck = random.Random(f"{seed}/pass {turn}").sample(ALL, len(ALL))
    dice = random.Random(f"{seed}/{number}")
    kinds = deck[place::PASS] + [dice.choice(ALL) for _ in range(2) if dice.random() < OFTEN]
    # The same one twice would be one that lasts longer.
    faults = [a_fault(kind, target, dice, longest_stop) for kind, target in dict.fromkeys(kinds)]
    return Round(seed, number, faults, number % WITH_A_BROWSER == seed % WITH_A_BROWSER)


def a_fault(kind: str, target: str, dice: random.Random, longest_stop: float) -> Fault:
    at, lasts, amount = dice.uniform(0.2, 2), dice.uniform(0.5, 2), 0.0
    if kind == "stop":
        lasts = longest_stop if dice.random() < SELDOM else min(longest_stop, dice.uniform(1, 4))
    elif kind == "slow line":
        amount = dice.uniform(0.02, 0.5)
    elif kind == "clock of the signing host":
        amount = dice.uniform(2, 30) * 60
    return Fault(at, kind, target, lasts, amount)


# --- a round --------------------------------------------------------------------------------------------------------


@dataclass
class Report:
    seed: int
    rounds: int = 0
    seconds: float = 0
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    acknowledged: int = 0
    by_browser: int = 0
    restored: int = 0
    violated: list[str] = field(default_factory=list)
    started_again: Counter[str] = field(default_factory=Counter)
    without: str = ""  # why there are no disks to fill

    def add(self, other: Report) -> None:
        self.rounds += other.rounds
        self.done += other.done
        self.answers += other.answers
        self.acknowledged += other.acknowledged
        self.by_browser += other.by_browser
        self.restored += other.restored
        self.violated += other.violated
        self.started_again += other.started_again
        self.without = self.without or other.without

    def count(self, *words: str) -> int:
        return sum(any(word in line for word in words) for line in self.violated)

    def __str__(self) -> str:
        bugs = sum(count for status, count in self.answers.items() if status >= 500 and status != 503)
        answers = ", ".join(f"{count} of {status}" for status, count in sorted(self.answers.items()))
        return "\n".join(
            [
                f"{self.rounds} rounds, seed {self.seed}: {self.seconds:.0f} s",
                f"  faults                {self.done.total()}",
                *(f"    {kind + ':':38}{self._of(kind)}" for kind in KINDS),
                *([f"    left out: a full disk, since {self.without}"] if self.without else []),
                f"  answers of the site   {answers}",
                f"  acknowledged files    {self.acknowledged}, {self.by_browser} of them by a browser",
                f"  back from the trash   {self.restored}",
                f"  lost files            {self.count('was acknowledged', 'there is no object')}",
                f"  orphans               {self.count('without a document')}",
                f"  500s                  {bugs}",
                f"  ended by themselves   {', '.join(f'{name} {n}' for name, n in self.started_again.items()) or 'none'}",
                f"  violations            {len(self.violated)}",
                *(f"    {line}" for line in self.violated[:20]),
            ]
        )

    def _of(self, kind: str) -> str:
        return ", ".join(f"{target} {self.done[kind, target]}" for target in KINDS[kind])


def play_round(stack: Breakable, plan: Round, report: Report) -> dict[str, Acknowledged]:
    """Return what was acknowledged and must be there from now on."""
    traffic = Traffic(stack, f"{plan.seed}/{plan.number}", PAUSE, SIZES, pictures=True)
    scene = Scene(stack, traffic, random.Random(f"{plan.seed}/{plan.number}/moods"))
    with contextlib.ExitStack() as exits:
        page = AtThePage(traffic, stack.sessions[0])
        exits.enter_context(traffic.flowing())
        if plan.browser:
            exits.enter_context(page.uploading())
        try:
            traffic.wait_for_more(1)
            play(scene, plan.faults)
            stack.mend()
            traffic.wait_for_more(4)
        except AssertionError as error:
            traffic.bugs.append(f"it did not come back: {error}")
            with contextlib.suppress(AssertionError):
                stack.mend()  # so that the rest can be judged
    stack.hang_up()
    settle(stack)
    report.rounds += 1
    report.done += scene.done
    report.answers += traffic.answers
    report.acknowledged += len(traffic.acknowledged)
    report.by_browser += page.finished
    report.restored += len(traffic.restored)
    report.violated += [f"seed {plan.seed}, round {plan.number}: {what}" for what in violations(stack, traffic)]
    return traffic.acknowledged


def play_rounds(folder: Path, seed: int, numbers: list[int], longest_stop: float = LONGEST_STOP, talk: bool = False) -> Report:
    """One after the other in a stack, until one is violated; at the end everything that was acknowledged is compared again."""
    report, kept = Report(seed), dict[str, Acknowledged]()
    stack = Breakable(folder)
    report.without = stack.without_disks
    with stack.running():
        for number in numbers:
            began, before = time.monotonic(), len(kept)
            plan = deal(seed, number, longest_stop)
            try:
                kept |= play_round(stack, plan, report)
            except Exception as error:  # of the harness itself: which round it was is worth knowing
                traceback.print_exc()
                report.violated.append(f"seed {seed}, round {number}: {error!r}")
            if talk:
                sys.stdout.write(f"  {number:4} {time.monotonic() - began:5.1f} s, {len(kept) - before:4} files: {plan}\n")
                sys.stdout.flush()
            if report.violated or (folder.parent / "violated").exists():
                (folder.parent / "violated").touch()
                break
        else:
            report.violated += [f"seed {seed}, at the end: {wrong}" for wrong in lost(stack, kept)]
    report.started_again += stack.started_again
    return report


# --- all of it ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def settings_of_the_tests(folder: Path) -> Iterator[None]:
    os.environ |= {servers.FOLDER: str(folder), servers.PORTS: "1 1 1"}  # a stack names its own
    servers.point_settings_at_servers("main")
    yield


def play_part(pipe: Connection, folder: Path, seed: int, numbers: list[int], longest_stop: float) -> None:
    localstack.die_with_parent()
    folder.mkdir()
    with contextlib.suppress(KeyboardInterrupt), settings_of_the_tests(folder):
        pipe.send(play_rounds(folder, seed, numbers, longest_stop, talk=True))


def play_all(folder: Path, seed: int, numbers: list[int], stacks: int, longest_stop: float) -> Report:
    """Side by side in some stacks, since most of a round is waiting."""
    began, report = time.monotonic(), Report(seed)
    spawn = multiprocessing.get_context("spawn")
    parts = []
    for first in range(min(stacks, len(numbers))):
        ours, theirs = spawn.Pipe(duplex=False)
        arguments = (theirs, folder / f"stack-{first}", seed, numbers[first::stacks], longest_stop)
        process = spawn.Process(target=play_part, args=arguments)
        process.start()
        theirs.close()
        parts.append((process, ours))
    try:
        for number, (_, pipe) in enumerate(parts):
            try:
                report.add(pipe.recv())
            except EOFError:  # it has printed why
                report.violated.append(f"seed {seed}: stack {number} ended without a report")
    finally:
        for process, _ in parts:
            process.join(STOPPED_WITHIN)  # a Ctrl-C reaches them as it does us
            process.kill()
            process.join()
    report.seconds = time.monotonic() - began
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description="Break the whole of it again and again, and lose nothing.")
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--round", type=int, help="this one alone")
    parser.add_argument("--stacks", type=int, default=3, help="whole sites that are broken side by side")
    parser.add_argument("--longest-stop", type=float, default=LONGEST_STOP, help="seconds")
    options = parser.parse_args()
    numbers = [*range(options.rounds)] if options.round is None else [options.round]
    folder = Path(tempfile.mkdtemp(prefix="uploadkit-faults-"))
    try:
        report = play_all(folder, options.seed, numbers, options.stacks, options.longest_stop)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    sys.stdout.write(f"{report}\n")
    if report.violated:
        sys.stdout.write(
            f"  The logs are in {folder}. Once more: python -m tests.faults.rounds --seed {options.seed} --round …\n"
        )
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
