"""Programs of ours as whole processes: the copy of the project they run from, who is signed in there, what is left of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
CODE = ("manage.py", "files", "uploadkit", "templates", "static")

PREPARE = """
import sys, django
django.setup()
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from files import storage

for command, options in (("migrate", {"verbosity": 0}), ("ensure_indexes", {}), ("collectstatic", {"interactive": False})):
    call_command(command, stdout=sys.stderr, **options)
storage.set_up(settings.SITE_ORIGINS)
for name in sys.argv[1:]:
    client = Client()
    client.force_login(User.objects.create_superuser(name))
    print(client.cookies["sessionid"].value)
"""


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def copy_of_the_project(folder: Path) -> Path:
    """The code alone, with a var/ and a staticfiles/ of its own. A program that runs from there is known by the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    return folder


def without_configuration(**more: str) -> dict[str, str]:
    """This environment without what tests.servers and a developer put there: a laptop on which nothing is configured."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "USER", "LOGNAME")}
    return {**kept, "ENV_FILES": "", "PYTHONWARNINGS": "default", **more}


def prepare(folder: Path, environment: dict[str, str], *names: str) -> list[str]:
    """Databases, bucket and static files made ready, and a session key for each of the named users, who are all staff."""
    done = run([sys.executable, "-c", PREPARE, *names], folder, environment, DJANGO_SETTINGS_MODULE="uploadkit.settings")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def manage(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "manage.py", *arguments], folder, environment)


def run(argv: list[str], folder: Path, environment: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=folder, env={**environment, **more}, capture_output=True, text=True, timeout=60, check=False
    )


def wait_until(condition: Callable[[], object], what: str, within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
        time.sleep(0.02)


# --- what runs ------------------------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name, which may hold anything) state parent …
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it ended meanwhile
        if int(parent) == pid and state != "Z":
            found.append(int(path.parent.name))
    return found


def command_line(pid: int) -> str:
    """What `pid` was started as; nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def left_of(folder: Path) -> list[str]:
    """The command lines of all processes that have to do with `folder`: by their arguments, working folder or environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            # Valkey writes its title over its environment, Celery has the folder in its environment only.
            traces = [(path / "cmdline").read_bytes(), (path / "environ").read_bytes(), os.fsencode((path / "cwd").readlink())]
            if int(path.name) != os.getpid() and any(os.fsencode(folder) in trace for trace in traces):
                found.append(f"{path.name} {command_line(int(path.name))}")
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return found
