"""Which images are kept apart for measuring, forever."""

from __future__ import annotations

import hashlib

from pool.schema import BadInput


def is_holdout(root: str, share: float) -> bool:
    """Whether the images that descend from ``root`` belong to the frozen holdout.

    A hash of the root's id decides, nothing else: the answer is the same on every machine, in any
    order and at any size of the pool, and all variants of an image fall on its side. ``share`` in
    [0, 1] is the expected part of the images; raising it only adds to the holdout.

    >>> [is_holdout("a" * 64, share) for share in (0.0, 0.5, 0.99, 1.0)]
    [False, False, True, True]
    """
    if not 0.0 <= share <= 1.0:
        raise BadInput("holdout share", "in [0, 1]", share)
    return draw(root) < share


def draw(root: str) -> float:
    """A number in [0, 1) that depends on ``root`` alone, uniform over roots."""
    digest = hashlib.sha256(b"thresher holdout 1\0" + root.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)
