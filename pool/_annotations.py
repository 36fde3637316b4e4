"""What people said: annotations, the people, and what they say together."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, delete, or_, select, update

from pool.database import Database, Refers, chunks, insert, upsert
from pool.rows import ANNOTATIONS, CONSENSUS
from pool.schema import Annotation, Consensus
from pool.tables import annotations, annotators, consensus, projects, samples


def save(db: Database, records: Sequence[Annotation]) -> int:
    latest: dict[int, Annotation] = {}
    for each in records:
        if each.id not in latest or each.updated_at >= latest[each.id].updated_at:
            latest[each.id] = each
    rows = [ANNOTATIONS.row(latest[key]) | {"deleted_at": None} for key in sorted(latest)]
    if not rows:
        return 0
    with db.write(
        Refers(projects.c.id, [each.project for each in records], "project"),
        Refers(samples.c.id, [each.sample for each in records], "sample"),
    ) as connection:
        statement = insert(connection, annotations)
        given = statement.excluded
        newer = given.updated_at > annotations.c.updated_at
        back = and_(annotations.c.deleted_at.is_not(None), given.updated_at == annotations.c.updated_at)
        newest_wins = statement.on_conflict_do_update(
            index_elements=["id"],
            set_={name: given[name] for name in rows[0] if name != "id"},
            where=or_(newer, back),
        ).returning(annotations.c.id)
        return sum(len(connection.scalars(newest_wins, part).all()) for part in chunks(rows))


def remove(db: Database, project: int, ids: Sequence[int], at: datetime) -> int:
    removed = 0
    with db.write() as connection:
        for part in chunks(sorted(set(ids))):
            live = and_(
                annotations.c.project == project,
                annotations.c.id.in_(part),
                annotations.c.deleted_at.is_(None),
            )
            removed += connection.execute(update(annotations).where(live).values(deleted_at=at)).rowcount
    return removed


def of_project(db: Database, project: int, ids: Sequence[str] | None) -> list[Annotation]:
    query = (
        select(*ANNOTATIONS.columns(annotations))
        .where(annotations.c.project == project, annotations.c.deleted_at.is_(None))
        .order_by(annotations.c.id)
    )
    with db.read() as connection:
        if ids is None:
            return ANNOTATIONS.load(connection.execute(query))
        found: list[Annotation] = []
        for part in chunks(sorted(set(ids))):
            found += ANNOTATIONS.load(connection.execute(query.where(annotations.c.sample.in_(part))))
    return sorted(found, key=lambda each: each.id)


def stamps(db: Database, project: int) -> dict[int, datetime]:
    query = select(annotations.c.id, annotations.c.updated_at).where(
        annotations.c.project == project, annotations.c.deleted_at.is_(None)
    )
    with db.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query.order_by(annotations.c.id))}


def save_people(db: Database, names: Mapping[str, str]) -> None:
    with db.write() as connection:
        upsert(connection, annotators, [{"id": key, "name": names[key]} for key in sorted(names)])


def people(db: Database) -> dict[str, str]:
    with db.read() as connection:
        rows = connection.execute(select(annotators.c.id, annotators.c.name).order_by(annotators.c.id))
        return {row[0]: row[1] for row in rows}


def save_consensus(db: Database, project: int, records: Sequence[Consensus]) -> None:
    latest = {each.sample: CONSENSUS.row(each) | {"project": project} for each in records}
    with db.write(
        Refers(projects.c.id, [project], "project"), Refers(samples.c.id, list(latest), "sample")
    ) as connection:
        connection.execute(delete(consensus).where(consensus.c.project == project))
        for part in chunks(sorted(latest)):
            upsert(connection, consensus, [latest[key] for key in part])


def list_consensus(db: Database, project: int) -> dict[str, Consensus]:
    query = select(*CONSENSUS.columns(consensus)).where(consensus.c.project == project)
    with db.read() as connection:
        found = CONSENSUS.load(connection.execute(query.order_by(consensus.c.sample)))
    return {each.sample: each for each in found}
