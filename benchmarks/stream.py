"""How good the picks of a stream are, what it spends, and what a decision costs, against scikit-activeml.

The stream is what a camera gives: everything gets harder in the middle, and a storm passes. A pick's
percentile is its rank among the 500 images around it; with hindsight the best would reach
1 - budget / 2 on average.
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
from sampler.stream import Quota, replay  # noqa: E402

BUDGET = 0.05
STORM = (0.67, 0.7)

Array = NDArray[np.float64]


def images(n: int, seed: int) -> Array:
    """Uncertainties of ``n`` images."""
    rng = np.random.default_rng(seed)
    values = rng.beta(2, 6, n)
    values[n // 2 :] = rng.beta(4, 4, n - n // 2)
    storm = slice(int(STORM[0] * n), int(STORM[1] * n))
    values[storm] = rng.beta(8, 2, storm.stop - storm.start)
    return np.asarray(values)


def ours(values: Array) -> list[int]:
    return replay(values.tolist(), Quota(BUDGET))


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


def peers(seed: int) -> dict[str, Callable[[Array], list[int]]]:
    from skactiveml.stream import budgetmanager as managers

    made = {
        "fixed_uncertainty": managers.FixedUncertaintyBudgetManager(classes=[0, 1], budget=BUDGET),
        "variable_uncertainty": managers.VariableUncertaintyBudgetManager(budget=BUDGET),
        "split": managers.SplitBudgetManager(budget=BUDGET, random_state=seed),
        "quantile_filter": managers.BalancedIncrementalQuantileFilter(budget=BUDGET),
        "random": managers.RandomBudgetManager(budget=BUDGET, random_state=seed),
    }
    return {name: partial(managed, manager) for name, manager in made.items()}


def judge(choose: Callable[[Array], list[int]], values: Array) -> dict[str, float]:
    began = time.process_time()
    picks = choose(values)
    spent = time.process_time() - began
    ranks = [float((values[max(0, i - 250) : i + 250] < values[i]).mean()) for i in picks]
    return {
        "percentile": float(np.mean(ranks)) if ranks else 0.0,
        "budget_error": abs(len(picks) / len(values) / BUDGET - 1),
        "us_per_item": spent / len(values) * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed of 6,000 images")
    quick = parser.parse_args().quick
    seeds, n = (1, 6_000) if quick else (5, 6_000)
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        values = images(n, seed)
        for name, choose in {"ours": ours, **peers(seed)}.items():
            found.setdefault(name, []).append(judge(choose, values))
    means = {
        name: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        for name, rows in found.items()
    }
    for name, row in means.items():
        print(f"{name:22}" + "".join(f"  {key} {value:8.3f}" for key, value in row.items()))
    growth = judge(ours, images(60_000, 0))["us_per_item"] / means["ours"]["us_per_item"]
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
