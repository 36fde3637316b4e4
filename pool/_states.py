"""Small states by kind and key: what a part of the service remembers between two of its steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import Connection, delete, select

from pool.database import Database, chunks, hold, upsert
from pool.rows import dump
from pool.tables import states

State = Mapping[str, Any]


def one(db: Database, kind: str, key: str) -> State | None:
    with db.read() as connection:
        return _find(connection, kind, key)


def every(db: Database, kind: str, prefix: str) -> dict[str, State]:
    known = states.c.key.startswith(prefix, autoescape=True)
    query = select(states.c.key, states.c.body).where(states.c.kind == kind, known)
    with db.read() as connection:
        return {key: json.loads(body) for key, body in connection.execute(query.order_by(states.c.key))}


def forget(db: Database, kind: str, keys: Collection[str]) -> None:
    with db.write() as connection:
        for part in chunks(sorted(keys)):
            connection.execute(delete(states).where(states.c.kind == kind, states.c.key.in_(part)))


def change(db: Database, kind: str, key: str, how: Callable[[State | None], State]) -> State:
    with db.write() as connection:
        hold(connection, f"state {kind} {key}")
        after = how(_find(connection, kind, key))
        upsert(connection, states, [{"kind": kind, "key": key, "body": dump(after)}])
        return after


def _find(connection: Connection, kind: str, key: str) -> State | None:
    query = select(states.c.body).where(states.c.kind == kind, states.c.key == key)
    body = connection.scalar(query)
    found: State | None = None if body is None else json.loads(body)
    return found
