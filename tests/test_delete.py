"""/files/<key>/delete: asked on a page, done by a POST, with or without JavaScript."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from files import storage, uploads
from files.documents import File, SpentKey, Status

from .conftest import Cast
from .lifecycle import age_spent_keys, backdate, own_bucket, put_object

HTMX = {"HX-Request": "true"}


def url(key: str) -> str:
    return f"/files/{key}/delete"


def is_listed(client: Client, key: str) -> bool:
    return key in client.get("/files/").content.decode()


def test_the_page_asks_with_the_files_name_and_changes_nothing(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice, filename="a <b>.pdf")

    page = as_alice.get(url(file.key))

    assert page.status_code == 200
    html = page.content.decode()
    assert "Delete <bdi>a &lt;b&gt;.pdf</bdi>?" in html
    assert "5\xa0bytes" in html and 'href="/files/"' in html
    assert File.objects.get(key=file.key).status == Status.READY and storage.head(file.key)


def test_the_pages_form_deletes_without_javascript(alice: User, cast: type[Cast]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    file = cast.upload(alice)
    form = re.search(r'<main.*?<form method="post">(.*?)</form>', browser.get(url(file.key)).content.decode(), re.DOTALL)
    assert form is not None
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form[1])
    assert token is not None

    answer = browser.post(url(file.key), {"csrfmiddlewaretoken": token[1]})

    assert (answer.status_code, answer["Location"]) == (302, "/files/")
    assert storage.head(file.key) is None
    assert not is_listed(browser, file.key)


def test_without_a_csrf_token_nothing_is_deleted(alice: User, cast: type[Cast]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    file = cast.upload(alice)

    assert browser.post(url(file.key)).status_code == 403
    assert File.objects.get(key=file.key).status == Status.READY


def test_htmx_gets_an_empty_answer_which_takes_the_row_away(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)

    answer = as_alice.post(url(file.key), headers=HTMX)

    assert (answer.status_code, answer.content) == (200, b"")
    assert storage.head(file.key) is None
    assert not is_listed(as_alice, file.key)


def test_the_row_has_both_a_link_and_a_question(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)

    row = as_alice.get("/files/", headers=HTMX).content.decode()

    assert f'href="{url(file.key)}"' in row and f'hx-post="{url(file.key)}"' in row
    assert 'hx-confirm="Delete report.pdf?' in row


@pytest.mark.parametrize(("age", "remembered"), [(timedelta(0), 1), (timedelta(hours=25), 0)], ids=["young", "a day old"])
def test_the_document_goes_at_once_and_a_young_key_is_remembered(
    as_alice: Client, alice: User, cast: type[Cast], age: timedelta, remembered: int
) -> None:
    file = cast.upload(alice)
    backdate([file.key], age)

    assert as_alice.post(url(file.key)).status_code == 302

    assert not File.objects.keyed([file.key]) and storage.head(file.key) is None
    assert SpentKey.objects(key=file.key).count() == remembered


def test_what_is_deleted_is_not_found_again(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)

    assert [as_alice.post(url(file.key), headers=HTMX).status_code for _ in range(3)] == [200, 404, 404]
    assert as_alice.get(url(file.key)).status_code == 404
    assert as_alice.get(f"/files/{file.key}/download").status_code == 404


def test_a_pending_upload_is_not_a_file_to_delete(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)

    assert as_alice.get(url(signed.key)).status_code == 404
    assert as_alice.post(url(signed.key)).status_code == 404
    assert File.objects.get(key=signed.key).status == Status.PENDING


@pytest.mark.parametrize("method", ["get", "post"])
def test_another_users_file_is_404_and_stays(as_bob: Client, alice: User, cast: type[Cast], method: str) -> None:
    file = cast.upload(alice)

    assert getattr(as_bob, method)(url(file.key)).status_code == 404
    assert File.objects.get(key=file.key).status == Status.READY and storage.head(file.key)


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_stranger_is_sent_to_sign_in(stranger: Client, alice: User, cast: type[Cast], method: str) -> None:
    file = cast.upload(alice)

    answer = getattr(stranger, method)(url(file.key))

    assert answer.status_code == 302 and answer["Location"].startswith("/login?next=")
    assert File.objects.get(key=file.key).status == Status.READY


def test_a_fragment_of_a_session_that_ended_is_told_so(stranger: Client, alice: User, cast: type[Cast]) -> None:
    answer = stranger.post(url(cast.upload(alice).key), headers=HTMX)

    assert answer.status_code == 401
    assert answer.content.decode() == "You are signed out. Sign in, then try again."


@pytest.mark.parametrize("key", ["u/1/unknown", "x", "../../etc/passwd", "%00", "%F0%9F%92%A5", "u/1/" + "a" * 2000])
def test_a_key_that_nobody_has_is_404(as_alice: Client, key: str) -> None:
    assert as_alice.get(url(key)).status_code == 404
    assert as_alice.post(url(key)).status_code == 404


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_405(as_alice: Client, alice: User, cast: type[Cast], method: str) -> None:
    file = cast.upload(alice)

    assert getattr(as_alice, method)(url(file.key)).status_code == 405
    assert File.objects.get(key=file.key).status == Status.READY


def test_with_the_bucket_down_the_file_is_gone_for_its_owner_and_a_later_sweep_removes_it(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path
) -> None:
    with own_bucket(settings, tmp_path) as server:
        file = cast.upload(alice)
        server.kill()

        assert as_alice.post(url(file.key)).status_code == 302
        assert not is_listed(as_alice, file.key)

        server.start()
        server.wait_until_ready()
        assert storage.head(file.key) is not None
        backdate([file.key])
        call_command("cleanup_pending")
        assert storage.head(file.key) is None
        assert not File.objects.keyed([file.key])


@pytest.mark.parametrize("object_is_gone", [False, True], ids=["before the object went", "after the object went"])
def test_a_crash_between_the_steps_is_finished_by_the_next_sweep(alice: User, cast: type[Cast], object_is_gone: bool) -> None:
    file = cast.upload(alice)
    backdate([file.key])
    File.objects.keyed([file.key]).update(status=Status.DELETING)
    if object_is_gone:
        storage.delete(file.key)

    call_command("cleanup_pending")

    assert storage.head(file.key) is None
    assert not File.objects.keyed([file.key])


def test_an_object_that_somebody_put_back_through_a_url_that_was_still_good_is_removed(
    as_alice: Client, alice: User, cast: type[Cast]
) -> None:
    file = cast.upload(alice)
    as_alice.post(url(file.key))
    put_object(file.key)
    age_spent_keys(uploads.URL_DEAD)

    call_command("cleanup_pending")

    assert storage.head(file.key) is None
