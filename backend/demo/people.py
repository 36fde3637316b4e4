"""Simulated annotators with stated habits, so that a demonstration has people who differ.

They work as people do in Label Studio: they start from the boxes a model drew, leave the good ones,
move, rename or delete the others, and add what is missing. What they believe to see is the truth,
bent by their habit. Pure functions: all chance comes from the generator given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backend.demo.scenes import LABELS
from pool.boxes import iou_matrix, to_array
from pool.schema import BadInput, Box, Origin, Region

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_SWAPPED = {LABELS[0]: LABELS[1], LABELS[1]: LABELS[0]}
_RECOGNISED = 0.3
"""IoU from which a person takes a drawn box to mean an object; less means nothing to them."""
_LEAST_SIDE = 1e-3
_KEEP, _MOVE, _RENAME, _DELETE, _DRAW = 0.25, 0.6, 0.45, 0.3, 1.0
"""Effort of each act, in boxes drawn."""


@dataclass(frozen=True, slots=True)
class Habit:
    """How one person labels.

    ``looseness`` is the share by which their boxes are larger than the object in width and in height
    (0.12 = 12 % too large, negative = too tight). ``jitter`` is the standard deviation of each edge
    they draw, as a share of the object's width or height. ``miss_rate`` is the chance in [0, 1] to
    overlook an object that no box was drawn for, ``confuse_rate`` the chance to take an overflowing
    bin for one that is not, or the other way round, ``credulity`` the chance to leave a drawn box
    that means nothing. A drawn box whose IoU with the one they would draw is at least ``patience``
    stays as it is. Drawing a box takes ``seconds_per_box``, looking at a picture ``seconds_to_look``.
    """

    name: str
    looseness: float = 0.0
    miss_rate: float = 0.0
    confuse_rate: float = 0.0
    jitter: float = 0.0
    seconds_per_box: float = 3.0
    seconds_to_look: float = 2.0
    patience: float = 0.8
    credulity: float = 0.0

    def __post_init__(self) -> None:
        for field in ("miss_rate", "confuse_rate", "patience", "credulity"):
            if not 0 <= getattr(self, field) <= 1:
                raise BadInput(field, "in [0, 1]", getattr(self, field))
        for field in ("jitter", "seconds_per_box", "seconds_to_look"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise BadInput(field, "0 or more", getattr(self, field))
        if not -0.9 <= self.looseness <= 2:
            raise BadInput("looseness", "between -0.9 and 2", self.looseness)


PEOPLE: tuple[Habit, ...] = (
    Habit("Amara", 0.0, 0.02, 0.01, 0.012, 4.2, 3.0, 0.86, 0.0),
    Habit("Bruno", 0.12, 0.05, 0.03, 0.030, 2.6, 1.8, 0.72, 0.03),
    Habit("Chen", -0.07, 0.18, 0.04, 0.022, 1.9, 1.2, 0.66, 0.08),
    Habit("Dilan", 0.02, 0.05, 0.28, 0.020, 3.1, 2.2, 0.78, 0.02),
)
"""Careful; loose; hasty (tight boxes, overlooks things); mixes up the two kinds of bins."""


def annotate(
    truth: Sequence[Region], prelabels: Sequence[Region], habit: Habit, rng: np.random.Generator
) -> tuple[tuple[Region, ...], float]:
    """What a person makes of a picture, and how long it takes them in seconds.

    ``truth`` is what there is, ``prelabels`` the boxes on the screen when they start. Regions come
    back in the order of the screen, added ones last. ``origin`` says what was done: ``prediction``
    for a box left as it was, ``prediction-changed`` for one moved or renamed (both keep their id),
    ``manual`` for one added (new id). People give no ``score``. Boxes lie inside the image.
    """
    meant = _meant(truth, prelabels)
    kept: list[Region] = []
    effort = 0.0
    for index, drawn in enumerate(prelabels):
        target = meant.get(index)
        if target is not None:
            region, cost = _mended(drawn, truth[target], habit, rng)
        elif rng.random() < habit.credulity:
            region, cost = replace(drawn, score=None, origin="prediction"), _KEEP
        else:
            effort += _DELETE
            continue
        kept.append(region)
        effort += cost
    for index, thing in enumerate(truth):
        if index in meant.values() or rng.random() < habit.miss_rate:
            continue
        kept.append(
            Region(_named(thing, habit, rng), _drawn(thing.box, habit, rng), None, _new_id(rng), "manual")
        )
        effort += _DRAW
    pace = float(rng.lognormal(-0.02, 0.2))
    return tuple(kept), (habit.seconds_to_look + habit.seconds_per_box * effort) * pace


def _meant(truth: Sequence[Region], prelabels: Sequence[Region]) -> dict[int, int]:
    """Which object each drawn box is taken to mean, best overlap first, each object once."""
    overlap = iou_matrix(to_array(r.box for r in prelabels), to_array(r.box for r in truth))
    order = sorted(zip(*np.nonzero(overlap >= _RECOGNISED), strict=True), key=lambda ij: -overlap[ij])
    meant: dict[int, int] = {}
    for i, j in order:
        if int(i) not in meant and int(j) not in meant.values():
            meant[int(i)] = int(j)
    return meant


def _mended(drawn: Region, thing: Region, habit: Habit, rng: np.random.Generator) -> tuple[Region, float]:
    """A drawn box after a person has seen to it, and the effort of that."""
    label, wished = _named(thing, habit, rng), _drawn(thing.box, habit, rng)
    near = float(iou_matrix(to_array([drawn.box]), to_array([wished]))[0, 0])
    moved = near < habit.patience
    renamed = drawn.label != label
    effort = _KEEP + _MOVE * moved + _RENAME * renamed
    origin: Origin = "prediction-changed" if moved or renamed else "prediction"
    return Region(label, wished if moved else drawn.box, None, drawn.id, origin), effort


def _named(thing: Region, habit: Habit, rng: np.random.Generator) -> str | None:
    """The label a person gives to an object; only the two kinds of bins are ever mixed up."""
    mixed_up = rng.random() < habit.confuse_rate
    return _SWAPPED.get(thing.label or "", thing.label) if mixed_up else thing.label


def _drawn(box: Box, habit: Habit, rng: np.random.Generator) -> Box:
    """The box a person draws around an object."""
    width, height = box.x2 - box.x1, box.y2 - box.y1
    sides = np.array([width, height, width, height])
    outward = np.array([-1.0, -1.0, 1.0, 1.0]) * habit.looseness / 2
    edges = np.array([box.x1, box.y1, box.x2, box.y2]) + sides * (outward + rng.normal(0, habit.jitter, 4))
    return Box(*_tidy(edges).tolist())


def _tidy(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges in order, inside the image, and never so close that there is no box."""
    low = np.clip(np.minimum(edges[:2], edges[2:]), 0.0, 1.0 - _LEAST_SIDE)
    high = np.clip(np.maximum(edges[:2], edges[2:]), low + _LEAST_SIDE, 1.0)
    return np.concatenate((low, high))


def _new_id(rng: np.random.Generator) -> str:
    """An id in the manner of Label Studio's editor: ten letters."""
    return "".join(_LETTERS[int(k)] for k in rng.integers(0, len(_LETTERS), 10))
