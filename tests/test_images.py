"""A picture is decoded whole or rejected with a reason, cleaned of all but what is seen, and made small for the list."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageOps, ImageSequence, ImageStat, JpegImagePlugin, PngImagePlugin

from files import images, kinds
from files.images import Picture, looked_at
from files.reasons import Reason, Rejected

from .corpus.make import raw_tiff

WIDTH, HEIGHT = 120, 80
MAX_PIXELS = 1_000_000
TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "ICO": "image/x-icon",
}
MOVING = ["GIF", "PNG", "WEBP", "AVIF"]
SECRET = "Alice at home"  # wherever a picture has room for it
TURNED = 6  # what a camera writes when it is held upright

MAKER, ARTIST, ORIENTATION, GPS = 0x10F, 0x13B, 0x112, 0x8825


# --- honest pictures ------------------------------------------------------------------------------------------------


@cache
def drawing(shift: int = 0, mode: str = "RGB") -> Image.Image:
    """Something with a left and a right, an above and a below."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, WIDTH // 2, HEIGHT // 2), "red")
    draw.rectangle((WIDTH // 2, HEIGHT // 2, WIDTH, HEIGHT), "blue")
    draw.ellipse((10 + shift, 20, 40 + shift, 50), "green")
    return image.convert(mode)


@cache
def srgb() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def made(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    out = io.BytesIO()
    (image or drawing()).copy().save(out, form, **options)
    return out.getvalue()


def moving(form: str, count: int = 3, **options: Any) -> bytes:
    first, *rest = [drawing(shift * 20) for shift in range(count)]
    return made(form, first, save_all=True, append_images=rest, **({"duration": [100, 200, 300]} | options))


def told(orientation: int = TURNED) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[MAKER] = exif[ARTIST] = SECRET
    exif.get_ifd(GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0), 29: SECRET})
    return exif


XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><city>{SECRET}</city></rdf:RDF></x:xmpmeta>'.encode()


def talkative(form: str) -> bytes:
    """A picture that says all it can beside what it shows."""
    match form:
        case "JPEG":
            content = made(form, exif=told(), xmp=XMP, comment=SECRET, icc_profile=srgb(), quality=95)
            iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0" + SECRET.encode()
            return content[:2] + b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc + content[2:]
        case "PNG":
            text = PngImagePlugin.PngInfo()
            text.add_text("Comment", SECRET)
            text.add_text("Zipped", SECRET * 10, zip=True)
            text.add_itxt("XML:com.adobe.xmp", XMP.decode())
            return made(form, exif=told(), pnginfo=text, icc_profile=srgb())
        case "GIF":
            return made(form, comment=SECRET)
        case "WEBP" | "AVIF":
            return made(form, exif=told(), xmp=XMP, icc_profile=srgb())
        case "TIFF":
            tags = {ORIENTATION: TURNED, ARTIST: SECRET, MAKER: SECRET, 270: SECRET, 700: XMP, 33723: SECRET.encode()}
            return made(form, tiffinfo=tags, icc_profile=srgb())
        case "ICO":
            return made("PNG", exif=told(1)) and icon(made("PNG", exif=told(1)))
    return made(form)


def icon(*pngs: bytes, says: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """An icon of PNGs, whose directory says what size they are."""
    head, body = struct.pack("<3H", 0, 1, len(pngs)), b""
    for png in pngs:
        offset = 6 + 16 * len(pngs) + len(body)
        head += struct.pack("<4B2H2I", *says, 0, 0, 1, 32, len(png), offset)
        body += png
    return head + body


# --- looking at them ------------------------------------------------------------------------------------------------


def look(content: bytes, form: str, *, clean: bool = False, max_pixels: int = MAX_PIXELS) -> Picture:
    return looked_at(io.BytesIO(content), TYPES[form], clean=clean, max_pixels=max_pixels)


def cleaned(content: bytes, form: str) -> bytes:
    picture = look(content, form, clean=True)
    assert picture.cleaned is not None
    with picture.cleaned as file:
        return file.read()


def rejected(content: bytes, form: str, **options: Any) -> Reason:
    with pytest.raises(Rejected) as caught:
        look(content, form, **options)
    return caught.value.reason


def shown(content: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGBA")


def alike(one: Image.Image, other: Image.Image) -> bool:
    """But for what a lossy format does."""
    assert one.size == other.size
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return max(ImageStat.Stat(difference).mean) < 6


def same(one: Image.Image, other: Image.Image) -> bool:
    """To the last bit of what is seen; what colour nothing has is no matter."""
    ground = Image.new("RGBA", one.size, "pink")
    return Image.alpha_composite(ground, one).tobytes() == Image.alpha_composite(ground, other).tobytes()


def frames(content: bytes) -> list[Image.Image]:
    return [frame.convert("RGBA") for frame in ImageSequence.Iterator(Image.open(io.BytesIO(content)))]


def durations(content: bytes) -> list[float]:
    image = Image.open(io.BytesIO(content))
    found = []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        image.load()
        found.append(image.info["duration"])
    return found


# --- what is readable -----------------------------------------------------------------------------------------------


def test_what_is_no_raster_image_or_needs_a_plugin_is_not_readable() -> None:
    assert [kind for kind in TYPES.values() if not images.readable(kind)] == []
    no_pictures = ("image/svg+xml", "image/heic", "image/vnd.adobe.photoshop", "application/pdf", "text/plain", "")
    assert [kind for kind in no_pictures if images.readable(kind)] == []


@pytest.mark.parametrize("form", TYPES)
def test_a_picture_is_measured_as_it_is_seen(form: str) -> None:
    picture = look(talkative(form), form)

    turned = form in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF")
    assert (picture.width, picture.height) == ((HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT))
    assert (picture.frames, picture.cleaned) == (1, None)


# --- cleaned --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", TYPES)
def test_a_cleaned_picture_says_nothing_and_looks_the_same(form: str) -> None:
    before = talkative(form)
    after = cleaned(before, form)

    assert SECRET.encode() in before or form in ("PNG", "BMP")
    again = Image.open(io.BytesIO(after))
    again.load()
    assert again.format == form
    assert SECRET.encode() not in after
    assert not again.getexif().keys() & {MAKER, ARTIST, ORIENTATION, GPS}
    assert {"comment", "Comment", "Zipped", "xmp", "XML:com.adobe.xmp", "exif", "photoshop"}.isdisjoint(again.info)
    assert alike(shown(after), shown(before))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_colours_are_kept_where_they_are_described_and_a_description_that_is_none_is_dropped(form: str) -> None:
    assert Image.open(io.BytesIO(cleaned(talkative(form), form))).info["icc_profile"]

    if form in ("JPEG", "PNG", "TIFF"):
        assert "icc_profile" not in Image.open(io.BytesIO(cleaned(made(form, icc_profile=SECRET.encode() * 20), form))).info


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(orientation: int) -> None:
    before = made("JPEG", exif=told(orientation), quality=95)

    assert alike(Image.open(io.BytesIO(cleaned(before, "JPEG"))), shown(before))
    assert alike(Image.open(io.BytesIO(look(before, "JPEG").thumbnail)).resize(shown(before).size), shown(before))


def test_exif_that_nobody_can_read_turns_nothing_and_is_gone() -> None:
    before = made("JPEG", exif=b"Exif\0\0MM\0*" + SECRET.encode() * 5)

    assert SECRET.encode() not in cleaned(before, "JPEG")


@pytest.mark.parametrize("form", TYPES)
def test_cleaning_is_the_same_every_time_and_what_is_clean_stays_clean(form: str) -> None:
    before = talkative(form)
    once = cleaned(before, form)

    assert once == cleaned(before, form)
    assert alike(shown(cleaned(once, form)), shown(once))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_keeps_its_kind_of_pixels_to_the_last_bit(mode: str) -> None:
    image = Image.new("I;16", (9, 9), 40_000) if mode == "I;16" else drawing(mode=mode)
    after = Image.open(io.BytesIO(cleaned(made("PNG", image), "PNG")))

    assert after.mode == mode
    assert after.tobytes() == image.tobytes() or mode == "P"
    assert after.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


def test_transparency_is_kept() -> None:
    image = drawing(mode="P")
    before = made("PNG", image, transparency=image.getpixel((0, 0)))

    assert same(shown(cleaned(before, "PNG")), shown(before))
    assert Image.open(io.BytesIO(look(before, "PNG").thumbnail)).mode == "RGBA"


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_stays_lossless_or_lossy(lossless: bool) -> None:
    for content in (
        made("WEBP", lossless=lossless),
        made("WEBP", lossless=lossless, exif=told(1)),
        moving("WEBP", lossless=lossless),
    ):
        assert images.lossless(io.BytesIO(content)) is lossless
        assert images.lossless(io.BytesIO(cleaned(content, "WEBP"))) is lossless


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize(("quality", "progressive"), [(60, True), (98, False)])
def test_a_jpeg_keeps_its_sampling_and_is_given_no_quality_it_never_had(
    subsampling: int, quality: int, progressive: bool
) -> None:
    before = made("JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
    content = cleaned(before, "JPEG")
    after = Image.open(io.BytesIO(content))

    assert isinstance(after, JpegImagePlugin.JpegImageFile)
    assert ("progressive" in after.info) is progressive
    assert JpegImagePlugin.get_sampling(after) == subsampling
    assert len(content) < len(before) * 1.05


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_without_colours_or_with_those_of_print_keeps_them(mode: str) -> None:
    before = made("JPEG", drawing(mode=mode))

    assert Image.open(io.BytesIO(cleaned(before, "JPEG"))).mode == mode
    assert alike(shown(cleaned(before, "JPEG")), shown(before))


def test_what_a_phone_puts_behind_its_picture_is_no_frame_and_is_dropped() -> None:
    before = made("MPO", drawing(), save_all=True, append_images=[drawing(60)], exif=told())

    picture = look(before, "JPEG", clean=True)
    assert picture.cleaned is not None
    with picture.cleaned as file:
        after = file.read()
    assert picture.frames == 1
    assert len(after) < len(before)
    assert Image.open(io.BytesIO(after)).format == "JPEG"
    assert alike(shown(after), shown(before))


# --- what moves -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", MOVING)
def test_an_animation_stays_one_with_its_times_and_its_loop(form: str) -> None:
    before = moving(form, **({} if form == "AVIF" else {"loop": 3}))
    picture = look(before, form, clean=True)
    assert picture.cleaned is not None
    with picture.cleaned as file:
        after = file.read()

    assert picture.frames == 3
    assert durations(after) == durations(before) == [100, 200, 300]
    assert Image.open(io.BytesIO(after)).info.get("loop") == (None if form == "AVIF" else 3)
    assert all(alike(*pair) for pair in zip(frames(after), frames(before), strict=True))


def test_frames_of_a_gif_that_show_through_look_the_same() -> None:
    pictures = []
    for shift in range(3):
        picture = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
        ImageDraw.Draw(picture).ellipse((10 + shift * 30, 10, 40 + shift * 30, 40), "red")
        pictures.append(picture)
    before = made("GIF", pictures[0], save_all=True, append_images=pictures[1:], duration=50, disposal=2)

    assert all(same(*pair) for pair in zip(frames(cleaned(before, "GIF")), frames(before), strict=True))


def test_a_png_keeps_the_picture_for_those_who_see_no_animation() -> None:
    before = moving("PNG", default_image=True, duration=[100, 200])
    after = cleaned(before, "PNG")

    assert Image.open(io.BytesIO(after)).info["default_image"]
    assert [frame.tobytes() for frame in frames(after)] == [frame.tobytes() for frame in frames(before)]


def test_every_page_of_a_tiff_is_kept_and_cleaned() -> None:
    pages = [drawing(), drawing(20).resize((200, 50)), drawing(mode="1")]
    before = made("TIFF", pages[0], save_all=True, append_images=pages[1:], tiffinfo={ARTIST: SECRET})

    picture = look(before, "TIFF", clean=True)
    assert picture.cleaned is not None
    with picture.cleaned as file:
        after = file.read()
    assert SECRET.encode() not in after
    assert picture.frames == 3
    assert [page.tobytes() for page in frames(after)] == [page.tobytes() for page in frames(before)]


def test_every_size_of_an_icon_is_kept() -> None:
    before = made("ICO", drawing(), sizes=[(16, 16), (32, 32), (64, 42)])

    assert Image.open(io.BytesIO(cleaned(before, "ICO"))).info["sizes"] == Image.open(io.BytesIO(before)).info["sizes"]


# --- small ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", TYPES)
def test_the_small_picture_is_a_webp_that_says_nothing(form: str) -> None:
    before = talkative(form)
    small = look(before, form).thumbnail

    assert SECRET.encode() not in small
    assert (image := Image.open(io.BytesIO(small))).format == "WEBP"
    assert {"icc_profile", "exif", "xmp"}.isdisjoint(image.info)
    assert alike(shown(small), shown(before))


@pytest.mark.parametrize(
    ("size", "small"), [((1000, 500), (320, 160)), ((500, 1000), (160, 320)), ((3000, 1), (320, 1)), ((20, 10), (20, 10))]
)
def test_the_small_picture_is_320_pixels_at_its_longer_side_and_never_larger_than_the_picture(
    size: tuple[int, int], small: tuple[int, int]
) -> None:
    assert Image.open(io.BytesIO(look(made("PNG", drawing().resize(size)), "PNG").thumbnail)).size == small


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK", "F", "I"])
def test_pictures_of_every_kind_of_pixels_have_a_small_one(mode: str) -> None:
    image = drawing(mode="I").point(lambda value: value * 256).convert("I;16") if mode == "I;16" else drawing(mode=mode)
    small = look(made("TIFF", image), "TIFF").thumbnail

    assert alike(shown(small), drawing(mode="1" if mode == "1" else "L" if mode in ("L", "LA", "I;16", "F", "I") else "RGB"))


# --- what is too much -----------------------------------------------------------------------------------------------


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many black pixels, without ever having them in memory."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", [form for form in TYPES if form != "ICO"])
def test_a_picture_may_have_so_many_pixels_and_no_more(form: str) -> None:
    content = made(form)

    assert look(content, form, max_pixels=WIDTH * HEIGHT)
    assert rejected(content, form, max_pixels=WIDTH * HEIGHT - 1) is Reason.BOMB


def test_a_bomb_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)

    assert rejected(bomb(32_000, 32_000), "PNG") is Reason.BOMB


def test_an_icon_is_believed_no_size_that_its_directory_says() -> None:
    assert rejected(icon(bomb(8_000, 8_000)), "ICO") is Reason.BOMB
    assert rejected(icon(made("PNG"), bomb(8_000, 8_000)), "ICO") is Reason.BOMB


def test_a_file_that_is_larger_than_its_pixels_can_be_is_not_read() -> None:
    stuffed = made("PNG") + bytes(8 * WIDTH * HEIGHT)

    assert rejected(stuffed, "PNG", max_pixels=WIDTH * HEIGHT) is Reason.BOMB


def test_a_jpeg_whose_pixels_are_gone_through_again_and_again_is_not_decoded() -> None:
    content = made("JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]

    assert look(content[:-2] + scan * 100 + content[-2:], "JPEG")
    assert rejected(content[:-2] + scan * 1_000 + content[-2:], "JPEG") is Reason.BROKEN


def test_only_the_scans_of_the_picture_itself_are_counted() -> None:
    many = b"\xff\xda" * 1_000
    thumbnail = b"Exif\0\0" + made("JPEG") + many
    content = made("JPEG", progressive=True, restart_marker_blocks=1)
    own = images.scans(io.BytesIO(content))
    content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + content[2:]

    assert 5 < own < 20
    assert images.scans(io.BytesIO(content + many)) == own
    assert look(content + many, "JPEG")


@pytest.mark.parametrize("hidden", [b"\xff\x02\xff\xff", b"\xff\0\xff\xd0", b"\xff\xff", b"\xff\xd8"])
def test_nothing_between_two_scans_hides_the_next_ones(hidden: bytes) -> None:
    content = made("JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]

    assert images.scans(io.BytesIO(content[:-2] + (hidden + scan) * 100 + content[-2:])) > 100


def test_a_jpeg_of_nothing_but_segments_takes_no_time() -> None:
    begun = time.monotonic()

    assert rejected(made("JPEG")[:2] + b"\xff\xe0\0\2" * 1_000_000, "JPEG") is Reason.BROKEN
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("form", MOVING)
def test_all_frames_together_may_have_so_many_pixels_and_no_more(form: str) -> None:
    content = moving(form)

    assert look(content, form, max_pixels=3 * WIDTH * HEIGHT).frames == 3
    assert rejected(content, form, max_pixels=3 * WIDTH * HEIGHT - 1) is Reason.FRAMES


def test_there_may_be_so_many_frames_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_FRAMES", 3)

    assert look(moving("GIF"), "GIF").frames == 3
    assert rejected(moving("GIF", 4, duration=100), "GIF") is Reason.FRAMES


def test_pages_are_counted_one_by_one() -> None:
    pages = [drawing()] * 21
    content = made("TIFF", pages[0], save_all=True, append_images=pages[1:])

    assert rejected(content, "TIFF", max_pixels=WIDTH * HEIGHT) is Reason.FRAMES
    assert look(content, "TIFF", max_pixels=2 * WIDTH * HEIGHT).frames == 21


# --- what is broken -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", TYPES)
def test_a_picture_that_ends_half_way_is_broken(form: str) -> None:
    noise = Image.effect_noise((200, 200), 80).convert("RGB")
    content = made(form, noise)

    for share in (0.5, 0.9):
        assert rejected(content[: int(len(content) * share)], form) is Reason.BROKEN


@pytest.mark.parametrize("clean", [True, False])
def test_a_tiff_of_pixels_that_pillow_does_not_know_is_not_readable_and_broken_where_some_are_missing(clean: bool) -> None:
    content = raw_tiff(bands=5)

    assert rejected(content, "TIFF", clean=clean) is Reason.UNREADABLE
    assert rejected(content, "TIFF", clean=clean, max_pixels=16 * 9 - 1) is Reason.BOMB
    for end in (-1, -300, 100, 8):
        assert rejected(content[:end], "TIFF", clean=clean) is Reason.BROKEN


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF"])
def test_an_animation_that_ends_half_way_is_broken(form: str) -> None:
    content = moving(form)

    assert rejected(content[: len(content) - 60], form) is Reason.BROKEN


@pytest.mark.parametrize("form", TYPES)
@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", os.urandom(2000)],
    ids=["nothing", "magic alone", "SVG", "noise"],
)
def test_what_is_no_picture_is_broken(form: str, content: bytes) -> None:
    assert rejected(content, form) is Reason.BROKEN


def test_a_picture_of_another_format_is_not_even_tried() -> None:
    assert {rejected(made(other), form) for form in TYPES for other in TYPES if form != other} == {Reason.BROKEN}


def test_a_disk_that_is_full_is_no_word_about_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(images.Spool):
        def write(self, *args: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(images, "Spool", Full)

    for form in TYPES:
        with pytest.raises(OSError, match="No space left"):
            look(made(form), form, clean=True)


@pytest.mark.parametrize("offset", [2**45, 2**62, 2**63 - 1, 2**64 - 1])
def test_an_offset_that_no_disk_can_seek_to_is_the_pictures_fault_and_not_the_disks(offset: int) -> None:
    with images.Spool(max_size=1) as on_disk:
        on_disk.write(struct.pack("<2s3HQ", b"II", 43, 8, 0, offset) + bytes(100))

        with pytest.raises(Rejected) as caught:
            looked_at(on_disk, "image/tiff", clean=False, max_pixels=MAX_PIXELS)

    assert caught.value.reason is Reason.BROKEN


def test_pillows_own_limit_is_as_it_was_afterwards() -> None:
    before = Image.MAX_IMAGE_PIXELS
    rejected(b"", "PNG")

    assert before == Image.MAX_IMAGE_PIXELS


HONEST: dict[str, Callable[[], list[bytes]]] = {
    form: lambda form=form: [talkative(form), *([moving(form)] if form in MOVING else [])]  # type: ignore[misc]
    for form in TYPES
}


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, str]:
    """An honest picture of which some bytes are others, gone, or there twice."""
    form = draw(st.sampled_from(list(TYPES)))
    content = bytearray(draw(st.sampled_from(honest(form))))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, min(len(content) - 1, draw(st.sampled_from([64, 600, 1_000_000])))))
        how = draw(st.sampled_from(["set", "set", "flip", "cut", "double", "number"]))
        if how == "set":
            content[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif how == "flip":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "number":
            content[at : at + 4] = draw(
                st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\xff\xff"])
            )
        else:
            length = draw(st.integers(1, 40))
            part = content[at : at + length]
            content[at : at + length] = b"" if how == "cut" and len(content) > length + 1 else part * 2
    return bytes(content), form


@cache
def honest(form: str) -> list[bytes]:
    return HONEST[form]()


@given(case=mutated(), clean=st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
def test_whatever_bytes_there_are_it_is_a_picture_or_rejected(case: tuple[bytes, str], clean: bool) -> None:
    content, form = case
    try:
        picture = look(content, form, clean=clean, max_pixels=100_000)
    except Rejected:
        return
    assert picture.width * picture.height <= 100_000
    if picture.cleaned is not None:
        picture.cleaned.close()


def test_the_rooms_that_do_without_pillow_know_what_it_decodes() -> None:
    assert set(images.FORMATS) == kinds.PICTURES
