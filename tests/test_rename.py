"""/files/<key>/rename: asked in the row or on a page, done by a POST; and the row that comes back."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from files import kinds, storage, uploads
from files.documents import File, Status

from .conftest import Cast
from .corpus.make import PAGE, elf, exe, mp3, pdf
from .lifecycle import keys_in, put_object

HTMX = {"HX-Request": "true"}


def url(key: str, page: str = "rename") -> str:
    return f"/files/{key}/{page}"


def name_of(key: str) -> str:
    return str(File.objects.get(key=key).name)


# --- asking ---------------------------------------------------------------------------------------------------------


def test_the_page_has_the_name_to_be_changed(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice, filename='a "<b>".pdf')

    page = as_alice.get(url(file.key))

    assert page.status_code == 200
    assert 'name="name" value="a &quot;&lt;b&gt;&quot;.pdf" maxlength="256" required' in page.text
    assert "<html" in page.text and '<a class="button quiet" href="/files/">' in page.text
    assert "HX-Request" in page["Vary"] and "no-store" in page["Cache-Control"]


def test_the_row_turns_into_a_form_and_back(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice, filename="a <b>.pdf")

    form, row = as_alice.get(url(file.key), headers=HTMX).text, as_alice.get(url(file.key, "row"), headers=HTMX).text

    assert "<html" not in form and f'hx-post="{url(file.key)}"' in form and f'hx-get="{url(file.key, "row")}"' in form
    assert 'aria-label="New name of a &lt;b&gt;.pdf"' in form and "csrfmiddlewaretoken" in form
    assert row.strip() in as_alice.get("/files/", headers=HTMX).text and keys_in(row) == [file.key]


# --- what the bytes are ---------------------------------------------------------------------------------------------

ANY = "application/octet-stream"


def sent(owner: User, name: str, content_type: str, body: bytes) -> File:
    signed = uploads.sign(str(owner.pk), filename=name, content_type=content_type, size=len(body))
    put_object(signed.key, body, content_type)
    return uploads.confirm(str(owner.pk), signed.key)


@pytest.mark.parametrize(
    ("name", "content_type", "body", "new"),
    [
        ("x.bin", ANY, exe(), "invoice.pdf"),
        ("x.bin", ANY, exe(), "invoice.docx"),
        ("x.bin", ANY, exe(), "notes.txt"),
        ("x.bin", ANY, elf(), "model.xyz"),
        ("x.bin", ANY, bytes(range(256)), "photo.jpg"),
        ("x.bin", ANY, pdf(), "photo.jpg"),
        ("x.bin", ANY, PAGE, "drawing.svg"),
    ],
)
def test_a_file_gets_no_name_that_its_bytes_would_not_have_been_accepted_under(
    as_alice: Client, alice: User, name: str, content_type: str, body: bytes, new: str
) -> None:
    file = sent(alice, name, content_type, body)

    answer = as_alice.post(url(file.key), {"name": new}, headers=HTMX)

    assert answer.status_code == 400
    assert "is not of type" in answer.text and name_of(file.key) == name


@pytest.mark.parametrize(
    ("name", "content_type", "body", "new"),
    [
        ("x.bin", ANY, pdf(), "invoice.pdf"),
        ("x.bin", ANY, exe(), "setup.exe"),
        ("x.bin", ANY, exe(), "setup"),
        ("x.bin", ANY, elf(), "libc.so.6"),
        ("x.bin", ANY, b"a report", "notes.txt"),
        ("x.bin", ANY, bytes(range(256)), "model.xyz"),
        ("stream.mp3", "audio/mpeg", b"\x55" * 100 + mp3(), "song.mp3"),
        ("stream.mp3", "audio/mpeg", b"\x55" * 100 + mp3(), "song"),
        ("notes.txt", "text/plain", PAGE, "page.html"),
    ],
)
def test_a_file_gets_any_name_that_its_bytes_fit(
    as_alice: Client, alice: User, name: str, content_type: str, body: bytes, new: str
) -> None:
    file = sent(alice, name, content_type, body)

    assert as_alice.post(url(file.key), {"name": new}, headers=HTMX).status_code == 200
    assert name_of(file.key) == new


# --- renaming -------------------------------------------------------------------------------------------------------


def test_the_pages_form_renames_without_javascript(alice: User, cast: type[Cast]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    file = cast.upload(alice)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(url(file.key)).text.partition("<main")[2])
    assert token is not None

    answer = browser.post(url(file.key), {"csrfmiddlewaretoken": token[1], "name": "Grüße.pdf"})

    assert (answer.status_code, answer["Location"]) == (302, "/files/")
    assert "<bdi>Grüße.pdf</bdi>" in browser.get("/files/").text


def test_without_a_csrf_token_nothing_is_renamed(alice: User, cast: type[Cast]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    file = cast.upload(alice)

    assert browser.post(url(file.key), {"name": "new.pdf"}).status_code == 403
    assert name_of(file.key) == "report.pdf"


def test_htmx_gets_the_row_with_the_new_name(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)

    answer = as_alice.post(url(file.key), {"name": " dir/New <i>.pdf "}, headers=HTMX)

    assert answer.status_code == 200 and keys_in(answer.text) == [file.key]
    assert "<bdi>New &lt;i&gt;.pdf</bdi>" in answer.text and "<html" not in answer.text
    assert answer.text.strip() in as_alice.get("/files/", headers=HTMX).text


def test_nothing_but_the_name_and_what_follows_from_it_changes(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice)
    before, stored = File.objects.get(key=file.key).to_mongo(), storage.head(file.key)

    as_alice.post(url(file.key), {"name": "Neues Büro 7.pdf"})

    after = File.objects.get(key=file.key).to_mongo()
    assert {name for name in after if after[name] != before.get(name)} == {"name", "sort_name", "words", "trail"}
    assert after["words"] == ["neues", "buro", "7", "pdf"]
    assert (after.keys(), after["_id"]) == (before.keys(), file.key), "the bucket has it where it was"
    assert storage.head(file.key) == stored


def test_it_downloads_under_its_new_name(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    file = cast.upload(alice, b"%PDF-1.7 the bytes")
    as_alice.post(url(file.key), {"name": "Grüße.pdf"})

    link = as_alice.get(url(file.key, "download"))["Location"]

    assert quote("Grüße.pdf") in parse_qs(urlsplit(link).query)["response-content-disposition"][0]
    answer = httpx.get(link)
    assert answer.content == b"%PDF-1.7 the bytes" and quote("Grüße.pdf") in answer.headers["Content-Disposition"]


def test_it_is_found_and_sorted_by_its_new_name_alone(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    cast.upload(alice, filename="m.pdf")
    file = cast.upload(alice, filename="a.pdf")
    as_alice.post(url(file.key), {"name": "z.pdf"})

    assert keys_in(as_alice.get("/files/", {"q": "a"}).text) == []
    assert keys_in(as_alice.get("/files/", {"q": "z"}).text) == [file.key]
    assert keys_in(as_alice.get("/files/", {"sort": "name"}).text)[-1] == file.key


def test_the_same_name_again_and_a_name_that_another_file_has_are_fine(as_alice: Client, alice: User, cast: type[Cast]) -> None:
    cast.upload(alice, filename="twice.pdf")
    file = cast.upload(alice, filename="twice.pdf")

    assert as_alice.post(url(file.key), {"name": "twice.pdf"}, headers=HTMX).status_code == 200


BAD = {
    "none": ({}, "The file needs a name."),
    "empty": ({"name": ""}, "The file needs a name."),
    "blank": ({"name": " \t "}, "The file needs a name."),
    "a path": ({"name": "a/"}, "The file needs a name."),
    "dots": ({"name": ".."}, "The file needs a name."),
    "what cannot be seen": ({"name": "\u202e\u200b"}, "The file needs a name."),
    "too long": ({"name": "x" * 257}, "The name is 257 characters long; 256 is the most. Shorten it and try again."),
    # Put in order, these would take minutes, and nobody else of that process would be served.
    "a heap of accents": ({"name": "e" + "\u0301\u0316" * 250_000}, "The name is 500001 characters long; 256 is the most."),
    "a NUL": ({"name": "a\x00b"}, "Null characters are not allowed."),
    "what it is not": ({"name": "report.exe"}, "A file whose name ends in .exe is not of type application/pdf."),
    "a trap": ({"name": "report.pdf.exe"}, "The name ends in .pdf and .exe: a program that looks like a document."),
}


@pytest.mark.parametrize(("posted", "sentence"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
def test_a_bad_name_is_400_with_a_sentence_and_changes_nothing(
    as_alice: Client, alice: User, cast: type[Cast], posted: dict[str, str], sentence: str, headers: dict[str, str]
) -> None:
    file = cast.upload(alice)

    answer = as_alice.post(url(file.key), posted, headers=headers)

    assert answer.status_code == 400
    assert sentence in answer.text and ("<html" in answer.text) == (not headers)
    assert name_of(file.key) == "report.pdf"


# --- who may not, and what is not there -----------------------------------------------------------------------------

PAGES = [("get", "rename"), ("post", "rename"), ("get", "row")]


@pytest.mark.parametrize(("method", "page"), PAGES)
def test_another_users_file_is_404_and_keeps_its_name(
    as_bob: Client, alice: User, cast: type[Cast], method: str, page: str
) -> None:
    file = cast.upload(alice)

    assert getattr(as_bob, method)(url(file.key, page), {"name": "bobs.pdf"}).status_code == 404
    assert name_of(file.key) == "report.pdf"


@pytest.mark.parametrize(("method", "page"), PAGES)
def test_a_stranger_is_sent_to_sign_in(stranger: Client, alice: User, cast: type[Cast], method: str, page: str) -> None:
    file = cast.upload(alice)

    answer = getattr(stranger, method)(url(file.key, page), {"name": "x.pdf"})

    assert answer.status_code == 302 and answer["Location"].startswith("/login?next=")
    assert getattr(stranger, method)(url(file.key, page), {"name": "x.pdf"}, headers=HTMX).status_code == 401
    assert name_of(file.key) == "report.pdf"


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.READY])
def test_what_is_not_ready_is_404_and_keeps_its_name(as_alice: Client, alice: User, cast: type[Cast], status: Status) -> None:
    file = cast.upload(alice)
    File.objects.keyed([file.key]).update(status=status)

    answers = {page: getattr(as_alice, method)(url(file.key, page), {"name": "x.pdf"}) for method, page in PAGES}
    assert answers["rename"].status_code == 404 and as_alice.get(url(file.key)).status_code == 404
    # Whose checks go on, or came to a bad end, has a row all the same, which says so and offers no other name.
    assert answers["row"].status_code == (200 if status in (Status.CHECKING, Status.REJECTED) else 404)
    assert "rename" not in answers["row"].text
    assert name_of(file.key) == "report.pdf"


def test_a_file_that_is_trashed_while_it_is_renamed_is_404(
    alice: User, cast: type[Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cast.upload(alice)

    def trashed_meanwhile(content_type: str, name: str) -> str:
        uploads.trash(str(alice.pk), [file.key])
        return kinds.kind_of(content_type, name)

    monkeypatch.setattr(uploads, "kind_of", trashed_meanwhile)
    with pytest.raises(uploads.NotFound):
        uploads.rename(str(alice.pk), file.key, "x.pdf")

    assert name_of(file.key) == "report.pdf"


@pytest.mark.parametrize("key", ["u/1/unknown", "x", "../../etc/passwd", "%00", "%F0%9F%92%A5", "u/1/" + "a" * 2000])
def test_a_key_that_nobody_has_is_404(as_alice: Client, key: str) -> None:
    assert [getattr(as_alice, method)(url(key, page), {"name": "x"}).status_code for method, page in PAGES] == [404] * 3


@pytest.mark.parametrize(
    ("method", "page"),
    [(method, page) for page in ("rename", "row") for method in ("put", "patch", "delete")] + [("post", "row")],
)
def test_other_methods_are_405(as_alice: Client, alice: User, cast: type[Cast], method: str, page: str) -> None:
    file = cast.upload(alice)

    assert getattr(as_alice, method)(url(file.key, page)).status_code == 405
    assert name_of(file.key) == "report.pdf"
