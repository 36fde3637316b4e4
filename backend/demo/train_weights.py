"""Train the small detector that the demonstration starts from, and measure it.

``python -m backend.demo.train_weights --out backend/demo/weights/street-bins.pt``

It learns from a few drawn scenes in easy light only, so that it is good enough to be of help and
unsure enough, at dusk, at night and in haze, for people's labels to make it better. A card with what
was measured is written beside the weights. One thread, no network.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from backend.demo.light import LIGHTS
from backend.demo.scenes import LABELS, condition, jpeg, render
from pool.schema import BadInput, Region

log = logging.getLogger("thresher.demo")

TRAIN_SEEDS = 100_000
"""First seed of the scenes to learn from; the demonstration's pool is 0 to 9999."""
CHECK_SEEDS = 200_000
"""First seed of the scenes to measure on, in every light."""
EASY: tuple[str, ...] = ("noon", "overcast")
LIMIT = 4_000_000
"""Most bytes that the weights may have."""
_WIDTH = 0.125

Row = tuple[str, Path, tuple[Region, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to train: scenes to learn from, scenes to check on, and the legs of the training.

    A leg is (epochs, first learning rate); each starts from the weights of the one before.
    """

    scenes: int = 280
    check: int = 100
    legs: tuple[tuple[int, float], ...] = ((50, 0.002), (36, 0.0015))
    imgsz: int = 320
    batch: int = 8
    seed: int = 0


def seeds(first: int, lights: Sequence[str] = LIGHTS) -> Iterator[int]:
    """Seeds from ``first`` on whose scenes have one of these lights."""
    return (seed for seed in count(first) if condition(seed) in lights)


def draw(folder: Path, chosen: Sequence[int], size: tuple[int, int] = (640, 480)) -> list[Row]:
    """Draw scenes into ``folder``; rows of (name, file, regions)."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for seed in chosen:
        scene = render(seed, size)
        path = folder / f"{seed}.jpg"
        path.write_bytes(jpeg(scene))
        rows.append((str(seed), path, scene.regions))
    return rows


def blank(path: Path, seed: int) -> Path:
    """Write an untrained detector: the topology of yolo11, an eighth as wide, three classes."""
    from backend.detector.runtime import library
    from backend.detector.weights import save_module

    yaml = library("utils").YAML
    topology = yaml.load(Path(library("cfg").__file__).parent / "models/11/yolo11.yaml")
    topology |= {"nc": len(LABELS), "scales": {"n": [0.5, _WIDTH, 1024]}, "scale": "n"}
    recipe = path.with_suffix(".yaml")
    yaml.save(recipe, topology)
    library("utils.torch_utils").init_seeds(seed, deterministic=True)
    model = library("nn.tasks").DetectionModel(yaml.load(recipe), verbose=False)
    model.names = dict(enumerate(LABELS))
    model.task = "detect"
    save_module(model, path)
    return path


def fit(work: Path, plan: Plan) -> tuple[Path, float]:
    """Draw, train; the weights' path and the seconds that training took."""
    from backend.detector.dataset import write_dataset
    from backend.detector.train import TrainOptions, TrainSpec, train

    chosen = list(islice(seeds(TRAIN_SEEDS, EASY), plan.scenes))
    rows = draw(work / "scenes", chosen)
    log.info("drew %d scenes", len(rows))
    data = write_dataset(work / "dataset", [(path, regions) for _, path, regions in rows], LABELS)
    weights, seconds = blank(work / "blank.pt", plan.seed), 0.0
    for number, (epochs, rate) in enumerate(plan.legs):
        options = TrainOptions(
            epochs=epochs,
            imgsz=plan.imgsz,
            batch=plan.batch,
            lr0=rate,
            patience=0,
            close_mosaic=max(epochs // 5, 1),
            seed=plan.seed,
            threads=1,
            workers=0,
            device="cpu",
        )
        spec = TrainSpec(work / f"leg{number}", weights, data, LABELS, options)
        done = train(spec, lambda epoch, total, note: log.info("epoch %d of %d: %s", epoch, total, note))
        weights, seconds = done.weights, seconds + done.seconds
    return weights, seconds


def check(weights: Path, rows: Sequence[Row], imgsz: int) -> dict[str, dict[str, float]]:
    """mAP of weights on drawn scenes, overall (key ``all``), per light, and on easy and hard light."""
    from backend.detector.evaluate import measure, summary
    from backend.detector.predict import Detector, DetectorOptions

    options = DetectorOptions(imgsz=imgsz, device="cpu", threads=1)
    detector = Detector(weights, options, version="check", label_map={label: label for label in LABELS})
    matches = measure(detector, rows, LABELS)
    groups: dict[str, tuple[str, ...]] = {"all": LIGHTS, "easy": EASY}
    groups["hard"] = tuple(name for name in LIGHTS if name not in EASY)
    groups |= {name: (name,) for name in LIGHTS}
    out = {}
    for group, lights in groups.items():
        of_group = [i for i, (name, _, _) in enumerate(rows) if condition(int(name)) in lights]
        out[group] = summary(matches, of_group)
    return out


def card(weights: Path, plan: Plan, seconds: float, found: Mapping[str, Mapping[str, float]]) -> str:
    """What is known about the weights, as Markdown."""
    import torch
    import ultralytics

    data = weights.read_bytes()
    command = f"python -m backend.demo.train_weights --out backend/demo/weights/{weights.name}"
    versions = f"ultralytics {ultralytics.__version__}, torch {torch.__version__}"
    lines = [
        f"# {weights.name}",
        "",
        "A small detector for the drawn street scenes of the demonstration: the topology of yolo11, width",
        f"{_WIDTH}, classes {', '.join(f'`{label}`' for label in LABELS)}. Trained from nothing on",
        f"{plan.scenes} scenes in easy light ({' and '.join(EASY)}) only, so that other lights leave it",
        "unsure. It knows drawings, not photos. Licence: AGPL-3.0, as the project.",
        "",
        f"- sha256 `{hashlib.sha256(data).hexdigest()}`",
        f"- {len(data):,} bytes, float16, not fused: it can be trained further",
        f"- made by `{command}`",
        f"  with {versions}, Python {platform.python_version()}",
        f"- scenes from {TRAIN_SEEDS} on, {plan.imgsz} px, batch {plan.batch}, AdamW, seed {plan.seed}:",
        f"  {' then '.join(f'{epochs} epochs from {rate}' for epochs, rate in plan.legs)};",
        f"  {seconds:.0f} s on one thread of a busy machine",
        f"- measured on {plan.check} check scenes from seed {CHECK_SEEDS} on, never learned from. How long",
        "  to train was decided after a look at these numbers; no epoch was picked by them:",
        "",
        "| light | scenes | boxes | mAP50 | mAP50-95 |",
        "|---|---|---|---|---|",
    ]
    for group, numbers in found.items():
        lines.append(
            f"| {group} | {numbers['images']:.0f} | {numbers['boxes']:.0f} | "
            f"{numbers.get('map50', float('nan')):.3f} | {numbers.get('map50_95', float('nan')):.3f} |"
        )
    lines += ["", "easy = " + " and ".join(EASY) + "; hard = all others. mAP50 per label, all lights: "]
    lines[-1] += ", ".join(f"{label} {found['all'][f'map50/{label}']:.3f}" for label in LABELS) + "."
    return "\n".join(lines) + "\n"


def make(out: Path, work: Path, plan: Plan) -> dict[str, dict[str, float]]:
    """Train, write ``out`` and its card, and return what was measured.

    Raises BadInput when the weights became larger than ``LIMIT``.
    """
    weights, seconds = fit(work, plan)
    size = weights.stat().st_size
    if size > LIMIT:
        raise BadInput("weights", f"at most {LIMIT} bytes", size, "Lower the width of the topology.")
    rows = draw(work / "check", list(islice(seeds(CHECK_SEEDS), plan.check)))
    found = check(weights, rows, plan.imgsz)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, out)
    (out.parent / "README.md").write_text(card(out, plan, seconds, found), encoding="utf-8")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the command line."""
    parser = argparse.ArgumentParser(description="Train the demonstration's small detector.")
    parser.add_argument(
        "--out", type=Path, required=True, help="where the weights go; a README.md lies beside"
    )
    parser.add_argument(
        "--work", type=Path, help="folder for scenes and checkpoints, to go on after a stop"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with tempfile.TemporaryDirectory() as scratch:
        found = make(options.out, options.work or Path(scratch), Plan())
    for group, numbers in found.items():
        log.info("%-8s mAP50 %.3f", group, numbers.get("map50", float("nan")))


if __name__ == "__main__":
    main()
