"""Judging image files: every way of lying down, and every way of being broken."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageOps

from pool.pictures import decode
from pool.schema import BadImage
from tests.pool.drawings import encode, read, scene

ORIENTATION = 0x0112


def oriented(image: Image.Image, kind: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(image, kind, exif=exif, **options)


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of two pictures of one size, in grey levels."""
    assert a.size == b.size
    left, right = (np.asarray(each.convert("RGB"), dtype=float) for each in (a, b))
    return float(np.abs(left - right).mean())


# Upright


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_an_upright_picture_keeps_its_bytes(kind: str) -> None:
    data = encode(scene(1, 31, 17), kind)
    picture = decode(data)
    assert picture.data == data
    assert picture.id == picture.original == hashlib.sha256(data).hexdigest()
    assert (picture.width, picture.height) == (31, 17)
    assert picture.suffix == {"JPEG": ".jpg"}.get(kind, "." + kind.lower())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once_as_pillow_applies_it(kind: str, orientation: int) -> None:
    data = oriented(scene(2, 48, 32), kind, orientation)
    picture = decode(data)
    truth = ImageOps.exif_transpose(read(data))
    stored = read(picture.data)
    assert (picture.width, picture.height) == stored.size == truth.size
    assert stored.getexif().get(ORIENTATION, 1) == 1
    assert difference(stored, truth) <= (2.5 if kind == "JPEG" else 0)
    if orientation > 1:
        upside = ImageOps.exif_transpose(read(oriented(scene(2, 48, 32), kind, orientation % 8 + 1)))
        assert stored.size != upside.size or difference(stored, upside) > 10
        assert picture.id != picture.original
    assert picture.id == hashlib.sha256(picture.data).hexdigest()
    assert picture.original == hashlib.sha256(data).hexdigest()
    # What was turned is upright now: coming in once more it stays as it is.
    assert decode(picture.data).id == picture.id


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    data = oriented(scene(2, 48, 32), "JPEG", orientation)
    assert decode(data).data == data


def test_turned_bytes_hold_pixels_and_colour_profile_only() -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010E] = 6, "where I live"
    profile = b"\0\0\1\0profile" * 9
    data = encode(scene(3, 48, 32), exif=exif, icc_profile=profile, comment=b"mine", xmp=XMP)
    stored = read(decode(data).data)
    assert stored.info["icc_profile"] == profile
    assert not stored.getexif()
    assert not {"comment", "exif", "xmp"} & stored.info.keys()
    other = encode(scene(3, 48, 32), exif=oriented_exif(6, "elsewhere"), icc_profile=profile)
    assert decode(other).id == decode(data).id
    assert decode(other).original != decode(data).original


def oriented_exif(orientation: int, text: str) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010E] = orientation, text
    return exif


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def test_orientations_that_browsers_overlook_are_overlooked() -> None:
    """Pillow would turn both; people would then draw on another picture than is stored here."""
    for data in (encode(scene(4, 48, 32), xmp=XMP), oriented(scene(4, 48, 32), "WEBP", 6)):
        assert ImageOps.exif_transpose(read(data)).size == (32, 48)
        picture = decode(data)
        assert (picture.width, picture.height, picture.data) == (48, 32, data)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_broken_exif_block_is_no_reason_to_refuse() -> None:
    data = encode(scene(5, 48, 32), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff not an ifd")
    assert decode(data).data == data


# Kinds of pixels


def kinds_of_pixels() -> dict[str, bytes]:
    image = scene(6, 40, 30)
    grey = np.asarray(image.convert("L"))
    deep = grey.astype(np.uint16) * 257
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(grey > 90, 255, 0).astype(np.uint8)))
    return {
        "grey": encode(image.convert("L")),
        "black and white": encode(image.convert("1"), "PNG"),
        "cmyk": encode(image.convert("CMYK")),
        "16 bit": encode(Image.fromarray(deep), "PNG"),
        "palette": encode(image.convert("P"), "PNG"),
        "palette with alpha": encode(clear.quantize(64), "PNG"),
        "palette with one clear colour": encode(image.convert("P"), "PNG", transparency=3),
        "alpha": encode(clear, "PNG"),
        "grey with alpha": encode(clear.convert("LA"), "PNG"),
        "alpha webp": encode(clear, "WEBP", lossless=True),
        "16 bit tiff": encode(Image.fromarray(deep), "TIFF"),
        "float tiff": encode(Image.fromarray(grey.astype(np.float32) / 255), "TIFF"),
        "cmyk tiff": encode(image.convert("CMYK"), "TIFF"),
        "lzw tiff": encode(image, "TIFF", compression="tiff_lzw"),
        "progressive": encode(image, progressive=True),
    }


@pytest.mark.parametrize("kind", kinds_of_pixels())
def test_every_kind_of_pixels_is_read(kind: str) -> None:
    data = kinds_of_pixels()[kind]
    picture = decode(data)
    assert (picture.width, picture.height) == (40, 30)
    if "tiff" in kind:
        assert picture.suffix == ".png"
        assert read(picture.data).mode in {"L", "RGB"}
    else:
        assert picture.data == data


@pytest.mark.parametrize("kind", ["16 bit", "16 bit tiff", "float tiff", "cmyk", "palette", "lzw tiff"])
def test_the_same_picture_in_other_pixels_looks_the_same(kind: str) -> None:
    plain = decode(encode(scene(6, 40, 30), "PNG")).phash
    assert (decode(kinds_of_pixels()[kind]).phash ^ plain).bit_count() <= 6


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "1", "RGBA", "LA", "I;16"])
def test_pictures_of_any_pixels_can_be_turned(mode: str) -> None:
    image = scene(7, 48, 32)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    data = oriented(image, kind, 6)
    stored = read(decode(data).data)
    upright = ImageOps.exif_transpose(read(data))
    if mode == "I;16":
        upright = Image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
    assert difference(stored, upright) <= (2.5 if mode == "CMYK" else 0)


def test_tiff_is_stored_without_loss() -> None:
    image = scene(8, 40, 30)
    picture = decode(encode(image, "TIFF"))
    stored = read(picture.data)
    assert picture.suffix == ".png"
    assert ImageChops.difference(stored, image).getbbox() is None
    assert picture.id != picture.original


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_single_pixel_is_a_picture(kind: str) -> None:
    picture = decode(encode(Image.new("RGB", (1, 1), "teal"), kind))
    assert (picture.width, picture.height, picture.phash) == (1, 1, 0)


# More than one frame


def frames(kind: str, **options: Any) -> bytes:
    first, *rest = (scene(seed, 24, 16) for seed in range(3))
    return encode(first, kind, save_all=True, append_images=rest, **options)


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "TIFF"])
def test_moving_pictures_are_refused(kind: str) -> None:
    with pytest.raises(BadImage, match="3 frames"):
        decode(frames(kind))


def test_gif_is_refused_by_name() -> None:
    with pytest.raises(BadImage, match="is a GIF"):
        decode(frames("GIF"))
    with pytest.raises(BadImage, match="is a GIF"):
        decode(encode(scene(1), "GIF"))


def test_a_phone_photo_with_a_preview_behind_it_is_its_first_picture() -> None:
    data = frames("MPO")
    picture = decode(data)
    assert (picture.data, picture.suffix) == (data, ".jpg")
    assert difference(read(picture.data), scene(0, 24, 16)) < 8
    assert difference(read(picture.data), scene(1, 24, 16)) > 30
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    turned = decode(frames("MPO", exif=exif))
    assert (turned.width, turned.height) == (16, 24)
    assert read(turned.data).format == "JPEG"


# Broken and hostile


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_file_that_was_cut_off_is_refused(kind: str, share: float) -> None:
    data = encode(scene(9), kind)
    with pytest.raises(BadImage):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        ("这不是图片".encode(), "is text"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "video"),
        (b"%PDF-1.7", "PDF"),
        (b"\x80\x81\x82" * 40, "not known"),
        (b"\xff\xd8\xff\xe0 and then nothing", "broken"),
        (b"\x89PNG\r\n\x1a\n", "broken|not known"),
        (b"BM", "broken|not known|text"),
    ],
)
def test_what_is_no_image_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=reason):
        decode(data)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 4_000), (70_000, 70_000), (2**31 - 1, 2**31 - 1), (1, 2**27)])
def test_a_header_that_claims_too_many_pixels_is_refused_before_they_are_made(
    size: tuple[int, int],
) -> None:
    with pytest.raises(BadImage, match="pixels"):
        decode(png_claiming(*size))


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(BadImage):
        decode(png_claiming(*size))


def test_limits_are_inclusive() -> None:
    data = encode(scene(1, 20, 10), "PNG")
    assert decode(data, max_bytes=len(data), max_pixels=200).width == 20
    with pytest.raises(BadImage, match=f"{len(data):,} bytes; at most {len(data) - 1:,}"):
        decode(data, max_bytes=len(data) - 1)
    with pytest.raises(BadImage, match="20 x 10 pixels; at most 199"):
        decode(data, max_pixels=199)


SEEDS = [encode(scene(10, 24, 16), kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")]


@given(
    data=st.sampled_from(SEEDS),
    damage=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6
    ),
)
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_gives_a_picture_or_a_reason_and_nothing_else(
    data: bytes, damage: list[tuple[float, int]]
) -> None:
    broken = bytearray(data)
    for place, value in damage:
        broken[int(place * len(broken))] = value
    try:
        picture = decode(bytes(broken), max_pixels=1_000_000)
    except BadImage as error:
        reason = str(error)
    else:
        assert picture.width * picture.height <= 1_000_000
        assert picture.original == hashlib.sha256(broken).hexdigest()
        reason = "none."
    assert reason.endswith(".")


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_picture_or_a_reason(data: bytes) -> None:
    with pytest.raises(BadImage):
        decode(data)
