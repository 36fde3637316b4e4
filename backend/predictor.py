"""Answers to single opens: a process of its own, so that a forward pass never delays /health.

Most answers are already in the ledger. The rest is fetched, looked at and kept, so that the same task
is looked at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any, TypeVar

from backend import intake, learning, streaming
from backend.house import House
from backend.logs import set_up_logging
from backend.processes import die_with_parent
from backend.settings import Settings
from backend.studio.convert import shown
from backend.studio.labeling import LabelingConfig, parse
from backend.studio.protocol import PredictRequest, TaskBody
from pool.schema import (
    Box,
    Failure,
    ModelVersion,
    NotReady,
    Prediction,
    Project,
    Sample,
    Task,
    ThresherError,
)

log = logging.getLogger("thresher.predict")

Result = dict[str, Any]
T = TypeVar("T")
_house: House | None = None


class Predictor:
    """One child process that holds the ledger and the champion's weights."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = self._make()

    def _make(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, get_context("spawn"), initializer=_open, initargs=(self._settings,))

    def close(self) -> None:
        """End the child process."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def warm(self, project: int) -> None:
        """Load the champion of a project before somebody waits for it."""
        try:
            self._pool.submit(_warm, project)
        except BrokenProcessPool:
            self._pool = self._make()

    def answer(self, project: int, asked: PredictRequest) -> tuple[str, dict[int, Result]]:
        """Model version and prediction items by task id, without those that could not be looked at; blocks.

        In an interactive call, boxes outside what the annotator drew are left out.

        Raises:
            NotReady: the process died over it; the next call gets a new one.
        """
        return self._run(_answer, project, asked)

    def arrive(self, project: int, data: bytes | None, url: str, name: str) -> dict[str, Any]:
        """Judge an image of a stream, given as bytes or by its address; what became of it; blocks.

        Raises:
            BadImage: it cannot be used.
            NotReady: there is no stream, or the process died over it; the next call gets a new one.
        """
        return self._run(_arrive, project, data, url, name)

    def _run(self, what: Callable[..., T], *given: Any) -> T:
        try:
            return self._pool.submit(what, *given).result()
        except BrokenProcessPool:
            self._pool = self._make()
            raise NotReady(
                "The predicting process died, most likely for want of memory; a new one starts. Ask again."
            ) from None


def _open(settings: Settings) -> None:
    global _house
    die_with_parent()
    set_up_logging(settings)
    _house = House(settings)


def _opened() -> House:
    assert _house is not None, "the initializer ran first"
    return _house


def _warm(project: int) -> None:
    house = _opened()
    model = house.pool.champion(project)
    if model is not None:
        house.detector(model)


def _answer(project_id: int, asked: PredictRequest) -> tuple[str, dict[int, Result]]:
    house = _opened()
    project = house.pool.project(project_id)
    model = house.champion(project_id)
    known = {t.id: t.sample for t in house.pool.tasks(project_id)}
    target = parse(asked.label_config, project.control) if asked.label_config else project
    out: dict[int, Result] = {}
    failed = {f.subject for f in house.pool.failures(project_id) if f.stage == "predict"}
    for task in asked.tasks:
        number = task.id
        try:
            sample, prediction = _look(house, project, model, known.get(number), task)
            out[number] = _item(house, target, sample, prediction, number, asked.context or [], project_id)
            if f"task {number}" in failed:
                house.pool.clear_failures("predict", [f"task {number}"])
        except NotReady:  # it is no image's fault: an error makes Label Studio store nothing
            raise
        except (ThresherError, KeyError) as error:  # one bad image never costs the others theirs
            log.warning("task %s: %s", number, error)
            if not asked.context:  # Label Studio keeps what an open is answered, not an interactive call
                failure = Failure(f"task {number}", "predict", str(error), datetime.now(UTC))
                house.pool.record_failures([failure], project_id)
    return model.version, out


def _arrive(project_id: int, data: bytes | None, url: str, name: str) -> dict[str, Any]:
    house = _opened()
    if data is None:
        data, name = house.fetcher.fetch(0, url)
    judged = streaming.arrive(house, project_id, data, name)
    seen = judged.prediction
    return {
        "sample": judged.sample,
        "action": judged.verdict.action,
        "reason": judged.verdict.reason,
        "uncertainty": None if seen is None else seen.uncertainty,
        "model_version": None if seen is None else seen.model_version,
        "boxes": []
        if seen is None
        else [
            {"label": r.label, "score": r.score, "xyxyn": [r.box.x1, r.box.y1, r.box.x2, r.box.y2]}
            for r in shown(seen, house.settings.show_floor, holdout=False).regions
        ],
    }


def _look(
    house: House, project: Project, model: ModelVersion, sample_id: str | None, task: TaskBody
) -> tuple[Sample, Prediction]:
    if sample_id is None:
        uri = str(task.data[project.image_key])
        sample = intake.one(house, *house.fetcher.fetch(task.id, uri))
        intake.remember(house, project.id, [sample.id])
        house.pool.bind_tasks([Task(project.id, task.id, sample.id, uri)])
    else:
        sample = house.pool.sample(sample_id)
    seen = next(iter(house.pool.predictions(model.version, [sample.id])), None)
    if seen is None:
        result = next(iter(house.detector(model).predict([(sample.id, house.images.local(sample))])))
        if isinstance(result, Failure):
            raise ThresherError(result.message)
        seen = learning.measured(house, model, [result])[0]
        house.pool.save_predictions([seen])
    return sample, seen


def _item(
    house: House,
    target: Project | LabelingConfig,
    sample: Sample,
    prediction: Prediction,
    task: int,
    drawn: Sequence[Result],
    project: int,
) -> Result:
    from backend.studio import convert
    from backend.studio.proposals import proposed

    areas = [r.box for r in convert.read(list(drawn), target).regions]
    if not areas:
        prediction = next(proposed(house.pool, project, [prediction]))
        return convert.task_item(task, prediction, target, sample, house.settings.show_floor)
    # Inside an area that somebody points at, even the weak boxes are worth showing.
    there = tuple(r for r in prediction.regions if _inside(r.box, areas))
    return convert.task_item(task, replace(prediction, regions=there), target, sample, 0.0)


def _inside(box: Box, areas: Sequence[Box]) -> bool:
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    return any(a.x1 <= x <= a.x2 and a.y1 <= y <= a.y2 for a in areas)
