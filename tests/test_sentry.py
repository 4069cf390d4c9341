"""Errors go to Sentry, here a server of the test's own that reads what comes; and what opens something stays at home."""

from __future__ import annotations

import gzip
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from uploadkit.localstack import HOST

from .conftest import ROOT
from .place import CSRF, silent_listener, visitor
from .processes import run, wait_until
from .sites import running_site
from .test_settings import setting

SECRET = "a-secret-of-128-bits"
SIGNED = "https://s3.example.com/a?X-Amz-Credential=AKIA&X-Amz-Signature=0f0f0f"

# A page with a bug, under the address of a link.
BUGGY = f"""
import logging
from django.urls import path
from uploadkit.urls import *
logger = logging.getLogger("files.buggy")

def bug(request, token):
    variable = "a variable" + "'s value"
    logger.info("on the way to /s/%s and %s", token, {SIGNED!r})
    raise RuntimeError("a bug with /s/%s and %s" % (token, {SIGNED!r}))

urlpatterns = [path("s/<str:token>/bug", bug), *urlpatterns]
"""
FAILING = f"""
import django
django.setup()
from celery import shared_task
from celery.contrib.testing.worker import start_worker
from files import trail
from uploadkit.celery import app
import sentry_sdk

@shared_task(name="failing")
def failing(key):
    raise RuntimeError("a task failed with {SIGNED}")

with trail.caused_by("a-request"):
    failing.delay("an-argument")
with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30) as worker:
    import time
    time.sleep(1)
sentry_sdk.flush(5)
"""


class Received(ThreadingHTTPServer):
    """What stands for Sentry: takes envelopes, and keeps the events that are in them."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), Reader)
        self.events: list[dict[str, Any]] = []
        self.text = ""

    @property
    def dsn(self) -> str:
        return f"http://key@{HOST}:{self.server_port}/1"


class Reader(BaseHTTPRequestHandler):
    server: Received

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        text = (gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body).decode()
        self.server.text += text
        lines = [json.loads(line) for line in text.splitlines() if line]
        self.server.events += [line for line in lines if "exception" in line]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def sentry() -> Iterator[Received]:
    with Received() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def buggy_site(folder: Path, dsn: str) -> Iterator[str]:
    (folder / "buggy_urls.py").write_text(BUGGY)
    (folder / "buggy.py").write_text("from settings_over_ours import *\nROOT_URLCONF = 'buggy_urls'\n")
    more = {"SENTRY_DSN": dsn, "SENTRY_RELEASE": "1.2.3", "SENTRY_ENVIRONMENT": "tests"}
    with running_site(folder, DJANGO_SETTINGS_MODULE="buggy", **more) as origin:
        yield origin


@pytest.mark.usefixtures("django_db_setup")  # where the site looks for the session
def test_a_bug_arrives_with_its_request_and_view_and_nothing_that_opens_a_file(sentry: Received, tmp_path: Path) -> None:
    with buggy_site(tmp_path, sentry.dsn) as origin, visitor(origin, "a-session") as client:
        answer = client.get(f"/s/{SECRET}/bug", headers={"Referer": f"{origin}/s/{SECRET}", "Authorization": "Bearer a-token"})
        wait_until(lambda: sentry.events, "the event is there", within=10)

    assert answer.status_code == 500
    assert "This is our mistake" in answer.text
    (event,) = sentry.events
    scrubbed = SIGNED.replace("AKIA", "…").replace("0f0f0f", "…")
    assert event["exception"]["values"][0]["value"] == f"a bug with /s/… and {scrubbed}"
    assert event["tags"]["request_id"] == answer.headers["X-Request-ID"]
    assert event["transaction"] == "/s/{token}/bug"
    assert (event["release"], event["environment"]) == ("1.2.3", "tests")
    assert "on the way to /s/…" in str(event["breadcrumbs"])
    for secret in (SECRET, "0f0f0f", "a-session", "a-token", CSRF, "a variable's value"):
        assert secret not in sentry.text


def test_while_sentry_hangs_nobody_waits_for_it(tmp_path: Path) -> None:
    with silent_listener() as port, buggy_site(tmp_path, f"http://key@{HOST}:{port}/1") as origin, visitor(origin) as client:
        start = time.monotonic()
        for _ in range(5):
            assert client.get(f"/s/{SECRET}/bug").status_code == 500
            assert client.get("/").status_code == 200
        assert time.monotonic() - start < 10, "its own time-out is 30 s"


def test_a_task_that_fails_arrives_with_the_request_that_queued_it_and_without_its_arguments(sentry: Received) -> None:
    env = {**os.environ, "SENTRY_DSN": sentry.dsn, "DJANGO_SETTINGS_MODULE": "uploadkit.settings"}
    done = run([sys.executable, "-c", FAILING], ROOT, env)

    assert done.returncode == 0, done.stderr
    (event,) = sentry.events
    assert event["exception"]["values"][0]["value"].startswith("a task failed with https://s3.example.com/a?X-Amz-Credential=…")
    assert event["transaction"] == "failing"
    assert event["tags"]["request_id"] == "a-request"
    assert "an-argument" not in sentry.text


def test_without_a_dsn_it_is_not_even_imported() -> None:
    assert "uploadkit.apps" in sys.modules
    assert "sentry_sdk" not in sys.modules


def test_an_environment_is_production_unless_it_says_otherwise() -> None:
    assert setting("SENTRY_ENVIRONMENT") == "'production'"
