"""Where files come from: beside the button and the drop, the clipboard and folders."""

import re
from datetime import datetime
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from files.documents import File

from .conftest import Visit, finished, names
from .test_checks import a_picture
from .test_keyboard import tab_to

PASTE = """([name, kind, bytes]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(bytes)], name, { type: kind }));
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
}"""

COPY_A_CELL = """([text, picture]) => navigator.clipboard.write([new ClipboardItem({
    "text/plain": new Blob([text], { type: "text/plain" }),
    "image/png": new Blob([Uint8Array.from(picture)], { type: "image/png" }),
})])"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As somebody has them: files side by side with folders."""
    top = tmp_path / "Garden 2026"
    (top / "plans" / "old").mkdir(parents=True)
    (top / "notes.txt").write_text("roses")
    (top / "plans" / "north.txt").write_text("north")
    (top / "plans" / "old" / "south.txt").write_text("south")
    return top


IN_THE_FOLDER = ["Garden 2026 › notes.txt", "Garden 2026 › plans › north.txt", "Garden 2026 › plans › old › south.txt"]


@pytest.mark.usefixtures("worker")
def test_a_screenshot_that_is_pasted_gets_a_dated_name(page: Page) -> None:
    page.clock.set_fixed_time(datetime(2026, 11, 24, 14, 5, 9))  # noqa: DTZ001  the clock on the wall

    page.evaluate(PASTE, ["image.png", "image/png", list(a_picture()["buffer"])])

    expect(finished(page, "Screenshot 2026-11-24 at 14.05.09.png")).to_be_visible()


def test_a_file_that_is_pasted_keeps_its_name_and_text_is_no_upload(page: Page) -> None:
    page.evaluate("""() => {
        const clipboardData = new DataTransfer();
        clipboardData.setData("text/plain", "words");
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
    }""")
    page.evaluate(PASTE, ["report.pdf", "application/pdf", list(b"%PDF-1.7")])

    expect(finished(page, "report.pdf")).to_be_visible()
    assert names(page) == ["report.pdf"]


@pytest.mark.usefixtures("worker")
def test_a_cell_of_a_spreadsheet_is_text_in_a_field_and_a_picture_on_the_page(visit: Visit, alice: User) -> None:
    page = visit(alice, permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(COPY_A_CELL, ["words", list(a_picture()["buffer"])])

    page.get_by_role("searchbox").focus()
    page.keyboard.press("Control+v")
    expect(page.get_by_role("searchbox")).to_have_value("words")
    expect(page.locator("[data-upload]")).to_have_count(0)
    page.get_by_role("searchbox").fill("")

    page.locator("#chooser").focus()
    page.keyboard.press("Control+v")
    expect(page.get_by_role("link", name=re.compile("^Screenshot 2"))).to_be_visible()
    assert File.objects.count() == 1


def test_a_folder_that_is_chosen_keeps_its_paths_in_the_names(page: Page, folder: Path) -> None:
    tab_to(page, "#folder-chooser", ".other-ways .like-link")
    page.locator("#folder-chooser").set_input_files(folder)

    expect(page.locator("#files > .file")).to_have_count(3)
    assert sorted(names(page)) == IN_THE_FOLDER
    page.reload()
    assert sorted(names(page)) == IN_THE_FOLDER


def test_a_folder_and_a_file_that_are_dropped_anywhere_are_sent_too(page: Page, folder: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside.txt"
    beside.write_text("beside")
    for number in range(150):  # browsers tell of a hundred at a time
        (folder / "plans" / f"{number:03}.txt").write_text("tiny")
    browser = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder), str(beside)], "dragOperationsMask": 1}
    for event in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": event, "x": 400, "y": 30, "data": data})

    expect(page.locator("#files > .file")).to_have_count(154, timeout=60_000)
    assert {*IN_THE_FOLDER, "beside.txt", "Garden 2026 › plans › 149.txt"} <= set(names(page))


def test_a_path_that_is_too_long_for_a_name_loses_its_outermost_folders(page: Page, tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100) / ("c" * 100)
    deep.mkdir(parents=True)
    (deep / "report.txt").write_text("deep")

    page.locator("#folder-chooser").set_input_files(tmp_path / ("a" * 100))

    expect(finished(page, f"{'b' * 100} › {'c' * 100} › report.txt")).to_be_visible()
