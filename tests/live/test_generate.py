"""Variants on a real Label Studio: tasks with the parent's boxes, overruled, taken back, resumed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend import admission
from backend.demo.server import LabelStudioServer
from backend.studio import convert
from backend.studio.client import Studio
from pool.schema import BadInput
from tests.live.home import Home, open_home

SCENES = 12
WISH: dict[str, Any] = {
    "weather": ["haze:light", "dusk"],
    "parents": ["random:3"],
    "per_parent": 2,
    "model": "physical",
}


@pytest.fixture
def home(server: LabelStudioServer, tmp_path: Path, titles: Iterator[str]) -> Iterator[Home]:
    with open_home(server, tmp_path, next(titles), SCENES) as opened:
        yield opened


def test_variants_become_tasks_that_show_the_parents_boxes(home: Home, ann: Studio) -> None:
    pool, studio = home.house.pool, home.house.studio
    with home.worker():
        done = home.finish(home.jobs.start("generate", home.project, **WISH))
        assert done.state == "done", done.error
        made = pool.variants(home.project)
        assert len(made) == 6
        passed = [v for v in made if v.state == "passed"]
        assert passed, [v.reason for v in made]
        tasks = {t.sample: t for t in pool.tasks(home.project)}
        assert len(tasks) == SCENES + len(passed)
        version = home.house.champion(home.project).version
        for each in passed:
            task = studio.task(tasks[str(each.sample)].id)
            assert each.condition.split(":")[0] in task["data"]["name"]
            (shown,) = [p for p in task["predictions"] if p["model_version"] == version]
            regions = convert.read(shown["result"], pool.project(home.project)).regions
            assert [r.label for r in regions] == [r.label for r in each.regions]
            for drawn, carried in zip(regions, each.regions, strict=True):
                assert drawn.box.x1 == pytest.approx(carried.box.x1, abs=1e-4)
                assert drawn.box.y2 == pytest.approx(carried.box.y2, abs=1e-4)
        # A person confirms one; then it is a label, and cannot be taken away any more.
        first = tasks[str(passed[0].sample)]
        ann.create_annotation(first.id, result=studio.task(first.id)["predictions"][0]["result"])
        home.finish(home.jobs.start("collect", home.project))
        with pytest.raises(BadInput, match="nobody answered"):
            admission.refuse(home.house, home.project, [passed[0]])
        if len(passed) > 1:
            gone = tasks[str(passed[1].sample)].id
            assert admission.refuse(home.house, home.project, [passed[1]]) == 1
            assert gone not in {int(t["id"]) for t in studio.tasks(home.project)}
            again = admission.found(home.house, home.project, [passed[1].id])
            assert admission.accept(home.house, again) == 1
            home.finish(home.jobs.start("admit", home.project))
            assert {t.sample for t in pool.tasks(home.project)} >= {passed[1].sample}


@pytest.mark.parametrize(("step", "when"), [(1, "after"), (2, "within"), (2, "after"), (3, "after")])
def test_a_killed_job_is_finished_by_the_next_worker(home: Home, step: int, when: str) -> None:
    job = home.jobs.start("generate", home.project, **WISH)
    home.crash("generate", step, when)
    with home.worker():
        done = home.finish(job)
    assert done.state == "done", done.error
    made = home.house.pool.variants(home.project)
    assert len(made) == 6
    assert not [v for v in made if v.state in ("planned", "failed")]
    passed = {v.sample for v in made if v.state == "passed"}
    tasks = [t.sample for t in home.house.pool.tasks(home.project)]
    assert passed <= set(tasks)
    assert len(tasks) == len(set(tasks)) == SCENES + len(passed)
