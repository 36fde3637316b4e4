from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from backend import heartbeat
from backend.house import open_house
from backend.service import Keeper, check_auth, only_worker
from backend.settings import load
from pool.schema import BadInput, NotReady
from tests.waiting import until


def test_a_second_worker_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path)
    with only_worker(settings), pytest.raises(NotReady, match="Another worker"), only_worker(settings):
        pass
    with only_worker(settings):
        pass


def test_half_a_log_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="both set or both empty"):
        check_auth(load(data_dir=tmp_path, basic_user="only"))


def test_a_worker_that_dies_is_replaced_and_ends_with_its_keeper(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path)
    keeper = Keeper(settings)
    try:
        first = keeper._process.pid
        with open_house(settings) as house:
            until(lambda: heartbeat.alive(house.pool))
            os.kill(first, signal.SIGKILL)
            until(lambda: keeper._process.pid != first)
            house.pool.forget(heartbeat.NAME)  # the first one's last word
            until(lambda: heartbeat.alive(house.pool))
    finally:
        keeper.close()
    assert keeper._process.poll() is not None
    with only_worker(settings):
        pass
