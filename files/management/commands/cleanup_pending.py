from datetime import timedelta
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import pluralize
from environs.fields import TimeDelta
from marshmallow import ValidationError

from files import documents, quotas, runs, storage, sweeps, uploads


class Command(BaseCommand):
    help = "Remove uploads that were never confirmed, and finish deletions that were cut short."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than", help="like 90s, 15m, 1h or 7d (default: as their policies say)")
        parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
        parser.add_argument("--batch", type=int, default=storage.DELETE_LIMIT, help="keys at a time, 1 to 1000 (default: 1000)")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["batch"] <= storage.DELETE_LIMIT:
            raise CommandError(f"--batch is {options['batch']}: it must be 1 to {storage.DELETE_LIMIT}.")
        try:
            sweep = partial(
                sweeps.sweep,
                older_than=age(options["older_than"]),
                batch=options["batch"],
                dry_run=options["dry_run"],
                each=self.list_keys if options["verbosity"] > 1 or options["dry_run"] else lambda keys: None,
            )
            swept = sweep() if options["dry_run"] else runs.recorded(runs.By.COMMAND, sweep)
            if not options["dry_run"]:
                quotas.settle()  # which a site without beat has nothing else for
        except storage.Error as error:
            raise CommandError(f"The bucket does not answer, so run this again later: {error}") from error
        except documents.Error as error:
            raise CommandError(f"MongoDB does not answer, so run this again later: {error}") from error
        self.report(swept, dry_run=options["dry_run"])

    def list_keys(self, keys: list[str]) -> None:
        for key in keys:
            self.stdout.write(key)

    def report(self, swept: sweeps.Sweep, *, dry_run: bool) -> None:
        given_up = f"{swept.expired} upload{pluralize(swept.expired)} never confirmed"
        removed = (
            f"{swept.removed} document{pluralize(swept.removed)} with {pluralize(swept.removed, 'its object,their objects')}"
        )
        if dry_run:
            self.stdout.write(f"Would give up {given_up} and remove {removed}. Nothing was removed.")
            return
        self.stdout.write(f"Gave up {given_up} and removed {removed}.")
        for key, reason in swept.reasons.items():
            self.stderr.write(f"The bucket refused to delete {key}: {reason}.")
        if swept.refused:
            self.stderr.write(f"A later run tries the {swept.refused} refused again.")


def age(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        read: timedelta = TimeDelta().deserialize(text)
        uploads.now() - read
    except (ValidationError, OverflowError) as error:
        raise CommandError(f"--older-than is {text!r}: write a number and a unit, like 90s, 15m, 1h or 7d.") from error
    if read < timedelta(0):
        raise CommandError("--older-than cannot be negative.")
    return read
