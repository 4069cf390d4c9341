"""What the pages of our own in the admin have in common: their frame, the names of people, and the history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from .models import StoredFile

LONGEST = 20  # digits of an owner's id, as in the model


def page(model_admin: Any, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """One of our own in the admin."""
    request.current_app = model_admin.admin_site.name
    known = {**model_admin.admin_site.each_context(request), "opts": model_admin.opts, **context}
    return TemplateResponse(request, f"admin/files/storedfile/{template}.html", known)


def users(ids: Iterable[str]) -> dict[str, User]:
    """The users of these ids; without those who are gone."""
    found = User.objects.in_bulk({int(pk) for pk in ids if pk.isdecimal() and len(pk) < LONGEST - 1})
    return {str(pk): user for pk, user in found.items()}


def log_act(
    request: HttpRequest, what: str, said: str, *, model: type[Model] = StoredFile, object_id: str | None = None
) -> LogEntry:
    """Write what is about to be done into the admin's history: to one object, or to no file in particular.

    Before it is done: an entry of what then failed does no harm, and an act without an entry would.
    """
    return LogEntry.objects.create(
        user=request.user,  # type: ignore[misc]  # admin_view let only users in
        content_type_id=get_content_type_for_model(model).pk,
        object_id=object_id,
        object_repr=what,
        action_flag=CHANGE,
        change_message=said,
    )


def log_result(entry: LogEntry, said: str) -> None:
    entry.change_message = said
    entry.save(update_fields=["change_message"])
