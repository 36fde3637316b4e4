"""The queue by hand, by naive counting, on a job whose truth is known, and on real crowd boxes."""

from __future__ import annotations

import ast
import csv
import json
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from consensus.agreement import consensus_score, vote_share
from consensus.fusion import fuse_all
from consensus.queue import expected_errors, review_order, wanted_opinions
from consensus.sheet import Bools, Floats, Ints
from consensus.study import Study, of_annotations, study
from pool.boxes import iou_matrix, to_array
from pool.schema import Annotation, BadInput
from tests.consensus.scenes import answers, drew, region
from tests.consensus.simulation import Job, job

A = region("bin", 0.0, 0.0, 0.25, 0.25)
A_AS_GARBAGE = region("garbage", 0.0, 0.0, 0.25, 0.25)
A_UNNAMED = region(None, 0.0, 0.0, 0.25, 0.25)
B = region("garbage", 0.5, 0.5, 0.75, 0.75)

HAND = [
    ("identical", [[A, B], [A, B]], 0, 2),
    ("all empty", [[], [], []], 0, 3),
    ("one empty", [[A], []], Fraction(1, 2), 3),
    ("another label", [[A, B], [A_AS_GARBAGE, B]], Fraction(1, 2), 3),
    ("unnamed is a label", [[A], [A_UNNAMED]], Fraction(1, 2), 3),
    ("a stray box", [[A], [A], [A, B]], Fraction(1, 3), 3),
    ("three labels", [[A], [A_AS_GARBAGE], [A_UNNAMED]], Fraction(2, 3), 4),
    ("two labels and nothing", [[A], [A_AS_GARBAGE], []], Fraction(2, 3), 4),
    ("a lead of one", [[A], [A], [A_AS_GARBAGE], []], Fraction(1, 2), 4),
    ("two against two", [[A, B], [A, B], [B], [B]], Fraction(1, 2), 5),
    ("five are enough", [[A, B], [A, B], [B], [B], [A_AS_GARBAGE, B]], Fraction(3, 5), 5),
    ("six are too many already", [[A], [A], [A], [], [], []], Fraction(1, 2), 6),
]


@pytest.mark.parametrize(("people", "errors", "wanted"), [c[1:] for c in HAND], ids=[c[0] for c in HAND])
def test_by_hand(people: list[list[object]], errors: Fraction, wanted: int) -> None:
    given_ = [drew(f"p{k}", *regions, number=k) for k, regions in enumerate(people)]  # type: ignore[arg-type]
    made = of_annotations(given_)
    assert expected_errors(made)[0] == float(errors)
    assert wanted_opinions(made, cap=5)[0] == wanted


def test_fewer_than_two_people_say_nothing_about_errors() -> None:
    made = of_annotations(
        [
            drew("a", A, sample="one"),
            drew("a", B, sample="none", skipped=True),
            drew("a", sample="two"),
            drew("b", sample="two"),
        ]
    )
    assert made.marks.samples == ("none", "one", "two")
    assert np.isnan(expected_errors(made)).tolist() == [True, True, False]
    assert review_order(made).tolist() == [2]
    assert wanted_opinions(made, cap=5).tolist() == [2, 2, 2]
    assert wanted_opinions(made, cap=5, least=4).tolist() == [4, 4, 4]
    assert wanted_opinions(made, cap=1, least=1).tolist() == [1, 1, 2]


def test_nothing_gives_nothing() -> None:
    made = of_annotations([])
    assert expected_errors(made).shape == review_order(made).shape == wanted_opinions(made, 3).shape == (0,)


@pytest.mark.parametrize(
    ("field", "setting"),
    [("least", {"cap": 3, "least": 0}), ("cap", {"cap": 1}), ("lead", {"cap": 3, "lead": -1})],
)
def test_settings_out_of_range_are_refused(field: str, setting: dict[str, int]) -> None:
    with pytest.raises(BadInput, match=field):
        wanted_opinions(of_annotations([]), **setting)


def test_equals_are_ordered_by_name() -> None:
    one = [drew("a", A, sample=name) for name in ("b", "ü", "a", "垃圾")]
    other = [drew("b", sample=name) for name in ("b", "ü", "a", "垃圾")]
    worst = [drew("a", A, B, sample="worst"), drew("b", sample="worst")]
    made = of_annotations([*one, *other, *worst])
    assert [made.marks.samples[k] for k in review_order(made)] == ["worst", "a", "b", "ü", "垃圾"]


def ballots(made: Study) -> list[list[list[int]]]:
    """Votes of every answer, most first, of every object of every image."""
    said: list[dict[int, Counter[int]]] = [{} for _ in made.marks.samples]
    for k, owner in enumerate(made.objects):
        said[made.marks.sample[k]].setdefault(int(owner), Counter())[int(made.marks.label[k])] += 1
    voters = Counter(made.marks.answered[:, 0].tolist())
    return [
        [sorted([*c.values(), voters[k] - c.total(), 0], reverse=True) for c in objects.values()]
        for k, objects in enumerate(said)
    ]


@given(st.lists(answers(), min_size=1, max_size=3), st.integers(0, 2))
@settings(max_examples=50)
def test_against_naive_counting(scenes: list[list[Annotation]], lead: int) -> None:
    made = of_annotations([replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene])
    for k, objects in enumerate(ballots(made)):
        people = len(scenes[k])
        errors = sum((1 - Fraction(votes[0], people) for votes in objects), Fraction(0))
        got = expected_errors(made)[k]
        assert got == float(errors) if people > 1 else math.isnan(got)
        undecided = any(votes[0] - votes[1] <= lead for votes in objects)
        assert wanted_opinions(made, cap=9, lead=lead)[k] == max(2, people + undecided)


@given(st.lists(answers(), min_size=2, max_size=3), st.data())
@settings(max_examples=50)
def test_who_says_it_and_in_which_order_means_nothing(
    scenes: list[list[Annotation]], data: st.DataObject
) -> None:
    everything = [replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene]
    names = data.draw(st.permutations(["person 0", "person 1", "person 2", "person 3"]))
    mixed = [
        replace(
            a, annotator=names[int(a.annotator[-1])], regions=tuple(data.draw(st.permutations(a.regions)))
        )
        for a in data.draw(st.permutations(everything))
    ]
    one, other = of_annotations(everything), of_annotations(mixed)
    np.testing.assert_array_equal(expected_errors(one), expected_errors(other))
    np.testing.assert_array_equal(review_order(one), review_order(other))
    np.testing.assert_array_equal(wanted_opinions(one, 4), wanted_opinions(other, 4))


@given(answers())
@settings(max_examples=50)
def test_the_order_is_worst_first(given_: list[Annotation]) -> None:
    made = of_annotations([replace(a, sample=name) for name in "ab" for a in given_] + given_[:1])
    errors = expected_errors(made)[review_order(made)]
    assert (np.diff(errors) <= 0).all()
    assert len(errors) == (2 if len(given_) > 1 else 0)


def wrong_decisions(job: Job, made: Study) -> Ints:
    """What the majority decides wrongly on each image, (samples,).

    Objects it kept that are none or are kept already, objects under a wrong label, objects it missed.
    """
    votes, objects = made.votes, len(job.truth_sample)
    key, count = np.unique(
        made.objects * (objects + 1) + job.object[made.marks.row] + 1, return_counts=True
    )
    order = np.lexsort((key, -count, key // (objects + 1)))
    first = np.unique(key[order] // (objects + 1), return_index=True)[1]
    meant = key[order][first] % (objects + 1) - 1
    kept = 2 * votes.drawn >= votes.voters[votes.sample]
    right = kept & (meant >= 0)
    times = np.bincount(meant[right], minlength=objects)
    mislabelled = right & (votes.label != job.truth_label[meant])
    images = len(votes.voters)
    spurious = np.bincount(votes.sample[(kept & ~right) | mislabelled], minlength=images)
    off = np.bincount(job.truth_sample, weights=np.abs(times - 1), minlength=images)
    return np.asarray(spurious + off, dtype=np.intp)


def found(order: Floats, wrong: Bools) -> tuple[float, float]:
    """AUC, and the share of images with a wrong decision in the worst twentieth."""
    worst = np.argsort(-order, kind="stable")[: len(order) // 20]
    return float(roc_auc_score(wrong, order)), float(wrong[worst].mean())


@pytest.mark.parametrize("seed", [7, 8])
def test_the_first_images_are_those_that_the_majority_gets_wrong(seed: int) -> None:
    made_job = job(seed=seed)
    made = study(made_job.sheet)
    wrong = wrong_decisions(made_job, made) > 0
    usual = float(wrong.mean())
    seed_auc, seed_first = found(1.0 - consensus_score(made.votes), wrong)
    share_auc, share_first = found(1.0 - vote_share(made.votes), wrong)
    auc, first = found(expected_errors(made), wrong)
    assert 0.05 < usual < 0.1
    assert seed_auc < share_auc < 0.72
    assert auc > 0.77
    assert max(seed_first, share_first) < 1.5 * usual
    assert first > 4 * usual
    assert wrong[review_order(made)[: len(wrong) // 20]].mean() == first


def wrong_clusters(job: Job, made: Study) -> Ints:
    """Objects of the study on which the majority is wrong by itself, and those nobody drew, (samples,).

    Here each object is a question of its own: what is this, or is it nothing? Of two that were made of
    one, because people's boxes were too far apart, both are the object, and dropping one is an error.
    """
    votes, objects = made.votes, len(job.truth_sample)
    key, count = np.unique(
        made.objects * (objects + 1) + job.object[made.marks.row] + 1, return_counts=True
    )
    order = np.lexsort((key, -count, key // (objects + 1)))
    first = np.unique(key[order] // (objects + 1), return_index=True)[1]
    meant = key[order][first] % (objects + 1) - 1
    absent = votes.voters[votes.sample] - votes.drawn
    said = np.where(2 * absent > votes.voters[votes.sample], -1, votes.label)
    truth = np.where(meant >= 0, job.truth_label[meant], -1)
    unseen = np.setdiff1d(np.arange(objects), meant)
    images = len(votes.voters)
    wrong = np.bincount(votes.sample[said != truth], minlength=images)
    return np.asarray(wrong + np.bincount(job.truth_sample[unseen], minlength=images), dtype=np.intp)


@pytest.mark.parametrize("seed", [7, 8])
def test_half_of_the_first_images_hold_a_wrong_decision(seed: int) -> None:
    made_job = job(seed=seed)
    made = study(made_job.sheet)
    wrong = wrong_clusters(made_job, made) > 0
    _, seed_first = found(1.0 - consensus_score(made.votes), wrong)
    auc, first = found(expected_errors(made), wrong)
    assert first >= 0.5 > 0.2 > wrong.mean() > seed_first
    assert auc > 0.72


def first_people(job: Job, few: int, more: Bools) -> Job:
    """Only the first ``few`` answers of each image, one more where ``more``."""
    sheet = job.sheet
    place = np.arange(len(sheet.sample)) - np.searchsorted(sheet.sample, sheet.sample)
    kept = place < few + more[sheet.sample]
    boxes = kept[sheet.owner]
    rows = {
        name: getattr(sheet, name)[kept]
        for name in ("sample", "annotator", "number", "task", "created", "updated", "seconds", "truth")
    }
    columns = {name: getattr(sheet, name)[boxes] for name in ("label", "boxes", "turn")}
    owner = (np.cumsum(kept) - 1)[sheet.owner[boxes]]
    return replace(
        job,
        sheet=replace(
            sheet, **rows, **columns, owner=owner, skipped=sheet.skipped[kept], start=sheet.start[kept]
        ),
        object=job.object[boxes],
        duplicate=job.duplicate[boxes],
        merged=job.merged[boxes],
    )


def test_one_more_opinion_goes_where_it_corrects_most() -> None:
    whole = job(3000, seed=3, least=4, most=4)
    none, every = np.zeros(3000, dtype=np.bool_), np.ones(3000, dtype=np.bool_)
    few = first_people(whole, 3, none)
    made = study(few.sheet)

    def corrected(more: Bools) -> int:
        after = first_people(whole, 3, more)
        return int(before - wrong_decisions(after, study(after.sheet)).sum())

    before = int(wrong_decisions(few, made).sum())
    asked = wanted_opinions(made, cap=4) == 4
    asked_too = wanted_opinions(made, cap=4, lead=1) == 4
    assert (asked_too >= asked).all()
    assert asked.mean() < 0.25 < 0.75 < asked_too.mean()
    assert corrected(asked) > 0.6 * corrected(every) > 0


CROWD = Path(__file__).resolve().parents[2].parent / "shared/data/crowdboxes"


@pytest.mark.skipif(not CROWD.is_dir(), reason="the crowd's boxes are not here")
def test_real_crowd_boxes() -> None:
    """The order follows the number of wrong boxes of the majority more closely than the score does."""
    side = 4000.0

    def regions(corners: list[tuple[tuple[float, float], tuple[float, float]]]) -> list[object]:
        return [region("bird", *(v / side for v in (*low, *high))) for low, high in corners]

    with (CROWD / "boundingbox_data.csv").open() as file:
        given_ = [
            drew(row["uid"], *regions(ast.literal_eval(row["annotation"])), sample=row["item"], number=k)  # type: ignore[arg-type]
            for k, row in enumerate(csv.DictReader(file))
        ]
    gold = json.loads((CROWD / "boundingbox_gold.json").read_text())
    made, fused = of_annotations(given_), fuse_all(given_)
    wrong = []
    for name in made.marks.samples:
        true = np.array([[*a, *b] for a, b in map(ast.literal_eval, gold[name])]).reshape(-1, 4) / side
        drawn = to_array(r.box for r in fused[name].regions)
        hit = iou_matrix(drawn, true) >= 0.5
        wrong.append(len(drawn) + len(true) - 2 * int(hit[linear_sum_assignment(~hit)].sum()))
    score = float(spearmanr(1.0 - consensus_score(made.votes), wrong)[0])
    errors = float(spearmanr(expected_errors(made), wrong)[0])
    assert (score, errors) == pytest.approx((0.48, 0.63), abs=0.02)
