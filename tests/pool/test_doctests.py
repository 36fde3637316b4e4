"""The examples in the docstrings, run."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from pool import boxes, phash, split


@pytest.mark.parametrize("module", [boxes, phash, split])
def test_examples(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
