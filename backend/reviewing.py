"""What a project's consensus says, written into Label Studio for reviewers, and taken back.

First the plan: what would change, and what is there now. Only then, if somebody wants it, the change; each
goes into the ledger's book before it is made, so that a job that was killed can still be undone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from backend import auditing, intake, snapshot
from backend.auditing import Answers
from backend.house import House, Job
from backend.snapshot import REVIEWS
from backend.studio import review
from backend.studio.convert import results
from backend.studio.review import Difference, Wanted
from consensus.agreement import consensus_score
from consensus.conflicts import conflicts
from consensus.queue import expected_errors, wanted_opinions
from consensus.tasks import summary
from pool.schema import Edit, UnknownRecord

CHUNK = 20
"""Tasks read, compared and written together: what people do to them in between is overwritten."""
OPEN, SETTLED, AGREED = "open", "settled", "agreed"
"""What ``data.review`` says: a reviewer should look; somebody did, or starred an answer; all drew alike."""
KEYS = ("consensus_score", "expected_errors", "conflicts", "review")
WHY = "{} people differ here: your answer decides."
"""Not how they differ: who knows what others drew is no further opinion."""
ENOUGH = "Enough people have answered this image."


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change in Label Studio.

    ``tasks`` can be compared, ``open`` of them wait for a reviewer, ``opinions`` get one more answer.
    ``wanted`` is how each task should be, also those from which something is only to be removed.
    """

    tasks: int
    open: int
    opinions: int
    differences: list[Difference]
    wanted: dict[int, Wanted]

    def as_dict(self) -> dict[str, Any]:
        """The counts, with what would change by kind."""
        kinds = Counter(d.field for d in self.differences)
        return {
            "tasks": self.tasks,
            "open": self.open,
            "one_more_opinion": self.opinions,
            "changes": len(self.differences),
            "by_field": dict(sorted(kinds.items())),
        }


def plan(house: House, project: int) -> Plan:
    """Compare what the answers say with what Label Studio shows; nothing changes there.

    Raises:
        StudioError: Label Studio refuses or stays away.
    """
    found = auditing.answers(house, project)
    tasks = {t.sample: t.id for t in house.pool.tasks(project)}
    several = {
        found.study.marks.samples[k] for k in np.flatnonzero(found.study.votes.voters >= 2).tolist()
    } & tasks.keys()
    touched = {e.task for e in house.pool.edits(project) if e.undone_at is None}
    now = review.look(house.studio, project, touched | {tasks[name] for name in several})
    # Whoever copied one of these reviewed, whatever becomes of the prediction.
    _remember(house, project, (int(row["id"]) for task in now.values() for row in review.ours(task)))
    wanted = _wanted(house, found, {name: tasks[name] for name in several if tasks[name] in now}, now)
    for number in touched & now.keys() - wanted.keys():
        wanted[number] = _cleared(now[number])
    return Plan(
        tasks=sum(w.result is not None for w in wanted.values()),
        open=sum(w.data.get("review") == OPEN for w in wanted.values()),
        opinions=sum(w.opinions is not None for w in wanted.values()),
        differences=review.differences(
            now, wanted, house.pool.project(project), house.champion(project).version
        ),
        wanted=wanted,
    )


def _remember(house: House, project: int, ids: Iterable[int]) -> None:
    found = set(ids)

    def merged(known: Mapping[str, Any] | None) -> Mapping[str, Any]:
        return {"predictions": sorted(found | set((known or {}).get("predictions", ())))}

    if not found <= set((house.pool.state(REVIEWS, str(project)) or {}).get("predictions", ())):
        house.pool.change_state(REVIEWS, str(project), merged)


def _wanted(
    house: House, found: Answers, tasks: dict[str, int], now: dict[int, dict[str, Any]]
) -> dict[int, Wanted]:
    """How each task that two people answered should be, by task id."""
    study, s = found.study, house.settings
    target = house.pool.project(found.project)
    how = snapshot.voting_of(house.pool, found.project, s)
    agreed = how.agreed([a for a in found.annotations if a.sample in tasks], found.samples)
    scores, errors = consensus_score(study.votes), expected_errors(study)
    opinions = wanted_opinions(study, cap=s.max_opinions, least=1)
    words = summary(study, conflicts(study))
    voters = study.votes.voters
    wanted: dict[int, Wanted] = {}
    for k, name in enumerate(study.marks.samples):
        if name not in tasks:
            continue
        task, sample = now[tasks[name]], found.samples[name]
        settled = review.starred(task) or review.accepted(task) is not None
        more = int(opinions[k]) if opinions[k] > voters[k] and not settled else None
        data: dict[str, Any] = {
            "consensus_score": round(float(scores[k]), 4),
            "expected_errors": round(float(errors[k]), 4),
            "conflicts": words[name],
            "review": SETTLED if settled else OPEN if errors[k] > 0 else AGREED,
            **_told(task, more, int(voters[k])),
        }
        wanted[tasks[name]] = Wanted(
            data=data,
            result=results(agreed[name].regions, target, (sample.width, sample.height)),
            score=float(scores[k]),
            opinions=more,
            settled=settled,
        )
    return wanted


def _told(task: Mapping[str, Any], more: int | None, voters: int) -> dict[str, Any]:
    """What annotators read: that one more answer is wanted, or that it is not any more."""
    if more is not None:
        return {"why": WHY.format(voters), "route": "double"}
    asked = str(task["data"].get("why") or "")
    return {"why": ENOUGH} if asked.endswith(WHY.removeprefix("{}")) else {}


def _cleared(task: Mapping[str, Any]) -> Wanted:
    """A task that was compared once and cannot be any more: nothing of ours is left on it."""
    return Wanted(data=dict.fromkeys(KEYS) | _told(task, None, 0), settled=True)


def apply(house: House, project: int, job: Job) -> dict[str, Any]:
    """Make Label Studio show what the consensus says; again, it changes nothing.

    Raises:
        StudioError: Label Studio refuses or stays away; what was written stays, and is in the book.
    """
    job.tell("review", 0, 0, "comparing with Label Studio")
    found = plan(house, project)
    target, version = house.pool.project(project), house.champion(project).version
    who = str(house.studio.me()["email"])
    numbers = sorted({d.task for d in found.differences})
    changed: list[Difference] = []
    for start in range(0, len(numbers), CHUNK):
        job.check()
        job.tell("review", start, len(numbers))
        # Read anew: people and other programs were at work while the tasks before these were written.
        now = review.look(house.studio, project, numbers[start : start + CHUNK])
        changes = review.differences(now, found.wanted, target, version)
        house.pool.record_edits([_edit(project, d, job.id, who) for d in changes])
        review.write(house.studio, project, now, changes)
        changed += changes
    job.tell("review", len(numbers), len(numbers))
    if any(d.field == "prediction" and not d.subject for d in changed):
        made = house.studio.predicted(project, review.VERSION)
        _remember(house, project, (row for rows in made.values() for row in rows))
    if any(d.field == "ground_truth" for d in changed):
        intake.answers(house, project, job, full=False)  # the star settles the image for training, too
    return {**found.as_dict(), "changes": len(changed), "run": job.id}


def _edit(project: int, d: Difference, job: str, who: str) -> Edit:
    return Edit(project, d.task, d.field, d.subject, d.before, d.after, job, who, datetime.now(UTC))


def runs(house: House, project: int) -> list[dict[str, Any]]:
    """Everything that was written, oldest first: by run, who, when, how many changes and how many stand."""
    grouped: dict[str, list[Edit]] = {}
    for edit in house.pool.edits(project):
        grouped.setdefault(edit.job, []).append(edit)
    return [
        {
            "run": job,
            "at": edits[0].at,
            "who": edits[0].who,
            "tasks": len({e.task for e in edits}),
            "changes": len(edits),
            "standing": sum(e.undone_at is None for e in edits),
        }
        for job, edits in grouped.items()
    ]


def newest(house: House, project: int) -> str:
    """The newest run of which nothing was undone.

    Raises:
        UnknownRecord: there is none.
    """
    whole = [str(r["run"]) for r in runs(house, project) if r["standing"] == r["changes"]]
    if not whole:
        raise UnknownRecord(f"Nothing that was written for reviewers stands in project {project}.")
    return whole[-1]


def undo(house: House, project: int, run: str, job: Job) -> dict[str, Any]:
    """Put back what a run replaced; what people changed since stays, and stands in the book.

    Raises:
        UnknownRecord: there is no such run.
    """
    known = house.pool.edits(project, run)
    if not known:
        raise UnknownRecord(
            f"Project {project} has no review run {run}: `thresher review --runs` lists them."
        )
    edits = [e for e in known if e.undone_at is None]
    numbers = sorted({e.task for e in edits})
    kept = 0
    for start in range(0, len(numbers), CHUNK):
        job.check()
        job.tell("undo", start, len(numbers))
        part = set(numbers[start : start + CHUNK])
        back, stayed = review.take_back(
            house.studio, house.pool.project(project), [e for e in edits if e.task in part]
        )
        house.pool.mark_undone(back, datetime.now(UTC))
        kept += len({e.task for e in stayed})
    job.tell("undo", len(numbers), len(numbers))
    return {"run": run, "undone": len(numbers) - kept, "kept": kept}
