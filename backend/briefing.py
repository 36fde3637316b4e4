"""What strategies are told of the waiting images, and of what people labelled already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from backend import doubts, evidence, snapshot, trust
from backend.house import House
from pool.columns import Columns, join
from pool.schema import ModelVersion
from pool.store import Waiting
from sampler import ppal
from sampler.selection import Indices
from sampler.strategies import Signals
from sampler.uncertainty import MEASURES

Floats = NDArray[np.float64]

REQUESTS = "requests"


def undecided(house: House, project: int) -> dict[str, Waiting]:
    """Images that want an answer and are in no open round.

    Holdout images want two people's. Who skips an image has answered: asked again, it would only take
    the place of one that can be labelled.
    """
    waiting = house.pool.waiting(project)
    return {s: w for s, w in waiting.items() if w.people < (2 if w.holdout else 1)}


def read(
    house: House, model: ModelVersion, wanted: Mapping[str, Waiting], names: Collection[str]
) -> Columns:
    """Signals of the waiting images in a fixed order; those with an answer wait for those without."""
    labels = house.pool.project(model.project).labels
    columns = join(house.pool.signals(model.version, wanted.keys(), ("embedding", *names)), labels)
    places = sorted(
        range(len(columns)), key=lambda i: (wanted[columns.samples[i]].people, columns.samples[i])
    )
    return columns.of(np.asarray(places, dtype=np.intp))


def signals_of(
    house: House,
    model: ModelVersion,
    columns: Columns,
    wanted: Mapping[str, Waiting],
    uncertainty: Floats,
    strategy: str,
    measure: str,
) -> Signals:
    """All that a strategy may know of these images and of the labelled ones."""
    project = model.project
    labelled = snapshot.labelled(house.pool, project).keys() - set(columns.samples)
    context = join(house.pool.signals(model.version, labelled, ("embedding",)), columns.labels).embedding
    boxes = _Boxes(house, model, columns) if strategy == "ppal" else None
    return Signals(
        uncertainty,
        embedding=whole(columns.embedding),
        context=whole(context),
        boxes=columns.counts,
        kind=doubtful(columns),
        phash=np.array([wanted[s].phash for s in columns.samples], dtype=np.uint64),
        turn=sum(not r.id.startswith("stream-") for r in house.pool.rounds(project)),
        difficulty=boxes.difficulty(measure) if boxes and measure in MEASURES else None,
        detail=boxes.of if boxes else None,
    )


def whole(table: NDArray[np.float16] | None) -> NDArray[np.float16] | None:
    """Embeddings with zeros where an image has none: far from everything, and no reason to stop."""
    if table is None or np.isfinite(table[:, :1]).all():
        return table
    return np.nan_to_num(table)


def doubtful(columns: Columns) -> NDArray[np.intp]:
    """The label of each image's most doubtful box, (n,), as a place in the labels; -1 without a box."""
    return _best(columns, -np.abs(np.nan_to_num(columns.score.astype(np.float64), nan=0.5) - 0.5))


def _best(columns: Columns, values: Floats) -> NDArray[np.intp]:
    image = np.repeat(np.arange(len(columns)), columns.counts)
    order = np.lexsort((-np.arange(len(values)), values, image))  # the last of each image is its best
    ends = columns.starts[1:][columns.counts > 0] - 1
    kinds = np.full(len(columns), -1, dtype=np.intp)
    kinds[columns.counts > 0] = columns.kind[order[ends]]
    return kinds


def shows(columns: Columns, labels: Collection[int], floor: float) -> NDArray[np.bool_]:
    """Whether each image has a box of one of these labels that people would meet, (n,)."""
    image = np.repeat(np.arange(len(columns)), columns.counts)
    there = np.zeros(len(columns), dtype=np.bool_)
    there[image[np.isin(columns.kind, list(labels)) & (columns.score >= floor)]] = True
    return there


def known_boxes(house: House, project: int, labels: Sequence[str]) -> NDArray[np.intp]:
    """Boxes of each label on labelled images, (labels,); of several answers the first one's count."""
    answers = snapshot.labelled(house.pool, project).values()
    counts = Counter(r.label for given in answers for r in given[0].regions)
    return np.array([counts[label] for label in labels], dtype=np.intp)


def requested(house: House, project: int, columns: Columns) -> Indices:
    """Places of the images that somebody asked for by name, the first wish first."""
    wishes = (house.pool.state(REQUESTS, str(project)) or {}).get("samples", [])
    place = {sample: i for i, sample in enumerate(columns.samples)}
    return np.array([place[s] for s in wishes if s in place], dtype=np.intp)


class _Boxes:
    """The boxes of single images for `sampler.ppal`, read when it asks for them."""

    def __init__(self, house: House, model: ModelVersion, columns: Columns) -> None:
        self._house, self._model, self._columns = house, model, columns

    def of(self, images: Indices) -> ppal.BoxColumns:
        """Boxes with their feature vectors; a vector of zeros where the model has none."""
        names = [self._columns.samples[i] for i in images]
        read = join(
            self._house.pool.signals(self._model.version, names, ("box_embeddings",)), self._columns.labels
        )
        place = {sample: i for i, sample in enumerate(read.samples)}
        found = read.of(np.array([place[name] for name in names], dtype=np.intp))
        vectors = found.box_embeddings
        if vectors is None:
            vectors = np.zeros((len(found.score), 1), dtype=np.float16)
        return ppal.BoxColumns(np.nan_to_num(vectors), np.nan_to_num(found.score), found.kind, found.starts)

    def difficulty(self, measure: str) -> Floats:
        """Doubts by a measure, weighted by how badly people's answers say that each label is detected."""
        columns = self._columns
        found = evidence.gather(self._house, self._model)
        place = {label: i for i, label in enumerate(columns.labels)}
        known = [(p, iou, place[label]) for p, iou, label in found.objects if label in place]
        parts = [np.array(part) for part in zip(*known, strict=True)] if known else [np.zeros(0)] * 3
        weights = ppal.difficulty_weights(
            ppal.quality(parts[0], parts[1], parts[2].astype(np.intp), max(len(columns.labels), 1))
        )
        curves = trust.calibration(self._house, self._model.version)
        boxes, starts = doubts.evidence_of(curves, columns)
        kinds = np.insert(columns.kind, columns.starts[:-1][columns.counts == 0], -1)
        return ppal.utility(MEASURES[measure](boxes), kinds, starts, weights)
