"""Which images a reviewer should open first, and which ones another annotator should see.

Both look at decisions, not at ratios: an image is worth a look when the box or label that the
majority would settle on may well be wrong.
"""

from __future__ import annotations

import numpy as np

from consensus.sheet import Floats, Ints
from consensus.study import Study
from pool.schema import BadInput


def expected_errors(study: Study) -> Floats:
    """Expected number of wrong decisions of each image, (samples,), 0 or more, higher = worse.

    Sum over the image's objects of 1 - the largest share of votes, where not to draw the object is a
    vote as well: the mean number of decisions that would change if one of the people, picked by
    chance for each object, had decided alone. 0 where all drew alike or all saw nothing, NaN where
    fewer than two people answered.

    It adds up, so it grows with the number of objects: compare images by it to spend a reviewer's
    time, not to say where people agree better. What everybody misses, it cannot see.
    """
    votes = study.votes
    absent = votes.voters[votes.sample] - votes.drawn
    images = len(votes.voters)
    # Whole votes are added up, so that images with equal votes are equal to the last digit.
    against = np.bincount(
        votes.sample, weights=votes.voters[votes.sample] - np.maximum(votes.same, absent), minlength=images
    )
    return np.where(votes.voters >= 2, against / np.maximum(votes.voters, 1), np.nan)


def review_order(study: Study) -> Ints:
    """Positions of the images that can be compared, worst first; equals by name.

    Ordered by `expected_errors`. Images with fewer than two answers are left out: nothing is known
    about them.

    Why not by 1 - consensus score: that is a ratio, so images with one or two objects and one stray
    box come first, and those the majority settles rightly. On simulated jobs its first twentieth
    holds about as many images with a wrong majority as a random one, this order's four times as
    many; on real crowd boxes this order follows the number of wrong boxes more closely, too.
    """
    errors = expected_errors(study)
    known = np.flatnonzero(~np.isnan(errors))
    return np.asarray(known[np.argsort(-errors[known], kind="stable")])  # samples are sorted by name


def wanted_opinions(study: Study, cap: int, least: int = 2, lead: int = 0) -> Ints:
    """How many people should answer each image, (samples,): those who did, or one more.

    One more where an object is undecided, that is where what most people said of it (a label, or not
    to draw it) is at most ``lead`` votes ahead of the next, and fewer than ``cap`` people answered.
    An image with fewer than ``least`` answers wants ``least``. Never fewer than there are already.

    By default only ties are undecided, for there the next opinion settles the matter; with a lead of
    one it can at most make a tie. So two people who differ call a third, and a third who stands alone
    calls nobody. On simulated jobs of three people that asks for 13 % of a fourth opinion on all
    images and corrects three quarters of what that would correct; a ``lead`` of 1 asks for 89 %.

    Raises:
        BadInput: ``least`` below 1, ``cap`` below ``least``, or ``lead`` below 0.
    """
    if least < 1:
        raise BadInput("least", "1 or more", least)
    if cap < least:
        raise BadInput("cap", f"at least {least}, the least number of answers", cap)
    if lead < 0:
        raise BadInput("lead", "0 or more", lead)
    votes = study.votes
    undecided = np.zeros(len(votes.voters), dtype=np.bool_)
    undecided[votes.sample[_leads(study) <= lead]] = True
    wanted = np.maximum(votes.voters + undecided, least)
    return np.asarray(np.maximum(votes.voters, np.minimum(wanted, cap)), dtype=np.intp)


def _leads(study: Study) -> Ints:
    """Votes of each object's commonest answer less those of the next, (objects,)."""
    votes, names = study.votes, max(len(study.marks.labels), 1)
    key, count = np.unique(study.objects * names + study.marks.label, return_counts=True)
    owner = key // names
    order = np.lexsort((-count, owner))
    owner, count = owner[order], count[order]
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    top = np.zeros((len(votes.sample), 3), dtype=np.intp)
    top[:, 2] = votes.voters[votes.sample] - votes.drawn
    first = place < 2
    top[owner[first], place[first]] = count[first]
    top.sort(axis=1)
    return np.asarray(top[:, 2] - top[:, 1])
