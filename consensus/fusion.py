"""What several people say together about an image: one box for each object enough of them saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from consensus.agreement import Votes, consensus_score, count_votes
from consensus.marks import Marks, marks, whole
from consensus.matching import TAU, cluster_marks
from consensus.overlap import DECIMALS, pair_iou
from consensus.sheet import Floats, Ints, sheet, verdicts
from pool.schema import Annotation, BadInput, Box, Consensus, Region

QUORUM = 0.5
"""Largest share of the people that may have missed an object which is kept all the same."""

SLACK = 1e-9
"""Forgives the rounding of a quorum such as 2/3."""


def fuse(
    annotations: Sequence[Annotation],
    quorum: float = QUORUM,
    tau: float = TAU,
    *,
    size: tuple[int, int] | None = None,
) -> Consensus:
    """What the annotations of one sample say together; see `fuse_all`.

    Raises:
        BadInput: no annotation, several samples, or a setting out of range.
    """
    samples = {a.sample for a in annotations}
    if len(samples) != 1:
        raise BadInput(
            "annotations", "all of one sample, at least one", sorted(samples), "Use fuse_all for several."
        )
    (sample,) = samples
    return fuse_all(annotations, quorum, tau, sizes=None if size is None else {sample: size})[sample]


def fuse_all(
    annotations: Sequence[Annotation],
    quorum: float = QUORUM,
    tau: float = TAU,
    *,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, Consensus]:
    """What people say together about each sample, in the order of sample ids.

    An object is dropped where the share of people who missed it is above ``quorum``: at 0.5 one of
    two is enough and one of three is not, at 0 all must have drawn it, at 1 anybody. Its label is
    the one most people gave, the alphabetically first of equals; its edges are the medians of the
    people's edges. Boxes turned by different angles have no common edges: there the box that
    overlaps the others best stands for them.

    Skipped annotations count as not given, and a person's later annotation replaces the earlier. A
    sample with one annotator has that person's regions as they are and no score. Where somebody
    starred an annotation as ground truth, its regions settle the matter, and score and dispute are
    those of the others.

    Args:
        annotations: of any samples.
        quorum: in [0, 1].
        tau: least IoU of two boxes of one object, in (0, 1].
        sizes: width and height by sample in pixels; needed only where boxes are turned.

    Raises:
        BadInput: ``quorum``, ``tau`` or a size out of range.
    """
    if not 0.0 <= quorum <= 1.0:
        raise BadInput("quorum", "between 0 and 1", quorum)
    said = sheet(annotations, sizes)
    counted = marks(said)
    objects = cluster_marks(counted, tau)
    votes = count_votes(counted, objects)
    scores = consensus_score(votes)
    disputed = np.bincount(votes.sample, weights=~votes.unanimous, minlength=len(said.samples))
    alone = votes.voters[counted.answered[:, 0]] == 1
    settled = {
        annotations[k].sample: whole(annotations[k].regions)
        for k in np.concatenate([counted.answer[alone], verdicts(said)]).tolist()
    }
    fused = _fused(counted, objects, votes, quorum)
    ends = np.cumsum(votes.voters)
    out: dict[str, Consensus] = {}
    for k, sample in enumerate(said.samples):
        people = counted.answered[ends[k] - votes.voters[k] : ends[k], 1]
        out[sample] = Consensus(
            sample=sample,
            score=None if np.isnan(scores[k]) else float(scores[k]),
            regions=settled[sample] if sample in settled else tuple(fused[k]),
            annotators=tuple(said.annotators[p] for p in people),
            disputed=int(disputed[k]),
        )
    return out


def _fused(marks: Marks, objects: Ints, votes: Votes, quorum: float) -> list[list[Region]]:
    """The regions of each sample, from top to bottom and left to right."""
    voters = votes.voters[votes.sample]
    kept = np.flatnonzero(voters - votes.drawn <= quorum * voters + SLACK)
    boxes = _medians(marks.boxes, objects)
    turns = _turned(marks, objects, boxes)
    out: list[list[Region]] = [[] for _ in marks.samples]
    for k in kept[np.lexsort((boxes[kept, 3], boxes[kept, 2], boxes[kept, 0], boxes[kept, 1]))].tolist():
        x1, y1, x2, y2 = boxes[k].tolist()
        box = Box(x1, y1, x2, y2, float(turns[k]))
        out[int(votes.sample[k])].append(Region(marks.labels[int(votes.label[k])], box))
    return out


def _medians(boxes: Floats, objects: Ints) -> Floats:
    """Median of each edge over the boxes of each object, (objects, 4)."""
    count = np.bincount(objects)
    start = np.cumsum(count) - count
    out = np.empty((len(count), 4))
    for edge in range(4):
        values = boxes[np.lexsort((boxes[:, edge], objects)), edge]
        out[:, edge] = (values[start + (count - 1) // 2] + values[start + count // 2]) / 2.0
    return out


def _turned(marks: Marks, objects: Ints, boxes: Floats) -> Floats:
    """Rotation of each object, (objects,); writes into ``boxes`` where people turned it differently."""
    turns = np.zeros(len(boxes))
    for k in np.unique(objects[marks.turn != 0.0]).tolist():
        members = np.flatnonzero(objects == k)
        best = members[0]
        if np.unique(marks.turn[members]).size > 1:
            best = members[_most_central(marks, members)]
            boxes[k] = marks.boxes[best]
        turns[k] = marks.turn[best]
    return turns


def _most_central(marks: Marks, members: Ints) -> int:
    """Which member overlaps the others best; of equals the first by coordinates."""
    m = len(members)
    i, j = members.repeat(m), np.tile(members, m)
    iou = pair_iou(marks.boxes[i], marks.boxes[j], marks.turn[i], marks.turn[j], marks.aspect[i])
    total = np.round(iou.reshape(m, m).sum(axis=1), DECIMALS)
    x1, y1, x2, y2 = marks.boxes[members].T
    return int(np.lexsort((marks.turn[members], y2, x2, y1, x1, -total))[0])
