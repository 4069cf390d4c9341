"""What `make run` runs: manage.py dev, on a copy of the project in an empty folder and in a terminal of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from uploadkit import localstack
from uploadkit.localstack import HOST

from .processes import children, command_line, copy_of_the_project, left_of, manage, wait_until, without_configuration

START_WITHIN = 60
STOP_WITHIN = 30
QUICKLY = 30  # a second start, on a machine that has other things to do
READY = "Ctrl-C stops everything"


class Terminal:
    """`manage.py dev` in a terminal that can be typed into and closed."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder = folder
        self.text = ""
        self.master, slave = pty.openpty()
        self.program = subprocess.Popen(
            # setsid(1) makes the terminal its own, so that Ctrl-C and closing it send what they send a person's program.
            ["setsid", "--ctty", sys.executable, "manage.py", "dev", *arguments],
            cwd=folder,
            env=without_configuration(DEBUG="1", **environment),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.closing = threading.Event()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        # EIO: nobody is at the other end any more.
        with contextlib.suppress(OSError):
            while not self.closing.is_set():
                if select.select([self.master], [], [], 0.05)[0]:
                    self.text += os.read(self.master, 4096).decode(errors="replace").replace("\r\n", "\n")

    def wait_until_running(self) -> str:
        """Return the address it prints."""
        wait_until(lambda: READY in self.text or self.program.poll() is not None, self.text, START_WITHIN)
        found = re.search(r"running at (http://\S+)/\n", self.text)
        assert found, self.text
        return found[1]

    def wait_until_ended(self) -> int:
        return self.program.wait(STOP_WITHIN)

    def type_ctrl_c(self) -> None:
        os.write(self.master, b"\x03")

    def close(self) -> None:
        if not self.closing.is_set():
            # A terminal that somebody still reads from is not closed.
            self.closing.set()
            self.reader.join()
            os.close(self.master)

    def clear_away(self) -> None:
        """Whatever the test found, the next one starts on a clean machine."""
        if self.program.poll() is None:
            self.program.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.program.wait(STOP_WITHIN)
        for line in left_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        self.program.wait()
        self.close()


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    return copy_of_the_project(tmp_path / "project")


@contextlib.contextmanager
def started(folder: Path, *arguments: str, **environment: str) -> Iterator[Terminal]:
    terminal = Terminal(folder, *arguments, **environment)
    try:
        yield terminal
    finally:
        terminal.clear_away()


def a_port() -> tuple[str, str]:
    return "--port", str(localstack.free_port())


def descendants(pid: int) -> list[int]:
    """`pid`, all it started, and all they started."""
    return [pid, *(descendant for child in children(pid) for descendant in descendants(child))]


def wait_until_the_worker_has_its_pool(laptop: Path) -> None:
    log = laptop / "var" / "log" / "worker.log"
    wait_until(lambda: re.search(r"celery@\S+ ready", log.read_text()), "the worker is ready")


# --- what a newcomer sees -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = copy_of_the_project(tmp_path_factory.mktemp("running") / "project")
    with started(folder, *a_port(), USER="alice", LOGNAME="alice") as terminal:
        terminal.wait_until_running()
        yield terminal


def test_a_newcomer_is_told_where_to_go_and_how_to_sign_in(running: Terminal) -> None:
    address = running.wait_until_running()

    assert "Sign in with the button “Sign in as alice”" in running.text
    assert "Sign in as alice" in httpx.get(f"{address}/login").text


def test_another_terminal_finds_the_servers_that_run(running: Terminal) -> None:
    done = manage(running.folder, without_configuration(DEBUG="1", ENV_FILES=".env var/local.env"), "cleanup_pending")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Gave up 0 uploads" in done.stdout


def test_nobody_else_on_the_machine_reads_the_secret_key(running: Terminal) -> None:
    for name in ("local.env", "secret_key"):
        assert (running.folder / "var" / name).stat().st_mode & 0o077 == 0


def test_a_second_start_is_told_that_the_first_runs_and_leaves_it_alone(running: Terminal) -> None:
    second = manage(running.folder, without_configuration(DEBUG="1"), "dev", *a_port())

    assert second.returncode == 1
    assert "running from this folder already" in second.stderr
    assert httpx.get(f"{running.wait_until_running()}/").status_code == 200
    assert (running.folder / "var" / "local.env").exists()


def test_files_and_logins_survive_a_restart_which_is_quick_and_no_process_survives_ctrl_c_or_sigterm(laptop: Path) -> None:
    body = os.urandom(100_000)
    port = a_port()
    with started(laptop, *port) as terminal, httpx.Client(base_url=terminal.wait_until_running()) as alice:
        sign_in(alice)
        key = upload(alice, body)
        wait_until_the_worker_has_its_pool(laptop)
        terminal.type_ctrl_c()
        assert_it_ends_well(terminal)
        assert "Everything is stopped. Files and logins are kept in var/." in terminal.text
        # Each is asked once: a second SIGTERM can make Django's reloader wait for ever for the process it did not end.
        assert (laptop / "var" / "log" / "worker.log").read_text().count("Warm shutdown") == 1

        began = time.monotonic()
        with started(laptop, *port) as again:
            again.wait_until_running()
            assert time.monotonic() - began < QUICKLY
            assert "alice.bin" in alice.get("/files/").text
            assert hashlib.sha256(download(alice, key)).digest() == hashlib.sha256(body).digest()
            again.program.terminate()
            assert_it_ends_well(again)


def sign_in(client: httpx.Client) -> None:
    client.get("/login")
    answer = client.post("/accounts/laptop", data={"name": "alice"}, headers={"X-CSRFToken": client.cookies["csrftoken"]})
    assert (answer.status_code, answer.headers.get("Location")) == (302, "/files/")
    client.headers["X-CSRFToken"] = client.cookies["csrftoken"]


def upload(client: httpx.Client, body: bytes) -> str:
    wish = {"filename": "alice.bin", "contentType": "application/octet-stream", "size": len(body)}
    signed = client.post("/api/uploads/sign", json=wish)
    assert signed.status_code == 200, signed.text
    put = signed.json()
    assert httpx.put(put["url"], content=body, headers=put["headers"]).status_code == 200
    assert client.post("/api/uploads/confirm", json={"key": put["key"]}).status_code == 200
    return str(put["key"])


def download(client: httpx.Client, key: str) -> bytes:
    location = client.get(f"/files/{key}/download").headers["Location"]
    return httpx.get(location).raise_for_status().content


# --- every other way to end it --------------------------------------------------------------------------------------


def test_closing_the_terminal_leaves_no_process_behind(laptop: Path) -> None:
    with started(laptop, *a_port()) as terminal:
        terminal.wait_until_running()

        terminal.close()

        assert_it_ends_well(terminal)


def test_ctrl_c_while_it_starts_leaves_no_process_behind(laptop: Path) -> None:
    with started(laptop, *a_port()) as terminal:
        wait_until(lambda: any("mongod" in line for line in left_of(laptop)), "the first server runs")

        terminal.type_ctrl_c()

        assert_it_ends_well(terminal)


def test_several_signals_at_once_leave_no_process_behind(laptop: Path) -> None:
    """A desktop that shuts down sends more than one."""
    with started(laptop, *a_port()) as terminal:
        terminal.wait_until_running()

        terminal.program.send_signal(signal.SIGSTOP)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            terminal.program.send_signal(number)
        terminal.program.send_signal(signal.SIGCONT)

        assert_it_ends_well(terminal)


def test_kill_nine_leaves_no_process_behind_and_the_next_start_works(laptop: Path) -> None:
    port = a_port()
    with started(laptop, *port) as terminal:
        terminal.wait_until_running()
        wait_until_the_worker_has_its_pool(laptop)

        terminal.program.kill()

        terminal.wait_until_ended()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not left_of(laptop), "they are gone too", within=5)
        assert left_of(laptop) == []
    with started(laptop, *port) as again:
        again.wait_until_running()


def test_a_server_that_dies_ends_all_and_is_named(laptop: Path) -> None:
    with started(laptop, *a_port()) as terminal:
        terminal.wait_until_running()
        valkey = next(pid for pid in descendants(terminal.program.pid) if "valkey-server" in command_line(pid))

        os.kill(valkey, signal.SIGKILL)

        assert terminal.wait_until_ended() == 1
        assert "CommandError: Valkey ended, so everything is stopped." in terminal.text
        assert left_of(laptop) == []


def assert_it_ends_well(terminal: Terminal) -> None:
    status = terminal.wait_until_ended()
    assert left_of(terminal.folder) == []
    assert (status, "Traceback" in terminal.text) == (0, False), terminal.text
    assert not (terminal.folder / "var" / "local.env").exists()


# --- ports and programs that are not as they should be --------------------------------------------------------------


def test_a_port_that_was_asked_for_and_is_busy_is_named(laptop: Path) -> None:
    with socket.create_server((HOST, 0)) as busy:
        port = str(busy.getsockname()[1])

        asked = manage(laptop, without_configuration(DEBUG="1"), "dev", "--port", port)
        configured = manage(laptop, without_configuration(DEBUG="1", PORT=port), "dev")

    assert (asked.returncode, configured.returncode) == (1, 1)
    assert f"Port {port} is busy" in asked.stderr
    assert f"Port {port} is busy" in configured.stderr
    assert left_of(laptop) == []


def test_a_busy_port_8000_is_avoided(laptop: Path) -> None:
    with contextlib.ExitStack() as stack:
        # Whoever holds it already does as well.
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server((HOST, 8000)))
        with started(laptop, **servers_elsewhere(laptop)) as terminal:
            address = terminal.wait_until_running()

            assert re.fullmatch(r"http://127\.0\.0\.1:80[0-9][0-9]", address)
            assert not address.endswith(":8000")
            assert httpx.get(f"{address}/").status_code == 200


def test_a_system_library_that_is_missing_is_named_with_its_package(laptop: Path) -> None:
    programs = laptop.parent / "bin"
    programs.mkdir()
    library = "libcurl.so.4"
    says = f"mongod: error while loading shared libraries: {library}: cannot open shared object file: No such file or directory"
    (programs / "mongod").write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 127\n")
    (programs / "mongod").chmod(0o755)
    environment = without_configuration(DEBUG="1")

    done = manage(laptop, environment | {"PATH": f"{programs}:{environment['PATH']}"}, "dev", *a_port())

    assert done.returncode == 1
    assert "mongod ended with status 127" in done.stderr
    assert "apt install libcurl4" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_of(laptop) == []


# --- what is configured already -------------------------------------------------------------------------------------


def servers_elsewhere(laptop: Path) -> dict[str, str]:
    """The servers of the whole run, as somebody would configure them."""
    names = ("REDIS_URL", "R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET", "R2_REGION")
    return {
        **{name: os.environ[name] for name in names},
        "MONGODB_URI": os.environ["MONGODB_URI"] + "_run",
        "DATABASE_URL": f"sqlite:///{laptop.parent}/elsewhere.sqlite3",
    }


@pytest.mark.parametrize("where", ["the environment", ".env"])
def test_servers_that_are_configured_are_used_instead_of_local_ones(laptop: Path, where: str) -> None:
    environment = servers_elsewhere(laptop)
    if where == ".env":
        (laptop / ".env").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        environment = {"ENV_FILES": ".env"}  # as `make run` says
    with started(laptop, *a_port(), **environment) as terminal:
        address = terminal.wait_until_running()
        running = " ".join(command_line(pid) for pid in descendants(terminal.program.pid))

        assert "runserver" in running
        assert not re.search(r"mongod|valkey-server|redis-server|weed", running)
        with httpx.Client(base_url=address) as alice:
            sign_in(alice)
            key = upload(alice, b"elsewhere")
            assert download(alice, key) == b"elsewhere"
        assert (laptop.parent / "elsewhere.sqlite3").exists()
        assert not (laptop / "var" / "db.sqlite3").exists()


def test_one_that_is_configured_leaves_the_others_local(laptop: Path) -> None:
    with started(laptop, *a_port(), REDIS_URL=os.environ["REDIS_URL"]) as terminal:
        wait_until((laptop / "var" / "local.env").exists, "the servers run", START_WITHIN)
        running = " ".join(command_line(pid) for pid in descendants(terminal.program.pid))

        assert re.search(r"mongod .*weed ", running)
        assert not re.search(r"valkey-server|redis-server", running)
