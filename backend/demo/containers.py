"""Parts that bins have in common: sides, lids and mouths."""

from __future__ import annotations

import numpy as np

from backend.demo.camera import Points
from backend.demo.canvas import Colour
from backend.demo.solids import Detail, block, corners, visible
from backend.demo.stage import Place, Stage

DARK: Colour = (22, 22, 24)


def slab(
    stage: Stage, place: Place, hinge: Points, reach: float, width: float, angle: float, colour: Colour
) -> None:
    """A lid hinged at the back: ``angle`` 0 lies flat to the front, 90 degrees stands up."""
    a = np.radians(angle)
    forward, up = np.array([0.0, np.sin(a), -np.cos(a)]), np.array([0.0, np.cos(a), np.sin(a)])
    half = np.array([width / 2, 0, 0])
    base = [hinge - half, hinge + half]
    near = [base[0] + forward * reach, base[1] + forward * reach]
    low = [near[0], near[1], base[1], base[0]]
    thick = 0.055
    high = [p + up * thick for p in low]
    high[0], high[1] = high[0] - forward * 0.04, high[1] - forward * 0.04
    block(stage, place.world(np.array(low + high)), colour, fade=(1.05, 0.92))


def shell(stage: Stage, place: Place, local: Points, colour: Colour, detail: Detail | None) -> None:
    """The sides of a container without its top, so that what is inside stays visible."""
    world = place.world(local)
    stage.cast(world)
    for face in visible(stage, world, ("front", "right", "back", "left")):
        stage.surface(face.corners, colour, face.normal, (1.06, 0.8))
        if detail is not None:
            detail(face)


def mouth(stage: Stage, place: Place, opening: tuple[float, float], level: float) -> None:
    """The dark inside of an open container."""
    rim = corners(opening, opening, level - 0.03, level - 0.02)[4:]
    stage.flat(place.world(rim), stage.lit(DARK, np.array([0.0, 1.0, 0.0])))
