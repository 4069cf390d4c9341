"""The uploader: from the files somebody chooses to the rows of their list."""

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from files.documents import File, Status

from .conftest import (
    Held,
    Watch,
    a_file,
    bucket,
    button,
    choose,
    download,
    drop,
    finished,
    names,
    row,
    said,
    status,
    until,
    upload_at,
)


def test_files_that_are_chosen_arrive_and_are_listed(page: Page, alice: User, watch: Watch) -> None:
    choose(page, a_file("one.txt"), a_file("two.txt"))

    for name in ("one.txt", "two.txt"):
        expect(finished(page, name)).to_be_visible()
        expect(finished(page, name)).to_contain_text("24\xa0bytes")
        expect(finished(page, name)).to_contain_text("text/plain")
    assert page.locator("[data-upload]").count() == 0
    assert {file.status for file in File.objects.owned_by(str(alice.pk))} == {Status.READY}
    assert len(watch.sent("PUT", "")) == 2

    page.reload()
    assert sorted(names(page)) == ["one.txt", "two.txt"]


def test_a_small_file_on_a_fast_line_is_confirmed(page: Page) -> None:
    """It can be up before htmx has settled the row that is to hear of it, which by default takes 20 ms; here a second."""
    page.add_init_script(
        "const real = setTimeout; window.setTimeout = (act, after, ...rest) => real(act, after === 20 ? 1000 : after, ...rest);"
    )
    page.reload()

    choose(page, a_file("small.txt"))

    expect(finished(page, "small.txt")).to_be_visible()


def test_files_that_are_dropped_arrive_and_are_listed(page: Page) -> None:
    drop(page, a_file("one.txt"), a_file("two.txt"))

    expect(finished(page, "one.txt")).to_be_visible()
    expect(finished(page, "two.txt")).to_be_visible()


def test_the_zone_shows_that_files_can_be_dropped_there(page: Page) -> None:
    uploader = page.locator("#uploader")
    transfer = page.evaluate_handle("() => { const it = new DataTransfer(); it.items.add(new File(['a'], 'a')); return it; }")

    page.dispatch_event("h1", "dragenter", {"dataTransfer": transfer})
    expect(uploader).to_have_class(re.compile("dragging"))
    page.dispatch_event("h1", "dragleave", {"dataTransfer": transfer})
    expect(uploader).not_to_have_class(re.compile("dragging"))


def test_text_that_is_dropped_is_no_upload(page: Page, watch: Watch) -> None:
    transfer = page.evaluate_handle("() => { const it = new DataTransfer(); it.setData('text/plain', 'a'); return it; }")

    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(".drop", event, {"dataTransfer": transfer})

    expect(page.locator("#uploader")).not_to_have_class(re.compile("dragging"))
    assert watch.sent("POST", "/api/uploads/sign") == []
    expect(page.locator("[data-upload]")).to_have_count(0)


def test_each_file_has_a_row_before_anything_is_asked_of_the_site(page: Page) -> None:
    signing = Held(page, "**/api/uploads/sign", "POST")
    choose(page, *[a_file(f"{number}.txt") for number in range(5)])
    signing.wait_for(4)

    assert page.locator("[data-upload] .name").all_inner_texts() == [f"{number}.txt" for number in range(5)]
    assert File.objects.count() == 0
    signing.let_go()
    expect(page.locator("#files > .file")).to_have_count(5)


def test_percent_and_speed_move_and_100_is_not_said_before_it_is_confirmed(page: Page) -> None:
    upload_at(page, 400_000)
    confirming = Held(page, "**/files/confirm", "POST")
    choose(page, a_file("slow.bin", 800_000))
    confirming.wait_for()

    moving = [re.fullmatch(r"(\d+) %, ([\d.]+) (KB|MB)/s(?:, \d+ s left)?", sentence) for sentence in said(page, "status")]
    percents = [int(step[1]) for step in moving if step]
    speeds = [float(step[2]) for step in moving if step and step[3] == "KB"]
    assert len(percents) >= 4
    assert percents == sorted(percents)
    assert percents[-1] <= 99
    assert any(200 < speed < 800 for speed in speeds)
    bar = said(page, "percent")
    assert bar == sorted(bar)
    assert max(bar) == 99
    expect(status(row(page, "slow.bin"))).to_have_text("Checking that it arrived")
    expect(finished(page, "slow.bin")).to_have_count(0)

    confirming.let_go()
    expect(finished(page, "slow.bin")).to_be_visible()


def test_progress_is_announced_at_the_quarters_and_politely(page: Page) -> None:
    upload_at(page, 400_000)
    choose(page, a_file("slow.bin", 800_000))
    expect(finished(page, "slow.bin")).to_be_visible()

    expect(page.locator("#announcer")).to_have_attribute("aria-live", "polite")
    first, *quarters, last = said(page, "announced")
    assert (first, last) == ("Uploading slow.bin", "slow.bin is uploaded")
    # A busy machine may jump over one of them, but says none twice.
    assert quarters
    assert quarters == sorted(set(quarters))
    assert set(quarters) <= {f"slow.bin: {percent} percent" for percent in (25, 50, 75)}
    expect(page.locator("[aria-live=assertive]")).to_have_count(0)


def test_four_go_at_once_and_the_others_wait_their_turn(page: Page, watch: Watch) -> None:
    puts = Held(page, bucket())
    choose(page, *[a_file(f"{number}.txt") for number in range(7)])
    puts.wait_for(4)

    expect(page.locator("[data-state=waiting]")).to_have_count(3)
    assert len(watch.sent("POST", "/api/uploads/sign")) == 4

    for arrived in range(1, 8):
        puts.wait_for()
        puts.let_one_go()
        expect(page.locator("#files > .file")).to_have_count(arrived)
        under_way = min(4, 7 - arrived)
        puts.wait_for(under_way)
        assert len(puts.waiting) == under_way


def test_the_same_file_can_be_chosen_twice(page: Page) -> None:
    for count in (1, 2):
        choose(page, a_file())
        expect(finished(page, "report.txt")).to_have_count(count)


@pytest.mark.parametrize("name", ["Übersicht 2026 “final” – 報告.pdf", "👩‍🚀 launch.pdf", "a; b=c, 100%.pdf"])
def test_what_was_uploaded_comes_back_byte_for_byte_and_by_its_name(page: Page, name: str, tmp_path: Path) -> None:
    sent = a_file(name, 70_000, kind="application/pdf")
    choose(page, sent)
    expect(finished(page, name)).to_be_visible()

    saved_as, body = download(page, finished(page, name).get_by_role("link", name=f"Download {name}", exact=True), tmp_path)

    # Chromium itself replaces what some file system does not take, and the joiner inside of an emoji.
    assert re.sub("[_\u200d]", "-", saved_as) == re.sub("[_\u200d]", "-", name)
    assert body == sent["buffer"]


def test_a_name_with_html_in_it_is_text(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>&amp;\"'.txt"
    puts = Held(page, bucket())
    choose(page, a_file(name))
    puts.wait_for()
    expect(row(page, name).locator(".name")).to_have_text(name)

    puts.let_go()
    expect(finished(page, name).locator(".name")).to_have_text(name)
    assert page.locator("main img").count() == 0


def test_cancel_stops_the_upload_and_gives_up_its_document(page: Page, alice: User, watch: Watch) -> None:
    upload_at(page, 20_000)
    choose(page, a_file("slow.bin", 800_000))
    slow = row(page, "slow.bin")
    expect(status(slow)).to_have_text(re.compile("%"))

    button(slow, "Cancel").click()

    expect(slow).to_have_count(0)
    until(page, lambda: File.objects.pending().count() == 0)
    (put,) = watch.sent("PUT", "")
    until(page, lambda: put.failure == "net::ERR_ABORTED")
    assert watch.sent("POST", "/files/confirm") == []
    page.reload()
    assert names(page) == []


def test_cancel_while_waiting_for_a_turn_signs_nothing(page: Page, watch: Watch) -> None:
    puts = Held(page, bucket())
    choose(page, *[a_file(f"{number}.txt") for number in range(5)])
    puts.wait_for(4)

    button(page.locator("[data-state=waiting]"), "Cancel").click()
    puts.let_go()

    expect(page.locator("#files > .file")).to_have_count(4)
    expect(page.locator("[data-upload]")).to_have_count(0)
    assert len(watch.sent("POST", "/api/uploads/sign")) == 4


def test_cancel_while_it_is_being_signed_leaves_no_pending_document(page: Page, watch: Watch) -> None:
    signing = Held(page, "**/api/uploads/sign", "POST")
    choose(page, a_file())
    signing.wait_for()
    route = signing.waiting.pop()
    answer = route.fetch()  # the site has signed; the browser does not know it yet
    assert File.objects.pending().count() == 1

    button(row(page, "report.txt"), "Cancel").click()
    route.fulfill(response=answer)

    expect(row(page, "report.txt")).to_have_count(0)
    until(page, lambda: File.objects.pending().count() == 0)
    assert watch.sent("PUT", "") == []


@pytest.mark.parametrize("refused", [413, 429, 503])
def test_cancel_while_a_signing_is_being_refused_is_the_last_of_it(page: Page, watch: Watch, refused: int) -> None:
    watch.foresee(str(refused))
    signing = Held(page, "**/api/uploads/sign", "POST")
    choose(page, a_file())
    signing.wait_for()

    button(row(page, "report.txt"), "Cancel").click()
    signing.waiting.pop().fulfill(status=refused, json={"error": "Not now.", "code": "refused"}, headers={"Retry-After": "1"})

    expect(page.locator("#queue")).to_be_hidden()
    expect(page.locator("[data-upload]")).to_have_count(0)
    assert len(watch.sent("POST", "/api/uploads/sign")) == 1


def test_an_upload_does_not_disturb_the_files_that_are_listed(page: Page) -> None:
    choose(page, a_file("old.txt"))
    expect(finished(page, "old.txt")).to_be_visible()
    choose(page, a_file("new.txt"))
    expect(finished(page, "new.txt")).to_be_visible()

    assert names(page) == ["new.txt", "old.txt"]
