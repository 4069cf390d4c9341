"""Whether the bucket keeps what uploadkit was built on: all promises of `files.probes`, each by itself, and nothing is left.

What goes wrong is a finding, and is not logged as well: the log is on standard output, among what `--json` prints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from time import monotonic

from . import storage
from .probes import OURS, Bench, Broken, Probe, Verdict, described, promises
from .trail import now

LEFT_FOR = timedelta(hours=1)  # what is older under PROBES is of an examination that was cut
FOR_A_PAGE = 25.0  # seconds
LATE = "the time was over; manage.py storage_doctor takes as long as it needs"

UNMET = {Verdict.FAIL: "failed", Verdict.NOT_TRIED: "was not tried"}
WORST_FIRST = (Verdict.FAIL, Verdict.WARN, Verdict.NOT_TRIED, Verdict.UNSUPPORTED, Verdict.PASS)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a probe. `meaning` and `remedy` are there where the promise does not hold."""

    name: str
    promise: str
    verdict: Verdict
    seen: str
    meaning: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, in their order, and the keys that could not be deleted."""

    findings: list[Finding]
    left: list[str]

    @property
    def failed(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict == Verdict.FAIL]

    @property
    def late(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.seen == LATE]

    @property
    def worst_first(self) -> list[Finding]:
        return sorted(self.findings, key=lambda finding: WORST_FIRST.index(finding.verdict))

    @property
    def remarks(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.meaning]

    def __str__(self) -> str:
        passed = sum(finding.verdict == Verdict.PASS for finding in self.findings)
        told = f"{passed} of {len(self.findings)} promises hold."
        if self.failed:
            told += f" Broken: {', '.join(finding.name for finding in self.failed)}."
        if self.late:
            told += f" Not tried, since the time was over: {len(self.late)}."
        return told


def examine(*, patience: float = math.inf) -> Report:
    """Try all promises of the bucket, by some eighty small requests. After `patience` seconds no other is tried, and after as
    many again nothing more is deleted. The attempt that is under way then can take a minute and a half.
    """
    bench, findings, over = Bench(), list[Finding](), monotonic() + patience
    try:
        for probe in promises():
            if monotonic() > over:
                findings.append(Finding(probe.name, probe.promise, Verdict.NOT_TRIED, LATE))
            else:
                findings.append(_found(probe, bench, {finding.name: finding.verdict for finding in findings}))
    finally:
        left = _clear(bench.keys, patience)
    return Report(findings, left)


def _found(probe: Probe, bench: Bench, verdicts: dict[str, Verdict]) -> Finding:
    if verdicts.get(probe.needs) in UNMET:
        return Finding(probe.name, probe.promise, Verdict.NOT_TRIED, f"{probe.needs} {UNMET[verdicts[probe.needs]]}")
    try:
        return Finding(probe.name, probe.promise, Verdict.PASS, probe.attempt(bench))
    except Broken as broken:
        verdict = broken.verdict or probe.otherwise
        meaning, remedy = broken.meaning or probe.meaning, broken.remedy or probe.remedy
        return Finding(probe.name, probe.promise, verdict, str(broken), meaning, remedy)
    except Exception as error:  # whatever it is, the others are tried
        absent = storage.refusal(error)[0] == HTTPStatus.NOT_IMPLEMENTED
        verdict = probe.otherwise if absent else Verdict.FAIL
        return Finding(probe.name, probe.promise, verdict, _reason(error), probe.meaning, probe.remedy)


def _reason(error: BaseException) -> str:
    return described(error) if isinstance(error, storage.Error) else f"{type(error).__name__}: {error}"


def _clear(keys: Sequence[str], patience: float) -> list[str]:
    """Delete what is under PROBES of this examination, and of such as were cut. One by one: that many can be deleted at once is
    one of the promises. Return the keys that may still be there.
    """
    if not keys:
        return []
    left, over = list(keys), monotonic() + patience
    with suppress(*storage.Error):  # what is left is said
        for key in keys:
            if monotonic() > over:
                return left
            if _gone(key):
                left.remove(key)
        for key in storage.some_under(storage.PROBES, older_than=now() - LEFT_FOR):
            if OURS.fullmatch(key):
                _gone(key)
    return left


def _gone(key: str) -> bool:
    try:
        storage.delete(key)
    except storage.BucketError:  # which may be so for all keys, and for most of them it never was there
        return storage.head(key) is None
    return True
