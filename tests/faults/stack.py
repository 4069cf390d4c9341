"""The whole of it, to be killed: servers, web and worker of its own at addresses that outlive them."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config
from pymongo import MongoClient
from pymongo.collection import Collection

from tests.processes import BIN, children, command_line, copy_of_the_project, manage, prepare, wait_until
from uploadkit import localstack
from uploadkit.localstack import HOST, Process

TO_CHECK = ("checking",)
TO_SWEEP = ("pending", "trashed", "deleting")  # what nobody keeps, once it is overdue
PEOPLE = ("alice", "bob", "carol", "dave")
CSRF = "c" * 32  # what counts is that cookie and header agree


class Stack:
    """Real servers, granian with two workers and a Celery worker, from a copy of the project."""

    def __init__(self, folder: Path) -> None:
        self.folder = copy_of_the_project(folder / "project")
        self.mongod = localstack.mongod(folder)
        self.valkey = localstack.valkey(folder)
        self.seaweedfs = localstack.seaweedfs(folder)
        mongo, redis, s3, web = self.mongod.port, self.valkey.port, self.seaweedfs.port, localstack.free_port()
        assert mongo and redis and s3
        self.redis_url = f"redis://{HOST}:{redis}/0"
        self.environment = os.environ | {
            "MONGODB_URI": f"mongodb://{HOST}:{mongo}/uploadkit",
            "REDIS_URL": self.redis_url,
            "DATABASE_URL": f"sqlite:///{folder}/users.sqlite3",
            **localstack.s3_environment(s3),
            "SIGNINGS_PER_MINUTE": "100000",
        }
        self.site = f"http://{HOST}:{web}"
        granian = [str(BIN / "granian"), "--interface", "wsgi", "--host", HOST, "--port", str(web)]
        granian += ["--workers", "2", "--blocking-threads", "4", "--respawn-failed-workers", "uploadkit.wsgi:application"]
        celery = [str(BIN / "celery"), "--app", "uploadkit", "worker", "--concurrency", "2", "--loglevel", "INFO"]
        self.web = self._ours("web", granian, web)
        self.worker = self._ours("worker", celery)
        self.sessions: list[str] = []
        self.started_again = Counter[str]()
        self.group = localstack.Group()
        self.mongo: MongoClient[dict[str, Any]] = MongoClient(self.environment["MONGODB_URI"], tz_aware=True, connect=False)
        self.bucket = boto3.client(
            "s3",
            endpoint_url=self.environment["R2_ENDPOINT_URL"],
            region_name=self.environment["R2_REGION"],
            aws_access_key_id=localstack.ACCESS_KEY_ID,
            aws_secret_access_key=localstack.SECRET_ACCESS_KEY,
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=8),
        )

    def _ours(self, name: str, argv: list[str], port: int | None = None) -> Process:
        # env(1) goes to the copy and becomes the program, which keeps the process id that is killed.
        argv = ["env", f"--chdir={self.folder}", *argv]
        return Process(name, argv, port, self.folder.parent / "log" / f"{name}.log", env=self.environment)

    @contextlib.contextmanager
    def running(self) -> Iterator[Stack]:
        try:
            self.group.start(self.mongod, self.valkey, self.seaweedfs)
            self.sessions = prepare(self.folder, self.environment, *PEOPLE)
            self.group.start(self.web, self.worker)
            yield self
        finally:
            # Before the servers stop: it says goodbye, and waits 30 s for a server that is gone.
            self.mongo.close()
            self.bucket.close()
            self.group.stop()

    @property
    def files(self) -> Collection[dict[str, Any]]:
        return self.mongo.get_default_database()["files"]

    def files_that_are(self, *statuses: str) -> set[str]:
        return {file["_id"] for file in self.files.find({"status": {"$in": statuses}}, {"_id": 1})}

    def objects_of_ready_files(self) -> set[str]:
        ready = self.files.find({"status": "ready"}, {"cleaned": 1, "made": 1})
        return {key for file in ready for key in (file.get("cleaned") or file["_id"], *file.get("made", ()))}

    def objects(self) -> set[str]:
        pages = self.bucket.get_paginator("list_objects_v2").paginate(Bucket=localstack.BUCKET)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def client(self, session: str, site: str | None = None) -> httpx.Client:
        cookies = {"sessionid": session, "csrftoken": CSRF}
        return httpx.Client(base_url=site or self.site, cookies=cookies, headers={"X-CSRFToken": CSRF}, timeout=10)

    def owner_id(self, person: int) -> str:
        """The id of one of the PEOPLE, by their place there."""
        with contextlib.closing(sqlite3.connect(self.folder.parent / "users.sqlite3")) as users:
            (found,) = users.execute("SELECT id FROM auth_user WHERE username = ?", [PEOPLE[person]]).fetchone()
        return str(found)

    def restart(self, process: Process) -> None:
        process.start()
        if process.port:
            process.wait_until_ready()

    def supervise(self) -> None:
        """Start again what ended by itself, as whatever runs processes does. A Celery worker does so when its connection to
        Redis breaks for a second time while it closes the first ("Unrecoverable error", from kombu's redis.py).
        """
        for process in (self.web, self.worker):
            if process.popen is not None and process.ended:
                self.started_again[process.name] += 1
                self.restart(process)

    def kill_a_web_worker(self) -> None:
        """kill -9 of one of the processes that serve requests; granian itself lives, and starts another."""
        workers = web_workers(self.web)
        assert len(workers) == 2, [command_line(child) for child in children(pid_of(self.web))]
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: set(web_workers(self.web)) - set(workers), "another web worker")

    def make_everything_overdue(self) -> None:
        long_ago = datetime.now(UTC) - timedelta(hours=2)
        self.files.update_many({}, {"$set": {"created_at": long_ago}})
        self.files.update_many({"status": "trashed"}, {"$set": {"trashed_at": long_ago}})
        self.files.update_many({"status": "checking"}, {"$set": {"check_at": long_ago}})

    def sweep(self) -> None:
        done = manage(self.folder, self.environment, "cleanup_pending")
        assert done.returncode == 0, done.stderr

    def assert_bucket_and_mongo_agree(self) -> None:
        left = self.files_that_are(*TO_SWEEP)
        assert not left, f"{len(left)} documents are left, like {min(left)}"
        objects, files = self.objects(), self.objects_of_ready_files()
        assert objects == files, f"objects without a document: {objects - files}, files without an object: {files - objects}"


def pid_of(process: Process) -> int:
    assert process.popen is not None
    return process.popen.pid


def web_workers(web: Process) -> list[int]:
    return [child for child in children(pid_of(web)) if "resource_tracker" not in command_line(child)]
