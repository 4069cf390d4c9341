"""One owner in the admin: what they have, what they may have, and what happened lately."""

from __future__ import annotations

from typing import Any, Self

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, re_path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_GET, require_POST
from pymongo import DESCENDING

from . import quotas, usage
from .admin_list import AtLeast
from .admin_pages import log_act, page, users
from .documents import File, Past, Status
from .trail import Event

RECENT = 20  # files, and as many that are gone
EVENTS = 30
COUNTED_AT_MOST = 1_000  # files of a status; those that are ready are counted for their kinds already

MEGABYTE = 1024 * 1024  # as Django's filesizeformat has it


class QuotaForm(forms.Form):
    """What an owner may have; what is left empty is as the settings say."""

    max_files = forms.IntegerField(label="Files", min_value=0, max_value=quotas.ENDLESS, required=False)
    max_megabytes = forms.FloatField(label="Megabytes", min_value=0, max_value=quotas.ENDLESS // MEGABYTE, required=False)

    @classmethod
    def of(cls, quota: quotas.Standing) -> Self:
        max_bytes = quota.own.bytes
        megabytes = None if max_bytes is None else round(max_bytes / MEGABYTE, 6)
        return cls(initial={"max_files": quota.own.files, "max_megabytes": megabytes})

    def limits(self) -> quotas.Limits:
        files, megabytes = self.cleaned_data["max_files"], self.cleaned_data["max_megabytes"]
        return quotas.Limits(files, None if megabytes is None else round(megabytes * MEGABYTE))


class OwnerAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic to mypy alone
    def get_urls(self) -> list[URLPattern]:
        guarded, owner = self.admin_site.admin_view, "^owner/(?P<owner_id>[0-9]{1,20})/"
        return [
            re_path(f"{owner}$", guarded(require_GET(self.owner_view)), name="files_storedfile_owner"),
            re_path(f"{owner}quota/$", guarded(require_POST(self.quota_view)), name="files_storedfile_quota"),
            *super().get_urls(),
        ]

    def has_quota_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("files.quota_storedfile")

    def quota_view(self, request: HttpRequest, owner_id: str) -> HttpResponse:
        if not (self.has_view_permission(request) and self.has_quota_permission(request)):
            raise PermissionDenied
        if not is_somebody(owner_id):
            raise Http404
        form = QuotaForm(request.POST)
        if not form.is_valid():
            return self.owner_view(request, owner_id, form)
        own = form.limits()
        said = f"Quota: {allowed(quotas.in_force(own))}."
        name = str(users([owner_id]).get(owner_id) or f"Owner {owner_id}")
        log_act(request, name, said, model=User, object_id=owner_id)
        quotas.set_limits(owner_id, max_files=own.files, max_bytes=own.bytes)
        self.message_user(request, said, messages.SUCCESS)
        return redirect("admin:files_storedfile_owner", owner_id)

    def owner_view(self, request: HttpRequest, owner_id: str, form: QuotaForm | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        user, files, gone = users([owner_id]).get(owner_id), recent(owner_id), recently_gone(owner_id)
        if not (user or files or gone):
            raise Http404
        events, used = events_of(files + gone), usage.usage_of(owner_id)
        quota = quotas.standing_of(owner_id)
        known = users(event.who.rpartition(":")[2] for _file, event in events)
        return page(
            self,
            request,
            "owner",
            title=str(user or f"Owner {owner_id}"),
            owner_id=owner_id,
            owner=user,
            may_see_users=request.user.has_perm("auth.view_user"),
            quota=quota,
            form=(form or QuotaForm.of(quota)) if self.has_quota_permission(request) else None,
            used=used,
            statuses=statuses(owner_id, used),
            files=files,
            events=[(file, event, known.get(event.who.rpartition(":")[2])) for file, event in events],
        )


def is_somebody(owner_id: str) -> bool:
    return bool(users([owner_id]) or recent(owner_id) or recently_gone(owner_id))


def allowed(limits: quotas.Limits) -> str:
    files = "any number of files" if limits.files is None else f"{limits.files:,} files"
    size = "any size" if limits.bytes is None else filesizeformat(limits.bytes)
    return f"{files} of {size} in all"


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


def statuses(owner_id: str, used: usage.Usage | None) -> list[tuple[str, int]]:
    """How many files have each status, up to a bound; those that are READY as `used` has them."""

    def count(status: Status) -> int:
        if used and status is Status.READY:
            return used.files
        wanted = {"owner_id": owner_id, "status": status}
        found: int = File._get_collection().count_documents(wanted, limit=COUNTED_AT_MOST, hint=BY_OWNER)
        return AtLeast(found) if found == COUNTED_AT_MOST else found

    return [(status.value, count(status)) for status in Status]


BY_OWNER = {"owner_id": 1, "status": 1, "created_at": -1, "_id": -1}
