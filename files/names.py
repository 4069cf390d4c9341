"""What a file may be called, what the bucket calls it, and how its name is sorted and found."""

from __future__ import annotations

import mimetypes
import re
import secrets
import unicodedata
from pathlib import PurePosixPath

from django.utils.text import slugify
from django.utils.translation import gettext as _

UNKNOWN = "application/octet-stream"  # what browsers send where they know no type, so that it claims nothing
MAX_LENGTH = 256  # characters
# Of a name as it came. NFC takes the square of what a run of accents has: an hour for those of a form of 2.5 MB.
RAW_LENGTH = 16 * MAX_LENGTH
SORTED_BY = 128  # characters; names that are the same up to there keep some order
WORDS, WORD_LENGTH = 32, 32
KEY = re.compile(r"u/[0-9]{1,20}/[A-Za-z0-9_-]{21}-[a-z0-9_.-]{1,80}")
_MADE = re.compile(r"^(u/[0-9]{1,20}/)[a-z]{1,20}/")

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}"  # RFC 9110 section 5.6.2, and the length of RFC 6838 section 4.2
CONTENT_TYPE = re.compile(rf"({_WORD}/{_WORD})[ \t]*(;.*)?", re.DOTALL)

# Characters that turn the direction of the text around them (Unicode TR 9): "exe.gpj" behind one reads as "jpg.exe".
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean_filename(raw: str) -> str:
    """The name to show and to download by: NFC, the last part of a path, nothing that cannot be seen.

    Letters of any script and emoji stay, the joiners inside of emoji too. Raises ValueError, with a sentence for the person
    who sent it, where nothing is left or too much.
    """
    last = re.split(r"[/\\]", raw)[-1]
    if len(last) > RAW_LENGTH:
        raise _too_long(last)
    seen = "".join(char for char in last if char not in _BIDI and unicodedata.category(char) not in _UNSEEN)
    # NFC comes last: what was dropped may have stood between a letter and its accent.
    name = unicodedata.normalize("NFC", seen).strip()
    if name in (".", "..") or all(unicodedata.category(char) in ("Cf", "Zs") for char in name):
        raise ValueError(_("The file needs a name."))
    if len(name) > MAX_LENGTH:
        raise _too_long(name)
    return name


def _too_long(name: str) -> ValueError:
    sentence = _("The name is %(length)d characters long; %(most)d is the most. Shorten it and try again.")
    return ValueError(sentence % {"length": len(name), "most": MAX_LENGTH})


# Control characters, lone surrogates, line and paragraph separators, unassigned code points.
_UNSEEN = {"Cc", "Cs", "Zl", "Zp", "Cn"}


def clean_content_type(raw: str, filename: str) -> str:
    """`type/subtype` in lower case, parameters dropped (RFC 9110 section 8.3.1); guessed from the name where it is empty.

    Browsers send an empty type for many files. The guess is never left to the bucket, which would sniff one.
    Raises ValueError with a sentence for the person who sent it.
    """
    if not raw.strip():
        # A slash in front, since "data:…" would be read as a URL.
        guess, compression = mimetypes.guess_type(f"/{filename}")
        return guess if guess and not compression else UNKNOWN
    match = CONTENT_TYPE.fullmatch(raw.strip(" \t"))
    if not match:
        raise ValueError(_("This is not a content type: write type/subtype, like image/png."))
    return match[1].lower()


def is_key_of(owner_id: str, key: str) -> bool:
    """Whether `new_key` could have made it for that owner. Spares both stores from being asked for anything else."""
    return key.startswith(f"u/{owner_id}/") and KEY.fullmatch(key) is not None


def new_key(owner_id: str, filename: str) -> str:
    """`u/<owner id>/<21 random URL-safe characters>-<safe name>`: 126 random bits, and never the raw filename.

    The safe name is ASCII, since R2 normalises keys (NFC) so that lookalike names would collide:
    https://developers.cloudflare.com/r2/reference/unicode-interoperability/
    """
    path = PurePosixPath(filename)
    stem = slugify(path.stem)[:60].strip("-") or "file"
    extension = slugify(path.suffix)[:16]
    return f"u/{owner_id}/{secrets.token_urlsafe(16)[:21]}-{stem}{'.' + extension if extension else ''}"


def random_of(key: str) -> str:
    """The 21 random characters of an upload's key, by which it can be told from all others."""
    return key.rpartition("/")[2][:21]


def made_of(key: str, what: str) -> str:
    """The key of something that we make of an upload: one that `new_key` never makes, so that no URL to write there exists."""
    owner, _slash, rest = key.rpartition("/")
    return f"{owner}/{what}/{rest}"


def upload_of(key: str) -> str | None:
    """The upload that an object is, or that it was made of; None for a key that is not of ours."""
    upload = _MADE.sub(r"\1", key)
    return upload if KEY.fullmatch(upload) else None


def ending(name: str) -> str:
    """What a name says of the file's kind, in four letters at most, like PDF; "" for one that says nothing or more."""
    _stem, dot, said = name.rpartition(".")
    return said.upper() if dot and len(said) <= 4 and said.isascii() and said.isalnum() else ""


# --- sorting and searching ----------------------------------------------------------------------------------------------

# Scripts that put no space between words: each character is one.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORDS = re.compile(rf"[{_IDEOGRAPHS}]|[^\W\d_{_IDEOGRAPHS}]+|\d+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def fold(text: str) -> str:
    """Without case and accents, so that "uber" finds "Über"."""
    # Case comes second, since "℡" has capital letters in it.
    return "".join(char for char in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(char))


def sorting(name: str) -> str:
    """What to sort the name by: without case and accents, and numbers by their value ("file 2" before "file 10")."""
    return re.sub(r"\d+", _by_value, fold(name))[:SORTED_BY]


def _by_value(digits: re.Match[str]) -> str:
    value = digits[0].lstrip("0")
    return f"{len(value):03}{value}"


def words(text: str) -> list[str]:
    """The words to find a text by, or those that are looked for: runs of letters and runs of digits, folded."""
    found = (word[:WORD_LENGTH] for word in _WORDS.findall(fold(text)))
    return list(dict.fromkeys(found))[:WORDS]


def words_of_name(name: str) -> list[str]:
    """The words of a file's name; those within a camelCased one too."""
    return words(f"{name} {_HUMP.sub(' ', name)}")
