"""The demo's folder: what it holds, the settings its processes share, and the people who work in it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from backend.demo.people import PEOPLE
from backend.demo.server import LabelStudioServer, write_private
from backend.settings import Settings, isolated
from pool.schema import BadInput, NotReady


@dataclass(frozen=True, slots=True)
class Person:
    """A simulated annotator's log-in; ``token`` is a legacy API token."""

    name: str
    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Home:
    """What a demo needs to be started again or worked in: written to ``demo.json``, owner-readable."""

    project: int
    studio_port: int
    port: int
    images: str
    labels: tuple[str, ...]
    weights: str
    drawn: bool
    people: tuple[Person, ...]


def save(folder: Path, home: Home) -> None:
    """Write ``demo.json``."""
    write_private(folder / "demo.json", json.dumps(asdict(home), ensure_ascii=False, indent=2))


def load(folder: Path) -> Home:
    """Read ``demo.json``.

    Raises:
        NotReady: no demo was started in this folder.
    """
    path = folder / "demo.json"
    if not path.exists():
        raise NotReady(f"No demo was started in {folder}: run `make demo` first.")
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        people = tuple(Person(**p) for p in raw["people"])
        return Home(**{**raw, "labels": tuple(raw["labels"]), "people": people})
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(str(path), "what the demo wrote there", str(error), f"Delete {folder}.") from None


def settings(folder: Path, server: LabelStudioServer, port: int, *, drawn: bool) -> Settings:
    """The settings of the demo's own service: everything inside its folder, sized for two cores.

    On ``drawn`` scenes it starts from weights that know them, which a short training is enough for.
    """
    return isolated(
        **({"epochs": 10} if drawn else {}),
        data_dir=folder / "data",
        studio_url=server.url,
        api_key=SecretStr(server.admin.token),
        backend_url=f"http://127.0.0.1:{port}",
        port=port,
        imgsz=320,
        # Label Studio, the API and the worker share two cores: a second thread would wait for them.
        threads=1,
        ask_size=40,
        holdout_share=0.12,
        log_level="WARNING",
    )


def invited() -> tuple[Person, ...]:
    """The simulated annotators before they have an account; written down first, so that an
    interrupted sign-up is gone on with under the same passwords.
    """
    return tuple(
        Person(habit.name, f"{habit.name.lower()}@example.com", secrets.token_urlsafe(9), "")
        for habit in PEOPLE
    )


def sign_up(server: LabelStudioServer, people: tuple[Person, ...]) -> tuple[Person, ...]:
    """The same people as users of Label Studio; signing up twice is no error."""
    return tuple(replace(p, token=p.token or server.add_user(p.email, p.password, p.name)) for p in people)
