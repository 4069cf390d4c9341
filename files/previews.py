"""What a file can be looked at by, without downloading it: an image, a player, the browser's PDF viewer, or plain text.

The type that the bucket answers with is one of this module's own, signed into the URL. Whatever the bytes and whatever their
owner called them, the browser is told a type that cannot run script. The bucket sends no `nosniff`, and need not: a browser
sniffs HTML only behind types that are unknown or missing (https://mimesniff.spec.whatwg.org/#mime-type-sniffing-algorithm).
Everything that is text is `text/plain`, HTML and SVG too; what says so and is binary leaves its frame empty, since Chromium
would save it and the sandbox does not let it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from . import storage
from .documents import File

TEXT_LIMIT = 1024 * 1024  # bytes
LOADED_AT_ONCE = 60  # seconds that the URL of an image or a text lives, as that of a download
# Players fetch what is sought, and viewers of PDF what is turned to, by Range requests to the same URL for as long as somebody
# looks: an hour of it. Who pauses for longer opens the file anew.
LOADED_IN_PARTS = 60 * 60
PLAIN = "text/plain; charset=utf-8"


class Element(StrEnum):
    """What a page shows the file in."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    PDF = "pdf"
    TEXT = "text"
    TOO_LONG = "too_long"  # a text, and no browser is to lay that out
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Preview:
    """`url` is empty where `element` shows nothing of the file."""

    element: Element
    url: str
    name: str


Shown = tuple[Element, str]  # and the type that the bucket is told to answer with
NOTHING: Shown = (Element.NOTHING, "")
AS_TEXT: Shown = (Element.TEXT, PLAIN)

IMAGES = ("image/png", "image/apng", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp")
SOUNDS = ("audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/wav", "audio/flac", "audio/webm")
FILMS = ("video/mp4", "video/webm", "video/ogg", "video/quicktime")
PDF = "application/pdf"

BY_TYPE: dict[str, Shown] = {
    **{kind: (Element.IMAGE, kind) for kind in IMAGES},
    **{kind: (Element.AUDIO, kind) for kind in SOUNDS},
    **{kind: (Element.VIDEO, kind) for kind in FILMS},
    PDF: (Element.PDF, PDF),
    # Other names of the same.
    "image/jpg": (Element.IMAGE, "image/jpeg"),
    "image/pjpeg": (Element.IMAGE, "image/jpeg"),
    "image/x-png": (Element.IMAGE, "image/png"),
    "image/x-ms-bmp": (Element.IMAGE, "image/bmp"),
    "audio/mp3": (Element.AUDIO, "audio/mpeg"),
    "audio/m4a": (Element.AUDIO, "audio/mp4"),
    "audio/x-m4a": (Element.AUDIO, "audio/mp4"),
    "audio/x-wav": (Element.AUDIO, "audio/wav"),
    "audio/wave": (Element.AUDIO, "audio/wav"),
    "audio/vnd.wave": (Element.AUDIO, "audio/wav"),
    "audio/x-flac": (Element.AUDIO, "audio/flac"),
    "audio/opus": (Element.AUDIO, "audio/ogg"),
    "application/ogg": (Element.AUDIO, "audio/ogg"),
    "video/x-m4v": (Element.VIDEO, "video/mp4"),
    "application/x-pdf": (Element.PDF, PDF),
}

# Text beside text/* and what ends in +xml, +json or +yaml.
TEXTS = frozenset(
    f"application/{subtype}"
    for subtype in (
        *("json", "x-json", "json5", "jsonl", "x-ndjson", "ndjson", "jsonlines", "xml", "xml-dtd", "yaml", "x-yaml", "toml"),
        *("javascript", "x-javascript", "ecmascript", "typescript", "x-typescript", "node", "sql", "x-sql", "graphql"),
        *("x-sh", "x-shellscript", "x-csh", "x-perl", "x-python", "x-python-code", "x-ruby", "x-php", "x-httpd-php"),
        *("x-tcl", "x-tex", "x-latex", "x-texinfo", "x-subrip", "x-powershell", "x-desktop", "x-pem-file", "pgp-keys", "mbox"),
    )
)
TEXT_SUFFIXES = ("+xml", "+json", "+yaml")

# Types that say nothing, or that systems give to quite another thing: a CSV where Excel is installed, TypeScript.
VAGUE = ("application/octet-stream", "binary/octet-stream", "application/vnd.ms-excel", "video/mp2t")
TEXT_NAMES = frozenset(
    (
        *(
            "txt",
            "text",
            "log",
            "md",
            "markdown",
            "rst",
            "adoc",
            "org",
            "csv",
            "tsv",
            "json",
            "jsonl",
            "ndjson",
            "json5",
            "xml",
        ),
        *(
            "yaml",
            "yml",
            "toml",
            "ini",
            "cfg",
            "conf",
            "env",
            "properties",
            "html",
            "htm",
            "xhtml",
            "svg",
            "css",
            "scss",
            "sass",
        ),
        *(
            "less",
            "js",
            "mjs",
            "cjs",
            "jsx",
            "ts",
            "tsx",
            "mts",
            "cts",
            "vue",
            "svelte",
            "py",
            "pyi",
            "ipynb",
            "rb",
            "php",
            "pl",
        ),
        *(
            "pm",
            "lua",
            "r",
            "jl",
            "go",
            "rs",
            "c",
            "h",
            "cc",
            "cpp",
            "cxx",
            "hh",
            "hpp",
            "cs",
            "java",
            "kt",
            "kts",
            "swift",
            "m",
        ),
        *(
            "mm",
            "scala",
            "clj",
            "ex",
            "exs",
            "erl",
            "hs",
            "ml",
            "fs",
            "dart",
            "zig",
            "nim",
            "asm",
            "s",
            "sh",
            "bash",
            "zsh",
            "fish",
        ),
        *("ps1", "bat", "cmd", "sql", "graphql", "gql", "proto", "tf", "hcl", "nix", "gradle", "cmake", "mk", "diff", "patch"),
        *("tex", "bib", "srt", "vtt", "ics", "vcf", "eml", "lock", "sum", "mod", "jinja", "j2", "tmpl", "pem", "pub"),
        *("dockerfile", "makefile", "license", "readme", "changelog", ".gitignore", ".gitattributes", ".dockerignore"),
        *(".editorconfig", ".env"),
    )
)
BY_NAME: dict[str, Shown] = {
    **dict.fromkeys(TEXT_NAMES, AS_TEXT),
    **{kind: (Element.IMAGE, f"image/{kind}") for kind in ("png", "apng", "jpeg", "gif", "webp", "avif", "bmp")},
    **dict.fromkeys(("jpg", "jfif"), (Element.IMAGE, "image/jpeg")),
    **{kind: (Element.AUDIO, f"audio/{kind}") for kind in ("aac", "wav", "flac")},
    "mp3": (Element.AUDIO, "audio/mpeg"),
    "m4a": (Element.AUDIO, "audio/mp4"),
    **dict.fromkeys(("ogg", "oga", "opus"), (Element.AUDIO, "audio/ogg")),
    **dict.fromkeys(("mp4", "m4v"), (Element.VIDEO, "video/mp4")),
    "webm": (Element.VIDEO, "video/webm"),
    "ogv": (Element.VIDEO, "video/ogg"),
    "mov": (Element.VIDEO, "video/quicktime"),
    "pdf": (Element.PDF, PDF),
}
LIVES = {Element.IMAGE: LOADED_AT_ONCE, Element.TEXT: LOADED_AT_ONCE}


def preview_of(file: File, at_most: int = LOADED_IN_PARTS) -> Preview:
    """How to look at the file, through a URL of the bucket that shows it only as what it is shown as, for `at_most` seconds."""
    element, content_type = shown(file.content_type, file.name)
    if element is Element.TEXT and file.size > TEXT_LIMIT:
        element = Element.TOO_LONG
    if element in (Element.NOTHING, Element.TOO_LONG):
        return Preview(element, "", file.name)
    lives = min(LIVES.get(element, LOADED_IN_PARTS), at_most)
    return Preview(
        element, storage.sign_view(file.object_key, filename=file.name, content_type=content_type, lives=lives), file.name
    )


def thumbnail_url(file: File) -> str:
    """A URL of the bucket that shows the file's thumbnail, and lets browsers keep it."""
    assert file.thumbnail, "the caller asks for one that is there"
    return storage.sign_view(
        file.thumbnail, filename="thumbnail.webp", content_type="image/webp", lives=LOADED_IN_PARTS, keep=True
    )


def shown(content_type: str, name: str) -> Shown:
    """By the type it was signed as; by the end of its name where that says nothing."""
    if content_type in BY_TYPE:
        return BY_TYPE[content_type]
    if content_type.startswith("text/") or content_type in TEXTS or content_type.endswith(TEXT_SUFFIXES):
        return AS_TEXT
    if content_type in VAGUE:
        path = PurePosixPath(name.lower())
        return BY_NAME.get(path.suffix.lstrip(".") or path.name, NOTHING)
    return NOTHING
