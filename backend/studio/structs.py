"""What is read of a Label Studio export, as typed structs.

The garbage collector does not track them: they hold no cycles, and looking at millions costs seconds.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType


class Value(Struct, gc=False):
    """The place of a region and its labels; infinite where a number is not given, NaN where it is none."""

    x: float = math.inf
    y: float = math.inf
    width: float = math.inf
    height: float = math.inf
    rotation: float = 0.0
    rectanglelabels: list[str] | None = None
    labels: list[str] | None = None


class Item(Struct, gc=False):
    """One item of a result."""

    id: str | int | None = None
    type: str | None = None
    from_name: str | None = None
    to_name: str | UnsetType | None = UNSET
    original_width: float | None = None
    original_height: float | None = None
    score: float | None = None
    value: Value | None = None


class Prediction(Struct, gc=False):
    """A prediction of a task, or the copy of it that an annotation carries."""

    id: int | None = None
    result: list[Item] | None = None
    model_version: str | None = None
    score: float | None = None


class Annotation(Struct, gc=False):
    """An annotation; ``prediction`` is the text of a `Prediction`, often the same for a whole task."""

    id: int
    created_at: datetime
    updated_at: datetime | None = None
    completed_by: Any = None
    result: list[Item] | None = None
    was_cancelled: Any = False
    ground_truth: Any = False
    lead_time: Any = None
    parent_prediction: Any = None
    prediction: Raw = Raw(b"")


class Task(Struct, gc=False):
    """A task; ``predictions`` are often nothing but their ids."""

    id: int
    data: dict[str, Any]
    annotations: list[Annotation]
    predictions: list[int | Prediction] | None = None
