"""The dashboard at the admin's index: what it shows is what happened, whoever may see it, and whatever is down."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from files import dashboard, limits, redis_client, rollups, runs, storage, sweeps, tasks, uploads
from files.documents import File, Status
from files.runs import By, Run
from files.trail import now
from uploadkit.celery import app as celery

from .conftest import Cast
from .lifecycle import ask_the_bucket_anew
from .operations import a_month
from .watching import profiled

pytestmark = pytest.mark.django_db(databases=["default", "mongo"])

INDEX = "/admin/"


def section(client: Client, heading: str) -> str:
    """What the page has under a heading, without its tags and with a | between cells."""
    text = client.get(INDEX).text
    found = re.search(rf"<h2>{heading}.*?</h2>(.*?)</section>", text, re.DOTALL)
    assert found, heading
    words = re.sub(
        r"<[^>]+>", " ", re.sub(r"</t[dh]>\s*<t", "</td> | <t", re.sub(r"<svg.*?</svg>", "", found[1], flags=re.DOTALL))
    )
    return " ".join(html.unescape(words).replace("\xa0", " ").split())


def count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the days as if all that is there had settled."""
    monkeypatch.setattr(rollups, "SETTLED", timedelta(milliseconds=-5))
    tasks.count_days()


# --- who may see it -------------------------------------------------------------------------------------------------


def test_a_stranger_and_a_user_who_is_no_staff_are_sent_to_sign_in(stranger: Client, as_alice: Client) -> None:
    for client in (stranger, as_alice):
        assert client.get(INDEX).status_code == 302


def test_staff_without_the_permission_see_the_index_as_django_has_it(clerk: Callable[..., Client]) -> None:
    answer = clerk("view_storedfile").get(INDEX)
    assert answer.status_code == 200
    assert "The last 30 days" not in answer.text and "Recent actions" in answer.text


def test_staff_with_the_permission_see_it(clerk: Callable[..., Client]) -> None:
    assert "The last 30 days" in clerk("dashboard_storedfile").get(INDEX).text


# --- what it shows --------------------------------------------------------------------------------------------------


def test_an_empty_installation_has_a_sentence_for_each_part(as_ops: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert section(as_ops, "The last 30 days").startswith("Nothing is counted yet.")
    count(monkeypatch)
    for heading, sentence in (
        ("The last 30 days", "No files came in these 30 days."),
        ("By kind", "No files came."),
        ("Rejected", "No file was rejected."),
        ("Top owners", "Nobody has any files."),
        ("Pending uploads", "No upload is under way."),
        ("Being checked", "No file waits for its checks. 0 tasks wait in Celery's queue."),
        ("Signings refused", "Nobody was refused in these 30 days."),
        ("Sweeps", "No cleanup has run yet."),
    ):
        assert sentence in section(as_ops, heading), heading
    assert "<svg role" not in as_ops.get(INDEX).text


def test_uploads_are_shown_by_day_and_by_kind_deleted_ones_too(
    as_ops: Client, alice: User, cast: type[Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    cast.upload(alice, b"a" * 3000, filename="a.txt", content_type="text/plain")
    cast.upload(alice, b"a" * 1000, filename="b", content_type="application/octet-stream")
    gone = cast.upload(alice, b"a" * 1000, filename="c.txt", content_type="text/plain")
    sweeps.delete_many([gone.key], who="ops:1")
    cast.sign(alice)
    count(monkeypatch)

    days = section(as_ops, "The last 30 days")
    assert f"{now():%Y-%m-%d} | 3 | 4.9 KB" in days
    assert "Uploads a day: 3" in days and "Bytes a day: 4.9 KB" in days
    assert section(as_ops, "By kind") == "Kind | Uploads | Bytes | Documents | 2 | 3.9 KB | Other | 1 | 1000 bytes |"


def test_rejected_files_are_shown_by_reason(
    as_ops: Client, alice: User, cast: type[Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = cast.sign(alice, filename="a.png", content_type="image/png")
    cast.put(signed)
    with pytest.raises(uploads.Rejected):
        uploads.confirm(str(alice.pk), signed.key)
    count(monkeypatch)

    assert "type | 1" in section(as_ops, "Rejected")


def test_it_says_until_when_days_are_counted_and_warns_when_nobody_counts(as_ops: Client) -> None:
    rollups.catch_up()
    assert "look whether beat and worker run" not in section(as_ops, "The last 30 days")
    until = now() - timedelta(minutes=16)
    rollups._days().update_many({}, {"$set": {"until": until}})

    shown = section(as_ops, "The last 30 days")
    assert f"counted until {until:%-d %b, %H:%M} UTC" in shown and "look whether beat and worker run" in shown


def test_the_largest_owners_are_shown_by_name_with_a_link_and_a_deleted_one_by_id(as_ops: Client, alice: User) -> None:
    accounts = File._get_db()["accounts"]
    accounts.insert_many([{"_id": str(number), "files": 1, "bytes": number} for number in range(1000, 1012)])
    accounts.insert_many([{"_id": str(alice.pk), "files": 1200, "bytes": 5 * 2**30}, {"_id": "99999", "files": 0, "bytes": 0}])

    shown = section(as_ops, "Top owners")

    assert "alice | 1,200 | 5.0 GB" in shown and "1011 (gone) | 1 | 1011 bytes" in shown
    assert shown.count("(gone)") == 9 and "99999" not in shown
    assert f'href="{dashboard.owner_page(str(alice.pk))}">alice</a>' in as_ops.get(INDEX).text
    assert as_ops.get(dashboard.owner_page(str(alice.pk))).status_code == 200


def wait_for(minutes: float, status: Status = Status.PENDING) -> None:
    created_at = now() - timedelta(minutes=minutes)
    fields = {"owner_id": "1", "name": "a", "content_type": "a/a", "size": 5, "kind": "other"}
    File(key=f"u/1/{status}/{minutes}", **fields, status=status, created_at=created_at).save(force_insert=True)


def test_pending_uploads_are_shown_by_age_with_the_oldest(as_ops: Client) -> None:
    for minutes in (0, 1, 4, 6, 20, 30, 80):
        wait_for(minutes)
    wait_for(60 * 50, Status.READY)

    shown = section(as_ops, "Pending uploads")

    assert shown.startswith("7 in all; the oldest has waited 1 hour, 20 minutes.")
    assert re.findall(r"(\w[\w ]+) \| (\d+)", shown) == [
        ("Under 5 minutes", "3"),
        ("5 to 15 minutes", "1"),
        ("15 minutes to an hour", "2"),
        ("1 to 6 hours", "1"),
        ("6 to 24 hours", "0"),
        ("A day and more", "0"),
    ]
    assert "should have been given up" not in shown
    wait_for(60 * 30)
    assert "The oldest should have been given up by now" in section(as_ops, "Pending uploads")


def test_no_more_are_counted_than_a_page_can_wait_for(as_ops: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "COUNTED_AT_MOST", 3)
    for minutes in (1, 2, 3, 4, 6):
        wait_for(minutes)

    shown = section(as_ops, "Pending uploads")

    assert "Under 5 minutes | 3+" in shown and "5 to 15 minutes | 1" in shown and shown.startswith("3+ in all")


def test_the_checking_queue_is_shown_with_its_oldest_and_celery_s_own(as_ops: Client) -> None:
    wait_for(2, Status.CHECKING)
    wait_for(7, Status.CHECKING)
    for _ in range(3):
        celery.send_task("files.tasks.count_days")

    shown = section(as_ops, "Being checked")

    assert shown.startswith("2 in all; the oldest has waited 7 minutes.")
    assert shown.endswith("3 tasks wait in Celery's queue.")
    assert redis_client.connection().llen(current_app.conf.task_default_queue) == 3


def test_what_is_checked_again_waits_since_then_however_long_ago_it_was_signed(
    as_ops: Client, ops: User, alice: User, cast: type[Cast]
) -> None:
    file = cast.upload(alice)
    File.objects.keyed([file.key]).update(created_at=now() - timedelta(days=240))
    uploads.check_again([file.key], who=f"ops:{ops.pk}")

    shown = section(as_ops, "Being checked")

    assert shown.startswith("1 in all; the oldest has waited 0 minutes.") and "look whether a worker runs" not in shown
    assert "Under 5 minutes | 1" in shown and "A day and more | 0" in shown
    File._get_collection().update_one({"_id": file.key}, {"$set": {"trail.$[].at": now() - timedelta(hours=2)}})
    shown = section(as_ops, "Being checked")
    assert "the oldest has waited 2 hours. The oldest waits for long: look whether a worker runs" in shown


def test_refused_signings_are_shown_by_day_and_by_owner(as_ops: Client, as_alice: Client, alice: User, settings: Any) -> None:
    settings.SIGNINGS_PER_MINUTE = 1
    for _ in range(3):
        as_alice.post("/api/uploads/sign", {"filename": "a", "contentType": "a/a", "size": 1}, content_type="application/json")
    redis_client.connection().zadd(limits._refusals(now() - timedelta(days=29)), {limits.ALL: 1500, "77": 1500})

    shown = section(as_ops, "Signings refused")

    assert "Signings refused a day: 1,502" in shown and "most: 1,500" in shown
    assert "77 (gone) | 1,500" in shown and "alice | 2" in shown
    assert f"{now():%Y-%m-%d} | 2" in shown and f"{now() - timedelta(days=29):%Y-%m-%d} | 1,500" in shown


def test_the_numbers_of_a_chart_are_in_its_words_and_its_shape(as_ops: Client, alice: User, bob: User) -> None:
    a_month(alice, bob)
    text = as_ops.get(INDEX).text
    chart = re.search(
        r'<svg role="img" aria-labelledby="uploads-title uploads-desc" viewBox="0 0 3000 1000".*?</svg>', text, re.DOTALL
    )
    assert chart and text.count('<svg role="img"') == 3
    files = [day.files for day in rollups.last(30)]

    heights = [int(height) for height in re.findall(r'class="column".*?height="(\d+)"', chart[0])]
    assert heights == [round(1000 * number / max(files)) for number in files]
    assert f"{sum(files):,} in all, and the most, {max(files):,}, on" in chart[0]
    assert [f": {number:,}</title>" in chart[0] for number in files] == [True] * 30
    assert "style=" not in text.partition('<div class="apps">')[2].partition("Recent actions")[0]


# --- sweeps and their results ---------------------------------------------------------------------------------------


def test_sweeps_are_shown_with_what_they_did_and_by_whom(as_ops: Client, alice: User, cast: type[Cast]) -> None:
    overdue, trashed = cast.sign(alice), cast.upload(alice)
    File.objects.keyed([overdue.key]).update(created_at=now() - timedelta(hours=2))
    tasks.cleanup_pending()
    call_command("cleanup_pending", verbosity=0)
    call_command("cleanup_pending", "--dry-run", verbosity=0)
    as_ops.post("/admin/files/storedfile/cleanup/")
    uploads.trash(str(alice.pk), [trashed.key])
    File.objects.keyed([trashed.key]).update(trashed_at=now() - timedelta(hours=1))
    for _ in range(2):
        tasks.empty_trash()

    runs_shown = re.findall(
        r"\| (beat|command|admin|trash) \| ([\d.]+) \| (\d+) \| (\d+) \| (\d+) \| Done", section(as_ops, "Sweeps")
    )

    assert [(by, *done) for by, _, *done in runs_shown] == [
        ("admin", "0", "0", "0"),
        ("command", "0", "0", "0"),
        ("beat", "1", "1", "0"),
        ("trash", "0", "1", "0"),
    ], "the second look at the trash found nothing to do, and is not written down"
    assert all(run.seconds > 0 and now() - run.at < timedelta(minutes=1) for run in Run.objects)


def test_a_sweep_that_the_bucket_stops_is_shown_with_its_error(
    as_ops: Client, alice: User, cast: type[Cast], settings: Any
) -> None:
    overdue = cast.sign(alice)
    File.objects.keyed([overdue.key]).update(created_at=now() - timedelta(hours=2))
    configured, settings.R2_ENDPOINT_URL = settings.R2_ENDPOINT_URL, "http://127.0.0.1:1"
    ask_the_bucket_anew()
    try:
        with pytest.raises(storage.Error):
            tasks.cleanup_pending()
    finally:
        settings.R2_ENDPOINT_URL = configured
        ask_the_bucket_anew()

    assert "Ended early. EndpointConnectionError: Could not connect" in section(as_ops, "Sweeps")


def test_what_is_known_of_sweeps_is_kept_for_90_days_and_of_the_trash_for_7(db: None) -> None:
    for by in By:
        runs.recorded(by, lambda: sweeps.Sweep(removed=1))
    assert {run.by: (run.expires_at - run.at).days for run in Run.objects} == {
        "beat": 90,
        "command": 90,
        "admin": 90,
        "trash": 7,
    }
    indexes = Run._get_collection().index_information().values()
    assert [index["key"] for index in indexes if "expireAfterSeconds" in index] == [[("expires_at", 1)]]


# --- what it costs --------------------------------------------------------------------------------------------------


def test_it_asks_a_bounded_number_of_questions_and_reads_no_file_more_for_there_being_many(
    as_ops: Client, alice: User, bob: User, django_assert_max_num_queries: Any
) -> None:
    a_month(alice, bob)
    for minutes in range(100, 400):
        wait_for(minutes)
    with django_assert_max_num_queries(7), profiled() as seen:  # session, user, permissions and their groups, log, owners twice
        assert as_ops.get(INDEX).status_code == 200

    assert len(seen) <= 8, "six ages of what is pending and the oldest, and what is checked"
    checked = File.objects(status=Status.CHECKING).count()
    assert sum(it.get("docsExamined", 0) for it in seen) <= 1 + checked, "the oldest, and the events of what is checked"
