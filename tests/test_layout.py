"""The house stands as it is drawn: rooms, names, and what each command may load."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("pool", "sampler", "consensus", "generator", "backend")
HEAVY = ("torch", "ultralytics", "diffusers", "sklearn", "ray", "label_studio_sdk", "dbos", "scipy")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_belongs_to_this_distribution_only(room: str) -> None:
    owners = packages_distributions()[room]
    assert set(owners) == {"thresher"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_typed_and_its_front_door_is_empty(room: str) -> None:
    assert (ROOT / room / "py.typed").exists()
    body = ast.parse((ROOT / room / "__init__.py").read_text()).body
    assert all(isinstance(line, ast.Expr) for line in body)  # a docstring at most


def test_setuptools_lists_every_package_that_there_is() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    fronts = (p for room in ROOMS for p in (ROOT / room).rglob("__init__.py"))
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in fronts}
    assert listed == found


def test_nobody_but_settings_reads_the_environment() -> None:
    readers = {
        p.relative_to(ROOT).as_posix()
        for room in ROOMS
        for p in (ROOT / room).rglob("*.py")
        if "os.environ" in p.read_text() or "os.getenv" in p.read_text()
    }
    assert readers == {"backend/settings.py"}


@pytest.mark.parametrize("words", [["--help"], ["add", "--help"], ["status"], ["audit", "--json"]])
def test_light_commands_load_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['thresher', *sys.argv[1:]]\n"
        "from backend.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    loaded = run.stderr.rsplit("LOADED ", 1)[1].strip()
    allowed = "['dbos']" if words == ["status"] else "[]"
    assert loaded in ("[]", allowed), run.stderr
