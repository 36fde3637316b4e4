"""Image files judged once, when they come in; pure.

``decode`` accepts what the detector, a browser and this project all read alike, and turns it
upright.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, UnidentifiedImageError

from pool.phash import perceptual_hash
from pool.schema import BadImage

MAX_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 64_000_000

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""File endings, in lower case, under which usable images come in."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
# An MPO is a JPEG with more pictures behind it (a preview, a gain map); all readers show the first.
# Browsers do not show TIFF: it is stored as PNG, so that annotators see what the detector sees.
_STORED_AS = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "TIFF": "PNG", "WEBP": "WEBP", "BMP": "BMP"}
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}
"""Ending of a stored file, by its format."""

_ONE_FRAME = frozenset({"PNG", "WEBP", "TIFF"})
# Browsers and OpenCV follow the EXIF orientation of JPEG and PNG and overlook it in WebP, and both
# overlook an orientation that only XMP gives. What they show is what people draw boxes on.
_TURNABLE = frozenset({"JPEG", "MPO", "PNG"})
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_KNOWN_STRANGERS = {
    b"GIF8": "a GIF",
    b"%PDF": "a PDF",
    b"<svg": "an SVG drawing",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"8BPS": "a Photoshop file",
    b"PK\x03\x04": "a ZIP archive",
}
_BRANDS = {
    b"heic": "an HEIC photo",
    b"heix": "an HEIC photo",
    b"mif1": "an HEIF photo",
    b"avif": "an AVIF image",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A usable image. ``data`` is what is stored and ``id`` its sha256; the rest as in ``Sample``."""

    data: bytes = field(repr=False)
    width: int
    height: int
    id: str
    original: str
    phash: int
    suffix: str


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Picture:
    """Judge the bytes of an image file, read all of its pixels and turn it upright.

    Bytes are kept as they came, and with them ``id`` equals ``original``, except where an image has
    to be turned (its EXIF orientation is not 1) or is a TIFF; then it is written anew in 8 bits, JPEG
    at quality 95, the others as PNG, without any metadata but its colour profile.

    Raises:
        BadImage: empty, too large, broken, animated, or of no accepted kind (JPEG, PNG, WebP, BMP,
            TIFF); the text says which.
    """
    if not data:
        raise BadImage("The file is empty.")
    if len(data) > max_bytes:
        raise BadImage(
            f"The file has {len(data):,} bytes; at most {max_bytes:,} are accepted. "
            "Make it smaller or raise the limit."
        )
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return _accept(data, image, max_pixels)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage(
            f"The file is {_stranger(data)}; images must be JPEG, PNG, WebP, BMP or TIFF. Convert it first."
        ) from None
    except Image.DecompressionBombError as error:
        raise BadImage(f"The file's header claims too many pixels: {error}") from error
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to
        reason = str(error).strip(" .") or type(error).__name__
        raise BadImage(f"The image is broken or cut off: {reason}.") from error


def _accept(data: bytes, image: Image.Image, max_pixels: int) -> Picture:
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(
            f"The image has {width} x {height} pixels; at most {max_pixels:,} are accepted. "
            "Make it smaller or raise the limit."
        )
    kind = str(image.format)
    frames = getattr(image, "n_frames", 1)
    if kind in _ONE_FRAME and frames > 1:
        raise BadImage(f"The {kind} holds {frames} frames, but boxes need one: save it as single images.")
    image.load()
    original = hashlib.sha256(data).hexdigest()
    stored, name = data, original
    turn = _TURNS.get(_orientation(image)) if kind in _TURNABLE else None
    upright: Image.Image = image if turn is None else image.transpose(turn)
    if turn is not None or kind != _STORED_AS[kind] != "JPEG":
        stored = _write(upright, _STORED_AS[kind])
        name = hashlib.sha256(stored).hexdigest()
    return Picture(
        data=stored,
        width=upright.width,
        height=upright.height,
        id=name,
        original=original,
        phash=perceptual_hash(_plain(upright)),
        suffix=ENDINGS[_STORED_AS[kind]],
    )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation in 1..8; 1 where there is none or the EXIF block is broken.

    Pillow's own ``getexif`` is not asked, since it also believes XMP.
    """
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        return int(exif.get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block is no reason to refuse the picture; viewers overlook it
        return 1


def _write(image: Image.Image, kind: str) -> bytes:
    plain = _plain(image)
    # A profile describes the channels it came with; after a change of mode it would be wrong.
    profile = image.info.get("icc_profile") if plain.mode == image.mode else None
    clean = plain.copy()
    clean.info = {}
    buffer = io.BytesIO()
    if kind == "JPEG":
        # Colours at full resolution: they were halved once already, perhaps along the other axis.
        clean.save(buffer, "JPEG", quality=95, subsampling=0, icc_profile=profile)
    else:
        clean.save(buffer, "PNG", icc_profile=profile)
    return buffer.getvalue()


def _plain(image: Image.Image) -> Image.Image:
    """The picture in 8 bits, as L, RGB or RGBA.

    Sixteen-bit greys lose their lower byte, as in any browser; floating-point greys, which have no
    agreed scale, are spread from their lowest to their highest value.
    """
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.clip(np.asarray(image).astype(np.float64), 0, 65535)
        return Image.fromarray(np.round(values / 257.0).astype(np.uint8))
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
        low, span = values.min(), float(np.ptp(values)) or 1.0
        return Image.fromarray(np.round((values - low) / span * 255.0).astype(np.uint8))
    if "transparency" in image.info or image.mode in {"LA", "PA", "La", "RGBa"}:
        return image.convert("RGBA")
    if image.mode in {"L", "RGB", "RGBA"}:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _stranger(data: bytes) -> str:
    """What the bytes seem to be, for the message."""
    for magic, name in _KNOWN_STRANGERS.items():
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "a video or an unknown photo format")
    try:
        text = data[:4096].decode()
    except UnicodeDecodeError:
        return "of a kind that is not known here, or broken in its first bytes"
    return "an SVG drawing" if "<svg" in text else "text, not an image"
