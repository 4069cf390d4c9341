"""A real clamd for the tests, without root, and how it gets here: `python -m tests.clamd`.

The one on PATH, or Debian's packages unpacked in the cache folder: nothing is installed, no service starts, no signatures are
downloaded. It knows what two lines of ours tell it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from uploadkit.localstack import HOST, Process, free_port

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uploadkit" / "clamd"
MISSING = (
    "The tests of the virus scanner need clamd, which is not on this machine and could not be fetched. "
    "Install it and run them again: apt install clamav-daemon on Debian and Ubuntu, brew install clamav on macOS."
)
QUIETLY = ("-o", "APT::Sandbox::User=root")  # no warning that root's folder is closed to apt's own user
# In pieces, so that nobody's scanner takes this file away.
EICAR = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*").encode()
SIGNATURES = {
    "ours.hdb": f"{hashlib.md5(EICAR, usedforsecurity=False).hexdigest()}:{len(EICAR)}:Ours.Eicar.Whole\n",
    # Anywhere in what has no other type: 0 is any file, * any place.
    "ours.ndb": f"Ours.Eicar.Within:0:*:{EICAR.hex()}\n",
}


def find() -> Path | None:
    """The path of a clamd on this machine: installed, or unpacked by us."""
    folders = (os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
    installed = shutil.which("clamd", path=os.pathsep.join(folders))
    unpacked = CACHE / "usr" / "sbin" / "clamd"
    return Path(installed) if installed else unpacked if unpacked.exists() else None


def require() -> None:
    """Without a clamd the test at hand is skipped, but fails where one could have been fetched: nobody shall believe it ran."""
    if find() is None:
        (pytest.fail if shutil.which("apt-get") else pytest.skip)(MISSING)


def libraries(clamd: Path) -> dict[str, str]:
    """Where an unpacked clamd finds what was unpacked beside it."""
    if not clamd.is_relative_to(CACHE):
        return {}
    folders = {library.parent for library in CACHE.glob("**/*.so.*")}
    return {"LD_LIBRARY_PATH": os.pathsep.join(map(str, sorted(folders)))}


class Clamd(Process):
    """A clamd in `folder`, on a free port, whose clamd.conf has the `options` beside what it needs."""

    def __init__(self, folder: Path, **options: str) -> None:
        binary = find()
        assert binary is not None, MISSING
        port = free_port()
        self.url = f"tcp://{HOST}:{port}"
        configuration = configured(folder, {"TCPSocket": str(port), "TCPAddr": HOST, **options})
        argv = [str(binary), f"--config-file={configuration}"]
        super().__init__("clamd", argv, port, folder / "clamd.log", libraries(binary))

    def freeze(self) -> None:
        """SIGSTOP: its port still takes connections, and nothing answers."""
        assert self.popen is not None
        os.killpg(self.popen.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.popen is not None
        os.killpg(self.popen.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    @contextlib.contextmanager
    def running(self) -> Iterator[Clamd]:
        self.start()
        try:
            self.wait_until_ready()
            yield self
        finally:
            self.stop()


def configured(folder: Path, options: dict[str, str]) -> Path:
    """A clamd.conf in `folder` and the signatures beside it."""
    signatures = folder / "signatures"
    signatures.mkdir(parents=True)
    for name, text in SIGNATURES.items():
        (signatures / name).write_text(text)
    lines = {
        "Foreground": "yes",
        "DatabaseDirectory": str(signatures),
        "TemporaryDirectory": str(folder),
        "AlertExceedsMax": "yes",
        **options,
    }
    path = folder / "clamd.conf"
    path.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    return path


# --- getting it -----------------------------------------------------------------------------------------------------


def install() -> None:
    """Unpack Debian's or Ubuntu's packages in the cache, all or nothing."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent, prefix="clamd-") as name:
        folder = Path(name)
        if not (download(folder) or download(folder, lists_of_our_own(folder))):
            return
        root = folder / "root"
        for package in sorted(folder.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        with contextlib.suppress(OSError):  # somebody else was first
            root.rename(CACHE)


def download(folder: Path, options: Sequence[str] = ()) -> bool:
    """Fetch clamd and those of its libraries that this machine lacks, as apt's own plan of an installation names them."""
    plan = subprocess.run(
        ["apt-get", *options, "install", "--simulate", "--no-install-recommends", "clamav-daemon"],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    names = [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")]
    wanted = [name for name in names if name.startswith(("lib", "clamav-daemon"))]
    if plan.returncode != 0 or "clamav-daemon" not in wanted:
        return False
    fetched = subprocess.run(
        ["apt-get", *options, "download", "-qq", *QUIETLY, *wanted],
        cwd=folder,
        stdout=sys.stderr,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return fetched.returncode == 0


def lists_of_our_own(folder: Path) -> list[str]:
    """What is there to fetch, asked anew without root: the machine's own lists may be empty or old."""
    options = [*QUIETLY]
    for place in ("State::Lists", "Cache"):
        (folder / place / "partial").mkdir(parents=True, exist_ok=True)
        options += ["-o", f"Dir::{place}={folder / place}"]
    subprocess.run(["apt-get", *options, "update", "-qq"], stdout=sys.stderr, stderr=subprocess.STDOUT, check=False)
    return options


if __name__ == "__main__":
    if find() is None:
        print("Fetching clamd for the tests of the virus scanner …", file=sys.stderr)  # noqa: T201
        install()
    if find() is None:
        sys.exit(MISSING)
