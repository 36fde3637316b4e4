"""Boxes and scenes that the tests of slips and guidelines share."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.rules import load
from consensus.study import Study, of_annotations
from pool.schema import Region
from tests.consensus.scenes import drew, region

SIZE = (1000, 500)
A, B = region("bin", 0.1, 0.1, 0.3, 0.3), region("bin", 0.35, 0.1, 0.55, 0.3)
BOTH = region("garbage", 0.1, 0.1, 0.55, 0.3)
WIDE = region("bin", 0.2, 0.5, 0.6, 0.7)
LEFT, RIGHT = region("bin", 0.2, 0.5, 0.39, 0.7), region("bin", 0.41, 0.5, 0.6, 0.7)

STRICT = load(
    """
rules:
  overlap: violation
  size:
    severity: violation
    limits:
      garbage: {min_width: 20 px, max_area: 20 %, max_aspect: 3}
  aspect: violation
""",
    "strict",
)


def scene(*people: Sequence[Region], size: tuple[int, int] | None = SIZE) -> Study:
    given_ = [drew(f"p{k}", *regions, number=k + 1) for k, regions in enumerate(people)]
    return of_annotations(given_, None if size is None else {"s": size})


def shapes(aspects: Sequence[float], label: str | None = "bin") -> Study:
    """One person's box of each aspect, each on an image of its own."""
    boxes = [region(label, 0.1, 0.1, 0.1 + 0.05 * a, 0.1 + 0.1) for a in aspects]
    given_ = [drew("p", b, sample=f"s{k:02d}", number=k) for k, b in enumerate(boxes)]
    return of_annotations(given_, {f"s{k:02d}": (1000, 500) for k in range(len(boxes))})
