"""Learning curves of a replay made into figures: what was gained, and whether that is more than chance.

One figure alone flatters: a strategy that picks crowded images is ahead at equal images and may not be at
equal boxes, which is nearer to what people's time costs. So areas are given over both, every difference is
taken in pairs of one seed and comes with an interval, and the more strategies are tried the stronger the
proof must be (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backend.gate import MEASURE
from backend.replay import Run
from pool.schema import BadInput

Floats = NDArray[np.float64]
Axis = Literal["images", "boxes"]

LEVEL = 0.95
"""Confidence of every interval; a p below the rest of it separates two strategies."""


@dataclass(frozen=True, slots=True)
class Paired:
    """How much more one strategy has than another, over ``n`` seeds in pairs.

    ``mean`` with its interval from ``low`` to ``high`` and ``p`` by a paired t-test; ``adjusted`` is p by
    Holm's correction over all strategies that were compared alike. None where one seed says nothing of
    spread. ``wins`` counts the seeds with more.
    """

    n: int
    wins: int
    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A strategy over all seeds.

    ``area`` is the mean height of the learning curve over images, ``area_boxes`` over boxes, up to the
    fewest boxes that any strategy of the seed had labelled. ``final`` and ``final_sd`` are the last
    round's. ``images_to_target`` and ``boxes_to_target`` are shares of what ``random`` needed for its own
    last result, on the mean curves: 0.5 is half the work, None was not reached. ``gain`` is the
    difference in ``area`` from ``random``, ``over_count`` from ``count``, ``gain_boxes`` the one in
    ``area_boxes`` from ``random``; None of a strategy and itself. ``verdict`` is about areas over images
    unless it speaks of boxes.
    """

    strategy: str
    seeds: int
    area: float
    area_boxes: float
    final: float
    final_sd: float | None
    boxes: float
    images_to_target: float | None
    boxes_to_target: float | None
    gain: Paired | None
    gain_boxes: Paired | None
    over_count: Paired | None
    verdict: str


def area(x: ArrayLike, y: ArrayLike, until: float | None = None) -> float:
    """The mean height of a curve from its first ``x`` to ``until`` or its last: trapezoids by width.

    ``x`` (n,) rises, or stays where a round brought nothing; ``y`` (n,). A curve of no width has the
    height of its last point.

    Raises:
        BadInput: the two differ in length, are empty, ``x`` falls, or ``until`` lies outside it.
    """
    at, height = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if at.ndim != 1 or at.shape != height.shape or not at.size or (np.diff(at) < 0).any():
        raise BadInput("x", f"{height.size} numbers that rise", x)
    end = at[-1] if until is None else until
    if not at[0] <= end <= at[-1]:
        raise BadInput("until", f"from {at[0]:g} to {at[-1]:g}", until)
    inside = at <= end
    last = height[inside][-1] if end == at[inside][-1] else np.interp(end, at, height)
    at, height = np.append(at[inside], end), np.append(height[inside], last)
    return float(np.trapezoid(height, at) / (at[-1] - at[0])) if at[-1] > at[0] else float(height[-1])


def reached(x: ArrayLike, y: ArrayLike, target: float) -> float | None:
    """Where a curve first comes to ``target``, between its points on a straight line; None: it does not."""
    at, height = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    above = np.flatnonzero(height >= target)
    if not above.size:
        return None
    first = int(above[0])
    if first == 0:
        return float(at[0])
    low, high = height[first - 1], height[first]
    return float(at[first - 1] + (at[first] - at[first - 1]) * (target - low) / (high - low))


def paired(ours: ArrayLike, theirs: ArrayLike) -> Paired:
    """How much more ``ours`` (n,) is than ``theirs`` (n,), seed by seed, with Student's interval.

    Raises:
        BadInput: they differ in length, or are empty.
    """
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise BadInput("theirs", f"{a.size} numbers, at least one", theirs)
    gaps = a - b
    mean, wins = float(gaps.mean()), int((gaps > 0).sum())
    if gaps.size == 1:
        return Paired(1, wins, mean)
    from scipy import stats

    error = float(gaps.std(ddof=1) / np.sqrt(gaps.size))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, gaps.size - 1)) * error
    tail = float(2 * stats.t.sf(abs(mean) / error, gaps.size - 1)) if error > 0 else float(mean == 0)
    return Paired(int(gaps.size), wins, mean, mean - reach, mean + reach, tail, tail)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Each p, larger for having been tried beside the others (Holm 1979); None stays and is not counted."""
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    out: list[float | None] = [None] * len(p)
    least = 0.0
    for rank, (value, i) in enumerate(known):
        least = max(least, min(1.0, value * (len(known) - rank)))
        out[i] = least
    return out


def summarise(runs: Sequence[Run]) -> list[Summary]:
    """A summary of each strategy, in the order they were played; ``random`` and ``count`` must be there.

    Raises:
        BadInput: a strategy misses a seed, or rounds differ in their number of images.
    """
    table = _Table(runs)
    own = {name: table.areas(name, "images") for name in table.names}
    by_boxes = {name: table.areas(name, "boxes") for name in table.names}
    gains = _compared(own, "random")
    gains_boxes = _compared(by_boxes, "random")
    over_count = _compared(own, "count")
    out = []
    for name in table.names:
        final = table.heights(name)[:, -1]
        out.append(
            Summary(
                name,
                len(table.seeds),
                float(own[name].mean()),
                float(by_boxes[name].mean()),
                float(final.mean()),
                float(final.std(ddof=1)) if len(final) > 1 else None,
                float(table.at(name, "boxes")[:, -1].mean()),
                table.work(name, "images"),
                table.work(name, "boxes"),
                gains.get(name),
                gains_boxes.get(name),
                over_count.get(name),
                _verdict(gains.get(name), gains_boxes.get(name), over_count.get(name)),
            )
        )
    return out


def caution(runs: Sequence[Run]) -> str:
    """Why these figures may say nothing: ``random`` itself did not learn from more labels. Else empty."""
    heights = _Table(runs).heights("random")
    rise = paired(heights[:, -1], heights[:, 0])
    if rise.mean > 0 and (rise.low is None or rise.low > 0):
        return ""
    first, last = heights[:, 0].mean(), heights[:, -1].mean()
    return (
        f"More labels did not surely help random itself ({first:.3f} to {last:.3f} on {rise.n} seeds): "
        "train longer, play more seeds or larger rounds before reading anything into the differences."
    )


class _Table:
    """Curves by strategy as arrays of shape (seeds, rounds)."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.names = list(dict.fromkeys(run.strategy for run in runs))
        self.seeds = list(dict.fromkeys(run.seed for run in runs))
        self._runs: Mapping[tuple[str, int], Run] = {(run.strategy, run.seed): run for run in runs}
        wanted = {(name, seed) for name in {*self.names, "random", "count"} for seed in self.seeds}
        if not runs or wanted != self._runs.keys():
            missing = sorted(wanted - self._runs.keys())[:5]
            raise BadInput("runs", "every strategy and both controls from every seed", missing)
        if len({tuple(r.images for r in run.rounds) for run in runs}) > 1:
            raise BadInput("runs", "rounds of the same numbers of images", "different ones")

    def at(self, name: str, axis: Axis) -> Floats:
        return self._column(name, axis)

    def heights(self, name: str) -> Floats:
        return self._column(name, MEASURE)

    def _column(self, name: str, field: str) -> Floats:
        found = [[getattr(r, field) for r in self._runs[name, seed].rounds] for seed in self.seeds]
        return np.array(found, dtype=np.float64)

    def areas(self, name: str, axis: Axis) -> Floats:
        """Area under each seed's curve, (seeds,), as far as all strategies of the seed came."""
        ends = np.min([self.at(other, axis)[:, -1] for other in self.names], axis=0)
        curves = zip(self.at(name, axis), self.heights(name), ends, strict=True)
        return np.array([area(x, y, end) for x, y, end in curves])

    def work(self, name: str, axis: Axis) -> float | None:
        """Images or boxes to the last result of ``random``, as a share of what it took ``random``."""
        target = self.heights("random")[:, -1].mean()
        needed = [
            reached(self.at(who, axis).mean(axis=0), self.heights(who).mean(axis=0), target)
            for who in (name, "random")
        ]
        return None if needed[0] is None or not needed[1] else needed[0] / needed[1]


def _compared(areas: Mapping[str, Floats], control: str) -> dict[str, Paired]:
    """Every other strategy beside a control, with Holm's correction over all of them."""
    found = {name: paired(own, areas[control]) for name, own in areas.items() if name != control}
    adjusted = holm([one.p for one in found.values()])
    return {name: replace(found[name], adjusted=p) for name, p in zip(found, adjusted, strict=True)}


def _verdict(gain: Paired | None, by_boxes: Paired | None, over_count: Paired | None) -> str:
    if gain is None or by_boxes is None:
        return "what the others are measured by"
    if gain.adjusted is None:
        return (
            f"{'ahead of' if gain.mean > 0 else 'not ahead of'} random on one seed, which shows nothing yet"
        )
    words = f"{_apart(gain, 'random')} on {gain.n} seeds"
    if _separate(gain) and gain.mean > 0 and not (_separate(by_boxes) and by_boxes.mean > 0):
        words += ", not surely at equal boxes"
    return words if over_count is None else f"{words}; {_apart(over_count, 'count')}"


def _separate(found: Paired) -> bool:
    return found.adjusted is not None and found.adjusted < 1 - LEVEL


def _apart(found: Paired, control: str) -> str:
    if not _separate(found):
        return f"not separable from {control}"
    return f"{'better' if found.mean > 0 else 'worse'} than {control} (p = {found.adjusted:.2g})"
