from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from files import documents, rollups


class Command(BaseCommand):
    help = "Count what came since the last time, for the dashboard, as the beat does every five minutes."

    def add_arguments(self, parser: CommandParser) -> None:
        what = f"count the last {rollups.KEPT_UP} days anew: after a backup was restored, or files came in another way"
        parser.add_argument("--again", action="store_true", help=what)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            (rollups.count_again if options["again"] else rollups.catch_up)()
            until = rollups.counted_until()
        except documents.Error as error:
            raise CommandError(f"MongoDB does not answer, so run this again later: {error}") from error
        self.stdout.write(f"Counted until {until:%Y-%m-%d %H:%M} UTC.")
