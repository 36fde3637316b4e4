"""Tasks that are written otherwise than Label Studio writes them, read as far as they can be.

They become the same structs as all others, with broken parts marked: an item that is none has the type
`BROKEN`, a side that is no number is NaN.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import UNSET, Raw

from backend.studio import percent
from backend.studio.listing import moment
from backend.studio.structs import Annotation, Item, Prediction, Task, Value
from pool.schema import BadInput

EXPORT: Final = 'Export the project once more and choose the format "JSON".'
BROKEN: Final = "broken"


def task(given: object, where: str) -> Task:
    """A task that is written otherwise than Label Studio does, as far as it can be read."""
    if not isinstance(given, Mapping):
        raise BadInput(where, "a task", given, EXPORT)
    number = _whole(given.get("id"))
    data, annotations = given.get("data"), given.get("annotations")
    if not isinstance(data, Mapping):
        short = "annotation_id" in given or "annotator" in given
        got = "an item of the format JSON_MIN" if short else sorted(map(str, given))
        raise BadInput(where, "a task with its id, data and annotations", got, EXPORT)
    if number is None:
        raise BadInput(f"{where}: id", "a whole number", given.get("id"), EXPORT)
    if not isinstance(annotations, list):
        raise BadInput(
            f"{where} (task {number}): annotations", "a list", annotations,
            EXPORT + " Of the REST API ask for fields=all.",
        )  # fmt: skip
    predictions = given.get("predictions")
    found = [
        p if isinstance(p, int) else prediction(p)
        for p in (predictions if isinstance(predictions, list) else [])
        if isinstance(p, int | Mapping)
    ]
    told = f"{where} (task {number}): annotation"
    return Task(
        id=number,
        data=dict(data),
        annotations=[_annotation(a, f"{told} {k + 1}") for k, a in enumerate(annotations)],
        predictions=found,
    )


def _annotation(given: object, where: str) -> Annotation:
    if not isinstance(given, Mapping):
        raise BadInput(where, "an annotation", given, EXPORT)
    number = _whole(given.get("id"))
    if number is None:
        raise BadInput(f"{where}: id", "a whole number", given.get("id"), EXPORT)
    created = _moment(given.get("created_at"), f"{where}: created_at")
    updated = given.get("updated_at")
    known = ("completed_by", "was_cancelled", "ground_truth", "lead_time", "parent_prediction")
    return Annotation(
        id=number,
        created_at=created,
        updated_at=_moment(updated, f"{where}: updated_at") if updated else None,
        result=_items(given.get("result")),
        prediction=Raw(json.dumps(given.get("prediction")).encode()),
        **{name: given.get(name) for name in known},
    )


def prediction(given: Mapping[str, Any]) -> Prediction:
    """A prediction as far as it can be read."""
    version, result = given.get("model_version"), given.get("result")
    return Prediction(
        id=_whole(given.get("id")),
        result=None if result is None else _items(result),
        model_version=None if version is None else str(version),
        score=percent.number(given.get("score")),
    )


def _moment(given: object, where: str) -> datetime:
    try:
        return moment(str(given))
    except ValueError as error:
        raise BadInput(where, "a time such as 2026-03-01T12:00:00Z", given, EXPORT) from error


def _items(result: object) -> list[Item]:
    """The items of a result, or of its JSON text."""
    if isinstance(result, str) and result:
        try:
            result = json.loads(result)
        except ValueError:
            return [Item(type=BROKEN)]
    return [_item(item) for item in result] if isinstance(result, list) else []


def _item(given: object) -> Item:
    if not isinstance(given, Mapping):
        return Item(type=BROKEN)
    identity, to_name = given.get("id"), given.get("to_name", UNSET)
    value = given.get("value")
    return Item(
        id=identity if identity is None or isinstance(identity, str | int) else str(identity),
        type=str(given.get("type") or "unknown"),
        from_name=_text(given.get("from_name")),
        to_name=to_name if to_name is UNSET else _text(to_name),
        original_width=percent.number(given.get("original_width")),
        original_height=percent.number(given.get("original_height")),
        score=percent.number(given.get("score")),
        value=_value(value) if isinstance(value, Mapping) else None,
    )


def _value(given: Mapping[str, Any]) -> Value:
    return Value(
        x=_side(given, "x"),
        y=_side(given, "y"),
        width=_side(given, "width"),
        height=_side(given, "height"),
        rotation=_side({"rotation": given.get("rotation") or 0.0}, "rotation"),
        rectanglelabels=_names(given.get("rectanglelabels")),
        labels=_names(given.get("labels")),
    )


def _side(given: Mapping[str, Any], key: str) -> float:
    if key not in given:
        return math.inf
    found = percent.number(given[key])
    return math.nan if found is None else found


def _names(given: object) -> list[str] | None:
    return [str(name) for name in given if name] if isinstance(given, list) else None


def _text(given: object) -> str | None:
    return given if isinstance(given, str) else None


def _whole(given: object) -> int | None:
    """A whole number, also written as text."""
    if isinstance(given, bool) or not isinstance(given, int | str):
        return None
    try:
        return int(given)
    except ValueError:
        return None
