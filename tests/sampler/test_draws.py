"""Draws that two numbers repeat."""

from __future__ import annotations

import numpy as np
from scipy.stats import kstest

from sampler.draws import draw, scramble


def test_the_sequence_is_splitmix64s() -> None:
    """First outputs of the published generator for the seed 1234567."""
    golden, word = 0x9E3779B97F4A7C15, (1 << 64) - 1
    found = [scramble((1234567 + place * golden) & word) for place in (1, 2, 3, 4, 5)]
    assert found == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_draws_are_uniform_and_those_of_two_seeds_or_places_are_strangers() -> None:
    rows = np.array([[draw(seed, place) for place in range(4000)] for seed in (0, 1, 2**64 - 1, -5)])
    assert ((rows >= 0) & (rows < 1)).all()
    assert all(kstest(row, "uniform").pvalue > 1e-3 for row in rows)
    between = [np.corrcoef(a, b)[0, 1] for i, a in enumerate(rows) for b in rows[:i]]
    along = [np.corrcoef(row[:-1], row[1:])[0, 1] for row in rows]
    assert np.abs(between + along).max() < 0.06


def test_a_draw_is_repeated() -> None:
    assert draw(7, 1000) == draw(7, 1000) != draw(7, 1001)
