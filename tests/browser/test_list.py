"""The list of files, as somebody with JavaScript sees it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Download, Locator, Page, Route, expect

from files import names as file_names
from files import storage, sweeps, uploads
from files.documents import File, Status, name_fields

from .conftest import (
    Held,
    Site,
    Visit,
    Watch,
    a_file,
    bucket,
    choose,
    download,
    end_sessions,
    finished,
    names,
    refuse,
    row,
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
                **name_fields(name),
                kind="document",
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


def show_more(page: Page) -> None:
    """By scrolling to where they would be."""
    page.keyboard.press("End")


def files(page: Page) -> Locator:
    return page.locator("#files > .file:visible")


def box(page: Page, name: str) -> Locator:
    return page.get_by_role("checkbox", name=f"Select {name}")


def delete(page: Page, name: str) -> None:
    page.get_by_role("link", name=f"Delete {name}").click()


def undo(page: Page) -> Locator:
    return page.get_by_role("status").get_by_role("button", name="Undo")


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

    delete(page, "report.txt")
    expect(finished(page, "report.txt")).to_have_count(0)
    expect(empty).to_be_visible()


def test_nobody_sees_the_files_of_somebody_else(visit: Visit, alice: User, bob: User) -> None:
    ready(bob, 3)

    assert names(visit(alice)) == []
    assert len(names(visit(bob))) == 3


def test_more_files_come_as_somebody_scrolls_each_once(visit: Visit, alice: User) -> None:
    ready(alice, 120)
    page = visit(alice)
    expect(files(page)).to_have_count(50)

    page.keyboard.press("End")
    expect(files(page)).to_have_count(100)
    page.keyboard.press("End")
    expect(files(page)).to_have_count(120)

    expect(page.get_by_role("link", name="Show more files")).to_have_count(0)
    assert names(page) == [file.name for file in File.objects.order_by("-ready_at", "-key")]
    expect(page).to_have_url("/files/")


def test_paging_skips_no_file_while_others_come_and_go(visit: Visit, alice: User) -> None:
    ready(alice, 120)
    page = visit(alice)
    first_page = names(page)

    # The very file that the next page starts behind, and one above it; and two new ones.
    gone = [File.objects.get(name=first_page[place]).key for place in (49, 0)]
    assert uploads.trash(str(alice.pk), gone) == 2
    ready(alice, 2, since=NOON + timedelta(days=1), prefix="later")
    show_more(page)
    expect(files(page)).to_have_count(100)
    page.keyboard.press("End")
    expect(files(page)).to_have_count(120)

    seen = names(page)
    assert len(set(seen)) == 120
    assert sorted(seen) == [f"file {number:03}.txt" for number in range(120)]


def test_more_files_that_do_not_come_are_said_and_can_be_asked_for_again(visit: Visit, alice: User, watch: Watch) -> None:
    watch.foresee("503")
    ready(alice, 60)
    page = visit(alice)
    refuse(page, "**/files/?after=*", 503, "MongoDB does not answer.")

    show_more(page)
    expect(page.get_by_role("alert")).to_contain_text("MongoDB does not answer.")
    page.get_by_role("link", name="Show more files").click()
    expect(files(page)).to_have_count(60)
    expect(page.get_by_role("alert")).to_be_hidden()


# --- search, kind, order ------------------------------------------------------------------------------------------------


def test_what_is_searched_filtered_and_sorted_is_in_the_address_and_back_works(visit: Visit, alice: User) -> None:
    ready(alice, 60)
    ready(alice, 3, prefix="Über")
    File.objects(name="Über 002.txt").update(kind="image")
    page = visit(alice)

    page.get_by_role("searchbox").press_sequentially("uber")
    expect(files(page)).to_have_count(3)
    expect(page).to_have_url("/files/?q=uber")
    page.get_by_label("Kind").select_option("Images")
    expect(files(page)).to_have_count(1)
    expect(page).to_have_url("/files/?q=uber&kind=image")
    page.get_by_role("searchbox").fill("zzz")
    expect(page.locator("#files").get_by_text("No file of yours has a word that begins with “zzz”.")).to_be_visible()
    assert list(dict.fromkeys(page.locator("#announcer p").all_inner_texts())) == [  # a slow typist is answered in between
        "3 files are listed",
        "1 file is listed",
        "No file of yours has a word that begins with “zzz”.",
    ]

    page.go_back()
    expect(files(page)).to_have_count(1)
    page.go_back()
    expect(files(page)).to_have_count(3)
    expect(page.get_by_label("Kind")).to_have_value("")
    page.go_back()
    expect(files(page)).to_have_count(50)
    expect(page.locator("#announcer p").last).to_have_text("The first 50 files are listed")
    expect(page.get_by_role("searchbox")).to_have_value("")

    page.get_by_label("Order").select_option("Largest first")
    expect(page).to_have_url("/files/?sort=size")
    expect(files(page).first.locator(".name")).to_have_text("file 059.txt")
    page.reload()
    expect(page.get_by_label("Order")).to_have_value("size")
    page.keyboard.press("End")
    expect(files(page)).to_have_count(63)
    assert names(page)[:60] == [f"file {number:03}.txt" for number in reversed(range(3, 60))] + names(page)[57:60]


def test_of_two_searches_the_later_counts_whichever_is_answered_first(visit: Visit, alice: User) -> None:
    ready(alice, 3)
    ready(alice, 2, prefix="other")
    page = visit(alice)
    first = Held(page, "**/files/?q=file", "GET")

    page.get_by_role("searchbox").fill("file")
    first.wait_for()
    page.get_by_role("searchbox").fill("other")
    until(page, lambda: page.url.endswith("?q=other"))
    first.let_go()

    expect(files(page)).to_have_count(2)
    page.wait_for_load_state("networkidle")
    assert all(name.startswith("other") for name in names(page))


def test_a_search_leaves_uploads_under_way_alone(page: Page) -> None:
    puts = Held(page, bucket())
    choose(page, a_file("going.txt"))
    puts.wait_for()

    page.get_by_role("searchbox").fill("zzz")
    expect(page).to_have_url("/files/?q=zzz")
    expect(row(page, "going.txt")).to_be_visible()
    puts.let_go()
    expect(finished(page, "going.txt")).to_be_visible()


# --- deletion -----------------------------------------------------------------------------------------------------------


def test_what_is_confirmed_while_a_search_is_answered_stays_on_the_list_once(page: Page, alice: User) -> None:
    ready(alice, 1)
    page.reload()
    searches, answers = [], []

    def answer_later(route: Route) -> None:
        searches.append(route)
        answers.append(route.fetch())

    page.route("**/files/?q=*", answer_later)
    page.get_by_role("searchbox").fill("file")
    until(page, lambda: len(answers) == 1)
    choose(page, a_file("report.txt"))
    expect(finished(page, "report.txt")).to_be_visible()

    searches[0].fulfill(response=answers[0])
    expect(files(page).locator(".name")).to_have_text(["report.txt", "file 000.txt"])


def test_a_search_that_failed_is_asked_again_by_enter(visit: Visit, alice: User, watch: Watch) -> None:
    watch.foresee("503")
    ready(alice, 3)
    page = visit(alice)
    refuse(page, "**/files/?q=001", 503, "MongoDB does not answer.")
    search = page.get_by_role("searchbox")
    search.fill("001")
    expect(page.get_by_role("alert")).to_contain_text("MongoDB does not answer.")

    search.press("Enter")
    expect(files(page)).to_have_count(1)
    search.clear()
    expect(files(page)).to_have_count(3)
    page.go_back()
    expect(files(page)).to_have_count(1)


def test_what_was_uploaded_on_top_is_listed_once_when_its_own_place_comes(page: Page, alice: User) -> None:
    ready(alice, 60)
    page.goto("/files/?sort=name")
    choose(page, a_file("zebra.txt"))
    expect(finished(page, "zebra.txt")).to_be_visible()

    show_more(page)
    expect(finished(page, "file 059.txt")).to_be_visible()
    assert names(page).count("zebra.txt") == 1


def test_a_deletion_can_be_undone_for_ten_seconds(visit: Visit, alice: User) -> None:
    ready(alice, 3)
    page = visit(alice)
    before = names(page)

    delete(page, "file 001.txt")
    expect(files(page)).to_have_count(2)
    expect(page.get_by_role("status")).to_contain_text("The file is deleted.")
    undo(page).click()

    expect(files(page)).to_have_count(3)
    expect(page.get_by_role("status")).to_contain_text("The file is back.")
    assert names(page) == before
    assert File.objects.ready().count() == 3


def test_a_deletion_that_is_not_undone_takes_the_object_also_when_the_browser_is_closed(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    (file,) = File.objects.ready()

    delete(page, "report.txt")
    expect(undo(page)).to_be_visible()
    page.close()
    assert storage.head(file.key) is not None
    monkeypatch.setattr(sweeps, "TRASH_LIVES", timedelta(0))
    sweeps.empty_trash()

    assert storage.head(file.key) is None
    assert File.objects.count() == 0


def test_undo_goes_when_its_time_is_over_and_leaves_the_focus_by_the_place_of_the_file(visit: Visit, alice: User) -> None:
    ready(alice, 3)
    page = visit(alice, None)
    page.clock.install()
    page.goto("/files/")

    delete(page, "file 001.txt")
    expect(undo(page)).to_be_visible()
    undo(page).focus()
    page.clock.run_for(10_500)

    expect(undo(page)).to_have_count(0)
    expect(page.locator("#files > .file")).to_have_count(2)
    expect(box(page, "file 000.txt")).to_be_focused()


def test_a_deletion_that_fails_brings_the_row_back_and_says_why(visit: Visit, alice: User, watch: Watch) -> None:
    """Also far down the list."""
    watch.foresee("503")
    ready(alice, 50)
    page = visit(alice)
    refuse(page, "**/files/delete", 503, "MongoDB does not answer.")

    delete(page, "file 000.txt")

    expect(page.get_by_role("alert")).to_contain_text("MongoDB does not answer.")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(files(page)).to_have_count(50)


def test_deletions_that_follow_each_other_faster_than_their_answers_are_all_sent(
    visit: Visit, alice: User, watch: Watch
) -> None:
    """One that fails brings its own row back, and "Undo" is for the last."""
    watch.foresee("503")
    ready(alice, 5)
    page = visit(alice)
    refuse(page, "**/files/delete", 503, "MongoDB does not answer.")
    held = Held(page, "**/files/delete", "POST")

    for number in range(4):
        delete(page, f"file 00{number}.txt")
    held.wait_for()
    held.waiting.pop().fallback()
    held.let_go()

    expect(undo(page)).to_be_visible()
    assert {file.name for file in File.objects.ready()} == {"file 000.txt", "file 004.txt"}
    expect(files(page).locator(".name")).to_have_text(["file 004.txt", "file 000.txt"])
    undo(page).click()
    expect(files(page)).to_have_count(3)
    assert {file.name for file in File.objects.ready()} == {"file 000.txt", "file 003.txt", "file 004.txt"}


def test_undo_after_a_search_shows_the_file_as_well(visit: Visit, alice: User) -> None:
    ready(alice, 3)
    page = visit(alice)
    delete(page, "file 001.txt")
    expect(undo(page)).to_be_visible()
    with page.expect_response("**/files/?q=file"):
        page.get_by_role("searchbox").fill("file")

    undo(page).click()
    expect(finished(page, "file 001.txt")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_be_focused()


def test_undo_by_keyboard_need_not_wait_for_the_answer_and_leaves_the_search_alone(visit: Visit, alice: User) -> None:
    ready(alice, 3)
    page = visit(alice)
    page.get_by_role("searchbox").press_sequentially("001")
    expect(files(page)).to_have_count(1)
    held = Held(page, "**/files/delete", "POST")

    delete(page, "file 001.txt")
    held.wait_for()
    page.keyboard.press("Control+z")
    held.let_go()
    expect(finished(page, "file 001.txt")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("001")
    assert File.objects.ready().count() == 3


# --- several at once ----------------------------------------------------------------------------------------------------


def test_several_are_selected_deleted_and_brought_back(visit: Visit, alice: User) -> None:
    ready(alice, 10)
    page = visit(alice)
    listed = names(page)
    bar = page.get_by_role("form", name="Selected files")
    expect(bar).to_be_hidden()

    box(page, listed[1]).check()
    box(page, listed[4]).click(modifiers=["Shift"])
    expect(bar).to_contain_text("4 selected")
    bar.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()
    expect(page.locator("#announcer p")).to_have_text(["1 selected", "4 selected", "0 selected"])

    page.get_by_role("checkbox", name="Select all that are shown").check()
    expect(bar).to_contain_text("10 selected")
    box(page, "file 003.txt").uncheck()
    bar.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("9 files are deleted.")
    expect(files(page)).to_have_count(1)
    assert [file.name for file in File.objects.ready()] == ["file 003.txt"]

    page.keyboard.press("Control+z")
    expect(files(page)).to_have_count(10)
    expect(page.get_by_role("status")).to_contain_text("9 files are back.")
    assert File.objects.ready().count() == 10


def test_several_are_downloaded(page: Page, tmp_path: Path) -> None:
    sent = [a_file("one.txt", 30), a_file("two.txt", 40), a_file("three.txt", 50)]
    choose(page, *sent)
    for file in sent:
        expect(finished(page, file["name"])).to_be_visible()
    came: list[Download] = []

    def keep(download: Download) -> None:
        came.append(download)

    page.on("download", keep)
    page.get_by_role("checkbox", name="Select all that are shown").check()
    page.get_by_role("form", name="Selected files").get_by_role("button", name="Download").click()

    until(page, lambda: len(came) == 3)
    saved = {download.suggested_filename: Path(download.path()).read_bytes() for download in came}
    assert saved == {file["name"]: file["buffer"] for file in sent}


def test_several_after_the_session_ended_are_no_pages_to_sign_in(visit: Visit, alice: User, watch: Watch) -> None:
    watch.foresee("401")
    ready(alice, 2)
    page = visit(alice)
    saved: list[str] = []
    page.on("download", lambda it: saved.append(it.suggested_filename))
    end_sessions()

    page.get_by_role("checkbox", name="Select all that are shown").check()
    page.get_by_role("form", name="Selected files").get_by_role("button", name="Download").click()

    expect(page.get_by_role("alert")).to_contain_text("You are signed out.")
    assert saved == []


# --- names --------------------------------------------------------------------------------------------------------------


def test_a_file_is_renamed_in_its_row(page: Page, tmp_path: Path, watch: Watch) -> None:
    sent = a_file("report.txt")
    choose(page, sent)
    expect(finished(page, "report.txt")).to_be_visible()

    page.get_by_role("link", name="Rename report.txt").click()
    field = page.get_by_role("textbox", name="New name of report.txt")
    expect(field).to_be_focused()
    page.keyboard.type("Jahresbericht <2026>")  # what is selected is the name without its end
    page.keyboard.press("Enter")
    expect(finished(page, "Jahresbericht <2026>.txt")).to_be_visible()
    assert download(page, page.get_by_role("link", name="Download Jahresbericht"), tmp_path)[1] == sent["buffer"]

    page.get_by_role("link", name="Rename Jahresbericht").click()
    expect(page.get_by_role("textbox", name="New name of Jahresbericht")).to_be_focused()
    page.keyboard.type("never mind")
    page.keyboard.press("Escape")
    expect(finished(page, "Jahresbericht <2026>.txt")).to_be_visible()

    watch.foresee("400")
    page.get_by_role("link", name="Rename Jahresbericht").click()
    page.get_by_role("textbox", name="New name of Jahresbericht").fill("..")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The file needs a name.")
    expect(page.get_by_role("textbox", name="New name of Jahresbericht")).to_be_visible()


# --- sessions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["Delete file 000.txt", "Show more files"])
def test_a_session_that_ended_offers_to_sign_in(visit: Visit, alice: User, watch: Watch, open_site: Site, act: str) -> None:
    watch.foresee("401")
    ready(alice, 1 if act.startswith("Delete") else 60)
    page = visit(alice)
    end_sessions()

    page.get_by_role("link", name=act).click()

    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("You are signed out. Sign in, then try again.")
    with page.context.expect_page() as opened:
        notice.get_by_role("link", name="Sign in").click()
    expect(opened.value.get_by_role("heading", name="Sign in")).to_be_visible()


def test_what_was_open_before_somebody_signed_in_again_goes_on_from_there(
    visit: Visit, alice: User, watch: Watch, open_site: Site
) -> None:
    """The forms of the page have the token of the session that ended."""
    watch.foresee("401")
    ready(alice, 1)
    page = visit(alice)
    page.get_by_role("link", name="Rename file 000.txt").click()
    page.get_by_role("textbox", name="New name of file 000.txt").fill("renamed.txt")
    end_sessions()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("You are signed out. Sign in, then try again.")

    sign_in(page.context, alice, open_site)
    page.get_by_role("button", name="Save").click()
    expect(finished(page, "renamed.txt")).to_be_visible()
    sign_in(page.context, alice, open_site)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url("/")


def test_a_download_after_the_session_ended_goes_to_sign_in(page: Page, tmp_path: Path) -> None:
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    end_sessions()
    saved: list[str] = []
    page.on("download", lambda it: saved.append(it.suggested_filename))

    page.get_by_role("link", name="Download report.txt").click()

    until(page, lambda: saved or page.url.partition("?")[0].endswith("/login"))
    assert saved == [], "the page to sign in was saved as if it were the file"


def test_a_file_is_downloaded_and_not_shown(page: Page, tmp_path: Path) -> None:
    html = a_file("page.html", kind="text/html")
    choose(page, html)
    expect(finished(page, "page.html")).to_be_visible()

    saved_as, body = download(page, page.get_by_role("link", name="Download page.html"), tmp_path)

    assert (saved_as, body) == ("page.html", html["buffer"])
    expect(page).to_have_url("/files/")


def test_signing_in_elsewhere_as_somebody_else_shows_no_file_of_the_first(
    page: Page, bob: User, watch: Watch, open_site: Site
) -> None:
    watch.foresee("404")
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    sign_in(page.context, bob, open_site)

    delete(page, "report.txt")

    expect(page.get_by_role("alert")).to_contain_text("There is no such file among yours.")
    assert File.objects.ready().count() == 1
