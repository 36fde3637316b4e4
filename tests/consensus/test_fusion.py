"""What people say together: by hand, against statistics' own medians, and where they say nothing."""

from __future__ import annotations

import ast
import csv
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.agreement import count_pairs, pooled
from consensus.edges import corrected
from consensus.fusion import Fused, fuse, fuse_all, fuse_study, learn_trust
from consensus.study import of_annotations
from pool.schema import Annotation, BadInput, Box, Consensus, Region
from tests.consensus.scenes import answers, crowd, drew, naive_iou, region, shuffled

BIN = region("bin", 0.1, 0.1, 0.4, 0.4)
WIDE = region("bin", 0.1, 0.1, 0.5, 0.4)
GARBAGE = region("garbage", 0.6, 0.6, 0.9, 0.9)
FLAT = region("bin", 0.6, 0.6, 0.9, 0.6)
CROWD = Path(__file__).resolve().parents[2].parent / "shared/data/crowdboxes"


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
@settings(max_examples=40, deadline=None)
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
@settings(max_examples=60, deadline=None)
def test_order_and_names_mean_nothing(given_: list[Annotation], data: st.DataObject) -> None:
    renamed = shuffled(data, given_)
    one, other = fuse(given_), fuse(renamed)
    assert sorted(map(repr, one.regions)) == sorted(map(repr, other.regions))
    assert (one.score, one.disputed) == (other.score, other.disputed)


@given(answers(people=1), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_identical_people_give_back_what_they_drew(one: list[Annotation], count: int) -> None:
    drawn = one[0].regions
    got = fuse(people(*[drawn] * count))
    assert sorted(map(repr, got.regions)) == sorted(map(repr, fuse(one).regions))
    assert (got.score, got.disputed) == (1.0, 0)


@given(answers(), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
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
    with pytest.raises(
        BadInput, match=r"sizes\['s'\] must be a width and a height above 0, but got \(0, 10\)"
    ):
        fuse([drew("a", BIN)], size=(0, 10))


HABITS = {"p0": 0.0, "p1": 0.0, "p2": 0.06, "p3": -0.05, "p4": 0.01, "p5": 0.0}
JITTER = {"p0": 0.02, "p1": 0.05, "p2": 0.03, "p3": 0.03, "p4": 0.06, "p5": 0.04}
ERRORS = {"p0": 0.02, "p1": 0.05, "p2": 0.3, "p3": 0.25, "p4": 0.05, "p5": 0.05}
KINDS = ("bin", "garbage", "袋")


def project(
    samples: int, seed: int = 0, people: int = 4
) -> tuple[list[Annotation], dict[tuple[str, int, int], Region]]:
    """Answers of ``people`` of six with planted habits, and the truth by sample and cell of the image."""
    rng = np.random.default_rng(seed)
    out: list[Annotation] = []
    truth: dict[tuple[str, int, int], Region] = {}
    for s in range(samples):
        corner = 0.1 + np.arange(5)[:, None] * 0.18 + rng.random((5, 2)) * 0.02
        size = 0.06 + rng.random((5, 2)) * 0.04
        kind = rng.choice(3, 5, p=[0.5, 0.2, 0.3])
        for quad, k in zip(np.hstack([corner, corner + size]).tolist(), kind.tolist(), strict=True):
            truth[cell(f"s{s:03d}", quad)] = region(KINDS[k], *quad)
        for k in sorted(rng.permutation(6)[:people].tolist()):
            name = f"p{k}"
            off = HABITS[name] * np.array([-1, -1, 1, 1]) + rng.normal(0, JITTER[name], (5, 4))
            quads = np.hstack([corner, corner + size]) + off * np.tile(size, 2)
            labels = (kind + (rng.random(5) < ERRORS[name]) * rng.integers(1, 3, 5)) % 3
            drawn = [
                region(KINDS[label], *quad)
                for label, quad in zip(labels.tolist(), quads.tolist(), strict=True)
                if rng.random() > 0.08
            ]
            out.append(drew(name, *drawn, sample=f"s{s:03d}", number=len(out)))
    return out, truth


def cell(sample: str, quad: Sequence[float]) -> tuple[str, int, int]:
    return sample, int((quad[0] + quad[2]) / 2 // 0.18), int((quad[1] + quad[3]) / 2 // 0.18)


TRUST = learn_trust(of_annotations(project(200)[0]))
"""What 200 images say of six people."""


def quality(fused: dict[str, Consensus], truth: dict[tuple[str, int, int], Region]) -> tuple[float, float]:
    """Mean IoU with the true boxes, and share of right labels."""
    ious, right = [], []
    for sample, said in fused.items():
        for r in said.regions:
            quad = (r.box.x1, r.box.y1, r.box.x2, r.box.y2)
            real = truth[cell(sample, quad)]
            ious.append(naive_iou(quad, (real.box.x1, real.box.y1, real.box.x2, real.box.y2)))
            right.append(r.label == real.label)
    return float(np.mean(ious)), float(np.mean(right))


def test_knowing_people_places_and_names_better() -> None:
    given_, truth = project(150, seed=1)  # other images of the same people
    one = quality({a.sample: fuse([a]) for a in given_}, truth)
    vote, trusted = (quality(fuse_all(given_, trust=trust), truth) for trust in (None, TRUST))
    assert one[0] + 0.03 < vote[0]
    assert vote[0] + 0.01 < trusted[0]
    assert one[1] < vote[1]
    assert (1 - trusted[1]) < 0.7 * (1 - vote[1])


def test_one_who_is_right_outweighs_two_who_mix_up() -> None:
    votes = (("p0", "bin"), ("p2", "garbage"), ("p3", "garbage"))
    given_ = [drew(p, replace(BIN, label=k), number=n) for n, (p, k) in enumerate(votes)]
    assert [r.label for r in fuse(given_).regions] == ["garbage"]
    assert [r.label for r in fuse(given_, trust=TRUST).regions] == ["bin"]
    assert 0.6 < fuse_study(of_annotations(given_), trust=TRUST).confidence[0] < 1.0
    assert fuse_study(of_annotations(given_)).confidence.tolist() == [2 / 3]


def test_a_loose_and_a_tight_hand_meet_in_the_middle() -> None:
    real = np.array([0.3, 0.3, 0.5, 0.6])
    out = np.array([-1, -1, 1, 1]) * np.tile(real[2:] - real[:2], 2)
    loose, tight = real + 0.06 * out, real - 0.05 * out
    drawn = [
        drew(p, region("bin", *q.tolist()), number=k)
        for k, (p, q) in enumerate([("p2", loose), ("p3", tight)])
    ]
    third = drew("p2", region("bin", *loose.tolist()), number=5)
    for given_ in (
        drawn,
        [*drawn, replace(third, annotator="p0", regions=(region("bin", *real.tolist()),))],
    ):
        box = fuse(given_, trust=TRUST).regions[0].box
        assert [box.x1, box.y1, box.x2, box.y2] == pytest.approx(real.tolist(), abs=0.003)
    # Nobody has a habit on an edge that all put in one place, and one voice is left as it is.
    same = [replace(a, regions=drawn[0].regions) for a in drawn]
    assert fuse(same, trust=TRUST).regions == drawn[0].regions
    assert fuse([drawn[0], drew("p3", number=9)], trust=TRUST).regions == drawn[0].regions


@given(answers(people=1), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_trust_never_moves_what_all_drew(one: list[Annotation], count: int) -> None:
    same = people(*[one[0].regions] * count)
    assert fuse(same, trust=TRUST) == fuse(same)


@given(answers(), st.data())
@settings(max_examples=40, deadline=None)
def test_order_and_names_mean_nothing_to_trust(given_: list[Annotation], data: st.DataObject) -> None:
    told = [replace(a, annotator=f"p{a.annotator[-1]}") for a in given_]
    shuffled = [
        replace(a, regions=tuple(data.draw(st.permutations(a.regions))))
        for a in data.draw(st.permutations(told))
    ]
    one, other = fuse(told, trust=TRUST), fuse(shuffled, trust=TRUST)
    assert sorted(map(repr, one.regions)) == sorted(map(repr, other.regions))
    names = data.draw(st.permutations([f"p{k}" for k in range(6)]))
    swap = dict(zip([f"p{k}" for k in range(6)], names, strict=True))
    renamed = [replace(a, annotator=swap[a.annotator]) for a in told]
    aliases = replace(TRUST, annotators=tuple(swap[name] for name in TRUST.annotators))
    assert sorted(map(repr, fuse(renamed, trust=aliases).regions)) == sorted(map(repr, one.regions))


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_edges_lie_within_the_corrected_ones(seed: int, count: int) -> None:
    study = of_annotations(project(2, seed, count)[0])
    fused = fuse_study(study, 1.0, trust=TRUST)
    marks = study.marks
    bias = np.array([TRUST.edges.bias[TRUST.annotators.index(name)] for name in marks.annotators])
    free = corrected(marks.boxes, bias, marks.annotator)
    for k, box in zip(fused.object.tolist(), fused.boxes, strict=True):
        members = np.flatnonzero(study.objects == k)
        hull = free[members] if len(members) > 1 else marks.boxes[members]
        assert (np.clip(hull.min(axis=0), 0, 1) <= box).all()
        assert (box <= np.clip(hull.max(axis=0), 0, 1)).all()
        assert box[0] < box[2]
        assert box[1] < box[3]


def test_boxes_end_at_the_border_whatever_the_habit() -> None:
    tight = [region("bin", 0.0 + d, 0.4, 0.3 - d, 1.0 - d) for d in (0.0, 0.002, 0.004)]
    box = fuse([drew("p3", tight[1]), drew("p0", tight[0], number=2)], trust=TRUST).regions[0].box
    assert box.x1 == 0.0
    assert 0.998 < box.y2 <= 1.0


def test_trust_without_knowledge_changes_nothing() -> None:
    given_ = project(12, seed=3)[0]
    nobody = learn_trust(of_annotations([]))
    few = learn_trust(of_annotations(project(3, seed=4)[0]))
    assert fuse_all(given_, trust=nobody) == fuse_all(given_, trust=few) == fuse_all(given_)
    assert few.edges.boxes.max() < 20


def test_strangers_and_new_labels_beside_trust() -> None:
    drawn = [replace(BIN, box=Box(0.1, 0.1, 0.4 + d, 0.4)) for d in (0.0, 0.01, 0.03)]
    strangers = people(*([r] for r in drawn))
    strangers = [replace(a, annotator=f"new {k}") for k, a in enumerate(strangers)]
    box = fuse(strangers, trust=TRUST).regions[0].box
    assert (box.x1, box.y1, box.y2) == (0.1, 0.1, 0.4)
    assert box.x2 == pytest.approx(0.4 + 0.04 / 3)  # alike, so all weigh the same
    spread = np.sqrt(np.square(TRUST.edges.spread[:, [0, 2]]).mean(axis=1) + 0.01**2)
    own, strange = spread[0] ** -2, np.median(spread) ** -2
    pair = [replace(strangers[0], annotator="p0"), strangers[2]]
    free = corrected(np.array([[0.1, 0.1, 0.4, 0.4]]), TRUST.edges.bias[:1], np.zeros(1, dtype=np.intp))[
        0, 2
    ]
    x2 = fuse(pair, trust=TRUST).regions[0].box.x2
    assert x2 == pytest.approx((own * free + strange * 0.43) / (own + strange), abs=1e-12)


def test_a_label_that_trust_never_heard_of_is_left_to_the_votes() -> None:
    fresh = [
        drew(p, replace(BIN, label=k), number=n)
        for n, (p, k) in enumerate([("p0", "bin"), ("p2", "new"), ("p3", "new")])
    ]
    fused = fuse_study(of_annotations(fresh), trust=TRUST)
    assert [of_annotations(fresh).marks.labels[k] for k in fused.label] == ["new"]
    assert fused.confidence.tolist() == [2 / 3]


def test_a_label_that_nobody_gave_never_wins() -> None:
    unsure = [drew(p, replace(BIN, label="garbage"), number=k) for k, p in enumerate(("p2", "p3"))]
    fused = fuse_study(of_annotations([*unsure, drew("p0", GARBAGE, number=7)]), 1.0, trust=TRUST)
    assert fused.label.tolist() == [0, 0]
    nameless = [drew("p0", replace(BIN, label=None)), drew("p1", replace(BIN, label=None), number=2)]
    assert [r.label for r in fuse([*nameless, drew("p2", BIN, number=3)], trust=TRUST).regions] == ["bin"]
    assert [r.label for r in fuse(nameless, trust=TRUST).regions] == [None]


@pytest.mark.parametrize(
    ("drawn", "asked", "quorum", "least", "kept"),
    [
        (2, 9, 1.0, 2, True),
        (1, 9, 1.0, 2, False),
        (1, 2, 0.5, 2, False),
        (2, 2, 0.5, 3, True),  # more than all cannot be asked
        (1, 2, 1.0, 3, False),
        (2, 9, 0.5, 2, False),  # both conditions hold
        (1, 1, 0.0, 4, True),
    ],
)
def test_at_least_so_many(drawn: int, asked: int, quorum: float, least: int, kept: bool) -> None:
    given_ = people(*[[BIN]] * drawn, *[[]] * (asked - drawn))
    assert bool(fuse(given_, quorum, least=least).regions) is kept
    assert len(fuse_study(of_annotations(given_), quorum, least).label) == kept


def test_fused_columns_by_hand() -> None:
    given_ = [
        drew("a", BIN, GARBAGE, sample="one", number=1),
        drew("b", WIDE, sample="one", number=2),
        drew("c", replace(BIN, label="garbage"), sample="one", number=3),
        drew("a", BIN, sample="settled", number=4),
        drew("b", BIN, sample="settled", number=5),
        drew(
            "z",
            GARBAGE,
            region("bin", -0.1, 0.0, 0.2, 0.2),
            FLAT,
            sample="settled",
            number=6,
            ground_truth=True,
        ),
        drew("c", GARBAGE, sample="single", number=7),
        drew("c", BIN, sample="skipped", number=8, skipped=True),
    ]
    study = of_annotations(given_)
    got = fuse_study(study)
    assert [study.marks.samples[k] for k in got.sample] == ["one", "settled", "settled", "single"]
    assert [study.marks.labels[k] for k in got.label] == ["bin", "bin", "garbage", "garbage"]
    assert got.boxes == pytest.approx(
        np.array([[0.1, 0.1, 0.4, 0.4], [0, 0, 0.2, 0.2], [0.6, 0.6, 0.9, 0.9], [0.6, 0.6, 0.9, 0.9]])
    )
    assert got.votes.tolist() == [3, 1, 1, 1]
    assert got.voters.tolist() == [3, 1, 1, 1]
    assert got.confidence == pytest.approx([2 / 3, 1, 1, 1])
    assert (got.object[1:3] == -1).all()
    assert study.votes.sample[got.object[[0, 3]]].tolist() == got.sample[[0, 3]].tolist()
    assert len(fuse_study(of_annotations([])).boxes) == 0


@given(st.lists(answers(), min_size=1, max_size=3), st.booleans(), st.floats(0, 1), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_columns_and_records_say_the_same(
    scenes: list[list[Annotation]], starred: bool, quorum: float, least: int
) -> None:
    given_ = [replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene]
    given_[0] = replace(given_[0], ground_truth=starred)
    study = of_annotations(given_)
    fused = fuse_study(study, quorum, least, TRUST)
    places = np.column_stack([fused.boxes, fused.turn]).tolist()
    columns = sorted(
        repr((study.marks.samples[s], Region(study.marks.labels[k], Box(*place))))
        for s, k, place in zip(fused.sample.tolist(), fused.label.tolist(), places, strict=True)
    )
    records = fuse_all(given_, quorum, least=least, trust=TRUST)
    assert columns == sorted(repr((s, r)) for s, said in records.items() for r in said.regions)
    assert ((fused.votes >= 1) & (fused.votes <= fused.voters)).all()
    assert ((fused.confidence >= 0) & (fused.confidence <= 1)).all()


def test_many_turned_differently_are_each_the_middle_one() -> None:
    given_ = [
        drew(f"p{k}", region("bin", 0.3, 0.3, 0.6, 0.4, angle), sample=f"s{s}", number=s * 9 + k)
        for s in range(20)
        for k, angle in enumerate((s, s + 4.0, s + 8.0))
    ]
    sizes = {f"s{s}": (100, 100) for s in range(20)}
    for s, said in enumerate(fuse_all(given_, sizes=sizes, trust=TRUST)[f"s{s}"] for s in range(20)):
        assert [r.box.rotation for r in said.regions] == [s + 4.0]


@pytest.mark.skipif(not CROWD.is_dir(), reason="the crowd's boxes are not at hand")
def test_real_workers_who_miss_much() -> None:
    """Two votes are enough where a third of what is there is missed; knowing hands places better."""

    def regions(boxes: Sequence[str]) -> list[Region]:
        corners = (ast.literal_eval(box) for box in boxes)
        return [region("object", *(edge / 1024 for edge in (*low, *high))) for low, high in corners]

    with (CROWD / "boundingbox_data.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    study = of_annotations(
        [
            drew(
                r["uid"],
                *regions(list(map(str, ast.literal_eval(r["annotation"])))),
                sample=r["item"],
                number=k,
            )
            for k, r in enumerate(rows)
        ]
    )
    items = json.loads((CROWD / "boundingbox_gold.json").read_text())
    gold = [drew("gold", *regions(items[name]), sample=name) for name in study.marks.samples]

    def against(fused: Fused) -> tuple[float, float]:
        drawn: dict[str, list[Region]] = {name: [] for name in study.marks.samples}
        for sample, box in zip(fused.sample.tolist(), fused.boxes.tolist(), strict=True):
            drawn[study.marks.samples[sample]].append(region("object", *box))
        both = of_annotations([*gold, *(drew("all", *r, sample=name) for name, r in drawn.items())])
        pairs = pooled(count_pairs(both.marks, both.objects))
        return float(pairs.f1[0]), float(pairs.iou[0])

    assert against(fuse_study(study))[0] == pytest.approx(0.726, abs=0.001)
    plain = against(fuse_study(study, 1.0, least=2))
    known = against(fuse_study(study, 1.0, 2, learn_trust(study)))
    assert plain[0] == pytest.approx(0.797, abs=0.001)
    assert known[0] > plain[0] - 0.005
    assert known[1] > plain[1] + 0.004
