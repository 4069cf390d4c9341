"""What MongoDB was asked of the files, as its own profiler saw it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from files.documents import File


@contextmanager
def profiled() -> Iterator[list[dict[str, Any]]]:
    """Filled at the end, with the queries and aggregations of this worker's own database."""
    database = File._get_collection().database
    seen: list[dict[str, Any]] = []
    database["system.profile"].drop()
    database.command("profile", 2)
    try:
        yield seen
    finally:
        database.command("profile", 0)
        files = {"ns": f"{database.name}.files"}
        read = [{"op": {"$in": ["query", "getmore"]}}, {"op": "command", "command.aggregate": "files"}]
        seen += database["system.profile"].find({**files, "$or": read})
        database["system.profile"].drop()
