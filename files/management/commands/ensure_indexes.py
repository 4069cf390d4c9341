from typing import Any

import pymongo
from django.core.management.base import BaseCommand

from files import quotas, runs
from files.documents import File, Past, Share, SpentKey
from files.jobs import Job

A_DAY = 24 * 60 * 60  # seconds


class Command(BaseCommand):
    help = "Make the indexes that MongoDB lacks, and fill in what files of earlier versions lack. Part of every release."

    def handle(self, *args: Any, **options: Any) -> None:
        with pymongo.timeout(A_DAY):  # an index of millions takes its time, and nobody waits for a page meanwhile
            for document in (File, SpentKey, Share, Past, quotas.Account, runs.Run, Job):
                document.ensure_indexes()
            filled = File.fill_in()
            quotas.charge_for_old_files()
        self.stdout.write("MongoDB's indexes are there." + (f" Files filled in: {filled}." if filled else ""))
