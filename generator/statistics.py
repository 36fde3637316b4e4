"""Cheap statistics of a picture that tell weathers and lights apart, and what a variant did to them.

All are measured on a copy ``HEIGHT`` pixels high, so that the same street photographed by a better camera
gives nearly the same figures. No learned weights: thresholds on these say that it did snow, not how well.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from generator.pixels import Pixels
from pool.schema import BadInput

Bytes = NDArray[np.uint8]

HEIGHT = 240
NAMES: tuple[str, ...] = (
    "brightness",
    "contrast",
    "saturation",
    "haze",
    "warmth",
    "above",
    "afterglow",
    "whiteness",
    "detail",
    "streaks",
    "flecks",
    "lights",
)
"""What `measure` returns, in this order."""
RATIOS: frozenset[str] = frozenset({"contrast", "detail"})
"""Spreads: `change` gives the base-2 logarithm of their ratio, -1 = half as much is left."""

_FLOOR = 1e-3
"""Spreads below a quarter of a grey level count as that: what is flat has no ratio."""
_PATCH = 9
_FINE = 2.0
_THIN, _LONG = 7, 13
_LEANS = (-3, -2, -1, 0, 1, 2, 3)
"""Columns by which a streak may lean over ``_LONG`` rows: up to 14 degrees from the vertical."""
_FLECK = 16
"""Grey levels by which a fleck stands out."""


def measure(image: Pixels) -> dict[str, float]:
    """The statistics of an image (h, w, 3), by name.

    - ``brightness``: mean of CIE L*, [0, 1], higher = lighter.
    - ``contrast``: standard deviation of L*, [0, 0.5], higher = more.
    - ``saturation``: mean CIE chroma over 128, [0, 1], higher = more colour.
    - ``haze``: mean dark channel (He, Sun and Tang 2009), [0, 1], higher = more haze, or white things.
    - ``warmth``: mean of red minus blue, [-1, 1], higher = warmer.
    - ``above``: mean L* of the upper third minus that of the lower, [-1, 1], higher = lighter above.
    - ``afterglow``: warmth of the upper third minus that of the lower, [-1, 1], higher = warmer above.
    - ``whiteness``: share of the lower half that is light and without colour, soft, [0, 1], higher = snow.
    - ``detail``: standard deviation of what a Gaussian of 2 pixels takes from L*, [0, 0.5], higher = finer.
    - ``streaks``: mean of thin light lines within 14 degrees of the vertical, in L*, [0, 1], higher = rain.
    - ``flecks``: share of pixels in small light blobs, white top-hat, [0, 1], higher = more, as of snow.
    - ``lights``: share of pixels more than four times as bright as the mean, linear light, [0, 0.25],
      higher = more lamps in more darkness.

    Raises BadInput for anything but uint8 RGB.
    """
    small = _small(image)
    height = small.shape[0]
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    tone: Bytes = np.ascontiguousarray(lab[..., 0], dtype=np.uint8)
    light = tone.astype(np.float32) / np.float32(255)
    chroma = np.hypot(*(lab[..., k].astype(np.float32) - 128 for k in (1, 2)))
    warm = (small[..., 0].astype(np.float32) - small[..., 2]) / 255
    dark = cv2.erode(small.min(axis=2), np.ones((_PATCH, _PATCH), np.uint8))
    third, half = height // 3, height // 2
    white = np.clip((light[half:] - 0.6) * 5, 0, 1) * np.clip((20 - chroma[half:]) / 10, 0, 1)
    streaks, flecks = _falling(tone)
    values = (
        light.mean(),
        light.std(),
        chroma.mean() / 128,
        dark.mean() / 255,
        warm.mean(),
        light[:third].mean() - light[-third:].mean(),
        warm[:third].mean() - warm[-third:].mean(),
        white.mean(),
        (light - cv2.GaussianBlur(light, (0, 0), _FINE)).std(),
        streaks,
        flecks,
        _lights(light),
    )
    return {name: float(value) for name, value in zip(NAMES, values, strict=True)}


def change(parent: Pixels, variant: Pixels) -> dict[str, float]:
    """What a variant did to its parent, by statistic: its value minus the parent's.

    For the spreads in ``RATIOS`` it is log2(variant / parent), each taken as 0.001 at least, since what
    haze or night leaves of them depends on what there was. The two images may differ in size.
    """
    before, after = measure(parent), measure(variant)
    return {
        name: float(np.log2(max(after[name], _FLOOR) / max(before[name], _FLOOR)))
        if name in RATIOS
        else after[name] - before[name]
        for name in NAMES
    }


def _small(image: Pixels) -> Pixels:
    """The image at the common height, its shape kept unless it is a ribbon."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape) == 0:
        raise BadInput("image", "uint8 RGB, (height, width, 3)", (str(image.dtype), image.shape))
    height, width = image.shape[:2]
    if height == HEIGHT:
        return image
    size = (min(max(round(width * HEIGHT / height), 1), 6 * HEIGHT), HEIGHT)
    way = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=way))


def _falling(tone: Bytes) -> tuple[float, float]:
    """Mean of thin, steep, light lines, and share of small light blobs that are no such lines."""
    # Cameras and enlargers differ most in the finest grain.
    tone = np.asarray(cv2.GaussianBlur(tone, (0, 0), 1.0), dtype=np.uint8)
    across = cv2.morphologyEx(tone, cv2.MORPH_TOPHAT, np.ones((1, _THIN), np.uint8))
    lines = np.zeros_like(tone)
    for lean in _LEANS:
        np.maximum(lines, cv2.morphologyEx(across, cv2.MORPH_OPEN, _line(lean)), out=lines)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_THIN, _THIN))
    blobs = cv2.morphologyEx(tone, cv2.MORPH_TOPHAT, disc)
    flecks = cv2.subtract(blobs, lines) > _FLECK
    return float(lines.mean()) / 255, float(flecks.mean())


def _line(lean: int) -> Any:
    """A line through the middle of a kernel of odd sides: another anchor would let the border in."""
    kernel = np.zeros((_LONG, 7), np.uint8)
    cv2.line(kernel, (3 - lean // 2, _LONG - 1), (3 - lean // 2 + lean, 0), 1)
    return kernel


def _lights(light: NDArray[np.float32]) -> float:
    """Share of pixels more than four times as bright as the mean; at most a quarter (Markov)."""
    # CIE 1976: luminance of a lightness in [0, 1].
    luminance = np.where(light > 0.08, ((light + 0.16) / 1.16) ** 3, light / 9.033)
    return float((luminance > 4 * luminance.mean() + 1e-3).mean())
