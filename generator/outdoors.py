"""Light, veil and ground of a place, for rain and snow alike: in linear light, as air and lenses add it."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from generator.depth import FAR
from generator.pixels import Pixels, Plane
from generator.weather import Severity
from pool.schema import BadInput

Light = NDArray[np.float32]
"""A picture in linear light, (h, w, 3), 1 = the display's white."""

NEAREST, FARTHEST = 0.1, 200.0
"""Depths are taken as between these: a sky, at no distance, fades as something that far away."""
HEADROOM = 4.0
"""A sky's radiance over that of bright surfaces it lights: upright ones of albedo .5 send on a quarter."""
OVEREXPOSED = 1.5
"""The brightest that a sky can be, as a photo exposed for the street below may show one."""
LIKENESS = 18.0
"""Difference of colour (a byte's CIELAB, lightness counting less) at which a pixel is hardly ground."""
LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


def check(image: Pixels, depth: Plane, severity: str) -> None:
    """BadInput unless the picture, its depth and the severity are what a renderer takes."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape) == 0:
        raise BadInput("image", "uint8 RGB, (height, width, 3)", (image.dtype, image.shape))
    if depth.shape != image.shape[:2]:
        raise BadInput("depth", f"one number per pixel, {image.shape[:2]}", depth.shape)
    if not (depth >= 0).all():
        raise BadInput("depth", "0 or more, without NaN", float(np.min(depth)))
    if severity not in get_args(Severity):
        raise BadInput("severity", f"one of {', '.join(get_args(Severity))}", severity)


def decode(image: Pixels) -> Light:
    """Linear light of sRGB bytes (IEC 61966-2-1)."""
    step = np.arange(256) / 255
    curve = np.where(step <= 0.04045, step / 12.92, ((step + 0.055) / 1.055) ** 2.4)
    return np.asarray(curve.astype(np.float32)[image])


def encode(light: Light) -> Pixels:
    """sRGB bytes of linear light; more than white is white. Undoes `decode` exactly."""
    # 14 bits keep half a step of a byte where sRGB is steepest; a table is many times faster than powers.
    step = np.arange(1 << 14) / ((1 << 14) - 1)
    curve = np.where(step <= 0.0031308, step * 12.92, 1.055 * step ** (1 / 2.4) - 0.055)
    table = np.round(curve * 255).astype(np.uint8)
    return table[(np.clip(light, 0, 1) * (len(table) - 1) + 0.5).astype(np.uint16)]


def clamped(depth: Plane) -> Plane:
    """Depths between NEAREST and FARTHEST."""
    return np.clip(depth, NEAREST, FARTHEST).astype(np.float32)


def glow(light: Light) -> Light:
    """Radiance (3,) of what is bright in the picture, sky or lit walls: the mean of the brightest third."""
    pixels = np.ascontiguousarray(light.reshape(-1, 3)[:: 1 + light.size // 300_000])
    luma = pixels @ LUMA
    return np.asarray(pixels[luma >= np.quantile(luma, 2 / 3)].mean(axis=0), dtype=np.float32)


def sky(light: Light) -> Light:
    """Radiance (3,) of the sky over the place, which lights drops and flakes: HEADROOM times `glow`."""
    bright = glow(light)
    return bright * np.float32(min(HEADROOM, OVEREXPOSED / max(float(bright @ LUMA), 1e-6)))


def overcast(light: Light, depth: Plane, brightness: float, colour: float) -> Light:
    """Under a closed cover of cloud: ``brightness`` and ``colour`` are the parts kept, in [0, 1].

    What is about as far as a guessed depth can be is sky, and turns into plain cloud: 1 - colour^4 of it.
    """
    grey = (light @ LUMA)[..., None]
    above = np.clip(5 * clamped(depth) / np.float32(FAR) - np.float32(3.75), 0, 1)[..., None]
    cloud = above * np.float32(1 - colour**4)
    toned = grey + np.float32(colour) * (light - grey)
    return np.asarray(brightness * (toned + cloud * (glow(light) @ LUMA - toned)), dtype=np.float32)


def veiled(light: Light, depth: Plane, extinction: float, air: Light, start: float) -> Light:
    """Seen through air of an ``extinction`` (1/m) that glows as ``air`` (3,), from ``start`` m on.

    Koschmieder's law (1924).
    """
    kept = np.exp(-np.float32(extinction) * np.maximum(clamped(depth) - np.float32(start), 0))[..., None]
    return np.asarray(light * kept + air * (1 - kept), dtype=np.float32)


def ground(image: Pixels, depth: Plane) -> Plane:
    """How much each pixel is of a level ground, [0, 1], (h, w).

    On a level ground 1 / depth grows evenly from row to row, on upright things it stays the same; judged
    against the usual growth in the lower half of the picture. A guessed depth takes walls and things for
    ground, so the colour must be that of most of the lowest quarter (in CIELAB, over a few pixels, so that
    paving has one), in a good part of each row from the lower edge up to this one.
    """
    height, width = depth.shape
    wide, high = 1 + width // 6, 1 + height // 12
    growth = np.gradient(1 / clamped(depth), axis=0) if height > 1 else np.zeros_like(depth)
    # A median first: the jump at the upper edge of a thing is no ground.
    limit = np.float32(4 * np.median(np.maximum(growth[height // 2 :], 0)))
    growth = np.clip(growth, 0, limit).astype(np.float32)
    growth = np.asarray(cv2.blur(growth, (wide, high), borderType=cv2.BORDER_REPLICATE), dtype=np.float32)
    usual = float(np.quantile(growth[height // 2 :], 0.75))
    level = np.clip((growth / usual - 0.25) / 0.25, 0, 1) if usual > 1e-6 else np.zeros_like(growth)
    level = np.minimum.accumulate(level[::-1], axis=0)[::-1]

    # With the contrast of a clear day, or the colours of night and haze would all be alike.
    below = image[height // 2 :]
    gain, middle = 60 / max(float(below.std()), 5.0), float(below.mean())
    lit = np.clip((np.arange(256) - middle) * gain + 110, 0, 255).astype(np.uint8)[image]
    soft = cv2.blur(lit, (1 + width // 100, 1 + width // 100))
    colour = cv2.cvtColor(soft, cv2.COLOR_RGB2LAB).astype(np.float32)
    lowest = slice(height - 1 - height // 4, height)
    certain = colour[lowest][level[lowest] > 0.9]
    if not len(certain):
        return np.zeros_like(level)
    apart = ((colour - np.median(certain, axis=0)) * np.array([0.4, 1.5, 1.5], dtype=np.float32)) ** 2
    level = level * np.exp(-apart.sum(axis=2) / np.float32(2 * LIKENESS**2))
    rows = cv2.blur(
        level.mean(axis=1, keepdims=True), (1, 1 + height // 40), borderType=cv2.BORDER_REPLICATE
    )
    street = np.minimum.accumulate(np.clip((rows[::-1] - 0.3) / 0.15, 0, 1), axis=0)[::-1]
    return np.asarray(level * street, dtype=np.float32)


def patches(rng: np.random.Generator, shape: tuple[int, int], grain: int) -> Plane:
    """Smooth noise in [0, 1], evenly distributed, (h, w): five octaves, the finest of ``grain`` pixels."""
    height, width = shape
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(5):
        cell = grain * 2**octave
        # Seen along the ground, patches are wider than high.
        coarse = rng.standard_normal((2 + 2 * height // cell, 2 + width // cell)).astype(np.float32)
        total += 1.4**octave * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    rank = np.empty(total.size, dtype=np.float32)
    rank[np.argsort(total, axis=None)] = np.linspace(0, 1, total.size, dtype=np.float32)
    return rank.reshape(shape)
