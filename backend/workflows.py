"""Durable execution: each verb and each half-round is a workflow of checkpointed steps.

The doors only put a job on the queue; the worker runs it. A step that has finished is never run
again; one that was killed half-way is started again by the next worker, and every step is written
to find out for itself what is left to do. Built on DBOS (SQLite beside the ledger, or the ledger's
own PostgreSQL database).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from backend import loop, variants
from backend.asking import wish
from backend.house import House, Job, Stopped
from backend.settings import Settings
from pool.schema import BadInput, Progress, StudioError, ThresherError, UnknownRecord

if TYPE_CHECKING:
    from dbos import DBOSClient, StepOptions

log = logging.getLogger("thresher.jobs")

QUEUE = "jobs"
VERSION = "3"  # raised when steps change their order or meaning: jobs of another version are not resumed
TELL_SECONDS = 0.25
Report = dict[str, Any]
Step = tuple[str, Callable[[House, int, Job, Mapping[str, Any]], Report]]

LOOK: tuple[Step, ...] = (
    ("adopt", lambda house, project, job, _: loop.adopt(house, project, job)),
    ("prelabel", lambda house, project, job, _: loop.prelabel(house, project, job)),
    ("push", lambda house, project, job, _: loop.push(house, project, job)),
    ("stream", lambda house, project, job, _: loop.stream(house, project, job)),
)
CALIBRATE: Step = ("calibrate", lambda house, project, job, _: loop.calibrate(house, project, job))
COLLECT: tuple[Step, ...] = (
    (
        "collect",
        lambda house, project, job, given: loop.collect(house, project, job, full=bool(given.get("full"))),
    ),
    ("audit", lambda house, project, job, _: loop.audit(house, project, job)),
)
REVIEW: Step = ("review", lambda house, project, job, _: loop.review(house, project, job))
# The same step where it is only wanted by a setting.
AUTO_REVIEW: Step = (
    "review",
    lambda house, project, job, _: (
        loop.review(house, project, job) if house.settings.review_auto else {"review": "off"}
    ),
)
LEARN: tuple[Step, ...] = (
    ("collect", lambda house, project, job, _: loop.collect(house, project, job, full=True)),
    COLLECT[1],
    AUTO_REVIEW,
    ("freeze", lambda house, project, job, _: loop.freeze(house, project, job)),
    (
        "train",
        lambda house, project, job, given: loop.train(house, project, given["freeze"]["snapshot"], job),
    ),
    (
        "evaluate",
        lambda house, project, job, given: loop.evaluate(house, project, given["train"]["candidate"], job),
    ),
    (
        "promote",
        lambda house, project, job, given: loop.promote(house, project, given["train"]["candidate"], job),
    ),
    ("prelabel", lambda house, project, job, _: loop.prelabel(house, project, job)),
    CALIBRATE,
    ("push", lambda house, project, job, _: loop.push(house, project, job)),
)
ADMIT: tuple[Step, ...] = (
    ("admit", lambda house, project, job, _: loop.admit(house, project, job)),
    ("look", lambda house, project, job, _: loop.prelabel(house, project, job)),
    ("push", lambda house, project, job, _: loop.push(house, project, job)),
)
WORKFLOWS: dict[str, tuple[Step, ...]] = {
    "prelabel": LOOK,
    "ask": (
        *LOOK,
        CALIBRATE,
        AUTO_REVIEW,
        (
            "ask",
            lambda house, project, job, given: loop.ask(house, project, wish(house.settings, given), job),
        ),
    ),
    "deliver": (("deliver", lambda house, project, job, _: loop.deliver(house, project, job)),),
    "undo": (
        (
            "undo",
            lambda house, project, job, given: loop.undo(house, project, given["round"], job),
        ),
    ),
    "review": (REVIEW,),
    "unreview": (
        (
            "unreview",
            lambda house, project, job, given: loop.unreview(house, project, given["run"], job),
        ),
    ),
    "collect": COLLECT,
    "learn": LEARN,
    "generate": (
        # Parents are chosen, and boxes carried over, by what the champion sees.
        ("prelabel", lambda house, project, job, _: loop.prelabel(house, project, job)),
        (
            "plan",
            lambda house, project, job, given: loop.plan(house, project, variants.wish(given), job),
        ),
        ("paint", lambda house, project, job, _: loop.generate(house, project, job)),
        *ADMIT,
    ),
    "admit": ADMIT,
}


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as people see it. ``state``: queued, running, done, failed or cancelled."""

    id: str
    kind: str
    project: int
    state: str
    report: Mapping[str, Any] | None
    error: str | None
    created_at: datetime


def may_pass(error: BaseException) -> bool:
    """A server that is away or stumbles is worth waiting for; a refusal is not."""
    status = getattr(error, "status", None)
    return isinstance(error, StudioError) and (status is None or status == 429 or status >= 500)


RETRY: StepOptions = {
    "retries_allowed": True,
    "max_attempts": 6,
    "interval_seconds": 1.0,
    "backoff_rate": 2.0,
    "should_retry": may_pass,
}

STATES = {
    "ENQUEUED": "queued",
    "DELAYED": "queued",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "CANCELLED": "cancelled",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
}


class Jobs:
    """The queue as the doors see it: start, look, cancel, resume."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.jobs_url
        settings.data_dir.mkdir(parents=True, exist_ok=True)

    @cached_property
    def _client(self) -> DBOSClient:
        from dbos import DBOSClient, DBOSPortableJSONSerializer, run_dbos_database_migrations

        logging.getLogger("dbos").setLevel(logging.WARNING)
        run_dbos_database_migrations(system_database_url=self._url)
        return DBOSClient(system_database_url=self._url, serializer=DBOSPortableJSONSerializer())

    def close(self) -> None:
        """Let go of the database."""
        if "_client" in self.__dict__:
            self._client.destroy()

    def start(self, kind: str, project: int, *, job: str | None = None, **given: Any) -> str:
        """Queue a job and answer its id.

        The same id twice is one job. Without an id, the same job that waits for the project (or
        runs, for ask and learn) is answered instead of queueing another; one of the same kind that was
        given something else is another job.

        Raises:
            BadInput: no such kind of job.
        """
        if kind not in WORKFLOWS:
            raise BadInput("job", f"one of {', '.join(WORKFLOWS)}", kind)
        if job is None:
            # A running prelabel may have passed what a new one is about; a running ask or learn is it.
            same = ("queued",) if kind in ("prelabel", "collect", "admit") else ("queued", "running")
            for other in self._alive(kind):
                wish = ((other.input or {}).get("args") or (None, None))[:2]
                if tuple(wish) == (project, given) and STATES[other.status] in same:
                    return str(other.workflow_id)
        job_id = job or f"{kind}-p{project}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:4]}"
        self._client.enqueue(
            {"workflow_name": kind, "queue_name": QUEUE, "workflow_id": job_id, "app_version": VERSION},
            project,
            given,
        )
        return job_id

    def status(self, job: str) -> JobStatus:
        """One job.

        Raises:
            UnknownRecord: no such job.
        """
        found = self._client.list_workflows(workflow_ids=[job])
        if not found:
            raise UnknownRecord(f"There is no job {job}: `thresher status` lists the newest ones.")
        return _status(found[0])

    def all(self, limit: int = 20) -> list[JobStatus]:
        """The newest jobs, newest first."""
        found = self._client.list_workflows(name=list(WORKFLOWS), limit=limit, sort_desc=True)
        return [_status(w) for w in found]

    def busy(self, project: int, kind: str | None = None) -> bool:
        """Is a job of this project (of this kind) waiting or running?"""
        return any(_status(w).project == project for w in self._alive(*([kind] if kind else WORKFLOWS)))

    def _alive(self, *kinds: str) -> list[Any]:
        """Every job of these kinds that waits or runs, newest first."""
        states = [name for name, state in STATES.items() if state in ("queued", "running")]
        return self._client.list_workflows(name=list(kinds), status=states, sort_desc=True)

    def cancel(self, job: str) -> None:
        """Stop a job; what its finished steps did stays."""
        self.status(job)
        self._client.cancel_workflow(job)

    def resume(self, job: str) -> None:
        """Go on with a cancelled job after its last finished step.

        Raises:
            BadInput: the job was not cancelled. One that failed is begun anew: every verb finds out
                for itself what is left to do.
        """
        state = self.status(job).state
        if state != "cancelled":
            raise BadInput(
                "job", "a cancelled one", f"{job} ({state})", "Start a failed one anew, as `thresher ask`."
            )
        self._client.resume_workflow(job, queue_name=QUEUE)

    def wait(self, job: str, *, poll: float = 0.2) -> JobStatus:
        """Block until a job has ended."""
        while (status := self.status(job)).state in ("queued", "running"):
            time.sleep(poll)
        return status


def _status(w: Any) -> JobStatus:
    args = (w.input or {}).get("args") or ()
    return JobStatus(
        id=w.workflow_id,
        kind=w.name,
        project=int(args[0]) if args else 0,
        state=STATES.get(w.status, str(w.status).lower()),
        report=w.output,
        error=str(w.error) if w.error is not None else None,
        created_at=datetime.fromtimestamp((w.created_at or 0) / 1000, UTC),
    )


class Executor:
    """Runs queued jobs in this process until it is closed. One job at a time: they share the model."""

    def __init__(self, house: House, name: str = "worker") -> None:
        self.house = house
        self.jobs = Jobs(house.settings)
        self._name = name

    def __enter__(self) -> Executor:
        from dbos import DBOS, DBOSPortableJSONSerializer

        DBOS(
            config={
                "name": "thresher",
                "system_database_url": self.house.settings.jobs_url,
                "application_version": VERSION,
                "executor_id": self._name,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "WARNING",
            }
        )
        for kind, steps in WORKFLOWS.items():
            DBOS.workflow(name=kind, max_recovery_attempts=100)(self._workflow(kind, steps))
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=1,
            global_concurrency=1,
            polling_interval_sec=0.2,
            on_conflict="always_update",
        )
        return self

    def __exit__(self, *_: object) -> None:
        from dbos import DBOS

        self.jobs.close()
        DBOS.destroy(destroy_registry=True)

    def _workflow(self, kind: str, steps: tuple[Step, ...]) -> Callable[[int, dict[str, Any]], Report]:
        from dbos import DBOS

        def workflow(project: int, given: dict[str, Any]) -> Report:
            job = Job(
                str(DBOS.workflow_id),
                self._teller(str(DBOS.workflow_id)),
                self._cancelled(str(DBOS.workflow_id)),
            )
            known: dict[str, Any] = dict(given)
            reports: Report = {}
            try:
                for index, (name, run) in enumerate(steps):
                    options: StepOptions = {**RETRY, "name": f"{index}-{name}"}
                    reports[name] = DBOS.run_step(options, self._guarded, run, name, project, job, known)
                    known[name] = reports[name]
            finally:
                self.house.pool.forget(job.id)
            return reports

        workflow.__name__ = workflow.__qualname__ = f"{kind}_workflow"
        return workflow

    def _guarded(self, run: Any, name: str, project: int, job: Job, known: Mapping[str, Any]) -> Report:
        from dbos import error as dbos_error

        started = time.monotonic()
        job.tell(name, 0, 0)
        try:
            job.check()
            report: Report = run(self.house, project, job, known)
            job.check()
        except Stopped:
            # This one exception tells DBOS to record no outcome, so that a resumed job repeats the step.
            raise dbos_error.DBOSWorkflowCancelledError(f"{job.id} was cancelled in {name}") from None
        except ThresherError as error:
            job.tell(name, 0, 0, f"failed: {error}")
            log.error("%s: %s failed: %s", job.id, name, error)
            raise
        log.info("%s: %s %.1f s %s", job.id, name, time.monotonic() - started, report)
        return report

    def _teller(self, job: str) -> Callable[..., None]:
        last: dict[str, Any] = {"at": 0.0, "step": None}

        def tell(step: str, done: int, total: int, note: str = "") -> None:
            now = time.monotonic()
            if step == last["step"] and done != total and now - last["at"] < TELL_SECONDS:
                return
            last.update(at=now, step=step)
            self.house.pool.report(Progress(job, step, done, total, note, datetime.now(UTC)))

        return tell

    def _cancelled(self, job: str) -> Callable[[], bool]:
        last: dict[str, Any] = {"at": 0.0, "value": False}

        def cancelled() -> bool:
            if time.monotonic() - last["at"] > 1.0:
                last.update(at=time.monotonic(), value=self.jobs.status(job).state == "cancelled")
            return bool(last["value"])

        return cancelled
