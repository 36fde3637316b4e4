"""Overlap of boxes pair by pair, upright or turned; any number of pairs at once.

Boxes are rows ``x1, y1, x2, y2`` in any unit. A turned box is the same rectangle turned clockwise
about its top-left corner, as Label Studio turns it. Turning happens in pixels, so boxes in
normalised coordinates need their image's ``aspect``, width / height; upright ones do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pool.boxes import area

Floats = NDArray[np.float64]

DECIMALS = 12
"""IoU is rounded here, so that "exactly half" does not hang on where in the image a pair lies."""


def pair_iou(a: Floats, b: Floats, turn_a: Floats, turn_b: Floats, aspect: Floats) -> Floats:
    """Intersection over union of each pair.

    Args:
        a: (n, 4) boxes with an area.
        b: (n, 4) boxes with an area.
        turn_a: (n,) rotation of ``a`` in degrees clockwise.
        turn_b: (n,) rotation of ``b``.
        aspect: (n,) width / height of the image that the pair lies in.

    Returns:
        (n,) in [0, 1], 1 for identical boxes.
    """
    shared = _upright_intersection(a, b)
    turned = np.flatnonzero((turn_a % 360.0 != 0.0) | (turn_b % 360.0 != 0.0))
    if turned.size:
        shared[turned] = _turned_intersection(
            corners(a[turned], turn_a[turned], aspect[turned]),
            corners(b[turned], turn_b[turned], aspect[turned]),
        )
        shared[turned] /= aspect[turned]  # back to the unit of the boxes
    union = area(a) + area(b) - shared
    return np.clip(np.round(shared / union, DECIMALS), 0.0, 1.0)


def corners(boxes: Floats, turns: Floats, aspect: Floats) -> Floats:
    """Corners of turned boxes, (n, 4, 2), clockwise on the screen, x stretched by ``aspect``."""
    angle = np.deg2rad(turns)[:, None]
    left, top = boxes[:, 0] * aspect, boxes[:, 1]
    width, height = (boxes[:, 2] - boxes[:, 0]) * aspect, boxes[:, 3] - boxes[:, 1]
    zero = np.zeros_like(width)
    x = np.column_stack([zero, width, width, zero])
    y = np.column_stack([zero, zero, height, height])
    return np.stack(
        [
            left[:, None] + x * np.cos(angle) - y * np.sin(angle),
            top[:, None] + x * np.sin(angle) + y * np.cos(angle),
        ],
        axis=2,
    )


def hulls(boxes: Floats, turns: Floats, aspect: Floats) -> Floats:
    """The upright box around each turned one, (n, 4), x stretched by ``aspect`` throughout."""
    out = boxes * np.column_stack([aspect, np.ones_like(aspect), aspect, np.ones_like(aspect)])
    turned = np.flatnonzero(turns % 360.0 != 0.0)
    points = corners(boxes[turned], turns[turned], aspect[turned])
    out[turned] = np.column_stack([points.min(axis=1), points.max(axis=1)])
    return out


def _upright_intersection(a: Floats, b: Floats) -> Floats:
    # Column by column: three times as fast as on pairs of columns.
    wide = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    high = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return np.asarray(np.maximum(wide, 0.0) * np.maximum(high, 0.0))


def _turned_intersection(a: Floats, b: Floats) -> Floats:
    """Area that convex quadrilaterals ``a`` and ``b``, each (n, 4, 2), have in common."""
    near = np.flatnonzero(((a.max(axis=1) > b.min(axis=1)) & (b.max(axis=1) > a.min(axis=1))).all(axis=1))
    shared = np.zeros(len(a))
    origin = a[near, :1]  # small numbers around the corner keep the small areas exact
    polygon, window = a[near] - origin, b[near] - origin
    for k in range(4):
        polygon = _cut(polygon, window[:, k], window[:, (k + 1) % 4] - window[:, k])
    x, y = polygon[..., 0], polygon[..., 1]
    doubled = (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
    shared[near] = np.abs(doubled) / 2.0
    return shared


def _cut(polygon: Floats, start: Floats, direction: Floats) -> Floats:
    """The part of each convex polygon on the inner side of a line (Sutherland and Hodgman, 1974).

    Polygons with fewer corners than the array has room for repeat their first one, which adds no
    area. A cut adds one corner to a convex polygon; there is room for a second one because corners
    on the very line may fall on either side of it by rounding.
    """
    relative = polygon - start[:, None]
    side = direction[:, None, 0] * relative[..., 1] - direction[:, None, 1] * relative[..., 0]
    after, side_after = np.roll(polygon, -1, axis=1), np.roll(side, -1, axis=1)
    inside = side >= 0.0
    crossing = inside != (side_after >= 0.0)
    step = side / np.where(crossing, side - side_after, 1.0)
    points = np.stack([polygon, polygon + step[..., None] * (after - polygon)], axis=2)
    kept = np.stack([inside, crossing], axis=2)
    count, had = polygon.shape[:2]
    points, kept = points.reshape(count, 2 * had, 2), kept.reshape(count, 2 * had)
    order = np.argsort(~kept, axis=1, kind="stable")[:, : had + 2]
    points = np.take_along_axis(points, order[..., None], axis=1)
    return np.where(np.take_along_axis(kept, order, axis=1)[..., None], points, points[:, :1])
