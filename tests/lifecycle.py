"""What the tests of a file's life share: a look at both stores, a bucket to break, and processes that act on their own.

Run as a program (`python -m tests.lifecycle`) it is such a process: one order a line on standard input, as JSON, and one
answer a line on standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from uploadkit.localstack import Process

ROOT = Path(__file__).parent.parent
ALL_OF_AN_HOUR = timedelta(hours=2)  # older than an hour, and so than any upload that is waited for


# --- a look at both stores ------------------------------------------------------------------------------------------


def somebody() -> User:
    """An owner whom no other test ever had, so that the whole of their corner of the bucket can be compared."""
    from django.contrib.auth.models import User

    return User(pk=secrets.randbelow(10**15) + 10**15)


def objects(owner: User) -> set[str]:
    """The keys that the bucket has of the owner."""
    from django.conf import settings

    from files import storage

    pages = storage._client().get_paginator("list_objects_v2").paginate(Bucket=settings.R2_BUCKET, Prefix=f"u/{owner.pk}/")
    return {item["Key"] for page in pages for item in page.get("Contents", [])}


def documents(owner: User) -> dict[str, str]:
    """The owner's keys that MongoDB has, each with its status."""
    from files.documents import File

    return dict(File.objects.owned_by(str(owner.pk)).scalar("key", "status"))


def drift(owner: User) -> tuple[int, int]:
    """How many files, and bytes, the owner's account says there are more than there are."""
    from files import quotas

    said, found = quotas.recount(str(owner.pk))
    return said.files - found.files, said.bytes - found.bytes


def age_what_is_held(by: timedelta = ALL_OF_AN_HOUR, *, written: bool = False) -> None:
    """Make it as if all that is held had been charged that much earlier; or that of which there is a document by now."""
    from pymongo import UpdateOne

    from files.documents import File
    from files.quotas import Account

    accounts, files = Account._get_collection(), File._get_collection()
    for account in accounts.find({"held": {"$exists": True}}):
        keys = [held["key"] for held in account["held"].values()]
        there = {raw["_id"] for raw in files.find({"_id": {"$in": keys}}, {"_id": 1})}
        changes = [
            UpdateOne({"_id": account["_id"], f"held.{name}.at": held["at"]}, {"$set": {f"held.{name}.at": held["at"] - by}})
            for name, held in account["held"].items()
            if not written or held["key"] in there
        ]
        if changes:
            accounts.bulk_write(changes)


def age_spent_keys(by: timedelta) -> None:
    """Make it as if the keys whose documents are gone had been signed that much earlier."""
    from files.documents import SpentKey

    for spent in SpentKey.objects:
        SpentKey.objects(key=spent.key).update(signed_at=spent.signed_at - by, look_at=spent.look_at - by)


def disagreements(owner: User) -> list[str]:
    """What must never be: an object that no document knows, a READY or TRASHED document without its objects."""
    from files.documents import File

    files, stored = list(File.objects.owned_by(str(owner.pk))), objects(owner)
    known = {key for file in files for key in file.signing.objects}
    kept = [file for file in files if file.status in ("ready", "trashed")]
    missing = {key for file in kept for key in (file.object_key, file.thumbnail) if key} - stored
    return [f"no document has {key}" for key in stored - known] + [f"no object for {key}" for key in missing]


def put_object(key: str, body: bytes = b"%PDF-", content_type: str = "application/pdf", **more: Any) -> None:
    """Write an object past the upload URL and its signature."""
    from django.conf import settings

    from files import storage

    storage._client().put_object(Bucket=settings.R2_BUCKET, Key=key, Body=body, ContentType=content_type, **more)


def backdate(keys: Iterable[str], by: timedelta = ALL_OF_AN_HOUR) -> None:
    """Make it as if the uploads had been signed that long ago, and rejected at once where they are."""
    from files import uploads
    from files.documents import File

    moment, files = uploads.now() - by, File.objects.keyed(keys)
    files.update(created_at=moment)
    files.filter(rejected_at__exists=True).update(rejected_at=moment)


def let_the_trash_lie(keys: Iterable[str], by: timedelta = ALL_OF_AN_HOUR) -> None:
    """Make it as if those of the files that are in the trash were there for so long."""
    from files import uploads
    from files.documents import File

    File.objects.keyed(keys).trashed().update(trashed_at=uploads.now() - by)


def keys_in(html: str) -> list[str]:
    """The keys of the files that a page or a fragment lists, in their order."""
    return re.findall(r'href="/files/([^"]+)/download"', html)


# --- a bucket to break ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def own_bucket(settings: Any, folder: Path, *, may_write: str | None = None, may_read: bool = True) -> Iterator[Process]:
    """Point the app at a SeaweedFS that only this test has. `may_write` confines what the app may write to a prefix, and
    may leave it nothing that it `may_read`.
    """
    from files import storage
    from uploadkit import localstack

    server = localstack.seaweedfs(folder)
    if may_write is not None:
        _confine(folder / "s3" / "identities.json", settings.R2_BUCKET, may_write, may_read)
    server.start()
    try:
        server.wait_until_ready()
        settings.R2_ENDPOINT_URL = f"http://{localstack.HOST}:{server.port}"
        ask_the_bucket_anew()
        storage.set_up(["http://testserver"])
        if may_write is not None:
            settings.R2_ACCESS_KEY_ID = settings.R2_SECRET_ACCESS_KEY = "confined"
            ask_the_bucket_anew()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        ask_the_bucket_anew()


@contextlib.contextmanager
def own_mongod(settings: Any, folder: Path) -> Iterator[Process]:
    """Keep files in a MongoDB that only this test has."""
    import mongoengine
    from mongoengine.context_managers import switch_db

    from files.documents import File
    from uploadkit import localstack

    server = localstack.mongod(folder)
    server.start()
    try:
        server.wait_until_ready()
        uri = f"mongodb://{localstack.HOST}:{server.port}/own"
        mongoengine.connect(alias="own", host=uri, uuidRepresentation="standard", **settings.MONGODB_OPTIONS)
        with switch_db(File, "own"):
            yield server
    finally:
        mongoengine.disconnect("own")
        server.stop()


def ask_the_bucket_anew() -> None:
    """What this process knows of the bucket is made again from the settings."""
    from files import storage

    for opened in (storage._connections, storage._client, storage._admin):
        if opened.cache_info().currsize:
            opened().close()
    for known in (storage._signer, storage._connections, storage._client, storage._admin, storage.verifies_checksums):
        known.cache_clear()


def _confine(config: Path, bucket: str, prefix: str, may_read: bool) -> None:
    identities = json.loads(config.read_text())
    reading = [f"Read:{bucket}/*", f"List:{bucket}"] if may_read else []
    identities["identities"].append(
        {
            "name": "confined",
            "credentials": [{"accessKey": "confined", "secretKey": "confined"}],
            "actions": [*reading, f"Write:{bucket}/{prefix}*"],
        }
    )
    config.write_text(json.dumps(identities))


# --- processes that act on their own --------------------------------------------------------------------------------


class Actor:
    """A process with its own connections that does what it is told, and nothing else."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.lifecycle"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def tell(self, act: str, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"act": act, **order}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process ended without an answer"
        return json.loads(line)  # type: ignore[no-any-return]

    def ask(self, act: str, **order: Any) -> dict[str, Any]:
        self.tell(act, **order)
        return self.answer()


@contextlib.contextmanager
def actors(count: int) -> Iterator[list[Actor]]:
    """So many of them, all with their connections open."""
    with contextlib.ExitStack() as stack:
        cast = [stack.enter_context(Actor()) for _ in range(count)]
        for actor in cast:
            actor.tell("warm_up")
        for actor in cast:
            actor.answer()
        yield cast


def at_once(cast: list[Actor], orders: list[dict[str, Any]], delays: list[float]) -> list[dict[str, Any]]:
    """Give each its order, to be done at one moment of the clock that they share, each so many seconds later."""
    moment = time.monotonic() + 0.003
    for actor, order, delay in zip(cast, orders, delays, strict=True):
        actor.tell(**order, at=moment + delay)
    return [actor.answer() for actor in cast]


def main() -> None:
    # What is logged must not end up between the answers.
    answers = os.fdopen(os.dup(1), "w")
    sys.stdout = sys.stderr
    import django

    django.setup()
    for line in sys.stdin:
        order = json.loads(line)
        time.sleep(max(0.0, order.pop("at", 0.0) - time.monotonic()))
        if order.pop("in_a_child", False):
            done = _begin(**order)
        elif order["act"] == "wait_for":
            done = {"killed": os.WIFSIGNALED(os.waitpid(order["child"], 0)[1])}
        else:
            done = _act_and_die(**order) if "die_at_line" in order else _act(**order)
        answers.write(json.dumps(done) + "\n")
        answers.flush()


def _act(act: str, **order: Any) -> dict[str, Any]:
    from files import storage
    from files.documents import File
    from files.refusals import Refusal

    if act == "warm_up":
        File.objects.first()
        return {"did": storage.head("u/0/nothing") is None}
    try:
        return _of_everybody(act, order) or _of_a_file(act, **order)
    except Refusal as refusal:
        return {"did": False, "code": refusal.code}


def _of_everybody(act: str, order: dict[str, Any]) -> dict[str, Any] | None:
    from files import jobs, quotas, rollups, sweeps

    if act == "work":
        jobs.ACTS = {action: replace(known, batch=order["batch"]) for action, known in jobs.ACTS.items()}
        jobs.work(order["key"], datetime.fromisoformat(order["ticket"]))
        return {"did": True}
    if act == "sweep":
        return {"did": True, **_sweep(**order)}
    if act == "empty_trash":
        return {"did": True, "removed": sweeps.empty_trash().removed}
    if act == "count_days":
        rollups.catch_up()
        return {"did": True}
    if act == "settle":
        quotas.settle()
        return {"did": True}
    return None


def _of_a_file(act: str, **order: Any) -> dict[str, Any]:
    from files import checking, uploads

    if act == "sign":
        uploads.sign(order["owner"], filename="report.pdf", content_type="application/pdf", size=5)
        return {"did": True}
    if act == "check":
        checking.check(order["key"], datetime.fromisoformat(order["ticket"]))
        return {"did": True}
    if act in ("trash", "restore"):
        return {"did": getattr(uploads, act)(order["owner"], [order["key"]]) == 1}
    more = (order["name"],) if act == "rename" else ()
    file = getattr(uploads, act)(order["owner"], order["key"], *more)
    return {"did": True, "ready_at": file and file.ready_at.isoformat()}


def _sweep(older_than: float = 3600, batch: int = 1000) -> dict[str, Any]:
    from files import sweeps

    before, began = _peak_memory(), time.monotonic()
    swept = sweeps.sweep(older_than=timedelta(seconds=older_than), batch=batch)
    return {
        "expired": swept.expired,
        "removed": swept.removed,
        "refused": swept.refused,
        "grown_by": _peak_memory() - before,
        "began": began,
        "ended": time.monotonic(),
    }


def _peak_memory() -> int:
    """The most memory this process ever had, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]


def _begin(**order: Any) -> dict[str, Any]:
    """Act in a child, for somebody else to kill while it does."""
    _make_what_children_share()
    child = os.fork()
    if child == 0:
        try:
            _act(**order)
        finally:
            os._exit(0)
    return {"child": child}


def _make_what_children_share() -> None:
    from files import storage

    storage._signer(), storage._connections(), storage._client()  # opened by none but the children


def _act_and_die(die_at_line: int, **order: Any) -> dict[str, Any]:
    """Act in a child that kills itself before the so-many-th line of a file's life, a count or a job that it comes to."""
    from files import checking, jobs, quotas, rollups, sweeps, uploads

    _make_what_children_share()
    child = os.fork()
    if child == 0:
        countdown = iter(range(die_at_line, 0, -1))

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            # What a sweep gives back it does as a cancel does: once is enough to be killed there.
            ours = [
                uploads,
                sweeps,
                checking,
                rollups,
                jobs,
                *([quotas] if order["act"] in ("cancel", "sign", "settle") else []),
            ]
            if frame.f_code.co_filename not in [module.__file__ for module in ours]:
                return None
            if event == "line" and next(countdown) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            _act(**order)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return {"killed": os.WIFSIGNALED(status)}


if __name__ == "__main__":
    main()
