"""A large file by the browser's path, beside `curl -T` of the same file to the same bucket."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.effort import Effort
from bench.findings import RATES, Bar, Findings, Ratio, Table
from bench.stack import Stack, people
from bench.wrk import Wrong
from tests import chromium
from uploadkit import localstack
from uploadkit.localstack import HOST

if TYPE_CHECKING:
    from playwright.sync_api import Page

BUCKET = "bench-bytes"  # its own, which is empty but for the one file
LEAST_SHARE = 0.9
TYPE = "application/octet-stream"
PIECE = 1 << 20  # bytes
ROOM = 10  # times the file: the uploads, and what the bucket has not given back yet
PATIENCE = 300_000  # milliseconds


@dataclass
class Relay:
    """Stands before the site and counts what goes through both ways: all that a browser and Django say to each other."""

    to: int
    port: int
    marker: bytes  # what the file has once in each of its pieces
    bytes: int = 0
    pieces: int = 0  # of the file
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        with socket.create_server((HOST, self.port)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                browser, site = listener.accept()[0], socket.create_connection((HOST, self.to))
                for one, other in ((browser, site), (site, browser)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(1 << 16):
                with self.lock:
                    self.bytes += len(piece)
                    self.pieces += piece.count(self.marker)
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class Measured:
    size: int
    browser: float  # seconds, from the choice of the file to its finished row
    curl: float
    through_django: int  # bytes, during all uploads by the browser
    of_the_file: int  # bytes among those
    uploads: int
    cpu: float  # milliseconds that Django took for one


def measure(stack: Stack, effort: Effort) -> Measured:
    size = min(effort.file_size, shutil.disk_usage(stack.folder).free // ROOM)
    file = stack.folder.parent / "large.bin"
    marker = make(file, size)
    port = localstack.free_port()
    origin = f"http://{HOST}:{port}"
    there = {"SITE_ORIGINS": origin, "R2_BUCKET": BUCKET}
    stack.manage("storage_setup", **there)
    with stack.serving(MAX_UPLOAD_SIZE=str(size), **there) as site:
        relay = Relay(site.port, port, marker)
        with relay.open(), browser(origin) as page:
            before, cpu = relay.bytes, site.cpu()
            rounds = [(by_browser(stack, page, file, size), by_curl(stack, file, size)) for _ in range(effort.rounds)]
            used = (site.cpu() - cpu) / effort.rounds * 1000
    file.unlink()
    through, of_the_file = relay.bytes - before, relay.pieces * PIECE
    return Measured(
        size, min(one for one, _ in rounds), min(one for _, one in rounds), through, of_the_file, effort.rounds, used
    )


def make(file: Path, size: int) -> bytes:
    """Random bytes, a piece over and over: nothing that could be compressed. Return how each piece begins."""
    piece = os.urandom(PIECE)
    with file.open("wb") as out:
        for first in range(0, size, PIECE):
            out.write(piece[: size - first])
    return piece[:16]


def by_browser(stack: Stack, page: Page, file: Path, size: int) -> float:
    """Seconds from the choice of the file to its finished row."""
    page.reload()
    finished = page.locator("#files > .file")
    before = finished.count()
    began = time.perf_counter()
    page.locator("#chooser").set_input_files(file)
    finished.nth(before).or_(page.locator("[data-state=failed]")).first.wait_for(timeout=PATIENCE)
    seconds = time.perf_counter() - began
    empty(stack, size)
    return seconds


def by_curl(stack: Stack, file: Path, size: int) -> float:
    """Seconds, as curl counts them."""
    wanted = {"Bucket": BUCKET, "Key": "bench/large.bin", "ContentType": TYPE}
    url = stack.bucket.generate_presigned_url("put_object", wanted)
    argv = [
        "curl",
        "-sS",
        "--fail",
        "-o",
        os.devnull,
        "-w",
        "%{time_total}",
        "-T",
        str(file),
        "-H",
        f"Content-Type: {TYPE}",
        url,
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(f"curl -T: {done.stderr}")
    empty(stack, size)
    return float(done.stdout)


def empty(stack: Stack, size: int) -> None:
    """Look that the bucket has the one file as a whole, and take it away."""
    sizes = []
    for item in stack.bucket.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        sizes.append(item["Size"])
        stack.bucket.delete_object(Bucket=BUCKET, Key=item["Key"])
    if size not in sizes:
        raise Wrong(f"The bucket has no file of {size} bytes, only {sizes[:5]}")


@contextlib.contextmanager
def browser(origin: str) -> Iterator[Page]:
    """A headless Chromium that is signed in and looks at its list."""
    from playwright.sync_api import sync_playwright

    # Before Playwright: its event loop in this thread is one that Django refuses to work in.
    (person,) = people(1)
    args = ["--disable-gpu", "--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=browser_path(), args=args)
        context = chrome.new_context()
        context.add_cookies([{"name": "sessionid", "value": person.session, "url": origin}])
        page = context.new_page()
        page.goto(f"{origin}/files/")
        yield page
        chrome.close()


def browser_path() -> str:
    path = chromium.find()
    if path is None:
        chromium.install()
        path = chromium.find()
    if path is None:
        raise Wrong(chromium.MISSING)
    return path


def findings(measured: Measured) -> Findings:
    share = measured.curl / measured.browser
    megabytes = measured.size / 1e6
    rows = [
        (
            "the browser's path: sign, PUT, confirm, row",
            f"{measured.browser:.2f}",
            f"{megabytes / measured.browser:.0f}",
            f"{share:.2f}",
        ),
        ("curl -T", f"{measured.curl:.2f}", f"{megabytes / measured.curl:.0f}", "1.00"),
    ]
    note = (
        f"Uploads by the browser, {measured.uploads} in a row, sent {measured.uploads * measured.size:,} bytes. Between it and "
        f"Django went {measured.through_django:,} bytes, pages and headers both ways; {measured.of_the_file:,} bytes of the "
        f"file were among them. Django took {measured.cpu:.0f} ms of CPU for one."
    )
    return Findings(
        ratios=[
            Ratio(
                f"upload of {megabytes:,.0f} MB by the browser: rate to curl -T's",
                share,
                f"{LEAST_SHARE} at least",
                share >= LEAST_SHARE,
            ),
            Ratio(
                "bytes of the file that went through Django to all",
                measured.of_the_file / measured.size,
                "0.00",
                measured.of_the_file == 0,
            ),
        ],
        tables=[Table(f"Bytes: an upload of {megabytes:,.0f} MB", ("", "seconds", "MB/s", "of curl's rate"), rows, [note])],
        bars=[Bar(RATES, "upload, to curl -T", share, aim=LEAST_SHARE)],
    )
