"""GET /files/<key>/download: to the bucket by a URL that is good for a minute, under the file's own name."""

from __future__ import annotations

import email.message
import re
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from files import uploads
from files.documents import File

from .conftest import Cast
from .corpus.make import saved


def url(key: str) -> str:
    return f"/files/{key}/download"


def follow(client: Client, file: File) -> httpx.Response:
    answer = client.get(url(file.key))
    assert answer.status_code == 302
    return httpx.get(answer["Location"])


def saved_as(response: httpx.Response) -> str | None:
    """The name under which a browser saves it: filename* before filename (RFC 6266 section 4.3)."""
    message = email.message.Message()
    message["Content-Disposition"] = response.headers["Content-Disposition"]
    assert message.get_content_disposition() == "attachment"
    return message.get_filename()


def test_the_bytes_come_back_identical_from_the_bucket(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    body = b"%PDF-" + secrets.token_bytes(300_000)
    file = cast.upload(alice, body)

    response = follow(as_alice, file)

    assert (response.status_code, response.content) == (200, body)
    assert response.headers["Content-Type"] == "application/pdf"
    assert response.headers["ETag"].strip('"') == file.etag


BODIES = {".pdf": b"%PDF-", ".png": saved("PNG")}


@pytest.mark.parametrize(
    "name",
    [
        "report.pdf",
        "Grüße aus Köln.pdf",
        "日本語のファイル名.pdf",
        "👩‍👩‍👧‍👦 family 🏳️‍🌈.png",
        "مستند.pdf",
        'she said "yes".txt',
        "it's; a=b, c%20d.txt",
        "100%.txt",
        "two  spaces .txt",
        ".hidden",
        "<script>.html",
        "a" * 252 + ".pdf",
        "💥" * 256,
        'ü"' * 128,
    ],
    ids=range(14),
)
def test_it_is_saved_under_the_name_it_came_with(as_alice: Client, alice: User, cast: type[Cast], name: str) -> None:
    body = BODIES.get(name[-4:], b"hi")
    answer = as_alice.post("/api/uploads/sign", {"filename": name, "size": len(body)}, content_type="application/json").json()
    httpx.put(answer["url"], content=body, headers=answer["headers"]).raise_for_status()
    file = cast.checked(uploads.confirm(str(alice.pk), answer["key"]))

    response = follow(as_alice, file)

    assert (response.status_code, response.content) == (200, body)
    assert saved_as(response) == name
    assert re.fullmatch(r"[\x20-\x7e]+", response.headers["Content-Disposition"]), "a header is ASCII"


def test_the_url_is_good_for_a_minute_and_the_answer_is_kept_nowhere(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    answer = as_alice.get(url(cast.upload(alice).key))

    assert parse_qs(urlsplit(answer["Location"]).query)["X-Amz-Expires"] == ["60"]
    assert "no-store" in answer["Cache-Control"] and "private" in answer["Cache-Control"]


@pytest.mark.parametrize("what", ["X-Amz-Signature", "response-content-disposition", "X-Amz-Expires"])
def test_the_url_cannot_be_changed(as_alice: Client, alice: User, cast: type[Cast], what: str) -> None:
    location = as_alice.get(url(cast.upload(alice).key))["Location"]
    tampered = re.sub(rf"({what}=)(\w)", lambda found: found[1] + ("9" if found[2] != "9" else "8"), location)

    assert httpx.get(tampered).status_code == 403


def test_a_pending_upload_is_404_even_with_its_object_there(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    cast.put(signed)

    assert as_alice.get(url(signed.key)).status_code == 404


def test_a_deleted_file_is_404_at_once(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    uploads.trash(str(alice.pk), [file.key])

    assert as_alice.get(url(file.key)).status_code == 404


def test_another_users_file_is_404(as_bob: Client, alice: User, cast: type[Cast]) -> None:
    assert as_bob.get(url(cast.upload(alice).key)).status_code == 404


def test_a_stranger_is_sent_to_sign_in_and_back(stranger: Client, alice: User, cast: type[Cast]) -> None:
    path = url(cast.upload(alice).key)

    answer = stranger.get(path)

    assert (answer.status_code, answer["Location"]) == (302, f"/login?next={path}")


@pytest.mark.parametrize("key", ["u/1/unknown", "x", "../../manage.py", "%00", "%F0%9F%92%A5", "u/1/%0d%0aX: y"])
def test_a_key_that_nobody_has_is_404(as_alice: Client, key: str) -> None:
    assert as_alice.get(url(key)).status_code == 404


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_other_methods_are_405(as_alice: Client, alice: User, cast: type[Cast], method: str) -> None:
    client: Any = as_alice

    assert getattr(client, method)(url(cast.upload(alice).key)).status_code == 405
