"""Everything people said, as columns: a row for each answer, and one for each box of them.

Nothing is judged here. Skipped answers, ground truth, earlier answers of the same person, boxes
outside of the image and boxes that are none all have their rows; `marks.marks` takes from them what
counts, and the audit looks at the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pool.boxes import to_array
from pool.schema import Annotation, BadInput, Change

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]
Name = TypeVar("Name")

SCRATCH, UNTOUCHED, CHANGED, BEGUN = 0, 1, 2, 3
"""How an answer began: from nothing, or from a prediction without boxes; from a prediction that it repeats;
from one that it changed; from one that is not known any more."""

GOLD = "ground truth"
"""Name of the ground truth where it stands among the annotators."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What people said about some samples.

    ``samples``, ``annotators`` and ``labels`` are sorted, None last; the columns hold positions in
    them. ``sizes`` (samples, 2) holds each image's width and height in pixels, NaN where unknown.

    Each answer, (m,): ``sample``, ``annotator``, ``number`` (Label Studio's id of the annotation),
    ``task`` (its id of the task), ``created`` and ``updated`` in seconds since 1970, ``seconds`` the
    lead time or NaN, ``truth`` whether it is ground truth, ``skipped``, and ``start``, one of
    SCRATCH, UNTOUCHED, CHANGED and BEGUN.

    Each box, (n,): ``owner`` is the row of its answer, ascending; ``label``; ``boxes`` (n, 4) as drawn, in
    normalised coordinates but not cut off at the border; ``turn`` in degrees clockwise, as given.
    """

    samples: tuple[str, ...]
    annotators: tuple[str, ...]
    labels: tuple[str | None, ...]
    sizes: Floats
    sample: Ints
    annotator: Ints
    number: Ints
    task: Ints
    created: Floats
    updated: Floats
    seconds: Floats
    truth: Bools
    skipped: Bools
    start: Ints
    owner: Ints
    label: Ints
    boxes: Floats
    turn: Floats

    @property
    def aspects(self) -> Floats:
        """(samples,) width / height of each image, 1 where its size is not known."""
        ratio = self.sizes[:, 0] / self.sizes[:, 1]
        return np.where(np.isfinite(ratio), ratio, 1.0)


def sheet(annotations: Sequence[Annotation], sizes: Mapping[str, tuple[int, int]] | None = None) -> Sheet:
    """The annotations as columns.

    Args:
        annotations: of any samples and annotators.
        sizes: width and height by sample in pixels; needed only for samples with turned boxes and for
            rules that count pixels.

    Raises:
        BadInput: a size is not above 0.
    """
    known = dict(sizes or {})
    for name, (width, height) in known.items():
        if not (0 < width < float("inf") and 0 < height < float("inf")):
            raise BadInput(f"sizes[{name!r}]", "a width and a height above 0", (width, height))
    samples = sorted({a.sample for a in annotations})
    annotators = sorted({a.annotator for a in annotations})
    labels = ordered(r.label for a in annotations for r in a.regions)
    where, who, what = numbered(samples), numbered(annotators), numbered(labels)
    regions = [region for a in annotations for region in a.regions]
    missing = (np.nan, np.nan)
    return Sheet(
        samples=tuple(samples),
        annotators=tuple(annotators),
        labels=tuple(labels),
        sizes=np.array([known.get(s, missing) for s in samples], dtype=np.float64).reshape(-1, 2),
        sample=np.array([where[a.sample] for a in annotations], dtype=np.intp),
        annotator=np.array([who[a.annotator] for a in annotations], dtype=np.intp),
        number=np.array([a.id for a in annotations], dtype=np.intp),
        task=np.array([a.task for a in annotations], dtype=np.intp),
        created=np.array([a.created_at.timestamp() for a in annotations], dtype=np.float64),
        updated=np.array([a.updated_at.timestamp() for a in annotations], dtype=np.float64),
        seconds=np.array([a.lead_time if a.lead_time is not None else np.nan for a in annotations]),
        truth=np.array([a.ground_truth for a in annotations], dtype=np.bool_),
        skipped=np.array([a.skipped for a in annotations], dtype=np.bool_),
        start=np.array([_start(a) for a in annotations], dtype=np.intp),
        owner=np.repeat(np.arange(len(annotations)), [len(a.regions) for a in annotations]),
        label=np.array([what[r.label] for r in regions], dtype=np.intp),
        boxes=to_array(r.box for r in regions),
        turn=np.array([r.box.rotation for r in regions], dtype=np.float64),
    )


def ordered(labels: Iterable[str | None]) -> list[str | None]:
    """Distinct labels by name, None last."""
    return sorted(set(labels), key=lambda name: (name is None, name or ""))


def numbered(names: Iterable[Name]) -> dict[Name, int]:
    """Each name's position."""
    return {name: k for k, name in enumerate(names)}


def counting(sheet: Sheet) -> Ints:
    """Rows of the answers that count, one for each sample and person, in that order.

    Skipped ones are no answers. Of two by one person the later counts. Ground truth is a verdict about the
    others. Whether it is a vote as well depends on who gave it: an annotator's answer that somebody starred
    is still what that person drew, unless they have another one of the image; people of whom every answer
    is starred are judges, and have no vote where others answered.
    """
    rows = np.flatnonzero(~sheet.skipped)
    voting = np.zeros(len(sheet.annotators), dtype=np.bool_)
    voting[sheet.annotator[rows[~sheet.truth[rows]]]] = True
    voice = voting[sheet.annotator[rows]]
    voiced = np.zeros(len(sheet.samples), dtype=np.bool_)
    voiced[sheet.sample[rows[voice]]] = True
    rows = rows[voice | ~voiced[sheet.sample[rows]]]
    who = sheet.sample[rows] * len(sheet.annotators) + sheet.annotator[rows]
    order = np.lexsort((sheet.number[rows], sheet.updated[rows], ~sheet.truth[rows], who))
    return np.asarray(rows[order][_last(who[order])])


def verdicts(sheet: Sheet) -> Ints:
    """Rows of the newest ground truth of each sample, in the order of samples."""
    rows = np.flatnonzero(sheet.truth & ~sheet.skipped)
    order = np.lexsort((sheet.number[rows], sheet.updated[rows], sheet.sample[rows]))
    rows = rows[order]
    return np.asarray(rows[_last(sheet.sample[rows])])


def beside(sheet: Sheet) -> Sheet:
    """The same answers with the ground truth as one more annotator, called `GOLD`, last of all.

    The newest ground truth of each sample is copied; what people answered stays as it is, starred or
    not, and judges who only gave ground truth have no answer of their own.
    """
    told, counted = verdicts(sheet), counting(sheet)
    judges = np.ones(len(sheet.annotators), dtype=np.bool_)
    judges[sheet.annotator[~sheet.truth & ~sheet.skipped]] = False
    voices = counted[~judges[sheet.annotator[counted]]]
    own = np.union1d(voices, np.flatnonzero(~sheet.truth))
    rows = np.concatenate([own, told])
    count = np.bincount(sheet.owner, minlength=len(sheet.sample))[rows]
    first = np.searchsorted(sheet.owner, rows)
    boxes = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count - first, count)
    columns = {
        name: getattr(sheet, name)[rows]
        for name in ("sample", "number", "task", "created", "updated", "seconds", "skipped", "start")
    }
    gold = np.full(len(told), len(sheet.annotators), dtype=np.intp)
    return replace(
        sheet,
        annotators=(*sheet.annotators, GOLD),
        annotator=np.concatenate([sheet.annotator[own], gold]),
        truth=np.zeros(len(rows), dtype=np.bool_),
        owner=np.repeat(np.arange(len(rows)), count),
        label=sheet.label[boxes],
        boxes=sheet.boxes[boxes],
        turn=sheet.turn[boxes],
        **columns,
    )


def _last(key: Ints) -> Bools:
    """The last of each run of equal keys."""
    return np.append(key[1:] != key[:-1], True) if key.size else np.zeros(0, dtype=np.bool_)


def _start(annotation: Annotation) -> int:
    change = annotation.change
    if annotation.parent_prediction is None:
        return SCRATCH
    if change is None:
        return BEGUN
    if change == Change(added=change.added):  # there was no box to begin from
        return SCRATCH
    return UNTOUCHED if change == Change(kept=change.kept) else CHANGED
