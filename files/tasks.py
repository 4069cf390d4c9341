import logging
from datetime import datetime, timedelta
from functools import partial

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from . import checking, jobs, quotas, rollups, runs, sweeps, trail, worker
from .alone import run_alone

logger = logging.getLogger(__name__)

# Seconds, after which a task that hangs is ended, whose lock would be renewed for ever. Each can be cut anywhere.
HUNG = 60 * 60


@shared_task(time_limit=HUNG)
def cleanup_pending() -> None:
    run_alone("cleanup_pending", _clean_up)


def _clean_up() -> None:
    swept = runs.recorded(runs.By.BEAT, sweeps.sweep)
    logger.info("cleanup: %d expired, %d removed, %d refused", swept.expired, swept.removed, swept.refused)


@shared_task(time_limit=HUNG)
def empty_trash() -> None:
    worker.lives()
    run_alone("empty_trash", partial(runs.recorded, runs.By.TRASH, sweeps.empty_trash))


# Whoever works for longer would no longer have the file. The decoder of a picture may hang where nothing but this ends it.
@shared_task(time_limit=settings.CHECK_LEASE // timedelta(seconds=1))
def check(key: str, ticket: str, request_id: str | None = None) -> None:
    """`request_id` is in messages of releases that did not send it in a header, as uploadkit.celery does."""
    with trail.caused_by(request_id or trail.request_id.get()):
        checking.check(key, datetime.fromisoformat(ticket))


@shared_task(time_limit=HUNG)
def settle_quotas() -> None:
    run_alone("settle_quotas", quotas.settle)


@shared_task
def queue_checks() -> None:
    checking.queue_due()


@shared_task(time_limit=jobs.LEASE // timedelta(seconds=1))
def work(key: str, ticket: str) -> None:
    jobs.work(key, datetime.fromisoformat(ticket))


@shared_task
def queue_jobs() -> None:
    jobs.queue_due()


@shared_task(time_limit=HUNG)
def count_days() -> None:
    run_alone("count_days", rollups.catch_up)


@shared_task
def clear_sessions() -> None:
    call_command("clearsessions")
