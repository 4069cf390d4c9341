"""How a line of the log is written, and what it says beside its message: which request, user, view and task it belongs to."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import celery
from django.http import HttpRequest
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from files import trail

# Whoever reads one of these has what it opens: a link, wherever it is quoted, and a URL that is signed for a minute. In JSON a
# backslash ends one, and a brace begins a pattern of addresses.
OPENS = re.compile(r"(/s/|%2[Ff]s%2[Ff]|X-Amz-(?:Signature|Credential|Security-Token)(?:=|%3D))[^\s/?&\"'\\%{]+")
BEGINNINGS = ("/s/", "%2", "X-Amz-")  # quickly looked for, since most lines have none
NOWHERE = "none"  # the view of an address that leads to none

_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)


def without_links(text: str) -> str:
    return OPENS.sub(r"\1…", text) if any(beginning in text for beginning in BEGINNINGS) else text


@contextmanager
def about(request: HttpRequest) -> Iterator[None]:
    """What is logged here belongs to that request."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def view_of(request: HttpRequest) -> str:
    """The name of its view, of which there are only so many."""
    match = request.resolver_match
    return match.view_name if match else NOWHERE


def context(record: logging.LogRecord) -> dict[str, object]:
    """What is known of where this was logged. Nothing is asked for it: a user is named if somebody has looked."""
    found: dict[str, object] = {"request_id": trail.request_id.get()}
    request = getattr(record, "request", None) or _request.get()
    if isinstance(request, HttpRequest):
        user = getattr(request, "_cached_user", None)
        found = {"request_id": request.META.get(trail.REQUEST), "view": view_of(request), "user": user and user.pk}
    elif task := celery.current_task:
        found |= {"task": task.name, "task_id": task.request.id}
    return {name: value for name, value in found.items() if value is not None}


class Line(logging.Formatter):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        request = context(record).get("request_id")
        return without_links(super().format(record) + (f" (request {request})" if request else ""))


class Json(JsonFormatter):
    """For programs: an object on one line. Django adds the whole request to some, and Celery the arguments of its tasks."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            reserved_attrs=[*RESERVED_ATTRS, "request", "data"],
            timestamp="time",
            json_ensure_ascii=False,
        )

    def add_fields(self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]) -> None:
        super().add_fields(log_data, record, message_dict)
        for name, value in context(record).items():
            log_data.setdefault(name, value)

    def format(self, record: logging.LogRecord) -> str:
        return without_links(super().format(record))
