"""What every figure makes of what people really send: skips, second answers, boxes that are none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from consensus.agreement import consensus_score, count_pairs, sample_f1
from consensus.compatible import label_studio_iou
from consensus.labels import confusion
from consensus.study import of_annotations
from pool.schema import Annotation, Region
from tests.consensus.scenes import drew, region

BIN = region("bin", 0.0, 0.0, 0.25, 0.25)
BAG = region("bag", 0.5, 0.5, 0.75, 0.75)


def everything(*annotations: Annotation) -> list[float]:
    """Each figure of one sample: score, mean F1, Label Studio's, and the cases in the confusion matrix."""
    study = of_annotations(annotations)
    assert study.marks.samples == ("s",)
    return [
        float(consensus_score(study.votes)[0]),
        float(sample_f1(count_pairs(study.marks, study.objects), 1)[0]),
        float(label_studio_iou(study)[0]),
        int(confusion(study).counts.sum()),
    ]


def equal(one: Sequence[float], other: Sequence[float]) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


TWO = [drew("a", BIN, BAG, number=1), drew("b", BIN, number=2)]
NOTHING = [math.nan, math.nan, math.nan, 0]


def test_the_plain_case() -> None:
    assert everything(*TWO) == pytest.approx([0.5, 2 / 3, 0.5, 4])


def test_a_skipped_answer_is_none() -> None:
    skipped = drew("c", BAG, number=3, skipped=True)
    assert equal(everything(*TWO, skipped), everything(*TWO))
    assert equal(everything(TWO[0], skipped), NOTHING)
    assert equal(everything(skipped), NOTHING)
    assert not equal(everything(*TWO, drew("c", number=3)), everything(*TWO))  # an empty answer is one


def test_ground_truth_is_no_voice_where_there_are_others() -> None:
    truth = drew("r", BAG, number=3, ground_truth=True)
    assert equal(everything(*TWO, truth), everything(*TWO))
    assert equal(everything(TWO[0], truth), NOTHING)
    own = drew("a", BAG, number=4, minute=9, ground_truth=True)  # nor does it replace that person's answer
    assert equal(everything(*TWO, own), everything(*TWO))
    both = [drew("r", BIN, ground_truth=True), drew("q", BIN, number=2, ground_truth=True)]
    assert everything(*both) == [1.0, 1.0, 1.0, 2]


def test_a_person_answers_once_and_the_later_answer_counts() -> None:
    earlier = drew("a", BAG, number=7, minute=-5)
    assert equal(everything(*TWO, earlier), everything(*TWO))
    later = drew("a", BIN, number=8, minute=5)
    assert everything(earlier, *TWO, later) == [1.0, 1.0, 1.0, 2]
    assert equal(everything(TWO[0], later), NOTHING)  # twice the same person is one annotator


def test_boxes_end_at_the_border() -> None:
    out, cut = region("bin", -0.5, 0.5, 0.25, 1.5), region("bin", 0.0, 0.5, 0.25, 1.0)
    assert everything(drew("a", out), drew("b", cut)) == [1.0, 1.0, 1.0, 2]
    outside = region("bin", 1.25, 0.0, 1.5, 0.25)
    assert equal(everything(drew("a", BIN, outside), drew("b", BIN)), [1.0, 1.0, 1.0, 2])
    assert equal(everything(drew("a", outside), drew("b")), [1.0, 1.0, 1.0, 0])


@pytest.mark.parametrize(
    "none",
    [
        region("bin", 0.25, 0.25, 0.25, 0.5),
        region("bin", 0.5, 0.5, 0.25, 0.25),
        region("bin", 0.25, 0.25, math.nan, 0.5),
        region("bin", 0.25, 0.25, math.inf, math.nan),
        region("bin", 0.0, 0.0, 0.5, 0.5, math.nan),
    ],
)
def test_what_is_no_box_was_not_drawn(none: Region) -> None:
    assert equal(everything(drew("a", BIN, BAG, none), TWO[1]), everything(*TWO))
    assert everything(drew("a", none), drew("b")) == [1.0, 1.0, 1.0, 0]


def test_a_box_without_a_label_agrees_with_its_like_alone() -> None:
    unnamed = region(None, 0.0, 0.0, 0.25, 0.25)
    assert everything(drew("a", unnamed), drew("b", unnamed)) == [1.0, 1.0, 1.0, 2]
    assert everything(drew("a", unnamed), drew("b", BIN)) == [0.0, 0.0, 0.0, 2]
    study = of_annotations([drew("a", unnamed), drew("b", BIN)])
    assert len(study.votes.sample) == 1  # it is the same object all the same
    assert everything(drew("a", unnamed), drew("b", region("", 0.0, 0.0, 0.25, 0.25)))[1] == 0.0


def test_more_people_than_bits_in_a_word() -> None:
    many = [drew(f"p{k}", BIN, BIN, number=k) for k in range(130)]
    assert everything(*many) == [1.0, 1.0, 1.0, 260]
    study = of_annotations([*many, drew("q", BIN, number=999)])
    assert study.votes.drawn.tolist() == [131, 130]
    # 130 x 129 / 2 pairs agree, 130 share one box of two with the last.
    expected = (130 * 129 / 2 + 130 * 2 / 3) / (131 * 130 / 2)
    assert sample_f1(count_pairs(study.marks, study.objects), 1)[0] == pytest.approx(expected, abs=1e-12)


def test_one_annotator_has_no_agreement_and_nobody_neither() -> None:
    assert equal(everything(TWO[0]), NOTHING)
    assert equal(everything(drew("a")), NOTHING)


def test_empty_answers_agree_with_each_other_alone() -> None:
    assert everything(drew("a"), drew("b")) == [1.0, 1.0, 1.0, 0]
    assert everything(drew("a", BIN), drew("b")) == [0.0, 0.0, 0.0, 2]
