"""Whose files are whose goes by the id of a user, and so no id is given a second time, whatever became of the database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction

from uploadkit import user_ids
from uploadkit.localstack import Failed
from uploadkit.settings import database

from .scale import servers

FAR = 2_000_000_000


def sign_up(name: str, using: str = "default") -> int:
    return User.objects.using(using).create(username=name).pk


def minutes() -> int:
    return int((datetime.now(UTC) - datetime(2020, 1, 1, tzinfo=UTC)).total_seconds() // 60)


@pytest.mark.django_db
@pytest.mark.parametrize("last", [None, 7])
def test_a_database_that_is_new_or_restored_gives_no_id_that_it_may_have_given_before(last: int | None) -> None:
    """None: nobody ever signed up in it. A lost database was migrated at some time, and gave an id a minute since at most."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sqlite_sequence WHERE name = 'auth_user'")
        if last:
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('auth_user', %s)", [last])
    before = minutes()

    call_command("migrate", verbosity=0)

    assert before < sign_up("alice") <= minutes() + 1


@pytest.mark.django_db
def test_a_release_never_lowers_the_next_id() -> None:
    User.objects.create(pk=FAR, username="alice").delete()

    call_command("migrate", verbosity=0)

    assert sign_up("bob") == FAR + 1


# --- on Postgres ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres(django_db_blocker: Any) -> Iterator[str]:
    """The alias of a database there."""
    try:
        servers.postgres_programs()
    except Failed as error:
        pytest.skip(str(error))
    # Not in pytest's folder, through which only root may pass: Postgres runs as somebody else.
    with tempfile.TemporaryDirectory(prefix="uploadkit-postgres-", ignore_cleanup_errors=True) as folder:
        server = servers.postgres(Path(folder))
        connections.settings["postgres"] = {**settings.DATABASES["default"], **database(servers.postgres_url(server))}
        server.start()
        try:
            server.wait_until_ready()
            with django_db_blocker.unblock():
                call_command("migrate", database="postgres", verbosity=0)
                yield "postgres"
                connections["postgres"].close()
        finally:
            del connections.settings["postgres"]
            server.stop()


def set_sequence(last: int) -> None:
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SELECT setval(pg_get_serial_sequence('auth_user', 'id'), %s)", [last])


def test_postgres_gives_no_id_twice_either(postgres: str) -> None:
    before = minutes() - 1
    set_sequence(7)
    user_ids.raise_next_user_id(postgres)
    restored = sign_up("bob", postgres)
    set_sequence(FAR)
    user_ids.raise_next_user_id(postgres)

    assert before < restored <= minutes() + 1
    assert sign_up("carol", postgres) == FAR + 1


def test_a_database_that_is_new_on_postgres_begins_as_high(postgres: str) -> None:
    with connections["postgres"].cursor() as cursor:
        cursor.execute("DELETE FROM auth_user")
        cursor.execute("ALTER SEQUENCE auth_user_id_seq RESTART")

    call_command("migrate", database="postgres", verbosity=0)

    assert sign_up("alice", postgres) >= minutes()


def test_the_next_id_is_raised_while_nobody_takes_one(postgres: str) -> None:
    """Who signed up between the look at the sequence and its change would have an id that is given once more."""
    with transaction.atomic(postgres):
        sign_up("dave", postgres)
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(raise_impatiently).result() == "waits"
    assert raise_impatiently() == "raised"


def raise_impatiently() -> str:
    """In a session of its own."""
    try:
        with connections["postgres"].cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        user_ids.raise_next_user_id("postgres")
    except OperationalError:
        return "waits"
    finally:
        connections["postgres"].close()
    return "raised"
