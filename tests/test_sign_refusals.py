"""What POST /api/uploads/sign refuses, in which order, and how it says so."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from files.documents import File

from .conftest import post_json

SIGN = "/api/uploads/sign"
WISH = {"filename": "report.pdf", "contentType": "application/pdf", "size": 5}


@pytest.fixture
def careful_alice(alice: User) -> Client:
    """Signed in, with the CSRF check that Django's test client otherwise leaves out."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(alice)
    return client


def token_of(client: Client) -> dict[str, str]:
    client.get("/files/")
    return {"X-CSRFToken": client.cookies["csrftoken"].value}


def assert_refused(answer: Any, status: int, code: str, *fields: str) -> None:
    """The shape of every refusal, and that no document stays behind."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert body["code"] == code
    assert body["error"].strip().endswith("."), "the error is a sentence"
    assert set(body.get("fields", {})) == set(fields)
    assert set(body) == ({"error", "code", "fields"} if fields else {"error", "code"})
    assert File.objects.count() == 0


# --- who asks, and how ----------------------------------------------------------------------------------------------


def test_a_stranger_is_told_to_sign_in(stranger: Client) -> None:
    assert_refused(post_json(stranger, SIGN, WISH), 401, "signed_out")


def test_a_session_that_ended_is_told_so_and_not_taken_for_a_forgery(careful_alice: Client) -> None:
    careful_alice.cookies["sessionid"] = "gone" * 8

    assert_refused(post_json(careful_alice, SIGN, WISH), 401, "signed_out")


def test_an_account_that_was_closed_is_signed_out(as_alice: Client, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert_refused(post_json(as_alice, SIGN, WISH), 401, "signed_out")


def test_without_a_csrf_token_it_is_refused_in_json(careful_alice: Client) -> None:
    assert_refused(post_json(careful_alice, SIGN, WISH), 403, "csrf")


def test_another_s_csrf_token_is_refused(careful_alice: Client) -> None:
    token_of(careful_alice)

    assert_refused(post_json(careful_alice, SIGN, WISH, **{"X-CSRFToken": "a" * 32}), 403, "csrf")


def test_a_page_of_another_site_is_refused_even_with_the_token(careful_alice: Client) -> None:
    headers = token_of(careful_alice) | {"Origin": "https://evil.example"}

    assert_refused(post_json(careful_alice, SIGN, WISH, **headers), 403, "csrf")


def test_with_its_csrf_token_it_is_signed(careful_alice: Client) -> None:
    assert post_json(careful_alice, SIGN, WISH, **token_of(careful_alice)).status_code == 200


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_another_method_is_refused_naming_the_right_one(as_alice: Client, method: str) -> None:
    answer = getattr(as_alice, method)(SIGN)

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert method == "head" or answer.json()["code"] == "method_not_allowed"


# --- the body -------------------------------------------------------------------------------------------------------

NOT_JSON = {
    "nothing": b"",
    "a word": b"hello",
    "cut off": b'{"filename": "report.pdf"',
    "two objects": b"{}{}",
    "single quotes": b"{'filename': 'a'}",
    "a form": b"filename=report.pdf&size=5",
    "bytes that are no text": b"\xff\xfe\xfd",
    "deeply nested arrays": b"[" * 16_000,
    "deeply nested objects": b'{"a":' * 3_000,
    "a number of 5,000 digits": b'{"size": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_a_body_that_is_not_json_is_refused(as_alice: Client, body: bytes) -> None:
    assert_refused(post_json(as_alice, SIGN, body), 400, "invalid")


@pytest.mark.parametrize("body", ["null", "true", "5", "NaN", '"report.pdf"', "[]", '[{"filename": "report.pdf"}]'])
def test_json_that_is_not_an_object_is_refused(as_alice: Client, body: str) -> None:
    assert_refused(post_json(as_alice, SIGN, body), 400, "invalid")


@pytest.mark.parametrize("length", [16 * 1024 + 1, 3_000_000])
def test_a_huge_body_is_refused(as_alice: Client, length: int) -> None:
    assert_refused(post_json(as_alice, SIGN, json.dumps(WISH).ljust(length)), 400, "invalid")


def test_a_body_of_exactly_the_most_is_read(as_alice: Client) -> None:
    assert post_json(as_alice, SIGN, json.dumps(WISH).ljust(16 * 1024)).status_code == 200


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_a_form_is_no_json(careful_alice: Client, kind: str) -> None:
    # The CSRF check reads a form's body in search of its token, before the endpoint does.
    body = b'--x\r\nContent-Disposition: form-data; name="filename"\r\n\r\nreport.pdf\r\n--x--\r\n'

    answer = careful_alice.post(SIGN, body, content_type=kind, headers=token_of(careful_alice))

    assert_refused(answer, 400, "invalid")


# --- the fields -----------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no filename": ({"filename": None}, "filename"),
    "an empty filename": ({"filename": ""}, "filename"),
    "a filename that is a number": ({"filename": 5}, "filename"),
    "a filename that is true": ({"filename": True}, "filename"),
    "a filename that is a list": ({"filename": ["report.pdf"]}, "filename"),
    "a filename that is an object": ({"filename": {"name": "report.pdf"}}, "filename"),
    "a filename that is half a character": ({"filename": "\ud800"}, "filename"),
    "a filename with a NUL": ({"filename": "report\0.pdf"}, "filename"),
    "a filename of 257 characters": ({"filename": "a" * 257}, "filename"),
    "a filename that is a folder": ({"filename": "reports/"}, "filename"),
    "a type that is a number": ({"contentType": 5}, "contentType"),
    "a type that is false": ({"contentType": False}, "contentType"),
    "a type that is a list": ({"contentType": ["text/plain"]}, "contentType"),
    "a type without subtype": ({"contentType": "pdf"}, "contentType"),
    "a type with a header behind it": ({"contentType": "text/plain\r\nX-Evil: 1"}, "contentType"),
    "a type with half a character": ({"contentType": "text/\ud800"}, "contentType"),
    "a type with a NUL": ({"contentType": "text/plain\0"}, "contentType"),
    "a type of 2,000 characters": ({"contentType": "text/plain;" + "a" * 2000}, "contentType"),
    "no size": ({"size": None}, "size"),
    "a size that is true": ({"size": True}, "size"),
    "a size that is false": ({"size": False}, "size"),
    "a size in quotes": ({"size": "12"}, "size"),
    "a size that is a fraction": ({"size": 1.5}, "size"),
    "a size written as a fraction": ({"size": 5.0}, "size"),
    "a size that is NaN": ({"size": float("nan")}, "size"),
    "a size without end": ({"size": float("inf")}, "size"),
    "a size that is a list": ({"size": [5]}, "size"),
    "a size of 0": ({"size": 0}, "size"),
    "a size of -1": ({"size": -1}, "size"),
    "a size of -10**400": ({"size": -(10**400)}, "size"),
    "a SHA-256 that is a number": ({"sha256": 5}, "sha256"),
    "a SHA-256 in base64": ({"sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, "sha256"),
    "a SHA-256 that is a digit short": ({"sha256": "e" * 63}, "sha256"),
    "a SHA-256 with its file's name behind it": ({"sha256": "e" * 64 + "  report.pdf"}, "sha256"),
    "a SHA-256 of another script's digits": ({"sha256": "\u0661" * 64}, "sha256"),
    "a SHA-256 with a NUL": ({"sha256": "e" * 64 + "\0"}, "sha256"),
}


@pytest.mark.parametrize(("change", "field"), WRONG.values(), ids=WRONG)
def test_a_field_at_fault_is_named(as_alice: Client, change: dict[str, Any], field: str) -> None:
    assert_refused(post_json(as_alice, SIGN, json.dumps(WISH | change)), 400, "invalid", field)


@pytest.mark.parametrize("field", ["filename", "size"])
def test_a_field_that_is_missing_is_named(as_alice: Client, field: str) -> None:
    wish = {name: value for name, value in WISH.items() if name != field}

    assert_refused(post_json(as_alice, SIGN, wish), 400, "invalid", field)


def test_all_fields_at_fault_are_named_at_once(as_alice: Client) -> None:
    wish = {"filename": "", "contentType": "pdf", "size": 0}

    assert_refused(post_json(as_alice, SIGN, wish), 400, "invalid", "filename", "contentType", "size")


def test_names_of_fields_are_told_apart_by_case(as_alice: Client) -> None:
    wish = {"Filename": "report.pdf", "content_type": "application/pdf", "SIZE": 5}

    assert_refused(post_json(as_alice, SIGN, wish), 400, "invalid", "filename", "size")


@pytest.mark.parametrize("size", [50 * 1024 * 1024 + 1, 2**63, 2**64, 10**400], ids=["one more", "2**63", "2**64", "10**400"])
def test_a_file_that_is_too_large_is_413(as_alice: Client, size: int) -> None:
    answer = post_json(as_alice, SIGN, json.dumps(WISH | {"size": size}))

    assert_refused(answer, 413, "too_large", "size")
    assert "50.0\xa0MB is the most" in answer.json()["error"]


@pytest.mark.parametrize("content_type", ["text/html", "imagex/png", "IMAGE/svg+xml"])
def test_a_type_that_is_not_allowed_is_415(as_alice: Client, settings: Any, content_type: str) -> None:
    settings.ALLOWED_CONTENT_TYPES = ["image/png", "video/*"]

    answer = post_json(as_alice, SIGN, WISH | {"contentType": content_type})

    assert_refused(answer, 415, "type_not_allowed", "contentType")
    assert "only image/png, video/*" in answer.json()["error"]


def test_a_type_that_is_guessed_must_be_allowed_too(as_alice: Client, settings: Any) -> None:
    settings.ALLOWED_CONTENT_TYPES = ["image/png"]

    assert_refused(post_json(as_alice, SIGN, WISH | {"contentType": ""}), 415, "type_not_allowed", "contentType")
    assert post_json(as_alice, SIGN, WISH | {"contentType": "", "filename": "a.png"}).status_code == 200


def test_what_cannot_be_understood_outweighs_too_large_and_that_outweighs_the_type(as_alice: Client, settings: Any) -> None:
    settings.ALLOWED_CONTENT_TYPES = ["image/png"]
    settings.MAX_UPLOAD_SIZE = 4
    names = ("filename", "contentType", "size")

    assert_refused(post_json(as_alice, SIGN, WISH), 413, "too_large", *names[1:])
    assert_refused(post_json(as_alice, SIGN, WISH | {"filename": ""}), 400, "invalid", *names)


# --- the order: 405, 401, 403, 429, 400 -----------------------------------------------------------------------------


def test_the_method_comes_before_the_session(stranger: Client) -> None:
    assert stranger.get(SIGN).status_code == 405


def test_the_session_comes_before_the_csrf_token_and_the_body() -> None:
    stranger = Client(enforce_csrf_checks=True)

    assert_refused(post_json(stranger, SIGN, b"not json"), 401, "signed_out")


def test_the_csrf_token_comes_before_the_rate_limit(careful_alice: Client, settings: Any) -> None:
    settings.SIGNINGS_PER_MINUTE = 1
    headers = token_of(careful_alice)
    assert post_json(careful_alice, SIGN, b"not json", **headers).status_code == 400

    assert_refused(post_json(careful_alice, SIGN, b"not json"), 403, "csrf")


def test_the_rate_limit_comes_before_the_body(as_alice: Client, settings: Any) -> None:
    settings.SIGNINGS_PER_MINUTE = 1
    assert post_json(as_alice, SIGN, b"not json").status_code == 400

    assert_refused(post_json(as_alice, SIGN, b"not json"), 429, "rate_limited")


def test_what_is_refused_before_the_rate_limit_costs_nothing(careful_alice: Client, settings: Any) -> None:
    settings.SIGNINGS_PER_MINUTE = 1
    headers = token_of(careful_alice)
    for _ in range(3):
        assert post_json(careful_alice, SIGN, WISH).status_code == 403
        assert careful_alice.get(SIGN).status_code == 405

    assert post_json(careful_alice, SIGN, WISH, **headers).status_code == 200
