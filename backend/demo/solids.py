"""Bodies that everything on the street is made of: boxes, drums, bags, sheets and rods."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.demo.camera import Points
from backend.demo.canvas import Colour
from backend.demo.stage import Place, Stage, noise

Size = tuple[float, float]
FACES = {
    "front": (0, 1, 5, 4),
    "right": (1, 2, 6, 5),
    "back": (2, 3, 7, 6),
    "left": (3, 0, 4, 7),
    "top": (4, 5, 6, 7),
    "under": (3, 2, 1, 0),
}
"""Corners of a box per face, seen from outside: bottom left, bottom right, top right, top left."""


@dataclass(frozen=True, slots=True)
class Face:
    """A visible face of a box, to paint details on. ``corners`` (4, 3) start at the bottom left."""

    stage: Stage
    name: str
    corners: Points
    normal: Points

    def at(self, spots: Sequence[Size]) -> Points:
        """World points of spots (u, v) on the face, u from left, v from bottom, both in [0, 1]."""
        weights = [((1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v) for u, v in spots]
        return np.asarray(np.array(weights) @ self.corners)

    def patch(self, spots: Sequence[Size], colour: Colour, glow: int = 0) -> None:
        """Paint a polygon given on the face."""
        self.stage.flat(self.at(spots), self.stage.lit(colour, self.normal), glow)

    def rect(self, u0: float, v0: float, u1: float, v1: float, colour: Colour, glow: int = 0) -> None:
        """Paint an upright rectangle on the face."""
        self.patch(((u0, v0), (u1, v0), (u1, v1), (u0, v1)), colour, glow)

    def disc(self, u: float, v: float, radius: Size, colour: Colour) -> None:
        """Paint an ellipse on the face."""
        turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
        spots = [(u + radius[0] * float(np.cos(t)), v + radius[1] * float(np.sin(t))) for t in turn]
        self.patch(spots, colour)


Detail = Callable[[Face], None]


def unit(vector: Points) -> Points:
    """The same direction with length 1."""
    return np.asarray(vector / max(math.sqrt(float(vector @ vector)), 1e-9), dtype=np.float64)


def corners(low: Size, high: Size, y0: float, y1: float, lean: Size = (0.0, 0.0)) -> Points:
    """The eight corners of a box that tapers from ``low`` (width, depth) at y0 to ``high`` at y1."""
    out = []
    for (w, d), y, (dx, dz) in ((low, y0, (0.0, 0.0)), (high, y1, lean)):
        out += [(dx + sx * w / 2, y, dz + sz * d / 2) for sx, sz in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return np.array(out, dtype=np.float64)


def block(
    stage: Stage,
    world: Points,
    colour: Colour,
    detail: Detail | None = None,
    fade: Size = (1.04, 0.84),
    cast: bool = True,
) -> None:
    """Paint a convex body with eight world corners in the order of ``corners``."""
    if cast:
        stage.cast(world)
    for face in visible(stage, world, tuple(FACES)):
        stage.surface(face.corners, colour, face.normal, (1.0, 1.0) if face.name == "top" else fade)
        if detail is not None:
            detail(face)


def visible(stage: Stage, world: Points, names: Sequence[str]) -> Iterator[Face]:
    """Those of the named faces of a convex body that the camera sees."""
    eye = np.array([0.0, stage.camera.eye, 0.0])
    middle = world.mean(axis=0)
    for name in names:
        face = world[list(FACES[name])]
        normal = unit(np.cross(face[1] - face[0], face[3] - face[0]))
        centre = face.mean(axis=0)
        if normal @ (centre - middle) < 0:
            normal = -normal
        if normal @ (eye - centre) > 0:
            yield Face(stage, name, face, normal)


def box(
    stage: Stage,
    place: Place,
    size: tuple[float, float, float],
    colour: Colour,
    detail: Detail | None = None,
    fade: Size = (1.04, 0.84),
    cast: bool = True,
) -> None:
    """Paint an upright box of ``size`` (width, height, depth) standing at ``place``."""
    width, height, depth = size
    block(
        stage, place.world(corners((width, depth), (width, depth), 0, height)), colour, detail, fade, cast
    )


def drum(
    stage: Stage,
    place: Place,
    radius: Size,
    span: Size,
    colour: Colour,
    stripes: Callable[[float], Colour] | None = None,
    top: Colour | None = None,
) -> None:
    """Paint an upright drum; ``radius`` and ``span`` are (bottom, top), ``stripes`` colours by angle."""
    count = 36
    turn = np.linspace(0, 2 * np.pi, count + 1)
    ring = np.stack((np.sin(turn), np.zeros(count + 1), -np.cos(turn)), axis=1)
    low = place.world(ring * radius[0] + (0, span[0], 0))
    high = place.world(ring * radius[1] + (0, span[1], 0))
    stage.cast(np.concatenate((low[::3], high[::3])))
    eye = np.array([place.x, 0.0, place.z])
    normals = place.world(ring) - place.world(np.zeros((1, 3)))
    seen = [i for i in range(count) if (normals[i] + normals[i + 1]) @ -eye > -0.12 * np.linalg.norm(eye)]
    for i in seen:
        normal = unit(normals[i] + normals[i + 1])
        tone = stripes(float(turn[i])) if stripes else colour
        stage.flat(np.stack((low[i], low[i + 1], high[i + 1], high[i])), stage.lit(tone, normal))
    if top is not None and high[0, 1] < stage.camera.eye:
        stage.flat(high[:-1], stage.lit(top, np.array([0.0, 1.0, 0.0])))


def rod(stage: Stage, a: Points, b: Points, width: Size, colour: Colour, cast: bool = True) -> None:
    """Paint a round rod between two world points, ``width`` (at a, at b) in metres, lit from one side."""
    ends = np.stack((a, b))
    if cast:
        half = np.array([[w / 2, 0, 0] for w in width])
        stage.cast(np.concatenate((ends - half, ends + half)))
    (p, q), depth = stage.camera.project(ends), stage.camera.view(ends)[:, 2]
    across = np.array([-(q - p)[1], (q - p)[0]])
    across /= max(float(np.linalg.norm(across)), 1e-6)
    wide = np.array(width) * stage.camera.focal / depth / 2
    right = np.array([np.cos(stage.camera.yaw), 0, -np.sin(stage.camera.yaw)])
    front = np.array([-np.sin(stage.camera.yaw), 0, -np.cos(stage.camera.yaw)])
    for k in range(4):
        s, t = -1 + k / 2, -0.5 + k / 2
        middle = (s + t) / 2
        facing = unit(right * middle * float(np.sign(across[0]) or 1) + front * np.sqrt(1 - middle**2))
        polygon = np.stack((p + across * wide[0] * s, p + across * wide[0] * t))
        polygon = np.concatenate((polygon, np.stack((q + across * wide[1] * t, q + across * wide[1] * s))))
        stage.canvas.fill(polygon, stage.lit(colour, facing))


def sheet(
    stage: Stage,
    at: Place,
    outline: Sequence[Size],
    colour: Colour,
    angle: float = 0.0,
    glow: int = 0,
    normal: Points | None = None,
) -> None:
    """Paint a flat piece that faces the camera: ``outline`` in metres about ``at``, y up."""
    spot = np.array([[at.x, at.y, at.z]])
    centre = stage.camera.project(spot)[0]
    scale = stage.camera.focal / float(stage.camera.view(spot)[0, 2])
    c, s = np.cos(angle), np.sin(angle)
    shape = np.array(outline, dtype=np.float64) @ np.array([[c, s], [-s, c]])
    polygon = centre + shape * (scale, -scale)
    stage.canvas.fill(polygon, colour if glow else stage.lit(colour, normal), glow)


def oval(rx: float, ry: float, count: int = 16) -> list[Size]:
    """Outline of an ellipse for ``sheet``."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return [(rx * float(np.cos(t)), ry * float(np.sin(t))) for t in turn]


def limb(stage: Stage, a: Points, b: Points, radius: Size, colour: Colour) -> None:
    """Paint a limb with round ends from world point a to b, in a colour that is lit already."""
    ends = np.stack((a, b))
    (p, q), depth = stage.camera.project(ends), stage.camera.view(ends)[:, 2]
    ra, rb = np.array(radius) * stage.camera.focal / depth
    axis = float(np.arctan2(*(q - p)[::-1]))
    half = np.linspace(-np.pi / 2, np.pi / 2, 7)
    first = np.stack((np.cos(half + axis + np.pi), np.sin(half + axis + np.pi)), axis=1) * ra + p
    second = np.stack((np.cos(half + axis), np.sin(half + axis)), axis=1) * rb + q
    stage.canvas.fill(np.concatenate((first, second)), colour)


@dataclass(frozen=True, slots=True)
class Skin:
    """How a bag looks: colour, ``gloss`` of its highlights in [0, 1], depth of its ``creases``."""

    colour: Colour
    gloss: float = 0.35
    creases: float = 0.5


def bag(stage: Stage, at: Place, size: Size, skin: Skin, sag: float = 0.55) -> None:
    """Paint a lumpy round body that rests on ``at``; ``size`` (width, height) in metres."""
    rng = stage.rng
    rx, ry = size[0] / 2, size[1] / (1 + sag)
    middle = np.array([[at.x, at.y + ry * sag, at.z]])
    (cu, cv), depth = stage.camera.project(middle)[0], stage.camera.view(middle)[0, 2]
    scale = stage.camera.focal / depth
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    swell = 1 + sum(
        rng.uniform(0.0, 0.09) / k**0.5 * np.cos(k * turn + rng.uniform(0, 7)) for k in (2, 3, 4, 5, 7)
    )
    outline = np.stack((np.cos(turn) * rx, np.sin(turn) * ry), axis=1) * swell[:, None]
    # A full bag spreads where it lies.
    low = outline[:, 1] < -ry * sag
    outline[low, 1] = -ry * sag + (outline[low, 1] + ry * sag) * 0.15
    rise = outline[:, 1] / ry
    outline[:, 0] *= 1 + 0.12 * np.clip(-rise, 0, 1) - 0.34 * np.clip(rise, 0, 1.1) ** 2
    polygon = np.stack((cu + outline[:, 0] * scale, cv - outline[:, 1] * scale), axis=1)
    spread = Place(at.x, at.z).world(
        np.stack((outline[::4, 0], outline[::4, 1] + middle[0, 1], 0 * turn[::4]), axis=1)
    )
    stage.cast(np.maximum(spread, (-1e3, 0.0, -1e3)))
    low_corner = np.floor(polygon.min(axis=0)).astype(int) - 2
    width, height = (np.ceil(polygon.max(axis=0)).astype(int) + 3 - low_corner).tolist()
    if width * height < 30 or width > 3 * stage.canvas.width:
        stage.canvas.fill(polygon, stage.lit(skin.colour, None))
        return
    x = (np.arange(width, dtype=np.float32) + low_corner[0] + 0.5 - cu) / (rx * scale * 1.12)
    y = -(np.arange(height, dtype=np.float32) + low_corner[1] + 0.5 - cv) / (ry * scale * 1.12)
    paint = _crumpled(stage, x[None, :] + 0 * y[:, None], y[:, None] + 0 * x[None, :], skin)
    stage.canvas.shade(polygon, paint, (int(low_corner[0]), int(low_corner[1])))


def _crumpled(
    stage: Stage, x: NDArray[np.float32], y: NDArray[np.float32], skin: Skin
) -> NDArray[np.float32]:
    """Colours (h, w, 3) of a creased ball seen from the camera; x and y run from -1 to 1 over it."""
    height, width = x.shape
    rows = (np.linspace(0, 90, height, dtype=np.int64) + stage.rng.integers(256)) % 256
    columns = (np.linspace(0, 90, width, dtype=np.int64) + stage.rng.integers(256)) % 256
    lumps = noise()[np.ix_(rows, columns)]
    nx = x + skin.creases * (lumps - np.roll(lumps, 2, axis=1))
    ny = y + skin.creases * (np.roll(lumps, 2, axis=0) - lumps)
    nz = np.sqrt(np.maximum(1 - x * x - y * y, 0.05))
    c, s = np.cos(stage.camera.yaw), np.sin(stage.camera.yaw)
    normals = np.stack((nx * c - nz * s, ny, -nx * s - nz * c), axis=2).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    paint = stage.light.shades(normals) * np.array(skin.colour, np.float32)
    middle = unit(stage.light.toward + unit(np.array([-s, 0.35, -c])))
    shine = np.maximum(normals @ middle.astype(np.float32), 0) ** 24
    paint += (skin.gloss * 190 * shine)[..., None] * (stage.light.ambient + stage.light.sun).astype(
        np.float32
    )
    paint *= np.clip(1.0 + 0.35 * y, 0.55, 1.15)[..., None]
    return np.asarray(np.minimum(paint, 255), dtype=np.float32)
