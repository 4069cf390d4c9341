"""The beat's clock, which fills no queue that nobody empties: by itself it sends 18,000 messages a day, worker or not, and the
Redis that they fill is the one that signings need.
"""

import logging
from contextlib import suppress
from typing import Any, cast

from celery.beat import PersistentScheduler
from redis.exceptions import RedisError

from files import redis_client

logger = logging.getLogger(__name__)

MOST = 10_000  # messages that wait, of 1 KB each; what is sent behind them would have expired when a worker comes to it


class Scheduler(PersistentScheduler):
    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        queue = self.app.amqp.router.route(dict(entry.options), entry.task)["queue"].name
        with suppress(RedisError):  # which sending it will tell
            if cast("int", redis_client.queue().llen(queue)) >= MOST:
                logger.warning("%s is not sent, since %d messages wait in %s: is there a worker?", entry.task, MOST, queue)
                return
        super().apply_entry(entry, producer)
