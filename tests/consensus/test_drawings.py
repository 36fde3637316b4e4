"""Charts as XML: their geometry against numpy and by hand, and nothing unescaped in them."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from consensus.drawings import (
    SIDES,
    edges,
    few,
    finite,
    histogram,
    interval,
    lines,
    moment,
    short,
    signed,
    sparkline,
    sweep,
    trend,
)
from consensus.heatmap import STEPS, heat, heatmap
from tests.consensus.document import EVIL, rate, sample

NOT_NUMBERS: tuple[Any, ...] = (None, math.nan, math.inf, "1", True)


def numbers(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+?) ([^ML]+)", path)]


def named(drawing: str, tag: str, name: str) -> list[Element]:
    return [e for e in fromstring(drawing).iter(tag) if name in (e.get("class") or "").split()]


def said(drawing: str) -> list[str]:
    return [e.text or "" for e in fromstring(drawing).iter("text")]


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_no_number_is_undefined(value: object) -> None:
    assert finite(value) is None


@given(st.lists(st.one_of(st.none(), st.floats(0, 1), st.just(math.nan), st.sampled_from([0.3, 0.7, 1.0]))))
def test_histogram_counts_as_numpy_does_with_a_bar_for_full_agreement(scores: list[float | None]) -> None:
    known = np.array([s for s in scores if s is not None and not math.isnan(s)])
    expected = np.bincount(np.floor(known[known < 1] * 10).astype(int), minlength=10)[:10].tolist()
    expected.append(int((known == 1).sum()))
    bars = named(histogram(scores, "t"), "rect", "bar")
    assert len(bars) == 11
    tall = np.array([float(bar.get("height", "nan")) for bar in bars])
    most = max(expected)
    assert tall == pytest.approx(np.array(expected) / (most or 1) * tall.max(), abs=0.01)
    assert (tall.max() > 0) == (most > 0)
    titles = [int(re.sub(r".*: |,| images", "", bar[0].text or "")) for bar in bars]
    assert titles == expected


def test_a_curve_is_broken_where_it_is_not_known_and_ends_with_its_name() -> None:
    drawing = lines([0, 1, 2, 3], {"F1 " + EVIL: [0.0, 1.0, None, 0.5], "x": [math.nan] * 4}, {0: "a"}, "t")
    curve, empty = named(drawing, "path", "curve")
    assert [step[0] for step in re.findall(r"[ML]\S+ [^ML]+", curve.get("d", ""))] == ["M", "L", "M"]
    places = numbers(curve.get("d", ""))
    assert places[0][1] > places[2][1] > places[1][1]  # up is more
    assert places[2][1] == pytest.approx((places[0][1] + places[1][1]) / 2, abs=0.02)
    assert empty.get("d") == ""
    assert len(named(drawing, "circle", "point")) == 3
    assert "F1 " + EVIL in said(drawing)
    assert "x" not in said(drawing)


def test_curves_that_end_at_the_same_place_have_names_beside_each_other() -> None:
    drawing = lines([0, 1], {"one": [0, 0.5], "two": [0, 0.5], "three": [0, 0.51]}, {}, "t")
    places = sorted(float(e.get("y", "nan")) for e in named(drawing, "text", "name"))
    assert min(np.diff(places)) >= 13.9


@given(
    st.lists(st.floats(-1, 1.0), min_size=1, max_size=9),
    st.lists(st.one_of(st.none(), st.floats(-1, 1)), min_size=9, max_size=9),
)
def test_no_point_leaves_the_drawing(one: list[float], other: list[float | None]) -> None:
    drawing = lines(list(range(len(one))), {"a": one, "b": other[: len(one)]}, {0: "start"}, "t")
    _, _, width, height = map(float, fromstring(drawing).get("viewBox", "").split())
    for circle in named(drawing, "circle", "point"):
        assert 0 <= float(circle.get("cx", "nan")) <= width
        assert 0 <= float(circle.get("cy", "nan")) <= height


def test_the_sweep_marks_the_overlap_in_use() -> None:
    rows = sample(4)["sweep"]
    drawing = sweep(list(reversed(rows)), 0.5)
    (rule,) = named(drawing, "path", "rule")
    k = [row["tau"] for row in rows].index(0.5)
    score = named(drawing, "path", "s0")[0]
    assert numbers(rule.get("d", ""))[0][0] == numbers(score.get("d", ""))[k][0]
    assert not named(sweep(rows, 0.05), "path", "rule")


def test_weeks_of_few_images_are_hollow() -> None:
    rows = sample(4)["trend"]
    expected = sum(row["samples"] < 20 for row in rows)
    assert 0 < expected < len(rows)
    assert len(named(trend(rows), "circle", "hollow")) == 2 * expected
    assert len(named(trend(rows), "circle", "point")) == 2 * len(rows)
    assert {"2026-01-05", "2026-02-23"} <= set(said(trend(rows)))
    assert said(trend(rows[:1])).count("2026-01-05") == 1


def test_nothing_to_draw_is_an_empty_chart() -> None:
    for drawing in (
        trend([]),
        sweep([], 0.5),
        histogram([], "t"),
        sparkline([], "t"),
        heatmap([], {}, "f1"),
    ):
        assert fromstring(drawing).tag == "svg"
        assert not named(drawing, "circle", "point")


def test_days_and_times_are_places_in_time() -> None:
    assert moment("2026-01-06T00:00:00+00:00") - moment("2026-01-05T00:00:00+00:00") == 86400


def test_a_rate_is_a_bar_with_its_interval() -> None:
    drawing = interval({"value": 0.1, "low": 0.05, "high": 0.4, "count": 1, "of": 10}, 0.2, "Missed")
    (bar,), (whisker,) = named(drawing, "rect", "bar"), named(drawing, "path", "whisker")
    assert float(bar.get("width", "nan")) == pytest.approx(30)
    low, high = re.findall(r"M(\S+) 7H([\d.]+)", whisker.get("d", ""))[0]
    assert [float(low), float(high)] == pytest.approx([15, 60])  # the scale ends at .2
    assert interval(rate(None), 0.2, "Missed") == ""
    assert not named(interval({**rate(0.1), "low": None}, 0.2, "Missed"), "path", "whisker")


@given(st.tuples(*[st.floats(-0.12, 0.12)] * 4))
def test_edges_move_outwards_for_loose_and_inwards_for_tight(shift: tuple[float, ...]) -> None:
    drawing = edges(dict(zip(SIDES, shift, strict=True)), EVIL)
    (drawn,), (truth,) = named(drawing, "rect", "drawn"), named(drawing, "rect", "truth")
    a, b = ([float(e.get(k, "nan")) for k in ("x", "y", "width", "height")] for e in (drawn, truth))
    moved = (b[0] - a[0], b[1] - a[1], a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3])
    expected = [s * 3 * b[2 + k % 2] for k, s in enumerate(shift)]
    assert moved == pytest.approx(expected, abs=0.03)


def test_an_edge_far_off_or_unknown_still_fits() -> None:
    drawing = edges({"left": 40.0, "top": -40.0, "right": None, "bottom": math.nan}, "Anna")
    (drawn,) = named(drawing, "rect", "drawn")
    assert float(drawn.get("x", "nan")) >= 0
    assert float(drawn.get("height", "nan")) > 0
    assert said(drawing) == ["+4000.0 %", "−4000.0 %", "–", "–"]


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0.0 %"), (-0.0001, "0.0 %"), (0.052, "+5.2 %"), (-0.052, "−5.2 %"), (-0.0006, "−0.1 %")],
)
def test_shares_have_signs(share: float, words: str) -> None:
    assert signed(share) == words


def test_the_heat_map_is_symmetric_and_greys_few_images() -> None:
    row: dict[str, Any] = {"f1": 0.87, "iou": 0.9, "low": 0.8, "high": 0.9, "samples": 40}
    rows = {(0, 1): row, (0, 2): {**row, "samples": 19, "f1": 0.1}, (1, 2): {**row, "f1": None}}
    drawing = heatmap(["Anna", EVIL, "陈伟" * 20], rows, "f1")
    cells = {e.get("data-pair"): e for e in fromstring(drawing).iter("a")}
    assert set(cells) == {"0 1", "1 0", "0 2", "2 0", "1 2", "2 1"}
    tones = {pair: cell[1].get("class") for pair, cell in cells.items()}
    assert tones["0 1"] == tones["1 0"] == "h6"
    assert tones["0 2"] == tones["2 0"] == "few"
    assert cells["1 2"][-1].text == "–"
    assert (
        cells["0 1"][0].text == f"Anna and {EVIL}: F1 0.87 (95 % interval 0.80 to 0.90), 40 shared images"
    )
    centre = [(float(cells[p][1].get("x", "")), float(cells[p][1].get("y", ""))) for p in ("0 1", "1 0")]
    assert centre[0] == centre[1][::-1]
    assert "95 %" not in heatmap(["a", "b"], {(0, 1): row}, "iou")


def test_heat_rises_with_agreement() -> None:
    tones = [heat(v) for v in np.linspace(0, 1, 101)]
    assert tones == sorted(tones)
    assert Counter(tones).keys() == set(range(len(STEPS) + 1))
    assert [few(n) for n in (None, 0, 19, 20)] == [True, True, True, False]


@given(st.floats(-1e4, 1e4))
def test_short_coordinates_are_close(number: float) -> None:
    assert float(short(number)) == pytest.approx(number, abs=0.0051)
