"""Shop fronts: window with goods, sign with a word, awning."""

from __future__ import annotations

import cv2
import numpy as np

from backend.demo.camera import Points
from backend.demo.canvas import Colour
from backend.demo.stage import Stage
from backend.demo.walls import Wall, glass, gleam

_OUT = np.array([0.0, 0.0, -1.0])
_WORDS = ("BAKERY", "CAFE", "BOOKS", "FLOWERS", "PHARMACY", "NOODLES", "TAILOR", "GROCER", "OPTIC", "BIKES")
CLOTHS: tuple[Colour, ...] = ((168, 42, 44), (36, 88, 72), (34, 62, 112), (206, 150, 46), (92, 52, 84))


def shop(wall: Wall, left: float, right: float) -> None:
    """A shop window with goods, a sign with a word, often an awning."""
    rng, stage = wall.stage.rng, wall.stage
    colour = CLOTHS[int(rng.integers(len(CLOTHS)))]
    x0, x1 = left + 0.25, right - 0.25
    wall.rect(x0, 0, x1, 3.05, (colour[0] * 0.55, colour[1] * 0.55, colour[2] * 0.55))
    open_late, own = stage.evening(1.6)
    pane = (x0 + 0.15, 0.5, x1 - 1.35, 2.35)
    for a, b, low in ((pane[0], pane[2], 0.5), (x1 - 1.15, x1 - 0.2, 0.12)):
        share = gleam(stage, own)
        if not open_late:
            glass(wall, (a, low, b, 2.35), share)
            continue
        for k in range(5):
            tone = 0.55 + 0.1 * k
            y = low + (2.35 - low) * k / 5
            wall.rect(a, y, b, low + (2.35 - low) * (k + 1) / 5, (218 * tone, 178 * tone, 118 * tone), 170)
        wall.rect(a + 0.1, 1.35, b - 0.1, 1.4, (104, 76, 48), 120)
    for _ in range(int(rng.integers(4, 10))):
        x, w = rng.uniform(pane[0], pane[2] - 0.3), rng.uniform(0.1, 0.3)
        r, g, b = rng.uniform(60, 210, 3)
        top = 0.52 + rng.uniform(0.2, 0.9)
        wall.rect(x, 0.52, x + w, top, (float(r), float(g), float(b)), 110 if open_late else 0)
        if open_late:
            wall.rect(x, 1.4, x + w * 0.7, 1.4 + (top - 0.5) * 0.6, (float(g), float(b), float(r)), 90)
    wall.rect(x1 - 0.36, 1.0, x1 - 0.32, 1.35, (206, 204, 196))
    wall.rect(x0, 2.45, x1, 3.02, colour, 70 if open_late else 0)
    _word(wall, str(rng.choice(_WORDS)), (x0 + 0.2, 2.52, x1 - 0.2, 2.95), 200 if open_late else 0)
    if rng.random() < 0.6:
        _awning(wall, x0, x1, colour)


def _awning(wall: Wall, x0: float, x1: float, colour: Colour) -> None:
    """Striped cloth that leans out over the pavement."""
    count = max(int((x1 - x0) / 0.4), 2)
    near = wall.z - 0.9
    normal = np.array([0.0, 0.82, -0.57])
    edges = np.linspace(x0, x1, count + 1)
    for k in range(count):
        tone = colour if k % 2 else (236.0, 232.0, 222.0)
        a, b = float(edges[k]), float(edges[k + 1])
        cloth = np.array([(a, 2.5, wall.z), (b, 2.5, wall.z), (b, 2.02, near), (a, 2.02, near)])
        wall.stage.flat(cloth, wall.stage.lit(tone, normal))
        hem = np.array(
            [(a, 2.02, near), (b, 2.02, near), (b, 1.86, near), ((a + b) / 2, 1.82, near), (a, 1.86, near)]
        )
        wall.stage.flat(hem, wall.stage.lit(tone, _OUT))
    wall.stage.cast(np.array([(x0, 2.02, near), (x1, 2.02, near), (x1, 2.5, wall.z), (x0, 2.5, wall.z)]))


def _word(wall: Wall, word: str, at: tuple[float, float, float, float], glow: int) -> None:
    """Letters on a sign board."""
    x0, y0, x1, y1 = at
    font, bold = cv2.FONT_HERSHEY_DUPLEX, 3
    (width, height), _ = cv2.getTextSize(word, font, 1.4, bold)
    text = np.zeros((height + 12, width + 12), np.uint8)
    cv2.putText(text, word, (6, height + 5), font, 1.4, 255, bold, cv2.LINE_AA)
    size = min((y1 - y0) / text.shape[0], (x1 - x0) / text.shape[1])
    left = (x0 + x1 - size * text.shape[1]) / 2
    lens = wall.stage.camera.plane(
        np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), np.array([left, y1, wall.z])
    )
    lens = lens @ np.diag([size, size, 1.0])
    corners = np.array(
        [[0, 0, 1], [text.shape[1], 0, 1], [text.shape[1], text.shape[0], 1], [0, text.shape[0], 1.0]]
    )
    spots = corners @ lens.T
    window_ = _window(wall.stage, spots[:, :2] / spots[:, 2:])
    if window_ is None:
        return
    u0, v0, u1, v1 = window_
    lens = np.array([[1, 0, -u0], [0, 1, -v0], [0, 0, 1.0]]) @ lens
    ink = (
        cv2.warpPerspective(text, lens, (u1 - u0, v1 - v0), flags=cv2.INTER_AREA).astype(np.float32)[
            ..., None
        ]
        / 255
    )
    patch = wall.stage.canvas.colour[v0:v1, u0:u1]
    letters = np.array((250, 244, 226) if glow else wall.stage.lit((236, 230, 214), _OUT), np.float32)
    patch[:] = (patch + (letters - patch) * ink).astype(np.uint8)
    if glow:
        wall.stage.canvas.glows = True
        shine = wall.stage.canvas.glow[v0:v1, u0:u1]
        shine[:] = np.maximum(shine, (ink[..., 0] * glow).astype(np.uint8))


def _window(stage: Stage, polygon: Points) -> tuple[int, int, int, int] | None:
    """The part of the sheet that a polygon's bounding box covers, or None."""
    u0, v0 = np.maximum(np.floor(polygon.min(axis=0)), 0).astype(int).tolist()
    u1, v1 = (
        np.minimum(np.ceil(polygon.max(axis=0)), (stage.canvas.width, stage.canvas.height))
        .astype(int)
        .tolist()
    )
    return (u0, v0, u1, v1) if u1 - u0 > 3 and v1 - v0 > 3 else None
