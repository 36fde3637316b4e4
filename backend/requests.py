"""Images that somebody wants people to look at, whatever the model thinks of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend.briefing import REQUESTS, undecided
from backend.house import House
from pool.schema import BadInput


def add(house: House, project: int, names: Sequence[str]) -> dict[str, Any]:
    """Put images on the project's list of requests, by file name or id; the oldest wish comes first.

    Raises:
        BadInput: an image is not in the project, several have that name, or it wants no answer.
    """
    samples = house.pool.samples([t.sample for t in house.pool.tasks(project)])
    by_name: dict[str, list[str]] = {}
    for sample in samples.values():
        by_name.setdefault(sample.name, []).append(sample.id)
    open_ = undecided(house, project)
    wanted: list[str] = []
    for name in names:
        found = [name] if name in samples else by_name.get(name, [])
        if len(found) != 1:
            expected = f"the name or id of one image of project {project}"
            got = name if not found else f"{name}, which is the name of {len(found)}"
            raise BadInput("NAME", expected, got, f"Their ids: {', '.join(found)}." if found else "")
        if found[0] not in open_:
            raise BadInput(
                "NAME", "an image that waits for an answer", name, "It is asked about, or answered."
            )
        if open_[found[0]].holdout:
            raise BadInput("NAME", "no holdout image: rounds ask about those anyway", name)
        wanted += found

    def lengthened(old: Any) -> dict[str, Any]:
        known = list((old or {"samples": ()})["samples"])
        return {"samples": list(dict.fromkeys([*known, *wanted]))}

    now = house.pool.change_state(REQUESTS, str(project), lengthened)
    return {"requested": len(wanted), "waiting": len(now["samples"])}


def drop(house: House, project: int, samples: Sequence[str]) -> None:
    """Take images off the list: people were asked about them."""
    gone = set(samples)
    known = house.pool.state(REQUESTS, str(project))
    if known is None or gone.isdisjoint(known["samples"]):
        return
    house.pool.change_state(
        REQUESTS,
        str(project),
        lambda old: {"samples": [s for s in (old or {"samples": ()})["samples"] if s not in gone]},
    )
