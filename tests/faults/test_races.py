"""Eight processes at one key, for a while; and that the judge of `make faults` sees each thing that may go wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from files import storage, uploads
from tests.faults.races import Done, Left, Outcome, Race, judge, plan, race, settle
from tests.lifecycle import put_object, somebody

BODY = b"as it was sent"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ROUND = Race(0, "7", "arrived", BODY, 0, [], [])
READY = Left("u/7/key", "ready", NOON, sha256(BODY).hexdigest(), spent=False)
GONE = Left("u/7/key", "gone", None, None, spent=True)


def test_of_150_rounds_of_eight_processes_none_leaves_a_file_in_two_states() -> None:
    report = race(150, processes=8, seed=150)

    assert not report.violations, report
    assert sum(report.acts.values()) == 150 * 8
    happened = {act for act, count in report.acts.items() if count}
    assert happened >= {("confirm", "ok"), ("confirm", "not_found"), ("cancel", "ok"), ("cancel", "already_ready")}
    assert happened >= {("delete", "ok"), ("expire", "ok"), ("sign", "ok"), ("send", "ok")}
    assert report.ends["ready"] and report.ends["gone"], "one side always won, so that nothing was interleaved"


def test_a_seed_plans_the_same_round_in_every_process() -> None:
    assert plan(7, 3, 8, "1") == plan(7, 3, 8, "1")
    assert plan(7, 3, 8, "1") != plan(8, 3, 8, "1")


# --- what it would see ----------------------------------------------------------------------------------------------


def done(act: str, answer: str = "ok", status: str = "gone", at: float = 0, ready_at: datetime | None = None) -> Done:
    return Done(act, answer, ready_at, at, at + 0.1, status, at + 0.2)


CONFIRMED = done("confirm", status="ready", ready_at=NOON)


@pytest.mark.parametrize(
    ("acts", "left"),
    [
        pytest.param([CONFIRMED, CONFIRMED], READY, id="confirmed twice"),
        pytest.param([CONFIRMED, done("cancel", "already_ready", "ready", 1)], READY, id="confirmed, then canceled"),
        pytest.param([CONFIRMED, done("delete", at=1)], GONE, id="confirmed, then deleted"),
        pytest.param([done("cancel"), done("confirm", "not_found", at=1)], GONE, id="canceled, then confirmed"),
    ],
)
def test_what_is_right_is_no_violation(acts: list[Done], left: Left) -> None:
    assert list(judge(ROUND, Outcome(acts, left))) == []


@pytest.mark.parametrize(
    ("acts", "left", "violation"),
    [
        ([CONFIRMED], GONE, "it was ready, nobody deleted it, and it is gone"),
        ([done("expire", status="pending")], READY, "it is ready, and nobody was told"),
        ([CONFIRMED, done("cancel")], READY, "it was canceled or deleted, and it is ready"),
        ([done("cancel", "already_ready", "pending")], GONE, "a cancel was told that it is ready, and no confirm was"),
        ([CONFIRMED, done("confirm", "not_found", "ready")], READY, "somebody was told that there is no such file"),
        ([CONFIRMED, done("confirm", "not_uploaded", "ready")], READY, "a confirm was told that nothing had arrived"),
        ([done("confirm", "OperationFailure: …")], GONE, "confirm was answered OperationFailure"),
        ([CONFIRMED], READY._replace(sha256=None), "it is ready, and the bucket has nothing"),
        ([CONFIRMED], READY._replace(sha256="0"), "it is ready, and the bucket has something else"),
        ([done("cancel")], GONE._replace(sha256="0", spent=False), "an object is left that nobody knows"),
        ([done("cancel", status="ready")], GONE, "right after its cancel it was ready"),
        ([done("cancel"), done("expire", status="ready", at=1)], GONE, "it was gone, and 0.900 s later ready"),
        ([CONFIRMED, CONFIRMED._replace(ready_at=NOON.replace(hour=13))], READY, "it became ready more than once"),
    ],
)
def test_what_is_wrong_is_named(acts: list[Done], left: Left, violation: str) -> None:
    assert any(violation in wrong for wrong in judge(ROUND, Outcome(acts, left)))


@pytest.fixture
def confirmed() -> tuple[Race, Left]:
    """A file of a run that the sweep is to judge."""
    round_ = replace(ROUND, owner=str(somebody().pk))
    signed = uploads.sign(round_.owner, filename="race.bin", content_type="application/pdf", size=len(BODY))
    put_object(signed.key, BODY)
    file = uploads.confirm(round_.owner, signed.key)
    return round_, READY._replace(key=signed.key, ready_at=file.ready_at)


def settled(round_: Race, left: Left) -> list[str]:
    return list(settle([round_], {round_.number: Outcome([], left)}, round_.owner))


def test_a_sweep_leaves_the_ready_files_alone_and_finds_nothing_else(confirmed: tuple[Race, Left]) -> None:
    assert settled(*confirmed) == []


def test_an_object_without_a_document_is_found(confirmed: tuple[Race, Left]) -> None:
    orphan = f"u/{confirmed[0].owner}/nobody-knows-me"
    put_object(orphan)

    assert settled(*confirmed) == [f"after the sweep {orphan} is among the objects"]


def test_a_document_without_its_object_is_found(confirmed: tuple[Race, Left]) -> None:
    storage.delete(confirmed[1].key)

    assert settled(*confirmed) == [f"after the sweep {confirmed[1].key} is not among the objects"]


def test_other_bytes_are_found(confirmed: tuple[Race, Left]) -> None:
    put_object(confirmed[1].key, BODY.upper())

    assert settled(*confirmed) == [f"{confirmed[1].key} has other bytes"]
