"""The Celery app and its whole schedule. One beat process runs it; two do no harm, since a sweep may run twice at once."""

import os

from celery import Celery

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
        "quotas": {"task": "files.tasks.settle_quotas", "schedule": 60.0, "options": {"expires": 60}},
        "days": {
            "task": "files.tasks.count_days",
            "schedule": settings.DAYS_COUNTED_EVERY,
            "options": {"expires": settings.DAYS_COUNTED_EVERY.total_seconds()},
        },
        "sessions": {"task": "files.tasks.clear_sessions", "schedule": 24 * 60 * 60.0},
    }
