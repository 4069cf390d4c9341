"""The checks of a file between its arrival and its being READY: what becomes of it, and of whoever comes between."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from django.contrib.auth.models import User
from django.test import Client
from PIL import Image

from files import checking, content, documents, names, redis_client, scanner, storage, sweeps, tasks, trail, uploads, worker
from files.documents import File, SpentKey, Status
from files.reasons import SENTENCES, Reason
from uploadkit import localstack

from .clamd import EICAR, Clamd, require
from .conftest import ROOT, post_json
from .corpus.make import PAGE, SVG, exif, isom, picture, saved
from .faults.disks import Disk, NoDisk
from .lifecycle import (
    Actor,
    actors,
    age_spent_keys,
    at_once,
    backdate,
    disagreements,
    objects,
    own_bucket,
    own_mongod,
    put_object,
    somebody,
)
from .lifecycle import (
    documents as documents_of,
)
from .processes import wait_until

DAY = timedelta(days=1)
PHOTO = saved("JPEG", exif=exif(gps=True))
CHART = saved("PNG")
TEXT = b"a report"
LONG = b"a report of many lines\n" * 1000  # more than a confirm has at hand


@pytest.fixture(autouse=True)
def policies(settings: Any) -> None:
    settings.UPLOAD_POLICIES = {
        **settings.UPLOAD_POLICIES,
        "clean": {"images": "clean"},
        "fleeting": {"ready_lives": timedelta(days=2)},
        "scanned": {"scan": True},
    }


@pytest.fixture
def scanned(settings: Any, clamd: Clamd) -> Iterator[Clamd]:
    """The scanner that the tests share is the one of the settings."""
    settings.CLAMD_URL = clamd.url
    yield clamd
    scanner.expect_to_be_told.cache_clear()


def send(
    owner: User,
    body: bytes = CHART,
    name: str = "chart.png",
    content_type: str = "image/png",
    *,
    policy: str = "default",
    sha256: str | None = None,
) -> File:
    """Upload and confirm a file, whose bytes come past the signature."""
    owner_id = str(owner.pk)
    signed = uploads.sign(owner_id, filename=name, content_type=content_type, size=len(body), policy=policy, sha256=sha256)
    put_object(signed.key, body, content_type)
    return uploads.confirm(owner_id, signed.key)


def send_photo(owner: User) -> File:
    """One to clean, by a policy that other processes know too."""
    return send(owner, PHOTO, "photo.jpg", "image/jpeg", policy="avatars")


def send_to_scan(owner: User, body: bytes = TEXT) -> File:
    return send(owner, body, "report.txt", "text/plain", policy="scanned")


def check(file: File) -> File:
    """The file after a worker took its message."""
    assert file.check_at is not None
    checking.check(file.key, file.check_at)
    return again(file)


def again(file: File) -> File:
    return File.objects.get(key=file.key)  # type: ignore[no-any-return]


def outcome(file: File) -> tuple[str, str | None]:
    return file.status, file.reason


def events(file: File) -> list[tuple[str, str | None, str]]:
    history = documents.history(file.key)
    assert history is not None
    return [(event.who, event.before, event.after) for event in history.events]


def downloaded(file: File) -> bytes:
    return httpx.get(uploads.download_url(file)).raise_for_status().content


def backdate_events(file: File, age: timedelta = timedelta(seconds=1)) -> None:
    """Let what happened to it have happened that much earlier."""
    before = [{**event, "at": event["at"] - age} for event in file.trail]
    File.objects(key=file.key).update(trail=before)


def let_the_lease_end(file: File) -> None:
    File.objects(key=file.key).update(check_at=uploads.now())


def taken_over(file: File) -> File:
    """The file with the ticket that the next worker is given, once nobody has it."""
    let_the_lease_end(file)
    return next(due for due in uploads.due_checks() if due.key == file.key)


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, verb: str, act: Callable[[], object]) -> Iterator[None]:
    """`act` comes between, when a check is about to use that verb of the bucket for the first time."""
    real, left = getattr(storage, verb), [act]

    def after_it(*args: Any, **more: Any) -> Any:
        while left:
            left.pop()()
        return real(*args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(storage, verb, after_it)
        yield
    assert not left, f"no check came to {verb}"


# --- what becomes of it ----------------------------------------------------------------------------------------------


def test_a_picture_is_checking_until_a_worker_has_decoded_it(alice: User) -> None:
    file = send(alice)

    assert (file.status, file.step, file.checks) == (Status.CHECKING, "image", ["image"])
    assert [row.key for row in File.page(str(alice.pk), None, 10)] == []

    ready = check(file)

    assert (ready.status, ready.step, ready.check_at, ready.attempts) == (Status.READY, None, None, None)
    assert events(file) == [
        (str(alice.pk), None, "pending"),
        (str(alice.pk), "pending", "checking"),
        ("checker", "checking", "ready"),
    ]
    assert downloaded(ready) == CHART
    [row] = File.page(str(alice.pk), None, 10)
    assert row.thumbnail == ready.thumbnail


def test_what_is_no_picture_and_needs_no_scan_is_ready_at_once(alice: User) -> None:
    file = send(alice, TEXT, "report.txt", "text/plain")

    assert (file.status, len(events(file))) == (Status.READY, 2)


def test_a_picture_that_cannot_be_decoded_is_rejected_with_a_reason_and_leaves_the_bucket(alice: User) -> None:
    file = send(alice, CHART[:-40])

    rejected = check(file)

    assert outcome(rejected) == (Status.REJECTED, Reason.BROKEN)
    assert rejected.why == str(SENTENCES[Reason.BROKEN])
    assert events(file)[2:] == [("checker", "checking", "rejected")]
    assert storage.head(file.key) is None and rejected.leftovers == []


def test_what_is_seen_at_once_is_rejected_in_the_request(as_alice: Client, alice: User) -> None:
    signed = uploads.sign(str(alice.pk), filename="page.png", content_type="image/png", size=len(PAGE))
    put_object(signed.key, PAGE, "image/png")

    answer = post_json(as_alice, "/api/uploads/confirm", {"key": signed.key})

    assert (answer.status_code, answer.json()["code"]) == (422, "rejected")
    file = File.objects.get(key=signed.key)
    assert outcome(file) == (Status.REJECTED, Reason.ACTIVE)
    assert (storage.head(signed.key), events(file)[1:]) == (None, [(str(alice.pk), "pending", "rejected")])


def test_a_cleaned_picture_takes_the_place_of_the_upload_under_a_key_that_nobody_can_write_to() -> None:
    alice = somebody()
    file = send_photo(alice)

    ready = check(file)

    assert ready.cleaned and ready.thumbnail
    assert objects(alice) == {ready.cleaned, ready.thumbnail}
    assert not names.is_key_of(str(alice.pk), ready.cleaned)
    body = downloaded(ready)
    assert (len(body), hashlib.sha256(body).hexdigest()) == (ready.size, ready.sha256)
    with Image.open(io.BytesIO(body)) as image:
        assert (image.format, image.size, dict(image.getexif())) == ("JPEG", (48, 32), {})


def test_a_cleaned_picture_is_still_there_when_its_upload_url_has_long_been_dead() -> None:
    alice = somebody()
    ready = check(send_photo(alice))

    for _ in range(3):
        age_spent_keys(DAY)
        sweeps.sweep()

    assert disagreements(alice) == []
    assert downloaded(ready)


def test_what_is_put_to_the_key_of_an_upload_that_was_cleaned_goes_with_a_later_sweep() -> None:
    alice = somebody()
    ready = check(send_photo(alice))
    put_object(ready.key, PHOTO, "image/jpeg")

    age_spent_keys(sweeps.URL_DEAD)
    sweeps.sweep()

    assert objects(alice) == {ready.cleaned, ready.thumbnail}


@pytest.mark.parametrize(("name", "content_type"), [("camera.dat", "application/octet-stream"), ("photo.jpg", "image/jpeg")])
def test_a_policy_cleans_what_is_a_picture_and_not_what_is_called_one(alice: User, name: str, content_type: str) -> None:
    ready = check(send(alice, PHOTO, name, content_type, policy="clean"))

    assert ready.status == Status.READY
    assert b"Exif" in PHOTO and b"Exif" not in downloaded(ready)


@pytest.mark.parametrize(
    ("body", "name", "content_type"),
    [
        (SVG, "drawing.svg", "image/svg+xml"),
        (b'<?xml version="1.0"?><!--' + bytes(content.FIRST).replace(b"\0", b" ") + b"-->" + SVG, "late.svg", "image/svg+xml"),
        (gzip.compress(SVG), "packed.svgz", "image/svg+xml"),
        (isom(b"heic", b"mif1", b"heic"), "photo.heic", "image/heic"),
        (b"IIRO" + random.Random(9).randbytes(300), "camera.orf", "image/x-olympus-orf"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "plot.eps", "image/x-eps"),
        (TEXT, "picture.foo", "image/x-foo"),
    ],
    ids=["svg", "svg behind a comment", "svgz", "heic", "raw", "eps", "a type that nobody knows"],
)
def test_a_picture_that_cannot_be_cleaned_is_rejected_where_that_is_wished(
    alice: User, body: bytes, name: str, content_type: str
) -> None:
    assert outcome(check(send(alice, body, name, content_type, policy="clean"))) == (Status.REJECTED, Reason.UNREADABLE)
    assert send(alice, body, name, content_type).status == Status.READY


def test_a_picture_with_more_bytes_than_its_pixels_could_have_is_not_even_read(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.IMAGE_MAX_PIXELS = 100
    file = send(alice)
    monkeypatch.setattr(storage, "reading", None)

    assert outcome(check(file)) == (Status.REJECTED, Reason.BOMB)


@pytest.mark.parametrize("checked", [False, True], ids=["without checks", "after checks"])
def test_a_file_lives_as_long_as_its_policy_lets_it(checked: bool) -> None:
    alice = somebody()
    body, name, content_type = (CHART, "chart.png", "image/png") if checked else (TEXT, "report.txt", "text/plain")
    file = send(alice, body, name, content_type, policy="fleeting")
    ready = check(file) if checked else file
    assert ready.ready_at and ready.expires_at == ready.ready_at + 2 * DAY

    sweeps.sweep()
    assert documents_of(alice) == {file.key: "ready"}
    File.objects(key=file.key).update(expires_at=uploads.now())
    sweeps.sweep()

    assert (documents_of(alice), objects(alice)) == ({}, set())
    assert events(file)[-2:] == [("sweep", "ready", "deleting"), ("sweep", "deleting", "gone")]


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a bucket that takes whatever comes under a checksum that was signed."""
    monkeypatch.setattr(storage, "verifies_checksums", lambda: False)


def test_the_bucket_is_found_to_compare_checksums_itself_and_nothing_is_left_of_that() -> None:
    storage.verifies_checksums.cache_clear()

    assert storage.verifies_checksums()
    assert storage.some_under(storage.PROBES, older_than=uploads.now() + DAY) == []


def test_what_says_nothing_of_checksums_is_not_remembered_and_a_worker_computes_that_of_the_file(
    alice: User, settings: Any, tmp_path: Path
) -> None:
    """As a refusal does, which a bucket has for many reasons: R2 answers 429 to a second write to one key within a second."""
    sha256 = hashlib.sha256(LONG).hexdigest()
    with own_bucket(settings, tmp_path, may_write="u/"):
        file = send(alice, LONG, "report.txt", "text/plain", sha256=sha256)

        assert (file.checks, outcome(check(file)), again(file).sha256) == (["integrity"], (Status.READY, None), sha256)
        for _ in range(2):
            with pytest.raises(storage.BucketError, match="403"):
                storage.verifies_checksums()


@pytest.mark.usefixtures("careless")
def test_the_checksum_that_was_signed_is_compared_where_the_bucket_does_not(alice: User) -> None:
    right, wrong = hashlib.sha256(LONG).hexdigest(), hashlib.sha256(b"another").hexdigest()

    file = send(alice, LONG, "report.txt", "text/plain", sha256=right)
    assert (file.checks, outcome(check(file)), again(file).sha256) == (["integrity"], (Status.READY, None), right)

    file = send(alice, LONG, "report.txt", "text/plain", sha256=wrong)
    assert outcome(check(file)) == (Status.REJECTED, Reason.INTEGRITY)


def test_a_worker_that_does_not_know_the_policy_of_a_file_lets_it_pass_by_no_other(alice: User, settings: Any) -> None:
    """It may be older than what took the upload. Until there is another the file waits, however often that one tries."""
    file, known = send_photo(alice), settings.UPLOAD_POLICIES

    settings.UPLOAD_POLICIES = {"default": {}}
    for _ in range(checking.ATTEMPTS + 1):
        file = taken_over(check(file))
    settings.UPLOAD_POLICIES = known

    assert file.status == Status.CHECKING
    assert check(file).cleaned


def test_a_file_whose_policy_the_settings_have_not_had_for_a_day_is_given_up_unless_it_was_ready_before(
    alice: User, settings: Any
) -> None:
    file, ready = send_photo(alice), check(send_photo(alice))
    uploads.check_again([ready.key], who="ops:1")
    settings.UPLOAD_POLICIES = {"default": {}}

    for one in (file, ready):
        backdate_events(again(one), checking.WORKERS_LIVE - timedelta(minutes=1))
        assert check(again(one)).status == Status.CHECKING
        backdate_events(again(one), timedelta(minutes=2))

    assert outcome(check(again(file))) == (Status.REJECTED, Reason.UNCHECKED)
    assert check(again(ready)).status == Status.CHECKING


@pytest.mark.usefixtures("careless")
def test_the_checks_come_in_their_order(alice: User, scanned: Clamd, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = saved("BMP", picture().resize((120, 80)))
    assert len(chart) > content.FIRST
    file = send(alice, chart, "chart.bmp", "image/bmp", sha256=hashlib.sha256(chart).hexdigest(), policy="scanned")
    steps: list[str | None] = []
    real = storage.reading

    def noting_the_step(key: str) -> Any:
        steps.append(again(file).step)
        return real(key)

    monkeypatch.setattr(storage, "reading", noting_the_step)

    assert check(file).status == Status.READY
    assert steps == file.checks == ["integrity", "scan", "image"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "Identity"])
def test_bytes_of_which_a_browser_makes_others_are_rejected(alice: User, encoding: str) -> None:
    """The signature forbids no Content-Encoding, and what is looked at and scanned must be what somebody gets."""
    body = gzip.compress(PAGE)
    signed = uploads.sign(str(alice.pk), filename="page.gz", content_type="application/gzip", size=len(body))
    put = httpx.put(signed.put.url, content=body, headers={**signed.put.headers, "Content-Encoding": encoding})
    assert put.is_success

    if encoding == "Identity":
        assert downloaded(uploads.confirm(str(alice.pk), signed.key)) == body
        return
    with pytest.raises(uploads.Rejected):
        uploads.confirm(str(alice.pk), signed.key)
    assert outcome(File.objects.get(key=signed.key)) == (Status.REJECTED, Reason.INTEGRITY)


def interrupted(*args: Any, **more: Any) -> None:
    raise KeyboardInterrupt


def test_what_an_attempt_wrote_by_another_policy_belongs_to_the_file(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = somebody()
    file = send_photo(alice)
    with monkeypatch.context() as patched:
        patched.setattr(uploads, "pass_checks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            check(file)
    assert len(objects(alice)) == 3

    settings.UPLOAD_POLICIES = {"default": {}, "avatars": {}}
    assert check(taken_over(file)).cleaned is None

    assert disagreements(alice) == []


# --- what is down ------------------------------------------------------------------------------------------------------


def test_what_the_scanner_finds_is_rejected(alice: User, scanned: Clamd) -> None:
    assert outcome(check(send_to_scan(alice, EICAR))) == (Status.REJECTED, Reason.MALWARE)
    assert outcome(check(send_to_scan(alice))) == (Status.READY, None)


def test_what_is_over_the_scanners_limit_is_rejected_and_not_sent(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CLAMD_URL, settings.CLAMD_MAX_SIZE = "tcp://127.0.0.1:9", len(TEXT) - 1

    assert outcome(check(send_to_scan(alice))) == (Status.REJECTED, Reason.UNSCANNABLE)


def test_with_the_scanner_down_for_an_hour_a_file_waits_unscanned_and_is_tried_each_minute(
    alice: User, settings: Any, clamd: Clamd
) -> None:
    settings.CLAMD_URL = f"tcp://{localstack.HOST}:{localstack.free_port()}"
    file = send_to_scan(alice)

    for _ in range(60):
        file = check(file)
        assert file.status == Status.CHECKING and file.check_at
        assert timedelta(seconds=50) < file.check_at - uploads.now() <= checking.AGAIN
        file = taken_over(file)

    settings.CLAMD_URL = clamd.url
    assert outcome(check(file)) == (Status.READY, None)
    scanner.expect_to_be_told.cache_clear()


def test_a_file_that_kills_the_scanner_each_time_is_rejected_after_a_few_attempts_ever_further_apart(
    alice: User, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require()
    clamd = Clamd(tmp_path / "clamd")
    settings.CLAMD_URL = clamd.url

    def deadly(stream: scanner.Stream) -> Iterator[bytes]:
        yield stream.read(1)
        clamd.kill()

    monkeypatch.setattr(scanner, "limited", deadly)
    file, waits = send_to_scan(alice), []
    for _ in range(checking.ATTEMPTS - 1):
        with clamd.running():
            file = check(file)
        assert file.status == Status.CHECKING and file.check_at
        waits.append((file.check_at - uploads.now()) / checking.AGAIN)
        for _ in range(checking.ATTEMPTS):
            file = check(taken_over(file))  # while it is down, which takes no attempt
        file = taken_over(file)
    with clamd.running():
        file = check(file)

    assert outcome(file) == (Status.REJECTED, Reason.UNCHECKED)
    assert all(2**place * 0.99 <= wait <= 2 ** (place + 1) for place, wait in enumerate(waits)), waits
    scanner.expect_to_be_told.cache_clear()


def test_with_the_scanner_frozen_a_file_waits(alice: User, scanned: Clamd) -> None:
    file = check(send_to_scan(alice))  # so that this process believes the scanner
    file = send_to_scan(alice)

    with scanned.frozen():
        assert check(file).status == Status.CHECKING

    assert check(taken_over(file)).status == Status.READY


def test_an_object_that_is_missing_is_rejected(alice: User) -> None:
    file = send(alice)
    storage.delete(file.key)

    assert outcome(check(file)) == (Status.REJECTED, Reason.INTEGRITY)


def test_a_bucket_that_is_missing_is_waited_for(alice: User, settings: Any) -> None:
    file, name = send(alice), settings.R2_BUCKET

    settings.R2_BUCKET = "no-such-bucket"
    assert check(file).status == Status.CHECKING
    settings.R2_BUCKET = name

    assert check(taken_over(file)).status == Status.READY


def test_with_the_disk_full_a_file_waits(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    file = send(alice)
    try:
        disk = Disk(1)
    except NoDisk as error:
        pytest.skip(str(error))
    try:
        disk.fill()
        with monkeypatch.context() as patched:
            patched.setattr(checking, "IN_MEMORY", 1)
            patched.setattr(tempfile, "tempdir", str(disk.path))

            waiting = check(file)
    finally:
        disk.close()

    assert (waiting.status, waiting.attempts) == (Status.CHECKING, 0)
    assert check(taken_over(file)).status == Status.READY


def test_with_the_bucket_down_a_file_waits(alice: User, settings: Any, tmp_path: Path) -> None:
    with own_bucket(settings, tmp_path) as server:
        file = send(alice)
        server.kill()

        waiting = check(file)

    assert (waiting.status, waiting.attempts) == (Status.CHECKING, 0)


def test_with_mongodb_down_in_its_midst_a_check_is_made_again_when_its_lease_is_over(
    alice: User, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "WAITS", ())
    with own_mongod(settings, tmp_path) as server:
        file = send(alice)

        with meanwhile(monkeypatch, "reading", server.kill), pytest.raises(documents.Error):
            check(file)

        server.start()
        server.wait_until_ready()
        waiting = again(file)
        assert (waiting.status, waiting.attempts) == (Status.CHECKING, 1)
        assert waiting.check_at and waiting.check_at - uploads.now() < settings.CHECK_LEASE
        assert check(taken_over(file)).status == Status.READY


def test_with_mongodb_down_for_a_moment_a_check_is_made_again_soon(
    alice: User, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checking, "WAITS", (0.1,) * 20)
    with own_mongod(settings, tmp_path) as server, ThreadPoolExecutor(1) as worker:
        file = send(alice)

        with meanwhile(monkeypatch, "reading", server.kill):
            checked = worker.submit(check, file)
            wait_until(lambda: "has to wait" in caplog.text, "the check noticed")
            server.start()
            waiting = checked.result()

    assert (waiting.status, waiting.attempts) == (Status.CHECKING, 0)
    assert waiting.check_at and waiting.check_at - uploads.now() <= checking.AGAIN


# --- the queue ---------------------------------------------------------------------------------------------------------


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Queue:
    """A Redis of the test's own, which the app queues into."""

    def __init__(self, folder: Path) -> None:
        self.server = localstack.valkey(folder)
        self.url = f"redis://{localstack.HOST}:{self.server.port}/0"

    def __len__(self) -> int:
        with redis.Redis.from_url(self.url) as client:
            length: int = client.llen("long")
            return length

    @contextmanager
    def frozen(self) -> Iterator[None]:
        assert self.server.popen is not None
        os.killpg(self.server.popen.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.server.popen.pid, signal.SIGCONT)


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    queue = Queue(tmp_path)
    queue.server.start()
    queue.server.wait_until_ready()
    monkeypatch.setenv("CELERY_BROKER_URL", queue.url)
    yield queue
    queue.server.stop()


def test_the_site_queues_where_the_worker_listens(settings: Any) -> None:
    """By nothing but what a web server imports."""
    ask = "import uploadkit.wsgi, celery; print(celery.current_app.conf.broker_url)"

    answer = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)

    assert answer.stdout.splitlines()[-1] == settings.REDIS_URL


def test_a_thousand_confirms_queue_a_thousand_checks_by_the_same_connections(alice: User, queue: Queue) -> None:
    file = send(alice)
    assert checking.queue(file)
    before = open_files()

    assert all(checking.queue(file) for _ in range(999))

    assert len(queue) == 1000
    assert open_files() <= before + 2


def test_a_confirm_waits_for_no_queue_that_is_down_or_frozen(as_alice: Client, alice: User, queue: Queue) -> None:
    def confirm_one() -> tuple[int, float]:
        signed = uploads.sign(str(alice.pk), filename="chart.png", content_type="image/png", size=len(CHART))
        put_object(signed.key, CHART, "image/png")
        began = time.monotonic()
        answer = post_json(as_alice, "/api/uploads/confirm", {"key": signed.key})
        return answer.status_code, time.monotonic() - began

    assert confirm_one()[0] == 202 and len(queue) == 1
    with queue.frozen():
        slow = [confirm_one() for _ in range(3)]
    queue.server.kill()
    down = [confirm_one() for _ in range(3)]

    assert {status for status, _ in slow + down} == {202}
    assert max(seconds for _, seconds in slow) < 1 and max(seconds for _, seconds in down) < 0.5
    queue.server.start()
    queue.server.wait_until_ready()
    File.objects.update(check_at=uploads.now())
    before = len(queue)
    assert checking.queue_due() == 7
    assert len(queue) == before + 7, "what the queue did not take is found when it is back"


def test_behind_a_hundred_checks_that_wait_no_more_are_queued(alice: User) -> None:
    """Without a worker each file would be queued again every minute, and fill the Redis that signings need."""
    send(alice)
    File.objects.update(check_at=uploads.now())
    redis_client.queue().rpush(worker.LONG, *["a task"] * worker.BEHIND)

    assert checking.queue_due() == 0
    redis_client.queue().lpop(worker.LONG)
    assert checking.queue_due() == 1


def test_more_confirms_at_once_than_there_are_connections_wait_for_no_frozen_queue_either(alice: User, queue: Queue) -> None:
    file = send(alice)
    took: list[float] = []

    def confirm_one() -> None:
        began = time.monotonic()
        checking.queue(file)
        took.append(time.monotonic() - began)

    with queue.frozen():
        threads = [threading.Thread(target=confirm_one) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(took) == 40, "none ended by an error"
    assert max(took) < 1.5


def test_what_is_due_is_not_queued_one_by_one_into_a_queue_that_is_down(alice: User, queue: Queue) -> None:
    for _ in range(3):
        send(alice)
    File.objects.update(check_at=uploads.now())

    with queue.frozen():
        assert checking.queue_due() == 0

    assert len(queue) <= 1


def test_confirming_again_sends_no_other_message_and_takes_the_file_away_from_no_worker(
    as_alice: Client, alice: User, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = uploads.sign(str(alice.pk), filename="chart.png", content_type="image/png", size=len(CHART))
    put_object(signed.key, CHART, "image/png")

    def confirm_again() -> None:
        answer = post_json(as_alice, "/api/uploads/confirm", {"key": signed.key})
        assert answer.status_code == 202

    confirm_again()
    file = File.objects.get(key=signed.key)
    backdate_events(file)
    for _ in range(3):
        confirm_again()
    assert len(queue) == 1
    with meanwhile(monkeypatch, "reading", confirm_again):
        assert check(file).status == Status.READY
    assert len(queue) == 1


# --- twice, late, and in between ---------------------------------------------------------------------------------------


def test_of_a_message_that_comes_twice_the_second_does_nothing(alice: User) -> None:
    file = send(alice)
    before = check(file).to_mongo()

    assert check(file).to_mongo() == before


def test_a_message_that_is_older_than_the_files_ticket_does_nothing(alice: User) -> None:
    file = send(alice)
    taken_over(file)

    assert check(file).status == Status.CHECKING


def test_a_message_that_comes_after_its_file_is_gone_does_nothing() -> None:
    alice = somebody()
    file = send(alice)
    uploads.cancel(str(alice.pk), file.key)

    assert file.check_at
    checking.check(file.key, file.check_at)

    assert (documents_of(alice), objects(alice)) == ({}, set())


def test_a_file_is_queued_for_one_worker_alone(alice: User) -> None:
    file = send(alice)
    let_the_lease_end(file)

    assert [[due.key for due in uploads.due_checks()] for _ in range(2)] == [[file.key], []]


@pytest.mark.parametrize("frozen_at", ["reading", "write"])
def test_a_worker_that_was_frozen_for_longer_than_its_lease_changes_nothing(
    frozen_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = somebody()
    file = send_photo(alice)
    by_the_other: list[File] = []

    with meanwhile(monkeypatch, frozen_at, lambda: by_the_other.append(check(taken_over(file)))):
        check(file)

    assert again(file).to_mongo() == by_the_other[0].to_mongo()
    assert events(file)[2:] == [("checker", "checking", "ready")]
    assert disagreements(alice) == []
    assert hashlib.sha256(downloaded(again(file))).hexdigest() == again(file).sha256, "what it wrote again is the same"


@pytest.mark.parametrize("at", ["reading", "write"])
@pytest.mark.parametrize("by", ["its owner", "operations"])
def test_a_file_that_is_deleted_while_it_is_checked_is_gone(at: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = somebody()
    file = send_photo(alice)

    def delete() -> None:
        if by == "operations":
            sweeps.delete_many([file.key], who="ops:1")
        else:
            uploads.cancel(str(alice.pk), file.key)

    with meanwhile(monkeypatch, at, delete):
        checking.check(file.key, file.check_at)  # type: ignore[arg-type]

    assert documents_of(alice) == {}
    age_spent_keys(sweeps.URL_DEAD)
    sweeps.sweep()
    assert objects(alice) == set()


def test_a_sweep_leaves_alone_what_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    alice = somebody()
    file = send_photo(alice)
    backdate([file.key], 40 * DAY)

    with meanwhile(monkeypatch, "write", lambda: sweeps.sweep(older_than=timedelta(0))):
        assert check(file).status == Status.READY

    assert disagreements(alice) == []


@pytest.fixture(scope="module")
def four() -> Iterator[list[Actor]]:
    with actors(4) as cast:
        yield cast


def test_30_interleavings_of_two_checks_a_cancel_and_a_sweep(four: list[Actor]) -> None:
    chance = random.Random(30)
    outcomes = set()
    for _ in range(30):
        alice = somebody()
        file = send(alice)
        assert file.check_at
        backdate([file.key])
        order = {"key": file.key, "ticket": file.check_at.isoformat()}
        orders: list[dict[str, Any]] = [
            {"act": "check", **order},
            {"act": "check", **order},
            {"act": "cancel", "owner": str(alice.pk), "key": file.key},
            {"act": "sweep", "older_than": 0},
        ]

        answers = at_once(four, orders, [chance.uniform(0, 0.02), chance.uniform(0, 0.02), chance.uniform(0, 0.05), 0.01])

        left = documents_of(alice).get(file.key)
        assert left in (None, "ready") and answers[2]["did"] == (left is None)
        assert sum(after in ("ready", "rejected") for _, _, after in events(file)) == (left == "ready")
        assert [fault for fault in disagreements(alice) if not is_remembered(fault)] == []
        age_spent_keys(sweeps.URL_DEAD)
        sweeps.sweep()
        assert disagreements(alice) == []
        outcomes.add(left)
    assert outcomes == {None, "ready"}, "always the same one won, so that nothing was interleaved"


def is_remembered(fault: str) -> bool:
    """An object that came after its document went, and that a later sweep is going to delete."""
    return SpentKey.objects(key=fault.rpartition(" ")[2]).first() is not None


LINES = 400  # more than a check has


@pytest.mark.long
def test_killed_before_any_line_a_check_leaves_what_the_next_one_finishes() -> None:
    alice = somebody()
    files: list[File] = []
    with Actor() as actor:
        killed = True
        while killed and len(files) < LINES:
            file = send_photo(alice)
            assert file.check_at
            files.append(file)
            killed = actor.ask("check", key=file.key, ticket=file.check_at.isoformat(), die_at_line=len(files))["killed"]
    assert 20 < len(files) < LINES, "it was killed at every line, and then no more"
    assert disagreements(alice) == []

    File.objects.filter(status="checking").update(check_at=uploads.now())
    for due in uploads.due_checks():
        check(due)
    sweeps.sweep()

    assert disagreements(alice) == []
    ready = list(File.objects.ready())
    assert len(ready) == len(files)
    assert all(file.leftovers == [] for file in ready)
    assert objects(alice) == {key for file in ready for key in (file.cleaned, file.thumbnail)}
    assert {tuple(after for _, _, after in events(file)) for file in ready} == {("pending", "checking", "ready")}


def test_a_file_that_kills_its_worker_each_time_is_rejected_after_a_few_attempts() -> None:
    alice = somebody()
    file = send(alice)
    with Actor() as actor:
        for attempt in range(1, checking.ATTEMPTS + 1):
            assert file.check_at
            assert actor.ask("check", key=file.key, ticket=file.check_at.isoformat(), die_at_line=30)["killed"]
            assert (again(file).status, again(file).attempts) == (Status.CHECKING, attempt)
            file = taken_over(file)

    assert outcome(check(file)) == (Status.REJECTED, Reason.UNCHECKED)
    assert objects(alice) == set()


# --- what is left, and the record --------------------------------------------------------------------------------------


def test_what_a_check_left_in_the_bucket_goes_with_the_next_sweep() -> None:
    """As after a kill between the last compare-and-set and the deletion; and no more goes than that."""
    alice = somebody()
    ready = check(send_photo(alice))
    put_object(ready.key, PHOTO, "image/jpeg")
    File.objects(key=ready.key).update(leftovers=[ready.key])

    sweeps.sweep()

    assert objects(alice) == {ready.cleaned, ready.thumbnail}
    assert again(ready).leftovers == []


def test_a_deleted_file_takes_all_its_objects_with_it() -> None:
    alice = somebody()
    ready = check(send_photo(alice))
    uploads.trash(str(alice.pk), [ready.key])
    File.objects.update(trashed_at=uploads.now() - DAY)

    sweeps.empty_trash()

    assert (documents_of(alice), objects(alice)) == ({}, set())


def test_the_record_of_a_rejection_stays_for_its_time(settings: Any) -> None:
    alice = somebody()
    file = check(send(alice, CHART[:-40]))

    backdate([file.key], settings.REJECTED_LIVES - timedelta(hours=1))
    sweeps.sweep()
    assert documents_of(alice) == {file.key: "rejected"}
    backdate([file.key], settings.REJECTED_LIVES + timedelta(hours=1))
    sweeps.sweep()

    assert documents_of(alice) == {}
    assert events(file)[-2:] == [("sweep", "rejected", "deleting"), ("sweep", "deleting", "gone")]


def test_what_is_rejected_while_a_sweep_meets_it_keeps_its_record() -> None:
    alice = somebody()
    signed = uploads.sign(str(alice.pk), filename="page.png", content_type="image/png", size=len(PAGE))
    put_object(signed.key, PAGE, "image/png")
    backdate([signed.key])

    def confirm(keys: list[str]) -> None:
        with pytest.raises(uploads.Rejected):
            uploads.confirm(str(alice.pk), signed.key)

    sweeps.sweep(older_than=timedelta(hours=1), each=confirm)

    assert documents_of(alice) == {signed.key: "rejected"}


def test_a_rejection_is_dismissed_by_its_owner_and_its_record_stays(as_alice: Client, alice: User) -> None:
    file = check(send(alice, CHART[:-40]))
    assert file.key in as_alice.get("/files/").content.decode()

    for _ in range(2):
        assert as_alice.post(f"/files/{file.key}/dismiss").status_code == 302

    assert file.key not in as_alice.get("/files/").content.decode()
    assert outcome(again(file)) == (Status.REJECTED, Reason.BROKEN)


def test_nobody_else_dismisses_it_and_nothing_else_is_dismissed(
    as_alice: Client, as_bob: Client, stranger: Client, alice: User
) -> None:
    rejected, waiting = check(send(alice, CHART[:-40])), send(alice)
    path = f"/files/{rejected.key}/dismiss"

    assert as_bob.post(path).status_code == 404
    assert stranger.post(path)["Location"].startswith("/login")
    assert as_alice.get(path).status_code == 405
    for key in (waiting.key, "u/1/nothing", f"u/{alice.pk}/" + "a" * 21 + "-a", "💥"):
        assert as_alice.post(f"/files/{key}/dismiss").status_code == 404
    assert (again(rejected).dismissed, again(waiting).dismissed) == (None, None)


def test_what_a_check_does_is_told_as_a_consequence_of_the_request_and_nothing_after_it(alice: User) -> None:
    file = send(alice)
    assert file.check_at

    with trail.caused_by("what came before"):
        tasks.check(file.key, file.check_at.isoformat(), "a request")

        assert trail.request_id.get() == "what came before"
    history = documents.history(file.key)
    assert history and [event.request for event in history.events][-1] == "a request"
