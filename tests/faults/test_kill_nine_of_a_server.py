"""kill -9 in the middle of uploads: of MongoDB, of Valkey, of the bucket and of a process that serves requests."""

from __future__ import annotations

import pytest

from tests.faults import TO_SWEEP, Stack, Traffic, assert_nothing_is_lost


@pytest.fixture
def traffic(stack: Stack) -> Traffic:
    """And an upload that was given up half-way, for the sweep: a kill does not always come in the middle of one."""
    with stack.client(stack.sessions[0]) as alice:
        wish = {"filename": "given-up.bin", "contentType": "application/octet-stream", "size": 5}
        assert alice.post("/api/uploads/sign", json=wish).status_code == 200
    return Traffic(stack)


@pytest.mark.parametrize("server", ["mongod", "valkey", "seaweedfs"])
def test_a_server_that_is_killed_loses_no_acknowledged_file(stack: Stack, traffic: Traffic, server: str) -> None:
    process = getattr(stack, server)
    with traffic.flowing():
        traffic.wait_for_more()
        process.kill()
        traffic.wait_to_be_cut_off()
        stack.restart(process)
        traffic.wait_for_more()

    assert_nothing_is_lost(traffic)
    assert_the_next_sweep_brings_agreement(stack, traffic)


def test_a_web_process_that_is_killed_loses_no_acknowledged_file(stack: Stack, traffic: Traffic) -> None:
    with traffic.flowing():
        traffic.wait_for_more()
        stack.kill_a_web_worker()
        traffic.wait_for_more()

    assert_nothing_is_lost(traffic)
    assert_the_next_sweep_brings_agreement(stack, traffic)


def test_everything_killed_at_once_loses_no_acknowledged_file(stack: Stack, traffic: Traffic) -> None:
    everything = (stack.mongod, stack.valkey, stack.seaweedfs, stack.web)
    with traffic.flowing():
        traffic.wait_for_more()
        for process in everything:
            process.kill()
        traffic.wait_to_be_cut_off()
        for process in everything:
            stack.restart(process)
        traffic.wait_for_more()

    assert_nothing_is_lost(traffic)
    assert_the_next_sweep_brings_agreement(stack, traffic)


def assert_the_next_sweep_brings_agreement(stack: Stack, traffic: Traffic) -> None:
    """Some uploads were given up half-way, so that the sweep has something to do."""
    assert stack.files_that_are(*TO_SWEEP)
    stack.make_everything_overdue()

    stack.sweep()

    stack.assert_bucket_and_mongo_agree()
    assert stack.files_that_are("ready") >= set(traffic.acknowledged)
