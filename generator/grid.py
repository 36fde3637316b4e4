"""A contact sheet: parents down, conditions across, and what the gates said of each variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from generator.pixels import Boxes, Pixels
from pool.boxes import as_boxes
from pool.schema import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

PAPER, INK, FAINT, BOX = "#ffffff", "#222222", "#6b7280", "#ffd400"
FRAMES: Mapping[str, str] = {"accepted": "#15803d", "rejected": "#c62828"}
"""Colours of the states that have one; the others are framed in ``PLAIN``."""
PLAIN = "#c4c9d1"
FONTS: tuple[str, ...] = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "PingFang.ttc",
    "msyh.ttc",
    "Arial Unicode.ttf",
)
"""Fonts that hold Chinese as well as Latin; the first that is installed is used."""
LEAST_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Cell:
    """One variant: its image, its state (``passed``, ``rejected``, ``accepted`` ...), and a note below.

    The note of a rejected one is the gate that refused it. ``boxes`` (n, 4) are drawn; none by default.
    """

    image: Pixels
    state: str = ""
    note: str = ""
    boxes: Boxes = field(default_factory=lambda: np.zeros((0, 4)))


@dataclass(frozen=True, slots=True)
class Row:
    """A parent, its caption, and its variants by condition; ``boxes`` (n, 4) are drawn in the parent."""

    picture: Pixels
    caption: str
    variants: Mapping[str, Cell]
    boxes: Boxes = field(default_factory=lambda: np.zeros((0, 4)))


def sheet(rows: Sequence[Row], columns: Sequence[str], *, width: int = 220) -> Pixels:
    """Draw the sheet (h, w, 3): a column of parents, then one for each condition, each ``width`` pixels.

    A frame and a caption tell the state: green is accepted, red rejected. A variant that is not there
    leaves its place empty. Text that is too long ends in an ellipsis. The same arguments give the same
    pixels on a machine with the same fonts.

    Raises BadInput for a width under ``LEAST_WIDTH``.
    """
    from PIL import Image, ImageDraw

    if width < LEAST_WIDTH:
        raise BadInput("width", f"at least {LEAST_WIDTH} pixels", width)
    size = max(10, round(width / 16))
    gap, line = max(4, width // 22), round(size * 1.5)
    heights = [_height(row.picture, width) for row in rows]
    total = gap + line + gap + sum(height + line + gap for height in heights)
    paper = Image.new("RGB", (gap + (1 + len(columns)) * (width + gap), total), PAPER)
    pen, font = ImageDraw.Draw(paper), _font(size)
    across = [gap + number * (width + gap) for number in range(1 + len(columns))]
    for left, name in zip(across, ("parent", *columns), strict=True):
        _write(pen, (left, gap), name, INK, font, width)
    top = gap + line + gap
    for row, height in zip(rows, heights, strict=True):
        frame = (width, height)
        _put(paper, pen, (across[0], top), frame, row.picture, row.boxes, PLAIN)
        _write(pen, (across[0], top + height + 2), row.caption, INK, font, width)
        for left, name in zip(across[1:], columns, strict=True):
            cell = row.variants.get(name)
            if cell is not None:
                colour = FRAMES.get(cell.state, PLAIN)
                _put(paper, pen, (left, top), frame, cell.image, cell.boxes, colour)
                text = ": ".join(part for part in (cell.state, cell.note) if part)
                _write(pen, (left, top + height + 2), text, FRAMES.get(cell.state, FAINT), font, width)
        top += height + line + gap
    return np.array(paper, dtype=np.uint8)


def _height(picture: Pixels, width: int) -> int:
    """Of a picture ``width`` wide; a tall one is kept to twice the width."""
    return min(max(round(picture.shape[0] * width / picture.shape[1]), 1), 2 * width)


def _put(
    paper: Image,
    pen: ImageDraw,
    corner: tuple[int, int],
    frame: tuple[int, int],
    picture: Pixels,
    boxes: Boxes,
    colour: str,
) -> None:
    """A picture in the middle of its frame, its boxes, and a line around it."""
    from PIL import Image

    scale = min(frame[0] / picture.shape[1], frame[1] / picture.shape[0])
    width, height = (max(1, round(side * scale)) for side in (picture.shape[1], picture.shape[0]))
    left, top = corner[0] + (frame[0] - width) // 2, corner[1] + (frame[1] - height) // 2
    paper.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS), (left, top))
    thick = max(1, frame[0] // 110)
    for x1, y1, x2, y2 in np.clip(as_boxes(boxes), 0.0, 1.0).tolist():
        if x2 > x1 and y2 > y1:
            edges = (left + x1 * width, top + y1 * height, left + x2 * width, top + y2 * height)
            pen.rectangle(edges, outline=BOX, width=thick)
    # Around the picture and not over it: what is in its corner is to be seen.
    room = thick + 1 if colour != PLAIN else 1
    pen.rectangle(
        (left - room, top - room, left + width + room - 1, top + height + room - 1),
        outline=colour,
        width=room,
    )


def _write(pen: ImageDraw, corner: tuple[int, int], text: str, colour: str, font: Font, width: int) -> None:
    """One line, cut to its width."""
    words = " ".join(text.split())
    if pen.textlength(words, font) > width:
        while words and pen.textlength(words + "…", font) > width:
            words = words[:-1]
        words = words.rstrip() + "…"
    pen.text(corner, words, fill=colour, font=font)


@cache
def _font(size: int) -> Font:
    from PIL import ImageFont

    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
