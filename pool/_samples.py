"""Samples, and their places in Label Studio projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, update

from pool.database import Database, Refers, add, chunks
from pool.rows import PHASH, SAMPLES, TASKS
from pool.schema import BadInput, Sample, Task, UnknownRecord
from pool.tables import annotations as answers
from pool.tables import decisions, projects, rounds, samples, tasks


def save(db: Database, records: Sequence[Sample]) -> list[bool]:
    rows = {sample.id: SAMPLES.row(sample) for sample in reversed(records)}
    fresh: set[str] = set()
    with db.write() as connection:
        for part in chunks(sorted(rows)):
            fresh.update(add(connection, samples, [rows[name] for name in part], samples.c.id))
    new = []
    for sample in records:
        new.append(sample.id in fresh)
        fresh.discard(sample.id)
    return new


def one(db: Database, sample: str) -> Sample:
    found = many(db, [sample])
    if sample not in found:
        raise UnknownRecord(f"The pool holds no sample {sample}; add its image first.")
    return found[sample]


def many(db: Database, ids: Sequence[str] | None) -> dict[str, Sample]:
    query = select(*SAMPLES.columns(samples)).order_by(samples.c.id)
    with db.read() as connection:
        if ids is None:
            found = SAMPLES.load(connection.execute(query))
        else:
            found = []
            for part in chunks(sorted(set(ids))):
                found += SAMPLES.load(connection.execute(query.where(samples.c.id.in_(part))))
    return {sample.id: sample for sample in found}


def by_original(db: Database, sha: str) -> Sample | None:
    query = (
        select(*SAMPLES.columns(samples)).where(samples.c.original == sha).order_by(samples.c.id).limit(1)
    )
    with db.read() as connection:
        found = SAMPLES.load(connection.execute(query))
    return found[0] if found else None


def phashes(db: Database) -> tuple[list[str], NDArray[np.uint64]]:
    query = select(samples.c.id, samples.c.phash).order_by(samples.c.id)
    with db.read() as connection:
        rows = connection.execute(query).all()
    signed = np.array([row[1] for row in rows], dtype=np.int64)
    return [row[0] for row in rows], signed.view(np.uint64)


def bind(db: Database, records: Sequence[Task]) -> int:
    for task in records:
        if task.overlap < 1:
            raise BadInput("overlap", "at least 1", task.overlap)
    rows = {(task.project, task.id): TASKS.row(task) for task in records}
    ordered = [rows[key] for key in sorted(rows)]
    with db.write(
        Refers(projects.c.id, [task.project for task in records], "project"),
        Refers(samples.c.id, [task.sample for task in records], "sample"),
    ) as connection:
        new = 0
        for part in chunks(ordered):
            new += len(add(connection, tasks, part, tasks.c.id))
            connection.execute(_moved(), [{f"_{name}": row[name] for name in _PLACE} for row in part])
    return new


_PLACE = ("project", "id", "sample", "uri")


def _moved() -> Any:
    sample: Any = bindparam("_sample")
    uri: Any = bindparam("_uri")
    return (
        update(tasks)
        .where(tasks.c.project == bindparam("_project"), tasks.c.id == bindparam("_id"))
        .where(or_(tasks.c.sample != sample, tasks.c.uri != uri))
        .values(sample=sample, uri=uri)
    )


def of_project(db: Database, project: int) -> list[Task]:
    query = select(*TASKS.columns(tasks)).where(tasks.c.project == project).order_by(tasks.c.id)
    with db.read() as connection:
        return TASKS.load(connection.execute(query))


def tasks_of(db: Database, project: int, ids: Sequence[str]) -> list[Task]:
    query = select(*TASKS.columns(tasks)).where(tasks.c.project == project)
    found: list[Task] = []
    with db.read() as connection:
        for part in chunks(sorted(set(ids))):
            found += TASKS.load(connection.execute(query.where(tasks.c.sample.in_(part))))
    return sorted(found, key=lambda task: task.id)


class Waiting(NamedTuple):
    """An image that wants an answer perhaps: is it holdout, how many people answered, how it looks.

    ``parent`` is the sample that it was made from, None for a camera image.
    """

    holdout: bool
    people: int
    phash: int
    parent: str | None = None


def waiting(db: Database, project: int) -> dict[str, Waiting]:
    live = and_(
        answers.c.project == project,
        answers.c.sample == tasks.c.sample,
        answers.c.deleted_at.is_(None),
    )
    open_round = exists().where(
        decisions.c.sample == tasks.c.sample,
        decisions.c.round == rounds.c.id,
        rounds.c.project == project,
        rounds.c.closed_at.is_(None),
    )
    people = func.count(answers.c.annotator.distinct())
    query = (
        select(tasks.c.sample, samples.c.holdout, people, samples.c.phash, samples.c.parent)
        .join(samples, samples.c.id == tasks.c.sample)
        .outerjoin(answers, live)
        .where(tasks.c.project == project, ~open_round)
        .group_by(tasks.c.sample, samples.c.holdout, samples.c.phash, samples.c.parent)
        .order_by(tasks.c.sample)
    )
    with db.read() as connection:
        return {
            row[0]: Waiting(bool(row[1]), row[2], PHASH.read(row[3]), row[4])
            for row in connection.execute(query)
        }


def mark_asked(db: Database, project: int, overlaps: Mapping[int, int]) -> None:
    for overlap in overlaps.values():
        if overlap < 1:
            raise BadInput("overlap", "at least 1", overlap)
    if not overlaps:
        return
    # One order for everybody: two processes that mark the same tasks then cannot deadlock.
    rows = [{"_id": task, "_overlap": overlaps[task]} for task in sorted(overlaps)]
    mark = (
        update(tasks)
        .where(tasks.c.project == project, tasks.c.id == bindparam("_id"))
        .values(asked=True, overlap=bindparam("_overlap"))
    )
    with db.write() as connection:
        connection.execute(mark, rows)


def clear_asked(db: Database, project: int, ids: Sequence[int]) -> None:
    with db.write() as connection:
        for part in chunks(sorted(set(ids))):
            of_part = (tasks.c.project == project, tasks.c.id.in_(part))
            connection.execute(update(tasks).where(*of_part).values(asked=False))


def mark_pushed(db: Database, project: int, ids: Sequence[int], version: str) -> None:
    with db.write() as connection:
        for part in chunks(sorted(set(ids))):
            of_part = (tasks.c.project == project, tasks.c.id.in_(part))
            connection.execute(update(tasks).where(*of_part).values(pushed=version))


def drop(db: Database, project: int, ids: Sequence[int]) -> None:
    with db.write() as connection:
        for part in chunks(sorted(set(ids))):
            connection.execute(delete(tasks).where(tasks.c.project == project, tasks.c.id.in_(part)))
