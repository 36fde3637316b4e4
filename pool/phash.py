"""Perceptual hashes: 64 bits that hardly change when a picture is resized or re-encoded.

The hash keeps which of the 64 slowest waves of the picture (two-dimensional cosine transform of its
32 x 32 greys, without the constant ones) are stronger than their median. It is the method known as
pHash; the number of differing bits of two hashes says how unlike two pictures are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 64
_SIDE = 32
_WAVES = 8


def perceptual_hash(picture: Image.Image) -> int:
    """Hash of a picture of mode L, RGB or RGBA, in [0, 2**64); transparency counts as white.

    A picture of one colour has no waves and hashes to 0.
    """
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    small = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    waves = _cosines() @ np.asarray(small, dtype=np.float64) @ _cosines().T
    # Rounding keeps the last bits of floating point, which differ by machine, out of the answer.
    slow = np.round(waves[1 : _WAVES + 1, 1 : _WAVES + 1], 3).ravel()
    bits = slow > np.median(slow)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_duplicates(phash: int, phashes: NDArray[np.uint64], distance: int) -> NDArray[np.bool_]:
    """Which of ``phashes``, shape (n,), differ from ``phash`` in at most ``distance`` of 64 bits."""
    return distances(phash, phashes) <= distance


def distances(phash: int, phashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of differing bits from each of ``phashes``, shape (n,), in [0, 64].

    >>> distances(0b1011, np.array([0b1011, 0b0011, 0], dtype=np.uint64)).tolist()
    [0, 1, 3]
    """
    # Bits are counted in parallel within each word: pairs, nibbles, bytes, then their sum.
    word = np.uint64(phash) ^ phashes.astype(np.uint64)
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    twos = np.uint64(0x3333333333333333)
    word = (word & twos) + ((word >> np.uint64(2)) & twos)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return ((word * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.int64)


def _cosines() -> NDArray[np.float64]:
    """The orthonormal cosine transform (type II) as a matrix, shape (32, 32)."""
    step = np.arange(_SIDE)
    matrix = np.sqrt(2.0 / _SIDE) * np.cos(np.pi * step[:, None] * (2 * step[None, :] + 1) / (2 * _SIDE))
    matrix[0] /= np.sqrt(2.0)
    return np.asarray(matrix)
