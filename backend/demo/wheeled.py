"""Bins on wheels: the two-wheeled household bin and the dumpster."""

from __future__ import annotations

import numpy as np

from backend.demo.canvas import Colour
from backend.demo.containers import mouth, shell, slab
from backend.demo.heaps import crest, hang
from backend.demo.palette import choose, times
from backend.demo.solids import Detail, Face, box, corners, rod
from backend.demo.stage import Place, Stage

_BODIES: tuple[Colour, ...] = (
    (54, 92, 62),
    (64, 66, 70),
    (84, 88, 92),
    (46, 72, 118),
    (102, 74, 54),
    (58, 60, 62),
    (38, 78, 70),
    (120, 124, 126),
)
_LIDS: tuple[Colour, ...] = ((222, 178, 44), (52, 104, 176), (172, 48, 44), (76, 132, 70), (196, 104, 40))
_STEEL: tuple[Colour, ...] = ((58, 92, 70), (52, 78, 116), (128, 132, 134), (120, 58, 46), (88, 92, 84))


def wheelie(stage: Stage, place: Place, full: bool, size: float) -> None:
    """A two-wheeled household bin, 120 to 240 litres."""
    rng = stage.rng
    body = choose(rng, _BODIES, (0.85, 1.12), 240)
    lid = choose(rng, _LIDS, (0.85, 1.12), 240) if rng.random() < 0.45 else times(body, 0.86)
    width, depth, height = 0.58 * size, 0.62 * size, 1.0 * size
    low, high = (width * 0.8, depth * 0.72), (width * 0.98, depth * 0.98)
    stage.touch(place, width, depth)
    from_behind = np.cos(place.turn) < 0
    if not from_behind:
        _wheels(stage, place, width, depth)
    hinge = np.array([0.0, height + 0.02, depth / 2])
    ajar = (not full) and rng.random() < 0.14
    angle = float(rng.uniform(*((24, 105) if full else (100, 128) if ajar else (-4, 0))))
    back_lid = angle > 60
    if back_lid and not from_behind:
        slab(stage, place, hinge, depth * 1.06, width * 1.06, angle, lid)
    if full or ajar:
        mouth(stage, place, high, height)
    if full:
        crest(stage, place, width * 0.92, depth * 0.85, height, float(rng.uniform(0.3, 1.0)))
    detail = _printed(body, lid, rng)
    shell(stage, place, corners(low, high, 0.06, height - 0.06), body, detail)
    rim = corners((width * 1.04, depth * 1.04), (width * 1.04, depth * 1.04), height - 0.07, height)
    shell(stage, place, rim, times(body, 0.94), None)
    if full and rng.random() < 0.75:
        hang(stage, place, width, depth, height)
    if not back_lid and (full or not ajar):
        slab(stage, place, hinge, depth * 1.08, width * 1.08, angle, lid)
    if back_lid and from_behind:
        slab(stage, place, hinge, depth * 1.06, width * 1.06, angle, lid)
    if from_behind:
        ends = np.array([[side * width * 0.4, height - 0.02, depth * 0.58] for side in (-1, 1)])
        a, b = place.world(ends)
        rod(stage, a, b, (0.035, 0.035), times(body, 0.7), cast=False)
        _wheels(stage, place, width, depth)


def _printed(body: Colour, lid: Colour, rng: np.random.Generator) -> Detail:
    """Ribs, dirt, and mostly a sticker or a house number."""
    sticker = rng.random() < 0.7
    number = rng.random() < 0.35

    def detail(face: Face) -> None:
        if face.name == "front":
            _front(face, body, lid, sticker, number, rng)
        elif face.name in ("left", "right"):
            face.rect(0.1, 0.05, 0.16, 0.9, times(body, 0.86))
            face.rect(0.84, 0.05, 0.9, 0.9, times(body, 0.86))
        elif face.name == "back":
            face.rect(0.3, 0.05, 0.7, 0.82, times(body, 0.8))

    return detail


def _front(
    face: Face, body: Colour, lid: Colour, sticker: bool, number: bool, rng: np.random.Generator
) -> None:
    face.rect(0.08, 0.03, 0.13, 0.93, times(body, 0.88))
    face.rect(0.87, 0.03, 0.92, 0.93, times(body, 0.88))
    face.rect(0.2, 0.86, 0.8, 0.93, times(body, 1.14))
    if sticker:
        face.rect(0.3, 0.5, 0.7, 0.76, (228, 228, 220))
        face.rect(0.34, 0.53, 0.66, 0.6, times(lid, 1.0))
        face.patch(((0.42, 0.62), (0.58, 0.62), (0.5, 0.74)), (64, 140, 84))
    if number:
        face.rect(0.4, 0.26, 0.46, 0.42, (236, 236, 230))
        face.rect(0.52, 0.26, 0.6, 0.42, (236, 236, 230))
    for _ in range(int(rng.integers(0, 4))):
        u, v = float(rng.uniform(0.1, 0.8)), float(rng.uniform(0.02, 0.5))
        face.rect(
            u, v, u + float(rng.uniform(0.02, 0.1)), v + float(rng.uniform(0.05, 0.3)), times(body, 0.92)
        )


def _wheels(stage: Stage, place: Place, width: float, depth: float) -> None:
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    for side in (-1, 1):
        for radius, tone in ((0.11, 24), (0.06, 74)):
            ring = np.stack(
                (
                    np.full(16, side * width * 0.47),
                    0.11 + radius * np.cos(turn),
                    depth * 0.36 + radius * np.sin(turn),
                ),
                axis=1,
            )
            stage.flat(place.world(ring), stage.lit((tone, tone, tone + 2), np.array([0, 0.3, -0.95])))
        tread = corners((0.05, 0.2), (0.05, 0.2), 0.01, 0.2) + np.array(
            (side * width * 0.44, 0, depth * 0.36)
        )
        stage.flat(place.world(tread)[[0, 1, 5, 4]], stage.lit((26, 26, 28), np.array([0, 0.2, -0.98])))


def dumpster(stage: Stage, place: Place, full: bool, size: float) -> None:
    """A steel container on castors with two plastic lids."""
    rng = stage.rng
    body = choose(rng, _STEEL, (0.85, 1.12), 240)
    lid = choose(rng, ((44, 46, 50), (52, 54, 58), (60, 84, 66)), (0.85, 1.12), 240)
    width, depth, height = 1.9 * size, 1.05 * size, 1.22 * size
    stage.touch(place, width, depth)
    for x in (-0.42, 0.42):
        for z in (0.4, -0.4):
            foot = place.moved(x * width, 0, z * depth)
            box(stage, foot, (0.09, 0.16, 0.12), (34, 34, 36), cast=False)
    opened = 2 if full and rng.random() < 0.6 else (1 if full else 0)
    hinge = np.array([0.0, height + 0.02, depth / 2])
    for side in range(opened):
        at = hinge + np.array((width * (0.25 if side else -0.25), 0, 0))
        slab(stage, place, at, depth * 0.98, width * 0.48, float(rng.uniform(88, 112)), lid)
    if full:
        mouth(stage, place, (width * 0.96, depth * 0.96), height)
        crest(stage, place, width * 0.94, depth * 0.9, height + 0.03, float(rng.uniform(0.4, 1.0)))
    detail = _ribbed(body, rng)
    low, high = (width * 0.96, depth * 0.8), (width, depth)
    shell(stage, place, corners(low, high, 0.15, height), body, detail)
    rim = corners((width * 1.03, depth * 1.04), (width * 1.03, depth * 1.04), height - 0.09, height)
    shell(stage, place, rim, times(body, 0.82), None)
    for side in (-1, 1):
        pocket = place.moved(side * width * 0.53, height * 0.6, 0)
        box(stage, pocket, (0.1, 0.12, depth * 0.5), times(body, 0.7), cast=False)
    for side in range(opened, 2):
        at = hinge + np.array((width * (0.25 if side else -0.25), 0, 0))
        slab(stage, place, at, depth * 1.02, width * 0.5, float(rng.uniform(8, 24)) if full else 0.0, lid)
    if full:
        hang(stage, place, width * (0.9 if opened == 2 else 0.4), depth, height)


def _ribbed(body: Colour, rng: np.random.Generator) -> Detail:
    """Ribs of steel, a plate with a name, and mostly some rust."""
    logo = choose(rng, ((232, 228, 214), (226, 186, 60)), (0.85, 1.12), 240)
    rusty = rng.random() < 0.6

    def detail(face: Face) -> None:
        ribs = 6 if face.name in ("front", "back") else 3
        for k in range(ribs):
            u = (k + 0.5) / ribs
            face.rect(u - 0.018, 0.04, u + 0.006, 0.96, times(body, 1.16))
            face.rect(u + 0.006, 0.04, u + 0.026, 0.96, times(body, 0.74))
        if face.name == "front":
            face.rect(0.36, 0.42, 0.64, 0.66, logo)
            face.rect(0.39, 0.5, 0.61, 0.58, times(body, 0.8))
        for _ in range(3 if rusty else 0):
            u = float(rng.uniform(0.05, 0.9))
            wide, high = float(rng.uniform(0.02, 0.08)), float(rng.uniform(0.06, 0.22))
            face.rect(u, 0.0, u + wide, high, (118, 76, 50))

    return detail
