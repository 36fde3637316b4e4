"""How agreement moves over time: of the whole project, and of each person with the others.

The figure is the share of the boxes at issue that the others bear out: a person's boxes and the objects
they missed, less the rows of `conflicts.conflicts`. Unlike the F1 of pairs it hardly moves when
somebody else lets go, for with three people or more the others must agree before anybody is blamed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from consensus.conflicts import MISSING, Conflicts, conflicts
from consensus.sheet import Floats, Ints
from consensus.study import Study
from pool.schema import BadInput

WEEK = 7 * 86400.0
MONDAY = 4 * 86400.0
"""The first Monday after 1 January 1970, a Thursday."""

FEWEST = 4
"""Weeks below which periods are equal parts of the answers instead."""

PARTS = 8

MEMORY = 0.3
"""Weight of the newest period in the smoothed curve (Roberts 1959 calls 0.2 to 0.4 customary)."""

ALARM = 0.01
"""Chance of a false alarm for each person over the whole of their work."""

LEAST = 20
"""Images below which no drift is looked for."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Whether agreement changed for good, and since when.

    ``direction`` is -1 where it fell, 1 where it rose, 0 where nothing can be told. ``strength`` is the
    largest distance of the summed deviations from 0 in units of what chance gives, 1 at the limit, above
    1 = drift; NaN with too few images. ``since`` is the time in seconds since 1970 of the last answer
    before the likeliest change, ``before`` and ``after`` are the means on either side of it; NaN where
    ``direction`` is 0.
    """

    direction: int
    strength: float
    since: float
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Course:
    """One curve; the columns are (periods,).

    ``agreement`` is the share of boxes that the others bear out, in [0, 1], 1 = all, NaN in a period
    without answers of this curve; ``images`` counts the images it stands on; ``smooth`` is its
    exponentially weighted mean, in which a period weighs by its boxes, NaN before the first answer.
    """

    agreement: Floats
    images: Ints
    smooth: Floats
    drift: Drift


@dataclass(frozen=True, slots=True)
class Trend:
    """Curves of the project and of each person, ``people`` in the order of the study's annotators.

    Period k holds the answers given from ``start[k]`` to ``end[k]``, (periods,), seconds since 1970.
    Weeks begin on Monday, 0:00 UTC, and reach to the next; a week in which nobody answered is no period,
    so that one may begin long after the one before it ended. Equal parts begin and end with an answer.
    """

    start: Floats
    end: Floats
    project: Course
    people: tuple[Course, ...]


def trend(study: Study, found: Conflicts | None = None, alarm: float = ALARM) -> Trend:
    """Agreement by ISO week, or in eight equal parts where less than four weeks have answers.

    Only images that two people answered count. Times are those at which each answer was created.

    Drift is looked for in the sums of the deviations of single images from their mean, in the order of
    time (cumulative sums: Page 1954). Left alone they wander as a Brownian bridge does, whose largest
    distance from 0 follows Kolmogorov's law, whatever the deviations' law (Ploberger and Kraemer 1992);
    so ``alarm`` is the chance of a false alarm in all of a person's work, no matter how long it is, and
    nobody need say what their agreement ought to be. Answers of the same moment, as in an import, have
    no order and are taken together.

    Do not read a drift as a person's where the project drifts with it: then the images became harder.
    Images one after another that resemble each other, frames of one video, alarm more often than said.

    Args:
        study: answers of any number of images.
        found: `conflicts.conflicts` of the study, where they are at hand.
        alarm: chance of a false alarm for each curve, above 0 and below 1.

    Raises:
        BadInput: ``alarm`` out of range.
    """
    if not 0.0 < alarm < 1.0:
        raise BadInput("alarm", "above 0 and below 1", alarm)
    marks, people = study.marks, len(study.marks.annotators)
    time = study.sheet.created[marks.answer]
    errors, boxes = _borne_out(study, conflicts(study) if found is None else found)
    visit = np.flatnonzero(study.votes.voters[marks.answered[:, 0]] >= 2)
    image, who = marks.answered[visit].T
    time, errors, boxes = time[visit], errors[visit], boxes[visit]
    period, start, end = _periods(time)
    count = len(start)

    # The project's row comes last. An image belongs to the period of its latest answer.
    latest = np.full(len(study.votes.voters), -np.inf)
    np.maximum.at(latest, image, time)
    asked = np.unique(image)
    newest = np.searchsorted(start, latest[asked], side="right") - 1
    wrong, of = (np.append(c, np.bincount(image, c, len(latest))[asked]) for c in (errors, boxes))
    row = np.concatenate([who, np.full(len(asked), people, dtype=np.intp)])
    cell = row * max(count, 1) + np.concatenate([period, newest])

    def table(weights: Floats | None) -> Floats:
        sums = np.bincount(cell, weights, (people + 1) * max(count, 1))
        return sums.reshape(people + 1, -1)[:, :count].astype(np.float64)

    images, slips, whole = table(None), table(wrong), table(of)
    agreement = np.where(images > 0, _share(slips, whole), np.nan)
    smooth = _smoothed(slips, whole, images)
    moments = np.concatenate([time, latest[asked]])
    drifts = _drifts(row, moments, _share(wrong, of), people + 1, alarm)
    courses = [
        Course(agreement[k], images[k].astype(np.intp), smooth[k], drifts[k]) for k in range(people + 1)
    ]
    return Trend(start, end, courses[-1], tuple(courses[:-1]))


def _borne_out(study: Study, found: Conflicts) -> tuple[Floats, Floats]:
    """Conflicts of each answer, and its boxes and missed objects, by row of ``answered``."""
    marks = study.marks
    people, answers = max(len(marks.annotators), 1), len(marks.answered)
    key = marks.answered[:, 0] * people + marks.answered[:, 1]
    place = np.searchsorted(key, found.sample * people + found.annotator)
    errors = np.bincount(place, minlength=answers)
    missed = np.bincount(place[found.kind == MISSING], minlength=answers)
    boxes = np.bincount(marks.place, minlength=answers) + missed
    return errors.astype(np.float64), boxes.astype(np.float64)


def _share(errors: Floats, boxes: Floats) -> Floats:
    """The share borne out; 1 where there was nothing to draw and nothing was drawn."""
    return np.asarray(1.0 - errors / np.maximum(boxes, 1.0))


def _periods(time: Floats) -> tuple[Ints, Floats, Floats]:
    """The period of each answer, and the first and last moment of each period."""
    if not time.size:
        return np.zeros(0, dtype=np.intp), np.zeros(0), np.zeros(0)
    week = np.floor((time - MONDAY) / WEEK).astype(np.intp)
    weeks, period = np.unique(week, return_inverse=True)
    if len(weeks) >= FEWEST:
        start = np.asarray(weeks * WEEK + MONDAY, dtype=np.float64)
        return period, start, np.asarray(start + WEEK)
    ordered = np.sort(time)
    size = len(ordered)
    # Answers of one moment are not torn apart.
    first = np.unique(ordered[np.arange(PARTS) * size // PARTS])
    period = np.searchsorted(first, time, side="right") - 1
    last = ordered[np.cumsum(np.bincount(period)) - 1]
    return period, first, last


def _smoothed(errors: Floats, boxes: Floats, images: Floats) -> Floats:
    """Exponentially weighted share borne out, row by row."""
    out = np.full(errors.shape, np.nan)
    past = np.zeros((2, len(errors)))
    seen = np.zeros(len(errors), dtype=np.bool_)
    for k in range(errors.shape[1]):
        past *= 1.0 - MEMORY
        past += MEMORY * np.stack([errors[:, k], boxes[:, k]])
        seen |= images[:, k] > 0
        share = 1.0 - past[0] / np.where(past[1] > 0.0, past[1], 1.0)
        out[:, k] = np.where(seen, share, np.nan)
    return out


def _drifts(row: Ints, time: Floats, value: Floats, rows: int, alarm: float) -> list[Drift]:
    """Drift of each row's values in the order of time."""
    from scipy.special import kolmogi

    order = np.lexsort((time, row))
    row, time, value = row[order], time[order], value[order]
    count = np.bincount(row, minlength=rows)
    mean = np.bincount(row, value, rows) / np.maximum(count, 1)
    deviation = value - mean[row]
    spread = np.sqrt(np.bincount(row, deviation**2, rows) / np.maximum(count - 1, 1))
    running = np.cumsum(deviation)
    opens = np.cumsum(count) - count
    before_row = np.concatenate([[0.0], running])[opens]
    running = running - before_row[row]
    # Within one moment there is no order: only what stands at its end counts.
    closed = np.append((row[1:] != row[:-1]) | (time[1:] != time[:-1]), True)[: len(row)]
    limit = float(kolmogi(alarm))
    height = np.where(closed, np.abs(running), 0.0)
    out: list[Drift] = []
    for k in range(rows):
        nan = float("nan")
        if count[k] < LEAST or spread[k] <= 1e-9:
            out.append(Drift(0, nan if count[k] < LEAST else 0.0, nan, nan, nan))
            continue
        part = slice(int(opens[k]), int(opens[k] + count[k]))
        top = int(np.argmax(height[part]))
        strength = float(height[part][top] / (spread[k] * np.sqrt(count[k]) * limit))
        if strength <= 1.0:
            out.append(Drift(0, strength, nan, nan, nan))
            continue
        earlier, later = value[part][: top + 1].mean(), value[part][top + 1 :].mean()
        direction = 1 if later > earlier else -1
        out.append(Drift(direction, strength, float(time[part][top]), float(earlier), float(later)))
    return out
