"""Parked cars."""

from __future__ import annotations

import numpy as np

from backend.demo.canvas import Colour
from backend.demo.furniture import Prop
from backend.demo.palette import choose, times
from backend.demo.solids import Size, unit
from backend.demo.stage import Place, Stage

_PAINTS: tuple[Colour, ...] = (
    (176, 178, 182),
    (226, 226, 224),
    (52, 54, 60),
    (132, 36, 38),
    (44, 70, 112),
    (86, 98, 92),
    (206, 168, 70),
    (108, 130, 148),
)
_GLASS: Colour = (44, 54, 62)
_HATCH: tuple[Size, ...] = (
    (-1.98, 0.3),
    (-2.0, 0.62),
    (-1.9, 0.86),
    (-0.95, 0.95),
    (1.75, 0.97),
    (1.98, 0.88),
    (2.02, 0.5),
    (1.98, 0.3),
)
_HATCH_ROOF: tuple[Size, ...] = ((-1.0, 0.94), (-0.25, 1.42), (0.2, 1.47), (1.25, 1.44), (1.82, 0.96))
_SALOON: tuple[Size, ...] = (
    (-2.2, 0.3),
    (-2.22, 0.6),
    (-2.1, 0.82),
    (-1.05, 0.92),
    (1.3, 0.95),
    (2.1, 0.92),
    (2.24, 0.74),
    (2.22, 0.3),
)
_SALOON_ROOF: tuple[Size, ...] = ((-1.1, 0.91), (-0.35, 1.38), (0.1, 1.43), (0.75, 1.4), (1.5, 0.94))
_VAN: tuple[Size, ...] = ((-2.4, 0.32), (-2.44, 0.75), (-2.3, 1.0), (-1.75, 1.1), (2.4, 1.12), (2.42, 0.32))
_VAN_ROOF: tuple[Size, ...] = ((-1.8, 1.08), (-1.15, 1.88), (-0.9, 1.95), (2.3, 1.95), (2.4, 1.1))


def car(stage: Stage, place: Place) -> None:
    """A parked car, its side to the kerb; ``place`` is the middle of its footprint on the road."""
    rng = stage.rng
    paint = choose(rng, _PAINTS)
    shell, roof, van = [
        (_HATCH, _HATCH_ROOF, False),
        (_SALOON, _SALOON_ROOF, False),
        (_VAN, _VAN_ROOF, True),
    ][int(rng.choice(3, p=(0.48, 0.37, 0.15)))]
    way = float(rng.choice([-1, 1]))
    half = 0.86
    stage.touch(place, 4.4, 1.9)
    under = np.array([(-1.9, 0.03, half), (1.9, 0.03, half), (1.9, 0.03, -half), (-1.9, 0.03, -half)])
    stage.flat(place.world(under * (way, 1, 1)), stage.lit((20, 20, 22), np.array([0, 1.0, 0])))
    _wheels(stage, place, way, half - 0.04, far=True)
    _extrude(stage, place, shell, way, half, half, paint)
    _extrude(stage, place, roof, way, half - 0.04, half - 0.2, paint, glass=True, panel=van)
    _side(stage, place, roof, way, half, paint, van)
    _wheels(stage, place, way, half + 0.005, far=False)
    _lights(stage, place, shell, way, half)


def _extrude(
    stage: Stage,
    place: Place,
    outline: tuple[Size, ...],
    way: float,
    low: float,
    high: float,
    paint: Colour,
    glass: bool = False,
    panel: bool = False,
) -> None:
    """A body with this side outline; half widths ``low`` at its foot and ``high`` at its top."""
    ys = [y for _, y in outline]
    floor, peak = min(ys), max(ys)

    def point(x: float, y: float, side: float) -> tuple[float, float, float]:
        share = (y - floor) / (peak - floor) if glass else 0.0
        return x * way, y, side * (low + (high - low) * share)

    near = place.world(np.array([point(x, y, -1) for x, y in outline]))
    far = place.world(np.array([point(x, y, 1) for x, y in outline]))
    stage.cast(np.concatenate((near, far)))
    eye = np.array([0.0, stage.camera.eye, 0.0])
    middle = np.concatenate((near, far)).mean(axis=0)
    count = len(outline)
    for i in range(count - 1):
        quad = np.stack((near[i], near[i + 1], far[i + 1], far[i]))
        normal = unit(np.cross(quad[1] - quad[0], quad[3] - quad[0]))
        if normal @ (quad.mean(axis=0) - middle) < 0:
            normal = -normal
        if normal @ (eye - quad.mean(axis=0)) <= 0:
            continue
        steep = abs(float(normal[1])) < 0.82
        window = glass and steep and not (panel and i > 1)
        stage.surface(quad, _GLASS if window else paint, normal, (1.1, 0.85) if window else (1.0, 1.0))
        if window:
            inner = quad.mean(axis=0) + (quad - quad.mean(axis=0)) * 0.86
            r, g, b = np.array(_GLASS) * 0.7 + np.array(stage.light.sky[1]) * 0.32
            stage.flat(inner[[0, 1, 2]], stage.lit((float(r), float(g), float(b)), normal))
    side = np.array([0.0, 0.25, -0.97])
    stage.surface(near, paint, unit(side), (1.08, 0.72))


def _side(
    stage: Stage, place: Place, roof: tuple[Size, ...], way: float, half: float, paint: Colour, van: bool
) -> None:
    """Windows, doors and trim on the side to the camera."""
    base, top = roof[0][1], max(y for _, y in roof)
    centre = (sum(x for x, _ in roof) / len(roof), (base + top) / 2)
    normal = np.array([0.0, 0.25, -0.97])

    def draw(spots: list[Size], colour: Colour) -> None:
        points = []
        for x, y in spots:
            share = np.clip((y - base) / (top - base), 0, 1)
            inset = half if y < base else half - 0.04 - 0.16 * share
            points.append((x * way, y, -inset - 0.004))
        stage.flat(place.world(np.array(points)), stage.lit(colour, normal))

    pane = [
        (centre[0] + (x - centre[0]) * 0.88, centre[1] + 0.03 + (y - centre[1]) * 0.74) for x, y in roof
    ]
    if van:
        pane = [(x, y) for x, y in pane if x < -0.5] + [(-0.5, centre[1] + 0.28), (-0.5, centre[1] - 0.28)]
    draw(pane, _GLASS)
    r, g, b = np.array(_GLASS) * 0.7 + np.array(stage.light.sky[1]) * 0.22
    left = min(x for x, _ in pane)
    wide = max(x for x, _ in pane) - left
    low, high = min(y for _, y in pane), max(y for _, y in pane)
    draw(
        [
            (left + wide * 0.45, low),
            (left + wide * 0.62, low),
            (left + wide * 0.72, high),
            (left + wide * 0.55, high),
        ],
        (float(r), float(g), float(b)),
    )
    if not van:
        x = left + wide * 0.5
        draw([(x - 0.04, low), (x + 0.04, low), (x + 0.04, high), (x - 0.04, high)], times(paint, 0.8))
    dark = times(paint, 0.62)
    for x in (-0.95, 0.08, 1.05):
        draw([(x, 0.36), (x + 0.018, 0.36), (x + 0.018, 0.9), (x, 0.9)], dark)
    for x in (-0.1, 0.9):
        draw([(x - 0.14, 0.78), (x, 0.78), (x, 0.81), (x - 0.14, 0.81)], times(paint, 0.5))
    draw([(-1.8, 0.3), (1.8, 0.3), (1.8, 0.37), (-1.8, 0.37)], (38, 38, 40))
    draw([(-1.85, 0.7), (1.85, 0.72), (1.85, 0.74), (-1.85, 0.72)], times(paint, 1.16))


def _wheels(stage: Stage, place: Place, way: float, side: float, far: bool) -> None:
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    z = side if far else -side
    for x in (-1.3, 1.3):
        for radius, tone in ((0.37, 16), (0.32, 32), (0.2, 150), (0.16, 116), (0.06, 70)):
            if far and radius < 0.3:
                continue
            ring = np.stack(
                (x * way + radius * np.cos(turn), 0.32 + radius * np.sin(turn), np.full(22, z)), axis=1
            )
            stage.flat(place.world(ring), stage.lit((tone, tone, tone + 2), np.array([0, 0.1, -0.99])))


def _lights(stage: Stage, place: Place, shell: tuple[Size, ...], way: float, half: float) -> None:
    front, rear = shell[1][0], shell[-2][0]
    for x, inner, colour in ((front, 0.3, (232, 232, 222)), (rear, -0.22, (176, 30, 30))):
        y = 0.62
        spots = [
            (x + 0.03 * np.sign(inner), y),
            (x + inner, y + 0.06),
            (x + inner, y + 0.16),
            (x + 0.06 * np.sign(inner), y + 0.15),
        ]
        patch = np.array([(a * way, b, -half - 0.006) for a, b in spots])
        stage.flat(place.world(patch), stage.lit(colour, np.array([0, 0.2, -0.98])))
        end = np.array(
            [
                (x * way, y, -half),
                (x * way, y, -half + 0.4),
                (x * way, y + 0.15, -half + 0.4),
                (x * way, y + 0.15, -half),
            ]
        )
        outward = np.array([np.sign(x) * way, 0.0, 0.0])
        if outward @ (np.array([0, stage.camera.eye, 0]) - place.world(end)[0]) > 0:
            stage.flat(place.world(end) + outward * 0.01, stage.lit(colour, outward))


CAR = Prop("car", 4.5, 1.8, car)
