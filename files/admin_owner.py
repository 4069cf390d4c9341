"""One owner in the admin: what they have, what they may have, and what happened lately."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, re_path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_GET
from pymongo import DESCENDING

from . import quotas, usage
from .admin_list import COUNTED_AT_MOST, AtLeast, page, users
from .documents import File, Past, Status
from .trail import Event

RECENT = 20  # files, and as many that are gone
EVENTS = 30


class OwnerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic to mypy alone
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_GET(self.owner_view))
        return [re_path(r"^owner/(?P<owner_id>[0-9]{1,20})/$", view, name="files_storedfile_owner"), *super().get_urls()]

    def owner_view(self, request: HttpRequest, owner_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        user, files, gone = users([owner_id]).get(owner_id), recent(owner_id), recently_gone(owner_id)
        if not (user or files or gone):
            raise Http404
        events = events_of(files + gone)
        known = users(event.who.rpartition(":")[2] for _file, event in events)
        return page(
            self,
            request,
            "owner",
            title=str(user or f"Owner {owner_id}"),
            owner_id=owner_id,
            owner=user,
            may_see_users=request.user.has_perm("auth.view_user"),
            quota=quotas.of(owner_id),
            used=usage.of(owner_id),
            statuses=statuses(owner_id),
            files=files,
            events=[(file, event, known.get(event.who.rpartition(":")[2])) for file, event in events],
        )


def owner_link(owner_id: str, user: User | None) -> str:
    name = str(user) if user else f"{owner_id} (gone)"
    if not owner_id.isdecimal():
        return name
    return format_html('<a href="{}">{}</a>', reverse("admin:files_storedfile_owner", args=[owner_id]), name)


# --- each by an index, and bounded ------------------------------------------------------------------------------------------

SHOWN = dict.fromkeys(("owner_id", "name", "size", "status", "created_at", "trail"), True)


def recent(owner_id: str) -> list[dict[str, Any]]:
    """The owner's newest files."""
    wanted = {"owner_id": owner_id, "status": {"$in": list(Status)}}
    found = File._get_collection().find(wanted, SHOWN).sort({"created_at": DESCENDING, "_id": DESCENDING}).limit(RECENT)
    return [{"quoted": quote(raw["_id"]), **raw} for raw in found]


def recently_gone(owner_id: str) -> list[dict[str, Any]]:
    found = Past._get_collection().find({"owner_id": owner_id}).sort({"gone_at": DESCENDING}).limit(RECENT)
    return [{"key": raw["_id"], "gone": True, **raw} for raw in found]


def events_of(files: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Event]]:
    """The newest first."""
    found = [(file, Event.of(raw)) for file in files for raw in file.get("trail", [])]
    return sorted(found, key=lambda pair: pair[1].at, reverse=True)[:EVENTS]


def statuses(owner_id: str) -> list[tuple[str, int]]:
    """How many files have each status, up to a bound."""

    def count(status: Status) -> int:
        wanted = {"owner_id": owner_id, "status": status}
        found: int = File._get_collection().count_documents(wanted, limit=COUNTED_AT_MOST, hint=BY_OWNER)
        return AtLeast(found) if found == COUNTED_AT_MOST else found

    return [(status.value, count(status)) for status in Status]


BY_OWNER = {"owner_id": 1, "status": 1, "created_at": -1, "_id": -1}
