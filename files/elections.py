"""While MongoDB has no primary nobody waits for it for long, so that whoever needs something else finds a thread.

A primary that hands over takes a second, which requests wait as MONGODB_OPTIONS have it. One that is gone takes ten more, in
which a few requests a second would hold all the threads there are.
"""

from __future__ import annotations

import contextlib
import time
from contextlib import AbstractContextManager

import pymongo
from pymongo.monitoring import TopologyClosedEvent, TopologyDescriptionChangedEvent, TopologyListener, TopologyOpenedEvent

HANDED_OVER = 2.0  # seconds
BRIEFLY = 0.25  # seconds; enough to look again, and for any answer of one that is back


class Primary(TopologyListener):
    """Since when there is none, by the monotonic clock; None: there is one, or nobody has looked yet."""

    def __init__(self) -> None:
        self.gone_since: float | None = None

    def opened(self, event: TopologyOpenedEvent) -> None:
        pass

    def description_changed(self, event: TopologyDescriptionChangedEvent) -> None:
        if event.new_description.has_writable_server():
            self.gone_since = None
        elif self.gone_since is None and any(server.error for server in event.new_description.server_descriptions().values()):
            self.gone_since = time.monotonic()

    def closed(self, event: TopologyClosedEvent) -> None:
        pass

    def patience(self) -> AbstractContextManager[object]:
        """What a request does within waits for MongoDB as long as it is worth it."""
        since = self.gone_since
        if since is None or time.monotonic() - since < HANDED_OVER:
            return contextlib.nullcontext()
        return pymongo.timeout(BRIEFLY)


primary = Primary()
