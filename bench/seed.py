"""Documents as sign and confirm write them, any number of them: `python -m bench.seed mongodb://…/database 10000000`.

Two thousand owners have them, one of whom a tenth and most a few; of all kinds, sizes and statuses, over two years.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import os
import random
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from typing import Any

from pymongo import IndexModel, MongoClient
from pymongo.collection import Collection

from files.documents import name_fields
from files.kinds import kind_of

BODY = b"%PDF-"
BATCH = 10_000  # documents that are written at a time

# What people have: a thousand names, in turn.
KINDS_OF_FILES = [("report", "pdf", "application/pdf"), ("photo", "jpg", "image/jpeg"), ("take", "mp4", "video/mp4")]
LISTED = [
    {**name_fields(name), "content_type": content_type, "kind": kind_of(content_type, name)}
    for number in range(1000)
    for word, end, content_type in [KINDS_OF_FILES[number % len(KINDS_OF_FILES)]]
    for name in [f"{word} {number:04}.{end}"]
]
LARGEST_LISTED = 50_000_000  # bytes

OWNERS = [str(number) for number in range(700_000_000, 700_002_000)]
LARGEST = OWNERS[0]
SHARES = [1 / (rank + 0.3) for rank in range(1, len(OWNERS) + 1)]  # Zipf's law, by which the first has a tenth
PIECE = 50_000  # documents of one task
YEARS = timedelta(days=730)
POLICIES = ["default"] * 9 + ["avatars"]
REASONS = ["type", "integrity", "broken_image", "malware"]
STATUSES = {"ready": 9886, "rejected": 100, "pending": 10, "checking": 2, "trashed": 2}  # how many of 10,000
# What is waiting is young, as it is where sweeps and workers run.
YOUNG = {
    "rejected": timedelta(days=30),
    "pending": timedelta(minutes=50),
    "checking": timedelta(minutes=2),
    "trashed": timedelta(seconds=10),
}


def key_of(owner_id: str) -> str:
    """What names.new_key makes, without the time that it takes to look at a name."""
    return f"u/{owner_id}/{secrets.token_urlsafe(16)[:21]}-report.pdf"


def documents(
    owner_id: str, count: int, status: str, age: timedelta, listed: Sequence[dict[str, Any]] = LISTED
) -> Iterator[dict[str, Any]]:
    """Documents of one owner, a millisecond apart, the first as old as `age`."""
    first = datetime.now(UTC) - age
    uploaded = {**name_fields("report.pdf"), "content_type": "application/pdf", "kind": "document", "size": len(BODY)}
    for number in range(count):
        moment = first + timedelta(milliseconds=number)
        document = {"_id": key_of(owner_id), "owner_id": owner_id, "status": status, "created_at": moment}
        if status == "ready":
            size = number * 7919 % LARGEST_LISTED + 1  # of all sizes, in no order
            yield document | listed[number % len(listed)] | {"size": size, "ready_at": moment, "etag": "0" * 32}
        else:
            yield document | uploaded


def of_many_owners(first: int, last: int, total: int, until: datetime) -> Iterator[dict[str, Any]]:
    """Those of `total` documents from `first` to before `last`, in the order in which they came."""
    chance, count = random.Random(first), last - first
    owners = chance.choices(OWNERS, SHARES, k=count)
    letters = base64.urlsafe_b64encode(chance.randbytes(18 * count)).decode()  # 24 for each
    sizes = [int(chance.lognormvariate(12.5, 2)) % LARGEST_LISTED + 1 for _ in range(997)]
    for number, owner_id in enumerate(owners):
        moment = until - YEARS * (1 - (first + number) / total)
        key, size = f"u/{owner_id}/{letters[24 * number : 24 * number + 21]}-report.pdf", sizes[number % len(sizes)]
        document = {"_id": key, "owner_id": owner_id, "size": size, "policy": POLICIES[number % len(POLICIES)]}
        yield document | LISTED[(first + number) % len(LISTED)] | in_its_status(chance, moment, until, owner_id, size)


def in_its_status(chance: random.Random, moment: datetime, until: datetime, owner_id: str, size: int) -> dict[str, Any]:
    status = chance.choices(list(STATUSES), list(STATUSES.values()))[0]
    youth = YOUNG.get(status)
    at = moment if youth is None else until - youth * chance.random()
    signed = {"status": status, "created_at": at, "charged": size, "trail": [event(owner_id, at, status)]}
    match status:
        case "ready":
            return signed | {"ready_at": at, "etag": "0" * 32}
        case "trashed":
            return signed | {"ready_at": at, "etag": "0" * 32, "trashed_at": at}
        case "checking":
            return signed | {"check_at": at, "checks": ["image"], "step": "image"}
        case "rejected":
            del signed["charged"]
            return signed | {"rejected_at": at, "check_at": at, "reason": chance.choice(REASONS)}
    return signed


def event(owner_id: str, at: datetime, status: str) -> dict[str, Any]:
    """One in the place of all that happened to it, so that a document is no larger than most are."""
    return {"at": at, "who": owner_id, "what": "seeded", "to": status}


# --- writing them -----------------------------------------------------------------------------------------------------------


def fill(uri: str, total: int) -> None:
    """Write them into the collection of files by all cores, and make the indexes that it has anew behind that: so it takes half
    the time.
    """
    with connected(uri) as files:
        indexes = [index for name, index in files.index_information().items() if name != "_id_"]
        files.drop_indexes()
        until = datetime.now(UTC)
        pieces = [(uri, first, min(first + PIECE, total), total, until) for first in range(0, total, PIECE)]
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
            for _ in processes.map(write_piece, pieces):
                pass
        if indexes:
            # All of them in one command, which reads the collection once.
            files.create_indexes([model(index) for index in indexes])


def write_piece(piece: tuple[str, int, int, int, datetime]) -> None:
    uri, first, last, total, until = piece
    with connected(uri) as files:
        found = of_many_owners(first, last, total, until)
        while some := list(itertools.islice(found, BATCH)):
            files.insert_many(some, ordered=False)


def model(index: Mapping[str, Any]) -> IndexModel:
    options = {name: value for name, value in index.items() if name not in ("key", "v", "ns")}
    return IndexModel(index["key"], **options)


@contextmanager
def connected(uri: str) -> Iterator[Collection[dict[str, Any]]]:
    """The collection of files. What is written need not survive a crash here."""
    with MongoClient[dict[str, Any]](uri, tz_aware=True, w=1, journal=False) as client:
        yield client.get_default_database()["files"]


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.seed", description="Write documents of files into a MongoDB, for tests.")
    parser.add_argument("uri", help="like mongodb://127.0.0.1:27017/database; its collection of files has to be empty")
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    with connected(arguments.uri) as files:
        if files.find_one():
            parser.error(f"there are files already in {arguments.uri}")
    began = time.monotonic()
    fill(arguments.uri, arguments.count)
    print(f"{arguments.count:,} documents in {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
