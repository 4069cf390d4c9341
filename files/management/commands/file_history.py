from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from files import documents


class Command(BaseCommand):
    help = "Print what happened to a file: who did what, and when. Also of one that is gone, for 90 days."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="like u/1/…, as the admin shows it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            history = documents.history(options["key"])
        except documents.Error as error:
            raise CommandError(f"MongoDB does not answer, so ask again later: {error}") from error
        if history is None:
            raise CommandError(f"Nothing is known of {options['key']!r}. What is gone is forgotten after 90 days.")
        self.stdout.write(f"{options['key']}, owner {history.owner_id}, policy {history.policy or 'default'}")
        for event in history.events:
            self.stdout.write(str(event))
