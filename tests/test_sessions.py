"""Sessions and users are read by statements of our own, and found just as Django's own would find them."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from celery.beat import ScheduleEntry
from django.contrib.auth.models import User
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from uploadkit.celery import app
from uploadkit.sessions import GitHubBackend, PasswordBackend, SessionStore


@pytest.fixture
def key(db: None) -> str:
    session = SessionStore()
    session["who"] = "alice"
    session.save()
    assert session.session_key
    return session.session_key


def test_a_session_has_what_was_put_in_as_in_django_s_own(key: str) -> None:
    assert SessionStore(key).load() == db.SessionStore(key).load() == {"who": "alice"}


@pytest.mark.parametrize(("left", "found"), [(timedelta(seconds=30), True), (timedelta(seconds=-1), False)])
def test_a_session_ends_when_django_s_own_does(key: str, left: timedelta, found: bool) -> None:
    Session.objects.update(expire_date=timezone.now() + left)

    session = SessionStore(key)

    assert bool(session.load()) == bool(db.SessionStore(key).load()) == found
    assert (session.session_key == key) == found


@pytest.mark.parametrize("data", ["", "nonsense", "eyJhIjoxfQ:1abc:forged"])
def test_data_that_is_not_ours_is_an_empty_session(key: str, data: str) -> None:
    Session.objects.update(session_data=data)

    assert SessionStore(key).load() == db.SessionStore(key).load() == {}


@pytest.mark.django_db
def test_a_made_up_key_is_no_session() -> None:
    session = SessionStore("x" * 32)

    assert session.load() == {}
    assert session.session_key is None


def test_a_key_with_a_nul_is_no_session_and_no_database_is_asked() -> None:
    """Postgres answers it by an error, "a string literal cannot contain NUL", which would be a 500."""
    session = SessionStore("x" * 31 + "\0")

    assert session.load() == {}
    assert session.session_key is None


@pytest.mark.parametrize("backend", [PasswordBackend(), GitHubBackend()])
def test_a_session_s_user_has_every_field(alice: User, backend: PasswordBackend) -> None:
    found = backend.get_user(str(alice.pk))

    alice.refresh_from_db()
    assert found is not None
    assert not found.get_deferred_fields()
    assert all(getattr(found, field.attname) == getattr(alice, field.attname) for field in User._meta.concrete_fields)


@pytest.mark.parametrize("backend", [PasswordBackend(), GitHubBackend()])
def test_nobody_is_found_who_was_closed_or_deleted(alice: User, backend: PasswordBackend) -> None:
    User.objects.update(is_active=False)
    assert backend.get_user(alice.pk) is None
    alice_id = alice.pk
    alice.delete()
    assert backend.get_user(alice_id) is None


def test_signing_out_ends_the_session_of_a_cookie_that_somebody_kept(as_alice: Client) -> None:
    kept = Client()
    kept.cookies = as_alice.cookies.copy()  # type: ignore[assignment]
    assert kept.get("/files/").status_code == 200

    as_alice.post("/logout")

    assert kept.get("/files/").status_code == 302


def test_a_new_password_ends_the_other_sessions(alice: User, as_alice: Client) -> None:
    alice.set_password("another long secret")
    alice.save()

    assert as_alice.get("/files/").status_code == 302


def test_a_beat_that_is_replaced_each_day_has_old_sessions_cleared_all_the_same() -> None:
    """Where the disk does not last, its clock begins anew with each container."""
    with time_machine.travel(datetime(2026, 11, 24, 12, tzinfo=UTC), tick=False) as clock:
        sessions = ScheduleEntry(name="sessions", app=app, **app.conf.beat_schedule["sessions"])
        clock.shift(timedelta(hours=23))

        is_due, _next = sessions.is_due()
        assert is_due
