import logging

from celery import shared_task
from django.conf import settings
from django.core.management import call_command

from . import uploads

logger = logging.getLogger(__name__)


@shared_task
def cleanup_pending() -> None:
    swept = uploads.sweep(older_than=settings.PENDING_MAX_AGE)
    logger.info("cleanup: %d expired, %d removed, %d refused", swept.expired, swept.removed, swept.refused)


@shared_task
def empty_trash() -> None:
    uploads.empty_trash()


@shared_task
def clear_sessions() -> None:
    call_command("clearsessions")
