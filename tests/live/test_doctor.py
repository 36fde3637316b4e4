from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.demo.server import LabelStudioServer, free_port
from backend.studio.client import Studio
from backend.studio.connect import connect
from backend.studio.doctor import diagnose
from backend.studio.push import push
from backend.studio.symptoms import Finding
from pool.schema import BadImage, Project
from pool.store import Pool
from tests.live.conftest import CONFIG, LABELS, SECRET, Scene
from tests.live.receiver import Receiver

MakeScene = Callable[[int], Scene]
MAP = dict(zip(("bin", "full", "litter"), LABELS, strict=True))


def join(studio: Studio, pool: Pool, number: int, url: str) -> Project:
    project, _ = connect(studio, number, backend_url=url, secret=SECRET, match=lambda labels: MAP)
    pool.save_project(project)
    return project


def wrong(findings: list[Finding]) -> dict[str, str]:
    assert all(each.fix for each in findings if each.state != "ok")
    return {each.check: each.state for each in findings if each.state != "ok"}


@pytest.fixture
def scene(make_scene: MakeScene, receiver: Receiver, studio: Studio) -> Scene:
    """Connected, predicted and pushed: everything as it should be."""
    made = make_scene(3)
    made.project = join(studio, made.pool, made.id, receiver.url)
    made.predict("v1", [0.2, 0.5, 0.8])
    push(studio, made.pool, made.project, "v1")
    return made


def test_a_healthy_project_is_found_healthy_and_left_as_it_was(
    scene: Scene, studio: Studio, receiver: Receiver
) -> None:
    before = studio.project(scene.id), studio.views(scene.id), list(studio.tasks(scene.id))
    fetched: list[tuple[int, str]] = []
    findings = diagnose(
        studio,
        scene.pool,
        scene.project,
        backend_url=receiver.url,
        fetch=lambda *asked: fetched.append(asked),
        heard=lambda: len(receiver.events),
    )
    assert wrong(findings) == {}
    assert {each.check for each in findings} >= {
        "Label Studio",
        "token",
        "labeling config",
        "label map",
        "ML backend",
        "webhook",
        "webhook delivery",
        "queue order",
        "served version",
        "coverage",
        "images",
    }
    assert fetched == [(scene.tasks[0].id, scene.tasks[0].uri)]
    assert (studio.project(scene.id), studio.views(scene.id), list(studio.tasks(scene.id))) == before
    assert next(each.detail for each in findings if each.check == "token").startswith(
        "legacy token of admin@"
    )


def test_what_people_broke_is_found(scene: Scene, studio: Studio, receiver: Receiver) -> None:
    assert scene.project.webhook is not None
    studio.update_webhook(scene.project.webhook, headers={})
    studio.create_webhook(scene.id, "http://127.0.0.1:9/webhook", actions=["TASKS_CREATED"])
    studio.create_backend(scene.id, f"{receiver.url}/other", "second")
    studio.import_tasks(scene.id, [{"image": "/data/upload/1/new.png"}])
    studio.update_project(
        scene.id,
        sampling="Sequential sampling",
        maximum_annotations=2,
        min_annotations_to_start_training=5,
        label_config=CONFIG.replace('<Header value="$why"/>', ""),
    )

    def broken(task: int, uri: str) -> object:
        raise BadImage("it is no picture")

    findings = diagnose(
        studio,
        scene.pool,
        scene.project,
        backend_url=receiver.url,
        fetch=broken,
        heard=lambda: 0,
        patience=0.2,
    )
    assert wrong(findings) == {
        "labeling config": "warning",
        "several ML backends": "warning",
        "webhook": "problem",
        "stale webhooks": "warning",
        "queue order": "warning",
        "annotations per task": "warning",
        "training on submit": "warning",
        "coverage": "problem",
        "new tasks": "warning",
        "webhook delivery": "problem",
        "images": "problem",
    }
    join(studio, scene.pool, scene.id, receiver.url)
    mended = wrong(diagnose(studio, scene.pool, scene.project, backend_url=receiver.url))
    assert mended.keys() == {
        "labeling config",
        "several ML backends",
        "stale webhooks",
        "annotations per task",
        "coverage",
        "new tasks",
    }


def test_hiding_predictions_also_ends_the_order_of_the_queue(
    scene: Scene, studio: Studio, receiver: Receiver
) -> None:
    studio.update_project(scene.id, show_collab_predictions=False)
    findings = diagnose(studio, scene.pool, scene.project, backend_url=receiver.url)
    assert wrong(findings) == {"shown predictions": "warning", "served version": "problem"}
    join(studio, scene.pool, scene.id, receiver.url)
    push(studio, scene.pool, scene.project, "v1")
    assert wrong(diagnose(studio, scene.pool, scene.project, backend_url=receiver.url)) == {}


def test_a_service_that_is_away_is_found(scene: Scene, studio: Studio) -> None:
    findings = diagnose(studio, scene.pool, scene.project, backend_url="http://127.0.0.1:9")
    assert wrong(findings)["ML backend"] == "problem"
    with Receiver() as gone:
        project = join(studio, scene.pool, scene.id, gone.url)
    findings = diagnose(studio, scene.pool, project, backend_url=gone.url)
    found = next(each for each in findings if each.check == "ML backend")
    assert (found.state, "Disconnected" in found.detail) == ("problem", True)


def test_a_title_in_place_of_a_version_is_found(
    make_scene: MakeScene, studio: Studio, receiver: Receiver
) -> None:
    scene = make_scene(2)
    project = join(studio, scene.pool, scene.id, receiver.url)
    scene.predict("v1", [0.1, 0.2])
    assert studio.project(scene.id)["model_version"] == "thresher"
    findings = diagnose(studio, scene.pool, project, backend_url=receiver.url)
    assert wrong(findings) == {"served version": "problem"}
    push(studio, scene.pool, project, "v1")
    assert wrong(diagnose(studio, scene.pool, project, backend_url=receiver.url)) == {}


def test_a_wrong_token_a_wrong_project_and_a_silent_server_are_told_apart(
    server: LabelStudioServer, scene: Scene, studio: Studio
) -> None:
    with Studio(server.url, "0" * 40) as stranger:
        findings = diagnose(stranger, scene.pool, scene.project, backend_url="http://127.0.0.1:9")
    assert wrong(findings) == {"token": "problem"}
    with Studio(server.url, server.personal_token()) as personal:
        findings = diagnose(personal, scene.pool, None, backend_url="http://127.0.0.1:9")
    assert [(each.check, each.state) for each in findings] == [("Label Studio", "ok"), ("token", "ok")]
    assert findings[1].detail.startswith("personal access token")
    unknown = Project(10**6, "x", "label", "image", "image", LABELS, {}, SECRET)
    assert wrong(diagnose(studio, scene.pool, unknown, backend_url="http://127.0.0.1:9")) == {
        "project": "problem"
    }
    with Studio("http://127.0.0.1:9", server.admin.token) as silent:
        findings = diagnose(silent, scene.pool, scene.project, backend_url="http://127.0.0.1:9")
    assert wrong(findings) == {"Label Studio": "problem"}


@pytest.fixture(scope="module")
def guarded(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """Label Studio as it comes, but with the half of its address protection off that guards backends."""
    settings = {
        "USE_DEFAULT_BANNED_SUBNETS": "true",
        "USER_ADDITIONAL_BANNED_SUBNETS": "",
        "ML_BLOCK_LOCAL_IP": "false",
    }
    folder = tmp_path_factory.mktemp("guarded")
    with LabelStudioServer(folder, free_port(), template, settings) as running:
        yield running


def test_a_webhook_that_label_studio_may_not_send_is_found(
    guarded: LabelStudioServer, pool: Pool, receiver: Receiver
) -> None:
    """The half-open door: the backend looks connected, and no event ever comes."""
    with Studio(guarded.url, guarded.admin.token) as studio:
        number = int(studio.create_project("half open", CONFIG)["id"])
        project, steps = connect(
            studio, number, backend_url=receiver.url, secret=SECRET, match=lambda labels: MAP
        )
        pool.save_project(project)
        states = {step.what: step.state for step in steps}
        assert (states["webhook"], states["ML backend"]) == ("blocked", "made")
        assert project.ml_backend is not None
        findings = diagnose(studio, pool, project, backend_url=receiver.url)
        found = {each.check: each for each in findings}
        assert found["ML backend"].state == "ok"
        assert found["webhook"].state == "problem"
        assert "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS=false" in found["webhook"].fix

    # A webhook from before the protection was on is the silent case: it is there, and never sent.
    port = guarded.port
    guarded.stop()
    with (
        LabelStudioServer(guarded.folder, port) as opened,
        Studio(opened.url, opened.admin.token) as studio,
    ):
        project, _ = connect(
            studio, number, backend_url=receiver.url, secret=SECRET, match=lambda labels: MAP
        )
        assert project.webhook is not None
    guarded.start()
    with Studio(guarded.url, guarded.admin.token) as studio:
        receiver.events.clear()
        studio.update_project(number, description="nobody hears this")
        assert receiver.wait(lambda _: True, 1.5) is None
        found = {e.check: e for e in diagnose(studio, pool, project, backend_url=receiver.url)}
        assert found["webhook"].state == "ok"
        assert found["webhook address"].state == "problem"
        assert "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS=false" in found["webhook address"].fix
