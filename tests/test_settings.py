from __future__ import annotations

from pathlib import Path

import pytest

from backend.settings import Settings, child_environment, env_file, isolated, load, variable, variables
from pool.schema import BadInput


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_names_that_people_know_are_read_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_HOST", "http://host:1")
    assert load().studio_url == "http://host:1"
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://url:2/")
    assert load().studio_url == "http://url:2"
    monkeypatch.setenv("PORT", "9091")
    assert load().public_url == "http://localhost:9091"


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "thresher.env").write_text("PORT=9100\nLABEL_STUDIO_API_KEY=from-file\n")
    monkeypatch.setenv("PORT", "9200")
    settings = load()
    assert settings.port == 9200
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "from-file"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("THRESHER_CONF_FLOOR", "1.5"),
        ("LABEL_STUDIO_URL", "localhost:8080"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput) as caught:
        load()
    assert name in str(caught.value)
    assert value in str(caught.value)


def test_secrets_do_not_show() -> None:
    settings = load(api_key="very-secret", webhook_secret="hush", basic_pass="psst")
    assert not any(word in repr(settings) for word in ("very-secret", "hush", "psst"))


def test_a_written_file_says_the_same(tmp_path: Path) -> None:
    made = isolated(data_dir=tmp_path / "it's a folder #1", api_key="back\\slash 'quoted'", epochs=7)
    (tmp_path / "thresher.env").write_text(env_file(made))
    assert load() == made


def test_a_child_process_sees_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_HOST", "http://stale:1")
    hosts = "a.example, b.example"
    settings = load(studio_url="http://studio:8080", api_key="k", media_hosts=hosts, port=9300)
    for name, value in child_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LABEL_STUDIO_HOST", raising=False)
    assert load() == settings


def test_every_setting_has_a_variable_and_a_description() -> None:
    for field, info in Settings.model_fields.items():
        assert variable(field).isupper(), field
        assert info.description, field


def test_isolated_settings_ignore_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THRESHER_DATABASE_URL", "postgresql://production")
    monkeypatch.setenv("MODEL_DIR", "/production")
    (tmp_path / "thresher.env").write_text("BASIC_AUTH_USER=somebody\n")
    settings = isolated(data_dir=tmp_path, port=9300)
    assert (settings.database_url, settings.model_folder, settings.basic_user) == (None, None, None)
    assert settings.port == 9300
    assert not {"THRESHER_DATABASE_URL", "MODEL_DIR"} & child_environment(settings).keys()
