"""What is between the lens and the street: veils, clouds of dust, drops, flakes and stray light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.demo.camera import Camera, Points
from backend.demo.darkroom import Field, Space
from backend.demo.stage import noise

_SHIFT = 4
_GREY = (0.30, 0.59, 0.11)
_TILE = 256


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture that weather is laid over, of shape (h, w).

    ``planes`` (3, h, w) are red, green and blue, 0 to 255 and beyond; ``at`` says where each pixel is in
    the world, ``sky`` how much of it is sky in [0, 1]. ``wall`` is the distance of the house fronts in
    metres, ``toward`` the unit vector to the sun. ``above`` is how much a surface faces the sky, (h, w) in
    [0, 1]; None where no weather asks for it.
    """

    planes: Field
    at: Space
    sky: Field
    camera: Camera
    wall: float
    toward: Points
    above: Field | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """Things that fall at one ``distance`` from the lens.

    ``count`` of them in a picture, ``length`` of their path while the shutter is open and ``width`` in
    metres, ``opacity`` in [0, 1], ``blur`` in pixels of a picture 640 wide.
    """

    distance: float
    count: float
    length: float
    width: float
    opacity: float
    blur: float


def muted(planes: Field, share: float) -> Field:
    """Colours with a ``share`` in [0, 1] of grey mixed in; a new array."""
    grey = sum(np.float32(w) * plane for w, plane in zip(_GREY, planes, strict=True))
    return np.asarray(planes + np.float32(share) * (grey - planes), dtype=np.float32)


def mixed(planes: Field, colour: NDArray[np.float32], share: Field) -> Field:
    """Planes with ``share`` (h, w) in [0, 1] of one colour (3,) mixed in; a new array."""
    return np.asarray(planes + (colour[:, None, None] - planes) * share, dtype=np.float32)


def veiled(planes: Field, thickness: Field, colour: NDArray[np.float32]) -> Field:
    """Planes behind air of an optical ``thickness`` (h, w), by Beer and Lambert; a new array.

    ``colour`` is what the air shines with, (3,) or (3, h, w).
    """
    through = np.exp(-thickness).astype(np.float32)
    shine = colour if colour.ndim == 3 else colour[:, None, None]
    return np.asarray(shine + (planes - shine) * through, dtype=np.float32)


def turbulence(shot: Shot, chance: np.random.Generator) -> Field:
    """Billows (h, w) drawn out sideways, mean 0, standard deviation about 1."""
    height, width = shot.sky.shape
    out = np.zeros((height, width), np.float32)
    for across, weight in ((50.0, 0.75), (110.0, 0.5), (24.0, 0.45)):
        start = chance.uniform(0, _TILE, 2)
        x = start[0] + np.arange(width, dtype=np.float32) / width * across
        y = start[1] + np.arange(height, dtype=np.float32) / width * across * 2.2
        maps = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        out += np.float32(weight) * cv2.remap(
            noise(), maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )
    return out


def fall(shot: Shot, layer: Layer, slant: float, chance: np.random.Generator) -> Field:
    """How much of each pixel the layer's drops or flakes cover, (h, w) in [0, 1].

    ``slant`` is the direction of their path in radians from straight down. Nothing falls behind what is
    nearer than the layer.
    """
    height, width = shot.sky.shape
    unit = width / 640
    scale = shot.camera.focal / layer.distance
    true, long = layer.width * scale, layer.length * scale
    wide = max(true, 1.0)
    # Nothing is drawn thinner than a pixel: of what is, fewer are drawn, so that they cover as much.
    thinned = true * (true + long) / (wide * (wide + long))
    count = int(chance.poisson(layer.count * thinned * height / width / 0.75))
    where = chance.uniform((-0.1, -0.15), (1.1, 1.05), (count, 2)) * (width, height)
    path = chance.uniform(0.6, 1.3, count) * long
    angle = slant + chance.normal(0, 0.035, count)
    step = np.stack((np.sin(angle), np.cos(angle)), axis=1) * path[:, None]
    lines = np.rint(np.stack((where, where + step), axis=1) * (1 << _SHIFT)).astype(np.int32)
    out = np.zeros((height, width), np.uint8)
    # Three sizes, so that no two drops need a call of their own.
    for k, (size, bright) in enumerate(((0.7, 150), (1.0, 205), (1.4, 255))):
        cv2.polylines(
            out, list(lines[k::3]), False, bright, max(round(wide * size), 1), cv2.LINE_AA, _SHIFT
        )
    soft = cv2.GaussianBlur(out, (0, 0), max(layer.blur * unit, 0.3))
    cover = soft.astype(np.float32) * np.float32(layer.opacity / 255)
    cover[shot.at.depth < layer.distance] = 0
    return cover


def flare(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    """The picture with the sun in the lens: its disc and glow, a veil over everything, reflections."""
    height, width = shot.sky.shape
    seen = shot.camera.project(np.array([0.0, shot.camera.eye, 0.0]) + shot.toward[None] * 1000)[0]
    u, v = float(seen[0]), float(seen[1])
    column = int(np.clip(u, 0, width - 1))
    if shot.sky[int(np.clip(v, 0, height - 1)), column] < 0.5:
        # Over the roofs: what stands in the sun's way would hide it.
        v = min(v, 0.02 * height)
    v = max(v, -0.03 * height)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    apart = np.hypot(x - np.float32(u), y - np.float32(v)) / np.float32(width)
    turn = np.arctan2(y - np.float32(v), x - np.float32(u))
    rays = sum(np.cos(turn * k + p) for k, p in zip((5, 9, 14), chance.uniform(0, 6.28, 3), strict=True))
    glow = 1.1 * np.exp(-apart / 0.21) * (1 + 0.07 * rays) + 2.2 * np.exp(-((apart / 0.035) ** 2))
    share = np.clip(np.float32(strength) * (0.27 + 0.60 * glow), 0, 1)
    out = shot.planes * (1 - np.float32(0.55) * share)
    for k, tone in enumerate((255.0, 232.0, 190.0)):
        out[k] += np.float32(tone) * share
    centre = np.array([width / 2, height / 2])
    for along, size, colour in (
        (0.55, 0.022, (60.0, 90, 40)),
        (1.25, 0.035, (70.0, 40, 80)),
        (1.55, 0.06, (40.0, 70, 60)),
        (1.9, 0.03, (90.0, 60, 30)),
    ):
        ghost = np.zeros((height, width), np.uint8)
        at = np.array([u, v]) + (centre - (u, v)) * along
        cv2.circle(ghost, (round(at[0]), round(at[1])), max(round(size * width), 1), 255, -1, cv2.LINE_AA)
        soft = cv2.GaussianBlur(ghost, (0, 0), max(0.004 * width, 0.4)).astype(np.float32) / 255
        for k, tone in enumerate(colour):
            out[k] += np.float32(0.55 * strength * tone) * soft
    return np.asarray(out, dtype=np.float32)
