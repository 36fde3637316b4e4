"""Intervals against drawing images in a loop, and against a truth that is known."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest

from consensus import tallies as room
from consensus.study import study
from consensus.tallies import FEW, MEASURED, Tallies, intervals, tally
from pool.schema import BadInput
from tests.consensus.simulation import job


def population(images: int = 1000) -> Tallies:
    return tally(study(job(images, seed=11).sheet))


def test_intervals_need_two_images_and_sound_settings() -> None:
    alone = population(20).select(np.array([3]))
    assert all(map(math.isnan, itertools.chain(*intervals(alone).values())))
    for settings_ in ({"draws": 0}, {"level": 0.0}, {"level": 1.0}, {"level": math.nan}):
        with pytest.raises(BadInput, match=r"draws|level"):
            intervals(alone, **settings_)


def test_intervals() -> None:
    made = population(300)
    figures, found = asdict(made.figures()), intervals(made)
    assert tuple(found) == MEASURED
    assert found == intervals(made)
    wide = intervals(made, level=0.99)
    few = intervals(made.select(np.arange(FEW)))
    other = intervals(made, seed=1)
    for name, (low, high) in found.items():
        assert low < figures[name] < high
        assert wide[name][0] < low < high < wide[name][1]
        assert few[name][1] - few[name][0] > 2 * (high - low)
        assert other[name] == pytest.approx((low, high), abs=0.2 * (high - low))


def test_intervals_are_those_of_drawing_images_one_by_one() -> None:
    """The same spread as figures of images drawn in a loop; images that one person saw do not matter."""
    made = population(40)
    rng = np.random.default_rng(2)
    loop = [asdict(made.select(rng.integers(0, 40, 40)).figures()) for _ in range(1000)]
    lonely = replace(made, rows=np.vstack([made.rows, np.zeros((10, made.rows.shape[1]))]))
    found = intervals(made)
    for name in MEASURED:
        low, high = np.quantile([figures[name] for figures in loop], [0.025, 0.975])
        assert found[name] == pytest.approx((low, high), abs=0.15 * (high - low))
    assert intervals(lonely) == found


def test_blocks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = population(50)
    at_once = intervals(made, draws=100)
    monkeypatch.setattr(room, "AT_ONCE", 7 * 50)  # seven draws at a time, and two are left
    assert np.array(list(intervals(made, draws=100).values())) == pytest.approx(
        np.array(list(at_once.values())), abs=1e-12
    )


def test_intervals_hold_the_truth() -> None:
    """Projects of 60 images out of a thousand: nineteen of twenty intervals hold what all say."""
    made = population()
    truth = asdict(made.figures())
    rng = np.random.default_rng(4)
    trials = 300
    held = Counter[str]()
    for k in range(trials):
        found = intervals(made.select(rng.integers(0, len(made.samples), 60)), draws=300, seed=k)
        held.update(name for name, (low, high) in found.items() if low <= truth[name] <= high)
    for name in MEASURED:
        assert 0.89 <= held[name] / trials <= 0.985
