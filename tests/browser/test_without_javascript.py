"""All but the upload itself works without JavaScript."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from files.documents import File

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


def test_files_are_listed_and_downloaded(plain: Page, tmp_path: Path) -> None:
    assert names(plain) == ["Übersicht.pdf"]
    assert download(plain, plain.get_by_role("link", name="Übersicht.pdf", exact=True), tmp_path) == (
        "Übersicht.pdf",
        b"%PDF-1.7",
    )


def test_delete_asks_on_a_page_of_its_own(plain: Page) -> None:
    plain.get_by_role("link", name="Delete Übersicht.pdf").click()
    expect(plain.get_by_role("heading")).to_have_text("Delete Übersicht.pdf?")
    plain.get_by_role("link", name="Keep it").click()
    assert names(plain) == ["Übersicht.pdf"]

    plain.get_by_role("link", name="Delete Übersicht.pdf").click()
    plain.get_by_role("button", name="Delete").click()
    expect(plain).to_have_url("/files/")
    assert names(plain) == []
    assert File.objects.ready().count() == 0


def test_older_files_have_pages_of_their_own(visit: Visit, alice: User) -> None:
    ready(alice, 120)
    page = visit(alice, java_script_enabled=False)

    seen = names(page)
    for _ in range(2):
        page.get_by_role("link", name="Show older files").click()
        seen += names(page)
    expect(page.get_by_role("link", name="Show older files")).to_have_count(0)
    assert seen == [file.name for file in File.objects.order_by("-ready_at", "-key")]

    page.get_by_role("link", name="Back to the newest files").click()
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


def test_signing_out(plain: Page) -> None:
    plain.get_by_role("button", name="Sign out").click()
    expect(plain).to_have_url("/")

    plain.goto("/files/")
    expect(plain).to_have_url("/login?next=/files/")
