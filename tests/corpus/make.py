"""The corpus: `SAMPLES`, one row a file. `python -m tests.corpus.make FOLDER` writes them out to look at them.

Nothing is copied from anywhere. The tricks are known from the literature, and the row says which one it is.
"""

from __future__ import annotations

import gzip
import io
import lzma
import random
import sqlite3
import struct
import sys
import tarfile
import wave
import zipfile
import zlib
from bz2 import compress as bzip2
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, PngImagePlugin, TiffImagePlugin

from files.reasons import Reason


class Expect(NamedTuple):
    """What becomes of a sample: READY, or the layer that refuses it and, where one is kept, for which reason."""

    layer: str  # sign, bucket, content, image, malware; ready
    reason: Reason | None = None
    changes: bool | None = False  # whether a policy that re-encodes pictures stores other bytes; None: it refuses them


@dataclass(frozen=True, slots=True)
class Sample:
    name: str  # as it is sent: not cleaned
    content_type: str
    body: bytes  # what is signed
    hostile: bool
    why: str
    expect: Expect
    sent: bytes | None = None  # what arrives in its place


READY, CLEANED, RAW = Expect("ready"), Expect("ready", changes=True), Expect("ready", changes=None)
SIGN = Expect("sign")
TYPE, ACTIVE, POLYGLOT = (Expect("content", reason) for reason in (Reason.TYPE, Reason.ACTIVE, Reason.POLYGLOT))
BROKEN, BOMB, FRAMES = (Expect("image", reason) for reason in (Reason.BROKEN, Reason.BOMB, Reason.FRAMES))
MALWARE, BUCKET = Expect("malware", Reason.MALWARE), Expect("bucket")

# --- pictures -------------------------------------------------------------------------------------------------------------


def picture(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Noise, so that its file is no shorter than a photo's would be."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, random.Random(5).randbytes(size[0] * size[1] * bands))


def saved(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    (image or picture()).save(out, form, **options)
    return out.getvalue()


def exif(**tags: Any) -> Image.Exif:
    found = Image.Exif()
    found[0x010F], found[0x0110] = "uploadkit", "a camera"  # maker and model
    found[0x0112] = tags.get("orientation", 1)
    if tags.get("gps"):
        found.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 17.0)})
    return found


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, *chunks: bytes) -> bytes:
    """Of eight bits of grey."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *chunks, png_chunk(b"IDAT", zlib.compress(pixels)), png_chunk(b"IEND", b"")])


def with_png_text(text: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    return saved("PNG", pnginfo=info)


def with_jpeg_comment(comment: bytes) -> bytes:
    return saved("JPEG", comment=comment)


def with_gif_comment(comment: bytes) -> bytes:
    return saved("GIF", comment=comment)


def riff(kind: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    body = kind + b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_of(frames: int) -> bytes:
    frame = b"\x21\xf9\x04\0\x02\0\0\0" + b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HH", 1, 1) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + frame * frames + b";"


def bmp(width: int, height: int, pixels: bytes) -> bytes:
    """Of 24 bits."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels


def tiff(width: int, height: int) -> bytes:
    """Of one bit a pixel, all of them in one strip of eight bytes."""
    tags = ((256, width), (257, height), (258, 1), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 8))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 16) + b"\0" * 8 + struct.pack("<H", len(tags)) + entries + b"\0" * 4


CFA, LINEAR_RAW = 32803, 34892  # what the pixels of a camera are said to be


def raw_tiff(*, bands: int = 1, bits: int = 16, kind: int = 1, shown_as: int = 1, size: tuple[int, int] = (16, 9)) -> bytes:
    """Of pixels that Pillow has no mode for. `kind`: 1 is unsigned, 3 floating; `shown_as`: the photometric interpretation."""
    width, height = size
    pixels = random.Random(5).randbytes(16 * 9 * bands * bits // 8)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.update({256: width, 257: height, 258: (bits,) * bands, 259: 1, 262: shown_as, 273: (0,), 277: bands, 278: height})
    tags.update({279: (len(pixels),), 284: 1, 338: (0,) * (bands - 1), 339: (kind,) * bands})
    return b"".join((b"II*\0\x08\0\0\0", tags.tobytes(8), pixels))


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small one that says it is larger."""
    body = saved("JPEG")
    at = body.index(b"\xff\xc0") + 5
    return body[:at] + struct.pack(">HH", height, width) + body[at + 4 :]


def webp_of_size(side: int) -> bytes:
    """One colour takes no bits a pixel, so that the header alone says how many there are."""
    body = saved("WEBP", Image.new("RGB", (16, 16), "red"), lossless=True)
    at = body.index(b"VP8L") + 9
    rest = int.from_bytes(body[at : at + 4], "little") >> 28 << 28
    return body[:at] + struct.pack("<I", rest | (side - 1) << 14 | (side - 1)) + body[at + 4 :]


def damaged(body: bytes) -> bytes:
    """Cut in its midst."""
    return body[: len(body) // 2]


# --- archives and documents -----------------------------------------------------------------------------------------------


def zipped(entries: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_STORED if name == "mimetype" else method)
    return out.getvalue()


def tarred(entries: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def pdf(extra: bytes = b"", behind_header: bytes = b"") -> bytes:
    """One empty page, its table of objects where it should be."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
    )
    body, places = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + behind_header, []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    body += extra
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer\n<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    return body + b"xref\n0 4\n0000000000 65535 f \n" + table + trailer


def ooxml(folder: str) -> bytes:
    return zipped({"[Content_Types].xml": "<Types/>", "_rels/.rels": "<Relationships/>", f"{folder}/document.xml": "<d/>"})


def opendocument(media_type: str) -> bytes:
    return zipped({"mimetype": media_type, "content.xml": "<office/>", "META-INF/manifest.xml": "<manifest/>"})


def jar() -> bytes:
    return zipped({"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\n", "Applet.class": java_class()})


def ole() -> bytes:
    """A compound file of one empty directory."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
    return header.ljust(512, b"\xff") + b"\0" * 1024


def rar() -> bytes:
    """Version 5: its mark, a header and an end."""
    return (
        b"Rar!\x1a\x07\x01\0" + b"\x33\x92\xb5\xe5\x0a\x01\x05\x06\0\x05\x01\x01\x80\x80\0" + b"\x1d\x77\x56\x51\x03\x05\x04\0"
    )


def seven() -> bytes:
    return b"7z\xbc\xaf\x27\x1c\0\x04" + b"\x8d\x9b\xd5\x0f" + b"\0" * 20


def sqlite() -> bytes:
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE files (name TEXT)")
        return database.serialize()


# --- sound, video, fonts --------------------------------------------------------------------------------------------------


def mp3(frames: int = 4) -> bytes:
    """Frames of 128 kbit/s at 44.1 kHz: 417 bytes each."""
    return (b"\xff\xfb\x90\x00" + b"\0" * 413) * frames


def id3(text: bytes) -> bytes:
    frame = b"COMM" + struct.pack(">I", len(text) + 5) + b"\0\0" + b"\0eng\0" + text
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + frame


def wav() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"\0\x10" * 400)
    return out.getvalue()


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + kind + data


def isom(brand: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", brand + b"\0\0\0\0" + b"".join(compatible)) + box(b"moov", b"\0" * 32) + box(b"mdat", b"\x11" * 64)


def matroska(kind: bytes) -> bytes:
    head = b"\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82" + bytes([0x80 | len(kind)]) + kind
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(head)]) + head + b"\x18\x53\x80\x67\xff" + b"\0" * 64


def ogg(codec: bytes) -> bytes:
    return b"OggS\0\x02" + b"\0" * 20 + b"\x01" + bytes([len(codec)]) + codec


def flac() -> bytes:
    return b"fLaC\x80\0\0\x22" + b"\x10\0\x10\0" + b"\0" * 30 + b"\xff\xf8" + b"\0" * 32


def mpeg_ts() -> bytes:
    return (b"G\x40\0\x10" + b"\xff" * 184) * 6


def font(mark: bytes) -> bytes:
    return mark + struct.pack(">HHHH", 1, 16, 0, 0) + b"name" + struct.pack(">III", 0, 28, 64) + b"\0" * 64


# --- programs, scripts and pages ------------------------------------------------------------------------------------------

STUB = b"This program cannot be run in DOS mode.\r\r\n$"
PAGE = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>"
PHP = b"<?php system($_GET['c']); ?>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9v9z"/></svg>'
SVG_AT_WORK = SVG.replace(b"<path", b"<script>alert(1)</script><path")
XXE = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
# In pieces, so that no scanner takes this source for it.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-" + b"TEST-FILE!$H+H*"


def exe() -> bytes:
    dos = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8" + b"\0" * 43 + struct.pack("<I", 128)
    return dos.ljust(64, b"\0") + STUB.ljust(64, b"\0") + b"PE\0\0\x64\x86\x01\0" + b"\0" * 120


def elf() -> bytes:
    return b"\x7fELF\x02\x01\x01\0" + b"\0" * 8 + struct.pack("<HHI", 3, 62, 1) + b"\0" * 48


def java_class() -> bytes:
    return b"\xca\xfe\xba\xbe\0\0\0\x34\0\x0a" + b"\0" * 32


def shortcut() -> bytes:
    return b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46" + b"\0" * 60


def long(body: bytes) -> bytes:
    """What a reader of the first 8 KiB does not see the end of."""
    return body + random.Random(7).randbytes(20_000)


def large(form: str) -> bytes:
    return saved(form, picture(size=(128, 128)), **({"quality": 95} if form == "JPEG" else {}))


# --- the table ------------------------------------------------------------------------------------------------------------

OFFICE = "application/vnd.openxmlformats-officedocument"
OPEN = "application/vnd.oasis.opendocument"
ANY = "application/octet-stream"

_HOSTILE: list[tuple[str, str, bytes, Expect, str]] = [
    # Another kind of file than its name says
    ("page.png", "image/png", PAGE, ACTIVE, "a page that is called a picture"),
    ("page.pdf", "application/pdf", PAGE, ACTIVE, "a page that is called a PDF"),
    ("page.zip", "application/zip", PAGE, ACTIVE, "a page that is called an archive"),
    ("page.mp3", "audio/mpeg", b"\r\n\t" + PAGE, ACTIVE, "a page behind white space, as browsers find it"),
    ("page.woff2", "font/woff2", PAGE, ACTIVE, "a page that is called a font"),
    ("page.webp", "image/webp", b"\xff\xfe" + PAGE.decode().encode("utf-16-le"), ACTIVE, "a page in UTF-16"),
    ("page.xyz", "image/x-unheard-of", PAGE, ACTIVE, "a page that is called a picture of an unknown kind"),
    ("drawing.png", "image/png", SVG_AT_WORK, ACTIVE, "an SVG with a script that is called a PNG"),
    ("drawing.jpg", "image/jpeg", b"\xef\xbb\xbf<!-- -->\n" + SVG_AT_WORK, ACTIVE, "the same behind a mark and a comment"),
    ("drawing.gif", ANY, SVG, ACTIVE, "an SVG by the name of a GIF and no type at all"),
    ("page.svg", "image/svg+xml", PAGE, ACTIVE, "a page that is called an SVG"),
    ("entity.jpg", "image/jpeg", XXE, ACTIVE, "XML that reads a file of the server (XXE)"),
    ("shell.gif", "image/gif", b"GIF89a" + PHP, ACTIVE, "the oldest of them: six bytes of a GIF, then PHP"),
    ("shell.png", "image/png", PHP, ACTIVE, "PHP that is called a picture"),
    ("shell.pdf", "application/pdf", b'<%@ page import="java.io.*" %><% out.print(1); %>', ACTIVE, "JSP that is called a PDF"),
    ("run.jpg", "image/jpeg", b"#!/bin/sh\nrm -rf ~\n", ACTIVE, "a shell script that is called a picture"),
    ("code.png", "image/png", b"alert(document.cookie)", TYPE, "JavaScript that is called a picture"),
    ("archive.png", "image/png", zipped({"a.txt": "a"}), TYPE, "a zip that is called a picture"),
    ("program.jpg", "image/jpeg", exe(), TYPE, "a program of Windows that is called a picture"),
    ("program.pdf", "application/pdf", elf(), TYPE, "a program of Linux that is called a PDF"),
    (
        "program.mp4",
        "video/mp4",
        b"\xcf\xfa\xed\xfe\x07\0\0\x01" + b"\0" * 64,
        TYPE,
        "a program of macOS that is called a video",
    ),
    ("program.docx", f"{OFFICE}.wordprocessingml.document", exe(), TYPE, "a program that is called a document"),
    ("program.txt", "text/plain", exe(), TYPE, "a program that is called a text"),
    ("program.csv", "application/vnd.ms-excel", elf(), TYPE, "a program that is called a table, as Windows does"),
    ("program", "application/x-unheard-of", elf(), TYPE, "a program of a type that nobody knows"),
    ("program.xyz", ANY, exe(), TYPE, "a program whose ending is not one of a program"),
    ("applet.png", "image/png", java_class(), TYPE, "Java that is called a picture"),
    ("applet.docx", f"{OFFICE}.wordprocessingml.document", jar(), TYPE, "a jar that is called a document: both are zips"),
    ("invoice.pdf", "application/pdf", shortcut(), TYPE, "a shortcut that is called a PDF"),
    ("data.pdf", "application/pdf", b"{}", TYPE, "JSON that is called a PDF"),
    ("letter.docx", ANY, pdf(), TYPE, "a PDF by the name of a document"),
    ("photo.png", "image/png", pdf(), TYPE, "a PDF that is called a picture"),
    ("picture.jpg", "image/jpeg", saved("PNG"), TYPE, "a PNG that is called a JPEG"),
    ("picture.txt", "text/plain", saved("PNG"), TYPE, "a picture that is called a text"),
    ("noise.txt", "text/plain", random.Random(3).randbytes(500), TYPE, "nothing that can be read, and called a text"),
    ("notes.md", "text/markdown", b"# Notes\0\0\0" + b"a" * 40, TYPE, "a text with NULs in it"),
    ("archive.json", "application/json", seven(), TYPE, "an archive that is called data"),
    ("data.zip", "application/zip", tarred({"a": b"a"}), TYPE, "a tar that is called a zip"),
    ("data.tar", "application/x-tar", rar(), TYPE, "a RAR that is called a tar"),
    ("short.png", "image/png", b"\x89PN", TYPE, "three bytes of a picture"),
    # Two kinds of file at once
    ("gifar.gif", "image/gif", saved("GIF") + jar(), POLYGLOT, "GIFAR: a picture to a page, an applet to Java"),
    ("album.jpg", "image/jpeg", saved("JPEG") + zipped({"a.exe": exe()}), POLYGLOT, "a zip behind a JPEG"),
    ("album.png", "image/png", large("PNG") + zipped({"a.exe": exe()}), POLYGLOT, "a zip beyond the first 8 KiB of a PNG"),
    (
        "album.jpeg",
        "image/jpeg",
        large("JPEG") + zipped({"a": b"a"}) + b"\n\xff\xd9",
        POLYGLOT,
        "a zip, and a JPEG's end behind it",
    ),
    ("album.gif", "image/gif", saved("GIF") + rar(), POLYGLOT, "a RAR behind a GIF"),
    ("album.bmp", "image/bmp", saved("BMP") + seven(), POLYGLOT, "a 7z behind a BMP"),
    ("album.flac", "audio/flac", long(flac()) + zipped({"a": b"a"}), POLYGLOT, "a zip behind sound"),
    ("album.mkv", "video/x-matroska", long(matroska(b"matroska")) + rar(), POLYGLOT, "a RAR behind a video"),
    ("album.pdf", "application/pdf", pdf() + zipped({"a.exe": exe()}), POLYGLOT, "a zip behind a PDF"),
    ("both.gif", "image/gif", with_gif_comment(pdf()[:200]), POLYGLOT, "a PDF in the comment of a GIF"),
    ("both.jpg", "image/jpeg", with_jpeg_comment(pdf()), POLYGLOT, "a PDF in the comment of a JPEG"),
    ("both.png", "image/png", png(1, 1, b"\0\0", png_chunk(b"prVt", pdf())), POLYGLOT, "a PDF in a chunk of a PNG"),
    ("both.mp4", "video/mp4", box(b"ftyp", b"isom\0\0\0\0") + box(b"free", pdf()), POLYGLOT, "a PDF in a box of an MP4"),
    ("both.pdf", "application/pdf", saved("GIF")[:40] + pdf(), POLYGLOT, "the start of a GIF in front of a PDF"),
    ("elf.pdf", "application/pdf", elf() + pdf(), POLYGLOT, "a program in front of a PDF"),
    (
        "script.gif",
        "image/gif",
        b"GIF89a/*" + saved("GIF")[8:] + b"*/=1;alert(1)",
        POLYGLOT,
        "GIF and JavaScript: its width is a comment",
    ),
    (
        "value.gif",
        "image/gif",
        b"GIF89a=1;alert(document.cookie);//" + b"\0" * 20 + b";",
        POLYGLOT,
        "GIF and JavaScript: it is a variable",
    ),
    (
        "script.bmp",
        "image/bmp",
        b"BM/*" + saved("BMP")[4:] + b"*/=1;alert(1)",
        POLYGLOT,
        "BMP and JavaScript: its size is a comment",
    ),
    (
        *("script.jpg", "image/jpeg"),
        b"\xff\xd8\xff\xe0/*JFIF\0\x01\x01\0\0\x01\0\x01\0\0".ljust(0x2F2A + 4, b"\0") + saved("JPEG")[20:] + b"*/=alert(1)/*",
        *(POLYGLOT, "JPEG and JavaScript: the length of its header is a comment"),
    ),
    ("script.webp", "image/webp", b"RIFF/*\0\0" + saved("WEBP")[8:] + b"*/=1;alert(1)", POLYGLOT, "WebP and JavaScript"),
    ("script.pdf", "application/pdf", b"/*" + pdf() + b"*/alert(1)", POLYGLOT, "PDF and JavaScript: all of it is a comment"),
    ("page-in.pdf", "application/pdf", b"<html><!--\n" + pdf(), ACTIVE, "a page in front of a PDF"),
    (
        "page-first.pdf",
        "application/pdf",
        pdf(behind_header=b"<script>alert(1)</script>\n"),
        ACTIVE,
        "a page on the second line of a PDF",
    ),
    ("page-behind.pdf", "application/pdf", pdf() + PAGE, POLYGLOT, "a page behind a PDF"),
    ("page-behind.png", "image/png", saved("PNG") + PAGE, POLYGLOT, "a page behind a PNG"),
    ("page-behind.jpg", "image/jpeg", large("JPEG") + b"\r\n" + PAGE, POLYGLOT, "a page behind a long JPEG"),
    ("page-behind.gif", "image/gif", saved("GIF") + PAGE, POLYGLOT, "a page behind a GIF"),
    ("page-in.png", "image/png", with_png_text("<html><script>alert(1)</script>"), ACTIVE, "a page in a chunk of a PNG"),
    ("handler.png", "image/png", with_png_text("<img src=x onerror=alert(1)>"), ACTIVE, "a script without a script's name"),
    ("page-in.jpg", "image/jpeg", with_jpeg_comment(b"<script src=//x></script>"), ACTIVE, "a page in the comment of a JPEG"),
    ("shell-in.jpg", "image/jpeg", with_jpeg_comment(PHP), ACTIVE, "PHP in the comment of a JPEG"),
    ("asp-in.jpg", "image/jpeg", with_jpeg_comment(b'<%eval request("c")%>'), ACTIVE, "ASP in the comment of a JPEG"),
    (
        "short-in.png",
        "image/png",
        png(1, 1, b"\0\0", png_chunk(b"PLTE", b"<?=$_GET[0]($_POST[1]);?>")),
        ACTIVE,
        "PHP in a palette",
    ),
    ("phar.jpg", "image/jpeg", with_jpeg_comment(b"__HALT_COMPILER(); ?>\r\n") + b"GBMB", ACTIVE, "a phar that is a JPEG too"),
    ("page-in.mp3", "audio/mpeg", id3(PAGE) + mp3(), ACTIVE, "a page in the tags of an MP3"),
    ("page-in.mp4", "video/mp4", isom(b"isom") + box(b"free", PAGE), ACTIVE, "a page in a box of an MP4"),
    ("page-in.wav", "audio/wav", riff(b"WAVE", (b"LIST", PAGE), (b"data", b"\0" * 64)), ACTIVE, "a page in a chunk of a WAV"),
    ("page-in.ttf", "font/ttf", font(b"\0\x01\0\0") + PAGE, ACTIVE, "a page in a font"),
    ("page-in.ico", "image/x-icon", b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x18\0" + PAGE, ACTIVE, "a page in an icon"),
    ("carrier.jpg", "image/jpeg", long(saved("JPEG")) + exe(), POLYGLOT, "a program behind a JPEG"),
    ("carrier.png", "image/png", saved("PNG") + elf(), POLYGLOT, "a program of Linux behind a PNG"),
    (
        "scan.dcm",
        "application/dicom",
        exe()[:128] + b"DICM" + b"\0" * 64,
        TYPE,
        "a program in the preamble of DICOM (CVE-2019-11687)",
    ),
    # Pictures that hurt whoever decodes them
    ("bomb.png", "image/png", png(30_000, 30_000, b"\0" * 4096), BOMB, "900 megapixels in a hundred bytes"),
    ("bomb.gif", "image/gif", b"GIF89a\xff\xff\xff\xff" + gif_of(1)[10:], BOMB, "a canvas of four gigapixels"),
    ("bomb.webp", "image/webp", webp_of_size(16_383), BOMB, "268 megapixels of one colour, which take no bits"),
    ("bomb.tiff", "image/tiff", tiff(60_000, 60_000), BOMB, "3,600 megapixels in 130 bytes"),
    (
        "raw.tiff",
        "image/tiff",
        raw_tiff(bands=5, size=(60_000, 60_000)),
        BOMB,
        "as many pixels, of a kind that is not known here",
    ),
    ("bomb.bmp", "image/bmp", bmp(40_000, 40_000, b"\0" * 64), BOMB, "1,600 megapixels in 118 bytes"),
    ("bomb.jpg", "image/jpeg", jpeg_of_size(65_500, 65_500), BOMB, "a JPEG that says it has four gigapixels"),
    ("cut.png", "image/png", damaged(large("PNG")), BROKEN, "half a PNG"),
    ("cut.jpg", "image/jpeg", damaged(large("JPEG")), BROKEN, "half a JPEG"),
    ("cut.gif", "image/gif", damaged(large("GIF")), BROKEN, "half a GIF"),
    ("cut.webp", "image/webp", damaged(large("WEBP")), BROKEN, "half a WebP"),
    ("cut.tif", "image/tiff", damaged(large("TIFF")), BROKEN, "half a TIFF"),
    ("cut.dng", "image/tiff", damaged(raw_tiff(shown_as=CFA)), BROKEN, "half of what a camera's sensor saw"),
    ("head.png", "image/png", saved("PNG")[:33], BROKEN, "the header of a PNG, and no more"),
    ("sum.png", "image/png", saved("PNG").replace(b"IDAT", b"IDAU", 1), BROKEN, "a chunk whose checksum is wrong"),
    ("flicker.gif", "image/gif", gif_of(5_000), FRAMES, "five thousand frames"),
    # Names that say something else than they seem to
    ("invoice.pdf.exe", "application/pdf", pdf(), SIGN, "a program's name behind a document's"),
    ("photo.jpg.scr", ANY, exe(), SIGN, "a screen saver: a program by another name"),
    ("letter.txt.vbs", "text/vbscript", b"MsgBox 1", SIGN, "how ILOVEYOU came"),
    ("report.docx.js", "text/javascript", b"alert(1)", SIGN, "a script that Windows runs at a double click"),
    ("scan.pdf.lnk", ANY, shortcut(), SIGN, "a shortcut behind a document's name"),
    ("invoice.pdf" + " " * 80 + ".exe", ANY, exe(), SIGN, "an ending that is too far to the right to be seen"),
    ("photo\u202egpj.exe", "image/jpeg", saved("JPEG"), SIGN, "an override of direction: it reads photoexe.jpg"),
    ("invoice.pdf\u200b.exe", ANY, exe(), SIGN, "a space without width hides what stands before it"),
    ("invoice.p\u200bdf.exe", ANY, exe(), SIGN, "a space without width within an ending"),
    ("invoice\u2024pdf.exe", ANY, exe(), SIGN, "a leader that looks like a dot"),
    ("invoice.pdf\uff0eexe", ANY, exe(), SIGN, "a wide dot, which some systems make a dot of"),
    ("invoice.pdf.\uff45\uff58\uff45", ANY, exe(), SIGN, "wide letters"),
    ("invoice.\u0440df.exe", ANY, exe(), SIGN, "a Cyrillic letter that looks like p"),
    ("invoice.pdf\0.exe", "application/pdf", pdf(), SIGN, "a NUL, at which C ends a name"),
    ("invoice.exe.", ANY, exe(), SIGN, "a dot at the end, which Windows drops"),
    ("photo.png . . .", "image/png", saved("PNG"), SIGN, "dots and spaces at the end"),
    ("photo.png", "text/html", PAGE, SIGN, "a page's type for a picture's name"),
    ("page.html", "image/png", saved("PNG"), SIGN, "a picture's type for a page's name"),
    ("setup.exe", "image/png", exe(), SIGN, "a picture's type for a program's name"),
    ("drawing.svg", "image/png", SVG, SIGN, "a PNG's type for an SVG's name"),
    ("../../", "text/plain", b"a", SIGN, "a path, and no name"),
    ("\u202e\u200b", "text/plain", b"a", SIGN, "nothing that can be seen"),
    ("a.txt", "text/plain\r\nX-Evil: 1", b"a", SIGN, "a header within the type"),
    ("nothing.txt", "text/plain", b"", SIGN, "no bytes"),
    # What a scanner of viruses is for. The string is harmless; all of them know it.
    ("eicar.txt", "text/plain", EICAR, MALWARE, "EICAR as a text"),
    ("eicar.com", ANY, EICAR, MALWARE, "EICAR as what it is, a program of DOS"),
    ("eicar.zip", "application/zip", zipped({"eicar.com": EICAR}), MALWARE, "EICAR in a zip"),
    ("twice.zip", "application/zip", zipped({"a.zip": zipped({"eicar.com": EICAR})}), MALWARE, "EICAR in a zip in a zip"),
    (
        "eicar.tar.gz",
        "application/gzip",
        gzip.compress(tarred({"eicar.com": EICAR}), mtime=0),
        MALWARE,
        "EICAR in a tar in a gzip",
    ),
]

_OTHER_BYTES: list[tuple[str, str, bytes, bytes, str]] = [
    ("longer.txt", "text/plain", b"as signed", b"as signed, and more", "more bytes than were signed"),
    ("shorter.txt", "text/plain", b"as signed", b"as", "fewer bytes than were signed"),
    ("other.txt", "text/plain", b"as signed", b"at signed", "one byte is another, the size is the same"),
    ("other.png", "image/png", saved("PNG"), saved("PNG", picture("L", (48, 96)))[: len(saved("PNG"))], "another picture"),
]

_HONEST: list[tuple[str, str, bytes, Expect, str]] = [
    # Pictures
    ("photo.jpg", "image/jpeg", large("JPEG"), CLEANED, "a photo"),
    ("where.jpg", "image/jpeg", saved("JPEG", exif=exif(gps=True)), CLEANED, "odd: it says where it was taken"),
    ("where.png", "image/png", saved("PNG", exif=exif(gps=True)), CLEANED, "odd: so does this one"),
    ("where.webp", "image/webp", saved("WEBP", exif=exif(gps=True)), CLEANED, "odd: and this one"),
    ("turned.jpg", "image/pjpeg", saved("JPEG", exif=exif(orientation=6)), CLEANED, "odd: a type of old browsers, and turned"),
    ("motion.jpg", "image/jpeg", saved("JPEG") + isom(b"mp42"), CLEANED, "odd: a photo with a video behind it, as phones make"),
    (
        "caption.jpg",
        "image/jpeg",
        with_jpeg_comment(b"Tom <tom@example.com> & <a href='/x'>Ann</a>"),
        CLEANED,
        "a caption with a link",
    ),
    ("chart.png", "image/png", saved("PNG"), CLEANED, "a picture without loss"),
    ("deep.png", "image/png", saved("PNG", Image.new("I;16", (20, 20), 40_000)), CLEANED, "sixteen bits a pixel"),
    ("still.gif", "image/gif", saved("GIF"), READY, "a picture of 256 colours, written by what writes it again"),
    ("moving.gif", "image/gif", saved("GIF", save_all=True, append_images=[picture().rotate(90)]), CLEANED, "an animation"),
    ("photo.webp", "image/webp", saved("WEBP"), CLEANED, "WebP"),
    ("photo.avif", "image/avif", saved("AVIF"), CLEANED, "AVIF"),
    ("photo.heic", "image/heic", isom(b"heic", b"mif1", b"heic"), READY, "HEIC, which nothing here decodes"),
    ("scan.tiff", "image/tiff", saved("TIFF"), CLEANED, "TIFF"),
    ("camera.dng", "image/x-adobe-dng", raw_tiff(shown_as=CFA), RAW, "what a camera's sensor saw"),
    ("linear.dng", "image/tiff", raw_tiff(bands=3, shown_as=LINEAR_RAW), RAW, "the same, with three colours in each pixel"),
    ("bands.tif", "image/tiff", raw_tiff(bands=5), RAW, "what a satellite saw, in five bands"),
    ("wind.tif", "image/tiff", raw_tiff(bands=2, bits=32, kind=3), RAW, "a wind, in each pixel two numbers"),
    ("heights.tif", "image/tiff", raw_tiff(bits=64, kind=3), RAW, "heights, in numbers of 64 bits"),
    ("paint.bmp", "image/bmp", saved("BMP"), READY, "BMP, in which there is nothing to clean"),
    ("favicon.ico", "image/x-icon", saved("ICO", sizes=[(16, 16), (32, 32)]), READY, "an icon"),
    (
        "layers.psd",
        "image/vnd.adobe.photoshop",
        b"8BPS\0\x01" + b"\0" * 6 + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + b"\0" * 64,
        READY,
        "Photoshop",
    ),
    ("paint.ora", "image/openraster", opendocument("image/openraster"), READY, "OpenRaster, a zip of layers"),
    ("drawing.svg", "image/svg+xml", b'<?xml version="1.0"?>\n' + SVG, READY, "SVG"),
    ("alive.svg", "image/svg+xml", SVG_AT_WORK, READY, "odd: SVG with a script, which is what SVG is"),
    # Documents
    ("letter.pdf", "application/pdf", pdf(), READY, "PDF"),
    ("marked.pdf", "application/pdf", b"\xef\xbb\xbf\r\n" + pdf(), READY, "odd: a PDF behind a byte order mark"),
    (
        "printed.pdf",
        "application/pdf",
        b"\x1b%-12345X@PJL JOB\r\n@PJL SET DUPLEX=ON\r\n" + pdf(),
        READY,
        "odd: a PDF behind a printer's words",
    ),
    (
        "book.pdf",
        "application/pdf",
        pdf(b"4 0 obj\n<</Title(The <script> and <html> elements)>>\nendobj\n"),
        READY,
        "a PDF on pages",
    ),
    (
        "form.pdf",
        "application/pdf",
        pdf(b"4 0 obj\n<</S/JavaScript/JS(AFSimple_Calculate)>>\nendobj\n"),
        READY,
        "a form that adds up",
    ),
    ("letter.docx", f"{OFFICE}.wordprocessingml.document", ooxml("word"), READY, "Word"),
    ("secret.docx", f"{OFFICE}.wordprocessingml.document", ole(), READY, "Word with a password, which is no zip"),
    ("table.xlsx", ANY, ooxml("xl"), READY, "Excel where the browser does not know it"),
    ("slides.pptx", f"{OFFICE}.presentationml.presentation", ooxml("ppt"), READY, "PowerPoint"),
    ("old.doc", "application/msword", ole(), READY, "Word of 1997"),
    ("rich.doc", "application/msword", rb"{\rtf1\ansi Hello}", READY, "RTF as Word saves it"),
    (
        "export.xls",
        "application/vnd.ms-excel",
        b"<html><body><table><tr><td>1</td></tr></table></body></html>",
        READY,
        "a table of a web service",
    ),
    ("mail.msg", "application/vnd.ms-outlook", ole(), READY, "a mail of Outlook"),
    ("text.rtf", "application/rtf", rb"{\rtf1\ansi Hello}", READY, "RTF"),
    ("text.odt", f"{OPEN}.text", opendocument(f"{OPEN}.text"), READY, "OpenDocument"),
    ("book.epub", "application/epub+zip", opendocument("application/epub+zip"), READY, "a book"),
    ("plot.eps", "application/postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", READY, "PostScript"),
    # Text
    ("notes.txt", "text/plain", "Grüße aus Köln, 議事録, 🎉\n".encode(), READY, "text"),
    ("old.txt", "text/plain", "Grüße aus Köln\r\n".encode("latin-1"), READY, "text in Latin-1"),
    ("windows.txt", "text/plain", "Grüße\r\n".encode("utf-16"), READY, "text in UTF-16"),
    ("japan.txt", "text/plain", "議事録です。\n".encode("shift-jis"), READY, "text in Shift-JIS"),
    ("table.csv", "application/vnd.ms-excel", b"name;size\r\na;1\r\n", READY, "CSV as Windows declares it"),
    ("README.md", "", b"# uploadkit\n\n<script> is quoted here.\n", READY, "Markdown, whose type no browser knows"),
    ("data.json", "application/json", b'{"html": "<script>alert(1)</script>"}', READY, "JSON"),
    ("feed.xml", "text/xml", b'<?xml version="1.0"?><rss/>', READY, "XML"),
    ("conf.yaml", "application/yaml", b"a: 1\n", READY, "YAML"),
    ("page.html", "text/html", PAGE, READY, "a page that says it is one"),
    ("app.js", "text/javascript", b"export const a = 1\n", READY, "JavaScript"),
    ("app.ts", "video/mp2t", b"const a: number = 1\n", READY, "TypeScript, for which browsers declare a video"),
    ("build.sh", "application/x-sh", b"#!/bin/sh\nmake\n", READY, "a script that says it is one"),
    ("index.php", ANY, b"<?php phpinfo();", READY, "source code"),
    ("mail.eml", "message/rfc822", b"From: a@example.com\r\nSubject: b\r\n\r\n<html>c</html>\r\n", READY, "a mail"),
    ("day.ics", "text/calendar", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", READY, "a calendar"),
    ("ann.vcf", "text/x-vcard", b"BEGIN:VCARD\r\nEND:VCARD\r\n", READY, "a card"),
    (
        "key.pem",
        "application/x-x509-ca-cert",
        b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        READY,
        "a key",
    ),
    # Sound and video
    (
        "song.mp3",
        "audio/mpeg",
        id3(b"<p>Notes with <a href='https://example.com'>links</a></p>") + mp3(),
        READY,
        "MP3 with tags",
    ),
    ("bare.mp3", "audio/mpeg", mp3(), READY, "MP3 without tags"),
    ("stream.mp3", "audio/mpeg", b"\x55" * 100 + mp3(), READY, "odd: MP3 that starts within a frame"),
    ("sound.wav", "audio/x-wav", wav(), READY, "WAV"),
    ("sound.flac", "audio/flac", flac(), READY, "FLAC"),
    ("sound.ogg", "audio/ogg", ogg(b"\x01vorbis"), READY, "Ogg"),
    ("sound.m4a", "audio/x-m4a", isom(b"M4A ", b"mp42"), READY, "AAC in MP4"),
    ("film.mp4", "video/mp4", isom(b"isom", b"mp41"), READY, "MP4"),
    ("film.mov", "video/quicktime", isom(b"qt  "), READY, "QuickTime"),
    (
        "older.mov",
        "video/quicktime",
        box(b"wide", b"") + box(b"mdat", b"\x11" * 64),
        READY,
        "QuickTime from before there was a mark",
    ),
    ("film.webm", "video/webm", matroska(b"webm"), READY, "WebM"),
    ("film.mkv", "video/x-matroska", matroska(b"matroska"), READY, "Matroska"),
    ("film.avi", "video/x-msvideo", riff(b"AVI ", (b"LIST", b"hdrl" + b"\0" * 60)), READY, "AVI"),
    ("film.ts", "video/mp2t", mpeg_ts(), READY, "a transport stream"),
    # Archives, fonts, data, programs
    (
        "files.zip",
        "application/x-zip-compressed",
        zipped({"a.pdf": pdf()}, zipfile.ZIP_STORED),
        READY,
        "a zip that starts with a PDF",
    ),
    ("empty.zip", "application/zip", zipped({}), READY, "a zip with nothing in it"),
    ("app.jar", "application/java-archive", jar(), READY, "a jar"),
    ("app.apk", ANY, zipped({"AndroidManifest.xml": b"\x03\0\x08\0"}), READY, "an app"),
    ("files.tar", "application/x-tar", tarred({"a.html": PAGE}), READY, "a tar"),
    ("files.tar.gz", "application/x-gzip", gzip.compress(tarred({"a": b"a"}), mtime=0), READY, "a packed tar"),
    ("files.tar.bz2", "application/x-bzip2", bzip2(tarred({"a": b"a"})), READY, "bzip2"),
    ("files.tar.xz", "application/x-xz", lzma.compress(b"a"), READY, "xz"),
    ("files.zst", "application/zstd", b"\x28\xb5\x2f\xfd\x04\0\x09\0\0a" + b"\0" * 4, READY, "Zstandard"),
    ("files.7z", "application/x-7z-compressed", seven(), READY, "7z"),
    ("files.rar", "application/vnd.rar", rar(), READY, "RAR"),
    ("sans.ttf", "font/ttf", font(b"\0\x01\0\0"), READY, "TrueType"),
    ("sans.otf", "application/x-font-otf", font(b"OTTO"), READY, "OpenType"),
    ("sans.woff2", "font/woff2", b"wOF2\0\x01\0\0" + b"\0" * 40, READY, "WOFF 2"),
    ("data.sqlite", "application/vnd.sqlite3", sqlite(), READY, "SQLite"),
    ("data.parquet", ANY, b"PAR1\x15\0\x15\x10" + b"\0" * 32 + b"PAR1", READY, "Parquet"),
    (
        "setup.exe",
        "application/x-msdownload",
        exe() + zipped({"a": b"a"}),
        READY,
        "a program that unpacks itself and says it is one",
    ),
    ("libc.so.6", ANY, elf(), READY, "a library, with its version"),
    ("Main.class", "application/java-vm", java_class(), READY, "Java"),
    ("save.dat", ANY, random.Random(9).randbytes(300), READY, "what nobody knows, and which says so"),
    ("model.xyz", "application/x-unheard-of", random.Random(9).randbytes(300), READY, "a type that nobody knows"),
    ("The www.example.com report v1.2.pdf", "application/pdf", pdf(), READY, "odd: dots in the name"),
    ("photo.exe.zip", "application/zip", zipped({"photo.exe": exe()}), READY, "odd: a program in an archive that says so"),
    ("jquery.min.js", "text/javascript", b"var a", READY, "odd: two endings of source code"),
    ("To be continued...", "text/plain", b"a", READY, "odd: dots at the end of a name without an ending"),
]

SAMPLES: tuple[Sample, ...] = (
    *(Sample(name, kind, body, True, why, expect) for name, kind, body, expect, why in _HOSTILE),
    *(Sample(name, kind, body, True, why, BUCKET, sent) for name, kind, body, sent, why in _OTHER_BYTES),
    *(Sample(name, kind, body, False, why, expect) for name, kind, body, expect, why in _HONEST),
)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(SAMPLES):
        (folder / f"{number:03}").write_bytes(sample.body if sample.sent is None else sample.sent)
        sys.stdout.write(f"{number:03} {sample.expect.layer:9} {sample.name!r} {sample.content_type!r}: {sample.why}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
