"""What must hold once everything works again and a sweep has passed: nothing lost, nothing left over, nothing in two states."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import httpx
from celery import Celery

from tests.faults.people import Acknowledged, Traffic
from tests.faults.stack import TO_CHECK, TO_SWEEP, Stack
from tests.processes import manage, wait_until

READERS = 8
SWEPT_WITHIN = 60  # seconds, with a worker that must find its queue again
SENT_AGAIN_AFTER = 2  # seconds; what a worker had taken when it was killed is not run by another
LONG_AGO = timedelta(days=2)  # no PUT can be under way by then, so that spent keys are looked at a last time


def settle(stack: Stack) -> None:
    """Let everything become overdue and be swept by the worker; then let days pass, and the keys that are spent with them."""
    wait_until_the_bucket_is_quiet(stack)
    sweep_until(stack, stack.make_everything_overdue, lambda: not stack.files_that_are(*TO_SWEEP, *TO_CHECK))
    let_days_pass(stack)


def let_days_pass(stack: Stack) -> None:
    """The keys that are spent are looked at a last time, and forgotten."""
    spent = stack.files.database["spent_keys"]
    long_ago = datetime.now(UTC) - LONG_AGO
    aged = {"$set": {"signed_at": long_ago, "look_at": long_ago}}
    age_spent_keys, all_forgotten = lambda: spent.update_many({}, aged), lambda: not spent.find_one()
    sweep_until(stack, age_spent_keys, all_forgotten)
    # Of two sweeps at once the slower one may remember what the other has looked at for the last time meanwhile.
    time.sleep(0.5)
    sweep_until(stack, age_spent_keys, all_forgotten)


def sweep_until(stack: Stack, age: Callable[[], object], through: Callable[[], bool]) -> None:
    """Have the worker sweep what is aged. That it does not come to an end is for the invariants to say."""
    with Celery(broker=stack.redis_url) as beat:
        sent = 0.0

        def is_through() -> bool:
            nonlocal sent
            if through():
                return True
            stack.supervise()
            # Again and again: a sweep that runs still may have put off what it saw before it was aged.
            if time.monotonic() - sent > SENT_AGAIN_AFTER:
                age()
                beat.send_task("files.tasks.cleanup_pending")
                beat.send_task("files.tasks.queue_checks")
                sent = time.monotonic()
            return False

        with contextlib.suppress(AssertionError):
            wait_until(is_through, "the worker has swept", within=SWEPT_WITHIN)


def wait_until_the_bucket_is_quiet(stack: Stack) -> None:
    """A PUT whose client is gone may still be under way within the bucket."""
    before: set[str] = set()
    looked = 0.0

    def same_as_before() -> bool:
        nonlocal before, looked
        if time.monotonic() - looked < 0.3:
            return False
        now, looked = stack.objects(), time.monotonic()
        same, before = now == before, now
        return same

    wait_until(same_as_before, "no object comes any more")


def leftovers(stack: Stack) -> list[str]:
    left = [f"{key} is neither ready nor gone" for key in stack.files_that_are(*TO_SWEEP, *TO_CHECK, "rejected")]
    return left + [f"{spent['_id']} is still spent" for spent in stack.files.database["spent_keys"].find()]


def violations(stack: Stack, traffic: Traffic) -> Iterator[str]:
    """After a sweep of everything."""
    yield from traffic.bugs
    yield from leftovers(stack)
    objects, ready, known = stack.objects(), stack.files_that_are("ready"), stack.objects_of_ready_files()
    yield from orphans(objects, known)
    yield from (f"{key} is of a ready file, and there is no object" for key in known - objects)
    yield from (f"{key} was acknowledged, and is gone" for key in traffic.acknowledged.keys() - ready)
    yield from (f"{key} was canceled, and is ready" for key in traffic.canceled & ready)
    yield from (f"{key} was deleted, and is ready" for key in traffic.deleted & ready)
    yield from (f"{key} was canceled, and was acknowledged" for key in traffic.canceled & traffic.acknowledged.keys())
    yield from lost(stack, traffic.acknowledged)
    yield from drift(stack)


def drift(stack: Stack) -> list[str]:
    """Of whose files an account says another number, or other bytes, than there are."""
    done = manage(stack.folder, stack.environment, "reconcile_quota")
    said = [line for line in done.stdout.splitlines() if line.startswith("Owner ")]
    return said or ([f"reconcile_quota: {done.stderr}"] if done.returncode else [])


def orphans(objects: set[str], known: set[str]) -> Iterator[str]:
    yield from (f"{key} is an object without a document" for key in objects - known)


def lost(stack: Stack, acknowledged: Mapping[str, Acknowledged]) -> list[str]:
    """Download all that was acknowledged, and say what does not come back byte for byte."""
    with contextlib.ExitStack() as exits:
        clients = {session: exits.enter_context(stack.client(session)) for session in stack.sessions}
        outside = exits.enter_context(httpx.Client(timeout=10))

        def compare(item: tuple[str, Acknowledged]) -> str | None:
            key, file = item
            location = clients[file.owner].get(f"/files/{key}/download")
            if location.status_code != HTTPStatus.FOUND:
                return f"{key} was acknowledged, and its download is {location.status_code}"
            body = outside.get(location.headers["Location"])
            if body.status_code != HTTPStatus.OK:
                return f"{key} was acknowledged, and its object is {body.status_code} {body.text[:200]}"
            same = hashlib.sha256(body.content).hexdigest() == file.sha256
            return None if same else f"{key} was acknowledged, and comes back with other bytes"

        with ThreadPoolExecutor(READERS) as pool:
            return [wrong for wrong in pool.map(compare, acknowledged.items()) if wrong]


def assert_nothing_is_lost(traffic: Traffic) -> None:
    """Every file that was acknowledged comes back byte for byte, and none that was deleted does."""
    assert not traffic.bugs, "\n".join(traffic.bugs)
    wrong = lost(traffic.stack, traffic.acknowledged)
    assert not wrong, "\n".join(wrong)
    back = traffic.stack.files_that_are("ready") & traffic.deleted
    assert not back, f"deleted, and back again: {back}"
