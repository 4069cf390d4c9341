"""What axe-core finds on every page and dialog, light and dark; and the whole of it by keyboard alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Download, FileChooser, Page, expect

from files import shares
from files.documents import File
from tests.operations import a_month

from . import test_checks
from .conftest import SHIFTS, Held, Visit, Watch, a_file, bucket, choose, finished, row, until
from .test_keyboard import tab_to
from .test_list import files, ready

axe = Axe()


def faults(page: Page) -> list[str]:
    """What axe-core says is wrong, each with the element."""
    found = axe.run(page).response["violations"]
    return [f"{it['id']}: {it['help']}: {node['html'][:200]}" for it in found for node in it["nodes"]]


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Literal["light", "dark"]:
    scheme: Literal["light", "dark"] = request.param
    return scheme


def test_pages_of_a_stranger(visit: Visit, alice: User, cast: Any, watch: Watch, scheme: Literal["light", "dark"]) -> None:
    watch.foresee("404")
    file = cast.upload(alice)
    plain = shares.create(str(alice.pk), file.key, lives=timedelta(days=1))
    locked = shares.create(str(alice.pk), file.key, lives=timedelta(days=1), password="open sesame")
    page = visit(None, None, color_scheme=scheme)

    for path in ("/", "/login", "/nothing-here", f"/s/{plain.token}", f"/s/{locked.token}"):
        page.goto(path)
        assert faults(page) == [], path


def test_the_list_in_all_its_states(
    visit: Visit, alice: User, cast: Any, watch: Watch, scheme: Literal["light", "dark"]
) -> None:
    page = visit(alice, color_scheme=scheme)
    assert faults(page) == [], "empty"

    cast.sign(alice, filename="unfinished.pdf")
    ready(alice, 3)
    page.reload()
    puts = Held(page, bucket())
    choose(page, a_file("going.txt"), *[a_file(f"{number}.txt") for number in range(6)])
    puts.wait_for(4)
    page.get_by_role("checkbox", name="Select file 001.txt").check()
    page.get_by_role("link", name="Rename file 002.txt").click()
    expect(page.get_by_role("textbox", name="New name of file 002.txt")).to_be_focused()
    assert faults(page) == [], "uploading, selected, renaming, unfinished"

    page.get_by_role("form", name="Selected files").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").get_by_role("button", name="Undo")).to_be_visible()
    page.get_by_role("searchbox").fill("nothing such")
    expect(page.locator("#files").get_by_text("No file of yours")).to_be_visible()
    assert faults(page) == [], "deleted, and nothing found"
    puts.let_go()


def test_files_that_are_checked_or_rejected_and_the_uploader_of_a_policy(
    visit: Visit, alice: User, watch: Watch, settings: Any, scheme: Literal["light", "dark"]
) -> None:
    watch.foresee("422")
    page = visit(alice, color_scheme=scheme, reduced_motion="reduce")
    choose(page, test_checks.a_broken_picture())
    expect(page.locator(".checking")).to_have_count(1)
    test_checks.check()
    expect(page.locator(".rejected")).to_have_count(1)
    choose(page, test_checks.a_picture(), test_checks.a_page("page.png"))
    expect(page.locator(".checking")).to_have_count(1)
    expect(page.locator("[data-state=failed]")).to_have_count(1)
    assert faults(page) == [], "checked, rejected, rejected on arrival"
    test_checks.check()
    expect(page.locator("img.picture")).to_be_visible()

    settings.ROOT_URLCONF = test_checks.__name__
    page.goto("/avatars/")
    assert faults(page) == [], "the uploader of a policy"


def test_dialogs_and_pages_of_one_file(visit: Visit, alice: User, cast: Any, scheme: Literal["light", "dark"]) -> None:
    file = cast.upload(alice, b"plain text", filename="notes.txt", content_type="text/plain")
    shares.create(str(alice.pk), file.key, lives=timedelta(days=1))
    page = visit(alice, color_scheme=scheme)

    for name in ("notes.txt", "Share notes.txt"):
        link = page.get_by_role("link", name=name, exact=True)
        link.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert faults(page) == [], name
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(link).to_be_focused()
    for path in ("", "share", "rename", "delete"):
        page.goto(f"/files/{file.key}/{path}")
        assert faults(page) == [], path


@pytest.mark.django_db(transaction=True, databases=["default", "mongo"])
def test_the_dashboard(visit: Visit, ops: User, alice: User, bob: User, scheme: Literal["light", "dark"]) -> None:
    a_month(alice, bob)
    page = visit(ops, "/admin/", color_scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()

    assert faults(page) == []
    assert page.get_by_role("img", name="Uploads a day").count() == 1


def test_a_file_is_uploaded_looked_at_renamed_shared_downloaded_deleted_and_brought_back_by_keyboard_alone(
    page: Page, alice: User, tmp_path: Path
) -> None:
    opened: list[FileChooser] = []
    came: list[Download] = []

    def choosing(chooser: FileChooser) -> None:
        opened.append(chooser)

    def coming(download: Download) -> None:
        came.append(download)

    page.on("filechooser", choosing)
    page.on("download", coming)
    tab_to(page, "#chooser")
    page.keyboard.press("Space")
    until(page, lambda: opened)
    opened[0].set_files([a_file("one.txt"), a_file("two.txt")])
    for name in ("one.txt", "two.txt"):
        expect(finished(page, name)).to_be_visible()

    tab_to(page, "[name=q]")
    page.keyboard.type("two")
    expect(files(page)).to_have_count(1)

    tab_to(page, "#files a.name")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#files a.name")).to_be_focused()

    tab_to(page, "#files [href$='/download']")
    page.keyboard.press("Enter")
    until(page, lambda: came)
    assert came[0].suggested_filename == "two.txt"

    tab_to(page, "#files [href$='/share']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    tab_to(page, "dialog form button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Copy")).to_be_visible()
    page.keyboard.press("Escape")

    tab_to(page, "#files [href$='/rename']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="New name of two.txt")).to_be_focused()
    page.keyboard.type("second")
    page.keyboard.press("Enter")
    expect(finished(page, "second.txt")).to_be_visible()

    tab_to(page, "#files [name=key]")
    page.keyboard.press("Space")
    tab_to(page, "#selection button:not([type])")
    page.keyboard.press("Enter")
    expect(files(page)).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(finished(page, "second.txt")).to_be_visible()
    assert sorted(file.name for file in File.objects.ready()) == ["one.txt", "second.txt"]


# --- nothing jumps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_jumps_while_rows_come_and_go(visit: Visit, alice: User, width: int) -> None:
    ready(alice, 120)
    page = visit(alice, viewport={"width": width, "height": 800})
    page.evaluate(SHIFTS)
    page.wait_for_timeout(600)  # what comes within half a second of a click or a key counts as its
    assert page.evaluate("() => window.shifts") == [], "while the page loads"
    signing, confirming = Held(page, "**/api/uploads/sign", "POST"), Held(page, "**/files/confirm", "POST")

    # The rows of what somebody just chose push the list down; from then on nothing moves.
    choose(page, a_file("one.txt"), a_file("two.txt"))
    signing.wait_for(2)
    page.wait_for_timeout(600)
    page.evaluate("() => { window.shifts = []; }")
    signing.let_go()
    confirming.wait_for(2)
    confirming.let_go()
    for name in ("one.txt", "two.txt"):
        expect(finished(page, name)).to_be_visible()
    page.keyboard.press("End")
    expect(files(page)).to_have_count(102)
    page.wait_for_timeout(600)

    assert page.evaluate("() => window.shifts") == []
    expect(row(page, "one.txt")).to_have_count(1)
