"""What the admin's list of files filters and searches by, and how it finds, counts and names some of ten million.

It asks MongoDB itself: what django_mongodb_backend makes of an order_by, `$addFields` and then `$sort`, is read from no index.
By an index are found: everything, newest first; an owner's files; those of a status or of a time; a beginning of a key. What
else is asked for is looked for among these, from the newest on, for LOOKS_FOR at the most.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.codec_options import CodecOptions
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.core.exceptions import EmptyResultSet
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import date
from django.utils.functional import cached_property
from pymongo import ASCENDING, DESCENDING
from pymongo.collection import Collection
from pymongo.errors import ExecutionTimeout

from .admin_pages import LONGEST, users
from .documents import File, Status
from .kinds import LABELS, Kind
from .models import StoredFile
from .policies import DEFAULT
from .uploads import now

COUNTED_AT_MOST = 10_000
COUNTS_FOR = 500  # milliseconds
LOOKS_FOR = 2_000  # milliseconds

MEGABYTE = 1024 * 1024
SIZES = {
    "-100k": ("Up to 100 KB", 0, 100 * 1024),
    "100k-1m": ("100 KB to 1 MB", 100 * 1024 + 1, MEGABYTE),
    "1m-10m": ("1 to 10 MB", MEGABYTE + 1, 10 * MEGABYTE),
    "10m-100m": ("10 to 100 MB", 10 * MEGABYTE + 1, 100 * MEGABYTE),
    "100m-": ("Over 100 MB", 100 * MEGABYTE + 1, None),
}
AGES = {
    "hour": ("Past hour", timedelta(hours=1)),
    "day": ("Past day", timedelta(days=1)),
    "week": ("Past 7 days", timedelta(days=7)),
    "month": ("Past 30 days", timedelta(days=30)),
}

Files = QuerySet[StoredFile]


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(kind.value, str(LABELS[kind])) for kind in Kind]

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        return queryset.filter(kind=self.value()) if self.value() in list(Kind) else queryset


class SizeFilter(admin.SimpleListFilter):
    """One of some ranges, or two numbers of bytes in the address, like ?size=5000-20000, which has both of them in it."""

    title = "size"
    parameter_name = "size"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(name, said) for name, (said, _from, _to) in SIZES.items()]

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        least, most = self._range()
        queryset = queryset.filter(size__gte=least) if least else queryset
        return queryset if most is None else queryset.filter(size__lte=most)

    def _range(self) -> tuple[int, int | None]:
        """From, and up to, in bytes."""
        value = self.value() or ""
        if value in SIZES:
            return SIZES[value][1:]
        found = re.fullmatch(r"(\d{0,15})-(\d{0,15})", value, re.ASCII)
        return (int(found[1] or 0), int(found[2]) if found[2] else None) if found else (0, None)


class AgeFilter(admin.SimpleListFilter):
    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [*((age, name) for age, (name, _) in AGES.items()), ("overdue", "Pending for too long")]

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        if self.value() == "overdue":
            return queryset.filter(status=Status.PENDING, created_at__lt=now() - settings.PENDING_MAX_AGE)
        if self.value() in AGES:
            return queryset.filter(created_at__gte=now() - AGES[self.value() or ""][1])
        return queryset


class DateFilter(admin.SimpleListFilter):
    """Years, in one its months, in one of these its days; from the oldest file to the newest, which an index knows. Django's
    own date hierarchy goes through all files.
    """

    title = "date"
    parameter_name = "date"
    template = "admin/files/storedfile/date_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return ()

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        chosen = span(self.value() or "")
        return queryset.filter(created_at__gte=chosen[0], created_at__lt=chosen[1]) if chosen else queryset

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        value = self.value() if span(self.value() or "") else None
        parts = value.split("-") if value else []
        for end in range(len(parts) + 1):
            chosen = "-".join(parts[:end])
            name = said(chosen) if chosen else "Any date"
            yield self._link(changelist, chosen, name, selected=end == len(parts))
        if len(parts) < len(FORMATS):
            for inner in self._inside(value):
                yield {**self._link(changelist, inner, said(inner, short=True)), "inside": True}

    def _link(self, changelist: ChangeList, chosen: str, name: str, *, selected: bool = False) -> dict[str, Any]:
        query = changelist.get_query_string({self.parameter_name: chosen or None})
        return {"selected": selected, "query_string": query, "display": name}

    @staticmethod
    def _inside(value: str | None) -> list[str]:
        """The parts of a year or month, or the years, that lie between the oldest file and the newest."""
        known = lifetime()
        if known is None:
            return []
        if value is None:
            found = [str(year) for year in range(known[0].year, known[1].year + 1)]
        else:
            most = 12 if "-" not in value else 31
            found = [f"{value}-{number:02}" for number in range(1, most + 1)]
        spans = ((name, span(name)) for name in found)
        return [name for name, within in spans if within and within[0] <= known[1] and within[1] > known[0]]


FORMATS = ("%Y", "%Y-%m", "%Y-%m-%d")
SAID = ("Y", "F Y", "j F Y")
SAID_INSIDE = ("Y", "F", "j")


def span(value: str) -> tuple[datetime, datetime] | None:
    """The beginning and the end of a year, month or day, in UTC: of 2026, 2026-11 or 2026-11-24."""
    depth = value.count("-")
    if not re.fullmatch(r"\d{4}(-\d\d){0,2}", value, re.ASCII) or not "1970" <= value < "9999":
        return None
    try:
        begins = datetime.strptime(value, FORMATS[depth]).replace(tzinfo=UTC)
    except ValueError:
        return None
    past = begins + timedelta(days=(366, 31, 1)[depth])
    return begins, (past.replace(month=1, day=1), past.replace(day=1), past)[depth]


def said(value: str, *, short: bool = False) -> str:
    found = span(value)
    assert found is not None, "only of those that are"
    return date(found[0], (SAID_INSIDE if short else SAID)[value.count("-")])


def lifetime() -> tuple[datetime, datetime] | None:
    """When the oldest file and the newest were signed."""
    files = File._get_collection()
    ends = [files.find_one({}, {"created_at": 1}, sort={"created_at": way, "_id": way}) for way in (ASCENDING, DESCENDING)]
    return (ends[0]["created_at"], ends[1]["created_at"]) if ends[0] and ends[1] else None


class OwnerFilter(admin.SimpleListFilter):
    """A field to type a username or an id into: there are too many owners to choose from.

    Digits are an id and nothing else. GitHub has people whose names are all digits, and what is done to all that is listed must
    not be done to the files of two owners.
    """

    title = "owner"
    parameter_name = "owner"
    template = "admin/files/storedfile/owner_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return ()

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        value = self.value() or ""
        if not value:
            return queryset
        if re.fullmatch(r"\d+", value, re.ASCII):
            return owned_by(queryset, [value])
        name = value.replace("\0", "\N{SYMBOL FOR NULL}")  # which no name has, and Postgres takes
        return owned_by(queryset, map(str, User.objects.filter(username=name).values_list("pk", flat=True)))

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

    def queryset(self, request: HttpRequest, queryset: Files) -> Files:
        """Also by one that the settings have no more, where the address names it."""
        if not self.value():
            return queryset
        unsaid = Q(policy=None) if self.value() == DEFAULT else Q()  # files from before there were policies
        return queryset.filter(Q(policy=self.value()) | unsaid)


def owned_by(files: Files, owner_ids: Iterable[str]) -> Files:
    """Of any status, which has to be said: the index of owners has it before the time."""
    return files.filter(owner_id__in=list(owner_ids), status__in=list(Status))


def searched(files: Files, term: str) -> Files:
    """By the beginning of a key, or an owner's id, both by an index; or else by a part of a name or key."""
    term = term.strip()
    if term.startswith("u/"):
        owner = re.fullmatch(r"u/(\d+)/", term, re.ASCII)
        return owned_by(files, [owner[1]]) if owner else files.filter(key__startswith=term)
    if re.fullmatch(rf"\d{{1,{LONGEST}}}", term, re.ASCII) and File._get_collection().find_one({"owner_id": term}, {"_id": 1}):
        return owned_by(files, [term])
    return files.filter(Q(name__icontains=term) | Q(key__icontains=term)) if term else files


def query_of(files: Files) -> dict[str, Any]:
    """What MongoDB is asked for these files."""
    compiler: Any = files.order_by().query.get_compiler(using="mongo")
    compiler.pre_sql_setup()
    try:
        return compiler.build_query().match_mql or {}
    except EmptyResultSet:
        return {"_id": {"$in": []}}


def patiently() -> Collection[dict[str, Any]]:
    """The files by the connection that waits for MongoDB to say itself that a query took too long. The site's own gives up in
    the same moment, and what is slow looks as if it were down.
    """
    mongo: Any = connections["mongo"]
    files = mongo.get_collection(StoredFile._meta.db_table)
    return files.with_options(codec_options=CodecOptions(tz_aware=True))  # type: ignore[no-any-return]


STOPPED = f"Looked at files for {LOOKS_FOR // 1000} seconds, and stopped. Narrow it by an owner, a status or a date."


class AtLeast(int):
    """As a page says it."""

    def __str__(self) -> str:
        return f"{int(self):,} or more"


class Uncounted(int):
    """So many that a person may look at; how many there are was not found out in time."""

    def __str__(self) -> str:
        return "uncounted"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # generic to mypy alone
    """Counts up to a bound, and for a bounded time, when the list is filtered; asks Mongo's own estimate when it is not."""

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        if self.object_list.model is not StoredFile:  # Django's history of a file is a list of the same admin
            return super().count
        query, files = query_of(self.object_list), patiently()
        if not query:
            return files.estimated_document_count()
        try:
            count = files.count_documents(query, limit=COUNTED_AT_MOST, maxTimeMS=COUNTS_FOR)
            return AtLeast(count) if count == COUNTED_AT_MOST else count
        except ExecutionTimeout:
            return Uncounted(COUNTED_AT_MOST)


class FileList(ChangeList):
    """Finds its files itself, and knows their owners by name: one query a page, since the two databases cannot join."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        try:
            self.result_list = self.found()
        except ExecutionTimeout:
            self.result_list, self.result_count = [], 0
            messages.warning(request, STOPPED)
        if isinstance(self.result_count, Uncounted) and self.page_num == 1 and len(self.result_list) < self.list_per_page:
            self.result_count, self.multi_page = len(self.result_list), False
        owners = users(file.owner_id for file in self.result_list)
        for file in self.result_list:
            file.owner = owners.get(file.owner_id)

    def found(self) -> list[StoredFile]:
        """The files that Django's query for the page stands for, in its order."""
        query: Any = self.result_list.query
        order = {column(field): DESCENDING if field.startswith("-") else ASCENDING for field in query.order_by}
        low, high = query.low_mark, query.high_mark
        limit = self.list_max_show_all if high is None else high - low
        files = patiently().find(query_of(self.queryset), FIELDS).sort(order).skip(low).limit(limit).max_time_ms(LOOKS_FOR)
        return [StoredFile.from_db("mongo", list(FIELD_NAMES), [raw.get(name) for name in FIELDS]) for raw in files]


FIELD_NAMES = {field.attname: str(field.column) for field in StoredFile._meta.concrete_fields}
FIELDS = dict.fromkeys(FIELD_NAMES.values(), True)


def column(ordering: str) -> str:
    name = ordering.removeprefix("-")
    return "_id" if name == "pk" else FIELD_NAMES[name]


NO_CHOICE = ("p", "o", "e", "all")


def in_words(request: HttpRequest) -> str:
    """What the list shows, by its address."""
    said = [(name.partition("__")[0], value) for name, value in request.GET.items() if value and name not in NO_CHOICE]
    words = ", ".join(f"{'search' if name == 'q' else name} {value}" for name, value in said) or "all files"
    return words.replace("\0", "\N{SYMBOL FOR NULL}")  # which the history of Postgres does not take
