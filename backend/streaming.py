"""Images that come one by one: each is judged at once, and only what is asked about becomes a task.

Deciding writes one ledger row (the stream's memory) and, for an image that a person shall see, the image
with its prediction and its decision. Carrying it to Label Studio is a job of the worker's, so an answer
here never waits for Label Studio, and nothing is lost while it is away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from backend import briefing, intake, learning, trust
from backend.house import House, Job
from backend.studio.convert import shown
from pool.columns import join, of_predictions
from pool.images import Picture, decode
from pool.schema import (
    BadImage,
    Decision,
    Failure,
    ModelVersion,
    NotReady,
    Prediction,
    Round,
)
from pool.split import draw
from sampler import gatekeeper, limits
from sampler.gatekeeper import Arrival, Gate, Verdict
from sampler.stream import Quota

MEMORY = "stream"
DUE = "deliver"
REMEMBERED = 64
"""Latest verdicts that are kept: what is repeated after a kill is answered the same and spends nothing."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of an image, with the prediction that it was judged by; None where none was made."""

    sample: str
    verdict: Verdict
    prediction: Prediction | None


def gate(house: House, model: ModelVersion) -> Gate:
    """The rules of a project's stream.

    Raises:
        NotReady: no budget is set.
    """
    s = house.settings
    if s.stream_budget is None:
        raise NotReady(
            "No stream is set up: set THRESHER_STREAM_BUDGET to the share of images that people may be "
            "asked about, such as 0.05."
        )
    return Gate(
        Quota(s.stream_budget, s.stream_burst),
        s.stream_strategy,
        limits.parse(s.stream_limits),
        auto=trust.standing(house, model),
    )


def arrive(house: House, project: int, data: bytes, name: str) -> Judged:
    """Judge an image that comes as bytes. The same image again, as after a kill, gets the same answer.

    Raises:
        BadImage: it cannot be used.
        NotReady: no stream is set up, or the detector fails on any picture.
    """
    model = house.champion(project)
    rules = gate(house, model)
    s = house.settings
    picture = decode(data, max_bytes=s.max_image_bytes, max_pixels=s.max_image_pixels)
    if picture.id in {t.sample for t in house.pool.tasks_of(project, [picture.id])}:
        return Judged(
            picture.id, Verdict("drop", "Not asked: this very image is in the project already"), None
        )
    prediction = _seen(house, model, picture)
    lane, verdict, chance = _decide(
        house, project, rules, _item(house, model, prediction, picture.phash), picture.id
    )
    if verdict.action != "ask" and s.stream_import != "all":
        return Judged(picture.id, verdict, prediction)
    sample = intake.keep(house, picture, name)
    if sample.holdout:
        why = "Not asked: looks like an image that only measures the model"
        return Judged(picture.id, Verdict("drop", why), prediction)
    house.pool.save_predictions([prediction])
    if verdict.action != "drop":
        _note(house, model, sample.id, prediction, lane, verdict, chance)
    house.pool.change_state(DUE, f"{project}/{sample.id}", lambda _: {"sample": sample.id})
    return Judged(picture.id, verdict, prediction)


def judge(house: House, project: int, job: Job) -> dict[str, Any]:
    """Judge images that came as tasks made in Label Studio, batch by batch as they came.

    Holdout images are left to the rounds, which ask about them whatever anybody thinks of them.
    """
    if house.settings.stream_budget is None:
        return {}
    model = house.champion(project)
    rules = gate(house, model)
    batches = house.pool.states(intake.ARRIVED, f"{project}/")
    counts = {"ask": 0, "auto": 0, "drop": 0}
    open_ = briefing.undecided(house, project) if batches else {}
    for done, (key, batch) in enumerate(batches.items()):
        job.check()
        job.tell("stream", done, len(batches))
        names = batch["samples"]
        predictions = {p.sample: p for p in house.pool.predictions(model.version, names)}
        for name in names:
            waits = open_.get(name)
            if name not in predictions or waits is None or waits.holdout or waits.people:
                continue
            item = _item(house, model, predictions[name], waits.phash)
            lane, verdict, chance = _decide(house, project, rules, item, name)
            counts[verdict.action] += 1
            if verdict.action != "drop":
                _note(house, model, name, predictions[name], lane, verdict, chance)
        house.pool.forget_states(intake.ARRIVED, [key])
    job.tell("stream", len(batches), len(batches))
    return counts


def due(house: House, project: int) -> list[str]:
    """Samples that are to become tasks and did not yet."""
    return [str(state["sample"]) for state in house.pool.states(DUE, f"{project}/").values()]


def all_due(house: House) -> dict[int, list[str]]:
    """The same of every project that has any."""
    found: dict[int, list[str]] = {}
    for key, state in house.pool.states(DUE).items():
        found.setdefault(int(key.partition("/")[0]), []).append(str(state["sample"]))
    return found


def delivered(house: House, project: int, samples: Sequence[str]) -> None:
    """These samples have their tasks, or cannot have any."""
    house.pool.forget_states(DUE, [f"{project}/{sample}" for sample in samples])


def counts(house: House, project: int) -> dict[str, int]:
    """How many images were asked about, accepted and let go so far."""
    known = house.pool.state(MEMORY, str(project)) or {}
    return {action: int(known.get(action, 0)) for action in ("ask", "auto", "drop")}


def _seen(house: House, model: ModelVersion, picture: Picture) -> Prediction:
    with tempfile.NamedTemporaryFile(suffix=picture.suffix) as file:
        file.write(picture.data)
        file.flush()
        result = next(iter(house.detector(model).predict([(picture.id, Path(file.name))])))
    if isinstance(result, Failure):
        raise BadImage(result.message)
    return learning.measured(house, model, [result])[0]


def _item(house: House, model: ModelVersion, prediction: Prediction, phash: int) -> Arrival:
    floor = house.settings.show_floor
    columns = join(of_predictions([prediction]), house.pool.project(model.project).labels)
    embedding = columns.embedding
    return Arrival(
        uncertainty=prediction.uncertainty or 0.0,
        embedding=None if embedding is None else embedding[0].astype(np.float64),
        at=datetime.now(UTC),
        confidence=float(trust.sureness(house, columns)[0]),
        labels={str(r.label) for r in shown(prediction, floor, holdout=False).regions},
        phash=phash,
    )


def _decide(
    house: House, project: int, rules: Gate, item: Arrival, sample: str
) -> tuple[str, Verdict, float]:
    """Lane, verdict and the chance that the lane gave, spent in the same moment: two images at once cannot
    share a place, and the same image again is answered what it was answered before.
    """
    s = house.settings
    audit = s.audit_share * (s.stream_budget or 0.0)
    said: list[tuple[str, Verdict, float]] = []

    def spend(old: Mapping[str, Any] | None) -> Mapping[str, Any]:
        memory = gatekeeper.begin(rules) if old is None else gatekeeper.load(old, rules)
        before = {row[0]: row[1:] for row in (old or {}).get("said", ())}
        if sample in before:
            lane, action, reason, chance = before[sample]
            said.append((lane, Verdict(action, reason), chance))
            return old or {}
        lane, verdict, chance = rules.strategy, gatekeeper.decide(memory, rules, item), 1.0
        lot, room = draw(f"stream {sample}"), gatekeeper.free(memory, rules, item)
        if room and lot < audit:  # before the strategy has a say, or it would measure what that left over
            lane, chance = "audit", audit
            verdict = Verdict(
                "ask", "Picked at random: drawn from nothing, it keeps the measurement honest"
            )
        elif room and verdict.action == "auto" and draw(f"recheck {sample}") < s.recheck_share:
            lane, chance = "recheck", s.recheck_share
            verdict = Verdict(
                "ask", "The model is sure of this image: drawn from nothing, it shows whether it is right"
            )
        said.append((lane, verdict, chance))
        settled = gatekeeper.settle(memory, rules, item, verdict.action, paid=lane != "recheck")
        rows = [*(old or {}).get("said", ()), [sample, lane, verdict.action, verdict.reason, chance]]
        return {**gatekeeper.dump(settled), "said": rows[-REMEMBERED:]}

    house.pool.change_state(MEMORY, str(project), spend)
    return said[-1]


def _note(
    house: House,
    model: ModelVersion,
    sample: str,
    prediction: Prediction,
    lane: str,
    verdict: Verdict,
    chance: float,
) -> None:
    """Decisions of the stream stand in a round of its own, which the next training closes."""
    auto = verdict.action == "auto"
    decision = Decision(
        sample=sample,
        round=_round(house, model),
        model_version=model.version,
        route="auto" if auto else "human",
        uncertainty=prediction.uncertainty or 0.0,
        measure=prediction.measure or house.settings.measure,
        strategy="auto" if auto else lane,
        reason=verdict.reason,
        p_select=chance,
    )
    house.pool.save_decisions([decision])


def _round(house: House, model: ModelVersion) -> str:
    rounds = house.pool.rounds(model.project)
    stem = f"stream-p{model.project}-"
    known = next((r.id for r in rounds if r.closed_at is None and r.id.startswith(stem)), None)
    if known is not None:
        return known
    number = len(rounds) + 1
    house.pool.open_round(
        Round(f"{stem}{number}", model.project, number, model.version, 0, datetime.now(UTC))
    )
    return f"{stem}{number}"
