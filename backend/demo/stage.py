"""The stage: camera, light and canvas together, and the masks of shadow that things throw on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.demo.camera import Camera, Points, cut
from backend.demo.canvas import Canvas, Colour
from backend.demo.light import Light

_SPAN = 400.0
_PAPER = np.array([0.0, 0.5, -0.866])


@lru_cache(maxsize=1)
def noise() -> NDArray[np.float32]:
    """A tile (256, 256) of soft noise of several sizes, mean 0, standard deviation 1, that repeats."""
    rng = np.random.default_rng(7)
    tile = np.zeros((256, 256), np.float32)
    for cells, weight in ((8, 1.0), (16, 0.8), (32, 0.6), (64, 0.45), (128, 0.35)):
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        wide = cv2.resize(np.tile(grid, (3, 3)), (768, 768), interpolation=cv2.INTER_CUBIC)
        tile += weight * wide[256:512, 256:512]
    return np.asarray((tile - tile.mean()) / tile.std(), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a thing stands: metres on the ground plan, height of its foot, turn in radians.

    A thing's own axes are ``x`` to its right as seen from the street, ``y`` up, ``z`` to its back.
    """

    x: float
    z: float
    turn: float = 0.0
    y: float = 0.0

    def world(self, local: Points) -> Points:
        """A thing's own coordinates (n, 3) as world coordinates (n, 3)."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        out = local @ np.array(((c, 0.0, -s), (0.0, 1.0, 0.0), (s, 0.0, c)))
        return np.asarray(out + np.array((self.x, self.y, self.z)))

    def moved(self, x: float, y: float, z: float, turn: float = 0.0) -> Place:
        """A place given in this thing's own coordinates."""
        at = self.world(np.array([[x, y, z]], dtype=np.float64))[0]
        return Place(float(at[0]), float(at[2]), self.turn + turn, float(at[1]))


@dataclass(slots=True)
class Stage:
    """What painters work with.

    ``custom`` is the share of windows that are lit in the seed's own light, None where that is ``light``.
    At picture size (h, w): ``shadow`` and ``contact`` in [0, 255], ``relief`` and ``masonry`` the
    patterns of paving and walls as factors about 1. ``half`` is the camera of that size.
    """

    camera: Camera
    light: Light
    canvas: Canvas
    wall: float
    rng: np.random.Generator
    custom: float | None = None
    shadow: NDArray[np.uint8] = field(init=False)
    contact: NDArray[np.uint8] = field(init=False)
    relief: NDArray[np.float32] = field(init=False)
    masonry: NDArray[np.float32] = field(init=False)
    half: Camera = field(init=False)

    def __post_init__(self) -> None:
        self.half = self.camera.scaled(0.5)
        shape = (self.half.height, self.half.width)
        self.shadow, self.contact = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        self.relief, self.masonry = np.ones(shape, np.float32), np.ones(shape, np.float32)

    def lit(self, colour: Colour, normal: Points | None) -> Colour:
        """A surface colour as it looks in this light; None = a thing without one facing, such as paper."""
        r, g, b = self.light.shade(_PAPER if normal is None else normal)
        return min(colour[0] * r, 255.0), min(colour[1] * g, 255.0), min(colour[2] * b, 255.0)

    def evening(self, busy: float = 1.0) -> tuple[bool, bool]:
        """Whether the next window is lit, in this light and in the seed's own; one chance decides both."""
        chance, share = self.rng.random(), self.light.lit
        own = share if self.custom is None else self.custom
        return bool(chance < share * busy), bool(chance < own * busy)

    def flat(self, points: Points, colour: Colour, glow: int = 0) -> None:
        """Paint a world polygon (n, 3) in a colour that is lit already."""
        self.canvas.fill(self.camera.polygon(points), colour, glow)

    def surface(self, points: Points, colour: Colour, normal: Points, fade: tuple[float, float]) -> None:
        """Paint a world polygon, brighter or darker from its top to its bottom by the factors ``fade``."""
        polygon = self.camera.polygon(points)
        tone = self.lit(colour, normal)
        if len(polygon) < 3:
            return
        low, high = polygon.min(axis=0), polygon.max(axis=0)
        height, width = high[1] - low[1], high[0] - low[0]
        if fade[0] == fade[1] or height * width < 150 or width > 1.5 * self.canvas.width:
            middle = (fade[0] + fade[1]) / 2
            self.canvas.fill(polygon, (tone[0] * middle, tone[1] * middle, tone[2] * middle))
            return
        corner = (int(low[0]) - 2, int(low[1]) - 2)
        rows = np.linspace(fade[0], fade[1], int(height) + 5, dtype=np.float32)
        column = np.minimum(rows[:, None, None] * np.array(tone, np.float32), 255)
        self.canvas.shade(polygon, np.repeat(column, int(width) + 5, axis=1), corner)

    def cast(self, points: Points) -> None:
        """Throw the sun's shadow of a convex body with these corners on the ground and the wall."""
        if not self.light.casts:
            return
        ray = -self.light.toward
        ground = points + ray * (points[:, 1:2] / -ray[1])
        hull = cut(_hull(ground[:, [0, 2]]), 1, most=self.wall)
        self._shadow(np.insert(hull, 1, 0.0, axis=1))
        if ray[2] > 0.02:
            upon = points + ray * ((self.wall - points[:, 2:3]) / ray[2])
            hull = cut(_hull(upon[:, :2]), 1, least=0.0)
            self._shadow(np.insert(hull, 2, self.wall, axis=1))

    def touch(self, place: Place, width: float, depth: float, strength: float = 1.0) -> None:
        """Darken the ground where a thing of this footprint stands."""
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        ring = np.stack((np.cos(turn) * width * 0.62, np.zeros(20), np.sin(turn) * depth * 0.62), axis=1)
        polygon = self.half.polygon(Place(place.x, place.z, place.turn).world(ring))
        _paint(self.contact, polygon, round(255 * strength))

    def _shadow(self, points: Points) -> None:
        if len(points) >= 3:
            _paint(self.shadow, self.half.polygon(np.clip(points, -_SPAN, _SPAN)), 255)


def _hull(plan: Points) -> Points:
    return np.asarray(cv2.convexHull(plan.astype(np.float32))[:, 0], dtype=np.float64)


def _paint(mask: NDArray[np.uint8], polygon: Points, value: int) -> None:
    if len(polygon) >= 3:
        stroke = np.round((np.clip(polygon, -1e6, 1e6) - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(mask, [stroke], value, cv2.LINE_AA, 4)
