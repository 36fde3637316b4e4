"""What commands do to a connected project when something went wrong before, or has changed since."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from backend import connecting, learning, loop
from backend.demo.labeling import config_for
from backend.demo.scenes import LABELS
from backend.demo.server import LabelStudioServer
from backend.house import Job
from backend.studio.client import Studio
from backend.studio.collect import reconcile
from pool.schema import Round
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
    house.pool.save_decisions(learning.decide(house, model, 2, "failed"))
    loop.ask(house, project, 2, Job("next"))
    decided = {d.sample: d for r in ("failed", "next") for d in house.pool.decisions(r)}
    assert len(decided) >= 4
    data = {task["id"]: task["data"] for task in house.studio.tasks(project)}
    for task in house.pool.tasks(project):
        chosen = decided.get(task.sample)
        assert task.asked is (chosen is not None)
        assert data[task.id]["route"] == (chosen.route if chosen else "waiting")
        if chosen:
            assert data[task.id]["why"] == chosen.reason


def test_a_label_that_is_added_later_is_taken_in(home: Home) -> None:
    house, project = home.house, home.project
    before = house.pool.project(project)
    house.studio.update_project(project, label_config=config_for((*LABELS, "bench")))
    after, steps = connecting.connect(house, project)
    assert after.labels == (*LABELS, "bench")
    assert after.label_map == before.label_map
    assert "does not know bench yet" in " ".join(step.detail for step in steps)
    assert house.champion(project).classes == LABELS


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


def test_a_task_whose_image_cannot_be_had_holds_up_nothing(home: Home, ann: Studio) -> None:
    house, project = home.house, home.project
    (task,) = house.studio.import_tasks(project, [{"image": "http://127.0.0.1:9/gone.jpg", "why": ""}])
    ann.create_annotation(task, result=[])
    first = reconcile(house.studio, house.pool, house.pool.project(project), full=True)
    assert first["new_tasks"] == 1
    loop.adopt(house, project, Job("adopt"))
    assert f"task {task}" in {f.subject for f in house.pool.failures(project)}
    second = reconcile(house.studio, house.pool, house.pool.project(project), full=True)
    assert (second["new_tasks"], second["unreachable"]) == (0, 1)
    house.pool.clear_failures("add", [f"task {task}"])
    third = reconcile(house.studio, house.pool, house.pool.project(project), full=True)
    assert third["new_tasks"] == 1
