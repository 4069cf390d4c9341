"""The connections to Redis of what counts and looks there; Celery and Django's cache have their own."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from redis import Redis


@cache
def connection() -> Redis:
    """Of this process, made at first use and so after the fork. It gives up as REDIS_OPTIONS have it."""
    return Redis.from_url(settings.REDIS_URL, **settings.REDIS_OPTIONS)


@cache
def queue() -> Redis:
    """As `connection`, to the Redis of Celery's queue, which may be the same."""
    return Redis.from_url(settings.CELERY_BROKER_URL, **settings.REDIS_OPTIONS)
