"""Opening: from nothing, from the present, from the future, from a wrong address."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import inspect, text

from pool.database import Database, _to_wal
from pool.migrate import migrate
from pool.migrations import HEAD, VERSION_TABLE
from pool.schema import BadInput, ThresherError
from pool.store import Pool
from pool.tables import metadata
from tests.pool.records import make_model, make_prediction, make_project, make_sample, sha


def test_a_new_ledger_gets_all_tables_and_keeps_its_content(empty_url: str) -> None:
    with Pool.open(empty_url) as pool:
        pool.save_project(make_project())
        with pool._db.read() as connection:
            names = set(inspect(connection).get_table_names())
    assert names == {*metadata.tables, VERSION_TABLE}
    with Pool.open(empty_url) as pool:
        assert pool.projects() == [make_project()]


def test_the_steps_make_exactly_the_tables_that_the_code_speaks_of(ledger_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    db = Database(ledger_url)
    with db.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": VERSION_TABLE}
        )
        assert compare_metadata(context, metadata) == []
    db.close()


def test_head_is_the_last_step() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    import pool.migrations

    config = Config()
    config.set_main_option("script_location", str(Path(pool.migrations.__file__).parent))
    steps = ScriptDirectory.from_config(config)
    assert steps.get_heads() == [HEAD]
    assert [step.revision for step in steps.walk_revisions()][-1] == "0001"


def test_every_step_can_be_undone(ledger_url: str) -> None:
    from alembic import command
    from alembic.config import Config

    import pool.migrations

    config = Config()
    config.set_main_option("script_location", str(Path(pool.migrations.__file__).parent))
    db = Database(ledger_url)
    with db.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == [VERSION_TABLE]
    migrate(db)
    with db.read() as connection:
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, VERSION_TABLE}
    db.close()


def test_alembic_is_not_loaded_when_the_tables_are_current(ledger_url: str) -> None:
    code = (
        "import sys; from pool.store import Pool; Pool.open(sys.argv[1]).close(); "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "print(sorted(loaded & {'alembic', 'mako', 'torch', 'PIL'}))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, ledger_url], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_ledger_of_a_newer_release_is_left_alone(ledger_url: str) -> None:
    db = Database(ledger_url)
    with db.write() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(ThresherError, match=r"newer thresher \(tables 9999"):
        Pool.open(ledger_url)
    with db.read() as connection:
        assert connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")) == "9999"
    db.close()


def test_sqlite_is_set_up_for_several_processes(tmp_path: Path) -> None:
    with Pool.open(f"sqlite:///{tmp_path}/deep/er/ledger.db") as pool, pool._db.read() as connection:
        pragmas = {
            name: connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30_000}


def test_switching_to_the_log_waits_for_another_process(tmp_path: Path) -> None:
    """SQLite's own patience does not cover the switch, so none is given to it here."""
    other = sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    mine = sqlite3.connect(tmp_path / "new.db", isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        mine.execute("PRAGMA journal_mode=WAL")
    later = threading.Timer(0.2, other.execute, ["ROLLBACK"])
    later.start()
    _to_wal(mine)
    assert mine.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    later.join()
    for each in (mine, other):
        each.close()


@pytest.mark.parametrize(
    "url", ["", "ledger.db", "mysql://u:geheim@host/db", "sqlite://", "sqlite:///:memory:", "http://x"]
)
def test_addresses_that_cannot_be_a_ledger(url: str) -> None:
    with pytest.raises(BadInput, match="ledger URL") as caught:
        Pool.open(url)
    assert "geheim" not in str(caught.value)


def test_a_server_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(ThresherError, match="cannot be reached") as caught:
        Pool.open("postgresql://user:geheim@127.0.0.1:1/ledger")
    assert "127.0.0.1" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_both_spellings_of_postgresql_use_the_same_driver() -> None:
    for url in ("postgres://u@h/db", "postgresql://u@h/db", "postgresql+psycopg://u@h/db"):
        assert Database(url).where == "postgresql+psycopg://u@h/db"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("this is not a database, it is a text of some length " * 40)
    with pytest.raises(ThresherError, match=r"notes\.db"):
        Pool.open(f"sqlite:///{path}")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ThresherError, match=r"file.* cannot be made"):
        Pool.open(f"sqlite:///{tmp_path}/file/ledger.db")


def test_only_its_owner_reads_a_ledger(tmp_path: Path) -> None:
    """It holds the secrets of the webhooks."""
    with Pool.open(f"sqlite:///{tmp_path}/ledger.db") as pool:
        pool.save_project(make_project())
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("ledger.db*")} == {0o600}


def test_errors_do_not_show_what_was_written(ledger_url: str) -> None:
    broken = replace(make_project(secret=sha("secret")), title=None)  # type: ignore[arg-type]
    with (
        Pool.open(ledger_url) as pool,
        pytest.raises(ThresherError, match=r"refuses a record: .*title") as got,
    ):
        pool.save_project(broken)
    assert sha("secret") not in "".join(traceback.format_exception(got.value))


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ThresherError, match=r"psycopg: pip install 'thresher\[postgres\]'"):
        Pool.open("postgresql://host/ledger")


def test_a_ledger_locked_by_a_stranger_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pool.database.BUSY_SECONDS", 0.2)
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Pool.open(url) as pool:
        stranger = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(ThresherError, match="stayed locked"):
            pool.save_project(make_project())
        assert pool.projects() == []
        stranger.execute("ROLLBACK")
        stranger.close()
        pool.save_project(make_project())
        assert pool.projects() == [make_project()]


def test_what_was_known_of_images_survives_both_ways(ledger_url: str) -> None:
    from alembic import command
    from alembic.config import Config

    import pool.migrations

    config = Config()
    config.set_main_option("script_location", str(Path(pool.migrations.__file__).parent))
    db = Database(ledger_url)
    with Pool.open(ledger_url) as ledger:
        ledger.save_project(make_project())
        ledger.add_samples([make_sample(name) for name in "abc"])
        ledger.add_model(make_model("v1"))
        full = make_prediction(make_sample("a"), "v1")
        boxes = len(full.regions)
        ledger.save_predictions(
            [
                replace(
                    full,
                    probs=np.arange(boxes * len(full.classes)).reshape(boxes, -1).astype(np.float16),
                    embedding=np.arange(5, dtype=np.float16),
                ),
                replace(full, sample=sha("b"), probs=None, embedding=None),
                replace(full, sample=sha("c"), regions=(), probs=None, embedding=np.ones(5, np.float16)),
            ]
        )
        before = _by_sample(ledger)
    with db.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        rows = connection.execute(text("SELECT embedding, probs FROM predictions ORDER BY sample")).all()
        assert sum(row.embedding is not None for row in rows) == 2
        assert sum(row.probs is not None for row in rows) == 1
    migrate(db)
    db.close()
    with Pool.open(ledger_url) as ledger:
        assert _by_sample(ledger) == before


def _by_sample(ledger: Pool) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for block in ledger.signals("v1", columns=("embedding", "probs")):
        for i, sample in enumerate(block.samples):
            one = block.of(np.array([i]))
            columns = (one.background, one.score, one.kind, one.embedding, one.probs)
            found[sample] = [None if each is None else each.tolist() for each in columns]
    return found
