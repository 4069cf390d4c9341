"""How often somebody may ask: signings of a user, and anonymous requests of an address."""

from __future__ import annotations

import ipaddress
import math
import time
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest
from django.template.defaultfilters import pluralize
from django_ratelimit.core import get_usage
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from .refusals import Refusal

Unreachable = (StorageError, RedisError)


@dataclass(frozen=True, slots=True)
class Window:
    """Where a user stands: `limit` signings in any 60 s, of which `remaining`; the next frees up in `reset` seconds."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """The fields of https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (draft 10)."""
        return {
            "RateLimit-Policy": f'"sign";q={self.limit};w=60',
            "RateLimit": f'"sign";r={self.remaining};t={self.reset}',
        }


class TooMany(Refusal):
    """Asked too often; the headers say when to ask again."""

    code = "rate_limited"
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, message: str, retry_after: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_after), **(headers or {})}


@cache
def _limiter() -> MovingWindowRateLimiter:
    storage = RedisStorage(settings.REDIS_URL, key_prefix="uploadkit:sign", wrap_exceptions=True, **settings.REDIS_OPTIONS)
    return MovingWindowRateLimiter(storage)


def spend_signing(owner_id: str) -> Window:
    """Take one signing from the user's window. Raises TooMany, and `limits.errors.StorageError` when Redis is down.

    A moving window: never more than the limit in any 60 s. A fixed one lets twice as many through across its boundary.
    """
    limiter, item = _limiter(), RateLimitItemPerMinute(settings.SIGNINGS_PER_MINUTE)
    passed = limiter.hit(item, owner_id)
    stats = limiter.get_window_stats(item, owner_id)
    # Rounded up: whoever waits exactly as long as we say must find the door open.
    window = Window(item.amount, stats.remaining if passed else 0, max(1, math.ceil(stats.reset_time - time.time())))
    if not passed:
        raise TooMany(
            f"You can start {window.limit} upload{pluralize(window.limit)} a minute. Try again in {window.reset} s.",
            window.reset,
            window.headers(),
        )
    return window


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def client_address(request: HttpRequest) -> str:
    """The address that the outermost trusted proxy saw, or the peer's where there is none (TRUSTED_PROXY_COUNT).

    What stands further left in X-Forwarded-For is whatever the client wrote there.
    """
    if settings.TRUSTED_PROXY_COUNT:
        hops = request.headers.get("X-Forwarded-For", "").split(",")
        hop = hops[-settings.TRUSTED_PROXY_COUNT :][0].strip()
        if is_address(hop):
            return hop
    return request.META.get("REMOTE_ADDR") or "127.0.0.1"


def spend_address(request: HttpRequest, group: str, rate: str) -> None:
    """Count this request against its address. Raises TooMany, and redis.exceptions.RedisError when Redis is down."""
    usage = get_usage(request, group=group, key="ip", rate=rate, increment=True)
    if usage and usage["should_limit"]:
        # A window of django-ratelimit's holds its last second too.
        retry_after = max(1, usage["time_left"] + 1)
        raise TooMany(f"Too many requests from your address. Try again in {retry_after} s.", retry_after)
