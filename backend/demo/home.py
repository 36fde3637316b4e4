"""The demo's folder: what it holds, the settings its processes share, and the people who work in it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backend.demo.people import PEOPLE
from backend.demo.server import LabelStudioServer, write_private
from backend.settings import Settings
from backend.settings import load as load_settings
from pool.schema import NotReady


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
    raw: dict[str, Any] = json.loads(path.read_text())
    return Home(**{**raw, "people": tuple(Person(**p) for p in raw["people"])})


def settings(folder: Path, server: LabelStudioServer, port: int) -> Settings:
    """The settings of the demo's own service: everything inside its folder, sized for two cores."""
    return load_settings(
        data_dir=folder / "data",
        studio_url=server.url,
        api_key=server.admin.token,
        backend_url=f"http://127.0.0.1:{port}",
        port=port,
        imgsz=320,
        # Label Studio, the API and the worker share two cores here: a second thread would only wait for them.
        threads=1,
        ask_size=40,
        holdout_share=0.12,
        epochs=15,
        log_level="WARNING",
    )


def sign_up(server: LabelStudioServer, known: tuple[Person, ...]) -> tuple[Person, ...]:
    """The simulated annotators as users of Label Studio; those already known are kept."""
    by_name = {p.name: p for p in known}
    out = []
    for habit in PEOPLE:
        person = by_name.get(habit.name)
        if person is None:
            email, password = f"{habit.name.lower()}@example.com", secrets.token_urlsafe(9)
            person = Person(habit.name, email, password, server.add_user(email, password, habit.name))
        out.append(person)
    return tuple(out)
