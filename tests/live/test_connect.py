from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import pytest

from backend.studio import hooks, tabs
from backend.studio.client import Studio
from backend.studio.connect import Step, connect
from pool.schema import BadInput, Label, NoLabelMap, Project
from tests.live.conftest import LABELS, SECRET, Scene
from tests.live.receiver import Receiver

MakeScene = Callable[[int], Scene]
MAP = {"bin": LABELS[0], "full": LABELS[1]}


def match(labels: Sequence[Label]) -> Mapping[str, str]:
    assert [label.value for label in labels] == list(LABELS)
    return MAP


def join(studio: Studio, project: int, url: str, **more: Any) -> tuple[Project, list[Step]]:
    return connect(studio, project, backend_url=url, secret=SECRET, match=match, **more)


def everything(studio: Studio, project: int) -> dict[str, Any]:
    """All that Label Studio knows of a project; a look at a backend stamps it, so that time is left out."""
    backends = [
        {key: value for key, value in each.items() if key != "updated_at"}
        for each in studio.backends(project)
    ]
    return {
        "project": studio.project(project),
        "webhooks": studio.webhooks(project),
        "views": studio.views(project),
        "tasks": list(studio.tasks(project)),
        "backends": backends,
    }


def shown(studio: Studio, project: int, title: str) -> tuple[int, list[int]]:
    """(status, task ids) of a tab, as the Data Manager asks for it."""
    view = next(view for view in studio.views(project) if tabs.title_of(view) == title)
    answer = httpx.get(
        f"{studio.url}/api/tasks/",
        params={"project": project, "view": view["id"], "fields": "all"},
        headers=studio.headers(),
        timeout=30,
    )
    return answer.status_code, [task["id"] for task in answer.json().get("tasks", [])]


def test_connecting_makes_everything_and_connecting_again_changes_nothing(
    make_scene: MakeScene, studio: Studio, receiver: Receiver
) -> None:
    scene = make_scene(3)
    project, steps = join(studio, scene.id, receiver.url)
    assert {step.what: step.state for step in steps} == {
        "labeling config": "kept",
        "webhook": "made",
        "ML backend": "made",
        "sampling": "changed",
        "show_collab_predictions": "kept",
        "min_annotations_to_start_training": "kept",
        "maximum_annotations": "kept",
        "tab Default": "made",
        "tab Needs a human": "made",
        "tab Auto-accepted": "made",
        "tab Review": "made",
    }
    assert (project.control, project.image_tag, project.image_key) == ("label", "image", "image")
    assert project.labels == LABELS
    assert project.label_map == MAP
    assert SECRET not in repr(project)

    hook, *others = studio.webhooks(scene.id)
    assert not others
    assert hook["id"] == project.webhook
    assert hook["headers"] == {"X-Thresher-Secret": SECRET}
    assert set(hook["actions"]) == set(hooks.ACTIONS)
    assert hook["send_for_all_actions"] is False
    assert hook["is_active"] is True
    backend, *others = studio.backends(scene.id)
    assert not others
    assert (backend["id"], backend["title"], backend["state"]) == (project.ml_backend, "thresher", "CO")
    assert studio.project(scene.id)["sampling"] == "Uncertainty sampling"

    before = everything(studio, scene.id)
    again, steps = join(studio, scene.id, receiver.url + "/")
    assert again == project
    assert {step.state for step in steps} == {"kept"}
    assert everything(studio, scene.id) == before


def test_events_arrive_with_the_secret(make_scene: MakeScene, studio: Studio, receiver: Receiver) -> None:
    scene = make_scene(1)
    join(studio, scene.id, receiver.url)
    receiver.events.clear()
    studio.create_annotation(scene.tasks[0].id, result=[])
    assert receiver.wait(lambda body: body["action"] == "ANNOTATION_CREATED") is not None
    assert [headers.get("X-Thresher-Secret") for headers, _ in receiver.events] == [SECRET]


def test_the_webhook_that_label_studio_made_itself_becomes_ours(
    make_scene: MakeScene, studio: Studio, receiver: Receiver
) -> None:
    scene = make_scene(0)
    made = studio.create_backend(scene.id, receiver.url, "by hand")
    [auto] = studio.webhooks(scene.id)
    assert auto["headers"] == {}
    project, steps = join(studio, scene.id, receiver.url)
    [hook] = studio.webhooks(scene.id)
    assert hook["id"] == auto["id"] == project.webhook
    assert hook["headers"] == {"X-Thresher-Secret": SECRET}
    assert set(hook["actions"]) == set(hooks.ACTIONS)
    assert project.ml_backend == made["id"]
    assert {step.what: step.state for step in steps if step.what in ("webhook", "ML backend")} == {
        "webhook": "changed",
        "ML backend": "kept",
    }
    assert [backend["title"] for backend in studio.backends(scene.id)] == ["by hand"]


def test_a_second_webhook_to_the_same_address_is_switched_off_and_not_removed(
    make_scene: MakeScene, studio: Studio, receiver: Receiver
) -> None:
    scene = make_scene(0)
    join(studio, scene.id, receiver.url)
    extra = studio.create_webhook(scene.id, f"{receiver.url}/webhook/", actions=["TASKS_CREATED"])
    project, _ = join(studio, scene.id, receiver.url)
    states = {hook["id"]: (hook["is_active"], hook["actions"]) for hook in studio.webhooks(scene.id)}
    assert states[extra["id"]] == (False, ["TASKS_CREATED"])
    assert project.webhook is not None
    assert states[project.webhook][0] is True
    receiver.events.clear()
    studio.update_project(scene.id, description="once")
    assert receiver.wait(lambda body: body["action"] == "PROJECT_UPDATED") is not None
    assert len(receiver.events) == 1


def test_what_people_made_stays_and_what_they_broke_is_mended(
    make_scene: MakeScene, studio: Studio, receiver: Receiver
) -> None:
    scene = make_scene(2)
    theirs = studio.create_view(scene.id, {"title": "Review", "type": "list", "target": "tasks"})
    other = studio.create_webhook(scene.id, "http://127.0.0.1:9/elsewhere", actions=["PROJECT_UPDATED"])
    studio.update_project(scene.id, maximum_annotations=2, min_annotations_to_start_training=1)
    project, steps = join(studio, scene.id, receiver.url)
    assert [tabs.title_of(view) for view in studio.views(scene.id)] == [
        "Review",
        "Needs a human",
        "Auto-accepted",
    ]
    assert next(view for view in studio.views(scene.id) if view["id"] == theirs["id"]) == theirs
    assert next(hook for hook in studio.webhooks(scene.id) if hook["id"] == other["id"]) == other
    now = studio.project(scene.id)
    assert (now["maximum_annotations"], now["min_annotations_to_start_training"]) == (2, 0)
    assert "above 1" in next(step.detail for step in steps if step.what == "maximum_annotations")

    assert project.webhook is not None
    studio.update_webhook(
        project.webhook, is_active=False, headers={"X-Own": "1"}, actions=["LABEL_LINK_CREATED"]
    )
    studio.update_project(scene.id, sampling="Sequential sampling", show_collab_predictions=False)
    _, steps = join(studio, scene.id, receiver.url)
    hook = next(hook for hook in studio.webhooks(scene.id) if hook["id"] == project.webhook)
    assert hook["is_active"] is True
    assert hook["headers"] == {"X-Own": "1", "X-Thresher-Secret": SECRET}
    assert set(hook["actions"]) == {*hooks.ACTIONS, "LABEL_LINK_CREATED"}
    assert {step.what for step in steps if step.state == "changed"} == {
        "webhook",
        "sampling",
        "show_collab_predictions",
    }


def test_tabs_of_an_empty_project_open_and_get_their_order_later(
    make_scene: MakeScene, studio: Studio, receiver: Receiver
) -> None:
    scene = make_scene(0)
    join(studio, scene.id, receiver.url)
    assert [shown(studio, scene.id, title) for title in tabs.TITLES] == [(200, [])] * 3
    ids = studio.import_tasks(
        scene.id,
        [
            {"image": "/data/upload/1/x.png", "why": "", "route": r}
            for r in ("human", "double", "auto", "waiting", "human")
        ],
    )
    scores = [0.9, 0.1, 0.95, 0.5, 0.3]
    studio.import_predictions(
        scene.id,
        [
            {"task": t, "result": [], "score": s, "model_version": "v1"}
            for t, s in zip(ids, scores, strict=True)
        ],
    )
    studio.update_project(scene.id, model_version="v1")
    _, steps = join(studio, scene.id, receiver.url)
    assert {step.what for step in steps if step.state == "changed"} == {
        f"tab {title}" for title in tabs.TITLES
    }
    assert shown(studio, scene.id, tabs.NEEDS_HUMAN) == (200, [ids[1], ids[4], ids[0]])
    assert shown(studio, scene.id, tabs.AUTO_ACCEPTED) == (200, [ids[2]])
    studio.create_annotation(ids[4], result=[])
    assert shown(studio, scene.id, tabs.NEEDS_HUMAN) == (200, [ids[1], ids[0]])
    for task, errors in zip(ids, (9.5, 10.25, 0.5, None, None), strict=True):
        if errors is not None:
            data = {**studio.task(task)["data"], "review": "open", "expected_errors": errors}
            studio.patch_task(task, data=data)
    # By the numbers, not by their letters.
    assert shown(studio, scene.id, tabs.REVIEW) == (200, [ids[1], ids[0], ids[2]])


def test_tabs_work_where_tasks_have_no_notes(
    make_scene: MakeScene, studio: Studio, receiver: Receiver
) -> None:
    scene = make_scene(0)
    studio.import_tasks(scene.id, [{"image": "/data/upload/1/x.png"}])
    join(studio, scene.id, receiver.url)
    assert [shown(studio, scene.id, title) for title in tabs.TITLES] == [(200, [])] * 3


def test_a_service_that_is_away_or_unknown_blocks_the_backend_only(
    make_scene: MakeScene, studio: Studio
) -> None:
    scene = make_scene(0)
    project, steps = join(studio, scene.id, "http://127.0.0.1:9")
    step = next(step for step in steps if step.what == "ML backend")
    assert (project.ml_backend, step.state) == (None, "blocked")
    assert "thresher serve" in step.detail
    assert project.webhook is not None
    project, steps = join(studio, scene.id, "http://no-such-host.invalid:9090")
    step = next(step for step in steps if step.what == "ML backend")
    assert (project.ml_backend, step.state) == (None, "blocked")
    assert "THRESHER_BACKEND_URL" in step.detail


def test_a_forbidden_address_says_which_setting_of_label_studio_opens_it(
    make_scene: MakeScene, studio: Studio
) -> None:
    scene = make_scene(0)
    project, steps = join(studio, scene.id, "http://192.168.7.7:9090")
    blocked = {step.what: step.detail for step in steps if step.state == "blocked"}
    assert blocked.keys() == {"webhook", "ML backend"}
    assert all("LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS=false" in detail for detail in blocked.values())
    assert (project.webhook, project.ml_backend) == (None, None)
    assert studio.project(scene.id)["sampling"] == "Uncertainty sampling"


def test_a_guarded_service_is_entered_and_left_again(make_scene: MakeScene, studio: Studio) -> None:
    scene = make_scene(0)
    with Receiver(auth=("me", "pass")) as guarded:
        _, steps = join(studio, scene.id, guarded.url)
        assert next(step.state for step in steps if step.what == "ML backend") == "blocked"
        project, steps = join(studio, scene.id, guarded.url, basic_auth=("me", "pass"))
        assert next(step.state for step in steps if step.what == "ML backend") == "made"
        _, steps = join(studio, scene.id, guarded.url, basic_auth=("me", "pass"))
        assert {step.state for step in steps} == {"kept"}
        guarded.auth = ("me", "new pass")
        _, steps = join(studio, scene.id, guarded.url, basic_auth=("me", "new pass"))
        assert next(step.state for step in steps if step.what == "ML backend") == "changed"
        guarded.auth = None
        _, steps = join(studio, scene.id, guarded.url)
        assert next(step.state for step in steps if step.what == "ML backend") == "changed"
        [backend] = studio.backends(scene.id)
        assert (backend["id"], backend["state"]) == (project.ml_backend, "CO")
        _, steps = join(studio, scene.id, guarded.url)
        assert {step.state for step in steps} == {"kept"}


def test_a_config_without_boxes_and_a_model_without_labels_change_nothing(
    make_scene: MakeScene, studio: Studio, receiver: Receiver
) -> None:
    scene = make_scene(0)
    plain = int(studio.create_project("no boxes at all", "<View></View>")["id"])
    before = everything(studio, scene.id), everything(studio, plain)

    def nothing(labels: Sequence[Label]) -> Mapping[str, str]:
        raise NoLabelMap("no class of the model means a label")

    with pytest.raises(BadInput, match="labeling config"):
        join(studio, plain, receiver.url)
    with pytest.raises(NoLabelMap):
        connect(studio, scene.id, backend_url=receiver.url, secret=SECRET, match=nothing)
    assert (everything(studio, scene.id), everything(studio, plain)) == before
