"""Trends by loops over conflicts; alarms by how often they are false, and by a drop that was planted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstwobign

from consensus.conflicts import MISSING, conflicts
from consensus.sheet import Bools, Sheet
from consensus.study import Study, of_annotations, study
from consensus.trend import MEMORY, Trend, trend
from pool.schema import Annotation, BadInput
from tests.consensus.scenes import answers, drew, region
from tests.consensus.simulation import DAY, job

A = region("bin", 0.125, 0.125, 0.25, 0.25)
B = region("garbage", 0.5, 0.5, 0.75, 0.75)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def at(annotation: Annotation, moment: datetime) -> Annotation:
    return replace(annotation, created_at=moment, updated_at=moment)


@st.composite
def years(draw: st.DrawFn) -> list[Annotation]:
    """Images answered over several weeks, each person in their own time."""
    scenes = draw(st.lists(answers(), min_size=1, max_size=6))
    return [
        at(
            replace(a, sample=f"s{k}"),
            MONDAY + timedelta(days=draw(st.integers(0, 40)), hours=draw(st.integers(0, 23))),
        )
        for k, scene in enumerate(scenes)
        for a in scene
    ]


def slow(told: Study, spans: Sequence[tuple[float, float]], who: int | None) -> list[tuple[float, int]]:
    """Share borne out and images of each span; of the project where ``who`` is None."""
    marks, found = told.marks, conflicts(told)
    created = told.sheet.created[marks.answer]
    out = []
    for start, end in spans:
        wrong, boxes, images = 0, 0, set()
        for row, (s, p) in enumerate(marks.answered.tolist()):
            if told.votes.voters[s] < 2 or who not in (None, p):
                continue
            moment = created[marks.answered[:, 0] == s].max() if who is None else created[row]
            if not start <= moment < end:
                continue
            here = (found.sample == s) & (found.annotator == p)
            wrong += int(here.sum())
            boxes += int(((marks.sample == s) & (marks.annotator == p)).sum())
            boxes += int((here & (found.kind == MISSING)).sum())
            images.add(s)
        share = (1 - wrong / boxes if boxes else 1.0) if images else math.nan
        out.append((share, len(images)))
    return out


@given(years())
@settings(max_examples=60, deadline=None)
def test_curves_like_loops(said: list[Annotation]) -> None:
    told = of_annotations(said)
    found = trend(told)
    # Periods that are no weeks end with an answer, which is in them.
    weeks = len(found.start) == 0 or bool(np.all(found.end - found.start == 7 * DAY))
    ends = found.end if weeks else np.append(found.start[1:], np.inf)
    spans = list(zip(found.start.tolist(), ends.tolist(), strict=True))
    for who, course in [(None, found.project), *enumerate(found.people)]:
        expected = slow(told, spans, who)
        assert course.agreement == pytest.approx([share for share, _ in expected], nan_ok=True)
        assert course.images.tolist() == [images for _, images in expected]
        known = course.agreement[np.isfinite(course.agreement)]
        assert ((known >= 0.0) & (known <= 1.0)).all()
    assert len(found.people) == len(told.marks.annotators)


def pair(number: int, moment: datetime, agree: bool = True) -> list[Annotation]:
    one = drew("a", A, sample=f"s{number:04d}", number=2 * number)
    two = drew("b", A if agree else B, sample=f"s{number:04d}", number=2 * number + 1)
    return [at(one, moment), at(two, moment)]


def test_weeks_begin_on_monday_and_empty_ones_are_left_out() -> None:
    days = [0, 6, 7, 14, 35]
    said = [a for k, day in enumerate(days) for a in pair(k, MONDAY + timedelta(days=day), agree=day != 6)]
    found = trend(of_annotations(said))
    assert [datetime.fromtimestamp(s, UTC) for s in found.start] == [
        MONDAY + timedelta(weeks=k) for k in (0, 1, 2, 5)
    ]
    assert (found.end == found.start + 7 * DAY).all()
    assert found.project.images.tolist() == [2, 1, 1, 1]
    # Of the first two images one has a box each, borne out, the other a box and a missed object each.
    assert found.project.agreement == pytest.approx([1 / 3, 1, 1, 1])


def test_an_answer_of_another_age_costs_one_week() -> None:
    days = [0, 7, 14, 21]
    said = [a for k, day in enumerate(days) for a in pair(k, MONDAY + timedelta(days=day))]
    recent = trend(of_annotations(said))
    for number, moment in ((8, datetime(1, 1, 1, tzinfo=UTC)), (9, datetime(9999, 12, 26, tzinfo=UTC))):
        said += pair(number, moment)
    found = trend(of_annotations(said))
    assert found.start[1:-1].tolist() == recent.start.tolist()
    assert found.end[1:-1].tolist() == recent.end.tolist()
    assert found.project.images.tolist() == [1] * 6
    assert found.start[0] <= datetime(1, 1, 1, tzinfo=UTC).timestamp() < found.end[0] < found.start[1]


def test_a_short_time_is_cut_into_equal_parts() -> None:
    said = [a for k in range(40) for a in pair(k, MONDAY + timedelta(hours=k))]
    found = trend(of_annotations(said))
    assert found.project.images.tolist() == [5] * 8
    assert (found.start <= found.end).all()
    assert (found.end[:-1] < found.start[1:]).all()


def test_the_smooth_curve_forgets() -> None:
    told = study(job(200, people=4, least=2, most=3).sheet)
    found, marks = conflicts(told), told.marks
    course = trend(told, found).people[1]
    week = np.searchsorted(trend(told).end, told.sheet.created[marks.answer], side="right")
    mine = (marks.answered[:, 1] == 1) & (told.votes.voters[marks.answered[:, 0]] >= 2)
    wrong, boxes = 0.0, 0.0
    for k in range(len(course.smooth)):
        images = marks.answered[mine & (week == k), 0]
        rows = (found.annotator == 1) & np.isin(found.sample, images)
        drawn = ((marks.annotator == 1) & np.isin(marks.sample, images)).sum()
        wrong = MEMORY * rows.sum() + (1 - MEMORY) * wrong
        boxes = MEMORY * (drawn + (rows & (found.kind == MISSING)).sum()) + (1 - MEMORY) * boxes
        assert course.smooth[k] == pytest.approx(1 - wrong / boxes)


def by_formula(values: Sequence[float], alarm: float) -> float:
    """Distance of the summed deviations from 0 against the limit of Kolmogorov's law."""
    x = np.asarray(values)
    sums = np.cumsum(x - x.mean())
    return float(np.abs(sums).max() / (x.std(ddof=1) * np.sqrt(len(x))) / kstwobign.isf(alarm))


def sequence(agree: Sequence[bool]) -> Trend:
    said = [a for k, yes in enumerate(agree) for a in pair(k, MONDAY + timedelta(hours=k), yes)]
    return trend(of_annotations(said), alarm=0.01)


def test_drift_by_hand() -> None:
    agree = [k % 8 != 0 for k in range(60)] + [k % 2 == 0 for k in range(60)]
    found = sequence(agree)
    assert [p.drift for p in found.people] == [found.project.drift] * 2
    drift = found.project.drift
    assert drift.direction == -1
    assert drift.strength == pytest.approx(by_formula([float(a) for a in agree], 0.01))
    top = int(np.argmax(np.abs(np.cumsum(np.array(agree) - np.mean(agree)))))
    assert drift.since == (MONDAY + timedelta(hours=top)).timestamp()
    assert (drift.before, drift.after) == pytest.approx(
        (np.mean(agree[: top + 1]), np.mean(agree[top + 1 :]))
    )
    assert sequence(agree[::-1]).project.drift.direction == 1


def test_too_few_images_tell_nothing() -> None:
    drift = sequence([True] * 9 + [False] * 9).project.drift
    assert drift.direction == 0
    assert math.isnan(drift.strength)


def test_no_deviation_is_no_drift() -> None:
    assert sequence([True] * 30).project.drift.direction == 0
    assert sequence([True] * 30).project.drift.strength == 0.0


def test_answers_of_one_moment_have_no_order() -> None:
    agree = [True] * 40 + [False] * 40
    assert sequence(agree).project.drift.direction == -1
    imported = trend(of_annotations([a for k, yes in enumerate(agree) for a in pair(k, MONDAY, yes)]))
    assert len(imported.start) == 1
    assert imported.project.drift.strength == pytest.approx(0.0, abs=1e-9)
    assert imported.project.drift.direction == 0


@cache
def quiet(seed: int) -> Study:
    return study(job(200, seed=seed, people=8).sheet)


def test_alarms_are_false_as_rarely_as_asked() -> None:
    courses = [c.drift for seed in range(40) for c in trend(quiet(seed), alarm=0.1).people]
    assert len(courses) == 320
    rate = np.mean([drift.direction != 0 for drift in courses])
    assert 0.02 < rate < 0.13


def careless(sheet: Sheet, person: int, since: float, miss: float) -> Sheet:
    """The sheet with more missed by one person from some moment on."""
    rng = np.random.default_rng(3)
    late = (sheet.annotator == person) & (sheet.created >= since)
    keep: Bools = ~late[sheet.owner] | (rng.random(len(sheet.owner)) >= miss)
    columns = {name: getattr(sheet, name)[keep] for name in ("owner", "label", "boxes", "turn")}
    return replace(sheet, **columns)


def test_a_planted_drop_is_found_and_only_there() -> None:
    said = job(600, seed=11, people=6).sheet
    since = float(np.quantile(said.created, 0.6))
    told = study(careless(said, 2, since, 0.25))
    found = trend(told)
    drift = found.people[2].drift
    assert drift.direction == -1
    assert drift.before - drift.after == pytest.approx(0.22, abs=0.06)
    assert abs(drift.since - since) < 5 * DAY
    assert [k for k, course in enumerate(found.people) if course.drift.direction] == [2]


@given(years(), st.data())
@settings(max_examples=40, deadline=None)
def test_names_and_order_mean_nothing(said: list[Annotation], data: st.DataObject) -> None:
    names = data.draw(st.permutations([f"person {k}" for k in range(4)]))
    images = data.draw(st.permutations([f"s{k}" for k in range(6)]))
    other = [
        replace(a, annotator=names[int(a.annotator[-1])], sample=images[int(a.sample[-1])])
        for a in data.draw(st.permutations(said))
    ]
    one, two = of_annotations(said), of_annotations(other)
    ours, theirs = trend(one), trend(two)
    assert ours.start == pytest.approx(theirs.start)
    pairs = [(ours.project, theirs.project)] + [
        (ours.people[k], theirs.people[two.marks.annotators.index(names[int(name[-1])])])
        for k, name in enumerate(one.marks.annotators)
    ]
    for a, b in pairs:
        for name in ("agreement", "images", "smooth"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-12, nan_ok=True)
        assert a.drift.direction == b.drift.direction


def test_nobody_and_nobody_to_compare() -> None:
    nothing = trend(of_annotations([]))
    assert nothing.people == ()
    assert nothing.start.shape == nothing.project.agreement.shape == (0,)
    alone = trend(of_annotations([drew("a", A)]))
    assert alone.start.shape == alone.people[0].smooth.shape == (0,)
    assert alone.people[0].drift.direction == 0


@pytest.mark.parametrize("alarm", [0.0, 1.0, float("nan")])
def test_impossible_alarms(alarm: float) -> None:
    with pytest.raises(BadInput, match="alarm"):
        trend(of_annotations([]), alarm=alarm)
