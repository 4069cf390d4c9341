from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from files import storage
from files.bucket_rules import SetUp


class Command(BaseCommand):
    help = (
        "Make the bucket if it is missing, let browsers on SITE_ORIGINS upload to it (CORS), and have it clear away"
        " what multipart uploads left (lifecycle). Rules of others stay. On R2 this takes an Admin token, in R2_ADMIN_…"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="print what would be different, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = storage.set_up(settings.SITE_ORIGINS, dry_run=options["dry_run"])
        except storage.Error as error:
            raise CommandError(f"{why(error)}\n{error}") from error
        if options["dry_run"]:
            self.show(done)
        else:
            self.report(done)

    def show(self, planned: SetUp) -> None:
        self.stdout.write(f"The bucket {settings.R2_BUCKET} {'would be made' if planned.made else 'is there'}.")
        for change in planned.changes:
            self.stdout.write(f"\n{change}\n")
        differs = planned.made or planned.changes
        self.stdout.write("Nothing was changed." if differs else "All is as it should be. Nothing would be changed.")

    def report(self, done: SetUp) -> None:
        self.stdout.write(f"The bucket {settings.R2_BUCKET} {'was made' if done.made else 'was there'}.")
        for change in (done.cors, done.lifecycle):
            self.stdout.write(f"Its {change.name} rules {'were changed' if change.needed else 'were as they should be'}.")
        self.stdout.write(f"Browsers may upload from {', '.join(settings.SITE_ORIGINS)}.")


def why(error: BaseException) -> str:
    """What is wrong, and what to do."""
    bucket, endpoint = settings.R2_BUCKET, settings.R2_ENDPOINT_URL
    prefix = "R2_ADMIN" if settings.R2_ADMIN_ACCESS_KEY_ID else "R2"
    keys = f"{prefix}_ACCESS_KEY_ID and {prefix}_SECRET_ACCESS_KEY"
    status, code = storage.refusal(error)
    if not status and "bucket name" not in str(error):
        return f"{endpoint} does not answer. Check R2_ACCOUNT_ID or R2_ENDPOINT_URL, and that this machine may connect to it."
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "Unauthorized"):
        return f"{endpoint} does not know these keys. Check {keys}: both are of one token, and of this account."
    if code == "RequestTimeTooSkewed":
        return f"The clocks of this machine and of {endpoint} disagree. Set this machine's clock, then run this again."
    if not status or code == "InvalidBucketName" or (code == "BucketAlreadyExists" and "CreateBucket" in str(error)):
        return f"There can be no bucket {bucket} of yours: the name is taken, or not allowed. Choose another as R2_BUCKET."
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return (
            f"{keys} may not set up the bucket {bucket}. On R2 that takes a token with Admin Read & Write: give it to this "
            "command as R2_ADMIN_ACCESS_KEY_ID and R2_ADMIN_SECRET_ACCESS_KEY."
        )
    return f"{endpoint} refused to set up the bucket {bucket}. What was done stays: mend what it says, then run this again."
