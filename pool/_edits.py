"""What this service changed in Label Studio, so that anybody can see and undo it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, insert, select, update

from pool.database import Database, Refers, chunks
from pool.rows import EDITS
from pool.schema import Edit
from pool.tables import edits, projects

KEY = ("project", "job", "task", "field", "subject")
"""What tells the edits of one job apart."""


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


def undone(db: Database, records: Sequence[Edit], at: datetime) -> None:
    same = [edits.c[name] == bindparam(f"the_{name}") for name in KEY]
    mark = update(edits).where(*same, edits.c.undone_at.is_(None)).values(undone_at=at)
    with db.write() as connection:
        for part in chunks([{f"the_{name}": getattr(each, name) for name in KEY} for each in records]):
            connection.execute(mark, part)
