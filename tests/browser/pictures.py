"""`make screenshots`: a picture of every page, and the one in the README."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Literal

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from files import jobs, names, shares, uploads
from files.documents import File, Status, name_fields
from files.kinds import kind_of
from tests.conftest import ROOT, Cast
from tests.operations import a_month

from . import test_checks
from .conftest import Visit, Watch, choose, refuse, row, status, upload_at
from .test_checks import a_broken_picture, a_page, a_picture, check

FOLDER = ROOT / "screenshots"
README = ROOT / "docs" / "screenshot.png"

MEGABYTE = 1024 * 1024
LISTED = [  # name, type, bytes, minutes since
    ("Floor plan, second draft.pdf", "application/pdf", 2_413_880, 4),
    ("2026-11-14 Interview Okafor.m4a", "audio/mp4", 31_204_551, 52),
    ("Rechnung Nº 2041 – Größe & Farbe.pdf", "application/pdf", 184_022, 190),
    ("kitchen-north-wall.heic", "image/heic", 4_811_905, 60 * 21),
    ("Кошторис 2026.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 58_711, 60 * 26),
    ("all-measurements-of-the-site-with-every-correction-that-was-made-until-november.csv", "text/csv", 912_404, 60 * 70),
    ("عرض الأسعار.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", 77_430, 60 * 24 * 6),
    ("backup.tar.zst", "application/zstd", 48_913_408, 60 * 24 * 33),
]

# A large file that need not go through Playwright: the page makes it and drops it.
DROP_LARGE = """([name, kind, size]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(size)], name, { type: kind }));
    document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
}"""

Scheme = Literal["light", "dark"]
LOOKS: list[tuple[int, Scheme]] = [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")]
looks = pytest.mark.parametrize(("width", "scheme"), LOOKS)


def look(visit: Visit, user: User | None, path: str, width: int, scheme: Scheme) -> Page:
    size = {"width": width, "height": 800 if width > 500 else 740}
    return visit(user, path, viewport=size, color_scheme=scheme)


def take(page: Page, name: str, width: int, scheme: Scheme) -> None:
    page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png", full_page=True)


def list_files(owner: User) -> None:
    for name, kind, size, minutes in LISTED:
        moment = uploads.now() - timedelta(minutes=minutes)
        key = names.new_key(str(owner.pk), name)
        File(
            key=key,
            owner_id=str(owner.pk),
            **name_fields(name),
            kind=kind_of(kind, name),
            content_type=kind,
            size=size,
            status=Status.READY,
            created_at=moment,
            ready_at=moment,
            etag="5d41402abc4b2a76b9719d911017c592",
        ).save(force_insert=True)


def upload_slowly(page: Page, name: str, kind: str, megabytes: int) -> Locator:
    """A row that has come a good way and takes a while yet."""
    upload_at(page, 4 * MEGABYTE)
    page.evaluate(DROP_LARGE, [name, kind, megabytes * MEGABYTE])
    return row(page, name)


def come_to(upload: Locator, percent: str) -> None:
    expect(status(upload)).to_have_text(re.compile(rf"^{percent} %"))


@pytest.fixture
def alice(alice: User) -> User:
    alice.first_name, alice.last_name = "Alice", "Moreau"
    alice.save()
    return alice


@looks
@pytest.mark.parametrize(("name", "path"), [("landing", "/"), ("login", "/login"), ("missing", "/nothing-here")])
def test_pages_of_a_stranger(visit: Visit, watch: Watch, name: str, path: str, width: int, scheme: Scheme) -> None:
    watch.foresee("404")
    take(look(visit, None, path, width, scheme), name, width, scheme)


@looks
def test_the_list(visit: Visit, alice: User, width: int, scheme: Scheme) -> None:
    page = look(visit, alice, "/files/", width, scheme)
    take(page, "empty", width, scheme)

    list_files(alice)
    page.reload()
    take(page, "list", width, scheme)

    page.get_by_role("link", name="Delete Floor").focus()
    page.keyboard.press("Tab")
    take(page, "focus", width, scheme)

    newest = f"/files/{File.objects.order_by('-ready_at').first().key}"
    for form in ("rename", "delete"):
        page.goto(f"{newest}/{form}")
        take(page, form, width, scheme)


@looks
def test_what_is_done_with_the_list(visit: Visit, alice: User, width: int, scheme: Scheme) -> None:
    list_files(alice)
    page = look(visit, alice, "/files/", width, scheme)
    for place in (1, 2, 3):
        page.locator("#files [name=key]").nth(place).check()
    page.screenshot(path=FOLDER / f"selected-{width}-{scheme}.png")
    page.get_by_role("form", name="Selected files").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_contain_text("3 files are deleted.")
    page.screenshot(path=FOLDER / f"undo-{width}-{scheme}.png")
    page.get_by_role("link", name="Rename Floor").click()
    expect(page.get_by_role("textbox", name="New name of Floor")).to_be_focused()
    take(page, "renaming", width, scheme)
    page.get_by_role("searchbox").fill("chimney")
    expect(page.locator("#files").get_by_text("No file of yours")).to_be_visible()
    take(page, "nothing-found", width, scheme)


@looks
def test_previews_and_links(visit: Visit, alice: User, cast: type[Cast], width: int, scheme: Scheme) -> None:
    list_files(alice)
    picture = cast.upload(alice, (ROOT / "docs" / "screenshot.png").read_bytes(), filename="plan.png", content_type="image/png")
    notes = b"Things to ask on Tuesday\n\n- the north wall\n- who has the key?\n"
    cast.upload(alice, notes, filename="notes.txt", content_type="text/plain")
    page = look(visit, alice, "/files/", width, scheme)
    for name, state in (("plan.png", "preview-image"), ("notes.txt", "preview-text"), ("backup.tar.zst", "preview-none")):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("dialog").get_by_role("heading", name=name)).to_be_visible()
        page.wait_for_timeout(500)  # what the bucket sends
        page.screenshot(path=FOLDER / f"{state}-{width}-{scheme}.png")
        page.keyboard.press("Escape")

    link = shares.create(str(alice.pk), picture.key, lives=timedelta(days=7), limit=10)
    shown = shares.create(str(alice.pk), picture.key, lives=timedelta(days=7))
    locked = shares.create(str(alice.pk), picture.key, lives=timedelta(hours=1), password="open sesame")
    page.get_by_role("link", name="Share plan.png").click()
    expect(page.get_by_role("dialog").get_by_role("button", name="Copy").first).to_be_visible()
    page.screenshot(path=FOLDER / f"share-{width}-{scheme}.png")
    for token, state in ((shown.token, "shared"), (link.token, "shared-counted"), (locked.token, "shared-locked")):
        page.goto(f"/s/{token}")
        page.wait_for_timeout(500)  # what the bucket sends
        take(page, state, width, scheme)


@looks
def test_an_upload_that_runs_one_that_waits_and_one_that_failed(
    visit: Visit, alice: User, watch: Watch, width: int, scheme: Scheme
) -> None:
    watch.foresee("413")
    list_files(alice)
    page = look(visit, alice, "/files/", width, scheme)
    refuse(
        page, "**/api/uploads/sign", 413, "The file has 61.0\xa0MB; 50.0\xa0MB is the most. Choose a smaller one.", "too_large"
    )
    page.evaluate(DROP_LARGE, ["Site visit, west side.mov", "video/quicktime", 61 * MEGABYTE])
    expect(row(page, "Site visit")).to_have_attribute("data-state", "failed")
    take(page, "failed", width, scheme)

    upload = upload_slowly(page, "Model of the roof.ifc", "application/x-step", 20)
    come_to(upload, "[3-9][0-9]")
    take(page, "uploading", width, scheme)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    take(page, "paused", width, scheme)


@looks
def test_what_was_not_finished(visit: Visit, alice: User, cast: type[Cast], width: int, scheme: Scheme) -> None:
    list_files(alice)
    cast.put(cast.sign(alice, filename="Lease, signed.pdf"))
    cast.sign(alice, filename="Walk through the garden.mp4", content_type="video/mp4", size=31_000_000)
    page = look(visit, alice, "/files/", width, scheme)
    expect(page.get_by_role("button", name="Finish")).to_be_visible()
    take(page, "unfinished", width, scheme)


@looks
def test_what_is_checked_and_what_was_rejected(
    visit: Visit, alice: User, cast: type[Cast], watch: Watch, settings: Any, width: int, scheme: Scheme
) -> None:
    watch.foresee("422")
    list_files(alice)
    cast.upload(alice, (ROOT / "docs" / "screenshot.png").read_bytes(), filename="plan.png", content_type="image/png")
    page = look(visit, alice, "/files/", width, scheme)
    choose(page, a_broken_picture("Garden, east side.png"))
    expect(page.locator(".checking")).to_have_count(1)
    check()
    expect(page.locator(".rejected")).to_have_count(1)
    choose(page, a_picture("Kitchen, north wall.png"), a_page("Bathroom.png"))
    expect(page.locator(".checking")).to_have_count(1)
    expect(page.locator("[data-state=failed]")).to_have_count(1)
    take(page, "checking", width, scheme)

    settings.ROOT_URLCONF = test_checks.__name__
    page.goto("/avatars/")
    take(page, "uploader-avatars", width, scheme)
    choose(page, a_picture("me.png"))
    expect(page.locator(".checking")).to_have_count(1)
    check()
    expect(page.locator("img.picture")).to_be_visible()
    take(page, "uploader-avatars-done", width, scheme)


@pytest.mark.django_db(transaction=True, databases=["default", "mongo"])
@looks
def test_the_admin(visit: Visit, ops: User, alice: User, settings: Any, width: int, scheme: Scheme) -> None:
    list_files(alice)
    page = look(visit, ops, "/admin/files/storedfile/", width, scheme)
    take(page, "admin-list", width, scheme)

    settings.SITE_ORIGINS = ["http://testserver", "https://files.example.com"]  # of which the bucket knows one
    page.get_by_role("link", name="Is the bucket right?").click()
    take(page, "admin-storage", width, scheme)
    page.get_by_role("button", name="Examine the bucket").click()
    expect(page.get_by_role("status")).to_contain_text("promises hold")
    take(page, "admin-storage-examined", width, scheme)

    page.goto(f"/admin/files/storedfile/owner/{alice.pk}/")
    take(page, "admin-owner", width, scheme)


@pytest.mark.django_db(transaction=True, databases=["default", "mongo"])
@looks
def test_many_files_at_once_in_the_admin(visit: Visit, ops: User, alice: User, width: int, scheme: Scheme) -> None:
    list_files(alice)
    page = look(visit, ops, "/admin/files/storedfile/?date=2026&size=1m-10m", width, scheme)
    take(page, "admin-filtered", width, scheme)
    page.goto("/admin/files/storedfile/")
    page.locator("#action-toggle").check()
    page.locator("[name=action]").select_option("check_again")
    page.get_by_role("button", name="Go").click()
    take(page, "admin-job-asked", width, scheme)
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("It waits for a worker.")).to_be_visible()
    (job,) = jobs.Job.objects
    jobs.Job.objects(key=job.key).update(state="running", total=12_345, done=4_200, changed=4_100)
    expect(page.get_by_text("4,200 of 12,345")).to_be_visible()
    take(page, "admin-job", width, scheme)
    page.goto("/admin/files/storedfile/jobs/")
    take(page, "admin-jobs", width, scheme)


@pytest.mark.django_db(transaction=True, databases=["default", "mongo"])
@looks
def test_the_dashboard(visit: Visit, ops: User, alice: User, bob: User, width: int, scheme: Scheme) -> None:
    page = look(visit, ops, "/admin/", width, scheme)
    take(page, "admin-index-empty", width, scheme)
    a_month(alice, bob, ops)
    page.reload()
    take(page, "admin-index", width, scheme)


def test_the_picture_in_the_readme(visit: Visit, alice: User) -> None:
    README.parent.mkdir(exist_ok=True)
    list_files(alice)
    page = visit(alice, viewport={"width": 1200, "height": 720}, color_scheme="light")
    upload = upload_slowly(page, "Walk through the garden.mp4", "video/mp4", 40)
    come_to(upload, "(5[5-9]|6[0-9])")
    page.screenshot(path=README)
