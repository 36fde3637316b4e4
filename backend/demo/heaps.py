"""Rubbish together: heaps on the ground, and what towers over a bin or hangs from it."""

from __future__ import annotations

import numpy as np

from backend.demo.litter import BAG_SHARES, BAGS, carton, pick, sack, scrap
from backend.demo.solids import Face, block, corners
from backend.demo.stage import Place, Stage


def _nearest_last(stage: Stage, spots: list[Place]) -> list[Place]:
    return sorted(spots, key=lambda p: -stage.camera.depth(p.x, p.z))


def bags(stage: Stage, at: Place) -> None:
    """One to five bags thrown together."""
    rng = stage.rng
    count = int(rng.choice([1, 1, 2, 3, 4, 5]))
    spots = [
        at.moved(float(rng.normal(0, 0.17 * count)), 0, float(rng.normal(0, 0.13))) for _ in range(count)
    ]
    main = BAGS[int(rng.choice(len(BAGS), p=BAG_SHARES))]
    for spot in _nearest_last(stage, spots):
        size = float(rng.uniform(0.42, 0.72))
        stage.touch(spot, size, size * 0.7, 0.9)
        sack(stage, spot, size, main if rng.random() < 0.7 else None)
    if count > 3:
        sack(stage, at.moved(float(rng.normal(0, 0.15)), 0.38, 0.05), float(rng.uniform(0.4, 0.55)), main)


def cartons(stage: Stage, at: Place) -> None:
    """Cardboard boxes, side by side or stacked, sometimes with a bag."""
    rng = stage.rng
    count = int(rng.integers(1, 4))
    spots = [
        at.moved(
            (k - count / 2) * 0.55 + float(rng.normal(0, 0.06)),
            0,
            float(rng.normal(0, 0.12)),
            float(rng.uniform(-0.6, 0.6)),
        )
        for k in range(count)
    ]
    for spot in _nearest_last(stage, spots):
        stage.touch(spot, 0.6, 0.5, 0.9)
        carton(stage, spot, float(rng.uniform(0.38, 0.6)))
    if rng.random() < 0.4:
        beside = at.moved(float(rng.uniform(-0.4, 0.4)), 0, -0.4)
        stage.touch(beside, 0.5, 0.4)
        sack(stage, beside, float(rng.uniform(0.36, 0.5)))


def scatter(stage: Stage, at: Place) -> None:
    """A patch of small litter lying close together."""
    rng = stage.rng
    count = int(rng.integers(6, 15))
    reach = float(rng.uniform(0.28, 0.5))
    spots = [
        at.moved(float(rng.normal(0, reach * 0.6)), 0, float(rng.normal(0, reach * 0.5)))
        for _ in range(count)
    ]
    for spot in _nearest_last(stage, spots):
        size = float(rng.uniform(0.16, 0.3))
        stage.touch(spot, size, size * 0.6, 0.55)
        scrap(stage, spot, size)
    if rng.random() < 0.35:
        stage.touch(at, 0.4, 0.3)
        sack(stage, at, float(rng.uniform(0.28, 0.42)))


def mattress(stage: Stage, at: Place) -> None:
    """An old mattress that leans on something."""
    rng = stage.rng
    width, height = float(rng.uniform(0.9, 1.4)), float(rng.uniform(1.2, 1.7))
    place = Place(at.x, at.z, float(rng.uniform(-0.3, 0.3)))
    lean = 0.45
    colour = pick(rng, ((214, 206, 192), (188, 196, 206), (206, 190, 178)))
    stage.touch(place, width, 0.5)

    def detail(face: Face) -> None:
        if face.name != "front":
            return
        for v in np.linspace(0.12, 0.88, 6):
            for u in np.linspace(0.12, 0.88, 5):
                face.disc(
                    float(u),
                    float(v),
                    (0.02, 0.014),
                    (colour[0] * 0.74, colour[1] * 0.74, colour[2] * 0.74),
                )
        for _ in range(2):
            face.disc(
                float(rng.uniform(0.2, 0.8)),
                float(rng.uniform(0.2, 0.8)),
                (0.13, 0.08),
                (colour[0] * 0.86, colour[1] * 0.8, colour[2] * 0.68),
            )

    block(stage, place.world(corners((width, 0.2), (width, 0.2), 0.0, height, (0, lean))), colour, detail)


def crest(stage: Stage, rim: Place, width: float, depth: float, level: float, amount: float) -> None:
    """Rubbish heaped on an opening ``width`` by ``depth`` metres at height ``level`` of ``rim``.

    ``amount`` in [0, 1] is how high it towers.
    """
    rng = stage.rng
    across = max(int(np.ceil(width / 0.3)), 2)
    rows = 2 if depth > 0.3 else 1
    spots: list[tuple[Place, float]] = []
    for row in range(rows):
        for k in range(across):
            x = (k + 0.5) / across * width - width / 2 + float(rng.normal(0, 0.03))
            z = ((row + 0.5) / rows - 0.5) * depth * 0.7
            size = float(rng.uniform(0.8, 1.25)) * max(width / across, 0.24) * 1.15
            spots.append((rim.moved(x, level - size * 0.42 + 0.1 * amount * float(rng.random()), z), size))
    spots.append(
        (
            rim.moved(float(rng.normal(0, width * 0.12)), level + 0.04 + 0.12 * amount, 0.0),
            max(min(width, 0.62) * 0.62, 0.2),
        )
    )
    main = BAGS[int(rng.choice(len(BAGS), p=BAG_SHARES))]
    order = sorted(range(len(spots)), key=lambda i: (-stage.camera.depth(spots[i][0].x, spots[i][0].z), i))
    for i in order:
        spot, size = spots[i]
        if rng.random() < 0.72:
            sack(stage, spot, size, main if rng.random() < 0.5 else None)
        else:
            lifted = Place(spot.x, spot.z, float(rng.uniform(-0.7, 0.7)), spot.y + size * 0.3)
            carton(stage, lifted, size * 0.7)
    for _ in range(int(rng.integers(3, 8))):
        x = float(rng.uniform(-0.46, 0.46)) * width
        scrap(
            stage,
            rim.moved(x, level + float(rng.uniform(0.02, 0.1 + 0.16 * amount)), -0.2 * depth),
            float(rng.uniform(0.14, 0.24)),
        )


def hang(stage: Stage, rim: Place, width: float, depth: float, level: float) -> None:
    """Bags and paper that hang over the front edge of a bin."""
    rng = stage.rng
    for _ in range(int(rng.integers(1, 4))):
        x = float(rng.uniform(-0.42, 0.42)) * width
        spot = rim.moved(x, level - float(rng.uniform(0.06, 0.16)), -depth / 2 - 0.03)
        if rng.random() < 0.5:
            size = float(rng.uniform(0.18, 0.3)) * min(width / 0.55, 1.3)
            sack(stage, Place(spot.x, spot.z, 0, spot.y - size * 0.3), size)
        else:
            scrap(stage, spot, float(rng.uniform(0.16, 0.26)))
