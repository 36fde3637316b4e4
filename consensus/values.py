"""Values of a file that people write, checked: every error says where it is, and what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pool.schema import BadInput

MEASURE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(px|%)\s*")


def parsed(text: str, name: str) -> Any:
    """The content of a YAML file, by the safe loader; names that are there twice are an error."""
    import yaml

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} twice", problem_mark=key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader=Strict)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = name if mark is None else f"{name}, line {mark.line + 1}"
        raise BadInput(place, "YAML with each name once", getattr(error, "problem", str(error))) from error


def measure(given: Any, where: str) -> tuple[float, str]:
    """A number with its unit: pixels (``px``), or a share (``%``), as a number of which 1 is the whole."""
    match = MEASURE.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise BadInput(where, "a number with its unit", given, "Write 12 px, or 40 % of the image.")
    return float(match[1]) / (100.0 if match[2] == "%" else 1.0), match[2]


def share(given: Any, where: str) -> float:
    """A share above 0 and at most 1, also in percent."""
    match = MEASURE.fullmatch(given) if isinstance(given, str) else None
    value = float(match[1]) / 100.0 if match is not None and match[2] == "%" else given
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value <= 1.0:
        raise BadInput(where, "a share above 0 and at most 1", given, "Write 0.3, or 30 %.")
    return float(value)


def number(given: Any, where: str, whole: bool = False, zero: bool = False) -> float:
    """A finite number above 0, or also 0."""
    kind = f"{'a whole number' if whole else 'a number'} {'of 0 or more' if zero else 'above 0'}"
    sound = isinstance(given, int if whole else int | float) and not isinstance(given, bool)
    if not sound or not (0 < given < float("inf") or (zero and given == 0)):
        raise BadInput(where, kind, given, "Write it without quotes and without a unit.")
    return int(given) if whole else float(given)


def text(given: Any, where: str) -> str:
    """Text that is not empty, without space around it."""
    if not isinstance(given, str) or not given.strip():
        raise BadInput(where, "text", given, "Put it in quotes.")
    return given.strip()


def names(given: Any, where: str) -> tuple[str, ...]:
    """A list of different names."""
    if not isinstance(given, list):
        raise BadInput(where, "a list of names", given, "Write [one, another].")
    for name in given:
        if not isinstance(name, str) or not name:
            raise BadInput(where, "a list of names", name, "Put it in quotes.")
    if len(set(given)) < len(given):
        raise BadInput(where, "a list of different names", given, "Name each once.")
    return tuple(given)


def mapping(given: Any, where: str, known: Iterable[str]) -> Mapping[str, Any]:
    """Settings by name, all of them ``known``."""
    if not isinstance(given, Mapping):
        raise BadInput(where, "settings by name", given, "Write name: value, one on each line.")
    allowed = list(known)
    for key in given:
        if key not in allowed:
            raise BadInput(where, f"made of {', '.join(allowed)}", key, nearest(key, allowed))
    return given


def nearest(given: object, known: Sequence[str]) -> str:
    """What to do about an unknown name."""
    close = difflib.get_close_matches(str(given), known, n=1)
    return f"Did you mean {close[0]}?" if close else "Remove it, or correct it."
