"""The Celery app and its whole schedule. One beat process runs it; two do no harm, since a sweep may run twice at once."""

import os
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab

from files import trail

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "uploadkit.settings")

app = Celery("uploadkit")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_configure.connect
def schedule(sender: Celery, **kwargs: object) -> None:
    # From the settings alone: the beat has no apps loaded yet, and what fails here Celery does not say.
    from django.conf import settings

    sender.conf.beat_schedule = {
        # A sweep that waited for a worker until the next one came is not worth running.
        "cleanup": {
            "task": "files.tasks.cleanup_pending",
            "schedule": settings.CLEANUP_EVERY,
            "options": {"expires": settings.CLEANUP_EVERY.total_seconds()},
        },
        "trash": {
            "task": "files.tasks.empty_trash",
            "schedule": settings.TRASH_LIVES,
            "options": {"expires": settings.TRASH_LIVES.total_seconds()},
        },
        "checks": {
            "task": "files.tasks.queue_checks",
            "schedule": settings.CHECKS_EVERY,
            "options": {"expires": settings.CHECKS_EVERY.total_seconds()},
        },
        "jobs": {
            "task": "files.tasks.queue_jobs",
            "schedule": settings.CHECKS_EVERY,
            "options": {"expires": settings.CHECKS_EVERY.total_seconds()},
        },
        "quotas": {"task": "files.tasks.settle_quotas", "schedule": 30.0, "options": {"expires": 30}},
        "days": {
            "task": "files.tasks.count_days",
            "schedule": settings.DAYS_COUNTED_EVERY,
            "options": {"expires": settings.DAYS_COUNTED_EVERY.total_seconds()},
        },
        "sessions": {"task": "files.tasks.clear_sessions", "schedule": crontab(hour=3, minute=17)},
    }


@signals.celeryd_init.connect
@signals.beat_init.connect
def refuse_to_start(**kwargs: object) -> None:
    from files import checks

    checks.refuse_to_start()


# --- a task belongs to the request that queued it, and so do its events and the lines of its log --------------------------


@signals.before_task_publish.connect
def name_the_request(headers: dict[str, Any], **kwargs: object) -> None:
    if request := trail.request_id.get():
        headers.setdefault("request_id", request)


@signals.task_prerun.connect
def go_on_with_the_request(task: Any, **kwargs: object) -> None:
    if not task.request.is_eager:  # else it is within the request itself
        trail.request_id.set(task.request.get("request_id"))


@signals.task_postrun.connect
def be_done_with_the_request(task: Any, state: str | None = None, **kwargs: object) -> None:
    from files import metrics  # asks for settings, which are not there yet when Celery looks for the app

    metrics.task(task.name, state or "LOST")
    if not task.request.is_eager:
        trail.request_id.set(None)
