"""A Label Studio JSON export as columns, without a record for each box on the way.

What counts as a box, whose it is and what became of a prediction is as in :mod:`.convert`, which reads
one annotation at a time. There is one difference: a sheet holds boxes as they were drawn, so those that
reach over the picture's edge are not cut off here.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from backend.studio import regions, tasks
from backend.studio.convert import UNKNOWN_ANNOTATOR
from backend.studio.gathering import Gathered, Picture
from backend.studio.labeling import LabelingConfig
from backend.studio.regions import Boxes
from consensus.sheet import BEGUN, CHANGED, SCRATCH, UNTOUCHED, Floats, Ints, Sheet, numbered, ordered


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions of an export, as columns.

    Each prediction, (p,): ``number`` is its id, -1 where it has none, ``task`` that of its task,
    ``version`` a position in ``versions`` (sorted, None last), ``score`` in [0, 1] as Label Studio
    holds it, or NaN. Each box, (n,): ``owner`` is the row of its prediction, ascending, ``label`` a
    position in ``labels`` (sorted, None last), ``boxes`` (n, 4) and ``turn`` as in a sheet, and
    ``confidence`` in [0, 1], higher = surer, or NaN.
    """

    versions: tuple[str | None, ...]
    labels: tuple[str | None, ...]
    number: Ints
    task: Ints
    version: Ints
    score: Floats
    owner: Ints
    label: Ints
    boxes: Floats
    turn: Floats
    confidence: Floats


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds.

    ``sheet`` is every annotation, in the order of the file. ``pictures`` has all samples in that order,
    also those without annotation. ``labels`` are those of the labeling config in its order, or else
    those that were used, sorted. ``control`` and ``image_tag`` are the names of the tags whose boxes
    were read, None where there is no box at all.

    ``ignored`` counts what is no box, by Label Studio's type, with ``broken`` and ``second label`` as in
    `convert.Reading`. Of the boxes ``unnamed`` have no label and ``outside`` reach over the edge of the
    picture; ``anonymous`` annotations say nothing of their annotator.
    """

    sheet: Sheet
    pictures: Mapping[str, Picture]
    predictions: Predictions
    labels: tuple[str, ...]
    control: str | None
    image_tag: str | None
    ignored: Mapping[str, int]
    unnamed: int
    outside: int
    anonymous: int


def read(
    data: bytes,
    *,
    config: LabelingConfig | None = None,
    control: str | None = None,
    image_tag: str | None = None,
) -> Export:
    """Read the text of an export in the format JSON.

    A list of tasks, an answer of the REST API's task list with ``fields=all``, a single task, or one task
    on each line. A task's sample is its ``data.sample``, which tasks made here have, or else
    ``task-<id>``. Drafts are not read.

    Args:
        data: the text in UTF-8.
        config: the project's labeling config, if it is known: it says whose boxes count, where the
            image's address stands and in which order labels are named.
        control: name of the RectangleLabels or Labels tag (``from_name``); needed only without a
            config, and where several draw boxes.
        image_tag: name of the Image tag (``to_name``); needed only where boxes lie on several.

    Raises:
        BadInput: no such export, with the place in the file; or a choice that was not made.
    """
    with _unswept():
        found = Gathered(None if config is None else config.image_key)
        for piece in tasks.pieces(data):
            found.add(piece)
        items, predicted = regions.joined(found.items), regions.joined(found.predicted)
    if config is not None:
        tags = regions.Control(config.control, config.image_tag, config.shape)
    else:
        tags = found.book.control(items if items.place.size else predicted, control, image_tag)
    drawn, ignored = found.book.boxes(items, tags)
    before, _ = found.book.boxes(predicted, tags)
    sheet = _sheet(found, drawn, before)
    used = tuple(name for name in sheet.labels if name is not None)
    return Export(
        sheet=sheet,
        pictures=found.pictures,
        predictions=_predictions(found, before),
        labels=used if config is None else tuple(label.value for label in config.labels),
        control=tags.name,
        image_tag=tags.image_tag,
        ignored=ignored,
        unnamed=int((drawn.label == 0).sum()),
        outside=int(regions.outside(drawn).sum()),
        anonymous=found.answers.annotator.count(UNKNOWN_ANNOTATOR),
    )


def _sheet(found: Gathered, drawn: Boxes, before: Boxes) -> Sheet:
    answers = found.answers
    samples, people = sorted(set(answers.sample)), sorted(set(answers.annotator))
    where, who = numbered(samples), numbered(people)
    parent = np.array(answers.parent, dtype=np.intp)
    row = np.flatnonzero(parent >= 0)
    names = list(found.book.labels)
    start = np.where(answers.begun, BEGUN, SCRATCH).astype(np.intp)
    start[row] = np.where(regions.untouched(drawn, before, row, parent[row], names), UNTOUCHED, CHANGED)
    shown = np.bincount(before.owner, minlength=int(parent.max(initial=-1)) + 1)
    start[row[shown[parent[row]] == 0]] = SCRATCH  # there was no box to begin from
    labels, label = _named(drawn.label, names)
    unknown = (math.nan, math.nan)
    return Sheet(
        samples=tuple(samples),
        annotators=tuple(people),
        labels=labels,
        sizes=np.array([found.sizes.get(s, unknown) for s in samples], dtype=np.float64).reshape(-1, 2),
        sample=np.array([where[s] for s in answers.sample], dtype=np.intp),
        annotator=np.array([who[a] for a in answers.annotator], dtype=np.intp),
        number=np.array(answers.number, dtype=np.intp),
        task=np.array(answers.task, dtype=np.intp),
        created=np.array(answers.created, dtype=np.float64),
        updated=np.array(answers.updated, dtype=np.float64),
        seconds=np.array(answers.seconds, dtype=np.float64),
        truth=np.array(answers.truth, dtype=np.bool_),
        skipped=np.array(answers.skipped, dtype=np.bool_),
        start=start,
        owner=drawn.owner,
        label=label,
        boxes=drawn.boxes,
        turn=drawn.turn,
    )


def _predictions(found: Gathered, before: Boxes) -> Predictions:
    columns = found.foretold
    versions = ordered(columns.version)
    place = numbered(versions)
    labels, label = _named(before.label, list(found.book.labels))
    return Predictions(
        versions=tuple(versions),
        labels=labels,
        number=np.array(columns.number, dtype=np.intp),
        task=np.array(columns.task, dtype=np.intp),
        version=np.array([place[v] for v in columns.version], dtype=np.intp),
        score=np.array(columns.score, dtype=np.float64),
        owner=before.owner,
        label=label,
        boxes=before.boxes,
        turn=before.turn,
        confidence=before.score,
    )


def _named(codes: Ints, names: Sequence[str | None]) -> tuple[tuple[str | None, ...], Ints]:
    """The names that occur, sorted, None last, and the codes as positions in them."""
    used = np.unique(codes)
    labels = ordered(names[code] for code in used.tolist())
    place = np.zeros(len(names), dtype=np.intp)
    place[used] = [labels.index(names[code]) for code in used.tolist()]
    return tuple(labels), place[codes]


@contextmanager
def _unswept() -> Iterator[None]:
    """Without the garbage collector, which would look through millions of new objects for nothing."""
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()
