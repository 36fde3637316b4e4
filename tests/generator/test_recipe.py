"""What a recipe accepts, what form it keeps it in, and when two recipes have one key."""

from __future__ import annotations

import math
import pickle
import random
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator import infotext
from generator.prompt import LONGEST
from generator.recipe import KEYS, Control, Recipe, key, with_seed
from pool.schema import BadInput
from tests.generator.recipes import RECIPES, SNOW


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("prompt", "a" * (LONGEST + 1), "Prompt"),
        ("prompt", "a\nSteps: 3", "Prompt"),
        ("prompt", "  Steps ：3", "Prompt"),
        ("prompt", "a\n\tNegative prompt: b", "Prompt"),
        ("negative", "a\nNegative prompt: b", "Negative prompt"),
        ("prompt", "a\0b", "Prompt"),
        ("prompt", "\ud83d", "Prompt"),
        ("prompt", None, "Prompt"),
        ("mode", "outpaint", "Mode"),
        ("steps", 0, "Steps"),
        ("steps", 1001, "Steps"),
        ("steps", 20.0, "Steps"),
        ("steps", True, "Steps"),
        ("steps", "20", "Steps"),
        ("sampler", "", "Sampler"),
        ("sampler", "Euler\na", "Sampler"),
        ("cfg", -0.1, "CFG scale"),
        ("cfg", math.nan, "CFG scale"),
        ("cfg", math.inf, "CFG scale"),
        ("cfg", 10**400, "CFG scale"),
        ("cfg", "7", "CFG scale"),
        ("image_cfg", -1, "Image CFG scale"),
        ("strength", -0.01, "Denoising strength"),
        ("strength", 1.01, "Denoising strength"),
        ("strength", math.nan, "Denoising strength"),
        ("clip_skip", 0, "Clip skip"),
        ("clip_skip", 13, "Clip skip"),
        ("seed", -2, "Seed"),
        ("seed", 2**32, "Seed"),
        ("size", (15, 512), "Size"),
        ("size", (512, 4097), "Size"),
        ("size", (512,), "Size"),
        ("size", [512, 512], "Size"),
        ("size", (512.0, 512), "Size"),
        ("model", " m", "Model"),
        ("model", "m\n", "Model"),
        ("model_hash", "a\rb", "Model hash"),
        ("vae", "\x7f", "VAE"),
        ("vae_hash", "a ", "VAE hash"),
        ("loras", {"a:b": ""}, "LoRA"),
        ("loras", {"a\x07b": ""}, "Lora hashes"),
        ("loras", {"a": "1, b: 2"}, "Lora hashes"),
        ("extra", {"Steps": "3"}, "extra"),
        ("extra", {"sampler": "3"}, "extra"),
        ("extra", {"\N{LATIN SMALL LIGATURE ST}eps": "3"}, "extra"),
        ("extra", {"Schedule type": "Karras"}, "extra"),
        ("extra", {"ControlNet 0": "x"}, "extra"),
        ("extra", {"a:b": "x"}, "extra"),
        ("extra", {"": "x"}, "extra"),
        ("extra", {"a ": "x"}, "extra"),
        ("extra", {"a": "\x1b"}, "a"),
        ("extra", {"a": 3}, "a"),
    ],
)
def test_what_is_refused_is_named_in_a1111s_words(field: str, value: Any, word: str) -> None:
    with pytest.raises(BadInput) as error:
        Recipe(**{"prompt": "a", field: value})
    assert error.value.field == word
    assert error.value.fix


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"kind": "openpose"}, "ControlNet"),
        ({"model": "None"}, "ControlNet Model"),
        ({"model": "x [d14c016b]"}, "ControlNet Model"),
        ({"model": "x\ny"}, "ControlNet Model"),
        ({"weight": 2.1}, "ControlNet Weight"),
        ({"weight": math.nan}, "ControlNet Weight"),
        ({"start": -0.1}, "ControlNet Guidance Start"),
        ({"end": 1.1}, "ControlNet Guidance End"),
        ({"start": 0.6, "end": 0.5}, "ControlNet Guidance End"),
    ],
)
def test_controls_are_checked_as_well(given: dict[str, Any], word: str) -> None:
    with pytest.raises(BadInput) as error:
        Control(**{"kind": "canny", **given})
    assert error.value.field == word
    assert error.value.fix


def test_the_ends_of_every_range_are_in_it() -> None:
    low = Recipe("", steps=1, cfg=0, image_cfg=0, strength=0, clip_skip=1, seed=-1, size=(16, 16))
    high = Recipe(
        "a" * LONGEST, steps=1000, cfg=1e6, strength=1, clip_skip=12, seed=2**32 - 1, size=(4096, 4096)
    )
    assert (low.steps, high.steps) == (1, 1000)
    assert Control("tile", weight=0, start=0, end=0).weight == 0
    assert Control("tile", weight=2, start=1, end=1).weight == 2


def test_one_form_for_what_is_equal() -> None:
    recipe = Recipe(" a\r\nb\r", "\n c ", cfg=7, strength=-0.0, loras={"x": ""}, extra={"Note": "a\nb"})
    assert (recipe.prompt, recipe.negative) == ("a\nb", "c")
    assert type(recipe.cfg) is float
    assert str(recipe.strength) == "0.0"
    assert Recipe("Steps to the house, in Steps: 3").prompt == "Steps to the house, in Steps: 3"


def test_a_recipe_is_its_own() -> None:
    given = {"Note": "a"}
    recipe = Recipe("a", extra=given)
    given["Note"] = "b"
    assert recipe.extra == {"Note": "a"}
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_every_field_has_its_word() -> None:
    assert set(KEYS) | {"prompt", "negative", "controls", "extra"} == {
        field.name for field in fields(Recipe)
    }


def test_with_seed_changes_nothing_else() -> None:
    snow = infotext.parse(SNOW)
    assert with_seed(snow, 5).seed == 5
    assert with_seed(with_seed(snow, 5), snow.seed) == snow
    with pytest.raises(BadInput, match="Seed"):
        with_seed(snow, 2**32)


@given(RECIPES, st.integers(-1, 2**32 - 1), st.randoms(use_true_random=False))
def test_the_key_knows_no_seed_and_no_order(recipe: Recipe, seed: int, chance: random.Random) -> None:
    loras, extra = list(recipe.loras.items()), list(recipe.extra.items())
    chance.shuffle(loras)
    chance.shuffle(extra)
    again = replace(recipe, seed=seed, loras=dict(loras), extra=dict(extra))
    assert key(again) == key(recipe)
    assert key(infotext.parse(infotext.text(again))) == key(recipe)


OTHERS: dict[str, Any] = {
    "prompt": "b",
    "negative": "b",
    "mode": "inpaint",
    "steps": 21,
    "sampler": "Euler",
    "cfg": 7.5,
    "image_cfg": 1.0,
    "strength": 0.0,
    "clip_skip": 2,
    "size": (500, 375),
    "model": "b",
    "model_hash": "b",
    "vae": "b",
    "vae_hash": "b",
    "loras": {"b": ""},
    "controls": (Control("canny"),),
    "extra": {"b": ""},
}


def test_every_field_but_the_seed_is_in_the_key() -> None:
    keys = {key(replace(Recipe("a"), **{name: value})) for name, value in OTHERS.items()}
    assert OTHERS.keys() | {"seed"} == {field.name for field in fields(Recipe)}
    assert len(keys | {key(Recipe("a"))}) == len(OTHERS) + 1


def test_keys_stay_what_they_are() -> None:
    assert key(Recipe("")) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of "{}"
    assert key(infotext.parse(SNOW)) == "67e6c39c4b6e3d588bf196874a62595cc8c4e17fd3e61be9ec1d4b8354cb30bb"
