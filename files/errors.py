"""Every refusal, in the shape its reader expects: JSON for the API, a sentence for HTMX, a page for a person.

Views raise; nothing here is caught twice. A dependency that is down is a 503 that names it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from http import HTTPStatus

import limits.errors
import redis.exceptions
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from kombu.exceptions import OperationalError as BrokerError
from pymongo.errors import PyMongoError

from . import storage, uploads
from .forms import Invalid
from .limits import TooMany

logger = logging.getLogger(__name__)

RETRY_AFTER = 5  # seconds; what a dependency that restarts needs

DEPENDENCIES: list[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = [
    (PyMongoError, "MongoDB"),
    (storage.Error, "The bucket"),
    ((limits.errors.StorageError, redis.exceptions.RedisError, BrokerError), "Redis"),
    ((DatabaseError, InterfaceError), "The database"),
]

STATUSES: list[tuple[type[Exception], int]] = [
    (uploads.NotFound, HTTPStatus.NOT_FOUND),
    (uploads.NotUploaded, HTTPStatus.CONFLICT),
    (uploads.AlreadyReady, HTTPStatus.CONFLICT),
    (uploads.Mismatch, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TooMany, HTTPStatus.TOO_MANY_REQUESTS),
]


class SignedOut(Exception):
    code = "signed_out"

    def __init__(self) -> None:
        super().__init__("You are signed out. Sign in, then try again.")


def refusal(request: HttpRequest, error: BaseException) -> HttpResponse | None:
    """The answer to an exception; None for one that is not a refusal but a bug."""
    if isinstance(error, Invalid):
        return answer(request, error.status, error.code, str(error), fields=error.fields)
    if isinstance(error, SignedOut):
        return answer(request, HTTPStatus.UNAUTHORIZED, error.code, str(error))
    if isinstance(error, RequestDataTooBig):
        return answer(request, HTTPStatus.BAD_REQUEST, "too_much_data", "The request is too large to be one of ours.")
    if isinstance(error, (BadRequest, SuspiciousOperation)):
        return answer(
            request, HTTPStatus.BAD_REQUEST, "bad_request", "The request is malformed. Reload the page and try again."
        )
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return answer(request, status, error.code, str(error), headers=getattr(error, "headers", None))  # type: ignore[attr-defined]
    for down, name in DEPENDENCIES:
        if isinstance(error, down):
            logger.error("%s is down: %s", name, error)
            sentence = f"{name} does not answer. Nothing is lost; try again in a few seconds."
            return answer(
                request,
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                sentence,
                headers={"Retry-After": str(RETRY_AFTER)},
            )
    return None


def answer(
    request: HttpRequest,
    status: int,
    code: str,
    sentence: str,
    *,
    fields: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    if request.path.startswith("/api/"):
        body: dict[str, object] = {"error": sentence, "code": code}
        if fields:
            body["fields"] = fields
        response: HttpResponse = JsonResponse(body, status=status)
    elif request.headers.get("HX-Request"):
        # static/upload.js puts the sentence where the person looks.
        response = HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")
    else:
        # Without a request, so that no context processor asks for the session: its database may be what is down.
        response = render(None, "error.html", {"status": HTTPStatus(status), "sentence": sentence}, status=status)  # type: ignore[arg-type]
    for name, value in {"Cache-Control": "no-store", **(headers or {})}.items():
        response.headers[name] = value
    return response


class RefusalMiddleware:
    """Answers what a view raises."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return refusal(request, error)


# --- what Django itself refuses (uploadkit/urls.py and settings.py name these) ---------------------------------------


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return answer(
        request, HTTPStatus.FORBIDDEN, "csrf", "The page is out of date or its cookie is missing. Reload it and try again."
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return refusal(request, exception) or answer(request, 400, "bad_request", "The request is malformed.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, HTTPStatus.FORBIDDEN, "forbidden", "Your account is not allowed to do this.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, HTTPStatus.NOT_FOUND, "not_found", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    """What a middleware raised reaches no process_exception: a session that could not be saved ends here."""
    error = sys.exc_info()[1]
    known = refusal(request, error) if error else None
    return known or answer(
        request, 500, "bug", "This is our mistake, and it is in the log. Try again, or tell whoever runs this."
    )
