"""House fronts along the far side of the street, and what stands where there is no house."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.demo.canvas import TRIM, WALL, Colour
from backend.demo.shops import CLOTHS, shop
from backend.demo.stage import Stage
from backend.demo.walls import Wall, clad, window

_WALLS: dict[str, tuple[Colour, ...]] = {
    "brick": ((156, 84, 64), (134, 76, 62), (168, 108, 78), (112, 70, 62), (186, 158, 132)),
    "plaster": (
        (226, 212, 184),
        (214, 188, 150),
        (206, 172, 160),
        (178, 194, 204),
        (190, 202, 178),
        (230, 226, 216),
        (216, 176, 108),
    ),
    "stone": ((190, 182, 168), (172, 168, 160), (200, 188, 164)),
    "panel": ((150, 154, 158), (122, 128, 136), (176, 172, 166), (98, 104, 112)),
}
_FRAMES: tuple[Colour, ...] = ((236, 236, 232), (236, 236, 232), (58, 60, 64), (92, 66, 46), (60, 82, 74))
_DOORS: tuple[Colour, ...] = (
    (122, 36, 38),
    (34, 62, 92),
    (36, 78, 58),
    (62, 46, 38),
    (44, 46, 50),
    (196, 160, 84),
)


@dataclass(frozen=True, slots=True)
class House:
    """One house front from ``x0`` to ``x1``."""

    x0: float
    x1: float
    height: float
    kind: str
    colour: Colour
    frame: Colour
    door: Colour


def paint_fronts(stage: Stage) -> None:
    """Line the far side of the street with houses, shops, garden walls and gaps."""
    rng, camera = stage.rng, stage.camera
    stage.canvas.begin(TRIM)
    wall = Wall(stage, stage.wall)
    ends = sorted((camera.ground(-40, stage.wall), camera.ground(camera.width + 40, stage.wall)))
    x = ends[0] - rng.uniform(0, 4)
    while x < ends[1]:
        width = float(rng.uniform(4.2, 8.5))
        if rng.random() < 0.16:
            _garden(wall, x, x + width)
        else:
            _house(wall, _plan(x, x + width, rng))
        x += width


def _plan(x0: float, x1: float, rng: np.random.Generator) -> House:
    kind = str(rng.choice(list(_WALLS), p=(0.34, 0.34, 0.16, 0.16)))
    base = np.array(_WALLS[kind][int(rng.integers(len(_WALLS[kind])))]) * rng.uniform(0.88, 1.06)
    r, g, b = np.minimum(base + rng.normal(0, 4, 3), 240)
    frame = _FRAMES[int(rng.integers(len(_FRAMES)))]
    door = _DOORS[int(rng.integers(len(_DOORS)))]
    return House(x0, x1, float(rng.uniform(6.2, 12.5)), kind, (float(r), float(g), float(b)), frame, door)


def _house(wall: Wall, house: House) -> None:
    rng = wall.stage.rng
    wall.stage.canvas.begin(WALL)
    wall.rect(house.x0, 0, house.x1, house.height, house.colour)
    wall.stage.canvas.begin(TRIM)
    clad(wall, house.x0, house.x1, house.height, house.kind)
    dark = tuple(c * 0.72 for c in house.colour)
    base = (dark[0], dark[1], dark[2])
    if rng.random() < 0.32:
        shop(wall, house.x0, house.x1)
    else:
        wall.rect(house.x0, 0, house.x1, float(rng.uniform(0.3, 0.6)), base)
        _ground_floor(wall, house)
    trim = tuple(min(c * 1.14 + 8, 244) for c in house.colour)
    wall.ledge(house.x0, house.x1, 3.15, 0.16, 0.08, (trim[0], trim[1], trim[2]))
    y = 3.95
    while y + 1.7 < house.height:
        _windows(wall, house, y, 1.55)
        y += 2.9
    wall.ledge(house.x0, house.x1, house.height - 0.3, 0.3, 0.22, (trim[0], trim[1], trim[2]))
    if rng.random() < 0.5:
        x = house.x1 - 0.18
        wall.rect(x, 0, x + 0.1, house.height - 0.3, (96, 98, 100))
        wall.rect(x + 0.065, 0, x + 0.1, house.height - 0.3, (66, 68, 70))


def _windows(wall: Wall, house: House, y: float, height: float) -> None:
    """A row of windows, evenly spaced over the front."""
    rng = wall.stage.rng
    width = 1.05
    count = max(int((house.x1 - house.x0 - 0.5) / 1.95), 1)
    gap = (house.x1 - house.x0 - count * width) / (count + 1)
    shutters = house.kind == "plaster" and rng.random() < 0.4
    for k in range(count):
        x = house.x0 + gap + k * (width + gap)
        window(wall, (x, y, x + width, y + height), house.frame)
        if shutters:
            for side in (x - 0.42, x + width + 0.06):
                wall.rect(side, y - 0.02, side + 0.36, y + height + 0.02, house.door)
                for slat in np.arange(y + 0.1, y + height, 0.22).tolist():
                    wall.rect(side + 0.04, slat, side + 0.32, slat + 0.05, (30, 34, 38))


def _ground_floor(wall: Wall, house: House) -> None:
    """A door, or a garage, with windows beside it."""
    rng = wall.stage.rng
    width = house.x1 - house.x0
    garage = rng.random() < 0.25
    span = 2.5 if garage else 1.0
    x = house.x0 + rng.uniform(0.4, max(width - span - 0.4, 0.5))
    if garage:
        _shutter(wall, (x, 0.02, x + span, 2.35), house.door)
    else:
        _door(wall, x, house)
    for low, high in ((house.x0 + 0.35, x - 0.35), (x + span + 0.35, house.x1 - 0.35)):
        room = high - low
        count = int(room / 1.7)
        for k in range(count):
            centre = low + room * (k + 0.5) / count
            window(wall, (centre - 0.55, 1.0, centre + 0.55, 2.45), house.frame)
    if rng.random() < 0.3:
        _scribble(wall, house)


def _door(wall: Wall, x: float, house: House) -> None:
    lit = wall.stage.rng.random() < wall.stage.light.lit
    dark = (house.door[0] * 0.7, house.door[1] * 0.7, house.door[2] * 0.7)
    wall.rect(x - 0.12, 0, x + 1.12, 2.72, house.frame)
    wall.rect(x, 0.06, x + 1.0, 2.1, house.door)
    for u, v in ((0.12, 0.25), (0.56, 0.25), (0.12, 1.15), (0.56, 1.15)):
        wall.rect(x + u, v, x + u + 0.32, v + 0.75, dark)
    glow = (250.0, 206.0, 140.0) if lit else (64.0, 74.0, 84.0)
    wall.rect(x, 2.18, x + 1.0, 2.62, glow, 230 if lit else 0)
    wall.rect(x + 0.88, 1.0, x + 0.94, 1.12, (206, 178, 96))
    wall.ledge(x - 0.15, x + 1.15, 0, 0.14, 0.3, (172, 170, 164))


def _shutter(wall: Wall, at: tuple[float, float, float, float], colour: Colour) -> None:
    x0, y0, x1, y1 = at
    grey = wall.stage.rng.random() < 0.5
    tone = (158.0, 160.0, 162.0) if grey else colour
    wall.rect(x0 - 0.1, y0, x1 + 0.1, y1 + 0.12, (74, 74, 76))
    wall.rect(x0, y0, x1, y1, tone)
    for y in np.arange(y0 + 0.12, y1, 0.14).tolist():
        wall.rect(x0, y, x1, y + 0.03, (tone[0] * 0.74, tone[1] * 0.74, tone[2] * 0.74))


def _scribble(wall: Wall, house: House) -> None:
    """Somebody's name in spray paint."""
    rng = wall.stage.rng
    colour = CLOTHS[int(rng.integers(len(CLOTHS)))]
    t = np.linspace(0, 1, 26)
    start = rng.uniform(house.x0 + 0.3, max(house.x1 - 1.6, house.x0 + 0.4))
    x = start + 1.3 * t + 0.16 * np.sin(17 * t + rng.uniform(0, 6))
    y = rng.uniform(0.8, 1.2) + 0.22 * np.sin(23 * t + rng.uniform(0, 6))
    for i in range(len(t) - 1):
        wide = 0.03
        spots = (
            (x[i], y[i] - wide),
            (x[i + 1], y[i + 1] - wide),
            (x[i + 1], y[i + 1] + wide),
            (x[i], y[i] + wide),
        )
        wall.shape(tuple((float(a), float(b)) for a, b in spots), colour)


def _garden(wall: Wall, x0: float, x1: float) -> None:
    """A low wall or railing with bushes behind it, and sky above."""
    rng = wall.stage.rng
    leaf = np.array([74.0, 104, 58]) * rng.uniform(0.8, 1.2)
    count = max(int((x1 - x0) / 0.22), 4)
    tops = (
        1.5
        + 0.9 * np.abs(np.sin(np.linspace(0, count * 0.35, count) + rng.uniform(0, 6)))
        + rng.normal(0, 0.08, count)
    )
    ridge = [(float(x), float(y)) for x, y in zip(np.linspace(x0, x1, count), tops, strict=True)]
    wall.shape(
        ((x0, 0.0), *ridge, (x1, 0.0)), (float(leaf[0] * 0.6), float(leaf[1] * 0.62), float(leaf[2] * 0.62))
    )
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    for _ in range(int(18 * (x1 - x0))):
        k = int(rng.integers(count))
        y = tops[k] * rng.uniform(0.35, 1.0)
        r, g, b = leaf * rng.uniform(0.62, 0.95) * (0.62 + 0.38 * y / tops[k])
        radius = rng.uniform(0.1, 0.22) * rng.uniform(0.7, 1.3, 10)
        xs, ys = ridge[k][0] + radius * np.cos(turn), np.maximum(y + radius * np.sin(turn), 0)
        spots = zip(np.clip(xs, x0, x1).tolist(), ys.tolist(), strict=True)
        wall.shape(tuple(spots), (float(r), float(g), float(b)))
    wall.rect(x0, 0, x1, 0.62, (150, 118, 98))
    wall.ledge(x0, x1, 0.62, 0.1, 0.06, (184, 180, 172))
    if rng.random() < 0.6:
        for x in np.arange(x0 + 0.1, x1, 0.16):
            wall.rect(float(x), 0.7, float(x) + 0.03, 1.5, (38, 42, 44))
        wall.rect(x0, 1.42, x1, 1.47, (38, 42, 44))
