"""Pieces of rubbish: bags, boxes, bottles, cups and paper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backend.demo.canvas import Colour
from backend.demo.palette import choose
from backend.demo.solids import Face, Skin, bag, box, sheet
from backend.demo.stage import Place, Stage

BAGS: tuple[Skin, ...] = (
    Skin((46, 47, 52), 0.62, 0.75),
    Skin((38, 40, 46), 0.7, 0.8),
    Skin((92, 96, 102), 0.5, 0.7),
    Skin((224, 225, 226), 0.25, 0.5),
    Skin((70, 100, 150), 0.4, 0.65),
    Skin((212, 202, 168), 0.3, 0.55),
    Skin((116, 142, 120), 0.4, 0.6),
)
BAG_SHARES = (0.3, 0.22, 0.14, 0.16, 0.08, 0.06, 0.04)
_CARDS: tuple[Colour, ...] = ((188, 148, 100), (172, 132, 88), (202, 166, 118), (214, 206, 192))
_BRIGHT: tuple[Colour, ...] = (
    (204, 54, 46),
    (44, 102, 178),
    (236, 190, 60),
    (58, 140, 82),
    (226, 120, 44),
    (230, 230, 226),
)


def pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """One of these colours, a little darker or lighter."""
    return choose(rng, colours, (0.88, 1.08), 245)


def sack(stage: Stage, at: Place, size: float, skin: Skin | None = None) -> None:
    """A tied rubbish bag about ``size`` metres wide."""
    rng = stage.rng
    skin = skin or BAGS[int(rng.choice(len(BAGS), p=BAG_SHARES))]
    height = size * rng.uniform(0.72, 1.0)
    lean = rng.uniform(-0.25, 0.25)
    top = Place(at.x + lean * size * 0.4, at.z, 0, at.y + height * 0.92)
    r, g, b = skin.colour
    ears = size * 0.2
    knot = [
        (-0.3 * ears, -0.5 * ears),
        (0.3 * ears, -0.5 * ears),
        (0.2 * ears, 0.1 * ears),
        (0.9 * ears, 0.8 * ears),
        (0.25 * ears, 0.62 * ears),
        (-0.2 * ears, 1.0 * ears),
        (-0.3 * ears, 0.6 * ears),
        (-0.8 * ears, 0.6 * ears),
        (-0.2 * ears, 0.1 * ears),
    ]
    sheet(stage, top, knot, (r * 0.9 + 8, g * 0.9 + 8, b * 0.9 + 8), -lean)
    bag(stage, at, (size, height), skin)


def carton(stage: Stage, at: Place, size: float) -> None:
    """A cardboard box, mostly with open flaps."""
    rng = stage.rng
    colour = pick(rng, _CARDS)
    width, height, depth = (
        size * rng.uniform(0.9, 1.3),
        size * rng.uniform(0.55, 0.9),
        size * rng.uniform(0.7, 1.0),
    )
    tape = (min(colour[0] * 1.16, 240), min(colour[1] * 1.16, 236), min(colour[2] * 1.16, 226))
    dark = (colour[0] * 0.45, colour[1] * 0.45, colour[2] * 0.45)
    is_open = rng.random() < 0.6

    def detail(face: Face) -> None:
        if face.name == "top":
            if is_open:
                face.rect(0.05, 0.06, 0.95, 0.94, dark)
            else:
                face.rect(0, 0.45, 1, 0.55, tape)
        elif not is_open:
            face.rect(0.44, 0.72, 0.56, 1, tape)
        if face.name == "front":
            face.rect(0.12, 0.14, 0.34, 0.38, (colour[0] * 0.8, colour[1] * 0.78, colour[2] * 0.76))

    box(stage, at, (width, height, depth), colour, detail)
    if is_open:
        for side in (-1, 1):
            fold, lift = rng.uniform(0.2, 0.42) * width, rng.uniform(-0.1, 0.16)
            hinge = side * width / 2
            flap = np.array(
                [
                    (hinge, height, -depth / 2),
                    (hinge, height, depth / 2),
                    (hinge + side * fold, height + lift, depth / 2),
                    (hinge + side * fold, height + lift, -depth / 2),
                ]
            )
            up = np.array([0.0, 1.0, 0.0])
            stage.surface(
                at.world(flap), (colour[0] * 0.94, colour[1] * 0.94, colour[2] * 0.94), up, (1, 1)
            )


def paper(stage: Stage, at: Place, size: float) -> None:
    """A crumpled sheet."""
    rng = stage.rng
    turn = np.sort(rng.uniform(0, 2 * np.pi, 9))
    reach = size * rng.uniform(0.28, 0.56, 9)
    shape = [
        (float(r * np.cos(t)), float(r * np.sin(t)) * 0.6 + size * 0.2)
        for r, t in zip(reach, turn, strict=True)
    ]
    tone = float(rng.uniform(206, 240))
    sheet(stage, at, shape, (tone, tone, tone * 0.96))
    fold = [shape[0], shape[3], shape[5], (0.0, size * 0.18)]
    sheet(stage, at, fold, (tone * 0.8, tone * 0.8, tone * 0.8))


def cup(stage: Stage, at: Place, size: float) -> None:
    """A paper cup, standing or lying."""
    rng = stage.rng
    angle = float(rng.choice([0.0, 0.15, 1.35, -1.4]))
    w, h = size * 0.32, size * 0.85
    base = Place(at.x, at.z, 0, at.y + (w * 0.7 if abs(angle) > 1 else 0))
    colour = pick(rng, _BRIGHT)
    sheet(stage, base, [(-w * 0.7, 0), (w * 0.7, 0), (w, h), (-w, h)], (232, 230, 224), angle)
    sheet(
        stage,
        base,
        [(-w * 0.78, h * 0.25), (w * 0.78, h * 0.25), (w * 0.92, h * 0.7), (-w * 0.92, h * 0.7)],
        colour,
        angle,
    )
    sheet(stage, base, [(w * 0.3, 0), (w * 0.7, 0), (w, h), (w * 0.5, h)], (150, 148, 144), angle)
    sheet(stage, base, [(-w * 1.1, h), (w * 1.1, h), (w, h * 1.14), (-w, h * 1.14)], (248, 248, 246), angle)


def bottle(stage: Stage, at: Place, size: float) -> None:
    """A bottle of glass or plastic, lying or leaning."""
    rng = stage.rng
    colour = pick(rng, ((52, 104, 66), (112, 72, 38), (176, 206, 216), (206, 220, 214)))
    angle = float(rng.uniform(0.9, 1.6) * rng.choice([-1, 1]))
    w, h = size * 0.16, size * 1.2
    base = Place(at.x, at.z, 0, at.y + w)
    body = [
        (-w, 0),
        (w, 0),
        (w, h * 0.6),
        (w * 0.4, h * 0.78),
        (w * 0.4, h),
        (-w * 0.4, h),
        (-w * 0.4, h * 0.78),
        (-w, h * 0.6),
    ]
    sheet(stage, base, body, colour, angle)
    sheet(
        stage,
        base,
        [(-w, h * 0.2), (w, h * 0.2), (w, h * 0.48), (-w, h * 0.48)],
        pick(rng, _BRIGHT),
        angle,
    )
    shine = (min(colour[0] + 60, 250), min(colour[1] + 60, 250), min(colour[2] + 60, 250))
    sheet(
        stage,
        base,
        [(-w * 0.7, h * 0.04), (-w * 0.3, h * 0.04), (-w * 0.3, h * 0.6), (-w * 0.7, h * 0.58)],
        shine,
        angle,
    )


def can(stage: Stage, at: Place, size: float) -> None:
    """A drinks can, lying or dented upright."""
    rng = stage.rng
    colour = pick(rng, _BRIGHT)
    angle = float(rng.choice([0.1, 1.5, -1.45, 1.1]))
    w, h = size * 0.24, size * 0.75
    base = Place(at.x, at.z, 0, at.y + (w if abs(angle) > 0.5 else 0))
    sheet(stage, base, [(-w, 0), (w, 0), (w, h), (-w, h)], colour, angle)
    sheet(stage, base, [(-w * 0.6, 0), (-w * 0.2, 0), (-w * 0.2, h), (-w * 0.6, h)], (244, 240, 236), angle)
    sheet(stage, base, [(-w, h), (w, h), (w * 0.8, h * 1.1), (-w * 0.8, h * 1.1)], (186, 188, 192), angle)


def tray(stage: Stage, at: Place, size: float) -> None:
    """A flat take-away box or pizza carton."""
    rng = stage.rng
    place = Place(at.x, at.z, float(rng.uniform(-0.8, 0.8)), at.y)
    colour = pick(rng, ((206, 176, 134), (232, 228, 218), (224, 222, 214)))
    box(stage, place, (size * 1.1, size * 0.14, size * 1.0), colour, cast=False)
    if rng.random() < 0.5:
        w, d, h = size * 1.1, size, size * 0.14
        lid = np.array(
            [
                (-w / 2, h, d / 2),
                (w / 2, h, d / 2),
                (w / 2, h + d * 0.8, d * 0.8),
                (-w / 2, h + d * 0.8, d * 0.8),
            ]
        )
        inner = np.array([0.0, 0.4, -0.9])
        stage.surface(
            place.world(lid), (colour[0] * 0.9, colour[1] * 0.88, colour[2] * 0.82), inner, (1, 0.85)
        )


def wrapper(stage: Stage, at: Place, size: float) -> None:
    """A bright scrap of packaging."""
    rng = stage.rng
    w, h = size * rng.uniform(0.4, 0.7), size * rng.uniform(0.2, 0.34)
    colour, angle = pick(rng, _BRIGHT), float(rng.uniform(-0.5, 0.5))
    sheet(
        stage,
        at,
        [(-w / 2, 0), (-w * 0.1, h * 0.1), (w / 2, 0), (w * 0.44, h), (0, h * 0.86), (-w / 2, h)],
        colour,
        angle,
    )
    shine = (min(colour[0] + 50, 250), min(colour[1] + 50, 250), min(colour[2] + 50, 250))
    sheet(
        stage,
        at,
        [(-w * 0.3, h * 0.4), (w * 0.2, h * 0.35), (w * 0.16, h * 0.62), (-w * 0.28, h * 0.7)],
        shine,
        angle,
    )


def banana(stage: Stage, at: Place, size: float) -> None:
    """A banana peel."""
    for angle in (-1.0, 0.0, 1.1):
        leaf = [
            (-0.05 * size, 0.1 * size),
            (0.05 * size, 0.1 * size),
            (0.3 * size, 0.16 * size),
            (0.5 * size, 0.02 * size),
            (0.28 * size, 0.06 * size),
        ]
        sheet(stage, at, leaf, (226, 190, 62), angle * 0.5)
        sheet(stage, at, [(-x, y) for x, y in leaf], (198, 158, 44), angle * 0.4)


Piece = Callable[[Stage, Place, float], None]
_PIECES: tuple[tuple[Piece, float], ...] = (
    (paper, 0.24),
    (cup, 0.2),
    (bottle, 0.16),
    (can, 0.12),
    (tray, 0.1),
    (wrapper, 0.15),
    (banana, 0.03),
)


def scrap(stage: Stage, at: Place, size: float) -> None:
    """One small piece of rubbish about ``size`` metres long."""
    pieces, shares = [p for p, _ in _PIECES], [s for _, s in _PIECES]
    pieces[int(stage.rng.choice(len(pieces), p=shares))](stage, at, size)
