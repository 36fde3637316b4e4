"""What goes out to Label Studio: tasks for images, predictions, and whom to ask with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from backend import intake, learning, spreading
from backend.house import House, Job
from pool.schema import Decision, ModelVersion, Sample, Task
from sampler.batch import BLIND, Lane, queue_scores

CHUNK = 40  # files of one upload request
NOT_ASKED = "Nobody was asked about this image yet."


def make_tasks(house: House, project_id: int, samples: Sequence[Sample], job: Job) -> int:
    """One Label Studio task for every sample that has none in the project; the number made."""
    project = house.pool.project(project_id)
    house.pool.bind_tasks(intake.new_tasks(house, project).known)
    bound = {t.sample for t in house.pool.tasks(project_id)}
    todo = list({s.id: s for s in samples if s.id not in bound}.values())
    made = 0
    for start in range(0, len(todo), CHUNK):
        job.check()
        job.tell("upload", start, len(todo))
        files = _files(house, project_id, todo[start : start + CHUNK])
        part = [s for s, _ in files]
        if not part:
            continue
        urls = house.studio.upload(project_id, [(_file_name(s), data) for s, data in files])
        data = [
            {project.image_key: url, "sample": s.id, "name": s.name, "why": NOT_ASKED, "route": "waiting"}
            for s, url in zip(part, urls, strict=True)
        ]
        ids = house.studio.import_tasks(project_id, data)
        for i, s in zip(ids, part, strict=True):
            if s.holdout:  # two people from the start, also where nobody asked for it
                house.studio.patch_task(i, overlap=2)
        house.pool.bind_tasks(
            [Task(project_id, i, s.id, url) for i, s, url in zip(ids, part, urls, strict=True)]
        )
        made += len(part)
    job.tell("upload", len(todo), len(todo))
    return made


def _files(house: House, project: int, samples: Sequence[Sample]) -> list[tuple[Sample, bytes]]:
    """The bytes of each sample; one that is gone costs only itself.

    Raises:
        NotReady: none can be had, nor any other of the pool.
    """
    found, failures = learning.files(house, samples)
    house.pool.record_failures(failures, project)
    return [(sample, found[sample.id].read_bytes()) for sample in samples if sample.id in found]


def push_predictions(house: House, model: ModelVersion, job: Job) -> dict[str, Any]:
    """Every prediction of the champion that Label Studio lacks, then the version switch."""
    from backend.studio.push import push

    project = house.pool.project(model.project)
    report = push(
        house.studio,
        house.pool,
        project,
        model.version,
        show_floor=house.settings.show_floor,
        on_progress=lambda done, total: job.tell("push", done, total),
    )
    return report.as_dict()


def untold(house: House, project: int) -> list[Decision]:
    """What open rounds decided and Label Studio was not told of, because the job failed before."""
    pool = house.pool
    told = {t.sample for t in pool.tasks(project) if t.asked}
    opened = [r.id for r in pool.rounds(project) if r.closed_at is None]
    known = {t.sample for t in pool.tasks(project)}
    asked = [d for r in opened for d in pool.decisions(r) if d.route != "auto" and d.sample in known]
    return [d for d in asked if d.sample not in told]


def note_decisions(house: House, model: ModelVersion, decisions: Sequence[Decision], job: Job) -> None:
    """Tell annotators why, put the picks first in the queue, ask for second opinions."""
    from backend.studio.convert import FIRST
    from backend.studio.notes import (
        note_tasks,
        request_second_opinion,
        set_results,
        set_scores,
    )

    if not decisions:
        return
    project = model.project
    tasks = {t.sample: t for t in house.pool.tasks(project)}
    chosen = [d for d in decisions if d.sample in tasks]
    lanes: list[Lane] = [lane_of(d) for d in chosen]
    # No image that nobody asked about has a score below `FIRST`, whatever it was when it was pushed.
    scores = queue_scores(np.array([d.uncertainty for d in chosen]), lanes, FIRST)
    moved = {tasks[d.sample].id: float(s) for d, s in zip(chosen, scores, strict=True)}
    job.tell("ask", 0, len(chosen), "writing the reasons")
    notes = {
        tasks[d.sample].id: {"why": d.reason, "route": d.route, "uncertainty": round(d.uncertainty, 4)}
        for d in chosen
    }
    note_tasks(house.studio, project, notes, on_progress=lambda done, total: job.tell("ask", done, total))
    set_scores(house.studio, project, model.version, moved)
    unseen = [tasks[d.sample].id for d in chosen if lane_of(d) in BLIND]
    set_results(house.studio, project, model.version, dict.fromkeys(unseen, ()))
    second = [tasks[d.sample].id for d in chosen if d.route == "double"]
    for task in second:
        request_second_opinion(house.studio, task, overlap=2)
    house.pool.mark_asked(project, {tasks[d.sample].id: 2 if d.route == "double" else 1 for d in chosen})
    job.tell("ask", len(chosen), len(chosen))


def spread(house: House, model: ModelVersion, number: int) -> None:
    """Lead people through groups of look-alikes, where the settings want it; ``number`` is the round's."""
    from backend.studio.notes import set_clusters

    pool = house.pool
    opened = [r.id for r in pool.rounds(model.project) if r.closed_at is None]
    asked = {d.sample for r in opened for d in pool.decisions(r) if d.route != "auto"}
    groups = spreading.clusters(house, model, asked, number)
    tasks = {t.sample: t.id for t in pool.tasks(model.project)}
    set_clusters(
        house.studio, model.project, model.version, {tasks[s]: g for s, g in groups.items() if s in tasks}
    )


def lane_of(decision: Decision) -> Lane:
    """The lane that took an image: every name that is no other lane's is a strategy's."""
    lanes: tuple[Lane, ...] = get_args(Lane)
    return next((lane for lane in lanes if lane == decision.strategy), "strategy")


def withdraw(house: House, project: int, round_id: str) -> None:
    """A round ends: what it asked and nobody answered is asked no longer, nor is its reason told.

    In the queue they go back to where they stood, holdout images to its end, and what was shown without
    boxes gets them back. The next round asks again if the next model still doubts.
    """
    from backend.studio.convert import LAST, priority
    from backend.studio.notes import note_tasks, set_results, set_scores

    pool = house.pool
    version = house.champion(project).version
    tasks = {t.sample: t.id for t in pool.tasks(project)}
    asked = {
        tasks[d.sample]: d for d in pool.decisions(round_id) if d.sample in tasks and d.route != "auto"
    }
    left = sorted(asked.keys() - {a.task for a in pool.annotations(project)})
    note_tasks(house.studio, project, {task: {"why": NOT_ASKED, "route": "waiting"} for task in left})
    made = pool.variants_of(project, [asked[task].sample for task in left])
    moved = {
        task: LAST
        if asked[task].strategy == "holdout" or asked[task].sample in made
        else priority(asked[task].uncertainty)
        for task in left
    }
    set_scores(house.studio, project, version, moved)
    unseen = {asked[task].sample: task for task in left if lane_of(asked[task]) in BLIND}
    set_results(house.studio, project, version, _drawn(house, project, version, unseen))
    pool.clear_asked(project, sorted(asked))


def _drawn(house: House, project: int, version: str, tasks: Mapping[str, int]) -> dict[int, list[Any]]:
    """What people meet of these samples' predictions, by task."""
    from backend.studio.convert import results, shown
    from backend.studio.proposals import proposed

    known = house.pool.samples(list(tasks))
    target, floor = house.pool.project(project), house.settings.show_floor
    met = {
        p.sample: shown(p, floor, holdout=known[p.sample].holdout).regions
        for p in proposed(house.pool, project, house.pool.predictions(version, list(tasks)))
    }
    return {
        tasks[name]: results(regions, target, (known[name].width, known[name].height))
        for name, regions in met.items()
    }


def _file_name(sample: Sample) -> str:
    stem = sample.name.rsplit(".", 1)[0] or "image"
    return f"{stem}{sample.suffix}"
