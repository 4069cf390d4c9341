"""What staff do to many files at once, by Celery: delete, check again, expire now. `Job` is the record of it, and its queue.

      (nothing) --ask--> ASKED --start--> QUEUED --> RUNNING --> FINISHED, or FAILED after attempts that came to nothing
                           '---- cancel ----+-----------'------> CANCELLED

A job is asked for and looked at before it is started, and what it is for does not change meanwhile: keys, or a query and the
moment from which on what is signed is no part of it. It goes through the files in the order of (created_at, key), which no
action changes, a batch at a time. The batch is written into the job before it is worked on, and every action can be repeated:
who does it and which job is in each file's trail, by which it is counted too. So whoever comes after a worker that died begins
with the batch in hand.

Only one worker at a time has a job. Its `due_at` sees to that, as with `files.checking`, and is three things in one:
- the schedule: until then somebody works on the job, or is about to; after that `queue_due` queues it again;
- the ticket: a message in the queue carries the `due_at` that it was sent for, and is good for as long as that stands;
- the lease: a worker claims the job by its ticket, which moves `due_at` on by LEASE, and renews that with everything it writes.
  Each time it compares and sets `due_at`, so that a worker that was too slow finds another there, writes nothing, and stops.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Self

import bson
import pymongo
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError
from mongoengine import BinaryField, DateTimeField, Document, IntField, ListField, StringField
from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.errors import ExecutionTimeout, NetworkTimeout

from . import checking, storage, sweeps, trail, uploads, worker
from .documents import File, Past, Status, update_operators
from .models import StoredFile
from .trail import KEPT, OPS, now

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=2)  # in which a batch is done; files.tasks ends whoever takes longer
SLICE = 10  # seconds of work, after which a job goes to the end of the queue: uploads wait there to be checked
QUEUED = timedelta(minutes=1)  # until one that was queued is queued again, since the queue may have lost it
AGAIN = timedelta(seconds=15)  # after the bucket was down
PACE = 2  # seconds between looks at how far the checks are
ATTEMPTS = 5  # that end where they began
WINDOW = 50_000  # files among which the next batch is looked for; where the query has no index each is read
LOOKS_FOR = 60  # seconds, for that
COUNTS_FOR = 20  # seconds, once
ASKED_LIVES = timedelta(days=1)
SUMMED_UP = 10_000  # files of which the page that asks knows owners and statuses
SUMMED_UP_WITHIN = 2  # seconds
NAMED = 100
TOO_SLOW = (ExecutionTimeout, NetworkTimeout)  # as MongoDB says it, or the driver that waited no longer


class Action(StrEnum):
    DELETE = "delete"
    CHECK_AGAIN = "check again"
    EXPIRE = "expire now"


class State(StrEnum):
    ASKED = "asked"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


ENDED = (State.FINISHED, State.CANCELLED, State.FAILED)


@dataclass(frozen=True, slots=True)
class Act:
    """What an action does with a batch of keys, and how it is told in a file's trail."""

    do: Callable[..., object]
    event: str
    takes: tuple[Status, ...]
    batch: int
    # No more than so many files of a job are CHECKING at once: their owners miss them, and uploads wait behind them.
    at_once: int | None = None


ACTS: dict[Action, Act] = {
    Action.DELETE: Act(sweeps.delete, "deleted", tuple(Status), 1_000),
    Action.CHECK_AGAIN: Act(uploads.check_again, uploads.CHECK_AGAIN, (Status.READY, Status.CHECKING), 100, at_once=100),
    Action.EXPIRE: Act(sweeps.give_up, "expired", (Status.PENDING,), 1_000),
}


class Job(Document):  # type: ignore[misc]  # mongoengine has no types
    """One act on many files. `who` is the id of whoever asked; `keys` or `query` (MongoDB's, as BSON) say for what,
    `chosen` says it in words, and `listed` is the address of the list it was chosen from. `total` is None where it was not
    counted in time. Of the files `done`, some were `changed`, and the rest skipped. Times are UTC.
    """

    key: str = StringField(primary_key=True)
    action: Action = StringField(required=True)
    who: str = StringField(required=True)
    keys: list[str] = ListField(StringField())
    query: bytes | None = BinaryField()
    chosen: str = StringField()
    listed: str = StringField()
    asked_at: datetime = DateTimeField(required=True)
    started_at: datetime | None = DateTimeField()
    ended_at: datetime | None = DateTimeField()
    gone_at: datetime | None = DateTimeField()  # MongoDB removes it then
    state: State = StringField(required=True)
    due_at: datetime | None = DateTimeField()  # nobody works on it from then on
    attempts: int = IntField(default=0)
    batch: list[str] = ListField(StringField())  # in hand
    cursor_at: datetime | None = DateTimeField()
    # Where the search goes on: behind the last file of the batch in hand, or of the one before; without a key, behind all files
    # of that moment.
    cursor_key: str | None = StringField()
    waits: str | None = StringField()  # why
    total: int | None = IntField()
    done: int = IntField(default=0)
    changed: int = IntField(default=0)
    refused: int = IntField(default=0)  # by the bucket; the sweep tries again

    meta = {
        "collection": "jobs",
        "auto_create_index": False,
        "index_cls": False,
        "indexes": [
            "-asked_at",
            {"fields": ["due_at"], "partialFilterExpression": {"due_at": {"$exists": True}}},
            {"fields": ["gone_at"], "expireAfterSeconds": 0},
        ],
    }

    @classmethod
    def find(cls, key: str) -> Self | None:
        return cls.objects(key=key).first()  # type: ignore[no-any-return]

    @classmethod
    def recent(cls, limit: int) -> list[Self]:
        return list(cls.objects(state__ne=State.ASKED).order_by("-asked_at").limit(limit))

    @classmethod
    def compare_and_set(
        cls, key: str, before: tuple[State, ...], having: Mapping[str, object] = {}, **fields: Any
    ) -> Self | None:
        """The one compare-and-set: the job as it is now, or None if its state was none of `before` or it is not as in `having`.
        None among the `fields` removes one; a number under `counted` is added.
        """
        counted = fields.pop("counted", {})
        parts = update_operators(fields, {"$inc": counted})
        wanted = {"_id": key, "state": {"$in": list(before)}, **having}
        found = cls._get_collection().find_one_and_update(wanted, parts, return_document=ReturnDocument.AFTER)
        return found and cls._from_son(found)  # type: ignore[no-any-return]

    @property
    def act(self) -> Act:
        return ACTS[Action(self.action)]

    @property
    def actor(self) -> str:
        return f"{OPS}{self.who}"

    @property
    def cause(self) -> str:
        """What the trail of a file has in the place of a request."""
        return f"job-{self.key}"

    @property
    def skipped(self) -> int:
        return self.done - self.changed

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def percent(self) -> int | None:
        return min(100, 100 * self.done // self.total) if self.total else None

    def of_its_files(self, **more: Any) -> dict[str, Any]:
        """MongoDB's query for the files that it is for."""
        chosen = bson.decode(self.query) if self.query is not None else {"_id": {"$in": self.keys}}
        return {"$and": [chosen, {"created_at": {"$lte": self.asked_at}}, more]}


# --- asked for, looked at, started, cancelled ------------------------------------------------------------------------------


def ask(
    action: Action,
    who: str,
    *,
    keys: list[str] | None = None,
    query: Mapping[str, Any] | None = None,
    chosen: str,
    listed: str = "",
) -> Job:
    """Write down what is wanted; `start` has it done."""
    moment = now()
    job = Job(
        key=secrets.token_hex(8),
        action=action,
        who=who,
        keys=list(dict.fromkeys(keys or [])),
        query=None if query is None else bson.encode(query),
        chosen=chosen,
        listed=listed,
        asked_at=moment,
        gone_at=moment + ASKED_LIVES,
        state=State.ASKED,
    )
    job.save(force_insert=True)
    return job


class Named(NamedTuple):
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a job is for, as far as the first files show it. `whole`: there are no others."""

    files: int
    owners: int
    statuses: list[tuple[str, int]]
    named: list[Named]
    whole: bool


def summary(job: Job) -> Summary | None:
    """None where the files are not found in time."""
    fields = {"owner_id": 1, "status": 1, "name": 1}
    try:
        with pymongo.timeout(SUMMED_UP_WITHIN):
            found = File._get_collection().find(job.of_its_files(), fields).limit(SUMMED_UP + 1).to_list()
    except TOO_SLOW:
        return None
    some = found[:SUMMED_UP]
    statuses = Counter(raw["status"] for raw in some)
    return Summary(
        files=len(some),
        owners=len({raw["owner_id"] for raw in some}),
        statuses=sorted(statuses.items()),
        named=[Named(raw["_id"], raw["name"]) for raw in some[:NAMED]],
        whole=len(found) == len(some),
    )


def start(job: Job) -> Job | None:
    """None if it was started before, or cancelled. The history is written before: the job goes on whatever the caller does."""
    started = Job.compare_and_set(job.key, (State.ASKED,), state=State.QUEUED, due_at=now() + QUEUED, gone_at=None)
    if started:
        queue(started)
    return started


def cancel(job: Job) -> Job | None:
    """Stop it behind the batch in hand. What is done is done. None if it has ended before. The history is written before."""
    moment = now()
    living = tuple(state for state in State if state not in ENDED)
    return Job.compare_and_set(job.key, living, state=State.CANCELLED, ended_at=moment, gone_at=moment + KEPT)


def in_history(job: Job, what: str, *, who: str | None = None) -> bool:
    """Write it into the admin's history, once. Return whether this was that time."""
    user = User.objects.filter(pk=who or job.who).first()
    if user is None:
        return False  # whose history went with them
    said = f"{what}: {job.action}, {job.chosen}. Job {job.key}."
    if job.started_at:
        said += f" Files looked at: {job.done}, changed: {job.changed}, refused by the bucket: {job.refused}."
    _entry, written = LogEntry.objects.get_or_create(
        user=user,
        content_type_id=get_content_type_for_model(StoredFile).pk,
        object_repr=f"{job.action}: {job.chosen}"[:200],
        action_flag=CHANGE,
        change_message=said,
    )
    return written


# --- worked on: files.tasks calls these --------------------------------------------------------------------------------------


def queue(job: Job, countdown: int | None = None) -> bool:
    """Have it worked on soon. What the queue does not take, `queue_due` does."""
    assert job.due_at is not None, "a job that was started has a ticket"
    return checking.send("work", countdown=countdown, key=job.key, ticket=job.due_at.isoformat())


def queue_due() -> int:
    """Queue the jobs that nobody works on, until the queue takes no more. Return how many it took."""
    if worker.is_behind():
        return 0
    moment = now()
    waiting = {"due_at": {"$lte": moment}}
    found = Job._get_collection().find({"state": {"$in": LIVING}, **waiting}, {"_id": 1}).sort("due_at", ASCENDING)
    due = (Job.compare_and_set(raw["_id"], LIVING, waiting, due_at=moment + QUEUED) for raw in found)
    return len(list(itertools.takewhile(queue, (job for job in due if job))))


LIVING = (State.QUEUED, State.RUNNING)


def work(key: str, ticket: datetime) -> None:
    """Go on with a job for SLICE, then let others come before it. Does nothing with a ticket that is no longer good."""
    job = _claim(key, ticket)
    ends = time.monotonic() + SLICE
    try:
        with trail.caused_by(job and job.cause):
            while job and job.state == State.RUNNING and time.monotonic() < ends:
                job = _work_on(job)
    except tuple(DOWN) as error:
        what = next(name for kind, name in DOWN.items() if isinstance(error, kind))
        logger.warning("job %s has to wait, since %s does not answer: %s", key, what, error)
        assert job is not None, "somebody was at work"
        _hand_back(job, AGAIN, waits=f"{what} does not answer. It goes on by itself when that is back.")
    else:
        if job and (handed_back := _hand_back(job, QUEUED)):
            queue(handed_back)


# With MongoDB down nothing can be written down: the ticket runs out.
DOWN: dict[type[Exception], str] = {
    **dict.fromkeys(storage.Error, "The bucket"),
    **dict.fromkeys((OperationalError, InterfaceError), "The database"),
}


def _claim(key: str, ticket: datetime) -> Job | None:
    """Begin the lease. None: the ticket is no longer good, or there were too many attempts."""
    having = {"due_at": ticket}
    job = Job.compare_and_set(key, LIVING, having, state=State.RUNNING, due_at=now() + LEASE, counted={"attempts": 1})
    if job is None:
        return None
    if job.attempts > ATTEMPTS:
        _end(job, State.FAILED)
        return None
    return job if job.started_at else _renew_lease(job, started_at=now(), total=_count_files(job))


def _count_files(job: Job) -> int | None:
    try:
        with pymongo.timeout(COUNTS_FOR):
            return File._get_collection().count_documents(job.of_its_files())  # type: ignore[no-any-return]
    except TOO_SLOW:
        return None


def _renew_lease(job: Job, **change: Any) -> Job | None:
    """Write a change, and keep the job for another LEASE; None if it is lost. A cancelled job still says how far it got."""
    known = (*LIVING, State.CANCELLED)
    return Job.compare_and_set(job.key, known, {"due_at": job.due_at}, **{"due_at": now() + LEASE, **change})


def _hand_back(job: Job, wait: timedelta, **change: Any) -> Job | None:
    """Leave the job to whoever comes next, by the new ticket or when the wait is over; None if it is lost."""
    return Job.compare_and_set(job.key, LIVING, {"due_at": job.due_at}, due_at=now() + wait, attempts=0, **change)


def _work_on(job: Job) -> Job | None:
    """Do the batch in hand, or find the next one. None if the job is lost, has ended or has to wait."""
    if job.batch:
        job.act.do(job.batch, who=job.actor)
        if job.action == Action.CHECK_AGAIN:
            checking.queue_due()
        return _renew_lease(job, batch=None, waits=None, attempts=0, counted=_outcome(job))
    if (most := job.act.at_once) and (checked := _being_checked(job)) >= most:
        waiting = _hand_back(job, QUEUED, waits=f"{checked} files are being checked; the next are taken when most of them are.")
        if waiting:
            queue(waiting, PACE)
        return None
    files, end = _next_batch(job)
    if files:
        last = files[-1]
        return _renew_lease(job, batch=[raw["_id"] for raw in files], cursor_at=last["created_at"], cursor_key=last["_id"])
    if end:
        return _renew_lease(job, cursor_at=end, cursor_key=None, attempts=0)
    _end(job, State.FINISHED)
    return None


def _next_batch(job: Job) -> tuple[list[dict[str, Any]], datetime | None]:
    """The next batch, out of the WINDOW files that are next whether they match or not; and the moment up to which it looked, or
    None if that was all.

    So the cursor moves on where nothing matches for long. A search through all the rest, cut off, would begin anew each time.
    """
    files, behind, by_time = File._get_collection(), _behind_cursor(job), {"created_at": ASCENDING, "_id": ASCENDING}
    with pymongo.timeout(LOOKS_FOR):
        if job.keys:
            found = files.find(job.of_its_files(**behind), WHEN, hint={"_id": ASCENDING})
            return found.sort(by_time).limit(job.act.batch).to_list(), None
        moments = behind.get("created_at", {})
        there = {"created_at": {**moments, "$lte": job.asked_at}}
        beyond = next(files.find(there, WHEN, hint=BY_TIME).sort(by_time).skip(WINDOW).limit(1), None)
        end = beyond and beyond["created_at"]
        window = behind | {"created_at": {**moments, "$lte": end or job.asked_at}}
        return files.find(job.of_its_files(**window), WHEN).sort(by_time).limit(job.act.batch).to_list(), end


def _behind_cursor(job: Job) -> dict[str, Any]:
    """MongoDB's query for what is behind the cursor.

    Not as a `$or`: its part with the key may be looked up in the index of all keys, and that be read to its end.
    """
    if job.cursor_at is None:
        return {}
    if job.cursor_key is None:
        return {"created_at": {"$gt": job.cursor_at}}
    return {"created_at": {"$gte": job.cursor_at}, "$nor": [{"created_at": job.cursor_at, "_id": {"$lte": job.cursor_key}}]}


WHEN = {"created_at": True}
BY_TIME = {"created_at": DESCENDING, "_id": DESCENDING}


def _of_its_doing(job: Job) -> dict[str, Any]:
    return {"trail": {"$elemMatch": {"what": job.act.event, "request": job.cause}}}


def _being_checked(job: Job) -> int:
    """How many of the files that it sent through their checks are not through."""
    waiting = {"status": Status.CHECKING, "check_at": {"$exists": True}, **_of_its_doing(job)}
    with pymongo.timeout(COUNTS_FOR):  # all that is CHECKING is looked at
        return File._get_collection().count_documents(waiting, limit=job.act.at_once or 0, hint={"check_at": ASCENDING})  # type: ignore[no-any-return]


def _outcome(job: Job) -> dict[str, int]:
    """What became of the batch in hand, by whichever worker: the trails know, of files that are gone too."""
    mine = {"_id": {"$in": job.batch}, **_of_its_doing(job)}
    here = {raw["_id"]: raw["status"] for raw in File._get_collection().find(mine, {"status": 1})}
    gone = {raw["_id"] for raw in Past._get_collection().find(mine, {"_id": 1})}
    refused = [key for key, status in here.items() if status == Status.DELETING]
    return {"done": len(job.batch), "changed": len(gone | here.keys()), "refused": len(refused)}


def _end(job: Job, state: State) -> None:
    in_history(job, state.capitalize())  # first: once it has ended nobody comes here again
    moment = now()
    ended: dict[str, Any] = {"state": state, "ended_at": moment, "gone_at": moment + KEPT, "due_at": None, "waits": None}
    Job.compare_and_set(job.key, LIVING, {"due_at": job.due_at}, **ended)
