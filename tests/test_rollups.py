"""What is counted of each day: every file that came or was rejected, once, whoever counts, however often they are cut off."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from files import documents, rollups, sweeps
from files.documents import BY_WHEN, File, Past, Status, Used
from files.kinds import Kind
from files.rollups import DAY, Day, midnight
from files.trail import event, now
from uploadkit.celery import app as celery

from .conftest import Cast
from .lifecycle import Actor, actors, at_once

Come = Callable[..., str]


@pytest.fixture
def come(db: None) -> Come:
    """Write a file that came, or was rejected, at that time."""

    def write(when: datetime, kind: Kind = Kind.DOCUMENT, size: int = 5, reason: str | None = None, **more: Any) -> str:
        key = f"u/1/{secrets.token_hex(10)}-a"
        happened = {"status": "rejected", "rejected_at": when, "reason": reason} if reason else {"ready_at": when}
        fields = {"owner_id": "1", "name": "a", "content_type": "a/a", "status": "ready", "kind": kind, "size": size}
        File._get_collection().insert_one({"_id": key, **fields, "created_at": when, **happened, **more})
        return key

    return write


@pytest.fixture(scope="module")
def cast_of_two() -> Iterator[list[Actor]]:
    with actors(2) as cast:
        yield cast


@pytest.fixture
def today() -> datetime:
    return midnight(now() - rollups.SETTLED)


def counted(number: int = 31) -> dict[datetime, Day]:
    """The days on which anything happened."""
    return {day.day: day for day in rollups.last(number) if day.kinds or day.rejected}


def files_counted() -> int:
    return sum(day.files for day in counted().values())


def settle(key: str) -> None:
    """Make it as if the file had come so long ago that it is counted."""
    File.objects.keyed([key]).update(ready_at=now() - 2 * rollups.SETTLED)


# --- what is counted ------------------------------------------------------------------------------------------------


def test_files_are_counted_by_day_and_kind_with_their_bytes(come: Come, today: datetime) -> None:
    yesterday = today - DAY
    for size in (1, 2, 3_000_000_000):
        come(yesterday + timedelta(hours=9), Kind.IMAGE, size)
    come(yesterday + timedelta(hours=23), Kind.VIDEO, 7)
    come(today - 3 * DAY, Kind.IMAGE, 8)
    come(today - 3 * DAY, status=Status.PENDING, ready_at=None)

    rollups.catch_up()

    assert counted() == {
        yesterday: Day(yesterday, {"image": Used(3, 3_000_000_003), "video": Used(1, 7)}),
        today - 3 * DAY: Day(today - 3 * DAY, {"image": Used(1, 8)}),
    }


def test_a_day_begins_at_midnight_utc_to_the_millisecond(come: Come, today: datetime) -> None:
    come(today - 2 * DAY)
    come(today - DAY - timedelta(milliseconds=1), Kind.IMAGE)
    come(today - DAY, Kind.AUDIO)

    rollups.catch_up()

    assert {day: [*one.kinds] for day, one in counted().items()} == {
        today - 2 * DAY: ["document", "image"],
        today - DAY: ["audio"],
    }


def test_rejected_files_are_counted_by_reason_and_are_no_uploads(come: Come, today: datetime) -> None:
    for reason in ("malware", "type", "type"):
        come(today - DAY, reason=reason)

    rollups.catch_up()

    assert counted() == {today - DAY: Day(today - DAY, {}, {"malware": 1, "type": 2})}


def test_files_of_an_earlier_version_without_a_kind_count_as_other(come: Come, today: datetime) -> None:
    key = come(today - DAY)
    File.objects.keyed([key]).update(unset__kind=True)
    come(today - DAY, Kind.OTHER)

    rollups.catch_up()

    assert counted()[today - DAY].kinds == {"other": Used(2, 10)}


def test_a_file_that_came_just_now_is_counted_once_its_minute_is_over(come: Come, monkeypatch: pytest.MonkeyPatch) -> None:
    come(now())
    rollups.catch_up()
    assert files_counted() == 0

    monkeypatch.setattr(rollups, "now", lambda: now() + 2 * rollups.SETTLED)
    rollups.catch_up()
    assert files_counted() == 1


# --- files that go --------------------------------------------------------------------------------------------------


def test_a_file_that_is_deleted_before_it_is_counted_counts(alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    settle(file.key)
    assert sweeps.delete_many([file.key], who="ops:1") == 0

    rollups.catch_up()

    assert sum(day.kinds["document"].bytes for day in counted().values()) == 5
    assert files_counted() == 1


def test_a_file_that_is_deleted_after_it_was_counted_stays_in_the_figures(alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    settle(file.key)
    rollups.catch_up()
    sweeps.delete_many([file.key], who="ops:1")

    rollups.catch_up()
    assert files_counted() == 1
    rollups.count_again()
    assert files_counted() == 1


def test_a_file_whose_deletion_was_cut_half_way_is_in_both_collections_and_counts_once(come: Come, today: datetime) -> None:
    gone = [come(today - DAY, status="deleting"), come(today - DAY, reason="type")]
    File.objects.keyed(gone[1:]).update(status=Status.DELETING)
    Past.keep(gone, event("sweep", "removed", "gone"))
    assert (File.objects.count(), Past.objects.count()) == (2, 2)

    rollups.catch_up()

    assert counted() == {today - DAY: Day(today - DAY, {"document": Used(1, 5)}, {"type": 1})}


# --- who counts, and when -------------------------------------------------------------------------------------------


def test_counting_again_and_again_adds_nothing(come: Come, today: datetime) -> None:
    come(today - DAY)
    for _ in range(3):
        rollups.catch_up()
    assert files_counted() == 1


def test_a_gap_is_caught_up_day_by_day_and_no_further_back_than_a_month(come: Come, today: datetime) -> None:
    come(today - 40 * DAY)
    for back in range(31):
        come(today - back * DAY)
    rollups._days().insert_one({"_id": today - 50 * DAY, "until": today - 49 * DAY})

    rollups.catch_up()

    assert {day: one.files for day, one in counted(32).items()} == {today - back * DAY: 1 for back in range(31)}
    until = rollups.counted_until()
    assert until and now() - until < 2 * rollups.SETTLED


def test_days_that_are_missing_before_one_that_was_counted_are_counted(come: Come, today: datetime) -> None:
    """As when they are deleted to be counted anew, and the beat counts on meanwhile."""
    for back in range(5):
        come(today - back * DAY)
    rollups.catch_up()
    rollups._days().delete_many({"_id": {"$lt": today}})

    rollups.catch_up()

    assert {day: one.files for day, one in counted(5).items()} == {today - back * DAY: 1 for back in range(5)}


def test_it_goes_on_from_where_it_stopped_within_a_day(come: Come, today: datetime) -> None:
    noon = today - DAY + timedelta(hours=12)
    come(noon - timedelta(milliseconds=1), Kind.IMAGE)
    come(noon, Kind.AUDIO)
    rollups._days().insert_one({"_id": today - DAY, "until": noon, "kinds": {"image": {"files": 40, "bytes": 400}}})

    rollups.catch_up()

    assert counted()[today - DAY].kinds == {"image": Used(40, 400), "audio": Used(1, 5)}


def test_many_files_are_counted_in_pieces_and_those_of_one_millisecond_together(
    come: Come, today: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "PIECE", 3)
    for millisecond, number in ((0, 1), (5, 7), (6, 2), (9, 1)):
        for _ in range(number):
            come(today - DAY + timedelta(milliseconds=millisecond))
    Past._get_collection().insert_one({"_id": "a", "kind": "image", "size": 5, "ready_at": today - DAY})
    pieces: list[tuple[datetime, datetime]] = []
    count = documents.totals_by

    def noted(when: str, by: str, start: datetime, end: datetime) -> dict[str, Used]:
        if when == "ready_at" and start < today:
            pieces.append((start, end))
        return count(when, by, start, end)

    monkeypatch.setattr(rollups, "totals_by", noted)
    rollups.catch_up()

    assert files_counted() == 12
    assert len([start for start, _ in pieces if start >= today - DAY]) >= 3
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(pieces)), "none is left out, and none overlap"


def test_of_two_who_count_at_once_each_file_is_counted_by_one(come: Come, today: datetime, cast_of_two: list[Actor]) -> None:
    for second in range(100):
        come(today - DAY + timedelta(minutes=second))
    for delay in range(4):
        rollups._days().delete_many({})
        rollups._days().insert_one({"_id": today - 3 * DAY, "until": today - 2 * DAY})
        at_once(cast_of_two, [{"act": "count_days"}] * 2, [0, delay / 1000])
        assert files_counted() == 100


def test_whoever_is_killed_at_any_line_leaves_what_the_next_one_finishes(come: Come, cast_of_two: list[Actor]) -> None:
    came = now() - timedelta(minutes=5)
    come(came, Kind.IMAGE)
    come(came, reason="type")
    day, until = midnight(came), came - timedelta(minutes=5)
    for line in itertools.count(1):
        rollups._days().delete_many({})
        before = [midnight(until) - back * DAY for back in range(1, rollups.KEPT_UP)]
        rollups._days().insert_many([{"_id": each, "until": each + DAY} for each in before])
        rollups._days().insert_one({"_id": midnight(until), "until": until})
        killed = cast_of_two[0].ask("count_days", die_at_line=line)["killed"]
        rollups.catch_up()
        assert counted() == {day: Day(day, {"image": Used(1, 5)}, {"type": 1})}, line
        if not killed:
            break
    assert line > 15, "it was killed at every line"


def test_the_beat_counts_every_five_minutes() -> None:
    celery.loader.import_default_modules()
    entry = celery.conf.beat_schedule["days"]
    assert (entry["task"], entry["schedule"]) == ("files.tasks.count_days", timedelta(minutes=5))
    assert entry["task"] in celery.tasks


# --- what it costs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("collection", [File, Past])
@pytest.mark.parametrize("when", ["ready_at", "rejected_at"])
def test_a_piece_is_found_by_its_index_and_nothing_else_is_read(
    come: Come, today: datetime, collection: Any, when: str
) -> None:
    for minute in range(100):
        moment = today - DAY + timedelta(minutes=minute)
        known = {"kind": "image", "size": 5, "reason": "type", when: moment}
        collection._get_collection().insert_one({"_id": str(minute), "status": "ready", "created_at": moment, **known})
    piece = {when: {"$gte": today - DAY, "$lt": today - DAY + timedelta(minutes=10)}}
    wanted = {"aggregate": collection._get_collection_name(), "pipeline": [{"$match": piece}], "cursor": {}}

    plan = File._get_db().command("explain", wanted, verbosity="executionStats")

    assert {"fields": [when], "partialFilterExpression": {when: {"$exists": True}}} in BY_WHEN
    assert f"'indexName': '{when}_1'" in str(plan["queryPlanner"]["winningPlan"])
    assert (plan["executionStats"]["totalKeysExamined"], plan["executionStats"]["totalDocsExamined"]) == (10, 10)
