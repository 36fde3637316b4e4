"""The simulated job has what it claims: its traits can be counted, and its export is the same job."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime

import numpy as np
import pytest

from consensus.sheet import counting
from tests.consensus.simulation import (
    CONFUSES,
    DOUBLES,
    LOOSE,
    MISSES,
    SIZE,
    TIGHT,
    Job,
    export,
    job,
    with_merges,
)


@pytest.fixture(scope="module")
def some() -> Job:
    return job(2000)


def test_the_same_seed_is_the_same_job() -> None:
    one, again, other = job(50), job(50), job(50, seed=8)
    for column in fields(one.sheet):
        np.testing.assert_array_equal(getattr(one.sheet, column.name), getattr(again.sheet, column.name))
    np.testing.assert_array_equal(one.object, again.object)
    assert not np.array_equal(one.truth_boxes, other.truth_boxes)


def test_the_columns_fit_together(some: Job) -> None:
    sheet = some.sheet
    assert list(sheet.samples) == sorted(sheet.samples)
    assert list(sheet.annotators) == sorted(sheet.annotators)
    assert list(sheet.labels) == sorted(str(name) for name in sheet.labels)
    assert (np.diff(sheet.owner) >= 0).all()
    assert (np.diff(some.truth_sample) >= 0).all()
    assert (
        len(sheet.owner) == len(sheet.boxes) == len(some.object) == len(some.duplicate) == len(some.merged)
    )
    assert sheet.boxes.min() >= 0
    assert sheet.boxes.max() <= 1
    assert ((sheet.boxes[:, 2:] - sheet.boxes[:, :2]) * SIZE > 1.9).all()
    real = some.object >= 0
    np.testing.assert_array_equal(some.truth_sample[some.object[real]], sheet.sample[sheet.owner[real]])
    np.testing.assert_array_equal(counting(sheet), np.arange(len(sheet.sample)))
    answers = np.bincount(sheet.sample)
    assert set(answers.tolist()) == {3, 4, 5}
    empty = 1 - len(np.unique(some.truth_sample)) / 2000
    assert empty == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("people", [3, 5])
def test_a_small_team_is_a_team(people: int) -> None:
    small = job(20, people=people, least=1, most=3)
    assert len(small.sheet.annotators) == len(small.traits.miss) == people
    assert (small.sheet.annotator < people).all()


def test_the_habits_can_be_counted(some: Job) -> None:
    sheet, traits = some.sheet, some.traits
    who = sheet.annotator[sheet.owner]
    real = (some.object >= 0) & ~some.duplicate
    people = len(sheet.annotators)
    shown = np.bincount(
        sheet.annotator, weights=np.bincount(some.truth_sample, minlength=2000)[sheet.sample]
    )
    drawn = np.bincount(who[real], minlength=people)
    assert 1 - drawn / shown == pytest.approx(traits.miss, abs=0.02)
    other = sheet.label[real] != some.truth_label[some.object[real]]
    confused = np.bincount(who[real], weights=other) / drawn
    assert confused == pytest.approx(traits.confuse, abs=0.025)
    twice = np.bincount(who, weights=some.duplicate) / np.bincount(who)
    assert twice == pytest.approx(traits.double, abs=0.01)
    stray = (some.object < 0) & ~some.duplicate
    strays = np.bincount(who[stray], minlength=people) / np.bincount(sheet.annotator) / 8
    assert strays == pytest.approx(traits.stray, abs=0.01)

    inner = real & ((sheet.boxes > 0.001) & (sheet.boxes < 0.999)).all(axis=1)
    side = sheet.boxes[:, 2] - sheet.boxes[:, 0]
    true = some.truth_boxes[some.object, 2] - some.truth_boxes[some.object, 0]
    growth = [float(np.mean((side / true - 1)[inner & (who == k)])) for k in range(people)]
    assert growth == pytest.approx(traits.growth, abs=0.01)

    assert np.argmax(traits.growth) == LOOSE
    assert np.argmin(traits.growth) == TIGHT
    assert np.argmax(traits.miss) == MISSES
    assert np.argmax(traits.confuse) == CONFUSES
    assert np.argmax(traits.double) == DOUBLES


def test_a_merged_box_covers_two_objects_of_its_image(some: Job) -> None:
    merged = with_merges(some, 0.1)
    count = int(merged.merged.sum())
    assert len(merged.object) == len(some.object) - count
    assert count / len(some.sheet.sample) == pytest.approx(0.1, abs=0.02)
    assert (merged.object[merged.merged] == -1).all()
    assert np.bincount(merged.sheet.owner[merged.merged]).max() == 1
    assert not some.merged.any()
    for row in np.flatnonzero(merged.merged)[:50]:
        owner, hull = merged.sheet.owner[row], merged.sheet.boxes[row]
        before = some.sheet.boxes[some.sheet.owner == owner]
        after = merged.sheet.boxes[merged.sheet.owner == owner]
        gone = np.array([box for box in before if not (after == box).all(axis=1).any()])
        if len(gone) == 1:  # the other one held it, and is the hull
            gone = np.concatenate([gone, before[(before == hull).all(axis=1)]])
        assert len(gone) == 2
        np.testing.assert_array_equal(hull, [*gone[:, :2].min(axis=0), *gone[:, 2:].max(axis=0)])


def test_without_merges_it_is_the_same_job(some: Job) -> None:
    np.testing.assert_array_equal(with_merges(some, 0.0).sheet.boxes, some.sheet.boxes)


def test_the_export_is_the_same_job() -> None:
    made = job(30)
    sheet = made.sheet
    tasks = json.loads(json.dumps(export(made)))
    assert [task["data"]["image"] for task in tasks] == [f"/data/{name}.jpg" for name in sheet.samples]
    answers = [(task["id"], answer) for task in tasks for answer in task["annotations"]]
    assert [number for number, _ in answers] == sheet.task.tolist()
    assert [answer["completed_by"] for _, answer in answers] == (sheet.annotator + 1).tolist()
    assert [answer["id"] for _, answer in answers] == sheet.number.tolist()
    assert [answer["lead_time"] for _, answer in answers] == sheet.seconds.tolist()
    assert [datetime.fromisoformat(a["updated_at"]).timestamp() for _, a in answers] == pytest.approx(
        sheet.updated, abs=1e-3
    )
    results = [(k, result) for k, (_, answer) in enumerate(answers) for result in answer["result"]]
    assert [k for k, _ in results] == sheet.owner.tolist()
    assert len({result["id"] for _, result in results}) == len(results)
    values = [result["value"] for _, result in results]
    assert [value["rectanglelabels"] for value in values] == [[sheet.labels[k]] for k in sheet.label]
    drawn = [(v["x"], v["y"], v["x"] + v["width"], v["y"] + v["height"]) for v in values]
    np.testing.assert_allclose(np.array(drawn) / 100, sheet.boxes, atol=1e-12)
