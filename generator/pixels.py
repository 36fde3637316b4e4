"""What pictures are in this room: arrays of RGB bytes, and the kinds of fields computed from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""An image, shape (height, width, 3), RGB."""
Plane = NDArray[np.float32]
"""One number per pixel, shape (height, width)."""
Boxes = NDArray[np.float64]
"""Upright boxes, shape (n, 4), normalised x1, y1, x2, y2 in [0, 1]."""
