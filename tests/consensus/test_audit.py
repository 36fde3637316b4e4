"""The audit by hand, against a matching told with loops, and on planted errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from consensus.audit import LOCATED, MISSED, SPURIOUS, SWAPPED, suspicions
from consensus.evidence import Evidence, evidence
from consensus.sheet import Bools, Floats, Ints
from pool.schema import BadInput, Box, Prediction, Region
from tests.consensus.scenes import columns, naive_iou, region
from tests.consensus.simulation import job

CLASSES = ("bin", "garbage")

A = region("bin", 0.0, 0.0, 0.25, 0.25)
A_NEAR_MISS = region("bin", 0.125, 0.0, 0.375, 0.25)  # IoU 1/3
A_LOOSE = region("bin", 0.0, 0.0, 0.25, 0.40625)  # IoU 8/13
A_AS_GARBAGE = region("garbage", 0.0, 0.0, 0.25, 0.25)
A_UNNAMED = region(None, 0.0, 0.0, 0.25, 0.25)
A_AS_CAT = region("猫", 0.0, 0.0, 0.25, 0.25)
B = region("garbage", 0.5, 0.5, 0.75, 0.75)
FLAT = region("bin", 0.2, 0.2, 0.2, 0.4)


def saw(
    *regions: Region,
    scores: tuple[float, ...] | None = None,
    probs: list[list[float]] | None = None,
    background: float = 0.0,
    sample: str = "s",
) -> Prediction:
    given_ = scores or (0.75,) * len(regions)
    return Prediction(
        sample,
        "v1",
        tuple(replace(r, score=score) for r, score in zip(regions, given_, strict=True)),
        CLASSES,
        background=background,
        probs=None if probs is None else np.array(probs, dtype=np.float16),
    )


def told(drawn: list[Region], prediction: Prediction, **how: float) -> list[tuple[int, int, int, float]]:
    """Kind, given box, predicted box and score of each suspicion about one image."""
    found = suspicions(evidence({"s": drawn}, [prediction]), **how)
    assert (found.sample == 0).all()
    return list(
        zip(
            found.kind.tolist(),
            found.given.tolist(),
            found.seen.tolist(),
            found.score.round(9).tolist(),
            strict=True,
        )
    )


HAND = [
    ("nothing there, nothing seen", [], saw(), []),
    ("all as seen", [A, B], saw(B, A), []),
    ("missed", [A], saw(A, B), [(MISSED, -1, 1, 0.75)]),
    ("too unsure to accuse", [A], saw(A, B, scores=(0.75, 0.4)), []),
    ("missed, but near another label", [A], saw(region("garbage", 0.125, 0.0, 0.375, 0.25)), [
        (SPURIOUS, 0, -1, round(0.5 / 3 / 2, 9)), (MISSED, -1, 0, 0.25),
    ]),
    ("swapped", [A_AS_GARBAGE], saw(A), [(SWAPPED, 0, 0, 0.75)]),
    ("perhaps swapped", [A_AS_GARBAGE], saw(A, probs=[[0.75, 0.5]]), [(SWAPPED, 0, 0, 0.25)]),
    ("not swapped", [A], saw(A, probs=[[0.75, 0.5]]), []),
    ("unnamed", [A_UNNAMED], saw(A, probs=[[0.75, 0.5]]), [(SWAPPED, 0, 0, 0.75)]),
    ("a label that it does not know", [A_AS_CAT], saw(A), []),
    ("nor misses", [A_AS_CAT, B], saw(B), []),
    ("a near miss is one error", [A_NEAR_MISS], saw(A), [(LOCATED, 0, 0, round(0.75 * 5 / 9, 9))]),
    ("loose", [A_LOOSE], saw(A), [(LOCATED, 0, 0, round(0.75 * (1 - 32 / 39), 9))]),
    ("spurious", [A, B], saw(A), [(SPURIOUS, 1, -1, round(0.5 * 2 / 3, 9))]),
    ("spurious, but something is there", [A], saw(background=0.5), [(SPURIOUS, 0, -1, 0.125)]),
    ("not supported well enough", [A], saw(A, scores=(0.05,)), [(SPURIOUS, 0, -1, 0.25)]),
    ("a blind detector is no witness", [A, B, region("bin", 0.5, 0.0, 0.75, 0.25)], saw(), [
        (SPURIOUS, k, -1, 0.125) for k in (0, 2, 1)
    ]),
    ("drawn twice", [A, A], saw(A), []),
    ("seen twice", [], saw(A, A_AS_GARBAGE, scores=(0.75, 0.625)), [(MISSED, -1, 0, 0.75)]),
    ("seen twice, drawn once", [A], saw(A, A_AS_GARBAGE, scores=(0.75, 0.625)), []),
    ("the surer one is matched", [A], saw(A, A_AS_GARBAGE, scores=(0.5, 0.75)), [(SWAPPED, 0, 1, 0.75)]),
    ("seen twice, drawn near", [A_NEAR_MISS], saw(A, A_AS_GARBAGE, scores=(0.75, 0.625)), [
        (LOCATED, 0, 0, round(0.75 * 5 / 9, 9)),
    ]),
    ("no box", [FLAT], saw(FLAT, scores=(1.0,)), []),
]  # fmt: skip


@pytest.mark.parametrize(("drawn", "prediction", "rows"), [c[1:] for c in HAND], ids=[c[0] for c in HAND])
def test_by_hand(drawn: list[Region], prediction: Prediction, rows: list[tuple[int, ...]]) -> None:
    assert sorted(told(drawn, prediction)) == sorted(rows)


def test_the_suggested_label() -> None:
    seen = evidence({"s": [A_AS_GARBAGE], "t": [B]}, [saw(A), saw(sample="t")])
    found = suspicions(seen)
    assert found.kind.tolist() == [SWAPPED, SPURIOUS]
    assert [seen.labels[k] for k in found.label if k >= 0] == ["bin"]


def test_only_images_that_have_both_are_looked_at() -> None:
    both = evidence({"s": [A], "t": [A]}, [saw(B), saw(A, sample="u")])
    assert both.samples == ("s",)
    assert len(both.given_boxes) == len(both.seen_boxes) == 1


def test_turned_boxes_are_compared_as_they_lie() -> None:
    """A flat box turned by 90 degrees about its corner covers an upright one."""
    turned = region("bin", 0.5, 0.25, 0.75, 0.375, 90.0)
    upright = region("bin", 0.375, 0.25, 0.5, 0.5)
    square = evidence({"s": [turned]}, [saw(upright)])
    assert len(suspicions(square).kind) == 0
    wide = evidence({"s": [turned]}, [saw(upright)], {"s": (200, 100)})
    assert suspicions(wide).kind.tolist() == [LOCATED]


@pytest.mark.parametrize(
    ("predictions", "field"),
    [
        ([saw(A), saw(B)], "predictions"),
        ([replace(saw(), regions=(A,))], "score"),
        ([saw(A, scores=(1.5,))], "score"),
        ([saw(A_AS_CAT)], "label"),
        ([saw(A, probs=[[0.5]])], "probs"),
    ],
)
def test_bad_predictions_are_refused(predictions: list[Prediction], field: str) -> None:
    with pytest.raises(BadInput, match=field):
        evidence({"s": []}, predictions)


@pytest.mark.parametrize("how", [{"tau": 0.0}, {"tau": 1.1}, {"floor": -0.1}, {"sure": 1.1}])
def test_settings_out_of_range_are_refused(how: dict[str, float]) -> None:
    with pytest.raises(BadInput, match=next(iter(how))):
        suspicions(evidence({}, []), **how)


def test_nothing_gives_nothing() -> None:
    found = suspicions(evidence({}, []))
    assert found.score.shape == (0,)


def scene(drawn: tuple[list[tuple[float, ...]], list[str | None], list[int], list[int]]) -> Evidence:
    """Boxes by person 0 and 1 on two images are given, those by 2 and 3 predicted."""
    boxes, labels, people, tasks = drawn
    given_: dict[str, list[Region]] = {"t0": [], "t1": []}
    seen: dict[str, list[Region]] = {"t0": [], "t1": []}
    for quad, label, person, task in zip(boxes, labels, people, tasks, strict=True):
        score = 0.25 + 0.125 * ((int(16 * quad[0]) + int(16 * quad[3])) % 6)
        name = label if person < 2 else label or "bin"
        side = given_ if person < 2 else seen
        side[f"t{task}"].append(Region(name, Box(*quad), None if person < 2 else score))
    classes = ("bin", "garbage", "袋")
    return evidence(given_, [Prediction(k, "v", tuple(r), classes) for k, r in seen.items()])


def slow_pairs(e: Evidence) -> set[tuple[int, int]]:
    """Matched rows, the strongest pair first, one at a time; equals by coordinates, then labels."""
    links = []
    for i in range(len(e.given_boxes)):
        for j in range(len(e.seen_boxes)):
            if e.given_sample[i] == e.seen_sample[j]:
                iou = round(naive_iou(e.given_boxes[i], e.seen_boxes[j]), 12)
                look = (
                    *e.seen_boxes[j][::-1].tolist(), *e.given_boxes[i][::-1].tolist(),
                    int(e.given_label[i]), int(e.seen_label[j]),
                )  # fmt: skip
                links.append((-e.seen_score[j] * iou, look, i, j, iou))
    pairs: list[tuple[int, int]] = []
    for near in (False, True):
        for _, _, i, j, iou in sorted(links):
            free = all(i != a and j != b for a, b in pairs)
            if free and (iou >= 0.1 and e.given_label[i] == e.seen_label[j] if near else iou >= 0.5):
                pairs.append((i, j))
    return set(pairs)


@given(columns())
@settings(max_examples=150)
def test_against_a_slow_matching(
    drawn: tuple[list[tuple[float, ...]], list[str | None], list[int], list[int]],
) -> None:
    e = scene(drawn)
    found = suspicions(e, sure=0.0)
    pairs = slow_pairs(e)
    matched_given, matched_seen = {i for i, _ in pairs}, {j for _, j in pairs}
    by_kind = {
        kind: [
            (int(i), int(j))
            for k, i, j in zip(found.kind, found.given, found.seen, strict=True)
            if k == kind
        ]
        for kind in (MISSED, SWAPPED, LOCATED, SPURIOUS)
    }
    swapped = {(i, j) for i, j in pairs if e.given_label[i] != e.seen_label[j]}
    located = {(i, j) for i, j in pairs - swapped if naive_iou(e.given_boxes[i], e.seen_boxes[j]) < 0.75}
    assert set(by_kind[SWAPPED]) == swapped
    assert set(by_kind[LOCATED]) == located
    assert {j for _, j in by_kind[MISSED]}.isdisjoint(matched_seen)
    assert {i for i, _ in by_kind[SPURIOUS]}.isdisjoint(matched_given)
    for i in set(range(len(e.given_boxes))) - matched_given:
        overlap = [
            naive_iou(e.given_boxes[i], e.seen_boxes[j])
            for j in range(len(e.seen_boxes))
            if e.given_sample[i] == e.seen_sample[j]
        ]
        assert ((i, -1) in by_kind[SPURIOUS]) == (max([0.0, *overlap]) < 0.5)
    assert ((found.score > 0) & (found.score <= 1)).all()
    assert (np.diff(found.score) <= 0).all()


def spoken(e: Evidence) -> list[tuple[object, ...]]:
    """What is suspected, in the order given, without row numbers."""
    found = suspicions(e)
    return [
        (
            e.samples[found.sample[k]],
            int(found.kind[k]),
            tuple(e.given_boxes[found.given[k]]) if found.given[k] >= 0 else None,
            tuple(e.seen_boxes[found.seen[k]]) if found.seen[k] >= 0 else None,
            e.labels[found.label[k]] if found.label[k] >= 0 else None,
            round(float(found.score[k]), 12),
        )
        for k in range(len(found.kind))
    ]


@given(columns(), st.data())
@settings(max_examples=50)
def test_the_order_of_boxes_means_nothing(
    drawn: tuple[list[tuple[float, ...]], list[str | None], list[int], list[int]], data: st.DataObject
) -> None:
    rows = data.draw(st.permutations(range(len(drawn[0]))))
    boxes, labels, people, tasks = ([column[k] for k in rows] for column in drawn)
    assert spoken(scene((boxes, labels, people, tasks))) == spoken(scene(drawn))  # type: ignore[arg-type]


@given(columns())
@settings(max_examples=50)
def test_an_image_is_judged_alone(
    drawn: tuple[list[tuple[float, ...]], list[str | None], list[int], list[int]],
) -> None:
    """Its scores are the same in any batch."""
    alone = []
    for task in (0, 1):
        rows = [k for k, other in enumerate(drawn[3]) if other == task]
        boxes, labels, people, tasks = ([column[k] for k in rows] for column in drawn)
        alone += spoken(scene((boxes, labels, people, tasks)))  # type: ignore[arg-type]
    assert sorted(map(str, alone)) == sorted(map(str, spoken(scene(drawn))))


def planted(images: int, seed: int) -> tuple[Evidence, Ints, Bools]:
    """A simulated detector, and labels of which one in twenty-five is wrong in each of four ways.

    Returns the evidence, the error of each given box (-1 for none), and which predicted boxes are of
    an object that nobody drew.
    """
    rng = np.random.default_rng(seed)
    truth = job(images, seed)
    names = truth.sheet.labels
    boxes, label, sample = truth.truth_boxes, truth.truth_label, truth.truth_sample
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    fate = rng.choice([-1, MISSED, SWAPPED, LOCATED], len(boxes), p=[0.88, 0.04, 0.04, 0.04])

    drawn = boxes + sides * rng.normal(0.0, 0.02, boxes.shape)
    off = np.tile(rng.choice([-0.5, 0.5], (len(boxes), 2)), 2)
    drawn[fate == LOCATED] += (sides * off)[fate == LOCATED]
    given_label = np.where(fate == SWAPPED, (label + 1) % 3, label)
    kept = fate != MISSED
    strays = rng.integers(0, images, len(boxes) // 25)
    corner = rng.random((len(strays), 2)) * 0.8

    found = rng.random(len(boxes)) < 0.93
    seen = (boxes + sides * rng.normal(0.0, 0.04, boxes.shape))[found]
    seen_label = np.where(rng.random(found.sum()) < 0.03, (label[found] + 2) % 3, label[found])
    false = rng.integers(0, images, len(boxes) // 20)
    false_corner = rng.random((len(false), 2)) * 0.8
    score = np.concatenate([rng.beta(8, 2, found.sum()), rng.beta(2, 4, len(false))])
    seen_label = np.concatenate([seen_label, rng.integers(0, 3, len(false))])
    probs = np.full((len(score), 3), 0.02)
    probs[np.arange(len(score)), seen_label] = score

    made = Evidence(
        samples=truth.sheet.samples,
        labels=names,
        aspects=truth.sheet.aspects,
        background=rng.uniform(0.0, 0.1, images),
        known=np.ones(3, dtype=np.bool_),
        given_sample=np.concatenate([sample[kept], strays]),
        given_label=np.concatenate([given_label[kept], rng.integers(0, 3, len(strays))]),
        given_boxes=np.concatenate([drawn[kept], np.column_stack([corner, corner + 0.12])]),
        given_turn=np.zeros(kept.sum() + len(strays)),
        seen_sample=np.concatenate([sample[found], false]),
        seen_label=seen_label,
        seen_boxes=np.concatenate([seen, np.column_stack([false_corner, false_corner + 0.12])]),
        seen_turn=np.zeros(len(score)),
        seen_score=score,
        seen_probs=probs,
    )
    error = np.concatenate([fate[kept], np.full(len(strays), SPURIOUS)])
    undrawn = np.concatenate([fate[found] == MISSED, np.zeros(len(false), dtype=np.bool_)])
    return made, error, undrawn


def highest(rows: Ints, score: Floats, count: int) -> Floats:
    out = np.zeros(count)
    np.maximum.at(out, rows, score)
    return out


def test_planted_errors_are_found() -> None:
    made, error, undrawn = planted(2000, seed=4)
    found = suspicions(made)
    auc = {}
    for kind in (SWAPPED, LOCATED, SPURIOUS):
        of = found.kind == kind
        auc[kind] = roc_auc_score(error == kind, highest(found.given[of], found.score[of], len(error)))
    of = found.kind == MISSED
    auc[MISSED] = roc_auc_score(undrawn, highest(found.seen[of], found.score[of], len(undrawn)))
    assert auc[MISSED] > 0.95
    assert auc[SWAPPED] > 0.9
    assert auc[LOCATED] > 0.9
    assert auc[SPURIOUS] > 0.9


def test_most_near_misses_are_exactly_one_row() -> None:
    made, error, _ = planted(2000, seed=5)
    found = suspicions(made)
    rows = np.flatnonzero(error == LOCATED)
    about = np.bincount(found.given[found.given >= 0], minlength=len(error))[rows]
    assert about.max() == 1
    assert (about == 1).mean() > 0.97
    located = np.isin(rows, found.given[found.kind == LOCATED])
    assert located.mean() > 0.85  # the rest was not seen by the detector, or taken for another label
