"""The Dockerfile against the tree: what it copies is there, and is enough."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, ROOT, dockerfile, instruction, services


def copied() -> list[str]:
    return [source for rest in instruction("COPY") for source in shlex.split(rest)[:-1]]


def test_everything_copied_is_there_and_sent() -> None:
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").split("\n")
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert set(copied()) == sent
    for source in copied():
        assert (ROOT / source).exists(), source


def test_every_package_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    assert packages <= set(copied())
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= set(copied())


def test_build_arguments_and_extras_exist() -> None:
    arguments = dict(rest.split("=", 1) for rest in instruction("ARG"))
    assert set(services()["thresher"]["build"]["args"]) <= set(arguments)
    assert arguments["TORCH_INDEX"] == ""  # the usual index, unless somebody says otherwise
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(arguments["EXTRAS"].split(",")) <= set(project["optional-dependencies"])
    base = instruction("FROM")[0]
    assert base == "python:3.11-slim"
    assert project["requires-python"] == ">=3.11"


def test_the_program_does_not_run_as_root() -> None:
    steps = dockerfile()
    user = steps.index(("USER", "thresher"))
    assert all(word not in ("RUN", "COPY") for word, _ in steps[user:])
    assert [word for word, _ in steps].index("ENTRYPOINT") > user


@pytest.mark.slow
def test_what_is_copied_makes_a_whole_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            tmp_path,
            source,
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("thresher-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        path.relative_to(ROOT).as_posix()
        for name in copied()
        if (ROOT / name).is_dir()
        for path in (ROOT / name).rglob("*.py")
    }
    assert len(ours) > 50
    assert ours <= inside
