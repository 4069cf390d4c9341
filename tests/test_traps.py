"""The seven traps that an upload service falls into, one test each."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
from django.contrib.auth.models import User
from django.test import Client

from files import storage, sweeps
from files.documents import File, Status

from .conftest import Cast, post_json
from .lifecycle import backdate


def test_the_sdks_checksum_headers_are_kept_off_the_url(alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    query = parse_qs(urlsplit(signed.put.url).query)

    assert "checksum" not in signed.put.url.lower() and "crc32" not in signed.put.url.lower()
    assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host;if-none-match"]
    assert signed.put.headers.keys() == {"Content-Type", "If-None-Match"}
    assert cast.put(signed).status_code == 200


def test_the_content_type_is_signed(alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)

    answer = httpx.put(signed.put.url, content=b"%PDF-", headers={**signed.put.headers, "Content-Type": "text/html"})

    assert answer.status_code == 403
    assert storage.head(signed.key) is None


def test_a_url_writes_once(alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)

    assert cast.put(signed).status_code == 200
    assert cast.put(signed, b"other").status_code == 412
    without = {name: value for name, value in signed.put.headers.items() if name != "If-None-Match"}
    assert httpx.put(signed.put.url, content=b"other", headers=without).status_code == 403


def test_a_put_that_failed_is_not_confirmed(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    assert cast.put(signed, b"not the five bytes that were signed").status_code == 403

    assert post_json(as_alice, "/api/uploads/confirm", {"key": signed.key}).status_code == 409
    assert File.objects.get(key=signed.key).status == Status.PENDING


def test_a_confirm_without_an_object_is_409(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    assert post_json(as_alice, "/api/uploads/confirm", {"key": cast.sign(alice).key}).status_code == 409


def test_the_connection_is_reused_across_requests(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    cast.upload(alice)

    def connections_ever_made() -> int:
        status = File._get_collection().database.client.admin.command("serverStatus")
        return int(status["connections"]["totalCreated"])

    as_alice.get("/files/")
    before = connections_ever_made()
    for _ in range(1000):
        assert as_alice.get("/files/", headers={"HX-Request": "true"}).status_code == 200

    # Other workers of this run ask the same server; a client for each request would make two thousand alone.
    assert connections_ever_made() - before < 200


def test_a_cleanup_removes_document_and_object(alice: User, cast: type[Cast]) -> None:
    signed = cast.sign(alice)
    cast.put(signed)
    backdate([signed.key])

    sweeps.sweep(older_than=timedelta(hours=1))

    assert storage.head(signed.key) is None
    assert not File.objects.keyed([signed.key])
