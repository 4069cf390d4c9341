"""A stack whose lines can be cut and whose disks can be full, and the programs beside it that make trouble."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError
from redis import Redis

from tests.faults.disks import Disk, NoDisk
from tests.faults.lines import Line
from tests.faults.stack import Stack, web_workers
from tests.processes import BIN, wait_until
from uploadkit import localstack
from uploadkit.localstack import HOST, Process

MONGO_MEGABYTES, BUCKET_MEGABYTES = 256, 1024
# So that a full disk is met within a second: by default the journal has 100 MB in advance, and the rest waits for a minute.
SMALL_STEPS = ("--wiredTigerEngineConfigString", "log=(file_max=1MB)", "--syncdelay", "1")

# The site, told that it is so many seconds later than it is.
SKEWED = """
import os
from datetime import datetime, timedelta, timezone
import time_machine
time_machine.travel(datetime.now(timezone.utc) + timedelta(seconds=float(os.environ["SKEW"])), tick=True).start()
from uploadkit.wsgi import application
"""


class Breakable(Stack):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        ports = (self.mongod.port, self.valkey.port, self.seaweedfs.port)
        self.disks, self.without_disks = disks()
        if self.disks:
            mongo, bucket = (disk.path for disk in self.disks.values())
            self.mongod = replace(localstack.mongod(mongo, ports[0]), log=self.mongod.log)
            self.mongod.argv = [*self.mongod.argv, *SMALL_STEPS]
            self.seaweedfs = replace(localstack.seaweedfs(bucket, ports[2]), log=self.seaweedfs.log)
        self.lines = {name: Line(port) for name, port in zip(("mongo", "redis", "bucket"), ports, strict=True) if port}
        mongo_line, redis_line, bucket_line = (line.port for line in self.lines.values())
        # The site goes over the lines; the harness itself does not.
        self.environment |= {
            "MONGODB_URI": f"mongodb://{HOST}:{mongo_line}/uploadkit",
            "REDIS_URL": f"redis://{HOST}:{redis_line}/0",
            **localstack.s3_environment(bucket_line),
            "SITE_ORIGINS": self.site,
            "PYTHONUNBUFFERED": "1",
        }
        self.redis = Redis.from_url(self.redis_url)
        (self.folder / "skewed.py").write_text(SKEWED)

    @contextlib.contextmanager
    def running(self) -> Iterator[Breakable]:
        with contextlib.ExitStack() as exits:
            for disk in self.disks.values():
                exits.callback(disk.close)
            for line in self.lines.values():
                exits.enter_context(line.open())
            exits.enter_context(super().running())
            exits.callback(self.redis.close)
            yield self

    # --- what goes wrong ---

    def signal(self, process: Process, number: signal.Signals) -> bool:
        """To all of its processes. Return whether there were any."""
        if process.popen is None or process.ended:
            return False
        os.killpg(process.popen.pid, number)
        return True

    def revive(self, process: Process) -> None:
        if process.ended:
            self.restart(process)
        if process is self.mongod:
            wait_until(self.mongo_answers, "MongoDB answers")

    def fix_volumes(self) -> None:
        """Make the indexes of SeaweedFS' volumes anew from what is in them."""
        weed, data = self.seaweedfs.argv[0], self.disks["seaweedfs"].path / "s3"
        done = subprocess.run([weed, "fix", str(data)], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def mongo_answers(self) -> bool:
        """And no connection is left in the pool that leads to a mongod before this one."""
        with contextlib.suppress(PyMongoError), pymongo.timeout(2):
            return bool(self.mongo.admin.command("ping"))
        return False

    def mend(self) -> None:
        """Everything works again, as far as that can be seen from outside."""
        for line in self.lines.values():
            line.mend()
        for disk in self.disks.values():
            disk.clear()
        for process in (self.mongod, self.valkey, self.seaweedfs, self.web, self.worker):
            self.signal(process, signal.SIGCONT)
            self.revive(process)
        wait_until(lambda: len(web_workers(self.web)) == 2, "two web workers")

    def hang_up(self) -> None:
        for line in self.lines.values():
            line.hang_up()

    # --- what runs beside it for a while ---

    def cleanup(self) -> Process:
        """A sweep by hand, in small steps, which says what it does."""
        argv = [sys.executable, "manage.py", "cleanup_pending", "--batch", "20", "--verbosity", "2"]
        return self._ours("cleanup", argv)

    def beat(self, number: int) -> Process:
        name = f"beat-{number}"
        beat = self._ours(name, [str(BIN / "celery"), "--app", "uploadkit", "beat", "--loglevel", "INFO"])
        schedule = str(self.folder.parent / f"{name}-schedule")
        return replace(beat, env=self.environment | {"CLEANUP_EVERY": "1", "BEAT_SCHEDULE_FILE": schedule})

    def skewed_web(self, seconds: float) -> tuple[Process, str]:
        port = localstack.free_port()
        argv = [str(BIN / "granian"), "--interface", "wsgi", "--host", HOST, "--port", str(port), "skewed:application"]
        web = self._ours("skewed", argv, port)
        return replace(web, env=self.environment | {"SKEW": str(seconds)}), f"http://{HOST}:{port}"

    def abandon(self, count: int, mark: str) -> None:
        """So many uploads that are overdue, one in twenty of which had arrived."""
        keys = [f"u/1/{mark}{number:0{21 - len(mark)}}-abandoned.bin" for number in range(count)]
        long_ago = datetime.now(UTC) - timedelta(hours=2)
        document = {"owner_id": "1", "name": "abandoned.bin", "content_type": "text/plain", "size": 5, "created_at": long_ago}
        self.files.insert_many([{"_id": key, **document, "status": "pending"} for key in keys])
        for key in keys[::20]:
            self.bucket.put_object(Bucket=localstack.BUCKET, Key=key, Body=b"hello", ContentType="text/plain")


def disks() -> tuple[dict[str, Disk], str]:
    """Mongo's and the bucket's, or why there are none."""
    try:
        return {"mongod": Disk(MONGO_MEGABYTES), "seaweedfs": Disk(BUCKET_MEGABYTES)}, ""
    except NoDisk as error:
        return {}, str(error)
