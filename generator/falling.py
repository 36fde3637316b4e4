"""What falls through a camera's view, drops or flakes: how many, where, and the mark that each leaves.

During an exposure a particle covers the points of its path one after the other. All in all it covers its
own area, smeared along the path and, out of focus, across it: that is what is drawn. The near ones are
drawn one by one; the far ones, thinner than a pixel and countless, as a sheet of random numbers smeared in
the direction of fall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from generator.pixels import Plane

Floats = NDArray[np.float64]
SHARPEST = 0.4
"""Blurs of a smaller sigma, in pixels, are not seen: a point is drawn on its four neighbours anyway."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A plain camera that looks at the horizon; lengths in m, times in s.

    The ``focal`` length is .9 picture widths: 32.4 mm where the sensor is 36 mm wide, so that a pixel is
    36 mm / width. ``aperture`` is the lens opening, ``focus`` the distance that is sharp.
    """

    width: int
    height: int
    exposure: float = 1 / 60
    focal: float = 0.9
    aperture: float = 0.002
    focus: float = 8.0

    def pixels(self, length: Floats | float, distance: Floats | float) -> Floats:
        """How long a ``length`` across the view is in the picture: focal x length / (distance x pitch)."""
        return np.asarray(self.focal * self.width * length / distance)

    def defocus(self, distance: Floats | float) -> Floats:
        """Diameter in pixels of the circle that a point becomes (thin lens, small against the distance)."""
        return np.asarray(self.focal * self.width * self.aperture * np.abs(1 / distance - 1 / self.focus))

    def volume(self, near: float, far: float) -> float:
        """m^3 of air in view between two distances."""
        return self.height / self.width / self.focal**2 * (far**3 - near**3) / 3


@dataclass(frozen=True, slots=True)
class Flight:
    """Particles during one exposure, arrays (n,): the middle of each path and the path itself, in pixels.

    ``area`` is the particle's own in square pixels, ``blur`` the sigma of its mark across the path in
    pixels, ``distance`` in the units of the depth.
    """

    x: Floats
    y: Floats
    along: Floats
    down: Floats
    area: Floats
    blur: Floats
    distance: Floats

    def trace(self) -> tuple[NDArray[np.intp], Floats]:
        """Points along all paths, a pixel or less apart: whose each is, and its moment in [0, 1]."""
        points = np.ceil(np.hypot(self.along, self.down)).astype(np.intp) + 1
        owner = np.repeat(np.arange(len(points)), points)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(points) - points, points)
        return owner, (place + 0.5) / points[owner]


def fly(
    rng: np.random.Generator,
    camera: Camera,
    reach: tuple[float, float],
    wide: Floats,
    high: Floats,
    drift: Floats,
    fall: Floats,
) -> Flight:
    """Particles thrown into the view: ``wide`` and ``high`` in m, speeds in m/s, ``drift`` to the right.

    They lie evenly in the air between the two distances of ``reach`` (m).
    """
    near, far = reach
    count = len(wide)
    distance = np.cbrt(near**3 + rng.random(count) * (far**3 - near**3))
    width = camera.pixels(wide, distance)
    return Flight(
        x=rng.random(count) * camera.width,
        y=rng.random(count) * camera.height,
        along=camera.pixels(drift * camera.exposure, distance),
        down=camera.pixels(fall * camera.exposure, distance),
        area=math.pi / 4 * width * camera.pixels(high, distance),
        blur=np.hypot(width, camera.defocus(distance)) / 4,  # a disc's deviation is a quarter of its width
        distance=distance,
    )


def expose(
    flight: Flight, owner: NDArray[np.intp], moment: Floats, brightness: Floats, depth: Plane
) -> tuple[Plane, Plane]:
    """The share of the exposure for which each pixel is covered, and the same times ``brightness``.

    ``owner`` and ``moment`` are of `Flight.trace`, ``brightness`` belongs to each point. What lies behind
    the ``depth`` of the picture is hidden. What leaves at one edge enters at the opposite one: as many
    streaks reach in from outside as reach out. Covers of several particles add up as independent ones do,
    1 - exp(-sum).
    """
    height, width = depth.shape
    x = flight.x[owner] + (moment - 0.5) * flight.along[owner] - 0.5
    y = flight.y[owner] + (moment - 0.5) * flight.down[owner] - 0.5
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right_part, lower_part = x - left, y - top
    weight = flight.area[owner] / np.bincount(owner, minlength=len(flight.x))[owner]
    weight = weight * (flight.distance[owner] < depth[top % height, left % width])

    total = np.zeros((height, width, 2), dtype=np.float32)
    step = np.round(2 * np.log2(np.maximum(flight.blur, SHARPEST) / SHARPEST)).astype(np.intp)
    for level in np.unique(step):
        these = np.flatnonzero(step[owner] == level)
        layer = np.zeros((2, height * width))
        for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
            cell = (top[these] + down) % height * width + (left[these] + across) % width
            part = np.abs(1 - down - lower_part[these]) * np.abs(1 - across - right_part[these])
            part *= weight[these]
            layer[0] += np.bincount(cell, part, height * width)
            layer[1] += np.bincount(cell, part * brightness[these], height * width)
        drawn = layer.T.reshape(height, width, 2).astype(np.float32)
        # A reflected border keeps all light in the picture.
        spread, border = SHARPEST * 2 ** (level / 2), cv2.BORDER_REFLECT
        blurred = cv2.GaussianBlur(drawn, (0, 0), spread, borderType=border) if level else drawn
        total += np.asarray(blurred, dtype=np.float32)
    cover = -np.expm1(-total[..., 0])
    glow = cover * total[..., 1] / np.maximum(total[..., 0], 1e-12)
    return cover.astype(np.float32), glow.astype(np.float32)


def sheet(
    rng: np.random.Generator,
    shape: tuple[int, int],
    expected: float,
    area: float,
    length: float,
    lean: float,
) -> Plane:
    """The share of the exposure for which far particles cover each pixel, (h, w).

    ``expected`` particles in the whole picture, of ``area`` square pixels each, on paths that go down by
    ``length`` pixels and to the right by ``lean`` pixels in each row.
    """
    height, width = shape
    wide = width + math.ceil(abs(lean) * height)
    count = rng.poisson(expected / (height * width), (height, wide)).astype(np.float32)
    smeared = cv2.blur(count, (1, max(1, round(length))), borderType=cv2.BORDER_REFLECT)
    # The picture's column x is column x - lean y of the sheet, moved so that none is negative.
    shear = np.array([[1.0, -lean, max(lean, 0.0) * (height - 1)], [0.0, 1.0, 0.0]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    leaning = cv2.warpAffine(smeared, shear, (width, height), flags=how, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(-np.expm1(-leaning * np.float32(area)), dtype=np.float32)
