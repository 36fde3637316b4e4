"""Street furniture: things in front of bins, and things that look like bins and are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backend.demo.canvas import Colour
from backend.demo.greenery import leaves, planter, tree, twig
from backend.demo.palette import choose, times
from backend.demo.solids import Face, block, box, corners, drum, rod, sheet
from backend.demo.stage import Place, Stage

_IRON: tuple[Colour, ...] = ((54, 58, 60), (44, 62, 52), (96, 98, 102), (40, 44, 58))
_FRAMES: tuple[Colour, ...] = ((186, 54, 46), (44, 88, 150), (40, 42, 46), (58, 126, 96), (222, 216, 200))


@dataclass(frozen=True, slots=True)
class Prop:
    """A kind of street furniture with its footprint (width, depth) in metres, and its painter."""

    name: str
    width: float
    depth: float
    paint: Callable[[Stage, Place], None]


LAMP_HEIGHT = 4.6


def lamp(stage: Stage, place: Place) -> None:
    """A street lamp; what its light does is reckoned when the picture is developed."""
    iron = choose(stage.rng, _IRON, (0.88, 1.1), 240)
    stage.touch(place, 0.26, 0.26)
    line = place.world(
        np.array([[0, 0, 0], [0, 0.7, 0], [0, LAMP_HEIGHT, 0], [0, LAMP_HEIGHT + 0.1, -0.7]], dtype=float)
    )
    rod(stage, line[0], line[1], (0.19, 0.17), iron)
    rod(stage, line[1], line[2], (0.12, 0.08), iron)
    rod(stage, line[2], line[3], (0.07, 0.06), iron, cast=False)
    head = Place(float(line[3, 0]), float(line[3, 2]), 0, float(line[3, 1]))
    on = stage.light.lamps > 0
    sheet(stage, head, [(-0.26, 0.0), (0.26, 0.0), (0.18, 0.12), (-0.18, 0.12)], iron)
    glow: Colour = (255, 236, 190) if on else (196, 198, 196)
    sheet(
        stage,
        head,
        [(-0.22, -0.06), (0.22, -0.06), (0.25, 0.01), (-0.25, 0.01)],
        glow,
        glow=255 if on else 0,
    )
    if stage.rng.random() < 0.4:
        y = float(stage.rng.uniform(1.2, 1.7))
        note = Place(place.x, place.z, 0, y)
        sheet(stage, note, [(-0.08, -0.12), (0.09, -0.11), (0.08, 0.12), (-0.08, 0.11)], (226, 222, 206))


def bollard(stage: Stage, place: Place) -> None:
    """A short iron or stone post."""
    colour = choose(stage.rng, (*_IRON, (172, 168, 160)), (0.88, 1.1), 240)
    stage.touch(place, 0.22, 0.22)
    drum(stage, place, (0.1, 0.085), (0, 0.78), colour)
    drum(
        stage,
        place,
        (0.1, 0.1),
        (0.62, 0.68),
        (216, 214, 206) if stage.rng.random() < 0.5 else times(colour, 1.2),
    )
    drum(stage, place, (0.1, 0.05), (0.78, 0.88), times(colour, 1.1), top=times(colour, 1.15))


def pillar_box(stage: Stage, place: Place) -> None:
    """A round letter box."""
    colour = choose(stage.rng, ((186, 34, 36), (222, 180, 46), (40, 84, 150)), (0.88, 1.1), 240)
    stage.touch(place, 0.5, 0.5)
    drum(stage, place, (0.26, 0.26), (0, 0.12), (38, 38, 40))
    drum(stage, place, (0.23, 0.23), (0.12, 1.26), colour)
    drum(stage, place, (0.27, 0.27), (1.26, 1.34), times(colour, 1.05))
    drum(stage, place, (0.27, 0.14), (1.34, 1.44), times(colour, 1.1), top=times(colour, 1.12))
    slot = place.moved(0, 1.08, -0.235)
    sheet(stage, slot, [(-0.11, -0.02), (0.11, -0.02), (0.11, 0.02), (-0.11, 0.02)], (18, 18, 20))
    sheet(
        stage,
        place.moved(0, 0.8, -0.235),
        [(-0.07, -0.1), (0.07, -0.1), (0.07, 0.1), (-0.07, 0.1)],
        (232, 230, 222),
    )


def letter_box(stage: Stage, place: Place) -> None:
    """A square letter box on legs, with a rounded top."""
    colour = choose(stage.rng, ((44, 72, 132), (222, 180, 46), (48, 112, 74)), (0.88, 1.1), 240)
    stage.touch(place, 0.6, 0.5)
    for x in (-0.2, 0.2):
        box(stage, place.moved(x, 0, 0.1), (0.06, 0.24, 0.06), (40, 40, 42), cast=False)

    def detail(face: Face) -> None:
        if face.name == "front":
            face.rect(0.14, 0.72, 0.86, 0.84, times(colour, 0.55))
            face.rect(0.26, 0.3, 0.74, 0.56, (230, 228, 220))

    block(stage, place.world(corners((0.54, 0.46), (0.54, 0.46), 0.22, 1.05)), colour, detail)
    block(stage, place.world(corners((0.54, 0.46), (0.54, 0.3), 1.05, 1.17)), times(colour, 1.06))
    block(stage, place.world(corners((0.54, 0.3), (0.54, 0.1), 1.17, 1.23)), times(colour, 1.12))


def cabinet(stage: Stage, place: Place) -> None:
    """A grey or green box of the electricity company."""
    rng = stage.rng
    colour = choose(rng, ((126, 138, 126), (150, 152, 152), (96, 112, 100)), (0.88, 1.1), 240)
    width, height = float(rng.uniform(0.7, 1.2)), float(rng.uniform(0.95, 1.3))
    stage.touch(place, width, 0.4)
    marked = rng.random() < 0.5

    def detail(face: Face) -> None:
        if face.name != "front":
            return
        face.rect(0.49, 0.03, 0.505, 0.95, times(colour, 0.6))
        for v in (0.08, 0.12, 0.16):
            face.rect(0.1, v, 0.4, v + 0.015, times(colour, 0.66))
        face.rect(0.44, 0.5, 0.47, 0.6, (60, 62, 64))
        if marked:
            face.patch(((0.64, 0.62), (0.82, 0.62), (0.73, 0.8)), (226, 188, 52))

    box(stage, place, (width, height, 0.36), colour, detail)
    box(stage, place.moved(0, height, 0), (width * 1.06, 0.05, 0.4), times(colour, 1.08), cast=False)


def bench(stage: Stage, place: Place) -> None:
    """A bench of wooden slats."""
    wood = choose(stage.rng, ((146, 100, 62), (120, 86, 60), (104, 108, 104)), (0.88, 1.1), 240)
    stage.touch(place, 1.5, 0.5, 0.7)
    for x in (-0.62, 0.62):
        box(stage, place.moved(x, 0, 0.0), (0.07, 0.44, 0.42), (46, 48, 50), cast=False)
        a, b = place.world(np.array([[x, 0.42, 0.2], [x, 0.86, 0.28]]))
        rod(stage, a, b, (0.05, 0.05), (46, 48, 50), cast=False)
    for y in (0.58, 0.7, 0.82):
        box(stage, place.moved(0, y, 0.24), (1.5, 0.08, 0.03), wood)
    for z in (0.14, 0.0, -0.14):
        box(stage, place.moved(0, 0.43, z), (1.5, 0.035, 0.11), wood)


def cone(stage: Stage, place: Place) -> None:
    """A traffic cone."""
    stage.touch(place, 0.36, 0.36)
    box(stage, place, (0.36, 0.04, 0.36), (52, 46, 44), cast=False)
    for low, high, colour in (
        (0.0, 0.3, (224, 92, 36)),
        (0.3, 0.55, (232, 230, 224)),
        (0.55, 1.0, (224, 92, 36)),
    ):
        radius = (0.14 - 0.115 * low, 0.14 - 0.115 * high)
        drum(stage, place, radius, (0.04 + 0.62 * low, 0.04 + 0.62 * high), colour, top=(150, 60, 30))


def board(stage: Stage, place: Place) -> None:
    """A sandwich board of a cafe."""
    rng = stage.rng
    stage.touch(place, 0.6, 0.4, 0.6)
    frame = choose(rng, ((120, 84, 52), (44, 44, 46), (196, 190, 178)), (0.88, 1.1), 240)
    slate = corners((0.62, 0.04), (0.58, 0.04), 0, 0.98, (0, 0.18)) + np.array((0, 0, -0.2))

    def detail(face: Face) -> None:
        if face.name != "front":
            return
        face.rect(0.08, 0.16, 0.92, 0.93, (40, 44, 46))
        for v in np.arange(0.3, 0.86, 0.12):
            u = float(rng.uniform(0.45, 0.85))
            r, g, b = rng.uniform(170, 240, 3)
            face.rect(0.16, float(v), u, float(v) + 0.045, (float(r), float(g), float(b)))

    block(stage, place.world(slate), frame, detail)


def hydrant(stage: Stage, place: Place) -> None:
    """A fire hydrant."""
    colour = choose(stage.rng, ((196, 46, 40), (222, 176, 46), (60, 96, 160)), (0.88, 1.1), 240)
    stage.touch(place, 0.3, 0.3)
    drum(stage, place, (0.15, 0.15), (0, 0.05), times(colour, 0.8), top=times(colour, 0.9))
    drum(stage, place, (0.1, 0.1), (0.05, 0.55), colour)
    for side in (-1, 1):
        a, b = place.world(np.array([[side * 0.08, 0.4, 0], [side * 0.18, 0.4, 0]]))
        rod(stage, a, b, (0.09, 0.08), times(colour, 0.85), cast=False)
    drum(stage, place, (0.13, 0.13), (0.53, 0.58), times(colour, 1.05), top=times(colour, 1.1))
    drum(stage, place, (0.12, 0.03), (0.58, 0.7), times(colour, 1.1), top=times(colour, 1.15))


def bicycle(stage: Stage, place: Place) -> None:
    """A parked bicycle, seen from the side."""
    rng = stage.rng
    colour = choose(rng, _FRAMES, (0.88, 1.1), 240)
    stage.touch(place, 1.4, 0.2, 0.5)
    turn = np.linspace(0, 2 * np.pi, 25)
    for x in (-0.52, 0.52):
        rim = place.world(np.stack((x + 0.33 * np.cos(turn), 0.34 + 0.33 * np.sin(turn), 0 * turn), axis=1))
        for i in range(24):
            rod(stage, rim[i], rim[i + 1], (0.035, 0.035), (34, 34, 36), cast=i % 2 == 0)
        for i in range(0, 12, 2):
            rod(stage, rim[i], rim[i + 12], (0.008, 0.008), (150, 152, 156), cast=False)
    joints = {
        "rear": (-0.52, 0.34),
        "crank": (-0.08, 0.3),
        "seat": (-0.22, 0.86),
        "head": (0.34, 0.84),
        "front": (0.52, 0.34),
        "bar": (0.36, 1.0),
    }
    spot = {k: place.world(np.array([[x, y, 0.0]]))[0] for k, (x, y) in joints.items()}
    for a, b in (
        ("rear", "crank"),
        ("crank", "seat"),
        ("seat", "head"),
        ("crank", "head"),
        ("rear", "seat"),
        ("head", "front"),
        ("head", "bar"),
    ):
        rod(stage, spot[a], spot[b], (0.045, 0.045), colour)
    saddle = Place(float(spot["seat"][0]), float(spot["seat"][2]), 0, float(spot["seat"][1]))
    sheet(stage, saddle, [(-0.14, 0.0), (0.12, 0.0), (0.12, 0.05), (-0.14, 0.07)], (34, 32, 32))
    handle = Place(float(spot["bar"][0]), float(spot["bar"][2]), 0, float(spot["bar"][1]))
    sheet(stage, handle, [(-0.12, 0.0), (0.08, 0.0), (0.1, 0.05), (-0.12, 0.05)], (34, 32, 32))


DECOYS: tuple[Prop, ...] = (
    Prop("bollard", 0.24, 0.24, bollard),
    Prop("planter", 0.95, 0.7, planter),
    Prop("pillar box", 0.55, 0.55, pillar_box),
    Prop("letter box", 0.6, 0.5, letter_box),
    Prop("cabinet", 1.2, 0.45, cabinet),
    Prop("bench", 1.6, 0.6, bench),
    Prop("cone", 0.38, 0.38, cone),
    Prop("board", 0.66, 0.5, board),
    Prop("hydrant", 0.4, 0.34, hydrant),
    Prop("bicycle", 1.8, 0.4, bicycle),
    Prop("leaves", 0.5, 0.4, leaves),
    Prop("twig", 0.5, 0.3, twig),
)
LAMP = Prop("lamp", 0.26, 0.26, lamp)
TREE = Prop("tree", 0.8, 0.8, tree)
