"""The bucket in a few verbs. Nothing else knows boto3.

"Not there" is the one answer of the bucket that is translated (`head` and `opening` return None); whatever else goes wrong
escapes as one of `Error`, for `files.errors` to name the bucket.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import certifi
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.utils.http import content_disposition_header
from requests.utils import get_environ_proxies
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError

from . import bucket_rules
from .bucket_rules import SetUp
from .sigv4 import Signer, quoted_path

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import DeleteTypeDef


class BucketError(Exception):
    """The bucket answered, and not by what was asked for."""

    def __init__(self, said: str, status: int = 0) -> None:
        super().__init__(said)
        self.status = status


class Missing(BucketError):
    """There is no such object."""


Error = (BotoCoreError, ClientError, HTTPError, BucketError)

URL_LIVES = 60  # seconds that an upload or download URL is good for
DELETE_LIMIT = 1000  # keys a DeleteObjects request: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
CHECKSUM = "x-amz-checksum-sha256"
PROBES = "uploadkit-probe/"  # what is there was put to try the bucket; `files.doctor` deletes what was left
CORS_HEADERS = ["content-type", "if-none-match", CHECKSUM]  # those of `sign_put`, in lower case and in order, as browsers ask
EVERYWHERE = ("auto", "us-east-1")  # regions that a bucket is made in without naming one


@dataclass(frozen=True, slots=True)
class Head:
    """What the bucket says of an object: size in bytes, type as it was sent, ETag without quotes."""

    size: int
    content_type: str
    etag: str


class Listed(NamedTuple):
    """What a list says of an object: its size in bytes, and when it was written."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Opening:
    """The first bytes of an object, and what the bucket says of it; where they are all of it, their SHA-256 in hexadecimal.

    `encoded`: whoever put it said Content-Encoding, which no signature forbids. A browser makes other bytes of these.
    """

    head: Head
    first: bytes
    sha256: str | None = None
    encoded: bool = False


@dataclass(frozen=True, slots=True)
class SignedPut:
    """A presigned URL and the headers that must be sent with it to the letter.

    Content-Length is signed too; every HTTP client sets it by itself from the body, and a browser's script may not.
    """

    url: str
    method: str
    headers: dict[str, str]


def _path(key: str) -> str:
    return f"/{settings.R2_BUCKET}/{key}"


@cache
def _signer() -> Signer:
    return Signer(
        settings.R2_ENDPOINT_URL.rstrip("/"), settings.R2_REGION, settings.R2_ACCESS_KEY_ID, settings.R2_SECRET_ACCESS_KEY
    )


def sign_put(
    key: str, *, content_type: str, size: int, lives: int, sha256: str | None = None, signed_at: datetime | None = None
) -> SignedPut:
    """Sign a URL for one PUT of exactly `size` bytes of that type to `key`, within `lives` seconds from `signed_at`, or now.

    With `sha256`, in hex, the bucket compares it with the bytes that came, and refuses others (400 BadDigest).

    A presigned URL can be used until it expires; `If-None-Match: *` makes the bucket refuse the second PUT (412,
    RFC 9110 section 13.1.2).
    """
    headers = {"Content-Type": content_type, "If-None-Match": "*"}
    if sha256:
        headers[CHECKSUM] = base64.b64encode(bytes.fromhex(sha256)).decode()
    signed = {"content-length": str(size)} | {name.lower(): value for name, value in headers.items()}
    url = _signer().presign("PUT", _path(key), headers=signed, lives=lives, signed_at=signed_at)
    return SignedPut(url, "PUT", headers)


def sign_get(key: str, *, filename: str, lives: int) -> str:
    """Sign a URL that downloads `key` as `filename` (RFC 6266) and never shows it in the browser."""
    disposition = content_disposition_header(as_attachment=True, filename=filename) or "attachment"
    return _signer().presign("GET", _path(key), query={"response-content-disposition": disposition}, lives=lives)


def sign_view(key: str, *, filename: str, content_type: str, lives: int, keep: bool = False) -> str:
    """Sign a URL by which a browser shows `key` as of that type, whatever it was stored as, and saves it as `filename`. It may
    `keep` what it was shown for as long.
    """
    disposition = content_disposition_header(as_attachment=False, filename=filename) or "inline"
    query = {"response-content-disposition": disposition, "response-content-type": content_type}
    if keep:
        query["response-cache-control"] = f"private, max-age={lives}, immutable"
    return _signer().presign("GET", _path(key), query=query, lives=lives)


def unsigned(key: str) -> str:
    """The address of an object, which nothing may be done by."""
    return f"{settings.R2_ENDPOINT_URL.rstrip('/')}{quoted_path(_path(key))}"


def send(method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] = {}) -> BaseHTTPResponse:
    """Do once what a browser does with a URL that it was given. It may take 10 s."""
    return _connections().urlopen(
        method,
        url,
        body=body,
        headers=headers,
        retries=False,
        redirect=False,
        decode_content=False,
        timeout=Timeout(connect=2, read=8),
    )


def head(key: str) -> Head | None:
    """Ask what is stored under `key`; None if nothing is, or no bucket: an answer to HEAD does not say which."""
    answer = _ask("HEAD", key)
    if answer.status == HTTPStatus.NOT_FOUND:
        return None
    fields = _checked("HeadObject", answer).headers
    return Head(int(fields["Content-Length"]), fields.get("Content-Type", ""), fields["ETag"].strip('"'))


def opening(key: str, length: int) -> Opening | None:
    """Ask what is stored under `key`, and for its first `length` bytes, in one request; None if nothing is."""
    answer = _ask("GET", key, range=f"bytes=0-{length - 1}")
    if _is_missing(answer):
        return None
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # it is empty, which no signed PUT can have made it
        empty = head(key)
        return Opening(empty, b"") if empty else None
    fields = _checked("GetObject", answer).headers
    size = int(fields.get("Content-Range", "/" + fields["Content-Length"]).rpartition("/")[2])
    found = Head(size, fields.get("Content-Type", ""), fields["ETag"].strip('"'))
    whole = hashlib.sha256(answer.data).hexdigest() if size <= length else None
    encoded = fields.get("Content-Encoding", "identity").lower() != "identity"
    return Opening(found, answer.data[:length], whole, encoded)


def probe_key() -> str:
    """A key to try the bucket with, which nobody else has."""
    return f"{PROBES}{secrets.token_urlsafe(16)}"


@cache
def verifies_checksums() -> bool:
    """Whether the bucket refuses bytes that are not of the checksum which their URL was signed for, as S3 and R2 do: then what
    is there has it. Each process tries until it knows, with a byte that must be refused.
    """
    key, lives = probe_key(), 15 * 60  # as far as clocks may differ: R2 answers 400 to a link that is over, too
    put = sign_put(key, content_type="text/plain", size=1, lives=lives, sha256="0" * 64)
    answer = _connections().urlopen("PUT", put.url, body=b"x", headers=put.headers, retries=False, redirect=False)
    if answer.status == HTTPStatus.BAD_REQUEST:
        return True
    _checked("PutObject", answer)  # anything else says nothing of checksums, and must not be remembered
    with suppress(*Error):
        delete(key)
    return False


def ending(key: str, size: int, length: int) -> bytes:
    """The last `length` bytes of an object of `size` bytes."""
    return _checked("GetObject", _ask("GET", key, range=f"bytes={max(0, size - length)}-{size - 1}")).data


@contextmanager
def reading(key: str) -> Iterator[BinaryIO]:
    """The object as a stream, for whoever reads all of it. It may take its time, but not 30 s without a byte."""
    target, headers = _signer().authorize("GET", _path(key))
    answer = _connections().urlopen(
        "GET",
        target,
        headers=headers,
        retries=False,
        redirect=False,
        preload_content=False,
        decode_content=False,
        timeout=Timeout(connect=2, read=30),
    )
    try:
        if _is_missing(answer):
            raise Missing(key)
        yield cast("BinaryIO", _checked("GetObject", answer))
    finally:
        answer.close()  # what is left unread is not waited for
        answer.release_conn()


def write(key: str, body: IO[bytes] | bytes, *, content_type: str) -> str:
    """Store what we made ourselves, in the place of what an earlier attempt may have left. Return its ETag without quotes."""
    answer = _client().put_object(Bucket=settings.R2_BUCKET, Key=key, Body=body, ContentType=content_type)
    return answer["ETag"].strip('"')


@dataclass(frozen=True, slots=True)
class Preflight:
    """What the bucket answers a browser that asks whether it may PUT; `date` is the bucket's own clock, to the second."""

    allowed: bool
    date: datetime | None


def preflight(key: str, origin: str, *, checksum: bool) -> Preflight:
    """Ask as a browser on a page of `origin` does before it sends a PUT, with a checksum or without
    (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
    """
    headers = CORS_HEADERS if checksum else [name for name in CORS_HEADERS if name != CHECKSUM]
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": ",".join(headers),
    }
    answer = _connections().urlopen("OPTIONS", quoted_path(_path(key)), headers=asked, retries=False, redirect=False)
    fields = answer.headers
    allowed = (
        HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
        and fields.get("Access-Control-Allow-Origin") in ("*", origin)
        and _lists(fields.get("Access-Control-Allow-Methods"), ["put"])
        and _lists(fields.get("Access-Control-Allow-Headers"), headers)
    )
    try:
        date = parsedate_to_datetime(fields.get("Date", ""))
    except ValueError:
        date = None
    return Preflight(allowed, date if date and date.tzinfo else None)


def _lists(field: str | None, wanted: list[str]) -> bool:
    listed = {item.strip().lower() for item in (field or "").split(",")}
    return "*" in listed or listed.issuperset(wanted)


def delete(key: str) -> None:
    """Remove the object. That there is none is no error."""
    _checked("DeleteObject", _ask("DELETE", key))


def reach() -> None:
    """Ask whether there is the bucket, and whether it knows us. Raises one of `Error`."""
    _checked("HeadBucket", _ask("HEAD", ""))


# --- the requests that a person waits for: without the client, whose machinery costs ten times what they do ---------


@cache
def _connections() -> HTTPConnectionPool:
    """The connections to the bucket, of all threads. At the worst an answer takes 2.5 s. Like boto3 it heeds a proxy by
    HTTPS_PROXY and authorities by AWS_CA_BUNDLE.
    """
    endpoint = settings.R2_ENDPOINT_URL
    options: dict[str, Any] = {
        "maxsize": 32,
        "timeout": Timeout(connect=1, read=1.5),
        "ca_certs": os.environ.get("AWS_CA_BUNDLE") or certifi.where(),
    }
    proxy = get_environ_proxies(endpoint).get(endpoint.partition(":")[0])
    manager = ProxyManager(proxy, **options) if proxy else PoolManager(**options)
    return manager.connection_from_url(endpoint)


def _ask(method: str, key: str, **more: str) -> BaseHTTPResponse:
    """Send a request without a body. Redirects are not followed: a bucket in another place is a setting to mend."""
    # By headers, since urllib3 looks at every character of an address.
    target, headers = _signer().authorize(method, _path(key), more)
    return _connections().urlopen(method, target, headers=headers, retries=False, redirect=False, decode_content=False)


def _is_missing(answer: BaseHTTPResponse) -> bool:
    """Whether there is no such object. A bucket by another name, or one that is only starting, is 404 as well."""
    return answer.status == HTTPStatus.NOT_FOUND and b"NoSuchKey" in answer.data


def _checked(operation: str, answer: BaseHTTPResponse) -> BaseHTTPResponse:
    """The answer, if it is one of success. Raises BucketError."""
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return answer
    said = f"{operation} was answered by {answer.status} {answer.data[:200].decode(errors='replace')}".rstrip()
    raise BucketError(said, answer.status)


def refusal(error: BaseException) -> tuple[int, str]:
    """The HTTP status and S3's own word for it, like (403, "AccessDenied"), of one of `Error`; 0 where nothing answered."""
    if isinstance(error, ClientError):
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"].get("Code", "")
    if isinstance(error, BucketError):
        named = re.search(r"<Code>(\w+)</Code>", str(error))
        return error.status, named[1] if named else ""
    return 0, ""


# --- what operations ask for: with the client ---------------------------------------------------------------------------


@cache
def _client() -> S3Client:
    """One client a process, made at first use and so after the fork: it takes 0.1 s and 25 MB, and is thread-safe."""
    return _new_client(settings.R2_ACCESS_KEY_ID, settings.R2_SECRET_ACCESS_KEY)


@cache
def _admin() -> S3Client:
    """A client with the keys for the bucket itself, where there are such."""
    if not settings.R2_ADMIN_ACCESS_KEY_ID:
        return _client()
    return _new_client(settings.R2_ADMIN_ACCESS_KEY_ID, settings.R2_ADMIN_SECRET_ACCESS_KEY)


def _new_client(access_key_id: str, secret_access_key: str) -> S3Client:
    """Patient, for deletions of up to 1,000 keys: 44 s at the worst."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=settings.R2_ENDPOINT_URL,
        region_name=settings.R2_REGION,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=2,
            read_timeout=20,
            retries={"mode": "standard", "total_max_attempts": 2},
            # Newer SDKs add CRC headers by default, which S3-compatible stores refuse:
            # https://developers.cloudflare.com/r2/examples/aws/boto3/
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    client.meta.events.register("before-sign.s3", _without_the_sdks_own_header)
    return client


def _without_the_sdks_own_header(request: Any, **event: Any) -> None:
    """R2 has none of it: https://developers.cloudflare.com/r2/api/s3/api/. The sum is in a header of its own."""
    del request.headers["x-amz-sdk-checksum-algorithm"]


def listed(prefix: str, after: str) -> list[Listed]:
    """Objects under the prefix, in the order of their keys, those behind `after`: up to 1,000, and none at the end."""
    more: dict[str, Any] = {"StartAfter": after} if after else {}
    while True:
        answer = _client().list_objects_v2(Bucket=settings.R2_BUCKET, Prefix=prefix, **more)
        found = [Listed(item["Key"], item["Size"], item["LastModified"]) for item in answer.get("Contents", [])]
        if found or not answer["IsTruncated"]:
            return found
        more = {"ContinuationToken": answer["NextContinuationToken"]}


def delete_many(keys: Iterable[str]) -> dict[str, str]:
    """Remove objects, 1,000 in a request. Return the keys that the bucket refused, each with its reason."""
    left: Iterator[str] = iter(keys)
    refused: dict[str, str] = {}
    while some := list(itertools.islice(left, DELETE_LIMIT)):
        wanted: DeleteTypeDef = {"Objects": [{"Key": key} for key in some], "Quiet": True}
        errors = _client().delete_objects(Bucket=settings.R2_BUCKET, Delete=wanted).get("Errors", [])
        refused |= {error["Key"]: f"{error.get('Code', '')} {error.get('Message', '')}".strip() for error in errors}
    return refused


def write_in_parts(key: str, parts: Iterable[bytes], *, content_type: str) -> None:
    """Store an object by a multipart upload. All parts but the last are of one size, and of 5 MiB or more."""
    where: Any = {"Bucket": settings.R2_BUCKET, "Key": key}
    where["UploadId"] = _client().create_multipart_upload(**where, ContentType=content_type)["UploadId"]
    try:
        sent: list[Any] = [
            {"PartNumber": number, "ETag": _client().upload_part(**where, PartNumber=number, Body=part)["ETag"]}
            for number, part in enumerate(parts, 1)
        ]
        _client().complete_multipart_upload(**where, MultipartUpload={"Parts": sent})
    except BaseException:
        with suppress(BotoCoreError, ClientError):
            _client().abort_multipart_upload(**where)
        raise


def some_under(prefix: str, *, older_than: datetime) -> list[str]:
    """Up to 1,000 keys that begin so, of objects from before that moment."""
    listed = _client().list_objects_v2(Bucket=settings.R2_BUCKET, Prefix=prefix).get("Contents", [])
    return [found["Key"] for found in listed if found["LastModified"] < older_than]


def set_up(origins: list[str], *, dry_run: bool = False) -> SetUp:
    """Make the bucket if it is missing, let browsers on `origins` PUT to it, and have it clear away what multipart uploads
    left. Return what was done, or with `dry_run` what would be.

    Rules are read, merged and written, since what is written takes the place of all. S3 has no condition for that: of two who
    do it at once, the one who wrote first may have to do it again. R2 asks for an Admin token, which the app itself should not
    have: https://developers.cloudflare.com/r2/buckets/cors/
    """
    client = _admin()
    planned = _planned(client, origins)
    if not dry_run:
        _apply(client, planned)
    return planned


def _planned(client: S3Client, origins: list[str]) -> SetUp:
    cors = _configured(client.get_bucket_cors, "NoSuchCORSConfiguration")
    lifecycle = _configured(client.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration")
    rules, beside = (lifecycle or {}).pop("Rules", []), lifecycle or {}
    return SetUp(
        made=cors is None,
        cors=bucket_rules.cors((cors or {}).get("CORSRules", []), origins, CORS_HEADERS),
        lifecycle=bucket_rules.lifecycle(rules, beside),
    )


def _configured(read: Callable[..., Any], none: str) -> dict[str, Any] | None:
    """What the bucket is told in a matter; None if there is no bucket. What may not be read must not be written either."""
    try:
        answer: dict[str, Any] = read(Bucket=settings.R2_BUCKET)
    except ClientError as error:
        if refusal(error)[1] in ("NoSuchBucket", none):
            return None if refusal(error)[1] == "NoSuchBucket" else {}
        raise
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def _apply(client: S3Client, planned: SetUp) -> None:
    bucket = settings.R2_BUCKET
    if planned.made:
        place: Any = {"CreateBucketConfiguration": {"LocationConstraint": settings.R2_REGION}}
        client.create_bucket(Bucket=bucket, **({} if settings.R2_REGION in EVERYWHERE else place))
    if planned.cors.needed:
        cors: Any = {"CORSRules": planned.cors.after}
        client.put_bucket_cors(Bucket=bucket, CORSConfiguration=cors)
    if planned.lifecycle.needed:
        lifecycle: Any = {"Rules": planned.lifecycle.after}
        beside: Any = planned.lifecycle.beside
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=lifecycle, **beside)
