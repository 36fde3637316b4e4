"""Projects, and the figures of one project."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Select, and_, func, not_, select

from pool.database import Database, upsert
from pool.rows import PROJECTS
from pool.schema import Project, UnknownRecord
from pool.tables import annotations, events, failures, models, predictions, projects, rounds, samples, tasks


def save(db: Database, project: Project) -> None:
    with db.write() as connection:
        upsert(connection, projects, [PROJECTS.row(project)])


LARGEST = 2**63 - 1
"""Of the ids that a database can hold."""


def one(db: Database, project: int) -> Project:
    query = select(*PROJECTS.columns(projects)).where(projects.c.id == project)
    found: list[Project] = []
    if abs(project) <= LARGEST:
        with db.read() as connection:
            found = PROJECTS.load(connection.execute(query))
    if not found:
        raise UnknownRecord(f"Project {project} is not connected; connect it first.")
    return found[0]


def every(db: Database) -> list[Project]:
    with db.read() as connection:
        return PROJECTS.load(
            connection.execute(select(*PROJECTS.columns(projects)).order_by(projects.c.id))
        )


def counts(db: Database, project: int) -> Mapping[str, int]:
    queries = _counts(project)
    with db.read() as connection:
        row = connection.execute(select(*(query.scalar_subquery() for query in queries.values()))).one()
    return dict(zip(queries, row, strict=True))


def _counts(project: int) -> dict[str, Select[int]]:
    ours = tasks.c.project == project
    in_tasks = select(func.count(tasks.c.sample.distinct())).where(ours)
    live = and_(annotations.c.project == project, annotations.c.deleted_at.is_(None))
    said = and_(live, not_(annotations.c.skipped))
    champion = and_(models.c.project == project, models.c.state == "champion")
    return {
        "samples": in_tasks,
        "holdout": in_tasks.join(samples, samples.c.id == tasks.c.sample).where(samples.c.holdout),
        "tasks": _count(ours),
        "asked": _count(and_(ours, tasks.c.asked)),
        "predicted": in_tasks.join(predictions, predictions.c.sample == tasks.c.sample)
        .join(models, models.c.version == predictions.c.model_version)
        .where(champion),
        "annotations": _count(said),
        "skipped": _count(and_(live, annotations.c.skipped)),
        "labelled": select(func.count(annotations.c.sample.distinct())).where(said),
        "failures": _count(failures.c.project == project),
        "inbox": _count(and_(events.c.project == project, not_(events.c.finished))),
        "rounds": _count(rounds.c.project == project),
        "models": _count(models.c.project == project),
    }


def _count(condition: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).where(condition)
