"""Regions to the label files of YOLO and back: one line a box, ``class cx cy w h [score]``.

``class`` is an index into the list of classes; centre, width and height are shares of the image.
Upright boxes only: a turned one becomes the upright box around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pool.boxes import clip, to_array, upright
from pool.schema import BadInput, Box, Region

# Far finer than a pixel of any camera, so that writing and reading move no edge that one can see.
_DIGITS = 8


def to_lines(
    regions: Iterable[Region], classes: Sequence[str], *, width: int, height: int, scores: bool = False
) -> list[str]:
    """One line for each region that has some area inside the image.

    ``width`` and ``height`` are the image's pixels, used for turned boxes only. ``scores`` adds the
    detector's confidence as sixth column where a region has one. Raises BadInput for a label that is
    no class: leaving it out silently would teach a model that nothing is there.
    """
    places = {name: index for index, name in enumerate(classes)}
    lines = []
    for region in regions:
        if region.label is None or region.label not in places:
            raise BadInput(
                "label", f"one of {list(classes)}", region.label, "Leave such regions out before writing."
            )
        x1, y1, x2, y2 = clip(to_array([upright(region.box, width, height)]))[0].tolist()
        if x2 <= x1 or y2 <= y1:
            continue
        numbers = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        if scores and region.score is not None:
            numbers.append(region.score)
        lines.append(" ".join([str(places[region.label]), *(f"{value:.{_DIGITS}f}" for value in numbers)]))
    return lines


def from_lines(lines: Iterable[str], classes: Sequence[str]) -> tuple[Region, ...]:
    """Regions from a label file; blank lines are passed over.

    A line with an outline (``class x1 y1 x2 y2 x3 y3 ...``, as for masks and turned boxes) becomes
    the upright box around it. Raises BadInput with the line's number and text.
    """
    return tuple(
        _region(number, line, classes) for number, line in enumerate(lines, start=1) if line.strip()
    )


def _region(number: int, line: str, classes: Sequence[str]) -> Region:
    try:
        index, *values = (float(word) for word in line.split())
    except ValueError:
        raise _bad(number, "made of numbers", line) from None
    if not all(map(math.isfinite, values)):
        raise _bad(number, "made of finite numbers", line)
    if index not in range(len(classes)):
        raise _bad(number, f"led by a class index below {len(classes)}", line)
    label = classes[int(index)]
    if len(values) in (4, 5):
        cx, cy, w, h, *score = values
        if w < 0 or h < 0:
            raise _bad(number, "a box of positive width and height", line)
        box = Box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        return Region(label, box, score[0] if score else None)
    if len(values) < 6 or len(values) % 2:
        raise _bad(number, "'class cx cy w h [score]' or 'class x1 y1 x2 y2 x3 y3 ...'", line)
    xs, ys = values[0::2], values[1::2]
    return Region(label, Box(min(xs), min(ys), max(xs), max(ys)))


def _bad(number: int, expected: str, line: str) -> BadInput:
    return BadInput(f"line {number}", expected, line.strip())
