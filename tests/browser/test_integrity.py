"""SHA-256 from the browser to the bucket: what arrives is what was chosen, byte for byte, or it does not count."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from playwright.sync_api import FilePayload, Page, Route, expect

from files.documents import File

from .conftest import (
    LISTEN,
    Held,
    Visit,
    Watch,
    a_file,
    bucket,
    button,
    choose,
    download,
    expect_failed,
    finished,
    hurry,
    row,
    said,
    status,
    until,
)

MIB = 1024 * 1024
LARGE = 9 * MIB + 1  # more than the browser reads at once: the worker's
SCRIPT = re.compile(r"/static/sha256\.\w+\.js$")
FLIPPED = "The bytes that arrived are not those that were sent."

# Around the ends of a block, of what fits in the last one beside the length, and of a piece.
SIZES = [1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 121, 127, 128, 129, 8191, MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 119]
BY_THE_WORKER = """async (sizes) => {
    const sumOf = (size) => new Promise((resolve) => {
        const worker = new Worker(document.querySelector("#uploader").dataset.hashUrl);
        worker.onmessage = ({ data }) => { if (data.sum) { worker.terminate(); resolve(data.sum); } };
        worker.postMessage(new File([Uint8Array.from({ length: size }, (_, place) => (place * 7 + size) % 251)], "a"));
    });
    const sums = [];
    for (const size of sizes) sums.push(await sumOf(size));
    return sums;
}"""
SLOW_DISK = """
    const read = Blob.prototype.arrayBuffer;
    Blob.prototype.arrayBuffer = async function () {
        await new Promise((resolve) => { setTimeout(resolve, 100); });
        return read.call(this);
    };
"""


def sum_of(file: FilePayload) -> str:
    return hashlib.sha256(file["buffer"]).hexdigest()


def kept(name: str) -> str | None:
    sha256: str | None = File.objects.ready().get(name=name).sha256
    return sha256


def choose_from_disk(page: Page, folder: Path, file: FilePayload) -> None:
    """As `choose`, which takes a second for some megabytes."""
    path = folder / file["name"]
    path.write_bytes(file["buffer"])
    page.locator("#chooser").set_input_files(path)


def slow_disk(page: Page) -> None:
    """A tenth of a second for every MiB that the worker reads."""

    def serve(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=SLOW_DISK + answer.text())

    page.route(SCRIPT, serve)


def test_the_worker_agrees_with_hashlib_around_the_ends_of_blocks_and_pieces(page: Page) -> None:
    expected = [hashlib.sha256(bytes((place * 7 + size) % 251 for place in range(size))).hexdigest() for size in SIZES]

    assert page.evaluate(BY_THE_WORKER, SIZES) == expected


def test_what_was_chosen_what_is_shown_and_what_is_downloaded_have_one_sum(page: Page, watch: Watch, tmp_path: Path) -> None:
    """A small one by the browser itself, without another request; a large one by the worker."""
    small, large = a_file("small.txt"), a_file("large.bin", LARGE)
    for file in (small, large):
        choose_from_disk(page, tmp_path, file)
        expect(finished(page, file["name"])).to_be_visible()
        assert kept(file["name"]) == sum_of(file)
        assert bool(watch.sent("GET", "/static/sha256")) == (file is large)

    finished(page, "large.bin").locator("a.name").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("SHA-256")).to_have_value(sum_of(large))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    dialog.get_by_role("button", name="Copy").click()
    expect(dialog.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()") == sum_of(large)
    _, body = download(page, dialog.get_by_role("link", name="Download"), tmp_path)
    assert hashlib.sha256(body).hexdigest() == sum_of(large)


def test_a_large_file_says_how_much_of_it_is_read_and_pause_and_cancel_stop_that(
    page: Page, watch: Watch, tmp_path: Path
) -> None:
    slow_disk(page)
    large = a_file("large.bin", LARGE)
    choose_from_disk(page, tmp_path, large)
    expect(status(row(page, "large.bin"))).to_have_text(re.compile(r"^Reading the file: [1-9]\d %$"))

    page.get_by_role("button", name="Pause").click()
    expect(status(row(page, "large.bin"))).to_have_text("Waiting for its turn")
    until(page, lambda: page.workers == [])
    page.get_by_role("button", name="Resume").click()
    expect(finished(page, "large.bin")).to_be_visible()
    assert kept("large.bin") == sum_of(large)
    percents = [int(words[1]) for it in said(page, "status") if (words := re.match(r"Reading the file: (\d+) %", it))]
    assert len(percents) >= 3

    choose_from_disk(page, tmp_path, a_file("second.bin", LARGE))
    expect(status(row(page, "second.bin"))).to_have_text(re.compile("^Reading"))
    button(row(page, "second.bin"), "Cancel").click()
    expect(row(page, "second.bin")).to_have_count(0)
    until(page, lambda: page.workers == [])
    assert len(watch.sent("POST", "/api/uploads/sign")) == 1


def test_bytes_that_flip_on_the_way_are_sent_again(page: Page, watch: Watch) -> None:
    watch.foresee("400")
    file = a_file()

    def flip(route: Route) -> None:
        route.continue_(post_data=b"!" + file["buffer"][1:])

    page.route(bucket(), flip, times=1)
    choose(page, file)

    expect(finished(page, "report.txt")).to_be_visible()
    assert f"{FLIPPED} Trying again in 1 s (1 of 5)." in said(page, "status")
    assert [it.sha256 for it in File.objects.ready()] == [sum_of(file)]
    until(page, lambda: File.objects.pending().count() == 0)


def test_a_file_that_changed_after_it_was_read_and_hides_it_is_read_again(page: Page, watch: Watch, tmp_path: Path) -> None:
    watch.foresee("400")
    chosen = tmp_path / "report.txt"
    chosen.write_text("as it was")
    as_it_was = chosen.stat()
    signing = Held(page, "**/api/uploads/sign", "POST")
    page.locator("#chooser").set_input_files(chosen)
    signing.wait_for()
    chosen.write_text("as it is ")
    os.utime(chosen, ns=(as_it_was.st_atime_ns, as_it_was.st_mtime_ns))

    signing.let_go()

    expect(finished(page, "report.txt")).to_be_visible()
    assert any(it.startswith(FLIPPED) for it in said(page, "status"))
    assert kept("report.txt") == hashlib.sha256(b"as it is ").hexdigest()


def test_a_file_that_is_gone_before_it_is_read_says_so_and_is_not_signed(page: Page, watch: Watch, tmp_path: Path) -> None:
    puts = Held(page, bucket())
    choose(page, *[a_file(f"{number}.txt") for number in range(4)])
    puts.wait_for(4)
    chosen = tmp_path / "gone.txt"
    chosen.write_text("as it was")
    page.locator("#chooser").set_input_files(chosen)
    expect(row(page, "gone.txt")).to_be_visible()
    chosen.unlink()

    puts.let_go()

    expect_failed(
        row(page, "gone.txt"), "The file could not be read; it may have changed or moved. Remove it and choose it again."
    )
    assert len(watch.sent("POST", "/api/uploads/sign")) == 4


def test_a_file_over_the_setting_is_sent_without_a_sum(visit: Visit, alice: User, watch: Watch, settings: Any) -> None:
    settings.HASH_MAX_SIZE = 9000
    page = visit(alice)
    choose(page, a_file("at.txt", 9000), a_file("over.txt", 9001))

    for name in ("at.txt", "over.txt"):
        expect(finished(page, name)).to_be_visible()
    assert kept("at.txt") == sum_of(a_file(size=9000))
    assert kept("over.txt") is None
    page.goto(f"/files/{File.objects.get(name='over.txt').key}/")
    expect(page.get_by_label("SHA-256")).to_have_count(0)


def test_where_the_worker_cannot_start_the_upload_goes_on_without_a_sum(page: Page, watch: Watch, tmp_path: Path) -> None:
    watch.foresee("ERR_FAILED")
    page.route(SCRIPT, lambda route: route.abort())
    choose_from_disk(page, tmp_path, a_file("large.bin", LARGE))

    expect(finished(page, "large.bin")).to_be_visible()
    assert kept("large.bin") is None


def test_a_site_without_tls_has_no_webcrypto_and_sums_all_by_the_worker(page: Page, watch: Watch) -> None:
    page.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined });")
    page.reload()
    page.evaluate(LISTEN)
    hurry(page)
    choose(page, a_file())

    expect(finished(page, "report.txt")).to_be_visible()
    assert kept("report.txt") == sum_of(a_file())
    assert len(watch.sent("GET", "/static/sha256")) == 1
