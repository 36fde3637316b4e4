"""Each person against the others: what they miss, add, mislabel and misplace, and how they move alpha.

The rates count the rows of `conflicts.conflicts`, so that a page that draws the list shows just what the
figures count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from consensus.agreement import Pairs, count_pairs, pooled
from consensus.conflicts import (
    DUPLICATE,
    EXTRA,
    LABEL,
    LOCATION,
    MERGED,
    MISSING,
    Conflicts,
    Ground,
    conflicts,
    ground,
    ranges,
)
from consensus.matching import TAU
from consensus.rates import Rate, rates
from consensus.sheet import Floats, Ints, Sheet, counting, verdicts
from consensus.study import Study, study
from consensus.vitality import vitality


@dataclass(frozen=True, slots=True)
class Annotator:
    """One person, as the others see them.

    ``images`` answered that count, ``boxes`` on them, ``skipped`` answers, ``seconds`` the median lead
    time. ``compared`` counts the images that somebody else answered too; all that follows is of those.

    ``f1`` is that of all this person's pairs added up and ``iou`` the mean overlap of the boxes they
    share, both as in `agreement.Pairs`: 1 = as the others. ``miss`` is the share of the objects that
    more than half of the others drew, ``confusion`` of this person's boxes on whose label more than half
    of the others who drew the object agree, ``extra``, ``location``, ``duplicate`` and ``merged`` of this
    person's boxes (``duplicate`` also on images that nobody else answered); see `Conflicts`. Objects
    that the guidelines let people skip are no misses.

    ``vitality`` is alpha (see `alpha`, joint) less alpha without this person, in [-2, 2]: above 0 they
    raise the agreement, below 0 they lower it (KaLOS, Tschirschwitz and Rodehorst 2026). It depends on
    how much they did: an extreme value from few images is an accident of those.

    ``repeat_f1`` is the F1 between the first and the last answer where this person answered an image
    more than once, ``repeats`` how many such images. What a person does not repeat, others cannot be
    expected to; but corrections after a review are repeats too.

    Figures of nothing are NaN. With one other person on most images the rates of both mix, halves of
    the same conflicts: then read them by order, not by value.
    """

    name: str
    images: int
    boxes: int
    skipped: int
    seconds: float
    compared: int
    f1: float
    iou: float
    miss: Rate
    extra: Rate
    confusion: Rate
    location: Rate
    duplicate: Rate
    merged: Rate
    vitality: float
    repeat_f1: float
    repeats: int


class AgainstGold(NamedTuple):
    """One person against the ground truth on ``images`` images: F1 and mean IoU of what both drew."""

    f1: float
    iou: float
    images: int


def annotators(
    study: Study,
    at: Ground | None = None,
    found: Conflicts | None = None,
    pairs: Pairs | None = None,
) -> tuple[Annotator, ...]:
    """Everybody of the study's annotators, in their order, also who skipped all.

    Args:
        study: answers of any number of images.
        at: `conflicts.ground` of the study, where it is at hand.
        found: `conflicts` of the study, where they are at hand.
        pairs: `agreement.count_pairs` of the study, where they are at hand.
    """
    marks, sheet, votes = study.marks, study.sheet, study.votes
    people = len(marks.annotators)
    at = ground(study) if at is None else at
    found = conflicts(study, at) if found is None else found

    def tally(who: Ints) -> Ints:
        return np.bincount(who, minlength=people).astype(np.intp)

    def of_kind(kind: int) -> Ints:
        return tally(found.annotator[found.kind == kind])

    compared = votes.voters >= 2
    drawn = tally(marks.annotator[compared[marks.sample]])
    shared = 2 * (votes.drawn - 1) > votes.voters[votes.sample] - 1  # for each of those who drew it
    loose = found.annotator[(found.kind == LOCATION) & at.required[found.object]]
    missed, mislabelled = of_kind(MISSING), of_kind(LABEL)
    expected = tally(marks.annotator[(shared & at.required)[study.objects]]) + missed + tally(loose)
    named = tally(marks.annotator[np.setdiff1d(at.backed, found.mark)]) + mislabelled
    f1, iou = _everybody(count_pairs(marks, study.objects) if pairs is None else pairs, people)
    again, repeats = _repeats(study)
    columns = zip(
        marks.annotators,
        tally(marks.answered[:, 1]).tolist(),
        tally(marks.annotator).tolist(),
        tally(sheet.annotator[sheet.skipped]).tolist(),
        _medians(sheet.seconds[marks.answer], marks.answered[:, 1], people).tolist(),
        tally(marks.answered[compared[marks.answered[:, 0]], 1]).tolist(),
        f1.tolist(),
        iou.tolist(),
        rates(missed, expected),
        rates(of_kind(EXTRA), drawn),
        rates(mislabelled, named),
        rates(of_kind(LOCATION), drawn),
        rates(of_kind(DUPLICATE), tally(marks.annotator)),
        rates(of_kind(MERGED), drawn),
        vitality(study, at).tolist(),
        again.tolist(),
        repeats.tolist(),
        strict=True,
    )
    return tuple(Annotator(*row) for row in columns)


def against_gold(sheet: Sheet, tau: float = TAU) -> Mapping[str, AgainstGold]:
    """Each person against the ground truth, by name: `gold_pairs` added up.

    Only who answered an image that has one, and not with the ground truth itself.

    Raises:
        BadInput: ``tau`` is not above 0 and at most 1.
    """
    sums = pooled(gold_pairs(sheet, tau))
    columns = (sums.first.tolist(), sums.f1.tolist(), sums.iou.tolist(), sums.samples.tolist())
    return {sheet.annotators[who]: AgainstGold(*row) for who, *row in zip(*columns, strict=True)}


def gold_pairs(sheet: Sheet, tau: float = TAU) -> Pairs:
    """Each answer that counts with the ground truth of its image, a row each, by image and person.

    ``second`` is the number of annotators in all rows and stands for the ground truth. Who gave the ground
    truth of an image has no row for it: they would be compared with themselves.

    Each answer is compared with the ground truth alone: among everybody's boxes one that is too far off
    would still be joined to it where somebody drew one in between.

    Args:
        sheet: answers of any number of images.
        tau: least IoU of two boxes of one object.

    Raises:
        BadInput: ``tau`` is not above 0 and at most 1.
    """
    rows, told = counting(sheet), verdicts(sheet)
    verdict = np.full(len(sheet.samples), -1, dtype=np.intp)
    verdict[sheet.sample[told]] = told
    against = verdict[sheet.sample[rows]]
    judged = (against >= 0) & (sheet.annotator[against] != sheet.annotator[rows])
    rows = rows[judged]
    pairs = _apart(sheet, rows, against[judged], tau)
    answer = rows[pairs.sample]
    return replace(
        pairs,
        sample=sheet.sample[answer],
        first=sheet.annotator[answer],
        second=np.full(len(answer), len(sheet.annotators), dtype=np.intp),
    )


def _pooled(pairs: Pairs, who: Ints, people: int) -> tuple[Floats, Floats, Ints]:
    """F1, mean IoU and number of the pairs of each person, (people,) each; ``who`` tells whose each is."""

    def summed(column: Floats | Ints) -> Floats:
        return np.bincount(who, column, people).astype(np.float64)

    count = np.bincount(who, minlength=people).astype(np.intp)
    matched, boxes = summed(pairs.matched), summed(pairs.first_drew + pairs.second_drew)
    f1 = np.where(boxes > 0, 2.0 * matched / np.maximum(boxes, 1.0), 1.0)
    iou = np.where(matched > 0, summed(pairs.overlap) / np.maximum(matched, 1.0), np.nan)
    return np.where(count > 0, f1, np.nan), iou, count


def _everybody(pairs: Pairs, people: int) -> tuple[Floats, Floats]:
    """F1 and mean IoU of each person's pairs with anybody."""
    twice = np.tile(np.arange(len(pairs.sample)), 2)
    columns = (getattr(pairs, name)[twice] for name in Pairs.__slots__)
    return _pooled(Pairs(*columns), np.concatenate([pairs.first, pairs.second]), people)[:2]


def _medians(values: Floats, who: Ints, people: int) -> Floats:
    """Median of each person's values, (people,), NaN values left out."""
    known = np.isfinite(values)
    values, who = values[known], who[known]
    ordered = values[np.lexsort((values, who))]
    count = np.bincount(who, minlength=people)
    some = np.flatnonzero(count)
    start = (np.cumsum(count) - count)[some]
    out = np.full(people, np.nan)
    out[some] = ordered[start + (count[some] - 1) // 2] / 2.0 + ordered[start + count[some] // 2] / 2.0
    return out


def _repeats(told: Study) -> tuple[Floats, Ints]:
    """F1 between first and last answer to the same image, and how many such images, (people,) each."""
    sheet, people = told.sheet, len(told.sheet.annotators)
    rows = np.flatnonzero(~sheet.skipped & ~sheet.truth)
    key = sheet.sample * people + sheet.annotator
    rows = rows[np.lexsort((sheet.number[rows], sheet.updated[rows], key[rows]))]
    opens = np.flatnonzero(np.diff(key[rows], prepend=-1))
    closes = np.append(opens[1:], len(rows))[: len(opens)] - 1
    again = opens < closes
    first, last = rows[opens[again]], rows[closes[again]]
    pairs = _apart(sheet, first, last, told.tau)
    f1, _, count = _pooled(pairs, sheet.annotator[first][pairs.sample], people)
    return f1, count


def _apart(sheet: Sheet, first: Ints, second: Ints, tau: float) -> Pairs:
    """Pairs of answers, rows of the sheet, each pair as an image of its own that two people answered."""
    rows, count = np.concatenate([first, second]), len(first)
    boxes = np.bincount(sheet.owner, minlength=len(sheet.sample))
    drawn = ranges((np.cumsum(boxes) - boxes)[rows], boxes[rows])
    columns = ("number", "task", "created", "updated", "seconds", "start")
    alone = replace(
        sheet,
        samples=tuple(str(k) for k in range(count)),
        annotators=("first", "second"),
        sizes=sheet.sizes[sheet.sample[first]],
        sample=np.tile(np.arange(count), 2),
        annotator=np.repeat(np.arange(2), count),
        truth=np.zeros(2 * count, dtype=np.bool_),
        skipped=np.zeros(2 * count, dtype=np.bool_),
        owner=np.repeat(np.arange(2 * count), boxes[rows]),
        label=sheet.label[drawn],
        boxes=sheet.boxes[drawn],
        turn=sheet.turn[drawn],
        **{name: getattr(sheet, name)[rows] for name in columns},
    )
    told = study(alone, tau)
    return count_pairs(told.marks, told.objects)
