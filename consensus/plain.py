"""Figures as the plain values of a document: what is undefined is None, times are ISO 8601 in UTC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from consensus.rates import Rate
from consensus.sheet import Floats

Document = dict[str, Any]

DIGITS = 6
"""Decimals of a figure: no page shows more, and documents stay readable."""


FAR = 10.0
"""Widths and heights of an image beyond which nobody draws: what is there is cut off."""


def number(value: float) -> float | None:
    """A figure, None where it is undefined."""
    return round(value, DIGITS) + 0.0 if math.isfinite(value) else None  # -0.0 is 0.0


def moment(seconds: float) -> str | None:
    """Seconds since 1970 as ISO 8601, None where no time is known."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # NaN, or beyond the years that a calendar has
        return None


def place(box: Sequence[float], turn: float = 0.0) -> list[float | None]:
    """A box as ``[x1, y1, x2, y2, rotation]``."""
    return [number(min(max(float(v), -FAR), FAR)) for v in box] + [number(float(turn))]


def places(boxes: Floats, turn: Floats) -> list[list[float | None]]:
    """`place` of many boxes, (n, 4) and (n,)."""
    table = np.round(np.column_stack([np.clip(boxes, -FAR, FAR), turn]), DIGITS) + 0.0
    rows: list[list[float | None]] = table.tolist()
    for k in np.flatnonzero(~np.isfinite(table).all(axis=1)).tolist():
        rows[k] = place(boxes[k].tolist(), float(turn[k]))
    return rows


def rate(given: Rate) -> Document:
    """A rate with its bounds and counts."""
    return {
        "value": number(given.value),
        "low": number(given.low),
        "high": number(given.high),
        "count": given.count,
        "of": given.of,
    }
