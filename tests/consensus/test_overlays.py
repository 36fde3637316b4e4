"""Boxes on pictures: the same places as the document's, in everybody's colour, and nothing unescaped."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from consensus.overlays import (
    COLOURS,
    MEANINGS,
    SIGNS,
    Canvas,
    canvas,
    crop,
    letter,
    overlay,
    styles,
    swatch,
    symbol,
)
from tests.consensus.document import EVIL, KINDS, conflict, sample, special

PLAIN = Canvas(None, 750.0)


def groups(drawing: str) -> dict[str, Element]:
    return {e.get("data-layer", ""): e for e in fromstring(drawing).iter("g") if e.get("data-layer")}


def rects(element: Element, name: str) -> list[tuple[float, ...]]:
    return [
        tuple(float(e.get(k, "nan")) for k in ("x", "y", "width", "height"))
        for e in element.iter("rect")
        if name in (e.get("class") or "").split()
    ]


def test_every_box_is_where_it_was_drawn() -> None:
    task: dict[str, Any] = sample(12)["tasks"][0]
    style = styles(task["annotators"], {p: k for k, p in enumerate(task["annotators"])})
    layers = groups(overlay(task, {}, canvas(960, 640, None), style))
    for place, person in enumerate(task["annotators"]):
        shown = rects(layers[str(place)], f"p{style[person]}")
        mine = [b["box"] for b in task["boxes"] if b["annotator"] == person]
        expected = [
            (x1 * 1000, y1 * 2000 / 3, (x2 - x1) * 1000, (y2 - y1) * 2000 / 3) for x1, y1, x2, y2, _ in mine
        ]
        assert len(shown) == len(expected)
        for one, other in zip(shown, expected, strict=True):
            assert one == pytest.approx(other, abs=0.006)
    assert len(rects(layers["consensus"], "under")) == len(task["consensus"])


def test_a_turned_box_turns_clockwise_about_its_first_corner() -> None:
    drawing = overlay(special(1), {}, PLAIN, {"3": 0})
    turns = {e.get("transform") for e in fromstring(drawing).iter("rect") if e.get("transform")}
    assert turns == {"rotate(30 200 150)"}


def test_conflicts_are_numbered_signed_and_said() -> None:
    task = {
        **special(1),
        "conflicts": [conflict(k, "3", "bin", "bin", [0.1, 0.1, 0.3, 0.3, 0]) for k in KINDS],
    }
    pills = [
        e
        for e in groups(overlay(task, {"3": EVIL}, PLAIN, {"3": 0}))["conflicts"]
        if e.get("data-conflict")
    ]
    assert [p[-1].text for p in pills] == [f"{n} {SIGNS[k]}" for n, k in enumerate(KINDS, 1)]
    assert [p[0].text for p in pills] == [f"{n}. {EVIL} {MEANINGS[k]}" for n, k in enumerate(KINDS, 1)]
    heights = [float(p[-1].get("y", "nan")) for p in pills]
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 34  # none hides another


@given(st.lists(st.tuples(*[st.floats(-0.5, 1.5)] * 4), max_size=12))
def test_signs_stay_on_the_picture(places: list[tuple[float, ...]]) -> None:
    task = {**special(1), "conflicts": [conflict("extra", "3", None, None, list(p)) for p in places]}
    for plate in rects(groups(overlay(task, {}, PLAIN, {"3": 0}))["conflicts"], "plate"):
        assert plate[0] >= 0
        assert plate[0] + plate[2] <= 1000
        assert plate[1] >= 0
        assert plate[1] + plate[3] <= 750 + 17


@pytest.mark.parametrize("box", [[0.1, 0.1, None, 0.3], [0.1, math.nan, 0.2, 0.3, 0.0], [], [0.1, 0.2]])
def test_a_box_that_is_none_is_left_out(box: list[Any]) -> None:
    task = special(1)
    task["boxes"][0]["box"] = task["consensus"][0]["box"] = task["conflicts"][0]["box"] = box
    layers = groups(overlay(task, {}, PLAIN, {"3": 0}))
    assert set(layers) == {"0", "consensus", "conflicts"}
    assert all(len(layer) == 0 for layer in layers.values())


@given(st.lists(st.integers(0, 40), unique=True, max_size=20))
def test_people_of_one_image_are_told_apart(people: list[int]) -> None:
    ids = [str(p) for p in people]
    style = styles(ids, {str(p): p for p in range(41)})
    assert list(style) == ids
    assert len({s % COLOURS for s in style.values()}) == min(len(ids), COLOURS)
    if ids:
        assert style[ids[0]] == people[0] % COLOURS
    looks = [re.findall('class="([^"]*)"', swatch(s))[1] for s in style.values()]
    assert len(set(looks)) == len(looks)


def test_letters_never_repeat() -> None:
    assert [letter(k) for k in (0, 25, 26, 27)] == ["A", "Z", "A2", "B2"]
    assert len({letter(k) for k in range(200)}) == 200


@given(
    st.lists(st.tuples(*[st.floats(0, 0.5)] * 2, *[st.floats(0.01, 0.5)] * 2), min_size=1, max_size=4),
    st.sampled_from([(400, 300), (300, 900), (1600, 400), (None, None)]),
)
def test_a_crop_holds_its_boxes(
    boxes: list[tuple[float, ...]], size: tuple[int | None, int | None]
) -> None:
    ground = canvas(*size, "picture-0")
    quads = [[x, y, x + w, y + h, 0.0] for x, y, w, h in boxes]
    drawing = fromstring(crop(quads[:1], quads[1:], ground, EVIL))
    x, y, width, height = map(float, drawing.get("viewBox", "").split())
    assert width / height == pytest.approx(4 / 3, abs=0.01)
    assert x >= -0.01
    assert x + width <= 1000.01
    for left, top, wide, tall in rects(drawing, "halo"):
        assert left >= x - 0.01
        assert left + wide <= x + width + 0.01
        # A picture much taller than wide shows as much of its boxes as its width allows.
        if tall <= height:
            assert len(quads) > 1 or (top >= y - 0.01 and top + tall <= y + height + 0.01)
    assert next(drawing.iter("title")).text == EVIL
    assert next(drawing.iter("use")).get("href") == "#picture-0"


def test_a_crop_without_boxes_is_the_picture() -> None:
    x, _, width, _ = map(float, fromstring(crop([], [], PLAIN, "t")).get("viewBox", "").split())
    assert (x, width) == (0, 1000)


def test_a_picture_has_the_proportions_of_its_canvas() -> None:
    ground = canvas(300, 900, "picture-1")
    defined = fromstring(symbol("picture-1", "data:image/jpeg;base64,AA", ground.height))
    assert defined.get("viewBox") == "0 0 1000 3000"
    assert canvas(None, 7, None) == canvas(0, 0, None) == PLAIN
