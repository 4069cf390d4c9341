"""POST /api/uploads/sign"""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from files.documents import File, Status
from files.names import KEY

from .conftest import post_json

SIGN = "/api/uploads/sign"
WISH = {"filename": "report.pdf", "contentType": "application/pdf", "size": 5}


def test_the_owner_gets_a_url_and_a_pending_document(as_alice: Client, alice: User) -> None:
    answer = post_json(as_alice, SIGN, WISH)

    assert answer.status_code == 200
    body = answer.json()
    assert body["method"] == "PUT"
    assert body["headers"] == {"Content-Type": "application/pdf", "If-None-Match": "*"}
    file = File.objects.get(key=body["key"])
    assert (file.owner_id, file.status, file.size) == (str(alice.pk), Status.PENDING, 5)


def test_the_answer_has_the_fields_of_the_contract_and_no_others(as_alice: Client) -> None:
    answer = post_json(as_alice, SIGN, WISH)

    assert set(answer.json()) == {"url", "key", "method", "headers", "expiresAt"}
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"  # the URL is a secret for as long as it lives


def test_what_was_asked_for_is_what_the_document_says(as_alice: Client) -> None:
    key = post_json(as_alice, SIGN, {"filename": "Grüße.PDF", "contentType": "Application/PDF", "size": 12345}).json()["key"]

    file = File.objects.get(key=key)
    assert (file.name, file.content_type, file.size) == ("Grüße.PDF", "application/pdf", 12345)
    assert (file.ready_at, file.etag) == (None, None)


def test_the_url_expires_in_a_minute_and_the_answer_says_when(as_alice: Client) -> None:
    before = datetime.now(UTC)
    body = post_json(as_alice, SIGN, WISH).json()
    after = datetime.now(UTC)

    expires_at = datetime.fromisoformat(body["expiresAt"])
    assert body["expiresAt"].endswith("Z")
    # The document's time is in whole milliseconds.
    assert before - timedelta(milliseconds=1) <= expires_at - timedelta(minutes=1) <= after
    signed_at = datetime.strptime(httpx.URL(body["url"]).params["X-Amz-Date"] + "+0000", "%Y%m%dT%H%M%SZ%z")
    # The bucket counts in whole seconds, so that it may close up to one second before we say.
    assert abs(signed_at - (expires_at - timedelta(minutes=1))) < timedelta(seconds=1.5)


@pytest.mark.parametrize("written", [str.lower, str.upper])
def test_a_checksum_is_kept_as_sha256sum_prints_it_and_is_to_be_sent_as_s3_wants_it(
    as_alice: Client, written: Callable[[str], str]
) -> None:
    sum_ = hashlib.sha256(b"%PDF-")
    body = post_json(as_alice, SIGN, WISH | {"sha256": written(sum_.hexdigest())}).json()

    assert body["headers"] == {
        "Content-Type": "application/pdf",
        "If-None-Match": "*",
        "x-amz-checksum-sha256": base64.b64encode(sum_.digest()).decode(),
    }
    assert File.objects.get(key=body["key"]).sha256 == sum_.hexdigest()
    assert httpx.request(body["method"], body["url"], headers=body["headers"], content=b"%PDF-").status_code == 200
    confirmed = post_json(as_alice, "/api/uploads/confirm", {"key": body["key"]}).json()
    assert confirmed["file"]["sha256"] == sum_.hexdigest()


@pytest.mark.parametrize("missing", [{"sha256": ""}, {"sha256": None}, {}])
def test_without_a_checksum_none_is_signed_or_kept(as_alice: Client, missing: dict[str, Any]) -> None:
    body = post_json(as_alice, SIGN, WISH | missing).json()

    assert "x-amz-checksum-sha256" not in body["headers"]
    assert "sha256" not in File._get_collection().find_one({"_id": body["key"]})


def test_sending_what_the_answer_says_puts_the_file_in_the_bucket(as_alice: Client) -> None:
    body = post_json(as_alice, SIGN, WISH).json()

    assert httpx.request(body["method"], body["url"], headers=body["headers"], content=b"%PDF-").status_code == 200


def test_the_key_says_whose_it_is_and_nothing_that_can_be_guessed(as_alice: Client, alice: User) -> None:
    keys = [post_json(as_alice, SIGN, WISH).json()["key"] for _ in range(10)]

    assert all(KEY.fullmatch(key) and key.startswith(f"u/{alice.pk}/") for key in keys)
    assert len({key.removeprefix(f"u/{alice.pk}/")[:21] for key in keys}) == 10


def test_the_url_is_for_the_key_that_was_answered(as_alice: Client) -> None:
    body = post_json(as_alice, SIGN, WISH).json()

    assert httpx.URL(body["url"]).path.endswith(f"/{body['key']}")


def test_signing_the_same_file_twice_gives_two_uploads(as_alice: Client, alice: User) -> None:
    first, second = (post_json(as_alice, SIGN, WISH).json() for _ in range(2))

    assert first["key"] != second["key"]
    assert File.objects.owned_by(str(alice.pk)).pending().count() == 2


def test_each_user_signs_under_a_folder_of_their_own(as_alice: Client, as_bob: Client, alice: User, bob: User) -> None:
    hers, his = (post_json(client, SIGN, WISH).json()["key"] for client in (as_alice, as_bob))

    assert File.objects.get(key=hers).owner_id == str(alice.pk)
    assert File.objects.get(key=his).owner_id == str(bob.pk)
    assert hers.split("/")[1] != his.split("/")[1]


@pytest.mark.parametrize("extra", [{"owner_id": "1"}, {"key": "u/1/x"}, {"status": "ready"}, {"": None}, {"\ud800": "\ud800"}])
def test_fields_that_are_not_ours_change_nothing(as_alice: Client, alice: User, extra: dict[str, Any]) -> None:
    answer = post_json(as_alice, SIGN, WISH | extra)

    assert answer.status_code == 200
    file = File.objects.get(key=answer.json()["key"])
    assert (file.owner_id, file.status) == (str(alice.pk), Status.PENDING)


def test_of_a_field_that_comes_twice_the_last_one_counts(as_alice: Client) -> None:
    # As JSON.parse has it, and so as every browser would have read it.
    body = '{"filename": "a.txt", "filename": "b.txt", "contentType": "text/plain", "size": 1, "size": 7}'

    file = File.objects.get(key=post_json(as_alice, SIGN, body).json()["key"])
    assert (file.name, file.size) == ("b.txt", 7)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_json_in_any_encoding_of_unicode_is_read(as_alice: Client, encoding: str) -> None:
    body = json.dumps(WISH | {"filename": "día.pdf"}, ensure_ascii=False).encode(encoding)

    assert File.objects.get(key=post_json(as_alice, SIGN, body).json()["key"]).name == "día.pdf"


def test_a_file_of_exactly_the_most_is_signed(as_alice: Client, settings: Any) -> None:
    settings.MAX_UPLOAD_SIZE = 1000

    assert post_json(as_alice, SIGN, WISH | {"size": 1000}).status_code == 200
    assert post_json(as_alice, SIGN, WISH | {"size": 1}).status_code == 200


@pytest.mark.parametrize("allowed", ["image/png", "image/*", "*/*"])
def test_a_type_that_is_allowed_is_signed(as_alice: Client, settings: Any, allowed: str) -> None:
    settings.ALLOWED_CONTENT_TYPES = ["application/zip", allowed]

    answer = post_json(as_alice, SIGN, {"filename": "a.png", "contentType": "IMAGE/PNG; q=1", "size": 1})

    assert answer.status_code == 200
    assert answer.json()["headers"]["Content-Type"] == "image/png"


@pytest.mark.parametrize("missing", [{"contentType": ""}, {"contentType": None}, {}])
def test_a_type_that_the_browser_does_not_know_is_guessed_from_the_name(as_alice: Client, missing: dict[str, Any]) -> None:
    answer = post_json(as_alice, SIGN, {"filename": "a.png", "size": 1} | missing)

    assert answer.status_code == 200
    assert answer.json()["headers"]["Content-Type"] == "image/png"
