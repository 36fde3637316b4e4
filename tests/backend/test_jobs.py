"""Durable jobs: started, followed, cancelled, resumed, and finished after a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from backend import workflows
from backend.house import House, Job
from backend.settings import load
from backend.workflows import Executor, Jobs
from pool.schema import BadInput, NotReady, UnknownRecord
from tests.waiting import until

ROOT = Path(__file__).parents[2]


def note(house: House, name: str) -> int:
    """Write down that a step began; how often it did so far."""
    log = house.settings.data_dir / "steps.log"
    with log.open("a") as out:
        out.write(f"{name}\n")
    return log.read_text().splitlines().count(name)


def quick(house: House, project: int, job: Job, given: Mapping[str, Any]) -> dict[str, Any]:
    job.tell("quick", 1, 2, "halfway")
    return {"times": note(house, "quick"), "project": project, "size": given.get("size")}


def slow(house: House, project: int, job: Job, given: Mapping[str, Any]) -> dict[str, Any]:
    times = note(house, "slow")
    gate = house.settings.data_dir / "go"
    while not gate.exists():
        job.check()
        time.sleep(0.02)
    return {"times": times, "before": given["quick"]["times"]}


def wrong(house: House, project: int, job: Job, given: Mapping[str, Any]) -> dict[str, Any]:
    raise NotReady("There is nothing to train on yet.")


STEPS = {"prelabel": (("quick", quick), ("slow", slow)), "learn": (("quick", quick), ("wrong", wrong))}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(workflows, "WORKFLOWS", STEPS)
    house = House(load(data_dir=tmp_path))
    yield house
    house.close()


def steps(house: House) -> list[str]:
    log = house.settings.data_dir / "steps.log"
    return log.read_text().splitlines() if log.exists() else []


def test_a_job_runs_its_steps_once_and_reports(house: House) -> None:
    (house.settings.data_dir / "go").touch()
    jobs = Jobs(house.settings)
    job = jobs.start("prelabel", 7, job="one", size=3)
    assert jobs.start("prelabel", 7, job="one", size=3) == job  # the same id is the same job
    assert jobs.status(job).state == "queued"
    with Executor(house):
        status = jobs.wait(job)
    assert status.state == "done"
    assert status.project == 7
    assert status.report == {
        "quick": {"times": 1, "project": 7, "size": 3},
        "slow": {"times": 1, "before": 1},
    }
    assert steps(house) == ["quick", "slow"]
    jobs.close()


def test_waiting_jobs_of_one_kind_are_one(house: House) -> None:
    jobs = Jobs(house.settings)
    assert jobs.start("prelabel", 7) == jobs.start("prelabel", 7)
    assert jobs.start("prelabel", 8) != jobs.start("prelabel", 7)
    assert len(jobs.all()) == 2
    jobs.close()


def test_waiting_jobs_are_one_however_many_others_wait(house: House) -> None:
    jobs = Jobs(house.settings)
    first = {project: jobs.start("prelabel", project) for project in range(1, 26)}
    assert {project: jobs.start("prelabel", project) for project in range(1, 26)} == first
    assert all(jobs.busy(project) for project in first)
    assert not jobs.busy(26)
    assert not jobs.busy(1, "learn")
    jobs.close()


def test_a_job_that_was_given_something_else_is_another(house: House) -> None:
    jobs = Jobs(house.settings)
    small = jobs.start("prelabel", 7, size=50)
    large = jobs.start("prelabel", 7, size=200)
    assert small != large
    assert jobs.start("prelabel", 7, size=200) == large
    assert jobs.start("prelabel", 7) not in (small, large)
    jobs.close()


def test_nobody_hears_of_a_failed_job_for_ever(house: House) -> None:
    jobs = Jobs(house.settings)
    with Executor(house):
        jobs.wait(jobs.start("learn", 7))
    assert house.pool.progress() == []
    jobs.close()


def test_a_failure_is_a_sentence_and_the_next_job_runs(house: House) -> None:
    jobs = Jobs(house.settings)
    (house.settings.data_dir / "go").touch()
    with Executor(house):
        failed = jobs.wait(jobs.start("learn", 7))
        after = jobs.wait(jobs.start("prelabel", 7))
    assert failed.state == "failed"
    assert "nothing to train on" in str(failed.error)
    assert after.state == "done"
    jobs.close()


def test_cancel_stops_within_the_step_and_resume_repeats_it(house: House) -> None:
    jobs = Jobs(house.settings)
    with Executor(house):
        job = jobs.start("prelabel", 7)
        until(lambda: "slow" in steps(house))
        jobs.cancel(job)
        assert jobs.wait(job).state == "cancelled"
        time.sleep(1.5)  # the step hears of it within a second
        (house.settings.data_dir / "go").touch()
        jobs.resume(job)
        status = jobs.wait(job)
    assert status.state == "done"
    assert steps(house) == ["quick", "slow", "slow"]
    jobs.close()


def test_unknown_kinds_and_jobs_are_named(house: House) -> None:
    jobs = Jobs(house.settings)
    with pytest.raises(BadInput, match="prelabel"):
        jobs.start("dance", 1)
    with pytest.raises(UnknownRecord, match="no-such-job"):
        jobs.status("no-such-job")
    jobs.close()


WORKER = """
import sys, threading
from tests.backend import test_jobs
from backend import workflows
from backend.house import House
from backend.settings import load
workflows.WORKFLOWS = test_jobs.STEPS
from pathlib import Path
with workflows.Executor(House(load(data_dir=Path(sys.argv[1])))):
    threading.Event().wait()
"""


def start_worker(house: House) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(house.settings.data_dir)], cwd=ROOT)


def test_a_killed_workers_job_is_finished_by_the_next(house: House) -> None:
    jobs = Jobs(house.settings)
    job = jobs.start("prelabel", 7)
    first = start_worker(house)
    try:
        until(lambda: "slow" in steps(house), 60)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert jobs.status(job).state == "running"
    (house.settings.data_dir / "go").touch()
    second = start_worker(house)
    try:
        until(lambda: jobs.status(job).state not in ("running", "queued"), 60)
    finally:
        second.kill()
        second.wait()
    assert jobs.status(job).state == "done"
    assert steps(house) == ["quick", "slow", "slow"]  # what had finished was not done again
    jobs.close()
