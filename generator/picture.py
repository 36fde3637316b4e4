"""Is a picture a picture at all, and is it another one than its parent?"""

from __future__ import annotations

import cv2
import numpy as np

from generator.pixels import Pixels

_BLOCKS = 8
_QUIET = 0.2
_SMALL = 64


def tones(picture: Pixels) -> tuple[float, float]:
    """Luminance of the darkest and the brightest hundredth of the pixels, 0 to 255."""
    dark, bright = np.percentile(_grey(picture), (1.0, 99.0)).tolist()
    return dark, bright


def noise(picture: Pixels) -> float:
    """Standard deviation of the noise in the quietest fifth of a picture, in grey levels.

    Immerkaer (1996), "Fast noise variance estimation", in each of 8 x 8 blocks: the mean absolute answer to
    a mask that is blind to slopes. Rain, snow and foliage leave quiet places, noise everywhere does not.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    answer = np.abs(cv2.filter2D(_grey(picture).astype(np.float32), cv2.CV_32F, mask))
    blocks = np.asarray(cv2.resize(answer, (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA), np.float32)
    return float(np.quantile(blocks, _QUIET) * np.sqrt(np.pi / 2.0) / 6.0)


def difference(one: Pixels, other: Pixels) -> float:
    """Mean distance of colours of two pictures at 64 x 64 pixels, in units of CIELAB (CIE 1976).

    That small, neither grain nor compression counts: what changed is light or colour.
    """
    first, second = _lab(one), _lab(other)
    return float(np.linalg.norm(first - second, axis=2).mean())


def _grey(picture: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _lab(picture: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    small = cv2.resize(picture, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), dtype=np.float32)
