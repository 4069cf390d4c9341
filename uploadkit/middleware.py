"""What only pages need. The JSON endpoints go past it: they have no HTML, no messages and no static files."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from csp.constants import HEADER
from csp.utils import build_policy
from django.conf import settings
from django.contrib.messages.middleware import MessageMiddleware
from django.http import HttpRequest, HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.middleware.locale import LocaleMiddleware
from django.utils.deprecation import MiddlewareMixin
from django_htmx.middleware import HtmxMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware


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
