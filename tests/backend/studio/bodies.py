"""What Label Studio 1.23.2 really sent and answered, kept under tests/fixtures/labelstudio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "fixtures" / "labelstudio"


def sent(endpoint: str) -> list[tuple[str, dict[str, Any]]]:
    """Bodies to ``setup``, ``predict`` or ``webhook`` with the name of each."""
    lines = (FOLDER / f"{endpoint}.jsonl").read_text(encoding="utf-8").splitlines()
    return [(found["name"], found["body"]) for found in map(json.loads, lines)]


def named(endpoint: str, part: str) -> dict[str, Any]:
    """The first body whose name contains ``part``."""
    return next(body for name, body in sent(endpoint) if part in name)


def rest(call: str) -> Any:
    """The answer to a call of the REST API."""
    return json.loads((FOLDER / "rest.json").read_text(encoding="utf-8"))[call]
