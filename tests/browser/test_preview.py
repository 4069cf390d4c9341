"""A look at a file without downloading it, in the list's dialog."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from typing import Any

from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from files import uploads
from files.documents import File
from files.kinds import Kind

from .conftest import Visit, Watch, finished, until
from .test_list import ready

HTML = b"<!doctype html><title>as it came</title><script>document.body.textContent = 'it ran'</script><h1>Hello</h1>"


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    line = b"\0" + b"".join(bytes((x * 255 // width, 90, 160)) for x in range(width))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(line * height)) + chunk(b"IEND", b"")


def wav(seconds: int) -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as tone:
        tone.setnchannels(1)
        tone.setsampwidth(2)
        tone.setframerate(44_100)
        tone.writeframes(bytes(2 * 44_100 * seconds))
    return written.getvalue()


def pdf(text: str) -> bytes:
    content = f"BT /F1 36 Tf 40 100 Td ({text}) Tj ET".encode()
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 200]/Contents 4 0 R/Resources<</Font<</F1 " + font + b">>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
    ]
    written, places = b"%PDF-1.4\n", b"0000000000 65535 f \n"
    for number, it in enumerate(objects, 1):
        places += b"%010d 00000 n \n" % len(written)
        written += b"%d 0 obj\n%s\nendobj\n" % (number, it)
    return written + b"xref\n0 5\n%strailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (places, len(written))


def name(page: Page, words: str) -> Locator:
    return finished(page, words).locator("a.name")


def title(page: Page) -> Locator:
    return page.get_by_role("dialog").get_by_role("heading")


def test_the_arrow_keys_walk_past_an_image_a_page_as_text_a_pdf_a_sound_and_a_broken_film(
    visit: Visit, alice: User, cast: Any, watch: Watch
) -> None:
    for filename, kind, body in [  # the last one is the first of the list
        ("film.mp4", "video/mp4", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2, and no film"),
        ("tone.wav", "audio/wav", wav(90)),
        ("plan.pdf", "application/pdf", pdf("Hello")),
        ("page.html", "text/html", HTML),
        ("photo.png", "image/png", png(800, 500)),
    ]:
        cast.upload(alice, body, filename=filename, content_type=kind)
    page = visit(alice)
    dialog = page.get_by_role("dialog")

    name(page, "photo.png").click()
    expect(title(page)).to_be_focused()
    photo = dialog.get_by_role("img", name="photo.png")
    until(page, lambda: photo.evaluate("(it) => it.naturalWidth") == 800)
    expect(dialog.get_by_role("button", name="Previous file")).to_be_disabled()

    page.set_viewport_size({"width": 360, "height": 740})
    assert photo.bounding_box()["x"] >= 0 and photo.bounding_box()["width"] <= 360  # type: ignore[index]
    expect(dialog.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)

    page.keyboard.press("ArrowRight")
    expect(title(page)).to_have_text("page.html")
    expect(dialog.locator("iframe")).to_have_attribute("sandbox", "")
    expect(page.frame_locator("#dialog iframe").locator("body")).to_have_text(HTML.decode())

    page.keyboard.press("ArrowRight")
    expect(title(page)).to_have_text("plan.pdf")
    if page.evaluate("() => navigator.pdfViewerEnabled"):
        until(page, lambda: any(frame.url.startswith("chrome-extension:") for frame in page.frames))
        expect(dialog.locator("iframe")).to_be_visible()
    else:
        expect(dialog.get_by_role("status")).to_contain_text("It could not be shown")

    dialog.get_by_role("button", name="Next file").click()
    expect(title(page)).to_have_text("tone.wav")
    expect(dialog.get_by_role("button", name="Next file")).to_be_focused()
    tone = dialog.locator("audio")
    until(page, lambda: tone.evaluate("(it) => it.duration") == 90)
    tone.evaluate("(it) => { it.currentTime = 80; }")
    until(page, lambda: tone.evaluate("(it) => !it.seeking && it.currentTime === 80 && it.readyState >= 2"))
    ranges = [request.headers.get("range", "bytes=0-") for request in watch.sent("GET", "tone.wav")]
    assert any(it != "bytes=0-" for it in ranges), "what is sought is asked for by itself"
    tone.focus()
    page.keyboard.press("ArrowRight")
    expect(title(page)).to_have_text("tone.wav")

    title(page).focus()
    page.keyboard.press("ArrowRight")
    expect(title(page)).to_have_text("film.mp4")
    expect(dialog.get_by_role("status")).to_contain_text("It could not be shown")
    expect(dialog.get_by_role("link", name="Download")).to_be_visible()
    expect(dialog.get_by_role("button", name="Next file")).to_be_disabled()

    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(name(page, "film.mp4")).to_be_focused()
    page.keyboard.press("Enter")
    expect(title(page)).to_have_text("film.mp4")
    dialog.get_by_role("button", name="Close").click()
    expect(name(page, "film.mp4")).to_be_focused()


def test_it_goes_on_behind_the_end_of_what_is_listed_and_ends_at_a_file_that_is_gone(
    visit: Visit, alice: User, watch: Watch
) -> None:
    watch.foresee("404")
    ready(alice, 53)
    # Of a kind for which the bucket is not asked.
    File.objects.update(content_type="application/zip", kind=Kind.ARCHIVE)
    page = visit(alice)
    newest_first = [file.name for file in File.objects.order_by("-ready_at", "-key")]

    name(page, newest_first[48]).click()
    expect(title(page)).to_have_text(newest_first[48])
    expect(page.get_by_role("dialog")).to_contain_text("cannot be shown here")
    for place in (49, 50, 51):
        expect(page.get_by_role("button", name="Next file")).to_be_enabled()
        page.keyboard.press("ArrowRight")
        expect(title(page)).to_have_text(newest_first[place])
    page.keyboard.press("Control+ArrowRight")
    expect(title(page)).to_have_text(newest_first[51])

    uploads.trash(str(alice.pk), [File.objects.get(name=newest_first[52]).key])
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("alert")).to_contain_text("There is no such file among yours.")
    expect(page.get_by_role("alert")).to_be_in_viewport()
