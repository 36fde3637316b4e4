"""Model versions and which one of them is a project's champion."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select, update

from pool.database import Database, Refers, insert
from pool.rows import MAPPING, MODELS
from pool.schema import BadInput, ModelVersion, UnknownRecord
from pool.tables import models, projects


def add(db: Database, model: ModelVersion) -> None:
    with db.write(Refers(projects.c.id, [model.project], "project")) as connection:
        _hold(connection, model.project)
        known = _find(connection, model.version)
        if known is None:
            if model.state == "champion" and _champion(connection, model.project):
                raise BadInput(
                    "state",
                    "candidate where the project has a champion",
                    model.state,
                    "Add it, then promote it.",
                )
            connection.execute(insert(connection, models), [MODELS.row(model)])
        elif (known.sha256, known.project) != (model.sha256, model.project):
            raise BadInput(
                "version",
                f"new: {model.version} already names other weights (sha256 {known.sha256[:12]})",
                model.sha256[:12],
                "Give the new weights their own version, so that Label Studio predicts anew.",
            )


def one(db: Database, version: str) -> ModelVersion:
    with db.read() as connection:
        return _known(connection, version)


def of_project(db: Database, project: int) -> list[ModelVersion]:
    query = select(*MODELS.columns(models)).where(models.c.project == project)
    with db.read() as connection:
        return MODELS.load(connection.execute(query.order_by(models.c.created_at, models.c.version)))


def champion(db: Database, project: int) -> ModelVersion | None:
    with db.read() as connection:
        return _champion(connection, project)


def promote(db: Database, version: str, note: str | None) -> None:
    with db.write() as connection:
        model = _known(connection, version)
        _hold(connection, model.project)
        rivals = update(models).where(
            models.c.project == model.project, models.c.state == "champion", models.c.version != version
        )
        connection.execute(rivals.values(state="retired"))
        said = {} if note is None else {"note": note}
        connection.execute(
            update(models).where(models.c.version == version).values(state="champion", **said)
        )


def refuse(db: Database, version: str, note: str) -> None:
    with db.write() as connection:
        model = _known(connection, version)
        _hold(connection, model.project)
        if _known(connection, version).state == "champion":
            raise BadInput(
                "version",
                "a model that is not the champion",
                version,
                "Promote another one, which retires it.",
            )
        connection.execute(
            update(models).where(models.c.version == version).values(state="refused", note=note)
        )


def set_metrics(db: Database, version: str, metrics: Mapping[str, float]) -> None:
    change = update(models).where(models.c.version == version).values(metrics=MAPPING.write(metrics))
    with db.write() as connection:
        if connection.execute(change).rowcount == 0:
            raise _unknown(version)


def _hold(connection: Connection, project: int) -> None:
    """Let one process at a time change the states of a project's models.

    PostgreSQL would otherwise let two promotions pass each other; SQLite has one writer anyway and
    leaves FOR UPDATE out.
    """
    connection.execute(select(projects.c.id).where(projects.c.id == project).with_for_update())


def _find(connection: Connection, version: str) -> ModelVersion | None:
    query = select(*MODELS.columns(models)).where(models.c.version == version)
    found = MODELS.load(connection.execute(query))
    return found[0] if found else None


def _known(connection: Connection, version: str) -> ModelVersion:
    model = _find(connection, version)
    if model is None:
        raise _unknown(version)
    return model


def _champion(connection: Connection, project: int) -> ModelVersion | None:
    query = select(*MODELS.columns(models)).where(models.c.project == project, models.c.state == "champion")
    found = MODELS.load(connection.execute(query))
    return found[0] if found else None


def _unknown(version: str) -> UnknownRecord:
    return UnknownRecord(f"The ledger holds no model version {version}; add it first.")
