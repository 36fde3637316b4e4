"""What a ControlNet looks at: a picture's edges, depths or rough colours, made without learned weights.

Models of the SD 1.5 family were trained on pictures of these kinds; each function here says how near
its own come to them.
"""

from __future__ import annotations

import cv2
import numpy as np

from generator.depth import estimate
from generator.pixels import Pixels, Plane
from generator.recipe import ControlKind
from pool.schema import BadInput

_TILE = 8
_SPREAD = 0.33


def image(kind: ControlKind, picture: Pixels) -> Pixels:
    """The conditioning image (h, w, 3), RGB, of a picture of the same size; the same for each call.

    - ``canny``: edges white on black, by Canny (1986), with thresholds about the picture's median.
    - ``soft edge``: broad grey edges on black: the length of the smoothed gradient. This is not HED nor
      PiDiNet, the learned detectors that such models were trained on: it has no sense of what an object is.
    - ``tile``: the picture without detail, as of an eighth of its size.
    - ``depth``: near is white, far is black, in inverse depth as MiDaS gives it, from the prior
      `generator.depth.estimate`.

    Raises BadInput for another kind, and for anything but uint8 RGB.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or min(picture.shape) == 0:
        raise BadInput("picture", "uint8 RGB, (height, width, 3)", (str(picture.dtype), picture.shape))
    match kind:
        case "canny":
            return _three(_canny(picture))
        case "soft edge":
            return _three(_soft_edge(picture))
        case "depth":
            return _three(_stretched(1.0 / estimate(picture)))
        case "tile":
            return _tile(picture)
    raise BadInput("kind", "canny, depth, soft edge or tile", kind)


def _three(grey: Pixels) -> Pixels:
    return np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))


def _grey(picture: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _canny(picture: Pixels) -> Pixels:
    smooth = np.asarray(cv2.GaussianBlur(_grey(picture), (0, 0), 1.0), dtype=np.uint8)
    # At night the median is near 0, and thresholds of 0 would make edges of grain.
    middle = max(float(np.median(smooth)), 24.0)
    low, high = (1.0 - _SPREAD) * middle, min(255.0, (1.0 + _SPREAD) * middle)
    return np.asarray(cv2.Canny(smooth, low, high, L2gradient=True), dtype=np.uint8)


def _soft_edge(picture: Pixels) -> Pixels:
    """The longest gradient of the three colours, after a blur of a 400th of the picture's shorter side."""
    sigma = max(1.0, min(picture.shape[:2]) / 400.0)
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    length = np.hypot(dx, dy).max(axis=2)
    # The strongest hundredth is white; a picture without edges of a few grey levels stays black.
    white = max(float(np.percentile(length, 99.0)), 32.0)
    return np.asarray(np.rint(255.0 * np.clip(length / white, 0.0, 1.0)), dtype=np.uint8)


def _stretched(plane: Plane) -> Pixels:
    """Lowest 0, highest 255; one grey where all is alike."""
    low, high = float(plane.min()), float(plane.max())
    if high - low < 1e-6:
        return np.full(plane.shape, 128, dtype=np.uint8)
    return np.asarray(np.rint(255.0 * (plane - low) / (high - low)), dtype=np.uint8)


def _tile(picture: Pixels) -> Pixels:
    height, width = picture.shape[:2]
    small = (max(1, width // _TILE), max(1, height // _TILE))
    rough = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
