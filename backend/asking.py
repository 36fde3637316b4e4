"""Whom to ask: the round's batch, what needs nobody, and a reason for each."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend import accepting, briefing, doubts, trust
from backend.house import House, Job
from backend.learning import COLD
from backend.settings import Settings
from backend.studio.convert import shown
from pool.columns import Columns
from pool.schema import Decision, ModelVersion, Prediction
from sampler.balance import rare, weigh
from sampler.batch import BLIND, Pick, Shares, compose, release, rivals
from sampler.effort import seconds
from sampler.novelty import novel
from sampler.routing import explain, route
from sampler.selection import Indices, top_n
from sampler.strategies import DEFAULT, Signals

Floats = NDArray[np.float64]

SHORTLIST = 4
"""Images that a costly measure looks at again, for each one wanted."""
COVERAGE = "max_herding"
"""What chooses while the model's doubts mean nothing yet."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a round asks for: ``size`` images at most, chosen by a strategy and a measure named here.

    ``minutes`` is the working time that people have for them; None: as long as it takes.
    """

    size: int
    strategy: str
    measure: str
    minutes: float | None = None


def wish(settings: Settings, given: Mapping[str, Any]) -> Wish:
    """What a round asks for, by the settings where nothing else was given."""
    return Wish(
        size=int(given.get("size") or settings.ask_size),
        strategy=given.get("strategy") or settings.strategy,
        measure=given.get("measure") or settings.measure,
        minutes=given.get("minutes"),
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """A round's ``decisions``, and what ``trust`` says of images that need nobody."""

    decisions: list[Decision]
    trust: str


@dataclass(frozen=True, slots=True)
class _Table:
    """The waiting images as they were judged."""

    columns: Columns
    values: Floats
    signals: Signals
    known_boxes: NDArray[np.intp]


def decide(house: House, model: ModelVersion, wish: Wish, round_id: str, job: Job) -> Choice:
    """The round's batch among images that want an answer and are not asked already.

    Raises:
        BadInput: no such strategy or measure.
        NotReady: the measure cannot be had of these images.
    """
    s = house.settings
    wanted = briefing.undecided(house, model.project)
    columns = briefing.read(house, model, wanted, doubts.columns_of(wish.measure))
    holdout = np.array([wanted[name].holdout for name in columns.samples], dtype=np.bool_)
    cost = doubts.effort(house, model.project)
    values = doubts.measured(house, model, columns, wish.measure, cost)
    # Whatever competes, only a share of the batch may be pictures that no camera took.
    origin = [wanted[name].parent for name in columns.samples]
    camera = sum(parent is None for parent, held in zip(origin, holdout, strict=True) if not held)
    kept = rivals(values, origin, _most_generated(s.variant_share, wish.size, camera))
    kept = np.union1d(kept, briefing.requested(house, model.project, columns)).astype(np.intp)
    columns, values, holdout = columns.of(kept), values[kept], holdout[kept]
    generated = np.array([origin[i] is not None for i in kept], dtype=np.bool_)
    free = np.flatnonzero(~holdout)
    if wish.measure in doubts.LOOKED_AT:
        some = free[top_n(values[free], SHORTLIST * wish.size)]
        again = doubts.looked_at(house, model, [columns.samples[i] for i in some], wish.measure, job)
        values = np.zeros_like(values)  # what was not looked at again stands behind all that was
        values[some] = again
    known = briefing.known_boxes(house, model.project, columns.labels)
    how = _strategy(wish.strategy, model, known)
    weighed = weigh(values, briefing.doubtful(columns), known, s.balance)
    table = _Table(
        columns,
        values,
        briefing.signals_of(house, model, columns, wanted, weighed, how, wish.measure),
        known,
    )
    costly = [columns.labels.index(label) for label in s.double_labels if label in columns.labels]
    seed = zlib.crc32(round_id.encode())
    picks = compose(
        table.signals,
        holdout,
        wish.size,
        how,
        seed,
        shares=Shares(s.audit_share, s.free_share),
        wanted=briefing.requested(house, model.project, columns),
        double=briefing.shows(columns, costly, s.show_floor),
        generated=generated,
    )
    sure = trust.sureness(house, columns)
    taken = {p.index for p in picks} | set(briefing.requested(house, model.project, columns).tolist())
    undone = accepting.undone(house, model)
    left = np.array(
        [
            i
            for i in free.tolist()
            if i not in taken
            and not generated[i]  # what no camera took is nobody's label until a person looked
            and not wanted[columns.samples[i]].people
            and columns.samples[i] not in undone
        ],
        dtype=np.intp,
    )
    trust.watch(house, model)
    verdict = trust.judge(house, model, sure[left], round_id)
    trust.remember(house, model, verdict, waiting=len(left))
    if verdict.threshold is not None:
        picks += _released(left[sure[left] >= verdict.threshold], wish.size, s.recheck_share, seed)
    if wish.minutes is not None:
        picks = affordable(picks, seconds(cost, columns.counts), 60 * wish.minutes)
    if verdict.threshold is not None and any(p.lane == "auto" for p in picks):
        trust.released(house, model, round_id, verdict.threshold)
    return Choice(_decisions(house, model, round_id, wish.measure, how, table, picks), verdict.sentence)


def affordable(picks: Sequence[Pick], cost: Floats, budget: float) -> list[Pick]:
    """The picks that people can answer in ``budget`` seconds, every lane losing the same share of its own.

    ``cost`` is in seconds by image; a ``double`` costs twice as much, what needs nobody costs nothing. At
    least one pick stays. A drawing that lost some of its images gave each a smaller chance.
    """
    asked = [place for place, pick in enumerate(picks) if pick.lane != "auto"]
    price = np.array([cost[picks[i].index] * (2 if picks[i].route == "double" else 1) for i in asked])
    by_lane: dict[str, list[int]] = {}
    for place, i in enumerate(asked):
        by_lane.setdefault(picks[i].lane, []).append(place)
    # Each lane's picks stand at even distances on one line; it is cut where the money ends.
    at = np.empty(len(asked))
    for places in by_lane.values():
        at[places] = (np.arange(len(places)) + 0.5) / len(places)
    order = np.argsort(at, kind="stable")
    many = max(int(np.searchsorted(np.cumsum(price[order]), budget, side="right")), 1)
    kept = {asked[place] for place in order[:many].tolist()}
    left = Counter(picks[i].lane for i in kept)
    return [
        pick
        if pick.p_select == 1.0 and pick.lane not in ("audit", "recheck")
        else replace(pick, p_select=pick.p_select * left[pick.lane] / len(by_lane[pick.lane]))
        for i, pick in enumerate(picks)
        if i in kept or pick.lane == "auto"
    ]


def as_shown(prediction: Prediction, floor: float) -> Prediction:
    """The prediction as annotators see it: boxes below the floor become the background's whisper."""
    met = shown(prediction, floor, holdout=False)
    hidden = max((r.score or 0.0 for r in prediction.regions if r not in met.regions), default=0.0)
    return replace(met, background=max(prediction.background, hidden))


def _strategy(wanted: str, model: ModelVersion, known: NDArray[np.intp]) -> str:
    """The strategy asked for; coverage in place of the default while a fresh head has seen no label."""
    cold = model.note == COLD and not known.any()
    return COVERAGE if cold and wanted == DEFAULT else wanted


def _released(sure: Indices, size: int, recheck: float, seed: int) -> list[Pick]:
    """What needs nobody, and a share of it that people are asked about all the same, ``size`` at most."""
    share = min(recheck, size / len(sure)) if len(sure) else recheck
    nobody, again = release(np.ones(len(sure), dtype=np.bool_), share, seed)
    chance = len(again) / len(sure) if len(sure) else 1.0
    auto = route(holdout=False, selected=False, sure=True)
    return [
        *(Pick(int(i), "recheck", "human", chance) for i in sure[again]),
        *(Pick(int(i), "auto", auto, 1.0) for i in sure[nobody]),
    ]


def _decisions(
    house: House,
    model: ModelVersion,
    round_id: str,
    measure: str,
    strategy: str,
    table: _Table,
    picks: Sequence[Pick],
) -> list[Decision]:
    columns, floor = table.columns, house.settings.show_floor
    names = [columns.samples[p.index] for p in picks]
    seen = {p.sample: p for p in house.pool.predictions(model.version, names)}
    origins = _origins(house, model.project, names)
    asked = [p.index for p in picks if p.lane not in BLIND and p.lane != "auto"]
    new = dict(zip(asked, _novel(table.signals, asked), strict=True))
    scarce = [columns.labels[i] for i in rare(table.known_boxes)]
    decisions = []
    for pick, name in zip(picks, names, strict=True):
        met = as_shown(seen[name], floor)
        there = {r.label for r in met.regions}
        value = float(table.values[pick.index])
        lane = "random" if pick.lane == "strategy" and strategy == "random" else pick.lane
        decisions.append(
            Decision(
                sample=name,
                round=round_id,
                model_version=model.version,
                route=pick.route,
                uncertainty=value,
                measure=measure,
                strategy=strategy if pick.lane == "strategy" else pick.lane,
                reason=explain(
                    met,
                    value,
                    pick.route,
                    lane,
                    novel=bool(new.get(pick.index, False)),
                    rare=next((label for label in scarce if label in there), None),
                )
                + origins.get(name, ""),
                p_select=pick.p_select,
            )
        )
    return decisions


def _origins(house: House, project: int, names: Sequence[str]) -> dict[str, str]:
    """What people are told of variants beside why they were picked, by sample."""
    variants = house.pool.variants_of(project, names)
    parents = house.pool.samples([v.parent for v in variants.values()])
    return {
        name: f" Painted from {parents[v.parent].name}{f' as {v.condition}' if v.condition else ''}: "
        "do its boxes still fit?"
        for name, v in variants.items()
    }


def _most_generated(share: float, size: int, camera: int) -> int:
    """How many generated images may compete, so that they are at most ``share`` of what is asked.

    ``camera`` images compete beside them: where these are few, so is what is asked.
    """
    beside = size if share >= 1.0 else math.floor(camera * share / (1.0 - share) + 1e-9)
    return min(math.floor(share * size + 1e-9), beside)


def _novel(signals: Signals, images: Sequence[int]) -> list[bool]:
    if signals.embedding is None or not images:
        return [False] * len(images)
    mine = signals.embedding[np.asarray(images, dtype=np.intp)]
    return [bool(n) for n in novel(mine, signals.embedding, signals.context)]
