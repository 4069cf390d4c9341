"""How much space an owner's files take, by kind: the bar at the top of their list."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.core.cache import caches
from django.utils.functional import Promise

from .documents import Error, File, Used
from .kinds import LABELS, Kind

logger = logging.getLogger(__name__)

COUNTED_ANEW = 1_000  # files up to which they are counted for every page


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the bar: where it begins and how wide it is, in percent."""

    kind: Kind
    label: Promise
    bytes: int
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class Usage:
    files: int
    bytes: int
    parts: list[Part]


def usage_of(owner_id: str) -> Usage | None:
    """Counting a million files takes a second, so for every thousand of them the figures may be a second old.

    None where they could not be counted in time: nobody's list waits for that.
    """
    known: dict[Kind, Used] | None = caches["local"].get(f"usage/{owner_id}")
    try:
        found = File.usage(owner_id) if known is None else known
    except Error as error:
        logger.warning("the files of %s were not counted: %s", owner_id, error)
        return None
    files = sum(used.files for used in found.values())
    if known is None and files >= COUNTED_ANEW:
        caches["local"].set(f"usage/{owner_id}", found, timeout=files // COUNTED_ANEW)
    return Usage(files, sum(used.bytes for used in found.values()), _parts(found))


def _parts(found: dict[Kind, Used]) -> list[Part]:
    """The largest first, each where the last one ends."""
    total, start, parts = sum(used.bytes for used in found.values()), 0.0, []
    for kind, used in sorted(found.items(), key=lambda item: -item[1].bytes):
        width = 100 * used.bytes / total
        parts.append(Part(kind, LABELS[kind], used.bytes, round(start, 2), round(width, 2)))
        start += width
    return parts
