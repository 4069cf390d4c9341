"""Whether the process lives, and whether the servers that it needs answer: for load balancers and for people."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from celery import current_app
from django.test import Client
from redis import Redis

from files import health, redis_client, tasks, worker

from .clamd import Clamd
from .place import Place, silent_listener, visitor

WITHIN = 3  # seconds
NEEDED = {"MongoDB": "mongodb", "Redis": "redis", "The bucket": "bucket"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """As in production, for which http is sent to https."""
    more = {"SITE_ORIGINS": "https://files.example.com", "SECURE_SSL_REDIRECT": "1", "ADDRESS_RATE": "5/m"}
    with Place(tmp_path_factory.mktemp("health"), **more).running() as place:
        place.prepare()
        yield place


@pytest.fixture(scope="module")
def site(place: Place) -> Iterator[httpx.Client]:
    with ExitStack() as stack:
        yield stack.enter_context(visitor(stack.enter_context(place.site())))


def asked(client: httpx.Client) -> tuple[int, dict[str, Any]]:
    time.sleep(health.FRESH)
    start = time.monotonic()
    answer = client.get("/readyz")
    assert time.monotonic() - start < WITHIN
    return answer.status_code, answer.json()


# --- the process ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_whoever_asks_by_any_address_without_tls_is_answered_and_not_counted(site: httpx.Client, path: str) -> None:
    for number in range(20):
        answer = site.get(path, headers={"Host": f"10.0.0.{number}", "Cookie": "sessionid=made-up"})

        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers
        assert "10.0.0." not in answer.text
    assert site.get("/login", headers={"Host": "10.0.0.1"}).status_code == 400
    assert site.head(path).status_code == 200
    assert site.post(path).status_code == 405


def test_with_all_frozen_the_process_lives_and_all_are_named_in_the_time_of_one(place: Place, site: httpx.Client) -> None:
    with ExitStack() as stack:
        for name in NEEDED:
            stack.enter_context(place.without(name, "frozen"))
        start = time.monotonic()
        answer = site.get("/healthz")

        assert (answer.status_code, answer.text) == (200, "ok\n")
        assert time.monotonic() - start < 1
        assert asked(site)[1]["down"] == ["mongodb", "redis", "bucket"]


# --- what it needs --------------------------------------------------------------------------------------------------


def test_it_is_ready_when_all_answer_and_says_in_how_many_milliseconds(site: httpx.Client) -> None:
    status, said = asked(site)

    assert (status, said["ready"], said["down"]) == (200, True, [])
    for name in (*NEEDED.values(), "database"):
        assert said["servers"][name] == {"ok": True, "needed": True, "ms": said["servers"][name]["ms"]}
        assert 0 < said["servers"][name]["ms"] < WITHIN * 1000
    assert "scanner" not in said["servers"], "none is configured"


def test_one_that_is_down_is_named_and_nothing_else_is(place: Place, site: httpx.Client) -> None:
    with place.without("Redis", "down"):
        status, said = asked(site)

        assert (status, said["down"]) == (503, ["redis"])
        assert said["servers"]["redis"]["problem"] == "does not answer"
        assert "127.0.0.1" not in str(said)
    assert asked(site)[0] == 200


def test_a_database_that_is_gone_is_named_without_where_it_was(place: Place, site: httpx.Client) -> None:
    elsewhere = place.database.with_suffix(".elsewhere")
    place.database.rename(elsewhere)
    try:
        status, said = asked(site)
        assert (status, said["down"]) == (503, ["database"])
        assert said["servers"]["database"]["problem"] == "does not answer"
    finally:
        elsewhere.rename(place.database)


# --- the scanner and the worker: what waits for them is not lost -----------------------------------------------------


@pytest.fixture
def fresh(db: None) -> Iterator[Client]:
    """A client that gets no answer which somebody else was given."""
    health.forget()
    yield Client(raise_request_exception=False)
    health.forget()


def test_a_scanner_that_is_frozen_is_named_and_not_needed(fresh: Client, clamd: Clamd, settings: Any) -> None:
    settings.CLAMD_URL = clamd.url
    assert fresh.get("/readyz").json()["servers"]["scanner"]["ok"]
    health.forget()
    clamd.freeze()
    try:
        answer = fresh.get("/readyz")
    finally:
        clamd.thaw()

    assert answer.status_code == 200
    assert answer.json()["servers"]["scanner"]["ok"] is False


def test_a_worker_that_the_beat_woke_within_a_minute_lives(fresh: Client) -> None:
    assert fresh.get("/readyz").json()["servers"]["worker"]["problem"].startswith("not heard of for 60 s")

    tasks.empty_trash()
    health.forget()

    answer = fresh.get("/readyz")
    assert answer.json()["servers"]["worker"] == {"ok": True, "needed": False, "ms": answer.json()["servers"]["worker"]["ms"]}
    assert 0 < int(str(redis_client.connection().ttl(worker.LIVES))) <= 60


def test_what_the_operator_does_not_need_is_named_and_does_not_take_the_site_away(
    fresh: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.READY_NEEDS = ["mongodb", "database"]
    with silent_listener() as port:
        monkeypatch.setattr(redis_client, "connection", lambda: Redis(port=port, **settings.REDIS_OPTIONS))
        answer = fresh.get("/readyz")

    assert (answer.status_code, answer.json()["down"]) == (200, [])
    assert answer.json()["servers"]["redis"]["ok"] is False


def test_a_queue_with_a_redis_of_its_own_is_counted_there_and_named(
    fresh: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = settings.CELERY_BROKER_URL = f"{settings.REDIS_URL.rpartition('/')[0]}/63"
    monkeypatch.setenv("CELERY_BROKER_URL", own)  # which Celery itself looks at first
    redis_client.queue.cache_clear()
    try:
        with current_app.connection_for_write(own) as connection:
            current_app.send_task("files.tasks.queue_checks", connection=connection)
        assert sum(worker.waiting().values()) == 1
        assert fresh.get("/readyz").json()["servers"]["queue"]["ok"]

        monkeypatch.setattr(redis_client, "queue", lambda: Redis(port=1, **settings.REDIS_OPTIONS))
        health.forget()
        answer = fresh.get("/readyz")
        assert (answer.status_code, answer.json()["servers"]["queue"]["problem"]) == (200, "does not answer")
    finally:
        with Redis.from_url(own) as queue:
            queue.flushdb()
        monkeypatch.undo()
        redis_client.queue.cache_clear()


def test_who_asks_again_within_a_second_gets_the_same_answer(fresh: Client) -> None:
    first = fresh.get("/readyz").json()

    assert fresh.get("/readyz").json() == first
