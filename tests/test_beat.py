"""The beat without a worker."""

from __future__ import annotations

import pytest
from celery import current_app
from celery.beat import ScheduleEntry

from files import redis_client
from uploadkit import beat


def test_nothing_is_sent_to_a_queue_that_nobody_empties(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(beat, "MOST", 3)
    scheduler = beat.Scheduler(current_app, lazy=True)
    trash = ScheduleEntry(name="trash", app=current_app, **current_app.conf.beat_schedule["trash"])

    def sent(times: int) -> int:
        for _ in range(times):
            scheduler.apply_entry(trash)
        return int(str(redis_client.queue().llen(current_app.conf.task_default_queue)))

    assert sent(5) == 3
    assert "files.tasks.empty_trash is not sent, since 3 messages wait in celery: is there a worker?" in caplog.text
    redis_client.queue().lpop(current_app.conf.task_default_queue)
    assert sent(1) == 3, "a worker is there"


def test_the_beat_runs_by_this_clock() -> None:
    assert current_app.conf.beat_scheduler == f"{beat.Scheduler.__module__}:{beat.Scheduler.__name__}"
