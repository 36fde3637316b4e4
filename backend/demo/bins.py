"""Waste bins of four kinds, closed, open, or with more in them than they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backend.demo.canvas import Colour
from backend.demo.containers import DARK, mouth, shell
from backend.demo.heaps import crest, hang
from backend.demo.palette import choose, times
from backend.demo.solids import Face, block, corners, drum, rod, sheet
from backend.demo.stage import Place, Stage
from backend.demo.wheeled import dumpster, wheelie

_STREET: tuple[Colour, ...] = (
    (44, 64, 52),
    (52, 54, 58),
    (150, 152, 154),
    (40, 56, 84),
    (96, 78, 60),
    (206, 112, 42),
)


@dataclass(frozen=True, slots=True)
class Model:
    """A kind of bin: its footprint (width, depth) and height in metres, and its painter."""

    name: str
    width: float
    depth: float
    height: float
    paint: Callable[[Stage, Place, bool, float], None]


def round_bin(stage: Stage, place: Place, full: bool, size: float) -> None:
    """A round public bin: slatted, perforated or plain, open above or under a hood."""
    rng = stage.rng
    colour = choose(rng, _STREET, (0.85, 1.12), 240)
    radius, height = 0.27 * size, 0.88 * size
    stage.touch(place, radius * 2, radius * 2)
    style = str(rng.choice(["slats", "plain", "holes"]))
    if style == "slats":
        colour = choose(rng, ((150, 104, 64), (124, 82, 52), (100, 84, 66)), (0.85, 1.12), 240)
    gap = times(colour, 0.42)

    def stripes(angle: float) -> Colour:
        k = round(angle / (2 * np.pi) * 36)
        if style == "slats":
            return gap if k % 3 == 0 else times(colour, 1 + 0.06 * (k % 2))
        return times(colour, 0.82) if style == "holes" and k % 2 else colour

    drum(stage, place, (radius * 0.92, radius * 0.92), (0.0, 0.06), (40, 40, 42))
    drum(stage, place, (radius * 0.96, radius), (0.06, height), colour, stripes)
    band = times(colour, 0.7) if style != "slats" else (52, 54, 56)
    for y in (0.1, height * 0.5, height - 0.09):
        if style != "plain" or y > height * 0.6:
            drum(stage, place, (radius * 1.02, radius * 1.02), (y, y + 0.05), band)
    badge = place.moved(0, height * 0.68, -radius * 1.04)
    if rng.random() < 0.6:
        sheet(stage, badge, [(-0.07, -0.08), (0.07, -0.08), (0.07, 0.08), (-0.07, 0.08)], (226, 226, 216))
        sheet(stage, badge, [(-0.045, -0.04), (0.045, -0.04), (0, 0.055)], (58, 132, 80))
    hooded = rng.random() < 0.5
    drum(stage, place, (radius * 1.05, radius * 1.05), (height - 0.03, height), times(band, 1.15), top=DARK)
    if hooded:
        _hood(stage, place, radius, height, times(band, 1.2), full)
    elif full:
        crest(stage, place, radius * 1.9, radius * 1.5, height, float(rng.uniform(0.4, 1.0)))
        hang(stage, place, radius * 1.8, radius * 1.9, height)


def _hood(stage: Stage, place: Place, radius: float, height: float, colour: Colour, full: bool) -> None:
    """A roof on four legs over the opening."""
    legs = [(radius * 0.8 * sx, radius * 0.8 * sz) for sz in (1, -1) for sx in (-1, 1)]
    top = height + 0.24
    for x, z in legs[:2]:
        _leg(stage, place, x, z, height, top, colour)
    if full:
        crest(stage, place, radius * 1.7, radius * 1.2, height, 0.3)
        hang(stage, place, radius * 1.8, radius * 1.9, height)
    for x, z in legs[2:]:
        _leg(stage, place, x, z, height, top, colour)
    drum(stage, place, (radius * 1.1, radius * 1.1), (top, top + 0.04), colour)
    for k in range(4):
        low, high = 1.1 - 0.07 * k**1.6, 1.1 - 0.07 * (k + 1) ** 1.6
        span = (top + 0.04 + 0.035 * k, top + 0.04 + 0.035 * (k + 1))
        drum(
            stage,
            place,
            (radius * low, radius * max(high, 0.1)),
            span,
            times(colour, 1 + 0.05 * k),
            top=times(colour, 1.1),
        )


def _leg(stage: Stage, place: Place, x: float, z: float, low: float, high: float, colour: Colour) -> None:
    a, b = place.world(np.array([[x, low, z], [x, high, z]]))
    rod(stage, a, b, (0.035, 0.035), colour, cast=False)


def post_bin(stage: Stage, place: Place, full: bool, size: float) -> None:
    """A slim bin on a post, with a slot in front or open above."""
    rng = stage.rng
    colour = choose(rng, _STREET, (0.85, 1.12), 240)
    width, depth, low, high = 0.42 * size, 0.32 * size, 0.42 * size, 1.06 * size
    stage.touch(place, 0.2, 0.2)
    foot, top = place.world(np.array([[0, 0, depth * 0.6], [0, high + 0.14, depth * 0.6]]))
    rod(stage, foot, top, (0.08, 0.08), (96, 98, 102))
    slot = rng.random() < 0.55
    logo = rng.random() < 0.7
    if not slot:
        mouth(stage, place, (width, depth), high)
        if full:
            crest(stage, place, width * 1.05, depth, high, float(rng.uniform(0.3, 0.9)))

    def detail(face: Face) -> None:
        if face.name != "front":
            return
        face.rect(0.06, 0.03, 0.94, 0.06, times(colour, 0.7))
        if slot:
            face.rect(0.1, 0.72, 0.9, 0.92, DARK)
            face.rect(0.1, 0.9, 0.9, 0.94, times(colour, 0.6))
        if logo:
            face.rect(0.32, 0.26, 0.68, 0.56, (230, 230, 222))
            face.patch(((0.4, 0.31), (0.6, 0.31), (0.5, 0.51)), (58, 132, 80))

    wide, narrow = (width, depth), (width * 0.88, depth * 0.84)
    shell(stage, place, corners(narrow, wide, low, high), colour, detail)
    if slot:
        roof = corners((width * 1.06, depth * 1.1), (width * 0.9, depth * 0.9), high, high + 0.07)
        block(stage, place.world(roof), times(colour, 0.9), cast=False)
        if full:
            level = high - (high - low) * 0.26
            crest(stage, place.moved(0, 0, -depth * 0.62), width * 0.86, 0.1, level, 0.2)
            crest(stage, place, width * 0.8, depth * 0.6, high + 0.06, 0.2)
    if full:
        hang(stage, place, width, depth, high - (0.2 if slot else 0))


MODELS: tuple[Model, ...] = (
    Model("wheelie bin", 0.6, 0.64, 1.02, wheelie),
    Model("round bin", 0.56, 0.56, 1.15, round_bin),
    Model("dumpster", 2.0, 1.1, 1.25, dumpster),
    Model("post bin", 0.44, 0.4, 1.2, post_bin),
)
SHARES: tuple[float, ...] = (0.42, 0.24, 0.14, 0.20)
"""How often each model occurs, in the order of ``MODELS``."""
