"""Routes as a table of cases; sentences word by word, and whatever a label holds."""

from __future__ import annotations

import itertools
import math
import random
import unicodedata
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput, Box, Prediction, Region, Route
from sampler.routing import REASONS, confidence, explain, route

FULL = Box(0.0, 0.0, 1.0, 1.0)


def seen(*boxes: tuple[str | None, float | None], background: float = 0.0) -> Prediction:
    regions = tuple(Region(label, FULL, score=score) for label, score in boxes)
    return Prediction("0" * 64, "v1", regions, ("garbage",), background=background)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("sure", [True, False])
def test_routes(double: bool, sure: bool) -> None:
    for selected in (True, False):
        assert route(holdout=True, selected=selected, double=double, sure=sure) == "double"
    asked: Route = "double" if double else "human"
    # Somebody checks what the model is sure of, where it was selected.
    assert route(holdout=False, selected=True, double=double, sure=sure) == asked
    assert route(holdout=False, selected=False, double=double, sure=sure) == ("auto" if sure else asked)


def test_nothing_is_accepted_by_default() -> None:
    for holdout, selected in itertools.product([True, False], repeat=2):
        assert route(holdout=holdout, selected=selected) != "auto"


def test_confidence_is_the_weakest_link() -> None:
    scores = [0.9, 0.3, 0.8, 0.04, 0.2, 0.1]
    starts = [0, 2, 4, 4, 6]
    found = confidence(scores, starts, [0.05, 0.02, 0.5, 0.0], 0.25)
    # The second box is drawn and weak; a box that is not drawn could be a miss; nothing drawn, no trust.
    np.testing.assert_allclose(found, [0.3, 0.8, 0.0, 0.0])
    np.testing.assert_allclose(confidence([0.9], [0, 1], [0.4], 0.25), [0.6])
    assert confidence([math.nan], [0, 1], [0.0], 0.25).tolist() == [0.0]
    assert confidence([0.9, math.nan], [0, 2], [0.0], 0.25).tolist() == [0.0]
    assert confidence([], [0], [], 0.5).shape == (0,)
    with pytest.raises(BadInput, match="starts"):
        confidence([0.5], [0, 2], [0.0], 0.5)


boxes = st.lists(st.lists(st.floats(0, 1), max_size=5), max_size=8)


@given(boxes, st.floats(0, 1), st.randoms())
def test_confidence_knows_no_order_of_boxes_and_falls_with_every_doubt(
    images: list[list[float]], floor: float, chance: random.Random
) -> None:
    def of(rows: list[list[float]]) -> list[float]:
        starts = np.concatenate(([0], np.cumsum([len(r) for r in rows]))).astype(np.intp)
        flat = [score for row in rows for score in row]
        return list(confidence(flat, starts, np.zeros(len(rows)), floor))

    first = of(images)
    assert all(0 <= value <= 1 for value in first)
    assert of([chance.sample(row, len(row)) for row in images]) == first
    assert of([[*row, *row] for row in images]) == first
    if images:
        doubtful = of([[*row, 0.5] for row in images])
        for before, after, row in zip(first, doubtful, images, strict=True):
            assert after <= max(before, 0.0) or not any(score >= floor for score in row)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (
            seen(("garbage", 0.48), ("bin", 0.95), ("bin", 0.69), ("bin", 0.9), ("bin", 0.1)),
            "2 of 5 boxes near 0.5; strongest doubt: “garbage” at 0.48",
        ),
        (
            seen(("bin", 0.95), ("garbage", 0.81)),
            "None of 2 boxes near 0.5; strongest doubt: “garbage” at 0.81",
        ),
        (
            seen(("bin", 0.45), ("bin", 0.05), ("bin", 0.99)),
            "1 of 3 boxes near 0.5; strongest doubt: “bin” at 0.45",
        ),
        (seen(("满溢的垃圾桶", 0.52)), "The only box is near 0.5: “满溢的垃圾桶” at 0.52"),
        (seen(("garbage", 0.97)), "The only box is not near 0.5: “garbage” at 0.97"),
        (seen((None, 0.5)), "The only box is near 0.5: a box without a name at 0.50"),
        (seen(("garbage", None)), "The only box is near 0.5: “garbage”, score unknown"),
        (seen(background=0.04), "No box found; strongest hint 0.04"),
        (seen(background=0.0049), "No box found, and no hint of one"),
        (seen(), "No box found, and no hint of one"),
        (seen(background=math.nan), "No box found; strongest hint unknown"),
        (None, "No model has looked at this image yet"),
    ],
)
def test_what_the_model_doubts(prediction: Prediction | None, expected: str) -> None:
    assert explain(prediction, 0.9, "human") == expected


def test_lanes_speak_for_themselves() -> None:
    doubtful = seen(("garbage", 0.5))
    holdout = "Holdout image: two people draw it from nothing, so that it measures the model"
    assert explain(doubtful, 1.0, "double") == holdout
    assert explain(None, 0.0, "double", "holdout") == holdout
    assert explain(doubtful, 1.0, "human", "random") == "Picked at random to keep the measurement honest"
    second = "Second opinion wanted. The only box is near 0.5: “garbage” at 0.50"
    assert explain(doubtful, 1.0, "double", "strategy") == second
    assert explain(doubtful, math.nan, "auto") == "Accepted without a person: uncertainty unknown"
    assert explain(doubtful, 0.031, "auto") == "Accepted without a person: uncertainty 0.03"


def test_what_is_new_and_what_is_rare_is_said() -> None:
    image = seen(("bin", 0.48), ("garbage", 0.95))
    doubt = "1 of 2 boxes near 0.5; strongest doubt: “bin” at 0.48"
    assert explain(image, 0.9, "human", novel=True) == f"{doubt}; unlike anything labelled"
    both = explain(image, 0.9, "human", novel=True, rare="garbage")
    assert both == f"{doubt}; unlike anything labelled; rare class “garbage”"
    assert explain(image, 0.9, "human", "free", rare="garbage") == (
        "Somebody asked for this image; rare class “garbage”"
    )
    # A lane that measures says nothing of what the model thinks.
    assert explain(image, 0.9, "human", "audit", novel=True) == explain(image, 0.1, "human", "audit")
    long = explain(seen(("x" * 90, 0.48), ("y", 0.9)), 0.9, "double", "strategy", novel=True, rare="z" * 90)
    assert len(long) <= 140
    assert "z" not in long


def test_an_unknown_lane_names_the_known_ones() -> None:
    with pytest.raises(
        BadInput, match="lane must be one of strategy, holdout, random, audit, free, recheck, auto"
    ):
        explain(seen(), 0.0, "human", "fast")


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("<b>bin</b>\n\tred", "‹b›bin‹/b› red"),
        ("bin\u202egarbage", "bingarbage"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🔧", "👩\u200d🔧"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("x" * 41, "x" * 39 + "…"),
        ("x" * 40, "x" * 40),
    ],
)
def test_labels_are_quoted_safely(label: str, shown: str) -> None:
    assert explain(seen((label, 0.5)), 1.0, "human") == f"The only box is near 0.5: “{shown}” at 0.50"


def test_a_label_of_nothing_visible_is_no_name() -> None:
    assert "a box without a name" in explain(seen((" \n\u200e", 0.5)), 1.0, "human")


@given(
    st.lists(
        st.tuples(st.none() | st.text(st.characters(), max_size=60), st.none() | st.floats()), max_size=12
    ),
    st.floats(),
    st.sampled_from(get_args(Route)),
    st.sampled_from([*REASONS, None]),
)
def test_any_sentence_fits_on_one_line(
    boxes: list[tuple[str | None, float | None]], uncertainty: float, where: Route, lane: str | None
) -> None:
    text = explain(seen(*boxes, background=uncertainty), uncertainty, where, lane)
    assert 0 < len(text) <= 140
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)
    assert "<" not in text
    assert ">" not in text
    assert text == text.strip()
    text.encode("utf-8")


def test_a_full_house_of_boxes_still_fits() -> None:
    crowd = seen(*[("y" * 90, math.nan)] * 10_000)
    assert len(explain(crowd, 1.0, "double", "strategy")) <= 140
