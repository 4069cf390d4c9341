import os
import sys

from django.apps import AppConfig, apps
from django.conf import settings
from django.db.models.signals import post_migrate

from .localstack import die_with_parent


class UploadkitConfig(AppConfig):
    """The project as an app, for its management commands and its templates."""

    name = "uploadkit"
    verbose_name = "uploadkit"

    def ready(self) -> None:
        from . import celery  # noqa: F401  that what the site queues goes where the worker listens, and not to Celery's localhost
        from .user_ids import raise_next_user_id

        post_migrate.connect(raise_next_user_id, sender=apps.get_app_config("auth"))

        if settings.SENTRY_DSN:
            from . import sentry

            sentry.start()

        # The reloader of runserver serves from a second process, which must not outlive the first.
        if os.environ.get("RUN_MAIN") == "true" and sys.platform == "linux":
            die_with_parent()
