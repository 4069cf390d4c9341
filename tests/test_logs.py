"""What the processes write to standard output: objects on lines in production, each with the request that it belongs to."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from files import checking, documents, trail
from files.documents import File, Status
from uploadkit import localstack, logs

from .conftest import Cast, post_json
from .corpus.make import saved
from .place import visitor
from .processes import BIN, procfile, wait_until
from .sites import running_site
from .test_settings import setting

LINE = logs.Line("%(levelname)s %(message)s")
SECRET = "a-secret-of-128-bits"
SIGNED = "https://s3.example.com/files/u/1/a?X-Amz-Credential=AKIA%2F2&X-Amz-Signature=0f0f&x=1"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What all processes of production write, by the handler and the formatter of the settings."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logs.Json())
    logging.getLogger().addHandler(handler)
    yield out
    logging.getLogger().removeHandler(handler)


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line]


# --- what a line has ------------------------------------------------------------------------------------------------


def test_a_request_is_one_line_with_who_what_how_long_and_its_id(as_alice: Client, alice: User, written: io.StringIO) -> None:
    answer = as_alice.get("/files/?q=nothing")
    missing = as_alice.get("/nowhere")

    first, second = objects(written.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", first.pop("time"))
    assert first.pop("ms") > 0
    assert first == {
        "level": "INFO",
        "logger": "uploadkit.access",
        "message": "GET /files/ 200",
        "method": "GET",
        "path": "/files/",
        "status": 200,
        "view": "files:list",
        "user": alice.pk,
        "request_id": answer["X-Request-ID"],
    }
    assert (second["status"], second["view"], second["request_id"]) == (404, "none", missing["X-Request-ID"])


def test_a_bug_is_logged_with_the_request_that_it_is_in(
    as_alice: Client, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError(f"a bug at /s/{SECRET}")

    monkeypatch.setattr(File, "page", broken)
    answer = as_alice.get("/files/")

    assert answer.status_code == 500
    lines = objects(written.getvalue())
    assert {line["request_id"] for line in lines} == {answer["X-Request-ID"]}
    (traceback,) = [line for line in lines if "exception" in line]
    assert (traceback["level"], traceback["view"]) == ("ERROR", "files:list")
    assert "RuntimeError: a bug at /s/…" in traceback["exception"]
    assert SECRET not in written.getvalue()


@pytest.mark.django_db(transaction=True)
def test_what_a_worker_does_and_writes_belongs_to_the_request_that_queued_it_and_what_it_does_next_does_not(
    as_alice: Client, alice: User, cast: type[Cast], tmp_path: Path
) -> None:
    picture = saved("PNG")
    one, other = (cast.sign(alice, filename="a.png", content_type="image/png", size=len(picture)) for _ in range(2))
    for signed in (one, other):
        cast.put(signed, picture)
    answer = post_json(as_alice, "/api/uploads/confirm", {"key": one.key})
    checking.confirm(str(alice.pk), other.key)  # by no request
    argv = [*procfile()["worker"].split(" --concurrency")[0].split(), "--pool", "solo"]
    worker = localstack.Process(
        "worker", [str(BIN / argv[0]), *argv[1:]], log=tmp_path / "worker.log", env={"PYTHONWARNINGS": "ignore"}
    )

    worker.start()
    try:
        wait_until(lambda: File.objects(status=Status.READY).count() == 2, "both are checked")
        log = tmp_path / "worker.log"
        wait_until(lambda: log.read_text().count("succeeded in") == 2, "the worker says so")
        lines = objects(log.read_text())
    finally:
        worker.stop()

    first, second = [line for line in lines if "succeeded in" in line["message"]]
    assert (first["task"], first["request_id"]) == ("files.tasks.check", answer["X-Request-ID"])
    assert first["task_id"] in first["message"]
    assert "request_id" not in second
    histories = [documents.history(signed.key) for signed in (one, other)]
    assert [history and history.events[-1].request for history in histories] == [answer["X-Request-ID"], None]


# --- what no line has -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formatter", [LINE, logs.Json()], ids=["line", "json"])
@pytest.mark.parametrize(
    "text",
    [
        f"/s/{SECRET}",
        f'"/s/{SECRET}"',
        f"/s/{SECRET}\nmore",
        f"next=%2Fs%2F{SECRET}%2Fdownload",
        f"https://a.b/s/{SECRET}/download",
    ],
)
def test_no_line_says_which_link_was_asked_for(formatter: logging.Formatter, text: str) -> None:
    record = logging.makeLogRecord({"msg": text, "levelname": "INFO", "field": text, "deeper": {"a": [text]}})
    try:
        raise ValueError(text)
    except ValueError:
        record.exc_info = sys.exc_info()

    line = formatter.format(record)

    assert SECRET not in line
    if formatter is not LINE:
        assert json.loads(line).keys() >= {"message", "field", "deeper", "exception"}
        assert json.loads(line)["message"] == text.replace(SECRET, "…")


def test_no_line_has_a_url_that_is_good_for_a_minute() -> None:
    assert logs.without_links(SIGNED) == ("https://s3.example.com/files/u/1/a?X-Amz-Credential=…%2F2&X-Amz-Signature=…&x=1")


# --- the settings ---------------------------------------------------------------------------------------------------


def test_production_writes_objects_and_a_laptop_lines_unless_told() -> None:
    assert setting("LOG_FORMAT") == "'json'"
    assert setting("LOG_FORMAT", DEBUG="1") == "'line'"
    assert setting("LOG_FORMAT", LOG_FORMAT="line") == "'line'"


def test_a_line_for_people_ends_with_the_request() -> None:
    record = logging.makeLogRecord({"msg": "a message", "levelname": "INFO"})

    assert LINE.format(record) == "INFO a message"
    with trail.caused_by("abc"):
        assert LINE.format(record) == "INFO a message (request abc)"


def test_a_site_in_production_writes_nothing_but_objects_for_each_request_one(tmp_path: Path) -> None:
    with running_site(tmp_path) as origin, visitor(origin) as client:
        asked = [client.get(path).headers["X-Request-ID"] for path in ("/", f"/s/{SECRET}", "/static/nothing")]
        client.get("/healthz")
    text = (tmp_path / "site.log").read_text()

    assert SECRET not in text
    lines = objects("\n".join(line for line in text.splitlines() if not re.match(r"\[[A-Z]+\] ", line)))
    assert [line["request_id"] for line in lines if line["logger"] == "uploadkit.access"] == asked
