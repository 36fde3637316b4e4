"""A replay of a project's own labels: what each strategy would have saved here, as table, picture or JSON.

The test is the labelled holdout; the pool is every other image that people labelled. Models start where the
project's present line of models started, before any of these labels were learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend import console, learning, snapshot
from backend.curves import Paired, Summary, caution, summarise
from backend.gate import MEASURE
from backend.house import House, label_map
from backend.replay import Run, replay, taught, with_controls
from pool.schema import ModelVersion, NotReady, Project

if TYPE_CHECKING:
    from backend.detector.evaluate import Truth

STEPS = 200
"""Optimisation steps of every training: enough for tens of images, little for hundreds."""
COLOURS = (
    "#8a8a8a",
    "#222222",
    "#1f77b4",
    "#e8710a",
    "#2e8b57",
    "#d1495b",
    "#8d5b9f",
    "#00798c",
    "#b56b45",
)


def run(
    house: House,
    project: Project,
    strategies: Sequence[str],
    seeds: int,
    rounds: int,
    size: int | None,
    initial: int | None,
    as_json: bool,
    picture: Path | None = None,
    steps: int = STEPS,
) -> list[Summary]:
    """Replay, print what came of it, and draw the curves into ``picture`` if one is wanted.

    Without ``size`` or ``initial`` the rounds are so large that they end at half of the labelled images:
    where nothing is left to choose, all strategies are alike.

    Raises:
        BadInput: an unknown strategy, or rounds that leave no choice.
        NotReady: no labelled image in the holdout or outside it, or one that cannot be read.
    """
    from backend.detector.predict import DetectorOptions
    from backend.detector.train import TrainOptions

    wanted = with_controls(strategies)
    base = beginning(house, project)
    rows, test = labelled(house, project)
    share = max(len(rows) // (2 * (rounds + 1)), 1)
    size, initial = size or share, initial or share
    if not as_json:
        console.say(
            f"{len(rows)} labelled images, {len(test)} to test on: "
            f"{seeds * (1 + rounds * len(wanted))} trainings of {steps} steps from {base.version}"
        )
    s = house.settings
    options = TrainOptions(imgsz=s.imgsz, lr0=_rate(base), device=s.device, threads=s.threads)
    with console.bars(show=not as_json) as tell:
        runs = replay(
            rows,
            test,
            house.registry.path(base.weights),
            project.labels,
            wanted,
            seeds=range(seeds),
            initial=initial,
            size=size,
            rounds=rounds,
            options=DetectorOptions(
                imgsz=s.imgsz,
                conf=s.conf_floor,
                iou=s.iou,
                device=s.device,
                threads=s.threads,
                batch=s.batch,
            ),
            teach=taught(options, steps, project.labels, label_map(project, base)),
            tell=tell,
        )
    found = summarise(runs)
    if as_json:
        console.emit(document(runs, found) | {"base": base.version, "test": len(test), "steps": steps})
    else:
        show(runs, found)
    if picture is not None:
        draw(runs, picture)
        if not as_json:
            console.say("drawn: ", (str(picture), "bold"))
    return found


def beginning(house: House, project: Project) -> ModelVersion:
    """The model that the champion descends from: it has learned none of the project's labels."""
    model = house.champion(project.id)
    while model.parent is not None:
        model = house.pool.model(model.parent)
    return model


def _rate(base: ModelVersion) -> float:
    """The first learning rate that the loop itself would take for this model."""
    fresh = base.note == learning.COLD or base.metrics.get(MEASURE, 1.0) < learning.KNOWS
    return learning.TAUGHT if fresh else learning.NUDGED


def labelled(house: House, project: Project) -> tuple[list[Truth], list[Truth]]:
    """What people labelled outside the holdout, and in it, as (sample, file, regions).

    Raises:
        NotReady: a side is empty, the sides share an image, or none of the files can be had.
    """
    sides = []
    how = snapshot.voting_of(house.pool, project.id, house.settings)
    for holdout in (False, True):
        rows, _ = snapshot.rows(
            house.pool,
            project.id,
            holdout=holdout,
            labels=project.labels,
            how=how,
            people=True,
        )
        if not rows:
            where = "in the holdout, to measure on" if holdout else "outside the holdout, to replay"
            raise NotReady(
                f"No image of project {project.id} is labelled {where}: label some first, then replay."
            )
        sides.append(rows)
    train, held = sides
    snapshot.check_split(train, {row.sample.root for row in held})
    images, _ = learning.files(house, [row.sample for side in sides for row in side])

    def found(side: list[snapshot.Row]) -> list[Truth]:
        there = [row for row in side if row.sample.id in images]
        return [(row.sample.id, images[row.sample.id], snapshot.upright(row)) for row in there]

    return found(train), found(held)


def document(runs: Sequence[Run], found: Sequence[Summary]) -> dict[str, Any]:
    """Everything for machines: the curves as they were played, the figures, and the caution."""
    return {
        "measure": MEASURE,
        "summary": [asdict(summary) for summary in found],
        "caution": caution(runs),
        "runs": [asdict(one) for one in runs],
    }


def show(runs: Sequence[Run], found: Sequence[Summary]) -> None:
    """A table of the figures, a verdict for each strategy, and the caution if there is one."""
    console.table(
        "Replay",
        [
            "strategy",
            "mAP50-95",
            "boxes",
            "area",
            "by boxes",
            "gain",
            "won",
            "images to target",
            "boxes to target",
        ],
        [
            [
                s.strategy,
                f"{s.final:.3f}" + ("" if s.final_sd is None else f" ±{s.final_sd:.3f}"),
                round(s.boxes),
                f"{s.area:.3f}",
                f"{s.area_boxes:.3f}",
                _interval(s.gain),
                f"{s.gain.wins}/{s.gain.n}" if s.gain else "",
                _share(s.images_to_target),
                _share(s.boxes_to_target),
            ]
            for s in found
        ],
    )
    console.say(
        "mAP50-95 after the last round ± its deviation over seeds; area: the mean height of the learning "
        "curve over images, and over boxes as far as all went; gain: in area, over random, with its 95 % "
        "interval; target: the last result of random, and the share of its images and boxes that it took"
    )
    for s in found:
        console.say("  ", (s.strategy, "bold"), f": {s.verdict}")
    if warning := caution(runs):
        console.say((warning, "yellow"))


def _share(value: float | None) -> str:
    return "not yet" if value is None else f"{value:.0%}"


def _interval(gain: Paired | None) -> str:
    if gain is None:
        return ""
    spread = "" if gain.low is None else f" ±{gain.mean - gain.low:.3f}"
    return f"{gain.mean:+.3f}{spread}"


def draw(runs: Sequence[Run], path: Path) -> Path:
    """Write a PNG of the mean learning curves over images and over boxes, with each seed's faintly behind.

    It is drawn without pyplot and leaves matplotlib's settings alone. Returns ``path``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), dpi=150, facecolor="white", layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for number, name in enumerate(dict.fromkeys(one.strategy for one in runs)):
        mine = [one.rounds for one in runs if one.strategy == name]
        colour = COLOURS[number % len(COLOURS)]
        heights = np.array([[getattr(r, MEASURE) for r in rounds] for rounds in mine])
        for axes, axis in zip(panels, ("images", "boxes"), strict=True):
            places = np.array([[getattr(r, axis) for r in rounds] for rounds in mine])
            axes.plot(places.T, heights.T, color=colour, alpha=0.18, linewidth=0.8)
            style = "--" if name in ("random", "count") else "-"
            axes.plot(places.mean(0), heights.mean(0), style, color=colour, marker="o", ms=3.5, label=name)
    for axes, axis in zip(panels, ("images", "boxes"), strict=True):
        axes.set_xlabel(f"labelled {axis}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    panels[0].set_ylabel("mAP50-95 on the test")
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, format="png")
    return path
