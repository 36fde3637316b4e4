"""Scenes of handwritten digits on soft backgrounds, 64 pixels wide, with exact boxes.

The digits are those that scikit-learn ships (1,797 of them, 8 pixels wide); nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pool.schema import Box, Region

SIDE = 64
Row = tuple[str, Path, tuple[Region, ...]]
Pixels = NDArray[np.float32]


class Writing:
    """Handwritten digits by class: those of one hand for the pool, of another for the test."""

    def __init__(self, test: bool) -> None:
        from sklearn.datasets import load_digits

        drawn = load_digits()
        mine = (np.arange(len(drawn.target)) % 3 == 0) == test
        self._of = {d: drawn.images[mine & (drawn.target == d)] / 16 for d in range(10)}

    def ink(self, digit: int, side: int, rng: np.random.Generator) -> Pixels:
        """A digit as ink in [0, 1], ``side`` pixels high, without empty margins; tens are right angles."""
        shapes = self._of[digit % 10]
        shape = np.rot90((shapes[rng.integers(len(shapes))] * 255).astype(np.uint8), digit // 10)
        rows, columns = np.flatnonzero(shape.max(1) > 60), np.flatnonzero(shape.max(0) > 60)
        tight = shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        width = max(round(side * tight.shape[1] / tight.shape[0] * rng.uniform(0.8, 1.2)), 5)
        big = Image.fromarray(tight).resize((width, side), Image.Resampling.BILINEAR)
        return np.asarray(np.asarray(big) / 255, dtype=np.float32)


def texture(rng: np.random.Generator, strength: float) -> Pixels:
    """A background (64, 64, 3) of soft patches and noise, in [0, 1]."""
    coarse = rng.uniform(0, 255, (6, 6, 3)).astype(np.uint8)
    soft = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    base = rng.uniform(0.25, 0.75, 3) + strength * (np.asarray(soft, dtype=np.float32) / 255 - 0.5)
    return np.asarray(base + rng.normal(0, 0.03, (SIDE, SIDE, 3)), dtype=np.float32)


def scene(
    writing: Writing, digits: Sequence[int], hard: bool, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], tuple[Region, ...]]:
    """Pixels, and a box around each digit; a digit that finds no free place is left out."""
    pixels = texture(rng, 0.4 if hard else 0.15)
    placed: list[tuple[int, int, int, int]] = []
    regions = []
    if hard:  # strokes that are no digits
        for _ in range(int(rng.integers(1, 4))):
            x, y = rng.integers(0, SIDE - 12, 2)
            long = int(rng.integers(6, 16))
            area = (
                (slice(y, y + 2), slice(x, x + long))
                if rng.random() < 0.5
                else (slice(y, y + long), slice(x, x + 2))
            )
            pixels[area] += rng.choice([-1, 1]) * rng.uniform(0.2, 0.4)
    for digit in digits:
        side = int(rng.integers(13, 21) if hard else rng.integers(22, 30))
        ink = writing.ink(digit, side, rng)
        height, width = ink.shape
        for _ in range(20):
            x, y = int(rng.integers(0, SIDE - width)), int(rng.integers(0, SIDE - height))
            if all(x >= b[2] or y >= b[3] or x + width <= b[0] or y + height <= b[1] for b in placed):
                break
        else:
            continue
        placed.append((x, y, x + width, y + height))
        contrast = rng.uniform(0.3, 0.55) if hard else rng.uniform(0.5, 0.7)
        colour = rng.choice([-1, 1]) * contrast * rng.uniform(0.7, 1.0, 3)
        pixels[y : y + height, x : x + width] += ink[:, :, None] * colour
        box = Box(x / SIDE, y / SIDE, (x + width) / SIDE, (y + height) / SIDE)
        regions.append(Region(str(digit), box))
    return (np.clip(pixels, 0, 1) * 255).astype(np.uint8), tuple(regions)


def draw(
    folder: Path,
    n: int,
    seed: int,
    classes: Sequence[int],
    shares: Sequence[float],
    easy: float,
    *,
    test: bool = False,
) -> list[Row]:
    """``n`` scenes as files; ``easy`` of them show one large digit, outside the test a common one."""
    folder.mkdir(parents=True)
    writing, rng, rows = Writing(test), np.random.default_rng(seed), []
    odds = np.asarray(shares) / np.sum(shares)
    for number in range(n):
        hard = bool(rng.random() >= easy)
        count = int(rng.integers(2, 5)) if hard else 1
        few = odds if hard or test else np.where(np.arange(len(odds)) < 2, odds, 0) / odds[:2].sum()
        pixels, regions = scene(writing, [int(d) for d in rng.choice(classes, count, p=few)], hard, rng)
        path = folder / f"{number:04}.png"
        Image.fromarray(pixels).save(path)
        rows.append((f"{number:04}", path, regions))
    return rows
