"""What counts of a sheet: one answer for each person and image, and its boxes inside the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from consensus.sheet import Bools, Floats, Ints, Sheet, counting
from consensus.sheet import sheet as sheet_of
from pool.boxes import clip, to_array
from pool.schema import Annotation, Region


@dataclass(frozen=True, slots=True)
class Marks:
    """Every usable box of some samples, and everybody who answered, also with no box at all.

    ``samples``, ``annotators`` and ``labels`` are those of the sheet: sorted, None last. The columns
    hold positions in them. ``boxes`` is (n, 4), cut off at the image's border unless turned, the other
    columns (n,); ``turn`` is in degrees, in [0, 360). ``row`` is each box's row in the sheet.
    ``answered`` (m, 2) holds pairs of sample and annotator, sorted, ``answer`` (m,) their rows in the
    sheet.
    """

    samples: tuple[str, ...]
    annotators: tuple[str, ...]
    labels: tuple[str | None, ...]
    sample: Ints
    annotator: Ints
    label: Ints
    boxes: Floats
    turn: Floats
    aspect: Floats
    row: Ints
    answered: Ints
    answer: Ints

    @property
    def place(self) -> Ints:
        """(n,) the row of ``answered`` that each box belongs to."""
        people = max(len(self.annotators), 1)
        key = self.answered[:, 0] * people + self.answered[:, 1]
        return np.asarray(np.searchsorted(key, self.sample * people + self.annotator), dtype=np.intp)


def usable(boxes: Floats, turn: Floats) -> Bools:
    """Which rows (n, 4) are boxes at all: finite, with a width, a height and an area above 0."""
    with np.errstate(all="ignore"):
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        area = width * height
        sound = (width > 0.0) & (height > 0.0) & (area > 0.0)
        return np.asarray(sound & np.isfinite(boxes).all(axis=1) & np.isfinite(area) & np.isfinite(turn))


def turns(angles: Floats) -> Floats:
    """Rotations, (n,), in [0, 360); NaN where a rotation is not finite."""
    angles = np.where(np.isfinite(angles), angles, np.nan)
    return np.asarray(angles % 360.0 % 360.0)  # the first remainder of -1e-20 is 360


def inside(boxes: Floats, turn: Floats) -> Floats:
    """The boxes, (n, 4), cut off at the image's border; turned ones are left whole."""
    return np.where((turn == 0.0)[:, None], clip(boxes), boxes)


def whole(regions: Sequence[Region]) -> tuple[Region, ...]:
    """One person's regions as they are, less what is no box, cut off at the image's border."""
    angles = turns(np.array([r.box.rotation for r in regions], dtype=np.float64))
    boxes = inside(to_array(r.box for r in regions), angles)
    cut = [
        replace(region, box=replace(region.box, x1=x1, y1=y1, x2=x2, y2=y2))
        for region, (x1, y1, x2, y2) in zip(regions, boxes.tolist(), strict=True)
    ]
    return tuple(cut[k] for k in np.flatnonzero(usable(boxes, angles)))


def marks(sheet: Sheet) -> Marks:
    """The answers of ``sheet`` that count (see `sheet.counting`) and their usable boxes."""
    answer = counting(sheet)
    place = np.full(len(sheet.sample), -1, dtype=np.intp)
    place[answer] = np.arange(len(answer))
    turn = turns(sheet.turn)
    boxes = inside(sheet.boxes, turn)
    row = np.flatnonzero((place[sheet.owner] >= 0) & usable(boxes, turn))
    row = row[np.argsort(place[sheet.owner[row]], kind="stable")]
    sample = sheet.sample[sheet.owner[row]]
    return Marks(
        samples=sheet.samples,
        annotators=sheet.annotators,
        labels=sheet.labels,
        sample=sample,
        annotator=sheet.annotator[sheet.owner[row]],
        label=sheet.label[row],
        boxes=boxes[row],
        turn=turn[row],
        aspect=sheet.aspects[sample],
        row=row,
        answered=np.column_stack([sheet.sample[answer], sheet.annotator[answer]]),
        answer=answer,
    )


def gather(annotations: Sequence[Annotation], sizes: Mapping[str, tuple[int, int]] | None = None) -> Marks:
    """`marks` of records; see `sheet.sheet` for the arguments and errors."""
    return marks(sheet_of(annotations, sizes))
