"""What the virus scanner says of a stream, and what is made of its silence. Never is a stream clean that was not scanned."""

from __future__ import annotations

import io
import os
import socket
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory

from files import errors, scanner
from files.reasons import Reason, Rejected
from uploadkit.localstack import HOST, free_port

from .clamd import EICAR, Clamd, require

MIB = 2**20
FOUND = "Ours.Eicar.Within.UNOFFICIAL"


@pytest.fixture(autouse=True)
def asked(settings: Any, clamd: Clamd) -> Iterator[None]:
    """The settings name the scanner that the tests share, and no test knows what another one found out about its own."""
    settings.CLAMD_URL = clamd.url
    yield
    scanner.expect_to_be_told.cache_clear()


Another = Callable[..., Clamd]


@pytest.fixture
def another(tmp_path: Path, settings: Any) -> Iterator[Another]:
    """A scanner of the test's own, with lines of its own in clamd.conf."""
    require()
    made: list[Clamd] = []

    def start(**options: str) -> Clamd:
        clamd = Clamd(tmp_path / f"clamd-{len(made)}", **options)
        made.append(clamd)
        clamd.start()
        clamd.wait_until_ready()
        settings.CLAMD_URL = clamd.url
        return clamd

    yield start
    for clamd in made:
        clamd.stop()


def scan(content: bytes) -> str | None:
    return scanner.scan(io.BytesIO(content))


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.com", content)
    return packed.getvalue()


def refused(content: bytes) -> Reason:
    with pytest.raises(Rejected) as rejected:
        scan(content)
    return rejected.value.reason


class Zeros:
    """So many of them, which are nowhere in memory."""

    def __init__(self, size: int, meanwhile: Callable[[], object]) -> None:
        self.left = size
        self.first = [meanwhile]

    def read(self, size: int, /) -> bytes:
        while self.first:
            self.first.pop()()
        given = min(size, self.left)
        self.left -= given
        return bytes(given)


def scan_zeros(size: int, meanwhile: Callable[[], object] = lambda: None) -> str | None:
    return scanner.scan(Zeros(size, meanwhile))


# --- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"a report", zipped(b"a report")], ids=["empty", "text", "zip"])
def test_what_is_clean_has_no_name(content: bytes) -> None:
    assert scan(content) is None


@pytest.mark.parametrize(
    "content",
    [EICAR, os.urandom(MIB) + EICAR + os.urandom(MIB), zipped(EICAR), zipped(zipped(bytes(MIB) + EICAR))],
    ids=["raw", "within", "zipped", "zipped twice"],
)
def test_what_is_found_is_named(content: bytes) -> None:
    assert scan(content) == FOUND


def test_a_scanner_may_listen_on_a_unix_socket(another: Another, tmp_path: Path, settings: Any) -> None:
    another(LocalSocket=str(tmp_path / "clamd.ctl"))
    settings.CLAMD_URL = f"unix://{tmp_path}/clamd.ctl"

    assert (scan(b"a report"), scan(EICAR)) == (None, FOUND)


def test_a_long_stream_takes_no_memory() -> None:
    scan(b"")
    tracemalloc.start()
    try:
        assert scan_zeros(64 * MIB) is None
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


# --- what is over a limit is never clean ----------------------------------------------------------------------------


def test_what_is_over_our_own_limit_is_not_sent(settings: Any) -> None:
    settings.CLAMD_MAX_SIZE = MIB

    assert scan(bytes(MIB)) is None
    assert refused(bytes(MIB + 1)) is Reason.UNSCANNABLE


def test_what_is_over_the_stream_limit_is_refused_wherever_clamd_hangs_up(another: Another) -> None:
    another(StreamMaxLength="1M")

    assert scan(bytes(MIB)) is None
    for size in (MIB + 1, MIB + scanner.CHUNK, 2 * MIB, 30 * MIB):
        assert refused(bytes(size)) is Reason.UNSCANNABLE


def test_what_is_over_the_file_limit_is_refused(another: Another) -> None:
    another(MaxFileSize="1M")

    assert refused(bytes(MIB) + EICAR) is Reason.UNSCANNABLE


def test_what_unpacks_to_more_than_the_scan_limit_is_refused_where_the_file_limit_is_no_less(another: Another) -> None:
    """docs/install.md tells why: were it less, the member would be cut off there and called clean."""
    another(MaxFileSize="2M", MaxScanSize="2M")

    assert scan(zipped(bytes(MIB) + EICAR)) == FOUND
    assert refused(zipped(bytes(4 * MIB) + EICAR)) is Reason.UNSCANNABLE


def test_too_many_archives_in_each_other_are_refused() -> None:
    assert refused(scanner.nested(30)) is Reason.UNSCANNABLE


def test_a_scanner_that_calls_clean_what_it_did_not_scan_is_not_believed(another: Another) -> None:
    another(AlertExceedsMax="no")

    with pytest.raises(scanner.Unavailable, match="AlertExceedsMax yes"):
        scan(b"a report")


def test_a_scanner_that_goes_all_the_way_down_is_not_mistaken_for_one_that_says_nothing(another: Another) -> None:
    another(MaxRecursion="100")

    assert scan(b"a report") is None


# --- what does not answer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", f"tcp://{HOST}:{free_port()}", "tcp://nowhere.invalid:3310", "unix:///nowhere/clamd.ctl"],
    ids=["none", "port", "host", "path"],
)
def test_a_scanner_that_is_not_there_is_unavailable(settings: Any, url: str) -> None:
    settings.CLAMD_URL = url

    with pytest.raises(scanner.Unavailable):
        scan(b"a report")


def test_a_scanner_that_hangs_is_known_before_anything_is_sent(clamd: Clamd) -> None:
    scan(b"")
    begun = time.monotonic()

    with clamd.frozen(), pytest.raises(scanner.Unavailable):
        scan(b"a report")

    assert time.monotonic() - begun < 2 * scanner.PATIENCE
    assert scan(b"a report") is None


@pytest.mark.parametrize("size", [1, 32 * MIB], ids=["at its answer", "at what it is sent"])
def test_a_scanner_that_hangs_half_way_is_waited_for_so_long_and_no_longer(
    clamd: Clamd, settings: Any, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    scan(b"")
    settings.CLAMD_TIMEOUT = timedelta(seconds=1)
    monkeypatch.setattr(scanner, "SEND_PATIENCE", 1)

    try:
        with pytest.raises(scanner.Unavailable, match="timed out"):
            scan_zeros(size, meanwhile=clamd.freeze)
    finally:
        clamd.thaw()

    assert scan(EICAR) == FOUND


def test_a_unix_socket_whose_queue_is_full_is_waited_for_no_longer(tmp_path: Path, settings: Any) -> None:
    settings.CLAMD_URL = f"unix://{tmp_path}/full.ctl"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(tmp_path / "full.ctl"))
        listener.listen(0)
        waiting.connect(str(tmp_path / "full.ctl"))

        with pytest.raises(scanner.Unavailable):
            scan(b"a report")


def test_a_scanner_that_dies_half_way_has_found_nothing_out(another: Another) -> None:
    clamd = another()
    scan(b"")

    with pytest.raises(scanner.FailedOnStream):
        scan_zeros(MIB, meanwhile=clamd.kill)


def test_a_scanner_that_dies_while_it_is_waited_for_has_found_nothing_out(another: Another) -> None:
    clamd = another()
    scan(b"")

    def freeze_then_kill() -> None:
        clamd.freeze()
        threading.Timer(0.2, clamd.kill).start()

    with pytest.raises(scanner.FailedOnStream):
        scan_zeros(1, meanwhile=freeze_then_kill)


@pytest.mark.parametrize("believed", [True, False], ids=["believed", "asked for the first time"])
def test_a_scanner_that_can_write_no_stream_down_is_unavailable_and_none_of_them_is_to_blame(
    another: Another, tmp_path: Path, believed: bool
) -> None:
    folder = tmp_path / "streams"
    folder.mkdir()
    another(TemporaryDirectory=str(folder))
    if believed:
        scan(b"")
    folder.rmdir()

    with pytest.raises(scanner.Unavailable) as caught:
        scan(EICAR)

    assert caught.type is scanner.Unavailable


def test_a_scanner_that_hangs_up_on_one_stream_and_takes_another_failed_on_that_one(another: Another) -> None:
    another(CommandReadTimeout="1", ReadTimeout="1")
    scan(b"")

    with pytest.raises(scanner.FailedOnStream):
        scan_zeros(4 * scanner.CHUNK, meanwhile=lambda: time.sleep(2))

    assert scan(b"a report") is None


def test_what_the_stream_itself_raises_is_not_blamed_on_the_scanner() -> None:
    def fail() -> None:
        raise ConnectionResetError("the bucket")

    with pytest.raises(ConnectionResetError, match="the bucket"):
        scan_zeros(1, meanwhile=fail)


def test_a_request_that_needs_a_scanner_that_is_down_is_told_which_server_that_is() -> None:
    answer = errors.refusal(RequestFactory().post("/api/uploads/confirm"), scanner.Unavailable("refused"))

    assert answer is not None
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert b"The virus scanner does not answer" in answer.content
