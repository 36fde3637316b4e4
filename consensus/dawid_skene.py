"""Whom to believe about what is there: each annotator's confusion, learned without ground truth.

Every object has a hidden truth, one of the labels or "absent" (nothing is there), and everybody who
answered its image votes on it: with a label, or with "absent" by not drawing it. Dawid and Skene
(1979, Applied Statistics 28) alternate between what the votes say of the truth and what the truth
says of the voters (EM). No figure of a person is set by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from consensus.sheet import Bools, Floats
from consensus.study import Study
from pool.schema import BadInput

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SMOOTHING = 5.0
"""Votes by which each row of an annotator's confusion is pulled towards the group's."""

MOST = 200
"""Iterations after which EM stops, converged or not."""

TOLERANCE = 1e-6
"""Change of the log-likelihood, per object, at which EM has converged."""

SEED = 0.01
"""Votes that every cell of the group's confusion has from the start, so that none is impossible."""

DECIMALS = 10
"""Posteriors are rounded here: EM would enlarge the rounding errors of a tie until it breaks."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """How annotators vote, given the truth. The last row and column stand for "absent".

    ``prior`` (labels + 1,): share of the objects whose truth is each label, or absent: boxes around
    nothing. ``confusion`` (annotators, labels + 1, labels + 1): row = truth, column = vote, each row
    adds up to 1. The diagonal is the hit rate, a label's last column the rate of misses, and 1 minus
    the last cell the rate at which a box that someone drew around nothing is drawn by this annotator
    too. ``typical`` is the same for the whole group; a row about which an annotator's votes say
    nothing equals it. ``posterior`` (objects, labels + 1): probability of each truth. Everything is
    in [0, 1].

    ``objects`` taught all this. ``iterations`` were taken; as many as allowed means not converged.
    ``log_likelihood`` is that of the votes, in nats, 0 or less; it compares runs on the same votes only.

    How to read it: with some ten objects of a label, a row is a rumour; with hundreds, a figure. The
    posterior is over-confident, since people err together where an object is hard to see: rank by it,
    but do not take .99 as one error in a hundred. An object that one annotator alone drew is noise
    or a find that all others missed, and the votes cannot tell which.
    """

    prior: Floats
    confusion: Floats
    typical: Floats
    posterior: Floats
    objects: int
    iterations: int
    log_likelihood: float


def dawid_skene(
    study: Study, smoothing: float = SMOOTHING, most: int = MOST, tolerance: float = TOLERANCE
) -> Reliability:
    """Learn prior and confusions from the votes; EM starts from the shares of the votes.

    Objects of images that one person answered have a posterior, but teach nothing: what that person
    missed there is in no list, and would make everybody look more careful than they are. A study
    without any other object gives uniform tables.

    Args:
        study: the objects and who voted on them.
        smoothing: votes, above 0, by which each row is pulled towards the group's; small figures
            trust annotators of whom little is known.
        most: iterations, 1 or more.
        tolerance: change of the log-likelihood per object at which to stop, above 0.

    Raises:
        BadInput: an argument out of range.
    """
    for name, value in (("smoothing", smoothing), ("tolerance", tolerance)):
        if not 0.0 < value < np.inf:
            raise BadInput(name, "above 0 and finite", value)
    if most < 1:
        raise BadInput("most", "1 or more", most)
    people, values = len(study.marks.annotators), len(study.marks.labels) + 1
    everyone = _ballots(study)
    ballots = everyone[_taught(study)]
    size = ballots.shape[0]

    belief = _vote_shares(ballots, values)
    iterations, before = 0, -np.inf
    while True:
        iterations += 1
        prior = (belief.sum(axis=0) + SEED) / (size + SEED * values)
        counts = np.swapaxes((ballots.T @ belief).reshape(people, values, values), 1, 2)
        typical = _rows(counts.sum(axis=0) + SEED)
        confusion = _rows(counts + smoothing * typical)
        belief, likelihood = _believe(ballots, prior, confusion)
        if iterations >= most or abs(likelihood - before) <= tolerance * size:
            break
        before = likelihood
    posterior = _believe(everyone, prior, confusion)[0]
    return Reliability(prior, confusion, typical, posterior, size, iterations, likelihood)


def posterior(study: Study, prior: Floats, confusion: Floats) -> Floats:
    """Probability of each truth of each object, (objects, labels + 1), by tables learned elsewhere.

    ``prior`` and ``confusion`` as in `Reliability`, for the annotators and labels of ``study``.

    Raises:
        BadInput: tables of other shapes.
    """
    people, values = len(study.marks.annotators), len(study.marks.labels) + 1
    if prior.shape != (values,):
        raise BadInput("prior", f"of shape ({values},)", prior.shape)
    if confusion.shape != (people, values, values):
        raise BadInput("confusion", f"of shape ({people}, {values}, {values})", confusion.shape)
    return _believe(_ballots(study), prior, confusion)[0]


def _taught(study: Study) -> Bools:
    """(objects,) which objects at least two people voted on."""
    return np.asarray(study.votes.voters[study.votes.sample] >= 2)


def _ballots(study: Study) -> csr_array:
    """Ones (objects, annotators x values) where an annotator gave an object a value."""
    from scipy.sparse import csr_array

    marks, votes = study.marks, study.votes
    values = len(marks.labels) + 1
    count = votes.voters[votes.sample]
    begin = np.append(0, np.cumsum(count))
    first = np.cumsum(votes.voters) - votes.voters  # of each sample, among those who answered
    seat = np.arange(begin[-1]) - np.repeat(begin[:-1], count)
    voter = marks.answered[np.repeat(first[votes.sample], count) + seat, 1]
    value = np.full(len(voter), values - 1, dtype=np.intp)
    value[begin[study.objects] + marks.place - first[marks.sample]] = marks.label
    shape = (len(count), len(marks.annotators) * values)
    return csr_array((np.ones(len(voter)), voter * values + value, begin), shape=shape)


def _vote_shares(ballots: csr_array, values: int) -> Floats:
    """Share of the votes for each value, (objects, values)."""
    size = ballots.shape[0]
    count = np.diff(ballots.indptr)
    row = np.repeat(np.arange(size), count)
    shares = np.bincount(row * values + ballots.indices % values, minlength=size * values)
    return np.asarray(shares.reshape(size, values) / count[:, None])


def _believe(ballots: csr_array, prior: Floats, confusion: Floats) -> tuple[Floats, float]:
    """Posterior of each object and the log-likelihood of all votes."""
    values = len(prior)
    evidence = np.swapaxes(np.log(confusion), 1, 2).reshape(-1, values)
    joint = ballots @ evidence + np.log(prior)
    top = joint.max(axis=1, keepdims=True)
    share = np.exp(joint - top)
    total = share.sum(axis=1, keepdims=True)
    return np.round(share / total, DECIMALS), float((top + np.log(total)).sum())


def _rows(counts: Floats) -> Floats:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
