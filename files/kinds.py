"""What kind of file it is, for people: what they filter by, and what their space goes to."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from pathlib import PurePosixPath

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .names import UNKNOWN


class Kind(StrEnum):
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    ARCHIVE = "archive"
    OTHER = "other"


LABELS: dict[Kind, Promise] = {
    Kind.IMAGE: _("Images"),
    Kind.VIDEO: _("Videos"),
    Kind.AUDIO: _("Audio"),
    Kind.DOCUMENT: _("Documents"),
    Kind.ARCHIVE: _("Archives"),
    Kind.OTHER: _("Other"),
}

# What `files.images` decodes, for rooms that should not need Pillow to know it; tests/test_images.py holds the two equal.
PICTURES = {
    *(f"image/{kind}" for kind in ("jpeg", "png", "apng", "gif", "webp", "avif", "bmp", "x-ms-bmp", "tiff", "x-icon")),
    "image/vnd.microsoft.icon",
}
FAMILIES = {"image": Kind.IMAGE, "video": Kind.VIDEO, "audio": Kind.AUDIO, "text": Kind.DOCUMENT}
DOCUMENTS = ("pdf", "msword", "rtf", "epub+zip", "json", "xml", "javascript", "yaml", "toml", "sql", "x-sh", "x-tex")
OFFICES = ("vnd.openxmlformats-officedocument.", "vnd.oasis.opendocument.", "vnd.ms-", "vnd.apple.", "vnd.google-apps.")
ARCHIVES = (
    *(
        "zip",
        "x-zip-compressed",
        "gzip",
        "x-gzip",
        "x-tar",
        "x-gtar",
        "x-7z-compressed",
        "vnd.rar",
        "x-rar-compressed",
        "x-bzip2",
    ),
    *("x-xz", "zstd", "x-lzip", "java-archive", "vnd.debian.binary-package", "x-apple-diskimage", "x-iso9660-image"),
)
# Where the browser knew no type: names that Python's mimetypes has no single type for.
ARCHIVE_SUFFIXES = {".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz", ".zst", ".lz", ".jar", ".dmg", ".iso"}


@lru_cache(maxsize=1_000)
def _kind_of_type(content_type: str) -> Kind:
    family, _, subtype = content_type.partition("/")
    if family in FAMILIES:
        return FAMILIES[family]
    if subtype in DOCUMENTS or subtype.startswith(OFFICES):
        return Kind.DOCUMENT
    return Kind.ARCHIVE if subtype in ARCHIVES else Kind.OTHER


def kind_of(content_type: str, filename: str) -> Kind:
    """By the type it was signed as; by the end of its name where that says nothing."""
    if content_type == UNKNOWN and PurePosixPath(filename).suffix.lower() in ARCHIVE_SUFFIXES:
        return Kind.ARCHIVE
    return _kind_of_type(content_type)
