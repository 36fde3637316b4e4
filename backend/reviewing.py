"""What a project's consensus says, written into Label Studio for reviewers, and taken back.

First the plan: what would change, and what is there now. Only then, if somebody wants it, the change; each
goes into the ledger's book before it is made, so that a job that was killed can still be undone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from backend import auditing, intake
from backend.auditing import Answers
from backend.house import House, Job
from backend.studio import review
from backend.studio.convert import results
from backend.studio.review import Difference, Wanted
from backend.voting import voting
from consensus.agreement import consensus_score
from consensus.conflicts import conflicts
from consensus.queue import expected_errors, wanted_opinions
from consensus.tasks import summary
from pool.schema import BadInput, Edit, UnknownRecord

CHUNK = 50
"""Tasks written between two looks at whether the job is still wanted."""
OPEN, SETTLED, AGREED = "open", "settled", "agreed"
"""What ``data.review`` says: a reviewer should look; somebody did, or starred an answer; all drew alike."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change in Label Studio.

    ``tasks`` can be compared, ``open`` of them wait for a reviewer, ``opinions`` get one more answer;
    ``now`` is what Label Studio holds.
    """

    tasks: int
    open: int
    opinions: int
    differences: list[Difference]
    now: dict[int, dict[str, Any]]

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
    """Compare what the answers say with what Label Studio shows; nothing changes.

    Raises:
        StudioError: Label Studio refuses or stays away.
    """
    found = auditing.answers(house, project)
    tasks = {t.sample: t.id for t in house.pool.tasks(project)}
    now = review.look(house.studio, project, (tasks[s] for s in auditing.by_sample(found) if s in tasks))
    wanted = _wanted(house, found, {s: t for s, t in tasks.items() if t in now}, now)
    version = house.champion(project).version
    target = house.pool.project(project)
    return Plan(
        tasks=len(wanted),
        open=sum(w.data.get("review") == OPEN for w in wanted.values()),
        opinions=sum(w.opinions is not None for w in wanted.values()),
        differences=review.differences(now, wanted, target, version),
        now=now,
    )


def _wanted(
    house: House, found: Answers, tasks: dict[str, int], now: dict[int, dict[str, Any]]
) -> dict[int, Wanted]:
    """How each task that two people answered should be, by task id."""
    study, s = found.study, house.settings
    target = house.pool.project(found.project)
    how = voting(s, auditing.by_sample(found).values(), found.samples)
    agreed = how.agreed(found.annotations, found.samples)
    scores, errors = consensus_score(study.votes), expected_errors(study)
    opinions = wanted_opinions(study, cap=s.max_opinions, least=1)
    words = summary(study, conflicts(study))
    voters = study.votes.voters
    wanted: dict[int, Wanted] = {}
    for k in np.flatnonzero(voters >= 2).tolist():
        name = study.marks.samples[k]
        if name not in tasks:
            continue
        number, sample = tasks[name], found.samples[name]
        settled = review.starred(now[number]) or review.accepted(now[number]) is not None
        disputed = errors[k] > 0
        more = int(opinions[k]) if opinions[k] > voters[k] and not settled else None
        data: dict[str, Any] = {
            "consensus_score": round(float(scores[k]), 4),
            "expected_errors": round(float(errors[k]), 4),
            "conflicts": words[name],
            "review": SETTLED if settled else OPEN if disputed else AGREED,
        }
        if more is not None:
            data["why"] = (
                f"{voters[k]} people differ here ({words[name] or 'no majority'}): please label it."
            )
            data["route"] = "double"
        regions = agreed[name].regions
        wanted[number] = Wanted(
            data=data,
            result=results(regions, target, (sample.width, sample.height)),
            score=float(scores[k]),
            opinions=more,
        )
    return wanted


def apply(house: House, project: int, job: Job) -> dict[str, Any]:
    """Make Label Studio show what the consensus says; again, it changes nothing.

    Raises:
        StudioError: Label Studio refuses or stays away; what was written stays, and is in the book.
    """
    job.tell("review", 0, 0, "comparing with Label Studio")
    found = plan(house, project)
    who = str(house.studio.me()["email"])
    numbers = sorted({d.task for d in found.differences})
    for start in range(0, len(numbers), CHUNK):
        job.check()
        job.tell("review", start, len(numbers))
        part = set(numbers[start : start + CHUNK])
        changes = [d for d in found.differences if d.task in part]
        house.pool.record_edits([_edit(project, d, job.id, who) for d in changes])
        review.write(house.studio, project, found.now, changes)
    job.tell("review", len(numbers), len(numbers))
    if any(d.field == "ground_truth" for d in found.differences):
        intake.answers(house, project, job, full=False)  # the star settles the image for training, too
    return {**found.as_dict(), "run": job.id}


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


def undo(house: House, project: int, run: str | None, job: Job) -> dict[str, Any]:
    """Put back what a run replaced, the newest that stands by default; what people changed since stays.

    Raises:
        UnknownRecord: there is no such run.
        BadInput: it is undone already.
    """
    known = runs(house, project)
    if run is None:
        run = next((str(r["run"]) for r in reversed(known) if r["standing"] == r["changes"]), None)
        if run is None:
            raise UnknownRecord(f"Nothing that was written for reviewers stands in project {project}.")
    found = next((r for r in known if r["run"] == run), None)
    if found is None:
        raise UnknownRecord(
            f"Project {project} has no review run {run}: `thresher review --runs` lists them."
        )
    if not found["standing"]:
        raise BadInput("run", "one that stands", run, "It is undone already.")
    edits = _standing(house.pool.edits(project, run))
    numbers = sorted({e.task for e in edits})
    done: list[int] = []
    kept: list[int] = []
    for start in range(0, len(numbers), CHUNK):
        job.check()
        job.tell("undo", start, len(numbers))
        part = set(numbers[start : start + CHUNK])
        back, stayed = review.take_back(
            house.studio, house.pool.project(project), [e for e in edits if e.task in part]
        )
        house.pool.mark_undone(project, run, back, datetime.now(UTC))
        done += back
        kept += stayed
    job.tell("undo", len(numbers), len(numbers))
    return {"run": run, "undone": len(done), "kept": len(kept)}


def _standing(edits: Sequence[Edit]) -> list[Edit]:
    return [e for e in edits if e.undone_at is None]
