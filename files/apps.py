import atexit

from django.apps import AppConfig
from django.conf import settings


class FilesConfig(AppConfig):
    name = "files"
    verbose_name = "Files"

    def ready(self) -> None:
        import mongoengine

        from . import checks  # noqa: F401  registers itself

        # connect=False opens no socket before the first query, which comes after the server or Celery has forked: the
        # client and its threads then belong to one process and serve all of its requests. Ask Mongo nothing in here.
        mongoengine.connect(host=settings.MONGODB_URI, connect=False, uuidRepresentation="standard", **settings.MONGODB_OPTIONS)
        atexit.register(mongoengine.disconnect_all)  # or pymongo complains at the end of a command
