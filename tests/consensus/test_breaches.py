"""The words that people read about each breach."""

from __future__ import annotations

import pytest

from consensus.guidelines import check
from consensus.rules import DEFAULT, load
from pool.schema import Region
from tests.consensus.bins import BOTH, LEFT, RIGHT, STRICT, WIDE, A, B, scene, shapes
from tests.consensus.scenes import region


def test_the_text_of_a_rule_follows_what_is_wrong() -> None:
    rules = load("rules: {unnamed: {severity: check, text: Choose one on the left.}}")
    (found,) = check(scene([region(None, 0.1, 0.1, 0.3, 0.3)]), rules)
    assert found.message == "The box has no label. Choose one on the left."


GOLDEN = [
    (
        "rotated",
        [[region("bin", 0.3, 0.3, 0.4, 0.4, -7.5)]],
        "The box is turned by 352° instead of upright.",
    ),
    ("merged", [[A, B], [A, B], [BOTH]], "One box lies over 2 objects that others drew one by one."),
    (
        "merged",
        [[WIDE, LEFT, RIGHT], [WIDE, LEFT, RIGHT], [WIDE]],
        "2 objects that others drew lie inside this box and have none of their own.",
    ),
    (
        "split",
        [[WIDE], [WIDE], [LEFT, RIGHT]],
        "2 boxes lie inside one object that others drew as a whole.",
    ),
    (
        "split",
        [[WIDE], [WIDE], [WIDE, LEFT, RIGHT]],
        "2 boxes lie inside one object that others drew as a whole, as did this person.",
    ),
    ("duplicate", [[A, A]], "The same object is boxed twice (IoU 1.00)."),
    (
        "duplicate",
        [[A, region("垃圾", 0.1, 0.1, 0.3, 0.28)], [A]],
        "The same object is boxed twice (IoU 0.90), as “垃圾” and as “bin”.",
    ),
    (
        "duplicate",
        [[A, region(None, 0.1, 0.1, 0.3, 0.28)], [A]],
        "The same object is boxed twice (IoU 0.90), as an unnamed box and as “bin”.",
    ),
    (
        "tight",
        [[A], [A], [region("bin", 0.13, 0.1, 0.36, 0.3)]],
        "Compared with 2 others, the left edge is 30 px (15 %) too far in "
        "and the right edge is 60 px (30 %) too far out.",
    ),
    ("unnamed", [[region(None, 0.1, 0.1, 0.3, 0.3)]], "The box has no label."),
    (
        "outside",
        [[region("bin", -0.05, 0.1, 0.3, 1.0123)]],
        "The box reaches 50 px (5 %) beyond the left border, 6.15 px (1.23 %) beyond the lower border.",
    ),
    ("broken", [[region("bin", 0.1, 0.1, 0.1, 0.3)]], "The box has no area."),
    (
        "broken",
        [[region("bin", float("nan"), 0.1, 0.1, 0.3)]],
        "The box has coordinates that are not numbers.",
    ),
    (
        "size",
        [[region("garbage", 0.1, 0.1, 0.11, 0.2)]],
        "The box is 10 px wide; “garbage” is at least 20 px wide.",
    ),
    (
        "size",
        [[region("garbage", 0.0, 0.0, 0.5, 0.5)]],
        "The box is 25 % of the image large; “garbage” is at most 20 % of the image large.",
    ),
    (
        "size",
        [[region("garbage", 0.1, 0.1, 0.3, 0.2)]],
        "The box is 4 times as wide as high; “garbage” is at most 3 times as wide as high.",
    ),
    (
        "overlap",
        [[A, region("bin", 0.25, 0.1, 0.45, 0.3)]],
        "Two boxes overlap by 25 % of the smaller one.",
    ),
]


@pytest.mark.parametrize(("rule", "people", "message"), GOLDEN)
def test_messages(rule: str, people: list[list[Region]], message: str) -> None:
    assert [f.message for f in check(scene(*people), STRICT) if f.rule == rule] == [message]


def test_messages_without_pixels() -> None:
    loose = scene([A], [A], [region("bin", 0.1, 0.1, 0.36, 0.3)], size=None)
    assert check(loose, DEFAULT)[0].message == (
        "Compared with 2 others, the right edge is 30 % too far out."
    )
    out = scene([region("bin", 0.9, 0.1, 1.05, 0.3)], size=None)
    assert check(out, DEFAULT)[0].message == "The box reaches 5 % beyond the right border."
    odd = check(shapes([0.8, 0.9, 1.0, 1.1, 1.25] * 4 + [9.0]), DEFAULT)[0]
    assert odd.message == "The box is 9 times as wide as high; 1 is typical of “bin”."
