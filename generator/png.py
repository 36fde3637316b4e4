"""Images that carry their recipe: PNG out, as A1111 writes it, and the text of PNG, JPEG, WebP back."""

from __future__ import annotations

import io
import struct
from typing import Final

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from generator.pixels import Pixels
from pool.schema import BadImage, BadInput

LONGEST: Final = 1_000_000
"""Bytes of an infotext in UTF-8, at most: what Pillow reads of a text without being told otherwise."""
KEYWORD: Final = "parameters"
"""Where A1111 keeps the infotext in a PNG."""


def write(image: Pixels, infotext: str) -> bytes:
    """The image (h, w, 3) as a PNG with the infotext under ``parameters``; alike for equal input.

    As in A1111 the text is a tEXt chunk if it is Latin-1, and else an iTXt chunk in UTF-8. Raises BadInput
    for pixels of another form, and for a text that is too long or that a PNG cannot hold (a NUL, half a
    surrogate pair).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise BadInput(
            "image", "uint8 of shape (h, w, 3)", f"{image.dtype} of shape {image.shape}", "Convert it."
        )
    try:
        _check(len(infotext.encode()))
    except UnicodeEncodeError as error:
        raise BadInput("infotext", "Unicode text", infotext[error.start], "Take it out.") from None
    if "\0" in infotext:
        raise BadInput("infotext", "without NUL characters", "\0", "Take them out.")
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(KEYWORD, infotext)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


def read(data: bytes) -> str | None:
    """The infotext of a PNG, JPEG or WebP file, None where it has none; the pixels are not decoded.

    Looks for ``parameters`` among a PNG's texts before the pixels, where A1111 and `write` put them, and
    for the EXIF UserComment of the others. Of a UserComment in UTF-16 the byte order is told by its mark,
    or by which one gives more ASCII: writers disagree. A camera's own comment is returned as any text is.
    Raises BadImage for a file that is none of the three or broken, and BadInput for a text too long.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            text = _of_png(image) if image.format == "PNG" else _of_exif(image)
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise BadImage(
            f"This is no PNG, JPEG or WebP file that can be read ({error}): save it anew."
        ) from None
    _check(len((text or "").encode(errors="replace")))
    return text or None


def _check(size: int) -> None:
    if size > LONGEST:
        raise BadInput("infotext", f"at most {LONGEST:,} bytes", size, "Cut it down to one recipe.")


def _of_png(image: Image.Image) -> str | None:
    text = image.info.get(KEYWORD)
    return text if isinstance(text, str) else None


def _of_exif(image: Image.Image) -> str | None:
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if isinstance(comment, bytes):
        _check(len(comment) // 2 - 4)  # a character takes two bytes there, and one or more in UTF-8
        comment = _decode(comment)
    return comment.strip("\0 ") if isinstance(comment, str) else None


def _decode(comment: bytes) -> str:
    """EXIF 2.3, 4.6.5: eight bytes name the character code; other codes than Unicode are read as UTF-8."""
    code, text = comment[:8], comment[8:]
    if code != b"UNICODE\0":
        known = code in {b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(8)}
        return (text if known else comment).decode("utf-8", "replace")
    if text[:2] in {b"\xfe\xff", b"\xff\xfe"}:
        return text.decode("utf-16", "replace")
    readings = [text.decode(order, "replace") for order in ("utf-16-be", "utf-16-le")]
    return max(readings, key=lambda reading: sum(map(str.isascii, reading)))
