"""How far away things are in one photograph, guessed without any learned weights.

This is a prior and no measurement: it assumes a camera held level at eye height over flat ground, lets
every column of the picture leave the ground where its colours change, and takes what is up there, bright
and without texture for sky. It orders the depths of street photographs well enough for haze to thicken
with distance; nobody should measure with it.

Sources: the ground plane of a level pinhole camera, depth = eye x focal / (row - horizon); ground against
vertical surfaces as in Hoiem, Efros and Hebert (2005); the dark channel as a cue of distance and the
refinement by guided filter, He, Sun and Tang (2009, 2010).
"""

from __future__ import annotations

import cv2
import numpy as np

from generator.pixels import Pixels, Plane

EYE = 1.6
"""Height of the camera over the ground, in metres."""
FOCAL = 1.2
"""Focal length as a share of the picture's height: a phone held upright or across."""
HORIZON = 0.38
"""Row of eye level as a share of the picture's height: people point cameras down at the street."""
NEAR, FAR = 1.0, 60.0
"""The range of depths, in units near to metres; the sky is ``FAR``."""

_HEIGHT = 120
_BREAK = 7.0
"""Least difference of colour (CIE76) between what is below and above that may end the ground."""
_SUM = 22.0
"""Differences that add up to this leave 1 / e of the belief that the ground goes on."""
_SHARED = 0.4
"""How far the columns share their beliefs: a wall stands across the street, not in one column."""
_LEAN = 5.0
"""Units by which a standing surface recedes over the picture's height: what is higher is rather further."""


def estimate(image: Pixels) -> Plane:
    """Guessed depth (h, w) of an image, ``NEAR`` to ``FAR``, larger = further; a prior, not a measurement.

    The same image gives the same depths, whatever they are worth: on a picture without ground or sky
    (a wall, a face) they are a smooth fall from the bottom to the top.
    """
    height, width = image.shape[:2]
    size = (min(max(round(width * _HEIGHT / height), 8), 6 * _HEIGHT), _HEIGHT)
    way = cv2.INTER_AREA if height > _HEIGHT else cv2.INTER_LINEAR
    small: Pixels = np.asarray(cv2.resize(image, size, interpolation=way), dtype=np.uint8)
    lab: Plane = np.asarray(
        cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32
    )
    sky = _sky(lab, small)
    depth = np.clip(_standing(lab) * _hazier(small, sky), NEAR, FAR)
    depth += sky * (np.float32(FAR) - depth)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    # Filtered in logarithms: a blur of metres would let the sky reach over the roofs.
    guide: Plane = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    coefficients = guided(guide, np.log(depth), radius=5, epsilon=1e-3)
    a, b = (cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in coefficients)
    return np.asarray(np.exp(np.clip(a * grey + b, np.log(NEAR), np.log(FAR))), dtype=np.float32)


def guided(guide: Plane, plane: Plane, radius: int, epsilon: float) -> tuple[Plane, Plane]:
    """The guided filter's coefficients: ``plane`` becomes a x guide + b (He, Sun and Tang 2010).

    ``radius`` is half the box in pixels, ``epsilon`` the variance of the guide below which it is smoothed
    over. Both results have the guide's shape; they may be enlarged before they are used (He and Sun 2015).
    """
    mean_guide, mean_plane = _box(guide, radius), _box(plane, radius)
    covariance = _box(guide * plane, radius) - mean_guide * mean_plane
    variance = np.maximum(_box(guide * guide, radius) - mean_guide * mean_guide, 0)
    a: Plane = np.asarray(covariance / (variance + np.float32(epsilon)), dtype=np.float32)
    return _box(a, radius), _box(mean_plane - a * mean_guide, radius)


def ground(height: int) -> Plane:
    """Depth of flat ground seen in each row (height,), at most ``FAR``; ``FAR`` above the horizon."""
    rows = (np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height)
    below = np.maximum(rows - np.float32(HORIZON), np.float32(EYE * FOCAL / FAR))
    return np.asarray(np.float32(EYE * FOCAL) / below, dtype=np.float32)


def _standing(lab: Plane) -> Plane:
    """Depth of the ground, and above it that of the foot of whatever ends it in each column.

    Going up a column the ground recedes at the rate of the flat plane, times the belief that it is still
    ground, which every change of colour lowers.
    """
    height, width = lab.shape[:2]
    tall, wide = 5, max(width // 5, 3) | 1
    mean = cv2.blur(lab, (wide, tall), borderType=cv2.BORDER_REFLECT)
    gap = tall // 2 + 1
    padded = np.pad(mean, ((gap, gap), (0, 0), (0, 0)), mode="edge")
    jump = np.linalg.norm(padded[2 * gap :] - padded[: -2 * gap], axis=2)
    against = np.maximum(jump - np.float32(_BREAK), 0) / np.float32(_SUM * tall / 2)
    against += np.float32(_SHARED) * (against.mean(axis=1, keepdims=True) - against)
    belief = np.exp(-np.cumsum(against[::-1], axis=0))[::-1]
    rate = np.abs(np.diff(ground(height), append=ground(height)[-1:]))
    receding = (rate[:, None] * belief + np.float32(_LEAN / height) * (1 - belief))[::-1]
    return np.asarray(ground(height)[-1] + np.cumsum(receding, axis=0)[::-1], dtype=np.float32)


def _sky(lab: Plane, small: Pixels) -> Plane:
    """Belief (h, w) in [0, 1] that a pixel is sky: joined to the top, bright or blue, without texture."""
    height = lab.shape[0]
    light, blue = lab[..., 0], -lab[..., 2]
    edges = cv2.blur(cv2.morphologyEx(light, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), (5, 3))
    bright = np.maximum((light - 62) / 18, (blue - 8) / 14 + (light - 50) / 30)
    plain = 1 - (edges - 4) / 10
    # Stone and render are as bright as a grey sky, but warmer.
    cool = 1 + (blue + 1) / 5
    like = np.clip(bright, 0, 1) * np.clip(plain, 0, 1) * np.clip(cool, 0, 1)
    above = np.clip((1.3 * HORIZON - np.arange(height, dtype=np.float32) / height) * 10, 0, 1)
    joined = np.minimum.accumulate(cv2.blur(like, (5, 3)), axis=0)
    return np.asarray(cv2.blur(np.clip(2 * joined, 0, 1), (5, 3)) * above[:, None], dtype=np.float32)


def _hazier(small: Pixels, sky: Plane) -> Plane:
    """A factor (h, w) about 1: what has a lighter dark channel than its row may be further away."""
    channel = cv2.erode(small.min(axis=2), np.ones((7, 7), np.uint8))
    dark = _box(channel.astype(np.float32) / np.float32(255), 4)
    return np.asarray(np.exp(0.5 * (dark - dark.mean(axis=1, keepdims=True))) * (1 - sky) + sky)


def _box(plane: Plane, radius: int) -> Plane:
    side = 2 * radius + 1
    return np.asarray(cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT), dtype=np.float32)
