"""The bucket against MongoDB: both are read in the order of their keys and merged, so that memory stays that of a few pages.

S3 lists by the UTF-8 bytes of the keys, MongoDB sorts strings by the same where there is no collation, and Python compares code
points: three orders that are one. A bucket that lists in another only makes this slow.

Files come, change and go meanwhile, and the two sides are not read at one moment. So what differs is a suspect, which is looked
at again, and the order of these looks is that of `files.sweeps`, the other way round:

- A document comes before its object and goes after it: no document, and an object after that, is an orphan.
- Its object is there for as long as a document holds one: no object, and a document that holds it after that, is a loss.

Orphans alone can be mended. A loss is only told. What could mend it is a copy of the object, put under the same key; a document
that says REJECTED would be forgotten after a month and take that way with it, and with R2_BUCKET set to another bucket
every file there is would be a loss.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from time import sleep
from typing import Any, NamedTuple, TextIO, TypeVar

import pymongo
from pymongo import ASCENDING
from pymongo.collection import Collection

from . import documents, names, storage
from .documents import File, SpentKey, Status
from .sweeps import PUT_OVER
from .trail import now

logger = logging.getLogger(__name__)

UNDER, BEHIND = "u/", "u0"  # all keys of ours, and the first string behind them
PAGE = 1000  # documents read at a time, and suspects looked at
AT_ONCE = 16  # questions to the bucket
PATIENCE = 20  # seconds that MongoDB has for one answer, and for coming back within that
WAITS: tuple[float, ...] = (1, 2, 4, 8, 15, 30)  # seconds between attempts, until a server that is down ends it
YOUNG = PUT_OVER  # an upload, a check or a late PUT may be under way, and a sweep will look
HOLDS = (Status.CHECKING, Status.READY, Status.TRASHED)
FIELDS = {"status": 1, "size": 1, "cleaned": 1}

DOWN = (*documents.Error, *storage.Error)
T = TypeVar("T")


class Kind(StrEnum):
    ORPHAN = "orphan object"
    LOST = "document without object"
    SIZE = "sizes differ"
    STRANGE = "object not of ours"


class Finding(NamedTuple):
    """`bytes`: of the object; of a LOST one, what its document says; by how many the sizes differ."""

    kind: Kind
    key: str
    bytes: int
    details: str

    @property
    def owner_id(self) -> str:
        return self.key.split("/")[1]


class Held(NamedTuple):
    """Where a document's object may be. `holds`: it has to be there, `size` bytes of it."""

    at: str
    key: str
    size: int
    status: str
    holds: bool

    @classmethod
    def of(cls, raw: dict[str, Any], at: str) -> Held:
        holds = raw["status"] in HOLDS and at == (raw.get("cleaned") or raw["_id"])
        return cls(at, raw["_id"], raw["size"], raw["status"], holds)


@dataclass(slots=True)
class Sum:
    count: int = 0
    bytes: int = 0
    owners: int = 0
    last_owner: str | None = None

    def add(self, finding: Finding) -> None:
        self.count += 1
        self.bytes += finding.bytes
        # In the order of their keys those of one owner follow each other.
        self.owners += finding.owner_id != self.last_owner
        self.last_owner = finding.owner_id


@dataclass(slots=True)
class Comparison:
    """One run. What comes before `at` is done. `known` objects have a document; `young` ones have none, and a sweep will look.

    `orphans` is a file to keep their keys in, of which there may be any number. `each` is told of every finding, in the order
    of the keys within a kind; `tick` is called now and then.
    """

    orphans: TextIO
    each: Callable[[Finding], None]
    tick: Callable[[], None] = lambda: None
    at: str = ""
    objects: int = 0
    documents: int = 0
    known: int = 0
    young: int = 0
    deleted: int = 0
    refused: int = 0
    found: dict[Kind, Sum] = field(default_factory=lambda: {kind: Sum() for kind in Kind})
    began: datetime = field(default_factory=now)
    _alone: list[storage.Listed] = field(default_factory=list)
    _doubtful: list[Held] = field(default_factory=list)

    def compare(self) -> None:
        """Read both sides behind `at`. Raises one of `DOWN` when a server stays away: go on from `at`, with a new one."""
        objects, holders = _objects(self.at), _holders(self.at)
        item, held = next(objects, None), next(holders, None)
        while item or held:
            if item and held and item.key == held.at:
                self._pair(item, held)
                key, item, held = item.key, next(objects, None), next(holders, None)
            elif item and (held is None or item.key < held.at):
                self.objects += 1
                self._alone.append(item)
                key, item = item.key, next(objects, None)
            else:
                assert held is not None
                self._unpaired(held)
                key, held = held.at, next(holders, None)
            self._passed(key)
        self._look_again()

    def _pair(self, item: storage.Listed, held: Held) -> None:
        self.objects += 1
        self.known += 1
        self.documents += held.at == held.key
        if held.holds and held.size != item.size:
            self._doubtful.append(held)

    def _unpaired(self, held: Held) -> None:
        self.documents += held.at == held.key
        if held.holds:
            self._doubtful.append(held)

    def _passed(self, key: str) -> None:
        if len(self._alone) + len(self._doubtful) >= PAGE:
            self._look_again()
        if not (self._alone or self._doubtful):
            self.at = key
        if (self.objects + self.documents) % PAGE == 0:
            self.tick()

    # --- what differs, looked at again: all questions come before anything is counted, so that a run can be cut ---

    def _look_again(self) -> None:
        self._look_at_objects(self._alone)
        self._alone = []
        self._look_at_documents(self._doubtful)
        self._doubtful = []

    def _look_at_objects(self, alone: list[storage.Listed]) -> None:
        ours = {item.key for item in alone if names.upload_of(item.key)}
        without = patiently(partial(_without_document, ours))
        old = {item.key for item in alone if item.modified <= self.began - YOUNG}
        orphans = (without & old) - patiently(partial(_remembered, without))
        heads = patiently(partial(_heads, orphans))
        self.known += len(ours - without)
        self.young += len(without - orphans)
        for item in alone:
            said = f"{item.size:,} bytes, last modified {item.modified:%Y-%m-%d %H:%M} UTC"
            if item.key not in ours:
                self._add(Finding(Kind.STRANGE, item.key, item.size, said))
            elif heads.get(item.key):
                self._add(Finding(Kind.ORPHAN, item.key, item.size, said))
                self.orphans.write(f"{item.key}\n")

    def _look_at_documents(self, doubtful: list[Held]) -> None:
        heads = patiently(partial(_heads, [held.at for held in doubtful]))
        for held in patiently(partial(_still_holding, doubtful)):
            head = heads[held.at]
            if head is None:
                self._add(Finding(Kind.LOST, held.at, held.size, f"{held.status}, {held.size:,} bytes"))
            elif head.size != held.size:
                said = f"{head.size:,} bytes in the bucket, {held.size:,} in MongoDB"
                self._add(Finding(Kind.SIZE, held.at, abs(head.size - held.size), said))

    def _add(self, finding: Finding) -> None:
        self.found[finding.kind].add(finding)
        self.each(finding)

    # --- mending ---

    @property
    def mostly_orphans(self) -> bool:
        """So it looks where MONGODB_URI names the database of another site."""
        return self.found[Kind.ORPHAN].count > self.known

    def delete_orphans(self) -> None:
        """Delete those that were found and have no document even now. Can be cut anywhere. Raises one of `DOWN`."""
        self.orphans.seek(0)
        keys = (line.rstrip("\n") for line in self.orphans)
        while some := list(itertools.islice(keys, storage.DELETE_LIMIT)):
            self._count(*patiently(partial(_delete, some)))
            self.tick()

    def _count(self, asked: int, refused: dict[str, str]) -> None:
        for key, reason in refused.items():
            logger.warning("the bucket refused to delete %s: %s", key, reason)
        self.refused += len(refused)
        self.deleted += asked - len(refused)


def _delete(keys: list[str]) -> tuple[int, dict[str, str]]:
    """Return how many the bucket was asked to delete, and those that it refused, each with its reason."""
    without = _without_document(keys)
    doomed = sorted(without - _remembered(without))
    return len(doomed), storage.delete_many(doomed)


# --- both sides, in the order of the keys -----------------------------------------------------------------------------------


def _objects(last: str) -> Iterator[storage.Listed]:
    while page := patiently(partial(storage.listed, UNDER, last)):
        yield from page
        last = page[-1].key


def _holders(after: str) -> Iterator[Held]:
    """What documents name: what was uploaded, and cleaned pictures, whose keys are elsewhere in the order."""
    return heapq.merge(_by("_id", after), _by("cleaned", after))


def _by(field: str, after: str) -> Iterator[Held]:
    last = max(after, UNDER)
    while page := patiently(partial(_page, field, last)):
        yield from (Held.of(raw, raw[field]) for raw in page)
        last = page[-1][field]


def _page(field: str, last: str) -> list[dict[str, Any]]:
    wanted = {field: {"$gt": last, "$lt": BEHIND}}
    return File._get_collection().find(wanted, FIELDS).sort({field: ASCENDING}).limit(PAGE).to_list()  # type: ignore[no-any-return]


# --- the second look --------------------------------------------------------------------------------------------------------


def _without_document(keys: Iterable[str]) -> set[str]:
    """Objects whose upload MongoDB does not know. What was made of one that it knows is left to that one's document, which
    names what was made before it is made.
    """
    uploads = {key: names.upload_of(key) for key in keys}
    known = _which(File._get_collection(), uploads.values())
    return {key for key, upload in uploads.items() if upload not in known}


def _remembered(keys: Iterable[str]) -> set[str]:
    """Those that a sweep is going to look at, since a PUT may have been under way when their documents went."""
    return _which(SpentKey._get_collection(), keys)


def _which(collection: Collection[dict[str, Any]], keys: Iterable[str | None]) -> set[str]:
    return {raw["_id"] for raw in collection.find({"_id": {"$in": list(keys)}}, {"_id": 1})}


def _still_holding(doubtful: list[Held]) -> list[Held]:
    """Those whose documents hold the same objects now, as they are now."""
    at = {held.key: held.at for held in doubtful}
    found = File._get_collection().find({"_id": {"$in": list(at)}}, FIELDS).sort({"_id": ASCENDING})
    return [held for raw in found for held in [Held.of(raw, at[raw["_id"]])] if held.holds]


def _heads(keys: Iterable[str]) -> dict[str, storage.Head | None]:
    asked = list(keys)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(asked, threads.map(storage.head, asked), strict=True))


def patiently(ask: Callable[[], T], within: float | None = None) -> T:
    """The answer, when what is down has come back. Raises one of `DOWN` when it stays away. MongoDB answers `within` so many
    seconds of an attempt (`PATIENCE` unless said), or not at all: so nothing slow may come before a question to it.
    """
    for wait in WAITS:
        with pymongo.timeout(within or PATIENCE):
            try:
                return ask()
            except DOWN as error:
                logger.warning("no answer, another attempt in %s s: %s", wait, error)
        sleep(wait)
    with pymongo.timeout(within or PATIENCE):
        return ask()
