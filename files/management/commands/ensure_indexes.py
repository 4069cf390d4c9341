from typing import Any

from django.core.management.base import BaseCommand

from files.documents import File


class Command(BaseCommand):
    help = "Make the indexes of the files' collection that are missing. Part of every release, like migrate."

    def handle(self, *args: Any, **options: Any) -> None:
        File.ensure_indexes()
        self.stdout.write("The files' indexes are there.")
