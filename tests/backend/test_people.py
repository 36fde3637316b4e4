"""Simulated annotators: their habits can be measured, and they leave boxes as Label Studio would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.demo.people import PEOPLE, Habit, annotate
from backend.demo.scenes import LABELS
from pool.schema import BadInput, Box, Region

BINS = LABELS[:2]
CAREFUL = Habit("careful")


def pictures(count: int = 200, seed: int = 5) -> list[tuple[Region, ...]]:
    """Truths of ``count`` pictures: 0 to 6 boxes well inside the image that do not touch each other."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        cells = rng.permutation(9)[: int(rng.integers(0, 7))]
        regions = []
        for cell in cells:
            x, y = 0.05 + (cell % 3) * 0.3, 0.05 + (cell // 3) * 0.3
            w, h = rng.uniform(0.12, 0.22, 2)
            regions.append(Region(str(rng.choice(LABELS)), Box(x, y, x + w, y + h)))
        out.append(tuple(regions))
    return out


def predicted(truth: Sequence[Region], shift: float = 0.0) -> tuple[Region, ...]:
    """Pre-drawn boxes for a truth, moved right by a share of their width."""
    return tuple(
        Region(
            r.label,
            Box(
                r.box.x1 + shift * (r.box.x2 - r.box.x1),
                r.box.y1,
                r.box.x2 + shift * (r.box.x2 - r.box.x1),
                r.box.y2,
            ),
            0.7,
            f"p{i}",
        )
        for i, r in enumerate(truth)
    )


def drawn(habit: Habit, truths: Sequence[Sequence[Region]]) -> list[tuple[Region, Region | None]]:
    """Every true region with what a person who started from an empty screen made of it."""
    rng = np.random.default_rng(11)
    pairs: list[tuple[Region, Region | None]] = []
    for truth in truths:
        made, _ = annotate(truth, (), habit, rng)
        for region in truth:
            cx, cy = (region.box.x1 + region.box.x2) / 2, (region.box.y1 + region.box.y2) / 2
            hit = [m for m in made if m.box.x1 < cx < m.box.x2 and m.box.y1 < cy < m.box.y2]
            assert len(hit) <= 1
            pairs.append((region, hit[0] if hit else None))
    return pairs


@pytest.mark.parametrize("habit", PEOPLE, ids=lambda h: h.name)
def test_a_habit_can_be_measured(habit: Habit) -> None:
    pairs = drawn(habit, pictures())
    count = len(pairs)
    assert count > 500
    missed = sum(made is None for _, made in pairs)
    assert missed / count == pytest.approx(habit.miss_rate, abs=3.5 * np.sqrt(habit.miss_rate / count))
    seen = [(true, made) for true, made in pairs if made is not None]
    bins = [(true, made) for true, made in seen if true.label in BINS]
    mixed_up = sum(true.label != made.label for true, made in bins) / len(bins)
    assert mixed_up == pytest.approx(habit.confuse_rate, abs=3.5 * np.sqrt(habit.confuse_rate / len(bins)))
    assert all(true.label == made.label for true, made in seen if true.label not in BINS)
    sides = [(true.box.x2 - true.box.x1, made.box.x2 - made.box.x1) for true, made in seen]
    growth = np.array([after / before - 1 for before, after in sides])
    error = 3.5 * np.sqrt(2) * habit.jitter / np.sqrt(len(seen))
    assert growth.mean() == pytest.approx(habit.looseness, abs=error)
    assert growth.std() == pytest.approx(np.sqrt(2) * habit.jitter, rel=0.12)


def test_the_four_people_differ_in_the_stated_way() -> None:
    careful, loose, hasty, mixer = PEOPLE
    assert loose.looseness > 0.1
    assert hasty.looseness < 0
    assert hasty.miss_rate == max(p.miss_rate for p in PEOPLE)
    assert mixer.confuse_rate == max(p.confuse_rate for p in PEOPLE)
    assert careful.seconds_per_box == max(p.seconds_per_box for p in PEOPLE)
    assert len({p.name for p in PEOPLE}) == len(PEOPLE)


@pytest.mark.parametrize("habit", PEOPLE, ids=lambda h: h.name)
def test_equal_seeds_give_equal_work(habit: Habit) -> None:
    truth = pictures(20)[3]
    first = [annotate(truth, predicted(truth, 0.2), habit, np.random.default_rng(k)) for k in range(5)]
    again = [annotate(truth, predicted(truth, 0.2), habit, np.random.default_rng(k)) for k in range(5)]
    assert first == again
    assert len(set(first)) > 1


def test_good_boxes_stay_as_they_are() -> None:
    for truth in pictures(30):
        boxes = predicted(truth)
        made, _ = annotate(truth, boxes, CAREFUL, np.random.default_rng(0))
        assert [(r.id, r.box, r.label, r.origin, r.score) for r in made] == [
            (r.id, r.box, r.label, "prediction", None) for r in boxes
        ]


def test_a_shifted_box_is_moved_and_keeps_its_id() -> None:
    truth = (Region(LABELS[2], Box(0.2, 0.2, 0.4, 0.4)),)
    made, _ = annotate(truth, predicted(truth, 0.3), CAREFUL, np.random.default_rng(0))
    assert made == (Region(LABELS[2], truth[0].box, None, "p0", "prediction-changed"),)


def test_a_wrong_label_is_renamed_where_the_box_stands() -> None:
    box = Box(0.2, 0.2, 0.4, 0.4)
    drawn_box = Region(LABELS[0], Box(0.205, 0.2, 0.4, 0.4), 0.4, "p0")
    made, _ = annotate((Region(LABELS[1], box),), (drawn_box,), CAREFUL, np.random.default_rng(0))
    assert made == (Region(LABELS[1], drawn_box.box, None, "p0", "prediction-changed"),)


def test_false_boxes_and_doubles_are_deleted_and_gaps_filled() -> None:
    truth = (Region(LABELS[0], Box(0.1, 0.1, 0.3, 0.3)), Region(LABELS[2], Box(0.6, 0.6, 0.8, 0.8)))
    screen = (
        Region(LABELS[2], Box(0.4, 0.0, 0.5, 0.1), 0.9, "false"),
        Region(LABELS[0], Box(0.13, 0.1, 0.3, 0.3), 0.8, "double"),
        Region(LABELS[0], Box(0.1, 0.1, 0.3, 0.3), 0.5, "right"),
    )
    made, _ = annotate(truth, screen, CAREFUL, np.random.default_rng(0))
    assert [(r.origin, r.label) for r in made] == [("prediction", LABELS[0]), ("manual", LABELS[2])]
    assert made[0].id == "right"
    assert made[1].box == truth[1].box
    assert made[1].id not in {None, "false", "double", "right"}


def test_a_credulous_person_leaves_a_false_box_about_as_often_as_stated() -> None:
    screen = (Region(LABELS[2], Box(0.4, 0.4, 0.5, 0.5), 0.9, "false"),)
    rng = np.random.default_rng(2)
    left = sum(len(annotate((), screen, Habit("x", credulity=0.3), rng)[0]) for _ in range(500))
    assert left == pytest.approx(150, abs=36)


def test_a_drawn_box_saves_an_object_from_being_overlooked() -> None:
    blind = Habit("blind", miss_rate=1.0)
    truth = pictures(20)[4]
    assert truth
    assert annotate(truth, (), blind, np.random.default_rng(0))[0] == ()
    assert len(annotate(truth, predicted(truth), blind, np.random.default_rng(0))[0]) == len(truth)


def test_good_boxes_save_time_and_empty_pictures_take_some() -> None:
    truths = pictures(60)
    rng = np.random.default_rng(0)
    alone = sum(annotate(t, (), PEOPLE[0], rng)[1] for t in truths)
    helped = sum(annotate(t, predicted(t), PEOPLE[0], rng)[1] for t in truths)
    assert helped < 0.6 * alone
    nothing, seconds = annotate((), (), PEOPLE[0], rng)
    assert nothing == ()
    assert seconds > 0


edge = st.floats(0, 1)
region = st.builds(
    lambda label, a, b, c, d: Region(label, Box(min(a, b), min(c, d), max(a, b), max(c, d)), 0.5, "p"),
    st.sampled_from((*LABELS, None)), edge, edge, edge, edge,
)  # fmt: skip
habits = st.builds(
    Habit, st.just("any"), st.floats(-0.9, 2), st.floats(0, 1), st.floats(0, 1), st.floats(0, 3),
    st.floats(0, 9), st.floats(0, 9), st.floats(0, 1), st.just(0.0),
)  # fmt: skip


@given(st.lists(region, max_size=5), st.lists(region, max_size=5), habits, st.integers(0, 9))
def test_what_a_person_draws_lies_inside_the_image(
    truth: list[Region], screen: list[Region], habit: Habit, seed: int
) -> None:
    made, seconds = annotate(truth, screen, habit, np.random.default_rng(seed))
    assert seconds >= 0
    assert len(made) <= len(truth)
    ids = [r.id for r in made if r.origin == "manual"]
    assert len(set(ids)) == len(ids)
    for r in made:
        assert r.score is None
        assert r.origin in ("manual", "prediction", "prediction-changed")
        if r.origin == "manual":
            assert 0 <= r.box.x1 < r.box.x2 <= 1
            assert 0 <= r.box.y1 < r.box.y2 <= 1
        else:
            assert r.id == "p"
            assert 0 <= r.box.x1 <= r.box.x2 <= 1
            assert 0 <= r.box.y1 <= r.box.y2 <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"miss_rate": 1.2},
        {"confuse_rate": -0.1},
        {"patience": 2},
        {"jitter": -1},
        {"looseness": -1},
        {"seconds_per_box": float("nan")},
    ],
)
def test_impossible_habits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Habit("x", **wrong)
