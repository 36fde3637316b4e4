"""Every variable that deploy/ names is read by somebody; every default it shows is the one that holds."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from backend import settings
from tests.deploy.files import (
    DEPLOY,
    REFERENCE,
    SECRETS,
    compose,
    env_file,
    environment,
    image_environment,
    services,
    strings,
)

S3 = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}


@pytest.mark.parametrize("service", ["thresher", "worker"])
def test_every_variable_handed_to_thresher_is_read(service: str) -> None:
    named = set(services()[service]["environment"])
    assert named - S3 <= set(settings.variables())


def test_the_image_sets_only_variables_that_somebody_reads() -> None:
    python = {"PYTHONUNBUFFERED", "PIP_NO_CACHE_DIR", "PIP_DISABLE_PIP_VERSION_CHECK"}
    assert set(image_environment()) - python <= set(settings.variables())


def test_thresher_understands_what_it_is_handed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in settings.variables():
        monkeypatch.delenv(name, raising=False)
    for name, value in (image_environment() | environment("thresher")).items():
        monkeypatch.setenv(name, value)
    got = settings.load()
    assert got.studio_url == "http://label-studio:8080"
    assert got.public_url == "http://thresher:9090"
    assert (got.host, got.port, got.data_dir) == ("0.0.0.0", 9090, Path("/data"))
    assert (
        got.ledger_url == got.jobs_url == f"postgresql+psycopg://thresher:{'0' * 40}@postgres:5432/thresher"
    )
    assert (got.basic_user, bool(got.basic_pass), bool(got.api_key)) == ("thresher", True, True)
    assert got.model_dir.is_relative_to("/data")
    assert got.weights == settings.Settings.model_fields["weights"].default


def test_the_example_shows_the_defaults_that_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in settings.variables():
        monkeypatch.delenv(name, raising=False)
    plain = settings.load()
    _, shown = env_file(DEPLOY / "env.example")
    ours = {name: value for name, value in shown.items() if name in settings.variables()}
    ours.pop("LABEL_STUDIO_HOST")  # here Label Studio's own setting: its address in browsers
    assert len(ours) > 10
    for name, value in ours.items():
        if value:
            monkeypatch.setenv(name, value)
        field = settings.variables()[name]
        assert getattr(settings.load(), field) == getattr(plain, field), name
        assert value or getattr(plain, field) in (None, "", ()), f"{name} has a default to show"


def test_the_example_names_every_variable_and_no_other() -> None:
    given, shown = env_file(DEPLOY / "env.example")
    wanted = {
        m["name"]
        for name in ("compose.yaml", "compose.gpu.yaml")
        for text in strings(compose(name))
        for m in REFERENCE.finditer(text)
    }
    wanted |= {
        name
        for service in services().values()
        for name, value in service["environment"].items()
        if value is None
    }
    assert wanted == set(given) | set(shown)


def test_secrets_are_asked_for_and_never_defaulted() -> None:
    given, shown = env_file(DEPLOY / "env.example")
    assert given == dict.fromkeys(SECRETS, "")
    required = {
        m["name"] for text in strings(compose()) for m in REFERENCE.finditer(text) if m["kind"] == ":?"
    }
    assert required == set(SECRETS)
    for name in SECRETS:
        others = {k: v for k, v in SECRETS.items() if k != name}
        with pytest.raises(KeyError, match=name):
            [environment(service, others) for service in services()]
    defaults = {
        m["name"]: m["text"]
        for text in strings(compose())
        for m in REFERENCE.finditer(text)
        if m["kind"] == ":-"
    }
    assert defaults == {name: shown[name] for name in defaults}


def test_the_command_of_the_readme_fills_in_every_secret(tmp_path: Path) -> None:
    readme = (DEPLOY / "README.md").read_text("utf-8")
    block = re.search(r"```bash\n(cp env\.example.*?)docker compose", readme, re.DOTALL)
    assert block is not None
    shutil.copy(DEPLOY / "env.example", tmp_path)
    subprocess.run(["bash", "-euc", block[1]], cwd=tmp_path, check=True)
    given, _ = env_file(tmp_path / ".env")
    assert set(given) == set(SECRETS)
    assert all(re.fullmatch("[0-9a-f]{40}", value) for value in given.values())
    assert len(set(given.values())) == len(given)
