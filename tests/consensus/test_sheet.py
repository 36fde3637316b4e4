"""Which answers count, whose star is a vote as well, and how an answer began."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from consensus.sheet import BEGUN, CHANGED, GOLD, SCRATCH, UNTOUCHED, beside, counting, sheet, verdicts
from consensus.study import of_annotations
from consensus.tallies import tally
from pool.schema import Annotation, Change
from tests.consensus.scenes import drew, region

A = region("bin", 0.1, 0.1, 0.3, 0.3)
B = region("garbage", 0.5, 0.5, 0.75, 0.75)


def counted(*given: Annotation) -> list[tuple[str, str, int]]:
    made = sheet(given)
    return [
        (made.samples[made.sample[k]], made.annotators[made.annotator[k]], int(made.number[k]))
        for k in counting(made)
    ]


def test_an_annotators_starred_answer_is_still_their_vote() -> None:
    elsewhere = drew("a", A, sample="t", number=9)
    own = drew("a", A, B, number=1, ground_truth=True)
    other = drew("b", A, number=2)
    assert counted(elsewhere, own, other) == [("s", "a", 1), ("s", "b", 2), ("t", "a", 9)]
    made = sheet([elsewhere, own, other])
    assert made.number[verdicts(made)].tolist() == [1]


def test_starring_answers_changes_no_figure() -> None:
    """Otherwise the hardest images, which reviewers star, would leave the figures."""
    said = []
    for k in range(40):
        said.append(drew("a", A, B, sample=f"s{k:02}", number=2 * k))
        said.append(drew("b", A, *([] if k % 3 else [B]), sample=f"s{k:02}", number=2 * k + 1))
    before = tally(of_annotations(said)).figures()
    starred = [replace(a, ground_truth=a.annotator == "a" and k % 3 > 0) for k, a in enumerate(said)]
    assert sum(a.ground_truth for a in starred) > 10
    assert tally(of_annotations(starred)).figures() == before


def test_who_only_gives_ground_truth_is_a_judge() -> None:
    voices = [drew("a", A, number=1), drew("b", A, number=2)]
    judge = [
        drew("judge", B, number=3, ground_truth=True),
        drew("judge", B, sample="t", number=4, ground_truth=True),
    ]
    assert counted(*voices, *judge) == [("s", "a", 1), ("s", "b", 2), ("t", "judge", 4)]


def test_another_answer_of_the_same_person_is_the_vote_and_the_starred_one_the_verdict() -> None:
    mine = [drew("a", A, number=1), drew("a", B, number=2, minute=5, ground_truth=True)]
    assert counted(*mine, drew("b", A, number=3)) == [("s", "a", 1), ("s", "b", 3)]


def test_beside_copies_the_verdict() -> None:
    given = [
        drew("a", A, sample="t", number=9),
        drew("a", A, B, number=1, ground_truth=True),
        drew("b", A, number=2),
        drew("c", number=3, skipped=True),
    ]
    made = beside(sheet(given))
    assert made.annotators[-1] == GOLD
    rows = sorted(zip(made.annotator.tolist(), made.number.tolist(), strict=True))
    assert rows == [(0, 1), (0, 9), (1, 2), (2, 3), (3, 1)]
    assert not made.truth.any()
    assert np.bincount(made.owner, minlength=len(made.sample)).sum() == len(made.label)
    boxes = {
        (made.annotators[made.annotator[k]], made.samples[made.sample[k]]): int((made.owner == k).sum())
        for k in range(len(made.sample))
    }
    assert boxes == {("a", "s"): 2, ("a", "t"): 1, ("b", "s"): 1, ("c", "s"): 0, (GOLD, "s"): 2}


@pytest.mark.parametrize(
    ("parent", "change", "start"),
    [
        (None, None, SCRATCH),
        (7, None, BEGUN),
        (7, Change(), SCRATCH),  # shown nothing, drew nothing
        (7, Change(added=2), SCRATCH),  # shown nothing
        (7, Change(kept=2), UNTOUCHED),
        (7, Change(kept=2, added=1), CHANGED),
        (7, Change(deleted=1), CHANGED),
        (7, Change(moved=1), CHANGED),
    ],
)
def test_how_an_answer_began(parent: int | None, change: Change | None, start: int) -> None:
    assert sheet([replace(drew("a", A), parent_prediction=parent, change=change)]).start.tolist() == [start]
