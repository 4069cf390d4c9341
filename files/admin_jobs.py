"""Acts on many files in the admin: chosen on the list, looked at and started on a page, and watched there."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET, require_POST

from . import jobs
from .admin_list import in_words, query_of
from .admin_pages import page, users
from .jobs import Action, Job, State
from .models import StoredFile

LISTED = 50
# More are in the job's own entry alone.
EACH_IN_THE_HISTORY = 100
PERMISSIONS = {Action.DELETE: "delete", Action.CHECK_AGAIN: "recheck", Action.EXPIRE: "expire"}
# htmx takes it for the end of polling.
STOP_POLLING = 286


class JobsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic to mypy alone
    actions = ("delete_selected", "check_again", "expire_now")

    def has_recheck_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("files.recheck_storedfile")

    def has_expire_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("files.expire_storedfile")

    # --- chosen on the list ---

    # Named as the one of Django's, whose place it takes.
    @admin.action(permissions=["delete"], description="Delete")
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> HttpResponse:
        return self.ask(request, queryset, Action.DELETE)

    @admin.action(permissions=["recheck"], description="Check again")
    def check_again(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> HttpResponse:
        return self.ask(request, queryset, Action.CHECK_AGAIN)

    @admin.action(permissions=["expire"], description="Expire now")
    def expire_now(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> HttpResponse:
        return self.ask(request, queryset, Action.EXPIRE)

    def ask(self, request: HttpRequest, queryset: QuerySet[StoredFile], action: Action) -> HttpResponse:
        who, listed = str(request.user.pk), request.GET.urlencode()
        if request.POST.get("select_across") == "1":
            job = jobs.ask(action, who, query=query_of(queryset), chosen=in_words(request), listed=listed)
        else:
            keys = list(dict.fromkeys(request.POST.getlist(ACTION_CHECKBOX_NAME)))
            job = jobs.ask(action, who, keys=keys, chosen=f"{len(keys):,} selected", listed=listed)
        return redirect("admin:files_storedfile_job", job.key)

    # --- its page ---

    def get_urls(self) -> list[URLPattern]:
        def view(function: Any) -> Any:
            return self.admin_site.admin_view(function)

        return [
            path("jobs/", view(require_GET(self.jobs_view)), name="files_storedfile_jobs"),
            path("jobs/<slug:key>/", view(require_GET(self.job_view)), name="files_storedfile_job"),
            path("jobs/<slug:key>/start/", view(require_POST(self.start_view)), name="files_storedfile_job_start"),
            path("jobs/<slug:key>/cancel/", view(require_POST(self.cancel_view)), name="files_storedfile_job_cancel"),
            *super().get_urls(),
        ]

    def jobs_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = Job.recent(LISTED)
        known = users(job.who for job in found)
        rows = [(job, known.get(job.who)) for job in found]
        return page(self, request, "jobs", title="Jobs", rows=rows, most=LISTED)

    def job_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """What will be done, asking; or how far it is."""
        job = self._fetch(request, key)
        if job.state == State.ASKED:
            return page(self, request, "job_asked", title=f"{job.action.capitalize()}?", job=job, found=jobs.summary(job))
        known = {"job": job, "may": self._may(request, job)}
        if request.headers.get("HX-Request"):
            status = STOP_POLLING if job.ended else HTTPStatus.OK
            return TemplateResponse(request, "admin/files/storedfile/_job.html", known, status=status)
        title = f"{job.action.capitalize()}: {job.chosen}"
        return page(self, request, "job", title=title, asker=users([job.who]).get(job.who), **known)

    def start_view(self, request: HttpRequest, key: str) -> HttpResponse:
        job = self._fetch(request, key)
        if not self._may(request, job) or job.who != str(request.user.pk):
            raise PermissionDenied
        if job.state == State.ASKED:
            self._write_history(request, job)
            jobs.start(job)
        return redirect("admin:files_storedfile_job", job.key)

    def cancel_view(self, request: HttpRequest, key: str) -> HttpResponse:
        job = self._fetch(request, key)
        if not self._may(request, job):
            raise PermissionDenied
        if job.state in jobs.LIVING:
            jobs.in_history(job, "Asked to cancel", who=str(request.user.pk))
        if jobs.cancel(job) is None:
            messages.warning(request, "It had ended before.")
        if job.state == State.ASKED:
            messages.info(request, "Nothing was done.")
            return redirect(f"{reverse('admin:files_storedfile_changelist')}?{job.listed}")
        return redirect("admin:files_storedfile_job", job.key)

    def _fetch(self, request: HttpRequest, key: str) -> Job:
        if not self.has_view_permission(request):
            raise PermissionDenied
        job = Job.find(key)
        if job is None:
            raise Http404
        return job

    def _may(self, request: HttpRequest, job: Job) -> bool:
        return request.user.has_perm(f"files.{PERMISSIONS[Action(job.action)]}_storedfile")

    def _write_history(self, request: HttpRequest, job: Job) -> None:
        """Before the job is started, which can be tried again: all of the entries, or none."""
        some = list(job.keys) if len(job.keys) <= EACH_IN_THE_HISTORY else []
        files = list(StoredFile.objects.filter(pk__in=some, status__in=job.act.takes))
        with transaction.atomic():
            if jobs.in_history(job, "Asked to start"):
                for file in files:
                    self.log_change(request, file, f"Asked to {job.action}, by job {job.key}.")
