"""manage.py storage_doctor and its page in the admin: what a bucket keeps of all that it has to, found by trying."""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from files import doctor, probes, storage
from files.doctor import Report
from files.probes import Verdict, promises
from files.storage import PROBES
from uploadkit import localstack

from .conftest import ROOT
from .lifecycle import ask_the_bucket_anew, own_bucket, put_object

PAGE = "/admin/files/storedfile/storage/"
ORIGIN = "https://files.example.com"


@pytest.fixture(autouse=True)
def a_bucket_that_is_set_up(settings: Any) -> Iterator[None]:
    settings.R2_BUCKET = f"doctor-{secrets.token_hex(4)}"
    settings.SITE_ORIGINS = [ORIGIN]
    call_command("storage_setup", stdout=StringIO())
    yield
    ask_the_bucket_anew()


@contextmanager
def rclone(settings: Any, folder: Path) -> Iterator[None]:
    """Point the app at an S3 server that ignores conditions."""
    port, keys = localstack.free_port(), f"{localstack.ACCESS_KEY_ID},{localstack.SECRET_ACCESS_KEY}"
    (folder / "data" / settings.R2_BUCKET).mkdir(parents=True)
    argv = [localstack.pip_script("rclone"), "serve", "s3", "--auth-key", keys, "--addr", f"{localstack.HOST}:{port}"]
    own = ["--config", str(folder / "rclone.conf"), "--cache-dir", str(folder / "cache")]
    server = localstack.Process("rclone", [*argv, *own, str(folder / "data")], port, folder / "rclone.log")
    server.start()
    try:
        server.wait_until_ready()
        point_at(settings, port)
        yield
    finally:
        server.stop()


def point_at(settings: Any, port: int) -> None:
    settings.R2_ENDPOINT_URL = f"http://{localstack.HOST}:{port}"
    ask_the_bucket_anew()


def by_verdict(report: Report) -> dict[str, set[str]]:
    """The names of what did not pass."""
    found: dict[str, set[str]] = {}
    for finding in report.findings:
        found.setdefault(finding.verdict, set()).add(finding.name)
    found.pop(Verdict.PASS, None)
    return found


def one(report: Report, name: str) -> doctor.Finding:
    return next(finding for finding in report.findings if finding.name == name)


def left_behind() -> list[str]:
    return storage.some_under(PROBES, older_than=datetime.now(UTC) + timedelta(days=1))


# --- the command ------------------------------------------------------------------------------------------------------


def test_seaweedfs_keeps_all_promises_and_nothing_is_left_there() -> None:
    out = StringIO()
    call_command("storage_doctor", stdout=out)

    lines = out.getvalue().splitlines()
    count = len(promises())
    assert count == 23 and lines[-1] == f"{count} of {count} promises hold."
    assert len([line for line in lines if line.startswith("  pass  ")]) == count
    assert left_behind() == []


def test_of_a_server_that_ignores_conditions_it_says_exactly_which_promises_do_not_hold(settings: Any, tmp_path: Path) -> None:
    out = StringIO()
    with rclone(settings, tmp_path):
        with pytest.raises(CommandError, match=r"^16 of 23 promises hold\. Broken: write-once, race, ") as raised:
            call_command("storage_doctor", "--json", stdout=out)
        assert not storage.verifies_checksums()
        assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []

    said = json.loads(out.getvalue())
    verdicts = {probe["name"]: probe["verdict"] for probe in said["probes"] if probe["verdict"] != "pass"}
    assert verdicts == {
        "write-once": "fail",
        "race": "fail",
        f"pages of {ORIGIN}": "fail",
        "range": "fail",
        "checksum": "unsupported",
        "CORS rule": "warn",
        "lifecycle rule": "warn",
    }
    assert all(probe["meaning"] and probe["remedy"] for probe in said["probes"] if probe["verdict"] != "pass")
    assert (said["ok"], said["left"], raised.value.returncode) == (False, [], 1)


def test_a_bucket_that_is_down_is_one_failure_and_the_rest_is_not_tried(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    point_at(settings, localstack.free_port())
    out = StringIO()

    with pytest.raises(CommandError, match=r"^0 of 23 promises hold\. Broken: reach\.$"):
        call_command("storage_doctor", stdout=out)

    assert "Check R2_ACCOUNT_ID or R2_ENDPOINT_URL" in out.getvalue()
    assert re.search(r"^  fail +reach +Failed to establish a new connection: .*refused$", out.getvalue(), re.MULTILINE)
    assert re.search(r"^  not tried    keys +reach failed$", out.getvalue(), re.MULTILINE)
    assert re.search(r"^  not tried    upload +keys was not tried$", out.getvalue(), re.MULTILINE)
    assert caplog.records == []  # they would be among the JSON


# --- what it finds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "found"),
    [
        (timedelta(minutes=20), {Verdict.FAIL: {"clock", "keys"}}),
        (timedelta(minutes=-2), {Verdict.FAIL: {"clock", "upload"}}),
        (timedelta(seconds=20), {Verdict.WARN: {"clock"}}),
    ],
)
def test_a_clock_that_is_off(ours: timedelta, found: dict[str, set[str]]) -> None:
    with time_machine.travel(datetime.now(UTC) + ours):
        report = doctor.examine()

    seen = by_verdict(report)
    seen.pop(Verdict.NOT_TRIED, None)
    assert seen == found
    assert "NTP" in one(report, "clock").remedy


@pytest.mark.parametrize(
    ("setting", "value", "seen"),
    [("R2_SECRET_ACCESS_KEY", "wrong", "403 SignatureDoesNotMatch"), ("R2_BUCKET", "nobodys", "404 NoSuchBucket")],
)
def test_wrong_keys_and_a_wrong_bucket_are_told_apart(settings: Any, setting: str, value: str, seen: str) -> None:
    setattr(settings, setting, value)
    ask_the_bucket_anew()

    found = one(doctor.examine(), "keys")

    assert (found.verdict, found.seen) == (Verdict.FAIL, f"answered by {seen}")
    assert setting in found.remedy


def test_an_origin_that_the_cors_rule_has_not_and_one_too_many(settings: Any) -> None:
    settings.SITE_ORIGINS = [ORIGIN, "https://files.example.org"]
    assert by_verdict(doctor.examine()) == {Verdict.FAIL: {"pages of https://files.example.org"}, Verdict.WARN: {"CORS rule"}}

    storage.set_up(["*"])
    assert by_verdict(doctor.examine()) == {Verdict.WARN: {"pages of others", "CORS rule"}}


def test_keys_that_may_only_read_are_found_by_the_upload(settings: Any, tmp_path: Path) -> None:
    settings.SITE_ORIGINS = ["http://testserver"]
    with own_bucket(settings, tmp_path, may_write="elsewhere/"):
        report = doctor.examine()

    assert by_verdict(report)[Verdict.FAIL] == {"upload"}
    assert one(report, "upload").seen == "an upload as it was signed is answered by 403 AccessDenied"
    assert "the keys may write" in one(report, "upload").remedy
    assert report.left == []


def test_keys_that_are_denied_what_is_not_there_may_lack_what_aws_wants_for_that(settings: Any, tmp_path: Path) -> None:
    """Those that may not list: AWS says 403 of an object that is not there, as any store does where nothing may be read."""
    with own_bucket(settings, tmp_path, may_write="", may_read=False):
        found = one(doctor.examine(), "keys")

    assert (found.verdict, found.seen) == (Verdict.FAIL, "answered by 403 AccessDenied")
    assert "s3:ListBucket" in found.remedy


def test_keys_for_objects_alone_keep_all_promises_and_the_rules_are_not_looked_at(settings: Any, tmp_path: Path) -> None:
    settings.SITE_ORIGINS = ["http://testserver"]
    with own_bucket(settings, tmp_path, may_write=""):
        report = doctor.examine()

    assert by_verdict(report) == {Verdict.UNSUPPORTED: {"CORS rule", "lifecycle rule"}}
    assert "R2_ADMIN_ACCESS_KEY_ID" in one(report, "CORS rule").remedy


def test_a_bucket_that_goes_down_half_way_is_told_with_what_may_be_left_in_it(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SITE_ORIGINS = ["http://testserver"]
    with own_bucket(settings, tmp_path) as server:
        monkeypatch.setattr(storage, "write_in_parts", lambda *args, **options: server.kill())
        report = doctor.examine()

    assert by_verdict(report) == {Verdict.FAIL: {"multipart", "delete", "delete many", "CORS rule", "lifecycle rule"}}
    assert report.left and all(key.startswith(PROBES) for key in report.left)


def test_admin_keys_that_are_wrong_are_a_failure_of_the_rules_alone(settings: Any) -> None:
    settings.R2_ADMIN_ACCESS_KEY_ID = settings.R2_ADMIN_SECRET_ACCESS_KEY = "somebody-elses"
    ask_the_bucket_anew()

    assert by_verdict(doctor.examine()) == {Verdict.FAIL: {"CORS rule", "lifecycle rule"}}


def test_a_probe_that_crashes_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: Any, **options: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(storage, "write_in_parts", crash)
    report = doctor.examine()

    assert by_verdict(report) == {Verdict.FAIL: {"multipart"}}
    assert one(report, "multipart").seen == "ZeroDivisionError: by nothing"
    assert left_behind() == []


def test_what_an_examination_that_was_cut_has_left_is_deleted_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    put_object(f"{PROBES}{'left' * 5}12")
    others = ("u/1/of-somebody", f"{PROBES}of-somebody-else")
    for key in others:
        put_object(key)
    monkeypatch.setattr(doctor, "LEFT_FOR", -timedelta(minutes=1))

    doctor.examine()

    assert [key for key in left_behind() if key not in others] == []
    assert all(storage.head(key) for key in others)
    for key in others:
        storage.delete(key)


# --- the page in the admin --------------------------------------------------------------------------------------------


pytestmark = pytest.mark.django_db(databases=["default", "mongo"])


def test_the_page_says_what_it_does_and_does_nothing_until_it_is_told(as_ops: Client) -> None:
    text = as_ops.get(PAGE).text

    assert "Examine the bucket" in text and "A link writes once: If-None-Match is heeded." in text
    assert 'class="verdict"' not in text
    assert not LogEntry.objects.exists()


def test_the_page_has_the_verdicts_and_the_history_says_who_asked(as_ops: Client, ops: User, settings: Any) -> None:
    settings.SITE_ORIGINS = [ORIGIN, "https://files.example.org"]
    text = as_ops.post(PAGE).text

    assert re.findall(r'class="verdict">([^<]+)<', text) == ["fail", "warn", *["pass"] * 22]
    assert "Nobody can upload from https://files.example.org" in text
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_repr) == (ops, "Examine the bucket")
    assert entry.change_message == "22 of 24 promises hold. Broken: pages of https://files.example.org."


def test_that_the_bucket_is_down_is_a_finding_and_no_503(as_ops: Client, settings: Any) -> None:
    point_at(settings, localstack.free_port())

    answer = as_ops.post(PAGE)

    assert (answer.status_code, "0 of 23 promises hold. Broken: reach." in answer.text) == (200, True)


def test_what_the_page_has_no_time_for_is_not_tried_and_nothing_is_left(
    as_ops: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_all_the_time(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(doctor, "monotonic", lambda: math.inf)

    monkeypatch.setattr(storage, "write_in_parts", take_all_the_time)

    text = as_ops.post(PAGE).text

    assert re.findall(r'class="verdict">([^<]+)<', text) == [*["not tried"] * 4, "unsupported", *["pass"] * 18]
    assert "18 of 23 promises hold. Not tried, since the time was over: 4." in text
    assert text.count("manage.py storage_doctor takes as long as it needs") == 4
    assert left_behind() == []


def test_nginx_waits_for_longer_than_the_page_may_take() -> None:
    waits = re.search(r"location /admin/ \{\s*proxy_read_timeout (\d+)s;", (ROOT / "docs" / "nginx.conf").read_text())
    config: Any = storage._client().meta.config
    one_attempt = 2 * config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout)  # and its abort

    assert waits and int(waits[1]) > 2 * doctor.FOR_A_PAGE + one_attempt


def test_a_permission_of_its_own_is_needed(clerk: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "reach", pytest.fail)
    without = clerk("view_storedfile", "cleanup_storedfile")

    assert (without.get(PAGE).status_code, without.post(PAGE).status_code) == (403, 403)
    assert "Is the bucket right?" not in without.get("/admin/files/storedfile/").text
    assert not LogEntry.objects.exists()


def test_who_has_the_permission_finds_the_page_on_the_list(clerk: Callable[..., Client]) -> None:
    client = clerk("view_storedfile", "doctor_storedfile")

    assert f'<a href="{PAGE}">Is the bucket right?</a>' in client.get("/admin/files/storedfile/").text
    assert client.get(PAGE).status_code == 200


def test_a_stranger_is_sent_to_sign_in_and_other_methods_are_refused(
    stranger: Client, as_alice: Client, as_ops: Client
) -> None:
    for client in (stranger, as_alice):
        for answer in (client.get(PAGE), client.post(PAGE)):
            assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/admin/login/")
    assert as_ops.delete(PAGE).status_code == 405
