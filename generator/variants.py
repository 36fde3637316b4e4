"""From conditions and parents to orders: which picture is made how, with which seed, under which name."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from generator import seeds
from generator.diffusion.options import SMALL_STEPS
from generator.recipe import Control, Mode, Recipe
from generator.renderer import NAME, VERSION
from generator.weather import Condition
from pool.schema import BadInput

PHYSICAL = f"{NAME} {VERSION}"
"""The model's name in recipes of the physical renderers."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How conditions become recipes: the checkpoint's name and what it does.

    ``small`` is the model that ships, which knows the conditions' own names and few steps. ``controls``
    says that the ControlNets that a condition names are there to be used.
    """

    model: str
    mode: Mode
    vae: str = ""
    small: bool = False
    controls: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to be made: of ``parent``, in ``condition`` (empty for a recipe of somebody's own)."""

    parent: str
    condition: str
    recipe: Recipe


def recipe_of(condition: Condition, manner: Manner) -> Recipe:
    """The recipe of a condition, without a seed."""
    if manner.mode == "render":
        return Recipe(condition.name, mode="render", steps=1, cfg=1.0, model=PHYSICAL)
    if manner.small:
        return Recipe(
            condition.instruction,
            mode="instruct",
            steps=SMALL_STEPS,
            sampler="DDIM",
            cfg=1.0,
            image_cfg=1.0,
            model=manner.model,
        )
    plain = Recipe(
        condition.prompt,
        condition.negative,
        manner.mode,
        condition.steps,
        condition.sampler,
        condition.cfg,
        clip_skip=condition.clip_skip,
        model=manner.model,
        vae=manner.vae,
    )
    if manner.mode == "instruct":
        return replace(plain, prompt=f"make it {condition.instruction}", negative="")
    controls = tuple(Control(kind) for kind in condition.controls) if manner.controls else ()
    return replace(plain, strength=condition.strength, controls=controls)


def orders(
    parents: Sequence[str],
    recipes: Mapping[str, Recipe],
    shares: Mapping[str, int],
    per_parent: int,
    base: int,
) -> list[Order]:
    """``per_parent`` pictures of each parent, of the conditions that have most left of their shares.

    A parent gets a condition again only when it has had all of them. ``recipes`` has the recipe of each
    condition, ``base`` is the job's seed: seeds follow from parent, recipe and number (`seeds.seed_of`), so
    that each picture can be made again alone.

    Raises BadInput where there is no parent or fewer than one picture of each.
    """
    if not parents:
        raise BadInput("parents", "at least one image", "none")
    if per_parent < 1:
        raise BadInput("--per-parent", "1 or more", per_parent)
    left = {name: shares.get(name, 0) for name in recipes}
    place = {name: i for i, name in enumerate(recipes)}
    made: list[Order] = []
    for parent in parents:
        had: Counter[str] = Counter()
        for _ in range(per_parent):
            name = min(left, key=lambda each: (had[each], -left[each], place[each]))
            recipe = recipes[name]
            seed = seeds.seed_of(recipe, base, parent, had[name])
            made.append(Order(parent, name, replace(recipe, seed=seed)))
            had[name] += 1
            left[name] -= 1
    return made


def identity(project: int, parent: str, text: str) -> str:
    """The id of a variant: sha256 of project, parent and its whole infotext, seed included, in hex.

    So a recipe that was read out of a variant's own file is that variant.
    """
    return hashlib.sha256(json.dumps([project, parent, text]).encode()).hexdigest()
