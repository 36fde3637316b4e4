"""Values as people and programs write them, quoted or not: settings, and ControlNets in a setting."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator import infotext, pairs
from generator.infotext import parse
from generator.recipe import Control, Recipe
from pool.schema import BadInput
from tests.generator.recipes import EXTRA


def test_a_value_nobody_quoted_is_whole() -> None:
    recipe = parse(
        'a\nSteps: 20, Wildcard: red, green, "blue", Model: [x] y, Note: "open, Seed: 3, Tail: {a, b'
    )
    assert recipe.extra == {"Wildcard": 'red, green, "blue"', "Note": '"open', "Tail": "{a, b"}
    assert (recipe.model, recipe.seed) == ("[x] y", 3)
    assert parse('a\nSteps: 20, Note: "b" c, Seed: 3') == replace(
        Recipe("a", mode="txt2img", seed=3), extra={"Note": '"b" c'}
    )


def test_json_is_kept_as_it_is_written() -> None:
    note = '{"say": "a, b: c", "to": ["d"]}'
    recipe = parse(f"a\nSteps: 20, Note: {note}, Seed: 3")
    assert (recipe.extra, recipe.seed) == ({"Note": note}, 3)


@pytest.mark.parametrize(
    ("unit", "control"),
    [
        (
            "Module: none, Model: control_v11f1e_sd15_tile, Weight: 0.6",
            Control("tile", "control_v11f1e_sd15_tile", 0.6),
        ),
        ("Module: none, Model: bleached_tile", Control("tile", "bleached_tile")),
        ("Module: softedge_hed, Model: None", Control("soft edge")),
        ("Module: pidinet, Model: x", Control("soft edge", "x")),
        ("Module: None, Model: control_hed-fp16 [13fee50b]", Control("soft edge", "control_hed-fp16")),
        (
            "preprocessor: canny, model: c [d14c016b], weight: 1, starting/ending: (0.1, 0.9), resize "
            "mode: Crop and Resize, pixel perfect: False, preprocessor params: (512, 75, 75)",
            Control("canny", "c", 1.0, 0.1, 0.9),
        ),
    ],
)
def test_controlnets(unit: str, control: Control) -> None:
    assert parse(f'a\nSteps: 20, ControlNet 0: "{unit}"').controls == (control,)
    assert parse(f'a\nSteps: 20, ControlNet: "{unit}", Seed: 3').controls == (control,)


def test_controlnets_stand_in_the_order_of_their_numbers() -> None:
    units = (
        'ControlNet 10: "Module: tile", ControlNet 1: "Module: canny", ControlNet 2: "Module: depth_midas"'
    )
    assert [control.kind for control in parse(f"a\nSteps: 20, {units}").controls] == [
        "canny",
        "depth",
        "tile",
    ]


def test_a_controlnet_as_it_is_written() -> None:
    recipe = Recipe("a", strength=0.5, controls=(Control("depth", "d", 0.5, 0.25), Control("tile")))
    assert infotext.text(recipe).endswith(
        'Denoising strength: 0.5, ControlNet 0: "Module: depth_midas, Model: d, Weight: 0.5, '
        'Guidance Start: 0.25, Guidance End: 1", ControlNet 1: "Module: tile_resample, Model: None, '
        'Weight: 1, Guidance Start: 0, Guidance End: 1"'
    )


@pytest.mark.parametrize("part", [" ", ",", "a,", "a: ", 'a: "', "a: {", ',，"', "a ", "\t", "\nb: 1", "["])
def test_hostile_infotexts_end(part: str) -> None:
    text = "Steps: 1, x: " + part * (20_000 // len(part))
    assert parse(text).steps == 1


@pytest.mark.parametrize("part", [" ", ",", ",a", "[a", " [a", "(", "(,", "a "])
def test_hostile_values_end(part: str) -> None:
    value = "(" + part * 100_000 + "x"
    for settings in (
        {"Lora hashes": value},
        {"ControlNet 0": pairs.join({"preprocessor": "x", "starting/ending": value})},
    ):
        with pytest.raises(BadInput):
            parse("Steps: 1, " + pairs.join(settings))
    unit = pairs.join({"Module": "tile", "Model": value})
    assert parse("Steps: 1, " + pairs.join({"ControlNet 0": unit})).controls == (Control("tile", value),)


@given(EXTRA, st.sampled_from([", ", ",", "，"]))
def test_pairs_come_back_whatever_comma_parts_them(settings: dict[str, str], comma: str) -> None:
    line = comma.join(pairs.join({key: value}) for key, value in settings.items())
    assert pairs.split(line) == settings
