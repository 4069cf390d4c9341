from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from files import documents, quotas
from files.reconciling import patiently

WITHIN = 300  # seconds for one owner, of whom a million files take ten where nothing else runs
QUOTES = '""'  # where a run was cut before it came to anybody


class Command(BaseCommand):
    help = "Count anew what each owner's files take, and compare it with what the quota says. Nothing is changed without --fix."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fix", action="store_true", help="write down what was counted")
        parser.add_argument("--owner", help="of this user id alone")
        parser.add_argument(
            "--after", default="", metavar="OWNER", help="begin behind this user id, where an earlier run was cut"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.owners = self.drifted = self.busy = 0
        self.at = options["after"]
        with self.saying_where_to_go_on():
            for owner_id in [options["owner"]] if options["owner"] else self.everybody():
                self.recount(owner_id, fix=options["fix"])
                self.at = owner_id
        self.report(fixed=options["fix"])

    def everybody(self) -> Iterator[str]:
        while (owner_id := patiently(partial(quotas.owner_after, self.at))) is not None:
            yield owner_id

    @contextmanager
    def saying_where_to_go_on(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt as error:
            raise CommandError(f"Stopped. {self.so_far()}") from error
        except documents.Error as error:
            raise CommandError(f"MongoDB does not answer, so do the rest later: {error}\n{self.so_far()}") from error

    def so_far(self) -> str:
        return f"Owners so far: {self.owners}. Wrong: {self.drifted}. Go on with --after {self.at or QUOTES}"

    def recount(self, owner_id: str, *, fix: bool) -> None:
        try:
            count = patiently(partial(quotas.recount, owner_id, fix=fix), within=WITHIN)
        except quotas.Busy:
            self.owners += 1
            self.busy += 1
            self.stderr.write(f"Owner {owner_id}: uploads or deletes all the time. Run this again: --owner {owner_id}")
            return
        self.owners += 1
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
