"""Presigned URLs: AWS Signature Version 4, in the query string or in headers.

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
UNSIGNED = "UNSIGNED-PAYLOAD"
MOMENT = "%Y%m%dT%H%M%SZ"
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one endpoint, like https://<account>.r2.cloudflarestorage.com, with one pair of keys."""

    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str

    def presign(
        self,
        method: str,
        path: str,
        *,
        lives: int,
        headers: Mapping[str, str] = {},
        query: Mapping[str, str] = {},
        signed_at: datetime | None = None,
    ) -> str:
        """A URL that is good for one kind of request for `lives` seconds from now, or from `signed_at`; at most seven days.

        `path` is not yet quoted. `headers` must be sent to the letter, all but Host and Content-Length, which clients set by
        themselves; their names are lower case.
        """
        moment = (signed_at or datetime.now(UTC)).strftime(MOMENT)
        signed = {"host": host(self.endpoint), **headers}
        parameters = {
            **query,
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key_id}/{self._scope(moment)}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(lives),
            "X-Amz-SignedHeaders": ";".join(sorted(signed)),
        }
        target = quoted_path(path)
        canonical_query = "&".join(sorted(f"{quoted(name)}={quoted(value)}" for name, value in parameters.items()))
        signature = self._signature(moment, method, target, canonical_query, signed)
        return f"{self.endpoint}{target}?{canonical_query}&X-Amz-Signature={signature}"

    def authorize(self, method: str, path: str, more: Mapping[str, str] = {}) -> tuple[str, dict[str, str]]:
        """What to ask for, and the headers that sign a request without a body: it is sent by us, and now. `more` are headers
        that it has besides, by names in lower case.

        https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
        """
        moment = datetime.now(UTC).strftime(MOMENT)
        headers = {"x-amz-content-sha256": UNSIGNED, "x-amz-date": moment, **more}
        signed = {"host": host(self.endpoint), **headers}
        target = quoted_path(path)
        signature = self._signature(moment, method, target, "", signed)
        credential = f"{self.access_key_id}/{self._scope(moment)}"
        names = ";".join(sorted(signed))
        authorization = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return target, {**headers, "authorization": authorization}

    def _scope(self, moment: str) -> str:
        return f"{moment[:8]}/{self.region}/s3/aws4_request"

    def _signature(self, moment: str, method: str, target: str, query: str, headers: Mapping[str, str]) -> str:
        names = sorted(headers)
        canonical_headers = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
        request = f"{method}\n{target}\n{query}\n{canonical_headers}\n{';'.join(names)}\n{UNSIGNED}"
        digest = hashlib.sha256(request.encode()).hexdigest()
        key = signing_key(self.secret_access_key, moment[:8], self.region)
        return hmac.digest(key, f"{ALGORITHM}\n{moment}\n{self._scope(moment)}\n{digest}".encode(), "sha256").hex()


def quoted_path(path: str) -> str:
    return quote(path, safe="/~")


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
