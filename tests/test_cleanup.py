"""manage.py cleanup_pending, and the task that does the same every 15 minutes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from files import names, storage, sweeps, tasks, uploads
from files.documents import File, SpentKey, Status

from .conftest import ROOT, Cast
from .lifecycle import (
    actors,
    age_spent_keys,
    ask_the_bucket_anew,
    at_once,
    backdate,
    disagreements,
    documents,
    objects,
    own_bucket,
    put_object,
    somebody,
)

HOUR = timedelta(hours=1)


def cleanup(*options: str) -> str:
    """What the command prints."""
    out = StringIO()
    call_command("cleanup_pending", *options, stdout=out, stderr=out)
    return out.getvalue()


def backlog(
    owner: User, count: int, *, stored: int = 0, age: timedelta = 2 * HOUR, status: Status = Status.PENDING
) -> list[str]:
    """Documents of uploads that were given up, the first `stored` of them with an object."""
    keys = sorted(names.new_key(str(owner.pk), "a.pdf") for _ in range(count))
    common = {
        "owner_id": str(owner.pk),
        "name": "a.pdf",
        "content_type": "application/pdf",
        "size": 5,
        "status": status.value,
        "created_at": uploads.now() - age,
    }
    for start in range(0, count, 1000):
        File._get_collection().insert_many({"_id": key, **common} for key in keys[start : start + 1000])
    for key in keys[:stored]:
        put_object(key)
    return keys


# --- what goes and what stays ---------------------------------------------------------------------------------------


def test_an_overdue_upload_goes_with_its_object_and_without_one() -> None:
    alice = somebody()
    backlog(alice, 5, stored=3)

    cleanup()

    assert (documents(alice), objects(alice)) == ({}, set())


def test_fresh_uploads_and_ready_files_are_left_alone(cast: type[Cast]) -> None:
    alice = somebody()
    fresh = cast.sign(alice)
    cast.put(fresh)
    ready = cast.upload(alice)
    backdate([ready.key], timedelta(days=400))
    before = documents(alice)

    cleanup()

    assert documents(alice) == before == {fresh.key: "pending", ready.key: "ready"}
    assert objects(alice) == {fresh.key, ready.key}


def test_what_an_earlier_run_left_deleting_is_finished(cast: type[Cast]) -> None:
    alice = somebody()
    backlog(alice, 4, stored=2, status=Status.DELETING)

    assert "removed 4 documents with their objects." in cleanup()
    assert (documents(alice), objects(alice)) == ({}, set())


def test_only_those_older_than_asked_go() -> None:
    alice = somebody()
    young, old = (
        backlog(alice, 3, stored=3, age=timedelta(minutes=20)),
        backlog(alice, 3, stored=3, age=timedelta(minutes=40)),
    )

    cleanup("--older-than", "30m", "--batch", "2")

    assert documents(alice).keys() == objects(alice) == set(young)
    assert not objects(alice) & set(old)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 1000])
def test_the_size_of_a_batch_changes_nothing_but_the_steps(batch: int) -> None:
    alice = somebody()
    backlog(alice, 7, stored=7)
    backlog(alice, 5, status=Status.DELETING)
    fresh = backlog(alice, 4, stored=4, age=timedelta(minutes=1))

    printed = cleanup("--batch", str(batch))

    assert "Gave up 7 uploads" in printed and "removed 12 documents" in printed
    assert documents(alice) == dict.fromkeys(fresh, "pending") and objects(alice) == set(fresh)


def test_uploads_of_one_millisecond_are_all_met() -> None:
    alice = somebody()
    keys = backlog(alice, 25)
    File.objects.keyed(keys).update(created_at=uploads.now() - 2 * HOUR)

    cleanup("--batch", "4")

    assert documents(alice) == {}


# --- what comes late ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given_up", [uploads.cancel, lambda *_: cleanup("--older-than", "0s")], ids=["canceled", "swept"])
def test_an_object_put_late_through_a_url_that_is_still_good_is_found(cast: type[Cast], given_up: Any) -> None:
    alice = somebody()
    signed = cast.sign(alice)
    given_up(str(alice.pk), signed.key)
    assert documents(alice) == {}
    assert cast.put(signed).status_code == 200

    age_spent_keys(sweeps.URL_DEAD)
    cleanup()

    assert objects(alice) == set()


def test_a_key_is_looked_at_when_its_url_is_dead_and_a_last_time_a_day_after(cast: type[Cast]) -> None:
    alice = somebody()
    key = cast.sign(alice).key
    uploads.cancel(str(alice.pk), key)
    cleanup()
    assert SpentKey.objects.get(key=key).look_at < uploads.now() + timedelta(minutes=3)

    age_spent_keys(sweeps.URL_DEAD)
    cleanup()
    assert SpentKey.objects.get(key=key).look_at > uploads.now() + timedelta(hours=23)

    put_object(key)
    age_spent_keys(sweeps.PUT_OVER)
    cleanup()
    assert (SpentKey.objects(key=key).count(), objects(alice)) == (0, set())


def test_an_overdue_key_whose_url_is_dead_is_not_deleted_twice_by_one_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = backlog(somebody(), 3, age=2 * HOUR)
    asked: list[str] = []
    delete_many = storage.delete_many

    def noted(some: list[str]) -> dict[str, str]:
        asked.extend(some)
        return delete_many(some)

    monkeypatch.setattr(storage, "delete_many", noted)

    cleanup()

    assert sorted(asked) == keys
    assert all(spent.look_at == spent.signed_at + sweeps.PUT_OVER for spent in SpentKey.objects(key__in=keys))


def test_a_backlog_of_spent_keys_is_worked_off_in_batches(cast: type[Cast]) -> None:
    alice = somebody()
    keys = [cast.sign(alice).key for _ in range(7)]
    for key in keys:
        uploads.cancel(str(alice.pk), key)
        put_object(key)
    age_spent_keys(sweeps.PUT_OVER)

    cleanup("--batch", "3")

    assert (SpentKey.objects(key__in=keys).count(), objects(alice)) == (0, set())


def test_a_spent_key_that_the_bucket_refuses_is_tried_again_later(settings: Any, tmp_path: Path) -> None:
    alice, bob = somebody(), somebody()
    with own_bucket(settings, tmp_path, may_write=f"u/{alice.pk}/"):
        key = backlog(bob, 1)[0]
        SpentKey(key=key, signed_at=uploads.now(), look_at=uploads.now()).save(force_insert=True)
        File.objects.keyed([key]).delete()

        assert f"The bucket refused to delete {key}" in cleanup()

        assert SpentKey.objects.get(key=key).look_at > uploads.now()


def send_half(signed: uploads.Signed, body: bytes) -> socket.socket:
    """Begin a PUT and stop half-way, as a slow line does."""
    target = urlsplit(signed.put.url)
    assert target.hostname and target.port
    line = socket.create_connection((target.hostname, target.port), timeout=20)
    headers = {**signed.put.headers, "Host": target.netloc, "Content-Length": str(len(body)), "Connection": "close"}
    head = f"PUT {target.path}?{target.query} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    line.sendall(head.encode() + b"\r\n" + body[: len(body) // 2])
    return line


@pytest.mark.parametrize(
    ("older_than", "took"), [("1h", timedelta(minutes=61)), ("2m", timedelta(minutes=3))], ids=["an hour", "two minutes"]
)
def test_a_put_that_took_longer_than_uploads_are_waited_for_leaves_no_orphan(
    cast: type[Cast], older_than: str, took: timedelta
) -> None:
    alice = somebody()
    body = os.urandom(200_000)
    signed = cast.sign(alice, size=len(body))
    with send_half(signed, body) as line:
        backdate([signed.key], took)
        cleanup("--older-than", older_than)
        line.sendall(body[len(body) // 2 :])
        assert line.recv(100).startswith(b"HTTP/1.1 200")
    age_spent_keys(sweeps.PUT_OVER)
    cleanup("--older-than", older_than)

    assert disagreements(alice) == []


# --- the command ----------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_go_and_touches_nothing() -> None:
    alice = somebody()
    keys = backlog(alice, 3, stored=3)
    before = list(File.objects.owned_by(str(alice.pk)).as_pymongo())

    printed = cleanup("--dry-run", "--batch", "2")

    assert "Would give up 3 uploads never confirmed and remove 3 documents with their objects. Nothing was removed." in printed
    assert all(key in printed for key in keys)
    assert list(File.objects.owned_by(str(alice.pk)).as_pymongo()) == before
    assert objects(alice) == set(keys)


def test_it_prints_what_it_did() -> None:
    alice = somebody()
    keys = backlog(alice, 3)

    printed = cleanup("--verbosity", "2")

    assert printed.splitlines()[-1] == "Gave up 3 uploads never confirmed and removed 3 documents with their objects."
    assert sorted(printed.splitlines()[:-1]) == keys
    backlog(alice, 1)
    assert cleanup() == "Gave up 1 upload never confirmed and removed 1 document with its object.\n"
    assert cleanup() == "Gave up 0 uploads never confirmed and removed 0 documents with their objects.\n"


@pytest.mark.parametrize("text", ["", "soon", "-1h", "1 fortnight", "1y", "h", "1.5h", "1h; drop", "9" * 30 + "d", "800000d"])
def test_an_age_that_cannot_be_read_is_refused_before_anything_is_done(text: str) -> None:
    alice = somebody()
    keys = backlog(alice, 1)

    with pytest.raises(CommandError, match="--older-than"):
        cleanup(f"--older-than={text}")

    assert documents(alice) == {keys[0]: "pending"}


@pytest.mark.parametrize("text", ["7201s", "121m", "2h1m", "3h", "1d"])
def test_ages_are_a_number_and_a_unit(text: str) -> None:
    alice = somebody()
    backlog(alice, 1, age=timedelta(days=2))
    younger = backlog(alice, 1, age=2 * HOUR)

    cleanup("--older-than", text)

    assert documents(alice) == {younger[0]: "pending"}


@pytest.mark.parametrize("batch", ["0", "-1", "1001", "many", "1.5"])
def test_a_batch_is_1_to_1000(batch: str) -> None:
    with pytest.raises(CommandError, match="--batch"):
        cleanup(f"--batch={batch}")


def test_the_task_cleans_up_by_the_age_in_the_settings(settings: Any) -> None:
    alice = somebody()
    settings.PENDING_MAX_AGE = timedelta(minutes=30)
    backlog(alice, 3, stored=2, age=timedelta(minutes=40))
    younger = backlog(alice, 1, age=timedelta(minutes=20))

    tasks.cleanup_pending.apply().get()

    assert documents(alice) == {younger[0]: "pending"} and objects(alice) == set()


def test_beat_runs_the_task_every_15_minutes() -> None:
    from uploadkit.celery import app

    entry = app.conf.beat_schedule["cleanup"]
    assert entry["schedule"] == timedelta(minutes=15)
    assert app.tasks[entry["task"]].name == tasks.cleanup_pending.name


# --- a bucket that refuses, or falls over ---------------------------------------------------------------------------


def test_a_bucket_that_refuses_some_keys_leaves_exactly_those(settings: Any, tmp_path: Path) -> None:
    alice, bob = somebody(), somebody()
    with own_bucket(settings, tmp_path, may_write=f"u/{alice.pk}/"):
        theirs = backlog(bob, 3)
        backlog(alice, 4, stored=4)

        printed = cleanup("--batch", "2")

        assert documents(alice) == {} and objects(alice) == set()
        assert documents(bob) == dict.fromkeys(theirs, "deleting")
        assert "Gave up 7 uploads" in printed and "removed 4 documents" in printed
        for key in theirs:
            assert f"The bucket refused to delete {key}: AccessDenied" in printed


def test_what_was_refused_goes_when_the_bucket_no_longer_does(settings: Any, tmp_path: Path) -> None:
    alice, bob = somebody(), somebody()
    with own_bucket(settings, tmp_path, may_write=f"u/{alice.pk}/"):
        backlog(bob, 3)
        cleanup()

    settings.R2_ENDPOINT_URL = os.environ["R2_ENDPOINT_URL"]
    settings.R2_ACCESS_KEY_ID, settings.R2_SECRET_ACCESS_KEY = (
        os.environ["R2_ACCESS_KEY_ID"],
        os.environ["R2_SECRET_ACCESS_KEY"],
    )
    ask_the_bucket_anew()
    assert "removed 3 documents" in cleanup()
    assert documents(bob) == {}


def test_a_bucket_that_dies_in_the_middle_costs_nothing_but_another_run(settings: Any, tmp_path: Path) -> None:
    alice = somebody()
    with own_bucket(settings, tmp_path) as server:
        keys = backlog(alice, 30, stored=30)
        batches: list[list[str]] = []

        def kill_at_the_third(batch: list[str]) -> None:
            batches.append(batch)
            if len(batches) == 3:
                server.kill()

        with pytest.raises(storage.Error):
            sweeps.sweep(older_than=HOUR, batch=10, each=kill_at_the_third)
        left = documents(alice)
        assert sorted(left.values()) == ["deleting"] * 10
        with pytest.raises(CommandError, match="The bucket does not answer, so run this again later"):
            cleanup()
        assert documents(alice) == left

        server.start()
        server.wait_until_ready()
        cleanup()
        assert (documents(alice), objects(alice) & set(keys)) == ({}, set())


# --- large, twice at once, and cut off ------------------------------------------------------------------------------


@pytest.mark.long
def test_memory_is_bounded_whatever_the_backlog() -> None:
    grown = []
    for count in (1000, 20_000):
        backlog(somebody(), count)
        with actors(1) as (actor,):
            swept = actor.ask("sweep")
        assert (swept["expired"], swept["removed"]) == (count, count)
        grown.append(swept["grown_by"])

    # In KiB. Twenty batches settle at some 7 MiB more than one; 20,000 documents in memory are five times that.
    assert grown[1] - grown[0] < 16 * 1024


def test_two_sweeps_at_once_remove_all_exactly_once_in_total() -> None:
    alice = somebody()
    backlog(alice, 300, stored=60)
    backlog(alice, 100, stored=20, status=Status.DELETING)
    with actors(2) as pair:
        first, second = at_once(pair, [{"act": "sweep", "batch": 20}] * 2, [0, 0])

    assert first["did"] and second["did"]
    assert first["expired"] + second["expired"] == 300
    assert first["removed"] + second["removed"] == 400
    assert max(first["began"], second["began"]) < min(first["ended"], second["ended"]), "they did not run at once"
    assert (documents(alice), objects(alice)) == ({}, set())


@contextmanager
def running_cleanup(*options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-u", "manage.py", "cleanup_pending", "--verbosity", "2", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_that_is_killed_in_the_middle_is_finished_by_the_next() -> None:
    alice = somebody()
    backlog(alice, 200, stored=200)
    for lines in (45, 61):
        with running_cleanup("--batch", "10") as process:
            assert process.stdout is not None
            for _ in range(lines):
                assert re.match(r"u/\d+/", process.stdout.readline())
            process.kill()
        assert documents(alice), "it had ended before it was killed"
        assert disagreements(alice) == []

    cleanup()

    assert (documents(alice), objects(alice)) == ({}, set())


def test_what_was_swept_is_not_found_by_its_owner(as_alice: Client, alice: User) -> None:
    (key,) = backlog(alice, 1, stored=1)

    cleanup()

    for path in ("/api/uploads/confirm", "/api/uploads/cancel"):
        assert as_alice.post(path, {"key": key}, content_type="application/json").status_code == 404


def test_a_slow_sweep_does_not_chase_what_is_canceled_meanwhile(cast: type[Cast]) -> None:
    """Else it would never end on a busy day."""
    alice = somebody()
    backlog(alice, 1, status=Status.DELETING)
    batches = 0

    def cancel_one_more(keys: list[str]) -> None:
        nonlocal batches
        batches += 1
        if batches < 20:
            uploads.cancel(str(alice.pk), cast.sign(alice).key)

    sweeps.sweep(older_than=HOUR, each=cancel_one_more)

    assert batches <= 3
