"""Our presigned URLs are those that boto3 makes, for every key and name that there can be."""

import base64
from datetime import UTC, datetime

import boto3
import pytest
import time_machine
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from django.utils.http import content_disposition_header
from httpx import URL
from hypothesis import given, settings
from hypothesis import strategies as st
from mypy_boto3_s3 import S3Client

from files import storage
from files.sigv4 import Signer

ENDPOINTS = [
    "https://account.r2.cloudflarestorage.com",
    "http://127.0.0.1:8333",
    "https://s3.example.com:443",
    "http://minio:80",
]
ANY_TIME = st.datetimes(datetime(2020, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  what Hypothesis takes
ANY_KEY = st.from_regex(r"u/[0-9]{1,20}/[A-Za-z0-9_-]{21}-[a-z0-9_.~ +&=%-]{1,80}", fullmatch=True)
ANY_NAME = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=256)
ANY_TYPE = st.from_regex(r"[a-z0-9!#$&^_.+-]{1,40}/[a-z0-9!#$&^_.+-]{1,40}", fullmatch=True)


def ours(endpoint: str) -> Signer:
    return Signer(endpoint, "auto", "an-id", "a-secret/with+signs")


def theirs(endpoint: str) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="auto",
        aws_access_key_id="an-id",
        aws_secret_access_key="a-secret/with+signs",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


CLIENTS = {endpoint: theirs(endpoint) for endpoint in ENDPOINTS}


def assert_same(one: str, other: str) -> None:
    """The same address and the same parameters, whose order is nobody's business."""
    assert URL(one).copy_with(query=None) == URL(other).copy_with(query=None)
    assert dict(URL(one).params) == dict(URL(other).params)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(
    key=ANY_KEY,
    content_type=ANY_TYPE,
    size=st.integers(1, 5 * 2**30),
    checksum=st.none() | st.binary(min_size=32, max_size=32),
    lives=st.integers(1, 7 * 86400),
    moment=ANY_TIME,
)
def test_an_upload(
    endpoint: str, key: str, content_type: str, size: int, checksum: bytes | None, lives: int, moment: datetime
) -> None:
    headers = {"content-type": content_type, "if-none-match": "*", "content-length": str(size)}
    order = {"Bucket": "files", "Key": key, "ContentType": content_type, "ContentLength": size, "IfNoneMatch": "*"}
    if checksum:
        headers[storage.CHECKSUM] = order["ChecksumSHA256"] = base64.b64encode(checksum).decode()
    with time_machine.travel(moment, tick=False):
        mine = ours(endpoint).presign("PUT", f"/files/{key}", headers=headers, lives=lives)
        assert_same(mine, CLIENTS[endpoint].generate_presigned_url("put_object", Params=order, ExpiresIn=lives))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(key=ANY_KEY, name=ANY_NAME)
def test_a_download_by_any_name(key: str, name: str) -> None:
    disposition = content_disposition_header(as_attachment=True, filename=name) or "attachment"
    order = {"Bucket": "files", "Key": key, "ResponseContentDisposition": disposition}
    with time_machine.travel(datetime(2026, 11, 23, tzinfo=UTC), tick=False):
        mine = ours(ENDPOINTS[0]).presign("GET", f"/files/{key}", query={"response-content-disposition": disposition}, lives=60)
        assert_same(mine, CLIENTS[ENDPOINTS[0]].generate_presigned_url("get_object", Params=order, ExpiresIn=60))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(method=st.sampled_from(["HEAD", "DELETE"]), key=ANY_KEY, moment=ANY_TIME)
def test_a_request_of_our_own(endpoint: str, method: str, key: str, moment: datetime) -> None:
    with time_machine.travel(moment, tick=False):
        target, mine = ours(endpoint).authorize(method, f"/files/{key}")
        request = AWSRequest(method=method, url=endpoint + target)
        request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
        S3SigV4Auth(Credentials("an-id", "a-secret/with+signs"), "s3", "auto").add_auth(request)

    assert mine == {name.lower(): value for name, value in request.headers.items()}


def test_the_signing_key_of_yesterday_is_not_used_today() -> None:
    signer = ours(ENDPOINTS[0])
    urls = []
    for day in (22, 23):
        with time_machine.travel(datetime(2026, 11, day, tzinfo=UTC), tick=False):
            urls.append(signer.presign("GET", "/files/u/1/x", lives=60))
            assert_same(
                urls[-1],
                CLIENTS[ENDPOINTS[0]].generate_presigned_url(
                    "get_object", Params={"Bucket": "files", "Key": "u/1/x"}, ExpiresIn=60
                ),
            )
    assert urls[0] != urls[1]
