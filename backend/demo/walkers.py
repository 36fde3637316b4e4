"""People passing by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.demo.camera import Points
from backend.demo.canvas import Colour
from backend.demo.furniture import Prop
from backend.demo.palette import choose, times
from backend.demo.solids import Size, limb, sheet, unit
from backend.demo.stage import Place, Stage

_COATS: tuple[Colour, ...] = (
    (150, 54, 52),
    (52, 72, 108),
    (84, 98, 70),
    (190, 158, 104),
    (62, 62, 68),
    (196, 190, 180),
    (120, 82, 116),
)
_TROUSERS: tuple[Colour, ...] = ((52, 56, 72), (40, 40, 44), (104, 92, 78), (70, 84, 104))
_SKINS: tuple[Colour, ...] = ((232, 196, 166), (206, 160, 124), (152, 106, 78), (104, 72, 54))
_HAIR: tuple[Colour, ...] = ((44, 34, 28), (96, 66, 40), (190, 186, 180), (26, 24, 26), (170, 130, 76))
_SHADOW: tuple[Size, ...] = ((-0.22, 0), (0.22, 0), (0.26, 1.4), (-0.26, 1.4), (0.1, 1.75), (-0.1, 1.75))
_HANDLE: tuple[Size, ...] = (
    (-0.06, 0.1), (-0.05, 0.24), (0.05, 0.24), (0.06, 0.1),
    (0.035, 0.1), (0.03, 0.21), (-0.03, 0.21), (-0.035, 0.1),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure cut from card that faces the camera, for somebody 1.75 m tall, scaled by ``size``."""

    stage: Stage
    place: Place
    size: float

    def at(self, x: float, y: float) -> Points:
        """World point of a spot on the figure: metres to the right of its middle, and up."""
        yaw = self.stage.camera.yaw
        right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
        feet = np.array([self.place.x, 0, self.place.z])
        return np.asarray(feet + right * x * self.size + np.array([0, y * self.size, 0]))

    def tone(self, colour: Colour, side: float = 0.0) -> Colour:
        """A colour in this light, on a part that is turned to the right (side > 0) or left."""
        yaw = self.stage.camera.yaw
        right = np.array([np.cos(yaw), 0, -np.sin(yaw)])
        return self.stage.lit(colour, unit(right * side + np.array([-np.sin(yaw), 0.2, -np.cos(yaw)])))

    def limb(self, a: Size, b: Size, radius: Size, colour: Colour, side: float = 0.0) -> None:
        limb(self.stage, self.at(*a), self.at(*b), radius, self.tone(colour, side))

    def patch(self, spots: Sequence[Size], colour: Colour, side: float = 0.0) -> None:
        self.stage.flat(np.stack([self.at(x, y) for x, y in spots]), self.tone(colour, side))


def person(stage: Stage, place: Place) -> None:
    """Somebody walking or standing."""
    rng = stage.rng
    figure = _Figure(stage, place, float(rng.uniform(0.9, 1.06)))
    coat, trousers = choose(rng, _COATS), choose(rng, _TROUSERS)
    skin, hair = choose(rng, _SKINS), choose(rng, _HAIR)
    stride = float(rng.choice([0.03, 0.16, 0.26])) * float(rng.choice([-1, 1]))
    stage.touch(place, 0.5, 0.35)
    stage.cast(np.stack([figure.at(x, y) for x, y in _SHADOW]))
    _legs(figure, trousers, stride)
    arm = stride * 0.8
    figure.limb((-0.2, 1.38), (-0.24 - arm * 0.4, 0.92), (0.07, 0.05), times(coat, 0.72))
    _torso(figure, coat, 0.62 if rng.random() < 0.4 else 0.84)
    sleeve, elbow, wrist = times(coat, 0.9), (0.23 + arm * 0.4, 1.12), (0.22 + arm * 0.8, 0.9)
    figure.limb((0.2, 1.38), elbow, (0.072, 0.06), sleeve, 0.5)
    figure.limb(elbow, wrist, (0.06, 0.045), sleeve, 0.5)
    figure.limb((wrist[0], 0.86), (wrist[0], 0.84), (0.045, 0.045), skin)
    figure.limb((0, 1.44), (0, 1.52), (0.055, 0.055), times(skin, 0.8))
    facing = float(np.sign(stride))
    figure.limb((-0.015 * facing, 1.64), (-0.02 * facing, 1.68), (0.1, 0.108), hair)
    if rng.random() < 0.6:
        figure.limb((0.03 * facing, 1.58), (0.035 * facing, 1.635), (0.075, 0.085), skin, 0.3 * facing)
    if rng.random() < 0.5:
        _shopping(figure, choose(rng, _COATS))


def _legs(figure: _Figure, trousers: Colour, stride: float) -> None:
    step = 0.1 * float(np.sign(stride))
    for side, shade in ((-1, 0.72), (1, 1.0)):
        knee, foot = (stride * side * 0.5 + 0.06 * side, 0.46), (stride * side + 0.05 * side, 0.06)
        figure.limb((0.07 * side, 0.86), knee, (0.10, 0.075), times(trousers, shade))
        figure.limb(knee, foot, (0.075, 0.06), times(trousers, shade))
        figure.limb(foot, (foot[0] + step, 0.035), (0.055, 0.045), (46, 40, 38))


def _torso(figure: _Figure, coat: Colour, hem: float) -> None:
    """A coat that reaches down to ``hem``, darker on one side, with a seam."""
    half = [(-0.2, 1.42), (-0.09, 1.5), (0.09, 1.5), (0.2, 1.42), (0.19, 1.0), (0.22, hem)]
    figure.patch([*half, (-0.22, hem), (-0.19, 1.0)], coat)
    left = [(-0.2, 1.42), (-0.1, 1.48), (-0.1, hem), (-0.22, hem), (-0.19, 1.0)]
    figure.patch(left, times(coat, 0.8), -0.6)
    right = [(0.2, 1.42), (0.12, 1.47), (0.13, hem), (0.22, hem), (0.19, 1.0)]
    figure.patch(right, times(coat, 1.08), 0.6)
    figure.patch([(-0.008, 1.44), (0.008, 1.44), (0.01, hem), (-0.01, hem)], times(coat, 0.7))


def _shopping(figure: _Figure, colour: Colour) -> None:
    """A bag in the left hand."""
    spot = figure.at(-0.27, 0)
    bag = Place(float(spot[0]), float(spot[2]), 0, 0.72 * figure.size)
    sheet(figure.stage, bag, [(-0.13, -0.16), (0.13, -0.16), (0.11, 0.1), (-0.11, 0.1)], colour)
    sheet(figure.stage, bag, _HANDLE, times(colour, 0.6))


PERSON = Prop("person", 0.6, 0.4, person)
