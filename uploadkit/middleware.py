"""Around every request: it is counted and logged. And what only pages need: the JSON endpoints, which have no HTML, no messages
and no static files, go past it.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from csp.constants import HEADER
from csp.utils import build_policy
from django.conf import settings
from django.contrib.messages.middleware import MessageMiddleware
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponseBase, HttpResponseForbidden
from django.middleware.gzip import GZipMiddleware
from django.middleware.locale import LocaleMiddleware
from django.utils.deprecation import MiddlewareMixin
from django_htmx.middleware import HtmxMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

from files import limits, metrics

from . import logs

access = logging.getLogger("uploadkit.access")


class Watched:
    """Counts and times each request; with ACCESS_LOG it is a line of the log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.logged = settings.ACCESS_LOG

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        start = time.perf_counter()
        with logs.about(request):
            response = self.get_response(request)
            seconds = time.perf_counter() - start
            metrics.answered(logs.view_of(request), request.method, response.status_code, seconds)
            if self.logged:
                log(request, response.status_code, seconds)
        return response


def log(request: HttpRequest, status: int, seconds: float) -> None:
    path = request.path if request.path.isprintable() else ascii(request.path)  # nobody writes lines of their own into the log
    said = {"method": request.method, "path": path, "status": status, "ms": round(seconds * 1000, 1)}
    access.info("%s %s %d", request.method, path, status, extra=said)


class ForPages:
    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith("/api/"):
            return self.get_response(request)  # type: ignore[attr-defined, no-any-return]
        return super().__call__(request)  # type: ignore[misc, no-any-return]


class ContentSecurityPolicy(ForPages, MiddlewareMixin):
    """The one policy of all pages, written once: django-csp's own middleware writes it anew for every answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self.policy = build_policy()

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        # Django's own pages of a traceback, on a laptop, have scripts in them.
        if not (settings.DEBUG and response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR)):
            response.headers.setdefault(HEADER, self.policy)
        return response


class Language(LocaleMiddleware):
    """By what the browser asks for. What caches may keep for everybody is in one language, and so does not vary by it."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        for_everybody = "public" in response.headers.get("Cache-Control", "")
        return response if for_everybody else super().process_response(request, response)


class Compressed(ForPages, GZipMiddleware):
    """Fifty rows are a tenth of their size. Django adds random bytes, so that their length tells nothing (BREACH)."""


class StaticFiles(ForPages, WhiteNoiseMiddleware):  # type: ignore[misc]  # no types
    pass


class Messages(ForPages, MessageMiddleware):
    pass


class Htmx(ForPages, HtmxMiddleware):
    pass


class NearAlone:
    """With DEBUG on, which shows settings and source, and lets anybody sign in: nobody is answered from the internet, wherever
    the process listens and whatever Host is named.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        if not settings.DEBUG:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if ipaddress.ip_address(limits.client_address(request)).is_global:
            return HttpResponseForbidden("This site runs with DEBUG, which is for a laptop.\n", content_type="text/plain")
        return self.get_response(request)
