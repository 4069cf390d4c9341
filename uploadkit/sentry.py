"""Errors go to Sentry where SENTRY_DSN is set. Imported only then: it takes 5 MB in each process.

Sent by a thread of its own, from a queue that drops what it cannot hold: with Sentry down no request is slower, and none fails.
"""

from __future__ import annotations

from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import ignore_logger

from files import trail

from .logs import without_links


def start() -> None:
    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        environment=settings.SENTRY_ENVIRONMENT,
        release=settings.SENTRY_RELEASE or None,
        integrations=[DjangoIntegration(middleware_spans=False, cache_spans=False), CeleryIntegration()],
        auto_enabling_integrations=False,
        # Nothing of persons; and variables and bodies have links, passwords and names of files in them.
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        trace_propagation_targets=[],  # the bucket and GitHub are told nothing of it
        before_send=before_send,
        before_breadcrumb=before_breadcrumb,
    )
    for name in ("uploadkit.access", "django.security.DisallowedHost"):  # what anybody can have us log, all day
        ignore_logger(name)


# Of a request's, those that help to find a fault; others have tokens and addresses.
HEADERS = {"Accept", "Accept-Language", "Content-Length", "Content-Type", "Host", "Hx-Request", "Referer", "User-Agent"}


def before_send(event: Any, hint: dict[str, Any]) -> Any:
    if request_id := trail.request_id.get():
        event.setdefault("tags", {})["request_id"] = request_id
    request = event.get("request", {})
    request.pop("query_string", None)  # names that somebody looks for, and what GitHub gives for a token
    if headers := request.get("headers"):
        request["headers"] = {name: value.partition("?")[0] for name, value in headers.items() if name in HEADERS}
    return scrubbed(event)


def before_breadcrumb(crumb: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any] | None:
    return scrubbed(crumb)  # type: ignore[no-any-return]


def scrubbed(value: Any) -> Any:
    """The same without what opens something, wherever it is quoted."""
    if isinstance(value, str):
        return without_links(value)
    if isinstance(value, dict):
        return {name: scrubbed(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrubbed(each) for each in value]
    return value
