"""`make bench`: what a request costs the web tier, beside a bare WSGI application in the same run.

The application's CPU time a request is the figure to go by: on a shared machine it holds still where requests a second do not,
and the client, which is Python on the same cores, does not count into it. Linux only, since it reads /proc.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uploadkit import localstack
from uploadkit.localstack import HOST, Process

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
CONNECTIONS = 16
REQUESTS = 1600

Request = tuple[str, str, bytes | None, dict[str, str]]  # method, path, body, headers

GRANIAN = ["granian", "--interface", "wsgi", "--no-ws", "--host", HOST, "--port", "{port}", "--workers", "2"]
GUNICORN = ["gunicorn", "--bind", HOST + ":{port}", "--workers", "2", "--worker-class", "gthread", "--no-control-socket"]
SERVERS = {
    "granian, 2 workers of 4 threads (shipped)": [*GRANIAN, "--blocking-threads", "4"],
    "granian, 2 workers of 1 thread": [*GRANIAN, "--blocking-threads", "1"],
    "gunicorn, 2 workers of 4 threads": [*GUNICORN, "--threads", "4"],
}


@dataclass
class Figures:
    name: str
    cpu: float  # milliseconds a request
    rate: float  # requests a second
    p50: float  # milliseconds
    p99: float


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}")
    print(f"{REQUESTS} requests over {CONNECTIONS} connections each\n")
    with tempfile.TemporaryDirectory() as folder, localstack.running(Path(folder)) as servers:
        environment = point_at(servers, Path(folder))
        os.environ |= environment
        prepare()
        for name, argv in SERVERS.items():
            with serving(argv, "bench.hello:application") as (port, pid):
                floor = measure("a bare WSGI hello", port, pid, itertools.repeat(("GET", "/", None, {})))
            with serving(argv, "uploadkit.wsgi:application") as (port, pid):
                idle = memory(pid)
                figures = [floor, *(measure(kind, port, pid, requests()) for kind, requests in kinds(port).items())]
                report(name, figures, idle, memory(pid))


def point_at(servers: dict[str, Process], folder: Path) -> dict[str, str]:
    return {
        "ENV_FILES": "",
        "DJANGO_SETTINGS_MODULE": "uploadkit.settings",
        "SECRET_KEY": "for-the-bench-only",
        "SITE_ORIGINS": f"http://{HOST}",
        "SECURE_SSL_REDIRECT": "0",
        "MONGODB_URI": f"mongodb://{HOST}:{servers['mongod'].port}/bench",
        "REDIS_URL": f"redis://{HOST}:{servers['valkey'].port}/0",
        "DATABASE_URL": f"sqlite:///{folder}/bench.sqlite3",
        "SIGNINGS_PER_MINUTE": "100000",
        "ADDRESS_RATE": "1000000/m",
        "GITHUB_CLIENT_ID": "bench",
        "GITHUB_CLIENT_SECRET": "bench",
        **localstack.s3_environment(servers["seaweedfs"].port or 0),
    }


def prepare() -> None:
    for command in (["migrate", "--verbosity=0"], ["ensure_indexes"], ["storage_setup"], ["collectstatic", "--noinput"]):
        subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    import django

    django.setup()


def kinds(port: int) -> dict[str, Callable[[], Iterator[Request]]]:
    from files import uploads

    owner, headers = somebody(port)
    wish = json.dumps({"filename": "report.pdf", "contentType": "application/pdf", "size": 5}).encode()

    def confirms() -> Iterator[Request]:
        for _ in range(REQUESTS + CONNECTIONS):
            signed = uploads.sign(owner, filename="report.pdf", content_type="application/pdf", size=5)
            put(signed)
            yield "POST", "/api/uploads/confirm", json.dumps({"key": signed.key}).encode(), headers

    return {
        "401": lambda: itertools.repeat(("POST", "/api/uploads/sign", wish, {"Content-Type": "application/json"})),
        "sign": lambda: itertools.repeat(("POST", "/api/uploads/sign", wish, headers)),
        "confirm, with its HEAD": lambda: iter(list(confirms())),
        "list of fifty": lambda: itertools.repeat(("GET", "/files/", None, headers)),
    }


def somebody(port: int) -> tuple[str, dict[str, str]]:
    """A new user: the owner id, and the headers that show the session."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore

    user = User.objects.create_user(f"bench{time.time_ns()}")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    token = "x" * 32
    return str(user.pk), {
        "Cookie": f"sessionid={session.session_key}; csrftoken={token}",
        "X-CSRFToken": token,
        "Content-Type": "application/json",
        "Host": HOST,
        "Origin": f"http://{HOST}",
    }


def put(signed: Any) -> None:
    scheme_and_host, _, path = signed.put.url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(scheme_and_host)
    connection.request(signed.put.method, f"/{path}", b"%PDF-", signed.put.headers)
    assert connection.getresponse().status == 200
    connection.close()


@contextlib.contextmanager
def serving(argv: list[str], application: str) -> Iterator[tuple[int, int]]:
    port = localstack.free_port()
    command = [str(BIN / argv[0]), *(part.format(port=port) for part in argv[1:]), application]
    with tempfile.NamedTemporaryFile() as log:
        server = Process("the web server", command, port, Path(log.name))
        server.start()
        server.wait_until_ready()
        assert server.popen is not None
        try:
            yield port, server.popen.pid
        finally:
            server.stop()


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(name: str, port: int, pid: int, requests: Iterator[Request]) -> Figures:
    lock, took = threading.Lock(), list[float]()

    def client(count: int) -> None:
        connection = http.client.HTTPConnection(HOST, port)
        for _ in range(count):
            with lock:
                method, path, body, headers = next(requests)
            began = time.perf_counter()
            try:
                answer = exchange(connection, method, path, body, headers)
            except (ConnectionError, http.client.RemoteDisconnected):
                connection.close()  # a server may end a connection between two requests
                answer = exchange(connection, method, path, body, headers)
            took.append(time.perf_counter() - began)
            assert answer.status == (401 if name == "401" else 200), (name, answer.status)
        connection.close()

    everyone(client, 1)  # warm: imports, connections, templates
    took.clear()
    before, began = cpu(pid), time.perf_counter()
    everyone(client, REQUESTS // CONNECTIONS)
    elapsed, used = time.perf_counter() - began, cpu(pid) - before
    cuts = statistics.quantiles(took, n=100)
    return Figures(name, used / len(took) * 1000, len(took) / elapsed, cuts[49] * 1000, cuts[98] * 1000)


def exchange(connection: http.client.HTTPConnection, *request: Any) -> http.client.HTTPResponse:
    connection.request(*request)
    answer = connection.getresponse()
    answer.read()
    return answer


def everyone(client: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=client, args=(count,)) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


def cpu(pid: int) -> float:
    """Seconds of CPU that the process and its children have used."""
    ticks = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Megabytes that are theirs alone or their share of (PSS)."""
    total = 0
    for member in family(pid):
        rollup = Path(f"/proc/{member}/smaps_rollup").read_text()
        total += int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
    return total / 1024


def report(name: str, figures: list[Figures], idle: float, loaded: float) -> None:
    floor = figures[0]
    print(f"{name}: {idle:.0f} MB idle, {loaded:.0f} MB after the load")
    print(f"  {'':26}{'CPU ms':>8}{'x floor':>9}{'req/s':>8}{'p50 ms':>8}{'p99 ms':>8}")
    for row in figures:
        columns = f"{row.cpu:8.2f}{row.cpu / max(floor.cpu, 0.001):9.1f}{row.rate:8.0f}{row.p50:8.1f}{row.p99:8.1f}"
        print(f"  {row.name:26}{columns}")
    print()


if __name__ == "__main__":
    main()
