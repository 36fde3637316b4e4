"""How far a model is trusted: its calibration, and from which confidence on nobody needs to look."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backend import evidence as proof
from backend import snapshot
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
RELEASED = "released"


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
    """Fit the model's calibration to what people said, keep it, and say what it is worth (see `weighed`).

    Raises:
        NotReady: too few boxes on images that people answered blind.
    """
    curves, figures = weighed(proof.gather(house, model))
    state = {"curves": curves.as_dict(), "figures": figures}
    house.pool.change_state(CALIBRATION, model.version, lambda _: state)
    return figures


def weighed(found: Evidence) -> tuple[Calibration, dict[str, Any]]:
    """The calibration that evidence gives, and how far scores are off before and after it.

    "After" is cross-validated: each half of the images is judged by the curve of the other half. Curves
    that do not help there are not used: a few boxes are enough to fit one, not to gain by it.

    Raises:
        NotReady: too few boxes.
    """
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
    return (curves if figures["used"] else IDENTITY), figures


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


def judge(house: House, model: ModelVersion, waiting: ArrayLike, round_id: str = "") -> Trust:
    """Whether images may be accepted without a person, and from which confidence on. Nothing changes.

    ``waiting`` (n,) are the confidences of the images that nobody answered. ``round_id`` is the round that
    is being decided, perhaps for the second time: what it released itself does not count yet.
    """
    s = house.settings
    if s.auto_error is None:
        return Trust(None, "Every image needs a person: THRESHER_AUTO_ERROR is not set.")
    checked = _rechecked(house, model)
    wrong = int(checked.wrong.sum())
    paused = _paused(house, model, wrong, len(checked.samples))
    if paused is not None:
        return Trust(None, paused, None, len(checked.samples), wrong)
    found = proof.gather(house, model)
    alike = _like_those_that_wait(house, model.project, found, round_id)
    thresholds = walk(waiting, int(alike.sum()), s.auto_error, s.auto_doubt)
    if not thresholds.size:
        missing = max(needed(0, s.auto_error, s.auto_doubt) - int(alike.sum()), 0)
        why = (
            f"{missing} more images answered blind are needed before any promise can be kept"
            if missing
            else "the model is sure of no image that waits"
        )
        return Trust(None, f"Every image needs a person: {why}.", None, len(checked.samples), wrong)
    kept = promise(
        found.confidence[alike], found.wrong[alike], thresholds, alpha=s.auto_error, delta=s.auto_doubt
    )
    return Trust(kept.threshold, _told(kept, s.auto_error, s.auto_doubt), kept, len(checked.samples), wrong)


def remember(house: House, model: ModelVersion, verdict: Trust, *, waiting: int) -> None:
    """Keep a verdict for the streams.

    Where no image waited there was nothing to judge by, and what was known before stays.
    """
    s = house.settings
    if s.auto_error is None:
        return
    if waiting:
        said = {"threshold": verdict.threshold, "rules": _rules(house)}
        house.pool.change_state(THRESHOLD, model.version, lambda _: said)


def released(house: House, model: ModelVersion, round_id: str, threshold: float) -> None:
    """Remember that a round lets images from this confidence on leave the pool.

    No later promise may build on images like them.
    """
    what = {"version": model.version, "threshold": threshold}
    house.pool.change_state(RELEASED, f"{model.project}/{round_id}", lambda _: what)


def taken_back(house: House, project: int, round_id: str) -> None:
    """What a round released is in the pool again."""
    house.pool.forget_states(RELEASED, [f"{project}/{round_id}"])


def watch(house: House, model: ModelVersion | None) -> None:
    """Pause accepting as soon as what people checked speaks against the promise."""
    s = house.settings
    if model is None or s.auto_error is None or house.pool.state(PAUSE, model.version):
        return
    checked = _rechecked(house, model)
    why = _paused(house, model, int(checked.wrong.sum()), len(checked.samples))
    if why is not None:
        log.warning("%s: %s", model.version, why)
        house.pool.change_state(PAUSE, model.version, lambda _: {"why": why})


def standing(house: House, model: ModelVersion) -> float | None:
    """The threshold that was judged last for this version by the same rules, unless a pause came since."""
    known = house.pool.state(THRESHOLD, model.version)
    if known is None or house.settings.auto_error is None or known["rules"] != _rules(house):
        return None
    return None if house.pool.state(PAUSE, model.version) else known["threshold"]


def _rules(house: House) -> list[float | None]:
    s = house.settings
    return [s.auto_error, s.auto_doubt, s.show_floor]


def _like_those_that_wait(house: House, project: int, found: Evidence, round_id: str) -> NDArray[np.bool_]:
    """Which checked images would still wait, had they not been checked: (n,).

    Once sure images are accepted, those that wait are others than those that were drawn. What an earlier
    threshold would have taken out of the pool is therefore taken out of the evidence too, or easy images
    would pay for hard ones.
    """
    alike = np.ones(len(found.samples), dtype=np.bool_)
    place = {sample: i for i, sample in enumerate(found.samples)}
    for key, event in house.pool.states(RELEASED, f"{project}/").items():
        if key == f"{project}/{round_id}":
            continue
        for block in house.pool.signals(event["version"], place.keys()):
            gone = sureness(house, block) >= event["threshold"]
            alike[[place[s] for s, out in zip(block.samples, gone, strict=True) if out]] = False
    return alike


def _told(kept: Promise, alpha: float, delta: float) -> str:
    said = f"{kept.wrong} of {kept.accepted} checked images were wrong"
    if kept.threshold is None:
        return (
            f"Every image needs a person: even among the surest, {said}; "
            f"{kept.missing} more without a fault are needed."
        )
    return (
        f"Images from confidence {kept.threshold:.3f} on need nobody: {said}, so at most "
        f"{100 * alpha:.3g} % of such images are, {100 * (1 - delta):.3g} % surely."
    )


def _rechecked(house: House, model: ModelVersion) -> Evidence:
    """Images that this version was sure of and that people answered all the same, blind."""
    answers = snapshot.labelled(house.pool, model.project, people=True)
    asked = proof.blind(house, model.project, "recheck", answers, model.version)
    return proof.compare(house, model, {s: answers[s] for s in sorted(asked)})


def _paused(house: House, model: ModelVersion, wrong: int, checked: int) -> str | None:
    """Why nothing is accepted for now, or None. A pause lasts until another model serves."""
    known = house.pool.state(PAUSE, model.version)
    if known is not None:
        return str(known["why"])
    alpha = house.settings.auto_error or 0.0
    if not broken(wrong, checked, alpha, house.settings.auto_doubt):
        return None
    return (
        f"Accepting is paused: {wrong} of {checked} accepted images that people checked were wrong, more "
        f"than {100 * alpha:.3g} % allows. It goes on when the next model serves; `thresher undo` takes "
        "back what was accepted."
    )


def metrics(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a calibration that stand beside a model's other measurements."""
    return {name: float(v) for name, v in figures.items() if name.startswith(("d_ece", "la_ece"))}


def sureness(house: House, columns: Columns) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The confidence of each image as it would be accepted, (n,) in [0, 1]."""
    return confidence(columns.score, columns.starts, columns.background, house.settings.show_floor)
