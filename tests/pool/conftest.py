"""One suite, two databases: every test that asks for a ledger runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pool.store import Pool
from tests.pool import postgres

BACKENDS = ("sqlite", "postgresql")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    with postgres.running() as running:
        Pool.open(running.make("migrated")).close()
        yield running


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "migrated.db"
    Pool.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database that nobody has opened yet."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'ledger.db'}"
        return
    server: postgres.Server = request.getfixturevalue("server")
    name = f"empty{next(_numbers)}"
    yield server.make(name)
    server.drop(name)


@pytest.fixture
def ledger_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a ledger with its tables and nothing in them."""
    if backend == "sqlite":
        path = tmp_path / "ledger.db"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        yield f"sqlite:///{path}"
        return
    server: postgres.Server = request.getfixturevalue("server")
    name = f"ledger{next(_numbers)}"
    yield server.make(name, template="migrated")
    server.drop(name)


@pytest.fixture
def pool(ledger_url: str) -> Iterator[Pool]:
    with Pool.open(ledger_url) as opened:
        yield opened


@pytest.fixture
def reopen(ledger_url: str) -> Iterator[Callable[[], Pool]]:
    """Open the same ledger again, as another process would."""
    opened: list[Pool] = []

    def again() -> Pool:
        opened.append(Pool.open(ledger_url))
        return opened[-1]

    yield again
    for each in opened:
        each.close()
