"""The real Label Studio of the live tests, for a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.conftest import server, template, titles

__all__ = ["server", "template", "titles"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
