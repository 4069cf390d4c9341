"""The beat wakes a task again and again: while one worker is still at it, another has better things to do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from files import alone, redis_client, sweeps, tasks
from files.alone import run_alone
from files.documents import File
from uploadkit import localstack

from .lifecycle import documents, somebody
from .processes import wait_until
from .test_cleanup import backlog

LOCK = "uploadkit:alone:work"


def test_a_cleanup_that_comes_while_another_is_at_work_leaves_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, began, may_go_on, claim = somebody(), threading.Event(), threading.Event(), sweeps._claim
    keys = backlog(alice, 3)

    def slow(*arguments: Any) -> int:
        began.set()
        assert may_go_on.wait(30)
        return claim(*arguments)

    monkeypatch.setattr(sweeps, "_claim", slow)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(tasks.cleanup_pending)
        try:
            assert began.wait(30)
            monkeypatch.setattr(sweeps, "_claim", claim)
            tasks.cleanup_pending()
            assert documents(alice).keys() == set(keys), "the second did nothing"
            tasks.empty_trash(), tasks.settle_quotas()  # which are others, and do not wait for it
        finally:
            may_go_on.set()
        first.result()
    assert not File.objects
    backlog(alice, 1)
    tasks.cleanup_pending()
    assert not File.objects, "the first gave the lock back"


def test_the_lock_outlasts_its_time_while_its_holder_works_and_not_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else of a sweep of twenty minutes there would be two soon; and none for long, after a kill -9."""
    monkeypatch.setattr(alone, "LIVES", 0.6)
    monkeypatch.setattr(alone, "RENEWED_EVERY", 0.1)
    done: list[str] = []

    def outlast() -> None:
        ends = threading.Event()
        assert not ends.wait(0.9)
        assert redis_client.connection().exists(LOCK)
        run_alone("work", lambda: done.append("another"))

    run_alone("work", outlast)

    assert not done and not redis_client.connection().exists(LOCK)
    redis_client.connection().set(LOCK, "of one who was killed", px=200)

    def is_done() -> bool:
        run_alone("work", lambda: done.append("the next"))
        return bool(done)

    wait_until(is_done, "the lock ran out", within=5)


def test_whose_lock_ran_out_while_it_was_frozen_leaves_that_of_the_next_alone() -> None:
    def thaw_late() -> None:
        redis_client.connection().set(LOCK, "of the next")

    run_alone("work", thaw_late)

    assert redis_client.connection().get(LOCK) == b"of the next"


def test_work_that_fails_gives_its_lock_back() -> None:
    with pytest.raises(ZeroDivisionError):
        run_alone("work", lambda: 1 / 0)
    assert not redis_client.connection().exists(LOCK)


def test_with_redis_down_the_work_is_done_all_the_same(settings: Any) -> None:
    done: list[str] = []
    settings.REDIS_URL = f"redis://{localstack.HOST}:{localstack.free_port()}/0"
    redis_client.connection.cache_clear()
    try:
        run_alone("work", lambda: done.append("work"))
    finally:
        redis_client.connection.cache_clear()
    assert done == ["work"]
