"""What a list of files asks for: its order, its filter, and the place where a page of it ends."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Self

from pymongo import ASCENDING, DESCENDING

from .kinds import Kind

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST = 2**63  # bytes; one more than MongoDB counts
MILLISECOND = timedelta(milliseconds=1)  # the grain of MongoDB's dates, which floats lose from 2038 on


class Order(StrEnum):
    """How a list is sorted. Files that are equal in this are sorted by key."""

    NEWEST = "newest"
    NAME = "name"
    SIZE = "size"

    @property
    def field(self) -> str:
        return {Order.NEWEST: "ready_at", Order.NAME: "sort_name", Order.SIZE: "size"}[self]

    @property
    def direction(self) -> int:
        return ASCENDING if self is Order.NAME else DESCENDING


class Cursor(NamedTuple):
    """Where a page of the list ends: the last file's place in the order, by what it is sorted by and by key."""

    value: datetime | str | int
    key: str

    def encode(self) -> str:
        order, value = Order.NEWEST, self.value
        if isinstance(value, datetime):
            value = (value - EPOCH) // MILLISECOND
        else:
            order = Order.NAME if isinstance(value, str) else Order.SIZE
        place = json.dumps([order, value, self.key], ensure_ascii=False)
        return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order = Order.NEWEST) -> Self:
        """Read what `encode` wrote of a list in that order. Raises ValueError for anything else."""
        try:
            of, value, key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if (of, type(value), type(key)) != (order, str if order is Order.NAME else int, str):
                raise ValueError("a cursor is an order, a value and a key")
            f"{value}{key}".encode()  # a lone surrogate is valid JSON, and nothing that MongoDB takes
            if order is Order.SIZE and not 0 <= value < LARGEST:
                raise ValueError("no file has this size")
            return cls(EPOCH + value * MILLISECOND if order is Order.NEWEST else value, key)
        except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError("not a cursor") from error


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files a list shows, and how it sorts them: those in whose names each of `words` begins a word."""

    words: tuple[str, ...] = ()
    kind: Kind | None = None
    order: Order = Order.NEWEST

    @property
    def narrowed(self) -> bool:
        return bool(self.words or self.kind)


EVERYTHING = Wanted()
