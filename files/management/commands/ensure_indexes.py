from typing import Any

from django.core.management.base import BaseCommand

from files.documents import File, SpentKey


class Command(BaseCommand):
    help = "Make the indexes of MongoDB's collections that are missing. Part of every release, like migrate."

    def handle(self, *args: Any, **options: Any) -> None:
        File.ensure_indexes()
        SpentKey.ensure_indexes()
        self.stdout.write("MongoDB's indexes are there.")
