"""POST /api/uploads/confirm, and the fragment of the same at /files/confirm."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from files import storage, uploads
from files.documents import File, Status
from files.reasons import Reason
from uploadkit import localstack

from .conftest import Cast, post_json
from .lifecycle import own_bucket, own_mongod, put_object

URL = "/api/uploads/confirm"


def confirm(client: Client, key: object) -> Any:
    return post_json(client, URL, {"key": key})


def assert_refused(answer: Any, status: int, code: str) -> None:
    """The shape that outside clients rely on: a sentence for a person, a code for a program."""
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/json"
    body = answer.json()
    assert body["code"] == code
    assert len(body["error"].split()) > 3 and body["error"].endswith(".")


def test_what_arrived_as_signed_becomes_ready(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice, filename="Übersicht.pdf")
    cast.put(signed)

    answer = confirm(as_alice, signed.key)

    assert answer.status_code == 200
    file = File.objects.get(key=signed.key)
    assert (file.status, file.etag) == (Status.READY, hashlib.md5(b"%PDF-").hexdigest())
    assert answer.json() == {
        "ok": True,
        "file": {
            "key": signed.key,
            "name": "Übersicht.pdf",
            "contentType": "application/pdf",
            "size": 5,
            "status": "ready",
            "policy": "default",
            "sha256": hashlib.sha256(b"%PDF-").hexdigest(),
            "readyAt": file.ready_at.isoformat().replace("+00:00", "Z"),
        },
    }


def test_confirming_again_gives_the_same_answer_and_changes_nothing(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    cast.put(signed)
    first = confirm(as_alice, signed.key)
    before = File.objects.get(key=signed.key).to_mongo()

    second = confirm(as_alice, signed.key)

    assert (second.status_code, second.json()) == (200, first.json())
    assert File.objects.get(key=signed.key).to_mongo() == before


def test_nothing_uploaded_is_409_and_can_still_be_uploaded(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)

    assert_refused(confirm(as_alice, signed.key), 409, "not_uploaded")
    assert File.objects.get(key=signed.key).status == Status.PENDING

    cast.put(signed)
    assert confirm(as_alice, signed.key).status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"%PDF", "application/pdf"), (b"%PDF-1", "application/pdf"), (b"%PDF-", "text/html"), (b"%PDF-", "Application/PDF")],
    ids=["too short", "too long", "another type", "the type in other letters"],
)
def test_an_object_that_is_not_what_was_signed_is_422_and_never_listed(
    as_alice: Client, alice: User, cast: type[Cast], body: bytes, content_type: str
) -> None:
    signed = cast.sign(alice)
    put_object(signed.key, body, content_type)

    answer = confirm(as_alice, signed.key)

    assert_refused(answer, 422, "mismatch")
    assert "5 bytes of application/pdf" in answer.json()["error"]
    assert File.objects.get(key=signed.key).status == Status.PENDING
    assert signed.key not in as_alice.get("/files/").content.decode()


def test_a_second_put_to_the_same_url_is_refused_and_the_first_bytes_stay(
    as_alice: Client, alice: User, cast: type[Cast]
) -> None:
    signed = cast.sign(alice)
    cast.put(signed)
    etag = confirm(as_alice, signed.key) and File.objects.get(key=signed.key).etag

    assert cast.put(signed, b"other").status_code == 412
    head = storage.head(signed.key)
    assert head is not None and head.etag == etag


def test_another_users_upload_is_404_and_stays_pending(as_bob: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    cast.put(signed)

    assert_refused(confirm(as_bob, signed.key), 404, "not_found")
    assert File.objects.get(key=signed.key).status == Status.PENDING


def test_a_stranger_is_401(stranger: Client, alice: User, cast: type[Cast]) -> None:
    assert_refused(confirm(stranger, cast.sign(alice).key), 401, "signed_out")


@pytest.mark.parametrize("after", ["cancel", "delete"])
def test_an_upload_that_was_given_up_cannot_be_confirmed(as_alice: Client, alice: User, cast: type[Cast], after: str) -> None:
    if after == "delete":
        key = cast.upload(alice).key
        uploads.trash(str(alice.pk), [key])
    else:
        key = cast.sign(alice).key
        uploads.cancel(str(alice.pk), key)
    put_object(key)

    assert_refused(confirm(as_alice, key), 404, "not_found")


@pytest.mark.parametrize(
    "key",
    ["u/1/unknown", "../../etc/passwd", "u/1/" + "a" * 21 + "-a\n", "\ud800", "💥" * 200, " ", "{}", '{"$ne": null}'],
)
def test_a_key_that_nobody_has_is_404(as_alice: Client, key: str) -> None:
    assert_refused(confirm(as_alice, key), 404, "not_found")


@pytest.mark.parametrize(
    "key",
    [None, 5, True, "", ["u/1/a"], {"$ne": None}, "a" * 1025, "u/1/\x00"],
    ids=["null", "number", "bool", "empty", "list", "object", "too long", "NUL"],
)
def test_a_key_that_is_none_is_400_and_named(as_alice: Client, key: object) -> None:
    answer = confirm(as_alice, key)

    assert_refused(answer, 400, "invalid")
    assert list(answer.json()["fields"]) == ["key"]


def test_a_missing_key_is_400_and_named(as_alice: Client) -> None:
    answer = post_json(as_alice, URL, {})

    assert_refused(answer, 400, "invalid")
    assert list(answer.json()["fields"]) == ["key"]


@pytest.mark.parametrize("body", ["", "key=u/1/a", "[1]", '"u/1/a"', "null", "[" * 9000, '{"key": "' + "a" * 20_000 + '"}'])
def test_what_is_no_json_object_or_a_huge_one_is_400(as_alice: Client, body: str) -> None:
    assert_refused(as_alice.post(URL, body, content_type="application/json"), 400, "invalid")


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_any_method_but_post_is_405(as_alice: Client, method: str) -> None:
    answer = getattr(as_alice, method)(URL)

    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_without_a_csrf_token_it_is_403_in_json(alice: User, cast: type[Cast]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    signed = cast.sign(alice)
    cast.put(signed)

    assert_refused(confirm(client, signed.key), 403, "csrf")
    assert File.objects.get(key=signed.key).status == Status.PENDING


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_bucket_that_is_down_is_503_by_name_and_the_upload_is_not_lost(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path, fault: signal.Signals
) -> None:
    with own_bucket(settings, tmp_path) as server:
        signed = cast.sign(alice)
        cast.put(signed)
        assert server.popen is not None
        os.killpg(server.popen.pid, fault)
        began = time.monotonic()

        answer = confirm(as_alice, signed.key)

        assert time.monotonic() - began < 3
        assert_refused(answer, 503, "unavailable")
        assert answer.json()["error"].startswith("The bucket ")
        assert int(answer["Retry-After"]) > 0
        assert File.objects.get(key=signed.key).status == Status.PENDING
        bring_back(server, fault, signed.key)
        assert confirm(as_alice, signed.key).status_code == 200


def bring_back(server: localstack.Process, fault: signal.Signals, key: str) -> None:
    assert server.popen is not None
    if fault == signal.SIGSTOP:
        os.killpg(server.popen.pid, signal.SIGCONT)
    else:
        server.popen.wait()
        server.start()
        server.wait_until_ready()
    # It opens its port before it finds its data again.
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if storage.opening(key, 1):
                return
        except storage.Error:
            time.sleep(0.1)


def test_a_bucket_that_is_not_there_yet_is_503_and_what_has_arrived_is_confirmed_once_it_is(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any
) -> None:
    """Else a browser would take the file for one that has not arrived, give it up, and its bytes would be deleted."""
    signed = cast.sign(alice)
    cast.put(signed)
    bucket, settings.R2_BUCKET = settings.R2_BUCKET, "not-there-yet"

    answer = confirm(as_alice, signed.key)
    assert_refused(answer, 503, "unavailable")
    assert answer.json()["error"].startswith("The bucket refused this. ")
    settings.R2_BUCKET = bucket
    assert confirm(as_alice, signed.key).status_code == 200


def test_mongodb_that_is_down_is_503_by_name(
    as_alice: Client, alice: User, cast: type[Cast], settings: Any, tmp_path: Path
) -> None:
    with own_mongod(settings, tmp_path) as server:
        signed = cast.sign(alice)
        cast.put(signed)
        server.kill()
        began = time.monotonic()

        answer = confirm(as_alice, signed.key)

        assert time.monotonic() - began < 3
        assert_refused(answer, 503, "unavailable")
        assert answer.json()["error"].startswith("MongoDB ")
        assert int(answer["Retry-After"]) > 0


def test_the_fragment_is_the_files_row(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice, filename="a <b> & c.pdf")
    cast.put(signed)

    answer = as_alice.post("/files/confirm", {"key": signed.key}, headers={"HX-Request": "true"})

    assert answer.status_code == 200
    assert answer.content.decode().strip().startswith('<li class="row file">')
    assert "a &lt;b&gt; &amp; c.pdf" in answer.content.decode()
    assert f'href="/files/{signed.key}/download"' in answer.content.decode()


def test_the_fragment_is_refused_with_a_sentence_alone(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    answer = as_alice.post("/files/confirm", {"key": cast.sign(alice).key}, headers={"HX-Request": "true"})

    assert answer.status_code == 409
    assert answer["Content-Type"].startswith("text/plain")
    assert answer.content.decode() == "The file has not arrived in the bucket. Upload it, then confirm again."


# --- the checksum -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [24, 8192, 8193, 100_000])
def test_a_checksum_that_the_bucket_compared_needs_no_other_look(alice: User, cast: type[Cast], size: int) -> None:
    body = b"abcdefg\n" * (size // 8 + 1)
    sha256 = hashlib.sha256(body[:size]).hexdigest()
    signed = cast.sign(alice, filename="a.txt", content_type="text/plain", size=size, sha256=sha256)
    assert cast.put(signed, body[:size]).status_code == 200

    file = uploads.confirm(str(alice.pk), signed.key)

    assert (file.status, file.sha256) == (Status.READY, sha256)


def test_a_few_bytes_that_came_past_the_signature_and_are_others_are_rejected(alice: User, cast: type[Cast]) -> None:
    """Of more, a bucket that compares checksums is believed."""
    signed = cast.sign(alice, filename="a.txt", content_type="text/plain", size=24, sha256="0" * 64)
    put_object(signed.key, b"a" * 24, "text/plain")

    with pytest.raises(uploads.Rejected):
        uploads.confirm(str(alice.pk), signed.key)
    assert File.objects.get(key=signed.key).reason == Reason.INTEGRITY
