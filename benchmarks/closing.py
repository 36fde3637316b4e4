"""The last line of every benchmark, for machines."""

from __future__ import annotations

import json
import resource
from collections.abc import Mapping


def close(
    benchmark: str,
    figures: Mapping[str, object],
    ratios: Mapping[str, float],
    whose: int = resource.RUSAGE_SELF,
) -> None:
    """Print it, with the most memory in MiB that this process held, or one of its children."""
    peak = round(resource.getrusage(whose).ru_maxrss / 1024)
    line = {"benchmark": benchmark, "figures": figures, "ratios": ratios, "peak_mb": peak}
    print(json.dumps(line))
