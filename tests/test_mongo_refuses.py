"""A MongoDB that answers, and cannot promise: a write concern that ran out, a primary that steps down."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mongoengine
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from mongoengine.connection import get_connection
from mongoengine.context_managers import switch_db

from files.documents import File
from uploadkit import localstack

from .conftest import Cast, post_json

WISH = {"filename": "report.pdf", "contentType": "application/pdf", "size": 5}
NOT_JOURNALED = {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}}
OUT_OF_TIME = {"errorCode": 50}  # MaxTimeMSExpired


@pytest.fixture
def failing(settings: Any, tmp_path: Path) -> Iterator[Any]:
    """A MongoDB of this test's own, and a way to make its next command of a name fail."""
    server = localstack.mongod(tmp_path)
    server.argv = [*server.argv, "--setParameter", "enableTestCommands=1"]
    server.start()
    try:
        server.wait_until_ready()
        uri = f"mongodb://{localstack.HOST}:{server.port}/own"
        mongoengine.connect(alias="own", host=uri, uuidRepresentation="standard", **settings.MONGODB_OPTIONS)

        def fail(command: str, how: dict[str, object]) -> None:
            data = {"failCommands": [command], **how}
            get_connection("own").admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data})

        with switch_db(File, "own"):
            yield fail
    finally:
        mongoengine.disconnect("own")
        server.stop()


@pytest.mark.parametrize("how", [NOT_JOURNALED, OUT_OF_TIME], ids=["a write concern ran out", "time ran out"])
def test_signing_says_that_mongodb_does_not_answer(as_alice: Client, failing: Any, how: dict[str, object]) -> None:
    failing("insert", how)

    answer = post_json(as_alice, "/api/uploads/sign", WISH)

    assert answer.status_code == 503
    assert answer.json()["error"].startswith("MongoDB ")
    assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize("how", [NOT_JOURNALED, OUT_OF_TIME], ids=["a write concern ran out", "time ran out"])
def test_confirming_says_so_too(as_alice: Client, alice: User, failing: Any, how: dict[str, object]) -> None:
    signed = Cast.sign(alice)
    Cast.put(signed)
    failing("findAndModify", how)

    answer = post_json(as_alice, "/api/uploads/confirm", {"key": signed.key})

    assert answer.status_code == 503
    assert answer.json()["error"].startswith("MongoDB ")


@pytest.mark.parametrize(
    ("how", "sentence"),
    [({"errorCode": 2}, "MongoDB refused this. "), (OUT_OF_TIME, "MongoDB does not answer. ")],
    ids=["an index is missing", "time ran out"],
)
def test_that_it_said_no_is_told_from_that_it_said_nothing(
    as_alice: Client, alice: User, failing: Any, how: dict[str, object], sentence: str
) -> None:
    key = Cast.sign(alice).key
    failing("find", how)

    for answer in (as_alice.get("/files/"), post_json(as_alice, "/api/uploads/diagnose", {"key": key})):
        assert answer.status_code == 503
        assert sentence in answer.text


@pytest.mark.usefixtures("failing")
def test_an_index_may_take_longer_than_a_page_may() -> None:
    """On a large collection, or a busy disk: the release would fail half-way."""
    slow = {"failCommands": ["createIndexes"], "blockConnection": True, "blockTimeMS": 2600}
    get_connection("own").admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": slow})

    call_command("ensure_indexes", stdout=io.StringIO())

    assert len(File._get_collection().index_information()) > 1
