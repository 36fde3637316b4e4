"""Asking on the real server: blind lanes, images that need nobody, streams, groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest

from backend import accepting, loop, outbox, streaming
from backend.asking import wish
from backend.demo.scenes import jpeg, render
from backend.demo.server import LabelStudioServer
from backend.house import Job
from backend.studio import convert
from backend.studio.client import Studio
from pool.schema import UnknownRecord
from tests.live.home import FIRST, Home, open_home
from tests.waiting import until

JOB = Job("round")
Open = Callable[..., AbstractContextManager[Home]]


@pytest.fixture
def opened(
    server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory, titles: Iterator[str]
) -> Open:
    @contextmanager
    def make(scenes: int, **settings: object) -> Iterator[Home]:
        folder = tmp_path_factory.mktemp("house")
        with open_home(server, folder, next(titles), scenes, **settings) as home:
            loop.prelabel(home.house, home.project, Job("look"))
            loop.push(home.house, home.project, Job("push"))
            yield home

    return make


def drawn(home: Home) -> dict[int, int]:
    """Boxes that people would meet, by task."""
    tasks = home.house.studio.tasks(home.project)
    return {task["id"]: len(task["predictions"][0]["result"]) for task in tasks}


def test_who_measures_the_model_does_not_see_its_boxes(opened: Open) -> None:
    with opened(16, holdout_share=0.2, audit_share=0.5) as home:
        house, project = home.house, home.project
        before = drawn(home)
        loop.ask(house, project, wish(house.settings, {"size": 8}), JOB)
        decided = {d.sample: d for d in house.pool.decisions("round")}
        lanes = {
            t.id: outbox.lane_of(decided[t.sample])
            for t in house.pool.tasks(project)
            if t.sample in decided
        }
        audited = [task for task, lane in lanes.items() if lane == "audit"]
        assert len(audited) == 4
        after = drawn(home)
        assert all(after[task] == 0 for task, lane in lanes.items() if lane in ("audit", "holdout"))
        assert all(after[task] == before[task] for task in before if task not in audited)
        assert any(before[task] for task in audited)
        outbox.withdraw(house, project, "round")
        assert drawn(home) == before


def test_what_the_model_is_sure_of_needs_nobody_and_can_be_undone(opened: Open, ann: Studio) -> None:
    with opened(
        24, holdout_share=0.4, auto_error=0.5, auto_doubt=0.4, audit_share=0.0, show_floor=0.06
    ) as home:
        house, project = home.house, home.project
        _answer_as_the_model(home)
        report = loop.ask(house, project, wish(house.settings, {"size": 2}), JOB)
        assert "need nobody" in report["trust"]
        assert report["accepted"] == report["routes"]["auto"] > 0
        assert (
            loop.ask(house, project, wish(house.settings, {"size": 2}), JOB)["accepted"] == 0
        )  # told once
        decided = {d.sample: d for d in house.pool.decisions("round")}
        auto = {
            t.id
            for t in house.pool.tasks(project)
            if t.sample in decided and decided[t.sample].route == "auto"
        }
        tasks = {task["id"]: task for task in house.studio.tasks(project)}
        again = [d for d in decided.values() if d.strategy == "recheck"]
        assert again
        for task in auto:
            (annotation,) = tasks[task]["annotations"]
            assert {item["origin"] for item in annotation["result"]} == {"prediction"}
            assert tasks[task]["is_labeled"]
            assert tasks[task]["data"]["route"] == "auto"
            assert "Accepted without a person" in tasks[task]["data"]["why"]
        served = ann.next_task(project)
        assert served is not None
        assert served["id"] not in auto
        loop.collect(house, project, JOB, full=True)
        machine = {str(v) for v in (house.pool.state("accept", "user") or {}).values()}
        by_machine = {a.task for a in house.pool.annotations(project) if a.annotator in machine}
        assert by_machine == auto
        frozen = loop.freeze(house, project, JOB)
        assert frozen["images"] == len(auto)
        undone = accepting.undo(house, project, "round", JOB)
        assert undone == {"round": "round", "undone": len(auto), "kept": 0}
        loop.collect(house, project, JOB, full=True)
        assert not {a.task for a in house.pool.annotations(project) if a.annotator in machine}
        assert not any(t["is_labeled"] for t in house.studio.tasks(project) if t["id"] in auto)
        assert loop.ask(house, project, wish(house.settings, {"size": 2}), JOB)["accepted"] == 0
        with pytest.raises(UnknownRecord, match="has no round"):
            accepting.undo(house, project, "another", JOB)


def _answer_as_the_model(home: Home) -> None:
    """Somebody draws on the holdout what the model sees, so that it has never been wrong."""
    house, project = home.house, home.house.pool.project(home.project)
    version = house.champion(home.project).version
    samples = house.pool.samples()
    tasks = {t.sample: t.id for t in house.pool.tasks(home.project)}
    held = [s for s in samples.values() if s.holdout]
    assert len(held) > 4
    for prediction in house.pool.predictions(version, [s.id for s in held]):
        met = convert.shown(prediction, house.settings.show_floor, holdout=False).regions
        result = convert.results(met, project, (640, 480))
        house.studio.create_annotation(tasks[prediction.sample], result=result)
    loop.collect(house, home.project, JOB, full=True)
    assert len(house.pool.annotations(home.project)) == len(held)


def test_a_stream_makes_tasks_of_what_it_asks_about(opened: Open, ann: Studio) -> None:
    with opened(6, stream_budget=0.5, audit_share=0.0, holdout_share=0.0) as home:
        house, project = home.house, home.project
        known = {t.id for t in house.pool.tasks(project)}
        url = f"{house.settings.public_url}/api/stream"
        told = []
        with home.worker():
            for seed in range(FIRST + 100, FIRST + 112):
                name = {"name": f"scene-{seed}.jpg"}
                told.append(httpx.post(url, params=name, content=jpeg(render(seed)), timeout=60).json())
            asked = [t for t in told if t["action"] == "ask"]
            assert 0 < len(asked) < 12
            until(lambda: not streaming.due(house, project), 120)
            until(lambda: sum(t.asked for t in house.pool.tasks(project)) == len(asked), 60)
        tasks = {t["id"]: t for t in house.studio.tasks(project)}
        new = {t.sample: t.id for t in house.pool.tasks(project) if t.id not in known}
        assert set(new) == {t["sample"] for t in asked}
        for t in asked:
            assert tasks[new[t["sample"]]]["data"]["why"] == t["reason"]
        served = ann.next_task(project)
        assert served is not None
        assert served["id"] in new.values()


def test_tasks_made_in_label_studio_go_through_the_stream(opened: Open) -> None:
    with opened(4, stream_budget=0.5, audit_share=0.0, holdout_share=0.0) as home:
        house, project = home.house, home.project
        with home.worker():
            urls = house.studio.upload(
                project,
                [(f"scene-{seed}.jpg", jpeg(render(seed))) for seed in range(FIRST + 50, FIRST + 58)],
            )
            key = house.pool.project(project).image_key
            ids = house.studio.import_tasks(project, [{key: url} for url in urls])
            until(lambda: sum(streaming.counts(house, project).values()) == 8, 180)
            counts = streaming.counts(house, project)
            assert counts["ask"] > 0
            until(lambda: sum(t.asked for t in house.pool.tasks(project)) == counts["ask"], 60)
        asked = {t.id for t in house.pool.tasks(project) if t.asked}
        assert asked <= set(ids)
        whys = {t["id"]: t["data"].get("why") for t in house.studio.tasks(project)}
        assert all(whys[task].startswith("Asked: ") for task in asked)


def test_two_people_are_led_through_the_groups_and_meet_picks_alone(
    opened: Open, ann: Studio, bob: Studio
) -> None:
    with opened(16, holdout_share=0.0, audit_share=0.0, clusters=3) as home:
        house, project = home.house, home.project
        loop.ask(house, project, wish(house.settings, {"size": 9}), JOB)
        asked = {t.id for t in house.pool.tasks(project) if t.asked}
        groups = {t["id"]: t["predictions"][0]["cluster"] for t in house.studio.tasks(project)}
        assert None not in groups.values()
        assert len({groups[task] for task in asked}) == 3
        served: dict[str, list[int]] = {"ann": [], "bob": []}
        for turn in range(len(asked)):
            who, studio = (("ann", ann), ("bob", bob))[turn % 2]
            task = studio.next_task(project)
            assert task is not None
            served[who].append(int(task["id"]))
            studio.create_annotation(int(task["id"]), result=[])
        assert {*served["ann"], *served["bob"]} == asked
        for mine in served.values():
            counts = [groups[task] for task in mine[:3]]
            assert len(set(counts)) == len(counts)  # one of each group before a second of any
