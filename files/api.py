"""The JSON endpoints: each reads, calls `files.uploads` and answers. What they refuse is in `files.errors`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from http import HTTPStatus

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from . import checking, diagnosis, errors, limits, metrics, openapi, policies, uploads
from .documents import File, Status
from .forms import KeyForm, SignForm, checked, read_json

Endpoint = Callable[[HttpRequest, str], HttpResponse]


def endpoint(view: Endpoint) -> Callable[[HttpRequest], HttpResponse]:
    """A POST of a signed-in user. `view` gets the request and the owner id.

    Exempt from the middleware's CSRF check and protected within, so that a session that ended is told so (401) instead of
    being taken for a forgery (403).
    """

    @csrf_protect
    def protected(request: HttpRequest) -> HttpResponse:
        return view(request, str(request.user.pk))

    @csrf_exempt
    @wraps(view)
    def wrapper(request: HttpRequest) -> HttpResponse:
        # Before anything is refused: a server ends a connection on which a body was left unread, and with it the request that
        # a client has sent on it meanwhile.
        with suppress(RequestDataTooBig, UnreadablePostError):
            request.body  # noqa: B018
        if request.method != "POST":
            return wrong_method(request, _("Send this as a POST."), "POST")
        if not request.user.is_authenticated:
            raise errors.SignedOut
        return protected(request)

    return wrapper


def wrong_method(request: HttpRequest, sentence: str, allow: str) -> HttpResponse:
    headers = {"Allow": allow}
    return errors.answer(request, HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", sentence, headers=headers)


@endpoint
def sign(request: HttpRequest, owner_id: str) -> HttpResponse:
    window = limits.spend_signing(owner_id)
    wish = checked(SignForm(read_json(request)))
    with limits.spend_day(owner_id, wish["policy"]):
        signed = uploads.sign(
            owner_id,
            filename=wish["filename"],
            content_type=wish["contentType"],
            size=wish["size"],
            policy=wish["policy"],
            sha256=wish["sha256"],
        )
    metrics.count(metrics.SIGNINGS, wish["policy"])
    body = {
        "url": signed.put.url,
        "key": signed.key,
        "method": signed.put.method,
        "headers": signed.put.headers,
        "expiresAt": signed.expires_at.isoformat().replace("+00:00", "Z"),
    }
    return JsonResponse(body, headers={**window.headers(), "Cache-Control": "no-store"})


@endpoint
def confirm(request: HttpRequest, owner_id: str) -> HttpResponse:
    """200 for a file that is READY, 202 for one that has checks to pass."""
    file = checking.confirm(owner_id, checked(KeyForm(read_json(request)))["key"])
    status = HTTPStatus.ACCEPTED if file.status == Status.CHECKING else HTTPStatus.OK
    return JsonResponse({"ok": True, "file": describe(file)}, status=status)


@endpoint
def cancel(request: HttpRequest, owner_id: str) -> HttpResponse:
    uploads.cancel(owner_id, checked(KeyForm(read_json(request)))["key"])
    return JsonResponse({"ok": True})


@endpoint
def diagnose(request: HttpRequest, owner_id: str) -> HttpResponse:
    key = checked(KeyForm(read_json(request)))["key"]
    # Not the header Origin, which a client that is no browser leaves out.
    found = diagnosis.diagnose(owner_id, key, f"{request.scheme}://{request.get_host()}")
    return JsonResponse({"cause": found.cause, "message": found.message})


@csrf_exempt
def document(request: HttpRequest) -> HttpResponse:
    """What this API is, for everybody. The same for all, so that caches may keep it."""
    if request.method not in ("GET", "HEAD"):
        return wrong_method(request, _("Ask for this with a GET."), "GET, HEAD")
    with translation.override("en"):
        described = openapi.document()
    return JsonResponse(described, headers={"Cache-Control": "public, max-age=3600"})


def describe(file: File) -> dict[str, object]:
    return {
        "key": file.key,
        "name": file.name,
        "contentType": file.content_type,
        "size": file.size,
        "status": file.status,
        "policy": file.policy or policies.DEFAULT,
        "sha256": file.sha256,
        "readyAt": file.ready_at.isoformat().replace("+00:00", "Z") if file.ready_at and file.status == Status.READY else None,
    }
