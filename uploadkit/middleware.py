"""What only pages need. The JSON endpoints go past it: they have no HTML, no messages and no static files."""

from __future__ import annotations

from csp.middleware import CSPMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.http import HttpRequest, HttpResponseBase
from django_htmx.middleware import HtmxMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware


class ForPages:
    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith("/api/"):
            return self.get_response(request)  # type: ignore[attr-defined, no-any-return]
        return super().__call__(request)  # type: ignore[misc, no-any-return]


class ContentSecurityPolicy(ForPages, CSPMiddleware):
    pass


class StaticFiles(ForPages, WhiteNoiseMiddleware):  # type: ignore[misc]  # no types
    pass


class Messages(ForPages, MessageMiddleware):
    pass


class Htmx(ForPages, HtmxMiddleware):
    pass
