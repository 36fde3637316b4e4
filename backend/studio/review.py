"""What a consensus says about tasks, written into Label Studio, and taken back again.

Label Studio Community knows no reviews. What it has is used instead: keys of the task's data that the
Data Manager can filter and sort by, a prediction with the consensus boxes that a reviewer can copy and
submit, ``overlap`` for one more answer, and the star of ground truth for the answer that settles it.

`differences` compares what is there with what should be; only that is written. So saying the same twice
changes nothing, and what was cut short is finished by saying it again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from backend.studio.client import Studio
from backend.studio.convert import FIRST, read
from backend.studio.listing import moment
from backend.studio.transport import Refusal
from pool.schema import Edit, Project

Json = dict[str, Any]

VERSION: Final = "consensus-thresher"
"""Model version of the predictions that hold what people said together."""
SOON: Final = FIRST / 2
"""Score of a task that waits for one more answer: beside the picks of a round, before all other tasks."""
DIGITS: Final = 6
SEEN: Final = (
    "id", "data", "overlap", "is_labeled", "annotations", "predictions",
    "completed_by", "updated_at", "was_cancelled", "ground_truth", "parent_prediction",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a task should be.

    ``data`` are keys of its data (None: the key should not be there), ``result`` and ``score`` its
    consensus prediction, ``opinions`` how many people should answer it in all (None: as many as before).
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    result: Sequence[Json] = ()
    score: float = 0.0
    opinions: int | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be; the fields mean what they mean in `pool.schema.Edit`."""

    task: int
    field: str
    subject: int
    before: Any
    after: Any


def look(studio: Studio, project: int, tasks: Iterable[int]) -> dict[int, Json]:
    """These tasks as Label Studio holds them, by id; those that are gone are left out."""
    wanted = set(tasks)
    if not wanted:
        return {}
    listed = studio.tasks(project, 200, only=SEEN)
    return {int(task["id"]): task for task in listed if int(task["id"]) in wanted}


def accepted(task: Mapping[str, Any]) -> int | None:
    """The answer that a reviewer made of the consensus prediction, the newest if there are several.

    It is no matter who did it: annotators are served the detector's predictions, so only who opened the
    task from a list can copy this one.
    """
    ours = {int(p["id"]) for p in task["predictions"] if p["model_version"] == VERSION}
    made = [
        a for a in task["annotations"] if a.get("parent_prediction") in ours and not a.get("was_cancelled")
    ]
    newest = max(made, key=lambda a: (moment(a["updated_at"]), int(a["id"])), default=None)
    return None if newest is None else int(newest["id"])


def starred(task: Mapping[str, Any]) -> bool:
    """Has somebody settled the task?"""
    return any(a.get("ground_truth") and not a.get("was_cancelled") for a in task["annotations"])


def differences(
    now: Mapping[int, Mapping[str, Any]], wanted: Mapping[int, Wanted], project: Project, version: str
) -> list[Difference]:
    """What has to change so that each task is as wanted; ``version`` is the model people are served."""
    found: list[Difference] = []
    for number in sorted(wanted.keys() & now.keys()):
        task, want = now[number], wanted[number]
        for key, value in want.data.items():
            if task["data"].get(key) != value:
                found.append(Difference(number, f"data.{key}", 0, task["data"].get(key), value))
        found += _prediction(number, task, want, project)
        if want.opinions is not None:
            found += _opinions(number, task, want.opinions, version)
        review = accepted(task)
        if review is not None and not starred(task):
            found.append(Difference(number, "ground_truth", review, False, True))
    return found


def _prediction(number: int, task: Mapping[str, Any], want: Wanted, project: Project) -> list[Difference]:
    rows = sorted((p for p in task["predictions"] if p["model_version"] == VERSION), key=lambda p: p["id"])
    after = {"result": list(want.result), "score": round(want.score, DIGITS)}
    if not rows:
        return [Difference(number, "prediction", 0, None, after)]
    before = {"result": rows[0]["result"], "score": rows[0]["score"]}
    same = before["score"] is not None and abs(before["score"] - want.score) < 10**-DIGITS
    if same and _looks(before["result"], project) == _looks(after["result"], project):
        return []
    return [Difference(number, "prediction", int(rows[0]["id"]), before, after)]


def _looks(result: object, project: Project) -> list[tuple[Any, ...]]:
    """A result's boxes, however they are written."""
    return [
        (r.label, *(round(v, 5) for v in (r.box.x1, r.box.y1, r.box.x2, r.box.y2, r.box.rotation)))
        for r in read(result, project).regions
    ]


def _opinions(number: int, task: Mapping[str, Any], opinions: int, version: str) -> list[Difference]:
    found = []
    if task["overlap"] < opinions:
        found.append(Difference(number, "overlap", 0, task["overlap"], opinions))
    if len(people(task)) < opinions:
        found += [
            Difference(number, "score", int(row["id"]), row["score"], SOON)
            for row in task["predictions"]
            if row["model_version"] == version
            and (row["score"] is None or abs(row["score"] - SOON) > 10**-DIGITS)
        ]
    return found


def people(task: Mapping[str, Any]) -> set[object]:
    """Who answered the task."""
    return {_person(a) for a in task["annotations"] if not a.get("was_cancelled")}


def _person(annotation: Mapping[str, Any]) -> object:
    by = annotation.get("completed_by")
    return by.get("id") if isinstance(by, Mapping) else by


def write(
    studio: Studio, project: int, now: Mapping[int, Mapping[str, Any]], found: Sequence[Difference]
) -> None:
    """Make these changes. What vanished meanwhile is passed over.

    Raises:
        StudioError: Label Studio refuses or stays away; what was written stays.
    """
    by_task: dict[int, list[Difference]] = defaultdict(list)
    for each in found:
        by_task[each.task].append(each)
    fresh = [d for d in found if d.field == "prediction" and not d.subject]
    if fresh:
        studio.import_predictions(
            project, [{"task": d.task, "model_version": VERSION, **d.after} for d in fresh]
        )
    for number, several in by_task.items():
        _patch_task(studio, number, now[number], several)
        for d in several:
            if d.field == "prediction" and d.subject:
                _gently(partial(studio.patch_prediction, d.subject, **d.after))
            elif d.field == "score":
                _gently(partial(studio.patch_prediction, d.subject, score=d.after))
            elif d.field == "ground_truth":
                _gently(partial(studio.patch_annotation, d.subject, ground_truth=d.after))


def _patch_task(studio: Studio, number: int, task: Mapping[str, Any], found: Sequence[Difference]) -> None:
    change: Json = {}
    keys = {d.field.removeprefix("data."): d.after for d in found if d.field.startswith("data.")}
    if keys:
        merged = {**task["data"], **keys}
        change["data"] = {
            key: value for key, value in merged.items() if value is not None or key not in keys
        }
    for d in found:
        if d.field == "overlap":
            # A finished task is served again only if it is told that it is not finished.
            change |= {"overlap": d.after, "is_labeled": len(people(task)) >= d.after}
    if change:
        _gently(partial(studio.patch_task, number, **change))


def _gently(call: Callable[[], object]) -> None:
    """What is gone needs no change."""
    try:
        call()
    except Refusal as error:
        if error.status != 404:
            raise


def take_back(studio: Studio, project: Project, edits: Sequence[Edit]) -> tuple[list[int], list[int]]:
    """Put back what these edits replaced, where nobody changed it since; (tasks done, tasks kept).

    ``edits`` are one job's, in their order. A task of which anything was changed since is kept as it
    is in that part alone; tasks that are gone count as done.

    Raises:
        StudioError: Label Studio refuses or stays away; what was put back stays so.
    """
    now = look(studio, project.id, {e.task for e in edits})
    back: dict[int, list[Difference]] = defaultdict(list)
    kept: set[int] = set()
    for edit in reversed(edits):
        task = now.get(edit.task)
        if task is None:
            continue
        held = _held(task, edit)
        if _equal(edit, held, edit.before, project):
            continue
        if not _equal(edit, held, edit.after, project):
            kept.add(edit.task)
            continue
        back[edit.task].append(Difference(edit.task, edit.field, edit.subject, edit.after, edit.before))
    for number, several in back.items():
        for d in several:
            if d.field == "prediction" and d.after is None:
                for row in now[number]["predictions"]:
                    if row["model_version"] == VERSION:
                        _gently(partial(studio.delete_prediction, int(row["id"])))
        whole = [d for d in several if not (d.field == "prediction" and d.after is None)]
        write(studio, project.id, now, whole)
    return sorted({e.task for e in edits} - kept), sorted(kept)


def _held(task: Mapping[str, Any], edit: Edit) -> Any:
    """What the task holds now where the edit wrote."""
    if edit.field.startswith("data."):
        return task["data"].get(edit.field.removeprefix("data."))
    if edit.field == "overlap":
        return task["overlap"]
    if edit.field == "ground_truth":
        return {int(a["id"]): bool(a["ground_truth"]) for a in task["annotations"]}.get(edit.subject)
    if edit.field == "score":
        return {int(p["id"]): p["score"] for p in task["predictions"]}.get(edit.subject)
    rows = [p for p in task["predictions"] if p["model_version"] == VERSION]
    return {"result": rows[0]["result"], "score": rows[0]["score"]} if rows else None


def _equal(edit: Edit, held: Any, other: Any, project: Project) -> bool:
    if edit.field == "prediction" and held is not None and other is not None:
        same = held["score"] is not None and abs(held["score"] - (other["score"] or 0.0)) < 10**-DIGITS
        return same and _looks(held["result"], project) == _looks(other["result"], project)
    return bool(held == other)
