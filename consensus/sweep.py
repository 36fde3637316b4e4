"""The project's figures by tau, the overlap from which two boxes are of one object.

No tau is the right one, and a figure without its tau says little: where people agree on what is
there but draw loosely, agreement is high at 0.5 and gone at 0.8. The curve tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from consensus.agreement import count_votes
from consensus.marks import marks as marks_of
from consensus.matching import cluster
from consensus.sheet import Sheet
from consensus.study import Study
from consensus.tallies import Figures, tally

TAUS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)


def sweep(sheet: Sheet, taus: Sequence[float] = TAUS) -> tuple[Figures, ...]:
    """The figures at each tau, in the order of ``taus``; at each the same as those of `study.study`.

    A steep fall between 0.5 and 0.8 means loose boxes: better advice about edges will help. Low
    agreement already at 0.3 means that people do not see or name the same things. Figures mostly
    fall with tau; ``iou`` rises, as only tighter boxes are left to be compared, and the alphas and the
    figures of labels may do either.

    Raises:
        BadInput: a tau that is not above 0 and at most 1.
    """
    if not taus:
        return ()
    marks = marks_of(sheet)
    # Boxes that no chain of overlaps joins at the lowest tau are of different objects at every other,
    # so nearly all pairs are looked at only once. With every box a person of its own the objects found
    # are those chains, whoever drew them.
    reach = cluster(
        marks.boxes, marks.label, np.arange(len(marks.boxes)), min(taus),
        tasks=marks.sample, turns=marks.turn, aspects=marks.aspect,
    )  # fmt: skip
    figures = []
    for tau in taus:
        objects = cluster(
            marks.boxes, marks.label, marks.annotator, tau,
            tasks=reach, turns=marks.turn, aspects=marks.aspect,
        )  # fmt: skip
        study = Study(sheet, marks, objects, count_votes(marks, objects), tau)
        figures.append(tally(study).figures())
    return tuple(figures)
