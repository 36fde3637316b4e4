"""The vocabulary of weather and light: what each condition is called, how it is asked for, what it does.

The words are in a YAML file that people can read and extend::

    defaults: {steps: 20, sampler: DPM++ 2M Karras}   # for all conditions of this file
    conditions:
      snow:                      # a family: what its severities share
        prompt: snowy, winter
        effects: {whiteness: [0.05, .inf]}
        light: {strength: 0.35}  # the condition snow:light
        heavy: {strength: 0.55, prompt: "very snowy, (heavy snowfall:1.2)"}
      night: {prompt: (night:1.5), strength: 0.6}     # without severities: the condition night
    recipes:
      street-snow: |             # a whole infotext
        snowy, winter ...

Nothing is guessed: an unknown word or a value of the wrong kind is an error that says where it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from generator.recipe import ControlKind
from generator.statistics import NAMES
from pool.schema import BadInput

Severity = Literal["light", "moderate", "heavy"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From the mildest."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a condition must do to one statistic of an image: its change, within [low, high].

    ``statistic`` is a name of `generator.statistics`, which says what a change is; either bound may be
    infinite.
    """

    statistic: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Condition:
    """One weather of one severity (``snow:heavy``), or one light (``night``, ``severity`` None).

    ``prompt`` and ``negative`` are in A1111's syntax, LoRA tags included. ``strength`` is A1111's denoising
    strength in [0, 1]. ``instruction`` is what an InstructPix2Pix model is told. ``effects`` are what a
    gate checks.
    """

    name: str
    family: str
    severity: Severity | None
    prompt: str
    negative: str
    instruction: str
    strength: float
    steps: int
    cfg: float
    sampler: str
    clip_skip: int
    controls: tuple[ControlKind, ...]
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Conditions by name, and whole recipes as infotext by name."""

    conditions: Mapping[str, Condition]
    recipes: Mapping[str, str]


def default() -> Vocabulary:
    """The vocabulary that comes with the package: rain, snow, sandstorm, haze and five lights."""
    from importlib.resources import files

    return load(files("generator").joinpath("weather.yaml").read_text("utf-8"))


def load(text: str) -> Vocabulary:
    """The vocabulary that a YAML file holds.

    Raises BadInput, naming the place (such as ``conditions.snow.heavy.strength``), for anything that is
    not known or not of the right kind, for what is there twice, and for a condition without a prompt or
    a strength.
    """
    return extended(Vocabulary({}, {}), text)


def extended(base: Vocabulary, text: str) -> Vocabulary:
    """``base`` with the conditions and recipes of a file, which replace those of the same name.

    Settings that the file does not name stay as they are in ``base``; an effect that a condition is to
    lose means naming all ``effects`` that it shall have. Raises BadInput as `load` does.
    """
    content = _parsed(text)
    given = _mapping({} if content is None else content, "the file", ("defaults", "conditions", "recipes"))
    shared = _settings(given.get("defaults", {}), "defaults")
    conditions = dict(base.conditions)
    for family, own in _named(given.get("conditions", {}), "conditions").items():
        for condition in _family(family, own, shared, conditions):
            conditions[condition.name] = condition
    recipes = {
        name: _text(recipe, f"recipes.{name}")
        for name, recipe in _named(given.get("recipes", {}), "recipes").items()
    }
    return Vocabulary(conditions, {**base.recipes, **recipes})


def select(vocabulary: Vocabulary, words: Sequence[str]) -> list[Condition]:
    """The conditions that ``words`` name, in their order, each once.

    A word is a condition (``snow:heavy``, ``night``), a family, which is all its severities (``snow``), or
    ``all``. Raises BadInput for any other word.
    """
    found: dict[str, Condition] = {}
    for word in words:
        matches = {k: c for k, c in vocabulary.conditions.items() if word in ("all", k, c.family)}
        if not matches:
            known = [*vocabulary.conditions, *(c.family for c in vocabulary.conditions.values()), "all"]
            raise BadInput("condition", "a known weather or light", word, _nearest(word, known))
        found |= matches
    return list(found.values())


def _family(
    family: str, given: Any, shared: Mapping[str, Any], known: Mapping[str, Condition]
) -> list[Condition]:
    """The condition or the severities of one entry under ``conditions``."""
    where = f"conditions.{family}"
    if ":" in family or family in ("all", *SEVERITIES):
        raise BadInput(where, "named by a word of its own, without a colon", family, "Choose another name.")
    own = _mapping(given, where, (*_CHECKS, *SEVERITIES))
    common = _settings({k: v for k, v in own.items() if k not in SEVERITIES}, where)
    named = [severity for severity in SEVERITIES if severity in own]
    if not named:
        return [_condition(family, family, None, (shared, common), known.get(family), where)]
    out: list[Condition] = []
    for severity in named:
        place, name = f"{where}.{severity}", f"{family}:{severity}"
        layers = (shared, common, _settings(own[severity], place))
        out.append(_condition(name, family, severity, layers, known.get(name), place))
    return out


def _condition(
    name: str,
    family: str,
    severity: Severity | None,
    layers: Sequence[Mapping[str, Any]],
    old: Condition | None,
    where: str,
) -> Condition:
    """Later layers win over earlier ones, all of them over ``old``; their effects add up."""
    start: dict[str, Any] = {**_START, "instruction": name.replace(":", " ")}
    if old is not None:
        start = {f.name: getattr(old, f.name) for f in fields(old)}
    effects: dict[str, Effect] = {}
    for layer in layers:
        start |= layer
        effects |= {effect.statistic: effect for effect in layer.get("effects", ())}
    if any("effects" in layer for layer in layers):
        start["effects"] = tuple(effects.values())
    for key in ("prompt", "strength"):
        if key not in start:
            raise BadInput(f"{where}.{key}", "given", None, f"Add {key}: to {name} or to its family.")
    return Condition(**{**start, "name": name, "family": family, "severity": severity})


def _settings(given: Any, where: str) -> dict[str, Any]:
    """The checked fields of a condition that a mapping holds."""
    return {
        key: _CHECKS[key](value, f"{where}.{key}") for key, value in _mapping(given, where, _CHECKS).items()
    }


def _parsed(text: str) -> Any:
    import yaml

    try:
        _once(yaml.compose(text, Loader=yaml.SafeLoader), "")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = "the file" if mark is None else f"line {mark.line + 1}"
        raise BadInput(place, "YAML", getattr(error, "problem", str(error))) from error


def _once(node: Any, where: str) -> None:
    """Refuse a name that a mapping has twice, of which YAML would silently keep the last."""
    if node is None or node.id != "mapping":
        return
    seen: set[str] = set()
    for key, value in node.value:
        place = f"{where}.{key.value}".lstrip(".")
        if key.id == "scalar" and key.value in seen:
            raise BadInput(place, "there once", key.value, f"Line {key.start_mark.line + 1} has it again.")
        if key.id == "scalar":
            seen.add(key.value)
        _once(value, place)


def _mapping(given: Any, where: str, known: Sequence[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    for key in _named(given, where):
        if key not in known:
            raise BadInput(f"{where}.{key}", f"one of {', '.join(known)}", key, _nearest(key, list(known)))
    return dict(given)


def _named(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise BadInput(where, "settings by name", given, "Write name: value, one on each line.")
    for key in given:
        if not isinstance(key, str) or not key.strip():
            raise BadInput(where, "made of names", key, "Put it in quotes.")
    return given


def _nearest(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known: {', '.join(dict.fromkeys(known))}."


def _text(given: Any, where: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise BadInput(where, "text", given, "Put it in quotes.")
    return given.strip()


def _negative(given: Any, where: str) -> str:
    return "" if given == "" else _text(given, where)


def _number(low: float, high: float, whole: bool = False) -> Callable[[Any, str], float]:
    def check(given: Any, where: str) -> float:
        sound = isinstance(given, int if whole else int | float) and not isinstance(given, bool)
        if not sound or not low <= given <= high:
            raise BadInput(where, f"a {'whole ' if whole else ''}number from {low:g} to {high:g}", given)
        return int(given) if whole else float(given)

    return check


def _controls(given: Any, where: str) -> tuple[ControlKind, ...]:
    kinds = get_args(ControlKind)
    if (
        not isinstance(given, list)
        or any(kind not in kinds for kind in given)
        or len({*given}) < len(given)
    ):
        raise BadInput(where, f"a list of {', '.join(kinds)}, each at most once", given)
    return tuple(given)


def _effects(given: Any, where: str) -> tuple[Effect, ...]:
    bound = _number(float("-inf"), float("inf"))
    out: list[Effect] = []
    for statistic, bounds in _mapping(given, where, NAMES).items():
        place = f"{where}.{statistic}"
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise BadInput(
                place, "two numbers, [low, high]", bounds, "Write [0.1, .inf] for no upper bound."
            )
        low, high = (bound(value, place) for value in bounds)
        if low >= high:
            raise BadInput(place, "the lower bound and then a higher one", bounds)
        out.append(Effect(statistic, low, high))
    return tuple(out)


_CHECKS: Mapping[str, Callable[[Any, str], Any]] = {
    "prompt": _text,
    "negative": _negative,
    "instruction": _text,
    "strength": _number(0, 1),
    "steps": _number(1, 1000, whole=True),
    "cfg": _number(0, 100),
    "sampler": _text,
    "clip_skip": _number(1, 12, whole=True),
    "controls": _controls,
    "effects": _effects,
}
_START: Mapping[str, Any] = {
    "negative": "",
    "steps": 20,
    "cfg": 7.0,
    "sampler": "DPM++ 2M Karras",
    "clip_skip": 1,
    "controls": (),
    "effects": (),
}
