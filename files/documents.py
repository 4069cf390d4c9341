"""What is known about each file. The bucket keeps the bytes, under the same key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Self

from mongoengine import (
    BooleanField,
    DateTimeField,
    DictField,
    Document,
    IntField,
    ListField,
    LongField,
    QuerySet,
    StringField,
)
from mongoengine.errors import OperationError
from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from . import names
from .kinds import Kind, kind_of
from .listing import EVERYTHING, Cursor, Order, Wanted
from .reasons import SENTENCES, Reason
from .trail import KEPT, MOST, Event, History, event, now

# What goes wrong with MongoDB: MongoEngine wraps what a command answers, and lets through what the connection says.
Error = (PyMongoError, OperationError)

SLOW = timedelta(seconds=20)  # of checks, from which on their owner is told that it takes a while


class Status(StrEnum):
    PENDING = "pending"
    CHECKING = "checking"
    READY = "ready"
    REJECTED = "rejected"
    TRASHED = "trashed"
    DELETING = "deleting"


# The bytes of these are gone, or about to be; a file that is one of them stays so until its document goes.
GONE = [Status.DELETING, Status.REJECTED]
NO_MORE = {"status": {"$in": GONE}}

# Signed by an earlier release, which may run for a while beside this one; or restored from a backup of its time.
NEVER_CHARGED = {"charged": {"$exists": False}, "status": {"$nin": GONE}}

# Only these are listed, so that a signing need not write to four more indexes.
ONLY_READY = {"partialFilterExpression": {"status": Status.READY}}

# What `totals_by` counts, once each. With all that it reads in them too they would have ten times the size, and save a tenth
# of the time: the files are those of the last minutes, which MongoDB has at hand.
BY_WHEN = [{"fields": [when], "partialFilterExpression": {when: {"$exists": True}}} for when in ("ready_at", "rejected_at")]

# The indexes that a query names, since it is slow by any other.
OF_STATUS = {"status": ASCENDING, "created_at": ASCENDING, "_id": ASCENDING}
OF_OWNER = {"owner_id": ASCENDING, "status": ASCENDING}
BY_WORD = {**OF_OWNER, "words": ASCENDING}
BY_KIND = {**OF_OWNER, "kind": ASCENDING}
COMMON = 1_000  # files, from which on it does not matter how many have a word
BY_SIZE = {**BY_KIND, "size": DESCENDING, "_id": DESCENDING}


class Used(NamedTuple):
    files: int
    bytes: int


class Row(NamedTuple):
    """What a list shows of a READY file. Fifty documents of MongoEngine take longer to make than the rest of the page."""

    key: str
    name: str
    size: int
    content_type: str
    ready_at: datetime
    thumbnail: str | None = None

    def place(self, order: Order) -> Cursor:
        if order is Order.NEWEST:
            return Cursor(self.ready_at, self.key)
        return Cursor(names.sorting(self.name) if order is Order.NAME else self.size, self.key)


ROW = dict.fromkeys(("name", "size", "content_type", "ready_at", "thumbnail"), True)
NAMES = dict.fromkeys(("name", "content_type"), True)
COUNTED = dict.fromkeys(("kind", "size", "ready_at", "rejected_at", "reason"), True)


EVERY_KIND = list(Kind)


def name_fields(name: str) -> dict[str, Any]:
    """The fields that follow from a file's name, and the name."""
    return {"name": name, "sort_name": names.sorting(name), "words": names.words_of_name(name)}


def update_operators(fields: Mapping[str, object], more: Mapping[str, object] = {}) -> dict[str, Any]:
    """What MongoDB is told, to write these fields: None among them removes one. With those of `more` operators that say any."""
    written = {name: value for name, value in fields.items() if value is not None}
    removed = {name: True for name, value in fields.items() if value is None}
    return {operator: part for operator, part in {"$set": written, "$unset": removed, **more}.items() if part}


class Signing(NamedTuple):
    """What a sweep needs of a document: which key was signed, and when; and the keys of what was made of its object."""

    key: str
    moment: datetime
    made: tuple[str, ...] = ()

    @property
    def objects(self) -> tuple[str, ...]:
        return (self.key, *self.made)


class FileQuerySet(QuerySet):  # type: ignore[misc]  # mongoengine has no types
    def owned_by(self, owner_id: str) -> Self:
        return self.filter(owner_id=owner_id)  # type: ignore[no-any-return]

    def pending(self) -> Self:
        return self.filter(status=Status.PENDING)  # type: ignore[no-any-return]

    def ready(self) -> Self:
        return self.filter(status=Status.READY)  # type: ignore[no-any-return]

    def trashed(self) -> Self:
        return self.filter(status=Status.TRASHED)  # type: ignore[no-any-return]

    def trashed_before(self, moment: datetime) -> Self:
        return self.filter(status=Status.TRASHED, trashed_at__lte=moment)  # type: ignore[no-any-return]

    def deleting(self) -> Self:
        return self.filter(status=Status.DELETING)  # type: ignore[no-any-return]

    def rejected_before(self, moment: datetime) -> Self:
        """Which may be long after they were signed, of what was checked again; their index has the one time alone."""
        return self.filter(status=Status.REJECTED, created_at__lt=moment, rejected_at__lt=moment)  # type: ignore[no-any-return]

    def expired(self, moment: datetime) -> Self:
        """READY files whose policy lets them live until then."""
        return self.filter(status=Status.READY, expires_at__lte=moment)  # type: ignore[no-any-return]

    def of_policies(self, policies: Iterable[str]) -> Self:
        return self.filter(policy__in=list(policies))  # type: ignore[no-any-return]

    def with_leftovers(self) -> Self:
        """Those that live on while some of their objects are still to go."""
        return self.filter(leftovers__exists=True)  # type: ignore[no-any-return]

    def keyed(self, keys: Iterable[str]) -> Self:
        return self.filter(key__in=list(keys))  # type: ignore[no-any-return]

    def compare_and_set(self, before: Iterable[Status], after: Status, *, who: str, what: str, **fields: Any) -> int:
        """The compare-and-set of several files: how many had one of the statuses `before`. None removes a field."""
        happened = {name: {"$literal": value} for name, value in event(who, what, after).items()}
        trail = {"$concatArrays": [{"$ifNull": ["$trail", []]}, [{**happened, "from": "$status"}]]}
        # A pipeline, since each file's event says what it was before. What is written must not be read as a part of one.
        written = {name: "$$REMOVE" if value is None else {"$literal": value} for name, value in fields.items()}
        change = {"status": {"$literal": after}, "trail": {"$slice": [trail, -MOST]}, **written}
        turned = self.filter(status__in=list(before)).update(__raw__=[{"$set": change}], full_result=True)
        return turned.matched_count  # type: ignore[no-any-return]

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
        found = self.only("key", "created_at", "made").as_pymongo()
        return [Signing(raw["_id"], raw["created_at"], tuple(raw.get("made", ()))) for raw in found]


class File(Document):  # type: ignore[misc]  # mongoengine has no types
    """One upload. Only `files.uploads` changes its status, and only by compare-and-set.

    `name` is what the owner called it; `key` is where its upload went, made by us. `size` is in bytes and, like `content_type`
    and `sha256` (hexadecimal), what the upload URL was signed for. `kind`, `sort_name` and `words` follow from these and are
    what lists filter, sort and search by. Times are UTC.

    `checks` are those that the file has to pass after its arrival; `step` is the one it is at. `check_at` is three things in
    one time: when a check is due again, until when the worker that has the file may go on, and the ticket which that worker
    shows, a new one for each step. `attempts` counts those that began and for whose end the file may be to blame; None: none
    has begun. `made` has the keys of objects that we wrote, of which `cleaned` takes the place of the upload; `leftovers` has
    those that are no longer needed.
    `charged` is what its owner's account was charged for it, in bytes, and `refund` the ticket by which that is given back, see
    `files.quotas`. `trail` is what happened to it, see `files.trail`.
    """

    key: str = StringField(primary_key=True, max_length=1024)
    owner_id: str = StringField(required=True)
    name: str = StringField(required=True, max_length=256)
    content_type: str = StringField(required=True, max_length=255)
    size: int = LongField(required=True, min_value=1)
    status: Status = StringField(required=True, choices=[status.value for status in Status], default=Status.PENDING)
    created_at: datetime = DateTimeField(required=True)
    ready_at: datetime | None = DateTimeField()
    trashed_at: datetime | None = DateTimeField()
    etag: str | None = StringField()
    sha256: str | None = StringField(max_length=64)
    kind: Kind = StringField(choices=[kind.value for kind in Kind])
    sort_name: str = StringField()
    words: list[str] = ListField(StringField())
    policy: str | None = StringField()
    detected: str | None = StringField()
    checks: list[str] = ListField(StringField())
    step: str | None = StringField()
    check_at: datetime | None = DateTimeField()
    attempts: int | None = IntField()
    reason: str | None = StringField()
    rejected_at: datetime | None = DateTimeField()
    dismissed: bool | None = BooleanField()
    expires_at: datetime | None = DateTimeField()
    made: list[str] = ListField(StringField())
    cleaned: str | None = StringField()
    thumbnail: str | None = StringField()
    leftovers: list[str] = ListField(StringField())
    charged: int | None = LongField()
    refund: str | None = StringField()
    trail: list[dict[str, Any]] = ListField(DictField())

    meta = {
        "collection": "files",
        "queryset_class": FileQuerySet,
        "auto_create_index": False,  # `manage.py ensure_indexes` does, so that no request ever waits for one
        "index_cls": False,
        "indexes": [
            # An owner's list, in each of its orders. A list of all kinds is merged from those of each.
            {"fields": ["owner_id", "status", "kind", "-ready_at", "-key"], **ONLY_READY},
            {"fields": ["owner_id", "status", "kind", "sort_name", "key"], **ONLY_READY},
            {"fields": ["owner_id", "status", "kind", "-size", "-key"], **ONLY_READY},
            {"fields": ["owner_id", "status", "words"], **ONLY_READY},
            ("status", "created_at", "key"),  # the sweep
            ("-created_at", "-key"),  # the admin's list
            # An owner's unfinished uploads, what is checked of theirs, and in the admin all that they have.
            ("owner_id", "status", "-created_at", "-key"),
            # What a sweep looks for among files that live.
            {"fields": ["check_at"], "partialFilterExpression": {"status": "checking"}},
            {"fields": ["expires_at"], "partialFilterExpression": {"expires_at": {"$exists": True}}},
            {"fields": ["leftovers"], "partialFilterExpression": {"leftovers": {"$exists": True}}},
            *BY_WHEN,
            # What is in the bucket by another key than its upload's, in that order.
            {"fields": ["cleaned"], "partialFilterExpression": {"cleaned": {"$exists": True}}},
        ],
    }

    def __str__(self) -> str:
        return self.name

    # What every upload asks for goes straight to the driver: MongoEngine's save, first and modify cost as much again as the
    # driver and the network together.

    @classmethod
    def insert(
        cls, *, key: str, owner_id: str, name: str, content_type: str, size: int, created_at: datetime, **more: Any
    ) -> None:
        """Write the document of a new upload. The values are those that `files.forms` has cleaned; None is not written."""
        document = {"_id": key, "owner_id": owner_id, "content_type": content_type, "size": size, **name_fields(name)}
        document |= {field: value for field, value in more.items() if value is not None}
        document["charged"] = size
        trail = [event(owner_id, "signed", Status.PENDING)]
        kind = kind_of(content_type, name)
        cls._get_collection().insert_one(
            {**document, "kind": kind, "status": Status.PENDING, "created_at": created_at, "trail": trail}
        )

    @classmethod
    def find(cls, owner_id: str, key: str, statuses: Iterable[Status]) -> Self | None:
        """The owner's file, if it has one of the statuses."""
        found = cls._get_collection().find_one({"_id": key, "owner_id": owner_id, "status": {"$in": list(statuses)}})
        return found and cls._from_son(found)  # type: ignore[no-any-return]

    @classmethod
    def page(cls, owner_id: str, after: Cursor | None, limit: int, wanted: Wanted = EVERYTHING) -> list[Row]:
        """The owner's READY files behind `after`, in the wanted order."""
        field, direction = wanted.order.field, wanted.order.direction
        kinds = [wanted.kind] if wanted.kind else EVERY_KIND
        ready: dict[str, Any] = {"owner_id": owner_id, "status": Status.READY}
        query, behind = {**ready, "kind": {"$in": kinds}}, "$gt" if direction == ASCENDING else "$lt"
        rest: list[dict[str, Any]] = []
        if after:
            rest = [{field: after.value, "_id": {behind: after.key}}, {field: {behind: after.value}}]
        if wanted.words:
            query["$and"] = [{"words": {"$regex": f"^{word}"}} for word in cls._rarest_first(ready, wanted.words)]
            query |= {"$or": rest} if rest else {}
        elif rest:
            # Each a piece of the index. In one condition for all of it, files with the name of the last one were read again.
            query = {"$or": [{**ready, "kind": kind, **part} for kind in kinds for part in rest]}
        found = cls._get_collection().find(query, ROW).sort({field: direction, "_id": direction}).limit(limit)
        if not wanted.words:
            found = found.hint({**BY_KIND, field: direction, "_id": direction})
        return [
            Row(raw["_id"], raw["name"], raw["size"], raw["content_type"], raw["ready_at"], raw.get("thumbnail"))
            for raw in found.to_list()
        ]

    @classmethod
    def _rarest_first(cls, ready: dict[str, Any], words: tuple[str, ...]) -> list[str]:
        """MongoDB looks the first word up in the index, and the others in the files that it finds by that."""
        if len(words) == 1:
            return list(words)

        def found(word: str) -> int:
            wanted = {**ready, "words": {"$regex": f"^{word}"}}
            return cls._get_collection().count_documents(wanted, limit=COMMON, hint=BY_WORD)  # type: ignore[no-any-return]

        return sorted(words, key=found)

    @classmethod
    def usage(cls, owner_id: str) -> dict[Kind, Used]:
        """How much the owner's READY files take, by kind: from the index of sizes alone, about a second for a million."""
        found = cls._get_collection().aggregate(
            [
                {"$match": {"owner_id": owner_id, "status": Status.READY, "kind": {"$in": EVERY_KIND}}},
                {"$group": {"_id": "$kind", "files": {"$sum": 1}, "bytes": {"$sum": "$size"}}},
            ],
            hint=BY_SIZE,
        )
        return {Kind(raw["_id"]): Used(raw["files"], raw["bytes"]) for raw in found}

    @classmethod
    def fill_in(cls) -> int:
        """Give files of an earlier version what lists filter, sort and search by. Return how many there were."""
        collection, old, last, filled = cls._get_collection(), {"words": {"$exists": False}}, "", 0
        # By key, so that no file is looked at twice.
        while some := collection.find({**old, "_id": {"$gt": last}}, NAMES).sort("_id").limit(1000).to_list():
            last = some[-1]["_id"]
            # A file that is renamed meanwhile has its words, and is left alone.
            written = collection.bulk_write(
                [
                    UpdateOne(
                        {"_id": raw["_id"], **old},
                        {"$set": {"kind": kind_of(raw["content_type"], raw["name"]), **name_fields(raw["name"])}},
                    )
                    for raw in some
                ],
                ordered=False,
            )
            filled += written.modified_count
        return filled

    @classmethod
    def take_refunds(cls, tickets: Mapping[str, str]) -> None:
        """Write down by which ticket each of these files is given back, if its bytes are gone for good and it has none yet."""
        if tickets:
            changes = [
                UpdateOne({"_id": key, **NO_MORE, "refund": {"$exists": False}}, {"$set": {"refund": ticket}})
                for key, ticket in tickets.items()
            ]
            cls._get_collection().bulk_write(changes, ordered=False)

    @classmethod
    def charged_of(cls, keys: Mapping[str, str], *, but: list[str], leaving: list[str], uncharged: bool = False) -> Used:
        """The sums of what is charged under these keys and not given back: without a ticket, or with one that is `leaving`.
        With `uncharged`, those of what lives and was never charged too.
        """
        # In one condition: a document takes its ticket between two, and would be counted twice or not at all.
        counted: list[dict[str, Any]] = [{"charged": {"$exists": True}, "refund": {"$in": [None, *leaving]}}]
        if uncharged:
            counted.append(NEVER_CHARGED)
        charged = {"_id": {**keys, "$nin": but}, "$or": counted}
        bytes_ = {"$sum": {"$ifNull": ["$charged", "$size"]}}
        sums = {"$group": {"_id": None, "files": {"$sum": 1}, "bytes": bytes_}}
        found = next(iter(cls._get_collection().aggregate([{"$match": charged}, sums])), {"files": 0, "bytes": 0})
        return Used(found["files"], found["bytes"])

    @classmethod
    def charge_uncharged(cls, keys: Mapping[str, str]) -> None:
        """Make what lives under these keys and was never charged count, see `files.quotas`."""
        cls._get_collection().update_many({"_id": keys, **NEVER_CHARGED}, [{"$set": {"charged": "$size"}}])

    @classmethod
    def unfinished(cls, owner_id: str, limit: int) -> list[Self]:
        """The owner's PENDING files, the newest first."""
        wanted = {"owner_id": owner_id, "status": Status.PENDING}
        found = cls._get_collection().find(wanted).sort({"created_at": -1}).limit(limit)
        return [cls._from_son(raw) for raw in found.to_list()]

    def row(self) -> Row:
        assert self.ready_at is not None, "only ready files are listed"
        return Row(self.key, self.name, self.size, self.content_type, self.ready_at, self.thumbnail)

    @classmethod
    def in_checking(cls, owner_id: str, limit: int) -> list[Self]:
        """The owner's files that are being checked, and those that were rejected and not dismissed; the newest first."""
        checked = {"owner_id": owner_id, "status": {"$in": [Status.CHECKING, Status.REJECTED]}}
        wanted = {**checked, "check_at": {"$exists": True}, "dismissed": None}
        found = cls._get_collection().find(wanted).sort({"created_at": -1}).limit(limit)
        return [cls._from_son(raw) for raw in found.to_list()]

    @classmethod
    def count(cls, status: Status, limit: int) -> int:
        """How many files have that status, counted to `limit`."""
        return cls._get_collection().count_documents({"status": status}, limit=limit)  # type: ignore[no-any-return]

    @classmethod
    def due_for_a_check(cls, moment: datetime, limit: int) -> list[str]:
        """The keys of CHECKING files that nobody works on at that moment, the longest waiting first."""
        due = {"status": Status.CHECKING, "check_at": {"$lte": moment}}
        return [raw["_id"] for raw in cls._get_collection().find(due, {"_id": 1}).sort({"check_at": 1}).limit(limit).to_list()]

    @classmethod
    def waiting(cls, status: Status, after: datetime, until: datetime, most: int) -> int:
        """How many files of the status were signed in (after, until], counted up to `most`."""
        wanted = {"status": status, "created_at": {"$gt": after, "$lte": until}}
        return cls._get_collection().count_documents(wanted, limit=most, hint=OF_STATUS)  # type: ignore[no-any-return]

    @classmethod
    def waiting_since(cls, status: Status) -> datetime | None:
        """When the oldest file of the status was signed."""
        oldest = cls._get_collection().find({"status": status}, {"created_at": 1}).sort({"created_at": 1}).limit(1).to_list()
        return oldest[0]["created_at"] if oldest else None

    @classmethod
    def checking_since(cls, most: int) -> list[datetime]:
        """Since when each CHECKING file is being checked, the longest first; `most` of them, those that were signed first.

        By the last event: what staff have checked again may have been signed years ago.
        """
        since = {"$ifNull": [{"$last": "$trail.at"}, "$created_at"]}
        some: list[dict[str, Any]] = [{"$match": {"status": Status.CHECKING}}, {"$limit": most}]
        found = cls._get_collection().aggregate(
            [*some, {"$project": {"_id": 0, "since": since}}, {"$sort": {"since": 1}}], hint=OF_STATUS
        )
        return [raw["since"] for raw in found]

    @classmethod
    def compare_and_set(
        cls,
        key: str,
        before: Status,
        after: Status,
        *,
        who: str,
        what: str,
        reason: str | None = None,
        having: Mapping[str, object] = {},
        **fields: Any,
    ) -> Self | None:
        """The one compare-and-set: the file as it is now, or None if its status was not `before` or it is not as in `having`.
        None among the `fields` removes one.
        """
        happened = event(who, what, after, before=before, reason=reason)
        fields |= {"status": after} | ({"reason": reason} if reason else {})
        return cls._change({"_id": key, "status": before, **having}, fields, {"trail": {"$each": [happened], "$slice": -MOST}})

    @classmethod
    def update_if(
        cls, key: str, status: Status, *, having: Mapping[str, object] = {}, counted: str | None = None, **fields: Any
    ) -> Self | None:
        """Change what is known of a file that has the status, and is as in `having`; the same compare-and-set, but no event."""
        return cls._change({"_id": key, "status": status, **having}, fields, counted=counted)

    @classmethod
    def _change(
        cls,
        having: Mapping[str, object],
        fields: Mapping[str, object],
        pushed: Mapping[str, object] | None = None,
        counted: str | None = None,
    ) -> Self | None:
        parts = update_operators(fields, {"$push": pushed, "$inc": counted and {counted: 1}})
        found = cls._get_collection().find_one_and_update(having, parts, return_document=ReturnDocument.AFTER)
        return found and cls._from_son(found)  # type: ignore[no-any-return]

    @property
    def why(self) -> str:
        """For its owner, why it was rejected."""
        return str(SENTENCES[Reason(self.reason)]) if self.reason else ""

    @property
    def stage(self) -> str:
        """Of its checks: the step that it is at, or that one of some which takes long; perhaps what it needs is down."""
        return f"slow-{self.step}" if self.unchanged_for > SLOW else str(self.step)

    @property
    def unchanged_for(self) -> timedelta:
        """How long ago its status was written last, or a check was asked for."""
        return now() - self.trail[-1]["at"] if self.trail else timedelta()

    @property
    def object_key(self) -> str:
        """Where the bucket has what is downloaded."""
        return self.cleaned or self.key

    @property
    def signing(self) -> Signing:
        return Signing(self.key, self.created_at, tuple(self.made))


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


class Share(Document):  # type: ignore[misc]  # mongoengine has no types
    """A link to a file for whoever has it, until `expires_at` (UTC), for `limit` downloads where there is one.

    `password` is what Django's hashers made of it. Whoever knows the token has the link, so the token is never logged.
    """

    token: str = StringField(primary_key=True)
    key: str = StringField(required=True, max_length=1024)
    owner_id: str = StringField(required=True)
    created_at: datetime = DateTimeField(required=True)
    expires_at: datetime = DateTimeField(required=True)
    password: str | None = StringField()
    limit: int | None = IntField(min_value=1)
    downloads: int = IntField(default=0)

    meta = {
        "collection": "shares",
        "auto_create_index": False,
        "index_cls": False,
        "indexes": [
            ("key", "-created_at"),  # an owner's list, and what goes with a file
            # MongoDB removes what has expired by itself, within a minute or so; until then `find` knows.
            {"fields": ["expires_at"], "expireAfterSeconds": 0},
        ],
    }

    @classmethod
    def find(cls, token: str, moment: datetime) -> Self | None:
        """The link, if it has not expired at that moment."""
        return cls.objects(token=token, expires_at__gt=moment).first()  # type: ignore[no-any-return]

    @classmethod
    def links_to(cls, owner_id: str, key: str, moment: datetime) -> list[Self]:
        """The links to the owner's file that have not expired, newest first."""
        return list(cls.objects(owner_id=owner_id, key=key, expires_at__gt=moment).order_by("-created_at", "token"))

    @classmethod
    def count_download(cls, token: str, moment: datetime) -> bool:
        """The one compare-and-set: count a download of a link that lives at that moment and has one left. Return whether."""
        one_left = {"$or": [{"limit": None}, {"$expr": {"$lt": ["$downloads", "$limit"]}}]}
        lives = {"_id": token, "expires_at": {"$gt": moment}}
        return cls._get_collection().update_one({**lives, **one_left}, {"$inc": {"downloads": 1}}).modified_count == 1  # type: ignore[no-any-return]

    @classmethod
    def forget(cls, keys: Iterable[str]) -> None:
        """Remove all links to these files."""
        cls._get_collection().delete_many({"key": {"$in": list(keys)}})

    @property
    def used_up(self) -> bool:
        return self.limit is not None and self.downloads >= self.limit

    @property
    def downloads_left(self) -> int | None:
        return None if self.limit is None else max(self.limit - self.downloads, 0)


class Past(Document):  # type: ignore[misc]  # mongoengine has no types
    """What happened to a file whose document is gone; MongoDB removes it when `files.trail.KEPT` is over."""

    key: str = StringField(primary_key=True, max_length=1024)
    owner_id: str = StringField()
    policy: str | None = StringField()
    gone_at: datetime = DateTimeField()
    trail: list[dict[str, Any]] = ListField(DictField())
    kind: Kind = StringField()
    size: int = LongField()
    ready_at: datetime | None = DateTimeField()
    rejected_at: datetime | None = DateTimeField()
    reason: str | None = StringField()

    meta = {
        "collection": "past",
        "auto_create_index": False,
        "index_cls": False,
        "indexes": [
            {"fields": ["gone_at"], "expireAfterSeconds": int(KEPT.total_seconds())},
            ("owner_id", "-gone_at"),  # an owner's page in the admin
            *BY_WHEN,
        ],
    }

    @classmethod
    def keep(cls, keys: Iterable[str], happened: Mapping[str, object]) -> None:
        """Copy what happened to these DELETING files, within MongoDB. Done again, it changes nothing but the last moment."""
        trail = {"$concatArrays": [{"$ifNull": ["$trail", []]}, [{"$literal": happened}]]}
        File._get_collection().aggregate(
            [
                {"$match": {"_id": {"$in": list(keys)}, "status": Status.DELETING}},
                {"$project": {**COUNTED, "owner_id": 1, "policy": 1, "gone_at": {"$literal": happened["at"]}, "trail": trail}},
                {"$merge": {"into": cls._get_collection_name(), "whenMatched": "replace"}},
            ]
        )


def history(key: str) -> History | None:
    """What happened to a file, also to one that is gone; None where nothing is known."""
    for collection in (File._get_collection(), Past._get_collection()):
        if found := collection.find_one({"_id": key}, {"owner_id": 1, "policy": 1, "trail": 1}):
            return History(found["owner_id"], found.get("policy"), [Event.of(raw) for raw in found.get("trail", [])])
    return None


def totals_by(when: str, by: str, start: datetime, end: datetime) -> dict[str, Used]:
    """The files whose time `when` is in [start, end), and their bytes, by their field `by`; those that are gone, too.

    Each once, also one that goes meanwhile: the collections are read in the order in which it is moved, and a key counts once.
    """
    of_then: list[dict[str, Any]] = [{"$match": {when: {"$gte": start, "$lt": end}}}, {"$project": {by: 1, "size": 1}}]
    known_by = {"$ifNull": [f"${by}", Kind.OTHER]}
    # Also what no majority has yet: it may have one later, when these hours were counted.
    there = File._get_collection().with_options(read_concern=ReadConcern("local"))
    found = there.aggregate(
        [
            *of_then,
            {"$unionWith": {"coll": Past._get_collection_name(), "pipeline": of_then}},
            {"$group": {"_id": "$_id", "by": {"$first": known_by}, "size": {"$first": "$size"}}},
            {"$group": {"_id": "$by", "files": {"$sum": 1}, "bytes": {"$sum": "$size"}}},
        ]
    )
    return {raw["_id"]: Used(raw["files"], raw["bytes"]) for raw in found}


def end_of_batch(when: str, start: datetime, end: datetime, most: int) -> datetime:
    """Until when so many files of a collection have their time `when` at the most, from `start` on; `end` if it is all."""
    there = {when: {"$gte": start, "$lt": end}}
    times = [
        raw[when]
        for collection in (File._get_collection(), Past._get_collection())
        for raw in collection.find(there, {when: 1, "_id": 0}).sort({when: 1}).skip(most).limit(1).to_list()
    ]
    return min(times, default=end)
