"""Routes as a table of cases; sentences word by word, and whatever a label holds."""

from __future__ import annotations

import itertools
import math
import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput, Box, Prediction, Region, Route
from sampler.routing import REASONS, explain, route

FULL = Box(0.0, 0.0, 1.0, 1.0)


def seen(*boxes: tuple[str | None, float | None], background: float = 0.0) -> Prediction:
    regions = tuple(Region(label, FULL, score=score) for label, score in boxes)
    return Prediction("0" * 64, "v1", regions, ("garbage",), background=background)


@pytest.mark.parametrize(
    ("holdout", "selected", "uncertainty", "threshold", "expected"),
    [
        (True, True, 0.0, 1.0, "double"),
        (True, False, 0.0, 1.0, "double"),
        (False, True, 0.0, 1.0, "human"),  # somebody checks what the model is sure of
        (False, False, 0.0, None, "human"),  # no calibration data, no trust
        (False, False, 0.2, 0.2, "auto"),
        (False, False, 0.21, 0.2, "human"),
        (False, False, math.nan, 1.0, "human"),
    ],
)
def test_route(
    holdout: bool, selected: bool, uncertainty: float, threshold: float | None, expected: Route
) -> None:
    assert (
        route(holdout=holdout, selected=selected, uncertainty=uncertainty, auto_threshold=threshold)
        == expected
    )


def test_nothing_is_accepted_without_a_threshold() -> None:
    for holdout, selected in itertools.product([True, False], repeat=2):
        assert route(holdout=holdout, selected=selected) != "auto"


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


def test_an_unknown_lane_names_the_known_ones() -> None:
    with pytest.raises(BadInput, match="lane must be one of strategy, holdout, random"):
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
