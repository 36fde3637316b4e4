"""A sheet of answers with the one clustering that every figure is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consensus.agreement import Votes, count_votes
from consensus.marks import Marks, marks
from consensus.matching import TAU, cluster_marks
from consensus.sheet import Ints, Sheet, sheet
from pool.schema import Annotation


@dataclass(frozen=True, slots=True)
class Study:
    """What people said, what of it counts, and which boxes are of one object.

    ``objects`` (n,) numbers the object of each box of ``marks``; ``votes`` has a row for each object.
    ``tau`` is the least IoU of two boxes of one object.
    """

    sheet: Sheet
    marks: Marks
    objects: Ints
    votes: Votes
    tau: float


def study(sheet: Sheet, tau: float = TAU) -> Study:
    """Cluster the boxes of a sheet.

    Raises:
        BadInput: ``tau`` is not above 0 and at most 1.
    """
    counted = marks(sheet)
    objects = cluster_marks(counted, tau)
    return Study(sheet, counted, objects, count_votes(counted, objects), tau)


def of_annotations(
    annotations: Sequence[Annotation],
    sizes: Mapping[str, tuple[int, int]] | None = None,
    tau: float = TAU,
) -> Study:
    """`study` of records; see `sheet.sheet`."""
    return study(sheet(annotations, sizes), tau)
