"""The admin's index has the dashboard, for those who may see it."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest
from django.template.response import TemplateResponse


class OperationsSite(AdminSite):
    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from . import dashboard  # which knows the models, that Django has not read yet when it makes this site

        shown = dashboard.read() if request.user.has_perm("files.dashboard_storedfile") else None
        return super().index(request, {"dashboard": shown, **(extra_context or {})})


class OperationsConfig(AdminConfig):
    default_site = "files.admin_site.OperationsSite"
