"""Predictions for tests: what a model sees in an image, written in one line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pool.schema import Box, Prediction, Region

FULL = Box(0.0, 0.0, 1.0, 1.0)
CLASSES = ("bird", "cat", "dog")


def half(values: Sequence[float] | Sequence[Sequence[float]] | None) -> NDArray[np.float16] | None:
    return None if values is None else np.array(values, dtype=np.float16)


def seen(
    *scores: float | None,
    background: float = 0.0,
    probs: Sequence[Sequence[float]] | None = None,
    localisation: Sequence[float] | None = None,
    disagreement: Sequence[float] | None = None,
) -> Prediction:
    """Boxes with these scores, all in one place."""
    return Prediction(
        sample="0" * 64,
        model_version="v1",
        regions=tuple(Region("garbage", FULL, score=s) for s in scores),
        classes=("garbage",),
        background=background,
        probs=half(probs),
        localisation=half(localisation),
        disagreement=half(disagreement),
    )


def look(
    *boxes: tuple[str | None, float | None, Box], background: float = 0.0, classes: Sequence[str] = CLASSES
) -> Prediction:
    """Boxes with labels, scores and places; the probability of every other class is 0."""
    probs = np.zeros((len(boxes), len(classes)), dtype=np.float16)
    for row, (label, score, _) in zip(probs, boxes, strict=True):
        if label is not None:
            row[classes.index(label)] = np.nan if score is None else score
    return Prediction(
        sample="0" * 64,
        model_version="v1",
        regions=tuple(Region(label, box, score=score) for label, score, box in boxes),
        classes=tuple(classes),
        background=background,
        probs=probs,
    )
