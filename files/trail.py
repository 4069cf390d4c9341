"""What happened to a file: every change of its status is an event, written by the same compare-and-set.

So no event is without its change, and no change without its event. The events go with the file's document; when that is
removed, they are kept in a collection of their own for `KEPT`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

KEPT = timedelta(days=90)
MOST = 200  # events of one file, the newest: somebody may delete and undo all day

# Who acts where nobody does.
SWEEP, CHECKER = "sweep", "checker"
OPS = "ops:"  # before the id of whoever acts on the files of others

REQUEST = "uploadkit.request_id"  # of a request's META; no header can have that name
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def now() -> datetime:
    """The time as MongoDB keeps it: UTC, in milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@contextmanager
def caused_by(request: str | None) -> Iterator[None]:
    """What happens here is a consequence of that request; what the same process does next is not."""
    token = request_id.set(request)
    try:
        yield
    finally:
        request_id.reset(token)


def event(who: str, what: str, after: str, *, before: str | None = None, reason: str | None = None) -> dict[str, Any]:
    """One event: `who` is an owner's id, `ops:<id>`, `sweep` or `checker`; `before` and `after` are statuses."""
    said = {"at": now(), "who": who, "what": what, "from": before, "to": after, "request": request_id.get(), "reason": reason}
    return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as people read it."""

    at: datetime
    who: str
    what: str
    before: str | None
    after: str
    request: str | None
    reason: str | None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        return cls(raw["at"], raw["who"], raw["what"], raw.get("from"), raw["to"], raw.get("request"), raw.get("reason"))

    def __str__(self) -> str:
        said = f"{self.at:%Y-%m-%d %H:%M:%S} UTC  {self.what} by {self.who}: {self.before or 'nothing'} -> {self.after}"
        return said + (f", {self.reason}" if self.reason else "") + (f"  (request {self.request})" if self.request else "")


@dataclass(frozen=True, slots=True)
class History:
    """What happened to one file, the oldest first."""

    owner_id: str
    policy: str | None
    events: list[Event]
