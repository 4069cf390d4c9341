from typing import Any

import pymongo
from django.core.management.base import BaseCommand, CommandError, CommandParser

from files import documents, quotas

PATIENCE = 300  # seconds for one owner, of whom a million files take ten where nothing else runs


class Command(BaseCommand):
    help = "Count anew what each owner's files take, and compare it with what the quota says. Nothing is changed without --fix."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fix", action="store_true", help="write down what was counted")
        parser.add_argument("--owner", help="of this user id alone")

    def handle(self, *args: Any, **options: Any) -> None:
        self.owners = self.drifted = self.busy = 0
        try:
            for owner_id in [options["owner"]] if options["owner"] else quotas.owners():
                self.recount(owner_id, fix=options["fix"])
        except documents.Error as error:
            raise CommandError(f"MongoDB does not answer, so run this again later: {error}") from error
        self.report(fixed=options["fix"])

    def recount(self, owner_id: str, *, fix: bool) -> None:
        self.owners += 1
        try:
            with pymongo.timeout(PATIENCE):
                count = quotas.recount(owner_id, fix=fix)
        except quotas.Busy:
            self.busy += 1
            self.stderr.write(f"Owner {owner_id}: uploads or deletes all the time. Run this again: --owner {owner_id}")
            return
        if count.said != count.found:
            self.drifted += 1
            said, found = count.said, count.found
            self.stdout.write(
                f"Owner {owner_id}: {found.files} files of {found.bytes} bytes, not {said.files} of {said.bytes}."
            )

    def report(self, *, fixed: bool) -> None:
        wrong = "Corrected" if fixed else "Wrong"
        self.stdout.write(f"Owners: {self.owners}. {wrong}: {self.drifted}." + f" Not counted: {self.busy}." * bool(self.busy))
        if self.busy or (self.drifted and not fixed):
            raise CommandError("Run this again with --fix." if self.drifted and not fixed else "Not all could be counted.")
