"""Whole rounds on a real Label Studio, undisturbed and killed at every step."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import loop, outbox, workflows
from backend.asking import wish
from backend.demo.server import LabelStudioServer
from backend.house import Job
from backend.studio.client import Studio
from sampler.batch import BLIND
from tests.live.home import Home, open_home
from tests.waiting import until

SCENES = 20
ASKED = 6


@pytest.fixture
def home(server: LabelStudioServer, tmp_path: Path, titles: Iterator[str]) -> Iterator[Home]:
    with open_home(server, tmp_path, next(titles), SCENES) as opened:
        yield opened


def check_pushed(home: Home, version: str) -> None:
    """Label Studio serves this version, holds it once on every task, and nothing older of ours."""
    studio = home.house.studio
    assert studio.project(home.project)["model_version"] == version
    held = studio.predicted(home.project, version)
    assert sorted(held) == sorted(t.id for t in home.house.pool.tasks(home.project))
    assert all(len(ids) == 1 for ids in held.values())
    assert set(studio.prediction_counts(home.project)) == {version}


def label_the_round(home: Home, ann: Studio, bob: Studio) -> int:
    """Two people label everything there is; how many annotations that made."""
    return len(home.label(ann, 0, SCENES)) + len(home.label(bob, 1, SCENES))


def check_learned(home: Home, annotations: int) -> None:
    """The ledger holds what people said exactly once, and one new model that was judged."""
    pool = home.house.pool
    counts = pool.counts(home.project)
    assert counts["annotations"] == annotations == len(pool.stamps(home.project))
    models = pool.models(home.project)
    assert Counter(m.state in ("champion", "refused", "retired") for m in models) == {True: 2}
    candidate = next(m for m in models if m.parent)
    assert candidate.snapshot is not None
    assert 0.0 <= candidate.metrics["map50_95"] <= 1.0
    (only,) = pool.rounds(home.project)
    assert only.closed_at is not None
    assert not any(task.asked for task in pool.tasks(home.project))
    check_pushed(home, home.house.champion(home.project).version)


def test_a_round_goes_round(home: Home, ann: Studio, bob: Studio) -> None:
    with home.worker():
        asked = home.finish(home.jobs.start("ask", home.project, size=ASKED))
        assert asked.state == "done", asked.error
        pool = home.house.pool
        first = home.house.champion(home.project).version
        check_pushed(home, first)
        (opened,) = pool.rounds(home.project)
        decisions = {d.sample: d for d in pool.decisions(opened.id)}
        holdout = [s for s in pool.samples().values() if s.holdout]
        assert sum(d.route == "human" for d in decisions.values()) == ASKED
        assert sum(d.route == "double" for d in decisions.values()) == min(len(holdout), (ASKED + 1) // 2)
        tasks = {t.sample: t for t in pool.tasks(home.project)}
        for sample, decision in decisions.items():
            task = home.house.studio.task(tasks[sample].id)
            assert task["data"]["why"] == decision.reason
            assert task["data"]["route"] == decision.route
            assert task["overlap"] == (2 if decision.route == "double" else 1)
            if decision.route == "double":
                assert [p["result"] for p in task["predictions"]] == [[]]
        served = home.label(ann, 0, ASKED)
        by_task = {tasks[s].id: d for s, d in decisions.items()}
        assert all(task in by_task for task in served)  # whom the sampler asked about comes first
        # What measures the model is met in passing, the rest by doubt.
        human = [by_task[t].uncertainty for t in served if by_task[t].strategy not in BLIND]
        assert human == sorted(human, reverse=True)
        total = len(served) + label_the_round(home, ann, bob)
        until(lambda: pool.counts(home.project)["annotations"] == total, 60)  # by webhook and worker alone
        learned = home.finish(home.jobs.start("learn", home.project))
        assert learned.state == "done", learned.error
    check_learned(home, total)
    changes = [a.change for a in pool.annotations(home.project) if a.parent_prediction]
    assert changes
    assert any(c is not None and c.kept + c.moved for c in changes)


def test_what_nobody_answered_is_withdrawn_when_the_round_ends(home: Home, ann: Studio) -> None:
    house, project = home.house, home.project
    for verb in (loop.prelabel, loop.push):
        verb(house, project, Job("look"))
    loop.ask(house, project, wish(house.settings, {"size": ASKED}), Job("round"))
    asked = {task.id for task in house.pool.tasks(project) if task.asked}
    answered = set(home.label(ann, 0, 2))
    loop.collect(house, project, Job("collect"))
    assert answered < asked
    outbox.withdraw(house, project, "round")
    routes = {task["id"]: task["data"]["route"] for task in house.studio.tasks(project)}
    assert {task for task, route in routes.items() if route != "waiting"} == answered
    samples = house.pool.samples()
    for task in house.pool.tasks(project):
        if samples[task.sample].holdout and task.id not in answered:
            assert [p["score"] for p in house.studio.task(task.id)["predictions"]] == [1.0]
    assert not any(task.asked for task in house.pool.tasks(project))


def test_kill_9_in_every_step_loses_nothing_and_does_nothing_twice(
    home: Home, ann: Studio, bob: Studio
) -> None:
    job = home.jobs.start("ask", home.project, size=ASKED)
    for index in range(len(workflows.WORKFLOWS["ask"])):
        assert home.crash("ask", index, "within" if index == 1 else "after") == -signal.SIGKILL
    with home.worker():
        assert home.finish(job).state == "done"
    (opened,) = home.house.pool.rounds(home.project)
    assert sum(d.route == "human" for d in home.house.pool.decisions(opened.id)) == ASKED
    check_pushed(home, home.house.champion(home.project).version)
    total = label_the_round(home, ann, bob)
    job = home.jobs.start("learn", home.project)
    for index, (name, _) in enumerate(workflows.WORKFLOWS["learn"]):
        assert home.crash("learn", index, "within" if name == "train" else "after") == -signal.SIGKILL
    with home.worker():
        status = home.finish(job)
    assert status.state == "done", status.error
    check_learned(home, total)


def test_kill_9_of_the_api_loses_no_annotation(home: Home, ann: Studio, bob: Studio) -> None:
    with home.worker():
        assert home.finish(home.jobs.start("ask", home.project, size=ASKED)).state == "done"
        before = len(home.label(ann, 0, 3))
        assert home.service is not None
        os.kill(home.service.pid, signal.SIGKILL)
        home.service.wait()
        lost = len(home.label(bob, 1, 3))  # nobody hears of these
        home.serve()
        after = len(home.label(ann, 0, 2))
        total = before + lost + after
        until(lambda: home.house.pool.counts(home.project)["annotations"] == total, 60)
    assert len(home.house.pool.stamps(home.project)) == total
