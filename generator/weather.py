"""The vocabulary of weather and light: what each condition is called, how it is asked for, what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from generator.recipe import ControlKind

Severity = Literal["light", "moderate", "heavy"]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a condition must do to one statistic of an image: variant minus parent, within [low, high].

    ``statistic`` is a name of `generator.statistics`; either bound may be infinite.
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
