"""Twenty rounds of faults, which have every fault there is; and that what must hold is really looked at."""

from __future__ import annotations

import logging
import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults import Person, Stack, Traffic
from tests.faults.faults import ALL
from tests.faults.invariants import settle, violations
from tests.faults.rounds import PASS, deal, play_rounds
from uploadkit import localstack

SEED = 1
LONGEST_STOP = 2.0  # seconds; `make faults` has stops of 20 s


# In two halves, and at both ends of this file, so that xdist gives them to two of its workers.
@pytest.mark.timeout(400)
def test_the_even_rounds_of_a_pass_lose_nothing_and_leave_nothing_over(tmp_path: Path) -> None:
    assert_rounds_lose_nothing(tmp_path, range(0, PASS, 2))


def assert_rounds_lose_nothing(tmp_path: Path, numbers: range) -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)  # or every request is printed beside what went wrong
    report = play_rounds(tmp_path / "stack", SEED, list(numbers), LONGEST_STOP)

    assert not report.violated, f"{report}\nthe logs are in {tmp_path}"
    assert report.acknowledged > len(numbers)
    planned = {(fault.kind, fault.target) for number in numbers for fault in deal(SEED, number, LONGEST_STOP).faults}
    left_out = {"full disk"} if report.without else set()
    missed = {kind for kind in planned if kind[0] not in left_out and not report.done[kind]}
    assert not missed, f"planned, and did not happen: {missed}"


def test_every_pass_of_twenty_rounds_has_every_fault() -> None:
    for seed in range(10):
        kinds = {(fault.kind, fault.target) for number in range(PASS, 2 * PASS) for fault in deal(seed, number).faults}
        assert kinds == set(ALL)


def test_a_round_follows_from_its_seed_and_number() -> None:
    assert deal(7, 123) == deal(7, 123)
    assert deal(7, 123).faults != deal(8, 123).faults != deal(8, 124).faults


# --- that a loss is seen --------------------------------------------------------------------------------------------


@pytest.fixture
def traffic(stack: Stack) -> Traffic:
    """Somebody's ten files, which are acknowledged and all there."""
    stack.files.delete_many({})
    stack.files.database["accounts"].delete_many({})
    for key in stack.objects():
        stack.bucket.delete_object(Bucket=localstack.BUCKET, Key=key)
    traffic = Traffic(stack)
    with traffic.person(stack.sessions[0]) as person:
        for _ in range(10):
            upload(person)
    assert len(traffic.acknowledged) == 10
    assert list(violations(stack, traffic)) == []
    return traffic


def upload(person: Person) -> None:
    person.upload(random.randbytes(1000), 0.5, threading.Event())


def put(stack: Stack, key: str, body: bytes) -> None:
    stack.bucket.put_object(Bucket=localstack.BUCKET, Key=key, Body=body, ContentType="application/octet-stream")


def test_an_object_that_vanishes_is_seen(stack: Stack, traffic: Traffic) -> None:
    key = min(traffic.acknowledged)
    stack.bucket.delete_object(Bucket=localstack.BUCKET, Key=key)

    said = list(violations(stack, traffic))

    assert f"{key} is of a ready file, and there is no object" in said
    assert any(line.startswith(f"{key} was acknowledged, and its object is 404") for line in said)


def test_a_document_that_vanishes_is_seen(stack: Stack, traffic: Traffic) -> None:
    key = min(traffic.acknowledged)
    stack.files.delete_one({"_id": key})

    assert list(violations(stack, traffic)) == [
        f"{key} is an object without a document",
        f"{key} was acknowledged, and is gone",
        f"{key} was acknowledged, and its download is 404",
    ]


def test_a_quota_that_was_given_back_twice_is_seen(stack: Stack, traffic: Traffic) -> None:
    owner_id = min(traffic.acknowledged).split("/")[1]
    stack.files.database["accounts"].update_one({"_id": owner_id}, {"$inc": {"files": -1, "bytes": -1000}})

    assert list(violations(stack, traffic)) == [f"Owner {owner_id}: 10 files of 10000 bytes, not 9 of 9000."]


def test_other_bytes_are_seen(stack: Stack, traffic: Traffic) -> None:
    key = min(traffic.acknowledged)
    put(stack, key, b"x" * 1000)

    assert list(violations(stack, traffic)) == [f"{key} was acknowledged, and comes back with other bytes"]


def test_a_file_that_was_deleted_and_is_ready_is_seen(stack: Stack, traffic: Traffic) -> None:
    key = min(traffic.acknowledged)
    traffic.deleted.add(key)

    assert list(violations(stack, traffic)) == [f"{key} was deleted, and is ready"]


def test_an_upload_that_no_sweep_ended_is_seen(stack: Stack, traffic: Traffic) -> None:
    key = min(traffic.acknowledged)
    stack.files.update_one({"_id": key}, {"$set": {"status": "deleting"}})

    assert f"{key} is neither ready nor gone" in list(violations(stack, traffic))


def test_what_comes_after_its_document_went_is_gone_once_the_key_is_forgotten(stack: Stack, traffic: Traffic) -> None:
    key = "u/1/aaaaaaaaaaaaaaaaaaaaa-late.bin"
    now = datetime.now(UTC)
    stack.files.database["spent_keys"].insert_one({"_id": key, "signed_at": now, "look_at": now + timedelta(minutes=2)})
    put(stack, key, b"late")
    assert list(violations(stack, traffic)) == [f"{key} is still spent", f"{key} is an object without a document"]

    settle(stack)

    assert list(violations(stack, traffic)) == []


@pytest.mark.timeout(400)
def test_the_odd_rounds_of_a_pass_lose_nothing_and_leave_nothing_over(tmp_path: Path) -> None:
    assert_rounds_lose_nothing(tmp_path, range(1, PASS, 2))
