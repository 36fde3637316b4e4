"""Consensus and review on the real server: what is written, who is served what, and how it is undone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from backend import auditing, loop, reviewing, snapshot
from backend.demo.scenes import LABELS
from backend.demo.server import LabelStudioServer
from backend.house import Job
from backend.studio import convert, review, tabs
from backend.studio.client import Studio
from pool.schema import Box, Region
from tests.live.home import Home, open_home
from tests.live.test_connect import shown

BIN = Region("overflowing bin", Box(0.1, 0.1, 0.4, 0.5))
BAG = Region("garbage", Box(0.6, 0.6, 0.8, 0.9))
LOOSE = replace(BIN, box=Box(0.09, 0.1, 0.4, 0.51))


@pytest.fixture
def home(
    server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory, titles: Iterator[str]
) -> Iterator[Home]:
    with open_home(server, tmp_path_factory.mktemp("house"), next(titles), 5, holdout_share=0.0) as made:
        loop.prelabel(made.house, made.project, Job("look"))
        loop.push(made.house, made.project, Job("push"))
        yield made


def say(home: Home, person: Studio, task: int, *regions: Region, **fields: Any) -> int:
    project = home.house.pool.project(home.project)
    result = convert.results(regions, project, (640, 480))
    return int(person.create_annotation(task, result=result, lead_time=10.0, **fields)["id"])


def collect(home: Home) -> None:
    loop.collect(home.house, home.project, Job("collect"), full=True)


def fields(home: Home) -> list[tuple[int, str]]:
    return [(d.task, d.field) for d in reviewing.plan(home.house, home.project).differences]


def test_consensus_goes_out_is_reviewed_and_is_taken_back(home: Home, ann: Studio, bob: Studio) -> None:
    house, studio = home.house, home.house.studio
    tasks = [t.id for t in house.pool.tasks(home.project)]
    same, differ, alone = tasks[:3]
    say(home, ann, same, BIN)
    say(home, bob, same, LOOSE)
    say(home, ann, differ, BIN, BAG)
    say(home, bob, differ, BIN)
    say(home, ann, alone, BIN)
    collect(home)
    before = {t["id"]: (t["data"], t["overlap"], t["is_labeled"]) for t in studio.tasks(home.project)}

    plan = reviewing.plan(house, home.project)
    assert (plan.tasks, plan.open, plan.opinions) == (2, 1, 1)
    assert {t["id"]: t["data"] for t in studio.tasks(home.project)} == {
        t: d for t, (d, _, _) in before.items()
    }
    report = loop.review(house, home.project, Job("review-1"))
    assert report["changes"] == len(plan.differences)
    assert fields(home) == []  # saying it again changes nothing
    assert loop.review(house, home.project, Job("review-2"))["changes"] == 0

    now = {t["id"]: t for t in studio.tasks(home.project)}
    assert now[same]["data"]["review"] == "agreed"
    assert now[same]["data"]["consensus_score"] == 1.0
    assert now[differ]["data"]["review"] == "open"
    assert now[differ]["data"]["consensus_score"] == 0.5
    assert now[differ]["data"]["conflicts"] == "1 missing, 1 extra"
    assert "review" not in now[alone]["data"]
    ours = {
        t: [p for p in task["predictions"] if p["model_version"] == review.VERSION]
        for t, task in now.items()
    }
    assert [len(ours[t]) for t in (same, differ, alone)] == [1, 1, 0]
    assert ours[differ][0]["score"] == pytest.approx(0.5)
    assert shown(studio, home.project, tabs.REVIEW) == (200, [differ])

    # One more opinion, before all that nobody was asked about; with the detector's boxes, not ours.
    assert (now[differ]["overlap"], now[differ]["is_labeled"]) == (3, False)
    served = studio.next_task(home.project)
    assert served is not None
    assert served["id"] == differ
    assert [p["model_version"] for p in served["predictions"]] == [house.champion(home.project).version]

    # A reviewer copies the consensus and submits it: that settles the image.
    accepted = say(home, studio, differ, BIN, parent_prediction=ours[differ][0]["id"])
    collect(home)
    assert (differ, "ground_truth") in fields(home)
    loop.review(house, home.project, Job("review-3"))
    found = {a.id: a for a in house.pool.annotations(home.project)}
    assert found[accepted].ground_truth
    assert studio.task(differ)["data"]["review"] == "settled"
    assert shown(studio, home.project, tabs.REVIEW) == (200, [])
    document = auditing.document(house, home.project)
    assert [p["second"] for p in document["pairs"]].count("ground truth") == 2

    book = reviewing.runs(house, home.project)
    assert [r["run"] for r in book] == ["review-1", "review-3"]
    assert all("@" in r["who"] for r in book)
    for run in ("review-3", "review-1"):
        told = loop.unreview(house, home.project, reviewing.newest(house, home.project), Job("undo"))
        assert (told["run"], told["kept"]) == (run, 0)
    after = {t["id"]: (t["data"], t["overlap"], t["is_labeled"]) for t in studio.tasks(home.project)}
    assert {t: d for t, (d, _, _) in after.items()} == {t: d for t, (d, _, _) in before.items()}
    assert after == before
    assert not any(p["model_version"] == review.VERSION
                   for t in studio.tasks(home.project) for p in t["predictions"])  # fmt: skip
    assert all(r["standing"] == 0 for r in reviewing.runs(house, home.project))


def test_what_people_changed_since_is_not_taken_back(home: Home, ann: Studio, bob: Studio) -> None:
    house, studio = home.house, home.house.studio
    task, other = [t.id for t in house.pool.tasks(home.project)][:2]
    for each in (task, other):
        say(home, ann, each, BIN)
        say(home, bob, each, BAG)
    collect(home)
    loop.review(house, home.project, Job("review-1"))
    data = studio.task(task)["data"]
    studio.patch_task(task, data={**data, "review": "my own word"})
    told = loop.unreview(house, home.project, "review-1", Job("undo"))
    assert (told["undone"], told["kept"]) == (1, 1)
    assert studio.task(task)["data"]["review"] == "my own word"
    assert "consensus_score" not in studio.task(task)["data"]
    assert "review" not in studio.task(other)["data"]


def test_a_starred_answer_settles_the_image_and_stays_a_vote(home: Home, ann: Studio, bob: Studio) -> None:
    house, studio = home.house, home.house.studio
    tasks = [t.id for t in house.pool.tasks(home.project)]
    for each in tasks[:3]:
        say(home, ann, each, BIN)
        last = say(home, bob, each, BAG)
    collect(home)
    loop.review(house, home.project, Job("review-1"))
    score = auditing.document(house, home.project)["project"]["consensus_score"]
    settled = tasks[2]
    assert studio.task(settled)["data"]["why"] == "2 people differ here: your answer decides."
    studio.patch_annotation(last, ground_truth=True)
    collect(home)
    loop.review(house, home.project, Job("review-2"))
    task = studio.task(settled)
    assert task["data"]["review"] == "settled"
    assert task["data"]["why"] == reviewing.ENOUGH
    assert (task["overlap"], task["is_labeled"]) == (2, True)  # nobody more is needed
    document = auditing.document(house, home.project)
    assert document["project"]["consensus_score"] == score
    assert document["project"]["compared"] == 3

    # An answer that is deleted takes what was said of the two with it.
    studio.delete_annotation(next(a["id"] for a in studio.task(tasks[0])["annotations"]))
    collect(home)
    loop.review(house, home.project, Job("review-3"))
    task = studio.task(tasks[0])
    assert not {*reviewing.KEYS} & task["data"].keys()
    assert review.ours(task) == []
    assert fields(home) == []


def test_a_copy_of_the_consensus_is_a_verdict_before_anybody_starred_it(
    home: Home, ann: Studio, bob: Studio
) -> None:
    house, studio = home.house, home.house.studio
    task = house.pool.tasks(home.project)[0]
    say(home, ann, task.id, BIN, BAG)
    say(home, bob, task.id, BIN)
    collect(home)
    loop.review(house, home.project, Job("review-1"))
    (ours,) = review.ours(studio.task(task.id))
    say(home, ann, task.id, BIN, parent_prediction=ours["id"])
    collect(home)
    document = auditing.document(house, home.project)
    assert document["project"]["consensus_score"] == 0.5
    assert len(document["annotators"]) == 2
    how = snapshot.voting_of(house.pool, home.project, house.settings)
    rows, _ = snapshot.rows(house.pool, home.project, holdout=False, labels=LABELS, how=how)
    assert [len(r.regions) for r in rows if r.sample.id == task.sample] == [1]


def test_a_run_can_be_taken_back_after_a_kill_and_after_the_next_model(
    home: Home, ann: Studio, bob: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, studio = home.house, home.house.studio
    tasks = [t.id for t in house.pool.tasks(home.project)]
    before = {t["id"]: t["data"] for t in studio.tasks(home.project)}
    for each in tasks:
        say(home, ann, each, BIN)
        say(home, bob, each, BAG)
    collect(home)
    monkeypatch.setattr(reviewing, "CHUNK", 2)

    def killed(self: Studio, task: int, **changes: Any) -> None:
        if task == tasks[3]:
            raise KeyboardInterrupt
        patch(self, task, **changes)

    patch = Studio.patch_task
    with monkeypatch.context() as broken:
        broken.setattr(Studio, "patch_task", killed)
        with pytest.raises(KeyboardInterrupt):
            loop.review(house, home.project, Job("review-1"))
    # Another program changes a task between two chunks: its key stays.
    data = studio.task(tasks[4])["data"]
    studio.patch_task(tasks[4], data={**data, "weather": "rain"})
    loop.review(house, home.project, Job("review-1"))
    assert fields(home) == []
    assert studio.task(tasks[4])["data"]["weather"] == "rain"

    for row in studio.task(tasks[0])["predictions"]:
        if row["model_version"] != review.VERSION:
            studio.delete_prediction(row["id"])  # as the push of the next model does
    with monkeypatch.context() as broken:
        broken.setattr(Studio, "patch_task", killed)
        with pytest.raises(KeyboardInterrupt):
            loop.unreview(house, home.project, "review-1", Job("undo"))
    told = loop.unreview(house, home.project, "review-1", Job("undo"))
    assert told["kept"] == 0
    after = {t["id"]: t["data"] for t in studio.tasks(home.project)}
    assert after == {**before, tasks[4]: {**before[tasks[4]], "weather": "rain"}}
    assert [r["standing"] for r in reviewing.runs(house, home.project)] == [0]


def test_pushing_a_new_model_leaves_the_consensus_alone(home: Home, ann: Studio, bob: Studio) -> None:
    house, studio = home.house, home.house.studio
    task = house.pool.tasks(home.project)[0].id
    say(home, ann, task, BIN)
    say(home, bob, task, BAG)
    collect(home)
    loop.review(house, home.project, Job("review-1"))
    loop.push(house, home.project, Job("push"))
    assert studio.prediction_counts(home.project)[review.VERSION] == 1
    assert fields(home) == []
