"""How good the picks of a stream are, what it spends, and what a decision costs, against scikit-activeml.

The stream is what a camera gives: everything gets harder in the middle, and a storm passes. It shows
scenes of several kinds, some far more often than others, whatever their uncertainty. A pick's percentile
is its rank among the 500 images around it; with hindsight the best would reach 1 - budget / 2 on
average. Evenness is the entropy of the picks' kinds, 1 where all were picked equally often.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.closing import close  # noqa: E402
from sampler.stream import Item, Quota, replay  # noqa: E402
from sampler.streams import DEFAULT, STREAMS  # noqa: E402
from sampler.streams import replay as replay_items  # noqa: E402

BUDGET = 0.05
STORM = (0.67, 0.7)
KINDS = 40
WIDTH = 448  # as long as the embeddings of yolo11n

Array = NDArray[np.float64]
Choosers = dict[str, Callable[[Array], list[int]]]


def images(n: int, seed: int) -> Array:
    """Uncertainties of ``n`` images."""
    rng = np.random.default_rng(seed)
    values = rng.beta(2, 6, n)
    values[n // 2 :] = rng.beta(4, 4, n - n // 2)
    storm = slice(int(STORM[0] * n), int(STORM[1] * n))
    values[storm] = rng.beta(8, 2, storm.stop - storm.start)
    return np.asarray(values)


def scenes(n: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Kinds of ``n`` images, the k-th of them 1 / k as frequent as the first, and their embeddings."""
    rng = np.random.default_rng(seed)
    often = 1 / np.arange(1, KINDS + 1)
    kinds = rng.choice(KINDS, n, p=often / often.sum())
    centres = rng.standard_normal((KINDS, WIDTH), dtype=np.float32)
    return kinds, centres[kinds] + 0.3 * rng.standard_normal((n, WIDTH), dtype=np.float32)


def ours(values: Array) -> list[int]:
    return replay(values.tolist(), Quota(BUDGET))


def replayed(name: str, items: list[Item], _: Array) -> list[int]:
    return replay_items(items, Quota(BUDGET), name)


def managed(manager: Any, values: Array) -> list[int]:
    """Picks of one of scikit-activeml's budget managers."""
    candidates, picks = np.zeros((1, 1)), []
    for i in range(len(values)):
        utility = values[i : i + 1]
        chosen = manager.query_by_utility(utility)
        more = {"utilities": utility} if "Quantile" in type(manager).__name__ else {}
        manager.update(candidates, chosen, **more)
        if len(chosen):
            picks.append(i)
    return picks


def peers(seed: int) -> Choosers:
    from skactiveml.stream import budgetmanager as managers

    made = {
        "fixed_uncertainty": managers.FixedUncertaintyBudgetManager(classes=[0, 1], budget=BUDGET),
        "variable_uncertainty": managers.VariableUncertaintyBudgetManager(budget=BUDGET),
        "split": managers.SplitBudgetManager(budget=BUDGET, random_state=seed),
        "quantile_filter": managers.BalancedIncrementalQuantileFilter(budget=BUDGET),
        "random": managers.RandomBudgetManager(budget=BUDGET, random_state=seed),
    }
    return {name: partial(managed, manager) for name, manager in made.items()}


def evenness(kinds: NDArray[np.intp]) -> float:
    shares = np.unique(kinds, return_counts=True)[1] / len(kinds)
    return float(-(shares * np.log(shares)).sum() / np.log(KINDS))


def judge(choose: Callable[[Array], list[int]], values: Array, kinds: NDArray[np.intp]) -> dict[str, float]:
    began = time.process_time()
    picks = choose(values)
    spent = time.process_time() - began
    ranks = [float((values[max(0, i - 250) : i + 250] < values[i]).mean()) for i in picks]
    return {
        "percentile": float(np.mean(ranks)) if ranks else 0.0,
        "budget_error": abs(len(picks) / len(values) / BUDGET - 1),
        "us_per_item": spent / len(values) * 1e6,
        "evenness": evenness(kinds[np.asarray(picks, dtype=np.intp)]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed of 6,000 images")
    quick = parser.parse_args().quick
    seeds, n = (1, 6_000) if quick else (5, 6_000)
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        values, (kinds, embeddings) = images(n, seed), scenes(n, seed)
        items = [Item(u, row) for u, row in zip(values.tolist(), embeddings, strict=True)]
        others: Choosers = {
            f"ours_{name}": partial(replayed, name, items) for name in STREAMS if name != DEFAULT
        }
        for name, choose in ({"ours": ours} | others | peers(seed)).items():
            found.setdefault(name, []).append(judge(choose, values, kinds))
    means = {
        name: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        for name, rows in found.items()
    }
    for name, row in means.items():
        print(f"{name:22}" + "".join(f"  {key} {value:8.3f}" for key, value in row.items()))
    many = np.zeros(60_000, dtype=np.intp)
    growth = judge(ours, images(60_000, 0), many)["us_per_item"] / means["ours"]["us_per_item"]
    figures = {key: round(value, 4) for key, value in means["ours"].items()}
    for name, row in means.items():
        if name != "ours":
            figures |= {f"{name}_{key}": round(value, 4) for key, value in row.items()}
    close(
        "stream",
        figures,
        {
            "quantile_filter_time": round(
                means["quantile_filter"]["us_per_item"] / means["ours"]["us_per_item"], 1
            ),
            "percentile_to_hindsight": round(means["ours"]["percentile"] / (1 - BUDGET / 2), 3),
            "growth_per_item_10x": round(growth, 2),
        },
    )


if __name__ == "__main__":
    main()
