"""The connection to the ledger's database: SQLite file or PostgreSQL, one way to write on both.

Several processes use a ledger at once: the web process writes events while a worker writes
predictions. On SQLite a write transaction therefore begins with BEGIN IMMEDIATE: it waits for its
turn at the start, where waiting is safe, instead of failing half-way when a reader turns writer.
Readers never wait (write-ahead log).
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Column, Connection, Engine, Table, create_engine, event, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, StatementError
from sqlalchemy.sql import ColumnElement

from pool.rows import Row
from pool.schema import BadInput, ThresherError, UnknownRecord

BUSY_SECONDS = 30.0
"""How long a write waits for other processes before it gives up."""

CHUNK = 500
"""Values in one IN list; SQLite allows 32,766 parameters and PostgreSQL 65,535."""

_WRITE = "thresher_write"
_FIRST_PAUSE, _LAST_PAUSE = 0.0005, 0.004


@dataclass(frozen=True)
class Refers:
    """What a write points at, so that a dangling reference can be named."""

    column: Column[Any]
    values: Iterable[Any]
    noun: str


class Database:
    """One engine and its two kinds of transaction; safe for threads."""

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.where = parsed.render_as_string(hide_password=True)
        self._sqlite = parsed.get_backend_name() == "sqlite"
        self._gate = threading.Lock()
        self._owner = os.getpid()
        self._engine = _sqlite_engine(parsed) if self._sqlite else _postgres_engine(parsed)
        self._writer = self._engine.execution_options(**{_WRITE: True})

    def close(self) -> None:
        """Close every connection of this process."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; it sees one state from its first query on."""
        self._after_fork()
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *refers: Refers) -> Iterator[Connection]:
        """A transaction that writes: all or nothing, committed when the block ends.

        ``refers`` lists what the rows point at; where one is missing, UnknownRecord names it.
        Threads of this process queue at a lock, so that they do not poll SQLite's.
        """
        self._after_fork()
        try:
            with self._translated(), self._turn(), self._writer.begin() as connection:
                yield connection
        except IntegrityError as error:
            self._explain(refers)
            # PostgreSQL adds the whole row to its message, a project's secret with it: leave that out.
            raise ThresherError(f"The ledger refuses a record: {_first_line(error)}") from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._sqlite:
            yield
            return
        with self._gate:
            yield

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what a person can act on into a sentence: refused values, a database away or locked."""
        try:
            yield
        except DBAPIError as error:
            if self._sqlite and "locked" in str(error.orig):
                raise ThresherError(
                    f"The ledger {self.where} stayed locked for {BUSY_SECONDS:g} s: "
                    "another process holds it. Look for a stuck worker or an open sqlite3 shell."
                ) from error
            if error.connection_invalidated or error.statement is None:
                raise ThresherError(
                    f"The ledger {self.where} cannot be reached: {_first_line(error)} "
                    "Check its address, that the folder is writable and that the server runs."
                ) from error
            raise
        except StatementError as error:
            if isinstance(error.orig, ThresherError):
                raise error.orig from None
            raise

    def _explain(self, refers: Sequence[Refers]) -> None:
        with self.read() as connection:
            for refer in refers:
                known: set[Any] = set()
                wanted = sorted(set(refer.values))
                for part in chunks(wanted):
                    known.update(connection.scalars(select(refer.column).where(refer.column.in_(part))))
                missing = [value for value in wanted if value not in known]
                if missing:
                    shown = ", ".join(str(value) for value in missing[:3])
                    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                    raise UnknownRecord(
                        f"The ledger holds no {refer.noun} {shown}{more}. Save it before what points at it."
                    ) from None

    def _after_fork(self) -> None:
        """Leave the parent's connections alone in a forked child: they are the parent's."""
        if os.getpid() != self._owner:
            self._gate = threading.Lock()
            self._owner = os.getpid()
            self._engine.dispose(close=False)


def chunks(values: Sequence[Any], size: int = CHUNK) -> Iterator[Sequence[Any]]:
    """Slices of at most ``size`` values, in order."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def hold(connection: Connection, what: str) -> None:
    """Let one transaction at a time past this point, until it ends; on SQLite all writes are so.

    PostgreSQL runs writers side by side: two that insert the same keys in different orders would
    each wait for the other.
    """
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(f"thresher {what}".encode()).digest()[:8], "big", signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT in the connection's own dialect."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def add(connection: Connection, table: Table, rows: Sequence[Row], key: Column[Any]) -> list[Any]:
    """Insert what is not there yet; ``key`` of each row that is new."""
    if not rows:
        return []
    statement = insert(connection, table).on_conflict_do_nothing().returning(key)
    return list(connection.scalars(statement, rows))


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    where: ColumnElement[bool] | None = None,
) -> None:
    """Insert rows, or write their columns over the row of the same primary key.

    Rows must not repeat a key: PostgreSQL refuses to touch one row twice in a statement.
    """
    if not rows:
        return
    statement = insert(connection, table)
    keys = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=changes, where=where), rows
    )


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # What cannot be parsed may still hold a password before its last "@".
        raise _bad_url(url.rpartition("@")[2]) from error
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    backend = parsed.get_backend_name()
    if backend not in {"sqlite", "postgresql"}:
        raise _bad_url(parsed.render_as_string(hide_password=True))
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise BadInput(
            "ledger URL", "a file that several processes can open", url, "Give sqlite:///path/to/ledger.db."
        )
    return parsed


def _bad_url(shown: str) -> BadInput:
    return BadInput(
        "ledger URL",
        "an address of SQLite or PostgreSQL",
        shown,
        "Examples: sqlite:///data/ledger.db, postgresql://user:password@host/thresher.",
    )


def _sqlite_engine(url: URL) -> Engine:
    assert url.database is not None
    path = Path(url.database).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # The ledger holds the webhooks' secrets; SQLite gives its side files the same mode.
            path.touch(mode=0o600)
    except OSError as error:
        raise ThresherError(f"The ledger {path} cannot be made: {error.strerror}.") from error
    engine = create_engine(
        url.set(database=str(path)),
        connect_args={"timeout": BUSY_SECONDS},
        hide_parameters=True,
        max_overflow=64,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(dbapi: Any, record: object) -> None:
    # The driver must not open transactions by itself; _begin_sqlite chooses their kind.
    dbapi.isolation_level = None
    try:
        _to_wal(dbapi)
        dbapi.execute("PRAGMA synchronous=NORMAL")
        dbapi.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        dbapi.close()
        raise


def _to_wal(dbapi: Any) -> None:
    """Switch to the write-ahead log, patiently.

    SQLite answers "locked" at once, without its busy timeout, when two processes switch the same
    new file at the same moment.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            dbapi.execute("PRAGMA journal_mode=WAL")
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get(_WRITE, False):
        _begin_immediate(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    """Take the one write lock, asking every few milliseconds.

    SQLite's own waiting backs off to 100 ms between tries; another process that writes batch after
    batch then leaves gaps that a waiting webhook sleeps through.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    pause = _FIRST_PAUSE
    connection.exec_driver_sql("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")


def _postgres_engine(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True, hide_parameters=True, max_overflow=64)
    except ModuleNotFoundError as error:
        raise ThresherError(
            f"A PostgreSQL ledger needs the driver {error.name}: pip install 'thresher[postgres]'."
        ) from error


def _first_line(error: DBAPIError) -> str:
    text = str(error.orig).strip().splitlines()
    return text[0].rstrip(".") + "." if text else "no reason given."
