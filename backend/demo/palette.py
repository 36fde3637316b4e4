"""Choosing and changing colours."""

from __future__ import annotations

import numpy as np

from backend.demo.canvas import Colour
from backend.demo.solids import Size


def choose(
    rng: np.random.Generator, colours: tuple[Colour, ...], spread: Size = (0.88, 1.08), most: float = 244
) -> Colour:
    """One of these colours, made darker or lighter by a chance factor, no channel above ``most``."""
    r, g, b = np.clip(np.array(colours[int(rng.integers(len(colours)))]) * rng.uniform(*spread), 0, most)
    return float(r), float(g), float(b)


def times(colour: Colour, factor: float) -> Colour:
    """A colour darker (factor < 1) or lighter."""
    return min(colour[0] * factor, 250), min(colour[1] * factor, 250), min(colour[2] * factor, 250)


def plus(colour: Colour, step: float) -> Colour:
    """A colour with the same added to each channel."""
    return min(colour[0] + step, 250), min(colour[1] + step, 250), min(colour[2] + step, 250)
