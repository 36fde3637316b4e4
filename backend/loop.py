"""The loop on one page: an image enters, the model looks, people answer, the model learns.

    add -> prelabel -> push -> ask -> (people label) -> collect -> audit -> retrain -> prelabel ...

Each verb is safe to run again: it finds out what is left to do from the ledger and from Label
Studio, so a verb that was killed half-way is finished by running it once more. Calls only: what a
verb needs is decided in the rooms below and in the files beside this one (`intake`, `asking`,
`outbox`, `learning`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend import (
    accepting,
    asking,
    intake,
    learning,
    outbox,
    painting,
    requests,
    reviewing,
    snapshot,
    streaming,
    trust,
    variants,
)
from backend.asking import Wish
from backend.house import House, Job
from pool.schema import IN_POOL, Round

Report = dict[str, Any]


def add(house: House, project: int, paths: Sequence[Path], job: Job) -> Report:
    """Images from files enter the pool and become tasks of a Label Studio project."""
    taken = intake.from_files(house, paths, job)
    made = outbox.make_tasks(house, project, taken.samples, job)
    return {"images": len(taken.samples), **taken.counts, "tasks": made, "failures": taken.failures}


def adopt(house: House, project: int, job: Job) -> Report:
    """Tasks that people made in Label Studio enter the pool: their images are fetched."""
    return intake.from_tasks(house, project, job)


def prelabel(house: House, project: int, job: Job) -> Report:
    """The champion looks at every image of the project that it has not seen."""
    return learning.look(house, house.champion(project), job)


def push(house: House, project: int, job: Job) -> Report:
    """Label Studio gets every prediction of the champion, and switches to it once the pool is whole."""
    variants.refresh(house, house.champion(project))
    return outbox.push_predictions(house, house.champion(project), job)


def stream(house: House, project: int, job: Job) -> Report:
    """Images that came as tasks since are judged by the project's stream, where it has one."""
    model = house.champion(project)
    report = streaming.judge(house, project, job)
    outbox.note_decisions(house, model, outbox.untold(house, project), job)
    accepting.accept(house, model, job)
    return report


def deliver(house: House, project: int, job: Job) -> Report:
    """What the stream kept becomes tasks; what it asks about stands first in the queue."""
    names = streaming.due(house, project)
    model = house.champion(project)
    made = outbox.make_tasks(house, project, list(house.pool.samples(names).values()), job)
    outbox.push_predictions(house, model, job)
    outbox.note_decisions(house, model, outbox.untold(house, project), job)
    accepting.accept(house, model, job)
    streaming.delivered(house, project, names)
    return {"delivered": len(names), "tasks": made}


def calibrate(house: House, project: int, job: Job) -> Report:
    """What the champion's scores are worth by people's blind answers; its uncertainties follow."""
    return learning.calibrate(house, house.champion(project), job)


def ask(house: House, project: int, wish: Wish, job: Job) -> Report:
    """Choose whom to ask a person about; say why, and put it first in Label Studio's queue."""
    pool = house.pool
    model = house.champion(project)
    number = len([r for r in pool.rounds(project) if r.id != job.id]) + 1
    report: Report = {"round": job.id, "number": number}
    decisions = pool.decisions(job.id)
    if not decisions:
        choice = asking.decide(house, model, wish, job.id, job)
        decisions = choice.decisions
        pool.open_round(Round(job.id, project, number, model.version, wish.size, datetime.now(UTC)))
        pool.save_decisions(decisions)
        report |= {"trust": choice.trust} if house.settings.auto_error is not None else {}
    outbox.note_decisions(house, model, outbox.untold(house, project), job)
    outbox.spread(house, model, number)
    accepted = accepting.accept(house, model, job)
    requests.drop(house, project, [d.sample for d in decisions if d.route != "auto"])
    routes = {route: sum(d.route == route for d in decisions) for route in ("auto", "human", "double")}
    asked = len(decisions) - routes["auto"]
    return report | {"asked": asked, "accepted": accepted, "routes": routes}


def undo(house: House, project: int, round_id: str, job: Job) -> Report:
    """Take back what a round accepted without a person; what people changed since stays."""
    return accepting.undo(house, project, round_id, job)


def collect(house: House, project: int, job: Job, *, full: bool = False) -> Report:
    """What people did comes home, also what no webhook told of."""
    report = intake.answers(house, project, job, full=full)
    trust.watch(house, house.pool.champion(project))
    return report


def audit(house: House, project: int, job: Job) -> Report:
    """How far people agree on the images that several of them labelled."""
    answers = snapshot.labelled(house.pool, project)
    shared = [given for given in answers.values() if len({a.annotator for a in given}) > 1]
    samples = house.pool.samples([given[0].sample for given in shared])
    how = snapshot.voting_of(house.pool, project, house.settings)
    several = how.agreed([a for given in shared for a in given], samples).values()
    house.pool.save_consensus(project, list(several))
    scores = [c.score for c in several if c.score is not None]
    job.tell("audit", len(several), len(several))
    mean = sum(scores) / len(scores) if scores else None
    disputed = sum(c.disputed for c in several)
    return {
        "labelled": len(answers),
        "compared": len(several),
        "consensus_score": mean,
        "disputed": disputed,
    }


def review(house: House, project: int, job: Job) -> Report:
    """Label Studio shows reviewers what people said together, and asks one more where that is undecided."""
    return reviewing.apply(house, project, job)


def unreview(house: House, project: int, run: str, job: Job) -> Report:
    """Take back what a review run wrote; what people changed since stays."""
    return reviewing.undo(house, project, run, job)


def freeze(house: House, project: int, job: Job) -> Report:
    """What people said so far becomes an immutable training set."""
    return learning.freeze(house, house.pool.project(project), job)


def train(house: House, project: int, snapshot_id: str, job: Job) -> Report:
    """A candidate learns the training set; its weights are registered under a new model version."""
    return learning.train(house, house.pool.project(project), snapshot_id, job)


def evaluate(house: House, project: int, candidate: str, job: Job) -> Report:
    """Candidate and champion are measured on the same frozen holdout."""
    return learning.evaluate(house, house.pool.project(project), candidate, job)


def promote(house: House, project: int, candidate: str, job: Job) -> Report:
    """The candidate takes over if it is not worse; the round ends either way."""
    report = learning.promote(house, house.pool.project(project), candidate, job)
    owed = set(streaming.due(house, project))
    for opened in house.pool.rounds(project):
        # What a stream asked while this job ran is not even told yet: its round goes on.
        told = not owed or owed.isdisjoint(d.sample for d in house.pool.decisions(opened.id))
        if opened.closed_at is None and told:
            outbox.withdraw(house, project, opened.id)
            house.pool.close_round(opened.id, datetime.now(UTC), report["outcome"])
    return report


def plan(house: House, project: int, wish: variants.Wish, job: Job) -> Report:
    """Which variants are made: of the hardest images, in the conditions where the champion is weakest."""
    return variants.plan(house, house.champion(project), wish, job)


def generate(house: House, project: int, job: Job) -> Report:
    """Planned variants are painted and judged; those that pass enter the pool."""
    return painting.paint(house, house.champion(project), job)


def admit(house: House, project: int, job: Job) -> Report:
    """Variants that are in the pool become tasks, as every image does."""
    taken = house.pool.variants(project, states=IN_POOL)
    samples = house.pool.samples([v.sample for v in taken if v.sample])
    return {"tasks": outbox.make_tasks(house, project, list(samples.values()), job)}
