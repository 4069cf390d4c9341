"""What a file may be called, of which type it may be, and what the bucket calls it."""

import unicodedata
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from files import names, storage
from files.documents import File

from .conftest import Cast, post_json

SIGN = "/api/uploads/sign"

# --- the filename ---------------------------------------------------------------------------------------------------

FAMILY = "👨‍👩‍👧‍👦"  # four people and three joiners
RAINBOW = "🏳️‍🌈"  # a flag, a variation selector, a joiner and a rainbow
ENGLAND = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"  # a flag spelt in invisible tags

KEPT = {
    "a plain name": "report.pdf",
    "spaces within": "my annual  report.pdf",
    "no extension": "Makefile",
    "only an extension": ".gitignore",
    "three dots": "...",
    "dots within": "a..b",
    "composed accents": "Grüße aus Zürich.txt",
    "Japanese": "議事録.docx",
    "Hindi with its joiners": "क्‍ष.txt",
    "Persian with its non-joiners": "می‌خواهم.txt",
    "Arabic": "تقرير.pdf",
    "Hebrew": "דוח.pdf",
    "right-to-left beside left-to-right": "report תקציר 2026.pdf",
    "emoji": "party 🎉.jpg",
    "a family of emoji": f"{FAMILY}.jpg",
    "a rainbow flag": f"{RAINBOW}.jpg",
    "the flag of England": f"{ENGLAND}.jpg",
    "a skin tone": "👍🏽.jpg",
    "quotes and percent signs": "100% \"sure\" 'now'.txt",
    "what a shell would run": "$(rm -rf ~);`id`|&.txt",
    "what a page would run": "<img src=x onerror=alert(1)>.png",
    "what a URL would mean": "a?b=c#d&e.txt",
    "a name that looks like a scheme": "javascript:alert(1)",
    "beyond the basic plane": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢.txt",
}

CLEANED = {
    "decomposed accents are composed": ("Gru\u0308\u00dfe.txt", "Grüße.txt"),
    "a lookalike of one code point is its canonical one": ("\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m"),  # the Ångström sign
    "Korean letters become syllables": ("\u1112\u1161\u11ab.txt", "한.txt"),
    "accents meet across what is dropped between them": ("e\u200e\u0301.txt", "é.txt"),
    "a path up": ("../../etc/passwd", "passwd"),
    "an absolute path": ("/etc/passwd", "passwd"),
    "a Windows path": ("C:\\x\\y", "y"),
    "a Windows share": ("\\\\host\\share\\a.txt", "a.txt"),
    "both kinds of slash": ("a\\b/c\\d.txt", "d.txt"),
    "what old browsers sent": ("C:\\fakepath\\photo.jpg", "photo.jpg"),
    "NUL": ("a\0b.txt", "ab.txt"),
    "a NUL that would cut a name in C": ("harmless.txt\0.exe", "harmless.txt.exe"),
    "a line break": ("a\nb.txt", "ab.txt"),
    "a header's end": ("a\r\nSet-Cookie: x=1\r\n.txt", "aSet-Cookie: x=1.txt"),
    "a tab": ("a\tb.txt", "ab.txt"),
    "a terminal's escape": ("\x1b[31mred\x1b[0m.txt", "[31mred[0m.txt"),
    "DEL and the second control block": ("a\x7fb\x85c\x9fd", "abcd"),
    "the line and paragraph separators": ("a\u2028b\u2029c", "abc"),
    "half a character": ("a\ud800b\udfffc", "abc"),
    "a code point that is none": ("a\uffffb\U0010ffffc", "abc"),
    "spaces around": ("  report.pdf \u3000", "report.pdf"),
    "spaces around, once the rest is gone": ("\0 report.pdf \n", "report.pdf"),
    "an override that hides an extension": ("photo\u202egpj.exe", "photogpj.exe"),
    "embeddings": ("\u202aa\u202bb\u202cc\u202dd", "abcd"),
    "isolates": ("\u2066a\u2067b\u2068c\u2069d", "abcd"),
    "direction marks": ("\u200ea\u200fb\u061cc", "abc"),
}

REFUSED = {
    "nothing": "",
    "a dot": ".",
    "two dots": "..",
    "a space": " ",
    "spaces of other scripts": "\u3000\u2003\u00a0",
    "a folder": "reports/",
    "a Windows folder": "C:\\",
    "a path that ends in dots": "a/b/..",
    "control characters alone": "\0\n\r\t",
    "direction marks alone": "\u202e\u202c\u200f",
    "half a character alone": "\ud800",
    "two dots around a NUL": ".\0.",
    "a dot and a direction mark": "\u200e.",
    "a joiner alone": "\u200d",
    "a space without width": "\u200b",
    "a byte order mark": "\ufeff",
    "a soft hyphen among joiners": "\u200c\u00ad\u2060",
}


@pytest.mark.parametrize("name", KEPT.values(), ids=KEPT)
def test_a_name_that_can_be_read_is_kept_to_the_letter(name: str) -> None:
    assert names.clean_filename(name) == name


@pytest.mark.parametrize(("raw", "name"), CLEANED.values(), ids=CLEANED)
def test_what_cannot_be_seen_or_is_a_path_is_dropped(raw: str, name: str) -> None:
    assert names.clean_filename(raw) == name


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_a_name_of_which_nothing_is_left_to_see_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"^The file needs a name\.$"):
        names.clean_filename(raw)


@pytest.mark.parametrize("letter", ["a", "ü", "議", "🎉", "ا"])
def test_a_name_has_256_characters_at_most_whatever_their_bytes(letter: str) -> None:
    assert names.clean_filename(letter * 256) == letter * 256
    with pytest.raises(ValueError, match="The name is 257 characters long; 256 is the most"):
        names.clean_filename(letter * 257)


def test_characters_are_counted_after_cleaning() -> None:
    assert len(names.clean_filename("u\u0308" * 256)) == 256
    assert len(names.clean_filename("folder/" * 100 + "\u202e" * 300 + "a" * 256)) == 256
    with pytest.raises(ValueError, match="257 characters"):
        names.clean_filename("\U0001d15e" * 128 + "a")  # a half note, of which NFC makes two characters


@pytest.mark.parametrize("raw", [*KEPT.values(), *(raw for raw, _ in CLEANED.values())])
def test_cleaning_is_over_after_once(raw: str) -> None:
    name = names.clean_filename(raw)

    assert names.clean_filename(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert not set(name) & set("/\\\0\r\n\u2028\u2029")
    assert not any(unicodedata.bidirectional(char) in DIRECTIONS for char in name)
    assert name.encode()


DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize(
    ("raw", "name"), [("../../etc/passwd", "passwd"), ("Gru\u0308ße\n.txt", "Grüße.txt"), (FAMILY, FAMILY)]
)
def test_the_document_has_the_clean_name(as_alice: Client, raw: str, name: str) -> None:
    answer = post_json(as_alice, SIGN, {"filename": raw, "contentType": "text/plain", "size": 1})

    assert File.objects.get(key=answer.json()["key"]).name == name


@pytest.mark.parametrize("name", KEPT.values(), ids=KEPT)
def test_a_file_of_any_name_arrives_in_the_bucket(alice: User, cast: type[Cast], name: str) -> None:
    signed = cast.sign(alice, filename=name)

    assert cast.put(signed).status_code == 200
    assert storage.head(signed.key) is not None


# --- the content type -----------------------------------------------------------------------------------------------

TYPES = {
    "as browsers send it": ("image/png", "image/png"),
    "upper case": ("IMAGE/PNG", "image/png"),
    "a parameter": ("text/html; charset=utf-8", "text/html"),
    "a parameter without a space": ("text/html;charset=utf-8", "text/html"),
    "a parameter in quotes": ('text/plain; title="a;b/c"', "text/plain"),
    "a parameter that is cut off": ("text/plain;", "text/plain"),
    "a parameter with a line break, which never gets out": ("text/plain; a=b\r\nX-Evil: 1", "text/plain"),
    "spaces around": (" \tvideo/mp4 ", "video/mp4"),
    "spaces before the parameter": ("video/mp4 \t ; codecs=avc1", "video/mp4"),
    "a suffix": ("image/svg+xml", "image/svg+xml"),
    "a vendor's": (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    "every character of a token": ("!#$%&'*+-.^_`|~09az/!#$%&'*+-.^_`|~09AZ", "!#$%&'*+-.^_`|~09az/!#$%&'*+-.^_`|~09az"),
    "the longest": (f"{'a' * 127}/{'b' * 127}", f"{'a' * 127}/{'b' * 127}"),
}

NO_TYPES = {
    "one word": "png",
    "no type": "/png",
    "no subtype": "image/",
    "a slash alone": "/",
    "two slashes": "image/png/x",
    "a space within": "image/p ng",
    "spaces at the slash": "image / png",
    "a parameter alone": ";charset=utf-8",
    "a comma": "image/png,image/gif",
    "quotes": '"image/png"',
    "letters beyond ASCII": "imäge/png",
    "digits beyond ASCII": "image/٣",
    "a K that is the sign for kelvin": "image/\u212a",  # its lower case is the letter k
    "a line break behind": "image/png\n",
    "a header behind": "image/png\r\nX-Evil: 1",
    "a NUL": "image/png\0",
    "angle brackets": "text/<script>",
    "too long a type": f"{'a' * 128}/b",
    "too long a subtype": f"a/{'b' * 128}",
    "half a character": "image/\ud800",
}

GUESSES = {
    "photo.png": "image/png",
    "PHOTO.PNG": "image/png",
    "page.html": "text/html",
    "議事録.pdf": "application/pdf",
    "Makefile": "application/octet-stream",
    "a.unheard-of": "application/octet-stream",
    "...": "application/octet-stream",
    ".png": "application/octet-stream",
    "data:image,x.html": "text/html",  # a name, not a URL
    # What is within is a text or a tar; the file itself is not.
    "logs.txt.gz": "application/octet-stream",
    "backup.tar.gz": "application/octet-stream",
    "backup.tgz": "application/octet-stream",
}


@pytest.mark.parametrize(("raw", "content_type"), TYPES.values(), ids=TYPES)
def test_a_content_type_is_kept_without_case_and_parameters(raw: str, content_type: str) -> None:
    assert names.clean_content_type(raw, "a.txt") == content_type


@pytest.mark.parametrize("raw", NO_TYPES.values(), ids=NO_TYPES)
def test_what_rfc_9110_would_not_call_a_media_type_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"^This is not a content type: write type/subtype, like image/png\.$"):
        names.clean_content_type(raw, "a.txt")


@pytest.mark.parametrize(("filename", "content_type"), GUESSES.items())
def test_an_empty_content_type_is_guessed_from_the_name(filename: str, content_type: str) -> None:
    assert names.clean_content_type("", filename) == content_type


@pytest.mark.parametrize("raw", ["", " ", "\t"])
def test_a_content_type_of_spaces_is_an_empty_one(raw: str) -> None:
    assert names.clean_content_type(raw, "photo.png") == "image/png"


@pytest.mark.parametrize("raw", ["", "text/html; charset=utf-8", "Application/Vnd.X+JSON"])
def test_the_bucket_says_the_type_that_the_document_says(as_alice: Client, raw: str) -> None:
    wish = {"filename": "a.bin", "contentType": raw, "size": 5}

    signed = post_json(as_alice, SIGN, wish).json()
    assert httpx.put(signed["url"], headers=signed["headers"], content=b"%PDF-").status_code == 200

    head = storage.head(signed["key"])
    assert head is not None
    assert head.content_type == File.objects.get(key=signed["key"]).content_type


# --- the key --------------------------------------------------------------------------------------------------------

KEYS = {
    "report.pdf": "report.pdf",
    "My Annual Report.PDF": "my-annual-report.pdf",
    "Grüße.txt": "grue.txt",
    "naïve café.txt": "naive-cafe.txt",
    "議事録.docx": "file.docx",
    "تقرير.pdf": "file.pdf",
    f"{FAMILY}.jpg": "file.jpg",
    "議事録": "file",
    "...": "file",
    ".gitignore": "gitignore",
    "a..b": "a.b",
    "a.b.c": "ab.c",
    "archive.tar.gz": "archivetar.gz",
    "-.-": "file",
    "__.__": "file",
    "a/../../b.txt": "b.txt",
    "$(rm -rf ~);`id`.txt": "rm-rf-id.txt",
    "<img src=x>.png": "img-srcx.png",
    "a?b=c#d&e%2f.txt": "abcde2f.txt",
    "a" * 252 + ".txt": "a" * 60 + ".txt",
    "a." + "b" * 254: "a." + "b" * 16,
    "a b" * 80: "a-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-b"[:60].strip("-"),
}


@pytest.mark.parametrize(("filename", "safe"), KEYS.items(), ids=[name[:30] for name in KEYS])
def test_a_key_ends_in_a_safe_form_of_the_name(filename: str, safe: str) -> None:
    key = names.new_key("7", filename)

    assert key.startswith("u/7/")
    assert key.removeprefix("u/7/")[21:] == f"-{safe}"


@pytest.mark.parametrize("raw", [*KEPT.values(), *(raw for raw, _ in CLEANED.values()), *KEYS, "a" * 5000, "/" * 300, "\ud800"])
def test_a_key_is_ascii_of_one_shape_whatever_the_name(raw: str) -> None:
    # Even for a name that was never cleaned.
    key = names.new_key("1" * 20, raw)

    assert names.KEY.fullmatch(key), key
    assert len(key) <= 255, "a component of a path may not be longer in every bucket"
    assert ".." not in key


@pytest.mark.parametrize("raw", ["../../etc/passwd", "a\0b.txt", "a\r\nb.txt", "photo\u202egpj.txt", "Grüße.txt", "x y?z#.txt"])
def test_the_raw_name_never_enters_the_key(as_alice: Client, raw: str) -> None:
    # A NUL does not come as far as that.
    answer = post_json(as_alice, SIGN, {"filename": raw.replace("\0", ""), "contentType": "text/plain", "size": 1})

    key = answer.json()["key"]
    assert raw not in key
    assert names.KEY.fullmatch(key)
    assert key.count("/") == 2


def test_the_same_name_never_gives_the_same_key() -> None:
    assert len({names.new_key("7", "report.pdf") for _ in range(1000)}) == 1000


def test_names_that_look_alike_have_keys_of_their_own() -> None:
    # R2 would take both for one, were the names in the key: it compares keys after NFC.
    composed, decomposed = names.new_key("7", "\u00e9"), names.new_key("7", "e\u0301")

    assert unicodedata.normalize("NFC", composed) != unicodedata.normalize("NFC", decomposed)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "u/1/",
        "u/1/short-a",
        f"u/x/{'a' * 21}-a",
        f"v/1/{'a' * 21}-a",
        f"u/1/{'a' * 21}-",
        f"u/1/{'a' * 21}-a\n",
        f"/u/1/{'a' * 21}-a",
    ],
)
def test_what_is_no_key_is_nobody_s_file(as_alice: Client, key: str) -> None:
    assert not names.KEY.fullmatch(key)
    answer: Any = post_json(as_alice, "/api/uploads/confirm", {"key": key})
    assert answer.status_code == (404 if key else 400)
