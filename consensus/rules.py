"""Drawing guidelines: a YAML file that people can read, and the typed settings that `guidelines` checks.

A rule file says what is a violation, what somebody should look at, and what nobody minds::

    name: waste bins
    labels: [bin, garbage]
    least_visible: 30 %        # an object of which less can be seen may be left out
    rules:
      rotated: violation       # short for {severity: violation}
      overlap: off
      tight: {severity: check, share: 10 %, pixels: 4, text: Draw to the outermost pixel.}
      size:
        severity: check
        limits:
          bin: {min_width: 8 px, max_area: 60 %, max_aspect: 4}

Rules that the file does not name keep the settings of `DEFAULT`, which suit any project. Nothing is
guessed: an unknown word, a number out of range or a limit without its unit is an error that says what
to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from consensus import values
from consensus.borders import PIXELS, SHARE
from consensus.slips import COVERED, MATCHED, SAME, VISIBLE
from pool.schema import BadInput

Severity = Literal["violation", "check", "off"]
"""A violation is against the guidelines, a check is for a person to look at, off is never reported."""

Side = Literal["width", "height", "area", "aspect"]

SEVERITIES: Mapping[Any, Severity] = {
    "violation": "violation",
    "check": "check",
    "off": "off",
    False: "off",
}
"""YAML reads a bare ``off`` as False."""

SIDES: tuple[Side, ...] = ("width", "height", "area", "aspect")
LIMITS = {
    f"{word}_{side}": (side, most) for side in SIDES for word, most in (("min", False), ("max", True))
}


def _share(value: float) -> Any:
    """A setting above 0 and at most 1, which files may also give in percent."""
    return field(default=value, metadata={"share": True})


def _pixels(value: float) -> Any:
    """A setting of 0 or more."""
    return field(default=value, metadata={"zero": True})


@dataclass(frozen=True, slots=True)
class Rule:
    """How much a rule weighs; ``text`` is shown to people after what is wrong."""

    severity: Severity = "violation"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Whole(Rule):
    """One object, one box: ``covered`` and ``matched`` as in `slips.merged` and `slips.split`."""

    covered: float = _share(COVERED)
    matched: float = _share(MATCHED)


@dataclass(frozen=True, slots=True)
class Once(Rule):
    """Nothing is drawn twice: ``iou`` from which two boxes of one person are one."""

    iou: float = _share(SAME)


@dataclass(frozen=True, slots=True)
class Tight(Rule):
    """Edges where the others see them.

    An edge is off where it is further from the middle one of the others' edges, or the nearer of the two
    middle ones, than ``share`` of the side and than ``pixels``; in an image of unknown size the share
    alone counts. At least ``others`` people must have drawn the object besides.

    A check, not a violation, unless a project says otherwise: careful people are off by that much more
    often than one expects, and the others may be wrong. Of 6,319 real boxes by crowd workers 53 % were;
    who draws too wide as a habit is better seen from `edges.edges`.
    """

    severity: Severity = "check"
    share: float = _share(0.1)
    pixels: float = _pixels(4.0)
    others: int = 2


@dataclass(frozen=True, slots=True)
class Overlap(Rule):
    """Boxes of one person apart from each other, where different objects must not overlap at all.

    ``share`` of the smaller box from which an overlap is one.
    """

    severity: Severity = "off"
    share: float = _share(0.05)


@dataclass(frozen=True, slots=True)
class Inside(Rule):
    """No further beyond the image than ``pixels``, or ``share`` of it where its size is unknown."""

    pixels: float = _pixels(PIXELS)
    share: float = _share(SHARE)


@dataclass(frozen=True, slots=True)
class Limit:
    """A least or greatest (``most``) ``value`` of a box's side.

    In pixels (``px``; an area in square pixels), or as a share in [0, 1] of the image's (``%``); an
    aspect is width / height in pixels and has no unit.
    """

    side: Side
    most: bool
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Size(Rule):
    """``limits`` of the boxes of each label."""

    severity: Severity = "check"
    limits: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Aspect(Rule):
    """Width / height unlike that of other boxes of the label.

    ``spread`` is the least distance of its logarithm from the label's median, in units of 1.4826 x the
    median absolute deviation (Iglewicz and Hoaglin 1993); ``boxes`` the least number of boxes by which
    a label is known.
    """

    severity: Severity = "check"
    spread: float = 5.0
    boxes: int = 20


@dataclass(frozen=True, slots=True)
class Rules:
    """What a project asks of its boxes.

    ``labels`` are those the rules were written for, empty for any. Objects of which less than
    ``least_visible`` can be seen, a share in (0, 1], may be left out. Every other field is a rule.
    """

    name: str = "general"
    labels: tuple[str, ...] = ()
    least_visible: float = VISIBLE
    rotated: Rule = field(default_factory=Rule)
    merged: Whole = field(default_factory=Whole)
    split: Whole = field(default_factory=Whole)
    duplicate: Once = field(default_factory=Once)
    tight: Tight = field(default_factory=Tight)
    overlap: Overlap = field(default_factory=Overlap)
    unnamed: Rule = field(default_factory=Rule)
    outside: Inside = field(default_factory=Inside)
    broken: Rule = field(default_factory=Rule)
    size: Size = field(default_factory=Size)
    aspect: Aspect = field(default_factory=Aspect)

    @property
    def rules(self) -> dict[str, Rule]:
        """Every rule by name."""
        return {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Rule)}


DEFAULT = Rules()
"""The general rules: one tight upright box for each object, named, inside the image; overlap allowed."""


def load(text: str, name: str = "rules.yaml") -> Rules:
    """The rules that a YAML file holds.

    Args:
        text: the file's content.
        name: of the file, for errors; and of the rules, where the file gives them none.

    Raises:
        BadInput: not YAML, or anything in it that is not known or not of the right kind.
    """
    content = values.parsed(text, name)
    keys = ("name", "labels", "least_visible", "rules")
    given = values.mapping({} if content is None else content, name, keys)
    labels = values.names(given.get("labels", []), f"{name}: labels")
    chosen = values.mapping(given.get("rules", {}), f"{name}: rules", DEFAULT.rules)
    changed: dict[str, Any] = {
        key: _rule(DEFAULT.rules[key], setting, f"{name}: rules.{key}", labels)
        for key, setting in chosen.items()
    }
    return Rules(
        name=values.text(given.get("name", name), f"{name}: name"),
        labels=labels,
        least_visible=values.share(given.get("least_visible", VISIBLE), f"{name}: least_visible"),
        **changed,
    )


def suited(rules: Rules, labels: Iterable[str | None]) -> Rules:
    """``rules`` where they were written for any of a project's labels or for all, else `DEFAULT`."""
    return rules if not rules.labels or set(rules.labels) & set(labels) else DEFAULT


def _rule(rule: Rule, given: Any, where: str, labels: Sequence[str]) -> Rule:
    """The rule with what a file says about it."""
    if not isinstance(given, Mapping):
        return replace(rule, severity=_severity(given, where))
    settings = {f.name: f for f in fields(rule)}
    changes: dict[str, Any] = {}
    for key, value in values.mapping(given, where, settings).items():
        place, kind = f"{where}.{key}", settings[key].metadata
        if key == "severity":
            changes[key] = _severity(value, place)
        elif key == "text":
            changes[key] = values.text(value, place)
        elif key == "limits":
            changes[key] = _limits(value, place, labels)
        elif kind.get("share"):
            changes[key] = values.share(value, place)
        else:
            whole = isinstance(getattr(rule, key), int)
            changes[key] = values.number(value, place, whole, zero=bool(kind.get("zero")))
    return replace(rule, **changes)


def _severity(given: Any, where: str) -> Severity:
    if isinstance(given, str | bool) and given in SEVERITIES:
        return SEVERITIES[given]
    raise BadInput(where, "violation, check or off", given, "Or settings by name, severity among them.")


def _limits(given: Any, where: str, labels: Sequence[str]) -> dict[str, tuple[Limit, ...]]:
    anything = values.names(list(given), where) if isinstance(given, Mapping) else ()
    limits = {}
    for label, bounds in values.mapping(given, where, labels or anything).items():
        place = f"{where}.{label}"
        chosen = values.mapping(bounds, place, LIMITS)
        limits[label] = tuple(_limit(key, chosen[key], f"{place}.{key}") for key in LIMITS if key in chosen)
        lows = {(one.side, one.unit): one.value for one in limits[label] if not one.most}
        for one in limits[label]:
            if one.most and lows.get((one.side, one.unit), 0.0) > one.value:
                least = f"at least min_{one.side}"
                raise BadInput(f"{place}.max_{one.side}", least, chosen[f"max_{one.side}"], "Swap the two.")
    return limits


def _limit(key: str, given: Any, where: str) -> Limit:
    side, most = LIMITS[key]
    if side == "aspect":
        return Limit(side, most, values.number(given, where), "")
    value, unit = values.measure(given, where)
    return Limit(side, most, value, unit)
