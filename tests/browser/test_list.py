"""The list of files, as somebody with JavaScript sees it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Dialog, Page, expect

from files import names as file_names
from files import storage, uploads
from files.documents import File, Status

from .conftest import (
    Site,
    Visit,
    Watch,
    a_file,
    choose,
    download,
    end_sessions,
    finished,
    names,
    refuse,
    sign_in,
    until,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ready(owner: User, count: int, *, since: datetime = NOON, prefix: str = "file") -> list[str]:
    """Files that are listed, oldest first, by their names. The bucket knows nothing of them."""
    listed = [f"{prefix} {number:03}.txt" for number in range(count)]
    File.objects.insert(
        [
            File(
                key=file_names.new_key(str(owner.pk), name),
                owner_id=str(owner.pk),
                name=name,
                content_type="text/plain",
                size=number + 1,
                status=Status.READY,
                created_at=since + timedelta(seconds=number),
                # Pairs share a moment, so that the key has to decide.
                ready_at=since + timedelta(seconds=number // 2),
            )
            for number, name in enumerate(listed)
        ]
    )
    return listed


def show_older(page: Page) -> None:
    page.get_by_role("link", name="Show older files").click()


def answer(page: Page, *, accept: bool) -> list[str]:
    """Answer the next question of the browser; what it asked is in the list."""
    asked: list[str] = []

    def handle(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if accept else dialog.dismiss()

    page.once("dialog", handle)
    return asked


def test_a_stranger_is_sent_to_sign_in(visit: Visit) -> None:
    page = visit(None)

    expect(page).to_have_url("/login?next=/files/")
    expect(page.get_by_role("button", name="Sign in with GitHub")).to_be_visible()


def test_an_empty_list_says_so_until_there_is_a_file(page: Page) -> None:
    empty = page.get_by_text("Nothing here yet.")
    expect(empty).to_be_visible()
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    expect(empty).to_be_hidden()

    answer(page, accept=True)
    page.get_by_role("link", name="Delete report.txt").click()
    expect(finished(page, "report.txt")).to_have_count(0)
    expect(empty).to_be_visible()


def test_nobody_sees_the_files_of_somebody_else(visit: Visit, alice: User, bob: User) -> None:
    ready(bob, 3)

    assert names(visit(alice)) == []
    assert len(names(visit(bob))) == 3


def test_older_files_come_page_by_page_into_the_same_list(visit: Visit, alice: User) -> None:
    ready(alice, 120)
    page = visit(alice)
    files = page.locator("#files > .file")
    expect(files).to_have_count(50)

    show_older(page)
    expect(files).to_have_count(100)
    show_older(page)
    expect(files).to_have_count(120)

    expect(page.get_by_role("link", name="Show older files")).to_have_count(0)
    in_order = [file.name for file in File.objects.order_by("-ready_at", "-key")]
    assert names(page) == in_order
    expect(page).to_have_url("/files/")


def test_paging_skips_no_file_while_others_come_and_go(visit: Visit, alice: User) -> None:
    ready(alice, 120)
    page = visit(alice)
    first_page = names(page)

    # The very file that the next page starts behind, and one above it; and two new ones.
    uploads.trash(str(alice.pk), [File.objects.get(name=first_page[49]).key])
    uploads.trash(str(alice.pk), [File.objects.get(name=first_page[0]).key])
    ready(alice, 2, since=NOON + timedelta(days=1), prefix="later")
    show_older(page)
    expect(page.locator("#files > .file")).to_have_count(100)
    show_older(page)
    expect(page.locator("#files > .file")).to_have_count(120)

    seen = names(page)
    assert len(set(seen)) == 120
    assert sorted(seen) == [f"file {number:03}.txt" for number in range(120)]


def test_a_page_of_older_files_that_does_not_come_is_said_and_can_be_asked_for_again(
    visit: Visit, alice: User, watch: Watch
) -> None:
    watch.foresee("503")
    ready(alice, 60)
    page = visit(alice)
    refuse(page, "**/files/?after=*", 503, "MongoDB does not answer.")

    show_older(page)
    expect(page.get_by_role("alert")).to_contain_text("MongoDB does not answer.")
    show_older(page)
    expect(page.locator("#files > .file")).to_have_count(60)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_delete_asks_first_and_no_means_no(page: Page, watch: Watch) -> None:
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()

    asked = answer(page, accept=False)
    page.get_by_role("link", name="Delete report.txt").click()

    until(page, lambda: asked)
    assert asked == ["Delete report.txt? This cannot be undone."]
    expect(finished(page, "report.txt")).to_be_visible()
    assert watch.sent("POST", "/delete") == []


def test_delete_takes_the_row_and_the_object_away(page: Page) -> None:
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    (file,) = File.objects.ready()

    answer(page, accept=True)
    page.get_by_role("link", name="Delete report.txt").click()

    expect(finished(page, "report.txt")).to_have_count(0)
    until(page, lambda: storage.head(file.key) is None)
    page.reload()
    assert names(page) == []


def test_a_delete_that_fails_keeps_the_row_and_says_why(page: Page, watch: Watch) -> None:
    watch.foresee("503")
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    refuse(page, "**/delete", 503, "MongoDB does not answer.")

    answer(page, accept=True)
    page.get_by_role("link", name="Delete report.txt").click()

    expect(page.get_by_role("alert")).to_contain_text("MongoDB does not answer.")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(finished(page, "report.txt")).to_be_visible()


def test_what_went_wrong_is_seen_far_down_the_list(visit: Visit, alice: User, watch: Watch) -> None:
    watch.foresee("503")
    ready(alice, 50)
    page = visit(alice)
    refuse(page, "**/delete", 503, "MongoDB does not answer.")

    answer(page, accept=True)
    page.get_by_role("link", name="Delete file 000.txt").click()

    expect(page.get_by_role("alert")).to_contain_text("MongoDB does not answer.")
    expect(page.get_by_role("alert")).to_be_in_viewport()


@pytest.mark.parametrize("act", ["Delete file 000.txt", "Show older files"])
def test_a_session_that_ended_offers_to_sign_in(visit: Visit, alice: User, watch: Watch, open_site: Site, act: str) -> None:
    watch.foresee("401")
    ready(alice, 1 if act.startswith("Delete") else 60)
    page = visit(alice)
    end_sessions()

    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name=act).click()

    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("You are signed out. Sign in, then try again.")
    with page.context.expect_page() as opened:
        notice.get_by_role("link", name="Sign in").click()
    expect(opened.value.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_download_after_the_session_ended_goes_to_sign_in(page: Page, tmp_path: Path) -> None:
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    end_sessions()
    saved: list[str] = []
    page.on("download", lambda it: saved.append(it.suggested_filename))

    finished(page, "report.txt").locator("a.name").click()

    until(page, lambda: saved or page.url.partition("?")[0].endswith("/login"))
    assert saved == [], "the page to sign in was saved as if it were the file"


def test_a_file_is_downloaded_and_not_shown(page: Page, tmp_path: Path) -> None:
    html = a_file("page.html", kind="text/html")
    choose(page, html)
    expect(finished(page, "page.html")).to_be_visible()

    saved_as, body = download(page, finished(page, "page.html").locator("a.name"), tmp_path)

    assert (saved_as, body) == ("page.html", html["buffer"])
    expect(page).to_have_url("/files/")


def test_a_name_that_is_html_is_text_in_the_question_too(page: Page) -> None:
    name = '<b>bold "quoted".txt'
    choose(page, a_file(name))
    expect(finished(page, name)).to_be_visible()

    asked = answer(page, accept=False)
    finished(page, name).get_by_role("link", name="Delete").click()
    until(page, lambda: asked)

    assert asked == [f"Delete {name}? This cannot be undone."]


def test_signing_in_elsewhere_as_somebody_else_shows_no_file_of_the_first(
    page: Page, bob: User, watch: Watch, open_site: Site
) -> None:
    watch.foresee("404")
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    sign_in(page.context, bob, open_site)

    answer(page, accept=True)
    page.get_by_role("link", name="Delete report.txt").click()

    expect(page.get_by_role("alert")).to_contain_text("There is no such file among yours.")
    assert File.objects.ready().count() == 1
