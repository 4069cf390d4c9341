import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import pluralize

from files import storage
from files.reconciling import DOWN, Comparison, Finding, Kind

SHOWN = 1000  # findings, each on its line
EVERY = 10  # seconds between two words on how far it is

QUOTES = '""'  # where a run was cut before it came anywhere

TITLES = {
    Kind.ORPHAN: "orphan objects",
    Kind.LOST: "documents without object",
    Kind.SIZE: "sizes that differ",
    Kind.STRANGE: "objects not of ours",
}


class Command(BaseCommand):
    help = (
        "Compare the bucket with MongoDB: objects that no document knows, documents without their object, sizes that differ. "
        "Changes nothing unless told to. The exit status is 1 when something was found and not mended."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fix", action="store_true", help="delete the orphan objects; what else is found is only told")
        parser.add_argument("--force", action="store_true", help="with --fix, also when most objects are orphans")
        parser.add_argument("--all", action="store_true", help=f"print every finding, not only the first {SHOWN:,}")
        parser.add_argument("--after", default="", metavar="KEY", help="begin behind this key, where an earlier run was cut")

    def handle(self, *args: Any, **options: Any) -> None:
        self.most = None if options["all"] else SHOWN
        self.found = 0
        self.began = self.told = time.monotonic()
        with tempfile.TemporaryFile("w+") as orphans:
            self.run = Comparison(orphans, self.finding, self.tick, at=options["after"])
            with self.stopping_at("Go on with --after {}" if not options["fix"] else "Nothing was deleted. Run this again"):
                self.run.compare()
            self.summary()
            if options["fix"]:
                with self.stopping_at("Run this again"):
                    self.fix(force=options["force"])
        left = self.found - self.run.deleted
        if left:
            raise CommandError(f"Not mended: {left:,} finding{pluralize(left)}.")

    def finding(self, found: Finding) -> None:
        self.found += 1
        if self.most is None or self.found <= self.most:
            self.stdout.write(f"{found.kind}  {found.key}  {found.details}")

    def tick(self) -> None:
        if time.monotonic() - self.told >= EVERY:
            self.told = time.monotonic()
            self.stderr.write(f"{self.so_far()}, at {self.run.at}")

    def so_far(self) -> str:
        run = self.run
        rate = max(run.objects, run.documents) / max(time.monotonic() - self.began, 0.001)
        deleted = f", {run.deleted:,} deleted" if run.deleted else ""
        return f"{run.objects:,} objects, {run.documents:,} documents{deleted}, {rate:,.0f} keys a second"

    @contextmanager
    def stopping_at(self, then: str) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt as error:
            raise CommandError(f"Stopped: {self.so_far()}. {then.format(self.run.at or QUOTES)}") from error
        except DOWN as error:
            name = "The bucket" if isinstance(error, storage.Error) else "MongoDB"
            said = f"{name} does not answer, so do the rest later: {error}"
            raise CommandError(f"{said}\n{self.so_far()}. {then.format(self.run.at or QUOTES)}") from error

    def summary(self) -> None:
        run = self.run
        if self.most is not None and self.found > self.most:
            self.stdout.write(f"… and {self.found - self.most:,} more, which --all prints.")
        self.stdout.write(f"\n{'':26}{'found':>12}{'bytes':>20}{'owners':>10}")
        for kind, title in TITLES.items():
            total = run.found[kind]
            self.stdout.write(f"{title:26}{total.count:>12,}{total.bytes:>20,}{total.owners:>10,}")
        self.stdout.write(f"\nCompared {self.so_far()}.")
        if run.young:
            why = "too young to be orphans, or about to be looked at by a sweep"
            self.stdout.write(f"Objects without a document that are {why}: {run.young:,}.")
        if run.found[Kind.LOST].count:
            self.stdout.write("What is lost comes back by a copy, put under the same key; or delete the file in the admin.")

    def fix(self, *, force: bool) -> None:
        orphans = self.run.found[Kind.ORPHAN]
        if self.run.mostly_orphans and not force:
            raise CommandError(
                f"Nothing was deleted: of {self.run.objects:,} objects {orphans.count:,} have no document. "
                "Are R2_BUCKET and MONGODB_URI those of one site? If they are, add --force."
            )
        self.run.delete_orphans()
        self.stdout.write(f"Deleted {self.run.deleted:,} orphan object{pluralize(self.run.deleted)}.")
        if self.run.refused:
            self.stderr.write(f"The bucket refused to delete {self.run.refused:,}; the log says why.")
