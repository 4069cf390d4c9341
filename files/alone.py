"""Work that never runs twice at once: who comes while another is at it leaves it to them.

Redis has the lock, which is renewed while the work is done, and runs out soon after whoever did it was killed. It only spares
work: all that is done under it may run twice at once, and so is done with Redis down as well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from redis.exceptions import LockNotOwnedError, RedisError
from redis.lock import Lock

from . import redis_client

logger = logging.getLogger(__name__)

LIVES = 15.0  # seconds after its holder was killed
RENEWED_EVERY = 4.0  # seconds


def run_alone(name: str, work: Callable[[], object]) -> None:
    """Do the work, unless it is being done under the same name."""
    # The thread that renews it is another than the one that takes it.
    lock = redis_client.connection().lock(f"uploadkit:alone:{name}", timeout=LIVES, thread_local=False)
    try:
        free = lock.acquire(blocking=False)
    except RedisError as error:
        logger.warning("%s runs without its lock: %s", name, error)
        work()
        return
    if not free:
        logger.info("%s is still running", name)
        return
    with _kept(lock):
        work()


@contextmanager
def _kept(lock: Lock) -> Iterator[None]:
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lock, done), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        with suppress(RedisError):  # it runs out by itself
            lock.release()


def _renew(lock: Lock, done: threading.Event) -> None:
    while not done.wait(RENEWED_EVERY):
        try:
            lock.reacquire()
        except LockNotOwnedError:
            return
        except RedisError as error:
            logger.warning("a lock was not renewed, another attempt in %s s: %s", RENEWED_EVERY, error)
