"""What the command line shows of a running loop: jobs as they go, and the state of everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from backend import console, heartbeat
from backend.house import House
from backend.workflows import Jobs, JobStatus
from pool.schema import NotReady, Progress, Project, ThresherError

POLL_SECONDS = 0.2
SHOWN = ("routes", "unknown_labels")  # parts of a step's report that are told although they are nested


def run_job(
    house: House, kind: str, wanted: int | None, *, wait: bool, as_json: bool, given: Mapping[str, Any]
) -> JobStatus:
    """Queue a job; with ``wait`` show its progress and its report. Its status as it was last.

    Raises:
        NotReady: nobody would run it.
        ThresherError: it failed.
    """
    project = house.only_project(wanted)
    if wait and not heartbeat.alive(house.pool):
        raise NotReady(
            "No worker is running, so nobody would do this: start `thresher serve` (or `thresher worker`) "
            "in another terminal, or queue the job for later with --no-wait."
        )
    jobs = Jobs(house.settings)
    job = jobs.start(kind, project.id, **given)
    status = follow(house, jobs, job, show=not as_json) if wait else jobs.status(job)
    if as_json:
        console.emit({**asdict(status), "picks": picks(house, job)} if kind == "ask" else status)
    if status.state in ("failed", "cancelled"):
        raise ThresherError(f"{job} {status.state}{': ' + status.error if status.error else ''}")
    if as_json:
        return status
    if status.report is None:
        console.say("queued ", (job, "bold"))
        return status
    for step, report in status.report.items():
        facts = {k: v for k, v in report.items() if not isinstance(v, dict) or k in SHOWN}
        console.say((step, "bold"), "  ", "  ".join(f"{k} {_short(v)}" for k, v in facts.items()))
    return status


def picks(house: House, round_id: str) -> list[dict[str, Any]]:
    """A round's decisions as they were made, each with its image's name."""
    decided = house.pool.decisions(round_id)
    samples = house.pool.samples([d.sample for d in decided])
    return [{"name": samples[d.sample].name, **asdict(d)} for d in decided]


def show_picks(house: House, round_id: str) -> None:
    """Print a round's picks, each with its reason."""
    rows = [
        [p["name"], p["strategy"], p["route"], round(p["uncertainty"], 3), p["reason"]]
        for p in picks(house, round_id)
    ]
    console.table("Picked", ["image", "lane", "route", "uncertainty", "why"], rows)


def follow(house: House, jobs: Jobs, job: str, *, show: bool) -> JobStatus:
    """Wait for a job to end, drawing one bar per step."""
    with console.bars(show=show) as tell:
        return follow_with(house, jobs, job, tell)


def follow_with(house: House, jobs: Jobs, job: str, tell: Callable[..., None]) -> JobStatus:
    """Wait for a job to end, passing on its progress."""
    last: Progress | None = None
    while (status := jobs.status(job)).state in ("queued", "running"):
        # While ours waits for another job, that one's progress is what there is to see.
        for p in house.pool.progress():
            if p.job == job or (status.state == "queued" and p.job not in heartbeat.SIGNS):
                if last is not None and last.step != p.step:
                    _finish(last, tell)
                last = p
                tell(p.step, p.done, p.total, p.note)
        time.sleep(POLL_SECONDS)
    if last is not None and status.state == "done":
        _finish(last, tell)
    return status


def _finish(p: Progress, tell: Callable[..., None]) -> None:
    """The end of a step, which may come and go between two looks."""
    whole = max(p.total, 1)
    tell(p.step, whole, whole, p.note)


def show(house: House, wanted: int | None, *, as_json: bool) -> None:
    """Print the state of every connected project, or of one."""
    projects = [house.pool.project(wanted)] if wanted is not None else house.pool.projects()
    state = {
        "worker": heartbeat.alive(house.pool),
        "projects": [state_of(house, p) for p in projects],
        "jobs": Jobs(house.settings).all(10),
    }
    if as_json:
        console.emit(state)
        return
    if state["worker"]:
        console.say("worker: ", ("running", "green"))
    else:
        console.say("worker: ", ("not running", "red"), " (start `thresher serve`)")
    if not projects:
        console.say("No project is connected yet: `thresher connect PROJECT_ID`.")
    for project in projects:
        _show_project(house, project)
    progress = {p.job: p for p in house.pool.progress()}
    rows = []
    for job in Jobs(house.settings).all(10):
        p = progress.get(job.id)
        at = f"{p.step} {p.done}/{p.total} {p.note}" if p and job.state == "running" else (job.error or "")
        rows.append([job.id, job.state, at, f"{job.created_at.astimezone():%Y-%m-%d %H:%M:%S}"])
    if rows:
        console.table("Newest jobs", ["job", "state", "at", "queued"], rows)


def state_of(house: House, project: Project) -> dict[str, Any]:
    """Everything about one project that a machine may want to know."""
    return {
        "id": project.id,
        "title": project.title,
        "labels": project.labels,
        "counts": dict(house.pool.counts(project.id)),
        "models": house.pool.models(project.id),
        "rounds": house.pool.rounds(project.id),
        "failures": house.pool.failures(project.id),
    }


def _show_project(house: House, project: Project) -> None:
    console.facts(f"Project {project.id} ({project.title})", house.pool.counts(project.id))
    rows = [
        [m.version, m.state, *(_short(m.metrics.get(k)) for k in ("map50_95", "map50")), m.parent, m.note]
        for m in house.pool.models(project.id)
    ]
    if rows:
        console.table("Models", ["version", "state", "mAP50-95", "mAP50", "parent", "note"], rows)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        return " ".join(f"{k}={v}" for k, v in value.items())
    return "" if value is None else str(value)
