"""The Data Manager tabs that `connect` makes: where the loop's notes meet the people who work with them.

A tab is recognised by its title and never touched again, so that people may change it as they like;
only an order that could not be set yet is added later (see `ordered`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

NEEDS_HUMAN: Final = "Needs a human"
AUTO_ACCEPTED: Final = "Auto-accepted"
REVIEW: Final = "Review"
TITLES: Final = (NEEDS_HUMAN, AUTO_ACCEPTED, REVIEW)

# Every column of Label Studio 1.23 that a list can show, beside the keys of the task data.
_COLUMNS: Final = (
    *("id", "inner_id", "completed_at", "total_annotations", "cancelled_annotations", "total_predictions"),
    *("annotators", "annotations_results", "annotations_ids", "predictions_score"),
    *("predictions_model_versions", "predictions_results", "file_upload", "storage_filename", "created_at"),
    *("updated_at", "updated_by", "avg_lead_time", "draft_exists"),
)
_NOTES: Final = (
    *("why", "route", "uncertainty", "sample", "name"),
    *("review", "consensus_score", "expected_errors", "conflicts"),
)

_ORDERS: Final[Mapping[str, str]] = {
    # Label Studio serves the lowest score first; the list shows the same order as the queue.
    NEEDS_HUMAN: "tasks:predictions_score",
    AUTO_ACCEPTED: "tasks:predictions_score",
    REVIEW: "-tasks:data.expected_errors",
}


def wanted(titles: Sequence[str], image_key: str, *, has_tasks: bool) -> list[Json]:
    """Tabs to create in a project that already has tabs named ``titles``.

    A project without any tab gets its plain one too, because Label Studio makes that only while there
    is no other. ``has_tasks`` False leaves the order out: Label Studio answers 500 to a list ordered
    by score in a project without tasks.
    """
    made = [_plain()] if not titles else []
    missing = [title for title in TITLES if title not in titles]
    return made + [
        _tab(title, image_key) | ({"ordering": [_ORDERS[title]]} if has_tasks else {}) for title in missing
    ]


def ordered(views: Sequence[Mapping[str, Any]]) -> list[tuple[int, Json]]:
    """(id, data to add) of our tabs that have no order yet; for a project that has tasks by now.

    A tab with our title but another filter is somebody's own.
    """
    return [
        (int(view["id"]), {"ordering": [_ORDERS[title]]})
        for view in views
        if (title := title_of(view)) in _ORDERS
        and not view["data"].get("ordering")
        and view["data"].get("filters") == _filters(title)
    ]


def title_of(view: Mapping[str, Any]) -> str:
    """The name on the tab."""
    return str((view.get("data") or {}).get("title", ""))


def _plain() -> Json:
    return {"title": "Default", "type": "list", "target": "tasks"}


def _tab(title: str, image_key: str) -> Json:
    _, shown = _CONTENT[title]
    visible = {image_key if column == "$image" else column for column in shown}
    return {
        "title": title,
        "type": "list",
        "target": "tasks",
        "filters": _filters(title),
        # Without it 10 comes before 9.
        "columnsDisplayType": {
            f"tasks:data.{key}": "Number" for key in ("expected_errors", "consensus_score")
        },
        "hiddenColumns": {
            "explore": _hidden(visible, image_key),
            # The narrow list beside an open task.
            "labeling": _hidden({"id", image_key, "predictions_score"}, image_key),
        },
    }


def _filters(title: str) -> Json:
    conditions, _ = _CONTENT[title]
    return {"conjunction": "and", "items": [dict(condition) for condition in conditions]}


def _hidden(visible: set[str], image_key: str) -> list[str]:
    plain = [f"tasks:{column}" for column in _COLUMNS if column not in visible]
    return plain + [f"tasks:data.{key}" for key in (image_key, *_NOTES) if key not in visible]


def _condition(column: str, operator: str, kind: str, value: object) -> Json:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


_UNFINISHED: Final = _condition("completed_at", "empty", "Datetime", True)
_CONTENT: Final[Mapping[str, tuple[Sequence[Json], Sequence[str]]]] = {
    NEEDS_HUMAN: (
        (_condition("data.route", "regex", "String", "^(human|double)$"), _UNFINISHED),
        ("id", "$image", "why", "route", "predictions_score", "total_annotations", "annotators"),
    ),
    AUTO_ACCEPTED: (
        (_condition("data.route", "equal", "String", "auto"),),
        ("id", "$image", "why", "predictions_score", "predictions_model_versions", "total_annotations"),
    ),
    REVIEW: (
        (_condition("data.review", "equal", "String", "open"),),
        (
            *("id", "$image", "consensus_score", "expected_errors", "conflicts", "total_annotations"),
            *("annotators", "avg_lead_time"),
        ),
    ),
}
