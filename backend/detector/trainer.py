"""What runs inside a training process: ultralytics' trainer, fed by a job folder (see `train`)."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.detector.head import cold_start
from backend.detector.runtime import library, log, set_threads
from backend.detector.weights import (
    load_module,
    load_trainable,
    module_classes,
    save_module,
    write_atomically,
)
from pool.schema import BadInput


def run_training(folder: Path, spec: Mapping[str, Any]) -> None:
    """Train a job's model, or go on with it, until ``result.json`` is there.

    Raises:
        BadInput: the dataset's labels are not the job's, or the base cannot be trained further.
    """
    utils = library("utils")
    utils.LOGGER.setLevel(logging.INFO)  # into the job's log, the only place to learn from a crash
    names = utils.YAML.load(spec["data"])["names"]
    if [str(names[i]) for i in range(len(names))] != spec["labels"]:
        raise BadInput("data", f"a dataset of {spec['labels']}", list(names.values()))
    checkpoint = folder / "resume.pt"
    state = _state(checkpoint)
    epochs = spec["options"]["epochs"]
    if state is None or state["epoch"] + 1 < epochs:
        trainer = _trainer(folder, spec, None if state is None else checkpoint)
        trainer.train()
    save_module(load_module(_chosen(folder)), folder / "weights.pt")
    text = (folder / "progress.jsonl").read_text(encoding="utf-8")
    lines = {line["epoch"]: line for line in map(json.loads, text.splitlines())}
    best = max(lines.values(), key=lambda line: (line.get("map50_95", 0.0), line["epoch"]))
    result = {
        "weights": "weights.pt",
        "epochs": len(lines),
        "seconds": round(sum(line["seconds"] for line in lines.values()), 3),
        "metrics": {key: best[key] for key in ("map50_95", "map50") if key in best},
    }
    write_atomically(folder / "result.json", json.dumps(result).encode())


def _state(checkpoint: Path) -> dict[str, Any] | None:
    if not checkpoint.exists():
        return None
    _, state = library("nn.tasks").load_checkpoint(str(checkpoint))
    return dict(state)


def _chosen(folder: Path) -> Path:
    """The best epoch where epochs were measured, else the last (its weights are a running mean)."""
    best = folder / "best.pt"
    return best if best.exists() else folder / "resume.pt"


def _start_weights(folder: Path, spec: Mapping[str, Any]) -> Path:
    """The base itself if it speaks the job's labels, else the base with a head for them."""
    base, labels = Path(spec["weights"]), spec["labels"]
    start = folder / "start.pt"
    if start.exists() or list(module_classes(load_trainable(base))) == labels:
        return start if start.exists() else base
    seed = spec["options"]["seed"]
    return cold_start(base, labels, start, label_map=spec["label_map"], seed=seed)


def _overrides(folder: Path, spec: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    o = spec["options"]
    gpu = torch.cuda.is_available() and o["device"] != "cpu"
    return {
        "data": spec["data"],
        "epochs": o["epochs"],
        "imgsz": o["imgsz"],
        "batch": o["batch"],
        # One optimizer step per batch: ultralytics would gather 64 images, which on a set of forty
        # is less than one step in an epoch.
        "nbs": o["batch"],
        "optimizer": "AdamW",
        "lr0": o["lr0"],
        "momentum": 0.9,
        "cos_lr": True,
        "warmup_epochs": 1.0,
        "warmup_bias_lr": 0.0,
        "freeze": o["freeze"] or None,
        "patience": o["patience"],
        "close_mosaic": o["close_mosaic"],
        "seed": o["seed"],
        "workers": o["workers"],
        "device": o["device"].split(",")[0],
        # fp16 would first be tried out on a model that ultralytics downloads; bf16 is not.
        "amp": "bf16" if gpu and torch.cuda.is_bf16_supported() else False,
        "save_dir": str(folder / "run"),
        "exist_ok": True,
        "plots": False,
        "verbose": False,
        "max_det": 300,
    }


def _trainer(folder: Path, spec: Mapping[str, Any], checkpoint: Path | None) -> Any:
    from ultralytics.models.yolo.detect import DetectionTrainer

    data = library("utils").YAML.load(spec["data"])
    measured = data["val"] != data["train"]

    class Trainer(DetectionTrainer):
        """ultralytics' trainer without its last validation, and without any where nothing is held back."""

        def validate(self) -> tuple[dict[str, Any], float | None]:
            if measured:
                metrics, fitness = super().validate()  # type: ignore[no-untyped-call]
                return dict(metrics), float(fitness)
            return dict(self.metrics or {}), None

        def final_eval(self) -> None:
            """The best epoch was measured when it ended."""

    overrides = _overrides(folder, spec)
    overrides["model"] = str(_start_weights(folder, spec))
    if checkpoint is not None:
        overrides["resume"] = str(checkpoint)
    trainer = Trainer(overrides=overrides)
    set_threads(spec["options"]["threads"])
    trainer.add_callback("on_fit_epoch_end", lambda t: _epoch_done(folder, t, measured))
    return trainer


def _epoch_done(folder: Path, trainer: Any, measured: bool) -> None:
    # In this order: a kill in between repeats the epoch, and the later line about it counts.
    _report(folder, trainer, measured)
    _keep(folder, trainer, measured)


def _keep(folder: Path, trainer: Any, measured: bool) -> None:
    """Copy the checkpoints that ultralytics overwrites in place, so that a kill leaves whole ones."""
    pairs = [(trainer.last, folder / "resume.pt")]
    if measured and trainer.best_fitness == trainer.fitness:
        # Before the checkpoint that says this epoch is over: resuming must not find it unmeasured.
        pairs.insert(0, (trainer.best, folder / "best.pt"))
    for source, target in pairs:
        draft = target.with_suffix(".tmp")
        shutil.copyfile(source, draft)
        draft.replace(target)


def _report(folder: Path, trainer: Any, measured: bool) -> None:
    line: dict[str, Any] = {
        "epoch": trainer.epoch + 1,
        "epochs": trainer.epochs,
        "losses": {name: round(float(value), 5) for name, value in trainer.tloss.items()},
        "seconds": round(float(trainer.epoch_time), 3),
    }
    if measured:
        line["map50_95"] = round(float(trainer.metrics["metrics/mAP50-95(B)"]), 5)
        line["map50"] = round(float(trainer.metrics["metrics/mAP50(B)"]), 5)
    with (folder / "progress.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    log.info("epoch %d of %d", line["epoch"], line["epochs"])
