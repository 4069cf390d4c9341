"""What staff see at the admin's index: who uploads how much, what waits, what was refused, and how the sweeps went.

Nothing here grows with the files: days were counted when they were over (`files.rollups`), owners have their sums, and what
waits is counted up to a bound, by an index.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pymongo
from django.conf import settings
from django.contrib.humanize.templatetags.humanize import intcomma
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from redis.exceptions import RedisError

from . import limits, policies, quotas, rollups, worker
from .admin_list import COUNTED_AT_MOST
from .admin_pages import users
from .charts import Bars, Columns, Row, columns
from .documents import Error, File, Status
from .kinds import LABELS, Kind
from .rollups import Day
from .runs import By, Run
from .trail import now

logger = logging.getLogger(__name__)

DAYS = 30
PATIENCE = 1.5  # seconds for all that MongoDB is asked; the page answers within three, whatever is down
LATE = 3 * settings.DAYS_COUNTED_EVERY
OWNERS = 10
RUNS = 10
AGES = [
    ("Under 5 minutes", timedelta(minutes=5)),
    ("5 to 15 minutes", timedelta(minutes=15)),
    ("15 minutes to an hour", timedelta(hours=1)),
    ("1 to 6 hours", timedelta(hours=6)),
    ("6 to 24 hours", timedelta(days=1)),
    ("A day and more", None),
]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Files of a status that is left soon: how many there are, since when the oldest is one, and whether that is too long."""

    number: str
    oldest: datetime | None
    late: bool
    ages: Bars


@dataclass(frozen=True, slots=True)
class Stored:
    """What MongoDB knows."""

    until: datetime | None
    late: bool
    days: list[Day]
    charts: list[Columns]
    kinds: Bars
    rejected: Bars
    owners: Bars
    pending: Waiting
    checking: Waiting
    sweeps: list[Run]
    trash: list[Run]


@dataclass(frozen=True, slots=True)
class Refused:
    """What Redis knows: signings that were refused as too many, and how many tasks wait for a worker."""

    chart: Columns | None
    days: list[tuple[datetime, int]]
    owners: Bars
    queued: int


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A part is None where what knows it does not answer."""

    stored: Stored | None
    refused: Refused | None


def read() -> Dashboard:
    return Dashboard(_stored_if_there(), _refused_if_there())


def owner_page(owner_id: str) -> str:
    return reverse("admin:files_storedfile_owner", args=[owner_id])


# --- what MongoDB knows -----------------------------------------------------------------------------------------------------


def _stored_if_there() -> Stored | None:
    try:
        with pymongo.timeout(PATIENCE):
            return _stored()
    except Error as error:
        logger.warning("the dashboard is shown without what MongoDB knows: %s", error)
        return None


def _stored() -> Stored:
    moment, days, until = now(), rollups.last(DAYS), rollups.counted_until()
    given_up = max(policy.pending_lives for _, policy in policies.all_named())
    uploads = columns("uploads", "Uploads a day", [(_date(day.day), day.files) for day in days], intcomma)
    sizes = columns("bytes", "Bytes a day", [(_date(day.day), day.bytes) for day in days], filesizeformat)
    return Stored(
        until=until,
        late=until is not None and until < moment - LATE,
        days=days,
        charts=[chart for chart in (uploads, sizes) if chart],
        kinds=_kinds(days),
        rejected=_rejected(days),
        owners=_owners(),
        pending=_pending(moment, given_up + 2 * settings.CLEANUP_EVERY),
        checking=_checking(moment, given_up + 2 * settings.CHECK_LEASE),
        sweeps=Run.last(RUNS, By.BEAT, By.COMMAND, By.ADMIN),
        trash=Run.last(RUNS // 2, By.TRASH),
    )


def _kinds(days: Iterable[Day]) -> Bars:
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for day in days:
        files.update({kind: used.files for kind, used in day.kinds.items()})
        sizes.update({kind: used.bytes for kind, used in day.kinds.items()})
    return Bars(
        ("Kind", "Uploads", "Bytes"),
        [
            Row(str(LABELS[Kind(kind)]), number, (intcomma(number), filesizeformat(sizes[kind])))
            for kind, number in files.most_common()
        ],
    )


def _rejected(days: Iterable[Day]) -> Bars:
    reasons: Counter[str] = Counter()
    for day in days:
        reasons.update(day.rejected)
    rows = [Row(reason, number, (intcomma(number),)) for reason, number in reasons.most_common()]
    return Bars(("Reason", "Files"), rows)


def _owners() -> Bars:
    found = quotas.largest(OWNERS)
    known = _names(owner_id for owner_id, _ in found)
    rows = [
        Row(known[owner_id], used.bytes, (intcomma(used.files), filesizeformat(used.bytes)), owner_page(owner_id))
        for owner_id, used in found
    ]
    return Bars(("Owner", "Files", "Bytes"), rows)


def _pending(moment: datetime, too_long: timedelta) -> Waiting:
    counted = [File.waiting(Status.PENDING, *span, COUNTED_AT_MOST + 1) for span in _spans(moment)]
    return _waiting(counted, File.waiting_since(Status.PENDING), moment - too_long)


def _checking(moment: datetime, too_long: timedelta) -> Waiting:
    since = File.checking_since(COUNTED_AT_MOST + 1)
    counted = [sum(after < began <= until for began in since) for after, until in _spans(moment)]
    return _waiting(counted, since[0] if since else None, moment - too_long)


def _spans(moment: datetime) -> list[tuple[datetime, datetime]]:
    """When whatever is of each of the AGES began."""
    begins = [moment - age if age else datetime.min.replace(tzinfo=UTC) for _label, age in AGES]
    return list(zip(begins, [moment + timedelta(days=1), *begins], strict=False))  # a clock may be ahead


def _waiting(counted: list[int], oldest: datetime | None, too_long_ago: datetime) -> Waiting:
    rows = [Row(label, number, (_bounded(number),)) for (label, _age), number in zip(AGES, counted, strict=True)]
    late = oldest is not None and oldest < too_long_ago
    return Waiting(_bounded(sum(counted)), oldest, late=late, ages=Bars(("Waiting", "Files"), rows))


# --- what Redis knows -------------------------------------------------------------------------------------------------------


def _refused_if_there() -> Refused | None:
    try:
        return _refused()
    except RedisError as error:
        logger.warning("the dashboard is shown without what Redis knows: %s", error)
        return None


def _refused() -> Refused:
    today = rollups.midnight(now())
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    refusals = limits.refusals(days)
    owners: Counter[str] = Counter()
    for one in refusals:
        owners.update(one.owners)
    most = owners.most_common(OWNERS)
    known = _names(owner for owner, _ in most)
    numbers = [(day, one.number) for day, one in zip(days, refusals, strict=True)]
    return Refused(
        chart=columns("refused", "Signings refused a day", [(_date(day), number) for day, number in numbers], intcomma),
        days=numbers,
        owners=Bars(
            ("Most refused", "Signings"),
            [Row(known[owner], number, (intcomma(number),), owner_page(owner)) for owner, number in most],
        ),
        queued=sum(worker.waiting().values()),
    )


def _names(owner_ids: Iterable[str]) -> dict[str, str]:
    ids = list(owner_ids)
    known = users(ids)
    return {owner_id: str(known.get(owner_id, f"{owner_id} (gone)")) for owner_id in ids}


def _date(day: datetime) -> str:
    return f"{day:%-d %b}"


def _bounded(number: int) -> str:
    return f"{intcomma(COUNTED_AT_MOST)}+" if number > COUNTED_AT_MOST else intcomma(number)
