"""Pairs of drawn scenes that the demonstration's small diffusion model learns from: clear, and not.

A scene of each seed is drawn once into a file, clear first and then in a few conditions drawn by lot.
What a step of training sees depends on the plan, the step's number and the scenes drawn by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

TRAIN_SEEDS = 300_000
"""First seed of the scenes to learn from."""
_DROPPED = 0.05
_SHUFFLED = 0.3


@dataclass(frozen=True, slots=True)
class View:
    """A way to cut pairs: ``batch`` windows of ``size`` (w, h) from scenes shrunk to a ``scale``."""

    size: tuple[int, int]
    scale: tuple[float, float]
    batch: int
    share: float


VIEWS = (
    # Streaks and edges as large as they are in a whole picture, then ever more of the scene at once.
    View((96, 96), (0.7, 1.0), 4, 0.5),
    View((192, 160), (0.34, 0.8), 1, 0.25),
    View((128, 96), (0.2, 0.35), 3, 0.22),
    View((640, 480), (1.0, 1.0), 1, 0.03),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to train: it ends after ``minutes`` of training or ``steps``, whichever comes first.

    ``scenes`` are drawn at ``size`` (w, h), each in clear weather and ``weathers`` others. ``widths`` are
    the UNet's channels, fine to coarse. ``check`` scenes are measured on, at the size ``checked``, and
    those of the seeds ``shown`` go to the contact sheet.
    """

    minutes: float = 40.0
    steps: int = 20_000
    scenes: int = 450
    weathers: int = 6
    check: int = 12
    checked: tuple[int, int] = (320, 240)
    shown: tuple[int, ...] = (400_002, 400_005, 400_009, 400_011)
    size: tuple[int, int] = (640, 480)
    views: tuple[View, ...] = VIEWS
    widths: tuple[int, ...] = (48, 80, 112, 128)
    rate: float = 5e-4
    saved_every: float = 180.0
    seed: int = 0


def words(name: str) -> str:
    """What the model is told for a condition: its name in plain words."""
    return name.replace(":", " ")


def chosen(seed: int, count: int) -> list[str]:
    """The conditions, clear not among them, that a scene is drawn in."""
    from backend.demo.weather import CONDITIONS

    names = [name for name in CONDITIONS if name != "clear"]
    count = min(count, len(names))
    return [str(n) for n in np.random.default_rng([seed, 2]).choice(names, count, replace=False)]


def draw(folder: Path, plan: Plan) -> None:
    """Draw what is missing of a plan's scenes into ``folder``, one file of (1 + weathers, h, w, 3) each."""
    from backend.demo.weather import pictures

    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(TRAIN_SEEDS, TRAIN_SEEDS + plan.scenes):
        path = folder / f"{seed}.npy"
        if not path.exists():
            names = ["clear", *chosen(seed, plan.weathers)]
            partial = path.with_suffix(".part")
            with partial.open("wb") as file:
                drawn = pictures(seed, names, plan.size)
                np.save(file, np.stack([drawn[name].image for name in names]))
            partial.rename(path)


def cut(
    paths: Sequence[Path], plan: Plan, step: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]:
    """The batch of a step: sources and targets, uint8 (n, h, w, 3), and what to be told."""
    rng = np.random.default_rng([plan.seed, step])
    shares = np.array([view.share for view in plan.views])
    view = plan.views[int(rng.choice(len(plan.views), p=shares / shares.sum()))]
    width, height = view.size
    rows = []
    for _ in range(view.batch):
        path = paths[int(rng.integers(len(paths)))]
        stack = np.load(path, mmap_mode="r")
        which = int(rng.integers(1, len(stack)))
        high, wide = stack.shape[1:3]
        scale = min(max(float(rng.uniform(*view.scale)), width / wide, height / high), 1.0)
        w, h = min(round(width / scale), wide), min(round(height / scale), high)
        x, y = int(rng.integers(wide - w + 1)), int(rng.integers(high - h + 1))
        pair = [stack[k, y : y + h, x : x + w] for k in (0, which)]
        if rng.random() < 0.5:
            pair = [one[:, ::-1] for one in pair]
        pair = [cv2.resize(np.ascontiguousarray(p), view.size, interpolation=cv2.INTER_AREA) for p in pair]
        told = words(chosen(int(path.stem), len(stack) - 1)[which - 1]).split()
        if rng.random() < _SHUFFLED:
            rng.shuffle(told)
        rows.append((*pair, "" if rng.random() < _DROPPED else " ".join(told)))
    sources, targets, texts = zip(*rows, strict=True)
    return np.stack(sources), np.stack(targets), list(texts)
