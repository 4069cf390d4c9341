"""Whether the servers behind this process answer, each asked beside the others and in how many milliseconds.

Never more than one round at once, nor more than one a second: whoever asks meanwhile gets the answers of the last round. So a
stranger who asks without end costs no more than a load balancer does, and takes one thread while a server hangs.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import connections
from health_check.base import HealthCheck
from health_check.exceptions import HealthCheckException, ServiceUnavailable

from . import redis_client, scanner, storage, worker
from .documents import File

logger = logging.getLogger(__name__)

FRESH = 1.0  # seconds that an answer is good for


class Down(Exception):
    """What is wrong, for everybody to read."""


class Server(HealthCheck):  # type: ignore[misc]  # no types
    """A server that is asked something cheap. What it raises is for the log, since addresses and names are in there."""

    name: str
    # The library adds a second, and gives up then; the threads end by the time-outs of the clients, of 2.5 s at the most.
    timeout = timedelta(seconds=1)

    def ask(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        try:
            self.ask()
        except Down as error:
            raise ServiceUnavailable("down") from error
        except Exception as error:
            logger.warning("%s does not answer: %s: %s", self.name, type(error).__name__, error)
            raise ServiceUnavailable("does not answer") from error


class MongoDB(Server):
    name = "mongodb"

    def ask(self) -> None:
        File._get_db().command("ping")  # of the primary, which has to be there for a write


class Database(Server):
    name = "database"

    def ask(self) -> None:
        # A connection of its own, made and closed here: none of those that live is good for another thread.
        with connections["default"].temporary_connection() as cursor:
            cursor.execute("SELECT 1 FROM django_session WHERE session_key = ''")


class Redis(Server):
    name = "redis"

    def ask(self) -> None:
        redis_client.connection().ping()


class Queue(Server):
    """Where it has a Redis of its own."""

    name = "queue"

    def ask(self) -> None:
        redis_client.queue().ping()


class Bucket(Server):
    name = "bucket"

    def ask(self) -> None:
        storage.reach()


class Scanner(Server):
    name = "scanner"

    def ask(self) -> None:
        scanner.Clamd().check()


class Worker(Server):
    """A beat that wakes a worker, and the queue between them."""

    name = "worker"

    def ask(self) -> None:
        if not worker.was_heard():
            raise Down(f"not heard of for {worker.SILENT.seconds} s: a worker or the beat is missing, or behind")


def servers() -> list[Server]:
    queues = [Queue()] if settings.CELERY_BROKER_URL != settings.REDIS_URL else []
    scanners = [Scanner()] if settings.CLAMD_URL else []
    return [MongoDB(), Database(), Redis(), Bucket(), *queues, *scanners, Worker()]


@dataclass(frozen=True, slots=True)
class Answer:
    """`problem` is None for a server that answered."""

    name: str
    ms: float
    problem: str | None = None

    @property
    def needed(self) -> bool:
        return self.name in settings.READY_NEEDS


_threads = ThreadPoolExecutor(16, "health")  # one round's, and those of another that still hang
_one_at_once = threading.Lock()
_last: tuple[float, list[Answer]] = (-FRESH, [])


def look() -> list[Answer]:
    """What each server answers, within 2.5 s. While one asks, others are given the answers of the last time: whoever comes must
    not be able to take all threads there are.
    """
    global _last  # noqa: PLW0603  the answers of this process
    if not _one_at_once.acquire(blocking=not _last[1]):
        return _last[1]
    try:
        asked, answers = _last
        if time.monotonic() - asked >= FRESH:
            answers = asyncio.run(_ask_all())
            _last = time.monotonic(), answers
    finally:
        _one_at_once.release()
    return answers


def forget() -> None:
    """Have the next one ask anew."""
    global _last  # noqa: PLW0603
    _last = (-FRESH, _last[1])


async def _ask_all() -> list[Answer]:
    asked = servers()
    results = await asyncio.gather(*(server.get_result(_threads) for server in asked))
    return [
        Answer(server.name, round(result.time_taken * 1000, 1), _problem(result.error))
        for server, result in zip(asked, results, strict=True)
    ]


def _problem(error: HealthCheckException | None) -> str | None:
    if error is None:
        return None
    return str(error.__cause__) if isinstance(error.__cause__, Down) else "does not answer"
