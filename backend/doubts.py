"""How much each image is worth a person's look: a model's signals, calibrated, measured, made one number.

Columns in, numbers out; only the two measures that need another look at the pictures read more: two model
versions against each other, and the model against itself on pictures mirrored and shrunk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from backend import trust
from backend.house import House, Job
from pool.columns import Columns, join, of_predictions
from pool.schema import BadInput, ModelVersion, NotReady, Prediction
from sampler.calibration import Calibration
from sampler.committee import disagreements
from sampler.consistency import inconsistency, mirrored
from sampler.effort import DEFAULT as USUAL
from sampler.effort import Effort, learn
from sampler.uncertainty import MEASURES, Evidence, binary_entropy, combine

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LOOKED_AT = ("committee", "consistency")
"""Measures of a shortlist: they cost another look at each picture, or the boxes of two versions."""
SHRUNK = 0.8
SLIGHT = 1e-4
"""A change of uncertainty that is not worth a write."""
NEEDS = {
    "margin": ("probs",),
    "multilabel": ("probs",),
    "localisation": ("localisation",),
    "disagreement": ("disagreement",),
}
"""Columns that a measure reads beside the scores."""


def names() -> list[str]:
    """The measures there are."""
    return [*MEASURES, *LOOKED_AT]


def columns_of(measure: str) -> tuple[str, ...]:
    """Columns that a measure needs.

    Raises:
        BadInput: no such measure.
    """
    if measure not in names():
        raise BadInput("measure", f"one of {', '.join(names())}", measure)
    return NEEDS.get(measure, ())


def effort(house: House, project: int) -> Effort:
    """Seconds that an image and a box cost people here; what is usual elsewhere until enough is known."""
    given = [a for a in house.pool.annotations(project) if not a.skipped]
    return learn([a.lead_time for a in given], [len(a.regions) for a in given]) or USUAL


def by_box(measure: str) -> str:
    """The measure by which all images are told apart: entropy where ``measure`` is of a shortlist only."""
    return measure if measure in MEASURES else "entropy"


def measured(
    house: House, model: ModelVersion, columns: Columns, measure: str, seconds: Effort = USUAL
) -> Floats:
    """Uncertainty of each image, (n,) in [0, 1], higher = more worth a human, by calibrated scores.

    Raises:
        BadInput: the measure needs what this model does not know.
    """
    evidence, starts = evidence_of(trust.calibration(house, model.version), columns)
    return combine(evidence, starts, by_box(measure), house.settings.aggregate, seconds)


def evidence_of(curves: Calibration, columns: Columns) -> tuple[Evidence, Ints]:
    """The boxes of all images with calibrated scores, and where each image's begin.

    An image without boxes stands as one box, the strongest that is none; what only a box knows is
    answered by the entropy of its score.
    """
    anything = np.full(len(columns), -1, dtype=np.int16)
    quiet = curves.apply_columns(columns.background, anything, columns.labels)
    bare = np.flatnonzero(columns.counts == 0)
    at = columns.starts[:-1][bare]

    def filled(column: Any, values: Floats) -> Any:
        if column is None:  # where no image has a box, nobody can say that the model lacks it
            return values if len(bare) == len(columns) else None
        return np.insert(column, at, values, axis=0)

    scores = curves.apply_columns(columns.score, columns.kind, columns.labels)
    probs = columns.probs
    if probs is not None:
        kinds = np.arange(probs.shape[1], dtype=np.int16)
        flat = curves.apply_columns(probs.ravel(), np.tile(kinds, len(probs)), columns.labels)
        whisper = np.zeros((len(bare), probs.shape[1]))
        whisper[:, :1] = quiet[bare, None]
        probs = filled(flat.reshape(probs.shape), whisper)
    doubt = binary_entropy(quiet[bare])
    evidence = Evidence(
        filled(scores, quiet[bare]),
        probs,
        filled(columns.localisation, doubt),
        filled(columns.disagreement, doubt),
        filled(np.zeros(len(scores), dtype=np.bool_), np.ones(len(bare), dtype=np.bool_)),
    )
    return evidence, first_boxes(columns)


def first_boxes(columns: Columns) -> Ints:
    """Where each image's boxes begin once those without any have one."""
    ends = np.cumsum(np.maximum(columns.counts, 1))
    return np.concatenate(([0], ends))[:-1].astype(np.intp)


def of_these(house: House, model: ModelVersion, predictions: Sequence[Prediction]) -> list[float]:
    """Uncertainty of predictions that are not in the ledger yet, by the settings' own measure."""
    columns = join(of_predictions(predictions), house.pool.project(model.project).labels)
    values = measured(house, model, columns, house.settings.measure).tolist()
    by_sample = dict(zip(columns.samples, values, strict=True))
    return [by_sample[p.sample] for p in predictions]


def refresh(house: House, model: ModelVersion) -> int:
    """Bring the ledger's uncertainties of a model to what its calibration says now; how many changed."""
    known = house.pool.uncertainties(model.project, model.version)
    labels = house.pool.project(model.project).labels
    measure = house.settings.measure
    changed = 0
    for block in house.pool.signals(model.version, columns=columns_of(measure)):
        columns = join([block], labels)
        try:
            values = measured(house, model, columns, measure).tolist()
        except BadInput:  # images of before the model told what the measure needs keep what they have
            continue
        fresh = {
            s: v for s, v in zip(columns.samples, values, strict=True) if abs(known.get(s, v) - v) > SLIGHT
        }
        house.pool.set_uncertainties(model.version, fresh, by_box(measure))
        changed += len(fresh)
    return changed


def looked_at(house: House, model: ModelVersion, samples: Sequence[str], measure: str, job: Job) -> Floats:
    """A shortlist's uncertainty by a measure that costs another look, (n,) in [0, 1].

    Raises:
        NotReady: no second model version has looked at these images, as `committee` needs.
    """
    if measure == "committee":
        seen = {p.sample: p for p in house.pool.predictions(model.version, samples)}
        others = {p.sample: p for p in _second(house, model, samples)}
        missing = len(samples) - len(others)
        if missing:
            raise NotReady(
                f"The measure committee compares two model versions, and {missing} of {len(samples)} "
                "images were seen by one only: retrain once, or choose another measure."
            )
        return np.asarray(disagreements([(seen[s], others[s]) for s in samples]))
    return _by_consistency(house, model, samples, job)


def _second(house: House, model: ModelVersion, samples: Sequence[str]) -> list[Prediction]:
    return [] if model.parent is None else list(house.pool.predictions(model.parent, samples))


def _by_consistency(house: House, model: ModelVersion, samples: Sequence[str], job: Job) -> Floats:
    detector = house.detector(model)
    known = house.pool.samples(samples)
    values = np.zeros(len(samples))
    for place, name in enumerate(samples):
        job.check()
        job.tell("ask", place, len(samples), "a second look, mirrored and shrunk")
        with tempfile.TemporaryDirectory() as folder:
            paths = _variants(house.images.local(known[name]), Path(folder))
            looks = list(detector.predict([(name, path) for path in paths]))
        seen = [look for look in looks if isinstance(look, Prediction)]
        if len(seen) == len(paths):  # a picture on which the network fails is doubtful enough elsewhere
            values[place] = inconsistency(seen[0], mirrored(seen[1]), seen[2])
    return values


def _variants(path: Path, folder: Path) -> list[Path]:
    """The picture itself, mirrored, and shrunk; written without loss."""
    with Image.open(path) as image:
        plain = image.convert("RGB")
    smaller = (max(round(plain.width * SHRUNK), 1), max(round(plain.height * SHRUNK), 1))
    others = {"mirrored": ImageOps.mirror(plain), "shrunk": plain.resize(smaller)}
    for name, picture in others.items():
        picture.save(folder / f"{name}.png", compress_level=1)
    return [path, *(folder / f"{name}.png" for name in others)]
