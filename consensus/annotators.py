"""Each person against the others: what they miss, add, mislabel and misplace, and how they move alpha.

Nobody is judged by an opinion that holds their own: where a person is looked at, only the others say
what is there. `conflicts` is the one list of all disagreements of one person with the others; the rates
of `annotators` count its rows, so that a page that draws the list shows just what the figures count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from consensus.agreement import Pairs, count_pairs
from consensus.alpha import ballots, nominal
from consensus.matching import TAU
from consensus.overlap import pair_iou
from consensus.rates import Rate, rates
from consensus.sheet import Bools, Floats, Ints, Sheet, beside, counting
from consensus.slips import Agreed, agreed, duplicates, may_be_skipped, merged
from consensus.study import Study, study

MISSING, EXTRA, LABEL, LOCATION, DUPLICATE, MERGED = range(6)

KINDS = ("missing", "extra", "label", "location", "duplicate", "merged")
"""Names of the kinds of conflict, by number."""


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Every disagreement between one person and the others, sorted by image, person, object and box.

    All columns are (k,). ``kind`` is a position in KINDS, ``sample`` and ``annotator`` are positions in
    the study's names, ``object`` is the object at issue, ``mark`` the person's box, a row of the study's
    marks, or -1 where they drew none.

    - missing: more than half of the others drew the object, this person did not.
    - extra: nobody else drew it.
    - label: more than half of the others who drew it agree on another label than this person's.
    - location: an extra box that overlaps a missing object, by less than the study's ``tau``. It is one
      mistake, a loose box, and stands for both; ``object`` is the missing one.
    - duplicate, merged: see `slips.slips`.

    Where the others are split, nobody is blamed. With one other person each is held against the other:
    one of the two is wrong, and the list cannot say which. A box has one row at most.
    """

    kind: Ints
    sample: Ints
    annotator: Ints
    object: Ints
    mark: Ints


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


class _Ground(NamedTuple):
    """What the list of conflicts and the rates both stand on.

    ``object`` and ``visit``: who answered and did not draw what, as objects and rows of ``answered``.
    ``rejected`` and ``backed``: boxes whose label most of the others reject or share. ``required``
    (objects,): not among those that may be skipped.
    """

    object: Ints
    visit: Ints
    rejected: Ints
    backed: Ints
    common: Agreed
    required: Bools


def conflicts(study: Study, common: Agreed | None = None) -> Conflicts:
    """Every disagreement between one person and the others; see `Conflicts`.

    Args:
        study: answers of any number of images.
        common: `slips.agreed` of the study, where it is at hand.
    """
    return _conflicts(study, _ground(study, common))


def _ground(study: Study, common: Agreed | None) -> _Ground:
    common = agreed(study) if common is None else common
    return _Ground(*_absent(study), *_labels(study), common, ~may_be_skipped(study, common))


def annotators(
    study: Study,
    common: Agreed | None = None,
    found: Conflicts | None = None,
    pairs: Pairs | None = None,
) -> tuple[Annotator, ...]:
    """Everybody of the study's annotators, in their order, also who skipped all.

    Args:
        study: answers of any number of images.
        common: `slips.agreed` of the study, where it is at hand.
        found: `conflicts` of the study, where they are at hand.
        pairs: `agreement.count_pairs` of the study, where they are at hand.
    """
    marks, sheet, votes = study.marks, study.sheet, study.votes
    people = len(marks.annotators)
    ground = _ground(study, common)
    found = _conflicts(study, ground) if found is None else found

    def tally(who: Ints) -> Ints:
        return np.bincount(who, minlength=people).astype(np.intp)

    def of_kind(kind: int) -> Ints:
        return tally(found.annotator[found.kind == kind])

    compared = votes.voters >= 2
    drawn = tally(marks.annotator[compared[marks.sample]])
    shared = 2 * (votes.drawn - 1) > votes.voters[votes.sample] - 1  # for each of those who drew it
    loose = found.annotator[(found.kind == LOCATION) & ground.required[found.object]]
    missed, mislabelled = of_kind(MISSING), of_kind(LABEL)
    expected = tally(marks.annotator[(shared & ground.required)[study.objects]]) + missed + tally(loose)
    named = tally(marks.annotator[np.setdiff1d(ground.backed, found.mark)]) + mislabelled
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
        _vitality(study, ground).tolist(),
        again.tolist(),
        repeats.tolist(),
        strict=True,
    )
    return tuple(Annotator(*row) for row in columns)


def against_gold(sheet: Sheet, tau: float = TAU) -> Mapping[str, AgainstGold]:
    """Each person against the ground truth, by name; only who answered an image that has one.

    Each answer is compared with the ground truth alone: among everybody's boxes one that is too far off
    would still be joined to it where somebody drew one in between.

    Raises:
        BadInput: ``tau`` is not above 0 and at most 1.
    """
    told, gold = beside(sheet), len(sheet.annotators)
    rows = counting(told)
    truth = np.full(len(told.samples), -1, dtype=np.intp)
    is_gold = told.annotator[rows] == gold
    truth[told.sample[rows[is_gold]]] = rows[is_gold]
    rows = rows[~is_gold & (truth[told.sample[rows]] >= 0)]
    pairs = _apart(told, rows, truth[told.sample[rows]], tau)
    f1, iou, count = _pooled(pairs, told.annotator[rows][pairs.sample], gold)
    return {
        sheet.annotators[k]: AgainstGold(float(f1[k]), float(iou[k]), int(count[k]))
        for k in np.flatnonzero(count).tolist()
    }


def _conflicts(study: Study, ground: _Ground) -> Conflicts:
    marks, votes, objects = study.marks, study.votes, study.objects
    double, over = duplicates(study), merged(study, ground.common)
    mark = np.empty(len(study.sheet.owner), dtype=np.intp)
    mark[marks.row] = np.arange(len(marks.row))

    kind = np.full(len(objects), -1, dtype=np.intp)
    kind[(votes.drawn[objects] == 1) & (votes.voters[marks.sample] >= 2)] = EXTRA
    kind[ground.rejected] = LABEL
    kind[mark[over.row[over.sure]]] = MERGED
    kind[mark[double.row]] = DUPLICATE

    others = votes.voters[votes.sample] - 1
    # What a box over several objects covers is told by that box; it would be missed twice over.
    people = len(marks.answered)
    covered = (over.object * people + marks.place[mark[over.row]])[over.sure]
    missed = (2 * votes.drawn > others)[ground.object]
    missed &= ~np.isin(ground.object * people + ground.visit, covered)
    gone, visit = ground.object[missed], ground.visit[missed]
    extra = np.flatnonzero(kind == EXTRA)
    near, row = _near_misses(study, extra, gone, visit)
    kind[near] = LOCATION
    about = objects.copy()
    about[near] = gone[row]

    left = ground.required[gone]
    left[row] = False
    gone, visit = gone[left], visit[left]
    drawn = np.flatnonzero(kind >= 0)
    columns = (
        np.concatenate([kind[drawn], np.full(len(gone), MISSING, dtype=np.intp)]),
        np.concatenate([marks.sample[drawn], marks.answered[visit, 0]]),
        np.concatenate([marks.annotator[drawn], marks.answered[visit, 1]]),
        np.concatenate([about[drawn], gone]),
        np.concatenate([drawn, np.full(len(gone), -1, dtype=np.intp)]),
    )
    order = np.lexsort((columns[4], columns[3], columns[2], columns[1]))
    return Conflicts(*(column[order] for column in columns))


def _absent(study: Study) -> tuple[Ints, Ints]:
    """Everybody who answered an image and did not draw one of its objects."""
    marks, votes = study.marks, study.votes
    partial = np.flatnonzero(votes.drawn < votes.voters[votes.sample])
    count = votes.voters[votes.sample[partial]]
    opening = np.cumsum(votes.voters) - votes.voters  # each image's first row of `answered`
    start = np.full(len(votes.drawn), -1, dtype=np.intp)
    start[partial] = np.cumsum(count) - count
    object_ = np.repeat(partial, count)
    visit = np.arange(len(object_)) - np.repeat(start[partial] - opening[votes.sample[partial]], count)
    there = np.flatnonzero(start[study.objects] >= 0)
    seat = start[study.objects[there]] + marks.place[there] - opening[marks.sample[there]]
    free = np.ones(len(object_), dtype=np.bool_)
    free[seat] = False
    return object_[free], visit[free]


def _labels(study: Study) -> tuple[Ints, Ints]:
    """Boxes whose label most of the others reject, and those whose label most of the others share."""
    votes, objects, names = study.votes, study.objects, len(study.marks.labels)
    alike = votes.same == votes.drawn
    shared = np.flatnonzero((alike & (votes.drawn >= 2))[objects])
    box = np.flatnonzero(~alike[objects])
    key, inverse, count = np.unique(
        objects[box] * names + study.marks.label[box], return_inverse=True, return_counts=True
    )
    # A label that the half of all gave is that of most of the others for those who gave another one.
    half = 2 * count >= votes.drawn[key // max(names, 1)]
    halves = np.bincount(key[half] // max(names, 1), minlength=len(votes.drawn))
    rejected = halves[objects[box]] > half[inverse]
    backed = 2 * count[inverse] > votes.drawn[objects[box]] + 1
    return box[rejected], np.union1d(shared, box[backed])


def _near_misses(study: Study, extra: Ints, gone: Ints, visit: Ints) -> tuple[Ints, Ints]:
    """Pairs of an extra box and a missing object of the same person that overlap, each in one at most.

    ``extra`` are rows of boxes, ``gone`` objects and ``visit`` who missed each. The strongest overlaps
    with any of the object's boxes are paired first, equals in the order of coordinates. Returns boxes
    and rows of ``gone``.
    """
    marks, objects = study.marks, study.objects
    place = marks.place[extra]
    by_visit = np.argsort(visit, kind="stable")
    first = np.searchsorted(visit[by_visit], place)
    count = np.searchsorted(visit[by_visit], place, side="right") - first
    box = np.repeat(extra, count)
    row = by_visit[_ranges(first, count)]

    by_object = np.argsort(objects, kind="stable")
    drawn = study.votes.drawn[gone[row]]
    member = by_object[_ranges((np.cumsum(study.votes.drawn) - study.votes.drawn)[gone[row]], drawn)]
    pair = np.repeat(np.arange(len(box)), drawn)
    mine = box[pair]
    iou = pair_iou(
        marks.boxes[mine], marks.boxes[member], marks.turn[mine], marks.turn[member], marks.aspect[mine]
    )
    start = np.cumsum(drawn) - drawn
    best = np.maximum.reduceat(iou, start) if start.size else iou
    corner = np.minimum.reduceat(marks.boxes[member], start) if start.size else marks.boxes[member]
    order = np.lexsort((*corner.T, *marks.boxes[box].T, -best))
    order = order[best[order] > 0.0]
    box, row = box[order], row[order]

    found: list[tuple[Ints, Ints]] = []
    while box.size:
        top = np.zeros(len(box), dtype=np.intp)
        for column in (box, row):
            top[np.unique(column, return_index=True)[1]] += 1
        found.append((box[top == 2], row[top == 2]))
        free = ~np.isin(box, found[-1][0]) & ~np.isin(row, found[-1][1])
        box, row = box[free], row[free]
    none = np.zeros(0, dtype=np.intp)
    return (
        np.concatenate([none, *(a for a, _ in found)]),
        np.concatenate([none, *(b for _, b in found)]),
    )


def _ranges(first: Ints, count: Ints) -> Ints:
    """``first[k], first[k] + 1, ...`` of ``count[k]`` numbers each, one after another."""
    return np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count - first, count)


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
    out[some] = (ordered[start + (count[some] - 1) // 2] + ordered[start + count[some] // 2]) / 2.0
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
    drawn = _ranges((np.cumsum(boxes) - boxes)[rows], boxes[rows])
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


def _vitality(study: Study, ground: _Ground) -> Floats:
    """Joint alpha less that without each person, (people,).

    Taking a vote for k out of a row that holds c of them takes 2 (c - 1) ordered pairs of equal values.
    Rows of which fewer than two votes are left say nothing any more, nor do objects that only this
    person drew; and where nobody else drew anything, the others agree that there is nothing.
    """
    marks, votes, objects = study.marks, study.votes, study.objects
    table = ballots(study)
    people, values = len(marks.annotators), table.shape[1]
    voters = votes.voters[votes.sample]
    equal = (table * (table - 1)).sum(axis=1)
    compared = voters >= 2
    agreement = np.where(compared, equal / np.maximum(voters - 1, 1), 0.0)

    unit = np.concatenate([objects, ground.object])
    who = np.concatenate([marks.annotator, marks.answered[ground.visit, 1]])
    value = np.concatenate([marks.label, np.full(len(ground.object), values - 1)])
    alone = np.concatenate([votes.drawn[objects] == 1, np.zeros(len(ground.object), dtype=np.bool_)])
    kept = compared[unit]
    unit, who, value, alone = unit[kept], who[kept], value[kept], alone[kept]
    gone = alone | (voters[unit] == 2)
    left = (equal[unit] - 2 * (table[unit, value] - 1)) / np.maximum(voters[unit] - 2, 1)
    change = np.where(gone, 0.0, left) - agreement[unit]

    cells = who * values + value
    total = np.bincount(cells, minlength=people * values).astype(np.float64)
    rest = table[unit[gone]]
    rest[np.arange(len(rest)), value[gone]] -= 1
    cells = (who[gone, None] * values + np.arange(values)).ravel()
    total += np.bincount(cells, rest.ravel(), people * values)
    lost = total.reshape(people, values)

    count = np.bincount(votes.sample, minlength=len(votes.voters))  # objects of each image
    lone = np.bincount(marks.place[votes.drawn[objects] == 1], minlength=len(marks.answered))
    image, person = marks.answered.T
    others = votes.voters[image] - 1
    blank = np.where(count[image] == 0, np.where(others >= 2, -1.0, -others - 1.0), 0.0)
    blank += np.where((count[image] > 0) & (lone == count[image]), others, 0.0) * (others >= 2)
    blank = np.where(others >= 1, blank, 0.0)
    void = votes.voters[(count == 0) & (votes.voters >= 2)].sum()

    together = agreement.sum() + void
    counts = table[compared].sum(axis=0)
    counts[-1] += void
    change = np.bincount(who, change, people) + np.bincount(person, blank, people)
    lost[:, -1] -= np.bincount(person, blank, people)
    return nominal(together, counts) - nominal(together + change, counts - lost)
