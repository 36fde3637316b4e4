"""Bringing a Label Studio project and a model together, and finding out why they do not talk."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from backend import heartbeat, learning
from backend.house import House
from pool.schema import BadInput, Label, Project

if TYPE_CHECKING:
    from backend.studio.connect import Step
    from backend.studio.symptoms import Finding


def connect(
    house: House, project: int, weights: str | None = None, *, cold_start: bool = False
) -> tuple[Project, list[Step]]:
    """Set up a project in Label Studio and give it a first model, unless it has one.

    ``weights`` name what a new project starts from (the settings' default otherwise). With
    ``cold_start`` the first model keeps their backbone and gets a fresh head for the project's labels.

    Raises:
        NoLabelMap: no class of the model means a label of the project; both sides are listed.
        MissingWeights: the weights are not there and cannot be fetched.
        StudioError: Label Studio refuses.
    """
    from backend.detector.labels import match_classes, match_some
    from backend.studio.connect import connect as set_up

    known = {p.id: p for p in house.pool.projects()}.get(project)
    champion = house.pool.champion(project) if known else None
    if champion and (weights or cold_start):
        raise BadInput(
            "connect",
            "without --weights and --cold-start for a project that has a model",
            champion.version,
            "Connect it without them; its model gets better by `thresher round learn`.",
        )
    path = None if champion else house.registry.resolve_path(weights or house.settings.weights)
    classes = champion.classes if champion else _classes(path)

    def match(labels: Sequence[Label]) -> Mapping[str, str]:
        if cold_start or (champion and champion.snapshot):
            # A head made for the labels, or trained on them, speaks them itself; new ones it will learn.
            return {label.value: label.value for label in labels}
        # A project that has a model may get new labels, which the next training teaches, but not only.
        known = match_some(classes, labels)[0] if champion else {}
        return known or match_classes(classes, labels)

    s = house.settings
    secret = s.webhook_secret.get_secret_value() if s.webhook_secret else None
    auth = (s.basic_user, s.basic_pass.get_secret_value()) if s.basic_user and s.basic_pass else None
    connected, steps = set_up(
        house.studio,
        project,
        backend_url=s.public_url,
        secret=secret or (known.secret if known else secrets.token_urlsafe(24)),
        match=match,
        basic_auth=auth,
    )
    house.pool.save_project(connected)
    if path is not None:
        _first_model(house, connected, path, cold_start=cold_start)
    return connected, steps


def diagnose(house: House, wanted: int | None) -> list[Finding]:
    """Every known cause of silence, for one project or for all that are connected."""
    from backend.studio.doctor import diagnose as examine

    pool = house.pool
    connected = [pool.project(wanted)] if wanted is not None else pool.projects()
    projects: Sequence[Project | None] = connected or [None]
    findings: list[Finding] = []
    for project in projects:
        findings += examine(
            house.studio,
            pool,
            project,
            backend_url=house.settings.public_url,
            fetch=house.fetcher.fetch,
            heard=lambda: heartbeat.heard(pool),
        )
    return [*findings, _worker(house)]


def _worker(house: House) -> Finding:
    from backend.studio.symptoms import ok, problem

    if heartbeat.alive(house.pool):
        return ok("worker", "a worker runs the jobs")
    return problem("worker", "no worker runs: jobs and webhooks wait", "Start `thresher worker`.")


def _classes(path: Path | None) -> tuple[str, ...]:
    from backend.detector.weights import class_names

    return class_names(path) if path is not None else ()


def _first_model(house: House, project: Project, path: Path, *, cold_start: bool) -> None:
    from backend.detector.head import cold_start as fresh_head

    with TemporaryDirectory(dir=house.settings.data_dir) as folder:
        if cold_start:
            path = fresh_head(path, project.labels, Path(folder) / f"{path.stem}-cold.pt")
        name, sha256 = house.registry.register(path)
    classes = project.labels if cold_start else _classes(house.registry.path(name))
    note = learning.COLD if cold_start else ""
    learning.first_model(house, project, name, sha256, classes, note)
