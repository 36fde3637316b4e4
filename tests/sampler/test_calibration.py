"""Calibration against exact fractions, scikit-learn and plain loops, and on detectors of known chances."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression

from pool.schema import BadInput, NotReady
from sampler.calibration import (
    FEWEST,
    IDENTITY,
    LEAST,
    Calibration,
    Curve,
    d_ece,
    fit,
    la_ece,
    reliability,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
LABELS = ("bin", "café", "箱")
GRID = np.linspace(0, 1, 101)


def overconfident(n: int, seed: int) -> tuple[Floats, Bools]:
    """Boxes whose true chance is well below their score, and rises with it."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(1.2, 1, n)
    return scores, rng.random(n) < 0.85 * scores**2


# Scores on edges of bins, ties, and everything between.
score = st.one_of(st.floats(0, 1), st.sampled_from([i / 25 for i in range(26)]), st.just(float("nan")))
box = st.tuples(score, st.booleans(), st.floats(0.01, 1), st.sampled_from(LABELS))
boxes = st.lists(box, min_size=FEWEST, max_size=40)
Rows = list[tuple[float, bool, float, str]]


def columns(rows: Rows) -> tuple[Floats, Bools, Floats, list[str]]:
    scores = np.array([r[0] for r in rows], dtype=np.float64)
    hits = np.array([r[1] for r in rows], dtype=bool)
    return scores, hits, np.array([r[1] * r[2] for r in rows]), [r[3] for r in rows]


def fitted(rows: Rows, least: int = 5) -> Calibration:
    scores, hits, _, labels = columns(rows)
    seen = hits[~np.isnan(scores)]
    assume(len(seen) >= FEWEST and seen.any() and not seen.all())
    return fit(scores, hits, labels, least=least)


def rising(values: Sequence[Fraction], weights: Sequence[int]) -> list[Fraction]:
    """Isotonic regression by its max-min formula: max over a <= i of min over b >= i of mean(a..b)."""

    def mean(a: int, b: int) -> Fraction:
        total = sum(
            (v * w for v, w in zip(values[a : b + 1], weights[a : b + 1], strict=True)), Fraction(0)
        )
        return total / sum(weights[a : b + 1])

    n = len(values)
    return [max(min(mean(a, b) for b in range(i, n)) for a in range(i + 1)) for i in range(n)]


def exact(scores: Floats, hits: Bools) -> dict[float, Fraction]:
    """What the module docstring says, in fractions: the chance at every score that was seen."""
    x = sorted(set(scores.tolist()))
    n = [int((scores == s).sum()) for s in x]
    k = [int(hits[scores == s].sum()) for s in x]
    plain = rising([Fraction(a, b) for a, b in zip(k, n, strict=True)], n)
    levels = sorted(set(plain))
    size = [sum(b for b, level in zip(n, plain, strict=True) if level == at) for at in levels]
    good = [sum(a for a, level in zip(k, plain, strict=True) if level == at) for at in levels]
    shrunk = rising(
        [Fraction(a + 1, b + 2) for a, b in zip(good, size, strict=True)], [b + 2 for b in size]
    )
    return {s: shrunk[levels.index(level)] for s, level in zip(x, plain, strict=True)}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=FEWEST, max_size=40))
def test_the_curve_is_the_one_in_exact_fractions(rows: list[tuple[int, bool]]) -> None:
    scores, hits = np.array([r[0] / 12 for r in rows]), np.array([r[1] for r in rows])
    assume(hits.any() and not hits.all())
    curve = fit(scores, hits).shared
    expected = exact(scores, hits)
    at = np.array(list(expected))
    heights = np.array([float(v) for v in expected.values()])
    np.testing.assert_allclose(curve(at), heights, atol=1e-12)
    np.testing.assert_allclose(curve(GRID), np.interp(GRID, at, heights), atol=1e-12)


def test_on_many_boxes_the_curve_is_scikit_learn_s() -> None:
    scores, hits = overconfident(20_000, 1)
    ours = fit(scores, hits).shared(GRID)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, hits).predict(GRID)
    middle = slice(5, 96)  # at the ends few boxes speak, and there the two are meant to differ
    assert np.abs(ours - theirs)[middle].max() < 0.02
    assert np.abs(ours - theirs).mean() < 0.003


def test_a_few_boxes_make_nothing_certain() -> None:
    scores = np.linspace(0, 1, 40)
    curve = fit(scores, scores > 0.5).shared
    assert curve.y == pytest.approx((1 / 22, 1 / 22, 21 / 22, 21 / 22))
    twice = fit(np.tile(scores, 50), np.tile(scores > 0.5, 50)).shared
    assert twice.y[0] < 0.001 < 0.999 < twice.y[-1]  # many do


def test_a_lone_miss_at_the_bottom_lifts_nothing_above_it() -> None:
    """(0 + 1) / (1 + 2) is more than the stretch above it has: the two become one."""
    scores = np.concatenate(([0.0], np.full(100, 0.3), np.full(20, 0.9)))
    hits = np.concatenate(([0], np.arange(100) < 5, np.ones(20))).astype(bool)
    curve = fit(scores, hits).shared
    assert curve([0.0, 0.3]) == pytest.approx([7 / 105] * 2)


def test_stretches_that_differ_a_little_stay_two() -> None:
    scores, hits = np.repeat([0.3, 0.6], 1000), np.tile(np.arange(1000), 2) < np.repeat([500, 505], 1000)
    assert fit(scores, hits).shared == Curve((0.3, 0.6), (501 / 1002, 506 / 1002))


@settings(deadline=None, max_examples=30)
@given(boxes, st.randoms(use_true_random=False))
def test_rising_in_the_unit_interval_whatever_the_order_and_the_names(rows: Rows, random: Random) -> None:
    calibration = fitted(rows)
    for curve in (calibration.shared, *calibration.by_label.values()):
        heights = curve(np.union1d(GRID, curve.x))
        assert (np.diff(heights) >= -1e-15).all()
        assert 0 < heights[0] <= heights[-1] < 1
    mixed = list(rows)
    random.shuffle(mixed)
    assert fitted(mixed) == calibration
    renamed = fitted([(*row[:3], f"Z{row[3]}") for row in rows])
    assert renamed.shared == calibration.shared
    assert renamed.by_label == {f"Z{name}": curve for name, curve in calibration.by_label.items()}


@settings(deadline=None, max_examples=30)
@given(boxes)
def test_it_survives_json_to_the_last_bit(rows: Rows) -> None:
    calibration = fitted(rows)
    assert Calibration.from_dict(json.loads(json.dumps(calibration.as_dict()))) == calibration


@settings(deadline=None, max_examples=30)
@given(boxes)
def test_columns_give_what_each_box_gets_alone(rows: Rows) -> None:
    scores, _, _, labels = columns(rows)
    calibration = fitted(rows)
    names = ["stranger", *LABELS]
    index = np.array([names.index(label) for label in labels], dtype=np.int16)
    alone = [
        float(calibration.by_label.get(b, calibration.shared)(s))
        for s, b in zip(scores, labels, strict=True)
    ]
    np.testing.assert_array_equal(calibration.apply_columns(scores, index, names), alone)
    np.testing.assert_array_equal(calibration.apply(scores, labels), alone)
    np.testing.assert_array_equal(calibration.apply(scores), calibration.shared(scores))
    nobody = np.full(len(scores), -1)
    np.testing.assert_array_equal(
        calibration.apply_columns(scores, nobody, names), calibration.shared(scores)
    )
    np.testing.assert_array_equal(np.isnan(alone), np.isnan(scores))


def test_a_label_has_its_own_curve_from_enough_boxes_on() -> None:
    scores, hits = overconfident(2 * LEAST - 1, 2)
    labels = ["many"] * LEAST + ["few"] * (LEAST - 1)
    calibration = fit(scores, hits, labels)
    assert set(calibration.by_label) == {"many"}
    assert calibration.by_label["many"] == fit(scores[:LEAST], hits[:LEAST]).shared
    assert calibration.boxes == 2 * LEAST - 1
    assert calibration.apply([0.5] * 2, ["few", "new"]).tolist() == [float(calibration.shared(0.5))] * 2
    assert fit(scores, hits).by_label == {}


def test_a_label_that_always_hits_has_a_curve_and_no_certainty() -> None:
    scores, hits = overconfident(100, 3)
    calibration = fit(
        np.append(scores, scores), np.append(hits, [True] * 100), ["a"] * 100 + ["b"] * 100, least=50
    )
    assert calibration.apply([0.1, 0.9], ["b", "b"]) == pytest.approx([101 / 102] * 2)


def test_boxes_without_a_score_are_left_out() -> None:
    scores, hits = overconfident(300, 4)
    names = [LABELS[i % 3] for i in range(300)]
    holes = np.append(scores, [np.nan] * 50)
    more, ious = np.append(hits, [True] * 50), np.append(hits * 0.8, [0.9] * 50)
    assert fit(holes, more, [*names, *["bin"] * 50], least=50) == fit(scores, hits, names, least=50)
    assert d_ece(holes, more) == d_ece(scores, hits)
    assert la_ece(holes, ious, [*names, *["ghost"] * 50]) == la_ece(scores, hits * 0.8, names)
    assert reliability(holes, more).count.sum() == 300


def test_the_identity_changes_nothing() -> None:
    assert np.array_equal(IDENTITY.apply(GRID, ["bin"] * 101), GRID)
    assert IDENTITY.shared([[-1.0, 2.0], [np.nan, 0.25]]) == pytest.approx(
        np.array([[0.0, 1.0], [np.nan, 0.25]]), nan_ok=True
    )
    assert IDENTITY.apply([]).shape == IDENTITY.apply_columns([], [], []).shape == (0,)


@pytest.mark.parametrize("n", [500, 4000])
def test_an_overconfident_detector_is_put_right_on_boxes_that_the_fit_never_saw(n: int) -> None:
    calibration = fit(*overconfident(n, 5))
    fresh, hits = overconfident(20_000, 6)
    assert d_ece(fresh, hits) > 0.1
    assert d_ece(calibration.apply(fresh), hits) < 0.04
    truly = 0.85 * fresh**2
    assert np.abs(calibration.apply(fresh) - truly).mean() < 0.05


def test_labels_that_err_in_opposite_ways_need_their_own_curves() -> None:
    rng = np.random.default_rng(7)

    def draw(n: int) -> tuple[Floats, Bools, list[str]]:
        scores, shy = rng.random(n), rng.random(n) < 0.5
        hits = rng.random(n) < np.where(shy, np.sqrt(scores), scores**3)
        return scores, hits, ["shy" if s else "bold" for s in shy]

    scores, hits, labels = draw(4000)
    calibration = fit(scores, hits, labels)
    fresh, found, kinds = draw(20_000)
    ious = found.astype(float)
    assert la_ece(calibration.apply(fresh), ious, kinds) > 0.15
    assert la_ece(calibration.apply(fresh, kinds), ious, kinds) < 0.04


def naive(scores: Floats, worth: Floats, bins: int) -> float:
    total = 0.0
    for j in range(bins):
        low, high = np.linspace(0, 1, bins + 1)[j : j + 2]
        mine = [i for i, s in enumerate(scores) if (low < s <= high) or (j == 0 and s == 0)]
        if mine:
            gap = abs(np.mean(scores[mine]) - np.mean(worth[mine]))
            total += len(mine) / len(scores) * float(gap)
    return total


@settings(deadline=None, max_examples=30)
@given(st.lists(box, min_size=1, max_size=40), st.integers(1, 30))
def test_the_errors_are_those_of_plain_loops(rows: Rows, bins: int) -> None:
    rows = [r for r in rows if not np.isnan(r[0])]
    assume(rows)
    scores, hits, ious, labels = columns(rows)
    assert d_ece(scores, hits, bins) == pytest.approx(naive(scores, hits.astype(float), bins), abs=1e-12)
    by_label = []
    for name in set(labels):
        own = np.array([b == name for b in labels])
        by_label.append(naive(scores[own], ious[own], bins))
    assert la_ece(scores, ious, labels, bins) == pytest.approx(np.mean(by_label), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.lists(box, min_size=1, max_size=40), st.integers(2, 4))
def test_errors_stay_when_boxes_are_doubled_moved_or_named_otherwise(rows: Rows, times: int) -> None:
    scores, hits, ious, labels = columns(rows)
    plain, fitting = d_ece(scores, hits), la_ece(scores, ious, labels)
    many = np.tile(scores, times)
    assert d_ece(many, np.tile(hits, times)) == pytest.approx(plain, nan_ok=True)
    assert la_ece(many, np.tile(ious, times), labels * times) == pytest.approx(fitting, nan_ok=True)
    order = np.argsort(ious)
    assert d_ece(scores[order], hits[order]) == pytest.approx(plain, nan_ok=True)
    renamed = [f"Z{labels[i]}" for i in order]
    assert la_ece(scores[order], ious[order], renamed) == pytest.approx(fitting, nan_ok=True)


def test_localisation_counts_even_where_precision_is_right() -> None:
    scores, hits = np.full(100, 0.9), np.arange(100) < 90
    assert d_ece(scores, hits) == pytest.approx(0)
    assert la_ece(scores, hits * 0.7, ["bin"] * 100) == pytest.approx(0.9 - 0.9 * 0.7)


def test_without_boxes_there_is_no_error_to_tell() -> None:
    assert np.isnan([d_ece([], []), la_ece([], [], []), d_ece([np.nan], [True])]).all()
    empty = reliability([], [], 4)
    assert empty.low.tolist() == [0, 0.25, 0.5, 0.75]
    assert empty.count.tolist() == [0] * 4
    assert np.isnan([empty.confidence, empty.precision, empty.lower, empty.upper]).all()


@settings(deadline=None, max_examples=30)
@given(st.lists(box, min_size=1, max_size=80), st.integers(1, 20))
def test_reliability_is_that_of_scikit_learn_and_scipy(rows: Rows, bins: int) -> None:
    rows = [r for r in rows if not np.isnan(r[0])]
    assume(rows)
    scores, hits, _, _ = columns(rows)
    found = reliability(scores, hits, bins)
    full = found.count > 0
    precision, confidence = calibration_curve(hits, scores, n_bins=bins, pos_label=True)
    np.testing.assert_allclose(found.precision[full], precision)
    np.testing.assert_allclose(found.confidence[full], confidence)
    assert np.isnan(found.precision[~full]).all()
    assert found.count.sum() == len(rows)
    for i in np.flatnonzero(full):
        n = int(found.count[i])
        interval = binomtest(round(found.precision[i] * n), n).proportion_ci(method="wilson")
        assert (found.lower[i], found.upper[i]) == pytest.approx((interval.low, interval.high), abs=1e-9)
    gaps = found.count[full] * np.abs(found.confidence - found.precision)[full]
    assert d_ece(scores, hits, bins) == pytest.approx(gaps.sum() / len(rows), abs=1e-12)


def test_a_score_on_an_edge_belongs_to_the_lower_bin() -> None:
    assert reliability([0.0, 0.5, 0.5001, 1.0], [True] * 4, 2).count.tolist() == [2, 2]
    assert d_ece([0.4, 0.5, 0.6], [True, False, False], 2) == pytest.approx((0.1 + 0.6) / 3)


def test_too_little_says_how_much_is_missing() -> None:
    with pytest.raises(NotReady, match=f"{FEWEST - 3} missing"):
        fit([0.1, 0.5, 0.9, np.nan], [False, True, True, True])
    with pytest.raises(NotReady, match="20 missing"):
        fit([], [])
    with pytest.raises(NotReady, match="none misses, and 1 must"):
        fit([0.5] * 30, [True] * 30)
    with pytest.raises(NotReady, match="none hits, and 1 must"):
        fit([0.5] * 30, [False] * 30)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scores": [0.5, 1.1] * 10}, "scores"),
        ({"scores": [0.5, np.inf] * 10}, "scores"),
        ({"scores": [[0.5, 0.5]] * 10}, "scores"),
        ({"hits": [True]}, "hits"),
        ({"labels": ["bin"]}, "labels"),
        ({"least": 0}, "least"),
    ],
)
def test_what_cannot_be_fitted_is_named(change: dict[str, object], says: str) -> None:
    fine = {"scores": [0.5, 0.9] * 10, "hits": [True, False] * 10, "labels": ["bin"] * 20}
    with pytest.raises(BadInput, match=f"^{says} "):
        fit(**(fine | change))  # type: ignore[arg-type]


def test_what_cannot_be_measured_or_applied_is_named() -> None:
    with pytest.raises(BadInput, match="ious"):
        la_ece([0.5], [1.5], ["bin"])
    with pytest.raises(BadInput, match="ious"):
        la_ece([0.5], [np.nan], ["bin"])
    with pytest.raises(BadInput, match="labels"):
        la_ece([0.5], [0.5], [])
    with pytest.raises(BadInput, match="bins"):
        d_ece([0.5], [True], 0)
    with pytest.raises(BadInput, match="bins"):
        reliability([0.5], [True], 0)
    with pytest.raises(BadInput, match="labels"):
        IDENTITY.apply([0.5, 0.6], ["bin"])
    for index in ([1], [-2], [0.0]):
        with pytest.raises(BadInput, match="label_index"):
            IDENTITY.apply_columns([0.5], index, ["bin"])


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((), ()),
        ((0.0, 1.0), (0.5,)),
        ((1.0, 0.0), (0.0, 1.0)),
        ((0.0, 1.0), (1.0, 0.0)),
        ((0.0, float("nan")), (0.0, 1.0)),
        ((0.0, 1.0), (0.0, 1.5)),
        ((0.0, 1.0), (-0.5, 1.0)),
    ],
)
def test_what_is_no_curve_is_named(x: tuple[float, ...], y: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="curve"):
        Curve(x, y)
    with pytest.raises(BadInput, match="curve"):
        Calibration.from_dict({"shared": {"x": x, "y": y}, "by_label": {}, "boxes": 0})
