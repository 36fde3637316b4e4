"""What people meet on a variant: its parent's boxes, to confirm or to correct."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pool.schema import Prediction
from pool.store import Pool


def proposed(pool: Pool, project: int, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """Predictions as they are shown: on a variant its parent's boxes, not what a model sees there.

    Where the parent has none to show, it is what the model sees all the same. The uncertainty stays the
    model's own: it says how much a person's look is worth.
    """
    known = list(predictions)
    variants = pool.variants_of(project, [p.sample for p in known])
    for each in known:
        variant = variants.get(each.sample)
        yield each if variant is None or not variant.regions else replace(each, regions=variant.regions)
