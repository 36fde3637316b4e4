"""Bring a ledger's tables to the present, safely when several processes open it at once."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from pool.database import Database, hold
from pool.migrations import HEAD, VERSION_TABLE
from pool.schema import ThresherError

log = logging.getLogger("thresher.pool")


def migrate(db: Database) -> None:
    """Create or upgrade the tables; nothing to do, and Alembic not loaded, when they are current.

    One transaction does it all, so that a process killed in the middle leaves the ledger as it was,
    and processes that open a new ledger together wait for the first of them.
    """
    with db.read() as connection:
        if _version(connection) == HEAD:
            return
    with db.write() as connection:
        hold(connection, "migration")
        version = _version(connection)
        if version != HEAD:
            _upgrade(db, connection, version)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    return version


def _upgrade(db: Database, connection: Connection, version: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise ThresherError(
            f"The ledger {db.where} was written by a newer thresher (tables {version}, this one knows "
            f"up to {HEAD}). Upgrade thresher, or open another ledger."
        )
    command.upgrade(config, HEAD)
    log.info("ledger %s brought from %s to %s", db.where, version or "nothing", HEAD)
