"""Infotexts in images: ours read by Pillow and by hand, and files as others write them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from generator import infotext, png
from generator.pixels import Pixels
from generator.recipe import Recipe
from pool.schema import BadImage, BadInput
from tests.generator.recipes import NIGHT, RECIPES, SNOW


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG, by its specification; every check sum is right."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        yield kind, body
        at += 12 + size


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (375, 500)])
def test_pixels_come_back_to_the_bit(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    data = png.write(image[:, ::-1], SNOW)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(opened), image[:, ::-1])
        assert opened.info["parameters"] == SNOW
    assert png.write(image[:, ::-1], SNOW) == data


@pytest.mark.parametrize("text", [SNOW, NIGHT, '雪，夜 🌨\n"a"', "é", "a\tb\n" * 1000])
def test_texts_come_back(text: str) -> None:
    assert png.read(png.write(noise(16, 16), text)) == text


@settings(max_examples=25)
@given(RECIPES)
def test_recipes_come_back(recipe: Recipe) -> None:
    text = png.read(png.write(noise(16, 16), infotext.text(recipe)))
    assert text is not None
    assert infotext.parse(text) == recipe


def test_the_chunks_are_those_of_a1111() -> None:
    plain = dict(chunks(png.write(noise(16, 16), "é")))
    assert plain[b"tEXt"] == b"parameters\0\xe9"
    wide = dict(chunks(png.write(noise(16, 16), "雪")))
    assert wide[b"iTXt"] == b"parameters\0\0\0\0\0" + "雪".encode()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("text", ["snow\nSteps: 20", "雪"])
def test_compressed_texts_are_read(text: str, compressed: bool) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("parameters", text, zip=compressed)
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "PNG", pnginfo=info)
    assert png.read(file.getvalue()) == text


def with_comment(kind: str, comment: bytes) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("text", [SNOW, NIGHT, "雪，夜\nSteps: 20", "雪 🌨, x"])
@pytest.mark.parametrize(
    ("code", "encoding"),
    [
        (b"UNICODE\0", "utf-16-be"),
        (b"UNICODE\0", "utf-16-le"),
        (b"UNICODE\0", "utf-16"),
        (b"ASCII\0\0\0", "utf-8"),
        (bytes(8), "utf-8"),
        (b"", "utf-8"),
    ],
)
def test_user_comments_are_read_in_either_byte_order(
    kind: str, text: str, code: bytes, encoding: str
) -> None:
    assert png.read(with_comment(kind, code + text.encode(encoding))) == text


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_without_a_text_has_none(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, kind)
    assert png.read(file.getvalue()) is None


@pytest.mark.parametrize("comment", [b"", b"ASCII\0\0\0", b"ASCII\0\0\0   \0", b"UNICODE\0", bytes(64)])
def test_an_empty_comment_is_none(comment: bytes) -> None:
    assert png.read(with_comment("JPEG", comment)) is None


def test_other_texts_of_a_png_are_none() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "x")
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG", pnginfo=info)
    assert png.read(file.getvalue()) is None


@pytest.mark.parametrize("text", ["a" * (png.LONGEST + 1), "雪" * (png.LONGEST // 3 + 1), "a\0b", "\ud83d"])
def test_texts_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="infotext"):
        png.write(noise(16, 16), text)


def test_the_longest_text_fits() -> None:
    text = "雪a" * (png.LONGEST // 4)
    assert png.read(png.write(noise(16, 16), text)) == text


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((16, 16), np.uint8),
        np.zeros((16, 16, 4), np.uint8),
        np.zeros((0, 16, 3), np.uint8),
        np.zeros((16, 16, 3)),
    ],
)
def test_other_pixels_are_refused(image: Pixels) -> None:
    with pytest.raises(BadInput, match="image"):
        png.write(image, "a")


def bomb(width: int, height: int, *extra: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def test_bombs_do_not_go_off() -> None:
    with pytest.raises(BadImage):
        png.read(bomb(60_000, 60_000))
    packed = zlib.compress(b"a" * 50_000_000)
    with pytest.raises(BadImage):
        png.read(bomb(16, 16, (b"zTXt", b"parameters\0\0" + packed)))
    with pytest.raises(BadInput, match="1,000,000"):
        png.read(bomb(16, 16, (b"tEXt", b"parameters\0" + b"a" * 1_000_001)))
    assert png.read(bomb(9_000, 9_000, (b"tEXt", b"parameters\0fog"))) == "fog"  # and no pixel is looked at


GIF = b"GIF89a\x10\0\x10\0\0\0\0,\0\0\0\0\x10\0\x10\0\0\2\0\0;"


@pytest.mark.parametrize(
    "data", [b"", b"snow", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", GIF, png.write(noise(16, 16), SNOW)[:60]]
)
def test_what_is_no_image_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(BadImage, match="PNG, JPEG or WebP"):
        png.read(data)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
@given(
    st.sampled_from(["PNG", "JPEG", "WEBP"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
)
def test_broken_files_are_refused_or_read(kind: str, hits: list[tuple[int, int]]) -> None:
    text = b"UNICODE\0" + "snow, 雪".encode("utf-16-le")
    data = bytearray(with_comment(kind, text) if kind != "PNG" else png.write(noise(16, 16), "snow, 雪"))
    for at, value in hits:
        data[at % len(data)] = value
    try:
        read = png.read(bytes(data))
    except (BadImage, BadInput):
        return
    assert read is None or isinstance(read, str)
