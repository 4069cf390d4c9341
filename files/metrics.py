"""What is counted, for Prometheus.

The processes of a machine share a folder of files that are mapped into memory, and whoever is asked adds them up:
prometheus_client's multiprocess mode. By itself it makes a file for every process id there ever was, and to remove the file of
one that ended takes back what it counted, which Prometheus reads as a restart of everything. So a process takes the first place
that is free, by a lock that ends with it, even by kill -9, and counts on from where the last one there had come to.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import logging
import os
import tempfile
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec

from django.conf import settings
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

logger = logging.getLogger(__name__)
P = ParamSpec("P")

ROOM = 256 * 1024  # bytes for the counters of one process, and as many for its histograms
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Place:
    """The number of this process among those that count. A child takes another one than its parent has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid = self.number = self.lock = -1

    def __call__(self) -> int:
        if self.pid != os.getpid():
            self._take()
        return self.number

    def _take(self) -> None:
        if self.lock >= 0:
            os.close(self.lock)  # the parent's, who has it as well, and keeps the place
        self.lock = -1
        self.number, self.lock = next(taken for number in itertools.count() if (taken := self._try(number)))
        self.pid = os.getpid()

    def _try(self, number: int) -> tuple[int, int] | None:
        lock = os.open(self.folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for kind in ("counter", "histogram"):
                reserve(self.folder / f"{kind}_{number}.db")
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:
            os.close(lock)
            raise
        return number, lock


def reserve(path: Path) -> None:
    """Take the room on the disk now: where a disk has none, writing to memory that is mapped kills the process."""
    with path.open("ab") as file:
        if os.fstat(file.fileno()).st_size == 0:
            file.write(bytes(ROOM))


def folder() -> Path:
    """Where the counts are; a folder of ours among those for temporary files, where the disk can only be read."""
    wished, instead = Path(settings.PROMETHEUS_MULTIPROC_DIR), Path(tempfile.gettempdir()) / f"uploadkit-metrics-{os.getuid()}"
    for path in (wished, instead):
        with contextlib.suppress(OSError):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Among temporary files anybody may have put something of that name, or a link to a folder of ours.
            ours = path == wished or (path.lstat().st_uid == os.getuid() and not path.is_symlink())
            if ours and os.access(path, os.W_OK):
                return path
    raise OSError(errno.EACCES, "no folder can be written to", str(wished))


@cache
def shared() -> Path | None:
    """The folder that the processes of this machine share. None: there is none, so each counts for itself alone."""
    try:
        found = folder()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(found)
        values.ValueClass = values.MultiProcessValue(Place(found))  # type: ignore[no-untyped-call]
    except OSError as error:
        logger.warning("PROMETHEUS_MULTIPROC_DIR cannot be used, so each process counts for itself: %s", error)
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        return None
    return found


shared()  # before there is anything to count

REQUESTS = Counter("uploadkit_requests", "Requests.", ["view", "method", "status"], registry=None)
SECONDS = Histogram(
    "uploadkit_request_seconds",
    "Time to the answer.",
    ["view"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=None,
)
REFUSALS = Counter("uploadkit_refusals", "Requests that were refused.", ["code"], registry=None)
UNAVAILABLE = Counter(
    "uploadkit_unavailable", "Requests that a server which is down could not answer.", ["server"], registry=None
)
SIGNINGS = Counter("uploadkit_signings", "Uploads signed.", ["policy"], registry=None)
CONFIRMS = Counter("uploadkit_confirms", "Confirmations.", ["outcome"], registry=None)
CHECKS = Counter("uploadkit_checks", "Checks by a worker.", ["outcome"], registry=None)
REJECTIONS = Counter("uploadkit_rejections", "Files rejected.", ["reason"], registry=None)
SWEEPS = Counter("uploadkit_sweeps", "Sweeps.", ["sweep"], registry=None)
SWEPT = Counter("uploadkit_swept", "What sweeps did.", ["what"], registry=None)
TASKS = Counter("uploadkit_tasks", "Tasks of Celery.", ["task", "state"], registry=None)
ALL: tuple[MetricWrapperBase, ...] = (
    *(REQUESTS, SECONDS, REFUSALS, UNAVAILABLE, SIGNINGS, CONFIRMS, CHECKS, REJECTIONS, SWEEPS, SWEPT, TASKS),
)


def counts(registry: CollectorRegistry) -> None:
    """Have the registry say what was counted."""
    if path := shared():
        MultiProcessCollector(registry, path=str(path))  # type: ignore[no-untyped-call]
        return
    for metric in ALL:
        registry.register(metric)


# --- to be called where it happens --------------------------------------------------------------------------------------


def never_in_the_way(count: Callable[P, None]) -> Callable[P, None]:
    """A count that cannot be written is lost, and nothing else is."""

    @wraps(count)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            count(*args, **kwargs)
        except Exception as error:  # a disk, or a file that was damaged
            logger.warning("this is not counted: %s", error)

    return wrapped


@cache
def _requests(view: str, method: str, status: int) -> Counter:
    return REQUESTS.labels(view, method, f"{status}xx")


@cache
def _seconds(view: str) -> Histogram:
    return SECONDS.labels(view)


@never_in_the_way
def answered(view: str, method: str | None, status: int, seconds: float) -> None:
    _requests(view, method if method in METHODS else "other", status // 100).inc()
    _seconds(view).observe(seconds)


@never_in_the_way
def count(counter: Counter, label: str) -> None:
    counter.labels(label).inc()


@never_in_the_way
def swept(sweep: str, *, expired: int, removed: int, refused: int) -> None:
    SWEEPS.labels(sweep).inc()
    for what, number in (("expired", expired), ("removed", removed), ("refused", refused)):
        SWEPT.labels(what).inc(number)


@never_in_the_way
def task(name: str, state: str) -> None:
    TASKS.labels(name, state).inc()
