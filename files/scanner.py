"""The virus scanner: clamd, asked over its socket with INSTREAM. It knows no database and no bucket.

Past its limits (a file, or what an archive unpacks to, that is too large; too many archives in each other) clamd says OK of
what it has not looked at, unless its clamd.conf has `AlertExceedsMax yes`; and where MaxScanSize is over MaxFileSize even so
of a member of an archive that is between the two. docs/install.md says which lines are needed. The first is tried out here,
and a clamd without it is not believed.
"""

from __future__ import annotations

import functools
import io
import socket
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol
from urllib.parse import urlsplit

from clamav_client.clamd import BufferTooLongError, ClamdError, ClamdNetworkSocket, ResponseError
from django.conf import settings

from .reasons import Reason, Rejected

CHUNK = 64 * 1024
PATIENCE = 2  # seconds to connect, and for a PING, which clamd answers even while all its threads scan
SEND_PATIENCE = 20  # seconds for a chunk, which clamd only writes to its disk, and for the answer about one of a few bytes
DEEPEST = 101  # archives in archives; clamd's MaxRecursion ends at 100


class Unavailable(Exception):
    """The scanner is down, slow, broke off, or cannot be believed. Nothing is known about the stream; try again later."""


class FailedOnStream(Unavailable):
    """The scanner answered before this stream and failed on it, which may be the stream's own doing."""


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def scan(stream: Stream) -> str | None:
    """The name of what is found; None: clean. Raises Unavailable, FailedOnStream where another stream is scanned or clamd has
    died of this one, and Rejected for what is over a limit of the scanner's.
    """
    expect_to_be_told(settings.CLAMD_URL)
    try:
        return ask(limited(stream))
    except FailedOnStream:
        if is_up():
            ask_about(b"any other stream")
        raise


def is_up() -> bool:
    try:
        Clamd().check()
    except Unavailable:
        return False
    return True


def ask_about(content: bytes) -> str | None:
    """Scan what cannot be to blame: clamd fails on that where its disk is full, or all its threads are busy."""
    try:
        return ask([content], patience=SEND_PATIENCE)
    except FailedOnStream as failure:
        raise Unavailable(str(failure)) from failure


def limited(stream: Stream) -> Iterator[bytes]:
    sent = 0
    while chunk := stream.read(CHUNK):
        sent += len(chunk)
        if sent > settings.CLAMD_MAX_SIZE:
            raise Rejected(Reason.UNSCANNABLE)
        yield chunk


@functools.lru_cache
def expect_to_be_told(url: str) -> None:
    """Raise Unavailable for a clamd that passes what it did not scan. Each process tries it once."""
    if not url:
        raise Unavailable("CLAMD_URL is not set.")
    try:
        ask_about(nested(DEEPEST))
    except Rejected:
        return
    raise Unavailable("clamd passes what exceeds its limits. Put `AlertExceedsMax yes` in its clamd.conf and restart it.")


def nested(depth: int) -> bytes:
    """An archive in an archive in …"""
    inner = b""
    for _ in range(depth):
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w") as archive:
            archive.writestr("a.zip", inner)
        inner = outer.getvalue()
    return inner


def ask(chunks: Iterable[bytes], patience: float | None = None) -> str | None:
    """`patience` is in seconds, for the answer; None: CLAMD_TIMEOUT."""
    Clamd().check()
    with Clamd() as clamd:
        clamd.begin()
        for chunk in chunks:
            if not clamd.takes(chunk):
                break
        else:
            clamd.takes(b"")  # the end
        return clamd.verdict(patience or settings.CLAMD_TIMEOUT.total_seconds())


@contextmanager
def unavailable(failure: type[Unavailable] = Unavailable) -> Iterator[None]:
    try:
        yield
    except BufferTooLongError as error:
        raise Rejected(Reason.UNSCANNABLE) from error
    except (ClamdError, OSError, UnicodeDecodeError) as error:
        raise failure(f"{type(error).__name__}: {error}") from error


class Clamd(ClamdNetworkSocket):
    """The package's client, by CLAMD_URL, for one stream.

    Its own INSTREAM loses what clamd said before it hung up on a stream that is too long, and takes no answer for a good one.
    It waits forever for a Unix socket whose queue is full, and knows no IPv6.
    """

    def _init_socket(self) -> None:
        url = urlsplit(settings.CLAMD_URL)
        if url.scheme == "unix":
            self.clamd_socket = socket.socket(socket.AF_UNIX)
            try:
                self.clamd_socket.settimeout(PATIENCE)
                self.clamd_socket.connect(url.path)
            except OSError:
                self.clamd_socket.close()
                raise
        else:
            self.clamd_socket = socket.create_connection((url.hostname, url.port), PATIENCE)

    @unavailable()
    def check(self) -> None:
        """A clamd that hangs is known at once, before it is sent a stream and waited for."""
        self.ping()

    @unavailable()
    def __enter__(self) -> Clamd:
        self._init_socket()
        return self

    def __exit__(self, *error: object) -> None:
        self._close_socket()

    @unavailable()
    def begin(self) -> None:
        self.clamd_socket.settimeout(SEND_PATIENCE)
        self._send_command("INSTREAM")

    @unavailable(FailedOnStream)
    def takes(self, chunk: bytes) -> bool:
        """False: clamd has hung up, and its answer says why."""
        try:
            self.clamd_socket.sendall(struct.pack("!L", len(chunk)) + chunk)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    @unavailable(FailedOnStream)
    def verdict(self, patience: float) -> str | None:
        self.clamd_socket.settimeout(patience)
        answer = self._recv_response()
        if answer == "INSTREAM size limit exceeded. ERROR":
            raise BufferTooLongError(answer)
        _, name, status = self._parse_response(answer)  # raises on one that is empty or cut off
        if status == "ERROR":
            raise ResponseError(answer)
        if name and name.startswith("Heuristics.Limits.Exceeded"):
            raise BufferTooLongError(answer)
        return name if status == "FOUND" else None
