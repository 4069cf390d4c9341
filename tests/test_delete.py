"""/files/<key>/delete, /files/delete and /files/restore: asked on a page, done by a POST, and undone for ten seconds."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from files import names, storage, sweeps, uploads
from files.documents import File, SpentKey, Status, name_fields
from files.tasks import cleanup_pending, empty_trash

from .conftest import ROOT, Cast
from .lifecycle import age_spent_keys, backdate, let_the_trash_lie, own_bucket, put_object
from .processes import run

HTMX = {"HX-Request": "true"}
SEVERAL, UNDO = "/files/delete", "/files/restore"
EMPTIED_BY: dict[str, Callable[[], object]] = {
    "the beat's task": empty_trash,
    "the cleanup": cleanup_pending,
    "by hand": lambda: call_command("cleanup_pending"),
}


def url(key: str) -> str:
    return f"/files/{key}/delete"


def is_listed(client: Client, key: str) -> bool:
    return key in client.get("/files/").text


def status_of(key: str) -> str:
    file = File.objects.keyed([key]).first()
    return str(file.status) if file else "gone"


@pytest.fixture(params=list(EMPTIED_BY.values()), ids=list(EMPTIED_BY))
def empty(request: pytest.FixtureRequest) -> Callable[[], object]:
    act: Callable[[], object] = request.param
    return act


# --- deleting -------------------------------------------------------------------------------------------------------


def test_the_page_asks_with_the_files_name_and_changes_nothing(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice, filename="a <b>.pdf")

    page = as_alice.get(url(file.key))

    assert page.status_code == 200
    assert "Delete <bdi>a &lt;b&gt;.pdf</bdi>?" in page.text
    assert "The file has 5\xa0bytes. You can undo this for ten seconds." in page.text and 'href="/files/"' in page.text
    assert status_of(file.key) == "ready" and storage.head(file.key)


def test_without_javascript_the_pages_form_deletes_and_the_next_pages_form_undoes_it(alice: User, cast: type[Cast]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    file = cast.upload(alice)

    trashed = browser.post(url(file.key), fields(browser.get(url(file.key)).text.partition("<main")[2]))

    assert trashed.status_code == 200 and "<html" in trashed.text
    assert "You have 10 seconds to undo this." in trashed.text and "The file is deleted." in trashed.text
    assert not is_listed(browser, file.key)

    form = re.search(rf'<form method="post" action="{UNDO}".*?</form>', trashed.text, re.DOTALL)
    assert form is not None
    back = browser.post(UNDO, fields(form[0]))

    assert (back.status_code, back["Location"]) == (302, "/files/")
    assert is_listed(browser, file.key)


def fields(form: str) -> dict[str, str]:
    """The names and values of the first form in it, each of which it has once."""
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]+)">', form))


def test_without_a_csrf_token_nothing_is_deleted_or_undone(alice: User, cast: type[Cast]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    file, trashed = cast.upload(alice), cast.upload(alice)
    uploads.trash(str(alice.pk), [trashed.key])

    assert browser.post(url(file.key)).status_code == 403
    assert browser.post(SEVERAL, {"key": file.key}).status_code == 403
    assert browser.post(UNDO, {"key": trashed.key}).status_code == 403
    assert (status_of(file.key), status_of(trashed.key)) == ("ready", "trashed")


def test_htmx_gets_a_message_that_offers_to_undo_it(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)

    answer = as_alice.post(url(file.key), headers=HTMX)

    assert answer.status_code == 200 and "<html" not in answer.text
    assert "The file is deleted." in answer.text
    assert f'hx-post="{UNDO}"' in answer.text and f'name="key" value="{file.key}"' in answer.text
    assert not is_listed(as_alice, file.key)


def test_the_row_has_a_link_that_asks_where_there_is_no_javascript(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)

    row = as_alice.get("/files/", headers=HTMX).text

    assert f'href="{url(file.key)}" data-do="trash" aria-label="Delete report.pdf"' in row


def test_object_and_document_are_there_until_it_can_be_undone_no_more(
    as_alice: Client, alice: User, cast: type[Cast], empty: Callable[[], object]
) -> None:
    file = cast.upload(alice)
    as_alice.post(url(file.key))
    let_the_trash_lie([file.key], sweeps.TRASH_LIVES - timedelta(seconds=5))

    empty()

    assert status_of(file.key) == "trashed" and storage.head(file.key)
    let_the_trash_lie([file.key], sweeps.TRASH_LIVES)

    empty()

    assert status_of(file.key) == "gone" and storage.head(file.key) is None
    assert as_alice.post(UNDO, {"key": file.key}).status_code == 404


def test_a_dry_run_counts_what_is_in_the_trash_and_leaves_it(alice: User, cast: type[Cast], capsys: Any) -> None:
    file = cast.upload(alice)
    uploads.trash(str(alice.pk), [file.key])
    let_the_trash_lie([file.key])

    call_command("cleanup_pending", "--dry-run")

    assert "1" in capsys.readouterr().out
    assert status_of(file.key) == "trashed" and storage.head(file.key)


@pytest.mark.parametrize(("age", "remembered"), [(timedelta(0), 1), (timedelta(hours=25), 0)], ids=["young", "a day old"])
def test_a_young_key_is_remembered_when_its_document_goes(
    alice: User, cast: type[Cast], age: timedelta, remembered: int
) -> None:
    file = cast.upload(alice)
    backdate([file.key], age)
    uploads.trash(str(alice.pk), [file.key])
    let_the_trash_lie([file.key])

    assert sweeps.empty_trash().removed == 1

    assert status_of(file.key) == "gone" and storage.head(file.key) is None
    assert SpentKey.objects(key=file.key).count() == remembered


def test_thousands_are_deleted_however_many_batches_it_takes(alice: User) -> None:
    keys = [f"u/{alice.pk}/{number:021}-report.pdf" for number in range(2_100)]
    document = {"owner_id": str(alice.pk), "name": "a", "content_type": "a/a", "size": 1, "status": "trashed"}
    long_ago = uploads.now() - timedelta(days=2)
    File._get_collection().insert_many(
        [{"_id": key, **document, "created_at": long_ago, "trashed_at": long_ago} for key in keys]
    )

    assert sweeps.empty_trash().removed == 2_100
    assert not File.objects.count()


def test_of_what_is_deleted_nothing_is_shown(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    as_alice.post(url(file.key))

    for page in ("delete", "download", "rename", "row"):
        assert as_alice.get(f"/files/{file.key}/{page}").status_code == 404


def test_deleting_again_is_no_error_since_the_first_answer_may_be_lost_and_can_be_undone_from_then_on(
    as_alice: Client, alice: User, cast: type[Cast]
) -> None:
    file = cast.upload(alice)
    as_alice.post(url(file.key), headers=HTMX)
    let_the_trash_lie([file.key])

    assert as_alice.post(url(file.key), headers=HTMX).status_code == 200

    sweeps.empty_trash()
    assert status_of(file.key) == "trashed"
    assert as_alice.post(UNDO, {"key": file.key}, headers=HTMX).status_code == 200


def test_a_pending_upload_is_not_a_file_to_delete(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)

    assert as_alice.get(url(signed.key)).status_code == 404
    assert as_alice.post(url(signed.key)).status_code == 404
    assert as_alice.post(SEVERAL, {"key": signed.key}).status_code == 404
    assert as_alice.post(UNDO, {"key": signed.key}).status_code == 404
    assert status_of(signed.key) == "pending"


@pytest.mark.parametrize("status", ["pending", "deleting"])
def test_only_what_is_in_the_trash_comes_back(as_alice: Client, alice: User, cast: type[Cast], status: str) -> None:
    file = cast.upload(alice)
    File.objects.keyed([file.key]).update(status=status)

    assert as_alice.post(UNDO, {"key": file.key}).status_code == 404
    assert status_of(file.key) == status


# --- undoing --------------------------------------------------------------------------------------------------------


def but_for_the_trail(key: str) -> dict[str, Any]:
    return {field: value for field, value in File.objects.get(key=key).to_mongo().items() if field != "trail"}


def test_undo_brings_the_file_back_as_it_was(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    older, file = cast.upload(alice), cast.upload(alice, filename="a name.pdf")
    File.objects.keyed([older.key]).update(ready_at=uploads.now() + timedelta(seconds=5))
    before = but_for_the_trail(file.key)
    list_before = as_alice.get("/files/", headers=HTMX).text
    as_alice.post(url(file.key), headers=HTMX)

    answer = as_alice.post(UNDO, {"key": file.key}, headers=HTMX)

    assert answer.status_code == 200 and "The file is back." in answer.text and "<html" not in answer.text
    assert but_for_the_trail(file.key) == before
    assert as_alice.get("/files/", headers=HTMX).text == list_before
    assert as_alice.get(f"/files/{file.key}/download").status_code == 302


def test_what_was_undone_is_swept_no_more(as_alice: Client, alice: User, cast: type[Cast], empty: Callable[[], object]) -> None:
    file = cast.upload(alice)
    as_alice.post(url(file.key))
    let_the_trash_lie([file.key])
    as_alice.post(UNDO, {"key": file.key})

    empty()

    assert status_of(file.key) == "ready" and storage.head(file.key)


def test_what_was_undone_and_deleted_again_has_its_ten_seconds_again(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    """A sweep that has seen it in the trash for long enough claims it by that time, not by its key alone."""
    file = cast.upload(alice)
    as_alice.post(url(file.key))
    let_the_trash_lie([file.key])
    moment = uploads.now()
    as_alice.post(UNDO, {"key": file.key})
    as_alice.post(url(file.key))

    sweeps._claim([file.key], moment)

    assert status_of(file.key) == "trashed"


def test_undoing_again_is_no_error(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    as_alice.post(url(file.key))

    assert [as_alice.post(UNDO, {"key": file.key}, headers=HTMX).status_code for _ in range(3)] == [200, 200, 200]
    assert status_of(file.key) == "ready"


def test_undoing_too_late_is_404_with_a_sentence(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    as_alice.post(url(file.key))
    let_the_trash_lie([file.key])
    sweeps.empty_trash()

    answer = as_alice.post(UNDO, {"key": file.key}, headers=HTMX)

    assert answer.status_code == 404
    assert answer.text == "There is no such file among yours. It may have been deleted, or its upload given up."


# --- several at once ------------------------------------------------------------------------------------------------


def test_several_go_at_once_and_come_back_at_once(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    keys, kept = [cast.upload(alice).key for _ in range(3)], cast.upload(alice)

    gone = as_alice.post(SEVERAL, {"key": keys}, headers=HTMX)

    assert "3 files are deleted." in gone.text and all(f'value="{key}"' in gone.text for key in keys)
    assert [status_of(key) for key in [*keys, kept.key]] == ["trashed", "trashed", "trashed", "ready"]

    back = as_alice.post(UNDO, {"key": keys}, headers=HTMX)

    assert "3 files are back." in back.text
    assert {status_of(key) for key in keys} == {"ready"}


def test_without_javascript_several_go_by_the_lists_own_form(alice: User, cast: type[Cast]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    keys = [cast.upload(alice).key for _ in range(2)]
    page = browser.get("/files/").text
    form = re.search(rf'<form id="selection"[^>]* action="{SEVERAL}".*?</form>', page, re.DOTALL)
    assert form is not None
    assert all(f'name="key" value="{key}" form="selection"' in page for key in keys)

    answer = browser.post(SEVERAL, {**fields(form[0]), "key": keys})

    assert answer.status_code == 200 and "<html" in answer.text and "2 files are deleted." in answer.text
    assert {status_of(key) for key in keys} == {"trashed"}


def test_others_files_among_ones_own_are_left_alone_and_not_counted(
    as_alice: Client, alice: User, bob: User, cast: type[Cast]
) -> None:
    own, others, pending = cast.upload(alice), cast.upload(bob), cast.sign(alice)
    keys = [own.key, own.key, others.key, pending.key, "u/1/unknown", "", "x\x00", "é"]

    answer = as_alice.post(SEVERAL, {"key": keys}, headers=HTMX)

    assert answer.status_code == 200 and "The file is deleted." in answer.text
    assert [status_of(key) for key in (own.key, others.key, pending.key)] == ["trashed", "ready", "pending"]

    uploads.trash(str(bob.pk), [others.key])
    assert "The file is back." in as_alice.post(UNDO, {"key": keys}, headers=HTMX).text
    assert [status_of(key) for key in (own.key, others.key, pending.key)] == ["ready", "trashed", "pending"]


@pytest.mark.parametrize("path", [SEVERAL, UNDO])
@pytest.mark.parametrize("keys", [[], [""], ["u/1/unknown"], ["\x00"], ["$ne"], ["a" * 5000], ["../.."] * 900])
def test_no_key_of_ones_own_is_404(as_alice: Client, path: str, keys: list[str]) -> None:
    answer = as_alice.post(path, {"key": keys}, headers=HTMX)

    assert (answer.status_code, answer.text[:27]) == (404, "There is no such file among")


def test_as_many_as_go_at_once_come_back_by_the_form_that_has_a_token_as_well(as_alice: Client, alice: User) -> None:
    keys = [names.new_key(str(alice.pk), "report.pdf") for _ in range(5_000)]
    fields = {
        "owner_id": str(alice.pk),
        "content_type": "application/pdf",
        "size": 5,
        "kind": "document",
        **name_fields("report.pdf"),
    }
    ready = {"status": "ready", "created_at": uploads.now(), "ready_at": uploads.now()}
    File._get_collection().insert_many({"_id": key, **fields, **ready} for key in keys)

    assert as_alice.post(SEVERAL, {"key": keys}, headers=HTMX).status_code == 200
    assert File.objects.trashed().count() == 5_000
    assert as_alice.post(UNDO, {"key": keys, "csrfmiddlewaretoken": "x" * 64}, headers=HTMX).status_code == 200
    assert File.objects.ready().count() == 5_000


@pytest.mark.parametrize(
    ("path", "count", "sentence"),
    [(SEVERAL, 5_001, "These are more than 5000 files."), (UNDO, 6_000, "The request is malformed or too large.")],
)
def test_more_than_go_at_once_are_400(as_alice: Client, path: str, count: int, sentence: str) -> None:
    answer = as_alice.post(path, {"key": ["u/1/x"] * count}, headers=HTMX)

    assert answer.status_code == 400
    assert sentence in answer.text


# --- who may not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post"])
def test_another_users_file_is_404_and_stays(as_bob: Client, alice: User, cast: type[Cast], method: str) -> None:
    file = cast.upload(alice)

    assert getattr(as_bob, method)(url(file.key)).status_code == 404
    assert as_bob.post(SEVERAL, {"key": file.key}).status_code == 404
    assert status_of(file.key) == "ready" and storage.head(file.key)


def test_another_users_deletion_is_not_undone(as_bob: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    uploads.trash(str(alice.pk), [file.key])

    assert as_bob.post(UNDO, {"key": file.key}).status_code == 404
    assert status_of(file.key) == "trashed"


@pytest.mark.parametrize(("method", "path"), [("get", None), ("post", None), ("post", SEVERAL), ("post", UNDO)])
def test_a_stranger_is_sent_to_sign_in(stranger: Client, alice: User, cast: type[Cast], method: str, path: str | None) -> None:
    file, trashed = cast.upload(alice), cast.upload(alice)
    uploads.trash(str(alice.pk), [trashed.key])

    answer = getattr(stranger, method)(path or url(file.key), {"key": [file.key, trashed.key]})

    assert answer.status_code == 302 and answer["Location"].startswith("/login?next=")
    assert (status_of(file.key), status_of(trashed.key)) == ("ready", "trashed")


@pytest.mark.parametrize("path", [None, SEVERAL, UNDO])
def test_a_fragment_of_a_session_that_ended_is_told_so(
    stranger: Client, alice: User, cast: type[Cast], path: str | None
) -> None:
    file = cast.upload(alice)

    answer = stranger.post(path or url(file.key), {"key": file.key}, headers=HTMX)

    assert answer.status_code == 401
    assert answer.text == "You are signed out. Sign in, then try again."


@pytest.mark.parametrize("key", ["u/1/unknown", "x", "../../etc/passwd", "%00", "%F0%9F%92%A5", "u/1/" + "a" * 2000])
def test_a_key_that_nobody_has_is_404(as_alice: Client, key: str) -> None:
    assert as_alice.get(url(key)).status_code == 404
    assert as_alice.post(url(key)).status_code == 404


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_405(as_alice: Client, alice: User, cast: type[Cast], method: str) -> None:
    file = cast.upload(alice)

    assert [getattr(as_alice, method)(path).status_code for path in (url(file.key), SEVERAL, UNDO)] == [405] * 3
    assert [as_alice.get(path).status_code for path in (SEVERAL, UNDO)] == [405] * 2
    assert status_of(file.key) == "ready"


# --- what is cut short ----------------------------------------------------------------------------------------------


def test_with_the_bucket_down_the_file_is_gone_for_its_owner_and_a_later_sweep_removes_it(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path
) -> None:
    with own_bucket(settings, tmp_path) as server:
        file = cast.upload(alice)
        server.kill()

        assert as_alice.post(url(file.key)).status_code == 200
        assert not is_listed(as_alice, file.key)
        let_the_trash_lie([file.key])
        with pytest.raises(storage.Error):
            sweeps.empty_trash()
        assert status_of(file.key) == "deleting", "claimed, so that nobody brings back what a sweep may delete at any time"
        assert as_alice.post(UNDO, {"key": file.key}).status_code == 404

        server.start()
        server.wait_until_ready()
        assert storage.head(file.key) is not None
        call_command("cleanup_pending")
        assert storage.head(file.key) is None
        assert status_of(file.key) == "gone"


@pytest.mark.parametrize("object_is_gone", [False, True], ids=["before the object went", "after the object went"])
def test_a_crash_between_the_steps_is_finished_by_the_next_sweep(alice: User, cast: type[Cast], object_is_gone: bool) -> None:
    file = cast.upload(alice)
    backdate([file.key])
    File.objects.keyed([file.key]).update(status=Status.DELETING)
    if object_is_gone:
        storage.delete(file.key)

    call_command("cleanup_pending")

    assert storage.head(file.key) is None
    assert status_of(file.key) == "gone"


def test_an_object_that_somebody_put_back_through_a_url_that_was_still_good_is_removed(alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    uploads.trash(str(alice.pk), [file.key])
    let_the_trash_lie([file.key])
    sweeps.empty_trash()
    put_object(file.key)
    age_spent_keys(sweeps.URL_DEAD)

    call_command("cleanup_pending")

    assert storage.head(file.key) is None


SAY_THE_SCHEDULE = """
from uploadkit.celery import app
swept = [(name, app.conf.beat_schedule[name]) for name in ("trash", "cleanup")]
print({name: (entry["task"], entry["schedule"].total_seconds(), entry["options"]) for name, entry in swept})
"""


def test_the_beat_empties_the_trash_as_often_as_it_takes_to_keep_the_promise() -> None:
    """In a process of its own, as the beat is one: here Django's apps are loaded, there they are not."""
    done = run([sys.executable, "-c", SAY_THE_SCHEDULE], ROOT, dict(os.environ))

    assert done.returncode == 0, done.stderr
    schedule = ast.literal_eval(done.stdout)
    assert schedule["trash"] == (empty_trash.name, 10.0, {"expires": 10.0})
    assert schedule["cleanup"][0] == cleanup_pending.name
    assert sweeps.TRASH_LIVES.total_seconds() == 10
