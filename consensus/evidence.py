"""The labels of some images beside what a detector predicts there, as columns.

Only OUT-OF-SAMPLE predictions are evidence. A detector repeats the labels it was trained on, the wrong
ones too, so what it says of its training images says nothing: predict with a model that did not see
them (cross-validation, or labels newer than the model), and pass those predictions only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from consensus.sheet import Bools, Floats, Ints, numbered, ordered
from pool.boxes import to_array
from pool.schema import BadInput, Prediction, Region


@dataclass(frozen=True, slots=True)
class Evidence:
    """The labels of some images and what a detector that never saw them predicts there.

    ``samples`` and ``labels`` are sorted, None last; columns hold positions in them. ``aspects``
    (samples,) is width / height of each image, ``background`` (samples,) the strongest score that fell
    below the detector's own floor. ``known`` (labels,) says which labels the detector can give.

    Each given box, (n,): ``given_sample``, ``given_label``, ``given_boxes`` (n, 4), ``given_turn``.
    Each predicted box, (m,): ``seen_sample``, ``seen_label``, ``seen_boxes`` (m, 4), ``seen_turn``,
    ``seen_score`` in [0, 1], ``seen_probs`` (m, labels) in [0, 1], NaN for labels not among its classes.
    Boxes are normalised, turns in degrees clockwise.
    """

    samples: tuple[str, ...]
    labels: tuple[str | None, ...]
    aspects: Floats
    background: Floats
    known: Bools
    given_sample: Ints
    given_label: Ints
    given_boxes: Floats
    given_turn: Floats
    seen_sample: Ints
    seen_label: Ints
    seen_boxes: Floats
    seen_turn: Floats
    seen_score: Floats
    seen_probs: Floats


def evidence(
    given: Mapping[str, Sequence[Region]],
    predictions: Sequence[Prediction],
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> Evidence:
    """Labels and predictions as columns, of the images that have both.

    Rows of given boxes are the regions in the order of samples, as given; so are those of predicted ones.

    Args:
        given: the regions of each image, of a consensus or of one person; none where nothing is there.
        predictions: out-of-sample ones only, one for each image. Without ``probs`` a box speaks for
            its own label alone.
        sizes: width and height by sample in pixels; needed only for images with turned boxes.

    Raises:
        BadInput: two predictions of one image, a score that is missing or not in [0, 1], a label that
            is not among the classes, or ``probs`` of another shape.
    """
    by_sample: dict[str, Prediction] = {}
    for prediction in predictions:
        if prediction.sample in by_sample:
            raise BadInput(
                "predictions", "one for each sample", prediction.sample, "Pass those of one model version."
            )
        by_sample[prediction.sample] = prediction
    samples = sorted(by_sample.keys() & given.keys())
    spoken = [by_sample[name] for name in samples]
    drawn = [region for name in samples for region in given[name]]
    seen = [region for prediction in spoken for region in prediction.regions]
    classes = {name for prediction in spoken for name in prediction.classes}
    labels = ordered([*classes, *(region.label for region in drawn)])
    what = numbered(labels)
    position = np.arange(len(samples))
    return Evidence(
        samples=tuple(samples),
        labels=tuple(labels),
        aspects=np.array([_aspect((sizes or {}).get(name)) for name in samples], dtype=np.float64),
        background=np.array([prediction.background for prediction in spoken], dtype=np.float64),
        known=np.array([name in classes or name is None for name in labels], dtype=np.bool_),
        given_sample=np.repeat(position, [len(given[name]) for name in samples]).astype(np.intp),
        given_label=np.array([what[region.label] for region in drawn], dtype=np.intp),
        given_boxes=to_array(region.box for region in drawn),
        given_turn=np.array([region.box.rotation for region in drawn], dtype=np.float64),
        seen_sample=np.repeat(position, [len(p.regions) for p in spoken]).astype(np.intp),
        seen_label=np.array([what.get(region.label, -1) for region in seen], dtype=np.intp),
        seen_boxes=to_array(region.box for region in seen),
        seen_turn=np.array([region.box.rotation for region in seen], dtype=np.float64),
        seen_score=np.array([_score(region) for region in seen], dtype=np.float64),
        seen_probs=np.concatenate(
            [np.zeros((0, len(labels))), *(_probabilities(prediction, what) for prediction in spoken)]
        ),
    )


def _aspect(size: tuple[int, int] | None) -> float:
    return 1.0 if size is None else size[0] / size[1]


def _score(region: Region) -> float:
    if region.score is None or not 0.0 <= region.score <= 1.0:
        raise BadInput("a predicted region's score", "between 0 and 1", region.score)
    return region.score


def _probabilities(prediction: Prediction, what: Mapping[str | None, int]) -> Floats:
    """What each predicted box gives to each label, (n, labels), NaN for those it does not know."""
    shape = (len(prediction.regions), len(prediction.classes))
    stray = {region.label for region in prediction.regions} - set(prediction.classes)
    if stray:
        raise BadInput(f"a label predicted for {prediction.sample!r}", "one of the classes", stray.pop())
    out = np.full((shape[0], len(what)), np.nan)
    column = [what[name] for name in prediction.classes]
    if prediction.probs is None:
        out[:, column] = 0.0
        own = [what[region.label] for region in prediction.regions]
        out[np.arange(shape[0]), own] = [_score(region) for region in prediction.regions]
    elif prediction.probs.shape != shape:
        raise BadInput(f"probs of {prediction.sample!r}", f"of shape {shape}", prediction.probs.shape)
    else:
        out[:, column] = prediction.probs
    return out
