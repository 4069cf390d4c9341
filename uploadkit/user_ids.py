"""A user id is never given twice, also when the database of users is lost or goes back to an older backup.

Files carry the id of their owner, in MongoDB and in the bucket, and outlive that database. So every `migrate` moves the next id
past the minutes since 2020: as long as fewer people sign up than minutes pass, no id that was ever given is that high.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import User
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
TABLE = User._meta.db_table
COLUMN = User._meta.get_field("id").column


def raise_next_user_id(using: str, **kwargs: object) -> None:
    """What `migrate` does at its end. Never lowers it; databases that are neither SQLite nor Postgres are left alone."""
    connection = connections[using]
    raise_to = {"sqlite": _raise_on_sqlite, "postgresql": _raise_on_postgres}.get(connection.vendor)
    if raise_to and _has_users(connection):
        with transaction.atomic(using), connection.cursor() as cursor:
            raise_to(cursor, minutes_since_2020())


def minutes_since_2020() -> int:
    return (datetime.now(UTC) - BEGINNING) // timedelta(minutes=1)


def _has_users(connection: BaseDatabaseWrapper) -> bool:
    """Not after `migrate auth zero`."""
    return TABLE in connection.introspection.table_names()


def _raise_on_sqlite(cursor: CursorWrapper, floor: int) -> None:
    # There is no row before the first user, and nothing forbids a second one.
    cursor.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT %s, 0 WHERE NOT EXISTS (SELECT * FROM sqlite_sequence WHERE name = %s)",
        [TABLE, TABLE],
    )
    cursor.execute("UPDATE sqlite_sequence SET seq = max(seq, %s) WHERE name = %s", [floor, TABLE])


def _raise_on_postgres(cursor: CursorWrapper, floor: int) -> None:
    # Somebody who signs up between the look at the sequence and its change would have taken an id that is given once more.
    cursor.execute(f'LOCK TABLE "{TABLE}" IN SHARE ROW EXCLUSIVE MODE')
    cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [f'"{TABLE}"', COLUMN])
    (sequence,) = cursor.fetchone()
    cursor.execute(f"SELECT setval(%s, greatest(last_value, %s)) FROM {sequence}", [sequence, floor])  # noqa: S608  its own name for it
