"""What an export says of its pictures, answers and predictions, gathered while it is read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple

import httpx

from backend.studio import addresses, regions, tasks
from backend.studio.convert import annotator
from backend.studio.structs import Annotation, Item, Prediction, Task
from pool.schema import BadInput

PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
ZONE: Final = attrgetter("tzinfo")
PLACES: Final = ("/data/", "http://", "https://", "s3://", "gs://", "azure-blob://")


@dataclass(frozen=True, slots=True)
class Picture:
    """What an export says about one sample.

    ``tasks`` are the ids of the tasks that show it, ``image`` is its address as the first of them
    gives it, empty where no address was found, and ``data`` is that task's data.
    """

    sample: str
    tasks: tuple[int, ...]
    image: str
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``data["name"]``, or else the file name in the image's address."""
        given = self.data.get("name")
        if given and isinstance(given, str):
            return given
        with suppress(httpx.InvalidURL, ValueError):
            return addresses.file_name(httpx.URL(self.image)) if self.image else self.sample
        return addresses.clean_name(self.image)


class Answers(NamedTuple):
    """Columns of annotations while they grow; ``parent`` is the row of a prediction, -1 for none known."""

    sample: list[str]
    annotator: list[str]
    number: list[int]
    task: list[int]
    created: list[float]
    updated: list[float]
    seconds: list[float]
    truth: list[bool]
    skipped: list[bool]
    begun: list[bool]
    parent: list[int]


class Foretold(NamedTuple):
    """Columns of predictions while they grow."""

    number: list[int]
    task: list[int]
    version: list[str | None]
    score: list[float]


class Gathered:
    """What is known of an export while its pieces come in."""

    def __init__(self, image_key: str | None) -> None:
        self.image_key = image_key
        self.book = regions.Book()
        self.pictures: dict[str, Picture] = {}
        self.sizes: dict[str, tuple[float, float]] = {}
        self.answers = Answers(*([] for _ in Answers._fields))
        self.foretold = Foretold(*([] for _ in Foretold._fields))
        self.items: list[regions.Items] = []
        self.predicted: list[regions.Items] = []

    def add(self, piece: Sequence[Task]) -> None:
        """Take in the tasks of one piece."""
        answered, foretold = len(self.answers.number), len(self.foretold.number)
        given: list[Annotation] = []
        samples: list[str] = []
        numbers: list[int] = []
        parents: list[int] = []
        shown: list[Sequence[Item]] = []
        for task in piece:
            sample = self._picture(task)
            rows: dict[int | None, int] = {}
            for prediction in tasks.predictions(task):
                if prediction.id is not None and prediction.result is not None:
                    rows.setdefault(prediction.id, len(self.foretold.number))
                self._foretell(prediction, task.id)
                shown.append(prediction.result or ())
            count = len(task.annotations)
            given += task.annotations
            samples += [sample] * count
            numbers += [task.id] * count
            parents += (
                [rows.get(_number(a.parent_prediction), -1) for a in task.annotations]
                if rows
                else [-1] * count
            )
            if sample not in self.sizes:
                answers = (a.result or () for a in task.annotations if not a.was_cancelled)
                self._measure(sample, chain(*answers, *(shown[k - foretold] for k in rows.values())))
        self._answer(given, numbers, samples, parents)
        drawn = [() if a.was_cancelled else a.result or () for a in given]
        self.items.append(self.book.write(drawn, answered, scored=False))
        self.predicted.append(self.book.write(shown, foretold, scored=True))

    def _picture(self, task: Task) -> str:
        sample = str(task.data.get("sample") or "") or f"task-{task.id}"
        known = self.pictures.get(sample)
        if known is None:
            self.pictures[sample] = Picture(
                sample, (task.id,), _address(task.data, self.image_key), task.data
            )
        else:
            image = _address(task.data, self.image_key)
            if task.id in known.tasks and image != known.image:
                raise BadInput(
                    "the export",
                    "each task once",
                    f"task {task.id} with two images, {known.image} and {image}",
                    "Numbers of two installations do not mean the same: audit their exports one by one.",
                )
            self.pictures[sample] = replace(known, tasks=(*known.tasks, task.id))
        return sample

    def _measure(self, sample: str, items: Iterable[Item]) -> None:
        """The size of a picture, as the first item says that knows it."""
        for item in items:
            width, height = item.original_width, item.original_height
            if width is not None and height is not None and width > 0.0 and height > 0.0:
                self.sizes[sample] = (width, height)
                return

    def _foretell(self, given: Prediction, task: int) -> None:
        self.foretold.number.append(-1 if given.id is None else given.id)
        self.foretold.task.append(task)
        self.foretold.version.append(given.model_version)
        self.foretold.score.append(math.nan if given.score is None else given.score)

    def _answer(
        self, given: Sequence[Annotation], numbers: list[int], samples: list[str], parents: list[int]
    ) -> None:
        columns = self.answers
        columns.sample.extend(samples)
        columns.annotator.extend(
            [
                str(a.completed_by) if type(a.completed_by) is int else annotator(a.completed_by)
                for a in given
            ]
        )
        columns.number.extend([a.id for a in given])
        columns.task.extend(numbers)
        columns.created.extend(_seconds([a.created_at for a in given]))
        columns.updated.extend(_seconds([a.updated_at or a.created_at for a in given]))
        columns.seconds.extend(
            [float(a.lead_time) if isinstance(a.lead_time, int | float) else math.nan for a in given]
        )
        columns.truth.extend([bool(a.ground_truth) for a in given])
        columns.skipped.extend([bool(a.was_cancelled) for a in given])
        columns.begun.extend(
            [a.parent_prediction is not None and _number(a.parent_prediction) is not None for a in given]
        )
        columns.parent.extend(
            [-1 if a.was_cancelled else row for a, row in zip(given, parents, strict=True)]
        )


def _seconds(moments: Sequence[datetime]) -> Iterable[float]:
    """Seconds since 1970; a time without zone is meant in UTC, as in `listing.moment`."""
    if None in map(ZONE, moments):
        moments = [at if at.tzinfo else at.replace(tzinfo=UTC) for at in moments]
    return map(datetime.timestamp, moments)


def _number(given: object) -> int | None:
    """An id: a number, or an object that has one."""
    if isinstance(given, dict):
        given = given.get("id")
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _address(data: Mapping[str, Any], key: str | None) -> str:
    """Where the picture is: under ``key``, or under what looks most like it."""
    if key is not None:
        return str(data.get(key) or "")
    texts = {name: value for name, value in data.items() if isinstance(value, str)}
    likely = (v for v in texts.values() if v.startswith(PLACES) or v.lower().endswith(PICTURES))
    return texts.get("image") or next(likely, "")
