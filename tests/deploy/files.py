"""Readers of the files of deploy/: Compose, env files, the Dockerfile."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:-|:\?)(?P<text>[^}]*))?\}")

Service = dict[str, Any]


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / name).read_text("utf-8")))


def services() -> dict[str, Service]:
    return dict(compose()["services"])


def strings(value: object) -> Iterator[str]:
    """Every text inside a parsed YAML value, keys left out."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(part)


def env_file(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What an env file sets, and what its commented lines show as defaults."""
    given: dict[str, str] = {}
    shown: dict[str, str] = {}
    for line in path.read_text("utf-8").splitlines():
        if match := re.fullmatch(r"(#?)([A-Z][A-Z0-9_]*)=(.*)", line):
            target = shown if match[1] else given
            assert match[2] not in given | shown, f"{match[2]} stands twice"
            target[match[2]] = match[3]
        else:
            assert not line or line.startswith("# "), f"unreadable line: {line}"
    return given, shown


def interpolated(text: str, env: Mapping[str, str]) -> str:
    """As Compose fills in ${NAME}, ${NAME:-default} and ${NAME:?message}."""

    def value(match: re.Match[str]) -> str:
        found = env.get(match["name"], "")
        if not found and match["kind"] == ":?":
            raise KeyError(match["name"])
        return found or (match["text"] or "" if match["kind"] == ":-" else "")

    return REFERENCE.sub(value, text)


SECRETS = dict.fromkeys(
    ["POSTGRES_PASSWORD", "LABEL_STUDIO_PASSWORD", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_PASS"], "0" * 40
)


def environment(service: str, env: Mapping[str, str] = SECRETS) -> dict[str, str]:
    """What a container of the service finds in its environment, besides its image's own."""
    out: dict[str, str] = {}
    for name, value in services()[service]["environment"].items():
        if value is not None:
            out[name] = interpolated(value, env)
        elif name in env:
            out[name] = env[name]
    return out


def dockerfile() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def instruction(word: str) -> list[str]:
    return [rest for found, rest in dockerfile() if found == word]


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in instruction("ENV") for pair in shlex.split(rest))
