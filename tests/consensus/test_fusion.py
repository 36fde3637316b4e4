"""What people say together: by hand, against statistics' own medians, and where they say nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.fusion import fuse, fuse_all
from pool.schema import Annotation, BadInput, Box, Region
from tests.consensus.scenes import answers, crowd, drew, region

BIN = region("bin", 0.1, 0.1, 0.4, 0.4)
WIDE = region("bin", 0.1, 0.1, 0.5, 0.4)
GARBAGE = region("garbage", 0.6, 0.6, 0.9, 0.9)


def people(*regions: Sequence[Region]) -> list[Annotation]:
    return [drew(f"p{k}", *drawn, number=k + 1) for k, drawn in enumerate(regions)]


def labels(annotations: Sequence[Annotation], quorum: float = 0.5) -> list[str | None]:
    return [r.label for r in fuse(annotations, quorum).regions]


def test_two_who_agree() -> None:
    got = fuse(people([BIN, GARBAGE], [GARBAGE, BIN]))
    assert got.regions == (BIN, GARBAGE)
    assert (got.sample, got.score, got.annotators, got.disputed) == ("s", 1.0, ("p0", "p1"), 0)


def test_edges_are_medians() -> None:
    three = fuse(people([BIN], [BIN], [WIDE]))
    assert three.regions == (BIN,)
    two = fuse(people([BIN], [WIDE]))
    assert two.regions[0].box.x2 == pytest.approx(0.45)
    assert (three.score, three.disputed, two.score, two.disputed) == (1.0, 0, 1.0, 0)


@given(st.integers(2, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_edges_are_the_medians_of_statistics(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    quads = np.array([0.2, 0.3, 0.6, 0.9]) + rng.normal(0, 0.01, (count, 4))
    box = fuse(people(*([region("bin", *quad.tolist())] for quad in quads))).regions[0].box
    expected = [statistics.median(column) for column in quads.T.tolist()]
    assert [box.x1, box.y1, box.x2, box.y2] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("drawn", "asked", "quorum", "kept"),
    [
        (1, 2, 0.5, True),  # half missed it: not more than half
        (1, 3, 0.5, False),
        (2, 3, 0.5, True),
        (2, 4, 0.5, True),
        (2, 5, 0.5, False),
        (1, 3, 2 / 3, True),
        (1, 4, 2 / 3, False),
        (2, 2, 0.0, True),
        (4, 5, 0.0, False),
        (1, 9, 1.0, True),
        (1, 10, 0.9, True),
        (4, 5, 1 - 0.8, True),  # 0.19999999999999996 is meant as a fifth
    ],
)
def test_what_too_many_missed_is_dropped(drawn: int, asked: int, quorum: float, kept: bool) -> None:
    got = fuse(people(*[[BIN]] * drawn, *[[]] * (asked - drawn)), quorum)
    assert bool(got.regions) is kept
    assert got.disputed == (drawn != asked)
    assert got.score == (1.0 if drawn == asked else 0.0)


def test_the_label_is_the_commonest_and_all_votes_place_the_box() -> None:
    other = region("garbage", 0.1, 0.1, 0.46, 0.4)
    got = fuse(people([BIN], [WIDE], [other]))
    assert [r.label for r in got.regions] == ["bin"]
    assert got.regions[0].box.x2 == 0.46
    assert (got.score, got.disputed) == (0.0, 1)


def test_equal_votes_do_not_hang_on_who_is_first() -> None:
    as_garbage = replace(BIN, label="garbage")
    assert labels(people([as_garbage], [BIN])) == labels(people([BIN], [as_garbage])) == ["bin"]


def test_nobody_answered() -> None:
    got = fuse([drew("a", BIN, skipped=True)])
    assert (got.score, got.regions, got.annotators, got.disputed) == (None, (), (), 0)


def test_one_person_is_taken_as_is() -> None:
    told = Region("garbage", Box(0.6, 0.6, 0.9, 0.9, 12.0), score=0.4, id="r1", origin="prediction-changed")
    got = fuse([drew("a", told, BIN, BIN), drew("b", WIDE, skipped=True)])
    assert got.regions == (told, BIN, BIN)
    assert (got.score, got.annotators, got.disputed) == (None, ("a",), 0)
    assert fuse([drew("a")]).score is None


def test_one_persons_boxes_end_at_the_border_and_have_an_area() -> None:
    out = region("bin", -0.25, 0.5, 0.25, 1.5)
    got = fuse([drew("a", out, region("bin", 0.5, 0.5, 0.5, 0.6), region("bin", 1.1, 0.0, 1.2, 0.1))])
    assert got.regions == (region("bin", 0.0, 0.5, 0.25, 1.0),)


def test_the_later_annotation_of_a_person_counts() -> None:
    old, new = drew("a", BIN, number=9, minute=0), drew("a", GARBAGE, number=3, minute=5)
    assert fuse([new, old]).regions == fuse([old, new]).regions == (GARBAGE,)
    same_minute = replace(new, id=10, updated_at=old.updated_at)
    assert fuse([same_minute, old]).regions == (GARBAGE,)
    withdrawn = drew("a", number=4, minute=9, skipped=True)
    assert fuse([new, withdrawn]).regions == (GARBAGE,)  # a skip is no answer, so it replaces none


def test_ground_truth_settles_the_matter_and_is_no_voice() -> None:
    truth = drew("reviewer", GARBAGE, number=7, ground_truth=True)
    got = fuse([*people([BIN], [BIN, GARBAGE]), truth])
    assert got.regions == (GARBAGE,)
    assert (got.annotators, got.score, got.disputed) == (("p0", "p1"), 0.5, 1)
    newer = drew("other reviewer", WIDE, number=8, minute=3, ground_truth=True)
    assert fuse([newer, *people([BIN]), truth]).regions == (WIDE,)


def test_ground_truth_alone_is_an_answer() -> None:
    alone = fuse([drew("a", BIN, ground_truth=True)])
    assert (alone.regions, alone.annotators, alone.score) == ((BIN,), ("a",), None)
    both = fuse([drew("a", BIN, ground_truth=True), drew("b", BIN, ground_truth=True, number=2)])
    assert (both.regions, both.score) == ((BIN,), 1.0)


def test_turned_boxes() -> None:
    turned = [region("bin", 0.3, 0.3, 0.6 + d, 0.4, 30.0) for d in (0.0, 0.02, 0.1)]
    assert fuse(people(*([r] for r in turned))).regions == (turned[1],)  # one angle: medians
    mixed = [region("bin", 0.3, 0.3, 0.6, 0.4, angle) for angle in (0.0, 5.0, 9.0)]
    assert fuse(people(*([r] for r in mixed))).regions == (mixed[1],)  # the middle one stands for all
    full = region("bin", 0.1, 0.1, 0.4, 0.4, 360.0)
    assert fuse(people([full], [BIN])).regions == (BIN,)


def test_the_aspect_matters_where_boxes_are_turned() -> None:
    swung, place = region("bin", 0.5, 0.0, 1.0, 0.25, 90.0), region("bin", 0.0, 0.0, 0.5, 0.25)
    assert fuse(people([swung], [place]), size=(50, 100)).score == 1.0
    assert fuse(people([swung], [place])).score == 0.0


def test_regions_run_down_the_image() -> None:
    drawn = [
        region("x", x, y, x + 0.1, y + 0.1) for y, x in [(0.5, 0.1), (0.0, 0.8), (0.5, 0.0), (0.0, 0.2)]
    ]
    places = [(r.box.y1, r.box.x1) for r in fuse(people(drawn, drawn[::-1])).regions]
    assert places == sorted(places)
    assert len(places) == 4


@given(answers(), st.data())
@settings(max_examples=60)
def test_order_and_names_mean_nothing(given_: list[Annotation], data: st.DataObject) -> None:
    names = data.draw(st.permutations(["person 0", "person 1", "person 2", "person 3"]))
    renamed = [
        replace(
            a,
            annotator=names[int(a.annotator[-1])],
            regions=tuple(data.draw(st.permutations(a.regions))),
        )
        for a in data.draw(st.permutations(given_))
    ]
    one, other = fuse(given_), fuse(renamed)
    assert sorted(map(repr, one.regions)) == sorted(map(repr, other.regions))
    assert (one.score, one.disputed) == (other.score, other.disputed)


@given(answers(people=1), st.integers(2, 4))
@settings(max_examples=60)
def test_identical_people_give_back_what_they_drew(one: list[Annotation], count: int) -> None:
    drawn = one[0].regions
    got = fuse(people(*[drawn] * count))
    assert sorted(map(repr, got.regions)) == sorted(map(repr, fuse(one).regions))
    assert (got.score, got.disputed) == (1.0, 0)


@given(answers(), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60)
def test_a_higher_quorum_keeps_more(given_: list[Annotation], q: float, r: float) -> None:
    few, many = (len(fuse(given_, quorum).regions) for quorum in sorted([q, r]))
    assert few <= many
    for kept in fuse(given_, max(q, r)).regions:
        assert 0 <= kept.box.x1 < kept.box.x2 <= 1
        assert 0 <= kept.box.y1 < kept.box.y2 <= 1


def test_many_samples_at_once_like_one_by_one() -> None:
    rng = np.random.default_rng(1)
    everything = [
        replace(a, sample=f"s{k}", id=100 * k + a.id, skipped=bool(rng.random() < 0.2))
        for k in range(30)
        for a in crowd(rng, int(rng.poisson(5)), int(rng.integers(1, 5)), 0.06)
    ]
    together = fuse_all(everything)
    assert list(together) == sorted({a.sample for a in everything})
    for sample, got in together.items():
        assert got == fuse([a for a in everything if a.sample == sample])
    assert fuse_all([]) == {}


def test_wrong_input_is_named() -> None:
    with pytest.raises(
        BadInput, match="annotations must be all of one sample, at least one, but got \\[\\]"
    ):
        fuse([])
    with pytest.raises(BadInput, match="Use fuse_all"):
        fuse([drew("a", BIN), drew("a", BIN, sample="t")])
    for quorum in (-0.1, 1.1, float("nan")):
        with pytest.raises(BadInput, match="quorum must be between 0 and 1"):
            fuse([drew("a", BIN)], quorum)
    with pytest.raises(BadInput, match="tau"):
        fuse([drew("a", BIN)], tau=0.0)
    with pytest.raises(BadInput, match=r"sizes\['s'\] must be a width and a height above 0, but got \(0, 10\)"):
        fuse([drew("a", BIN)], size=(0, 10))
