from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.studio import hooks, symptoms
from backend.studio.symptoms import Finding, Seen
from pool.schema import ModelVersion, Project

URL = "http://service:9090"
CONFIG = (
    '<View><Header value="$why"/><Image name="image" value="$image"/>'
    '<RectangleLabels name="label" toName="image">'
    '<Label value="bin"/><Label value="垃圾"/></RectangleLabels></View>'
)
PROJECT = Project(4, "streets", "label", "image", "image", ("bin", "垃圾"), {"can": "bin"}, "s3cret")
CHAMPION = ModelVersion(
    "v2", 4, "v2.pt", "sha", ("can", "垃圾"), datetime(2026, 1, 1, tzinfo=UTC), "champion"
)
NOW: dict[str, Any] = {
    "label_config": CONFIG,
    "model_version": "v2",
    "task_number": 3,
    "sampling": "Uncertainty sampling",
    "maximum_annotations": 1,
    "min_annotations_to_start_training": 0,
    "show_collab_predictions": True,
}
BACKEND: dict[str, Any] = {"id": 1, "url": URL, "title": "thresher", "state": "CO", "error_message": None}
HEALTHY = Seen(
    project=PROJECT,
    now=NOW,
    hooks=[{"id": 1, **hooks.wanted(URL, PROJECT.secret)}],
    backends=[BACKEND],
    counts={"v2": 3, "by hand": 1},
    held={1: [11], 2: [12], 3: [13]},
    champion=CHAMPION,
    known_tasks=3,
    backend_url=URL,
)
Check = Callable[[Seen], Iterator[Finding]]


def project(**fields: Any) -> Seen:
    return replace(HEALTHY, now={**NOW, **fields})


def hook(**fields: Any) -> Seen:
    return replace(HEALTHY, hooks=[{**HEALTHY.hooks[0], **fields}])


def backend(**fields: Any) -> Seen:
    return replace(HEALTHY, backends=[{**BACKEND, **fields}])


def test_a_healthy_project_has_nothing_wrong() -> None:
    findings = [each for check in symptoms.CHECKS for each in check(HEALTHY)]
    assert [each for each in findings if each.state != "ok" or each.fix] == []
    assert len({each.check for each in findings}) == len(findings)


OTHER = {**BACKEND, "id": 2, "url": "http://elsewhere:9090", "title": "other"}
STALE = {"id": 9, "url": "http://gone:9090/webhook", "is_active": True, "headers": {}, "actions": []}


@pytest.mark.parametrize(
    ("check", "seen", "name", "state", "words"),
    [
        (symptoms.config, project(label_config="<View>"), "labeling config", "problem", "XML"),
        (symptoms.config, project(label_config="<View></View>"), "labeling config", "problem", "box"),
        (
            symptoms.config,
            project(
                label_config=CONFIG.replace(
                    '<Label value="垃圾"/>', '<Label value="垃圾"/><Label value="cat"/>'
                )
            ),
            "labeling config",
            "problem",
            "bin, 垃圾, cat",
        ),
        (
            symptoms.config,
            project(label_config=CONFIG.replace("$image", "$photo")),
            "labeling config",
            "problem",
            "changed",
        ),
        (
            symptoms.config,
            project(label_config=CONFIG.replace('<Header value="$why"/>', "")),
            "labeling config",
            "warning",
            "do not see why",
        ),
        (symptoms.config, replace(HEALTHY, champion=None), "label map", "problem", "no model"),
        (
            symptoms.config,
            replace(HEALTHY, champion=replace(CHAMPION, classes=("person", "car"))),
            "label map",
            "problem",
            "person, car",
        ),
        (
            symptoms.config,
            replace(HEALTHY, champion=replace(CHAMPION, classes=("can",))),
            "label map",
            "warning",
            "垃圾",
        ),
        (symptoms.backend, replace(HEALTHY, backends=[]), "ML backend", "problem", "no entry"),
        (symptoms.backend, replace(HEALTHY, backends=[OTHER]), "ML backend", "problem", "elsewhere"),
        (symptoms.backend, backend(state="DI"), "ML backend", "problem", "DI"),
        (
            symptoms.backend,
            backend(state="ER", readable_state="Error", error_message="no model"),
            "ML backend",
            "problem",
            "no model",
        ),
        (
            symptoms.backend,
            replace(HEALTHY, backends=[OTHER, BACKEND]),
            "several ML backends",
            "warning",
            "other at",
        ),
        (symptoms.webhook, replace(HEALTHY, hooks=[]), "webhook", "problem", "polling"),
        (symptoms.webhook, hook(is_active=False), "webhook", "problem", "switched off"),
        (symptoms.webhook, hook(headers={}), "webhook", "problem", "X-Thresher-Secret is missing"),
        (symptoms.webhook, hook(headers={"X-Thresher-Secret": "old"}), "webhook", "problem", "another one"),
        (symptoms.webhook, hook(actions=[]), "webhook", "problem", "ANNOTATION_CREATED"),
        (symptoms.webhook, hook(send_payload=False), "webhook", "problem", "no content"),
        (
            symptoms.webhook,
            replace(HEALTHY, hooks=[*HEALTHY.hooks, {**HEALTHY.hooks[0], "id": 2}]),
            "double webhooks",
            "warning",
            "2 active",
        ),
        (
            symptoms.webhook,
            replace(HEALTHY, hooks=[*HEALTHY.hooks, STALE]),
            "stale webhooks",
            "warning",
            "http://gone:9090/webhook",
        ),
        (symptoms.queue, project(sampling="Uniform sampling"), "queue order", "warning", "Uniform"),
        (symptoms.queue, project(maximum_annotations=3), "annotations per task", "warning", "at random"),
        (
            symptoms.queue,
            project(min_annotations_to_start_training=1),
            "training on submit",
            "warning",
            "skips",
        ),
        (
            symptoms.queue,
            project(show_collab_predictions=False),
            "shown predictions",
            "warning",
            "do not see",
        ),
        (symptoms.served, project(model_version="thresher"), "served version", "problem", "title"),
        (symptoms.served, project(model_version=None), "served version", "problem", "score column empty"),
        (
            symptoms.served,
            replace(project(model_version="v1"), counts={"v1": 3, "v2": 1}),
            "served version",
            "warning",
            "champion is v2",
        ),
        (symptoms.served, replace(HEALTHY, held={1: [11]}), "coverage", "problem", "2 of 3"),
        (
            symptoms.served,
            replace(HEALTHY, held={1: [11, 14], 2: [12], 3: [13]}),
            "double predictions",
            "warning",
            "1 tasks",
        ),
        (symptoms.served, replace(HEALTHY, known_tasks=1), "new tasks", "warning", "2 tasks"),
    ],
)
def test_each_symptom_is_named_once_with_a_way_out(
    check: Check, seen: Seen, name: str, state: str, words: str
) -> None:
    [found] = [each for each in check(seen) if each.check == name]
    assert found.state == state
    assert words in found.detail
    assert len(found.fix) > 20
    assert PROJECT.secret not in found.detail + found.fix


def test_an_empty_project_is_no_problem() -> None:
    seen = replace(project(task_number=0, model_version=None), held={}, known_tasks=0)
    assert [each.state for each in symptoms.served(seen)] == ["ok"]


def test_webhooks_of_people_and_of_other_backends_are_left_alone() -> None:
    people = {"id": 5, "url": "http://tracker:80/label-studio", "is_active": True, "headers": {}}
    others = {"id": 6, "url": "http://elsewhere:9090/webhook", "is_active": True, "headers": {}}
    silent = {**STALE, "is_active": False}
    seen = replace(HEALTHY, hooks=[*HEALTHY.hooks, people, others, silent], backends=[BACKEND, OTHER])
    assert {each.state for each in symptoms.webhook(seen)} == {"ok"}
