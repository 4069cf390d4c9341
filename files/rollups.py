"""How many files came on each day, of which kinds, and how many were rejected: counted as they come, so that nobody waits.

A day (UTC) is a document that says until when it is counted. What came since then is counted by the beat, a piece at a time,
and added by one update that names the `until` it goes on from and writes the next. So of two who count the same piece one adds
it, and whoever is killed has added all of a piece or nothing. Each file is looked at once in its life, soon after it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pymongo
from pymongo import DESCENDING
from pymongo.collection import Collection

from .documents import File, Used, end_of_batch, totals_by
from .trail import now

DAY = timedelta(days=1)
KEPT_UP = 31  # days: what came earlier is counted no more
# What is younger may not all be written: each process has a clock of its own, and a write takes up to three seconds.
SETTLED = timedelta(minutes=1)
PIECE = 100_000  # files of a time, which MongoDB tells apart within its memory, in a quarter of a second
PATIENCE = 300  # seconds for a piece; nobody waits for a page meanwhile
MILLISECOND = timedelta(milliseconds=1)  # MongoDB's


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on a day: which kinds of files came, and for what reasons others were rejected."""

    day: datetime
    kinds: dict[str, Used] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)

    @property
    def files(self) -> int:
        return sum(used.files for used in self.kinds.values())

    @property
    def bytes(self) -> int:
        return sum(used.bytes for used in self.kinds.values())


def midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def catch_up() -> None:
    """Count what came since the last time, `KEPT_UP` days back at most. Safe to run twice at once, and to cut anywhere."""
    horizon = now() - SETTLED
    while (start := _first_gap(horizon)) < horizon:
        with pymongo.timeout(PATIENCE):
            _count(start, horizon)


def count_again() -> None:
    """Count all of these days anew: after a backup was restored, or files were written past the application."""
    _days().delete_many({"_id": {"$gte": _earliest(now())}})
    catch_up()


def counted_until() -> datetime | None:
    """None: nothing ever was."""
    newest = _days().find({}, {"until": 1}).sort({"_id": DESCENDING}).limit(1).to_list()
    return newest[0]["until"] if newest else None


def last(number: int) -> list[Day]:
    """So many days, of which the last is today."""
    today = midnight(now())
    wanted = [today - DAY * back for back in reversed(range(number))]
    known = {raw["_id"]: raw for raw in _days().find({"_id": {"$gte": wanted[0]}})}
    return [_read(day, known.get(day, {})) for day in wanted]


def _read(day: datetime, raw: dict[str, Any]) -> Day:
    kinds = {kind: Used(**used) for kind, used in raw.get("kinds", {}).items()}
    return Day(day, kinds, raw.get("rejected", {}))


def _days() -> Collection[dict[str, Any]]:
    days: Collection[dict[str, Any]] = File._get_db()["days"]
    return days


def _earliest(moment: datetime) -> datetime:
    return midnight(moment) - DAY * (KEPT_UP - 1)


def _first_gap(horizon: datetime) -> datetime:
    """Where to go on: on the first day that is not counted to its end. Days are deleted to be counted anew, while another
    counts on.
    """
    first = _earliest(horizon)
    known = {raw["_id"]: raw["until"] for raw in _days().find({"_id": {"$gte": first}}, {"until": 1})}
    until = {day: known.get(day, day) for day in (first + DAY * number for number in range(KEPT_UP))}
    return next((until[day] for day in until if until[day] < min(day + DAY, horizon)), horizon)


def _count(start: datetime, horizon: datetime) -> None:
    """Count one piece, which is of one day."""
    day = midnight(start)
    end = min(_ends(start, min(day + DAY, horizon)))
    came, rejected = totals_by("ready_at", "kind", start, end), totals_by("rejected_at", "reason", start, end)
    counted = {f"kinds.{kind}.{name}": number for kind, used in came.items() for name, number in used._asdict().items()}
    counted |= {f"rejected.{reason}": used.files for reason, used in rejected.items()}
    _days().update_one({"_id": day}, {"$setOnInsert": {"until": day}}, upsert=True)
    _days().update_one({"_id": day, "until": start}, {"$set": {"until": end}, **({"$inc": counted} if counted else {})})


def _ends(start: datetime, end: datetime) -> Iterator[datetime]:
    """Where a piece may end that begins there. Files of one millisecond are in one piece, however many."""
    for when in ("ready_at", "rejected_at"):
        yield max(end_of_batch(when, start, end, PIECE), min(start + MILLISECOND, end))
