"""What people did in Label Studio comes home to the ledger: webhooks first, then a comparison.

A webhook is sent once and may be lost, so it only makes the ledger quicker; the comparison makes it right.
Measured on Label Studio 1.23: creating, changing, skipping and deleting an annotation (also in bulk)
stamps its task's ``updated_at``, so reading the tasks touched since the last time finds all of these.
Importing or deleting predictions in bulk stamps nothing, drafts stamp nothing, and a deleted task leaves
no trace but its absence, which only the full comparison sees.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from backend.studio.client import Studio
from backend.studio.convert import annotation
from backend.studio.listing import moment
from backend.studio.protocol import CHANGED, DELETED, START_TRAINING
from pool.schema import Annotation, Event, Failure, Project, StudioError, Task, ThresherError
from pool.store import Pool

log = logging.getLogger("thresher.studio")

Json = dict[str, Any]

Queue = Callable[[str, int], None]
"""Takes a job: its kind and its project."""

EPOCH: Final = datetime.fromtimestamp(0, UTC)
BATCH: Final = 200
PAGE: Final = 200
SETTLING: Final = timedelta(minutes=2)
"""How long a change may take from its time stamp until it can be seen; younger stamps are read again."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What was waiting in the inbox: ``events`` handled, ledger rows ``changed`` and ``deleted``,
    events ``unknown`` whose task the ledger has not met yet (the comparison brings them), ``late`` ones
    that a comparison had overtaken, ``failed`` ones that could not be read. ``jobs`` are the
    (kind, project) of work that they call for.
    """

    events: int = 0
    changed: int = 0
    deleted: int = 0
    unknown: int = 0
    late: int = 0
    failed: int = 0
    jobs: frozenset[tuple[str, int]] = frozenset()

    def as_dict(self) -> dict[str, Any]:
        """For a job's report."""
        counts = ("events", "changed", "deleted", "unknown", "late", "failed")
        return {name: getattr(self, name) for name in counts} | {"jobs": sorted(map(list, self.jobs))}


@dataclass(frozen=True, slots=True)
class Stranger:
    """A task of Label Studio that the ledger does not know: its ``id`` and its image's address."""

    id: int
    uri: str


@dataclass(frozen=True, slots=True)
class Found:
    """The project's tasks: ``known`` ones show a sample of the pool, the image of ``unknown`` ones must be
    fetched first. Tasks without an image are left out and counted as ``empty``.
    """

    known: list[Task] = field(default_factory=list)
    unknown: list[Stranger] = field(default_factory=list)
    empty: int = 0


def find_tasks(studio: Studio, pool: Pool, project: Project) -> Found:
    """Look through the tasks of a project for images that the pool does not hold yet.

    A task is known if the ledger bound it to a sample and its image is still the same, or if its data
    name a ``sample`` of the pool, as tasks made here do.
    """
    bound = {task.id: task for task in pool.tasks(project.id)}
    found = Found()
    empty = 0
    claims: list[tuple[Stranger, str]] = []
    for task in studio.tasks(project.id, PAGE, only=("id", "data")):
        here = Stranger(int(task["id"]), str(task["data"].get(project.image_key) or ""))
        known = bound.get(here.id)
        if not here.uri:
            empty += 1
        elif known is not None and known.uri == here.uri:
            found.known.append(known)
        else:
            # A bound task whose image was replaced still carries the old claim.
            claim = "" if known is not None else str(task["data"].get("sample") or "")
            claims.append((here, claim))
    held = pool.samples([claim for _, claim in claims if claim]) if claims else {}
    for here, claim in claims:
        if claim in held:
            found.known.append(Task(project.id, here.id, claim, here.uri))
        else:
            found.unknown.append(here)
    return replace(found, empty=empty)


def drain(pool: Pool, queue: Queue | None = None) -> Drained:
    """Take all waiting events, of all projects, in their order of arrival into the ledger.

    Idempotent: an event is finished only after its effect is in the ledger and the job (kind, project)
    that it calls for is given to ``queue``; the same effect twice is no change. An event that cannot be
    read is noted as a failure and does not hold up the others.
    """
    taken = _Intake(pool)
    called: set[tuple[str, int]] = set()
    while events := pool.inbox(BATCH):
        for event in events:
            taken.take(event)
        taken.flush()
        for kind, project in sorted(taken.jobs):
            if queue is not None:
                queue(kind, project)
        pool.finish([event.key for event in events])
        called |= taken.jobs
        taken.jobs.clear()
    return Drained(**taken.counts, jobs=frozenset(called))


class _Intake:
    """Events one after the other; neighbouring changes are written together."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._changed: list[Annotation] = []
        self._failures: list[Failure] = []
        self.counts: Counter[str] = Counter()
        self.jobs: set[tuple[str, int]] = set()
        self._projects = {project.id: project for project in pool.projects()}
        self._samples: dict[int, dict[int, str]] = {}

    def take(self, event: Event) -> None:
        self.counts["events"] += 1
        try:
            self._handle(event)
        except (ThresherError, KeyError, TypeError, ValueError, AttributeError) as error:
            log.warning("event %s: %s", event.key, error)
            self._failures.append(Failure(event.key, "collect", str(error), datetime.now(UTC)))
            self.counts["failed"] += 1

    def flush(self) -> None:
        if self._changed:
            self.counts["changed"] += self._pool.save_annotations(self._changed)
            self._changed = []
        if self._failures:
            self._pool.record_failures(self._failures)
            self._failures = []

    def _handle(self, event: Event) -> None:
        project = self._projects.get(event.project)
        if project is None:
            log.info("event %s belongs to a project that is not connected", event.key)
        elif event.action in CHANGED:
            self._change(project, event.body["annotation"])
        elif event.action in DELETED:
            self._delete(project, [int(event.body["annotation"]["id"])])
        elif event.action == "TASKS_DELETED":
            self._drop(project, [int(task["id"]) for task in event.body["tasks"]])
        elif event.action == "TASKS_CREATED":
            self.jobs.add(("prelabel", project.id))
        elif event.action == START_TRAINING:
            self.jobs.add(("learn", project.id))

    def _change(self, project: Project, payload: Mapping[str, Any]) -> None:
        task = payload["task"]
        number = int(task["id"] if isinstance(task, Mapping) else task)
        sample = self._of(project).get(number)
        if sample is None:
            self.counts["unknown"] += 1
            self.jobs.add(("prelabel", project.id))
            return
        said = annotation(payload, project, sample)
        if project.cursor is not None and said.updated_at < project.cursor:
            # A comparison has read this task since: the annotation is in the ledger, or was deleted.
            self.counts["late"] += 1
            return
        self._changed.append(said)

    def _delete(self, project: Project, ids: Sequence[int]) -> None:
        self.flush()  # what was said before must be there to be taken back
        self.counts["deleted"] += self._pool.delete_annotations(project.id, ids, datetime.now(UTC))

    def _drop(self, project: Project, tasks: Sequence[int]) -> None:
        self.flush()
        self.counts["deleted"] += _drop(self._pool, project, tasks)
        self._samples.pop(project.id, None)

    def _of(self, project: Project) -> dict[int, str]:
        if project.id not in self._samples:
            self._samples[project.id] = {t.id: t.sample for t in self._pool.tasks(project.id)}
        return self._samples[project.id]


def reconcile(studio: Studio, pool: Pool, project: Project, *, full: bool = False) -> dict[str, int]:
    """Compare the ledger with Label Studio and mend it; what that took, in counts.

    Reads the tasks touched since the last comparison, or all of them with ``full`` and at the first
    time. ``tasks`` read, ``changed`` annotations new or newer than the ledger's, ``deleted`` ones that
    are gone, ``annotations`` and ``skipped`` (people's skips, kept apart) among the tasks read,
    ``drafts`` tasks with work not handed in, ``new_tasks`` that the ledger has not met, ``unreachable``
    ones whose image could not be fetched so far,
    ``dropped_tasks`` that no longer exist (only a full comparison sees them), ``failed`` annotations
    that could not be read.

    Raises:
        StudioError: Label Studio is away, or lists fewer tasks than it says to have; then nothing is
            deleted.
    """
    full = full or project.cursor is None
    look = _Look(studio, pool, project)
    before = int(studio.project(project.id)["task_number"]) if full else 0
    if full:
        look.begin()
    pool.save_annotators(studio.users())
    listed = (
        studio.tasks(project.id, PAGE)
        if full or project.cursor is None
        else studio.tasks_since(project.id, project.cursor, PAGE)
    )
    page: list[Json] = []
    for task in listed:
        page.append(task)
        if len(page) == PAGE:
            look.compare(page)
            page = []
    look.compare(page)
    if full:
        look.missed(before)
    # Only now: a comparison that was cut short is made again from where the last whole one began.
    pool.save_project(replace(pool.project(project.id), cursor=look.cursor(project.cursor)))
    log.info("project %d: compared %s", project.id, dict(look.counts))
    return {name: look.counts[name] for name in COUNTS}


COUNTS: Final = (
    *("tasks", "annotations", "skipped", "drafts", "changed", "deleted"),
    *("new_tasks", "unreachable", "dropped_tasks", "failed"),
)


class _Look:
    """One comparison. The ledger's side is read first: what comes in later is nobody's loss."""

    def __init__(self, studio: Studio, pool: Pool, project: Project) -> None:
        self._studio, self._pool, self._project = studio, pool, project
        self._known = set(pool.stamps(project.id))
        self._tasks = {task.id: task for task in pool.tasks(project.id)}
        self._seen: set[int] = set()
        self._living: set[int] = set()
        self._newest: datetime | None = None
        self._limit: datetime | None = None
        self._waiting: datetime | None = None
        self._broken = {f.subject for f in pool.failures(project.id) if f.stage == "add"}
        self.counts: Counter[str] = Counter()

    def begin(self) -> None:
        """Before all tasks are read by id: what is touched behind the reader is the next comparison's."""
        newest = next(self._studio.tasks_since(self._project.id, EPOCH, 1, only=("id", "updated_at")), None)
        self._limit = moment(newest["updated_at"]) if newest is not None else None

    def compare(self, tasks: Sequence[Json]) -> None:
        """Mend the ledger for some tasks as Label Studio has them now."""
        samples = sorted({self._tasks[t["id"]].sample for t in tasks if t["id"] in self._tasks})
        ours: dict[int, set[int]] = defaultdict(set)
        for each in self._pool.annotations(self._project.id, samples) if samples else ():
            ours[each.task].add(each.id)
        live: list[Annotation] = []
        gone: list[int] = []
        for task in tasks:
            number = int(task["id"])
            self._seen.add(number)
            self._note(task)
            if number not in self._tasks:
                self._meet(task)
                continue
            there = {int(each["id"]) for each in task["annotations"]}
            self._living |= there
            gone += sorted((ours[number] & self._known) - there)
            live += self._read(task, self._tasks[number].sample)
        self.counts["changed"] += self._pool.save_annotations(live)
        self.counts["deleted"] += self._pool.delete_annotations(self._project.id, gone, datetime.now(UTC))

    def missed(self, before: int) -> None:
        """After all tasks were read: what the ledger holds and Label Studio does not."""
        after = int(self._studio.project(self._project.id)["task_number"])
        if len(self._seen) < min(before, after):
            raise StudioError(
                f"Label Studio lists {len(self._seen)} tasks of project {self._project.id}, but says it "
                f"has {after}. Nothing was deleted here; try again, and check the token's organization."
            )
        lost = sorted(self._tasks.keys() - self._seen)
        self.counts["dropped_tasks"] += len(lost)
        self._pool.drop_tasks(self._project.id, lost)
        left = sorted(self._known - self._living)
        self.counts["deleted"] += self._pool.delete_annotations(self._project.id, left, datetime.now(UTC))

    def cursor(self, old: datetime | None) -> datetime | None:
        """From when to read the next time."""
        if self._newest is None:
            return old
        newest = self._newest if self._limit is None else min(self._newest, self._limit)
        settled = datetime.now(UTC) - newest > SETTLING
        reached = newest + timedelta(microseconds=1) if settled else newest - SETTLING
        if self._waiting is not None:
            reached = min(reached, self._waiting)
        return reached if old is None else max(old, reached)

    def _read(self, task: Json, sample: str) -> list[Annotation]:
        parents = {each.get("id"): each.get("result") for each in task.get("predictions", ())}
        read = []
        for payload in task["annotations"]:
            parent = payload.get("parent_prediction")
            try:
                read.append(annotation(payload, self._project, sample, parents.get(parent)))
            except (ThresherError, KeyError, TypeError, ValueError) as error:
                log.warning("annotation %s of task %s: %s", payload.get("id"), task["id"], error)
                self.counts["failed"] += 1
        skipped = sum(each.skipped for each in read)
        self.counts["annotations"] += len(read) - skipped
        self.counts["skipped"] += skipped
        return read

    def _note(self, task: Json) -> None:
        stamp = moment(task["updated_at"])
        self._newest = stamp if self._newest is None else max(stamp, self._newest)
        self.counts["tasks"] += 1
        self.counts["drafts"] += bool(task.get("draft_exists"))

    def _meet(self, task: Json) -> None:
        """A task that the ledger must get to know first; its answers wait for that.

        One whose image could not be had is tried again by every job that adopts tasks, not every minute.
        """
        if f"task {task['id']}" in self._broken:
            self.counts["unreachable"] += 1
            return
        self.counts["new_tasks"] += 1
        if task["annotations"]:
            stamp = moment(task["updated_at"])
            self._waiting = stamp if self._waiting is None else min(stamp, self._waiting)


def _drop(pool: Pool, project: Project, tasks: Iterable[int]) -> int:
    """Forget tasks that Label Studio deleted; their annotations went with them."""
    gone = set(tasks)
    lost = [each.id for each in pool.annotations(project.id) if each.task in gone]
    pool.drop_tasks(project.id, sorted(gone))
    return pool.delete_annotations(project.id, lost, datetime.now(UTC))
