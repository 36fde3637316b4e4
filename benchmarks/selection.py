"""What choosing 1,000 images out of a pool costs, against the work that no exact method can avoid.

The limit of farthest-first is one matrix product of the pool with the picks (the floor): every pick's
distance to every image. The peer is scikit-activeml's CoreSet, the same algorithm. Figures are CPU
seconds of all threads, since that is what a shared machine pays.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "2"

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from benchmarks.closing import close  # noqa: E402
from sampler.clasp import clasp  # noqa: E402
from sampler.farthest import farthest_first  # noqa: E402
from sampler.herding import herding  # noqa: E402
from sampler.selection import top_n  # noqa: E402

DIMENSIONS, PICKS = 256, 1000
PEER_POOL, PEER_DIMENSIONS, PEER_PICKS = 10_000, 128, 100

Points = NDArray[np.float32]


def embeddings(n: int, d: int, seed: int = 0, clusters: int = 200, latent: int = 24) -> Points:
    """Unit vectors as networks give them: clusters of very different sizes in few dimensions, and noise."""
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((latent, d)).astype(np.float32) / np.float32(np.sqrt(latent))
    centers = rng.standard_normal((clusters, latent)).astype(np.float32) * np.float32(1.5)
    sizes = rng.pareto(1.2, clusters) + 0.05
    of = rng.choice(clusters, n, p=sizes / sizes.sum())
    points = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, 100_000):
        part = of[start : start + 100_000]
        hidden = centers[part] + rng.standard_normal((len(part), latent), dtype=np.float32)
        rows = hidden @ basis + np.float32(0.1) * rng.standard_normal((len(part), d), dtype=np.float32)
        points[start : start + 100_000] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return points


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def floor(points: Points, k: int) -> None:
    """The product of the pool with ``k`` picks, in the same pieces as farthest-first uses."""
    picks = np.ascontiguousarray(points[:: max(len(points) // k, 1)][:k].T)
    for start in range(0, len(points), 16384):
        for first in range(0, k, 256):
            (points[start : start + 16384] @ picks[:, first : first + 256]).min(axis=1)


def peer() -> tuple[float, float]:
    """CPU seconds of scikit-activeml's CoreSet and of ours, on the same small pool."""
    from skactiveml.pool import CoreSet
    from skactiveml.utils import MISSING_LABEL

    points = embeddings(PEER_POOL, PEER_DIMENSIONS, seed=7)
    labels = np.full(PEER_POOL, MISSING_LABEL)
    labels[0] = 0  # it wants a first point
    theirs = CoreSet(random_state=0)
    seconds = cpu(lambda: theirs.query(points, labels, batch_size=PEER_PICKS))
    return seconds, cpu(lambda: farthest_first(points, PEER_PICKS, context=points[:1]))


def measure(n: int) -> dict[str, float]:
    """CPU seconds of each way to choose from ``n`` images."""
    points = embeddings(n, DIMENSIONS)
    uncertainty = np.random.default_rng(1).random(n)
    kinds = np.random.default_rng(2).integers(0, 20, n)
    labelled = embeddings(500, DIMENSIONS, seed=3)
    return {
        "floor": cpu(lambda: floor(points, PICKS)),
        "core_set": cpu(lambda: farthest_first(points, PICKS)),
        "uncertainty_herding": cpu(
            lambda: herding(points, PICKS, 0, uncertainty=uncertainty, context=labelled)
        ),
        "clasp": cpu(lambda: clasp(uncertainty, PICKS, 0, kind=kinds)),
        "top_n": cpu(lambda: top_n(uncertainty, PICKS, 0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the million: under 45 seconds")
    quick = parser.parse_args().quick
    sizes = (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000)
    figures: dict[str, float] = {}
    for n in sizes:
        for name, seconds in measure(n).items():
            figures[f"{name}_{n}_cpu_s"] = round(seconds, 3)
            print(f"{name:22} {n:9,} {seconds:10.3f} CPU s")
    theirs, ours = peer()
    figures |= {"scikit_activeml_cpu_s": round(theirs, 3), "ours_same_pool_cpu_s": round(ours, 3)}
    print(
        f"scikit-activeml's CoreSet, {PEER_PICKS} of {PEER_POOL:,} x {PEER_DIMENSIONS}: {theirs:.2f} CPU s"
    )
    largest = sizes[-1]
    close(
        "selection",
        figures,
        {
            "gemm_floor": round(
                figures[f"core_set_{largest}_cpu_s"] / figures[f"floor_{largest}_cpu_s"], 2
            ),
            "scikit_activeml": round(theirs / max(ours, 1e-3), 1),
            "growth_core_set": round(
                figures[f"core_set_{largest}_cpu_s"] / figures[f"core_set_{sizes[-2]}_cpu_s"], 1
            ),
        },
    )


if __name__ == "__main__":
    main()
