"""What is known of the worker, by what it leaves in Redis. Raises redis.exceptions.RedisError unless told otherwise."""

from __future__ import annotations

from typing import cast

from celery import current_app
from django.conf import settings
from redis.exceptions import RedisError

from . import redis_client

LIVES = "uploadkit:worker-lives"
LONG = settings.CELERY_TASK_ROUTES["files.tasks.check"]["queue"]  # of checks and jobs
BEHIND = 100  # tasks
# The trash is emptied every ten seconds, by a worker that the beat has woken.
SILENT = 6 * settings.TRASH_LIVES


def lives() -> None:
    """Say that a worker was woken by the beat."""
    redis_client.connection().set(LIVES, 1, ex=SILENT)


def was_heard() -> bool:
    """Whether one said so within `SILENT`."""
    return redis_client.connection().get(LIVES) is not None


def is_behind() -> bool:
    """Whether so many checks wait that no more have to be queued: what waits is not lost. With Redis down it is not known."""
    try:
        return cast("int", redis_client.queue().llen(LONG)) >= BEHIND
    except RedisError:
        return False


def waiting() -> dict[str, int]:
    """How many tasks wait, by their queue."""
    redis = redis_client.queue()
    return {queue: cast("int", redis.llen(queue)) for queue in current_app.amqp.queues}


def taken() -> int:
    """How many tasks a worker has taken and not begun with."""
    return cast("int", redis_client.queue().hlen("unacked"))
