"""What is seen of a file's checks: a row that says what is being done, and what became of it."""

import io
import random
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, expect

from files import checking, previews, uploads
from files.documents import File, Status
from files.reasons import SENTENCES, Reason

from .conftest import LISTEN, SHIFTS, Visit, Watch, a_file, button, choose, expect_failed, finished, row, said, status, until
from .test_keyboard import tab_to

BROKEN = str(SENTENCES[Reason.BROKEN])


def a_picture(name: str = "cat.png", *, side: int = 64) -> FilePayload:
    colours = random.Random(name)
    body = io.BytesIO()
    with Image.new("RGB", (side, side // 2), tuple(colours.randrange(256) for _ in range(3))) as picture:
        picture.save(body, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": body.getvalue()}


def a_broken_picture(name: str = "torn.png") -> FilePayload:
    return {**a_picture(name), "buffer": a_picture(name)["buffer"][:60]}


def a_page(name: str) -> FilePayload:
    """What is rejected on arrival."""
    return {"name": name, "mimeType": "image/png", "buffer": b"<html><script>alert(1)</script></html>"}


def check() -> None:
    """Make the checks that a worker would make."""
    for file in File.objects(status=Status.CHECKING):
        checking.check(file.key, file.check_at)


def height(row: Locator) -> float:
    box = row.bounding_box()
    assert box
    return box["height"]


def announced(page: Page) -> str:
    return "\n".join(said(page, "announced"))


@pytest.mark.parametrize("width", [1280, 360])
def test_a_picture_is_seen_being_looked_at_and_becomes_a_row_with_its_thumbnail_in_the_same_place(
    visit: Visit, alice: User, width: int
) -> None:
    page = visit(alice, viewport={"width": width, "height": 800})
    page.evaluate(LISTEN)
    choose(page, a_file("notes.txt"))
    expect(finished(page, "notes.txt")).to_be_visible()
    choose(page, a_picture())

    cat = row(page, "cat.png")
    expect(cat).to_contain_text("Looking at the picture")
    expect(page.locator("[data-upload]")).to_have_count(0)
    expect(page.locator("#queue")).to_be_hidden()
    assert "cat.png has arrived and is being checked" in announced(page)
    before, ordinary = height(cat), height(finished(page, "notes.txt"))
    assert before == ordinary

    other = page.context.new_page()
    other.goto("/files/")
    expect(row(other, "cat.png")).to_contain_text("Looking at the picture")

    page.evaluate(SHIFTS)
    page.wait_for_timeout(600)
    page.evaluate("() => { window.shifts = []; }")
    check()
    for tab in (page, other):
        tab.bring_to_front()
        expect(finished(tab, "cat.png")).to_be_visible()
        expect(tab.locator(".checking")).to_have_count(0)
        tab.wait_for_function("() => document.querySelector('img.picture')?.naturalWidth > 0")
    assert height(finished(page, "cat.png")) == ordinary
    assert page.evaluate("() => window.shifts") == []
    assert "cat.png is checked and on your list" in announced(page)
    name, plain = (finished(page, it).locator(".name").bounding_box() for it in ("cat.png", "notes.txt"))
    assert name and plain and name["x"] == plain["x"]


def test_a_check_that_takes_long_says_so_outlives_what_is_down_and_a_search_and_can_be_cancelled(
    page: Page, alice: User, watch: Watch
) -> None:
    watch.foresee("503", "404")
    choose(page, a_picture("one.png"), a_picture("two.png"), a_picture("three.png"))
    expect(page.locator(".checking")).to_have_count(3)

    button(row(page, "two.png"), "Cancel two.png").focus()
    collection = File._get_collection()
    collection.update_many({}, {"$set": {"trail.$[].at": uploads.now() - timedelta(minutes=1)}})
    expect(row(page, "one.png")).to_contain_text("Its check takes a while")
    expect(button(row(page, "two.png"), "Cancel two.png")).to_be_focused()  # though the row is another now
    collection.update_many({}, {"$set": {"step": "scan"}})
    expect(row(page, "one.png")).to_contain_text("Waiting for the virus scanner")

    page.route("**/row?seen=*", lambda route: route.fulfill(status=503, body="MongoDB does not answer."))
    asked = len(watch.sent("GET", "/row?seen="))
    until(page, lambda: len(watch.sent("GET", "/row?seen=")) >= asked + 4)
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator(".checking")).to_have_count(3)
    page.unroute("**/row?seen=*")

    page.get_by_role("searchbox").fill("nothing such")
    expect(page.locator("#files").get_by_text("No file of yours")).to_be_visible()
    expect(page.locator(".checking")).to_have_count(3)

    page.keyboard.press("Escape")
    button(row(page, "two.png"), "Cancel two.png").click()
    expect(row(page, "two.png")).to_have_count(0)
    uploads.cancel(str(alice.pk), File.objects.get(name="three.png").key)  # in another tab, say
    expect(row(page, "three.png")).to_have_count(0)
    check()
    expect(finished(page, "one.png")).to_be_visible()
    assert [file.name for file in File.objects] == ["one.png"]
    expect(page.locator("#notice")).to_be_hidden()


def test_of_many_under_their_checks_a_tab_asks_for_eight_a_second_and_of_each_ever_more_seldom(
    visit: Visit, alice: User, watch: Watch, cast: Any
) -> None:
    for number in range(15):
        picture = a_picture(f"{number}.png")
        signed = cast.sign(alice, filename=picture["name"], content_type="image/png", size=len(picture["buffer"]))
        cast.put(signed, picture["buffer"])
        uploads.confirm(str(alice.pk), signed.key)
    page = visit(alice)
    expect(page.locator(".checking")).to_have_count(15)

    page.wait_for_timeout(3_500)
    asked = watch.sent("GET", "/row?seen=")

    assert 15 <= len(asked) <= 4 * 8
    assert len({request.url for request in asked}) == 15


def test_a_picture_that_is_rejected_says_why_and_is_dismissed_by_the_keyboard(page: Page, alice: User) -> None:
    choose(page, a_file("notes.txt"), a_broken_picture())
    expect(row(page, "torn.png")).to_contain_text("Looking at the picture")
    check()

    torn = page.locator(".rejected")
    expect(torn).to_contain_text(BROKEN)
    assert f"torn.png is not accepted. {BROKEN}" in announced(page)
    page.reload()
    expect(torn).to_contain_text(BROKEN)
    tab_to(page, ".rejected button")
    page.keyboard.press("Enter")

    expect(torn).to_have_count(0)
    expect(finished(page, "notes.txt").get_by_role("link", name="notes.txt", exact=True)).to_be_focused()
    page.reload()
    expect(finished(page, "notes.txt")).to_be_visible()
    expect(torn).to_have_count(0)
    assert File.objects.get(name="torn.png").status == Status.REJECTED


def test_what_is_rejected_on_arrival_can_only_be_removed(page: Page, watch: Watch) -> None:
    watch.foresee("422")
    choose(page, a_page("cat.png"))

    cat = row(page, "cat.png")
    expect(cat).to_have_attribute("data-state", "failed")
    expect(status(cat)).to_have_text(str(SENTENCES[Reason(File.objects.get().reason)]))
    expect(button(cat, "Try again")).to_be_hidden()
    expect(button(page.locator("#queue"), "Retry all")).to_be_hidden()
    expect(page.locator("#queue")).to_contain_text("1 not uploaded")

    page.reload()  # the site keeps it for somebody who looks away
    expect(page.locator(".rejected")).to_have_count(1)
    choose(page, a_page("dog.png"))
    button(row(page, "dog.png"), "Remove dog.png").click()
    until(page, lambda: File.objects.get(name="dog.png").dismissed)
    page.reload()
    expect(page.locator(".rejected")).to_have_count(1)
    assert watch.sent("POST", "/api/uploads/cancel") == []


def test_what_is_finished_and_then_rejected_says_so_and_is_unfinished_no_more(
    visit: Visit, alice: User, cast: Any, watch: Watch
) -> None:
    watch.foresee("422")
    page_as_picture = a_page("cat.png")["buffer"]
    cast.put(cast.sign(alice, filename="cat.png", content_type="image/png", size=len(page_as_picture)), page_as_picture)
    page = visit(alice)

    page.get_by_role("button", name="Finish cat.png").click()

    expect(page.get_by_role("alert")).to_contain_text(str(SENTENCES[Reason.ACTIVE]))
    expect(page.locator("#unfinished")).to_have_count(0)


def test_a_thumbnail_is_fetched_once(visit: Visit, alice: User, cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cast.upload(alice, a_picture()["buffer"], filename="cat.png", content_type="image/png")
    signed: list[str] = []
    real = previews.thumbnail_url

    def counted(file: File) -> str:
        signed.append(file.key)
        return real(file)

    monkeypatch.setattr(previews, "thumbnail_url", counted)
    page = visit(alice, "/login")
    answers = set()

    def note(event: dict[str, Any]) -> None:
        if "/thumbnail/" in event["response"]["url"]:
            answers.add(event["response"]["headers"]["X-Amz-Request-Id"])

    network = page.context.new_cdp_session(page)
    network.on("Network.responseReceived", note)
    network.send("Network.enable")
    for _visit in range(3):
        page.goto("/files/")
        page.wait_for_function("() => document.querySelector('img.picture')?.naturalWidth > 0")
        page.goto("/login")

    assert len(signed) == 1
    assert len(answers) == 1


# --- the uploader on another page -------------------------------------------------------------------------------------------

AVATARS = """{% extends "base.html" %}{% load uploader %}
{% block title %}Your picture{% endblock %}
{% block head %}{% uploader_head %}{% endblock %}
{% block main %}<h1>Your picture</h1>{% uploader "avatars" %}{% endblock %}"""


def avatars(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(AVATARS).render({}, request))


urlpatterns = [path("avatars/", avatars), path("", include("uploadkit.urls"))]


def test_the_uploader_of_a_policy_on_a_page_of_its_own(visit: Visit, alice: User, watch: Watch, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.UPLOAD_POLICIES = {**settings.UPLOAD_POLICIES, "avatars": {**settings.UPLOAD_POLICIES["avatars"], "max_files": 2}}
    watch.foresee("415", "429")
    page = visit(alice, "/avatars/")
    expect(page.locator(".drop")).to_contain_text("Images up to 5.0\xa0MB each, 2 a day at most")
    expect(page.locator("#chooser")).to_have_attribute("accept", "image/*")

    choose(page, a_file("cv.pdf", kind="application/pdf"))
    expect_failed(row(page, "cv.pdf"), "Files of type application/pdf are not accepted here, only image/*.")
    button(row(page, "cv.pdf"), "Remove").click()

    with Image.new("RGB", (600, 400), "teal") as picture:
        body, exif = io.BytesIO(), Image.Exif()
        exif[0x010E] = "where I live"
        picture.save(body, "JPEG", exif=exif)
    choose(page, {"name": "me.jpg", "mimeType": "image/jpeg", "buffer": body.getvalue()})
    expect(row(page, "me.jpg")).to_contain_text("Looking at the picture")
    check()
    expect(finished(page, "me.jpg")).to_be_visible()
    page.wait_for_function("() => document.querySelector('img.picture')?.naturalWidth === 320")
    file = File.objects.get(name="me.jpg")
    assert file.policy == "avatars"
    assert file.cleaned and file.object_key == file.cleaned

    # What is done with a file is done as on the list.
    page.get_by_role("link", name="me.jpg", exact=True).click()
    expect(page.get_by_role("dialog").get_by_label("SHA-256")).to_have_value(file.sha256)
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Delete me.jpg").click()
    expect(finished(page, "me.jpg")).to_have_count(0)
    page.get_by_role("status").get_by_role("button", name="Undo").click()
    expect(finished(page, "me.jpg")).to_be_visible()
    page.get_by_role("checkbox", name="Select me.jpg").check()
    expect(page.get_by_role("form", name="Selected files")).to_be_visible()

    # A day is too long to wait for: the queue goes on.
    choose(page, a_picture("2.png"), a_picture("3.png"))
    expect(page.locator(".checking")).to_have_count(1)
    failed = page.locator("[data-state=failed]")
    expect(status(failed)).to_have_text("2 files a day are the most here. Try again in 24 hours.")
    expect(page.locator("#queue")).to_contain_text("1 not uploaded")
