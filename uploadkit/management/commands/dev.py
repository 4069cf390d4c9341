"""What `make run` runs: the local servers, then migrate, bucket and indexes, then web, worker and beat."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from uploadkit import localstack
from uploadkit.accounts import laptop_user
from uploadkit.localstack import HOST, STOP_SIGNALS, Failed, Group, Process, signals_wait
from uploadkit.settings import env

MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]
ENVIRONMENT_FILE = settings.VAR / "local.env"


class Stopped(Exception):
    """Ctrl-C, SIGTERM, or the terminal was closed."""


class Command(BaseCommand):
    help = "Run uploadkit on this machine, with real servers for all that is not configured in the environment."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, help="of the web server (default: PORT, or 8000 or the next free one)")

    def handle(self, *args: Any, **options: Any) -> None:
        os.chdir(settings.BASE_DIR)  # Celery looks for the app in the folder it is started from
        group = Group()
        with only_one_here(settings.VAR / "lock"):
            try:
                stop_on_signals()
                self.run(group, web_port(options["port"]))
            except Stopped:
                pass
            except Failed as error:
                raise CommandError(str(error)) from error
            finally:
                ENVIRONMENT_FILE.unlink(missing_ok=True)
                group.stop()
        self.say("Everything is stopped. Files and logins are kept in var/.")

    def run(self, group: Group, port: int) -> None:
        self.say("Starting …")
        environment = start_servers(group, settings.VAR)
        environment |= site_environment(port)
        os.environ |= environment
        # So that `manage.py` in another terminal finds the same servers. It holds the secret key: for its owner alone.
        ENVIRONMENT_FILE.touch(mode=0o600)
        ENVIRONMENT_FILE.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        prepare(bucket_is_ours="R2_BUCKET" in environment)
        group.start(
            web(port),
            celery("worker", "--concurrency", "2", "--without-gossip", "--without-mingle"),
            celery("beat"),
        )
        self.welcome(port)
        while (process := group.first_ended()) is None:
            time.sleep(0.2)
        raise Failed(f"{process.name} ended, so everything is stopped.{process.last_words()}")

    def welcome(self, port: int) -> None:
        how = f"with the button “Sign in as {laptop_user()}”" if settings.LAPTOP_SIGN_IN else "with GitHub"
        self.say(f"\n  uploadkit is running at http://{HOST}:{port}/\n  Sign in {how}. Ctrl-C stops everything.")
        self.say("  The other processes write to var/log/.\n")

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def stop_on_signals() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        # A second one, even of the same moment, must not cut the stopping short.
        for other in STOP_SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        if number == signal.SIGHUP:
            # The terminal is gone: whatever is still written must not fail.
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(null, stream)
        raise Stopped

    for number in STOP_SIGNALS:
        signal.signal(number, stop)


@contextmanager
def only_one_here(path: Path) -> Iterator[None]:
    """Hold a lock that ends with this process, since two mongods cannot share a folder."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CommandError(
                f"uploadkit is running from this folder already. Stop that one first ({path} is held)."
            ) from error
        yield


def web_port(wanted: int | None) -> int:
    """The port that was asked for, which must be free; else 8000 or the next one that is."""
    asked = wanted or env.int("PORT", 0)
    if asked and not localstack.is_free(asked):
        raise CommandError(f"Port {asked} is busy. Name another: make run ARGS='--port {asked + 1}'")
    return asked or next(port for port in range(8000, 8100) if localstack.is_free(port))


def configured(name: str) -> bool:
    """Whether the environment or .env says something of it; the settings' reader keeps what it read from .env to itself."""
    return bool(env.str(name, ""))


def start_servers(group: Group, folder: Path) -> dict[str, str]:
    """Start what the environment does not name, and return how to reach it."""
    servers: list[Process] = []
    environment: dict[str, str] = {}
    if not configured("MONGODB_URI"):
        servers.append(localstack.mongod(folder))
        environment["MONGODB_URI"] = f"mongodb://{HOST}:{servers[-1].port}/uploadkit"
    if not configured("REDIS_URL"):
        servers.append(localstack.valkey(folder))
        environment["REDIS_URL"] = f"redis://{HOST}:{servers[-1].port}/0"
    if not configured("R2_ENDPOINT_URL") and not configured("R2_ACCOUNT_ID"):
        servers.append(localstack.seaweedfs(folder))
        environment |= localstack.s3_environment(servers[-1].port or 0)
    group.start(*servers)
    return environment


def site_environment(port: int) -> dict[str, str]:
    environment = {"DEBUG": "1"}
    if not configured("SITE_ORIGINS"):
        environment["SITE_ORIGINS"] = f"http://{HOST}:{port},http://localhost:{port}"
    if not configured("SECRET_KEY"):
        environment["SECRET_KEY"] = kept_secret(settings.VAR / "secret_key")
    return environment


def kept_secret(path: Path) -> str:
    """A secret key that outlives a restart, so that logins do."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50))
    return path.read_text()


def web(port: int) -> Process:
    environment = {"DJANGO_RUNSERVER_HIDE_WARNING": "true"}
    return Process("The web server", [*MANAGE, "runserver", f"{HOST}:{port}", "--skip-checks"], port, env=environment)


def celery(name: str, *options: str) -> Process:
    argv = [sys.executable, "-m", "celery", "--quiet", "--app", "uploadkit", name, "--loglevel", "INFO", *options]
    return Process(f"The {name}", argv, log=localstack.log_file(settings.VAR, name))


def prepare(*, bucket_is_ours: bool) -> None:
    """Bring databases and bucket to where this version wants them. Every step can be run again.

    A bucket that is configured is left alone: setting one up takes an Admin token, and is a decision.
    """
    steps = [["migrate", "--verbosity", "0"], ["ensure_indexes"], *([["storage_setup"]] if bucket_is_ours else [])]
    for name, *options in steps:
        with signals_wait():
            done = subprocess.run([*MANAGE, name, *options], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"manage.py {name} failed:\n{done.stdout}{done.stderr}")
