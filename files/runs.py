"""How the sweeps went: what each did, and what stopped it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from mongoengine import DateTimeField, Document, FloatField, IntField, StringField

from . import metrics
from .documents import Error
from .sweeps import Sweep
from .trail import now

logger = logging.getLogger(__name__)


class By(StrEnum):
    BEAT = "beat"
    COMMAND = "command"
    ADMIN = "admin"
    TRASH = "trash"


KEPT = {By.TRASH: timedelta(days=7)}  # there may be one every ten seconds
KEPT_OTHERWISE = timedelta(days=90)


class Run(Document):  # type: ignore[misc]  # mongoengine has no types
    """A sweep that began `at` (UTC), by whom, and took so many `seconds`. `error` is what it ended with before it was done;
    what it did until then nobody knows. MongoDB removes it at `expires_at`.
    """

    at: datetime = DateTimeField(required=True)
    by: By = StringField(required=True, choices=[by.value for by in By])
    seconds: float = FloatField(required=True)
    expired: int = IntField()
    removed: int = IntField()
    refused: int = IntField()
    error: str | None = StringField()
    expires_at: datetime = DateTimeField(required=True)

    meta = {
        "collection": "sweeps",
        "auto_create_index": False,
        "index_cls": False,
        "indexes": [("by", "-at"), {"fields": ["expires_at"], "expireAfterSeconds": 0}],
    }

    @classmethod
    def last(cls, number: int, *by: By) -> list[Self]:
        """The newest first."""
        return list(cls.objects(by__in=by).order_by("-at").limit(number))


def recorded(by: By, sweep: Callable[[], Sweep]) -> Sweep:
    """Sweep, count it, and write down how it went; of the trash only where there was something to do. Raises as the sweep does.

    Of one that is killed nothing is written.
    """
    at, began = now(), time.monotonic()
    try:
        swept = sweep()
    except Exception as error:
        _write(by, at, began, error=f"{type(error).__name__}: {error}"[:500])
        raise
    metrics.swept(by, expired=swept.expired, removed=swept.removed, refused=swept.refused)
    if by is not By.TRASH or swept.expired or swept.removed or swept.refused:
        _write(by, at, began, expired=swept.expired, removed=swept.removed, refused=swept.refused)
    return swept


def _write(by: By, at: datetime, began: float, **known: int | str) -> None:
    try:
        Run(
            at=at,
            by=by,
            seconds=round(time.monotonic() - began, 3),
            expires_at=at + KEPT.get(by, KEPT_OTHERWISE),
            **known,
        ).save(force_insert=True)
    except Error as error:
        logger.warning("how the sweep went was not written down: %s", error)
