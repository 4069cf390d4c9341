"""A picture decoded whole, within limits; without its metadata where that is wished; and a small one of it.

It knows no database and no bucket. Only the plugin of the declared format sees the bytes. They are hostile until decoded:
whatever Pillow raises on them is a rejection. The crash of a decoder cannot be caught; it ends the process.
"""

from __future__ import annotations

import errno
import io
import itertools
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO, cast

from PIL import (
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageCms,
    ImageOps,
    JpegImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    features,
)

from .reasons import Reason, Rejected

# SVG is a program, no raster. HEIC needs a plugin that is not here.
FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/apng": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/bmp": "BMP",
    "image/x-ms-bmp": "BMP",
    "image/tiff": "TIFF",
    "image/x-icon": "ICO",
    "image/vnd.microsoft.icon": "ICO",
}
OPTIONAL = {"WEBP": "webp", "AVIF": "avif"}  # what a Pillow may be built without

CHUNK = 64 * 1024
THUMBNAIL = 320  # pixels on the longer side
MAX_FRAMES = 1_000
PAGES = 20  # times max_pixels that the pages of a TIFF may have in all; unlike an animation's frames they are not held together
BYTES_A_PIXEL = 8  # as many as any pixel has. Some plugins read the whole file before they know its size
MAX_SCANS = 200  # of a JPEG, over each of which all its pixels are gone through; a progressive one has about ten
MAX_SEGMENTS = 10_000  # of a JPEG; the longest that one can carry has less than a thousand
# What ends the coded pixels, in which FF 00 is a byte FF and FF D0 to FF D7 are places to go on at after an error.
MARKER = re.compile(rb"\xff([^\0\xd0-\xd7\xff])")
SOI, EOI, SOS, RESERVED = 0xD8, 0xD9, 0xDA, 0xC0  # below that no segment follows the marker
FINE = 736  # the sum of a JPEG's first quantization table at quality 90; a coarser one has a larger sum
IN_MEMORY = 1024 * 1024  # bytes of a cleaned picture, before it goes to the disk

# What Pillow raises on bytes that somebody made up. Not Exception: a task's time limit is one of those.
HOSTILE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError),
    *(ValueError, struct.error, zlib.error),
)
# What the machine is at fault for. Any other number an OSError has comes of the bytes: no disk seeks to an offset of 2^62.
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
# Its size is global, so that there is one picture at a time in a process.
LOCK = threading.Lock()

# Frames that share a palette keep it, instead of being quantized anew.
GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY


@dataclass(frozen=True)
class Picture:
    width: int  # as it is seen: with its orientation
    height: int
    frames: int  # or pages
    cleaned: BinaryIO | None  # at its beginning; whoever asked closes it
    thumbnail: bytes  # WebP


class Spool(SpooledTemporaryFile[bytes]):
    """Pillow writes past Python into whatever has a file number, and then a full disk looks like a picture that is broken."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation


def readable(content_type: str) -> bool:
    """Whether `looked_at` can tell anything about such a file."""
    form = FORMATS.get(content_type)
    return form is not None and (form not in OPTIONAL or bool(features.check(OPTIONAL[form])))


def most_bytes(content_type: str, max_pixels: int) -> int:
    """A longer file has more pixels than that, or is none of pixels."""
    return BYTES_A_PIXEL * in_all(FORMATS[content_type], max_pixels)


def looked_at(source: IO[bytes], content_type: str, *, clean: bool, max_pixels: int) -> Picture:
    """Decode all of a picture. Raises Rejected: BROKEN, BOMB for too many pixels, FRAMES for too many in all its frames,
    UNREADABLE for a TIFF that is whole as far as one can tell, but of a kind of pixels that is not known here.

    `max_pixels` is width times height, and times frames for an animation. With `clean` it is encoded anew in the same format,
    turned as its orientation says, with nothing but pixels, transparency, timing and the colour profile.
    """
    form = FORMATS[content_type]
    with rejecting(max_pixels):
        image = opened(source, form, max_pixels)
        first = upright(image)
        width, height = first.size
        thumbnail = thumbnail_of(first)
        durations = decoded(image, max_pixels)
        cleaned = encoded(first, image, source, form, durations) if clean else None
        return Picture(width, height, len(durations), cleaned, thumbnail)


@contextmanager
def rejecting(max_pixels: int) -> Iterator[None]:
    with LOCK, warnings.catch_warnings():
        # Pillow looks at this as soon as it has read a size, of the file and of what is in it, and only warns up to its double.
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
            raise Rejected(Reason.BOMB) from error
        except HOSTILE as error:
            if isinstance(error, OSError) and error.errno in MACHINE:
                raise
            raise Rejected(Reason.BROKEN) from error
        finally:
            Image.MAX_IMAGE_PIXELS = before


def opened(source: IO[bytes], form: str, max_pixels: int) -> Image.Image:
    if source.seek(0, io.SEEK_END) > BYTES_A_PIXEL * in_all(form, max_pixels):
        raise Rejected(Reason.BOMB)
    source.seek(0)
    if form == "JPEG" and scans(source) > MAX_SCANS:
        raise Rejected(Reason.BROKEN)
    source.seek(0)
    try:
        return Image.open(source, formats=[form])
    except UnidentifiedImageError:
        if form == "TIFF" and is_whole_tiff(source, max_pixels):
            raise Rejected(Reason.UNREADABLE) from None
        raise


def is_whole_tiff(source: IO[bytes], max_pixels: int) -> bool:
    """Whether the pixels that a TIFF says it has are in the file, of whatever kind: a camera's raw ones, or a satellite's."""
    source.seek(0)
    header = source.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(header + (source.read(8) if header[2:3] == b"+" else b""))
    source.seek(tags.next)
    tags.load(source)
    width, height = tags.get(TiffImagePlugin.IMAGEWIDTH, 0), tags.get(TiffImagePlugin.IMAGELENGTH, 0)
    if width * height > max_pixels:
        raise Rejected(Reason.BOMB)
    offsets = tags.get(TiffImagePlugin.STRIPOFFSETS) or tags.get(TiffImagePlugin.TILEOFFSETS) or ()
    lengths = tags.get(TiffImagePlugin.STRIPBYTECOUNTS) or tags.get(TiffImagePlugin.TILEBYTECOUNTS) or ()
    end = source.seek(0, io.SEEK_END)
    there = len(offsets) == len(lengths) and all(sum(place) <= end for place in zip(offsets, lengths, strict=True))
    return width > 0 and height > 0 and any(lengths) and there


def scans(source: IO[bytes]) -> int:
    """How many a JPEG has up to its end, as libjpeg reads it: not those of a thumbnail within, nor of what stands behind it."""
    count = 0
    for _ in range(MAX_SEGMENTS):
        marker = next_marker(source)
        if marker is None or marker == EOI:
            return count
        count += marker == SOS
        if marker >= RESERVED and marker != SOI:
            length = int.from_bytes(source.read(2), "big")
            source.seek(max(0, length - 2), io.SEEK_CUR)
    raise Rejected(Reason.BROKEN)


def next_marker(source: IO[bytes]) -> int | None:
    last = b""
    while chunk := source.read(CHUNK):
        chunk = last + chunk
        if found := MARKER.search(chunk):
            source.seek(found.end() - len(chunk), io.SEEK_CUR)
            return found[1][0]
        last = chunk[-1:]
    return None


def in_all(form: str | None, max_pixels: int) -> int:
    """Pixels that the frames or pages may have together."""
    return max_pixels * (PAGES if form == "TIFF" else 1)


def upright(image: Image.Image) -> Image.Image:
    """The picture as it is seen. One that has no other frames is turned in its place, which takes less memory."""
    image.load()
    alone = not animated(image)
    try:
        return (ImageOps.exif_transpose(image, in_place=True) or image) if alone else ImageOps.exif_transpose(image)
    except HOSTILE:
        return image if alone else image.copy()  # EXIF that nobody can read turns nothing


def animated(image: Image.Image) -> bool:
    # What phones put behind the picture (MPO) is a gain map or a second view, and no frame.
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def decoded(image: Image.Image, max_pixels: int) -> list[float]:
    """Each frame's duration in ms. No more is decoded than the limit allows, and the frame in which it is passed."""
    durations: list[float] = []
    left = in_all(image.format, max_pixels)
    for frame in frames(image):
        left -= frame.width * frame.height
        if durations and (left < 0 or len(durations) == MAX_FRAMES):
            raise Rejected(Reason.FRAMES)
        frame.load()
        durations.append(frame.info.get("duration", 0))
    if animated(image) and len(durations) < getattr(image, "n_frames", 1):
        raise Rejected(Reason.BROKEN)
    return durations


def frames(image: Image.Image) -> Iterator[Image.Image]:
    """Frame by frame, page by page, or each of an icon's sizes."""
    if isinstance(image, IcoImagePlugin.IcoImageFile):
        yield from (image.ico.frame(index) for index in range(len(image.ico.entry)))
        return
    yield image
    for index in itertools.count(1) if animated(image) else ():
        try:
            image.seek(index)
        except EOFError:
            return
        yield image


def thumbnail_of(image: Image.Image) -> bytes:
    scale = min(1, THUMBNAIL / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = eight_bits(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    small = in_srgb(small, image.info.get("icc_profile"))
    small.info = {}
    out = io.BytesIO()
    small.save(out, "WEBP", quality=80)
    return out.getvalue()


def eight_bits(image: Image.Image) -> Image.Image:
    """In a mode that can be scaled."""
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode in ("L", "RGB", "CMYK") and "transparency" not in image.info:
        return image
    # A conversion writes transparency into the palette of what it converts, which then saves in other colours.
    own = image.copy() if image.mode == "P" else image
    return own.convert("RGBA" if image.has_transparency_data else "RGB")


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """For what has no profile, colours as it would show them."""
    if profile and image.mode in ("RGB", "RGBA", "CMYK"):
        to = "RGBA" if image.mode == "RGBA" else "RGB"
        try:
            turned = ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode=to)
        except (ImageCms.PyCMSError, *HOSTILE):
            turned = None  # one that is for other pixels, or broken, is heeded by nobody
        image = turned or image
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")


# --- encoded anew ---------------------------------------------------------------------------------------------------


def encoded(first: Image.Image, image: Image.Image, source: IO[bytes], form: str, durations: list[float]) -> BinaryIO:
    options: dict[str, Any] = {**ways(first, image, source, form), "icc_profile": profile_of(first)}
    rest: Iterable[Image.Image] = []
    if form == "ICO":
        first, *rest = sorted((bare(frame) for frame in frames(image)), key=lambda frame: frame.width, reverse=True)
        options.update(sizes=[frame.size for frame in (first, *rest)], append_images=rest)
    elif animated(image):
        image.seek(0)
        rest = (bare(upright(frame)) for frame in itertools.islice(frames(image), 1, None))
        # TIFF writes page after page; the others hold them all, which the limit allows for.
        options.update(save_all=True, append_images=rest if form == "TIFF" else list(rest))
        if form != "TIFF":
            # A picture in front, for programs that know no animated PNG, is no frame and has no duration.
            options["duration"] = durations[1:] if image.info.get("default_image") else durations
    out = Spool(max_size=IN_MEMORY)
    try:
        bare(first).save(out, form, **options)
        out.seek(0)
    except BaseException:
        out.close()
        raise
    return cast("BinaryIO", out)


def bare(image: Image.Image) -> Image.Image:
    """Pixels and what is seen through them. What a plugin found beside them it would write again."""
    kept: dict[str | tuple[int, int], Any] = {name: image.info[name] for name in ("transparency",) if name in image.info}
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        image = image.copy()  # without its tags
    image.info = kept
    return image


def profile_of(image: Image.Image) -> bytes | None:
    """Kept, if it is one: what phones photograph is dull without it, and it tells of a kind of screen, not of a person."""
    profile = image.info.get("icc_profile")
    try:
        return profile if profile and ImageCms.getOpenProfile(io.BytesIO(profile)) else None
    except (ImageCms.PyCMSError, *HOSTILE):
        return None


def ways(first: Image.Image, image: Image.Image, source: IO[bytes], form: str) -> dict[str, Any]:
    """How to encode it so that as little as possible is lost, and it does not grow."""
    loop = {"loop": image.info["loop"]} if "loop" in image.info else {}
    match form:
        case "JPEG":
            return as_jpeg(cast("JpegImagePlugin.JpegImageFile", image))
        case "PNG":
            return {**loop, "optimize": True, "default_image": image.info.get("default_image", False)}
        case "GIF":
            # What shows through in a later frame must not show the frame before.
            return {**loop, **({"disposal": 2} if first.has_transparency_data else {})}
        case "WEBP":
            return {**loop, "quality": 90, "lossless": lossless(source), "exact": True}
        case "AVIF":
            return {"quality": 85, "speed": 8, "max_threads": 1}
        case "TIFF":
            return {"compression": "tiff_adobe_deflate"}
    return {}


def as_jpeg(image: JpegImagePlugin.JpegImageFile) -> dict[str, Any]:
    """Quality 90, or the picture's own where that is less: its pixels have no more to give."""
    options: dict[str, Any] = {"optimize": True, "progressive": "progressive" in image.info}
    if (sampling := JpegImagePlugin.get_sampling(image)) >= 0:
        options["subsampling"] = sampling
    coarse = bool(image.quantization) and sum(image.quantization[min(image.quantization)]) >= FINE
    return {**options, **({"qtables": image.quantization} if coarse else {"quality": 90})}


def lossless(source: IO[bytes]) -> bool:
    """Whether the first picture in a WebP is, which Pillow does not tell."""
    source.seek(12)
    while len(header := source.read(8)) == 8:
        name, size = struct.unpack("<4sI", header)
        if name in (b"VP8L", b"VP8 "):
            return bool(name == b"VP8L")
        source.seek(16 if name == b"ANMF" else size + size % 2, io.SEEK_CUR)  # a frame has its picture behind 16 bytes
    return False
