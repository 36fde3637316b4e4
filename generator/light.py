"""Other light on the same picture: dim day, dusk, night, street lamps, glare. All in linear light.

These are plausible, not measured: a photograph does not say what its lamps would show, nor where. Darkness
is an exposure, its noise that of a sensor, its blue that of the eye's rods (Purkinje 1825), lamplight
falls off with the square of the distance, and glare follows the eye's and lens's point spread.
"""

from __future__ import annotations

import cv2
import numpy as np

from generator.depth import EYE, FAR, FOCAL, HORIZON
from generator.outdoors import LUMA, Light, check, decode, encode
from generator.pixels import Pixels, Plane

RODS = np.array([0.05, 0.60, 0.35], dtype=np.float32)
"""Weights of linear sRGB in what the rods see, near CIE 1951 V'(lambda): blue counts, red hardly."""
MOONLIT = np.array([0.72, 0.94, 1.6], dtype=np.float32)
"""Colour in which rods' light is shown, green about 1."""
SODIUM = np.array([1.0, 0.62, 0.26], dtype=np.float32)
"""Colour of a warm street lamp, linear."""
READ = 6.0
"""Read noise in electrons."""
REACH = 0.35
"""Lamplight, as a share of daylight, that a fiftieth of the picture has at least."""
LAMP_HEIGHT = 4.6
"""Metres over the ground."""

_HALF = np.float32(0.5)


def dim(image: Pixels, depth: Plane, rng: np.random.Generator) -> Pixels:
    """A dark overcast day, (h, w, 3): 1.2 to 1.5 stops less, flat, with little colour."""
    check(image, depth, "light")
    light = decode(image)
    wide = _wide(light, 0.12)
    # Light from all sides: the larger differences of brightness, which are sun and shade, shrink.
    even = ((wide @ LUMA).mean() + 1e-3) / (wide @ LUMA + 1e-3)
    light = light * np.clip(even, 0.25, 4)[..., None] ** np.float32(0.35)
    light = _toward(light, (light @ LUMA)[..., None], 0.4) * np.array([0.97, 1.0, 1.05], np.float32)
    return _exposed(light * np.float32(2 ** -rng.uniform(1.2, 1.5)), 9000, rng)


def dusk(image: Pixels, depth: Plane, rng: np.random.Generator) -> Pixels:
    """After sunset, (h, w, 3): 1.6 to 2.0 stops less, cool below, the sky orange over the horizon."""
    check(image, depth, "light")
    light = decode(image)
    rows = _rows(light.shape[0])
    grey = (light @ LUMA)[..., None]
    cool, warm = np.array([0.86, 0.80, 1.45], np.float32), np.array([1.75, 0.86, 0.70], np.float32)
    # What faces the afterglow, the high and the light, takes its colour; shade is lit by the zenith.
    facing = np.clip(grey * 1.2 + (HORIZON + 0.12 - rows) * 1.6, 0, 1)
    lit = (
        _toward(light, grey, 0.3)
        * (cool + facing * (warm - cool))
        * np.float32(2 ** -rng.uniform(1.6, 2.0))
    )
    glow = np.array([0.80, 0.34, 0.14], np.float32) * np.float32(rng.uniform(0.75, 1.0))
    zenith = np.array([0.055, 0.06, 0.16], np.float32)
    low = np.clip(rows / HORIZON, 0, 1) ** 2
    sky = (zenith + low * (glow - zenith)) * (0.6 + 0.5 * grey)
    return _exposed(lit + _sky(depth) * (sky - lit), 5000, rng)


def night(image: Pixels, depth: Plane, rng: np.random.Generator) -> Pixels:
    """Night without lamps near, (h, w, 3): 2.8 to 3.4 stops less, bluish, noisy, the sky darkest."""
    check(image, depth, "light")
    return _exposed(_darkness(decode(image), depth, rng.uniform(2.8, 3.4)), 1400, rng)


def street_lamp(image: Pixels, depth: Plane, rng: np.random.Generator) -> Pixels:
    """Night under one to three warm street lamps, (h, w, 3), with pools of light and their bloom.

    Lamps hang over upright things if the picture has some, at the depth that is seen there.
    """
    check(image, depth, "light")
    light = decode(image)
    dark = _darkness(light, depth, rng.uniform(4.0, 4.6))
    lamps = _lamps(light, depth, rng)
    lamplight = _lamplight(depth, lamps)[..., None]
    # Wherever chance hung the lamps, the picture is of a lit street.
    lamplight *= np.float32(max(1.0, REACH / max(float(np.quantile(lamplight, 0.98)), 1e-3)))
    out = dark + light * SODIUM * lamplight * (1 - _sky(depth))
    return _exposed(out + _bloom(depth, lamps) * SODIUM, 1500, rng)


def glare(image: Pixels, depth: Plane, rng: np.random.Generator) -> Pixels:
    """A low sun in or just over the picture, (h, w, 3), whose veil washes out contrast.

    The veil falls as 1 / angle^2 around the sun (Stiles and Holladay; CIE 146:2002), and a share of its
    light goes everywhere, as reflections between the surfaces of a lens do.
    """
    check(image, depth, "light")
    height, width = image.shape[:2]
    column, row = rng.uniform(0.15, 0.85) * width, rng.uniform(-0.08, 0.16) * height
    x = (np.arange(width, dtype=np.float32) - np.float32(column)) / np.float32(FOCAL * height)
    y = (np.arange(height, dtype=np.float32) - np.float32(row)) / np.float32(FOCAL * height)
    angle = np.degrees(np.arctan(np.hypot(x[None, :], y[:, None])))
    veil = point_spread(angle) * np.float32(rng.uniform(10.0, 14.0)) + np.float32(rng.uniform(0.10, 0.14))
    sun = np.array([1.0, 0.95, 0.84], np.float32)
    # The camera closes a little, and what faces it is lit from behind.
    return encode(decode(image) * np.float32(0.85) + veil[..., None] * sun)


def point_spread(angle: Plane) -> Plane:
    """Veiling luminance at ``angle`` degrees from a source, up to a factor: 1 / (angle^2 + 2^2).

    Stiles and Holladay's 1 / angle^2, which holds from about 1 to 30 degrees, without its pole.
    """
    return np.asarray(1 / (angle * angle + np.float32(4)), dtype=np.float32)


def grain(light: Light, electrons: float, rng: np.random.Generator) -> Light:
    """Linear light with a sensor's noise: variance light / electrons + (READ / electrons)^2.

    ``electrons`` is what white yields: fewer where an exposure is starved, and the noise grows. Photons
    (Poisson, here their normal limit) and reading out (Healey and Kondepudy 1994).
    """
    deviation = np.sqrt(np.maximum(light, 0) / np.float32(electrons) + np.float32((READ / electrons) ** 2))
    return np.asarray(light + deviation * rng.standard_normal(light.shape, dtype=np.float32))


def _exposed(light: Light, electrons: float, rng: np.random.Generator) -> Pixels:
    """Bytes of linear light with noise; white yields ``electrons`` in each pixel of a picture 480 high.

    All pixels of a sensor share its light: a smaller picture has less noise in each, up to half or twice.
    """
    share = min(max(480 / light.shape[0], 0.5), 2.0) ** 2
    return encode(grain(light, electrons * share, rng))


def _toward(light: Light, other: Light, share: float) -> Light:
    return np.asarray(light + np.float32(share) * (other - light), dtype=np.float32)


def _rows(height: int) -> Light:
    """Height in the picture (h, 1, 1), 0 = top, 1 = bottom."""
    return (np.arange(height, dtype=np.float32)[:, None, None] + _HALF) / np.float32(height)


def _sky(depth: Plane) -> Light:
    """How much each pixel is sky, (h, w, 1) in [0, 1]: what is three quarters of ``FAR`` away or more."""
    return np.clip(depth / np.float32(0.2 * FAR) - np.float32(3.75), 0, 1)[..., None]


def _wide(light: Light, share: float) -> Light:
    """A wide blur, ``share`` of the height, worked out on a small copy."""
    height, width = light.shape[:2]
    size = (max(width * 48 // height, 4), 48)
    small = cv2.GaussianBlur(cv2.resize(light, size, interpolation=cv2.INTER_AREA), (0, 0), share * 48)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _darkness(light: Light, depth: Plane, stops: float) -> Light:
    """The scene ``stops`` darker as rods see it, with a little of its colour; a sky darker still."""
    rods = (light @ RODS)[..., None] * MOONLIT
    dark = _toward(light, rods, 0.7) * np.float32(2**-stops)
    return np.asarray(dark * (1 - 0.6 * _sky(depth)), dtype=np.float32)


def _lamps(light: Light, depth: Plane, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Column, row and distance of each lamp; it may hang over the picture's upper edge."""
    height, width = depth.shape
    upper = light[: max(height // 2, 1)] @ LUMA
    across = np.abs(np.diff(upper, axis=1, prepend=upper[:, :1])).mean(axis=0)
    chance = across + across.mean() + 1e-6
    lamps: list[tuple[float, float, float]] = []
    for column in rng.choice(width, size=int(rng.integers(1, 4)), p=chance / chance.sum()):
        seen = float(np.median(depth[height // 3 : height // 2 + 1, column]))
        away = min(max(seen * rng.uniform(0.6, 0.95), 3.0), 25.0)
        row = (HORIZON - (LAMP_HEIGHT - EYE) * FOCAL / away) * height
        lamps.append((float(column), row, away))
    return lamps


def _lamplight(depth: Plane, lamps: list[tuple[float, float, float]]) -> Plane:
    """Illumination (h, w) by all lamps, 1 = daylight: inverse square, and a cone about straight down."""
    height, width = depth.shape
    focal = np.float32(FOCAL * height)
    column = np.arange(width, dtype=np.float32)[None, :]
    up = (np.float32(HORIZON * height) - np.arange(height, dtype=np.float32)[:, None]) / focal * depth
    total = np.zeros_like(depth)
    for at, _, away in lamps:
        aside = (column - np.float32(width / 2)) / focal * depth - np.float32(
            (at - width / 2) / focal * away
        )
        down = np.maximum(np.float32(LAMP_HEIGHT - EYE) - up, 0)
        square = aside * aside + down * down + (depth - np.float32(away)) ** 2
        total += (
            np.float32(11.0) * (down / np.sqrt(square + np.float32(0.05))) ** 1.5 / (square + np.float32(2))
        )
    return np.minimum(total, np.float32(1.2))


def _bloom(depth: Plane, lamps: list[tuple[float, float, float]]) -> Light:
    """Glow (h, w, 1) of the lamps themselves: a core and two halos, as large as they are near."""
    height, width = depth.shape
    y, x = np.ogrid[:height, :width]
    total = np.zeros_like(depth)
    for column, row, away in lamps:
        size = np.float32((0.25 * FOCAL * height / away) ** 2)
        square = ((x - np.float32(column)) ** 2 + (y - np.float32(row)) ** 2).astype(np.float32) / size
        total += 2.5 * np.exp(-square) + 0.25 / (1 + square / 4) ** 1.5
    return total[..., None]
