"""What active learning saves on scenes of handwritten digits, against drawing images by chance.

The pool is what cameras give: more than half of it shows one large digit of the two commonest classes; the
rest is crowded and faint, and the six classes are as unequal as in a street. The test has as many easy as
hard scenes and all classes alike, in handwriting that the pool does not know. Each seed has a pool of its
own. Models start from a tiny detector that learned other digits, as detectors of photos start from COCO,
and their first layers stay as they are. Everything but the training is what `thresher bench` runs.

`--quick` shows that it runs; models so little trained compare nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from backend import bench  # noqa: E402
from backend.curves import Summary, summarise  # noqa: E402
from backend.detector.evaluate import evaluate  # noqa: E402
from backend.detector.predict import Detector, DetectorOptions  # noqa: E402
from backend.gate import MEASURE  # noqa: E402
from backend.replay import Run, replay  # noqa: E402
from backend.settings import load, quiet_libraries  # noqa: E402
from benchmarks.closing import close  # noqa: E402
from benchmarks.digits.scenes import SIDE, Row, draw  # noqa: E402
from benchmarks.digits.training import Loop, blank  # noqa: E402
from sampler.strategies import DEFAULT  # noqa: E402

ASKED = (0, 1, 2, 3, 4, 5)
"""The digits that people are asked about."""
LABELS = tuple(map(str, ASKED))
SHARES = (0.42, 0.22, 0.14, 0.10, 0.07, 0.05)
"""How often each is in the hard scenes of the pool."""
EASY = 0.6
"""Share of the pool that shows one large digit of the two commonest classes."""
KNOWN = tuple(10 * turns + digit for turns in range(4) for digit in (6, 7, 8, 9))
"""What the base learned: the other digits, turned by 0 to 3 right angles, sixteen shapes."""
LOOK = DetectorOptions(imgsz=SIDE, device="cpu", threads=1, batch=64)


@dataclass(frozen=True)
class Plan:
    """How much is played; ``base_steps`` teach the base, ``steps`` every model of every round."""

    strategies: tuple[str, ...]
    seeds: int
    rounds: int
    pool: int
    test: int
    base_scenes: int
    base_steps: int
    steps: int
    initial: int
    size: int


FULL = Plan(
    ("top_n", "uncertainty_herding", "max_herding", "clasp", "core_set"),
    seeds=4,
    rounds=3,
    pool=600,
    test=200,
    base_scenes=600,
    base_steps=1000,
    steps=200,
    initial=40,
    size=40,
)
QUICK = replace(
    FULL,
    strategies=(DEFAULT,),
    seeds=2,
    rounds=2,
    pool=100,
    test=40,
    base_scenes=60,
    base_steps=20,
    steps=20,
    initial=20,
    size=20,
)


def base(plan: Plan, folder: Path) -> Path:
    """Weights that know other digits."""
    names = tuple(map(str, KNOWN))
    rows = draw(folder / "base", plan.base_scenes, 1, KNOWN, (1,) * len(KNOWN), 0.2)
    (folder / "taught").mkdir()
    teach = Loop(names, plan.base_steps, rate=0.008)
    return teach(blank(names, folder), rows, 0, folder / "taught")


def sides(plan: Plan, seed: int, folder: Path) -> tuple[list[Row], list[Row]]:
    """The pool of a seed, and the test of all seeds."""
    pool = draw(folder / "pool", plan.pool, 1000 + seed, ASKED, SHARES, EASY)
    return pool, draw(folder / "test", plan.test, 3, ASKED, (1,) * len(ASKED), 0.5, test=True)


def play(weights: Path, plan: Plan, seed: int) -> list[Run]:
    """All strategies from one seed."""
    with tempfile.TemporaryDirectory() as name:
        rows, test = sides(plan, seed, Path(name))
        return replay(
            rows,
            test,
            weights,
            LABELS,
            plan.strategies,
            seeds=[seed],
            initial=plan.initial,
            size=plan.size,
            rounds=plan.rounds,
            options=LOOK,
            teach=Loop(LABELS, plan.steps, frozen=3),
        )


def everything(weights: Path, plan: Plan) -> float:
    """mAP50-95 of a model that was taught the whole pool of seed 0, for three times as long.

    If it is not far above the first round's, nothing can be learned about learning here. The longer
    training is for the larger set alone: the rounds' own sets gain nothing by it.
    """
    with tempfile.TemporaryDirectory() as name:
        rows, test = sides(plan, 0, Path(name))
        folder = Path(name) / "taught"
        folder.mkdir()
        taught = Loop(LABELS, 3 * plan.steps, frozen=3)(weights, rows, 0, folder)
        detector = Detector(taught, LOOK, version="all", label_map={label: label for label in LABELS})
        return evaluate(detector, test, LABELS)[MEASURE]


def figures(found: list[Summary]) -> dict[str, float]:
    """The numbers of each strategy that are known."""
    out: dict[str, float | None] = {}
    for s in found:
        out |= {f"{s.strategy}_area": s.area, f"{s.strategy}_final": s.final}
        out |= {f"{s.strategy}_final_sd": s.final_sd, f"{s.strategy}_boxes": s.boxes}
        out |= {f"{s.strategy}_images_to_target": s.images_to_target}
        out |= {f"{s.strategy}_boxes_to_target": s.boxes_to_target}
        if s.gain:
            out |= {f"{s.strategy}_gain": s.gain.mean, f"{s.strategy}_p": s.gain.adjusted}
    return {name: round(value, 4) for name, value in out.items() if value is not None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds, hardly trained: under 45 seconds")
    parser.add_argument("--processes", type=int, default=2, help="seeds played at once, a thread each")
    parser.add_argument("--picture", type=Path, help="also draw the learning curves into this PNG file")
    given = parser.parse_args()
    plan = QUICK if given.quick else FULL
    with tempfile.TemporaryDirectory() as name:
        quiet_libraries(load(data_dir=Path(name)))
        weights = base(plan, Path(name))
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(given.processes, mp_context=spawn) as pool:
            whole = pool.submit(everything, weights, plan)
            jobs = [pool.submit(play, weights, plan, seed) for seed in range(plan.seeds)]
            runs = [run for job in jobs for run in job.result()]
            top = whole.result()
    found = summarise(runs)
    bench.show(runs, found)
    first = sum(run.rounds[0].map50_95 for run in runs) / len(runs)
    print(f"first round {first:.3f}, all {plan.pool} images {top:.3f} {MEASURE}")
    if given.picture:
        bench.draw(runs, given.picture)
    ours = next(s for s in found if s.strategy == DEFAULT)
    ratios = {"labels_to_target": ours.images_to_target, "boxes_to_target": ours.boxes_to_target}
    close(
        "efficiency",
        {"initial": round(first, 4), "all_labelled": round(top, 4), **figures(found)},
        {name: round(value, 3) for name, value in ratios.items() if value is not None},
        resource.RUSAGE_CHILDREN,
    )


if __name__ == "__main__":
    main()
