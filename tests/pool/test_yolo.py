"""Label files of YOLO: out and in again, and what they must not hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.boxes import to_array
from pool.schema import BadInput, Box, Region
from pool.yolo import from_lines, to_lines
from tests.pool.records import LABELS

edges = (
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).filter(lambda pair: pair[1] - pair[0] > 1e-6)
)


@st.composite
def inside(draw: st.DrawFn) -> Region:
    (x1, x2), (y1, y2) = draw(edges), draw(edges)
    score = draw(st.none() | st.floats(0, 1))
    return Region(draw(st.sampled_from(LABELS)), Box(x1, y1, x2, y2), score)


@given(regions=st.lists(inside(), max_size=6))
def test_what_is_written_is_read(regions: list[Region]) -> None:
    lines = to_lines(regions, LABELS, width=640, height=480, scores=True)
    found = from_lines(lines, LABELS)
    assert [each.label for each in found] == [each.label for each in regions]
    assert to_array(each.box for each in found) == pytest.approx(
        to_array(each.box for each in regions), abs=2e-8
    )
    assert [each.score for each in found] == [
        None if each.score is None else pytest.approx(each.score, abs=1e-8) for each in regions
    ]
    bare = from_lines(to_lines(regions, LABELS, width=640, height=480), LABELS)
    assert [each.score for each in bare] == [None] * len(regions)


def test_a_line_is_class_centre_and_size() -> None:
    region = Region("满溢的垃圾桶", Box(0.25, 0.5, 0.75, 1.0), 0.9)
    assert to_lines([region], LABELS, width=640, height=480) == [
        "1 0.50000000 0.75000000 0.50000000 0.50000000"
    ]


def test_boxes_are_cut_at_the_border_and_left_out_beyond_it() -> None:
    over, beyond, flat = Box(-0.5, 0.0, 0.5, 1.0), Box(1.0, 0.0, 2.0, 1.0), Box(0.1, 0.1, 0.1, 0.5)
    regions = [Region("垃圾", box) for box in (over, beyond, flat)]
    assert to_lines(regions, LABELS, width=640, height=480) == [
        "2 0.25000000 0.50000000 0.50000000 1.00000000"
    ]


def test_a_turned_box_becomes_the_upright_box_around_it() -> None:
    region = Region("垃圾", Box(0.5, 0.5, 0.7, 0.7, 90))
    (found,) = from_lines(to_lines([region], LABELS, width=200, height=100), LABELS)
    assert to_array([found.box])[0] == pytest.approx([0.4, 0.5, 0.5, 0.9])


@pytest.mark.parametrize("label", [None, "no such class"])
def test_labels_without_a_class_are_refused(label: str | None) -> None:
    with pytest.raises(BadInput, match="label must be one of"):
        to_lines([Region(label, Box(0, 0, 1, 1))], LABELS, width=9, height=9)


def test_blank_lines_and_ends_of_lines_do_not_matter() -> None:
    text = "\n0 0.5 0.5 1 1\r\n   \n  2\t0.5 0.5 1 1  \n"
    assert [each.label for each in from_lines(text.split("\n"), LABELS)] == [LABELS[0], LABELS[2]]
    assert from_lines([], LABELS) == ()


def test_outlines_become_the_boxes_around_them() -> None:
    (found,) = from_lines(["1 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5"], LABELS)
    assert found == Region(LABELS[1], Box(0.1, 0.1, 0.9, 0.9))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x 0.5 0.5 1 1", "made of numbers"),
        ("0 0.5 0.5 1 nan", "finite"),
        ("3 0.5 0.5 1 1", "class index below 3"),
        ("-1 0.5 0.5 1 1", "class index"),
        ("0.5 0.5 0.5 1 1", "class index"),
        ("0 0.5 0.5 -1 1", "positive"),
        ("0 0.5 0.5 1", "cx cy w h"),
        ("0", "cx cy w h"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "cx cy w h"),
    ],
)
def test_a_bad_line_is_named(line: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        from_lines(["0 0.5 0.5 1 1", line], LABELS)
    assert "line 2" in str(caught.value)
    assert line in str(caught.value)
