"""Does what a box encloses still stand where it stood?

Weather and light change brightness, contrast and colour, but not where edges run. So directions of
gradients are compared, not their lengths: the normalised gradient field of Haber & Modersitzki (2006),
"Intensity gradient based registration and fusion of multi-modal images". The parent's edges are the
weight, for an edge that only the variant has (a flake, a streak) says nothing about what stood there.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from generator.pixels import Boxes, Pixels, Plane
from pool.boxes import as_boxes
from pool.schema import BadInput

LEAST_SIDE = 6
"""Pixels; a box with a shorter side holds too few edges to compare."""
TILES = 3
_LONGEST = 1024
_MARGIN = 0.08
_SMOOTH = 1.0
_NEIGHBOURHOOD = 9.0
_CLEAR = 0.6
"""An edge is clear when it is longer than this part of its neighbourhood's mean."""
_FAINT = 0.05
"""Grey levels per pixel; without a floor an even surface would be all edges of rounding."""


class _Field(NamedTuple):
    """Gradients: their length, the unit vector of their doubled angle, and how clear they are, [0, 1).

    Doubled, since an edge and its inversion (a lit window by day and by night) are the same edge.
    """

    length: Plane
    cosine: Plane
    sine: Plane
    clear: Plane


def kept(parent: Pixels, variant: Pixels, boxes: Boxes) -> NDArray[np.float64]:
    """How much of the structure in each box is still in its place, shape (n,), in [0, 1], higher = more.

    The worst of three horizontal tiles of the box with a small margin, so that a lost lid, or a lost pile
    on top of it, is seen. A tile's figure is the mean of cos(2 angle between the gradients of both
    pictures), weighted by the parent's edges: exactly 1 for the same picture, about 0 where directions are
    as good as random. An edge counts as far as it is clear in both pictures, and clear means against the
    mean of its own neighbourhood: night and haze, where all gradients are short, are judged as day is.
    NaN for a box with a side under `LEAST_SIDE` pixels, or without any edge in the parent. With the two
    pictures swapped it is the share of the variant's edges that the parent already had.

    Raises BadInput for pictures of two sizes.
    """
    one, other = (_field(grey) for grey in _greys(parent, variant))
    alike = one.cosine * other.cosine + one.sine * other.sine
    agreement = one.length * np.minimum(one.clear, other.clear) * alike
    return _worst_tile(agreement, one.length * one.clear, boxes, parent)


def similar(parent: Pixels, variant: Pixels, boxes: Boxes) -> NDArray[np.float64]:
    """A second witness: SSIM after local contrast normalisation, shape (n,), [0, 1], higher = more alike.

    Structural similarity (Wang et al. 2004) of pictures whose local mean is 0 and local deviation about 1,
    in the worst of three tiles as in `kept`. It weighs areas where `kept` weighs edges. NaN for a box with
    a side under `LEAST_SIDE` pixels.

    Raises BadInput for pictures of two sizes.
    """
    one, other = (_even(grey) for grey in _greys(parent, variant))
    likeness = _ssim(one, other)
    return _worst_tile(likeness, np.ones_like(likeness), boxes, parent)


def _greys(parent: Pixels, variant: Pixels) -> tuple[Plane, Plane]:
    """Luminance of both, at most `_LONGEST` pixels long: what is finer is grain, not structure."""
    if parent.shape != variant.shape:
        raise BadInput("variant", f"as large as its parent, {parent.shape}", variant.shape, "Crop it back.")
    return _grey(parent), _grey(variant)


def _grey(picture: Pixels) -> Plane:
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    shrink = _LONGEST / max(grey.shape)
    if shrink < 1.0:
        size = [max(1, round(side * shrink)) for side in (grey.shape[1], grey.shape[0])]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, dtype=np.float32)


def _blur(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), dtype=np.float32)


def _field(grey: Plane) -> _Field:
    smooth = _blur(grey, _SMOOTH)
    # Scharr's is the 3 x 3 mask with the least error of direction; its weights add up to 32.
    dx: Plane = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) / np.float32(32.0)
    dy: Plane = cv2.Scharr(smooth, cv2.CV_32F, 0, 1) / np.float32(32.0)
    squared = dx * dx + dy * dy
    length = np.sqrt(squared)
    least = np.float32(_CLEAR) * _blur(length, _NEIGHBOURHOOD) + np.float32(_FAINT)
    unit = np.maximum(squared, np.float32(1e-12))
    clear = squared / (squared + least * least)
    return _Field(length, (dx * dx - dy * dy) / unit, np.float32(2.0) * dx * dy / unit, clear)


def _even(grey: Plane) -> Plane:
    """Local mean 0 and local deviation about 1, also where contrast is a few grey levels."""
    mean = _blur(grey, 4.0)
    spread = np.sqrt(np.maximum(_blur(grey * grey, 4.0) - mean * mean, 0.0))
    return np.asarray((grey - mean) / (spread + 1.0), dtype=np.float32)


def _ssim(a: Plane, b: Plane) -> Plane:
    mean_a, mean_b = _blur(a, 1.5), _blur(b, 1.5)
    spread = _blur(a * a, 1.5) - mean_a**2 + _blur(b * b, 1.5) - mean_b**2
    common = _blur(a * b, 1.5) - mean_a * mean_b
    # Small against deviations of about 1, as the paper's constants are against its range.
    mean_floor, spread_floor = 0.05, 0.1
    likeness = (2 * mean_a * mean_b + mean_floor) / (mean_a**2 + mean_b**2 + mean_floor)
    return np.asarray(likeness * (2 * common + spread_floor) / (spread + spread_floor), dtype=np.float32)


def _worst_tile(values: Plane, weights: Plane, boxes: Boxes, picture: Pixels) -> NDArray[np.float64]:
    """Sum of values over sum of weights in the lowest of each box's tiles, at least 0."""
    array = as_boxes(boxes)
    height, width = picture.shape[:2]
    rows, columns = values.shape
    sides = np.minimum((array[:, 2] - array[:, 0]) * width, (array[:, 3] - array[:, 1]) * height)
    worst = np.full(len(array), np.nan)
    # A box of just the least side may be a rounding below it.
    for number in np.flatnonzero(sides >= LEAST_SIDE - 1e-6):
        x1, y1, x2, y2 = array[number].tolist()
        aside, above = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
        left, right = np.clip(np.rint(np.array([x1 - aside, x2 + aside]) * columns), 0, columns).astype(int)
        edges = np.rint(np.linspace(y1 - above, y2 + above, TILES + 1) * rows)
        edges = np.clip(edges, 0, rows).astype(int)
        for top, bottom in pairwise(edges.tolist()):
            total = float(weights[top:bottom, left:right].sum(dtype=np.float64))
            if total > 0.0:
                share = float(values[top:bottom, left:right].sum(dtype=np.float64)) / total
                worst[number] = np.fmin(worst[number], np.clip(share, 0.0, 1.0))
    return worst
