"""A model version's predictions into Label Studio: all of them, none twice, and only then the switch.

Label Studio promises little about an import: it skips what its validator dislikes without a word, takes
the same prediction twice, and may have stored everything although the answer never came. So what is there
is read back, what is missing is sent, what is double is removed, and a killed push is finished by the
next one. The order matters: the project is told of a new version only when every task holds it, since
Label Studio serves nobody a task without a prediction of the project's version as long as one other task
has it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from backend.studio import collect
from backend.studio.client import Studio
from backend.studio.connect import arrange
from backend.studio.convert import LAST, task_item
from backend.studio.labeling import parse
from backend.studio.proposals import proposed
from backend.studio.transport import Refusal
from pool.schema import Failure, Project, StudioError, Task
from pool.store import Pool

log = logging.getLogger("thresher.studio")

Json = dict[str, Any]
OnProgress = Callable[[int, int], None]

CHUNK: Final = 500
"""Predictions in one request: what Label Studio itself writes at once."""
TRIES: Final = 3
PAUSE: Final = 1.0
GENTLE: Final = 100
"""Old predictions removed in one request. Label Studio removes a version in one transaction, about 10 ms a
row; on SQLite everybody's submit waits for it and fails after 5 s (measured: 24 s for 1000 rows)."""
PATIENCE: Final = 1000
"""Old predictions removed one by one in one push, about 0.1 s each; later pushes go on with the rest."""


@dataclass
class PushReport:
    """What a push found and did.

    ``tasks`` of the project in the ledger; ``held`` the version when the push began; ``pushed`` now;
    ``unreadable`` of those without boxes because the model could not read the image; ``repaired``
    doubles removed; ``missing`` have no prediction in the ledger yet; ``gone`` no longer exist in Label
    Studio; ``refused`` why Label Studio's validator took a prediction only without its boxes.
    ``switched``: the project now serves this version. ``retired``: older versions that are gone now,
    ``left`` rows of older ones that later pushes remove; nobody is served them.
    """

    version: str
    tasks: int = 0
    held: int = 0
    pushed: int = 0
    unreadable: int = 0
    repaired: int = 0
    missing: int = 0
    gone: int = 0
    refused: list[str] = field(default_factory=list)
    switched: bool = False
    retired: list[str] = field(default_factory=list)
    left: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For a job's report."""
        return asdict(self)


def push(
    studio: Studio,
    pool: Pool,
    project: Project,
    version: str,
    *,
    show_floor: float = 0.0,
    on_progress: OnProgress | None = None,
) -> PushReport:
    """Bring every prediction of ``version`` that Label Studio lacks, then let the project serve it.

    ``show_floor`` is the weakest box shown to people, in [0, 1]. ``on_progress`` gets how many tasks hold
    the version and how many there are; then, if there is an older version, how many of its rows are
    removed and how many there were. The switch, and the removal of older versions that the ledger
    knows as ours, happen only if no task is missing.

    Raises:
        StudioError: Label Studio refuses or stays away; what arrived stays, and counts the next time.
    """
    began = time.monotonic()
    now = studio.project(project.id)
    run = _Run(studio, pool, project, version, str(now["label_config"]))
    tell = on_progress or _nobody
    run.fill(show_floor, tell)
    report = run.report
    if report.tasks and not report.missing:
        _switch(studio, project.id, version, str(now["model_version"] or ""))
        report.switched = True
        arrange(studio, project.id)
        report.retired, report.left = _retire(studio, pool, project, version, tell)
    report.seconds = round(time.monotonic() - began, 3)
    log.info("project %d: %s", project.id, report)
    return report


class _Run:
    """One push: what is known of Label Studio's side while it goes on."""

    def __init__(self, studio: Studio, pool: Pool, project: Project, version: str, config: str) -> None:
        self.studio, self.pool, self.project, self.version = studio, pool, project, version
        self.config = config
        self.report = PushReport(version)
        self.stored: dict[int, list[int]] = {}  # rows of this version by task

    def fill(self, show_floor: float, tell: OnProgress) -> None:
        """Until every task that can hold the version does."""
        report = self.report
        tasks = self.pool.tasks(self.project.id)
        if not self._adds_up():
            self._read_back()
        waiting = set(self.pool.unpredicted(self.project.id, self.version))
        self._take_back(task for task in tasks if task.sample not in waiting)
        report.tasks = len(tasks)
        report.held = sum(task.id in self.stored for task in tasks)
        self._note(tasks)
        todo = [t for t in tasks if t.id not in self.stored and t.sample not in waiting]
        tell(report.held, report.tasks)
        for start in range(0, len(todo), CHUNK):
            part = todo[start : start + CHUNK]
            self._send(list(self._items(part, show_floor)))
            self._note(part)
            tell(report.held + min(start + CHUNK, len(todo)), report.tasks)
        if todo and not self._adds_up():
            self._read_back()
        alive = self.pool.tasks(self.project.id)
        report.gone = report.tasks - len(alive)
        report.tasks = len(alive)
        report.missing = sum(task.id not in self.stored for task in alive)
        report.pushed = report.tasks - report.missing - report.held

    def _items(self, tasks: Sequence[Task], show_floor: float) -> Iterator[Json]:
        target = parse(self.config, self.project.control)
        keys = sorted({task.sample for task in tasks})
        samples = self.pool.samples(keys)
        seen = {
            p.sample: p
            for p in proposed(self.pool, self.project.id, self.pool.predictions(self.version, keys))
        }
        for task in tasks:
            sample, found = samples[task.sample], seen.get(task.sample)
            if found is None:
                self.report.unreadable += 1
                yield _empty(task.id, self.version, LAST)
            else:
                yield task_item(task.id, found, target, sample, show_floor)

    def _send(self, items: Sequence[Json]) -> None:
        """Send until the items are there; one whose boxes are refused goes without them."""
        left = self._until_taken(items)
        for stage in ("push", "predict"):
            self.pool.clear_failures(stage, [_subject(item) for item in items])
        if not left:
            return
        reasons = self.studio.refusals(self.config, left) or ["no reason given"]
        log.warning("project %d: Label Studio refused predictions: %s", self.project.id, reasons)
        self.report.refused += reasons
        still = self._until_taken([_empty(item["task"], self.version, item["score"]) for item in left])
        if still:
            raise StudioError(
                f"Label Studio takes no prediction for {len(still)} tasks of project {self.project.id}, "
                f"beginning with task {still[0]['task']}: {'; '.join(reasons[:3])}"
            )
        message, now = "; ".join(reasons[:5]), datetime.now(UTC)
        self.pool.record_failures(
            [Failure(_subject(item), "push", message, now) for item in left], self.project.id
        )

    def _until_taken(self, items: Sequence[Json]) -> list[Json]:
        """Send, read back, send what is missing; answers with the items that Label Studio refuses."""
        left = list(items)
        for attempt in range(TRIES):
            answered = False
            try:
                made = self.studio.import_predictions(self.project.id, left)
                if made == len(left):
                    self.stored |= {item["task"]: [] for item in left}
                    return []
                answered = True
            except Refusal as error:
                left = self._instead(error, left, attempt)
            except StudioError as error:
                # No answer is no news: the import may be done, or still be under way.
                _wait(error, attempt)
            self._read_back()
            left = [item for item in left if item["task"] not in self.stored]
            if answered or not left:
                return left
        raise StudioError(
            f"Label Studio stored {len(items) - len(left)} of {len(items)} predictions in {TRIES} "
            "attempts. Read its log for the reason, then push again: what arrived is not sent twice."
        )

    def _instead(self, error: Refusal, items: list[Json], attempt: int) -> list[Json]:
        """What to send after a refusal, if something else can be sent; raises it again otherwise."""
        if error.status >= 500:
            # The rows are written before the counters: a failure in between leaves them.
            _wait(error, attempt)
            return items
        if error.status == 413 and len(items) > 1:
            half = len(items) // 2
            return self._until_taken(items[:half]) + self._until_taken(items[half:])
        if error.status == 400:
            # One task that is gone makes Label Studio refuse the whole list.
            alive = {int(task["id"]) for task in self.studio.tasks(self.project.id, CHUNK, only=("id",))}
            lost = [item["task"] for item in items if item["task"] not in alive]
            if lost:
                self.pool.drop_tasks(self.project.id, lost)
                return [item for item in items if item["task"] in alive]
        raise error

    def _adds_up(self) -> bool:
        """Does Label Studio count as many rows as there are tasks that hold one, as far as we know?

        One small answer instead of every row with its boxes. Rows that come and go in pairs meanwhile
        escape it; the next push of this version begins by reading them all.
        """
        return self.studio.prediction_counts(self.project.id).get(self.version, 0) == len(self.stored)

    def _read_back(self) -> None:
        """What Label Studio holds; of several rows of one task the oldest stays."""
        self.stored = {}
        for task, rows in self.studio.predicted(self.project.id, self.version).items():
            for double in rows[1:]:
                _delete(self.studio, double)
                self.report.repaired += 1
            self.stored[task] = rows[:1]

    def _take_back(self, tasks: Iterable[Task]) -> None:
        """Remove what a single open stored while the image could not be had: it holds no boxes."""
        failed = {f.subject for f in self.pool.failures(self.project.id) if f.stage == "predict"}
        hollow = [task.id for task in tasks if task.id in self.stored and f"task {task.id}" in failed]
        for task in hollow:
            for row in self.stored.pop(task):
                _delete(self.studio, row)

    def _note(self, tasks: Sequence[Task]) -> None:
        """Tell the ledger, for those who look at it; a push itself never trusts this note."""
        fresh = [task.id for task in tasks if task.pushed != self.version and task.id in self.stored]
        if fresh:
            self.pool.mark_pushed(self.project.id, fresh, self.version)


def _wait(error: StudioError, attempt: int) -> None:
    log.warning("%s", error)
    if attempt + 1 == TRIES:
        raise error
    time.sleep(PAUSE * 2**attempt)


def _subject(item: Mapping[str, Any]) -> str:
    return f"task {item['task']}"


def _nobody(done: int, total: int) -> None:
    """Hear progress for those who do not."""


def _empty(task: int, version: str, score: float) -> Json:
    return {"task": task, "result": [], "score": score, "model_version": version}


def _delete(studio: Studio, prediction: int) -> None:
    try:
        studio.delete_prediction(prediction)
    except Refusal as error:
        if error.status != 404:  # somebody else repaired it first
            raise


def _switch(studio: Studio, project: int, version: str, served: str) -> None:
    if served != version:
        studio.update_project(project, model_version=version)
    told = studio.project(project)["model_version"]
    if told != version:
        raise StudioError(
            f"Project {project} was told to serve {version}, but serves {told!r}: was it changed by "
            "someone in Label Studio (Settings, Predictions) at this moment? Push again."
        )


def _retire(
    studio: Studio, pool: Pool, project: Project, version: str, tell: OnProgress
) -> tuple[list[str], int]:
    """Remove what older versions of ours left, oldest first; other tools' and people's rows stay."""
    counts = studio.prediction_counts(project.id)
    known = [model.version for model in pool.models(project.id) if model.version != version]
    old = [each for each in known if counts.get(each)]
    if not old:
        return [], 0
    # With a prediction goes the note of what an annotation began as: bring those home first.
    collect.reconcile(studio, pool, pool.project(project.id))
    patience = PATIENCE
    for each in old:
        try:
            patience -= _remove(studio, project.id, each, patience, tell)
        except StudioError as error:
            log.warning("project %d: %s is not wholly removed: %s", project.id, each, error)
    left = studio.prediction_counts(project.id)
    return [each for each in old if not left.get(each)], sum(left.get(each, 0) for each in old)


def _remove(studio: Studio, project: int, version: str, patience: int, tell: OnProgress) -> int:
    """Row after row while there are many, so that people can save their work in between."""
    rows = [row for held in studio.predicted(project, version).values() for row in held]
    singly = min(max(0, len(rows) - GENTLE), patience)
    for done, row in enumerate(rows[:singly]):
        if done % 10 == 0:
            tell(done, len(rows))
        _delete(studio, row)
    if len(rows) - singly <= GENTLE:
        studio.delete_predictions(project, version)
        tell(len(rows), len(rows))
    return singly
