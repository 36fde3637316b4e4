"""Haze and sandstorm: light that is lost in the air, and light that the air adds.

Koschmieder's law (1924), I = J t + A (1 - t) with t = exp(-beta d), in linear light: J is the scene's
radiance, A that of the air, d the distance. The meteorological visibility V is where the contrast of a
black object has fallen to 2 %, so beta = ln(50) / V = 3.912 / V (WMO-No. 8, volume I, chapter 9).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np

from generator.outdoors import LUMA, Light, check, clamped, decode, encode
from generator.pixels import Pixels, Plane
from generator.weather import Severity

HAZE: Mapping[Severity, float] = MappingProxyType({"light": 120.0, "moderate": 65.0, "heavy": 38.0})
"""Visibility in the units of depth. Far less than the kilometre of a meteorologist's fog: the things that
are labelled stand within a dozen metres, and thinner air would not change them."""
SAND: Mapping[Severity, float] = MappingProxyType({"light": 110.0, "moderate": 65.0, "heavy": 40.0})
"""The same, of blowing dust."""
OCHRE = np.array([1.0, 0.64, 0.34], dtype=np.float32)
"""Colour of airborne mineral dust in linear light, red = 1: it takes blue away (a convention)."""
GUSTS = 0.3
"""Standard deviation of the logarithm of the dust's density."""


def extinction(visibility: float) -> float:
    """beta in 1/m of a visibility in m: ln(50) / V, a contrast of 2 % at V."""
    return math.log(50) / visibility


def transmission(depth: Plane, visibility: float) -> Plane:
    """Share of the light (h, w), in [0, 1], that comes through air of this visibility."""
    return np.asarray(np.exp(-np.float32(extinction(visibility)) * depth), dtype=np.float32)


def haze(image: Pixels, depth: Plane, severity: Severity, rng: np.random.Generator) -> Pixels:
    """The picture through haze, (h, w, 3); ``depth`` (h, w) in metres, ``severity`` of ``HAZE``.

    ``rng`` gives the visibility its scatter of a tenth. Raises BadInput for shapes that do not match and
    unknown severities.
    """
    check(image, depth, severity)
    light = decode(image)
    passed = transmission(clamped(depth), HAZE[severity] * float(np.exp(rng.normal(0, 0.1))))[..., None]
    return encode(light * passed + airlight(light) * (1 - passed))


def sandstorm(image: Pixels, depth: Plane, severity: Severity, rng: np.random.Generator) -> Pixels:
    """The picture through blowing dust, (h, w, 3), in gusts; arguments and errors as of `haze`.

    Dust also dims and warms what lights the scene, and its wide forward scattering blurs what is far.
    """
    check(image, depth, severity)
    light = decode(image)
    gusts = np.exp(np.float32(GUSTS) * turbulence((image.shape[0], image.shape[1]), rng))
    passed = transmission(clamped(depth) * gusts, SAND[severity])
    # Sunlight has come through the same dust: the thicker, the less blue is left.
    thick = SAND["light"] / SAND[severity]
    sunlight = OCHRE ** np.float32(0.12 * thick) * np.float32(0.85**thick)
    bright = float(airlight(light) @ LUMA)
    air = OCHRE * np.float32(0.45 * bright / float(OCHRE @ LUMA)) * (gusts ** np.float32(0.3))[..., None]
    blurred = _scattered(light * sunlight, 1 - passed)
    return encode(blurred * passed[..., None] + air * (1 - passed)[..., None])


def airlight(light: Light) -> Light:
    """Radiance (3,) of haze over a scene in linear light (h, w, 3), 0.3 to 0.75, nearly grey.

    The mean of the thousandth of pixels with the lightest dark channel (He, Sun and Tang 2009), held within
    the range of a daylight sky, since a picture may show none.
    """
    dark = cv2.erode(light.min(axis=2), np.ones((7, 7), np.uint8))
    haziest = light[dark >= float(np.quantile(np.asarray(dark), 0.999))].mean(axis=0)
    grey = float(haziest @ LUMA)
    level = min(max(grey, 0.3), 0.75)
    tint = np.clip(haziest / max(grey, 1e-3), 0.8, 1.2)
    # A wall can be the haziest place of a picture, and its colour is not the air's.
    return np.asarray(level * (1 + 0.25 * (tint - 1)), dtype=np.float32)


def turbulence(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """Noise (h, w) of mean 0 and standard deviation 1: five falling octaves, drawn out sideways."""
    height, width = shape
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(5):
        grid = rng.standard_normal((3 * 2**octave, 2 * 2**octave)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / np.float32(2**octave)
    total -= total.mean()
    return np.asarray(total / max(float(total.std()), 1e-6), dtype=np.float32)


def _scattered(light: Light, lost: Plane) -> Light:
    """Blurred where light is ``lost`` on the way (h, w): at most a pixel and a half per 240 rows."""
    blurred = cv2.GaussianBlur(light, (0, 0), max(light.shape[0] / 160, 0.3))
    return np.asarray(light + (0.7 * lost[..., None]) * (blurred - light), dtype=np.float32)
