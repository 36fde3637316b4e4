"""Whom to ask: what strategies are told of the waiting images, and the round's batch with its reasons."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backend import snapshot
from backend.house import House
from backend.learning import MEASURE
from backend.studio.convert import shown
from pool.schema import Decision, ModelVersion, Prediction
from sampler.batch import compose
from sampler.routing import explain
from sampler.strategies import Signals


def decide(
    house: House, model: ModelVersion, size: int, round_id: str, strategy: str | None = None
) -> list[Decision]:
    """The round's batch among images that want an answer and are not asked already.

    ``strategy`` is a name of `sampler.strategies`; the settings' own without one.

    Raises:
        BadInput: no such strategy.
    """
    pool = house.pool
    uncertainty = pool.uncertainties(model.project, model.version)
    wanted = undecided(house, model.project)
    # Holdout images are taken in this order: those with an answer already wait for those without.
    waiting = sorted(wanted.keys() & uncertainty.keys(), key=lambda sample: (wanted[sample], sample))
    samples = pool.samples(waiting)
    values = np.array([uncertainty[s] for s in waiting], dtype=np.float64)
    holdout = np.array([samples[s].holdout for s in waiting], dtype=np.bool_)
    how = strategy or house.settings.strategy
    signals = signals_of(house, model, waiting, values)
    picks = compose(signals, holdout, size, how, zlib.crc32(round_id.encode()))
    floor = house.settings.show_floor
    seen = {p.sample: p for p in pool.predictions(model.version, [waiting[p.index] for p in picks])}
    return [
        Decision(
            sample=waiting[p.index],
            round=round_id,
            model_version=model.version,
            route=p.route,
            uncertainty=float(values[p.index]),
            measure=MEASURE,
            strategy=how if p.lane == "strategy" else "holdout",
            reason=explain(
                as_shown(seen[waiting[p.index]], floor),
                float(values[p.index]),
                p.route,
                "random" if p.lane == "strategy" and how == "random" else p.lane,
            ),
            p_select=p.p_select,
        )
        for p in picks
    ]


def signals_of(
    house: House, model: ModelVersion, waiting: Sequence[str], uncertainty: NDArray[np.float64]
) -> Signals:
    """What strategies may know of the waiting images, and of those that people labelled already."""
    pool = house.pool
    seen = {p.sample: p for p in pool.predictions(model.version, waiting)}
    labels = {label: n for n, label in enumerate(pool.project(model.project).labels)}
    labelled = sorted(snapshot.labelled(pool.annotations(model.project)).keys() - seen.keys())
    known = [p.embedding for p in pool.predictions(model.version, labelled) if p.embedding is not None]
    found = [seen[s].embedding for s in waiting]
    embedded = [e for e in found if e is not None]
    doubts = [
        max(seen[s].regions, key=lambda r: -abs((r.score or 0.0) - 0.5), default=None) for s in waiting
    ]
    return Signals(
        uncertainty,
        embedding=np.stack(embedded) if embedded and len(embedded) == len(waiting) else None,
        context=np.stack(known) if known else None,
        boxes=np.array([len(seen[s].regions) for s in waiting], dtype=np.intp),
        kind=np.array([labels.get(str(r.label), -1) if r else -1 for r in doubts], dtype=np.intp),
        turn=max(len(pool.rounds(model.project)) - 1, 0),
    )


def undecided(house: House, project: int) -> dict[str, int]:
    """Samples that want an answer and are in no open round, with how many people gave one.

    Holdout images want two people's. Who skips an image has answered: asked again, it would only take
    the place of one that can be labelled.
    """
    pool = house.pool
    tasks = {t.sample for t in pool.tasks(project)}
    asked = {d.sample for r in pool.rounds(project) if r.closed_at is None for d in pool.decisions(r.id)}
    people: dict[str, set[str]] = {sample: set() for sample in tasks - asked}
    for annotation in pool.annotations(project):
        if annotation.sample in people:
            people[annotation.sample].add(annotation.annotator)
    samples = pool.samples(list(people))
    return {s: len(given) for s, given in people.items() if len(given) < (2 if samples[s].holdout else 1)}


def as_shown(prediction: Prediction, floor: float) -> Prediction:
    """The prediction as annotators see it: boxes below the floor become the background's whisper."""
    met = shown(prediction, floor, holdout=False)
    hidden = max((r.score or 0.0 for r in prediction.regions if r not in met.regions), default=0.0)
    return replace(met, background=max(prediction.background, hidden))
