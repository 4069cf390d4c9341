"""What every part stands on: real servers, a copy of the project, the site as the Procfile ships it, and people signed in."""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import proc, wrk
from bench.seed import BATCH, BODY
from tests.processes import BIN, ROOT, copy_of_the_project, prepare
from uploadkit import localstack
from uploadkit.localstack import HOST, Process

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from pymongo.collection import Collection

APPLICATION = "uploadkit.wsgi:application"
CSRF = "c" * 32  # what counts is that cookie and header agree


@dataclass(frozen=True)
class Site:
    """The web server and its workers."""

    port: int
    pid: int

    def cpu(self) -> float:
        return proc.cpu(self.pid)

    def memory(self) -> float:
        return proc.memory(self.pid)


@dataclass(frozen=True)
class Person:
    owner_id: str
    session: str

    def headers(self) -> dict[str, str]:
        cookies = f"sessionid={self.session}; csrftoken={CSRF}"
        return {"Host": HOST, "Cookie": cookies, "X-CSRFToken": CSRF, "Content-Type": "application/json"}


@dataclass
class Stack:
    folder: Path  # of the project's copy
    servers: dict[str, Process]
    environment: dict[str, str]

    def manage(self, *arguments: str, **environment: str) -> None:
        self.python("manage.py", *arguments, **environment)

    def python(self, *arguments: str, **environment: str) -> None:
        env = {**os.environ, **self.environment, **environment}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise wrk.Wrong(f"{' '.join(arguments)}: {done.stderr[-1000:]}")

    @contextlib.contextmanager
    def serving(self, application: str = APPLICATION, **environment: str) -> Iterator[Site]:
        """The application under the production server, by the Procfile's own line."""
        port = localstack.free_port()
        command = f"cd {shlex.quote(str(self.folder))} && exec {web_line().replace(APPLICATION, application)}"
        env = {**self.environment, "HOST": HOST, "PORT": str(port), **environment}
        server = Process("the web server", ["sh", "-c", command], port, localstack.log_file(self.folder.parent, "web"), env=env)
        server.start()
        try:
            server.wait_until_ready()
            assert server.popen is not None
            wait_until_it_answers(port)
            yield Site(port, server.popen.pid)
        finally:
            server.stop()

    def database(self, name: str) -> str:
        """The address of another database of the same MongoDB."""
        return f"{self.environment['MONGODB_URI'].rpartition('/')[0]}/{name}"

    def redis(self, number: int) -> str:
        """The address of another database of the same Redis."""
        return f"{self.environment['REDIS_URL'].rpartition('/')[0]}/{number}"

    def cache(self, size: str) -> None:
        """Give MongoDB that much memory, like "2G"."""
        self.files.database.client.admin.command({"setParameter": 1, "wiredTigerEngineRuntimeConfig": f"cache_size={size}"})

    @cached_property
    def files(self) -> Collection[dict[str, Any]]:
        from pymongo import MongoClient

        client = MongoClient[dict[str, Any]](self.environment["MONGODB_URI"], tz_aware=True)
        return client.get_default_database()["files"]

    @cached_property
    def bucket(self) -> S3Client:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.environment["R2_ENDPOINT_URL"],
            region_name=self.environment["R2_REGION"],
            aws_access_key_id=localstack.ACCESS_KEY_ID,
            aws_secret_access_key=localstack.SECRET_ACCESS_KEY,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def close(self) -> None:
        if "files" in self.__dict__:
            self.files.database.client.close()

    def write(self, documents: Iterator[dict[str, Any]]) -> None:
        """Insert documents past the application."""
        while batch := [document for document, _ in zip(documents, range(BATCH), strict=False)]:
            self.files.insert_many(batch, ordered=False)

    def forget(self) -> None:
        """No documents, and the indexes as they ship."""
        from files.documents import File, SpentKey

        for kind in (File, SpentKey):
            kind.drop_collection()
            kind.ensure_indexes()

    def put(self, keys: Sequence[str], seconds: int = 60) -> int:
        """Make small objects under the keys, of the type and size that `documents` say. Return how many were made in time."""
        from files import storage

        port = self.servers["seaweedfs"].port
        assert port
        requests = []
        for key in keys:
            signed = storage.sign_put(key, content_type="application/pdf", size=len(BODY), lives=3600)
            path = signed.url.removeprefix(f"http://{HOST}:{port}")
            requests.append(wrk.request("PUT", path, {"Host": f"{HOST}:{port}", **signed.headers}, BODY))
        made = wrk.replay(port, requests, connections=32, seconds=seconds, once=True).right
        if not made:
            raise wrk.Wrong("The bucket took none of the objects")
        return made

    def put_all(self, keys: Sequence[str]) -> None:
        made = self.put(keys, seconds=120)
        if made != len(keys):
            raise wrk.Wrong(f"The bucket took {made} of {len(keys)} objects")


@contextlib.contextmanager
def running() -> Iterator[Stack]:
    """The servers with their data in a folder under var/, which is on a disk, as /tmp may not be."""
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "var", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        project = copy_of_the_project(folder / "project")
        shutil.copy(ROOT / "bench" / "hello.py", project)
        with localstack.running(folder) as servers:
            stack = Stack(project, servers, environment(folder, servers))
            os.environ |= stack.environment
            prepare(project, {**os.environ})
            import django

            django.setup()
            try:
                yield stack
            finally:
                stack.close()


def environment(folder: Path, servers: dict[str, Process]) -> dict[str, str]:
    """As in production, but for the limits that the load itself would run into."""
    for name in ("WEB_CONCURRENCY", "WEB_THREADS", "R2_ACCOUNT_ID"):
        os.environ.pop(name, None)
    return {
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")]),
        "ENV_FILES": "",
        "DEBUG": "0",
        "DJANGO_SETTINGS_MODULE": "uploadkit.settings",
        "SECRET_KEY": "for-the-bench-alone-and-never-for-anything-that-is-reached",
        "SITE_ORIGINS": f"http://{HOST}",
        "SECURE_SSL_REDIRECT": "0",
        "MONGODB_URI": f"mongodb://{HOST}:{servers['mongod'].port}/bench",
        "REDIS_URL": f"redis://{HOST}:{servers['valkey'].port}/0",
        "DATABASE_URL": f"sqlite:///{folder}/users.sqlite3",
        "SIGNINGS_PER_MINUTE": "100000",
        "ADDRESS_RATE": "10000000/m",
        "GITHUB_CLIENT_ID": "bench",
        "GITHUB_CLIENT_SECRET": "bench",
        "GITHUB_ALLOWED_USERS": "*",
        **localstack.s3_environment(servers["seaweedfs"].port or 0),
    }


def web_line() -> str:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return next(line.removeprefix("web:").strip() for line in lines if line.startswith("web:"))


def wait_until_it_answers(port: int, times: int = 20) -> None:
    """Every worker has answered something, so that its imports are over."""
    for _ in range(times):
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            raise wrk.Wrong(f"The landing page answered {answer.status}")


def wait_until_idle(site: Site) -> None:
    """What the last load left in the queues is worked off."""
    before = -1.0
    while (now := site.cpu()) - before > 0.02:
        before = now
        time.sleep(0.2)


def staff() -> str:
    """The session of somebody who may do everything in the admin."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser(f"bench-{time.time_ns()}"))
    return client.cookies["sessionid"].value


def people(count: int) -> list[Person]:
    """New users with a session each."""
    from django.contrib.auth.models import User
    from django.test import Client

    found = []
    for number in range(count):
        client = Client()
        user = User.objects.create_user(f"bench-{time.time_ns()}-{number}")
        client.force_login(user)
        found.append(Person(str(user.pk), client.cookies["sessionid"].value))
    return found
