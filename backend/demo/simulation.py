"""``thresher simulate``: the demo's annotators label a round, and the model learns from them.

They are separate users who know nothing but Label Studio's own API: ask for the next task, look at
the pre-drawn boxes, submit. What is really in a picture they know from ``truth.json``, which nobody
else reads.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend import console, overview
from backend.demo import home
from backend.demo.people import PEOPLE, Habit, annotate
from backend.demo.server import LabelStudioServer
from backend.house import House, open_house
from backend.studio import convert
from backend.studio.client import Studio
from backend.workflows import Jobs, JobStatus
from pool.schema import Box, NotReady, Project, Region, ThresherError

Truth = Mapping[str, tuple[Region, ...]]


@dataclass(frozen=True, slots=True)
class Turn:
    """One simulated round: how much was labelled, and what it did to the model."""

    number: int
    annotations: int
    images: int
    consensus_score: float | None
    before: float | None
    after: float | None
    outcome: str
    reason: str
    model_version: str


def simulate(folder: Path, rounds: int, size: int | None, *, as_json: bool) -> None:
    """Label and learn ``rounds`` times in the running demo of ``folder``.

    Raises:
        NotReady: no demo runs there, or it shows somebody's own pictures, whose truth nobody knows.
    """
    folder = folder.resolve()
    known = home.load(folder)
    if not known.drawn:
        raise NotReady(
            "Only drawn scenes can be labelled by simulated people: these are your own pictures."
        )
    truth = read_truth(folder / "truth.json")
    server = LabelStudioServer(folder / "studio", known.studio_port)
    with (
        open_house(home.settings(folder, server, known.port, drawn=True)) as house,
        console.bars(show=not as_json) as tell,
    ):
        batch = size or house.settings.ask_size
        turns = [turn(house, known, server.url, truth, batch, tell) for _ in range(rounds)]
    if as_json:
        console.emit(turns)
        return
    columns = ["round", "annotations", "images", "consensus", "before", "after", "outcome"]
    rows = [
        [t.number, t.annotations, t.images, *map(_three, (t.consensus_score, t.before, t.after)), t.outcome]
        for t in turns
    ]
    console.table("Simulated rounds, mAP50-95 on the frozen holdout", columns, rows)
    console.say(turns[-1].reason)
    console.say(f"Serving {turns[-1].model_version}.")


def turn(
    house: House, known: home.Home, url: str, truth: Truth, size: int, tell: Callable[..., None]
) -> Turn:
    """One round: ask if nothing is asked, people label what is, the model learns."""
    project = house.pool.project(known.project)
    jobs = Jobs(house.settings)
    if not any(r.closed_at is None for r in house.pool.rounds(project.id)):
        _done(overview.follow_with(house, jobs, jobs.start("ask", project.id, size=size), tell))
    opened = house.pool.rounds(project.id)[-1]
    asked = len(house.pool.decisions(opened.id))
    needs = Needs(still_wanted(house, project.id), tell)
    with ThreadPoolExecutor(len(known.people)) as crowd:
        list(crowd.map(lambda pair: work(url, pair[0], pair[1], project, truth, needs), _staff(known)))
    done = _done(overview.follow_with(house, jobs, jobs.start("learn", project.id), tell))
    report = done.report or {}
    measured, promoted = report["evaluate"], report["promote"]
    candidate = house.pool.model(report["train"]["candidate"])
    old = measured.get(str(candidate.parent), {})
    jobs.close()
    return Turn(
        number=opened.number,
        annotations=needs.submitted,
        images=asked,
        consensus_score=report["audit"]["consensus_score"],
        before=old.get("map50_95"),
        after=measured.get(candidate.version, {}).get("map50_95"),
        outcome=promoted["outcome"],
        reason=promoted["reason"],
        model_version=promoted["model_version"],
    )


def still_wanted(house: House, project: int) -> dict[int, int]:
    """Answers that asked tasks still lack, by task."""
    wanted = {t.id: t.overlap for t in house.pool.tasks(project) if t.asked}
    for annotation in house.pool.annotations(project):
        if annotation.task in wanted:
            wanted[annotation.task] = max(0, wanted[annotation.task] - 1)
    return wanted


def work(url: str, person: home.Person, habit: Habit, project: Project, truth: Truth, needs: Needs) -> None:
    """One annotator labels whatever Label Studio hands out, until the round has what it wants.

    Like a person, they do not look at why a task came: where only a colleague may give the second
    opinion, Label Studio hands them the next most uncertain image instead.
    """
    with Studio(url, person.token) as studio:
        while needs.more() and (task := studio.next_task(project.id)) is not None:
            needs.begun(int(task["id"]))
            predictions = [p for p in task.get("predictions", []) if p.get("result")]
            drawn = convert.read(predictions[0]["result"], project).regions if predictions else ()
            rng = np.random.default_rng([zlib.crc32(person.name.encode()), int(task["id"])])
            regions, seconds = annotate(truth[scene_of(task["data"]["name"])], drawn, habit, rng)
            size = _size(task, predictions)
            studio.create_annotation(
                int(task["id"]),
                result=convert.results(regions, project, size),
                lead_time=seconds,
                parent_prediction=predictions[0]["id"] if predictions else None,
            )
            needs.took(int(task["id"]))


class Needs:
    """What a round still wants from its people, shared by the threads that play them."""

    def __init__(self, wanted: Mapping[int, int], tell: Callable[..., None]) -> None:
        self.submitted = 0
        self._left = dict(wanted)
        self._in_hand: Counter[int] = Counter()
        self._total = sum(wanted.values())
        self._tell, self._lock = tell, threading.Lock()

    def begun(self, task: int) -> None:
        """Somebody has this task on the screen."""
        with self._lock:
            self._in_hand[task] += 1

    def took(self, task: int) -> None:
        """Somebody submitted an annotation of this task."""
        with self._lock:
            self.submitted += 1
            self._in_hand[task] -= 1
            self._left[task] = max(0, self._left.get(task, 0) - 1)
            self._tell("label", self._total - sum(self._left.values()), self._total)

    def more(self) -> bool:
        """Is there an image that was asked about and lacks answers that nobody is giving already?"""
        with self._lock:
            return any(left > self._in_hand[task] for task, left in self._left.items())


def read_truth(path: Path) -> dict[str, tuple[Region, ...]]:
    """What is really in each drawn picture, by file name."""
    raw: dict[str, list[list[Any]]] = json.loads(path.read_text())
    return {
        name: tuple(Region(str(r[0]), Box(*map(float, r[1:]))) for r in rows) for name, rows in raw.items()
    }


def scene_of(name: str) -> str:
    """The drawn picture that a picture of this name shows: itself, or the parent of a variant."""
    stem, bracket, _ = name.partition(" [")
    return f"{stem}.jpg" if bracket else name


def _staff(known: home.Home) -> Sequence[tuple[home.Person, Habit]]:
    habits = {habit.name: habit for habit in PEOPLE}
    return [(person, habits[person.name]) for person in known.people]


def _size(task: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    for prediction in predictions:
        for item in prediction["result"]:
            return int(item["original_width"]), int(item["original_height"])
    return 640, 480  # what the scenes are drawn at


def _done(status: JobStatus) -> JobStatus:
    if status.state != "done":
        raise ThresherError(f"{status.id} {status.state}: {status.error or 'see thresher.log'}")
    return status


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
