"""The vocabulary that comes with the package, files of one's own, and everything that is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.statistics import NAMES
from generator.weather import SEVERITIES, Condition, Effect, Vocabulary, default, extended, load, select
from pool.schema import BadInput

MINE = """
defaults: {steps: 30, negative: 模糊}
conditions:
  雪:
    prompt: 雪
    effects: {whiteness: [0.1, .inf], warmth: [-1, 0]}
    light: {strength: 0.3}
    heavy: {strength: 0.6, prompt: 大雪, effects: {whiteness: [0.3, 1]}}
  fog: {prompt: fog, strength: 0.5, controls: [depth, canny], instruction: make it foggy}
recipes: {mine: "fog\\nSteps: 20"}
"""


def test_the_package_knows_four_weathers_of_three_severities_and_five_lights() -> None:
    vocabulary = default()
    weathers = [f"{family}:{s}" for family in ("rain", "snow", "sandstorm", "haze") for s in SEVERITIES]
    lights = ["dim", "dusk", "street lamp", "night", "glare"]
    assert list(vocabulary.conditions) == weathers + lights
    for name, condition in vocabulary.conditions.items():
        assert condition.name == name
        assert condition.instruction == name.replace(":", " ")
        assert (condition.severity is None) == (name in lights)
        assert (condition.steps, condition.cfg, condition.clip_skip) == (20, 7.0, 2)
        assert condition.sampler == "DPM++ 2M Karras"
        assert 0.2 <= condition.strength <= 0.7
        assert "<lora:" not in condition.prompt + condition.negative
        assert condition.effects, name
        assert {e.statistic for e in condition.effects} <= set(NAMES)


def test_stronger_weather_gives_up_more_of_the_picture() -> None:
    conditions = default().conditions
    for family in ("rain", "snow", "sandstorm", "haze"):
        strengths = [conditions[f"{family}:{s}"].strength for s in SEVERITIES]
        assert strengths == sorted(set(strengths))


def test_the_named_recipes_are_whole_infotexts() -> None:
    recipes = default().recipes
    assert set(recipes) == {"street-snow", "street-night"}
    for text in recipes.values():
        _, negative, settings_ = text.split("\n")
        assert negative.startswith("Negative prompt: ")
        assert settings_.startswith("Steps: 20, Sampler: DPM++ ")
    assert "<lora:snowfall:0.8>" in recipes["street-snow"]
    assert 'Lora hashes: "snowfall: f8324b7af7d9"' in recipes["street-snow"]


def test_a_file_is_read_field_by_field() -> None:
    vocabulary = load(MINE)
    assert list(vocabulary.conditions) == ["雪:light", "雪:heavy", "fog"]
    assert vocabulary.conditions["雪:heavy"] == Condition(
        name="雪:heavy",
        family="雪",
        severity="heavy",
        prompt="大雪",
        negative="模糊",
        instruction="雪 heavy",
        strength=0.6,
        steps=30,
        cfg=7.0,
        sampler="DPM++ 2M Karras",
        clip_skip=1,
        controls=(),
        effects=(Effect("whiteness", 0.3, 1.0), Effect("warmth", -1.0, 0.0)),
    )
    assert vocabulary.conditions["雪:light"].effects[0] == Effect("whiteness", 0.1, math.inf)
    assert vocabulary.conditions["fog"].controls == ("depth", "canny")
    assert vocabulary.conditions["fog"].instruction == "make it foggy"
    assert vocabulary.recipes == {"mine": "fog\nSteps: 20"}


def test_an_empty_file_holds_nothing() -> None:
    assert load("") == load("{}") == Vocabulary({}, {})


def test_a_file_of_ones_own_adds_and_replaces() -> None:
    base = default()
    more = extended(
        base, "conditions: {snow: {heavy: {strength: 0.7}}, smoke: {prompt: smoke, strength: 0.5}}"
    )
    old, new = base.conditions["snow:heavy"], more.conditions["snow:heavy"]
    assert (new.strength, new.prompt, new.effects) == (0.7, old.prompt, old.effects)
    assert new.clip_skip == 2
    assert list(more.conditions) == [*base.conditions, "smoke"]
    assert more.conditions["snow:light"] is base.conditions["snow:light"]
    assert more.recipes == base.recipes
    assert base == default()


def test_effects_of_ones_own_replace_all_that_were() -> None:
    more = extended(
        default(), "conditions: {night: {effects: {brightness: [-1, -0.3]}}, dim: {effects: {}}}"
    )
    assert more.conditions["night"].effects == (Effect("brightness", -1.0, -0.3),)
    assert more.conditions["dim"].effects == ()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["snow:heavy"], ["snow:heavy"]),
        (["snow"], ["snow:light", "snow:moderate", "snow:heavy"]),
        (["night", "haze:light"], ["night", "haze:light"]),
        (["snow:heavy", "snow"], ["snow:heavy", "snow:light", "snow:moderate"]),
        (["all"], list(default().conditions)),
        ([], []),
    ],
)
def test_words_name_conditions_families_or_all(words: list[str], names: list[str]) -> None:
    assert [c.name for c in select(default(), words)] == names


@pytest.mark.parametrize(
    ("word", "meant"), [("snow:hevy", "snow:heavy"), ("nigth", "night"), ("Rain", "rain")]
)
def test_a_slip_of_the_pen_is_told_what_was_meant(word: str, meant: str) -> None:
    with pytest.raises(BadInput, match=f"Did you mean {meant}"):
        select(default(), [word])
    with pytest.raises(BadInput, match="Known: rain:light"):
        select(default(), ["#"])


REFUSED: list[tuple[str, str]] = [
    ("[1]", "the file"),
    ("condition: {}", "the file.condition"),
    ("conditions: []", "conditions"),
    ("conditions: {1: {}}", "conditions"),
    ("conditions: {snow: heavy}", "conditions.snow"),
    ("conditions: {snow: {heavy: 3}}", "conditions.snow.heavy"),
    ("conditions: {snow: {prompt: a, heavy: {strenght: 1}}}", "conditions.snow.heavy.strenght"),
    ("conditions: {snow: {prompt: a, heavy: {strength: 1.1}}}", "conditions.snow.heavy.strength"),
    ("conditions: {snow: {prompt: a, heavy: {strength: true}}}", "conditions.snow.heavy.strength"),
    ("conditions: {snow: {prompt: a, heavy: {strength: .nan}}}", "conditions.snow.heavy.strength"),
    ("conditions: {snow: {prompt: a, heavy: {strength: '0.5'}}}", "conditions.snow.heavy.strength"),
    ("conditions: {snow: {prompt: a, heavy: {}}}", "conditions.snow.heavy.strength"),
    ("conditions: {fog: {strength: 0.5}}", "conditions.fog.prompt"),
    ("conditions: {fog: {prompt: ' ', strength: 0.5}}", "conditions.fog.prompt"),
    ("conditions: {fog: {prompt: 3, strength: 0.5}}", "conditions.fog.prompt"),
    ("conditions: {fog: {steps: 2.5}}", "conditions.fog.steps"),
    ("conditions: {fog: {steps: 0}}", "conditions.fog.steps"),
    ("conditions: {fog: {clip_skip: 13}}", "conditions.fog.clip_skip"),
    ("conditions: {fog: {cfg: -1}}", "conditions.fog.cfg"),
    ("conditions: {fog: {controls: canny}}", "conditions.fog.controls"),
    ("conditions: {fog: {controls: [pose]}}", "conditions.fog.controls"),
    ("conditions: {fog: {controls: [[canny]]}}", "conditions.fog.controls"),
    ("conditions: {fog: {controls: [canny, canny]}}", "conditions.fog.controls"),
    ("conditions: {fog: {effects: [haze]}}", "conditions.fog.effects"),
    ("conditions: {fog: {effects: {mist: [0, 1]}}}", "conditions.fog.effects.mist"),
    ("conditions: {fog: {effects: {haze: 1}}}", "conditions.fog.effects.haze"),
    ("conditions: {fog: {effects: {haze: [0, 1, 2]}}}", "conditions.fog.effects.haze"),
    ("conditions: {fog: {effects: {haze: [1, 0]}}}", "conditions.fog.effects.haze"),
    ("conditions: {fog: {effects: {haze: [.nan, 0]}}}", "conditions.fog.effects.haze"),
    ("conditions: {fog: {effects: {haze: [low, 0]}}}", "conditions.fog.effects.haze"),
    ("conditions: {all: {prompt: a, strength: 1}}", "conditions.all"),
    ("conditions: {heavy: {prompt: a, strength: 1}}", "conditions.heavy"),
    ("conditions: {'a:b': {prompt: a, strength: 1}}", "conditions.a:b"),
    ("conditions: {fog: {prompt: a, prompt: b}}", "conditions.fog.prompt"),
    ("conditions: {fog: {}}\nconditions: {}", "conditions"),
    ("defaults: {steps: no}", "defaults.steps"),
    ("defaults: {light: {}}", "defaults.light"),
    ("recipes: {a: [b]}", "recipes.a"),
    ("recipes: [a]", "recipes"),
    ("a: [", "line 1"),
    ("a: !!python/object:os.system {}", "line 1"),
    ("a: 2026-99-99", "the file"),
]


@pytest.mark.parametrize(("text", "place"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_is_not_known_is_refused_by_its_place(text: str, place: str) -> None:
    with pytest.raises(BadInput) as error:
        load(text)
    assert error.value.field == place


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["defaults", "conditions", "recipes", "snow", "heavy", "prompt", "effects", "haze"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(JUNK)
def test_any_yaml_is_read_or_refused(content: Any) -> None:
    try:
        vocabulary = load(yaml.safe_dump(content, allow_unicode=True))
    except BadInput as error:
        assert str(error)  # noqa: PT017
    else:
        assert all(c.name == name for name, c in vocabulary.conditions.items())
