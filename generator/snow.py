"""Snow as a camera sees it: flakes, the veil of far ones, and a cover on what faces up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from generator.falling import Camera, expose, fly, sheet
from generator.outdoors import (
    LUMA,
    Light,
    check,
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

Floats = NDArray[np.float64]

RATES: Mapping[Severity, float] = MappingProxyType({"light": 0.5, "moderate": 1.5, "heavy": 4.0})
"""Snowfall as water, mm/h: within the classes below 1, 1 to 2.5 and above 2.5 (Rasmussen et al. 1999)."""
LOOSENESS = 0.1 ** (-1 / 3)
"""A flake's diameter over that of the drop it melts into: aggregates have a tenth of water's density."""
SMALLEST, LARGEST = 0.5, 5.0
"""mm, melted: smaller flakes are not seen one by one, larger ones are rare."""
REACH = (0.5, 3.0)
"""m; flakes between these distances are drawn one by one."""
SHEETS = ((3.0, 5.0), (5.0, 9.0))
"""m; flakes between these are drawn as sheets, those beyond are the veil."""
CLASSES = ((0.5, 1.2), (1.2, 2.5), (2.5, LARGEST))
"""mm, melted; flakes of one class fall alike within a sheet."""
WHITE = np.array([0.88, 0.91, 0.95], dtype=np.float32)
"""What snow reflects of red, green and blue: nearly all, a little less of red (Wiscombe & Warren 1980)."""
GREY: Mapping[Severity, tuple[float, float]] = MappingProxyType(
    {"light": (0.95, 0.85), "moderate": (0.9, 0.7), "heavy": (0.85, 0.55)}
)
"""Parts of brightness and of colour that the cloud leaves; a convention."""
LYING = 2.2
"""Radiance of snow on the ground over that of the bright surfaces around."""
COVER: Mapping[Severity, float] = MappingProxyType({"light": 0.3, "moderate": 0.6, "heavy": 0.85})
"""Part of the ground that is covered; a convention."""


def slope(rate: float) -> float:
    """Lambda in 1/mm of melted diameter at a rate in mm/h of water (Gunn & Marshall 1958)."""
    return float(2.55 * rate**-0.48)


def intercept(rate: float) -> float:
    """Flakes per m^3 and mm of melted diameter as it goes to 0: 3800 R^-0.87 (Gunn & Marshall 1958)."""
    return float(3800 * rate**-0.87)


def number(smallest: float, largest: float, rate: float) -> float:
    """Flakes per m^3 between two melted diameters in mm."""
    steep = slope(rate)
    return intercept(rate) / steep * (math.exp(-steep * smallest) - math.exp(-steep * largest))


def speed(melted: ArrayLike) -> Floats:
    """Fall speed in m/s of flakes of a melted diameter in mm: 0.8 d^0.16 (Locatelli & Hobbs 1974).

    d is the flake's own diameter in mm; the fit is of unrimed aggregates of dendrites of 2 to 12 mm, flakes
    beyond either end fall as the nearest one within.
    """
    size = np.clip(LOOSENESS * np.asarray(melted, dtype=np.float64), 2.0, 12.0)
    return np.asarray(0.8 * size**0.16)


def extinction(rate: float) -> float:
    """How fast light is lost on its way through falling snow, 1/m; visibility is 3.912 / extinction.

    Twice the flakes' cross-section: 1.7 km at .5 mm/h, .9 km at 1.5 and .5 km at 4.
    """
    return math.pi / 2 * LOOSENESS**2 * intercept(rate) * 2 / slope(rate) ** 3 * 1e-6


def snow(image: Pixels, depth: Plane, severity: Severity, rng: np.random.Generator) -> Pixels:
    """The picture as if it snowed, (h, w, 3); ``depth`` (h, w) in metres, infinite where there is nothing.

    ``severity`` is a rate of RATES. Boxes stay true: nothing moves. Raises BadInput for shapes that do not
    match and unknown severities.
    """
    check(image, depth, severity)
    rate = RATES[severity]
    light = overcast(decode(image), depth, *GREY[severity])
    air = sky(light)
    light = _covered(light, image, depth, severity, rng)
    haze = np.maximum(glow(light), air / 2)
    light = veiled(light, depth, extinction(rate), haze, SHEETS[-1][1])
    cover = _flakes(depth, rate, rng)[..., None]
    return encode(light * (1 - cover) + cover * WHITE * air)


def _flakes(depth: Plane, rate: float, rng: np.random.Generator) -> Plane:
    """How much of each pixel flakes cover."""
    height, width = depth.shape
    camera = Camera(width, height)
    wind = float(np.clip(rng.normal(0, 0.4), -1, 1))

    count = int(rng.poisson(camera.volume(*REACH) * number(SMALLEST, LARGEST, rate)))
    steep = slope(rate)
    chance = rng.random(count) * -math.expm1(-steep * (LARGEST - SMALLEST))
    melted = SMALLEST - np.log1p(-chance) / steep
    # Flakes sway as they fall: each goes its own way for the moment of an exposure.
    drift, fall = wind + rng.normal(0, 0.4, count), speed(melted) * rng.uniform(0.6, 1.4, count)
    size = LOOSENESS * melted / 1e3
    flight = fly(rng, camera, REACH, size, size, drift, fall)
    owner, moment = flight.trace()
    cover, _ = expose(flight, owner, moment, np.ones(len(owner)), depth)

    for near, far in SHEETS:
        middle = (near + far) / 2
        for small, large in CLASSES:
            middling = math.sqrt(small * large)
            thin = sheet(
                rng,
                (height, width),
                camera.volume(near, far) * number(small, large, rate),
                math.pi / 4 * float(camera.pixels(LOOSENESS * middling / 1e3, middle)) ** 2,
                float(camera.pixels(float(speed(middling)) * camera.exposure, middle)),
                wind / float(speed(middling)),
            )
            cover = cover + thin * (depth > middle) * (1 - cover)
    return cover


def _covered(
    light: Light, image: Pixels, depth: Plane, severity: Severity, rng: np.random.Generator
) -> Light:
    """Snow lying on the ground and on the level edges of what stands there.

    The surface beneath still shows in its shading, so that what lies there keeps its shape.
    """
    height, width = depth.shape
    amount = COVER[severity]
    noise = patches(rng, (height, width), max(2, width // 100))
    thick = np.clip((noise - (1 - amount)) / 0.3 + 0.5, 0, 1)
    lying, cap = ground(image, depth) * thick * (0.55 + 0.4 * amount), _ledges(image) * thick
    part = np.maximum(lying, cap)[..., None]

    luma = light @ LUMA + np.float32(1e-3)
    around = cv2.blur(luma, (1 + width // 16, 1 + height // 16))
    shade = np.clip(np.sqrt(luma / around), 0.55, 1.1)[..., None]
    # Shadows on snow are lit by the sky alone.
    tint = np.where(shade < 1, WHITE * np.array([0.94, 0.98, 1.04], dtype=np.float32), WHITE)
    # A lit window colours the snow less than itself.
    bright = glow(light)
    level = np.minimum((bright + bright @ LUMA) * np.float32(LYING / 2), 0.9)
    return np.asarray(light * (1 - part) + part * shade * tint * level, dtype=np.float32)


def _ledges(image: Pixels) -> Plane:
    """How much each pixel lies on a long, level edge, [0, 1]; rows of many, as of a shutter, are none."""
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey = cv2.blur(grey, (3, 3)) / np.float32(max(float(grey.mean()), 1.0))
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    steep = np.abs(down)
    edge = steep >= cv2.dilate(steep, np.ones((3, 1), np.uint8))
    level = np.clip(steep - 2 * np.abs(across) - 0.3, 0, 1) * edge
    run = np.clip(cv2.blur(level, (1 + width // 30, 1)) * 3 - 0.3, 0, 1)
    rows = 1 + height // 8
    lines = cv2.blur(level, (1 + width // 12, rows)) * rows
    run *= np.clip((4 - lines) / 1.5, 0, 1)
    thick = np.ones((1 + height // 160, 1), np.uint8)
    # A cap rises from the edge, so it is moved up by its thickness.
    lying = cv2.dilate(level * run, thick, anchor=(0, 0))
    return np.asarray(np.clip(cv2.blur(lying, (5, 3)) * 2, 0, 0.8), dtype=np.float32)
