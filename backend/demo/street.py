"""The backdrop of a scene: sky, far skyline, pavement, kerb and road."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.demo.camera import Points
from backend.demo.canvas import GROUND, SKY, Colour
from backend.demo.stage import Place, Stage, noise

UP = np.array([0.0, 1.0, 0.0])
DROP = 0.12
"""Metres from the pavement down to the road."""
_FAR = 120.0
_TILE = 256

PAVINGS: tuple[str, ...] = ("slabs", "bricks", "asphalt", "cobbles", "large slabs")
_TONES: dict[str, tuple[Colour, ...]] = {
    "slabs": ((176, 170, 160), (160, 158, 154), (188, 178, 162)),
    "large slabs": ((182, 178, 172), (166, 164, 162)),
    "bricks": ((168, 118, 98), (150, 128, 112), (172, 140, 116)),
    "asphalt": ((112, 113, 116), (126, 125, 123)),
    "cobbles": ((128, 124, 120), (142, 132, 120)),
}


@dataclass(frozen=True, slots=True)
class Street:
    """Plan of a street: ``kerb`` and ``wall`` are distances across it in metres (kerb < wall)."""

    kerb: float
    wall: float
    paving: str
    tone: Colour


def street(kerb: float, wall: float, rng: np.random.Generator) -> Street:
    """A street with paving drawn by chance."""
    paving = str(rng.choice(PAVINGS, p=(0.34, 0.2, 0.16, 0.12, 0.18)))
    tones = _TONES[paving]
    base = tones[int(rng.integers(len(tones)))]
    shift = rng.uniform(0.9, 1.07)
    return Street(kerb, wall, paving, (base[0] * shift, base[1] * shift, base[2] * shift))


def paint_sky(stage: Stage) -> None:
    """Fill the sheet with sky: a gradient with soft clouds, and a far skyline."""
    canvas, light = stage.canvas, stage.light
    canvas.begin(SKY)
    rows, columns = 90, 120
    horizon = stage.camera.horizon / canvas.height
    climb = np.clip(np.linspace(1, 0, rows) - (1 - max(horizon, 0.12)), 0, None) / max(horizon, 0.12)
    share = (np.clip(climb, 0, 1) ** 0.8)[:, None, None].astype(np.float32)
    top, bottom = np.array(light.sky[0], np.float32), np.array(light.sky[1], np.float32)
    sky = bottom + (top - bottom) * share * np.ones((1, columns, 1), np.float32)
    start = stage.rng.integers(0, _TILE, 2)
    y = (np.arange(rows) * 2 + start[0]) % _TILE
    x = (np.arange(columns) + start[1]) % _TILE
    puffs = noise()[np.ix_(y, x)]
    cover = np.clip((puffs + 2.4 * light.cloudiness - 1.2) * 0.8, 0, 1)[..., None] * 0.85
    sky += (np.array(light.cloud, np.float32) - sky) * cover
    small = np.clip(sky, 0, 255).astype(np.uint8)
    cv2.resize(small, (canvas.width, canvas.height), dst=canvas.colour, interpolation=cv2.INTER_LINEAR)
    _paint_skyline(stage)


def _paint_skyline(stage: Stage) -> None:
    """Far roofs, pale with distance."""
    rng, camera, light = stage.rng, stage.camera, stage.light
    veil = np.array(light.veil)
    x = -30.0
    while x < camera.width + 30:
        width, height = rng.uniform(0.05, 0.14) * camera.width, rng.uniform(0.02, 0.10) * camera.width
        tone = np.array([118.0, 116, 122]) * rng.uniform(0.8, 1.1) * light.grade
        r, g, b = tone * 0.45 + veil * 0.55
        base = float(camera.height)
        roof = camera.horizon - height
        peak = rng.uniform(0, 0.03) * camera.width
        shape = [(x, base), (x, roof), (x + width / 2, roof - peak), (x + width, roof), (x + width, base)]
        stage.canvas.fill(np.array(shape), (float(r), float(g), float(b)))
        x += width * rng.uniform(0.8, 1.05)


def paint_ground(stage: Stage, plan: Street) -> None:
    """Paint pavement, kerb and road up to the wall."""
    stage.canvas.begin(GROUND)
    far = plan.wall if plan.wall < 40 else _FAR
    _strip(stage, plan.kerb, far, 0.0, plan.tone)
    if plan.kerb > 0.3:
        _strip(stage, 0.05, plan.kerb, -DROP, (92, 93, 97))
        _marks(stage, plan)
        _kerb(stage, plan)
    _lay(stage, plan)
    for _ in range(int(stage.rng.integers(0, 4))):
        _stain(stage, plan)
    if stage.rng.random() < 0.35:
        _manhole(stage, plan)


def _strip(stage: Stage, z0: float, z1: float, y: float, colour: Colour) -> None:
    edge = [(-_FAR, y, z0), (_FAR, y, z0), (_FAR, y, z1), (-_FAR, y, z1)]
    stage.flat(np.array(edge), stage.lit(colour, UP))


def _kerb(stage: Stage, plan: Street) -> None:
    face = np.array([(-_FAR, -DROP, plan.kerb), (_FAR, -DROP, plan.kerb)])
    top = face + np.array((0, DROP, 0))
    back = top + np.array((0, 0, 0.16))
    stage.flat(np.concatenate((face, top[::-1])), stage.lit((138, 136, 132), np.array([0, 0, -1.0])))
    stage.flat(np.concatenate((top, back[::-1])), stage.lit((186, 184, 178), UP))
    gutter = np.array([(-_FAR, -DROP, plan.kerb - 0.14), (_FAR, -DROP, plan.kerb - 0.14)])
    stage.flat(np.concatenate((gutter, face[::-1])), stage.lit((70, 70, 72), UP))
    reach = max(plan.kerb, 2.0) * 2.2
    for x in np.arange(-reach, reach, 0.9).tolist():
        joint = np.array([(x, -DROP, plan.kerb), (x + 0.015, -DROP, plan.kerb), (x + 0.015, 0, plan.kerb)])
        stage.flat(np.append(joint, [(x, 0, plan.kerb)], axis=0), stage.lit((104, 102, 100), UP))
        seam = [
            (x, 0, plan.kerb),
            (x + 0.02, 0, plan.kerb),
            (x + 0.02, 0, plan.kerb + 0.16),
            (x, 0, plan.kerb + 0.16),
        ]
        stage.flat(np.array(seam), stage.lit((140, 138, 134), UP))


def _marks(stage: Stage, plan: Street) -> None:
    """Lane dashes, and now and then yellow lines along the kerb or a crossing."""
    rng, y = stage.rng, -DROP
    white, yellow = stage.lit((214, 214, 208), UP), stage.lit((214, 176, 62), UP)

    def dash(x0: float, x1: float, z0: float, z1: float, colour: Colour) -> None:
        stage.flat(np.array([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)]), colour)

    if rng.random() < 0.35:
        for z in (plan.kerb - 0.42, plan.kerb - 0.62):
            if z > 0.4:
                dash(-60, 60, z, z + 0.09, yellow)
    if plan.kerb > 3.2:
        z = plan.kerb - rng.uniform(2.3, 2.9)
        start = rng.uniform(0, 4)
        for k in range(-8, 8):
            dash(start + 4 * k, start + 4 * k + 2.0, z, z + 0.13, white)
    if rng.random() < 0.18:
        x = rng.uniform(-4, 2)
        for k in range(6):
            dash(x + k * 0.9, x + k * 0.9 + 0.45, 0.3, plan.kerb - 0.3, white)


def _lay(stage: Stage, plan: Street) -> None:
    """Put the pattern of paving and the grain of asphalt into the stage's relief."""
    camera = stage.half
    first = max(int(np.ceil(camera.horizon)) + 2, 0)
    if first >= camera.height:
        return
    rows = np.arange(first, camera.height, dtype=np.float32)
    depth = np.float32(camera.eye * camera.focal) / (rows + np.float32(0.5 - camera.horizon))
    across = (np.arange(camera.width, dtype=np.float32) + np.float32(0.5 - camera.width / 2)) / camera.focal
    z = depth[:, None] * (math.cos(camera.yaw) - math.sin(camera.yaw) * across)
    for kind, inside in ((plan.paving, z >= plan.kerb + 0.16), ("asphalt", z < plan.kerb - 0.14)):
        if not inside.any():
            continue
        tile, metres = _tile(kind, stage.rng)
        size = metres / _TILE
        lens = camera.plane(np.array([1.0, 0, 0]), np.array([0, 0, 1.0]), np.zeros(3))
        lens = np.array([[1, 0, 0], [0, 1, -first], [0, 0, 1.0]]) @ lens @ np.diag([size, size, 1.0])
        laid = cv2.warpPerspective(
            tile, lens, (camera.width, len(rows)), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
        # Patterns finer than a pixel would shimmer: they fade with distance instead.
        fade = np.clip(camera.focal / depth * size * 1.6, 0, 1)[:, None]
        relief = 1 + (laid.astype(np.float32) * np.float32(1 / 128) - 1) * fade
        np.copyto(stage.relief[first:], relief, where=inside)


def _tile(kind: str, rng: np.random.Generator) -> tuple[NDArray[np.uint8], float]:
    """A repeating pattern (256, 256), 128 = unchanged, and the metres it covers."""
    grain = rng.normal(0, 5, (_TILE, _TILE)).astype(np.float32)
    if kind == "asphalt":
        tile = 128 + 2.2 * grain + 5 * noise()
        return np.clip(tile, 0, 255).astype(np.uint8), 1.6
    rows, columns, metres, joint = {
        "slabs": (4, 4, 2.0, 3),
        "large slabs": (3, 2, 2.4, 2),
        "bricks": (16, 8, 1.7, 2),
        "cobbles": (16, 16, 1.8, 3),
    }[kind]
    tile = 128 + grain + 4 * noise()
    height, width = _TILE / rows, _TILE / columns
    spread = 13 if kind in ("bricks", "cobbles") else 7
    for r in range(rows):
        shift = 0.0 if kind == "slabs" else (r % 2) * width / 2
        y0, y1 = round(r * height), round((r + 1) * height)
        for c in range(columns):
            x0, x1 = round(c * width + shift), round((c + 1) * width + shift)
            tone = rng.normal(0, spread)
            spans = ((x0, x1),) if x1 <= _TILE else ((x0, _TILE), (0, x1 - _TILE))
            for a, b in spans:
                tile[y0:y1, a:b] += tone
            tile[y0:y1, x0 % _TILE : x0 % _TILE + joint] -= 34
        tile[y0 : y0 + joint] -= 34
    return np.clip(tile, 40, 220).astype(np.uint8), metres


def _ring(x: float, y: float, z: float, rx: float, rz: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, 26, endpoint=False)
    return np.stack((x + rx * np.cos(turn), np.full(26, y), z + rz * np.sin(turn)), axis=1)


def _stain(stage: Stage, plan: Street) -> None:
    """A dark patch on the paving: old water, oil, chewing gum."""
    rng = stage.rng
    z = rng.uniform(max(plan.kerb + 0.3, 1.5), plan.wall)
    x = stage.camera.ground(rng.uniform(0, stage.camera.width), z)
    ring = _ring(x, 0, z, rng.uniform(0.1, 0.7), rng.uniform(0.1, 0.4))
    ring[:, [0, 2]] += rng.normal(0, 0.03, (26, 2))
    r, g, b = stage.lit(plan.tone, UP)
    dark = rng.uniform(0.82, 0.93)
    stage.flat(ring, (r * dark, g * dark, b * dark))


def _manhole(stage: Stage, plan: Street) -> None:
    rng = stage.rng
    on_road = plan.kerb > 2.5 and rng.random() < 0.6
    z = rng.uniform(1.6, plan.kerb - 0.5) if on_road else rng.uniform(plan.kerb + 0.6, plan.wall - 0.4)
    x, y = stage.camera.ground(rng.uniform(0, stage.camera.width), z), -DROP if on_road else 0.0
    if stage.camera.depth(x, z) < 1.0:
        return
    for radius, tone in ((0.36, 70), (0.33, 98), (0.29, 80), (0.2, 92), (0.17, 78)):
        stage.flat(_ring(x, y, z, radius, radius), stage.lit((tone, tone, tone + 2), UP))


def spot(stage: Stage, low: float, high: float, margin: float = 0.04) -> Place:
    """A place between two distances across the street that the picture shows."""
    z = float(stage.rng.uniform(low, high))
    column = stage.rng.uniform(margin, 1 - margin) * stage.camera.width
    return Place(stage.camera.ground(float(column), z), z)
