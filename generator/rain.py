"""Rain as a camera sees it: streaks, the veil of far drops, a closed sky and a wet, mirroring ground.

After Garg & Nayar, "Photorealistic rendering of rain streaks" (2006) and "Vision and rain" (2007).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np

from generator import drops
from generator.falling import Camera, expose, fly, sheet
from generator.outdoors import (
    Light,
    check,
    clamped,
    decode,
    encode,
    glow,
    ground,
    overcast,
    patches,
    sky,
    veiled,
)
from generator.pixels import Pixels, Plane
from generator.weather import Severity

REACH = (0.25, 2.0)
"""m; drops between these distances are drawn one by one."""
SHEETS = ((2.0, 4.0), (4.0, 8.0))
"""m; drops between these are drawn as sheets, those beyond are the veil."""
SMALLEST = 0.5
"""mm; what is smaller leaves no streak that one could see."""
CLASSES = ((0.5, 1.5), (1.5, 3.0), (3.0, drops.LARGEST))
"""mm; drops of one class fall alike within a sheet."""
TRANSMISSION = 0.94
"""Part of the radiance of its surroundings, 165 degrees wide, that a drop sends on (Garg & Nayar 2007)."""
SKYWARD = 0.75
"""Part of these surroundings that is sky; the rest is what the picture shows."""
EXPOSURE = 1 / 125
"""s; longer ones draw longer and fainter streaks."""
WOBBLE = 0.4
"""Largest amplitude of a drop's brightness; a convention, streaks are seen to vary by about half."""
GREY: Mapping[Severity, tuple[float, float]] = MappingProxyType(
    {"light": (0.9, 0.85), "moderate": (0.8, 0.7), "heavy": (0.68, 0.55)}
)
"""Parts of brightness and of colour that the cloud leaves; a convention."""
PUDDLES: Mapping[Severity, float] = MappingProxyType({"light": 0.05, "moderate": 0.2, "heavy": 0.45})
"""Part of the ground under standing water; a convention."""
EYES = 1.5
"""m; height of the camera above the ground."""
WET = 0.65
"""What a wet rough surface reflects of what it did dry (Lekner & Dorf 1988: 0.5 to 0.8)."""


def rain(image: Pixels, depth: Plane, severity: Severity, rng: np.random.Generator) -> Pixels:
    """The picture as if it rained, (h, w, 3); ``depth`` (h, w) in metres, infinite where there is nothing.

    ``severity`` is a rain rate of `drops.RATES`. Boxes stay true: nothing moves. Raises BadInput for shapes
    that do not match and unknown severities.
    """
    check(image, depth, severity)
    rate = drops.RATES[severity]
    light = overcast(decode(image), depth, *GREY[severity])
    around = TRANSMISSION * (SKYWARD * sky(light) + (1 - SKYWARD) * light.mean(axis=(0, 1)))
    light = _wet(light, depth, ground(image, depth), severity, rng)
    light = veiled(light, depth, drops.extinction(rate), glow(light), SHEETS[-1][1])
    cover, shine = _streaks(depth, rate, rng)
    return encode(light * (1 - cover[..., None]) + shine[..., None] * around)


def _streaks(depth: Plane, rate: float, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """How much of each pixel drops cover, and how bright they are there."""
    height, width = depth.shape
    camera = Camera(width, height, EXPOSURE)
    wind = float(np.clip(rng.normal(0, 1.5), -4, 4))

    count = int(rng.poisson(camera.volume(*REACH) * drops.number(SMALLEST, rate)))
    diameter = drops.draw(rng, count, SMALLEST, rate)
    drift = wind + rng.normal(0, 0.2, count)
    # A flattened drop keeps its volume.
    flat = drops.flattening(diameter)
    wide, high = diameter / 1e3 * flat ** (-1 / 3), diameter / 1e3 * flat ** (2 / 3)
    flight = fly(rng, camera, REACH, wide, high, drift, drops.speed(diameter))
    phase, amplitude = rng.random(count) * 2 * math.pi, rng.random(count) * WOBBLE
    owner, moment = flight.trace()
    time = moment * camera.exposure
    brightness = drops.wobble(diameter[owner], time, phase[owner], amplitude[owner])
    cover, shine = expose(flight, owner, moment, brightness, depth)

    for near, far in SHEETS:
        middle = (near + far) / 2
        for small, large in CLASSES:
            size = math.sqrt(small * large)
            expected = camera.volume(near, far) * (drops.number(small, rate) - drops.number(large, rate))
            fall = float(drops.speed(size))
            thin = sheet(
                rng,
                (height, width),
                expected,
                math.pi / 4 * float(camera.pixels(size / 1e3, middle)) ** 2,
                float(camera.pixels(fall * camera.exposure, middle)),
                wind / fall,
            )
            thin = thin * (depth > middle)
            cover, shine = cover + thin * (1 - cover), shine + thin * (1 - cover)
    return cover, shine


def _wet(light: Light, depth: Plane, level: Plane, severity: Severity, rng: np.random.Generator) -> Light:
    """The ground darker, and mirroring what stands on it: sharply in puddles, smeared elsewhere."""
    height, width = depth.shape
    row = np.arange(height, dtype=np.float32)[:, None]
    foot = np.maximum.accumulate(np.where(level < 0.5, row, 0), axis=0)
    foot = cv2.blur(foot.astype(np.float32), (1 + width // 40, 1))
    column = np.tile(np.arange(width, dtype=np.float32), (height, 1))
    mirror = cv2.remap(light, column, np.maximum(2 * foot - row, 0), cv2.INTER_LINEAR)
    smeared = cv2.blur(mirror, (1 + width // 80, 1 + height // 10))

    # Schlick's approximation to Fresnel's equations: water mirrors more the flatter one looks at it.
    upright = EYES / np.hypot(EYES, clamped(depth))
    fresnel = (0.02 + 0.98 * (1 - upright) ** 5)[..., None]
    noise = patches(rng, (height, width), max(2, width // 80))
    puddle = np.clip((noise - (1 - PUDDLES[severity])) / 0.06 + 0.5, 0, 1)[..., None]
    shine = fresnel * (puddle * mirror + 0.5 * (1 - puddle) * smeared)
    dull = WET * light * (1 - fresnel * (0.5 + 0.5 * puddle))
    part = level[..., None]
    return np.asarray(light * (1 - part) + part * (dull + shine), dtype=np.float32)
