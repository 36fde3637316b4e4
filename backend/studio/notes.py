"""Small notes on single tasks: why a person sees it, where it stands in the queue, who else must see it.

Each of these writes only what differs, so a repeated call costs reading alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from backend.studio.client import Studio
from pool.schema import BadInput

log = logging.getLogger("thresher.studio")

OnProgress = Callable[[int, int], None]
PAGE: Final = 500


def note_tasks(
    studio: Studio,
    project: int,
    notes: Mapping[int, Mapping[str, Any]],
    on_progress: OnProgress | None = None,
) -> int:
    """Write keys such as ``why``, ``route`` and ``uncertainty`` into the tasks' data; how many changed.

    ``notes`` is by task id; keys that are not named stay as they are. Tasks that no longer exist are
    passed over.
    """
    if not notes:
        return 0
    listed = studio.tasks(project, PAGE, only=("id", "data"))
    known = {int(task["id"]): dict(task["data"]) for task in listed if int(task["id"]) in notes}
    todo = {
        task: {**data, **notes[task]}
        for task, data in known.items()
        if any(data.get(key, ...) != value for key, value in notes[task].items())
    }
    for done, (task, data) in enumerate(todo.items()):
        if on_progress is not None:
            on_progress(done, len(todo))
        studio.patch_task(task, data=data)
    if on_progress is not None:
        on_progress(len(todo), len(todo))
    log.info("project %d: noted %d of %d tasks", project, len(todo), len(notes))
    return len(todo)


def set_scores(studio: Studio, project: int, version: str, scores: Mapping[int, float]) -> int:
    """Move tasks in the queue: Label Studio serves the lowest ``score``, in [0, 1], first.

    ``scores`` is by task id, for the predictions of ``version``; how many were written.
    """
    for task, score in scores.items():
        if not 0.0 <= score <= 1.0:  # NaN is refused as well
            raise BadInput(f"score of task {task}", "a number in [0, 1]", score)
    return _patch(studio, project, version, {task: {"score": float(s)} for task, s in scores.items()})


def set_results(
    studio: Studio, project: int, version: str, results: Mapping[int, Sequence[Mapping[str, Any]]]
) -> int:
    """Replace the boxes that people meet: none for those who shall answer without the model's.

    ``results`` is by task id, for the predictions of ``version``; how many were written.
    """
    return _patch(studio, project, version, {task: {"result": list(r)} for task, r in results.items()})


def set_clusters(studio: Studio, project: int, version: str, clusters: Mapping[int, int]) -> int:
    """Name each task's group of look-alikes: a person is served the group they saw least, then by score.

    ``clusters`` is by task id, for the predictions of ``version``; how many were written.
    """
    return _patch(studio, project, version, {task: {"cluster": int(c)} for task, c in clusters.items()})


def request_second_opinion(studio: Studio, task: int, overlap: int = 2) -> bool:
    """Let ``overlap`` people answer this task, putting a finished one back into the queue.

    True if that changed something. A task that has enough answers already stays finished.
    """
    if overlap < 1:
        raise BadInput("overlap", "1 or more people", overlap)
    now = studio.task(task)
    answered = {_person(each) for each in now["annotations"] if not each.get("was_cancelled")}
    finished = len(answered) >= overlap
    want: dict[str, Any] = {"overlap": overlap} | ({} if finished else {"is_labeled": False})
    if all(now[key] == value for key, value in want.items()):
        return False
    studio.patch_task(task, **want)
    return True


def _patch(studio: Studio, project: int, version: str, fields: Mapping[int, Mapping[str, Any]]) -> int:
    if not fields:
        return 0
    held = studio.predicted(project, version)
    rows = [(row, fields[task]) for task, ids in held.items() if task in fields for row in ids]
    for row, change in rows:
        studio.patch_prediction(row, **change)
    return len(rows)


def _person(annotation: Mapping[str, Any]) -> object:
    by = annotation.get("completed_by")
    return by.get("id") if isinstance(by, Mapping) else by
