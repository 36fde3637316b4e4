"""Developing: from painted sheets to a picture, with shadows, lamps, haze and the grain of a camera.

Pictures are three planes (3, h, w) of float32 in here: several times faster than interleaved pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.demo.camera import Camera
from backend.demo.canvas import FIRST, GROUND, SKY, TRIM, WALL
from backend.demo.stage import Stage, noise

Field = NDArray[np.float32]
_WARM = (1.0, 0.80, 0.50)
_BLOOM = 4
_FAR = 200.0


@dataclass(frozen=True, slots=True)
class Lamp:
    """A light source in world metres; ``strength`` 1 is a usual street lamp."""

    x: float
    y: float
    z: float
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Space:
    """What and where each pixel is, all (h, w): owner, depth in sight, and world x, y, z in metres."""

    owner: NDArray[np.uint8]
    ground: NDArray[np.bool_]
    backdrop: NDArray[np.bool_]
    depth: Field
    x: Field
    y: Field
    z: Field


def space(camera: Camera, owner: NDArray[np.uint8], wall: float, depths: Sequence[float]) -> Space:
    """World positions per pixel; ``depths`` are the objects' own, in order of their numbers."""
    columns = (np.arange(camera.width, dtype=np.float32) + 0.5 - camera.width / 2) / camera.focal
    rows = (camera.horizon - np.arange(camera.height, dtype=np.float32) - 0.5) / camera.focal
    c, s = np.float32(np.cos(camera.yaw)), np.float32(np.sin(camera.yaw))
    floor = np.where(rows < -1e-3, camera.eye / np.maximum(-rows, 1e-3), _FAR).astype(np.float32)
    front = (wall / np.maximum(c - s * columns, 0.05)).astype(np.float32)
    table = np.full(256, _FAR, np.float32)
    table[FIRST : FIRST + len(depths)] = depths
    depth = np.take(table, owner)
    ground = owner == GROUND
    np.copyto(depth, np.broadcast_to(floor[:, None], depth.shape), where=ground)
    np.copyto(depth, np.broadcast_to(front, depth.shape), where=(owner == WALL) | (owner == TRIM))
    right = columns * depth
    up = np.float32(camera.eye) + rows[:, None] * depth
    return Space(owner, ground, owner < FIRST, depth, c * right + s * depth, up, c * depth - s * right)


@dataclass(frozen=True, slots=True)
class Negative:
    """A picture before the film: planes (3, h, w) of 0 to 255 and beyond, where each pixel is in the world,
    and the share of it that is sky (h, w)."""

    planes: Field
    at: Space
    sky: Field


def develop(stage: Stage, lamps: Sequence[Lamp], depths: Sequence[float]) -> NDArray[np.uint8]:
    """The finished picture (h, w, 3)."""
    return film(expose(stage, lamps, depths).planes, stage.light.grain, stage.rng)


def expose(stage: Stage, lamps: Sequence[Lamp], depths: Sequence[float]) -> Negative:
    """Light the painted sheet: shadows, lamps and haze, before the film."""
    light, camera, canvas = stage.light, stage.half, stage.canvas
    size = (camera.width, camera.height)
    albedo = np.stack(cv2.split(cv2.resize(canvas.colour, size, interpolation=cv2.INTER_AREA))).astype(
        np.float32
    )
    at = space(camera, canvas.owner[1::2, 1::2], stage.wall, depths)
    sky = _share(canvas.owner == SKY, size)
    shine = cv2.resize(canvas.glow, size, interpolation=cv2.INTER_AREA) if canvas.glows else at.owner * 0
    glow = shine.astype(np.float32) * np.float32(1 / 255)
    tone = _surface(stage, at) * _corners(stage, at)
    dark = _shadow(stage, at)
    lamplight = _lamplight(stage, at, lamps) if lamps else np.zeros_like(tone)
    haze = 1 - np.exp(-np.float32(light.air) * at.depth)
    veiled = haze * (1 - 0.5 * glow)
    out = np.empty_like(albedo)
    for k in range(3):
        lit = tone * (1 - np.float32(1 - light.shadow[k]) * dark)
        exposure = np.float32(light.grade[k]) + np.float32(_WARM[k]) * lamplight
        lit *= exposure * (1 - glow) + glow
        lit *= albedo[k] * (1 - haze)
        lit += np.float32(light.veil[k]) * veiled
        out[k] = lit + (albedo[k] - lit) * sky
    if glow.any():
        _bloom(out, albedo * glow)
    return Negative(out, at, sky)


def _share(mask: NDArray[np.bool_], size: tuple[int, int]) -> Field:
    """Share of each pixel that a mask twice as large covers, in [0, 1]."""
    if not mask.any():
        return np.zeros(size[::-1], np.float32)
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def _surface(stage: Stage, at: Space) -> Field:
    """Paving and masonry, grime near the ground, faint blotches; a factor (h, w)."""
    out = np.where(at.ground, stage.relief, np.float32(1))
    np.copyto(out, stage.masonry, where=at.owner == WALL)
    low = np.sqrt(np.clip(at.y * np.where(at.backdrop, np.float32(1.1), np.float32(2.9)), 0, 1))
    low[at.ground] = 1
    height, width = at.owner.shape
    blotch = np.tile(noise(), (height // 256 + 1, width // 256 + 1))[:height, :width]
    return np.asarray(out * (0.80 + 0.20 * low) * (1 + np.float32(0.018) * blotch), dtype=np.float32)


def _corners(stage: Stage, at: Space) -> Field:
    """Where things touch the ground little light comes in; a factor (h, w)."""
    near = stage.half.focal / 6.0
    size = (stage.half.width // 4, stage.half.height // 4)
    small = cv2.GaussianBlur(
        cv2.resize(stage.contact, size, interpolation=cv2.INTER_AREA), (0, 0), max(0.022 * near, 0.5)
    )
    contact = cv2.resize(small, (stage.half.width, stage.half.height), interpolation=cv2.INTER_LINEAR)
    out = 1 - contact.astype(np.float32) * np.float32(stage.light.contact / 255)
    out *= 1 - np.float32(0.3) * np.exp(np.minimum(at.z - np.float32(stage.wall), 0) * np.float32(1 / 0.35))
    out[~at.ground] = 1
    return np.asarray(out)


def _shadow(stage: Stage, at: Space) -> Field:
    """How deep each pixel lies in cast shadow, (h, w) in [0, 1]."""
    light = stage.light
    if not light.casts:
        return np.zeros(at.depth.shape, np.float32)
    soft = cv2.GaussianBlur(stage.shadow, (0, 0), max(light.softness * stage.half.focal / 6.0, 0.6))
    dark = soft.astype(np.float32) * np.float32(1 / 255)
    dark[~at.backdrop] = 0
    if light.shade_line is not None:
        cover = np.clip((np.float32(light.shade_line) - at.y) * 4 + 0.5, 0, 1)
        dark = np.maximum(dark, cover)
    return dark


def _lamplight(stage: Stage, at: Space, lamps: Sequence[Lamp]) -> Field:
    """Strength of the street lamps' light where each pixel is, (h, w)."""
    out = np.zeros(at.depth.shape, np.float32)
    for lamp in lamps:
        down = np.maximum(np.float32(lamp.y) - at.y, 0)
        apart = (at.x - np.float32(lamp.x)) ** 2 + (at.z - np.float32(lamp.z)) ** 2 + down * down
        facing = down / np.sqrt(apart + np.float32(0.05))
        facing = np.where(at.ground, facing, np.float32(0.4) + np.float32(0.45) * facing)
        facing *= np.sqrt(facing)
        out += np.float32(lamp.strength * stage.light.lamps * 17.0) * facing / (apart + np.float32(3.0))
    out[at.depth >= _FAR] = 0
    return np.minimum(out, np.float32(1.3))


def _bloom(out: Field, shining: Field) -> None:
    """Add the halo of everything that shines."""
    height, width = out.shape[1:]
    small = (width // _BLOOM, height // _BLOOM)
    for k in range(3):
        spot = cv2.resize(shining[k], small, interpolation=cv2.INTER_AREA)
        halo = 0.45 * cv2.GaussianBlur(spot, (0, 0), small[0] * 0.035)
        halo += 0.35 * cv2.GaussianBlur(spot, (0, 0), small[0] * 0.009)
        out[k] += cv2.resize(halo, (width, height), interpolation=cv2.INTER_LINEAR)


def film(out: Field, strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Vignette, a soft shoulder, contrast, grain (``strength`` in grey levels) and rounding, in place."""
    height, width = out.shape[1:]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    vignette = (1 - np.float32(0.07) * (x + y) ** 2 - np.float32(0.04) * (x + y)) * np.float32(1 / 255)
    # Two bytes of chance added up fall off like film grain, at a tenth of the price of a normal.
    chance = np.frombuffer(rng.bytes(2 * height * width), np.uint8).reshape(2, height, width)
    grain = chance[0].astype(np.float32) + chance[1] - np.float32(255)
    grain *= np.float32(strength / 104.5)
    for k in range(3):
        plane = out[k]
        plane *= vignette
        over = np.maximum(plane - np.float32(0.8), 0)
        # A soft shoulder keeps lamps and white walls from flat white.
        plane -= over - over / (1 + 4 * over)
        plane *= np.float32(0.93) + np.float32(0.14) * plane
        plane *= 255
        plane += grain + np.float32(2.0)
    np.clip(out, 0, 255, out=out)
    return np.asarray(cv2.merge(tuple(out.astype(np.uint8))))
