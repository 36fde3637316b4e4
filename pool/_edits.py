"""What this service changed in Label Studio, so that anybody can see and undo it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select, update

from pool.database import Database, Refers, chunks
from pool.rows import EDITS
from pool.schema import Edit
from pool.tables import edits, projects


def save(db: Database, records: Sequence[Edit]) -> None:
    with db.write(Refers(projects.c.id, [each.project for each in records], "project")) as connection:
        for part in chunks(EDITS.rows(records)):
            connection.execute(insert(edits), part)


def of_project(db: Database, project: int, job: str | None) -> list[Edit]:
    query = select(*EDITS.columns(edits)).where(edits.c.project == project).order_by(edits.c.seq)
    if job is not None:
        query = query.where(edits.c.job == job)
    with db.read() as connection:
        return EDITS.load(connection.execute(query))


def undone(db: Database, project: int, job: str, tasks: Sequence[int], at: datetime) -> None:
    with db.write() as connection:
        for part in chunks(sorted(set(tasks))):
            ours = (edits.c.project == project) & (edits.c.job == job) & edits.c.undone_at.is_(None)
            connection.execute(update(edits).where(ours, edits.c.task.in_(part)).values(undone_at=at))
