"""Sixty uploads in flight for a few seconds, as `make faults` keeps a thousand for minutes."""

from __future__ import annotations

import pytest

from tests.faults import Stack
from tests.faults.load import Load, put_load_on, run_apart

UPLOADS = 60


@pytest.fixture(scope="module")
def load(stack: Stack) -> Load:
    return put_load_on(stack, UPLOADS, seconds=9, seed=60, pace=2)


def test_of_sixty_uploads_in_flight_none_is_lost(stack: Stack, load: Load) -> None:
    assert not load.lost, load
    assert len(load.acknowledged) > 2 * UPLOADS
    assert stack.files_that_are("ready") == load.acknowledged.keys() == stack.objects()


def test_every_answer_is_a_200(load: Load) -> None:
    assert load.answers.keys() == {"sign 200", "put 200", "confirm 200"}, load


def test_all_of_them_are_in_flight_all_the_time(load: Load) -> None:
    assert {sample.in_flight for sample in load.under_load()} == {UPLOADS}, load


def test_the_web_tier_s_memory_stays_level(load: Load) -> None:
    assert load.faults() == []


# --- what it would see ----------------------------------------------------------------------------------------------


def test_a_file_that_comes_back_otherwise_is_lost(stack: Stack, load: Load) -> None:
    changed, missing, *_ = load.acknowledged
    stack.bucket.put_object(Bucket="uploadkit", Key=changed, Body=b"something else")
    stack.bucket.delete_object(Bucket="uploadkit", Key=missing)
    again = Load(stack, load.sessions, 0, 0, 0, acknowledged=load.acknowledged)

    run_apart(again)

    assert len(again.lost) == 2
    assert changed in again.lost[0] + again.lost[1] and missing in again.lost[0] + again.lost[1]


def test_memory_that_grows_is_a_fault(stack: Stack, load: Load) -> None:
    grown = [sample._replace(megabytes=100 + 5 * sample.at) for sample in load.samples]
    leaking = Load(stack, load.sessions, UPLOADS, load.seconds, 0, samples=grown)

    assert any(fault.startswith("memory grew from") for fault in leaking.faults())
