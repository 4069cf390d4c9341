"""Eight processes at one key, for a while; and that the judge of `make faults` sees each thing that may go wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from files import storage, uploads
from tests.faults.races import NAME, NEW_NAME, Done, Left, Outcome, Race, judge, plan, race, settle
from tests.lifecycle import put_object, somebody

BODY = b"%PDF- as it was sent"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ROUND = Race(0, "7", "arrived", BODY, 0, [], [])
READY = Left("u/7/key", "ready", NOON, sha256(BODY).hexdigest(), spent=False, name=NAME, saw=5)
TRASHED = READY._replace(status="trashed")
GONE = Left("u/7/key", "gone", None, None, spent=True, name=None, saw=5)


def test_of_150_rounds_of_eight_processes_none_leaves_a_file_in_two_states() -> None:
    report = race(150, processes=8, seed=150)

    assert not report.violations, report
    assert sum(report.acts.values()) == 150 * 8
    happened = {act for act, count in report.acts.items() if count}
    assert happened >= {("confirm", "ok"), ("confirm", "not_found"), ("cancel", "ok"), ("cancel", "already_ready")}
    assert happened >= {("trash", "ok"), ("restore", "ok"), ("rename", "ok"), ("expire", "ok"), ("sign", "ok"), ("send", "ok")}
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
        pytest.param([done("cancel"), done("confirm", "not_found", at=1)], GONE, id="canceled, then confirmed"),
        pytest.param([CONFIRMED, done("remove", at=1)], GONE, id="confirmed, then removed"),
        pytest.param([CONFIRMED, done("trash", "ok", "trashed", 1)], TRASHED, id="confirmed, then trashed"),
        pytest.param([CONFIRMED, done("trash", at=1), done("expire", at=1)], GONE, id="trashed, then swept"),
        pytest.param(
            [CONFIRMED, done("trash", "ok", "trashed", 1)], GONE._replace(saw=12), id="trashed, swept by another lane"
        ),
        pytest.param(
            [CONFIRMED, done("trash", "ok", "trashed", 1), done("restore", "ok", "ready", 2)], READY, id="trashed and restored"
        ),
        pytest.param(
            [CONFIRMED, done("rename", "ok", "ready", 1)], READY._replace(name=NEW_NAME), id="confirmed, then renamed"
        ),
    ],
)
def test_what_is_right_is_no_violation(acts: list[Done], left: Left) -> None:
    assert list(judge(ROUND, Outcome(acts, left))) == []


@pytest.mark.parametrize(
    ("acts", "left", "violation"),
    [
        ([CONFIRMED], GONE, "it was ready, then gone"),
        ([done("expire", status="pending")], READY, "it was pending, then ready"),
        ([done("cancel"), done("confirm", "not_found", at=1)], READY, "it was deleting or gone, then ready"),
        ([done("cancel", "already_ready", "pending")], GONE, "it was pending, then ready"),
        ([CONFIRMED, done("confirm", "not_found", "ready", 1)], READY, "then deleting or gone or trashed"),
        ([CONFIRMED, done("confirm", "not_uploaded", "ready")], READY, "a confirm was told that nothing had arrived"),
        ([done("confirm", "OperationFailure: …")], GONE, "confirm was answered OperationFailure"),
        ([CONFIRMED], READY._replace(sha256=None), "it is ready, and the bucket has nothing"),
        ([CONFIRMED], READY._replace(sha256="0"), "it is ready, and the bucket has something else"),
        ([done("cancel")], GONE._replace(sha256="0", spent=False), "an object is left that nobody knows"),
        ([done("cancel", status="ready")], GONE, "it was deleting or gone, then ready within 0.200 s"),
        ([done("cancel"), done("expire", status="ready", at=1)], GONE, "it was gone, then ready"),
        ([CONFIRMED, CONFIRMED._replace(ready_at=NOON.replace(hour=13))], READY, "it became ready more than once"),
        ([CONFIRMED, done("trash", "ok", "trashed", 1)], READY, "it was trashed, then ready"),
        ([CONFIRMED, done("restore", "ok", "ready"), done("trash", "ok", "trashed", 1)], READY, "it was trashed, then ready"),
        ([CONFIRMED], TRASHED, "it was ready, then trashed"),
        ([CONFIRMED, done("trash", "ok", "trashed"), done("restore", "ok", "ready", 1)], TRASHED, "it was ready, then trashed"),
        ([CONFIRMED, done("trash", "ok", "trashed", 1)], GONE, "it was trashed, then gone"),
        (
            [CONFIRMED, done("trash", at=1), done("restore", "ok", "ready", 2), done("expire", at=3)],
            GONE,
            "it was ready, then gone",
        ),
        ([CONFIRMED, done("trash", "not_found", "ready", 1)], READY, "it was ready, then deleting or gone or pending"),
        ([CONFIRMED, done("trash", "ok", "trashed", 1), done("restore", "not_found", "trashed", 2)], TRASHED, "or pending"),
        ([done("rename", "ok", "pending")], READY, "it was pending, then ready"),
        (
            [CONFIRMED, done("trash", "ok", "trashed", 1)],
            TRASHED._replace(sha256=None),
            "it is trashed, and the bucket has nothing",
        ),
        ([CONFIRMED, done("rename", "ok", "ready", 1)], READY, "it should be called Renamed"),
        ([CONFIRMED], READY._replace(name=NEW_NAME), "it should be called race.bin"),
        ([CONFIRMED, done("rename", "ok", "ready", 1)], READY._replace(name=None), "it should be called Renamed"),
    ],
)
def test_what_is_wrong_is_named(acts: list[Done], left: Left, violation: str) -> None:
    said = list(judge(ROUND, Outcome(acts, left)))

    assert any(violation in wrong for wrong in said), said


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
