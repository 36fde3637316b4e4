"""The place of a box as Label Studio writes it, and back.

``x, y`` are the box's first corner and ``width, height`` its sides in percent of the picture,
``rotation`` turns it clockwise about that corner, in degrees. ``image_rotation`` only tells how the
annotator had turned the picture on the screen: the shares are of the picture as it is (seen in the
browser with Label Studio 1.23, for boxes drawn before and after the turn), so it is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pool.schema import BadInput, Box


def value(box: Box) -> dict[str, float]:
    """The ``value`` of a result item, without its labels; BadInput for numbers that are not finite."""
    place = {
        "x": box.x1 * 100.0,
        "y": box.y1 * 100.0,
        "width": (box.x2 - box.x1) * 100.0,
        "height": (box.y2 - box.y1) * 100.0,
        "rotation": box.rotation,
    }
    if not all(map(math.isfinite, place.values())):
        raise BadInput("box", "finite numbers", box)
    return place


def box(place: Mapping[str, object]) -> Box | None:
    """The box of a result item's ``value``, None where a number is missing or makes no sense.

    Upright boxes are clipped to [0, 1]. A turned box keeps its frame, which may lie outside the picture
    while the box does not.
    """
    found = [number(place.get(key)) for key in ("x", "y", "width", "height")]
    turn = number(place.get("rotation") or 0.0)
    if turn is None or None in found:
        return None
    x, y, width, height = ((share or 0.0) / 100.0 for share in found)
    turn %= 360.0
    if turn:
        return Box(x, y, x + width, y + height, turn) if min(width, height) >= 0.0 else None
    left, right = sorted((x, x + width))
    top, bottom = sorted((y, y + height))
    return Box(*(min(max(side, 0.0), 1.0) for side in (left, top, right, bottom)))


def number(given: object) -> float | None:
    """A finite number, from numbers and nothing else."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    try:
        found = float(given)
    except OverflowError:  # JSON has integers of any length
        return None
    return found if math.isfinite(found) else None
