from .celery import app as celery_app

# Whoever queues a task, the site too, does so by this app; without it Celery makes one that knows no settings.
__all__ = ["celery_app"]
