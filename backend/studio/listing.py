"""The Data Manager's task list, read so that nothing is missed or seen twice while people work.

Page numbers shift when tasks come, go or change their place between two requests. So pages are cut by a
bound on the ordering column instead, and always the first page behind the bound is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from backend.studio.transport import Refusal, Transport

Json = dict[str, Any]


def by_id(net: Transport, project: int, size: int, params: Mapping[str, str]) -> Iterator[Json]:
    """Every task in the order of ids, each once."""
    last = 0
    while True:
        query = {"ordering": ["tasks:id"], "filters": _where("id", "greater", "Number", last)}
        found = _page(net, project, size, query, params)
        yield from found
        if len(found) < size:
            return
        last = int(found[-1]["id"])


def newest(
    net: Transport, project: int, since: datetime, size: int, params: Mapping[str, str]
) -> Iterator[Json]:
    """Tasks with ``updated_at`` at or after ``since`` (aware), the newest first, each once.

    A task touched while this runs may move to the top unseen; its new time brings it into the next run.
    """
    seen: set[int] = set()
    bound, page = "", 1
    while True:
        query: Json = {"ordering": ["-tasks:updated_at"]}
        if bound:
            query["filters"] = _where("updated_at", "less_or_equal", "Datetime", bound)
        found = _page(net, project, size, query, params, page)
        for task in found:
            if moment(task["updated_at"]) < since:
                return
            if task["id"] not in seen:
                seen.add(task["id"])
                yield task
        if len(found) < size:
            return
        # A bulk change stamps many tasks with one time: walk on in pages while the bound stands still.
        reached = _wall_time(found[-1]["updated_at"])
        bound, page = (bound, page + 1) if reached == bound else (reached, 1)


def moment(text: str) -> datetime:
    """A time as Label Studio writes it, aware and in UTC."""
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _wall_time(text: str) -> str:
    """A served time in the only form that the Data Manager's filters read.

    They read it in the server's own zone whatever stands behind it: the zone in which it was written.
    """
    return datetime.fromisoformat(text).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _where(column: str, operator: str, kind: str, value: object) -> Json:
    item = {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
    return {"conjunction": "and", "items": [item]}


def _page(
    net: Transport, project: int, size: int, query: Json, params: Mapping[str, str], page: int = 1
) -> list[Json]:
    """One page; a page after the last is empty."""
    asked = {"project": str(project), "page": str(page), "page_size": str(size), "resolve_uri": "false"}
    try:
        answer = net.one("GET", "/api/tasks/", {**asked, **params, "query": json.dumps(query)})
    except Refusal as error:
        if error.status == 404 and page > 1:
            return []
        raise
    found: list[Json] = answer["tasks"]
    return found
