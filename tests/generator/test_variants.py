"""Orders: shares kept, conditions spread over parents, seeds that make each picture again alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator import infotext, weather
from generator.recipe import Recipe
from generator.variants import PHYSICAL, Manner, Order, identity, orders, recipe_of
from pool.schema import BadInput


def named(project: int, order: Order) -> str:
    return identity(project, order.parent, infotext.text(order.recipe))


NAMES = ("night", "dusk", "snow:heavy")
RECIPES = {name: Recipe(name, mode="instruct", seed=-1) for name in NAMES}


@given(st.integers(1, 12), st.integers(1, 9), st.lists(st.integers(0, 40), min_size=3, max_size=3))
def test_each_parent_gets_what_is_wanted_and_a_condition_again_only_after_all_others(
    parents: int, per_parent: int, parts: list[int]
) -> None:
    shares = dict(zip(NAMES, parts, strict=True))
    made = orders([f"p{i}" for i in range(parents)], RECIPES, shares, per_parent, 1)
    assert Counter(o.parent for o in made) == {f"p{i}": per_parent for i in range(parents)}
    for i in range(parents):
        had = Counter(o.condition for o in made if o.parent == f"p{i}")
        assert max(had.values()) - min(had[name] for name in NAMES) <= 1
    assert len({named(1, o) for o in made}) == len(made)


def test_shares_are_kept_where_parents_have_room_for_them() -> None:
    made = orders([f"p{i}" for i in range(10)], RECIPES, {"night": 6, "dusk": 4, "snow:heavy": 0}, 1, 1)
    assert Counter(o.condition for o in made) == {"night": 6, "dusk": 4}


def test_a_larger_wish_begins_with_the_pictures_of_the_smaller_one() -> None:
    few = orders(["a", "b"], RECIPES, dict.fromkeys(NAMES, 2), 3, 7)
    many = orders(["a", "b", "c"], RECIPES, dict.fromkeys(NAMES, 4), 4, 7)
    assert {named(1, o) for o in few} < {named(1, o) for o in many}
    assert {named(2, o) for o in few}.isdisjoint(named(1, o) for o in many)


def test_a_pasted_seed_is_the_first_variants_own() -> None:
    recipe = Recipe("snow", strength=0.34, seed=712934690)
    made = orders(["a"], {"": recipe}, {"": 2}, 2, 99)
    assert [o.recipe.seed for o in made] == [712934690, 712934691]
    drawn = orders(["a", "b"], {"": Recipe("snow", strength=0.34)}, {"": 2}, 1, 99)
    assert drawn[0].recipe.seed != drawn[1].recipe.seed >= 0


@pytest.mark.parametrize(("parents", "per_parent"), [([], 1), (["a"], 0)])
def test_nothing_to_do_is_said(parents: list[str], per_parent: int) -> None:
    with pytest.raises(BadInput):
        orders(parents, RECIPES, {}, per_parent, 0)


def test_a_condition_becomes_the_recipe_that_its_model_understands() -> None:
    snow = weather.default().conditions["snow:heavy"]
    small = recipe_of(snow, Manner("street-weather", "instruct", small=True))
    assert (small.prompt, small.cfg, small.mode) == ("snow heavy", 1.0, "instruct")
    assert recipe_of(snow, Manner("ip2p", "instruct")).prompt == "make it snow heavy"
    plain = recipe_of(snow, Manner("sd", "img2img", vae="v"))
    assert (plain.prompt, plain.strength, plain.controls, plain.vae) == (
        snow.prompt,
        snow.strength,
        (),
        "v",
    )
    guided = recipe_of(snow, Manner("sd", "img2img", controls=True))
    assert tuple(c.kind for c in guided.controls) == snow.controls
    drawn = recipe_of(snow, Manner(PHYSICAL, "render"))
    assert (drawn.prompt, drawn.model, drawn.mode) == ("snow:heavy", PHYSICAL, "render")


def test_an_order_of_another_parent_recipe_or_seed_is_another_picture() -> None:
    base = Order("a", "night", Recipe("night", mode="instruct", seed=1))
    others = [
        Order("b", "night", base.recipe),
        Order("a", "night", Recipe("night", mode="instruct", seed=2)),
        Order("a", "night", Recipe("dusk", mode="instruct", seed=1)),
    ]
    assert len({named(1, o) for o in (base, *others)}) == 4
