"""How often somebody may ask: signings of a user, anonymous requests of an address, and passwords of a link."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django_ratelimit.core import get_usage
from redis.exceptions import RedisError

from . import policies, redis_client
from .refusals import Refusal
from .trail import now

if TYPE_CHECKING:
    from redis.commands.core import Script  # which has to be read after redis itself

WINDOW = 60  # seconds
DAY = 24 * 60 * 60

REFUSALS_KEPT = 40 * DAY
REFUSED_OWNERS = 1_000  # of a day; with more, the one who was refused the least is forgotten
REFUSED_SHOWN = 10
ALL = ""  # is nobody's id

# Passwords of links, in django-ratelimit's notation: from one address, and for one link wherever they come from.
PASSWORDS_OF_ADDRESS, PASSWORDS_OF_LINK = "10/m", "60/h"

# One round trip to ask, to count and to say where the user stands, by Redis's own clock, which all web processes share.
# A sorted set has the times of the signings that count, in microseconds. One that is a whole window old to the microsecond
# counts still: "never more in any 60 s" holds for a window with both its ends.
# What is refused is counted where there is a second key: another sorted set, by whom, and all together under ALL.
SPEND = """
local key, limit, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%.0f', now - window))
local spent = redis.call('ZCARD', key)
local passed, entry = spent < limit, ''
if passed then
    entry = string.format('%.0f-%d', now, spent)
    redis.call('ZADD', key, now, entry)
    redis.call('PEXPIRE', key, window / 1000 + 1000)
    spent = spent + 1
elseif KEYS[2] then
    redis.call('ZINCRBY', KEYS[2], 1, ARGV[4])
    redis.call('ZINCRBY', KEYS[2], 1, ARGV[3])
    redis.call('EXPIRE', KEYS[2], ARGV[5])
    if redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[6]) then
        redis.call('ZREMRANGEBYRANK', KEYS[2], 0, 0)
    end
end
local first = math.max(spent - limit, 0)
local leaves = redis.call('ZRANGE', key, first, first, 'WITHSCORES')[2]
return {passed and 1 or 0, math.max(limit - spent, 0), leaves + window - now, entry}
"""


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
def _spend() -> Script:
    return redis_client.connection().register_script(SPEND)


class Taken(NamedTuple):
    """Whether there was one, how many are left, in how many seconds the next is free, and by which name Redis has it.

    Rounded up: whoever waits exactly as long as we say must find the door open.
    """

    passed: bool
    remaining: int
    frees_up: int
    entry: bytes


def _take(key: str, limit: int, window: int, refused: str | None = None) -> Taken:
    """Take one of `limit` in any `window` seconds. `refused` is an owner whose refusal is to be counted."""
    keys, args = [key], [str(limit), str(window * 1_000_000)]
    if refused is not None:
        keys, args = [key, _refusals(now())], [*args, refused, ALL, str(REFUSALS_KEPT), str(REFUSED_OWNERS + 1)]
    passed, remaining, frees_up, entry = _spend()(keys=keys, args=args)
    return Taken(bool(passed), remaining, max(1, -(-frees_up // 1_000_000)), entry)


def spend_signing(owner_id: str) -> Window:
    """Take one signing from the user's window. Raises TooMany, and redis.exceptions.RedisError when Redis is down.

    A moving window: never more than the limit in any 60 s. A fixed one lets twice as many through across its boundary.
    """
    limit = settings.SIGNINGS_PER_MINUTE
    taken = _take(f"uploadkit:signings:{owner_id}", limit, WINDOW, refused=owner_id)
    window = Window(limit, taken.remaining, taken.frees_up)
    if not taken.passed:
        raise TooMany(
            ngettext(
                "You can start %(limit)d upload a minute. Try again in %(seconds)d s.",
                "You can start %(limit)d uploads a minute. Try again in %(seconds)d s.",
                limit,
            )
            % {"limit": limit, "seconds": window.reset},
            window.reset,
            window.headers(),
        )
    return window


@contextmanager
def spend_day(owner_id: str, policy: str) -> Iterator[None]:
    """Take one signing from those that the policy gives the user in any 24 hours, and give it back if what is done with it
    fails. Raises TooMany, as `spend_signing` does.
    """
    most = policies.policy_for(policy).max_files
    if most is None:
        yield
        return
    key = f"uploadkit:day:{policy}:{owner_id}"
    taken = _take(key, most, DAY)
    if not taken.passed:
        hours = -(-taken.frees_up // 3600)
        raise TooMany(
            ngettext(
                "%(most)d files a day are the most here. Try again in %(hours)d hour.",
                "%(most)d files a day are the most here. Try again in %(hours)d hours.",
                hours,
            )
            % {"most": most, "hours": hours},
            taken.frees_up,
        )
    try:
        yield
    except BaseException:
        with suppress(RedisError):
            redis_client.connection().zrem(key, taken.entry)
        raise


@dataclass(frozen=True, slots=True)
class Refusals:
    """The signings that were refused on a day (UTC), and those who were refused the most."""

    number: int
    owners: dict[str, int]


def _refusals(moment: datetime) -> str:
    return f"uploadkit:refused:{moment:%Y-%m-%d}"


def refusals(days: Iterable[datetime]) -> list[Refusals]:
    """Of each of these days, in one round trip. Raises redis.exceptions.RedisError when Redis is down."""
    asked = redis_client.connection().pipeline(transaction=False)
    for day in days:
        asked.zrange(_refusals(day), 0, REFUSED_SHOWN, desc=True, withscores=True)
    found = [{who.decode(): int(number) for who, number in one} for one in asked.execute()]
    return [Refusals(one.pop(ALL, 0), one) for one in found]


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
    if retry_after := _spend_one(request, group, "ip", rate):
        sentence = gettext("Too many requests from your address. Try again in %(seconds)d s.")
        raise TooMany(sentence % {"seconds": retry_after}, retry_after)


def spend_password(request: HttpRequest, token: str) -> None:
    """Count a password for a link against the address it comes from, then against the link, whether there is one or not.

    A right one counts too: to give it back afterwards would let through as many as are checked at one moment. Raises
    TooMany, and redis.exceptions.RedisError when Redis is down.
    """
    spend_address(request, "share-password", PASSWORDS_OF_ADDRESS)
    if retry_after := _spend_one(request, "share-password-of-link", lambda group, request: token, PASSWORDS_OF_LINK):
        minutes = -(-retry_after // 60)
        raise TooMany(
            ngettext(
                "Too many passwords were tried on this link. Try again in %(minutes)d minute.",
                "Too many passwords were tried on this link. Try again in %(minutes)d minutes.",
                minutes,
            )
            % {"minutes": minutes},
            retry_after,
        )


def _spend_one(request: HttpRequest, group: str, key: str | Callable[[str, HttpRequest], str], rate: str) -> int:
    """Count one; in how many seconds the next is free if there were too many already, else 0."""
    usage = get_usage(request, group=group, key=key, rate=rate, increment=True)
    # A window of django-ratelimit's holds its last second too.
    return max(1, usage["time_left"] + 1) if usage and usage["should_limit"] else 0
