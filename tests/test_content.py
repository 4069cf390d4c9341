"""What a file is by its bytes, against what it says it is: the corpus, as far as pure functions go, and whatever else comes."""

from __future__ import annotations

import mimetypes
import time
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from files import content, names
from files.reasons import Reason

from .corpus.make import EICAR, SAMPLES, Sample, exe, long, mp3, pdf, saved, zipped

IDS = [f"{sample.name!r}-{sample.content_type.partition(chr(13))[0]}" for sample in SAMPLES]
ANY = names.UNKNOWN


def is_signed(sample: Sample) -> bool:
    """As the form and the lifecycle put these together."""
    try:
        name = names.clean_filename(sample.name)
        content_type = names.clean_content_type(sample.content_type, name)
    except ValueError:
        return False
    return len(sample.body) > 0 and content.contradiction(content_type, name) is None


def looked_at(sample: Sample) -> content.Look:
    """By the key, which is what is at hand when an upload is confirmed, and which ends as the name does."""
    name = names.clean_filename(sample.name)
    content_type = names.clean_content_type(sample.content_type, name)
    found = looked(content_type, names.new_key("1", name), sample.body)
    assert found == looked(content_type, name, sample.body)
    return found


def looked(content_type: str, name: str, body: bytes) -> content.Look:
    """With the end only where there is more than the beginning, and where it is wanted."""
    more = len(body) > content.FIRST and content.needs_end(content_type, name)
    return content.look(content_type, name, body[: content.FIRST], body[-content.LAST :] if more else b"")


# --- the corpus


def test_the_corpus_has_what_was_promised() -> None:
    hostile = [sample for sample in SAMPLES if sample.hostile]
    honest = [sample for sample in SAMPLES if not sample.hostile]

    assert len(hostile) >= 60
    assert len(honest) >= 40
    assert len({looked_at(sample).detected for sample in honest}) >= 25
    assert len({(sample.name, sample.content_type) for sample in SAMPLES}) == len(SAMPLES)
    assert {sample.expect.layer for sample in hostile} == {"sign", "content", "image", "malware", "bucket"}
    assert {sample.expect.layer for sample in honest} == {"ready"}
    assert all(count >= 4 for count in Counter(sample.expect.layer for sample in hostile).values())


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_a_name_that_is_a_trap_or_contradicts_the_type_is_not_signed(sample: Sample) -> None:
    assert is_signed(sample) == (sample.expect.layer != "sign"), sample.why


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample.expect.layer != "sign"])
def test_bytes_that_are_not_what_they_are_called_are_found_and_no_others(sample: Sample) -> None:
    found = looked_at(sample)

    assert found.fault == (sample.expect.reason if sample.expect.layer == "content" else None), (sample.why, found)


# --- names and types

AGREE = [
    ("text/csv", "a.csv"),
    ("application/vnd.ms-excel", "a.csv"),
    ("application/x-zip-compressed", "a.zip"),
    ("text/javascript", "a.js"),
    ("application/x-javascript", "a.js"),
    ("video/mp2t", "a.ts"),
    ("text/plain", "a.md"),
    ("text/markdown", "a.md"),
    ("image/jpg", "a.jpg"),
    ("image/pjpeg", "a.JPEG"),
    ("audio/wav", "a.wav"),
    ("audio/x-wav", "a.wav"),
    ("video/mp4", "a.m4a"),
    ("audio/mp4", "a.mp4"),
    ("video/mp4", "a.mov"),
    ("image/heif", "a.heic"),
    ("application/msword", "a.docx"),
    ("application/zip", "a.docx"),
    ("application/zip", "a.odt"),
    ("application/zip", "a.jar"),
    ("application/zip", "a.epub"),
    ("application/java-archive", "a.jar"),
    ("application/vnd.android.package-archive", "a.apk"),
    ("application/x-gzip", "a.tar.gz"),
    ("application/x-tar", "a.tgz"),
    ("text/xml", "a.svg"),
    ("application/xml", "a.xhtml"),
    ("text/plain", "a.html"),
    ("application/x-msdownload", "a.dll"),
    ("application/x-msdownload", "a.msi"),
    ("application/x-msdos-program", "a.bat"),
    ("text/plain", "a.unheard-of"),
    ("application/x-unheard-of", "a.png"),
    ("image/png", "a"),
    ("image/png", ".png"),
    ("application/pdf", "Invoice no. 5"),
    *((ANY, name) for name in ("a.exe", "a.png", "a.jar", "a.tar.gz", "main.js.map", "index.php.png", "setup.exe.zip", "a")),
]
DISAGREE = [
    ("image/png", "a.jpg"),
    ("image/png", "a.pdf"),
    ("image/png", "a.exe"),
    ("image/png", "a.com"),
    ("image/png", "a.js"),
    ("application/pdf", "a.html"),
    ("application/pdf", "www.example.com"),  # a program of DOS to a double click
    ("application/zip", "a.png"),
    ("text/html", "a.txt"),
    ("text/html", "a.png"),
    ("text/plain", "a.pdf"),
    ("text/plain", "a.exe"),
    ("audio/mpeg", "a.mp4.zip"),
    ("application/x-msdownload", "a.pdf"),
]


@pytest.mark.parametrize(("content_type", "name"), AGREE)
def test_what_browsers_declare_goes_with_the_name(content_type: str, name: str) -> None:
    assert content.contradiction(content_type, name) is None


def test_what_python_takes_a_name_for_goes_with_it() -> None:
    """Its table is what an empty type is guessed by."""
    known = mimetypes.MimeTypes()
    guesses = {**known.types_map[False], **known.types_map[True]}

    assert len(guesses) > 100
    assert [name for name, guess in guesses.items() if content.contradiction(guess, f"a{name}")] == []


@pytest.mark.parametrize(("content_type", "name"), DISAGREE)
def test_a_type_of_another_family_is_told_with_what_to_do(content_type: str, name: str) -> None:
    ending = name.rpartition(".")[2]

    assert content.contradiction(content_type, name) == (
        f"A file whose name ends in .{ending} is not of type {content_type}. Give it the ending that fits."
    )


def test_a_trap_is_told_as_what_it_looks_like() -> None:
    assert content.contradiction(ANY, "invoice.PDF .exe") == (
        "The name ends in .pdf and .exe: a program that looks like a document. Leave one of them out."
    )
    assert content.contradiction("image/png", "photo.png..") == (
        "Dots or spaces at the end of the name hide that it ends in .png. Remove them."
    )


# --- bytes


@pytest.mark.parametrize(
    ("content_type", "name", "wanted"),
    [
        ("image/png", "a.png", True),
        (ANY, "a.pdf", True),
        ("audio/mpeg", "a", True),
        ("video/x-unheard-of", "a.unheard-of", True),
        ("text/plain", "a.txt", False),
        ("image/svg+xml", "a.svg", False),
        ("application/zip", "a.zip", False),
        (ANY, "a.docx", False),
        (ANY, "a", False),
    ],
)
def test_the_end_is_asked_for_where_something_may_hide_behind_it(content_type: str, name: str, wanted: bool) -> None:
    assert content.needs_end(content_type, name) == wanted


@pytest.mark.parametrize(
    ("content_type", "name", "body", "detected"),
    [
        (ANY, "a", saved("PNG"), "image/png"),
        (ANY, "a", pdf(), "application/pdf"),
        (ANY, "a", mp3(), "audio/mpeg"),
        (ANY, "a", b"hello", "text/plain"),
        (ANY, "a", b"\0\1\2\3", ANY),
        (ANY, "a", b"", "text/plain"),
        (ANY, "a", b"BLENDER-v300" + b"\0" * 20, "application/x-blender"),  # which puremagic alone knows
        ("text/plain", "a.txt", b"GIF89a was a format of pictures", "image/gif"),
        ("text/plain", "a.txt", b"<p>hello", "text/html"),
        ("application/x-xcf", "a.xcf", b"gimp xcf v011\0\0\0", "image/x-xcf"),
    ],
)
def test_what_the_bytes_are_is_named(content_type: str, name: str, body: bytes, detected: str) -> None:
    assert looked(content_type, name, body) == content.Look(detected, None)


@pytest.mark.parametrize(
    "claim", [("image/jpeg", "a.jpg"), ("application/pdf", "a.pdf"), ("audio/mpeg", "a.mp3"), (ANY, "a.mp4")]
)
@pytest.mark.parametrize("body", [b"hello", b"\0\1\2\3", zipped({"a": b"a"}), exe(), EICAR, b"\x89PNG"])
def test_a_type_that_has_magic_must_show_it(claim: tuple[str, str], body: bytes) -> None:
    assert looked(*claim, body).fault is Reason.TYPE


def test_a_program_goes_by_its_own_name_or_by_none() -> None:
    taken = [(ANY, "a"), (ANY, "a.exe"), (ANY, "a.bin"), (ANY, "tool-1.2"), ("application/x-msdownload", "a")]
    refused = [(ANY, "a.xyz"), (ANY, "a.zip"), ("application/x-unheard-of", "a"), ("text/plain", "a"), ("image/png", "a.exe")]

    assert [claim for claim in (*taken, *refused) if looked(*claim, exe()).fault is None] == taken


def test_what_is_attached_to_a_pdf_does_not_make_two_files_of_it() -> None:
    attached = b"4 0 obj\n<</Type/EmbeddedFile>>stream\n" + zipped({"a": b"a"}) + b"\nendstream\nendobj\n"

    assert looked("application/pdf", "a.pdf", pdf(attached)).fault is None
    assert looked("application/pdf", "a.pdf", long(pdf(attached))).fault is None


# --- whatever comes

CLAIMS = sorted({(sample.content_type, sample.name) for sample in SAMPLES})
claims = st.one_of(st.sampled_from(CLAIMS), st.tuples(st.text(max_size=40), st.text(max_size=40)))
starts = st.sampled_from(sorted({sample.body[:512] for sample in SAMPLES}))
bodies = st.one_of(st.binary(max_size=2_000), st.builds(lambda start, rest: start + rest, starts, st.binary(max_size=2_000)))


@given(claims, bodies, bodies)
def test_no_bytes_and_no_claim_raise(claim: tuple[str, str], first: bytes, last: bytes) -> None:
    for found in (content.look(*claim, first), content.look(*claim, first, last)):
        assert found.fault in (None, Reason.TYPE, Reason.ACTIVE, Reason.POLYGLOT)
        assert "/" in found.detected
    assert content.contradiction(*claim) != ""
    assert content.needs_end(*claim) in (True, False)


printable = st.text(st.characters(exclude_categories=["C"]), max_size=400)


@given(
    printable,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["a.txt", "a", "a.csv", "a.py", "a.unheard-of"]),
)
@example("%PDF-1.7", "utf-8", "a.txt")
@example("<?php", "utf-8", "a.txt")
def test_any_text_that_can_be_printed_is_a_text(text: str, encoding: str, name: str) -> None:
    assert looked("text/plain", name, text.encode(encoding)).fault is None


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_categories=["C"]), max_size=400))
def test_no_name_of_one_ending_is_a_trap(name: str) -> None:
    assert content.contradiction("application/pdf", name.replace(".", "") + "_.pdf") is None


@pytest.mark.parametrize("filling", [b"<!--", b"<", b"\0", b"PK\x05\x06", b"\xff\xfb\x90", b" ", b"*/", b"<img ", b"<script"])
@pytest.mark.parametrize(
    "claim", [("image/gif", "a.gif"), ("application/pdf", "a.pdf"), ("audio/mpeg", "a.mp3"), ("text/plain", "a.txt")]
)
def test_no_bytes_take_long(claim: tuple[str, str], filling: bytes) -> None:
    magic = {"image/gif": b"GIF89a/*", "application/pdf": b"%PDF-"}.get(claim[0], b"")
    body = magic + filling * (content.LAST * 2 // len(filling))
    before = time.process_time()

    looked(*claim, body)

    assert time.process_time() - before < 0.1  # s; 0.2 ms is usual
