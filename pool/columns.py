"""What a model version knows of many images, column by column: what choosing needs, without any box.

Half-precision numbers, a few dozen bytes for a box and two for each place of an embedding, so that the
signals of a million images fit where their boxes as records would not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool.schema import BadInput, Prediction

Matrix = NDArray[np.float16]
Ints = NDArray[np.intp]
Kinds = NDArray[np.int16]

PER_IMAGE = ("background", "embedding")
PER_BOX = ("score", "kind", "probs", "localisation", "disagreement", "box_embeddings")


@dataclass(frozen=True, slots=True)
class Columns:
    """n images and their m boxes; image i owns the boxes ``starts[i]`` up to ``starts[i + 1]``.

    ``samples`` (n,) ids. ``starts`` (n + 1,). Per image: ``background`` (n,), ``embedding`` (n, d). Per
    box, strongest first within an image: ``score`` (m,), ``kind`` (m,) the label as a place in ``labels``
    or -1, ``probs`` (m, labels), ``localisation`` (m,), ``disagreement`` (m,), ``box_embeddings``
    (m, e). A column that no image has is None; where only some have it, the others are NaN.
    """

    labels: tuple[str, ...]
    samples: tuple[str, ...]
    starts: Ints
    background: Matrix
    score: Matrix
    kind: Kinds
    embedding: Matrix | None = None
    probs: Matrix | None = None
    localisation: Matrix | None = None
    disagreement: Matrix | None = None
    box_embeddings: Matrix | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def counts(self) -> Ints:
        """How many boxes each image has, (n,)."""
        return np.diff(self.starts)

    def of(self, images: Ints) -> Columns:
        """The same of some images, in the order given."""
        lengths = self.counts[images]
        starts = np.concatenate(([0], np.cumsum(lengths)))
        # The boxes of image i are a run; each run is moved from where it was to where it goes.
        boxes = np.arange(starts[-1]) + np.repeat(self.starts[:-1][images] - starts[:-1], lengths)
        rows = dict.fromkeys(PER_IMAGE, images) | dict.fromkeys(PER_BOX, boxes)
        taken: dict[str, Any] = {name: _rows(getattr(self, name), at) for name, at in rows.items()}
        return replace(self, samples=tuple(self.samples[i] for i in images), starts=starts, **taken)


def _rows(column: Any, at: Ints) -> Any:
    return None if column is None else column[at]


def empty(labels: Sequence[str] = ()) -> Columns:
    """No image at all."""
    none = np.zeros(0, np.float16)
    return Columns(tuple(labels), (), np.zeros(1, np.intp), none, none, np.zeros(0, np.int16))


def of_predictions(predictions: Sequence[Prediction]) -> Iterator[Columns]:
    """The predictions column by column, those that know the same things together.

    Raises:
        BadInput: a matrix does not fit its prediction's boxes, or holds what float16 cannot.
    """
    alike: dict[tuple[object, ...], list[Prediction]] = {}
    for prediction in predictions:
        key = (
            prediction.classes,
            _width(prediction.embedding, 0),
            *(_width(getattr(prediction, name), 1) for name in PER_BOX[2:]),
        )
        alike.setdefault(key, []).append(prediction)
    for group in alike.values():
        yield _columns(group)


def _width(matrix: Matrix | None, axis: int) -> tuple[int, ...] | None:
    return None if matrix is None else matrix.shape[axis:]


def _columns(group: Sequence[Prediction]) -> Columns:
    classes = group[0].classes
    place = {label: index for index, label in enumerate(classes)}
    counts = [len(p.regions) for p in group]
    regions = [r for p in group for r in p.regions]

    def boxes(name: str, *shape: int | None) -> Matrix | None:
        if getattr(group[0], name) is None:
            return None
        parts = [half(name, getattr(p, name), (len(p.regions), *shape)) for p in group]
        return np.concatenate(parts)

    embeddings = [p.embedding for p in group]
    return Columns(
        labels=classes,
        samples=tuple(p.sample for p in group),
        starts=np.concatenate(([0], np.cumsum(counts))).astype(np.intp),
        background=np.array([p.background for p in group], dtype=np.float16),
        score=np.array([np.nan if r.score is None else r.score for r in regions], dtype=np.float16),
        kind=np.array([place.get(str(r.label), -1) for r in regions], dtype=np.int16),
        embedding=None
        if embeddings[0] is None
        else np.stack([half("embedding", e, (None,)) for e in embeddings if e is not None]),
        probs=boxes("probs", len(classes)),
        localisation=boxes("localisation"),
        disagreement=boxes("disagreement"),
        box_embeddings=boxes("box_embeddings", None),
    )


def half(name: str, values: Matrix, shape: tuple[int | None, ...]) -> Matrix:
    """Values as little-endian float16 of this shape; ``None`` in ``shape`` stands for any length.

    Raises:
        BadInput: another shape, or a number that float16 cannot hold.
    """
    array = np.asarray(values)
    fits = array.ndim == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise BadInput(name, f"an array of shape {shape}", array.shape)
    with np.errstate(over="ignore"):
        small = array.astype("<f2", order="C")
    if not np.isfinite(small).all():
        raise BadInput(name, "finite within float16 (up to 65504)", float(np.abs(array).max()))
    return small


def join(parts: Iterable[Columns], labels: Sequence[str]) -> Columns:
    """Many as one, their kinds and class probabilities by ``labels``.

    A label that is not among them becomes -1, and its probabilities are left out. Embeddings of another
    length than the first part's are NaN: another model made them.
    """
    known = [part for part in parts if len(part)]
    if not known:
        return empty(labels)
    spread = [_by_labels(part, labels) for part in known]
    merged: dict[str, Any] = {}
    for name in (*PER_IMAGE, *PER_BOX):
        columns = [getattr(part, name) for part in spread]
        lengths = [len(part) if name in PER_IMAGE else int(part.starts[-1]) for part in spread]
        merged[name] = _stack(columns, lengths)
    lengths_so_far = np.concatenate(([0], np.cumsum(np.concatenate([part.counts for part in spread]))))
    samples = tuple(sample for part in spread for sample in part.samples)
    return replace(
        spread[0], labels=tuple(labels), samples=samples, starts=lengths_so_far.astype(np.intp), **merged
    )


def _by_labels(part: Columns, labels: Sequence[str]) -> Columns:
    if part.labels == tuple(labels):
        return part
    place = {label: index for index, label in enumerate(labels)}
    to = np.array([place.get(label, -1) for label in part.labels] + [-1], dtype=np.int16)
    probs = part.probs
    if probs is not None:
        spread = np.zeros((len(probs), len(labels)), dtype=np.float16)
        kept = np.flatnonzero(to[:-1] >= 0)
        spread[:, to[kept]] = probs[:, kept]
        probs = spread
    return replace(part, labels=tuple(labels), kind=to[part.kind], probs=probs)


def _stack(columns: Sequence[Any], lengths: Sequence[int]) -> Any:
    first = next((c for c in columns if c is not None), None)
    if first is None:
        return None
    blank = (
        np.asarray(np.nan).astype(first.dtype) if first.dtype.kind == "f" else np.asarray(-1, first.dtype)
    )
    whole = [
        c if c is not None and c.shape[1:] == first.shape[1:] else np.full((n, *first.shape[1:]), blank)
        for c, n in zip(columns, lengths, strict=True)
    ]
    return np.concatenate(whole)
