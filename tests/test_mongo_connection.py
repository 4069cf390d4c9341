"""MongoDB is connected to once a process, after the fork, and all requests of the process share that connection."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery
from pymongo import MongoClient

from uploadkit import localstack
from uploadkit.localstack import HOST, Process

from .conftest import ROOT
from .processes import BIN, children, copy_of_the_project, prepare, run, wait_until

REQUESTS = 1000
RELOADS = 50
AT_ONCE = 8
# A process has one connection for each of its threads that ask at the same time, and two that watch the server.
OF_TWO_WORKERS = 2 * (4 + 2)
WARNING = re.compile(r"before fork|fork-safe", re.IGNORECASE)

GUNICORN = ["gunicorn", "--workers", "2", "--worker-class", "gthread", "--threads", "4", "--no-control-socket"]
GRANIAN = ["granian", "--interface", "wsgi", "--workers", "2", "--blocking-threads", "4"]
SERVERS = {
    "gunicorn": [*GUNICORN, "--bind", "{address}"],
    "gunicorn --preload": [*GUNICORN, "--preload", "--bind", "{address}"],
    "granian": [*GRANIAN, "--host", "{host}", "--port", "{port}"],
}


class Mongo:
    """A mongod that nobody else uses, so that its count of connections is ours."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client: MongoClient[dict[str, Any]] = MongoClient(uri)

    def connections(self) -> int:
        current: int = self.client.admin.command("serverStatus")["connections"]["current"]
        return current

    def others(self) -> int:
        """The connections besides those that count them."""
        return self.connections() - self.baseline

    def wait_until_nobody_is_connected(self) -> None:
        wait_until(lambda: self.others() <= 0, "the last program's connections are closed")

    def __enter__(self) -> Mongo:
        self.connections()
        # The client that counts opens two more to watch the server, in their own time.
        wait_until(lambda: self.connections() >= 3, "the client that counts is complete")
        self.baseline = self.connections()
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.close()


class Site:
    """A copy of the project with its own mongod, prepared, and alice signed in."""

    def __init__(self, folder: Path, mongo: Mongo) -> None:
        self.folder = copy_of_the_project(folder / "project")
        self.mongo = mongo
        self.port = localstack.free_port()
        self.log = folder / "log.txt"
        self.environment = os.environ | {
            "MONGODB_URI": mongo.uri,
            "DATABASE_URL": f"sqlite:///{folder}/users.sqlite3",
            "R2_BUCKET": os.environ["R2_BUCKET"] + "-connection",
            "PYTHONWARNINGS": "always",
            "PYTHONUNBUFFERED": "1",
        }
        self.session = prepare(self.folder, self.environment, "alice")[0]

    @contextlib.contextmanager
    def running(self, argv: list[str], port: int | None = None, log: Path | None = None) -> Iterator[Process]:
        log = log or self.log
        log.write_text("")
        process = Process(argv[0], ["env", f"--chdir={self.folder}", *argv], port, log, env=self.environment)
        try:
            process.start()
            if port:
                process.wait_until_ready()
            yield process
        finally:
            process.stop()

    def serving(
        self, server: str, application: str = "uploadkit.wsgi:application"
    ) -> contextlib.AbstractContextManager[Process]:
        words = {"host": HOST, "port": self.port, "address": f"{HOST}:{self.port}"}
        program, *options = [word.format(**words) for word in SERVERS[server]]
        return self.running([str(BIN / program), *options, application], self.port)

    def client(self, port: int) -> httpx.Client:
        return httpx.Client(base_url=f"http://{HOST}:{port}", cookies={"sessionid": self.session}, timeout=20)

    def ask_often(self, count: int) -> None:
        ready = threading.Barrier(AT_ONCE)

        def some() -> None:
            with self.client(self.port) as client:
                ready.wait(20)
                for _ in range(count // AT_ONCE):
                    ask(client)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(some) for _ in range(AT_ONCE)]:
                done.result()


def ask(client: httpx.Client) -> None:
    """A page that asks MongoDB."""
    assert client.get("/files/", headers={"HX-Request": "true"}).status_code == 200


def warnings_of_a_fork(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if WARNING.search(line)]


@pytest.fixture(autouse=True)
def nobody_else_is_connected(site: Site) -> None:
    site.mongo.wait_until_nobody_is_connected()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    group = localstack.Group()
    mongod = localstack.mongod(folder)
    try:
        group.start(mongod)
        with Mongo(f"mongodb://{HOST}:{mongod.port}/uploadkit") as mongo:
            yield Site(folder, mongo)
    finally:
        group.stop()


def assert_level(site: Site, ask: Callable[[int], None], *, at_most: int) -> None:
    """After a first hundred, a thousand more open nothing."""
    ask(100)
    before = site.mongo.others()

    ask(REQUESTS)

    after = site.mongo.others()
    assert 0 < before <= at_most
    assert after <= at_most, f"{before} connections after 100 requests, {after} after {REQUESTS} more"


@pytest.mark.parametrize("server", list(SERVERS))
def test_a_server_with_several_processes_connects_once_in_each_after_the_fork(site: Site, server: str) -> None:
    with site.serving(server):
        assert_level(site, site.ask_often, at_most=OF_TWO_WORKERS)

    assert warnings_of_a_fork(site.log) == []


def test_the_warning_would_be_seen(site: Site) -> None:
    """An application that asks MongoDB before the fork: what the others look for in vain. Whether it answers is its luck."""
    (site.folder / "hasty.py").write_text(
        "from uploadkit.wsgi import application\nfrom files.documents import File\nFile.objects.count()\n"
    )
    with site.serving("gunicorn --preload", "hasty:application"), contextlib.suppress(AssertionError):
        site.ask_often(AT_ONCE)

    assert warnings_of_a_fork(site.log) != []


def test_celerys_processes_connect_once_each_after_the_fork(site: Site) -> None:
    sent: list[int] = []

    def ask(count: int) -> None:
        sent.extend(range(count))
        with Celery(broker=os.environ["REDIS_URL"]) as celery, celery.connection_for_write() as connection:
            for _ in range(count):
                celery.send_task("files.tasks.cleanup_pending", connection=connection)
        wait_until(lambda: site.log.read_text().count("succeeded in") >= len(sent), f"{len(sent)} tasks are through")

    celery = ["celery", "--app", "uploadkit", "worker", "--concurrency", "2", "--loglevel", "INFO"]
    with site.running([str(BIN / celery[0]), *celery[1:]]):
        assert_level(site, ask, at_most=OF_TWO_WORKERS)

    assert warnings_of_a_fork(site.log) == []


def test_a_program_that_is_set_up_has_one_thread() -> None:
    """Others would not come along with a fork, and would be given the signals that the first one holds back."""
    code = "import django, threading; django.setup(); print([thread.name for thread in threading.enumerate()])"

    done = run([sys.executable, "-c", code], ROOT, {**os.environ, "DJANGO_SETTINGS_MODULE": "uploadkit.settings"})

    assert done.stdout.splitlines()[-1] == "['MainThread']", done.stderr


@pytest.mark.long
def test_fifty_reloads_of_the_development_server_leave_no_connection_behind(site: Site) -> None:
    """Ten reloads of each of five servers, side by side, since a reload is mostly waiting."""
    # Watches ten times a second instead of once; itself the file that is touched.
    program = site.folder / "impatient.py"
    program.write_text(
        "import os, sys\n"
        "from django.core.management import execute_from_command_line\n"
        "from django.utils.autoreload import StatReloader\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'uploadkit.settings')\n"
        "StatReloader.SLEEP_TIME = 0.1\n"
        "execute_from_command_line(sys.argv)\n"
    )
    servers = [Reloading(site, program, port) for port in localstack.free_ports(5)]
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.enter_context(server.running())
        each(servers, Reloading.ask)
        before = site.mongo.others()

        for _ in range(RELOADS // len(servers)):
            each(servers, Reloading.reload)

        assert before > 0
        wait_until(lambda: site.mongo.others() <= before, f"{site.mongo.others()} connections are {before} again")
    assert [line for server in servers for line in warnings_of_a_fork(server.log)] == []


class Reloading:
    """A development server with its reloader."""

    def __init__(self, site: Site, program: Path, port: int) -> None:
        self.site = site
        self.port = port
        self.log = site.folder / f"{port}.log"
        self.program = program.with_stem(f"{program.stem}_{port}")
        self.program.write_text(program.read_text())

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        runserver = [str(BIN / "python"), str(self.program), "runserver", f"{HOST}:{self.port}", "--skip-checks"]
        with self.site.running(runserver, self.port, self.log) as process:
            assert process.popen is not None
            self.reloader = process.popen.pid
            yield

    def ask(self) -> None:
        with self.site.client(self.port) as client:
            ask(client)

    def reload(self) -> None:
        """Touch the program, and use the process that takes the old one's place."""
        old = children(self.reloader)
        assert len(old) == 1

        def replaced() -> bool:
            # Again and again: a touch that comes before the watcher's first look is not seen.
            moment = self.program.stat().st_mtime + 1
            os.utime(self.program, (moment, moment))
            return children(self.reloader) not in (old, [])

        wait_until(replaced, "another process")
        wait_until(lambda: localstack.answers(self.port), "it serves")
        self.ask()


def each(servers: list[Reloading], act: Callable[[Reloading], None]) -> None:
    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(act, servers))
