"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(what: Callable[[], object], patience: float = 60) -> None:
    """Return once ``what`` is true; fail after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
