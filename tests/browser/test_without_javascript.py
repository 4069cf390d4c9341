"""All but the upload itself works without JavaScript."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from files.documents import File, Status

from .conftest import Visit, download, names
from .test_list import ready


@pytest.fixture
def plain(visit: Visit, alice: User, cast: Any) -> Page:
    cast.upload(alice, b"%PDF-1.7", filename="Übersicht.pdf")
    return visit(alice, java_script_enabled=False)


def test_it_is_said_that_uploading_needs_javascript(plain: Page) -> None:
    expect(plain.locator("noscript p")).to_be_visible()
    assert plain.locator("noscript p").inner_text().startswith("Uploading needs JavaScript.")
    expect(plain.locator("#chooser")).to_be_hidden()
    expect(plain.locator(".drop")).to_be_hidden()


def test_files_are_listed_shown_and_downloaded(plain: Page, tmp_path: Path) -> None:
    assert names(plain) == ["Übersicht.pdf"]
    saved = ("Übersicht.pdf", b"%PDF-1.7")
    assert download(plain, plain.get_by_role("link", name="Download Übersicht.pdf"), tmp_path) == saved

    plain.get_by_role("link", name="Übersicht.pdf", exact=True).click()
    expect(plain.get_by_role("heading")).to_have_text("Übersicht.pdf")
    expect(plain.get_by_title("Übersicht.pdf")).to_be_visible()
    assert download(plain, plain.get_by_role("link", name="Download"), tmp_path) == saved
    plain.get_by_role("link", name="Back to your files").click()
    expect(plain).to_have_url("/files/")


def test_delete_asks_on_a_page_of_its_own(plain: Page) -> None:
    plain.get_by_role("link", name="Delete Übersicht.pdf").click()
    expect(plain.get_by_role("heading")).to_have_text("Delete Übersicht.pdf?")
    plain.get_by_role("link", name="Keep it").click()
    assert names(plain) == ["Übersicht.pdf"]

    plain.get_by_role("link", name="Delete Übersicht.pdf").click()
    plain.get_by_role("button", name="Delete").click()
    expect(plain.get_by_role("heading")).to_have_text("Deleted")
    assert File.objects.ready().count() == 0
    plain.get_by_role("button", name="Undo").click()
    expect(plain).to_have_url("/files/")
    assert names(plain) == ["Übersicht.pdf"]


def test_several_are_deleted_at_once(visit: Visit, alice: User) -> None:
    ready(alice, 3)
    page = visit(alice, java_script_enabled=False)

    page.get_by_role("checkbox", name="Select file 000.txt").check()
    page.get_by_role("checkbox", name="Select file 001.txt").check()
    page.get_by_role("form", name="Selected files").get_by_role("button", name="Delete").click()

    expect(page.locator("main")).to_contain_text("2 files are deleted.")
    page.get_by_role("link", name="Back to your files").click()
    assert names(page) == ["file 002.txt"]


def test_a_search_and_a_new_name_have_their_pages(visit: Visit, alice: User) -> None:
    ready(alice, 3)
    page = visit(alice, java_script_enabled=False)

    page.get_by_role("searchbox").fill("002")
    page.get_by_role("button", name="Search").click()
    assert names(page) == ["file 002.txt"]
    page.get_by_role("link", name="Rename file 002.txt").click()
    page.get_by_label("New name").fill("plan.txt")
    page.get_by_role("button", name="Save").click()
    assert sorted(names(page)) == ["file 000.txt", "file 001.txt", "plan.txt"]


def test_older_files_have_pages_of_their_own(visit: Visit, alice: User) -> None:
    ready(alice, 120)
    page = visit(alice, java_script_enabled=False)

    seen = names(page)
    for _ in range(2):
        page.get_by_role("link", name="Show more files").click()
        seen += names(page)
    expect(page.get_by_role("link", name="Show more files")).to_have_count(0)
    assert seen == [file.name for file in File.objects.order_by("-ready_at", "-key")]

    page.get_by_role("link", name="Back to the first files").click()
    assert names(page) == seen[:50]


def test_what_is_unfinished_is_finished_and_discarded_on_a_page_of_its_own(visit: Visit, alice: User, cast: Any) -> None:
    cast.put(cast.sign(alice, filename="arrived.pdf"))
    cast.sign(alice, filename="missing.pdf")
    page = visit(alice, java_script_enabled=False)

    page.get_by_role("link", name="Finish or discard them").click()
    page.get_by_role("button", name="Finish arrived.pdf").click()
    expect(page).to_have_url("/files/")
    assert names(page) == ["arrived.pdf"]

    page.get_by_role("link", name="Finish or discard them").click()
    page.get_by_role("button", name="Discard missing.pdf").click()
    expect(page.locator("#unfinished")).to_have_count(0)
    assert names(page) == ["arrived.pdf"]


def test_what_was_rejected_says_why_and_is_dismissed(visit: Visit, alice: User, cast: Any) -> None:
    file = cast.upload(alice, b"\x89PNG\r\n\x1a\n", filename="cat.png", content_type="image/png")
    page = visit(alice, java_script_enabled=False)
    expect(page.locator(".rejected")).to_contain_text("The picture is damaged or incomplete. Save it anew, and upload that.")

    page.get_by_role("button", name="Dismiss cat.png").click()

    expect(page).to_have_url("/files/")
    expect(page.locator(".rejected")).to_have_count(0)
    assert File.objects.get(key=file.key).status == Status.REJECTED


def test_signing_out(plain: Page) -> None:
    plain.get_by_role("button", name="Sign out").click()
    expect(plain).to_have_url("/")

    plain.goto("/files/")
    expect(plain).to_have_url("/login?next=/files/")
