"""Load by wrk, which takes little of the CPU that it measures; replay.lua tells it what to send."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uploadkit.localstack import HOST

SCRIPT = Path(__file__).parent / "replay.lua"
MISSING = (
    "The bench sends its requests with wrk, which is not on this machine and could not be installed. "
    "Install it and run this again: apt install wrk on Debian and Ubuntu."
)


class Wrong(Exception):
    """An answer was not what it has to be, so there are no figures."""


@dataclass(frozen=True)
class Answers:
    right: int  # with the status that was expected
    wrong: int
    wrong_status: int  # the last of them
    errors: int  # connections refused or cut, answers that were no HTTP
    seconds: float
    p50: float  # milliseconds
    p99: float

    @property
    def rate(self) -> float:
        return self.right / self.seconds


def install() -> None:
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing wrk …", file=sys.stderr)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "wrk"]):
            subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
    if not shutil.which("wrk"):
        sys.exit(MISSING)


def replay(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: int, status: int = 200, once: bool = False
) -> Answers:
    """Send the requests in turn, over and over or each `once`, and count the answers."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0".join(requests))
        file.flush()
        argv = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "60s",
            "-s",
            str(SCRIPT),
            f"http://{HOST}:{port}",
        ]
        argv += ["--", file.name, str(status), "once" if once else "again"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not last.startswith("{"):
        raise Wrong(f"wrk ended with status {done.returncode}:\n{done.stdout[-500:]}{done.stderr[-500:]}")
    return Answers(**json.loads(last))


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request as it goes over the line."""
    fields = {**headers, "Content-Length": str(len(body))} if body else headers
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(head).encode() + body
