"""While MongoDB has no primary nobody waits for it for long, so that whoever needs something else finds a thread.

A primary that hands over takes a second, which requests wait as MONGODB_OPTIONS have it. One that is gone takes ten more, in
which a few requests a second would hold all the threads there are.
"""

from __future__ import annotations

import contextlib
import time
from contextlib import AbstractContextManager

import mongoengine
import pymongo

HANDED_OVER = 2.0  # seconds
# Seconds, for the answer of one that is there. The driver looks twice a second, so that one that is back is known to the next.
BRIEFLY = 0.25


class Primary:
    """Since when requests find none, by the monotonic clock; None: there is one, or nobody has looked yet.

    What the driver knows is looked at, since a listener of its events has a thread from the start: one that a fork does not
    take along, and that the signals of this process may go to.
    """

    def __init__(self) -> None:
        self.gone_since: float | None = None

    def patience(self) -> AbstractContextManager[object]:
        """What a request does within waits for MongoDB as long as it is worth it."""
        known = mongoengine.get_connection().topology_description
        if known.has_writable_server() or not any(server.error for server in known.server_descriptions().values()):
            self.gone_since = None
            return contextlib.nullcontext()
        moment = time.monotonic()
        since = self.gone_since = self.gone_since or moment
        return pymongo.timeout(BRIEFLY) if moment - since >= HANDED_OVER else contextlib.nullcontext()


primary = Primary()
