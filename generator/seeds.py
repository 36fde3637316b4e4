"""Which seed each variant gets: by rule, so that image k of a job can be made again alone, in any order."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Final

from generator.recipe import SEEDS, Recipe, key
from pool.schema import BadInput

DRAWN: Final = -1
"""The seed of a recipe that leaves it to the job."""


def seed_of(recipe: Recipe, job: int, parent: str, k: int) -> int:
    """The seed of variant ``k`` (0, 1, …) of ``parent`` under the recipe, in [0, 2^32).

    A recipe with a seed of its own gives seed + k modulo 2^32, as a batch in A1111 does: the first variant
    is what a pasted recipe says. All parents share these seeds. A recipe with seed -1 has one drawn for
    it from ``job``, the job's seed, by `seed`.
    """
    if recipe.seed == DRAWN:
        return seed(job, parent, key(recipe), k)
    return (recipe.seed + _counted(k)) % SEEDS


def seed(base: int, parent: str, recipe_key: str, k: int) -> int:
    """A seed in [0, 2^32) drawn from the four by sha256: the same ones give the same seed, others another.

    ``base`` is any whole number, ``recipe_key`` as `recipe.key` makes it, ``k`` 0 or more.
    """
    named = json.dumps([base, parent, recipe_key, _counted(k)])
    return int.from_bytes(sha256(named.encode()).digest()[:4], "big")


def _counted(k: int) -> int:
    if k < 0:
        raise BadInput("k", "0 or more", k, "Count variants from 0.")
    return k
