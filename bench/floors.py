"""The floors: what the servers and the arithmetic of one request cost in a bare loop, and what a bare application costs."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench import wrk
from bench.effort import Effort
from bench.findings import Findings, Table
from bench.seed import BODY, documents
from bench.stack import Site, Stack, wait_until_idle

if TYPE_CHECKING:
    from pymongo.collection import Collection

OWNER = "900000001"
PAGE = 51  # one more than the page shows, as the list asks
CONNECTIONS = (16, 64)


@dataclass(frozen=True)
class Floor:
    name: str
    cpu: float  # milliseconds, of the process that asks
    wall: float


@dataclass(frozen=True)
class Load:
    """What the web tier did under one load."""

    connections: int
    answers: wrk.Answers
    cpu: float  # milliseconds a request
    memory: float


@dataclass(frozen=True)
class Floors:
    loops: dict[str, Floor]
    hello: list[Load]  # by number of connections

    def of(self, *names: str, connections: int) -> float:
        """Milliseconds of CPU: a bare application's, and those of the named loops."""
        hello = next(load.cpu for load in self.hello if load.connections == connections)
        return hello + sum(self.loops[name].cpu for name in names)


def measure(stack: Stack, effort: Effort) -> Floors:
    with stack.serving("hello:application") as site:
        asked = wrk.request("POST", "/", {"Host": "127.0.0.1", "Content-Type": "application/json"}, b"{}" * 40)
        hello = [load(site, [asked], connections, effort.seconds) for connections in CONNECTIONS]
    return Floors(bare_loops(stack, effort.loops), hello)


def load(site: Site, requests: list[bytes], connections: int, seconds: int, status: int = 200, *, once: bool = False) -> Load:
    """Put the site under load and read its CPU the moment the load ends. Raises Wrong if any answer was not as expected."""
    wait_until_idle(site)
    before = site.cpu()
    answers = wrk.replay(site.port, requests, connections=connections, seconds=seconds, status=status, once=once)
    used = site.cpu() - before
    if answers.wrong or answers.errors or not answers.right:
        raise wrk.Wrong(f"Not all answers were {status}: {answers}")
    return Load(connections, answers, used / answers.right * 1000, site.memory())


# --- bare loops -----------------------------------------------------------------------------------------------------


def bare_loops(stack: Stack, count: int) -> dict[str, Floor]:
    from django.conf import settings
    from pymongo import MongoClient
    from redis import Redis

    mongo = MongoClient[dict[str, Any]](settings.MONGODB_URI, **settings.MONGODB_OPTIONS)
    redis = Redis.from_url(settings.REDIS_URL, **settings.REDIS_OPTIONS)
    with mongo, redis, heading(stack) as head:
        files = mongo.get_default_database()["files"]
        made = list(documents(OWNER, count + count // 10, "pending", timedelta(0)))
        keys = [document["_id"] for document in made]
        steps: dict[str, tuple[str, Callable[[int], object]]] = {
            "insert": ("MongoDB: insert one, majority and journal", lambda number: files.insert_one(made[number])),
            "find": ("MongoDB: find one", lambda number: files.find_one({"_id": keys[number]})),
            "update": ("MongoDB: find one and update, majority and journal", lambda number: turn(files, keys[number])),
            "fifty": ("MongoDB: find fifty", lambda number: page(files)),
            "script": ("Redis: the limiter's script", counting(redis)),
            "hmac": ("HMAC-SHA256: the chain of a signed URL", chain),
            "head": ("Bucket: HEAD, over one connection, signed once", head),
        }
        found = {name: loop(words, step, count) for name, (words, step) in steps.items()}
        files.delete_many({"owner_id": OWNER})
    return found


def loop(name: str, step: Callable[[int], object], count: int) -> Floor:
    warm = count // 10
    for number in range(warm):
        step(number)
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(warm, warm + count):
        step(number)
    return Floor(name, (time.process_time() - cpu) / count * 1000, (time.perf_counter() - wall) / count * 1000)


def turn(files: Collection[dict[str, Any]], key: str) -> object:
    change = {"$set": {"status": "ready", "ready_at": datetime.now(UTC), "etag": "0" * 32}}
    return files.find_one_and_update({"_id": key, "owner_id": OWNER, "status": {"$in": ["pending"]}}, change)


def page(files: Collection[dict[str, Any]]) -> object:
    ready = files.find({"owner_id": OWNER, "status": "ready"}).sort([("ready_at", -1), ("_id", -1)])
    return list(ready.limit(PAGE))


def counting(redis: Any) -> Callable[[int], object]:
    from files import limits

    script = redis.script_load(limits.SPEND)
    return lambda number: redis.evalsha(script, 1, f"bench:{number % 20}", 100_000, 60_000_000)


def chain(number: int) -> str:
    """A key for the day, then the request's own hash and signature."""
    key = b"AWS4secret"
    for part in (b"20260101", b"us-east-1", b"s3", b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    request = hashlib.sha256(b"PUT\n/bucket/key\nX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" * 8).hexdigest()
    return hmac.digest(key, request.encode(), "sha256").hex()


@contextlib.contextmanager
def heading(stack: Stack) -> Iterator[Callable[[int], object]]:
    from uploadkit.localstack import BUCKET

    stack.bucket.put_object(Bucket=BUCKET, Key="bench/head", Body=BODY)
    url = urlsplit(stack.bucket.generate_presigned_url("head_object", {"Bucket": BUCKET, "Key": "bench/head"}))
    connection = http.client.HTTPConnection(url.netloc)

    def head(number: int) -> None:
        connection.request("HEAD", f"{url.path}?{url.query}")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise wrk.Wrong(f"A HEAD was answered by {answer.status}")

    yield head
    connection.close()
    stack.bucket.delete_object(Bucket=BUCKET, Key="bench/head")


# --- as tables ------------------------------------------------------------------------------------------------------


def findings(floors: Floors) -> Findings:
    loops = [(floor.name, f"{floor.cpu * 1000:.0f}", f"{floor.wall * 1000:.0f}") for floor in floors.loops.values()]
    hello = [(f"bare WSGI hello, {load.connections} connections", *columns(load)) for load in floors.hello]
    return Findings(
        tables=[
            Table("Floors: one step in a bare loop", ("", "CPU µs", "elapsed µs"), loops),
            Table(
                "Floors: the web server alone, by its shipped settings", ("", "requests/s", "p50 ms", "p99 ms", "CPU ms"), hello
            ),
        ]
    )


def columns(load: Load) -> tuple[str, str, str, str]:
    answers = load.answers
    return f"{answers.rate:.0f}", f"{answers.p50:.1f}", f"{answers.p99:.1f}", f"{load.cpu:.3f}"
