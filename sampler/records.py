"""A stream's state as a record for JSON, and back: named numbers, nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from pool.schema import BadInput

State = TypeVar("State")
Record = dict[str, Any]


def dumped(state: Any) -> Record:
    """The numbers of a dataclass; one that is no number yet is left out, for JSON has no word for it."""
    return {name: value for name, value in asdict(state).items() if value == value}


def loaded(kind: type[State], record: Mapping[str, object]) -> State:
    """The state of a record that `dumped` made; what was left out is as before the first image.

    Raises:
        BadInput: the record is of something else.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for name, value in record.items():
        if name not in names or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadInput(f"state of kind {kind.__name__}", f"numbers of {sorted(names)}", {name: value})
    return kind(**record)
