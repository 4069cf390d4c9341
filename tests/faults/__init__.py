"""The whole of it, to be killed: servers, web and worker of its own at addresses that outlive them, and people who upload."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
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

PEOPLE = ("alice", "bob", "carol", "dave")
CSRF = "c" * 32  # what counts is that cookie and header agree
PART_OF_A_SECOND = 0.02


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

    def objects(self) -> set[str]:
        pages = self.bucket.get_paginator("list_objects_v2").paginate(Bucket=localstack.BUCKET)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def client(self, session: str) -> httpx.Client:
        cookies = {"sessionid": session, "csrftoken": CSRF}
        return httpx.Client(base_url=self.site, cookies=cookies, headers={"X-CSRFToken": CSRF}, timeout=10)

    def restart(self, process: Process) -> None:
        process.start()
        if process.port:
            process.wait_until_ready()

    def kill_a_web_worker(self) -> None:
        """kill -9 of one of the processes that serve requests; granian itself lives, and starts another."""
        workers = web_workers(self.web)
        assert len(workers) == 2, [command_line(child) for child in children(pid_of(self.web))]
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: set(web_workers(self.web)) - set(workers), "another web worker")

    def make_everything_overdue(self) -> None:
        self.files.update_many({}, {"$set": {"created_at": datetime.now(UTC) - timedelta(hours=2)}})

    def sweep(self) -> None:
        done = manage(self.folder, self.environment, "cleanup_pending")
        assert done.returncode == 0, done.stderr

    def assert_bucket_and_mongo_agree(self) -> None:
        left = self.files_that_are("pending", "deleting")
        assert not left, f"{len(left)} documents are left, like {min(left)}"
        objects, files = self.objects(), self.files_that_are("ready")
        assert objects == files, f"objects without a document: {objects - files}, files without an object: {files - objects}"


def pid_of(process: Process) -> int:
    assert process.popen is not None
    return process.popen.pid


def web_workers(web: Process) -> list[int]:
    return [child for child in children(pid_of(web)) if "resource_tracker" not in command_line(child)]


@dataclass
class Acknowledged:
    owner: str  # the session key
    sha256: str


@dataclass
class Traffic:
    """People who upload through the public API, one thread each, until they are told to stop.

    Everything they were told for certain is written down: which files are theirs (`acknowledged`), and which they deleted.
    """

    stack: Stack
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)  # of the site, by status
    bugs: list[str] = field(default_factory=list)
    cut_off: int = 0  # requests that got no answer, or one of 503
    refused_by_the_bucket: int = 0

    @contextlib.contextmanager
    def flowing(self) -> Iterator[Traffic]:
        stopping = threading.Event()
        threads = [threading.Thread(target=self._live, args=(session, stopping)) for session in self.stack.sessions]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stopping.set()
            for thread in threads:
                thread.join()

    def wait_for_more(self, count: int = 20) -> None:
        wanted = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= wanted, f"{count} more files acknowledged, {self.answers}")

    def wait_to_be_cut_off(self) -> None:
        wanted = self.cut_off + self.refused_by_the_bucket + 3
        wait_until(lambda: self.cut_off + self.refused_by_the_bucket >= wanted, "somebody notices")

    def _live(self, session: str, stopping: threading.Event) -> None:
        dice = random.Random(session)
        with self.stack.client(session) as client, httpx.Client(timeout=10) as outside:
            person = Person(self, session, client, outside)
            try:
                while not stopping.is_set():
                    person.upload(dice.randbytes(dice.choice((10, 5_000, 100_000))), dice.random(), stopping)
                    time.sleep(PART_OF_A_SECOND)
            except Exception as error:  # a thread that ends in silence would let the test pass
                self.bugs.append(repr(error))
                raise


@dataclass
class Person:
    traffic: Traffic
    session: str
    client: httpx.Client
    outside: httpx.Client  # to the bucket: without the cookies

    def upload(self, body: bytes, mood: float, stopping: threading.Event) -> None:
        """Sign, send and confirm; some give up on the way, or delete what they just sent."""
        wish = {"filename": "päper.bin", "contentType": "application/octet-stream", "size": len(body)}
        signed = self.ask("/api/uploads/sign", json=wish)
        if signed is None or signed.status_code != HTTPStatus.OK:
            return
        key = signed.json()["key"]
        if mood < 0.05:
            self.ask("/api/uploads/cancel", json={"key": key})
        elif self.send(signed.json(), body) and mood > 0.15:
            self.confirm(key, hashlib.sha256(body).hexdigest(), stopping)
            if mood > 0.9 and key in self.traffic.acknowledged:
                self.delete(key)

    def send(self, signed: dict[str, Any], body: bytes) -> bool:
        with contextlib.suppress(httpx.TransportError):
            if self.outside.put(signed["url"], content=body, headers=signed["headers"]).status_code == HTTPStatus.OK:
                return True
        self.traffic.refused_by_the_bucket += 1
        return False

    def confirm(self, key: str, sha256: str, stopping: threading.Event) -> None:
        """Again and again until there is an answer, as a network that fails asks for."""
        while not stopping.is_set():
            answer = self.ask("/api/uploads/confirm", json={"key": key})
            if answer is None or answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                time.sleep(0.1)
                continue
            if answer.status_code == HTTPStatus.OK:
                self.traffic.acknowledged[key] = Acknowledged(self.session, sha256)
            else:
                self.traffic.bugs.append(f"{key} arrived, yet its confirm was {answer.status_code} {answer.text}")
            return

    def delete(self, key: str) -> None:
        del self.traffic.acknowledged[key]  # from here on it may be gone, whether or not there is an answer
        answer = self.ask(f"/files/{key}/delete", headers={"HX-Request": "true"})
        if answer is not None and answer.status_code == HTTPStatus.OK:
            self.traffic.deleted.add(key)

    def ask(self, path: str, **options: Any) -> httpx.Response | None:
        try:
            answer = self.client.post(path, **options)
        except httpx.TransportError:
            self.traffic.cut_off += 1
            return None
        self.traffic.answers[answer.status_code] += 1
        if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            self.traffic.cut_off += 1
        elif answer.is_server_error or answer.status_code in (401, 403):
            self.traffic.bugs.append(f"{path}: {answer.status_code} {answer.text}")
        return answer


def assert_nothing_is_lost(traffic: Traffic) -> None:
    """Every file that was acknowledged comes back byte for byte, and none that was deleted does."""
    assert not traffic.bugs, "\n".join(traffic.bugs)
    stack = traffic.stack
    clients = {session: stack.client(session) for session in stack.sessions}
    with contextlib.ExitStack() as exits:
        for client in clients.values():
            exits.enter_context(client)
        outside = exits.enter_context(httpx.Client())
        for key, file in traffic.acknowledged.items():
            location = clients[file.owner].get(f"/files/{key}/download")
            assert location.status_code == HTTPStatus.FOUND, f"{key}: {location.status_code}"
            body = outside.get(location.headers["Location"])
            assert body.status_code == HTTPStatus.OK, f"{key}: {body.text}"
            assert hashlib.sha256(body.content).hexdigest() == file.sha256, key
    back = stack.files_that_are("ready") & traffic.deleted
    assert not back, f"deleted, and back again: {back}"
