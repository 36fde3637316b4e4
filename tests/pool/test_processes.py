"""Several processes and threads at one ledger, some of them killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from pool.schema import Event
from pool.store import Pool
from tests.pool.player import annotation, prediction
from tests.pool.postgres import Server
from tests.pool.records import make_model, make_project, make_sample, settle

Player = subprocess.Popen[str]


@contextmanager
def player(url: str, *play: object) -> Iterator[Player]:
    """Another process, waiting to be told to go; killed at the end if it still runs."""
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("player.py")), url]
    process = subprocess.Popen(
        [*command, *map(str, play)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def players(url: str, plays: list[tuple[object, ...]]) -> Iterator[list[Player]]:
    """Several processes, all ready, then all told to go."""
    with ExitStack() as stack:
        processes = [stack.enter_context(player(url, *play)) for play in plays]
        for process in processes:
            hear(process, "ready")
        for process in processes:
            go(process)
        yield processes


def go(process: Player) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: Player, word: str) -> None:
    assert process.stdout is not None
    heard = process.stdout.readline().strip()
    assert heard == word, process.communicate()


def end(process: Player) -> str:
    """Wait for the process; its last line."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip().rpartition("\n")[2]


def test_processes_that_open_a_new_ledger_at_once_all_succeed(empty_url: str) -> None:
    with players(empty_url, [("open",)] * 3) as processes:
        assert [end(process) for process in processes] == ["0", "0", "0"]


def test_two_senders_share_one_inbox(pool: Pool, ledger_url: str) -> None:
    with players(ledger_url, [("receive", name, 40, 30) for name in ("x", "y")]) as processes:
        new = [int(end(process)) for process in processes]
    assert sum(new) == 40 + 40 + 30
    keys = [event.key for event in pool.inbox(1000)]
    assert len(keys) == len(set(keys)) == 110
    for name in ("x", "y", "common"):
        own = [key for key in keys if key.startswith(name)]
        assert own == sorted(own)


def test_senders_of_the_same_events_in_opposite_orders_do_not_block_each_other(
    pool: Pool, ledger_url: str
) -> None:
    with players(ledger_url, [("crossing", 30, 1), ("crossing", 30, -1)]) as processes:
        assert sum(int(end(process)) for process in processes) == 30 * 100
    assert pool.inbox_size() == 30 * 100


def test_annotations_from_two_senders_in_any_order_end_at_the_newest(pool: Pool, ledger_url: str) -> None:
    pool.save_project(make_project())
    pool.add_samples([make_sample("0")])
    with players(ledger_url, [("annotate", 1), ("annotate", 2)]) as processes:
        for process in processes:
            end(process)
    assert pool.annotations(1) == [annotation(number, 49) for number in range(40)]


def test_promotions_that_race_leave_one_champion(pool: Pool, ledger_url: str) -> None:
    pool.save_project(make_project())
    versions = ("v1", "v2")
    for version in versions:
        pool.add_model(make_model(version))
    with players(ledger_url, [("promote", version, 40) for version in versions]) as processes:
        seen = []
        while any(process.poll() is None for process in processes):
            seen.append([model.state for model in pool.models(1)].count("champion"))
        for process in processes:
            end(process)
    assert sorted(model.state for model in pool.models(1)) == ["champion", "retired"]
    # Before the first promotion there may be none; never are there two.
    assert set(seen) <= {0, 1}


def test_a_writer_killed_in_the_middle_leaves_nothing_behind(pool: Pool, ledger_url: str) -> None:
    with players(ledger_url, [("half-a-write",)]) as (process,):
        hear(process, "half")
        assert pool.inbox_size() == 0
        process.kill()
        process.wait()
        assert pool.receive([Event("mine", 1, "A", {})]) == 1
    assert [event.key for event in pool.inbox(10)] == ["mine"]


def test_an_opener_killed_in_the_middle_leaves_a_ledger_to_open(empty_url: str) -> None:
    with players(empty_url, [("half-a-migration",)]) as (process,):
        hear(process, "half")
        process.kill()
        process.wait()
    with Pool.open(empty_url) as pool:
        assert pool.projects() == []


def test_killed_again_and_again_while_writing(pool: Pool, ledger_url: str, backend: str) -> None:
    pool.save_project(make_project())
    pool.add_model(make_model("v1"))
    pool.add_samples([make_sample(str(i)) for i in range(30)])
    for wait in (0.0, 0.013, 0.04):
        with players(ledger_url, [("predict", 30, 10_000)]) as (process,):
            hear(process, "0")
            time.sleep(wait)
            process.kill()
            process.wait()
        found = list(pool.predictions("v1"))
        assert len(found) == 30
        for each in found:
            assert each.measure is not None
            assert each == prediction(int(_number(each.sample)), int(each.measure))
    if backend == "sqlite":
        with pool._db.read() as connection:
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []


def _number(sample: str) -> str:
    return next(str(i) for i in range(30) if make_sample(str(i)).id == sample)


def test_a_forked_child_has_connections_of_its_own(pool: Pool, ledger_url: str) -> None:
    with players(ledger_url, [("fork",)]) as (process,):
        assert json.loads(end(process)) == [51, 0, 102]
    assert pool.inbox_size() == 102


def test_reading_never_waits_for_a_writer(pool: Pool, ledger_url: str) -> None:
    pool.receive([Event("seen", 1, "A", {})])
    with players(ledger_url, [("half-a-write",)]) as (process,):
        hear(process, "half")
        began = time.monotonic()
        assert [event.key for event in pool.inbox(10)] == ["seen"]
        assert time.monotonic() - began < 5


def test_a_server_that_dropped_its_connections_is_found_again(server: Server) -> None:
    with Pool.open(server.make("dropped", template="migrated")) as pool:
        pool.receive([Event("before", 1, "A", {})])
        server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'dropped'")
        assert pool.receive([Event("after", 1, "A", {})]) == 1
        assert [event.key for event in pool.inbox(5)] == ["before", "after"]


def test_threads_share_an_open_ledger(pool: Pool) -> None:
    samples = settle(pool, "abcdefgh")
    barrier = threading.Barrier(8)

    def work(number: int) -> int:
        barrier.wait()
        new = 0
        for i in range(15):
            new += pool.receive([Event(f"{number}-{i}", 1, "A", {}), Event(f"common-{i}", 1, "A", {})])
            pool.mark_asked(1, {number + 1: i + 1})
            assert pool.samples([samples[number].id]).keys() == {samples[number].id}
        return new

    with ThreadPoolExecutor(8) as workers:
        assert sum(workers.map(work, range(8))) == 8 * 15 + 15
    assert pool.inbox_size() == 8 * 15 + 15
    assert [(task.asked, task.overlap) for task in pool.tasks(1)] == [(True, 15)] * 8


@pytest.mark.slow
def test_many_processes_open_a_new_ledger_at_once(empty_url: str) -> None:
    with players(empty_url, [("open",)] * 12) as processes:
        assert [end(process) for process in processes] == ["0"] * 12
