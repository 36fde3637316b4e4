"""A pinhole camera over a street: world metres to picture pixels and back.

World axes: ``x`` along the street to the right, ``y`` up from the pavement, ``z`` across the street
away from the camera, which stands at ``(0, eye, 0)``. Tilt is a shift of the horizon, as with a
shift lens, so that verticals stay vertical.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

NEAR = 0.35
"""Metres in front of the camera where polygons are cut off."""


@dataclass(frozen=True, slots=True)
class Camera:
    """``focal`` and ``horizon`` (row of eye level) in pixels, ``eye`` in metres, ``yaw`` in radians."""

    width: int
    height: int
    focal: float
    horizon: float
    eye: float
    yaw: float

    def scaled(self, factor: float) -> Camera:
        """The same view on a picture ``factor`` times as large."""
        return replace(
            self,
            width=round(self.width * factor),
            height=round(self.height * factor),
            focal=self.focal * factor,
            horizon=self.horizon * factor,
        )

    def view(self, points: Points) -> Points:
        """World points (n, 3) as right, up and depth from the camera (n, 3), metres."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        out = points @ np.array(((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)))
        out[:, 1] -= self.eye
        return np.asarray(out)

    def depth(self, x: float, z: float) -> float:
        """Metres along the line of sight to a place on the ground plan."""
        return math.sin(self.yaw) * x + math.cos(self.yaw) * z

    def scale(self, x: float, z: float) -> float:
        """Pixels per metre at a place on the ground plan."""
        return self.focal / max(self.depth(x, z), NEAR)

    def project(self, points: Points) -> Points:
        """Pixels (n, 2) of world points (n, 3), which must lie in front of the camera."""
        return self._screen(self.view(points))

    def polygon(self, points: Points) -> Points:
        """Pixels (m, 2) of a world polygon, cut at the near plane; empty when all of it is behind."""
        seen = self.view(points)
        if seen[:, 2].min() < NEAR:
            seen = _cut(seen, np.array([0.0, 0.0, 1.0]), NEAR)
        return self._screen(seen)

    def ground(self, column: float, z: float) -> float:
        """The ``x`` at which a picture column meets the line of constant ``z``."""
        return z * math.tan(self.yaw + math.atan((column - self.width / 2) / self.focal))

    def plane(self, along: Points, up: Points, origin: Points) -> NDArray[np.float64]:
        """Homography (3, 3) from coordinates on a plane, in metres from ``origin``, to pixels."""
        corners = self.view(np.stack((origin, origin + along, origin + up)))
        columns = np.stack((corners[1] - corners[0], corners[2] - corners[0], corners[0]), axis=1)
        lens = np.array([[self.focal, 0, self.width / 2], [0, -self.focal, self.horizon], [0, 0, 1]])
        return np.asarray(lens @ columns, dtype=np.float64)

    def _screen(self, seen: Points) -> Points:
        out = seen[:, :2] * (self.focal / seen[:, 2:])
        out[:, 1] *= -1
        out += (self.width / 2, self.horizon)
        return np.asarray(out)


def _cut(polygon: Points, normal: Points, offset: float) -> Points:
    """The part of a polygon (n, d) where ``normal . p >= offset`` (Sutherland-Hodgman, one plane)."""
    inside = polygon @ normal - offset
    kept: list[Points] = []
    for i in range(len(polygon)):
        j = (i + 1) % len(polygon)
        if inside[i] >= 0:
            kept.append(polygon[i])
        if (inside[i] >= 0) != (inside[j] >= 0):
            share = inside[i] / (inside[i] - inside[j])
            kept.append(polygon[i] + share * (polygon[j] - polygon[i]))
    return np.array(kept) if kept else np.empty((0, polygon.shape[1]))


def cut(polygon: Points, axis: int, least: float | None = None, most: float | None = None) -> Points:
    """The part of a polygon (n, d) between two values of one coordinate."""
    normal = np.zeros(polygon.shape[1])
    normal[axis] = 1.0
    if least is not None and len(polygon):
        polygon = _cut(polygon, normal, least)
    if most is not None and len(polygon):
        polygon = _cut(polygon, -normal, -most)
    return polygon
