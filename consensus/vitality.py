"""What each person does to alpha: whether the others would agree better without them.

Source: KaLOS, Tschirschwitz and Rodehorst 2026 (arXiv 2603.27197).
"""

from __future__ import annotations

import numpy as np

from consensus.alpha import ballots, nominal
from consensus.conflicts import Ground
from consensus.sheet import Floats
from consensus.study import Study

CELLS = 50_000_000
"""Most entries of the table of votes, 8 bytes each."""


def vitality(study: Study, ground: Ground) -> Floats:
    """Joint alpha less that without each person, (people,).

    Taking a vote for k out of a row that holds c of them takes 2 (c - 1) ordered pairs of equal values.
    Rows of which fewer than two votes are left say nothing any more, nor do objects that only this
    person drew; and where nobody else drew anything, the others agree that there is nothing. NaN for all
    where objects x labels are more than `CELLS`.
    """
    marks, votes, objects = study.marks, study.votes, study.objects
    if len(votes.label) * (len(marks.labels) + 1) > CELLS:
        return np.full(len(marks.annotators), np.nan)
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
