"""What commands do to a connected project when something went wrong before, or has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backend import asking, connecting, loop, outbox
from backend.asking import wish
from backend.demo.labeling import config_for
from backend.demo.scenes import LABELS, jpeg, render
from backend.demo.server import LabelStudioServer
from backend.house import Job
from backend.studio.client import Studio
from backend.studio.collect import reconcile
from pool.schema import BadImage, NoLabelMap, Round
from tests.live.home import Home, open_home

SCENES = 10


@pytest.fixture
def home(
    server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory, titles: Iterator[str]
) -> Iterator[Home]:
    with open_home(server, tmp_path_factory.mktemp("house"), next(titles), SCENES) as opened:
        loop.prelabel(opened.house, opened.project, Job("look"))
        loop.push(opened.house, opened.project, Job("push"))
        yield opened


def test_a_round_whose_telling_failed_is_told_by_the_next(home: Home) -> None:
    house, project = home.house, home.project
    model = house.champion(project)
    house.pool.open_round(Round("failed", project, 1, model.version, 2, datetime.now(UTC)))
    two = wish(house.settings, {"size": 2})
    house.pool.save_decisions(asking.decide(house, model, two, "failed", Job("failed")).decisions)
    loop.ask(house, project, two, Job("next"))
    decided = {d.sample: d for r in ("failed", "next") for d in house.pool.decisions(r)}
    assert len(decided) >= 4
    data = {task["id"]: task["data"] for task in house.studio.tasks(project)}
    for task in house.pool.tasks(project):
        chosen = decided.get(task.sample)
        assert task.asked is (chosen is not None)
        assert data[task.id]["route"] == (chosen.route if chosen else "waiting")
        if chosen:
            assert data[task.id]["why"] == chosen.reason


def test_what_a_strategy_picks_is_served_before_the_rest_and_goes_back_after(
    home: Home, ann: Studio
) -> None:
    house, project = home.house, home.project
    loop.ask(house, project, wish(house.settings, {"size": 4, "strategy": "core_set"}), Job("round"))
    decided = {d.sample: d for d in house.pool.decisions("round")}
    tasks = {t.id: t.sample for t in house.pool.tasks(project)}
    asked = {task for task, sample in tasks.items() if sample in decided}
    served = []
    for _ in range(len(asked) - 1):
        task = ann.next_task(project)
        assert task is not None
        served.append(int(task["id"]))
        ann.create_annotation(served[-1], result=[])
    assert set(served) < asked
    doubts = [decided[tasks[t]].uncertainty for t in served if decided[tasks[t]].route == "human"]
    assert doubts == sorted(doubts, reverse=True)
    loop.collect(house, project, Job("collect"))
    outbox.withdraw(house, project, "round")
    (left,) = asked - set(served)
    (prediction,) = house.studio.task(left)["predictions"]
    last = decided[tasks[left]]
    expected = 1.0 if last.strategy == "holdout" else 1 - last.uncertainty
    assert prediction["score"] == pytest.approx(expected)


def test_a_label_that_is_added_later_is_taken_in(home: Home) -> None:
    house, project = home.house, home.project
    before = house.pool.project(project)
    house.studio.update_project(project, label_config=config_for((*LABELS, "bench")))
    after, steps = connecting.connect(house, project)
    assert after.labels == (*LABELS, "bench")
    assert after.label_map == before.label_map
    assert "does not know bench yet" in " ".join(step.detail for step in steps)
    assert house.champion(project).classes == LABELS
    house.studio.update_project(project, label_config=config_for(("zebra", "horse")))
    with pytest.raises(NoLabelMap, match="zebra"):  # nothing that the model knows is left
        connecting.connect(house, project)
    assert house.pool.project(project) == after


def test_what_is_answered_behind_the_reader_is_found_the_next_time(
    home: Home, ann: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full comparison reads by id; a task answered just after its page was read must not be passed by."""
    monkeypatch.setattr("backend.studio.collect.PAGE", 2)
    # As long after as that nothing is read again merely because it is young.
    monkeypatch.setattr("backend.studio.collect.SETTLING", timedelta(0))
    house, project = home.house, home.project
    ids = sorted(task.id for task in house.pool.tasks(project))
    reading = house.studio.tasks

    def slowly(*args: object, **given: object) -> Iterator[dict[str, object]]:
        for task in reading(*args, **given):  # type: ignore[arg-type]
            yield task
            if task["id"] == ids[3]:
                ann.create_annotation(ids[0], result=[])
            if task["id"] == ids[5]:
                ann.create_annotation(ids[8], result=[])

    with monkeypatch.context() as reader:
        reader.setattr(house.studio, "tasks", slowly)
        reconcile(house.studio, house.pool, house.pool.project(project), full=True)
    assert {a.task for a in house.pool.annotations(project)} == {ids[8]}
    reconcile(house.studio, house.pool, house.pool.project(project))
    assert {a.task for a in house.pool.annotations(project)} == {ids[0], ids[8]}


def test_a_task_whose_image_cannot_be_had_for_a_while_holds_up_nothing_and_loses_nothing(
    home: Home, ann: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.studio.collect.SETTLING", timedelta(0))
    house, project = home.house, home.project
    (uri,) = house.studio.upload(project, [("later.jpg", jpeg(render(9001)))])
    (task,) = house.studio.import_tasks(project, [{"image": uri, "why": ""}])
    ann.create_annotation(task, result=[])
    assert compared(home)["new_tasks"] == 1
    with monkeypatch.context() as away:
        away.setattr(house.fetcher, "fetch", unreachable)
        loop.adopt(house, project, Job("adopt"))
    assert f"task {task}" in {f.subject for f in house.pool.failures(project)}
    second = compared(home)
    assert (second["new_tasks"], second["unreachable"]) == (0, 1)
    assert compared(home)["tasks"] == 0  # nothing is read again and again meanwhile
    loop.adopt(house, project, Job("adopt"))
    assert house.pool.failures(project) == []
    compared(home)
    assert {a.task for a in house.pool.annotations(project)} == {task}


def compared(home: Home) -> dict[str, int]:
    house = home.house
    return reconcile(house.studio, house.pool, house.pool.project(home.project))


def unreachable(task: int, uri: str) -> tuple[bytes, str]:
    raise BadImage("The image host does not answer.")
