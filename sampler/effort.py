"""How long people need for an image: seconds for looking at it, and seconds for each box on it.

Learned from the times that Label Studio notes with each answer (lead_time). People leave a tab open over
lunch, so a few of those times are hours: the fit is one of least absolute deviations, which such answers
hardly move, and those that took several times as long as it says are then left out and the fit is made
again. What it finds are the seconds of a typical answer, not of the mean one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pool.schema import BadInput

Floats = NDArray[np.float64]

LEAST = 20
"""Usable answers from which on times are learned."""
VARIETY = 0.25
"""Least share of answers with another number of boxes than the commonest: below it a few answers, which
may all be lunches, would decide what a box costs."""
TOO_LONG = 5.0
"""An answer that took this many times as long as expected was not worked on all the time."""
LOOK = 0.01
"""Least seconds of an image without boxes, as a share of the median answer: opening it costs something."""
_STEPS = 64  # of golden section, to a 10^-13th of the range
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True, slots=True)
class Effort:
    """Seconds of a person's time: ``image`` for each image, above 0, and ``box`` for each box, 0 or more.

    Raises:
        BadInput: out of range, or no finite number.
    """

    image: float
    box: float

    def __post_init__(self) -> None:
        if not (self.image > 0 and math.isfinite(self.image)):
            raise BadInput("image", "finite seconds above 0", self.image)
        if not (self.box >= 0 and math.isfinite(self.box)):
            raise BadInput("box", "finite seconds, 0 or more", self.box)


DEFAULT = Effort(image=10.0, box=5.0)
"""Until a project's own times are known, from what is published of others.

An image: 7.8 s for checking that no object was missed (Su, Deng and Fei-Fei, AAAI workshop on human
computation 2012), and opening and handing it in. A box: between a glance at one that is right and drawing
it anew, which takes 7 s with extreme clicks (Papadopoulos et al., ICCV 2017) and 35 to 42 s the classic
way (ILSVRC); people who only judge a model's boxes need a sixth to a ninth of that, 4 to 7 s (Papadopoulos
et al., CVPR 2016).
"""


def seconds(effort: Effort, boxes: ArrayLike) -> Floats:
    """Expected seconds of a person's time for images with so many ``boxes``, (n,) -> (n,)."""
    return np.asarray(effort.image + effort.box * np.asarray(boxes, dtype=np.float64))


def learn(
    lead_times: Sequence[float | None] | ArrayLike, boxes: ArrayLike, *, least: int = LEAST
) -> Effort | None:
    """Seconds per image and per box that explain how long answers took, as far as they can be told apart.

    They minimise the sum of |time - image - box * boxes| over the answers kept, with box >= 0 and image
    at least `LOOK` of the median time. The order of the answers means nothing, and times twice as long
    give seconds twice as long. None while fewer than ``least`` answers have a finite time above 0, or
    while nearly all of those have the same number of boxes, see `VARIETY`.

    Args:
        lead_times: (n,) seconds; None, NaN, infinite or not above 0 where nobody knows.
        boxes: (n,) boxes in each answer, 0 or more.
        least: 1 or more.

    Raises:
        BadInput: ``boxes`` does not fit, or a count is out of range.
    """
    times = np.asarray(lead_times, dtype=np.float64)
    counts = np.asarray(boxes, dtype=np.float64)
    if times.ndim != 1 or counts.shape != times.shape:
        raise BadInput("boxes", f"as many as the lead times ({times.size})", counts.shape)
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise BadInput("boxes", "finite counts, 0 or more", counts.tolist()[:10])
    if least < 1:
        raise BadInput("least", "1 or more", least)
    usable = np.isfinite(times) & (times > 0)
    if usable.sum() < least or not _varied(counts[usable]):
        return None
    order = np.lexsort((times[usable], counts[usable]))  # sums of floats then come in one order, too
    times, counts = times[usable][order], counts[usable][order]
    unit = float(np.median(times))
    first = _fit(times / unit, counts)
    kept = times / unit <= TOO_LONG * seconds(first, counts)
    # Images with boxes are always among them: of all boxes at least half are in answers not above the fit.
    found = _fit(times[kept] / unit, counts[kept])
    return Effort(found.image * unit, found.box * unit)


def _varied(counts: Floats) -> bool:
    commonest = np.unique(counts, return_counts=True)[1].max(initial=0)
    return bool(counts.size - commonest >= VARIETY * counts.size > 0)


def _fit(times: Floats, counts: Floats) -> Effort:
    """Least absolute deviations with two unknowns, by golden-section search over the seconds per box.

    For given seconds per box the best seconds per image are a median, and the sum that is left is convex
    in the seconds per box. As an image costs no less than nothing, a box costs no more than the answers
    took per box, of which the median is typical.
    """
    look = LOOK * float(np.median(times))
    some = counts > 0

    def image(box: float) -> float:
        return max(float(np.median(times - box * counts)), look)

    def left(box: float) -> float:
        return float(np.abs(times - image(box) - box * counts).sum())

    low, high = 0.0, float(np.median(times[some] / counts[some]))
    for _ in range(_STEPS):
        step = _GOLDEN * (high - low)
        if left(high - step) <= left(low + step):
            high = low + step
        else:
            low = high - step
    box = min((0.0, low, high), key=left)
    return Effort(image(box), box)
