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
from functools import partial
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
    """Judge an image that comes as bytes.

    Raises:
        BadImage: it cannot be used.
        NotReady: no stream is set up, or the detector fails on any picture.
    """
    model = house.champion(project)
    rules = gate(house, model)
    s = house.settings
    picture = decode(data, max_bytes=s.max_image_bytes, max_pixels=s.max_image_pixels)
    if house.pool.samples([picture.id]):
        return Judged(
            picture.id, Verdict("drop", "Not asked: this very image is in the pool already"), None
        )
    prediction = _seen(house, model, picture)
    item = _item(house, model, prediction, picture.phash)
    lane, verdict = _decide(house, project, rules, item, picture.id)
    if verdict.action == "ask" or s.stream_import == "all":
        sample = intake.keep(house, picture, name)
        house.pool.save_predictions([prediction])
        if verdict.action == "ask":
            _note(house, model, [(sample.id, prediction, lane, verdict)])
        house.pool.change_state(
            DUE, str(project), lambda old: {"samples": [*(old or {"samples": ()})["samples"], sample.id]}
        )
    return Judged(picture.id, verdict, prediction)


def judge(house: House, project: int, job: Job) -> dict[str, Any]:
    """Judge images that came as tasks made in Label Studio, in the order of their tasks.

    Holdout images are left to the rounds, which ask about them whatever anybody thinks of them.
    """
    if house.settings.stream_budget is None:
        return {}
    model = house.champion(project)
    rules = gate(house, model)
    names = list((house.pool.state(intake.ARRIVED, str(project)) or {"samples": []})["samples"])
    open_ = briefing.undecided(house, project)
    predictions = {p.sample: p for p in house.pool.predictions(model.version, names)}
    counts = {"ask": 0, "auto": 0, "drop": 0}
    for done, name in enumerate(names):
        job.check()
        job.tell("stream", done, len(names))
        if name in predictions and name in open_ and not open_[name].holdout and not open_[name].people:
            item = _item(house, model, predictions[name], open_[name].phash)
            lane, verdict = _decide(house, project, rules, item, name)
            counts[verdict.action] += 1
            if verdict.action == "ask":
                _note(house, model, [(name, predictions[name], lane, verdict)])
        house.pool.change_state(intake.ARRIVED, str(project), partial(_without, name))
    job.tell("stream", len(names), len(names))
    return counts


def due(house: House, project: int) -> list[str]:
    """Samples that are to become tasks and did not yet."""
    return list((house.pool.state(DUE, str(project)) or {"samples": ()})["samples"])


def delivered(house: House, project: int, samples: Sequence[str]) -> None:
    """These samples have their tasks."""
    done = set(samples)
    house.pool.change_state(
        DUE,
        str(project),
        lambda old: {"samples": [s for s in (old or {"samples": ()})["samples"] if s not in done]},
    )


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


def _decide(house: House, project: int, rules: Gate, item: Arrival, sample: str) -> tuple[str, Verdict]:
    """The lane and the verdict, spent in the same moment: two images at once cannot share a place."""
    s = house.settings
    said: list[tuple[str, Verdict]] = []
    chance = s.audit_share * (s.stream_budget or 0.0)

    def spend(old: Mapping[str, Any] | None) -> Mapping[str, Any]:
        memory = gatekeeper.begin(rules) if old is None else gatekeeper.load(old, rules)
        lane, verdict = rules.strategy, gatekeeper.decide(memory, rules, item)
        lot = draw(f"stream {sample}")
        if verdict.action == "auto" and lot < s.recheck_share:
            lane, verdict = "recheck", Verdict("ask", f"Asked all the same: {verdict.reason}")
        elif verdict.action == "drop" and lot < chance and gatekeeper.free(memory, rules, item):
            why = "Asked: drawn at random to keep the measurement honest"
            lane, verdict = "audit", Verdict("ask", why)
        said.append((lane, verdict))
        return gatekeeper.dump(gatekeeper.settle(memory, rules, item, verdict.action))

    house.pool.change_state(MEMORY, str(project), spend)
    return said[-1]


def _note(house: House, model: ModelVersion, asked: Sequence[tuple[str, Prediction, str, Verdict]]) -> None:
    """Decisions of the stream stand in a round of its own, which the next training closes."""
    opened = _round(house, model)
    house.pool.save_decisions(
        [
            Decision(
                sample=name,
                round=opened,
                model_version=model.version,
                route="human",
                uncertainty=prediction.uncertainty or 0.0,
                measure=prediction.measure or house.settings.measure,
                strategy=lane,
                reason=verdict.reason,
                p_select=1.0,
            )
            for name, prediction, lane, verdict in asked
        ]
    )


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


def _without(name: str, old: Mapping[str, Any] | None) -> Mapping[str, Any]:
    names = list((old or {"samples": []})["samples"])
    if name in names:
        names.remove(name)
    return {"samples": names}
