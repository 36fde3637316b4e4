"""What several people say together about an image: one box for each object enough of them saw.

Nothing is changed, and nobody's answer replaced: consensus boxes are new records beside the old. How
many must have seen an object is for the project to say. Its label and its edges can be put to a plain
vote, or weighed by what `Trust` has learned of the people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from consensus.agreement import consensus_score
from consensus.dawid_skene import Reliability, dawid_skene, posterior
from consensus.edges import FEW, STEADIEST, Edges, by_size, corrected, edges, mean_edges, middle
from consensus.marks import Marks, inside, turns, usable, whole
from consensus.matching import TAU
from consensus.overlap import DECIMALS, pair_iou
from consensus.sheet import Floats, Ints, numbered, verdicts
from consensus.study import Study, of_annotations
from pool.schema import Annotation, BadInput, Box, Consensus, Region

QUORUM = 0.5
"""Largest share of the people that may have missed an object which is kept all the same."""

ENOUGH = 200
"""Objects below which people are known too little to overrule the votes about a label."""

CELLS = 50_000_000
"""Most entries of a table of beliefs, 8 bytes each; beyond that labels are left to the votes."""

SLACK = 1e-9
"""Forgives the rounding of a quorum such as 2/3."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How far each annotator of a project is believed: learned once, used for any of its images.

    ``reliability`` and ``edges`` are those of the annotators and labels named here, in this order;
    ``reliability`` is None where there are too many of them for a table of who confuses what.
    """

    annotators: tuple[str, ...]
    labels: tuple[str | None, ...]
    reliability: Reliability | None
    edges: Edges


@dataclass(frozen=True, slots=True)
class Fused:
    """Consensus boxes, sorted by sample, then from top to bottom and left to right.

    ``sample`` and ``label`` (k,) are positions in the sheet's, ``boxes`` (k, 4) is normalised, ``turn``
    (k,) in degrees. ``votes`` (k,) counts who drew the object, ``voters`` who answered its image.
    ``confidence`` (k,) in [0, 1] is how sure the label is: the share of all who answered that gave it,
    or with a `Trust` learned from `ENOUGH` objects the probability that it is true, which is
    over-confident. ``object`` (k,) is the position among the study's objects.

    Boxes of ground truth are nobody's vote: ``object`` is -1, one vote of one, and confidence 1.
    """

    sample: Ints
    boxes: Floats
    turn: Floats
    label: Ints
    votes: Ints
    voters: Ints
    confidence: Floats
    object: Ints


def learn_trust(study: Study) -> Trust:
    """What the answers of a whole project say of those who gave them.

    The more images at least three people answered the better; images with one answer teach nothing.
    Below `ENOUGH` objects labels are left to the votes. Someone with fewer than `edges.FEW` boxes has
    no habit, and where nobody has one edges are medians.
    """
    names, labels = study.marks.annotators, study.marks.labels
    cells = max(len(names), len(study.votes.label)) * (len(labels) + 1)
    small = max(cells, len(names) * (len(labels) + 1) ** 2) <= CELLS
    return Trust(names, labels, dawid_skene(study) if small else None, edges(study))


def fuse(
    annotations: Sequence[Annotation],
    quorum: float = QUORUM,
    tau: float = TAU,
    *,
    least: int = 1,
    size: tuple[int, int] | None = None,
    trust: Trust | None = None,
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
    sizes = None if size is None else {sample: size}
    return fuse_all(annotations, quorum, tau, least=least, sizes=sizes, trust=trust)[sample]


def fuse_all(
    annotations: Sequence[Annotation],
    quorum: float = QUORUM,
    tau: float = TAU,
    *,
    least: int = 1,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    trust: Trust | None = None,
) -> dict[str, Consensus]:
    """What people say together about each sample, in the order of sample ids; see `fuse_study`.

    Skipped annotations count as not given, and a person's later annotation replaces the earlier. A
    sample with one annotator has that person's regions as they are and no score. Where somebody
    starred an annotation as ground truth, its regions settle the matter, and score and dispute are
    those of the others.

    Args:
        annotations: of any samples.
        quorum: in [0, 1].
        tau: least IoU of two boxes of one object, in (0, 1].
        least: 1 or more.
        sizes: width and height by sample in pixels; needed only where boxes are turned.
        trust: of the project, as `learn_trust` gives it; annotators it does not know count as typical.

    Raises:
        BadInput: a setting or a size out of range.
    """
    study = of_annotations(annotations, sizes, tau)
    fused = fuse_study(study, quorum, least, trust)
    said, votes, answered = study.sheet, study.votes, study.marks.answered
    scores = consensus_score(votes)
    disputed = np.bincount(votes.sample, weights=~votes.unanimous, minlength=len(said.samples))
    alone = votes.voters[answered[:, 0]] == 1
    settled = {
        annotations[k].sample: whole(annotations[k].regions)
        for k in np.concatenate([study.marks.answer[alone], verdicts(said)]).tolist()
    }
    regions: list[list[Region]] = [[] for _ in said.samples]
    placed = np.column_stack([fused.boxes, fused.turn]).tolist()
    for sample, label, numbers in zip(fused.sample.tolist(), fused.label.tolist(), placed, strict=True):
        regions[sample].append(Region(said.labels[label], Box(*numbers)))
    ends = np.cumsum(votes.voters)
    out: dict[str, Consensus] = {}
    for k, name in enumerate(said.samples):
        people = answered[ends[k] - votes.voters[k] : ends[k], 1]
        out[name] = Consensus(
            sample=name,
            score=None if np.isnan(scores[k]) else float(scores[k]),
            regions=settled[name] if name in settled else tuple(regions[k]),
            annotators=tuple(said.annotators[p] for p in people),
            disputed=int(disputed[k]),
        )
    return out


def fuse_study(study: Study, quorum: float = QUORUM, least: int = 1, trust: Trust | None = None) -> Fused:
    """One box for each object that enough people drew.

    An object is kept where the share of people who missed it is at most ``quorum``, and ``least``
    people drew it, or all where fewer answered. With the default quorum one of two is enough and one
    of three is not; 0 asks for everybody; 1 with ``least=2`` for any two, which is best where people
    overlook much. No one answer is ever dropped where it is the only one.

    Its label is the one most people gave, the alphabetically first of equals; with ``trust`` the most
    probable of those somebody gave. Its edges are the medians of the people's edges; with ``trust``
    the mean of the edges less each person's habit, where steadier hands weigh more. An edge on which all
    agree stays where they put it. Boxes turned by one angle have medians all the same; turned by
    different angles they have no common edges, and the box that overlaps the others best stands.

    Where ground truth was given, its boxes settle the matter.

    Raises:
        BadInput: ``quorum`` is not in [0, 1], or ``least`` below 1.
    """
    if not 0.0 <= quorum <= 1.0:
        raise BadInput("quorum", "between 0 and 1", quorum)
    if least < 1:
        raise BadInput("least", "1 or more", least)
    said, votes = study.sheet, study.votes
    voters = votes.voters[votes.sample]
    boxes, turn = _placed(study, trust)
    label, confidence = _named(study, trust)

    given = np.flatnonzero(np.isin(said.owner, verdicts(said)))
    angle = turns(said.turn[given])
    final = inside(said.boxes[given], angle)
    real = usable(final, angle)
    given, angle, final = given[real], angle[real], final[real]
    settled = np.isin(votes.sample, said.sample[verdicts(said)])
    enough = (voters - votes.drawn <= quorum * voters + SLACK) & (votes.drawn >= np.minimum(least, voters))
    kept = np.flatnonzero(enough & ~settled)
    one = np.ones(len(given), dtype=np.intp)
    fused = Fused(
        sample=np.concatenate([votes.sample[kept], said.sample[said.owner[given]]]),
        boxes=np.concatenate([boxes[kept], final]),
        turn=np.concatenate([turn[kept], angle]),
        label=np.concatenate([label[kept], said.label[given]]),
        votes=np.concatenate([votes.drawn[kept], one]),
        voters=np.concatenate([voters[kept], one]),
        confidence=np.concatenate([confidence[kept], one]),
        object=np.concatenate([kept, -one]),
    )
    x1, y1, x2, y2 = fused.boxes.T
    order = np.lexsort((fused.label, fused.turn, y2, x2, x1, y1, fused.sample))
    return Fused(*(getattr(fused, name)[order] for name in Fused.__slots__))


def _named(study: Study, trust: Trust | None) -> tuple[Ints, Floats]:
    """Label of each object, and how sure it is."""
    marks, votes = study.marks, study.votes
    share = votes.same / votes.voters[votes.sample]
    known = None if trust is None else trust.reliability
    if trust is None or known is None or known.objects < ENOUGH or not share.size:
        return votes.label, share
    value = np.append(_positions(marks.labels, trust.labels, -1), len(trust.labels))
    who = _positions(marks.annotators, trust.annotators, len(trust.annotators))
    confusion = np.concatenate([known.confusion, known.typical[None]])[who][:, value[:, None], value]
    prior = np.where(value >= 0, known.prior[value], np.finfo(float).tiny)
    belief = posterior(study, prior, confusion)

    names = len(marks.labels)
    key, count = np.unique(study.objects * names + marks.label, return_counts=True)
    owner, label = key // names, key % names
    judged = np.ones(len(votes.label), dtype=np.bool_)
    judged[owner[value[label] < 0]] = False  # somebody gave a label of which nothing was learned
    sure = np.where(judged[owner], belief[owner, label], 0.0)
    unnamed = np.array([name is None for name in marks.labels])[label]
    best = np.lexsort((label, -count, -sure, unnamed, owner))[np.flatnonzero(np.diff(owner, prepend=-1))]
    return label[best], np.where(judged, sure[best], share)


def _placed(study: Study, trust: Trust | None) -> tuple[Floats, Floats]:
    """Box (objects, 4) and rotation (objects,) of each object."""
    marks, objects = study.marks, study.objects
    count = len(study.votes.label)
    boxes, turn = np.empty((count, 4)), np.zeros(count)
    drawn = np.asfortranarray(marks.boxes)
    if habits := _habits(marks, trust):
        unbiased = corrected(drawn, habits[0], marks.annotator)
    for block in by_size(objects):
        which = objects[block[:, 0]]
        ranked = np.sort(drawn.T[:, block], axis=-1)
        placed = middle(ranked)
        upright = ~marks.turn[block].any(axis=1)
        if habits:
            mean = mean_edges(unbiased.T[:, block], habits[1][:, marks.annotator[block]])
            agreed = ranked[..., 0] == ranked[..., -1]
            placed = np.where(agreed | ~upright, placed, np.clip(mean, 0.0, 1.0))
        boxes[which] = placed.T
        turned = np.flatnonzero(~upright)
        turn[which[turned]] = marks.turn[block[turned, 0]]
        at_odds = turned[np.ptp(marks.turn[block[turned]], axis=1) > 0.0]
        chosen = _most_central(marks, block[at_odds])
        boxes[which[at_odds]], turn[which[at_odds]] = marks.boxes[chosen], marks.turn[chosen]
    return boxes, turn


def _habits(marks: Marks, trust: Trust | None) -> tuple[Floats, Floats] | None:
    """Bias (annotators, 4) and spread along each axis (2, annotators); None if nobody is known.

    Who is not known among others has no bias and the median spread.
    """
    measured = np.flatnonzero(trust.edges.boxes >= FEW) if trust else np.zeros(0, dtype=np.intp)
    if trust is None or not measured.size:
        return None
    strange = len(trust.annotators)
    bias, spread = np.zeros((strange + 1, 4)), np.empty((2, strange + 1))
    bias[measured] = trust.edges.bias[measured]
    # Opposite edges have one spread, and so one weight: the mean of boxes must be a box.
    square = trust.edges.spread[measured] ** 2
    own = np.sqrt((square[:, :2] + square[:, 2:]).T / 2.0 + STEADIEST**2)
    spread[:] = np.median(own, axis=1)[:, None]
    spread[:, measured] = own
    who = _positions(marks.annotators, trust.annotators, strange)
    return bias[who], spread[:, who]


def _positions(names: Sequence[str | None], known: Sequence[str | None], otherwise: int) -> Ints:
    """Where each name is among the known ones."""
    place = numbered(known)
    return np.array([place.get(name, otherwise) for name in names], dtype=np.intp)


def _most_central(marks: Marks, members: Ints) -> Ints:
    """Which of the members (k, m) of each object overlaps the others best; of equals the first."""
    k, m = members.shape
    i, j = members.repeat(m, axis=1).reshape(-1), np.tile(members, m).reshape(-1)
    iou = pair_iou(marks.boxes[i], marks.boxes[j], marks.turn[i], marks.turn[j], marks.aspect[i])
    total = np.round(iou.reshape(k, m, m).sum(axis=2), DECIMALS)
    x1, y1, x2, y2 = marks.boxes[members].transpose(2, 0, 1)
    best = np.lexsort((marks.turn[members], y2, x2, y1, x1, -total), axis=-1)[:, :1]
    return np.asarray(np.take_along_axis(members, best, axis=1)[:, 0])
