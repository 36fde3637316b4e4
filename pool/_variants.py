"""Pictures made from samples: what is planned, what became of it, and where each came from."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, func, select, update

from pool.database import Database, Refers, add, chunks, upsert
from pool.rows import VARIANTS
from pool.schema import IN_POOL, UnknownRecord, Variant, VariantState
from pool.tables import projects, samples, variants


def plan(db: Database, records: Sequence[Variant]) -> int:
    rows = {each.id: VARIANTS.row(each) for each in records}
    again = (
        update(variants)
        .where(variants.c.id == bindparam("_id"), variants.c.state.in_(("planned", "failed")))
        .values(state="planned", job=bindparam("_job"), reason="")
    )
    with db.write(*_refers(records)) as connection:
        new = 0
        for part in chunks(sorted(rows)):
            fresh = set(add(connection, variants, [rows[name] for name in part], variants.c.id))
            new += len(fresh)
            for name in part:
                if name not in fresh:
                    new += connection.execute(again, {"_id": name, "_job": rows[name]["job"]}).rowcount
    return new


def save(db: Database, records: Sequence[Variant]) -> None:
    rows = {each.id: VARIANTS.row(each) for each in records}
    with db.write(*_refers(records)) as connection:
        for part in chunks([rows[name] for name in sorted(rows)]):
            upsert(connection, variants, part)


def one(db: Database, start: str) -> Variant:
    query = select(*VARIANTS.columns(variants)).where(variants.c.id.startswith(start, autoescape=True))
    with db.read() as connection:
        found = VARIANTS.load(connection.execute(query.limit(2))) if start else []
    if len(found) != 1:
        what = "several variants begin" if found else "no variant begins"
        raise UnknownRecord(f"{what.capitalize()} with {start!r}: see `thresher variants list`.")
    return found[0]


def of_project(
    db: Database, project: int, job: str | None, states: Collection[VariantState]
) -> list[Variant]:
    query = select(*VARIANTS.columns(variants)).where(variants.c.project == project)
    if job is not None:
        query = query.where(variants.c.job == job)
    if states:
        query = query.where(variants.c.state.in_(sorted(states)))
    with db.read() as connection:
        return VARIANTS.load(connection.execute(query.order_by(variants.c.created_at, variants.c.id)))


def of_samples(db: Database, project: int, ids: Sequence[str]) -> dict[str, Variant]:
    query = select(*VARIANTS.columns(variants)).where(
        variants.c.project == project, variants.c.state.in_(IN_POOL)
    )
    found: dict[str, Variant] = {}
    with db.read() as connection:
        for part in chunks(sorted(set(ids))):
            rows = connection.execute(query.where(variants.c.sample.in_(part)).order_by(variants.c.id))
            found |= {str(each.sample): each for each in VARIANTS.load(rows)}
    return found


def size(db: Database) -> int:
    with db.read() as connection:
        return int(connection.scalar(select(func.coalesce(func.sum(variants.c.bytes), 0))) or 0)


def _refers(records: Sequence[Variant]) -> tuple[Refers, Refers]:
    return (
        Refers(projects.c.id, [each.project for each in records], "project"),
        Refers(samples.c.id, [each.parent for each in records], "sample"),
    )
