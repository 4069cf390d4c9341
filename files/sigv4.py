"""Presigned URLs: AWS Signature Version 4 in the query string.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html describes it, and R2 implements it. boto3 signs
the same (tests/test_sigv4.py holds the two equal) but resolves endpoint, region and credentials anew for every URL, which
costs eight times the signature. Only the date, the path and the query change here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one endpoint, like https://<account>.r2.cloudflarestorage.com, with one pair of keys."""

    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str

    def presign(
        self, method: str, path: str, *, lives: int, headers: Mapping[str, str] = {}, query: Mapping[str, str] = {}
    ) -> str:
        """A URL that is good for one kind of request for `lives` seconds from now, at most seven days.

        `path` is not yet quoted. `headers` must be sent to the letter, all but Host and Content-Length, which clients set by
        themselves; their names are lower case.
        """
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        signed = {"host": host(self.endpoint), **headers}
        names = ";".join(sorted(signed))
        parameters = {
            **query,
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key_id}/{scope}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(lives),
            "X-Amz-SignedHeaders": names,
        }
        target = quote(path, safe="/~")
        canonical_query = "&".join(sorted(f"{quoted(name)}={quoted(value)}" for name, value in parameters.items()))
        canonical_headers = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
        request = f"{method}\n{target}\n{canonical_query}\n{canonical_headers}\n{names}\nUNSIGNED-PAYLOAD"
        to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = signing_key(self.secret_access_key, moment[:8], self.region)
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        return f"{self.endpoint}{target}?{canonical_query}&X-Amz-Signature={signature}"


@lru_cache(maxsize=256)  # all but the path and a download's name are the same all day, or all second
def quoted(text: str) -> str:
    return quote(text, safe="~")


@lru_cache(maxsize=8)
def host(endpoint: str) -> str:
    """The Host header that a client sends: without a port that is its scheme's own (RFC 9110 section 4.2.3)."""
    parts = urlsplit(endpoint)
    return parts.netloc if parts.port != DEFAULT_PORTS.get(parts.scheme) else parts.netloc.rpartition(":")[0]


@lru_cache(maxsize=8)
def signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
