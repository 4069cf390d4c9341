"""Every refusal, in the shape its reader expects: JSON for the API, a sentence for HTMX, a page for a person.

Views raise, and `files.middleware` brings it here. A dependency that is down is a 503 that names it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from http import HTTPStatus

import redis.exceptions
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from mongoengine.errors import OperationError
from pymongo.errors import OperationFailure, PyMongoError, WriteConcernError

from . import documents, metrics, scanner, storage
from .refusals import Refusal

logger = logging.getLogger(__name__)

RETRY_AFTER = 5  # seconds; what a dependency that restarts needs

DEPENDENCIES: list[tuple[type[BaseException] | tuple[type[BaseException], ...], str]] = [
    (documents.Error, gettext_noop("MongoDB")),
    (storage.Error, gettext_noop("The bucket")),
    (redis.exceptions.RedisError, gettext_noop("Redis")),
    ((OperationalError, InterfaceError), gettext_noop("The database")),
    (scanner.Unavailable, gettext_noop("The virus scanner")),
]

HEADINGS = {
    HTTPStatus.BAD_REQUEST: gettext_noop("Bad Request"),
    HTTPStatus.FORBIDDEN: gettext_noop("Forbidden"),
    HTTPStatus.NOT_FOUND: gettext_noop("Not Found"),
    HTTPStatus.CONFLICT: gettext_noop("Conflict"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: gettext_noop("Too Large"),
    HTTPStatus.UNPROCESSABLE_ENTITY: gettext_noop("Unprocessable Entity"),
    HTTPStatus.TOO_MANY_REQUESTS: gettext_noop("Too Many Requests"),
    HTTPStatus.INTERNAL_SERVER_ERROR: gettext_noop("Internal Server Error"),
    HTTPStatus.SERVICE_UNAVAILABLE: gettext_noop("Service Unavailable"),
}


class SignedOut(Refusal):
    code = "signed_out"
    status = HTTPStatus.UNAUTHORIZED

    def __init__(self) -> None:
        super().__init__(_("You are signed out. Sign in, then try again."))


def refusal(request: HttpRequest, error: BaseException) -> HttpResponse | None:
    """The answer to an exception; None for one that is not a refusal but a bug."""
    if isinstance(error, Refusal):
        more = {
            name: value for name, value in (("fields", error.fields), ("reason", error.reason), ("left", error.left)) if value
        }
        return answer(request, error.status, error.code, str(error), more=more, headers=error.headers)
    if isinstance(error, (BadRequest, SuspiciousOperation, UnreadablePostError)):
        sentence = _("The request is malformed or too large. Reload the page and try again.")
        return answer(request, HTTPStatus.BAD_REQUEST, "bad_request", sentence)
    name = dependency(error)
    return unavailable(request, name, error) if name else None


def dependency(error: BaseException) -> str | None:
    """What is down, by the exception it left."""
    error = _of_mongodb(error) or error
    return next((name for down, name in DEPENDENCIES if isinstance(error, down)), None)


def _of_mongodb(error: BaseException) -> PyMongoError | None:
    """What MongoDB's own driver said: the admin reads through Django's database layer, and MongoEngine wraps as well."""
    inner = error.__context__ if isinstance(error, (DatabaseError, OperationError)) else error
    return inner if isinstance(inner, PyMongoError) else None


def _refused(error: BaseException) -> bool:
    """Whether it answered by a no. That time ran out, or what was written is not safe yet, is none."""
    status, _code = storage.refusal(error)
    mongo = _of_mongodb(error)
    failed = isinstance(mongo, OperationFailure) and not isinstance(mongo, WriteConcernError) and not mongo.timeout
    return failed or 0 < status < HTTPStatus.INTERNAL_SERVER_ERROR


def unavailable(request: HttpRequest, name: str, error: BaseException) -> HttpResponse:
    refused = _refused(error)
    logger.error("%s %s: %s", name, "refused" if refused else "does not answer", error, exc_info=error)
    metrics.count(metrics.UNAVAILABLE, name)
    if refused:
        sentence = _("%(server)s refused this. Nothing is lost; try again in a few seconds, or tell whoever runs this site.")
    else:
        sentence = _("%(server)s does not answer. Nothing is lost; try again in a few seconds.")
    sentence %= {"server": _(name)}
    headers = {"Retry-After": str(RETRY_AFTER)}
    return answer(request, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", sentence, headers=headers)


def answer(
    request: HttpRequest,
    status: int,
    code: str,
    sentence: str,
    *,
    more: Mapping[str, object] = {},
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """`more` is for programs alone."""
    metrics.count(metrics.REFUSALS, code)
    if request.path.startswith("/api/"):
        response: HttpResponse = JsonResponse({"error": sentence, "code": code, **more}, status=status)
    elif request.headers.get("HX-Request"):
        # static/files.js puts the sentence where the person looks; the code tells it what another try cannot help.
        response = HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8")
        response.headers["X-Code"] = code
    else:
        # Without a request, so that no context processor asks for the session: its database may be what is down.
        response = render(None, "error.html", {"heading": heading(status), "sentence": sentence}, status=status)
    for name, value in {"Cache-Control": "no-store", **(headers or {})}.items():
        response.headers[name] = value
    return response


def heading(status: int) -> str:
    """What a page that refuses has above its sentence."""
    known = HTTPStatus(status)
    return _(HEADINGS.get(known, known.phrase))


# --- what Django itself refuses (uploadkit/urls.py and settings.py name these) ---------------------------------------


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return answer(
        request, HTTPStatus.FORBIDDEN, "csrf", _("The page is out of date or its cookie is missing. Reload it and try again.")
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return refusal(request, exception) or answer(request, 400, "bad_request", _("The request is malformed."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, HTTPStatus.FORBIDDEN, "forbidden", _("Your account is not allowed to do this."))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, HTTPStatus.NOT_FOUND, "not_found", _("There is nothing at this address."))


def server_error(request: HttpRequest) -> HttpResponse:
    """What a middleware raised reaches no process_exception: a session that could not be saved ends here."""
    error = sys.exc_info()[1]
    known = refusal(request, error) if error else None
    return known or answer(
        request, 500, "bug", _("This is our mistake, and it is in the log. Try again, or tell whoever runs this.")
    )
