"""Drawn street scenes under simple weather, and the ways in which a variant can go wrong."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.demo.scenes import render
from generator.pixels import Boxes, Pixels
from pool.boxes import to_array

Floats = NDArray[np.float32]


def street(seed: int, size: tuple[int, int] = (320, 240)) -> tuple[Pixels, Boxes, tuple[str | None, ...]]:
    """A drawn scene, the boxes in it and their labels."""
    scene = render(seed, size)
    return (
        scene.image,
        to_array([region.box for region in scene.regions]),
        tuple(region.label for region in scene.regions),
    )


def _bytes(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(np.rint(values * 255.0), 0, 255), dtype=np.uint8)


def _through(picture: Pixels, density: float, air: tuple[float, float, float]) -> Pixels:
    """Seen through air that is thicker for what is higher up in the picture, that is, further away."""
    share = np.linspace(1.0, 0.0, picture.shape[0], dtype=np.float32)[:, None, None]
    seen = np.exp(-density * (0.25 + share))
    return _bytes(picture / 255.0 * seen + np.array(air) * (1.0 - seen))


def haze(picture: Pixels, seed: int) -> Pixels:
    return _through(picture, 1.1, (0.74, 0.75, 0.76))


def fog(picture: Pixels, seed: int) -> Pixels:
    return _through(picture, 2.2, (0.8, 0.81, 0.81))


def sand(picture: Pixels, seed: int) -> Pixels:
    return _through(picture, 1.4, (0.78, 0.56, 0.3))


def night(picture: Pixels, seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    dark = (picture / 255.0) ** 1.2 * np.array([0.15, 0.18, 0.26])
    return _bytes(dark + rng.normal(0.0, 0.008, picture.shape))


def dusk(picture: Pixels, seed: int) -> Pixels:
    return _bytes(picture / 255.0 * np.array([0.62, 0.5, 0.5]))


def rain(picture: Pixels, seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    height, width = picture.shape[:2]
    streaks = np.zeros((height, width), np.float32)
    for x, y, long in zip(
        rng.uniform(0, width, 150), rng.uniform(0, height, 150), rng.uniform(6, 16, 150), strict=True
    ):
        end = (int(x + 0.15 * long), int(y + long))
        cv2.line(streaks, (int(x), int(y)), end, float(rng.uniform(0.4, 1.0)), 1, cv2.LINE_AA)
    grey = picture.mean(axis=2, keepdims=True)
    wet = (0.7 * picture + 0.3 * grey) / 255.0 * 0.68
    return _bytes(wet * 0.9 + 0.055 + 0.3 * streaks[..., None])


def snow(picture: Pixels, seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    height, width = picture.shape[:2]
    flakes = np.zeros((height, width), np.float32)
    for x, y, r in zip(
        rng.integers(0, width, 200), rng.integers(0, height, 200), rng.integers(0, 2, 200), strict=True
    ):
        cv2.circle(flakes, (int(x), int(y)), int(r), float(rng.uniform(0.4, 1.0)), -1)
    cover = np.clip(cv2.resize(rng.random((8, 10)).astype(np.float32), (width, height)) * 3 - 1.4, 0, 0.7)
    cover[: height // 2] = 0.0
    pale = picture / 255.0 * 0.8 + 0.14
    cover = np.maximum(cover, 0.8 * cv2.GaussianBlur(flakes, (3, 3), 0.6))[..., None]
    return _bytes(pale * (1 - cover) + 0.95 * cover)


CONDITIONS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "haze": haze,
    "fog": fog,
    "sandstorm": sand,
    "night": night,
    "dusk": dusk,
    "rain": rain,
    "snow": snow,
}


def _pixels(picture: Pixels, box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = box
    return float(x1 * width), float(y1 * height), float(x2 * width), float(y2 * height)


def _warped(picture: Pixels, matrix: list[list[float]]) -> Pixels:
    size = (picture.shape[1], picture.shape[0])
    moved = cv2.warpAffine(picture, np.array(matrix, np.float32), size, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, dtype=np.uint8)


def moved(picture: Pixels, box: NDArray[np.float64], share: float) -> Pixels:
    """The picture shifted by a share of the box's sides, at least two pixels to the side."""
    x1, y1, x2, y2 = _pixels(picture, box)
    return _warped(picture, [[1, 0, max(2.0, share * (x2 - x1))], [0, 1, 0.8 * share * (y2 - y1)]])


def scaled(picture: Pixels, box: NDArray[np.float64], factor: float) -> Pixels:
    """The picture drawn larger or smaller around the middle of the box."""
    x1, y1, x2, y2 = _pixels(picture, box)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return _warped(picture, [[factor, 0, x * (1 - factor)], [0, factor, y * (1 - factor)]])


def painted_out(picture: Pixels, box: NDArray[np.float64], share: float = 1.0) -> Pixels:
    """The upper part of the box filled in from what is around it."""
    x1, y1, x2, y2 = _pixels(picture, box)
    mask = np.zeros(picture.shape[:2], np.uint8)
    bottom = y1 + share * (y2 - y1) + (2 if share == 1.0 else 0)
    mask[max(0, int(y1) - 2) : int(np.ceil(bottom)), max(0, int(x1) - 2) : int(x2) + 3] = 1
    return np.asarray(cv2.inpaint(picture, mask, 5, cv2.INPAINT_TELEA), dtype=np.uint8)
