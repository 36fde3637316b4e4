"""Vectorised geometry of upright boxes, normalised ``xyxyn`` as in ``pool.schema.Box``.

Arrays of boxes have shape (n, 4) with columns x1, y1, x2, y2. A box whose right or lower edge lies
before its left or upper one has no area and meets nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput, Box

Boxes = NDArray[np.float64]
"""Shape (n, 4)."""


def as_boxes(values: ArrayLike) -> Boxes:
    """Check and convert to shape (n, 4); an empty list becomes (0, 4)."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 and array.ndim <= 2:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise BadInput("boxes", "an array of shape (n, 4)", array.shape)
    return array


def to_array(boxes: Iterable[Box]) -> Boxes:
    """Boxes as an array, shape (n, 4); their rotation is left out."""
    return as_boxes([(box.x1, box.y1, box.x2, box.y2) for box in boxes])


def from_array(array: ArrayLike) -> tuple[Box, ...]:
    """Upright boxes from an array of shape (n, 4)."""
    return tuple(Box(*row) for row in as_boxes(array).tolist())


def area(boxes: ArrayLike) -> NDArray[np.float64]:
    """Area of each box, shape (n,), as a share of the image in [0, 1] for boxes inside it."""
    x1, y1, x2, y2 = as_boxes(boxes).T
    return np.asarray(np.maximum(x2 - x1, 0.0) * np.maximum(y2 - y1, 0.0))


def clip(boxes: ArrayLike) -> Boxes:
    """The parts of boxes that lie inside the image; new array, shape (n, 4)."""
    return np.clip(as_boxes(boxes), 0.0, 1.0)


def iou_matrix(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of every box of ``a`` with every box of ``b``, shape (n, m), in [0, 1].

    Two boxes without area give 0, also with themselves: they enclose nothing that could agree.

    >>> iou_matrix([[0, 0, 0.5, 1]], [[0, 0, 1, 1], [0.5, 0, 1, 1]]).tolist()
    [[0.5, 0.0]]
    """
    left, right = as_boxes(a), as_boxes(b)
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    overlap = np.prod(np.maximum(high - low, 0.0), axis=2)
    union = area(left)[:, None] + area(right)[None, :] - overlap
    # Rounding may leave the union of a box with itself a hair below its area.
    ratio = np.divide(overlap, union, out=np.zeros_like(overlap), where=(overlap > 0) & (union > 0))
    return np.asarray(np.minimum(ratio, 1.0))


def corners(box: Box, width: float, height: float) -> NDArray[np.float64]:
    """Four corners of a possibly turned box, shape (4, 2), normalised, clockwise from ``x1, y1``.

    ``width`` and ``height`` are the image's pixels: turning happens in pixels, since one normalised
    unit is not equally long in both directions.
    """
    turn = math.radians(box.rotation)
    w, h = (box.x2 - box.x1) * width, (box.y2 - box.y1) * height
    offsets = np.array([(0.0, 0.0), (w, 0.0), (w, h), (0.0, h)])
    # The y axis points down, so this matrix turns clockwise on the screen.
    clockwise = np.array([(math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))])
    return np.asarray((box.x1, box.y1) + offsets @ clockwise.T / (width, height))


def upright(box: Box, width: float, height: float) -> Box:
    """The smallest upright box around a possibly turned one; may reach beyond the image."""
    if box.rotation % 360.0 == 0.0:
        return Box(box.x1, box.y1, box.x2, box.y2)
    points = corners(box, width, height)
    (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Box(x1, y1, x2, y2)
