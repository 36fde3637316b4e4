"""What the loop does with images and answers, with the demo's real weights and no Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from backend import asking, learning
from backend.demo.run import WEIGHTS
from backend.demo.scenes import LABELS
from backend.house import House, Job
from backend.intake import one
from backend.settings import load
from pool.schema import Annotation, NotReady, Project, Sample, Task
from sampler.strategies import STRATEGIES
from tests.pool.drawings import encode, scene

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 12


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = House(load(data_dir=tmp_path, imgsz=64, threads=1, device="cpu", holdout_share=0.5))
    opened.pool.save_project(Project(1, "Bins", "label", "image", "image", LABELS, {}, "secret"))
    samples = [one(opened, encode(scene(seed)), f"{seed}.jpg") for seed in range(COUNT)]
    opened.pool.bind_tasks([Task(1, n, s.id, f"/data/{n}.jpg") for n, s in enumerate(samples, 1)])
    name, sha256 = opened.registry.register(WEIGHTS)
    learning.first_model(opened, opened.pool.project(1), name, sha256, LABELS)
    yield opened
    opened.close()


def sides(house: House) -> tuple[list[Sample], list[Sample]]:
    samples = sorted(house.pool.samples().values(), key=lambda s: s.id)
    return [s for s in samples if not s.holdout], [s for s in samples if s.holdout]


def say(house: House, sample: Sample, annotator: str, *, skipped: bool = False) -> None:
    task = next(t.id for t in house.pool.tasks(1) if t.sample == sample.id)
    number = len(house.pool.annotations(1)) + 1
    said = Annotation(number, 1, task, sample.id, annotator, (), NOW, NOW, skipped=skipped)
    house.pool.save_annotations([said])


def test_an_image_that_is_gone_costs_only_itself(house: House) -> None:
    lost = next(iter(house.pool.samples().values()))
    house.images.local(lost).unlink()
    report = learning.look(house, house.champion(1), Job("look"))
    assert (report["predicted"], report["failed"]) == (COUNT - 1, 1)
    (failure,) = house.pool.failures(1)
    assert failure.subject == lost.id
    assert house.pool.unpredicted(1, house.champion(1).version) == []  # what can be had is served
    number = int(lost.name.removesuffix(".jpg"))
    assert one(house, encode(scene(number)), lost.name) == lost  # as the message says: add it again
    assert learning.look(house, house.champion(1), Job("look"))["predicted"] == 1
    assert house.pool.failures(1) == []


def test_a_store_that_is_away_blames_no_image(house: House) -> None:
    folder = Path(house.settings.images_root)
    folder.rename(folder.with_name("unmounted"))
    with pytest.raises(NotReady, match="mounted"):
        learning.look(house, house.champion(1), Job("look"))
    folder.with_name("unmounted").rename(folder)
    assert house.pool.failures(1) == []
    assert learning.look(house, house.champion(1), Job("look"))["predicted"] == COUNT


def test_who_skips_has_answered_and_holdout_images_want_two_people(house: House) -> None:
    plain, holdout = sides(house)
    say(house, plain[0], "ann")
    say(house, plain[1], "ann", skipped=True)
    say(house, holdout[0], "ann")
    say(house, holdout[1], "ann", skipped=True)
    say(house, holdout[1], "bob")
    say(house, holdout[2], "ann")
    say(house, holdout[2], "ann")  # twice the same person is one person
    wanted = asking.undecided(house, 1)
    assert wanted.keys() == {s.id for s in (*plain[2:], holdout[0], *holdout[2:])}
    assert {wanted[s.id] for s in plain[2:]} == {0}
    assert (wanted[holdout[0].id], wanted[holdout[2].id]) == (1, 1)


def test_holdout_images_that_nobody_saw_come_before_those_that_wait_for_a_second_person(
    house: House,
) -> None:
    learning.look(house, house.champion(1), Job("look"))
    plain, holdout = sides(house)
    assert len(holdout) > 2
    for sample in holdout[:-1]:
        say(house, sample, "ann")
    picks = asking.decide(house, house.champion(1), 2, "round")
    assert [d.sample for d in picks if d.route == "double"] == [holdout[-1].id]
    asked = [d for d in picks if d.route == "human"]
    assert {d.sample for d in asked} <= {s.id for s in plain}
    values = house.pool.uncertainties(1, house.champion(1).version)
    assert sorted((values[s.id] for s in plain), reverse=True)[:2] == pytest.approx(
        [d.uncertainty for d in asked]
    )


def test_what_people_see_hides_weak_boxes_behind_the_background(house: House) -> None:
    learning.look(house, house.champion(1), Job("look"))
    for prediction in house.pool.predictions(house.champion(1).version):
        seen = asking.as_shown(prediction, 0.25)
        scores = np.array([r.score for r in prediction.regions], dtype=float)
        assert len(seen.regions) == (scores >= 0.25).sum()
        assert seen.background >= max([prediction.background, *scores[scores < 0.25]])


def test_each_strategy_chooses_from_what_the_detector_saw(house: House) -> None:
    model = house.champion(1)
    learning.look(house, model, Job("look"))
    plain, _ = sides(house)
    say(house, plain[0], "ann")
    for strategy in STRATEGIES:
        decisions = asking.decide(house, model, 3, "round", strategy)
        again = asking.decide(house, model, 3, "round", strategy)
        assert decisions == again
        human = [d for d in decisions if d.route == "human"]
        assert len({d.sample for d in human}) == 3
        assert {d.strategy for d in human} == {strategy}
        assert {d.sample for d in human} <= {s.id for s in plain[1:]}
        chance = 3 / (len(plain) - 1) if strategy == "random" else 1.0
        assert [d.p_select for d in human] == pytest.approx([chance] * 3)


def test_strategies_are_told_what_there_is(house: House) -> None:
    model = house.champion(1)
    learning.look(house, model, Job("look"))
    plain, _ = sides(house)
    say(house, plain[0], "ann")
    waiting = [s.id for s in plain[1:]]
    values = house.pool.uncertainties(1, model.version)
    signals = asking.signals_of(house, model, waiting, np.array([values[s] for s in waiting]))
    seen = {p.sample: p for p in house.pool.predictions(model.version)}
    assert signals.embedding is not None
    assert signals.context is not None
    assert signals.boxes is not None
    for row, sample in zip(signals.embedding, waiting, strict=True):
        np.testing.assert_array_equal(row, seen[sample].embedding)
    (row,) = signals.context
    np.testing.assert_array_equal(row, seen[plain[0].id].embedding)
    assert signals.boxes.tolist() == [len(seen[s].regions) for s in waiting]
