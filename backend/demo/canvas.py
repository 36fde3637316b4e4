"""The sheet that scenes are painted on: colour, who owns each pixel, and what glows by itself.

It is painted larger than the finished picture, far things first. Every brush stroke stamps the
owner map too, so that what remains visible of an object is counted in pixels and not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.demo.camera import Points

SKY, WALL, GROUND, TRIM, FIRST = 0, 1, 2, 3, 4
"""Owners of the backdrop (TRIM is what is on a wall, such as windows), and an object's first number."""
_SHIFT = 4
_LIMIT = 1e6

Colour = tuple[float, float, float]
"""Red, green, blue, 0 to 255."""


@dataclass(frozen=True, slots=True)
class Silhouette:
    """What an object would cover with nothing in front of it, in pixels, also beyond the frame."""

    owner: int
    area: int


class Canvas:
    """Arrays of one picture: ``colour`` (h, w, 3), ``owner`` (h, w) and ``glow`` (h, w), all uint8.

    ``glows`` says whether anything was painted that shines.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.colour: NDArray[np.uint8] = np.zeros((height, width, 3), np.uint8)
        self.owner: NDArray[np.uint8] = np.zeros((height, width), np.uint8)
        self.glow: NDArray[np.uint8] = np.zeros((height, width), np.uint8)
        self.brush = SKY
        self.glows = False
        self._strokes: list[NDArray[np.int32]] = []

    def begin(self, owner: int) -> None:
        """From now on strokes belong to ``owner``."""
        self.brush = owner
        self._strokes = []

    def end(self) -> Silhouette:
        """The silhouette of everything painted since ``begin``."""
        if not self._strokes:
            return Silhouette(self.brush, 0)
        corners = np.concatenate(self._strokes)
        low = (corners.min(axis=0) >> _SHIFT) - 1
        high = (corners.max(axis=0) >> _SHIFT) + 3
        if (low >= 0).all() and (high <= (self.width, self.height)).all():
            window = self.owner[low[1] : high[1], low[0] : high[0]]
            return Silhouette(self.brush, int(np.count_nonzero(window == self.brush)))
        mask = np.zeros((int(high[1] - low[1]), int(high[0] - low[0])), np.uint8)
        for stroke in self._strokes:
            moved = (stroke - (low << _SHIFT)).astype(np.int32)
            cv2.fillPoly(mask, [moved], 1, cv2.LINE_8, _SHIFT)
        return Silhouette(self.brush, int(np.count_nonzero(mask)))

    def fill(self, polygon: Points, colour: Colour, glow: int = 0) -> None:
        """Paint a polygon (n, 2) given in pixels; ``glow`` 0 to 255 is how much it shines by itself."""
        stroke = self._stamp(polygon, glow)
        if stroke is not None:
            cv2.fillPoly(self.colour, [stroke], colour, cv2.LINE_AA, _SHIFT)

    def shade(self, polygon: Points, paint: NDArray[np.float32], corner: tuple[int, int]) -> None:
        """Paint a polygon with a patch of colours (h, w, 3) laid at ``corner`` (column, row)."""
        stroke = self._stamp(polygon, 0)
        if stroke is None:
            return
        height, width = paint.shape[:2]
        mask = np.zeros((height, width), np.uint8)
        origin = np.array(corner, np.int32) << _SHIFT
        cv2.fillPoly(mask, [(stroke - origin).astype(np.int32)], 255, cv2.LINE_AA, _SHIFT)
        x0, y0 = max(corner[0], 0), max(corner[1], 0)
        x1, y1 = min(corner[0] + width, self.width), min(corner[1] + height, self.height)
        if x1 <= x0 or y1 <= y0:
            return
        rows, columns = slice(y0 - corner[1], y1 - corner[1]), slice(x0 - corner[0], x1 - corner[0])
        share = mask[rows, columns, None].astype(np.float32) * np.float32(1 / 255)
        under = self.colour[y0:y1, x0:x1].astype(np.float32)
        mixed = under + (paint[rows, columns] - under) * share
        self.colour[y0:y1, x0:x1] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)

    def _stamp(self, polygon: Points, glow: int) -> NDArray[np.int32] | None:
        """Record the stroke and its owner; None when there is nothing to paint."""
        if len(polygon) < 3:
            return None
        (left, top), (right, bottom) = polygon.min(axis=0).tolist(), polygon.max(axis=0).tolist()
        if min(left, top) < -_LIMIT or max(right, bottom) > _LIMIT:
            polygon = np.clip(polygon, -_LIMIT, _LIMIT)
        # OpenCV counts pixel centres, the camera pixel edges.
        stroke = np.rint(polygon * (1 << _SHIFT) - (1 << _SHIFT) / 2).astype(np.int32)
        self._strokes.append(stroke)
        if right < 0 or bottom < 0 or left > self.width or top > self.height:
            return None
        self.glows = self.glows or glow > 0
        if self.glows:
            cv2.fillPoly(self.glow, [stroke], glow, cv2.LINE_8, _SHIFT)
        cv2.fillPoly(self.owner, [stroke], self.brush, cv2.LINE_8, _SHIFT)
        return stroke

    def visible(self, shape: Silhouette) -> tuple[float, tuple[int, int, int, int] | None]:
        """Share of a silhouette still to be seen, in [0, 1], and its tight box x1, y1, x2, y2 in pixels."""
        seen = self.owner == shape.owner
        count = int(np.count_nonzero(seen))
        if count == 0 or shape.area == 0:
            return 0.0, None
        columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        return min(count / shape.area, 1.0), box
