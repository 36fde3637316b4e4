"""The durable inbox of webhooks, and how far running jobs are."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, not_, select, update

from pool.database import Database, add, chunks, hold, upsert
from pool.rows import EVENTS, PROGRESS
from pool.schema import Event, Progress
from pool.tables import events, progress


def receive(db: Database, records: Sequence[Event]) -> int:
    rows = [EVENTS.row(each) | {"finished": False} for each in records]
    if not rows:
        return 0
    with db.write() as connection:
        hold(connection, "inbox")
        return sum(len(add(connection, events, part, events.c.key)) for part in chunks(rows))


def waiting(db: Database, limit: int) -> list[Event]:
    query = (
        select(*EVENTS.columns(events)).where(not_(events.c.finished)).order_by(events.c.seq).limit(limit)
    )
    with db.read() as connection:
        return EVENTS.load(connection.execute(query))


def finish(db: Database, keys: Sequence[str]) -> None:
    with db.write() as connection:
        for part in chunks(sorted(set(keys))):
            done = update(events).where(events.c.key.in_(part)).values(finished=True, body=None)
            connection.execute(done)


def size(db: Database) -> int:
    with db.read() as connection:
        return connection.scalar(select(func.count()).where(not_(events.c.finished))) or 0


def report(db: Database, record: Progress) -> None:
    with db.write() as connection:
        upsert(connection, progress, [PROGRESS.row(record)])


def reports(db: Database) -> list[Progress]:
    query = select(*PROGRESS.columns(progress)).order_by(progress.c.at.desc(), progress.c.job)
    with db.read() as connection:
        return PROGRESS.load(connection.execute(query))


def forget(db: Database, job: str) -> None:
    with db.write() as connection:
        connection.execute(delete(progress).where(progress.c.job == job))
