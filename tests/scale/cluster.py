"""The whole of it twice: a stack of the fault harness with a replica set, Postgres, and two of each process behind nginx."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from pymongo import MongoClient

from tests.faults.stack import Stack
from tests.processes import BIN, ROOT, prepare
from tests.scale import servers
from uploadkit import localstack
from uploadkit.localstack import HOST, Process

PEOPLE = tuple(f"person-{number}" for number in range(8))
SUPERVISED_EVERY = 0.2  # seconds


class Cluster(Stack):
    """Each process by its line of the Procfile. `away` are those that nobody starts again for now."""

    def __init__(self, folder: Path, election: int = 10_000) -> None:
        super().__init__(folder)
        self.replica_set = servers.ReplicaSet(folder, election=election)
        self.postgres = servers.postgres(folder)
        ports = localstack.free_ports(2)
        self.nginx = servers.nginx(folder, ports)
        self.site = f"http://{HOST}:{self.nginx.port}"
        self.environment |= {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "MONGODB_URI": self.replica_set.uri(),
            "DATABASE_URL": servers.postgres_url(self.postgres),
            "SITE_ORIGINS": self.site,
            "TRUSTED_PROXY_COUNT": "1",
            "HOST": HOST,
            "CLEANUP_EVERY": "5s",
            "PYTHONUNBUFFERED": "1",
        }
        self.mongo = MongoClient(self.environment["MONGODB_URI"], tz_aware=True, connect=False)
        self.webs = [self._line(f"web-{n}", "web", port, PORT=str(port)) for n, port in enumerate(ports, 1)]
        both = [(f"{line}-{n}", line) for line in ("worker", "housekeeper") for n in (1, 2)]
        self.workers = [self._line(name, f"{line} --hostname {name}@%h") for name, line in both]
        self.beats = [self._line(f"beat-{n}", "beat", BEAT_SCHEDULE_FILE=str(folder / f"beat-{n}")) for n in (1, 2)]
        self.away: list[Process] = []

    def _line(self, name: str, line: str, port: int | None = None, **more: str) -> Process:
        """A line of the Procfile, run by a shell as those who read Procfiles do."""
        which, _, options = line.partition(" ")
        process = self._ours(name, ["sh", "-c", f"exec {procfile()[which]} {options}"], port)
        process.env = self.environment | more
        return process

    @contextlib.contextmanager
    def running(self) -> Iterator[Cluster]:
        try:
            self.group.start(*self.replica_set.nodes, self.postgres, self.valkey, self.seaweedfs)
            self.replica_set.initiate()
            self.sessions = prepare(self.folder, self.environment, *PEOPLE)
            self.group.start(*self.webs, *self.workers, *self.beats)
            self.group.start(self.nginx)
            yield self
        finally:
            self.mongo.close()
            self.bucket.close()
            self.group.stop()

    def parts(self) -> dict[str, list[Process]]:
        primary = self.replica_set.primary()
        return {
            "web processes": self.webs,
            "nginx": [self.nginx],
            "MongoDB's primary": [primary],
            "MongoDB's secondaries": [node for node in self.replica_set.nodes if node is not primary],
            "Postgres": [self.postgres],
            "Valkey": [self.valkey],
            "workers": self.workers,
            "beats": self.beats,
            "SeaweedFS": [self.seaweedfs],
        }

    def supervise(self) -> None:
        """Start again what has ended, as whatever runs processes does."""
        for process in (*self.webs, *self.workers, *self.beats):
            if process not in self.away and process.ended:
                self.started_again[process.name] += 1
                process.start()

    def pass_time(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.supervise()
            time.sleep(min(SUPERVISED_EVERY, left))


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))
