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
FEW: Final = 100
"""Tasks up to which they are read one by one instead of with all others of the project."""
GONE: Final = object()
SEEN: Final = (
    "id", "data", "overlap", "is_labeled", "annotations", "predictions",
    "completed_by", "updated_at", "was_cancelled", "ground_truth", "parent_prediction",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a task should be.

    ``data`` are keys of its data (None: the key should not be there), ``result`` and ``score`` its
    consensus prediction (None: there should be none), ``opinions`` how many people should answer it in
    all (None: as many as before). ``settled``: nobody more is needed, however many were asked for.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    result: Sequence[Json] | None = None
    score: float = 0.0
    opinions: int | None = None
    settled: bool = False


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
    if len(wanted) <= FEW:
        return {number: task for number in sorted(wanted) if (task := find(studio, number)) is not None}
    listed = studio.tasks(project, 200, only=SEEN)
    return {int(task["id"]): task for task in listed if int(task["id"]) in wanted}


def find(studio: Studio, number: int) -> Json | None:
    """One task as it is now; None if it is gone."""
    try:
        return studio.task(number)
    except Refusal as error:
        if error.status != 404:
            raise
    return None


def ours(task: Mapping[str, Any]) -> list[Json]:
    """The task's predictions that hold a consensus, oldest first; one, unless a call was cut short."""
    return sorted((p for p in task["predictions"] if p["model_version"] == VERSION), key=lambda p: p["id"])


def accepted(task: Mapping[str, Any]) -> int | None:
    """The answer that a reviewer made of the consensus prediction, the newest if there are several.

    It is no matter who did it: annotators are served the detector's predictions, so only who opened the
    task from a list can copy this one.
    """
    rows = {int(p["id"]) for p in ours(task)}
    made = [
        a for a in task["annotations"] if a.get("parent_prediction") in rows and not a.get("was_cancelled")
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
    return [
        d
        for number in sorted(wanted.keys() & now.keys())
        for d in _of_task(number, now[number], wanted[number], project, version)
    ]


def _of_task(
    number: int, task: Mapping[str, Any], want: Wanted, project: Project, version: str
) -> list[Difference]:
    found = [
        Difference(number, f"data.{key}", 0, task["data"].get(key), value)
        for key, value in want.data.items()
        if task["data"].get(key) != value
    ]
    found += _prediction(number, task, want, project)
    found += _opinions(number, task, want, version)
    review = accepted(task)
    if review is not None and not starred(task):
        found.append(Difference(number, "ground_truth", review, False, True))
    return found


def _prediction(number: int, task: Mapping[str, Any], want: Wanted, project: Project) -> list[Difference]:
    rows = ours(task)
    held = [{"result": row["result"], "score": row["score"]} for row in rows]
    if want.result is None:
        return [
            Difference(number, "prediction", int(row["id"]), before, None)
            for row, before in zip(rows, held, strict=True)
        ]
    after = {"result": list(want.result), "score": round(want.score, DIGITS)}
    if not rows:
        return [Difference(number, "prediction", 0, None, after)]
    if _same(held[0], after, project):
        return []
    return [Difference(number, "prediction", int(rows[0]["id"]), held[0], after)]


def _same(held: Mapping[str, Any], other: Mapping[str, Any], project: Project) -> bool:
    """Do two predictions show the same, however they are written?"""
    scores = (held["score"], other["score"])
    if None in scores:
        return scores == (None, None)
    alike = abs(held["score"] - other["score"]) < 10**-DIGITS
    return alike and _looks(held["result"], project) == _looks(other["result"], project)


def _looks(result: object, project: Project) -> list[tuple[Any, ...]]:
    """A result's boxes, however they are written."""
    return [
        (r.label, *(round(v, 5) for v in (r.box.x1, r.box.y1, r.box.x2, r.box.y2, r.box.rotation)))
        for r in read(result, project).regions
    ]


def _opinions(number: int, task: Mapping[str, Any], want: Wanted, version: str) -> list[Difference]:
    answered = len(people(task))
    if want.settled:
        more = answered >= 2 and task["overlap"] > answered
        return [Difference(number, "overlap", 0, task["overlap"], answered)] if more else []
    if want.opinions is None:
        return []
    found = []
    if task["overlap"] < want.opinions:
        found.append(Difference(number, "overlap", 0, task["overlap"], want.opinions))
    if answered < want.opinions:
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
    """Make these changes; ``now`` are the tasks as they were read just before.

    What vanished meanwhile is passed over.

    Raises:
        StudioError: Label Studio refuses or stays away; what was written stays.
    """
    fresh = [d for d in found if d.field == "prediction" and not d.subject]
    if fresh:
        studio.import_predictions(
            project, [{"task": d.task, "model_version": VERSION, **d.after} for d in fresh]
        )
    by_task: dict[int, list[Difference]] = defaultdict(list)
    for d in found:
        by_task[d.task].append(d)
        if d.field == "prediction" and d.subject:
            if d.after is None:
                _gently(partial(studio.delete_prediction, d.subject))
            else:
                _gently(partial(studio.patch_prediction, d.subject, **d.after))
        elif d.field == "score":
            _gently(partial(studio.patch_prediction, d.subject, score=d.after))
        elif d.field == "ground_truth":
            _gently(partial(studio.patch_annotation, d.subject, ground_truth=d.after))
    for number, several in by_task.items():
        _patch_task(studio, number, now[number], several)


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


def take_back(studio: Studio, project: Project, edits: Sequence[Edit]) -> tuple[list[Edit], list[Edit]]:
    """Put back what these edits of one job replaced; (those that are undone now, those that stay).

    An edit stays if somebody changed the same place since. What is gone, a task, a prediction of a model
    that serves no more, counts as put back.

    Raises:
        StudioError: Label Studio refuses or stays away; what was put back stays so.
    """
    by_task: dict[int, list[Edit]] = defaultdict(list)
    for edit in edits:
        by_task[edit.task].append(edit)
    done: list[Edit] = []
    kept: list[Edit] = []
    for number, several in by_task.items():
        task = find(studio, number)
        back: list[Difference] = []
        for edit in reversed(several):
            held = GONE if task is None else _held(task, edit)
            if held is not GONE and not _equal(edit, held, edit.before, project):
                if not _equal(edit, held, edit.after, project):
                    kept.append(edit)
                    continue
                back.append(_reversed(edit, task))
            done.append(edit)
        if task is not None:
            write(studio, project.id, {number: task}, back)
    return done, kept


def _reversed(edit: Edit, task: Mapping[str, Any] | None) -> Difference:
    """The change that takes an edit back; a consensus prediction that was made anew has an id by now."""
    subject = edit.subject
    if edit.field == "prediction" and task is not None:
        rows = ours(task)
        subject = int(rows[0]["id"]) if rows else 0
    return Difference(edit.task, edit.field, subject, edit.after, edit.before)


def _held(task: Mapping[str, Any], edit: Edit) -> Any:
    """What the task holds now where the edit wrote, `GONE` if that is not there any more."""
    if edit.field.startswith("data."):
        return task["data"].get(edit.field.removeprefix("data."))
    if edit.field == "overlap":
        return task["overlap"]
    if edit.field == "ground_truth":
        return {int(a["id"]): bool(a["ground_truth"]) for a in task["annotations"]}.get(edit.subject, GONE)
    if edit.field == "score":
        return {int(p["id"]): p["score"] for p in task["predictions"]}.get(edit.subject, GONE)
    rows = ours(task)
    return {"result": rows[0]["result"], "score": rows[0]["score"]} if rows else None


def _equal(edit: Edit, held: Any, other: Any, project: Project) -> bool:
    if edit.field == "prediction" and held is not None and other is not None:
        return _same(held, other, project)
    return bool(held == other)
