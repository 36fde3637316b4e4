"""Shares, ranks and caps against exact fractions, scipy's ranks and a greedy walk."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from generator.balance import blend, shares
from pool.schema import BadInput

names = st.lists(st.text(max_size=5), min_size=1, max_size=8, unique=True)
percent = st.integers(0, 100).map(lambda n: n / 100)


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, float], dict[str, int], list[str]]:
    conditions = draw(names)
    known = draw(st.lists(st.sampled_from(conditions), unique=True))
    errors = {name: draw(percent | st.just(math.nan)) for name in known}
    return errors, {name: draw(st.integers(0, 50)) for name in known}, conditions


@given(tables(), st.integers(0, 500), percent)
def test_shares_sum_up_and_nobody_starves(
    table: tuple[dict[str, float], dict[str, int], list[str]], total: int, floor: float
) -> None:
    made = shares(*table, total, floor=floor)
    assert list(made) == table[2]
    assert sum(made.values()) == total
    assert min(made.values()) >= math.floor(total * floor / len(table[2]) + 1e-9)


@given(tables(), st.integers(0, 500), percent)
def test_shares_are_within_one_of_the_formula(
    table: tuple[dict[str, float], dict[str, int], list[str]], total: int, floor: float
) -> None:
    errors, counts, conditions = table
    known = [Fraction(e) for e in errors.values() if not math.isnan(e)]
    middle = sum(known) / len(known) if known else Fraction(1)
    error = [middle if math.isnan(errors.get(c, math.nan)) else Fraction(errors[c]) for c in conditions]
    mean = Fraction(sum(counts.values()), len(conditions)) or Fraction(1)
    weight = [e / (1 + counts.get(c, 0) / mean) for e, c in zip(error, conditions, strict=True)]
    for name, w in zip(conditions, weight, strict=True):
        lead = w / sum(weight) if sum(weight) else Fraction(1, len(conditions))
        quota = total * (Fraction(floor) / len(conditions) + (1 - Fraction(floor)) * lead)
        assert abs(shares(*table, total, floor=floor)[name] - quota) < 1 + 1e-6


@given(tables(), st.integers(0, 500), st.data())
def test_weaker_gets_no_less_and_plenty_no_more(
    table: tuple[dict[str, float], dict[str, int], list[str]], total: int, data: st.DataObject
) -> None:
    errors, counts, conditions = table
    name = data.draw(st.sampled_from(conditions))
    full = {c: 0.5 if math.isnan(errors.get(c, math.nan)) else errors[c] for c in conditions}
    before = shares(full, counts, conditions, total)[name]
    weaker = {**full, name: data.draw(st.floats(full[name], 1))}
    assert shares(weaker, counts, conditions, total)[name] >= before
    more = {**counts, name: counts.get(name, 0) + data.draw(st.integers(0, 99))}
    # The mean count grows too, which moves the others against each other: one may round the other way.
    assert shares(full, more, conditions, total)[name] <= before + 1


def test_shares_by_hand() -> None:
    three = ["rain", "雪", "night"]
    assert shares({}, {}, three, 7) == {"rain": 3, "雪": 2, "night": 2}
    # parts .5/3 + .5 * (.2, .6, 0) / .8
    assert shares({"rain": 0.2, "雪": 0.6, "night": 0}, {}, three, 24) == {"rain": 7, "雪": 13, "night": 4}
    # Unknown is the mean, .4: equal weights where the known are equal.
    assert shares({"rain": 0.4, "雪": 0.4}, {}, three, 9, floor=0) == dict.fromkeys(three, 3)
    # n / m = 3, 0, 0: the weights are 1/4, 1, 1.
    assert shares({}, {"rain": 6}, three, 9, floor=0) == {"rain": 1, "雪": 4, "night": 4}
    assert shares(dict.fromkeys(three, 0.0), {}, three, 9, floor=0) == dict.fromkeys(three, 3)
    assert shares({"fog": 1}, {"fog": 9}, [], 0) == {}


BAD: list[Callable[[], object]] = [
    lambda: shares({}, {}, ["a", "a"], 1),
    lambda: shares({}, {}, [], 1),
    lambda: shares({}, {}, ["a"], -1),
    lambda: shares({}, {}, ["a"], 1, floor=1.1),
    lambda: shares({}, {}, ["a"], 1, floor=math.nan),
    lambda: shares({"a": 1.1}, {}, ["a"], 1),
    lambda: shares({}, {"a": -1}, ["a"], 1),
    lambda: blend(np.zeros(2), np.zeros(3), np.zeros(2, dtype=bool)),
]


@pytest.mark.parametrize("call", BAD)
def test_bad_input(call: Callable[[], object]) -> None:
    with pytest.raises(BadInput):
        call()


value = st.integers(0, 5).map(lambda n: n / 5) | st.just(math.nan)
rows = st.lists(st.tuples(value, value, st.booleans()), max_size=20)


@given(rows)
def test_blend_against_scipy(table: list[tuple[float, float, bool]]) -> None:
    error, uncertainty = (np.array([row[k] for row in table], dtype=np.float64) for k in (0, 1))
    labelled = np.array([row[2] for row in table], dtype=bool)
    rank = blend(error, uncertainty, labelled)
    for values, group in ((error, labelled), (uncertainty, ~labelled)):
        known = group & ~np.isnan(values)
        if known.any():
            assert rank[known] == pytest.approx((rankdata(values[known]) - 0.5) / known.sum())
            assert rank[known].mean() == pytest.approx(0.5)
        assert np.isneginf(rank[group & np.isnan(values)]).all()


@given(rows, st.floats(0.01, 100))
def test_neither_scale_counts(table: list[tuple[float, float, bool]], scale: float) -> None:
    error, uncertainty = (np.array([row[k] for row in table], dtype=np.float64) for k in (0, 1))
    labelled = np.array([row[2] for row in table], dtype=bool)
    same = blend(error * scale, np.exp(uncertainty * 3), labelled)
    assert np.array_equal(same, blend(error, uncertainty, labelled))
