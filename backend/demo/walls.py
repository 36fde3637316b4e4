"""The plane of the house fronts: what can be painted on it, its masonry, its windows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.demo.canvas import Colour
from backend.demo.stage import Stage, noise

_OUT = np.array([0.0, 0.0, -1.0])
_UP = np.array([0.0, 1.0, 0.0])
_TILE = 256


@dataclass(frozen=True, slots=True)
class Wall:
    """The plane of the house fronts, to paint on in metres: x along the street, y up."""

    stage: Stage
    z: float

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, glow: int = 0) -> None:
        """Paint an upright rectangle."""
        self.shape(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour, glow)

    def shape(self, spots: tuple[tuple[float, float], ...], colour: Colour, glow: int = 0) -> None:
        """Paint a polygon; one that glows keeps its colour in any light."""
        points = np.array([(x, y, self.z) for x, y in spots])
        self.stage.flat(points, colour if glow else self.stage.lit(colour, _OUT), glow)

    def ledge(self, x0: float, x1: float, y: float, height: float, depth: float, colour: Colour) -> None:
        """Paint a moulding that stands out by ``depth``, with its shadow below."""
        r, g, b = self.stage.lit(colour, _OUT)
        near = self.z - depth
        front = np.array([(x0, y, near), (x1, y, near), (x1, y + height, near), (x0, y + height, near)])
        self.rect(x0, y - depth * 1.3, x1, y, (colour[0] * 0.62, colour[1] * 0.62, colour[2] * 0.66))
        self.stage.flat(front, (r, g, b))
        if y + height < self.stage.camera.eye:
            top = np.concatenate((front[[3, 2]], front[[2, 3]] + (0, 0, depth)))
            self.stage.flat(top, self.stage.lit(colour, _UP))


def window(wall: Wall, at: tuple[float, float, float, float], frame: Colour) -> None:
    """Paint a window: reveal, frame, glass with a reflection or light behind it, sill."""
    stage, rng = wall.stage, wall.stage.rng
    x0, y0, x1, y1 = at
    wall.rect(x0 - 0.06, y0 - 0.05, x1 + 0.06, y1 + 0.08, (frame[0] * 0.5, frame[1] * 0.5, frame[2] * 0.5))
    wall.rect(x0, y0, x1, y1, frame)
    lit, own = stage.evening()
    warm = rng.uniform(0.75, 1.1)
    bars = int(rng.integers(1, 3))
    step = (x1 - x0 - 0.08) / bars
    for k in range(bars):
        a, b = x0 + 0.07 + k * step, x0 + 0.01 + (k + 1) * step
        low, high = y0 + 0.07, y1 - 0.07
        share = gleam(stage, own)
        if lit:
            wall.rect(a, low, b, high, (236 * warm, 186 * warm, 112 * warm), int(200 * min(warm, 1)))
            wall.rect(
                a, (low + high) / 2, b, high, (248 * warm, 206 * warm, 138 * warm), int(220 * min(warm, 1))
            )
        else:
            glass(wall, (a, low, b, high), share)
    if rng.random() < 0.45:
        cloth = (206, 200, 188) if not lit else (150, 112, 70)
        for a, b in ((x0 + 0.07, x0 + 0.26), (x1 - 0.26, x1 - 0.07)):
            wall.rect(a, y0 + 0.07, b, y1 - 0.07, cloth, 120 if lit else 0)
    if rng.random() < 0.5:
        wall.rect(x0 + 0.05, (y0 + y1) / 2 - 0.03, x1 - 0.05, (y0 + y1) / 2 + 0.03, frame)
    wall.ledge(x0 - 0.1, x1 + 0.1, y0 - 0.12, 0.09, 0.1, (206, 202, 194))


def gleam(stage: Stage, own: bool) -> float:
    """How much of a pane shows the sky; spends no chance where the seed's ``own`` light lights it."""
    return 0.375 if own else float(stage.rng.uniform(0.25, 0.5))


def glass(wall: Wall, at: tuple[float, float, float, float], share: float) -> None:
    """Paint a pane whose upper ``share`` shows the sky."""
    x0, y0, x1, y1 = at
    sky = np.array(wall.stage.light.sky[1])
    dark = (52.0, 62.0, 72.0)
    wall.rect(x0, y0, x1, y1, dark)
    r, g, b = np.array(dark) * 0.62 + sky * 0.34
    third, lean = (y1 - y0) * share, (x1 - x0) * 0.5
    wall.shape(
        ((x0, y1 - third), (x1, y1 - third - lean * 0.5), (x1, y1), (x0, y1)),
        (float(r), float(g), float(b)),
    )


def clad(wall: Wall, left: float, right: float, height: float, kind: str) -> None:
    """Put the house's brickwork or plaster into the stage's masonry."""
    stage, camera = wall.stage, wall.stage.half
    edges = np.array([(x, y, wall.z) for x in (left, right) for y in (0.0, height)])
    if (camera.view(edges)[:, 2] < 0.5).any():
        return
    seen = camera.project(edges)
    u0, v0 = np.maximum(np.floor(seen.min(axis=0)), 0).astype(int).tolist()
    u1, v1 = np.minimum(np.ceil(seen.max(axis=0)), (camera.width, camera.height)).astype(int).tolist()
    if u1 - u0 < 4 or v1 - v0 < 4:
        return
    tile, metres = _masonry(kind, stage.rng)
    size = metres / _TILE
    lens = camera.plane(np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([left, 0, wall.z]))
    lens = np.array([[1, 0, -u0], [0, 1, -v0], [0, 0, 1.0]]) @ lens @ np.diag([size, size, 1.0])
    laid = cv2.warpPerspective(
        tile, lens, (u1 - u0, v1 - v0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    depth = float(camera.view(edges)[:, 2].mean())
    fade = min(camera.focal / depth * size * 1.5, 1.0)
    stage.masonry[v0:v1, u0:u1] = 1 + (laid.astype(np.float32) / 128 - 1) * fade


def _masonry(kind: str, rng: np.random.Generator) -> tuple[NDArray[np.uint8], float]:
    """A repeating pattern (256, 256), 128 = unchanged, and the metres it covers."""
    tile = 128 + 5 * noise() + rng.normal(0, 2, (_TILE, _TILE)).astype(np.float32)
    rows, columns, metres, joint, spread = {
        "brick": (16, 4, 1.25, 2, 12),
        "plaster": (1, 1, 3.0, 0, 0),
        "stone": (4, 2, 1.8, 2, 7),
        "panel": (1, 1, 1.5, 2, 3),
    }[kind]
    height, width = _TILE // rows, _TILE // columns
    for r in range(rows):
        for c in range(columns):
            x = (c * width + (r % 2) * width // 2) % _TILE
            tile[r * height : (r + 1) * height, x : x + width] += rng.normal(0, spread) if spread else 0
            tile[r * height : (r + 1) * height, x : x + joint] += 24 if kind == "brick" else -26
        tile[r * height : r * height + joint] += 24 if kind == "brick" else -26
    return np.clip(tile, 40, 220).astype(np.uint8), metres
