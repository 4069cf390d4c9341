"""Many files: what is seen of them, and how the queue goes on whatever the site, the network and the person do."""

import contextlib
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Dialog, Error, Page, expect

from files import limits, uploads
from files.documents import File

from .conftest import DROP, Held, Visit, Watch, a_file, bucket, button, choose, finished, row, said, status, until, upload_at

ROWS = 4 + 21  # of those that run, and of the next that wait
PATIENCE = 120_000  # milliseconds, for hundreds of files on a busy machine

# The most rows of uploads, and of those that failed, that there were at any moment; and what the queue said of itself.
KEEP_WATCH = """() => {
    window.most = { rows: 0, failed: 0, said: [] };
    new MutationObserver(() => {
        most.rows = Math.max(most.rows, document.querySelectorAll("[data-upload]").length);
        most.failed = Math.max(most.failed, document.querySelectorAll("[data-state=failed]").length);
        const words = document.querySelector("#queue").innerText;
        if (most.said.at(-1) !== words) most.said.push(words);
    }).observe(document.querySelector("main"), { subtree: true, childList: true, characterData: true, attributes: true });
}"""

# As a folder with so many in it is chosen. A browser takes longer to make up a list of other files than the page to queue them.
CHOOSE_ONE_FILE_OFTEN = """(count) => {
    const chooser = document.querySelector("#chooser");
    Object.defineProperty(chooser, "files", { value: Array(count).fill(new File(["tiny"], "tiny.txt")), configurable: true });
    chooser.dispatchEvent(new Event("change"));
    delete chooser.files;
}"""


def drop_many(page: Page, count: int) -> None:
    page.evaluate(KEEP_WATCH)
    files = [{"name": f"{number:03}.txt", "mimeType": "text/plain", "text": "tiny"} for number in range(count)]
    page.dispatch_event(".drop", "drop", {"dataTransfer": page.evaluate_handle(DROP, files)})


def most(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("() => most")
    return found


def top(page: Page, selector: str) -> float:
    box = page.locator(selector).first.bounding_box()
    assert box
    return box["y"]


def test_three_hundred_files_at_once_all_arrive_with_rows_for_a_few_at_a_time(page: Page, alice: User) -> None:
    drop_many(page, 300)

    expect(page.locator(".uncounted")).to_have_text(re.compile(r"^and 2\d\d more are waiting$"))
    expect(page.locator("#files > .file")).to_have_count(300, timeout=PATIENCE)
    expect(page.locator("#queue")).to_be_hidden()
    assert File.objects.owned_by(str(alice.pk)).ready().count() == File.objects.count() == 300
    assert (most(page)["rows"], most(page)["failed"]) == (ROWS, 0)
    expect(page.locator(".uncounted")).to_be_hidden()


def test_the_limit_of_signings_makes_files_wait_and_none_fail(
    page: Page, watch: Watch, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.foresee("429")
    settings.SIGNINGS_PER_MINUTE = 20
    monkeypatch.setattr(limits, "WINDOW", 2)
    drop_many(page, 60)

    expect(page.locator("#files > .file")).to_have_count(60, timeout=PATIENCE)
    assert most(page)["failed"] == 0
    assert any(re.search(r"Too many at once; going on in \d s", words) for words in most(page)["said"])
    assert len(watch.sent("PUT", "")) == 60


@pytest.mark.parametrize("width", [1280, 360])
def test_the_queue_says_how_far_it_is_and_so_does_the_title_and_nothing_moves_for_it(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    choose(page, a_file("old.txt"))
    expect(finished(page, "old.txt")).to_be_visible()
    before = top(page, "#files")
    confirming = Held(page, "**/files/confirm", "POST")
    upload_at(page, 300_000)
    choose(page, *[a_file(f"{number}.bin", 200_000) for number in range(2)])
    expect(page.locator("#queue")).to_contain_text(re.compile(r"\d s left"))
    assert top(page, "#files") == before
    old = top(page, "#files > .file")

    confirming.wait_for(2)
    expect(page.locator("#queue")).to_contain_text("99 % · 0 of 2 · 390.6 KB of 390.6 KB")
    expect(page).to_have_title("99 % · 0 of 2 · Your files · uploadkit")
    confirming.let_one_go()
    expect(page).to_have_title("99 % · 1 of 2 · Your files · uploadkit")
    confirming.let_go()
    expect(page.locator("#files > .file")).to_have_count(3)

    assert top(page, "#files") == before
    assert top(page, "#files > .file >> nth=2") == old, "a row is as high as the file that it becomes"
    expect(page).to_have_title("Your files · uploadkit")
    expect(page.locator("#queue")).to_be_hidden()


def test_pause_stops_what_is_under_way_and_resume_sends_it_from_the_start(page: Page, watch: Watch) -> None:
    upload_at(page, 50_000)
    choose(page, *[a_file(f"{number}.bin", 100_000) for number in range(2)], *[a_file(f"{number}.txt") for number in range(4)])
    expect(status(row(page, "0.bin"))).to_have_text(re.compile("[1-9] %"))

    page.get_by_role("button", name="Pause").click()

    resume = page.get_by_role("button", name="Resume")
    expect(resume).to_be_focused()
    expect(page.locator("#queue")).to_contain_text("Paused. What was under way starts over.")
    expect(page.locator("[data-state=sending]")).to_have_count(0)
    expect(status(row(page, "0.bin"))).to_have_text("Waiting for its turn")
    expect(row(page, "0.bin").locator("progress")).to_have_js_property("value", 0)
    until(page, lambda: File.objects.pending().count() == 0)
    sent = len(watch.sent("PUT", ""))
    page.wait_for_timeout(100)
    assert len(watch.sent("PUT", "")) == sent

    upload_at(page, -1)
    resume.click()
    expect(page.locator("#files > .file")).to_have_count(6)
    expect(page.locator("#queue")).to_be_hidden()


def test_cancel_all_leaves_nothing_behind(page: Page) -> None:
    puts = Held(page, bucket())
    choose(page, *[a_file(f"{number:02}.txt") for number in range(30)])
    puts.wait_for(4)
    expect(page.locator(".uncounted")).to_have_text("and 6 more are waiting")

    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Cancel all").click()

    expect(page.locator("[data-upload]")).to_have_count(0)
    expect(page.locator("#queue")).to_be_hidden()
    expect(page.locator("#chooser")).to_be_focused()
    until(page, lambda: File.objects.count() == 0)

    page.unroute(bucket())
    choose(page, a_file("new.txt"))
    expect(finished(page, "new.txt")).to_be_visible()


def test_a_queue_of_a_hundred_and_fifty_thousand_is_cancelled_at_once(page: Page, watch: Watch) -> None:
    signing = Held(page, "**/api/uploads/sign", "POST")
    page.evaluate(CHOOSE_ONE_FILE_OFTEN, 150_000)
    signing.wait_for(4)
    expect(page.locator(".uncounted")).to_have_text("and 149976 more are waiting")

    page.get_by_role("button", name="Cancel all").click()
    expect(page.locator("[data-upload]")).to_have_count(0)
    signing.let_go()

    expect(page.locator("#queue")).to_be_hidden()
    until(page, lambda: File.objects.count() == 0)


def test_of_many_that_fail_twenty_have_rows_and_all_can_be_retried(page: Page, watch: Watch) -> None:
    watch.foresee("413")
    body = '{"error": "The file is too large.", "code": "too_large"}'
    page.route("**/api/uploads/sign", lambda route: route.fulfill(status=413, body=body, content_type="application/json"))
    choose(page, *[a_file(f"{number:02}.txt") for number in range(30)])

    expect(page.locator("[data-state=failed]")).to_have_count(20)
    expect(page.locator(".uncounted")).to_have_text("and 10 more were not uploaded")
    expect(page.locator("#queue")).to_contain_text("30 not uploaded")
    page.unroute("**/api/uploads/sign")
    page.get_by_role("button", name="Retry all").click()

    expect(page.locator("#files > .file")).to_have_count(30, timeout=PATIENCE)


def test_offline_waits_for_the_line_and_costs_no_try(page: Page, watch: Watch) -> None:
    watch.foresee("ERR_")
    puts = Held(page, bucket())
    choose(page, a_file("slow.bin"))
    slow = row(page, "slow.bin")
    puts.wait_for()

    page.context.set_offline(True)
    puts.waiting.pop().abort("internetdisconnected")
    expect(status(slow)).to_have_text("You are offline. It goes on by itself when you are back.")
    expect(page.locator("#queue")).to_contain_text("You are offline.")
    choose(page, a_file("two.txt"))
    expect(status(row(page, "two.txt"))).to_have_text("You are offline. It goes on by itself when you are back.")
    assert len(watch.sent("POST", "/api/uploads/sign")) == 2, "each has found out by itself"

    puts.let_go()
    page.context.set_offline(False)
    expect(finished(page, "slow.bin")).to_be_visible()
    expect(finished(page, "two.txt")).to_be_visible()
    assert not any("of 5" in sentence for sentence in said(page, "status"))


def test_a_site_on_this_machine_takes_uploads_without_a_network(page: Page, watch: Watch) -> None:
    """Browsers think that they are offline there."""
    watch.foresee("500")
    page.evaluate("() => { Object.defineProperty(Navigator.prototype, 'onLine', { get: () => false }); }")
    puts = Held(page, bucket())
    choose(page, a_file())
    puts.wait_for()
    expect(page.locator("#queue")).to_contain_text("0 % · 0 of 1")
    expect(page.locator("#queue")).not_to_contain_text("offline")

    puts.waiting.pop().fulfill(status=500, headers={"Access-Control-Allow-Origin": "*"})
    puts.let_go()
    expect(finished(page, "report.txt")).to_be_visible()
    assert "You are offline" not in " ".join(said(page, "status"))


# --- leaving ------------------------------------------------------------------------------------------------------------


def leave(page: Page) -> None:
    page.evaluate("() => { setTimeout(() => { location.href = '/'; }); }")


def test_leaving_while_bytes_move_asks_first_and_only_then(page: Page, alice: User, cast: Any, watch: Watch) -> None:
    """A download does not leave."""
    cast.upload(alice, filename="earlier.pdf")
    page.reload()
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    puts = Held(page, bucket())
    page.locator("h1").click()  # browsers ask only somebody who has touched the page
    choose(page, a_file())
    puts.wait_for()

    page.get_by_role("link", name="Download earlier.pdf").click()
    until(page, lambda: watch.sent("GET", "response-content-disposition"))
    assert asked == []
    leave(page)
    until(page, lambda: asked)
    assert asked == ["beforeunload"]
    expect(row(page, "report.txt")).to_be_visible()

    puts.let_go()
    expect(finished(page, "report.txt")).to_be_visible()
    leave(page)
    expect(page).to_have_url("/")
    assert asked == ["beforeunload"]


def test_what_has_arrived_is_confirmed_when_its_page_is_left(page: Page, watch: Watch) -> None:
    confirming = Held(page, "**/files/confirm", "POST")
    choose(page, a_file())
    confirming.wait_for()

    leave(page)

    expect(page).to_have_url("/")
    until(page, lambda: File.objects.ready().count() == 1)


def test_what_has_arrived_when_its_tab_dies_is_finished_by_one_click(page: Page, alice: User, watch: Watch, cast: Any) -> None:
    watch.foresee("404")
    Held(page, "**/files/confirm", "POST")
    choose(page, a_file())
    expect(row(page, "report.txt")).to_have_attribute("data-state", "confirming")
    missing = cast.sign(alice, filename="missing.pdf")
    with page.expect_event("crash"), contextlib.suppress(Error):
        page.goto("chrome://crash")

    again = page.context.new_page()
    again.goto("/files/")
    unfinished = again.get_by_role("region", name="Unfinished")
    expect(unfinished.get_by_role("button")).to_have_count(2)
    expect(unfinished).to_contain_text("Not arrived. If no other tab is sending it, discard it.")
    sent = len(watch.sent("PUT", ""))
    unfinished.get_by_role("button", name="Finish report.txt").click()
    expect(finished(again, "report.txt")).to_be_visible()
    assert len(watch.sent("PUT", "")) == sent
    expect(unfinished.get_by_role("button", name="Discard missing.pdf")).to_be_focused()

    unfinished.get_by_role("button", name="Discard missing.pdf").click()
    expect(unfinished).to_have_count(0)
    until(again, lambda: File.objects.keyed([missing.key]).count() == 0)
    again.reload()
    expect(finished(again, "report.txt")).to_be_visible()
    expect(unfinished).to_have_count(0)


def test_a_discard_that_comes_too_late_says_so(visit: Visit, alice: User, watch: Watch, cast: Any) -> None:
    watch.foresee("409")
    signed = cast.sign(alice, filename="report.txt")
    page = visit(alice)
    discard = page.get_by_role("button", name="Discard report.txt")
    expect(discard).to_be_visible()
    cast.put(signed)
    uploads.confirm(str(alice.pk), signed.key)

    discard.click()

    expect(page.get_by_role("alert")).to_contain_text("The upload is already complete.")
    expect(button(page.locator("#unfinished li"), "Discard")).to_be_visible()
