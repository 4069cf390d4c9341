"""What the admin's list of files filters by, and how it counts and names millions of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from .documents import File, Status
from .models import StoredFile
from .policies import DEFAULT
from .uploads import now

COUNTED_AT_MOST = 10_000

KINDS = {"image/": "Images", "video/": "Video", "audio/": "Audio", "text/": "Text", "application/": "Documents and other"}
AGES = {
    "hour": ("Past hour", timedelta(hours=1)),
    "day": ("Past day", timedelta(days=1)),
    "week": ("Past 7 days", timedelta(days=7)),
    "month": ("Past 30 days", timedelta(days=30)),
}


class KindFilter(admin.SimpleListFilter):
    title = "type"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return KINDS.items()

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
        kind = self.value()
        return queryset.filter(content_type__startswith=kind) if kind in KINDS else queryset


class AgeFilter(admin.SimpleListFilter):
    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [*((age, name) for age, (name, _) in AGES.items()), ("overdue", "Pending for too long")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
        if self.value() == "overdue":
            return queryset.filter(status=Status.PENDING, created_at__lt=now() - settings.PENDING_MAX_AGE)
        if self.value() in AGES:
            return queryset.filter(created_at__gte=now() - AGES[self.value() or ""][1])
        return queryset


class OwnerFilter(admin.SimpleListFilter):
    """A field to type a username or an id into: there are too many owners to choose from."""

    title = "owner"
    parameter_name = "owner"
    template = "admin/files/storedfile/owner_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return ()

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
        if not self.value():
            return queryset
        named = User.objects.filter(username=self.value()).values_list("pk", flat=True)
        return queryset.filter(owner_id__in=[self.value(), *map(str, named)])

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """What else is filtered by, for the form to keep."""
        for name, values in changelist.filter_params.items():
            if name != self.parameter_name:
                yield from ({"name": name, "value": value} for value in values)


class PolicyFilter(admin.SimpleListFilter):
    title = "policy"
    parameter_name = "policy"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(name, name) for name in settings.UPLOAD_POLICIES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
        """Also by one that the settings have no more, where the address names it."""
        if not self.value():
            return queryset
        unsaid = Q(policy=None) if self.value() == DEFAULT else Q()  # files from before there were policies
        return queryset.filter(Q(policy=self.value()) | unsaid)


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic to mypy alone
    """Counts up to a bound when the list is filtered, and asks Mongo's own estimate when it is not."""

    @cached_property
    def count(self) -> int:
        files = self.object_list
        assert isinstance(files, QuerySet)
        if not files.query.where:
            estimate: int = File._get_collection().estimated_document_count()
            return estimate
        return len(files.order_by().values_list("pk")[:COUNTED_AT_MOST])


class FileList(ChangeList):
    """Knows its owners by name: one query a page, since the two databases cannot join."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        owners = users(file.owner_id for file in self.result_list)
        for file in self.result_list:
            file.owner = owners.get(file.owner_id)


def users(ids: Iterable[str]) -> dict[str, User]:
    """The users of these ids; without those who are gone."""
    found = User.objects.in_bulk({int(pk) for pk in ids if pk.isdecimal()})
    return {str(pk): user for pk, user in found.items()}
