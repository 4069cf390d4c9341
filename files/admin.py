"""Files in the Django admin: read through `files.models`, changed through `files.uploads` alone."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.options import ShowFacets
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods, require_POST

from . import doctor, documents, runs, storage, sweeps, uploads
from .admin_jobs import JobsAdmin
from .admin_list import (
    AgeFilter,
    BoundedPaginator,
    DateFilter,
    FileList,
    KindFilter,
    OwnerFilter,
    PolicyFilter,
    SizeFilter,
    searched,
)
from .admin_owner import OwnerAdmin, owner_link
from .admin_pages import log_act, log_result, page, users
from .documents import Status
from .models import StoredFile
from .probes import promises
from .trail import MOST, OPS

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@admin.register(StoredFile)
class StoredFileAdmin(JobsAdmin, OwnerAdmin):
    """Nothing is added or edited here: a document is what an upload was."""

    list_display = ("name", "owner_link", "status", "human_size", "created_at", "content_type")
    list_filter = (OwnerFilter, "status", KindFilter, SizeFilter, AgeFilter, DateFilter, PolicyFilter)
    lookups = {"status__exact", *(by.parameter_name for by in list_filter if not isinstance(by, str))}
    list_per_page = 50
    list_max_show_all = 200
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # they count all files, for each choice of each filter
    paginator = BoundedPaginator
    ordering = ("-created_at",)
    search_fields = ("name", "key", "owner_id")
    search_help_text = "The beginning of a key (u/12/…) or an owner's id, which is fast; or a part of a name or key"
    fields = readonly_fields = (
        *("name", "owner_link", "key", "policy", "content_type", "detected", "kind", "human_size", "sha256", "etag"),
        *("status", "created_at", "ready_at", "expires_at", "trashed_at"),
        *("checks", "step", "attempts", "check_at", "reason", "rejected_at", "dismissed", "cleaned", "thumbnail"),
        *("in_the_bucket", "download", "history"),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: StoredFile | None = None) -> bool:
        return False

    def has_cleanup_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("files.cleanup_storedfile")

    def has_doctor_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("files.doctor_storedfile")

    # --- the list and the detail page ---

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[FileList]:
        return FileList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StoredFile], search_term: str
    ) -> tuple[QuerySet[StoredFile], bool]:
        return searched(queryset, search_term), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """What the filters link to. Django would let through any field with any value: numbers that BSON has no room for, and
        patterns that MongoDB refuses, which looks as if it were down.
        """
        return lookup in self.lookups

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may = {"may_clean_up": self.has_cleanup_permission(request), "may_examine": self.has_doctor_permission(request)}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    @admin.display(description="owner", ordering="owner_id")
    def owner_link(self, file: StoredFile) -> str:
        known = file.owner if hasattr(file, "owner") else users([file.owner_id]).get(file.owner_id)
        return owner_link(file.owner_id, known)

    @admin.display(description="size", ordering="size")
    def human_size(self, file: StoredFile) -> str:
        return filesizeformat(file.size)

    @admin.display(description="in the bucket")
    def in_the_bucket(self, file: StoredFile) -> str:
        """The object's HEAD beside the document. That the bucket is down must not take the page with it."""
        try:
            found = storage.head(file.object_key)
        except storage.Error as error:
            return f"The bucket does not answer: {error}"
        if found is None:
            return "There is no object under this key."
        good = "as cleaned" if file.cleaned else "as signed"
        verdict = good if uploads.as_signed(file, found) else "NOT what was signed"
        return f"{found.size:,} bytes of {found.content_type or 'no type'}, ETag {found.etag}: {verdict}"

    @admin.display(description="download")
    def download(self, file: StoredFile) -> str:
        if file.status != Status.READY:
            return "Only ready files can be downloaded."
        link = reverse("admin:files_storedfile_download", args=[file.key])
        return format_html('<a href="{}">Download</a>, by a link that is good for a minute. The history will say so.', link)

    @admin.display(description="what happened")
    def history(self, file: StoredFile) -> str:
        past = documents.history(file.key)
        events = past.events if past else []
        known = users(event.who.removeprefix(OPS) for event in events)
        return render_to_string(
            "admin/files/storedfile/trail.html",
            {"events": [(event, actor(event.who, known)) for event in events], "cut": MOST if len(events) == MOST else None},
        )

    # --- one file is deleted at once, through the lifecycle; several are by a job ---

    def delete_model(self, request: HttpRequest, obj: StoredFile) -> None:
        if sweeps.delete_many([obj.key], who=f"{OPS}{request.user.pk}"):
            said = "Not yet gone from the bucket. Its owner sees it no more, and the next sweep tries again."
            self.message_user(request, said, messages.WARNING)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Django would look for what refers to the file, in the other database."""
        shown = [f"{file.name} ({file.key})" for file in objs]
        return shown, {"files": len(shown)}, set(), []

    # --- pages of our own, each with its permission ---

    def get_urls(self) -> list[URLPattern]:
        return [
            path("cleanup/", self.admin_site.admin_view(require_POST(self.cleanup_view)), name="files_storedfile_cleanup"),
            path("storage/", self.admin_site.admin_view(get_or_post(self.storage_view)), name="files_storedfile_storage"),
            path("<path:key>/download/", self.admin_site.admin_view(self.download_view), name="files_storedfile_download"),
            *super().get_urls(),
        ]

    def download_view(self, request: HttpRequest, key: str) -> HttpResponse:
        file = self.get_object(request, key)
        if not self.has_view_permission(request, file):
            raise PermissionDenied
        if file is None or file.status != Status.READY:
            raise Http404
        self.log_change(request, file, "Downloaded.")
        return redirect(uploads.download_url(file))

    def cleanup_view(self, request: HttpRequest) -> HttpResponse:
        """One batch of the sweep, while the person waits, up to two minutes where the bucket hardly answers; the beat does the
        rest.
        """
        if not self.has_cleanup_permission(request):
            raise PermissionDenied
        entry = log_act(request, "Clean up now", "Asked for.")
        swept = runs.recorded(runs.By.ADMIN, sweeps.sweep_once)
        said = f"Uploads given up: {swept.expired}. Documents removed, with their objects: {swept.removed}."
        if swept.refused:
            said += f" Refused by the bucket: {swept.refused}; the next sweep tries again."
        log_result(entry, said)
        self.message_user(request, said, messages.WARNING if swept.refused else messages.SUCCESS)
        return redirect("admin:files_storedfile_changelist")

    def storage_view(self, request: HttpRequest) -> HttpResponse:
        """Examine the bucket, while the person waits: as `doctor.examine` says. That it is down is a finding too."""
        if not self.has_doctor_permission(request):
            raise PermissionDenied
        report = None
        if request.method == "POST":
            entry = log_act(request, "Examine the bucket", "Asked for.")
            report = doctor.examine(patience=doctor.FOR_A_PAGE)
            log_result(entry, str(report))
        bucket, endpoint = settings.R2_BUCKET, settings.R2_ENDPOINT_URL
        known = {"bucket": bucket, "endpoint": endpoint, "promises": promises(), "report": report}
        return page(self, request, "storage", title="Is the bucket right?", **known)


def user_link(pk: str, user: User | None) -> str:
    if user is None:
        return f"{pk} (gone)"
    return format_html('<a href="{}">{}</a>', reverse("admin:auth_user_change", args=[user.pk]), user)


def actor(who: str, known: dict[str, User]) -> str:
    """Who did it: a person, by link, or a part of ours by its name."""
    pk = who.removeprefix(OPS)
    return user_link(pk, known.get(pk)) if pk.isdecimal() else who
