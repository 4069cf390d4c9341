"""What is known of the worker, by what it leaves in Redis. All raise redis.exceptions.RedisError."""

from __future__ import annotations

from typing import cast

from celery import current_app
from django.conf import settings

from . import redis_client

LIVES = "uploadkit:worker-lives"
# The trash is emptied every ten seconds, by a worker that the beat has woken.
SILENT = 6 * settings.TRASH_LIVES


def lives() -> None:
    """Say that a worker was woken by the beat."""
    redis_client.connection().set(LIVES, 1, ex=SILENT)


def was_heard() -> bool:
    """Whether one said so within `SILENT`."""
    return redis_client.connection().get(LIVES) is not None


def waiting() -> dict[str, int]:
    """How many tasks wait, by their queue."""
    redis = redis_client.queue()
    return {queue: cast("int", redis.llen(queue)) for queue in current_app.amqp.queues}


def taken() -> int:
    """How many tasks a worker has taken and not begun with."""
    return cast("int", redis_client.queue().hlen("unacked"))
