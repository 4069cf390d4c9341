"""Uploads that nobody confirmed: what the list says of them, and the way on for each."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from files import storage, uploads
from files.documents import File, Status

from .conftest import Cast
from .lifecycle import backdate, own_bucket, put_object

URL = "/files/unfinished"
HTMX = {"HX-Request": "true"}


def page(client: Client, path: str = URL, **headers: str) -> str:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200
    return str(answer.content.decode())


def ways_on(html: str) -> dict[str, str]:
    """What is offered for each name."""
    return {name: way for way, name in re.findall(r'aria-label="(Finish|Discard) ([^"]+)"', html)}


def test_what_has_arrived_can_be_finished_and_the_rest_discarded(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    cast.put(cast.sign(alice, filename="arrived.pdf"))
    cast.sign(alice, filename="not arrived.pdf")
    put_object(cast.sign(alice, filename="other.pdf").key, b"something else")
    cast.upload(alice, filename="ready.pdf")

    assert ways_on(page(as_alice, **HTMX)) == {"other.pdf": "Discard", "not arrived.pdf": "Discard", "arrived.pdf": "Finish"}
    assert "If no other tab is sending it, discard it." in page(as_alice, **HTMX)


def test_the_list_has_a_section_only_if_there_are_any_and_does_not_ask_the_bucket_for_it(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path
) -> None:
    assert 'id="unfinished"' not in page(as_alice, "/files/")
    with own_bucket(settings, tmp_path) as server:
        cast.sign(alice, filename="report.pdf")
        server.kill()
        html = page(as_alice, "/files/")

    assert 'id="unfinished"' in html
    assert f'hx-get="{URL}" hx-trigger="load"' in html
    assert ways_on(html) == {}


def test_a_bucket_that_is_down_says_nothing_and_nothing_is_offered_to_be_discarded(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path
) -> None:
    with own_bucket(settings, tmp_path) as server:
        for number in range(20):
            cast.sign(alice, filename=f"{number}.pdf")
        server.kill()

        html = page(as_alice, **HTMX)

    assert set(ways_on(html).values()) == {"Finish"}
    assert "The bucket does not say whether it has arrived." in html


def test_the_newest_twenty_are_shown(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    for number in range(22):
        backdate([cast.sign(alice, filename=f"{number}.pdf").key], timedelta(seconds=number))

    shown = [f"{number}.pdf" for number in range(20)]
    assert list(ways_on(page(as_alice, **HTMX))) == shown
    assert re.findall(r"<bdi>([^<]+)</bdi>", page(as_alice, "/files/")) == shown


def test_nobody_sees_those_of_somebody_else(as_bob: Client, alice: User, cast: type[Cast]) -> None:
    cast.sign(alice)

    assert page(as_bob, **HTMX) == ""
    assert "Nothing is unfinished." in page(as_bob)
    assert 'id="unfinished"' not in page(as_bob, "/files/")


def test_without_javascript_there_is_a_page_of_its_own(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    arrived, missing = cast.sign(alice, filename="arrived.pdf"), cast.sign(alice, filename="missing.pdf")
    cast.put(arrived)

    assert ways_on(page(as_alice)) == {"arrived.pdf": "Finish", "missing.pdf": "Discard"}
    for path, key in (("/files/confirm", arrived.key), ("/files/discard", missing.key)):
        answer = as_alice.post(path, {"key": key})
        assert (answer.status_code, answer.headers["Location"]) == (302, "/files/")
    assert [(file.name, file.status) for file in File.objects] == [("arrived.pdf", Status.READY)]


# --- discard ----------------------------------------------------------------------------------------------------------


def test_discard_gives_up_the_document_and_what_is_in_the_bucket(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    cast.put(signed)

    answer = as_alice.post("/files/discard", {"key": signed.key}, headers=HTMX)

    assert (answer.status_code, answer.content) == (200, b"")
    assert storage.head(signed.key) is None
    assert not File.objects.keyed([signed.key])


def test_what_was_finished_meanwhile_is_not_discarded(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)

    answer = as_alice.post("/files/discard", {"key": file.key}, headers=HTMX)

    assert answer.status_code == 409
    assert answer.content.decode().startswith("The upload is already complete.")
    assert File.objects.get(key=file.key).status == Status.READY


def test_somebody_elses_is_404_and_stays(as_bob: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)

    assert as_bob.post("/files/discard", {"key": signed.key}, headers=HTMX).status_code == 404
    assert uploads.fetch(str(alice.pk), signed.key).status == Status.PENDING


@pytest.mark.parametrize(("key", "status"), [("u/1/unknown", 404), ("", 400), ("\x00", 400)])
def test_a_bad_key_is_refused(as_alice: Client, key: str, status: int) -> None:
    assert as_alice.post("/files/discard", {"key": key}, headers=HTMX).status_code == status


def test_a_stranger_is_sent_to_sign_in(stranger: Client) -> None:
    assert stranger.get(URL).status_code == 302
    assert stranger.post("/files/discard", {"key": "u/1/x"}, headers=HTMX).status_code == 401


def test_wrong_methods_are_405(as_alice: Client) -> None:
    assert as_alice.post(URL).status_code == 405
    assert as_alice.get("/files/discard").status_code == 405
