"""Point clouds as embeddings are: unit vectors in clusters of very different sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cloud(n: int, d: int, seed: int = 0, clusters: int = 12) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((clusters, d)) * 1.5
    sizes = rng.pareto(1.2, clusters) + 0.05
    of = rng.choice(clusters, n, p=sizes / sizes.sum())
    points = centers[of] + rng.standard_normal((n, d))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float32)
