"""Replays that were never played, with curves as they are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.replay import Round, Run


def run(name: str, seed: int, heights: Sequence[float], boxes: int = 2) -> Run:
    """Ten images a round with so many boxes each."""
    rounds = [Round(10 * i, 20 + 10 * boxes * (i - 1), h, h, 1.0) for i, h in enumerate(heights, 1)]
    return Run(name, seed, tuple(rounds))


def played(seeds: int, **gains: float) -> list[Run]:
    """``random`` rises by a tenth a round; the others by so many times as much, with a little chance."""
    rng = np.random.default_rng(0)
    out = []
    for seed in range(seeds):
        start = 0.2 + 0.01 * seed
        for name, times in {"random": 1.0, "count": 1.0, **gains}.items():
            noise = np.append(0, rng.normal(0, 0.002, 4))
            out.append(run(name, seed, (start + 0.1 * times * np.arange(5) + noise).tolist()))
    return out
