"""How far a model is trusted: its calibration, and from which confidence on nobody needs to look."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from backend import evidence as proof
from backend.evidence import Evidence
from backend.house import House
from pool.columns import Columns
from pool.schema import ModelVersion, NotReady
from sampler.calibration import IDENTITY, Calibration, d_ece, fit, la_ece
from sampler.guarantee import Promise, broken, needed, promise, walk
from sampler.routing import confidence

log = logging.getLogger("thresher.trust")

CALIBRATION = "calibration"
PAUSE = "pause"
THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True)
class Trust:
    """``threshold``: images of at least this confidence need nobody; None: every image needs somebody.

    ``sentence`` says why. Of ``checked`` images that were accepted and asked all the same, ``wrong`` were.
    """

    threshold: float | None
    sentence: str
    promise: Promise | None = None
    checked: int = 0
    wrong: int = 0


def calibration(house: House, version: str) -> Calibration:
    """The calibration of a model version; the identity where nothing was measured yet."""
    known = house.pool.state(CALIBRATION, version)
    return Calibration.from_dict(known["curves"]) if known else IDENTITY


def calibrate(house: House, model: ModelVersion) -> Mapping[str, Any]:
    """Fit the model's calibration to what people said, and say how far it was off before and is after.

    "After" is cross-validated: each half of the images is judged by the curve of the other half. Curves
    that do not help there are not used: a few boxes are enough to fit one, not to gain by it.

    Raises:
        NotReady: too few boxes on images that people answered blind.
    """
    found = proof.gather(house, model)
    curves = fit(found.scores, found.hits, found.labels)
    raw, fair = d_ece(found.scores, found.hits), judged(found)
    figures: dict[str, Any] = {
        "images": len(found.samples),
        "boxes": len(found.scores),
        "d_ece_raw": raw,
        "la_ece_raw": la_ece(found.scores, found.ious, found.labels),
        "used": False,
    }
    if fair is not None:
        figures |= {
            "d_ece": d_ece(fair, found.hits),
            "la_ece": la_ece(fair, found.ious, found.labels),
        }
        figures["used"] = figures["d_ece"] < raw
    kept = curves if figures["used"] else IDENTITY
    state = {"curves": kept.as_dict(), "figures": figures}
    house.pool.change_state(CALIBRATION, model.version, lambda _: state)
    return figures


def judged(found: Evidence) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Calibrated scores of the boxes by a curve that did not see their image; None: a half is too small."""
    own = np.array([zlib.crc32(sample.encode()) % 2 for sample in found.samples], dtype=np.intp)
    side = np.repeat(own, found.counts)
    fair = np.empty(len(found.scores))
    labels = np.array(found.labels, dtype=object)
    for half in (0, 1):
        mine, others = side == half, side != half
        try:
            curve = fit(found.scores[others], found.hits[others], list(labels[others]))
        except NotReady:
            return None
        fair[mine] = curve.apply(found.scores[mine], list(labels[mine]))
    return fair


def judge(house: House, model: ModelVersion, waiting: ArrayLike) -> Trust:
    """Whether images may be accepted without a person, and from which confidence on; remembered.

    ``waiting`` (n,) are the confidences of the images that nobody answered.
    """
    verdict = _judge(house, model, waiting)
    said = {"threshold": verdict.threshold, "sentence": verdict.sentence}
    house.pool.change_state(THRESHOLD, model.version, lambda _: said)
    return verdict


def _judge(house: House, model: ModelVersion, waiting: ArrayLike) -> Trust:
    s = house.settings
    if s.auto_error is None:
        return Trust(None, "Every image needs a person: THRESHER_AUTO_ERROR is not set.")
    checked = _rechecked(house, model)
    wrong = int(checked.wrong.sum())
    paused = _paused(house, model, wrong, len(checked.samples))
    if paused is not None:
        return Trust(None, paused, None, len(checked.samples), wrong)
    found = proof.gather(house, model)
    thresholds = walk(waiting, len(found.samples), s.auto_error, s.auto_doubt)
    if not thresholds.size:
        missing = max(needed(0, s.auto_error, s.auto_doubt) - len(found.samples), 0)
        why = (
            f"{missing} more images answered blind are needed before any promise can be kept"
            if missing
            else "the model is sure of no image that waits"
        )
        return Trust(None, f"Every image needs a person: {why}.", None, len(checked.samples), wrong)
    kept = promise(found.confidence, found.wrong, thresholds, alpha=s.auto_error, delta=s.auto_doubt)
    return Trust(kept.threshold, _told(kept, s.auto_error, s.auto_doubt), kept, len(checked.samples), wrong)


def standing(house: House, model: ModelVersion) -> float | None:
    """The threshold that was judged last for this version, unless a pause came since."""
    known = house.pool.state(THRESHOLD, model.version)
    if known is None or house.settings.auto_error is None or house.pool.state(PAUSE, model.version):
        return None
    return known["threshold"]  # type: ignore[no-any-return]


def _told(kept: Promise, alpha: float, delta: float) -> str:
    said = f"{kept.wrong} of {kept.accepted} checked images were wrong"
    if kept.threshold is None:
        return (
            f"Every image needs a person: even among the surest, {said}; "
            f"{kept.missing} more without a fault are needed."
        )
    return (
        f"Images from confidence {kept.threshold:.3f} on need nobody: {said}, so at most {alpha:.0%} "
        f"of such images are, {1 - delta:.0%} surely."
    )


def _rechecked(house: House, model: ModelVersion) -> Evidence:
    """Images that this version was sure of and that people answered all the same, blind."""
    asked = {
        d.sample
        for r in house.pool.rounds(model.project)
        for d in house.pool.decisions(r.id)
        if d.strategy == "recheck" and d.model_version == model.version
    }
    return proof.compare(house, model, asked, holdout=False)


def _paused(house: House, model: ModelVersion, wrong: int, checked: int) -> str | None:
    """Why nothing is accepted for now, or None. A pause lasts until another model serves."""
    known = house.pool.state(PAUSE, model.version)
    if known is not None:
        return str(known["why"])
    alpha = house.settings.auto_error or 0.0
    if not broken(wrong, checked, alpha, house.settings.auto_doubt):
        return None
    why = (
        f"Accepting is paused: {wrong} of {checked} accepted images that people checked were wrong, more "
        f"than {alpha:.0%} allows. It goes on when the next model serves; `thresher undo` takes back "
        "what was accepted."
    )
    log.warning("%s: %s", model.version, why)
    house.pool.change_state(PAUSE, model.version, lambda _: {"why": why})
    return why


def metrics(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a calibration that stand beside a model's other measurements."""
    return {name: float(v) for name, v in figures.items() if name.startswith(("d_ece", "la_ece"))}


def sureness(house: House, columns: Columns) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The confidence of each image as it would be accepted, (n,) in [0, 1]."""
    return confidence(columns.score, columns.starts, columns.background, house.settings.show_floor)
