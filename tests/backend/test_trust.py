"""How far a model is trusted: by blind answers alone, never by what it learned, and not for ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from backend import evidence, learning, trust, trusting
from backend.asking import decide, wish
from backend.evidence import match, weigh
from backend.house import House, Job
from backend.settings import load
from pool.schema import (
    Annotation,
    Box,
    Decision,
    ModelVersion,
    NotReady,
    Prediction,
    Project,
    Region,
    Round,
    Sample,
    Snapshot,
    Task,
)
from sampler.calibration import IDENTITY
from tests.backend.small import NOW
from tests.pool.records import sha

LABELS = ("bin", "garbage")
PLACE = Box(0.1, 0.1, 0.4, 0.4)
ELSEWHERE = Box(0.6, 0.6, 0.9, 0.9)


def sample(number: int, *, holdout: bool = False) -> Sample:
    name = sha(f"image {number}")
    return Sample(name, 100, 100, f"{number}.jpg", name, number * 7919, name, holdout)


class Crowd:
    """A project whose model sees one box on each image, right as often as its score says."""

    def __init__(self, house: House, *, right: float = 1.0) -> None:
        self.house, self.right = house, right
        self.draw = np.random.default_rng(3)
        house.pool.save_project(Project(1, "Bins", "label", "image", "image", LABELS, {}, "secret"))
        self.model = ModelVersion("v1", 1, "v1.pt", "0" * 64, LABELS, NOW)
        house.pool.add_model(self.model)
        house.pool.promote("v1")
        self.count = 0

    def add(self, many: int, *, holdout: bool = False, answered: bool = False) -> list[str]:
        rows = [sample(self.count + i, holdout=holdout) for i in range(many)]
        self.house.pool.add_samples(rows)
        tasks = [Task(1, self.count + i + 1, s.id, s.name) for i, s in enumerate(rows)]
        self.house.pool.bind_tasks(tasks)
        scores = self.draw.beta(4, 1, size=many)
        self.house.pool.save_predictions(
            [
                Prediction(
                    s.id, "v1", (Region("bin", PLACE, score=float(p)),), LABELS, 0.01, 0.5, "entropy"
                )
                for s, p in zip(rows, scores, strict=True)
            ]
        )
        self.count += many
        if answered:
            for s, p in zip(rows, scores, strict=True):
                self.answer(s.id, true=self.draw.random() < p**0.1 * self.right)
        return [s.id for s in rows]

    def answer(self, name: str, *, true: bool, who: str = "ann") -> None:
        number = len(self.house.pool.stamps(1)) + 1
        task = next(t.id for t in self.house.pool.tasks(1) if t.sample == name)
        regions = (Region("bin", PLACE if true else ELSEWHERE),)
        said = Annotation(number, 1, task, name, who, regions, NOW, NOW)
        self.house.pool.save_annotations([said])

    def decided(self, names: list[str], lane: str) -> None:
        round_id = f"{lane} {len(self.house.pool.rounds(1))}"
        self.house.pool.open_round(Round(round_id, 1, 1, "v1", 1, NOW))
        self.house.pool.save_decisions(
            [Decision(n, round_id, "v1", "human", 0.5, "entropy", lane, "why") for n in names]
        )
        self.house.pool.close_round(round_id, NOW, "done")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = House(load(data_dir=tmp_path, auto_error=0.1, auto_doubt=0.1))
    yield opened
    opened.close()


def box(label: str, place: Box, score: float | None = None) -> Region:
    return Region(label, place, score=score)


def test_boxes_find_objects_of_their_own_label_one_each() -> None:
    near = Box(0.1, 0.1, 0.4, 0.45)
    boxes = [box("bin", PLACE, 0.5), box("bin", near, 0.9), box("garbage", ELSEWHERE, 0.8)]
    ious, which = match(boxes, [box("bin", PLACE), box("bin", ELSEWHERE)])
    assert which.tolist() == [-1, 0, -1]  # the stronger one takes it; the label of the third is another
    assert ious[1] == pytest.approx(0.3 / 0.35)
    assert match([], [box("bin", PLACE)])[0].shape == (0,)
    assert match(boxes, [])[1].tolist() == [-1, -1, -1]


def test_an_image_is_wrong_where_a_box_would_have_to_be_touched() -> None:
    def wrong(drawn: list[Region], truth: list[Region]) -> bool:
        seen = Prediction(sha("a"), "v1", tuple(drawn), LABELS)
        return bool(weigh([seen], [truth], 0.25).wrong[0])

    there = [box("bin", PLACE)]
    assert not wrong([box("bin", PLACE, 0.9)], there)
    assert not wrong([box("bin", PLACE, 0.9), box("garbage", ELSEWHERE, 0.1)], there)  # not drawn
    assert wrong([box("bin", PLACE, 0.9), box("garbage", ELSEWHERE, 0.3)], there)
    assert wrong([box("garbage", PLACE, 0.9)], there)
    assert wrong([box("bin", PLACE, 0.2)], there)  # too weak to be drawn, so it would be missing
    assert wrong([], there)
    assert not wrong([], [])


def test_evidence_is_blind_and_never_what_the_model_learned(house: House) -> None:
    crowd = Crowd(house)
    held = crowd.add(4, holdout=True, answered=True)
    drawn, learned, shown, silent = (
        crowd.add(3, answered=answered) for answered in (True, True, True, False)
    )
    crowd.decided([*drawn, *learned, *silent], "audit")
    crowd.decided(shown, "top_n")
    snapshot = Snapshot("s", 1, {"train": {name: [] for name in learned}, "holdout": {}}, NOW)
    house.pool.save_snapshot(snapshot)
    model = replace(crowd.model, version="v2", snapshot="s", created_at=NOW + timedelta(seconds=1))
    house.pool.add_model(model)
    seen = list(house.pool.predictions("v1"))
    house.pool.save_predictions([replace(p, model_version="v2") for p in seen])
    found = evidence.gather(house, model)
    assert set(found.samples) == {*held, *drawn}
    assert len(found.objects) == 7
    # One scene is one trial, and a look-alike of what was learned is no stranger.
    assert set(evidence.gather(house, crowd.model).samples) == {*held, *drawn, *learned}
    # What a machine accepted is nobody's answer.
    house.pool.change_state("accept", "user", lambda _: {"id": "ann"})
    assert evidence.gather(house, model).samples == ()


def test_a_calibration_brings_scores_to_what_they_are_worth(house: House) -> None:
    crowd = Crowd(house, right=0.9)
    crowd.add(160, holdout=True, answered=True)
    fresh = crowd.add(30)
    report = learning.calibrate(house, crowd.model, Job("calibrate"))
    assert report["calibrated"]
    assert report["images"] == report["boxes"] == 160
    assert report["d_ece"] < report["d_ece_raw"]
    assert report["rescored"] > 0
    known = house.pool.uncertainties(1, "v1")
    before = {p.sample: p.uncertainty for p in house.pool.predictions("v1", fresh)}
    assert before == {name: known[name] for name in fresh}
    assert before != dict.fromkeys(fresh, 0.5)
    metrics = house.pool.model("v1").metrics
    assert metrics["d_ece"] == report["d_ece"]
    again = learning.calibrate(house, crowd.model, Job("calibrate"))
    assert again["rescored"] == 0


def test_a_curve_that_does_not_help_is_not_used(house: House) -> None:
    crowd = Crowd(house)
    names = crowd.add(60, holdout=True)
    for place, name in enumerate(names):  # hits that have nothing to do with scores, half of them
        crowd.answer(name, true=place % 2 == 0)
    seen = {p.sample: p for p in house.pool.predictions("v1")}
    house.pool.save_predictions(  # a detector that says of each box what it is worth: one half
        [replace(p, regions=(replace(p.regions[0], score=0.5),)) for p in seen.values()]
    )
    report = learning.calibrate(house, crowd.model, Job("calibrate"))
    assert report["d_ece_raw"] == 0
    assert report["used"] is False
    assert trust.calibration(house, "v1") == IDENTITY
    assert report["rescored"] > 0  # the columns are newer than the uncertainties


def test_too_little_is_said_and_changes_nothing(house: House) -> None:
    crowd = Crowd(house)
    crowd.add(3, holdout=True, answered=True)
    report = learning.calibrate(house, crowd.model, Job("calibrate"))
    assert report["calibrated"] is False
    assert "17 missing" in report["why"]
    assert trust.calibration(house, "v1") == IDENTITY


def test_nothing_is_accepted_unless_somebody_wants_it(tmp_path: Path) -> None:
    house = House(load(data_dir=tmp_path))
    crowd = Crowd(house)
    crowd.add(200, holdout=True, answered=True)
    verdict = trust.judge(house, crowd.model, np.full(10, 0.9))
    assert verdict.threshold is None
    assert "THRESHER_AUTO_ERROR" in verdict.sentence
    house.close()


def test_too_few_answers_say_how_many_are_missing(house: House) -> None:
    crowd = Crowd(house)
    crowd.add(10, holdout=True, answered=True)
    verdict = trust.judge(house, crowd.model, np.linspace(0.5, 0.99, 100))
    assert verdict.threshold is None
    assert "12 more images answered blind" in verdict.sentence  # ln .1 / ln .9 is 21.9


def test_a_promise_is_kept_on_images_that_nobody_saw(house: House) -> None:
    crowd = Crowd(house)
    crowd.add(150, holdout=True, answered=True)
    names = crowd.add(400)
    job = Job("round")
    choice = decide(house, crowd.model, wish(house.settings, {"size": 10}), "round", job)
    auto = [d for d in choice.decisions if d.route == "auto"]
    again = [d for d in choice.decisions if d.strategy == "recheck"]
    assert len(auto) > 100
    assert len(again) == 10  # as many as the round is large, no more
    assert {d.route for d in again} == {"human"}
    assert {d.sample for d in auto} <= set(names)
    assert {d.strategy for d in auto} == {"auto"}
    assert "need nobody" in choice.trust
    standing = trust.standing(house, crowd.model)
    assert standing is not None
    scores = {p.sample: p.regions[0].score or 0 for p in house.pool.predictions("v1", names)}
    assert min(scores[d.sample] for d in auto) >= standing - 1e-3
    asked = {d.sample for d in choice.decisions if d.route != "auto"}
    assert not asked & {d.sample for d in auto}


def test_frames_of_one_scene_are_one_trial(house: House) -> None:
    crowd = Crowd(house)
    first = crowd.add(1, holdout=True, answered=True)[0]
    frames = [replace(sample(1000 + i, holdout=True), root=first) for i in range(5)]
    house.pool.add_samples(frames)
    house.pool.bind_tasks([Task(1, 1000 + i, s.id, s.name) for i, s in enumerate(frames)])
    (seen,) = house.pool.predictions("v1", [first])
    house.pool.save_predictions([replace(seen, sample=s.id) for s in frames])
    for frame in frames:
        crowd.answer(frame.id, true=True)
    assert len(evidence.gather(house, crowd.model).samples) == 1


def test_what_was_answered_with_boxes_on_the_screen_is_not_blind(house: House) -> None:
    crowd = Crowd(house)
    late, shown, unknown = crowd.add(1)[0], crowd.add(1)[0], crowd.add(1)[0]
    crowd.decided([late, shown, unknown], "audit")
    number = len(house.pool.stamps(1)) + 1
    task = next(t.id for t in house.pool.tasks(1) if t.sample == late)
    after = NOW + timedelta(hours=1)  # the round was closed by then, and the boxes were back
    house.pool.save_annotations(
        [Annotation(number, 1, task, late, "ann", (Region("bin", PLACE),), after, after)]
    )
    crowd.answer(shown, true=True)
    crowd.decided([shown], "top_n")
    task = next(t.id for t in house.pool.tasks(1) if t.sample == unknown)
    strange = (Region("bin", PLACE), Region("a label of nobody", ELSEWHERE))
    house.pool.save_annotations([Annotation(number + 5, 1, task, unknown, "ann", strange, NOW, NOW)])
    found = evidence.gather(house, crowd.model)
    assert found.samples == (unknown,)
    assert found.wrong.tolist() == [True]


def test_easy_images_that_were_accepted_do_not_pay_for_hard_ones(house: House) -> None:
    crowd = Crowd(house)
    crowd.add(150, holdout=True, answered=True)
    waiting = np.linspace(0.3, 0.99, 200)
    before = trust.judge(house, crowd.model, waiting).promise
    assert before is not None
    trust.released(house, crowd.model, "round", 0.8)
    assert trust.judge(house, crowd.model, waiting, "round").promise == before  # the very round again
    after = trust.judge(house, crowd.model, waiting[waiting < 0.8])
    found = evidence.gather(house, crowd.model)
    hard = int((found.confidence < 0.8).sum())
    assert after.promise is None or after.promise.labelled == hard < before.labelled


def test_what_was_remembered_holds_by_the_same_rules_only(house: House, tmp_path: Path) -> None:
    crowd = Crowd(house)
    crowd.add(150, holdout=True, answered=True)
    waiting = np.linspace(0.3, 0.99, 200)
    verdict = trust.judge(house, crowd.model, waiting)
    trust.remember(house, crowd.model, verdict, waiting=200)
    assert trust.standing(house, crowd.model) == verdict.threshold
    trust.remember(house, crowd.model, trust.Trust(None, "nothing waits"), waiting=0)
    assert trust.standing(house, crowd.model) == verdict.threshold
    stricter = House(load(data_dir=tmp_path, auto_error=0.01, auto_doubt=0.1))
    assert trust.standing(stricter, crowd.model) is None
    stricter.close()


def test_a_broken_promise_pauses_until_another_model_serves(house: House) -> None:
    crowd = Crowd(house)
    crowd.add(150, holdout=True, answered=True)
    waiting = np.linspace(0.3, 0.99, 200)
    assert trust.judge(house, crowd.model, waiting).threshold is not None
    rechecked = crowd.add(10)
    crowd.decided(rechecked, "recheck")
    for place, name in enumerate(rechecked):
        crowd.answer(name, true=place > 4)
    trust.watch(house, crowd.model)
    verdict = trust.judge(house, crowd.model, waiting)
    assert verdict.threshold is None
    assert (verdict.wrong, verdict.checked) == (5, 10)
    assert "paused: 5 of 10" in verdict.sentence
    assert trust.standing(house, crowd.model) is None
    for name in rechecked[:5]:  # better answers later do not lift it by themselves
        crowd.answer(name, true=True, who="bob")
    assert trust.judge(house, crowd.model, waiting).threshold is None
    other = replace(crowd.model, version="v2", created_at=NOW + timedelta(seconds=1))
    house.pool.add_model(other)
    house.pool.save_predictions([replace(p, model_version="v2") for p in house.pool.predictions("v1")])
    assert trust.judge(house, other, waiting).threshold is not None


def test_the_report_tells_it_all_and_draws_it(house: House, tmp_path: Path) -> None:
    from PIL import Image

    crowd = Crowd(house)
    crowd.add(5, holdout=True, answered=True)
    with pytest.raises(NotReady, match="too few"):
        trusting.show(house, house.pool.project(1), tmp_path / "early.png", as_json=True)
    crowd.add(145, holdout=True, answered=True)
    crowd.add(50)
    report = trusting.report(house, house.pool.project(1))
    assert report["calibration"]["images"] == 150
    assert report["trust"]["threshold"] is not None
    assert report["stream"] == {"ask": 0, "auto": 0, "drop": 0}
    trusting.show(house, house.pool.project(1), tmp_path / "trust.png", as_json=False)
    with Image.open(tmp_path / "trust.png") as picture:
        assert picture.width > 400
