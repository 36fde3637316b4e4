"""What needs nobody: the model's boxes become annotations of a user who is no person, and can be undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from backend import intake, trust
from backend.house import House, Job
from backend.outbox import NOT_ASKED
from backend.snapshot import MACHINE
from backend.studio.convert import results, shown
from pool.schema import BadInput, Decision, ModelVersion, UnknownRecord

BATCH = "accepted"
"""Kind of state that remembers, by round, which samples were accepted, and whether that was undone."""


def accept(house: House, model: ModelVersion, job: Job) -> int:
    """Write what open rounds accepted and Label Studio does not have yet; how many images that were.

    Nothing, where accepting was paused or switched off since.
    """
    from backend.studio.accept import service_user, write
    from backend.studio.notes import note_tasks

    pool = house.pool
    project = pool.project(model.project)
    if trust.standing(house, model) is None:
        return 0
    tasks = {t.sample: t.id for t in pool.tasks(project.id)}
    written = 0
    for opened in (r.id for r in pool.rounds(project.id) if r.closed_at is None):
        auto = [d for d in pool.decisions(opened) if d.route == "auto"]
        decided = [d for d in auto if d.sample in tasks and d.sample not in _batch(house, opened)]
        if not decided:
            continue
        user = service_user(house.studio)
        _remember(house, MACHINE, {"id": user})
        _remember(house, (BATCH, opened), {**_state(house, opened), "begun": True})
        items = _items(house, decided, tasks)
        job.tell("accept", 0, len(items))
        made = write(
            house.studio, project, items, user, version=decided[0].model_version, on_progress=_steps(job)
        )
        notes = {
            tasks[d.sample]: {"why": d.reason, "route": d.route, "uncertainty": round(d.uncertainty, 4)}
            for d in decided
            if tasks[d.sample] in made
        }
        note_tasks(house.studio, project.id, notes)
        known = _state(house, opened)
        done = [*known.get("samples", ()), *(d.sample for d in decided)]
        _remember(house, (BATCH, opened), {**known, "samples": done})
        written += len(made)
    return written


def undone(house: House, model: ModelVersion) -> set[str]:
    """Images that this model accepted and somebody took back: it does not accept them again."""
    found: set[str] = set()
    for opened, state in house.pool.states(BATCH).items():
        if state.get("undone"):
            mine = {d.sample for d in house.pool.decisions(opened) if d.model_version == model.version}
            found |= mine & set(state["undone"])
    return found


def _state(house: House, round_id: str) -> dict[str, Any]:
    return dict(house.pool.state(BATCH, round_id) or {})


def _batch(house: House, round_id: str) -> set[str]:
    """Images of a round that are settled: written, or taken back."""
    known = _state(house, round_id)
    return {*known.get("samples", ()), *known.get("undone", ())}


def _steps(job: Job) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        job.check()
        job.tell("accept", done, total)

    return tell


def _remember(house: House, where: tuple[str, str], what: dict[str, Any]) -> None:
    house.pool.change_state(*where, lambda _: what)


def _items(house: House, decided: list[Decision], tasks: dict[str, int]) -> dict[int, list[dict[str, Any]]]:
    project = house.pool.project(house.pool.model(decided[0].model_version).project)
    names = [d.sample for d in decided]
    samples = house.pool.samples(names)
    items = {}
    for prediction in house.pool.predictions(decided[0].model_version, names):
        sample = samples[prediction.sample]
        met = shown(prediction, house.settings.show_floor, holdout=False)
        size = (sample.width, sample.height)
        items[tasks[sample.id]] = [
            item | {"origin": "prediction"} for item in results(met.regions, project, size)
        ]
    return items


def undo(house: House, project: int, round_id: str, job: Job) -> dict[str, Any]:
    """Take back what a round accepted, but for images that a person changed since.

    Raises:
        UnknownRecord: the project has no such round.
        BadInput: the round accepted nothing.
    """
    from backend.studio.accept import undo as take_back
    from backend.studio.notes import note_tasks

    pool = house.pool
    if round_id not in {r.id for r in pool.rounds(project)}:
        raise UnknownRecord(f"Project {project} has no round {round_id}: `thresher status` lists them.")
    if not _state(house, round_id):
        raise BadInput("round", "one that accepted images without a person", round_id)
    # What a killed job wrote is not on any list here, but in Label Studio.
    intake.answers(house, project, job, full=False)
    user = int((pool.state(*MACHINE) or {})["id"])
    auto = {d.sample for d in pool.decisions(round_id) if d.route == "auto"}
    batch = {
        a.task: a.id for a in pool.annotations(project) if a.sample in auto and a.annotator == str(user)
    }
    job.tell("undo", 0, len(batch))
    _remember(house, (BATCH, round_id), {**_state(house, round_id), "undone": sorted(auto)})
    trust.taken_back(house, project, round_id)
    gone = take_back(house.studio, pool.project(project), batch, user)
    note_tasks(house.studio, project, {task: {"why": NOT_ASKED, "route": "waiting"} for task in gone})
    pool.delete_annotations(project, [batch[task] for task in gone], datetime.now(UTC))
    job.tell("undo", len(batch), len(batch))
    return {"round": round_id, "undone": len(gone), "kept": len(batch) - len(gone)}
