"""What variants do for a detector in weather that it never learned, at the same cost of training.

A detector that knows clear daylight is trained further on the same labelled scenes in clear daylight, in
arms that differ by one thing only, what is shown beside them in as many pictures and optimisation steps:

* ``none``: the same clear scenes again,
* ``physical``: variants of them by the renderers,
* ``diffusion``: variants of them by the small diffusion model,
* ``drawn``: the scenes drawn in that weather, which no camera could give for the same street: the ceiling.

Variants go through the gates, as they do in the service; people confirm the boxes of those that pass, so
they carry their parents' boxes. All arms are measured on other streets drawn in every condition by the
demo's own weather, which knows each pixel's depth and shares no code with the renderers. The diffusion
model has seen that weather on other streets, as a model of photographs has seen real rain.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from backend import learning, painting, variants  # noqa: E402
from backend.demo.run import WEIGHTS  # noqa: E402
from backend.demo.scenes import LABELS, jpeg  # noqa: E402
from backend.demo.weather import CONDITIONS, scene  # noqa: E402
from backend.detector.dataset import write_dataset  # noqa: E402
from backend.detector.evaluate import measure, summary  # noqa: E402
from backend.detector.predict import Detector, DetectorOptions  # noqa: E402
from backend.detector.train import TrainOptions, TrainSpec, train  # noqa: E402
from backend.house import Job, open_house  # noqa: E402
from backend.intake import one  # noqa: E402
from backend.settings import isolated, quiet_libraries  # noqa: E402
from backend.variants import Wish  # noqa: E402
from benchmarks.closing import close  # noqa: E402
from pool.schema import Annotation, Project, Region, Task  # noqa: E402

SIZE, IMGSZ = (320, 240), 320
LEARN, HOLDOUT = 500_000, 600_000
WEATHER = tuple(name for name in CONDITIONS if name != "clear")
ARMS = ("none", "physical", "diffusion", "drawn")
MEASURE = "map50_95"

Row = tuple[str, Path, tuple[Region, ...]]


@dataclass(frozen=True)
class Plan:
    """``scenes`` to learn from, ``each`` further pictures of each, ``holdout`` streets per condition."""

    scenes: int
    each: int
    holdout: int
    epochs: int
    seeds: int


FULL = Plan(scenes=60, each=2, holdout=30, epochs=10, seeds=3)
QUICK = Plan(scenes=4, each=1, holdout=2, epochs=1, seeds=1)


def clear(plan: Plan, folder: Path) -> list[Row]:
    """The labelled scenes in clear daylight."""
    folder.mkdir(parents=True)
    rows = []
    for seed in range(LEARN, LEARN + plan.scenes):
        drawn = scene(seed, "clear", SIZE)
        path = folder / f"{seed}.jpg"
        path.write_bytes(jpeg(drawn))
        rows.append((str(seed), path, drawn.regions))
    return rows


def painted(rows: Sequence[Row], plan: Plan, model: str, folder: Path, spare: int) -> list[Row]:
    """Variants that pass the gates, as the service makes them; ``spare`` times as many are tried."""
    from datetime import UTC, datetime

    settings = isolated(data_dir=folder, imgsz=IMGSZ, threads=1, holdout_share=0.0, diffusion_batch=4)
    now = datetime.now(UTC)
    with open_house(settings) as house:
        house.pool.save_project(Project(1, "Bins", "label", "image", "image", LABELS, {}, "secret"))
        samples = [one(house, path.read_bytes(), path.name) for _, path, _ in rows]
        house.pool.bind_tasks([Task(1, n, s.id, f"/data/{n}") for n, s in enumerate(samples, 1)])
        said = [
            Annotation(n, 1, n, s.id, "ann", tuple(regions), now, now)
            for n, (s, (_, _, regions)) in enumerate(zip(samples, rows, strict=True), 1)
        ]
        house.pool.save_annotations(said)
        name, sha256 = house.registry.register(WEIGHTS)
        learning.first_model(house, house.pool.project(1), name, sha256, LABELS)
        learning.look(house, house.champion(1), Job("look"))
        wish = Wish(
            WEATHER, parents=tuple(s.id for s in samples), per_parent=plan.each * spare, model=model
        )
        variants.plan(house, house.champion(1), wish, Job("vary"))
        report = painting.paint(house, house.champion(1), Job("vary"))
        passed = house.pool.variants(1, states=["passed"])
        print(f"{model}: {report}", flush=True)
        return [(v.id[:12], house.images.local(f"{v.sample}{v.suffix}"), v.regions) for v in passed]


def drawn(plan: Plan, folder: Path) -> list[Row]:
    """The same streets drawn in weather, each in other conditions."""
    folder.mkdir(parents=True)
    rows = []
    for number, seed in enumerate(range(LEARN, LEARN + plan.scenes)):
        for k in range(plan.each):
            name = WEATHER[(number * plan.each + k) % len(WEATHER)]
            made = scene(seed, name, SIZE, take=k)
            path = folder / f"{seed}-{k}.jpg"
            path.write_bytes(jpeg(made))
            rows.append((f"{seed}-{k}", path, made.regions))
    return rows


def holdout(plan: Plan, folder: Path) -> dict[str, list[Row]]:
    """Other streets in every condition, clear ones too."""
    out: dict[str, list[Row]] = {}
    for name in CONDITIONS:
        place = folder / name.replace(":", "-")
        place.mkdir(parents=True)
        out[name] = []
        for seed in range(HOLDOUT, HOLDOUT + plan.holdout):
            made = scene(seed, name, SIZE)
            path = place / f"{seed}.jpg"
            path.write_bytes(jpeg(made))
            out[name].append((f"{name}/{seed}", path, made.regions))
    return out


def taught(rows: Sequence[Row], plan: Plan, seed: int, folder: Path) -> Path:
    """Weights trained further on these pictures."""
    quiet_libraries(isolated(data_dir=folder))
    data = write_dataset(folder / "dataset", [(path, regions) for _, path, regions in rows], LABELS)
    options = TrainOptions(
        epochs=plan.epochs, imgsz=IMGSZ, lr0=0.00025, close_mosaic=plan.epochs, seed=seed, threads=1,
        workers=0, device="cpu",
    )  # fmt: skip
    return train(TrainSpec(folder, WEIGHTS, data, LABELS, options), lambda *_: None).weights


def measured(weights: Path, test: Mapping[str, Sequence[Row]]) -> dict[str, float]:
    """mAP50-95 of weights in each condition."""
    options = DetectorOptions(imgsz=IMGSZ, device="cpu", threads=1)
    detector = Detector(weights, options, version="arm", label_map={label: label for label in LABELS})
    return {
        name: summary(measure(detector, list(rows), LABELS)).get(MEASURE, 0.0)
        for name, rows in test.items()
    }


def play(
    arm: str, seed: int, rows: Sequence[Row], plan: Plan, test: Mapping[str, Sequence[Row]]
) -> tuple[str, int, dict[str, float]]:
    """Train and measure one arm with one seed."""
    with tempfile.TemporaryDirectory() as folder:
        return arm, seed, measured(taught(rows, plan, seed, Path(folder)), test)


def mixed(rows: Sequence[Row], more: Sequence[Row], plan: Plan, seed: int) -> list[Row]:
    """The clear scenes and as many further pictures as every arm gets, drawn by ``seed``."""
    wanted = plan.scenes * plan.each
    rng = np.random.default_rng(seed)
    order = [i for _ in range(-(-wanted // max(len(more), 1))) for i in rng.permutation(len(more))]
    return [*rows, *(more[i] for i in order[:wanted])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="show that it runs; compares nothing")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        quiet_libraries(isolated(data_dir=folder))
        rows, test = clear(plan, folder / "clear"), holdout(plan, folder / "holdout")
        further = {
            "none": rows,
            "physical": painted(rows, plan, "physical", folder / "physical", 2),
            "diffusion": painted(rows, plan, "street-weather", folder / "diffusion", 2),
            "drawn": drawn(plan, folder / "drawn"),
        }
        before = measured(WEIGHTS, test)
        jobs = [(arm, seed) for seed in range(plan.seeds) for arm in ARMS if further[arm]]
        with ProcessPoolExecutor(2, get_context("spawn")) as workers:
            runs = [
                workers.submit(play, arm, seed, mixed(rows, further[arm], plan, seed), plan, test)
                for arm, seed in jobs
            ]
            found = [run.result() for run in runs]
    report(plan, before, found, {arm: len(more) for arm, more in further.items()}, options.out)


def report(
    plan: Plan,
    before: Mapping[str, float],
    found: Sequence[tuple[str, int, dict[str, float]]],
    pictures: Mapping[str, int],
    out: Path | None,
) -> None:
    """Print a table by condition, and what each arm gained over ``none`` seed by seed."""
    table = {
        arm: {
            name: float(np.mean([values[name] for which, _, values in found if which == arm]))
            for name in CONDITIONS
        }
        for arm in ARMS
        if any(which == arm for which, _, _ in found)
    }
    print(f"{'condition':<20}{'before':>9}" + "".join(f"{arm:>11}" for arm in table))
    for name in CONDITIONS:
        print(f"{name:<20}{before[name]:>9.3f}" + "".join(f"{table[arm][name]:>11.3f}" for arm in table))
    over: dict[str, list[float]] = {}
    for arm in table:
        for seed in range(plan.seeds):
            mine = [v for which, s, v in found if (which, s) == (arm, seed)]
            base = [v for which, s, v in found if (which, s) == ("none", seed)]
            if mine and base:
                gain = np.mean([mine[0][name] - base[0][name] for name in WEATHER])
                over.setdefault(arm, []).append(round(float(gain), 4))
    mean = {arm: float(np.mean([values[name] for name in WEATHER])) for arm, values in table.items()}
    start = float(np.mean([before[name] for name in WEATHER]))
    print(f"{'mean over weather':<20}{start:>9.3f}" + "".join(f"{mean[arm]:>11.3f}" for arm in table))
    for arm, gains in over.items():
        print(f"{arm} over none, by seed: {gains}")
    figures = {
        "before": {name: round(value, 4) for name, value in before.items()},
        "arms": {arm: {n: round(v, 4) for n, v in values.items()} for arm, values in table.items()},
        "weather_mean": {"before": round(start, 4)} | {arm: round(v, 4) for arm, v in mean.items()},
        "gain_over_none_by_seed": over,
        "pictures_that_passed": dict(pictures),
        "plan": asdict(plan),
        "machine": platform.processor() or platform.machine(),
    }
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    base_mean = mean.get("none", 0.0)
    ratios = {f"{arm}_over_none": round(v / base_mean, 3) for arm, v in mean.items() if base_mean > 0}
    close("augmentation", figures, ratios)


if __name__ == "__main__":
    main()
