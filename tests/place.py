"""The site among servers of its own, which a test may kill and freeze, and people who are signed in there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx

from uploadkit import localstack
from uploadkit.localstack import HOST, Process

from .conftest import ROOT
from .sites import running_site

CSRF = "c" * 32  # what counts is that cookie and header agree
Manner = Literal["down", "frozen"]

PREPARE = """
import sys, django
django.setup()
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from files import storage

call_command("migrate", verbosity=0)
call_command("ensure_indexes", stdout=sys.stderr)
storage.set_up(settings.SITE_ORIGINS)
for name in sys.argv[1:]:
    client = Client()
    client.force_login((User.objects.create_superuser if name == "ops" else User.objects.create_user)(name))
    print(client.cookies["sessionid"].value)
"""


class Place:
    """Three servers and an SQLite file in a folder, and the environment that points a site at them."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.servers: dict[str, Process] = {
            "MongoDB": localstack.mongod(folder),
            "Redis": localstack.valkey(folder),
            "The bucket": localstack.seaweedfs(folder),
        }
        mongo, redis, s3 = (server.port for server in self.servers.values())
        assert mongo and redis and s3
        self.database = folder / "users.sqlite3"
        self.environment = {
            "MONGODB_URI": f"mongodb://{HOST}:{mongo}/uploadkit",
            "REDIS_URL": f"redis://{HOST}:{redis}/0",
            "DATABASE_URL": f"sqlite:///{self.database}",
            **localstack.s3_environment(s3),
            **environment,
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[Place]:
        group = localstack.Group()
        try:
            group.start(*self.servers.values())
            yield self
        finally:
            group.stop()

    @contextlib.contextmanager
    def without(self, name: str, manner: Manner) -> Iterator[None]:
        """Kill a server with its port closed, or stop it with its port open; at the end it is back, with its data."""
        server = self.servers[name]
        assert server.popen is not None
        if manner == "down":
            server.kill()
        else:
            os.killpg(server.popen.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if manner == "down":
                server.start()
                server.wait_until_ready()
            else:
                os.killpg(server.popen.pid, signal.SIGCONT)

    def site(self) -> contextlib.AbstractContextManager[str]:
        """A site in a process of its own, as in production; its origin."""
        return running_site(self.folder, **self.environment)

    def prepare(self, *names: str) -> dict[str, str]:
        """Make the databases and the bucket ready, and these users, ops with all permissions. Their session keys."""
        keys = self.run("-c", PREPARE, *names).split()
        return dict(zip(names, keys, strict=True))

    def manage(self, *arguments: str) -> str:
        return self.run("manage.py", *arguments)

    def run(self, *arguments: str) -> str:
        env = {**os.environ, **self.environment, "DJANGO_SETTINGS_MODULE": "uploadkit.settings"}
        argv = [sys.executable, *arguments]
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def visitor(origin: str, session: str | None = None) -> httpx.Client:
    """A client that sends the CSRF token, signed in where it has a session. It follows no redirect."""
    cookies = {"csrftoken": CSRF, **({"sessionid": session} if session else {})}
    headers = {"X-CSRFToken": CSRF}
    return httpx.Client(base_url=origin, cookies=cookies, headers=headers, timeout=20, trust_env=False)


@contextlib.contextmanager
def silent_listener() -> Iterator[int]:
    """A port that takes connections and never says a word: what a server that is frozen looks like."""
    with socket.create_server((HOST, 0), backlog=100) as listener:
        yield listener.getsockname()[1]
