"""The admin's history knows of an act before it is done: with its database away nothing is done, and another try does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client

from files import jobs, quotas, uploads
from files.documents import File, Status
from files.jobs import Action, Job, State

from .conftest import Cast

pytestmark = pytest.mark.django_db(databases=["default", "mongo"])

LIST = "/admin/files/storedfile/"


@contextmanager
def away() -> Iterator[None]:
    """The database goes in the moment in which the history is to be written."""

    def cut_off(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith('INSERT INTO "django_admin_log"'):
            raise OperationalError("cut off")
        return execute(sql, *rest)

    with connection.execute_wrapper(cut_off):
        yield


@pytest.mark.parametrize("action", Action)
def test_a_job_starts_after_its_entry_and_those_of_its_files(as_ops: Client, ops: User, alice: User, action: Action) -> None:
    file = Cast.sign(alice) if action == Action.EXPIRE else Cast.upload(alice)
    job = jobs.ask(action, str(ops.pk), keys=[file.key], chosen="1 selected")
    before = File.objects.get(key=file.key).status

    with away():
        assert as_ops.post(f"{LIST}jobs/{job.key}/start/").status_code == 503
    assert Job.find(job.key).state == State.ASKED  # type: ignore[union-attr]
    assert File.objects.get(key=file.key).status == before and not LogEntry.objects.exists()

    for _ in range(2):
        assert as_ops.post(f"{LIST}jobs/{job.key}/start/").status_code == 302
    assert Job.find(job.key).state == State.QUEUED  # type: ignore[union-attr]
    assert [(entry.object_id, entry.get_change_message()) for entry in LogEntry.objects.order_by("pk")] == [
        (None, f"Asked to start: {action}, 1 selected. Job {job.key}."),
        (file.key, f"Asked to {action}, by job {job.key}."),
    ]


def test_a_start_that_was_cut_off_behind_its_entries_is_tried_again_and_has_no_more_of_them(
    as_ops: Client, ops: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.ask(Action.DELETE, str(ops.pk), keys=[Cast.upload(alice).key], chosen="1 selected")
    with monkeypatch.context() as cut:
        cut.setattr(jobs, "start", lambda job: 1 / 0)
        assert as_ops.post(f"{LIST}jobs/{job.key}/start/").status_code == 500
    assert LogEntry.objects.count() == 2
    as_ops.post(f"{LIST}jobs/{job.key}/start/")
    assert Job.find(job.key).state == State.QUEUED and LogEntry.objects.count() == 2  # type: ignore[union-attr]


def test_nothing_else_is_done_that_the_history_does_not_know_of(as_ops: Client, ops: User, alice: User) -> None:
    file, overdue = Cast.upload(alice), Cast.sign(alice)
    File.objects(key=overdue.key).update(created_at=uploads.now() - timedelta(hours=2))
    job = jobs.start(jobs.ask(Action.CHECK_AGAIN, str(ops.pk), keys=[file.key], chosen="1 selected"))
    assert job
    acts = {
        f"{LIST}jobs/{job.key}/cancel/": {},
        f"{LIST}owner/{alice.pk}/quota/": {"max_files": "1"},
        f"{LIST}cleanup/": {},
        f"{LIST}storage/": {},
        f"{LIST}{quote(file.key)}/delete/": {"post": "yes"},
    }

    with away():
        for page, sent in acts.items():
            assert as_ops.post(page, sent).status_code == 503, page
        assert as_ops.get(f"{LIST}{file.key}/download/").status_code == 503

    assert Job.find(job.key).state == State.QUEUED  # type: ignore[union-attr]
    assert quotas.standing_of(str(alice.pk)).own == (None, None)
    assert {known.key: known.status for known in File.objects} == {file.key: Status.READY, overdue.key: Status.PENDING}
    assert not LogEntry.objects.exists()
