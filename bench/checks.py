"""What a worker takes of memory while it checks: the largest file there may be, the largest scan, large pictures."""

from __future__ import annotations

import hashlib
import random
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench import proc
from bench.effort import Effort
from bench.findings import Findings, Ratio, Table
from bench.stack import Stack
from bench.wrk import Wrong
from tests.clamd import Clamd
from tests.processes import ROOT, children
from uploadkit import localstack
from uploadkit.localstack import Process

AIM = 200  # MB, for a file of any size
OWNER = "900000003"
PATIENCE = 900  # seconds
PIECE = 1 << 20
SCANNED = 100 << 20  # bytes, as much as CLAMD_MAX_SIZE lets be asked about


@dataclass(frozen=True)
class Checked:
    what: str
    size: int
    seconds: float
    memory: float  # MB at the most, of the process that does the work


@dataclass(frozen=True)
class Measured:
    idle: float  # MB of such a process that has done nothing yet
    checked: list[Checked]


def measure(stack: Stack, effort: Effort) -> Measured:
    stack.forget()
    size = min(effort.checked_size, shutil.disk_usage(stack.folder).free // 3)
    large, scanned = stack.folder.parent / "large.bin", stack.folder.parent / "scanned.bin"
    photo, most = stack.folder.parent / "photo.jpg", stack.folder.parent / "most.png"
    make_zeros(large, size)
    make_zeros(scanned, min(SCANNED, size))
    make_picture(photo, (6000, 4000), effort.megapixels / 24)
    make_picture(most, (10_000, 5000), effort.megapixels / 24)
    (stack.folder.parent / "clamd").mkdir()
    limits = dict.fromkeys(("StreamMaxLength", "MaxFileSize", "MaxScanSize"), "200M")
    with Clamd(stack.folder.parent / "clamd", **limits).running() as clamd:
        with worker(stack, clamd) as pid:
            time.sleep(2)
            idle = peak_memory(pid)
        return Measured(
            idle,
            [
                check(stack, clamd, "integrity", large, ["integrity"]),
                check(stack, clamd, "integrity and a scan", scanned, ["integrity", "scan"]),
                check(stack, clamd, f"{effort.megapixels} megapixels of JPEG, cleaned", photo, ["image"]),
                check(stack, clamd, f"{effort.megapixels * 50 // 24} megapixels of PNG, cleaned", most, ["image"]),
            ],
        )


def make_zeros(path: Path, size: int) -> None:
    """They take no place on the disk here; the bucket writes all of them."""
    with path.open("wb") as file:
        file.truncate(size)


def make_picture(path: Path, size: tuple[int, int], scale: float) -> None:
    """As much in it as in a photo: noise, scaled up."""
    from PIL import Image

    width, height = (int(side * scale**0.5) for side in size)
    noise = Image.frombytes("RGB", (width // 8, height // 8), random.Random(5).randbytes(width // 8 * (height // 8) * 3))
    noise.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=92)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def worker(stack: Stack, clamd: Clamd) -> Iterator[int]:
    """A worker by the Procfile's own line, with one process that does the work."""
    line = next(line for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith("worker:"))
    command = f"cd {shlex.quote(str(stack.folder))} && exec {line.removeprefix('worker:').strip()}"
    environment = {**stack.environment, "WORKER_CONCURRENCY": "1", "CLAMD_URL": clamd.url}
    log = localstack.log_file(stack.folder.parent, "worker")
    process = Process("the worker", ["sh", "-c", command], None, log, env=environment)
    process.start()
    try:
        assert process.popen is not None
        deadline = time.monotonic() + 60
        while not children(process.popen.pid):
            if process.ended or time.monotonic() > deadline:
                raise Wrong(f"No worker started.{process.last_words()}")
            time.sleep(0.05)
        yield process.popen.pid
    finally:
        process.stop()


def peak_memory(worker: int) -> float:
    return max(map(proc.peak_memory, children(worker)), default=0)


def check(stack: Stack, clamd: Clamd, what: str, path: Path, checks: list[str]) -> Checked:
    """Have a worker of its own check the file, which passes."""
    key = uploaded(stack, path, checks)
    with worker(stack, clamd) as pid:
        began, memory = time.perf_counter(), 0.0
        queue(key)
        while (status := stack.files.find_one({"_id": key}, {"status": 1, "reason": 1}) or {})["status"] == "checking":
            memory = max(memory, peak_memory(pid))
            if time.perf_counter() - began > PATIENCE:
                raise Wrong(f"The check of {path.name} took more than {PATIENCE} s")
            time.sleep(0.05)
        took, memory = time.perf_counter() - began, max(memory, peak_memory(pid))
    if status["status"] != "ready":
        raise Wrong(f"{path.name} was {status}")
    size = path.stat().st_size
    stack.bucket.delete_object(Bucket=localstack.BUCKET, Key=key)
    path.unlink()
    return Checked(what, size, took, memory)


def uploaded(stack: Stack, path: Path, checks: list[str]) -> str:
    """Put it to the bucket, and write down that it has those checks to pass."""
    from files import names, storage, trail

    content_type = {".jpg": "image/jpeg", ".png": "image/png"}.get(path.suffix, "application/octet-stream")
    size, key, moment = path.stat().st_size, names.new_key(OWNER, path.name), trail.now()
    signed = storage.sign_put(key, content_type=content_type, size=size, lives=3600)
    headers = [part for name, value in signed.headers.items() for part in ("-H", f"{name}: {value}")]
    argv = ["curl", "--silent", "--show-error", "--fail", "-T", str(path), *headers, "-H", "Expect:", signed.url]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(f"The bucket did not take {path.name}: {done.stderr}")
    document = {"_id": key, "owner_id": OWNER, "name": path.name, "content_type": content_type, "size": size}
    life = {"status": "checking", "created_at": moment, "check_at": moment + timedelta(hours=1), "detected": content_type}
    more = {"checks": checks, "sha256": sha256_of(path), "policy": "avatars", "trail": []}
    stack.files.insert_one({**document, **life, **more})
    return key


def queue(key: str) -> None:
    from files import checking
    from files.documents import File

    if not checking.queue(File.objects.get(key=key)):
        raise Wrong("The queue did not take a check")


# --- as tables ------------------------------------------------------------------------------------------------------


def findings(measured: Measured) -> Findings:
    largest = measured.checked[0]
    return Findings(
        ratios=[
            Ratio(
                f"a worker's peak memory with {largest.size / 2**30:.2f} GiB to its aim of {AIM} MB",
                largest.memory / AIM,
                "1.0 at most",
                largest.memory <= AIM,
            )
        ],
        tables=[table(measured)],
    )


def table(measured: Measured) -> Table:
    rows = [(one.what, f"{one.size / 1e6:,.0f}", f"{one.seconds:.1f}", f"{one.memory:.0f}") for one in measured.checked]
    idle = ("nothing yet", "", "", f"{measured.idle:.0f}")
    note = "Each by a worker of its own: its process that does the work, with what that shares with Celery's other one."
    return Table("Checks", ("", "MB", "seconds", "peak MB"), [idle, *rows], [note])
