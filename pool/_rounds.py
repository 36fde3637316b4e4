"""Rounds of the loop, what each decided, and the training sets they made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update

from pool.database import Database, Refers, add, chunks, hold
from pool.rows import DECISIONS, ROUNDS, SNAPSHOTS
from pool.schema import Decision, Round, Snapshot, UnknownRecord
from pool.tables import decisions, projects, rounds, samples, snapshots


def start(db: Database, opened: Round) -> None:
    with db.write(Refers(projects.c.id, [opened.project], "project")) as connection:
        add(connection, rounds, [ROUNDS.row(opened)], rounds.c.id)


def close(db: Database, name: str, at: datetime, outcome: str) -> None:
    still_open = update(rounds).where(rounds.c.id == name, rounds.c.closed_at.is_(None))
    with db.write() as connection:
        closed = connection.execute(still_open.values(closed_at=at, outcome=outcome)).rowcount
        if not closed and connection.scalar(select(rounds.c.id).where(rounds.c.id == name)) is None:
            raise UnknownRecord(f"The ledger holds no round {name}; open it first.")


def of_project(db: Database, project: int) -> list[Round]:
    query = select(*ROUNDS.columns(rounds)).where(rounds.c.project == project)
    with db.read() as connection:
        return ROUNDS.load(connection.execute(query.order_by(rounds.c.number, rounds.c.id)))


def save_decisions(db: Database, records: Sequence[Decision]) -> None:
    first = {(each.round, each.sample): each for each in reversed(records)}
    ordered = [first[key] for key in reversed(first)]
    with db.write(
        Refers(rounds.c.id, [each.round for each in records], "round"),
        Refers(samples.c.id, [each.sample for each in records], "sample"),
    ) as connection:
        hold(connection, "decisions")
        ours = decisions.c.round.in_({each.round for each in records})
        start = connection.scalar(select(func.max(decisions.c.position)).where(ours)) or 0
        rows = [
            DECISIONS.row(each) | {"position": place} for place, each in enumerate(ordered, start=start + 1)
        ]
        for part in chunks(rows):
            add(connection, decisions, part, decisions.c.sample)


def decisions_of(db: Database, name: str) -> list[Decision]:
    query = select(*DECISIONS.columns(decisions)).where(decisions.c.round == name)
    with db.read() as connection:
        return DECISIONS.load(connection.execute(query.order_by(decisions.c.position, decisions.c.sample)))


def save_snapshot(db: Database, snapshot: Snapshot) -> None:
    with db.write(Refers(projects.c.id, [snapshot.project], "project")) as connection:
        add(connection, snapshots, [SNAPSHOTS.row(snapshot)], snapshots.c.id)


def snapshot(db: Database, name: str) -> Snapshot:
    query = select(*SNAPSHOTS.columns(snapshots)).where(snapshots.c.id == name)
    with db.read() as connection:
        found = SNAPSHOTS.load(connection.execute(query))
    if not found:
        raise UnknownRecord(f"The ledger holds no snapshot {name}.")
    return found[0]
