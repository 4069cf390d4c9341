from typing import Any

import pymongo
from django.core.management.base import BaseCommand, CommandParser

from files import quotas, runs
from files.documents import File, Past, Share, SpentKey
from files.jobs import Job
from files.trail import now

A_DAY = 24 * 60 * 60  # seconds


class Command(BaseCommand):
    help = "Make the indexes that MongoDB lacks, and fill in what files of earlier versions lack. Part of every release."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--again", action="store_true", help="look for files of earlier versions though that was done once")

    def handle(self, *args: Any, **options: Any) -> None:
        self.done = File._get_db()["migrations"]
        with pymongo.timeout(A_DAY):  # an index of millions takes its time, and nobody waits for a page meanwhile
            for document in (File, SpentKey, Share, Past, quotas.Account, runs.Run, Job):
                document.ensure_indexes()
            if options["again"]:
                self.done.delete_many({})
            filled = self.migrate()
        self.stdout.write("MongoDB's indexes are there." + (f" Files filled in: {filled}." if filled else ""))

    def migrate(self) -> int:
        """Go through all files, once for each thing that those of earlier versions lack. Return how many were filled in."""
        filled = 0
        if self.is_due("words"):
            filled = File.fill_in()
            self.is_done("words")
        if self.is_due("quotas") and quotas.charge_for_old_files():
            self.is_done("quotas")
        return filled

    def is_due(self, name: str) -> bool:
        return self.done.find_one({"_id": name}) is None

    def is_done(self, name: str) -> None:
        """Written last, so that whoever is killed before it does all of it again."""
        self.done.update_one({"_id": name}, {"$set": {"done_at": now()}}, upsert=True)
