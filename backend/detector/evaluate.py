"""How good a detector is on labelled images that it never learned from.

One path for every kind of model and any label map: the `Detector` predicts in project labels, and
ultralytics' own matching and precision-recall code turns that into the numbers its ``val`` prints.
Their convention for average precision (101 recall points, closed at recall 1) gives a flawless
detector 0.995, not 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from pool.schema import BadInput, Failure, NotReady, Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.detector.predict import Detector

Truth = tuple[str, Path, Sequence[Region]]

# What ultralytics' val uses: nearly every box, so that the curve reaches its end.
_CONF, _IOU, _MAX_DET = 0.001, 0.7, 300


@dataclass(frozen=True)
class Matches:
    """Predicted boxes matched with true ones, image by image; lists run over images.

    ``hits`` (n, 10) says at which IoU thresholds .50, .55 … .95 a box found an object, ``scores``
    (n,) and ``guesses`` (n,) are its confidence and label index, ``truths`` (m,) the label indices
    of the objects. ``failed`` counts images on which the detector gave no answer at all; their
    objects count as missed.
    """

    labels: tuple[str, ...]
    hits: tuple[NDArray[np.bool_], ...]
    scores: tuple[NDArray[np.float64], ...]
    guesses: tuple[NDArray[np.int64], ...]
    truths: tuple[NDArray[np.int64], ...]
    failed: int = 0


def evaluate(
    detector: Detector,
    rows: Sequence[Truth],
    labels: Sequence[str],
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Numbers of a detector on ``(sample id, image file, true regions)`` rows.

    The keys of `summary`. Predicts at a floor of .001 whatever the detector's own options say.

    Raises:
        NotReady: no row, or no true box in any of them.
        BadInput: a true region whose label is not in ``labels``.
    """
    return summary(measure(detector, rows, labels, on_progress))


def measure(
    detector: Detector,
    rows: Sequence[Truth],
    labels: Sequence[str],
    on_progress: Callable[[int, int], None] | None = None,
) -> Matches:
    """Predict the rows and match what was found with what is there; errors as in `evaluate`."""
    if not any(regions for _, _, regions in rows):
        raise NotReady(
            "There is no labelled box in the holdout, so no model can be measured on it: "
            "label some of its images first."
        )
    watcher = detector.tuned(conf=_CONF, iou=_IOU, max_det=_MAX_DET, multi_label=True)
    results = watcher.predict([(sample, path) for sample, path, _ in rows], on_progress)
    found: dict[str, Sequence[Region]] = {}
    failed = 0
    for result in results:
        if isinstance(result, Failure):
            failed += 1
            found[result.subject] = ()
        else:
            found[result.sample] = result.regions
    return match(found, {sample: regions for sample, _, regions in rows}, labels, failed=failed)


def match(
    found: Mapping[str, Sequence[Region]],
    truth: Mapping[str, Sequence[Region]],
    labels: Sequence[str],
    *,
    failed: int = 0,
) -> Matches:
    """Match predicted with true regions of the same sample; samples without prediction found nothing.

    Greedy by confidence within a label, as COCO does it. Rotation is not looked at. Predictions of
    labels outside ``labels`` are left out: there is no truth about them.

    Raises:
        BadInput: a true region whose label is not in ``labels``.
    """
    column = {label: index for index, label in enumerate(labels)}
    hits, scores, guesses, truths = [], [], [], []
    for sample, objects in truth.items():
        known = [region for region in found.get(sample, ()) if region.label in column]
        boxes = sorted(known, key=lambda region: -(region.score or 0.0))
        guess, real = _indices(boxes, column), _indices(objects, column)
        hits.append(_hits(_corners(boxes), guess, _corners(objects), real))
        scores.append(np.array([region.score or 0.0 for region in boxes], dtype=np.float64))
        guesses.append(guess)
        truths.append(real)
    return Matches(tuple(labels), tuple(hits), tuple(scores), tuple(guesses), tuple(truths), failed)


def summary(matches: Matches, images: Sequence[int] | None = None) -> dict[str, float]:
    """The numbers of matched images, or of some of them by index (repeats allowed, as in a bootstrap).

    All in [0, 1], higher = better: ``map50_95`` and ``map50`` (mean over the labels that occur),
    ``precision`` and ``recall`` at the confidence of the best mean F1 and IoU .5, and per label
    ``map50_95/<label>`` and ``map50/<label>``. A label without a true box has neither of these two
    keys: nothing was measured about it. Counts: ``images``, ``boxes``, ``boxes/<label>``,
    ``failed``. Without any true box there are only counts.
    """
    chosen = range(len(matches.truths)) if images is None else images
    truths = np.concatenate([np.zeros(0, np.int64), *(matches.truths[i] for i in chosen)])
    counts = np.bincount(truths, minlength=len(matches.labels))
    out = {"images": float(len(chosen)), "boxes": float(len(truths)), "failed": float(matches.failed)}
    out |= {f"boxes/{label}": float(counts[i]) for i, label in enumerate(matches.labels)}
    if not len(truths):
        return out
    from backend.detector.runtime import library

    ap_per_class = library("utils.metrics").ap_per_class
    hits = np.concatenate([matches.hits[i] for i in chosen])
    scores = np.concatenate([matches.scores[i] for i in chosen])
    guesses = np.concatenate([matches.guesses[i] for i in chosen])
    _, _, precision, recall, _, ap, present, *_ = ap_per_class(hits, scores, guesses, truths)
    out |= {
        "map50_95": float(ap.mean()),
        "map50": float(ap[:, 0].mean()),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
    }
    for row, index in zip(ap, present, strict=True):
        out[f"map50_95/{matches.labels[index]}"] = float(row.mean())
        out[f"map50/{matches.labels[index]}"] = float(row[0])
    return out


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus champion in one number: the estimate, and the bounds of its interval."""

    value: float
    low: float
    high: float


def paired_difference(
    champion: Matches,
    candidate: Matches,
    *,
    key: str = "map50_95",
    rounds: int = 500,
    confidence: float = 0.9,
    seed: int = 0,
) -> Difference:
    """How far the candidate is ahead on the same images, with a paired bootstrap over images.

    Both models are judged on the same resampled images each time, so that easy and hard draws cancel
    out. Draws in which ``key`` cannot be measured are drawn again. Percentile interval (Efron and
    Tibshirani 1993, chapter 13).

    Raises:
        BadInput: the two were not matched against the same images, or ``key`` is not measured on them.
    """
    same = len(champion.truths) == len(candidate.truths) and all(
        np.array_equal(a, b) for a, b in zip(champion.truths, candidate.truths, strict=True)
    )
    if not same:
        raise BadInput("candidate", "measured on the champion's images", f"{len(candidate.truths)} others")
    old, new = summary(champion), summary(candidate)
    if key not in old:
        raise BadInput("key", f"one of {', '.join(old)}", key)
    rng = np.random.default_rng(seed)
    size = len(champion.truths)
    deltas: list[float] = []
    while len(deltas) < rounds:
        draw = rng.integers(0, size, size).tolist()
        before = summary(champion, draw)
        if key in before:
            deltas.append(summary(candidate, draw)[key] - before[key])
    low, high = np.quantile(deltas, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(new[key] - old[key], float(low), float(high))


def _hits(
    boxes: NDArray[np.float64],
    guess: NDArray[np.int64],
    objects: NDArray[np.float64],
    real: NDArray[np.int64],
) -> NDArray[np.bool_]:
    import torch

    from backend.detector.runtime import library

    if not len(boxes) or not len(objects):
        return np.zeros((len(boxes), 10), dtype=np.bool_)
    # The library's matching is a method that reads nothing of its validator but the thresholds.
    thresholds: Any = SimpleNamespace(iouv=torch.linspace(0.5, 0.95, 10))
    # Shares of width and height give the same overlap as pixels do: both axes scale out of the ratio.
    iou = library("utils.metrics").box_iou(torch.from_numpy(objects), torch.from_numpy(boxes))
    correct = library("engine.validator").BaseValidator.match_predictions(
        thresholds, torch.from_numpy(guess), torch.from_numpy(real), iou
    )
    return np.asarray(correct.numpy(), dtype=np.bool_)


def _corners(regions: Sequence[Region]) -> NDArray[np.float64]:
    corners = [(r.box.x1, r.box.y1, r.box.x2, r.box.y2) for r in regions]
    return np.array(corners, dtype=np.float64).reshape(-1, 4)


def _indices(regions: Sequence[Region], column: Mapping[str, int]) -> NDArray[np.int64]:
    for region in regions:
        if region.label is None or region.label not in column:
            raise BadInput("label of a region", f"one of {', '.join(map(repr, column))}", region.label)
    return np.array([column[str(region.label)] for region in regions], dtype=np.int64)
