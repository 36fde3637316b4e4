"""What the loop does with models: look, choose, freeze a training set, train, measure, promote."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from backend import doubts, snapshot, trust
from backend.gate import MEASURE as GATE_MEASURE
from backend.gate import judge
from backend.house import House, Job, Stopped, label_map
from pool.schema import BadImage, Failure, ModelVersion, NotReady, Prediction, Project, Sample

log = logging.getLogger("thresher.learning")

COLD = "cold start: a fresh head for the project's labels"
NUDGED, TAUGHT = 0.00025, 0.001  # first learning rates
KNOWS = 0.2  # mAP50-95 from which a model is worth being careful with
CHUNK = 64  # predictions saved at once: what a kill can cost, in images


def look(house: House, model: ModelVersion, job: Job) -> dict[str, Any]:
    """The model sees every image of its project that it has not seen; results are saved as they come."""
    todo = house.pool.unpredicted(model.project, model.version)
    samples = house.pool.samples(todo)
    detector = house.detector(model) if todo else None
    seen = failed = 0
    for start in range(0, len(todo), CHUNK):
        if detector is None:
            break
        job.check()
        job.tell("prelabel", start, len(todo))
        images, failures = files(house, [samples[s] for s in todo[start : start + CHUNK]])
        results = list(detector.predict(list(images.items())))
        predictions = [r for r in results if isinstance(r, Prediction)]
        failures += [r for r in results if isinstance(r, Failure)]
        house.pool.save_predictions(measured(house, model, predictions))
        house.pool.record_failures(failures, model.project, model.version)
        seen += len(predictions)
        failed += len(failures)
    job.tell("prelabel", len(todo), len(todo))
    return {"predicted": seen, "failed": failed, "model_version": model.version}


def files(house: House, samples: Sequence[Sample]) -> tuple[dict[str, Path], list[Failure]]:
    """The image file of each sample; one that is gone or not what it was costs only itself.

    Raises:
        NotReady: none can be had, nor any other of the pool: the store is away, not the images.
    """
    found: dict[str, Path] = {}
    failures: list[Failure] = []
    for sample in samples:
        try:
            found[sample.id] = house.images.local(sample)
        except BadImage as error:
            log.warning("%s: %s", sample.name, error)
            failures.append(Failure(sample.id, "predict", str(error), datetime.now(UTC)))
    if failures and not found:
        some = islice(house.pool.samples().values(), 20)
        if not any(house.images.exists(sample) for sample in some):
            raise NotReady(
                f"No image of the pool can be found in {house.settings.images_root}: is it mounted? "
                "(THRESHER_IMAGES_URL, THRESHER_DATA_DIR)"
            )
    return found, failures


def measured(house: House, model: ModelVersion, predictions: Sequence[Prediction]) -> list[Prediction]:
    """The same predictions of a model with their uncertainty, by the settings' own measure."""
    values = doubts.of_these(house, model, predictions)
    measure = doubts.by_box(house.settings.measure)
    return [replace(p, uncertainty=v, measure=measure) for p, v in zip(predictions, values, strict=True)]


def calibrate(house: House, model: ModelVersion, job: Job) -> dict[str, Any]:
    """Fit the model's calibration where enough is known, and bring its uncertainties up to date."""
    job.tell("calibrate", 0, 0)
    try:
        figures = dict(trust.calibrate(house, model))
    except NotReady as error:
        return {"calibrated": False, "why": str(error)}
    changed = doubts.refresh(house, model)
    known = house.pool.model(model.version).metrics
    house.pool.set_metrics(model.version, {**known, **trust.metrics(figures)})
    return {"calibrated": True, "rescored": changed, **figures}


def freeze(house: House, project: Project, job: Job) -> dict[str, Any]:
    """An immutable training set of what people said so far.

    Raises:
        NotReady: nobody labelled an image outside the holdout, or the split leaks.
    """
    how = snapshot.voting_of(house.pool, project.id, house.settings)
    (train, left_out), (holdout, unmeasured) = (
        snapshot.rows(house.pool, project.id, holdout=side, labels=project.labels, how=how)
        for side in (False, True)
    )
    strange = left_out | unmeasured
    if strange:
        log.warning("project %d: labels unknown here: %s", project.id, strange)
    if not train and left_out:
        raise NotReady(
            f"All labelled images show labels that are unknown here ({', '.join(left_out)}): run "
            f"`thresher connect {project.id}`, which reads the labeling config again, then retrain."
        )
    if not train:
        raise NotReady(
            f"Nobody has labelled an image of project {project.id} outside the holdout yet: open Label "
            "Studio, press Label All Tasks, submit a few, then retrain."
        )
    snapshot.check_split(train, {row.sample.root for row in holdout})
    taken = snapshot.take(project.id, train, project.labels, holdout)
    house.pool.save_snapshot(taken)
    job.tell("snapshot", len(train), len(train))
    boxes = sum(len(row.regions) for row in train)
    report = {"snapshot": taken.id, "images": len(train), "boxes": boxes, "holdout": len(holdout)}
    return report | ({"unknown_labels": dict(strange)} if strange else {})


def train(house: House, project: Project, snapshot_id: str, job: Job) -> dict[str, Any]:
    """Train a candidate from the champion on a snapshot; resumes a training of the same job."""
    from backend.detector.dataset import write_dataset
    from backend.detector.train import Cancelled, TrainOptions, TrainSpec
    from backend.detector.train import train as run_training

    champion = house.champion(project.id)
    rows = snapshot.restore(house.pool, snapshot_id, "train")
    folder = house.settings.data_dir.resolve() / "jobs" / job.id.replace("/", "_")
    images, missing = files(house, [row.sample for row in rows])
    if not images:
        raise NotReady(f"None of the {len(rows)} training images can be read: {missing[0].message}")
    data = write_dataset(
        folder / "dataset",
        [(images[row.sample.id], row.regions) for row in rows if row.sample.id in images],
        project.labels,
    )
    s = house.settings
    # A head that knows the labels is nudged; a fresh one, or one that learned little yet, is taught.
    # Mosaics are left out: on tens of images they cost more than they give.
    fresh = champion.note == COLD or champion.metrics.get(GATE_MEASURE, 1.0) < KNOWS
    rate = TAUGHT if fresh else NUDGED
    options = TrainOptions(
        epochs=s.epochs, imgsz=s.imgsz, lr0=rate, close_mosaic=s.epochs, device=s.device, threads=s.threads
    )
    spec = TrainSpec(
        folder=folder,
        weights=house.registry.path(champion.weights),
        data=data,
        labels=project.labels,
        options=options,
        label_map=label_map(project, champion),
    )
    try:
        done = run_training(spec, lambda *at: job.tell("train", *at), job.cancelled)
    except Cancelled:
        raise Stopped(job.id) from None
    weights, sha256 = house.registry.register(done.weights)
    number = len(house.pool.rounds(project.id))
    stem = champion.version.split("-p", 1)[0]
    candidate = ModelVersion(
        version=f"{stem}-p{project.id}-r{number}-{sha256[:8]}",
        project=project.id,
        weights=weights,
        sha256=sha256,
        classes=project.labels,
        created_at=datetime.now(UTC),
        parent=champion.version,
        snapshot=snapshot_id,
    )
    house.pool.add_model(candidate)
    report = {"candidate": candidate.version, "epochs": done.epochs, "seconds": round(done.seconds, 1)}
    return report | ({"unreadable": len(missing)} if missing else {})


def evaluate(house: House, project: Project, candidate: str, job: Job) -> dict[str, Any]:
    """mAP of candidate and champion on the labelled holdout, and how sure their difference is."""
    from backend.detector.evaluate import measure, paired_difference, summary

    new, old = house.pool.model(candidate), house.champion(project.id)
    snapshot_id = new.snapshot
    rows = snapshot.restore(house.pool, snapshot_id, "holdout") if snapshot_id else []
    images, missing = files(house, [row.sample for row in rows])
    rows = [row for row in rows if row.sample.id in images]
    truth = [(row.sample.id, images[row.sample.id], snapshot.upright(row)) for row in rows]
    report: dict[str, Any] = {"holdout": len(rows)} | ({"unreadable": len(missing)} if missing else {})
    if any(row.regions for row in rows):
        found = {}
        for done, model in enumerate((new, old)):
            job.tell("evaluate", done, 2, model.version)
            found[model.version] = measure(house.detector(model), truth, project.labels)
            report[model.version] = summary(found[model.version])
            known = house.pool.model(model.version).metrics  # calibration errors among them
            house.pool.set_metrics(model.version, {**known, **report[model.version]})
        change = paired_difference(found[old.version], found[new.version], key=GATE_MEASURE)
        report[new.version] |= {"change_low": change.low, "change_high": change.high}
        house.pool.set_metrics(new.version, report[new.version])
    job.tell("evaluate", 2, 2)
    return report


def promote(house: House, project: Project, candidate: str, job: Job) -> dict[str, Any]:
    """Judge the candidate by what was measured; promote or refuse it, with the reason."""
    new = house.pool.model(candidate)
    champion = house.champion(project.id)
    if champion.version == candidate:  # a killed run had already promoted it
        return {"outcome": "promoted", "reason": new.note, "model_version": candidate}
    rows = snapshot.restore(house.pool, new.snapshot, "holdout") if new.snapshot else []
    verdict = judge(new.metrics, champion.metrics or None, int(new.metrics.get("images", len(rows))))
    if verdict.outcome == "promoted":
        house.pool.promote(candidate, verdict.reason)
    else:
        house.pool.refuse(candidate, verdict.reason)
    job.tell("promote", 1, 1, verdict.reason)
    log.info("%s %s: %s", candidate, verdict.outcome, verdict.reason)
    serving = house.champion(project.id).version
    return {"outcome": verdict.outcome, "reason": verdict.reason, "model_version": serving}


def first_model(
    house: House, project: Project, weights: str, sha256: str, classes: Sequence[str], note: str = ""
) -> ModelVersion:
    """The model that a project starts from, as its champion."""
    stem = weights.rsplit(".", 1)[0].removesuffix(f"-{sha256[:8]}")
    model = ModelVersion(
        version=f"{stem}-p{project.id}-{sha256[:8]}",
        project=project.id,
        weights=weights,
        sha256=sha256,
        classes=tuple(classes),
        created_at=datetime.now(UTC),
        note=note,
    )
    house.pool.add_model(model)
    house.pool.promote(model.version)
    return model
