from __future__ import annotations

from pathlib import Path

import pytest

from backend.service import check_auth, only_worker
from backend.settings import load
from pool.schema import BadInput, NotReady


def test_a_second_worker_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path)
    with only_worker(settings), pytest.raises(NotReady, match="Another worker"), only_worker(settings):
        pass
    with only_worker(settings):
        pass


def test_half_a_log_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="both set or both empty"):
        check_auth(load(data_dir=tmp_path, basic_user="only"))
