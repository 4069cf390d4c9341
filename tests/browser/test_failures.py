"""Every way an upload can fail leaves a row that says what happened, and a way on."""

import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Response, Route, expect

from files import storage, uploads
from files.documents import File, Status

from .conftest import (
    LISTEN,
    Held,
    Site,
    Visit,
    Watch,
    a_file,
    bucket,
    button,
    choose,
    end_sessions,
    expect_failed,
    finished,
    names,
    refuse,
    row,
    said,
    sign_in,
    status,
    until,
    upload_at,
)
from .line import Line

TRIED = "It was tried 6 times; try again later, or remove it."
CUT = f"The bucket works from here, so your connection was cut. Try again when it is better. {TRIED}"
UNREACHABLE = "This site does not answer. Try again when you are online."
ATTEMPTS = 6  # the first, and five by itself


def never_confirmed(watch: Watch) -> bool:
    return watch.sent("POST", "confirm") == [] and File.objects.ready().count() == 0


# --- the PUT ------------------------------------------------------------------------------------------------------------


def test_a_network_cut_in_the_middle_is_tried_again_by_itself_until_the_file_arrives(
    page: Page, alice: User, watch: Watch, line: Line
) -> None:
    watch.foresee("ERR_")
    upload_at(page, 150_000)
    choose(page, a_file("slow.bin", 300_000))
    slow = row(page, "slow.bin")
    expect(status(slow)).to_have_text(re.compile("^[4-9]. %"))
    page.evaluate("() => { document.querySelector('#uploader').dataset.backoff = 1500; }")

    line.cut()
    expect(status(slow)).to_have_text(re.compile(r"your connection was cut\. .*Trying again in \d+ s \(1 of 5\)\.$"))
    expect(slow.locator("progress")).to_be_visible()
    assert never_confirmed(watch)
    line.mend()

    expect(finished(page, "slow.bin")).to_be_visible()
    assert len(watch.sent("POST", "/api/uploads/sign")) >= 2
    until(page, lambda: File.objects.pending().count() == 0)
    assert [file.name for file in File.objects.ready()] == ["slow.bin"]


def test_a_network_that_stays_cut_is_given_up_after_five_tries(page: Page, watch: Watch, line: Line) -> None:
    watch.foresee("ERR_")
    line.cut()
    choose(page, a_file("slow.bin"))

    expect_failed(row(page, "slow.bin"), CUT)
    assert f"slow.bin was not uploaded. {CUT}" in said(page, "announced")
    assert len(watch.sent("POST", "/api/uploads/sign")) == ATTEMPTS
    until(page, lambda: File.objects.pending().count() == 0)
    assert never_confirmed(watch)

    line.mend()
    button(row(page, "slow.bin"), "Try again").click()
    expect(finished(page, "slow.bin")).to_be_visible()


def test_a_url_that_expired_is_signed_anew(page: Page, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.foresee("403")
    monkeypatch.setattr(storage, "URL_LIVES", 1)
    puts = Held(page, bucket())
    with page.expect_response("**/api/uploads/sign") as signed:
        choose(page, a_file())
    puts.wait_for()
    ends = datetime.fromisoformat(signed.value.json()["expiresAt"]).timestamp()
    until(page, lambda: time.time() > ends + 1.5)
    monkeypatch.undo()  # on a busy machine a second one would be over too

    puts.let_go()

    expect(finished(page, "report.txt")).to_be_visible()
    assert len(watch.sent("POST", "/api/uploads/sign")) == 2
    assert "The upload link was refused" in " ".join(said(page, "status"))


def test_a_url_that_somebody_tampered_with(page: Page, watch: Watch) -> None:
    watch.foresee("403")

    def tamper(route: Route) -> None:
        address, _, signature = route.request.url.partition("X-Amz-Signature=")
        route.continue_(url=f"{address}X-Amz-Signature={'1' if signature[0] == '0' else '0'}{signature[1:]}")

    page.route(bucket(), tamper)
    choose(page, a_file())

    expect_failed(row(page, "report.txt"), f"The upload link was refused: it may have expired, or your clock is wrong. {TRIED}")
    assert never_confirmed(watch)


def test_a_url_that_was_used_already_is_signed_anew(page: Page, watch: Watch) -> None:
    watch.foresee("412")
    puts = Held(page, bucket())
    with page.expect_response("**/api/uploads/sign") as signed:
        choose(page, a_file())
    puts.wait_for()
    wish = signed.value.json()
    assert httpx.put(wish["url"], content=a_file()["buffer"], headers=wish["headers"]).status_code == 200

    puts.let_go()

    expect(finished(page, "report.txt")).to_be_visible()
    assert "The bucket has a file under this link already." in " ".join(said(page, "status"))
    assert [file.key == wish["key"] for file in File.objects.ready()] == [False]


@pytest.mark.parametrize("cause", ["origin", "clock"])
def test_what_only_the_one_who_runs_the_site_can_mend_is_not_tried_again(
    page: Page, watch: Watch, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    watch.foresee("ERR_", "CORS", "403")
    if cause == "origin":
        storage.set_up(["http://testserver"])
    else:
        real = uploads.now
        monkeypatch.setattr(uploads, "now", lambda: real() - timedelta(minutes=5))
        page.route(bucket(), lambda route: route.abort())
    choose(page, a_file())

    expect_failed(row(page, "report.txt"), re.compile("Tell whoever runs this site"))
    assert len(watch.sent("POST", "/api/uploads/sign")) == 1
    assert never_confirmed(watch)


def test_a_put_whose_answer_is_lost_is_confirmed_and_not_sent_twice(page: Page, watch: Watch) -> None:
    watch.foresee("ERR_FAILED")

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route(bucket(), lose_the_answer)
    choose(page, a_file())

    expect(finished(page, "report.txt")).to_be_visible()
    assert len(watch.sent("PUT", "")) == 1


def test_a_bucket_that_is_broken(page: Page, watch: Watch) -> None:
    watch.foresee("500")
    headers = {"Access-Control-Allow-Origin": "*"}
    page.route(bucket(), lambda route: route.fulfill(status=500, body="<Error/>", headers=headers))
    choose(page, a_file())

    expect_failed(
        row(page, "report.txt"), f"The bucket refused the file (500). If that stays so, tell whoever runs this site. {TRIED}"
    )
    assert len(watch.sent("PUT", "")) == ATTEMPTS
    assert never_confirmed(watch)


def test_a_bucket_that_goes_silent_is_tried_again_after_a_minute(visit: Any, alice: User, watch: Watch) -> None:
    page = visit(alice, None)
    page.clock.install()
    page.goto("/files/")
    page.evaluate(LISTEN)
    puts = Held(page, bucket())
    choose(page, a_file())
    puts.wait_for()

    page.clock.run_for(59_000)
    expect(status(row(page, "report.txt"))).to_have_text(re.compile("^0 %"))
    page.clock.run_for(3_000)

    puts.wait_for(2)
    assert "Nothing has moved for a minute. Trying again in 1 s (1 of 5)." in said(page, "status")
    assert never_confirmed(watch)
    puts.let_go()
    expect(finished(page, "report.txt")).to_be_visible()


def test_bytes_that_a_proxy_took_are_waited_for_and_not_sent_twice(visit: Visit, alice: User, watch: Watch, line: Line) -> None:
    page = visit(alice, None)
    page.clock.install()
    page.goto("/files/")
    line.keep_answers()
    choose(page, a_file())
    until(page, lambda: (file := File.objects.pending().first()) and storage.head(file.key))
    expect(status(row(page, "report.txt"))).to_have_text(re.compile("^99 %"))

    page.clock.fast_forward(90_000)
    expect(status(row(page, "report.txt"))).to_have_text(re.compile("^99 %"))
    page.clock.fast_forward(60_000)

    expect(finished(page, "report.txt")).to_be_visible()
    assert len(watch.sent("PUT", "")) == 1


def test_a_file_that_was_changed_after_it_was_chosen(page: Page, watch: Watch, tmp_path: Path) -> None:
    watch.foresee("ERR_")
    chosen = tmp_path / "report.txt"
    chosen.write_text("as it was")
    signing = Held(page, "**/api/uploads/sign", "POST")
    page.locator("#chooser").set_input_files(chosen)
    signing.wait_for()
    chosen.unlink()

    signing.let_go()

    expect_failed(
        row(page, "report.txt"), "The file could not be read; it may have changed or moved. Remove it and choose it again."
    )
    assert never_confirmed(watch)


# --- the signing --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_too_large(page: Page, watch: Watch, settings: Any) -> None:
    watch.foresee("413")
    settings.MAX_UPLOAD_SIZE = 10
    choose(page, a_file())

    expect_failed(row(page, "report.txt"), "The file has 24\xa0bytes; 10\xa0bytes is the most. Choose a smaller one.")
    assert watch.sent("PUT", "") == []


def test_a_file_of_a_type_that_is_not_allowed(page: Page, watch: Watch, settings: Any) -> None:
    watch.foresee("415")
    settings.ALLOWED_CONTENT_TYPES = ["image/*"]
    choose(page, a_file())

    expect_failed(row(page, "report.txt"), "Files of type text/plain are not accepted here, only image/*.")
    assert watch.sent("PUT", "") == []


def test_an_empty_file(page: Page, watch: Watch) -> None:
    watch.foresee("400")
    choose(page, a_file(size=0))

    expect_failed(row(page, "report.txt"), "The file is empty. Choose one with something in it.")


@pytest.mark.parametrize("name", ["MongoDB", "Redis"])
def test_a_dependency_that_is_down_is_named(page: Page, watch: Watch, name: str) -> None:
    watch.foresee("503")
    sentence = f"{name} does not answer. Nothing is lost; try again in a few seconds."
    refuse(page, "**/api/uploads/sign", 503, sentence)
    choose(page, a_file())

    expect(finished(page, "report.txt")).to_be_visible()
    assert f"{sentence} Trying again in 1 s (1 of 5)." in said(page, "status")


def test_a_site_that_says_when_to_come_again_is_not_asked_before(page: Page, watch: Watch) -> None:
    watch.foresee("503")
    asked: list[float] = []

    def away(route: Route) -> None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            return route.continue_()
        body = {"error": "MongoDB does not answer.", "code": "unavailable"}
        return route.fulfill(status=503, json=body, headers={"Retry-After": "1"})

    page.route("**/api/uploads/sign", away)
    choose(page, a_file())

    expect(finished(page, "report.txt")).to_be_visible()
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 1


def test_a_site_that_is_cut_off(page: Page, watch: Watch) -> None:
    watch.foresee("ERR_FAILED")
    page.route("**/api/uploads/sign", lambda route: route.abort(), times=ATTEMPTS)
    choose(page, a_file())

    expect_failed(row(page, "report.txt"), f"{UNREACHABLE} {TRIED}")
    button(row(page, "report.txt"), "Try again").click()
    expect(finished(page, "report.txt")).to_be_visible()


@pytest.mark.parametrize("code", [200, 502])
def test_a_proxy_that_answers_in_the_place_of_the_site(page: Page, watch: Watch, code: int) -> None:
    watch.foresee("502")
    page.route("**/api/uploads/sign", lambda route: route.fulfill(status=code, body="<h1>Sign in to this hotel</h1>"))
    choose(page, a_file())

    expect_failed(row(page, "report.txt"), f"{UNREACHABLE} {TRIED}")


def test_an_answer_that_the_page_cannot_use_fails_its_upload_and_can_be_tried_again(page: Page, watch: Watch) -> None:
    watch.foresee("uncaught: Cannot (read|convert)")
    page.route("**/api/uploads/sign", lambda route: route.fulfill(body="null", content_type="application/json"), times=1)
    choose(page, a_file("one.txt"))

    expect_failed(row(page, "one.txt"), "Something on this page went wrong. Try again, or reload the page.")
    until(page, lambda: watch.errors)
    button(row(page, "one.txt"), "Try again").click()
    expect(finished(page, "one.txt")).to_be_visible()


def test_a_session_that_ended_offers_to_sign_in_and_then_goes_on(
    page: Page, alice: User, watch: Watch, open_site: Site
) -> None:
    watch.foresee("401")
    signing = Held(page, "**/api/uploads/sign", "POST")
    choose(page, a_file())
    signing.wait_for()
    end_sessions()
    signing.let_go()

    expect_failed(row(page, "report.txt"), "You are signed out. Sign in, then try again.")
    link = row(page, "report.txt").get_by_role("link", name="Sign in")
    with page.context.expect_page() as opened:
        link.click()
    expect(opened.value.get_by_role("heading", name="Sign in")).to_be_visible()

    sign_in(page.context, alice, open_site)
    button(row(page, "report.txt"), "Try again").click()
    expect(finished(page, "report.txt")).to_be_visible()


def test_the_way_to_sign_in_goes_away_with_its_reason(page: Page, watch: Watch, alice: User, open_site: Site) -> None:
    watch.foresee("401", "413")
    signing = Held(page, "**/api/uploads/sign", "POST")
    choose(page, a_file())
    signing.wait_for()
    end_sessions()
    signing.let_go()
    link = row(page, "report.txt").get_by_role("link", name="Sign in")
    expect(link).to_be_visible()

    sign_in(page.context, alice, open_site)
    refuse(page, "**/api/uploads/sign", 413, "The file is too large.", "too_large")
    button(row(page, "report.txt"), "Try again").click()
    expect_failed(row(page, "report.txt"), "The file is too large.")
    expect(link).to_be_hidden()


def test_a_session_that_ended_stops_the_queue_until_somebody_is_signed_in_again(
    page: Page, alice: User, watch: Watch, open_site: Site
) -> None:
    watch.foresee("401")
    end_sessions()
    choose(page, *[a_file(f"{number}.txt") for number in range(9)])

    expect(page.locator("[data-state=failed]")).to_have_count(4)
    expect(page.locator("[data-state=waiting]")).to_have_count(5)
    sign_in(page.context, alice, open_site)
    page.get_by_role("button", name="Retry all").click()

    expect(page.locator("#files > .file")).to_have_count(9)


def test_a_notice_stays_while_an_upload_goes_on(page: Page, watch: Watch) -> None:
    watch.foresee("503")
    choose(page, a_file("old.txt"))
    expect(finished(page, "old.txt")).to_be_visible()
    puts = Held(page, bucket())
    choose(page, a_file("one.txt"))
    puts.wait_for()
    refuse(page, "**/delete", 503, "MongoDB does not answer.")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name="Delete old.txt").click()
    expect(page.get_by_role("alert")).to_contain_text("MongoDB does not answer.")

    puts.let_go()
    expect(finished(page, "one.txt")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("MongoDB does not answer.")


# --- the confirm --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 500, 503])
def test_a_confirm_that_fails_is_tried_again_without_sending_the_file_twice(page: Page, watch: Watch, code: int) -> None:
    watch.foresee(str(code))
    refuse(page, "**/files/confirm", code, "The bucket does not answer.")
    choose(page, a_file())

    if code == 401:  # all the others pass by themselves
        expect_failed(row(page, "report.txt"), "The bucket does not answer.")
        button(row(page, "report.txt"), "Try again").click()

    expect(finished(page, "report.txt")).to_be_visible()
    assert len(watch.sent("PUT", "")) == 1
    assert len(watch.sent("POST", "/files/confirm")) == 2


def test_a_confirm_whose_answer_is_lost_finds_the_file_ready(page: Page, watch: Watch) -> None:
    watch.foresee("ERR_FAILED", "^htmx:")
    confirming = Held(page, "**/files/confirm", "POST")
    choose(page, a_file())
    confirming.wait_for()
    route = confirming.waiting.pop()
    confirming.open = True
    route.fetch()
    route.abort()

    expect(finished(page, "report.txt")).to_be_visible()
    assert File.objects.count() == 1


def test_a_confirm_that_finds_nothing_in_the_bucket_sends_the_file_again(page: Page, watch: Watch) -> None:
    watch.foresee("409")
    confirming = Held(page, "**/files/confirm", "POST")
    choose(page, a_file())
    confirming.wait_for()
    (file,) = File.objects.pending()
    storage.delete(file.key)
    confirming.let_go()

    expect_failed(row(page, "report.txt"), "The file has not arrived in the bucket. Upload it, then confirm again.")
    button(row(page, "report.txt"), "Try again").click()
    expect(finished(page, "report.txt")).to_be_visible()
    assert len(watch.sent("PUT", "")) == 2


# --- the way on ---------------------------------------------------------------------------------------------------------


def fail_once(page: Page, watch: Watch, *wanted: str) -> None:
    """Uploads whose PUTs were cut, again and again."""
    watch.foresee("ERR_FAILED")
    page.route(bucket(), lambda route: route.abort(), times=len(wanted) * ATTEMPTS)
    choose(page, *[a_file(name) for name in wanted])
    for name in wanted:
        expect_failed(row(page, name), CUT)


def test_each_try_signs_anew_and_gives_up_the_old_key(page: Page, watch: Watch) -> None:
    signed: list[Response] = []
    page.on("response", lambda response: signed.append(response) if "/sign" in response.url else None)
    fail_once(page, watch, "report.txt")

    button(row(page, "report.txt"), "Try again").click()

    expect(finished(page, "report.txt")).to_be_visible()
    keys = [response.json()["key"] for response in signed]
    assert len(set(keys)) == ATTEMPTS + 1
    until(page, lambda: File.objects.pending().count() == 0)
    assert [file.key for file in File.objects.ready()] == [keys[-1]]
    assert File.objects.filter(key__in=keys[:-1], status__ne=Status.DELETING).count() == 0


def test_remove_takes_the_row_away_and_gives_up_its_document(page: Page, watch: Watch) -> None:
    fail_once(page, watch, "report.txt")

    button(row(page, "report.txt"), "Remove").click()

    expect(row(page, "report.txt")).to_have_count(0)
    until(page, lambda: File.objects.pending().count() == 0)
    assert never_confirmed(watch)
    page.reload()
    assert names(page) == []


def test_uploads_that_fail_make_room_for_the_next_and_are_all_retried_by_one_button(page: Page, watch: Watch) -> None:
    watch.foresee("ERR_FAILED")
    broken = [f"{number}.txt" for number in range(5)]
    page.route(
        bucket(),
        lambda route: route.abort() if any(f"-{name}?" in route.request.url for name in broken) else route.fallback(),
    )
    choose(page, *[a_file(f"{number}.txt") for number in range(9)])

    expect(page.locator("[data-state=failed]")).to_have_count(5)
    expect(page.locator("#files > .file")).to_have_count(4)
    expect(page.locator("#queue p")).to_have_text("5 not uploaded")
    expect(page).to_have_title("Your files · uploadkit")
    broken.clear()
    page.get_by_role("button", name="Retry all").click()

    expect(page.locator("#files > .file")).to_have_count(9)
    expect(page.locator("#queue")).to_be_hidden()
