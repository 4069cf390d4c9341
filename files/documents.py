"""What is known about each file. The bucket keeps the bytes, under the same key."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Self

from mongoengine import DateTimeField, Document, LongField, QuerySet, StringField
from mongoengine.errors import OperationError
from pymongo import ReturnDocument
from pymongo.errors import PyMongoError

# What goes wrong with MongoDB: MongoEngine wraps what a command answers, and lets through what the connection says.
Error = (PyMongoError, OperationError)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)  # the grain of MongoDB's dates, which floats lose from 2038 on


class Status(StrEnum):
    PENDING = "pending"
    READY = "ready"
    DELETING = "deleting"


class Cursor(NamedTuple):
    """Where a page of the list ends: the last file's place in the order, which is (ready_at, key), newest first."""

    ready_at: datetime
    key: str

    def encode(self) -> str:
        place = json.dumps([(self.ready_at - EPOCH) // MILLISECOND, self.key])
        return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what `encode` wrote. Raises ValueError for anything else."""
        try:
            millis, key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if type(millis) is not int or type(key) is not str:
                raise ValueError("a cursor is a number and a key")
            key.encode()  # a lone surrogate is valid JSON and no valid key
            return cls(EPOCH + millis * MILLISECOND, key)
        except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError("not a cursor") from error


class Row(NamedTuple):
    """What a list shows of a READY file. Fifty documents of MongoEngine take longer to make than the rest of the page."""

    key: str
    name: str
    size: int
    content_type: str
    ready_at: datetime

    @property
    def place(self) -> Cursor:
        return Cursor(self.ready_at, self.key)


ROW = dict.fromkeys(("name", "size", "content_type", "ready_at"), True)


class Signing(NamedTuple):
    """What a sweep needs of a document: which key was signed, and when."""

    key: str
    moment: datetime


class FileQuerySet(QuerySet):  # type: ignore[misc]  # mongoengine has no types
    def owned_by(self, owner_id: str) -> Self:
        return self.filter(owner_id=owner_id)  # type: ignore[no-any-return]

    def pending(self) -> Self:
        return self.filter(status=Status.PENDING)  # type: ignore[no-any-return]

    def ready(self) -> Self:
        return self.filter(status=Status.READY)  # type: ignore[no-any-return]

    def deleting(self) -> Self:
        return self.filter(status=Status.DELETING)  # type: ignore[no-any-return]

    def keyed(self, keys: Iterable[str]) -> Self:
        return self.filter(key__in=list(keys))  # type: ignore[no-any-return]

    def created_before(self, moment: datetime) -> Self:
        return self.filter(created_at__lt=moment)  # type: ignore[no-any-return]

    def oldest_first(self, after: Signing | None = None) -> Self:
        """Order by (created_at, key), starting behind `after`."""
        files = self.order_by("created_at", "key")
        if after is None:
            return files  # type: ignore[no-any-return]
        later = {"$or": [{"created_at": {"$gt": after.moment}}, {"_id": {"$gt": after.key}}]}
        return files.filter(__raw__={"created_at": {"$gte": after.moment}, **later})  # type: ignore[no-any-return]

    def signings(self) -> list[Signing]:
        """These files, as a sweep works on them."""
        return [Signing(raw["_id"], raw["created_at"]) for raw in self.only("key", "created_at").as_pymongo()]


class File(Document):  # type: ignore[misc]  # mongoengine has no types
    """One upload. Only `files.uploads` changes its status, and only by compare-and-set.

    `name` is what the owner called it; `key` is where the bucket has it, made by us. `size` is in bytes and, like
    `content_type`, what the upload URL was signed for. Times are UTC.
    """

    key: str = StringField(primary_key=True, max_length=1024)
    owner_id: str = StringField(required=True)
    name: str = StringField(required=True, max_length=256)
    content_type: str = StringField(required=True, max_length=255)
    size: int = LongField(required=True, min_value=1)
    status: Status = StringField(required=True, choices=[status.value for status in Status], default=Status.PENDING)
    created_at: datetime = DateTimeField(required=True)
    ready_at: datetime | None = DateTimeField()
    etag: str | None = StringField()

    meta = {
        "collection": "files",
        "queryset_class": FileQuerySet,
        "auto_create_index": False,  # `manage.py ensure_indexes` does, so that no request ever waits for one
        "index_cls": False,
        "indexes": [
            ("owner_id", "status", "-ready_at", "-key"),  # an owner's list
            ("status", "created_at", "key"),  # the sweep
            ("-created_at", "-key"),  # the admin's list
            # An owner's unfinished uploads, of which there are few at any moment.
            {"fields": ["owner_id", "-created_at"], "partialFilterExpression": {"status": "pending"}},
        ],
    }

    def __str__(self) -> str:
        return self.name

    # What every upload asks for goes straight to the driver: MongoEngine's save, first and modify cost as much again as the
    # driver and the network together.

    @classmethod
    def insert(cls, *, key: str, owner_id: str, name: str, content_type: str, size: int, created_at: datetime) -> None:
        """Write the document of a new upload. The values are those that `files.forms` has cleaned."""
        document = {"_id": key, "owner_id": owner_id, "name": name, "content_type": content_type, "size": size}
        cls._get_collection().insert_one({**document, "status": Status.PENDING, "created_at": created_at})

    @classmethod
    def find(cls, owner_id: str, key: str, statuses: Iterable[Status]) -> Self | None:
        """The owner's file, if it has one of the statuses."""
        found = cls._get_collection().find_one({"_id": key, "owner_id": owner_id, "status": {"$in": list(statuses)}})
        return found and cls._from_son(found)  # type: ignore[no-any-return]

    @classmethod
    def page(cls, owner_id: str, after: Cursor | None, limit: int) -> list[Row]:
        """The owner's READY files behind `after`, by (ready_at, key), the newest first."""
        wanted: dict[str, object] = {"owner_id": owner_id, "status": Status.READY}
        if after:  # The first condition alone bounds the index scan.
            earlier = [{"ready_at": {"$lt": after.ready_at}}, {"_id": {"$lt": after.key}}]
            wanted |= {"ready_at": {"$lte": after.ready_at}, "$or": earlier}
        found = cls._get_collection().find(wanted, ROW).sort({"ready_at": -1, "_id": -1}).limit(limit)
        return [Row(raw["_id"], raw["name"], raw["size"], raw["content_type"], raw["ready_at"]) for raw in found.to_list()]

    @classmethod
    def unfinished(cls, owner_id: str, limit: int) -> list[Self]:
        """The owner's PENDING files, the newest first."""
        wanted = {"owner_id": owner_id, "status": Status.PENDING}
        found = cls._get_collection().find(wanted).sort({"created_at": -1}).limit(limit)
        return [cls._from_son(raw) for raw in found.to_list()]

    def row(self) -> Row:
        assert self.ready_at is not None, "only ready files are listed"
        return Row(self.key, self.name, self.size, self.content_type, self.ready_at)

    @classmethod
    def turn(
        cls,
        owner_id: str,
        key: str,
        before: Iterable[Status],
        after: Status,
        *,
        having: Mapping[str, object] = {},
        **fields: object,
    ) -> Self | None:
        """The one compare-and-set: the file as it is now, or None if it had none of the statuses `before` or is not as in
        `having`.
        """
        found = cls._get_collection().find_one_and_update(
            {"_id": key, "owner_id": owner_id, "status": {"$in": list(before)}, **having},
            {"$set": {"status": after, **fields}},
            return_document=ReturnDocument.AFTER,
        )
        return found and cls._from_son(found)  # type: ignore[no-any-return]


class SpentKey(Document):  # type: ignore[misc]  # mongoengine has no types
    """A key whose document is gone while a PUT to it may still arrive: through a URL that lives, or one that was started and
    takes its time, since the bucket asks for the date only at the start. Its object is deleted again at `look_at`.
    """

    key: str = StringField(primary_key=True, max_length=1024)
    signed_at: datetime = DateTimeField(required=True)
    look_at: datetime = DateTimeField(required=True)

    meta = {
        "collection": "spent_keys",
        "auto_create_index": False,
        "index_cls": False,
        "indexes": [("look_at", "key")],
    }
