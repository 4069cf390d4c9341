from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from files import storage


class Command(BaseCommand):
    help = "Make the bucket if it is missing, and let browsers on SITE_ORIGINS upload to it (CORS). Other CORS rules stay."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = storage.set_up(settings.SITE_ORIGINS)
        except storage.Error as error:
            raise CommandError(
                f"The bucket {settings.R2_BUCKET} at {settings.R2_ENDPOINT_URL} refused: {error}\n"
                "On R2 this needs an Admin Read & Write token; the app itself should run with Object Read & Write."
            ) from error
        self.stdout.write(f"The bucket {settings.R2_BUCKET} {'was made' if made else 'was there'}.")
        self.stdout.write(f"Browsers may upload from {', '.join(settings.SITE_ORIGINS)}.")
