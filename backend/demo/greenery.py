"""Trees, flowers, fallen leaves and twigs."""

from __future__ import annotations

import numpy as np

from backend.demo.litter import pick
from backend.demo.palette import choose, times
from backend.demo.solids import box, drum, oval, rod, sheet, unit
from backend.demo.stage import Place, Stage


def tree(stage: Stage, place: Place) -> None:
    """A street tree: trunk, crown of many leaves, ring of earth."""
    rng = stage.rng
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    ring = np.stack((0.55 * np.cos(turn), 0 * turn, 0.55 * np.sin(turn)), axis=1)
    stage.flat(place.world(ring), stage.lit((98, 78, 60), np.array([0, 1.0, 0])))
    stage.touch(place, 0.5, 0.5)
    height = float(rng.uniform(2.1, 2.8))
    base = place.world(
        np.array([[0, 0, 0], [0.05, height * 0.5, 0], [float(rng.normal(0, 0.1)), height + 0.4, 0]])
    )
    girth = float(rng.uniform(0.2, 0.34))
    rod(stage, base[0], base[1], (girth, girth * 0.8), (98, 84, 70))
    rod(stage, base[1], base[2], (girth * 0.8, girth * 0.55), (98, 84, 70))
    leaf = np.array([(84, 118, 58), (104, 124, 62), (70, 104, 66), (172, 126, 52)][int(rng.integers(4))])
    reach = float(rng.uniform(1.1, 1.7))
    centre = place.moved(0, height + reach * 0.85, 0)
    tufts = []
    for _ in range(130):
        d = unit(rng.normal(0, 1, 3)) * reach * rng.uniform(0.05, 1.0) ** 0.6 * np.array([1.0, 0.8, 1.0])
        tufts.append(d)
    tufts.sort(key=lambda d: float(-(stage.camera.depth(centre.x + d[0], centre.z + d[2]))))
    for d in tufts:
        spot = Place(centre.x + float(d[0]), centre.z + float(d[2]), 0, centre.y + float(d[1]))
        radius = float(rng.uniform(0.16, 0.34)) * (1.25 - 0.6 * float(np.linalg.norm(d)) / reach)
        tone = leaf * (0.7 + 0.3 * (d[1] / reach + 0.4)) * rng.uniform(0.85, 1.12)
        jag = rng.uniform(0.62, 1.3, 12).tolist()
        shape = [(x * k, y * k) for (x, y), k in zip(oval(radius, radius * 0.85, 12), jag, strict=True)]
        facing = unit(d / reach + np.array([0, 0.25, -0.6]))
        sheet(
            stage,
            spot,
            shape,
            (float(tone[0]), float(tone[1]), float(tone[2])),
            float(rng.uniform(0, 3)),
            normal=facing,
        )
        if rng.random() < 0.35:
            disc = np.array([(x * 1.2, y * 1.2, 0.0) for x, y in oval(radius, radius, 8)])
            stage.cast(disc + np.array((spot.x, spot.y, spot.z)))


def planter(stage: Stage, place: Place) -> None:
    """A tub of flowers, about as large as a bin."""
    rng = stage.rng
    colour = choose(rng, ((150, 104, 78), (138, 136, 130), (96, 78, 60), (70, 72, 74)), (0.88, 1.1), 240)
    stage.touch(place, 0.7, 0.7)
    level = 0.55
    if rng.random() < 0.5:
        drum(stage, place, (0.26, 0.36), (0, level), colour, top=(62, 48, 38))
        drum(stage, place, (0.39, 0.39), (level - 0.08, level), times(colour, 1.12), top=(62, 48, 38))
        wide = 0.3
    else:
        level = 0.5
        box(
            stage,
            place,
            (0.95, level, 0.5),
            colour,
            lambda face: face.rect(0.04, 0.86, 0.96, 0.92, times(colour, 0.75)),
        )
        wide = 0.42
    petal = choose(rng, ((206, 60, 78), (232, 190, 70), (222, 214, 222), (150, 84, 160)), (0.88, 1.1), 240)
    for k in range(46):
        x, z = float(rng.uniform(-wide, wide)), float(rng.uniform(-0.18, 0.18)) * (1 - k / 60)
        spot = place.moved(x, level + float(rng.uniform(0, 0.3)) * (1 - abs(x) / wide * 0.5), z)
        green = (float(rng.uniform(52, 92)), float(rng.uniform(98, 136)), 60.0)
        sheet(
            stage,
            spot,
            oval(0.075, 0.06, 7),
            green,
            normal=unit(rng.normal(0, 0.4, 3) + np.array((0, 0.6, -0.6))),
        )
        if rng.random() < 0.35:
            sheet(stage, spot, oval(0.035, 0.035, 7), petal)


def leaves(stage: Stage, at: Place) -> None:
    """Autumn leaves on the ground: look like litter and are none."""
    rng = stage.rng
    base = np.array(pick(rng, ((182, 120, 46), (160, 92, 40), (190, 150, 60), (120, 124, 58))))
    for _ in range(int(rng.integers(14, 44))):
        spot = at.moved(float(rng.normal(0, 0.5)), 0, float(rng.normal(0, 0.35)))
        r, g, b = base * rng.uniform(0.65, 1.15)
        size = float(rng.uniform(0.03, 0.06))
        if stage.camera.depth(spot.x, spot.z) > 1.0:
            sheet(
                stage,
                spot,
                [(x, y * 0.5) for x, y in oval(size, size, 6)],
                (float(r), float(g), float(b)),
                float(rng.uniform(0, 3)),
            )


def twig(stage: Stage, at: Place) -> None:
    """A fallen branch: looks like litter and is none."""
    rng = stage.rng
    a = at.world(np.array([[0.0, 0.02, 0.0]]))[0]
    angle, length = rng.uniform(0, np.pi), rng.uniform(0.3, 0.7)
    b = a + np.array([np.cos(angle) * length, 0.03, np.sin(angle) * length * 0.6])
    rod(stage, a, b, (0.03, 0.012), (92, 70, 50), cast=False)
    middle = (a + b) / 2
    rod(stage, middle, middle + np.array([0.12, 0.05, 0.08]), (0.016, 0.008), (92, 70, 50), cast=False)
