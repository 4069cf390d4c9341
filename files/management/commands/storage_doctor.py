import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.color import Style

from files import doctor
from files.doctor import Report
from files.probes import Verdict


class Command(BaseCommand):
    help = "Try all that uploadkit asks of the bucket, and say what does not hold. Ends with status 1 when a promise is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print it for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        report = doctor.examine()
        self.stdout.write(as_json(report) if options["json"] else as_text(report, self.style))
        if report.failed:
            raise CommandError(str(report))


def as_json(report: Report) -> str:
    said = {"bucket": settings.R2_BUCKET, "endpoint": settings.R2_ENDPOINT_URL, "ok": not report.failed}
    return json.dumps({**said, "probes": [asdict(finding) for finding in report.findings], "left": report.left}, indent=2)


def as_text(report: Report, style: Style) -> str:
    paint = {Verdict.PASS: style.SUCCESS, Verdict.FAIL: style.ERROR}
    width = max(len(finding.name) for finding in report.findings)
    lines = [f"The bucket {settings.R2_BUCKET} at {settings.R2_ENDPOINT_URL}:", ""]
    lines += [
        f"  {paint.get(finding.verdict, style.WARNING)(f'{finding.verdict:<11}')}  {finding.name:<{width}}  {finding.seen}"
        for finding in report.findings
    ]
    for finding in report.remarks:
        lines += ["", f"{finding.name}: {finding.verdict}"]
        lines += [f"  Promise  {finding.promise}", f"  Meaning  {finding.meaning}", f"  To do    {finding.remedy}"]
    if report.left:
        lines += ["", f"Not deleted, which an examination in an hour or later will do: {', '.join(report.left)}."]
    if not report.failed:  # which is said as the error
        lines += ["", str(report)]
    return "\n".join(lines)
