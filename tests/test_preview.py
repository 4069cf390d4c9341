"""GET /files/<key>/: a file to look at, from the bucket, and only ever as a type that cannot run script."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from files import previews, uploads
from files.documents import File
from files.previews import Element

from .conftest import Cast
from .corpus.make import SVG_AT_WORK, isom, pdf, saved, wav, zipped

HTMX = {"HX-Request": "true"}
PLAIN = "text/plain; charset=utf-8"
UNKNOWN = "application/octet-stream"
CAN_RUN_SCRIPT = re.compile(r"html|xml|svg|script|pdf\+|octet-stream|multipart|^$")


WHAT_SHOWS = [  # type, name, and what shows it as which type
    ("image/png", "a.png", Element.IMAGE, "image/png"),
    ("image/jpeg", "a.jpg", Element.IMAGE, "image/jpeg"),
    ("image/gif", "a.gif", Element.IMAGE, "image/gif"),
    ("image/webp", "a.webp", Element.IMAGE, "image/webp"),
    ("image/avif", "a.avif", Element.IMAGE, "image/avif"),
    ("image/x-ms-bmp", "a.bmp", Element.IMAGE, "image/bmp"),
    ("audio/mpeg", "a.mp3", Element.AUDIO, "audio/mpeg"),
    ("audio/x-m4a", "a.m4a", Element.AUDIO, "audio/mp4"),
    ("audio/x-wav", "a.wav", Element.AUDIO, "audio/wav"),
    ("video/mp4", "a.mp4", Element.VIDEO, "video/mp4"),
    ("video/webm", "a.webm", Element.VIDEO, "video/webm"),
    ("video/quicktime", "a.mov", Element.VIDEO, "video/quicktime"),
    ("application/pdf", "a.pdf", Element.PDF, "application/pdf"),
    ("text/plain", "a.txt", Element.TEXT, PLAIN),
    ("text/csv", "a.csv", Element.TEXT, PLAIN),
    ("text/markdown", "a.md", Element.TEXT, PLAIN),
    ("text/x-python", "a.py", Element.TEXT, PLAIN),
    ("application/json", "a.json", Element.TEXT, PLAIN),
    ("application/yaml", "a.yaml", Element.TEXT, PLAIN),
    ("application/toml", "a.toml", Element.TEXT, PLAIN),
    ("application/sql", "a.sql", Element.TEXT, PLAIN),
    # What would run script is text, whatever its name says.
    ("text/html", "a.html", Element.TEXT, PLAIN),
    ("text/html", "a.png", Element.TEXT, PLAIN),
    ("text/javascript", "a.js", Element.TEXT, PLAIN),
    ("application/javascript", "a.js", Element.TEXT, PLAIN),
    ("text/xml", "a.xml", Element.TEXT, PLAIN),
    ("application/xml", "a.xml", Element.TEXT, PLAIN),
    ("application/xhtml+xml", "a.xhtml", Element.TEXT, PLAIN),
    ("application/mathml+xml", "a.mml", Element.TEXT, PLAIN),
    ("application/rdf+xml", "a.pdf", Element.TEXT, PLAIN),
    ("image/svg+xml", "a.svg", Element.TEXT, PLAIN),
    ("image/svg+xml", "a.png", Element.TEXT, PLAIN),
    # Types that say nothing: the end of the name decides.
    (UNKNOWN, "Photo.JPG", Element.IMAGE, "image/jpeg"),
    (UNKNOWN, "page.html", Element.TEXT, PLAIN),
    (UNKNOWN, "drawing.svg", Element.TEXT, PLAIN),
    (UNKNOWN, "main.rs", Element.TEXT, PLAIN),
    (UNKNOWN, "Dockerfile", Element.TEXT, PLAIN),
    (UNKNOWN, ".gitignore", Element.TEXT, PLAIN),
    ("video/mp2t", "index.ts", Element.TEXT, PLAIN),
    ("application/vnd.ms-excel", "figures.csv", Element.TEXT, PLAIN),
    (UNKNOWN, "talk.mp3", Element.AUDIO, "audio/mpeg"),
    # And what is not on the list is not shown.
    (UNKNOWN, "a.bin", Element.NOTHING, ""),
    (UNKNOWN, "png", Element.IMAGE, "image/png"),
    (UNKNOWN, "…", Element.NOTHING, ""),
    ("application/vnd.ms-excel", "figures.xls", Element.NOTHING, ""),
    ("application/zip", "a.png", Element.NOTHING, ""),
    ("application/x-shockwave-flash", "a.swf", Element.NOTHING, ""),
    ("multipart/x-mixed-replace", "a.png", Element.NOTHING, ""),
    ("multipart/related", "a.mhtml", Element.NOTHING, ""),
    ("image/heic", "a.heic", Element.NOTHING, ""),
    ("video/x-msvideo", "a.avi", Element.NOTHING, ""),
]


def url(file: File | uploads.Signed) -> str:
    return f"/files/{file.key}/"


def source(html: str) -> str:
    """Where the preview on a page comes from; empty if it has none."""
    found = re.search(r'<(?:img|audio|video|iframe)[^>]* src="(http[^"]+)"', html)
    return unescape(found[1]) if found else ""


def test_what_shows_a_file_and_as_which_type() -> None:
    """One test for all: its time is that of the databases that are emptied after it."""
    assert [(kind, name, *previews.shown(kind, name)) for kind, name, *_ in WHAT_SHOWS] == WHAT_SHOWS


def test_no_type_on_the_lists_can_run_script() -> None:
    answered = {kind for _, kind in [*previews.BY_TYPE.values(), *previews.BY_NAME.values(), previews.AS_TEXT]}

    assert len(answered) > 10
    assert [kind for kind in answered if CAN_RUN_SCRIPT.search(kind)] == []
    assert all(re.fullmatch(r"(image|audio|video)/[a-z0-9]+|application/pdf|text/plain; charset=utf-8", it) for it in answered)


@pytest.mark.parametrize(
    ("body", "content_type", "name", "expected"),
    [
        (saved("PNG"), "image/png", "a photo.png", ("<img ", "image/png", "60")),
        (b"<script>alert(1)</script>", "text/html", "page.html", ("<iframe sandbox ", PLAIN, "60")),
        (SVG_AT_WORK, "image/svg+xml", "drawing.svg", ("<iframe sandbox ", PLAIN, "60")),
        (wav(), "audio/x-wav", "a.wav", ("<audio ", "audio/wav", "3600")),
        (isom(b"isom", b"mp41"), "video/mp4", "a.mp4", ("<video ", "video/mp4", "3600")),
        (pdf(), "application/pdf", "Übersicht.pdf", ("<iframe src", "application/pdf", "3600")),
    ],
    ids=["picture", "HTML", "SVG", "sound", "film", "PDF"],
)
def test_the_bucket_answers_with_that_type_and_lets_the_browser_show_it(
    *,
    as_alice: Client,
    alice: User,
    cast: type[Cast],
    body: bytes,
    content_type: str,
    name: str,
    expected: tuple[str, str, str],
) -> None:
    tag, answered, lives = expected
    file = cast.upload(alice, body, filename=name, content_type=content_type)
    page = as_alice.get(url(file), headers=HTMX).text
    assert page.count(tag) == 1
    assert source(page).startswith(f"{settings.R2_ENDPOINT_URL}/{settings.R2_BUCKET}/{file.key}?")
    assert parse_qs(urlsplit(source(page)).query)["X-Amz-Expires"] == [lives]

    shown, part = httpx.get(source(page)), httpx.get(source(page), headers={"Range": "bytes=8-15"})

    assert (shown.status_code, shown.content) == (200, body)
    assert (part.status_code, part.content) == (206, body[8:16])
    for answer in (shown, part):
        assert answer.headers["Content-Type"] == answered
        assert answer.headers["Content-Disposition"].startswith("inline; filename")


@pytest.mark.parametrize("what", ["response-content-type", "response-content-disposition"])
def test_the_type_and_the_disposition_are_signed(as_alice: Client, alice: User, cast: type[Cast], what: str) -> None:
    shown = source(as_alice.get(url(cast.upload(alice, filename="a.txt", content_type="text/html"))).text)

    assert httpx.get(shown).status_code == 200
    assert httpx.get(re.sub(rf"{what}=[^&]+", f"{what}=text%2Fhtml", shown)).status_code == 403
    assert httpx.get(re.sub(rf"{what}=[^&]+&", "", shown)).status_code == 403


def test_a_page_of_its_own_and_a_fragment_for_the_dialog(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice, filename="<i>.txt", content_type="text/plain")

    page, fragment = as_alice.get(url(file)), as_alice.get(url(file), headers=HTMX)

    assert "<html" in page.text and "data-do" not in page.text
    assert "<html" not in fragment.text
    assert re.findall(r'data-do="(\w+)"', fragment.text) == ["previous", "next", "close", "copy"]
    for answer in (page, fragment):
        assert "HX-Request" in answer["Vary"] and "no-store" in answer["Cache-Control"]
        assert '<h1 id="dialog-title" tabindex="-1"><bdi>&lt;i&gt;.txt</bdi></h1>' in answer.text
        assert "<i>" not in answer.text
        assert f'href="/files/{file.key}/download"' in answer.text


def test_a_text_of_a_mebibyte_is_shown_and_a_longer_one_is_said_to_be_too_long(
    as_alice: Client, alice: User, cast: type[Cast]
) -> None:
    shown, longer = (
        cast.upload(alice, b"a" * (1024 * 1024 + more), filename="a.log", content_type="text/plain") for more in (0, 1)
    )

    assert source(as_alice.get(url(shown)).text)
    page = as_alice.get(url(longer)).text
    assert source(page) == ""
    assert "This text has more than 1 MiB" in page and f"{longer.key}/download" in page


def test_what_cannot_be_shown_is_still_to_be_downloaded(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice, zipped({}), filename="a.zip", content_type="application/zip")

    page = as_alice.get(url(file)).text

    assert "Files of this kind cannot be shown here." in page and f"{file.key}/download" in page
    assert "X-Amz-Signature" not in page


def test_another_users_file_one_that_is_not_there_yet_and_one_that_is_deleted_are_404(
    as_alice: Client, as_bob: Client, alice: User, cast: type[Cast]
) -> None:
    file, pending = cast.upload(alice), cast.sign(alice)
    cast.put(pending)

    assert as_bob.get(url(file)).status_code == 404
    assert as_alice.get(url(pending)).status_code == 404
    uploads.trash(str(alice.pk), [file.key])
    assert as_alice.get(url(file)).status_code == 404


def test_a_stranger_is_sent_to_sign_in_and_back(stranger: Client, alice: User, cast: type[Cast]) -> None:
    path = url(cast.upload(alice))

    assert stranger.get(path)["Location"] == f"/login?next={path}"
    assert stranger.get(path, headers=HTMX).status_code == 401


@pytest.mark.parametrize("key", ["u/1/unknown", "x", "../../manage.py", "%00", "%F0%9F%92%A5", "u/1/%0d%0aX: y"])
def test_a_key_that_nobody_has_is_404(as_alice: Client, key: str) -> None:
    assert as_alice.get(f"/files/{key}/").status_code == 404


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_other_methods_are_405(as_alice: Client, alice: User, cast: type[Cast], method: str) -> None:
    client: Any = as_alice

    assert getattr(client, method)(url(cast.upload(alice))).status_code == 405
