"""Django's sessions in the database, and their users, read by statements that were made once.

Both are asked for by every request of somebody who is signed in, and making their SQL anew takes the ORM four times as long as
SQLite takes to answer it. Writing, expiry and clearing are Django's own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.sessions.backends import db
from django.db import connections, router
from django.utils import timezone

LIVE_SESSION = "SELECT session_data FROM django_session WHERE session_key = %s AND expire_date > %s"


class SessionStore(db.SessionStore):
    def load(self) -> dict[str, Any]:
        """What the session has; nothing, and no key either, if it ended."""
        row = self._find()
        if row is None:
            self._session_key = None
            return {}
        return self.decode(row[0])

    def _find(self) -> tuple[str] | None:
        if "\0" in (self.session_key or ""):  # for Postgres an error, where any other made-up key is just not found
            return None
        connection = connections[router.db_for_read(self.model)]
        moment = connection.ops.adapt_datetimefield_value(timezone.now())
        with connection.cursor() as cursor:
            cursor.execute(LIVE_SESSION, [self.session_key, moment])
            return cursor.fetchone()  # type: ignore[no-any-return]


class UserStatement:
    """What the ORM makes of "the user with this id", and of what the database answers."""

    def __init__(self) -> None:
        compiler = User.objects.filter(pk=0).query.get_compiler(router.db_for_read(User))
        self.sql, _ = compiler.as_sql()
        self.converters = compiler.get_converters([column for column, *_ in compiler.select]).items()
        self.names = [field.attname for field in User._meta.concrete_fields]

    def find(self, user_id: int | str) -> User | None:
        connection = connections[router.db_for_read(User)]
        with connection.cursor() as cursor:
            cursor.execute(self.sql, [user_id])
            row = cursor.fetchone()
        if row is None:
            return None
        values = list(row)
        for place, (converters, column) in self.converters:
            for convert in converters:
                values[place] = convert(values[place], column, connection)
        return User.from_db(connection.alias, self.names, values)


@cache
def user_statement() -> UserStatement:
    """At first use, when the models are there."""
    return UserStatement()


class FindsUsers:
    """A backend's way from the session to its user."""

    def get_user(self, user_id: int | str) -> User | None:
        user = user_statement().find(user_id)
        return user if user is not None and user.is_active else None


class PasswordBackend(FindsUsers, ModelBackend):
    """Only the admin has a form for it: createsuperuser."""


class GitHubBackend(FindsUsers, AuthenticationBackend):  # type: ignore[misc]  # allauth has no types here
    pass
