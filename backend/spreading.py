"""Groups of look-alikes among the waiting images, so that nobody answers ten views of one thing in a row.

Label Studio serves each person the group of which they answered least, then the lowest score; what has no
group is a group of its own. So either every waiting image has a group or none has: were the picks alone
in groups, every few images one that nobody asked about would come between. And a person's counts never
begin again: each round has numbers of its own.
"""

from __future__ import annotations

import numpy as np

from backend.briefing import whole
from backend.house import House
from pool.columns import join
from pool.schema import ModelVersion
from sampler.batch import deal

STRIDE = 1000
"""Group numbers of one round; more groups than that are of no use to anybody."""


def clusters(house: House, model: ModelVersion, asked: set[str], number: int) -> dict[str, int]:
    """The group of every waiting image, by sample; none where groups are not wanted.

    ``asked`` are the round's picks, ``number`` is the round's.
    """
    many = house.settings.clusters
    if not many or not asked:
        return {}
    waiting = {t.sample for t in house.pool.tasks(model.project)}
    columns = join(house.pool.signals(model.version, sorted(waiting), ("embedding",)), ())
    table = whole(columns.embedding)
    if table is None:
        return {}
    picked = np.array([sample in asked for sample in columns.samples], dtype=np.bool_)
    groups = deal(table, picked, many, number)
    return {
        sample: STRIDE * number + int(group) for sample, group in zip(columns.samples, groups, strict=True)
    }
