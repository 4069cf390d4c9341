"""kill -9 in the middle of a cleanup of many uploads: of the worker that does it, and of what it works on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery
from redis import Redis

from tests.faults import TO_SWEEP, Stack
from tests.faults.invariants import let_days_pass
from tests.processes import wait_until
from uploadkit import localstack

OVERDUE = 2500  # more than two batches
EVERY = 5  # so many documents have one object: uploads that arrived and were never confirmed, and files in the trash


@pytest.mark.parametrize("victim", ["worker", "mongod", "seaweedfs"])
def test_a_cleanup_that_is_killed_is_finished_by_the_next(stack: Stack, victim: str) -> None:
    ready = abandon_uploads(stack)
    process = getattr(stack, victim)
    clean_up(stack)
    wait_until_in_the_middle_of_it(stack)

    process.kill()
    stack.restart(process)
    assert stack.files_that_are(*TO_SWEEP), "the cleanup was over before the kill"
    clean_up(stack)

    wait_until(lambda: not stack.files_that_are(*TO_SWEEP), "the next cleanup is through")
    if victim == "seaweedfs":
        # Of its deletions under way some were seen again, one time in twenty. That is what spent keys are remembered for.
        let_days_pass(stack)
    assert_it_comes_to_an_end(stack, ready)


def test_a_worker_finds_its_queue_again_after_valkey_was_killed(stack: Stack) -> None:
    ready = abandon_uploads(stack)
    clean_up(stack)
    wait_until_in_the_middle_of_it(stack)

    stack.valkey.kill()
    stack.restart(stack.valkey)
    wait_until(lambda: not stack.files_that_are(*TO_SWEEP), "what had begun goes on without a queue")
    ready |= abandon_uploads(stack)
    clean_up(stack)

    assert_it_comes_to_an_end(stack, ready)


def wait_until_in_the_middle_of_it(stack: Stack) -> None:
    """The first batch is claimed, the last is not."""
    wait_until(lambda: stack.files_that_are("deleting") and stack.files_that_are("pending"), "the cleanup has begun")


def assert_it_comes_to_an_end(stack: Stack, ready: set[str]) -> None:
    wait_until(lambda: not stack.files_that_are(*TO_SWEEP), "the next cleanup is through")
    stack.assert_bucket_and_mongo_agree()
    assert stack.files_that_are("ready") == ready


def abandon_uploads(stack: Stack) -> set[str]:
    """Thousands of overdue uploads and some files that were trashed long ago, beside some that are ready. Return the keys of
    the latter.
    """
    stack.files.delete_many({})
    keys = [f"u/1/{number:021}-report.pdf" for number in range(OVERDUE)]
    ready, trashed = keys[:: EVERY * 10], keys[EVERY :: EVERY * 10]
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    document = {"owner_id": "1", "name": "report.pdf", "content_type": "application/pdf", "size": 5, "created_at": long_ago}
    stack.files.insert_many(
        [{"_id": key, **document, "status": "pending"} for key in keys if key not in (*ready, *trashed)]
        + [{"_id": key, **document, "status": "trashed", "trashed_at": long_ago} for key in trashed]
        + [{"_id": key, **document, "status": "ready", "ready_at": long_ago} for key in ready]
    )
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: put(stack, key), keys[::EVERY]))
    return set(ready)


def put(stack: Stack, key: str) -> None:
    stack.bucket.put_object(Bucket=localstack.BUCKET, Key=key, Body=b"%PDF-", ContentType="application/pdf")


def clean_up(stack: Stack) -> None:
    """What the beat does every quarter of an hour, by when the lock of one that was killed has run out."""
    with Redis.from_url(stack.redis_url) as redis:
        wait_until(lambda: not redis.exists("uploadkit:alone:cleanup_pending"), "no cleanup holds the lock")
    with Celery(broker=stack.redis_url) as beat:
        beat.send_task("files.tasks.cleanup_pending")
