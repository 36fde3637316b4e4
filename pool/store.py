"""The ledger: the only state that outlives a process, in SQLite (default) or PostgreSQL.

Label Studio stays the truth of the human side; the ledger mirrors it and can be rebuilt. Records
go in and come out as the frozen dataclasses of ``pool.schema``, datetimes as aware UTC. Every
method is one transaction unless it says otherwise, and every write can be repeated without harm.

::

    with Pool.open("sqlite:///data/ledger.db") as pool:
        pool.add_samples([sample])
        pool.counts(project.id)["labelled"]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from pool import (
    _annotations,
    _edits,
    _inbox,
    _models,
    _predictions,
    _projects,
    _rounds,
    _samples,
    _signals,
    _states,
    _variants,
)
from pool._samples import Waiting as Waiting
from pool._states import State
from pool.columns import Columns
from pool.database import Database
from pool.migrate import migrate
from pool.schema import (
    Annotation,
    Consensus,
    Decision,
    Edit,
    Event,
    Failure,
    ModelVersion,
    Prediction,
    Progress,
    Project,
    Round,
    Sample,
    Snapshot,
    Task,
    Variant,
    VariantState,
)


class Pool:
    """An open ledger; safe for threads, and for several processes on one database.

    Raises UnknownRecord where something asked for, or pointed at, is not held; BadInput where a
    value is not what its record says; ThresherError where the database is away or stays locked.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    @classmethod
    def open(cls, url: str) -> Pool:
        """Open the ledger at ``url`` and bring its tables to the present.

        ``sqlite:///path`` (the folder is made) or ``postgresql://user:password@host/name``.
        """
        db = Database(url)
        try:
            migrate(db)
        except BaseException:
            db.close()
            raise
        return cls(db)

    def close(self) -> None:
        """Close this process's connections."""
        self._db.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Projects

    def save_project(self, project: Project) -> None:
        """Write the project, over what was known of it."""
        _projects.save(self._db, project)

    def project(self, id: int) -> Project:  # noqa: A002
        """The project; UnknownRecord where it is not connected."""
        return _projects.one(self._db, id)

    def projects(self) -> list[Project]:
        """All connected projects, by id."""
        return _projects.every(self._db)

    def counts(self, project: int) -> Mapping[str, int]:
        """How much there is of everything in a project.

        ``samples`` and ``holdout`` count distinct samples of its tasks, ``predicted`` those that the
        champion has predicted, ``annotations`` live ones that are no skips, ``skipped`` live skips,
        ``labelled`` samples with at least one live annotation that is no skip. The others are
        ``tasks asked failures inbox rounds models``.
        """
        return _projects.counts(self._db, project)

    # Samples and tasks

    def add_samples(self, samples: Sequence[Sample]) -> list[bool]:
        """Add samples; for each, in order, whether it is new. A known sample stays as it is."""
        return _samples.save(self._db, samples)

    def sample(self, id: str) -> Sample:  # noqa: A002
        """The sample; UnknownRecord where the pool does not hold it."""
        return _samples.one(self._db, id)

    def samples(self, ids: Sequence[str] | None = None) -> dict[str, Sample]:
        """Samples by id, in order of id: all, or those of ``ids`` that exist."""
        return _samples.many(self._db, ids)

    def by_original(self, sha: str) -> Sample | None:
        """The sample that came as bytes of this sha256, before any turning."""
        return _samples.by_original(self._db, sha)

    def phashes(self) -> tuple[list[str], NDArray[np.uint64]]:
        """All sample ids and, in the same order, their perceptual hashes, shape (n,)."""
        return _samples.phashes(self._db)

    def bind_tasks(self, tasks: Sequence[Task]) -> int:
        """Say which sample and uri each task shows; how many tasks are new.

        A known task keeps what the loop did with it: asked, overlap and pushed.
        """
        return _samples.bind(self._db, tasks)

    def tasks(self, project: int) -> list[Task]:
        """The project's tasks, by id."""
        return _samples.of_project(self._db, project)

    def tasks_of(self, project: int, samples: Sequence[str]) -> list[Task]:
        """The project's tasks that show these samples, by id."""
        return _samples.tasks_of(self._db, project, samples)

    def mark_asked(self, project: int, overlaps: Mapping[int, int]) -> None:
        """Mark tasks (id -> how many people must see it) as asked for; unknown ids are passed over."""
        _samples.mark_asked(self._db, project, overlaps)

    def clear_asked(self, project: int, task_ids: Sequence[int]) -> None:
        """Take tasks back from the people; their overlap stays."""
        _samples.clear_asked(self._db, project, task_ids)

    def mark_pushed(self, project: int, task_ids: Sequence[int], version: str) -> None:
        """Note the model version whose predictions Label Studio holds for these tasks."""
        _samples.mark_pushed(self._db, project, task_ids, version)

    def drop_tasks(self, project: int, task_ids: Sequence[int]) -> None:
        """Forget tasks that Label Studio no longer has; samples and annotations stay."""
        _samples.drop(self._db, project, task_ids)

    # Models

    def add_model(self, model: ModelVersion) -> None:
        """Register a version; again with the same weights is no error, with others BadInput."""
        _models.add(self._db, model)

    def model(self, version: str) -> ModelVersion:
        """The model version; UnknownRecord where there is none."""
        return _models.one(self._db, version)

    def models(self, project: int) -> list[ModelVersion]:
        """The project's versions, oldest first."""
        return _models.of_project(self._db, project)

    def champion(self, project: int) -> ModelVersion | None:
        """The version in use, or None before the first promotion."""
        return _models.champion(self._db, project)

    def promote(self, version: str, note: str | None = None) -> None:
        """Make this version its project's champion; the former one is retired in the same moment.

        ``note`` says why; without one the version's note stays.
        """
        _models.promote(self._db, version, note)

    def refuse(self, version: str, note: str) -> None:
        """Refuse a candidate and say why; the champion cannot be refused."""
        _models.refuse(self._db, version, note)

    def set_metrics(self, version: str, metrics: Mapping[str, float]) -> None:
        """Replace the version's measurements."""
        _models.set_metrics(self._db, version, metrics)

    # Predictions and failures

    def save_predictions(self, predictions: Sequence[Prediction]) -> None:
        """Write predictions, over earlier ones of the same sample and version.

        Many are written in several short transactions, so that other processes get their turn; a
        killed process leaves whole predictions, and the same call again completes them.
        """
        _predictions.save(self._db, predictions)

    def predictions(self, model_version: str, samples: Sequence[str] | None = None) -> Iterator[Prediction]:
        """A version's predictions in order of sample, read page by page; all, or those of ``samples``.

        They come without their matrices, which choosing reads as `signals`.
        """
        return _predictions.of_model(self._db, model_version, samples)

    def signals(
        self, model_version: str, samples: Collection[str] | None = None, columns: Sequence[str] = ()
    ) -> Iterator[Columns]:
        """What a version knows of its images, block by block, each image once; all, or ``samples``.

        ``columns`` names what is read beside background, score and kind: ``embedding``, ``probs``,
        ``localisation``, ``disagreement``, ``box_embeddings``.
        """
        return _signals.blocks(self._db, model_version, samples, columns)

    def unpredicted(self, project: int, model_version: str) -> list[str]:
        """Samples of the project's tasks with neither a prediction nor a failure of this version."""
        return _predictions.unpredicted(self._db, project, model_version)

    def waiting(self, project: int) -> dict[str, Waiting]:
        """Samples of tasks that no open round asks about; who skips an image has answered."""
        return _samples.waiting(self._db, project)

    def uncertainties(self, project: int, model_version: str) -> dict[str, float]:
        """Uncertainty in [0, 1], higher = more worth a human, of the project's predicted samples."""
        return _predictions.uncertainties(self._db, project, model_version)

    def set_uncertainties(self, model_version: str, values: Mapping[str, float], measure: str) -> None:
        """Write a version's uncertainties anew, by sample; what it has not predicted is passed over."""
        _predictions.set_uncertainties(self._db, model_version, values, measure)

    def record_failures(
        self, failures: Sequence[Failure], project: int | None = None, model_version: str | None = None
    ) -> None:
        """Write failures, over an earlier one of the same stage, subject, project and version.

        ``model_version`` says that this version cannot predict the subject (a sample id).
        """
        _predictions.record_failures(self._db, failures, project, model_version)

    def failures(self, project: int | None = None) -> list[Failure]:
        """Failures of a project, or all (also those of no project), oldest first."""
        return _predictions.list_failures(self._db, project)

    def clear_failures(self, stage: str, subjects: Sequence[str]) -> None:
        """Forget failures that are overcome, whatever their project or version."""
        _predictions.clear_failures(self._db, stage, subjects)

    # Annotations

    def save_annotations(self, annotations: Sequence[Annotation]) -> int:
        """Mirror annotations; how many rows that changed.

        The newer ``updated_at`` wins and an equal one changes nothing, so that events may come
        twice and in any order. A deleted annotation seen again in a state at least as new as the
        known one is live again.
        """
        return _annotations.save(self._db, annotations)

    def delete_annotations(self, project: int, ids: Sequence[int], at: datetime) -> int:
        """Mark annotations as deleted in Label Studio; how many were live."""
        return _annotations.remove(self._db, project, ids, at)

    def annotations(self, project: int, samples: Sequence[str] | None = None) -> list[Annotation]:
        """Live annotations by id, skipped ones among them; all, or those of ``samples``."""
        return _annotations.of_project(self._db, project, samples)

    def stamps(self, project: int) -> dict[int, datetime]:
        """``updated_at`` of each live annotation: what a reconciliation compares."""
        return _annotations.stamps(self._db, project)

    def save_annotators(self, names: Mapping[str, str]) -> None:
        """Write display names by annotator id, over earlier ones."""
        _annotations.save_people(self._db, names)

    def annotators(self) -> dict[str, str]:
        """Display names by annotator id."""
        return _annotations.people(self._db)

    def save_consensus(self, project: int, consensus: Sequence[Consensus]) -> None:
        """Replace what is known of the project: what annotators say together, by sample."""
        _annotations.save_consensus(self._db, project, consensus)

    def consensus(self, project: int) -> dict[str, Consensus]:
        """Consensus by sample."""
        return _annotations.list_consensus(self._db, project)

    # Variants

    def plan_variants(self, variants: Sequence[Variant]) -> int:
        """Note pictures to be made; how many are to be. A known one stays as it is.

        One that failed, or that no job came to make, goes over to the job that wants it now.
        """
        return _variants.plan(self._db, variants)

    def save_variants(self, variants: Sequence[Variant]) -> None:
        """Write what became of variants, over what was known of them."""
        _variants.save(self._db, variants)

    def variant(self, id: str) -> Variant:  # noqa: A002
        """The variant whose id begins like this; UnknownRecord where there is none, or more than one."""
        return _variants.one(self._db, id)

    def variants(
        self, project: int, *, job: str | None = None, states: Collection[VariantState] = ()
    ) -> list[Variant]:
        """A project's variants, oldest first; all, or those of a job, or in one of these states."""
        return _variants.of_project(self._db, project, job, states)

    def variants_of(self, project: int, samples: Sequence[str]) -> dict[str, Variant]:
        """By sample, the variant that it is in a project's pool; camera images are left out."""
        return _variants.of_samples(self._db, project, samples)

    def variant_bytes(self) -> int:
        """Bytes that the pictures of all variants take, rejected ones among them."""
        return _variants.size(self._db)

    # Edits

    def record_edits(self, edits: Sequence[Edit]) -> None:
        """Note what is changed in Label Studio, in this order; a repeated call notes it again."""
        _edits.save(self._db, edits)

    def edits(self, project: int, job: str | None = None) -> list[Edit]:
        """What was changed in a project's tasks, oldest first; all, or what one job did."""
        return _edits.of_project(self._db, project, job)

    def mark_undone(self, edits: Sequence[Edit], at: datetime) -> None:
        """Note that what these edits replaced was put back; for those that are undone already, nothing."""
        _edits.undone(self._db, edits, at)

    # Rounds

    def open_round(self, round: Round) -> None:  # noqa: A002
        """Note a round; a known id stays as it is."""
        _rounds.start(self._db, round)

    def close_round(self, id: str, at: datetime, outcome: str) -> None:  # noqa: A002
        """Close a round; one that is closed already stays as it was closed."""
        _rounds.close(self._db, id, at, outcome)

    def rounds(self, project: int) -> list[Round]:
        """The project's rounds by number."""
        return _rounds.of_project(self._db, project)

    def save_decisions(self, decisions: Sequence[Decision]) -> None:
        """Write decisions; the first one for a round and sample stays, as it was acted on."""
        _rounds.save_decisions(self._db, decisions)

    def decisions(self, round_id: str) -> list[Decision]:
        """The round's decisions, in the order in which they were saved."""
        return _rounds.decisions_of(self._db, round_id)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a training set's manifest; its id is its content, so a known id stays as it is."""
        _rounds.save_snapshot(self._db, snapshot)

    def snapshot(self, id: str) -> Snapshot:  # noqa: A002
        """The snapshot; UnknownRecord where there is none."""
        return _rounds.snapshot(self._db, id)

    # States

    def state(self, kind: str, key: str) -> State | None:
        """What was last remembered under these names, or None."""
        return _states.one(self._db, kind, key)

    def change_state(self, kind: str, key: str, how: Callable[[State | None], State]) -> State:
        """Replace a state by what ``how`` makes of it, and answer that; nobody else writes in between.

        ``how`` must not touch the ledger.
        """
        return _states.change(self._db, kind, key, how)

    def states(self, kind: str, prefix: str = "") -> dict[str, State]:
        """All states of a kind whose keys begin with ``prefix``, by key."""
        return _states.every(self._db, kind, prefix)

    def forget_states(self, kind: str, keys: Collection[str]) -> None:
        """Drop states; those that are not there are passed over."""
        _states.forget(self._db, kind, keys)

    # Inbox and progress

    def receive(self, events: Sequence[Event]) -> int:
        """Put webhooks into the inbox; how many are new. A key once seen never comes in again."""
        return _inbox.receive(self._db, events)

    def inbox(self, limit: int) -> list[Event]:
        """At most ``limit`` unfinished events, in order of arrival."""
        return _inbox.waiting(self._db, limit)

    def finish(self, keys: Sequence[str]) -> None:
        """Take handled events out of the inbox; their bodies are dropped, their keys remembered."""
        _inbox.finish(self._db, keys)

    def inbox_size(self) -> int:
        """How many events wait, over all projects."""
        return _inbox.size(self._db)

    def report(self, progress: Progress) -> None:
        """Write how far a job is, over what it said before."""
        _inbox.report(self._db, progress)

    def progress(self) -> list[Progress]:
        """What each job said last, the most recent first."""
        return _inbox.reports(self._db)

    def forget(self, job: str) -> None:
        """Drop a job's progress."""
        _inbox.forget(self._db, job)
