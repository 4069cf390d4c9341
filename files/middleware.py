"""Around every view: what it raised is answered, and who has no session is counted."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from redis.exceptions import RedisError

from . import elections, limits, trail
from .errors import refusal

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# These know no session, and need no database for one: whoever has one is counted as well.
FOR_EVERYBODY = ("landing", "files:openapi", "files:shared", "files:shared_download")


class RequestIdMiddleware:
    """Gives each request an id, or takes that of a proxy which is trusted: it is in the answer, and in the events of files."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "") if settings.TRUSTED_PROXY_COUNT else ""
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        request.META[trail.REQUEST] = request_id  # Django logs what was refused when we are done
        with trail.caused_by(request_id):
            response = self.get_response(request)
        response.headers["X-Request-ID"] = request_id
        return response


class RefusalMiddleware:
    """Answers what a view raises, before long."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with elections.primary.patience():
            return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return refusal(request, error)


class AddressLimitMiddleware:
    """Bound what an address can ask without a session, and how often it can try to sign in.

    With Redis down the doors stay open, so that pages which do not need Redis go on working; all but the one that
    takes a password, since nothing else stands between it and a guesser.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        match = request.resolver_match
        assert match is not None, "Django resolves before it asks for views"
        try:
            if match.route.startswith("accounts/") or match.view_name == "admin:login":
                limits.spend_address(request, "sign-in", settings.SIGN_IN_RATE)
            elif match.view_name in FOR_EVERYBODY or is_anonymous(request):
                limits.spend_address(request, "anonymous", settings.ADDRESS_RATE)
        except (limits.TooMany, DatabaseError) as error:
            return refusal(request, error)
        except RedisError as error:
            logger.warning("Redis does not answer, so addresses are not limited: %s", error)
            if match.view_name == "admin:login" and request.method == "POST":
                return refusal(request, error)
        return None


def is_anonymous(request: HttpRequest) -> bool:
    """Whether there is no session. A made-up cookie is none either."""
    return settings.SESSION_COOKIE_NAME not in request.COOKIES or not request.user.is_authenticated
