"""What kind a file is of: by the type it was signed as, and by its name where that says nothing."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from files import names, uploads
from files.documents import File
from files.kinds import LABELS, Kind, kind_of

from .conftest import Cast

OFFICE = "application/vnd.openxmlformats-officedocument"
UNKNOWN = "application/octet-stream"


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("image/png", Kind.IMAGE),
        ("image/svg+xml", Kind.IMAGE),
        ("image/x-whatever", Kind.IMAGE),
        ("video/mp4", Kind.VIDEO),
        ("audio/mpeg", Kind.AUDIO),
        ("text/plain", Kind.DOCUMENT),
        ("text/csv", Kind.DOCUMENT),
        ("application/pdf", Kind.DOCUMENT),
        ("application/json", Kind.DOCUMENT),
        ("application/msword", Kind.DOCUMENT),
        ("application/epub+zip", Kind.DOCUMENT),
        (f"{OFFICE}.wordprocessingml.document", Kind.DOCUMENT),
        (f"{OFFICE}.spreadsheetml.sheet", Kind.DOCUMENT),
        ("application/vnd.ms-excel", Kind.DOCUMENT),
        ("application/vnd.oasis.opendocument.text", Kind.DOCUMENT),
        ("application/zip", Kind.ARCHIVE),
        ("application/gzip", Kind.ARCHIVE),
        ("application/x-7z-compressed", Kind.ARCHIVE),
        ("application/vnd.rar", Kind.ARCHIVE),
        (UNKNOWN, Kind.OTHER),
        ("application/wasm", Kind.OTHER),
        ("font/woff2", Kind.OTHER),
        ("model/stl", Kind.OTHER),
        ("image", Kind.IMAGE),
        ("", Kind.OTHER),
    ],
)
def test_a_type_has_its_kind_whatever_the_name(content_type: str, kind: Kind) -> None:
    assert kind_of(content_type, "a.txt") == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("backup.tar.gz", Kind.ARCHIVE),
        ("backup.TGZ", Kind.ARCHIVE),
        ("backup.zst", Kind.ARCHIVE),
        ("zip", Kind.OTHER),
        (".zip", Kind.OTHER),
        ("zip.bin", Kind.OTHER),
        ("photo.png", Kind.OTHER),  # signed as what it is when its type is guessed, so this one was called unknown by somebody
    ],
)
def test_of_an_unknown_type_the_name_tells_archives(name: str, kind: Kind) -> None:
    assert kind_of(UNKNOWN, name) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jpg", Kind.IMAGE), ("a.tar.gz", Kind.ARCHIVE), ("a.docx", Kind.DOCUMENT), ("a.mov", Kind.VIDEO), ("a", Kind.OTHER)],
)
def test_a_name_alone_is_enough_since_its_type_is_guessed(name: str, kind: Kind) -> None:
    assert kind_of(names.clean_content_type("", name), name) == kind


def test_every_kind_has_a_label() -> None:
    assert LABELS.keys() == set(Kind)
    assert len({str(label) for label in LABELS.values()}) == len(Kind)


def test_a_signing_and_a_renaming_write_it_down(alice: User, cast: type[Cast]) -> None:
    assert File.objects.get(key=cast.sign(alice, filename="a.zip", content_type=UNKNOWN).key).kind == "archive"
    # Of a key that ends in .zip SeaweedFS says application/zip, whatever was sent.
    archive = b"7z\xbc\xaf\x27\x1c\0\4"
    signed = cast.sign(alice, filename="a.bin", content_type=UNKNOWN, size=len(archive))
    cast.put(signed, archive)
    uploads.confirm(str(alice.pk), signed.key)

    assert [uploads.rename(str(alice.pk), signed.key, name).kind for name in ("b.7z", "b.bin")] == ["archive", "other"]
    assert uploads.rename(str(alice.pk), signed.key, "c.7z").kind == "archive"
    assert File.objects.get(key=signed.key).kind == "archive"
