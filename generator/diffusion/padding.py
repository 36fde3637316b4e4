"""Images of any size, for models that take only multiples of their own factor.

Pictures are padded at the right and bottom by their mirror image and cropped back, so no pixel moves:
boxes drawn on the source hold for the variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from generator.pixels import Boxes, Pixels, Plane

Size = tuple[int, int]
"""(width, height) in pixels."""
FEATHER = 4.0
"""Pixels over which protected boxes fade into what was painted around them."""


def padded(size: Size, factor: int) -> Size:
    """The smallest size that holds ``size`` and is a multiple of ``factor`` both ways."""
    width, height = size
    return -(-width // factor) * factor, -(-height // factor) * factor


def pad(image: Pixels, size: Size) -> Pixels:
    """The image, mirrored at its right and bottom edges until it is as large as ``size``."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, size[1] - height), (0, size[0] - width), (0, 0)), mode="reflect")


def crop(image: Pixels, size: Size) -> Pixels:
    """The top left part of the image, ``size`` large."""
    return np.ascontiguousarray(image[: size[1], : size[0]])


def resize(image: Pixels, size: Size) -> Pixels:
    """The image stretched to ``size``: averaged where it shrinks, Lanczos where it grows."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    shrinks = size[0] * size[1] < width * height
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4)
    return np.asarray(scaled, dtype=np.uint8)


def by_size(sizes: Sequence[Size]) -> Mapping[Size, list[int]]:
    """Each size and the positions that have it, in the order they came."""
    buckets: dict[Size, list[int]] = {}
    for position, size in enumerate(sizes):
        buckets.setdefault(size, []).append(position)
    return buckets


def inside(boxes: Boxes, size: Size) -> Plane:
    """1 for every pixel that a box touches, 0 elsewhere, shape (height, width)."""
    width, height = size
    plane = np.zeros((height, width), np.float32)
    edges = np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), 0.0, 1.0) * (width, height, width, height)
    # What is an edge in exact arithmetic must not claim one more pixel by rounding.
    starts, ends = np.floor(edges[:, :2] + 1e-6).astype(int), np.ceil(edges[:, 2:] - 1e-6).astype(int)
    for (left, top), (right, bottom) in zip(starts, ends, strict=True):
        plane[top:bottom, left:right] = 1.0
    return plane


def put_back(painted: Pixels, source: Pixels, boxes: Boxes) -> Pixels:
    """``painted`` with the source's own pixels in the boxes, exactly, and a short fade around them."""
    height, width = source.shape[:2]
    kept = inside(boxes, (width, height))
    if not kept.any():
        return painted
    distance = cv2.distanceTransform((kept == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(1.0 - distance / FEATHER, 0.0, 1.0).astype(np.float32)[..., None]
    mixed = share * source.astype(np.float32) + (1.0 - share) * painted.astype(np.float32)
    return np.asarray(np.rint(mixed), dtype=np.uint8)
