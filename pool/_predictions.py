"""Predictions, and the images on which predicting (or anything before it) failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Select, bindparam, delete, exists, select, update

from pool import _signals
from pool.database import Database, Refers, chunks, upsert
from pool.rows import FAILURES, PREDICTIONS, UNCERTAINTY
from pool.schema import Failure, Prediction
from pool.tables import failures, models, predictions, samples, tasks

# A longer transaction would keep webhooks of another process waiting for their turn.
_BATCH = 200


def save(db: Database, records: Sequence[Prediction]) -> None:
    latest = {(each.model_version, each.sample): each for each in records}
    for part in chunks(sorted(latest), _BATCH):
        rows = PREDICTIONS.rows(latest[key] for key in part)
        with db.write(
            Refers(models.c.version, [key[0] for key in part], "model version"),
            Refers(samples.c.id, [key[1] for key in part], "sample"),
        ) as connection:
            upsert(connection, predictions, rows)
            for version in sorted({key[0] for key in part}):
                _signals.save(connection, version, [latest[key] for key in part if key[0] == version])


def of_model(db: Database, version: str, ids: Sequence[str] | None) -> Iterator[Prediction]:
    query = select(*PREDICTIONS.columns(predictions)).where(predictions.c.model_version == version)
    query = query.order_by(predictions.c.sample)
    if ids is None:
        yield from _pages(db, query)
        return
    for part in chunks(sorted(set(ids)), _BATCH):
        with db.read() as connection:
            rows = connection.execute(query.where(predictions.c.sample.in_(part))).all()
        yield from PREDICTIONS.load(rows)


def _pages(db: Database, query: Select[tuple[object, ...]]) -> Iterator[Prediction]:
    """Page by page, a short transaction each: a slow reader must not hold the log open."""
    last = ""
    while True:
        with db.read() as connection:
            rows = connection.execute(query.where(predictions.c.sample > last).limit(_BATCH)).all()
        yield from PREDICTIONS.load(rows)
        if len(rows) < _BATCH:
            return
        last = rows[-1].sample


def unpredicted(db: Database, project: int, version: str) -> list[str]:
    done = exists().where(predictions.c.model_version == version, predictions.c.sample == tasks.c.sample)
    failed = exists().where(failures.c.model_version == version, failures.c.subject == tasks.c.sample)
    query = select(tasks.c.sample).distinct().where(tasks.c.project == project, ~done, ~failed)
    with db.read() as connection:
        return list(connection.scalars(query.order_by(tasks.c.sample)))


def uncertainties(db: Database, project: int, version: str) -> dict[str, float]:
    ours = exists().where(tasks.c.project == project, tasks.c.sample == predictions.c.sample)
    query = select(predictions.c.sample, predictions.c.uncertainty).where(
        predictions.c.model_version == version, predictions.c.uncertainty.is_not(None), ours
    )
    with db.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query.order_by(predictions.c.sample))}


def set_uncertainties(db: Database, version: str, values: Mapping[str, float], measure: str) -> None:
    change = (
        update(predictions)
        .where(predictions.c.model_version == version, predictions.c.sample == bindparam("_sample"))
        .values(uncertainty=bindparam("_value"), measure=measure)
    )
    for part in chunks(sorted(values)):
        rows = [{"_sample": sample, "_value": UNCERTAINTY.write(values[sample])} for sample in part]
        with db.write() as connection:
            connection.execute(change, rows)


def record_failures(
    db: Database, records: Sequence[Failure], project: int | None, version: str | None
) -> None:
    where = {"project": project or 0, "model_version": version or ""}
    latest = {(each.stage, each.subject): FAILURES.row(each) | where for each in records}
    with db.write() as connection:
        for part in chunks(sorted(latest)):
            upsert(connection, failures, [latest[key] for key in part])


def list_failures(db: Database, project: int | None) -> list[Failure]:
    query = select(*FAILURES.columns(failures)).order_by(
        failures.c.at, failures.c.stage, failures.c.subject
    )
    if project is not None:
        query = query.where(failures.c.project == project)
    with db.read() as connection:
        return FAILURES.load(connection.execute(query))


def clear_failures(db: Database, stage: str, subjects: Sequence[str]) -> None:
    with db.write() as connection:
        for part in chunks(sorted(set(subjects))):
            connection.execute(
                delete(failures).where(failures.c.stage == stage, failures.c.subject.in_(part))
            )
