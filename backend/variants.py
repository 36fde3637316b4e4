"""What a generating job makes: parents, conditions and recipes become planned variants in the ledger.

Planning is safe to repeat: a variant's id is made of its parent, recipe and seed, so what is planned or
made already is not planned again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend import parents
from backend.house import House, Job
from generator import infotext, weather
from generator.balance import shares
from generator.recipe import Mode, Recipe
from generator.variants import PHYSICAL, Manner, Order, identity, orders, recipe_of
from generator.weather import Condition, Vocabulary
from pool.schema import IN_POOL, BadInput, ModelVersion, Region, Sample, Variant

if TYPE_CHECKING:
    from generator.diffusion.shelf import Shelf

PHYSICAL_NAME = "physical"
"""How people name the renderers."""
SMALL = "street-weather"
"""Name of the diffusion model that comes with the project."""
SMALL_FOLDER = Path(__file__).parent / "demo" / "diffusion"
LEAST = 16
"""Pixels of a side that a recipe has at least."""
WEAKEST = "weakest"
"""The word for: every condition, the more of those in which the champion is weak."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants generated.

    ``weather`` are words of the vocabulary, or `WEAKEST`; ``recipe`` instead is an infotext or the name of
    a recipe of the vocabulary. ``parents`` as `parents.chosen` reads them. ``model`` is a checkpoint's
    name, or ``physical``; empty: what the settings say. The same ``seed`` makes the same pictures of the
    same parents, and what is there already is not made again.
    """

    weather: tuple[str, ...] = (WEAKEST,)
    recipe: str = ""
    parents: tuple[str, ...] = ("hardest:20",)
    per_parent: int = 2
    model: str = ""
    seed: int = 0


def wish(given: Mapping[str, Any]) -> Wish:
    """The wish that a job was queued with."""
    usual = Wish()
    return Wish(
        tuple(given.get("weather") or usual.weather),
        given.get("recipe") or "",
        tuple(given.get("parents") or usual.parents),
        int(given.get("per_parent") or usual.per_parent),
        given.get("model") or "",
        int(given.get("seed") or 0),
    )


def vocabulary(house: House) -> Vocabulary:
    """The conditions and recipes that there are, those of the user's own file among them.

    Raises:
        BadInput: the file cannot be read, or says what no condition is.
    """
    own = house.settings.weather
    if own is None:
        return weather.default()
    try:
        text = own.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("THRESHER_WEATHER", "a YAML file of conditions", str(own), str(error)) from None
    return weather.extended(weather.default(), text)


def shelf(house: House) -> Shelf:
    """Where diffusion models are looked for."""
    from generator.diffusion.shelf import Shelf

    s = house.settings
    return Shelf(s.diffusion_dir, more={SMALL: SMALL_FOLDER}, hub=s.diffusion_hub)


def plan(house: House, model: ModelVersion, wanted: Wish, job: Job) -> dict[str, Any]:
    """Write what is to be made into the ledger; how much that is, of which conditions.

    Raises:
        BadInput: an unknown condition, recipe or parent.
        MissingWeights: the model, or a file that the recipe names, is not there.
    """
    job.tell("plan", 0, 0)
    family = parents.chosen(house, model, wanted.parents, wanted.seed)
    made = _recipes(house, wanted)
    total = len(family) * wanted.per_parent
    weak, there = parents.condition_errors(house, model) if len(made) > 1 else ({}, {})
    part = shares(weak, there, list(made), total)
    listed = orders([p.sample.id for p in family], made, part, wanted.per_parent, wanted.seed)
    by_id = {p.sample.id: p for p in family}
    now = datetime.now(UTC)
    side = house.settings.diffusion_side
    planned = [_variant(model.project, job.id, o, by_id[o.parent], now, side) for o in listed]
    new = house.pool.plan_variants(planned)
    counts: dict[str, int] = {}
    for each in planned:
        counts[each.condition or "recipe"] = counts.get(each.condition or "recipe", 0) + 1
    job.tell("plan", 1, 1)
    return {"parents": len(family), "planned": new, "known": len(planned) - new, "conditions": counts}


def check(house: House, project: int, wanted: Wish) -> None:
    """Say now what would make the job fail later, but for models, which only the worker may have.

    Raises:
        BadInput: an unknown condition or parent, or a recipe that cannot be read.
    """
    known = vocabulary(house)
    if wanted.recipe:
        _own(known, wanted)
    else:
        _conditions(known, wanted)
    parents.check(house, project, wanted.parents)


def condition(known: Vocabulary, name: str) -> Condition | None:
    """The condition that a variant shows, where the vocabulary still has it."""
    return known.conditions.get(name)


def name_of(parent: Sample, variant: Variant) -> str:
    """The file name of a variant: its parent's, and in brackets what it shows."""
    stem = parent.name.rsplit(".", 1)[0]
    what = variant.condition.replace(":", " ") or "variant"
    return f"{stem} [{what} {variant.id[:6]}]{variant.suffix}"


def _recipes(house: House, wanted: Wish) -> dict[str, Recipe]:
    """The recipe of each condition wanted, complete with the hashes of what it is made with."""
    known = vocabulary(house)
    usual = house.settings.diffusion_model
    if not wanted.recipe:
        manner = _manner(house, wanted.model or usual)
        return {c.name: _complete(house, recipe_of(c, manner)) for c in _conditions(known, wanted)}
    own = _own(known, wanted)
    if own.mode == "render":
        return {own.prompt: own}
    if wanted.model:  # another file than the recipe's has another hash
        own = replace(own, model=wanted.model, model_hash="")
    elif not own.model and not own.model_hash:
        own = replace(own, model=usual)
    return {"": _complete(house, own)}


def _own(known: Vocabulary, wanted: Wish) -> Recipe:
    """The recipe that somebody gave, by name or as infotext.

    Raises:
        BadInput: it cannot be read, starts from no picture, or is to be run by the renderers.
    """
    given = wanted.recipe.strip()
    own = infotext.parse(known.recipes.get(given, given))
    if own.mode == "render":
        weather.select(known, [own.prompt])
        if own.model != PHYSICAL:
            raise BadInput("Model", PHYSICAL, own.model, "Its pixels would not be the same.")
        return own
    if own.mode == "txt2img":
        near = get_close_matches(given, list(known.recipes), 1)
        fix = f"Did you mean {near[0]}?" if near else "Add Denoising strength, such as 0.4, and Steps."
        raise BadInput("--recipe", "a known name, or one that starts from a picture", given[:80], fix)
    if wanted.model == PHYSICAL_NAME:
        raise BadInput("--model", "a checkpoint for a recipe", wanted.model, "Use --weather with physical.")
    return own


def _conditions(known: Vocabulary, wanted: Wish) -> list[Condition]:
    return weather.select(known, ["all"] if WEAKEST in wanted.weather else wanted.weather)


def _manner(house: House, model: str) -> Manner:
    from generator.diffusion.loading import kind

    if model == PHYSICAL_NAME:
        return Manner(PHYSICAL, "render")
    what = kind(shelf(house).checkpoint(model))
    if what.residual:
        return Manner(model, "instruct", small=True)
    if what.channels == 2 * what.latents:
        return Manner(model, "instruct")
    mode: Mode = "inpaint" if what.channels == 2 * what.latents + 1 else "img2img"
    return Manner(model, mode, vae=house.settings.diffusion_vae, controls=house.settings.diffusion_controls)


def _complete(house: House, recipe: Recipe) -> Recipe:
    return recipe if recipe.mode == "render" else house.painter.complete(recipe)


def _variant(
    project: int, job: str, order: Order, parent: parents.Parent, at: datetime, side: int
) -> Variant:
    recipe = order.recipe
    if recipe.size is None:
        recipe = replace(recipe, size=working_size(parent.sample.width, parent.sample.height, side))
    text = infotext.text(recipe)
    return Variant(
        id=identity(project, parent.sample.id, text),
        project=project,
        job=job,
        parent=parent.sample.id,
        condition=order.condition,
        recipe=text,
        seed=recipe.seed,
        created_at=at,
        regions=carried(parent.regions),
    )


def working_size(width: int, height: int, side: int) -> tuple[int, int]:
    """The size at which a picture is painted: its own, or smaller where its longer side is over ``side``.

    >>> working_size(640, 480, 1024), working_size(4608, 3456, 1024)
    ((640, 480), (1024, 768))
    """
    scale = min(1.0, side / max(width, height))
    return max(round(width * scale), LEAST), max(round(height * scale), LEAST)


def refresh(house: House, model: ModelVersion) -> int:
    """Bring the boxes that variants propose to what is known of their parents now; how many changed.

    Of those that nobody answered yet: what people say of the parent, or what the champion sees on it.
    """
    pool, project = house.pool, model.project
    made = pool.variants(project, states=IN_POOL)
    answered = {a.sample for a in pool.annotations(project, [v.sample for v in made if v.sample])}
    open_ = [v for v in made if v.sample not in answered]
    samples = pool.samples([v.parent for v in open_])
    known = {p.sample.id: p for p in parents.with_boxes(house, model, list(samples.values()))}
    fresh = [replace(v, regions=carried(known[v.parent].regions)) for v in open_ if v.parent in known]
    changed = [new for new, old in zip(fresh, open_, strict=True) if new.regions != old.regions]
    pool.save_variants(changed)
    return len(changed)


def carried(regions: Sequence[Region]) -> tuple[Region, ...]:
    """The parent's boxes as they are shown on its variants: a proposal, nobody's answer."""
    return tuple(Region(r.label, r.box, r.score) for r in regions if r.label is not None)
