"""What the bucket takes, and what it refuses, of an upload URL. The browser is not to be trusted with anything else."""

import base64
import hashlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User

from files import storage, uploads

from .conftest import Cast

BODY = b"%PDF-"
HTTP = httpx.Client(timeout=60)  # making one takes longer than a PUT
SIGNED = "content-length;content-type;host;if-none-match"


@pytest.fixture(scope="module", autouse=True)
def closed_at_the_end() -> Iterator[None]:
    yield
    HTTP.close()


@pytest.fixture
def signed(alice: User, cast: type[Cast]) -> uploads.Signed:
    """Leave to put five bytes of application/pdf."""
    return cast.sign(alice)


def put(signed: uploads.Signed, body: bytes = BODY, *, url: str | None = None, **headers: str | None) -> httpx.Response:
    """The PUT that was signed, but for what the test changes: a header is replaced, or left out where it is None."""
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in signed.put.headers.items() if name not in changed}
    sent = kept | {name: value for name, value in changed.items() if value is not None}
    return HTTP.put(url or signed.put.url, content=body, headers=sent)


def tampered(signed: uploads.Signed, pattern: str, replacement: str) -> str:
    url, changes = re.subn(pattern, replacement, signed.put.url, count=1)
    assert changes == 1
    assert url != signed.put.url
    return url


def assert_refused(signed: uploads.Signed, answer: httpx.Response, status: int = 403) -> None:
    """Refused, nothing stored, and the URL itself was not spoilt by the attempt."""
    assert answer.status_code == status, answer.text
    assert storage.head(signed.key) is None
    assert put(signed).status_code == 200


# --- what is signed -------------------------------------------------------------------------------------------------


def test_type_length_and_write_once_are_signed_and_nothing_else(signed: uploads.Signed) -> None:
    assert httpx.URL(signed.put.url).params["X-Amz-SignedHeaders"] == SIGNED


def test_the_url_lives_for_a_minute(signed: uploads.Signed) -> None:
    assert httpx.URL(signed.put.url).params["X-Amz-Expires"] == "60"


def test_the_url_has_the_parameters_of_a_signature_and_no_checksum_of_the_sdk(signed: uploads.Signed) -> None:
    # Newer SDKs add x-amz-sdk-checksum-algorithm and x-amz-checksum-crc32, which a browser would have to send.
    assert set(httpx.URL(signed.put.url).params) == {
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    }


def test_the_url_is_at_the_bucket_s_own_origin(signed: uploads.Signed) -> None:
    # Content-Security-Policy and the signature both name this host.
    assert signed.put.url.startswith(f"{settings.R2_ENDPOINT_URL}/{settings.R2_BUCKET}/{signed.key}?")


def test_the_secret_is_not_in_the_url(signed: uploads.Signed) -> None:
    assert settings.R2_SECRET_ACCESS_KEY not in signed.put.url


def test_the_headers_to_send_are_those_that_a_browser_s_script_may_set(signed: uploads.Signed) -> None:
    assert (signed.put.method, signed.put.headers) == ("PUT", {"Content-Type": "application/pdf", "If-None-Match": "*"})


# --- what the bucket takes ------------------------------------------------------------------------------------------


def test_what_was_signed_is_taken_and_stored_as_it_was_sent(signed: uploads.Signed) -> None:
    assert put(signed).status_code == 200

    assert storage.head(signed.key) == storage.Head(5, "application/pdf", hashlib.md5(BODY).hexdigest())
    assert HTTP.get(storage.sign_get(signed.key, filename="a", lives=60)).content == BODY


def test_a_file_of_some_megabytes_is_taken(alice: User, cast: type[Cast]) -> None:
    body = bytes(range(256)) * 4096 * 8
    signed = cast.sign(alice, size=len(body))

    assert put(signed, body).status_code == 200
    head = storage.head(signed.key)
    assert head is not None
    assert head.size == 8 * 1024 * 1024


@pytest.mark.parametrize("content_type", ["image/svg+xml", "!#$%&'*+-.^_`|~/!#$%&'*+-.^_`|~", f"{'a' * 127}/{'b' * 127}"])
def test_any_type_that_is_signed_is_taken(alice: User, cast: type[Cast], content_type: str) -> None:
    signed = cast.sign(alice, content_type=content_type)

    assert put(signed).status_code == 200
    head = storage.head(signed.key)
    assert head is not None
    assert head.content_type == content_type


# --- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["text/html", "application/pdf; charset=utf-8", "", None])
def test_another_type_is_refused(signed: uploads.Signed, content_type: str | None) -> None:
    assert_refused(signed, put(signed, Content_Type=content_type))


@pytest.mark.parametrize("body", [b"", b"%PDF", b"%PDF-1", b"%PDF-" * 1000], ids=["empty", "shorter", "longer", "much longer"])
def test_another_length_is_refused(signed: uploads.Signed, body: bytes) -> None:
    assert_refused(signed, put(signed, body))


def test_a_body_that_does_not_say_its_length_is_refused(signed: uploads.Signed) -> None:
    def in_chunks() -> Iterator[bytes]:
        yield BODY

    assert_refused(signed, HTTP.put(signed.put.url, content=in_chunks(), headers=signed.put.headers))


@pytest.mark.parametrize("condition", [None, '"etag"', ""])
def test_without_the_condition_that_makes_it_write_once_it_is_refused(signed: uploads.Signed, condition: str | None) -> None:
    assert_refused(signed, put(signed, If_None_Match=condition))


@pytest.mark.parametrize("name", ["x-amz-meta-owner", "x-amz-acl", "x-amz-storage-class"])
def test_a_header_of_the_store_s_own_that_was_not_signed_is_refused(signed: uploads.Signed, name: str) -> None:
    headers = {**signed.put.headers, name: "public-read"}

    assert_refused(signed, HTTP.put(signed.put.url, content=BODY, headers=headers))


TAMPERED = {
    "another owner's folder": (r"/u/\d+/", "/u/999999/"),
    "another name": (r"report\.pdf", "other.pdf"),
    "no folder": (r"/u/\d+/", "/"),
    "a longer life": ("X-Amz-Expires=60", "X-Amz-Expires=600"),
    "another day": (r"X-Amz-Date=\d{8}", "X-Amz-Date=20300101"),
    "another signature": (r"X-Amz-Signature=[0-9a-f]{64}", f"X-Amz-Signature={'0' * 64}"),
    "another signer": ("X-Amz-Credential=uploadkit", "X-Amz-Credential=somebody"),
    "the length left unsigned": ("SignedHeaders=content-length%3B", "SignedHeaders="),
    "the condition left unsigned": ("%3Bif-none-match", ""),
}


@pytest.mark.parametrize(("pattern", "replacement"), TAMPERED.values(), ids=TAMPERED)
def test_a_url_that_was_tampered_with_is_refused(signed: uploads.Signed, pattern: str, replacement: str) -> None:
    assert_refused(signed, put(signed, url=tampered(signed, pattern, replacement)))


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_the_url_is_for_a_put_alone(signed: uploads.Signed, method: str) -> None:
    assert_refused(signed, HTTP.request(method, signed.put.url, headers=signed.put.headers))


def test_a_url_without_its_signature_is_refused(signed: uploads.Signed) -> None:
    assert_refused(signed, put(signed, url=tampered(signed, r"&X-Amz-Signature=[0-9a-f]{64}", "")), 400)


def test_a_url_without_any_of_it_is_refused(signed: uploads.Signed) -> None:
    assert_refused(signed, put(signed, url=signed.put.url.partition("?")[0]))


def test_an_expired_url_is_refused(alice: User) -> None:
    key = f"u/{alice.pk}/{'x' * 21}-expired.pdf"
    expired = storage.sign_put(key, content_type="application/pdf", size=5, lives=1)
    signed_at = datetime.strptime(httpx.URL(expired.url).params["X-Amz-Date"] + "+0000", "%Y%m%dT%H%M%SZ%z")

    # The bucket's clock is ours; it counts in whole seconds.
    time.sleep(max(0, signed_at.timestamp() + 2.1 - time.time()))
    answer = HTTP.put(expired.url, content=BODY, headers=expired.headers)

    assert answer.status_code == 403
    assert "expired" in answer.text.lower()
    assert storage.head(key) is None


# --- the checksum ---------------------------------------------------------------------------------------------------


@pytest.fixture
def summed(alice: User, cast: type[Cast]) -> uploads.Signed:
    """Leave to put five bytes whose SHA-256 is known."""
    return cast.sign(alice, sha256=hashlib.sha256(BODY).hexdigest())


def test_a_checksum_is_signed_with_the_rest_and_its_bytes_are_taken(summed: uploads.Signed) -> None:
    assert httpx.URL(summed.put.url).params["X-Amz-SignedHeaders"] == f"{SIGNED};x-amz-checksum-sha256"
    assert put(summed).status_code == 200


def test_other_bytes_of_the_same_length_are_refused_by_the_bucket(summed: uploads.Signed) -> None:
    answer = put(summed, b"%PDF+")

    assert "BadDigest" in answer.text
    assert_refused(summed, answer, 400)


def test_other_bytes_of_some_megabytes_are_refused_too(alice: User, cast: type[Cast]) -> None:
    """SeaweedFS, as others do, stores what is larger in several pieces."""
    body = bytes(9 * 1024 * 1024)
    signed = cast.sign(alice, size=len(body), sha256=hashlib.sha256(body).hexdigest())

    assert put(signed, body[:-1] + b"1").status_code == 400
    assert storage.head(signed.key) is None
    assert put(signed, body).status_code == 200


OF_OTHER_BYTES = base64.b64encode(hashlib.sha256(b"%PDF+").digest()).decode()


@pytest.mark.parametrize("checksum", [None, "", OF_OTHER_BYTES], ids=["none", "empty", "of other bytes"])
@pytest.mark.parametrize("body", [BODY, b"%PDF+"], ids=["right bytes", "other bytes"])
def test_another_checksum_than_the_one_that_was_signed_is_refused(
    summed: uploads.Signed, checksum: str | None, body: bytes
) -> None:
    assert_refused(summed, put(summed, body, x_amz_checksum_sha256=checksum))


def test_the_checksum_cannot_be_left_unsigned(summed: uploads.Signed) -> None:
    url = tampered(summed, "%3Bx-amz-checksum-sha256", "")

    assert_refused(summed, put(summed, b"%PDF+", url=url, x_amz_checksum_sha256=None))


# --- write once -----------------------------------------------------------------------------------------------------


def test_a_second_put_is_refused_and_changes_nothing(signed: uploads.Signed) -> None:
    assert put(signed, b"first").status_code == 200

    assert put(signed, b"other").status_code == 412
    assert HTTP.get(storage.sign_get(signed.key, filename="a", lives=60)).content == b"first"


def test_a_second_put_is_refused_after_the_confirm_too(alice: User, signed: uploads.Signed) -> None:
    assert put(signed, b"%PDF-").status_code == 200
    ready = uploads.confirm(str(alice.pk), signed.key)

    assert put(signed, b"other").status_code == 412
    head = storage.head(signed.key)
    assert head is not None
    assert head.etag == ready.etag


def test_of_sixteen_racing_puts_exactly_one_wins(signed: uploads.Signed) -> None:
    start = Barrier(16)

    def race(number: int) -> tuple[int, bytes]:
        body = f"{number:05}".encode()
        start.wait()
        return HTTP.put(signed.put.url, content=body, headers=signed.put.headers).status_code, body

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(race, range(16)))

    won = [body for status, body in outcomes if status == 200]
    assert len(won) == 1
    assert {status for status, body in outcomes if body not in won} == {412}
    assert HTTP.get(storage.sign_get(signed.key, filename="a", lives=60)).content == won[0]
