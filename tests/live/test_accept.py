"""What is accepted without a person, as people meet it in a real Label Studio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest

from backend.demo.server import LabelStudioServer
from backend.studio import accept
from backend.studio.client import Studio
from backend.studio.collect import drain, reconcile
from backend.studio.connect import connect
from backend.studio.convert import results
from backend.studio.notes import set_results
from backend.studio.protocol import events
from backend.studio.push import push
from pool.schema import Change, StudioError
from pool.store import Pool
from tests.live.conftest import LABELS, SECRET, Scene
from tests.live.receiver import Receiver
from tests.live.test_collect import box, call, edit
from tests.live.test_push import Cutting, served_by_uncertainty, walk

MakeScene = Callable[[int], Scene]


@pytest.fixture
def user(studio: Studio) -> int:
    return accept.service_user(studio)


@pytest.fixture
def make_pushed(make_scene: MakeScene, studio: Studio, pool: Pool) -> MakeScene:
    """Makes a project whose n tasks hold predictions of ``v1``, the first task the most uncertain."""

    def make(pictures: int) -> Scene:
        scene = make_scene(pictures)
        scene.predict("v1", [1 - (n + 1) / (pictures + 1) for n in range(pictures)])
        served_by_uncertainty(studio, scene)
        push(studio, pool, scene.project, "v1")
        return scene

    return make


@pytest.fixture
def cut_studio(server: LabelStudioServer) -> Iterator[Callable[[Callable[[httpx.Request], str]], Studio]]:
    """Label Studio over a wire that is cut where the test says."""
    opened = []

    def make(cut: Callable[[httpx.Request], str]) -> Studio:
        studio = Studio(server.url, server.admin.token)
        studio._net._http.close()
        studio._net._http = httpx.Client(transport=Cutting(cut), timeout=60)
        opened.append(studio)
        return studio

    yield make
    for each in opened:
        each.close()


def predicted(scene: Scene, tasks: Sequence[int] = ()) -> dict[int, list[dict[str, Any]]]:
    """The boxes of ``v1`` as result items by task id; of all tasks, or of those at these places."""
    boxes = {each.sample: each.regions for each in scene.pool.predictions("v1")}
    chosen = [scene.tasks[n] for n in tasks] if tasks else scene.tasks
    return {task.id: results(boxes[task.sample], scene.project, (16, 12)) for task in chosen}


def held(studio: Studio, scene: Scene) -> dict[int, list[tuple[int, int]]]:
    """(id, completed_by) of every annotation by task id."""
    return {
        t["id"]: [(a["id"], a["completed_by"]) for a in t["annotations"]] for t in studio.tasks(scene.id)
    }


def labeled(studio: Studio, scene: Scene) -> list[bool]:
    return [task["is_labeled"] for task in studio.tasks(scene.id)]


# ---- the user


def test_the_services_user_is_one_member_with_a_name_and_without_a_way_in(
    server: LabelStudioServer, studio: Studio, ann: Studio, user: int
) -> None:
    assert accept.service_user(studio) == accept.service_user(ann) == user
    assert [m["id"] for m in studio.members() if m["email"] == accept.EMAIL] == [user]
    assert studio.users()[str(user)] == "thresher (auto-accept)"
    for word in ("", "thresher", accept.EMAIL):
        with httpx.Client(base_url=server.url, timeout=30) as browser:
            browser.get("/user/login/")
            form = {"email": accept.EMAIL, "password": word}
            form["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
            browser.post("/user/login/", data=form, headers={"Referer": server.url})
            assert browser.get("/api/current-user/whoami").status_code == 401


def test_a_services_user_who_was_removed_is_named_with_the_way_out(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "EMAIL", "removed@thresher.invalid")
    first = accept.service_user(studio)
    organization = studio.me()["active_organization"]
    call(studio, "DELETE", f"/api/organizations/{organization}/memberships/{first}/")
    with pytest.raises(StudioError, match=r"already exists.*invitation link.*DELETE /api/users"):
        accept.service_user(studio)
    call(studio, "DELETE", f"/api/users/{first}/")
    assert accept.service_user(studio) != first


# ---- writing


def test_accepted_tasks_name_the_service_and_are_served_to_nobody(
    make_pushed: MakeScene, studio: Studio, ann: Studio, user: int
) -> None:
    scene = make_pushed(5)
    items = predicted(scene, [1, 2, 4])
    told: list[tuple[int, int]] = []
    made = accept.write(
        studio, scene.project, items, user, version="v1", on_progress=lambda *at: told.append(at)
    )
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert labeled(studio, scene) == [False, True, True, False, True]
    predictions = studio.predicted(scene.id, "v1")
    for task, annotation in made.items():
        (seen,) = studio.task(task)["annotations"]
        assert seen["id"] == annotation
        assert (seen["completed_by"]["id"], seen["completed_by"]["first_name"]) == (user, "thresher")
        assert seen["created_username"].startswith("thresher (auto-accept)")
        assert [seen["parent_prediction"]] == predictions[task]
        assert (seen["ground_truth"], seen["was_cancelled"], seen["lead_time"]) == (False, False, None)
        assert [r["origin"] for r in seen["result"]] == ["prediction"]
        assert [{**r, "origin": None} for r in seen["result"]] == [
            {**r, "origin": None} for r in items[task]
        ]
    assert accept.write(studio, scene.project, items, user, version="v1") == made
    assert all(len(each) <= 1 for each in held(studio, scene).values())
    assert list(walk(ann, scene.id)) == [scene.tasks[0].id, scene.tasks[3].id]


def test_a_task_that_a_person_has_open_is_not_served_again_once_it_is_accepted(
    make_pushed: MakeScene, studio: Studio, ann: Studio, user: int
) -> None:
    scene = make_pushed(2)
    opened = ann.next_task(scene.id)
    assert opened is not None
    assert opened["id"] == scene.tasks[0].id
    accept.write(studio, scene.project, predicted(scene, [0]), user, version="v1")
    assert list(walk(ann, scene.id)) == [scene.tasks[1].id]


def test_what_people_began_is_theirs(
    make_pushed: MakeScene, studio: Studio, ann: Studio, user: int
) -> None:
    scene = make_pushed(6)
    ids = [task.id for task in scene.tasks]
    ann.create_annotation(ids[0], result=[box()])
    ann.create_annotation(ids[1], result=[box()], was_cancelled=True)
    call(ann, "POST", f"/api/tasks/{ids[2]}/drafts?project={scene.id}", result=[box()], lead_time=1)
    for row in studio.predicted(scene.id, "v1")[ids[3]]:
        studio.delete_prediction(row)
    items = predicted(scene)
    studio.delete_tasks(scene.id, [ids[4]])
    made = accept.write(studio, scene.project, items, user, version="v1")
    assert list(made) == [ids[5]]
    assert [by for _, by in held(studio, scene)[ids[0]]] == [ann.me()["id"]]
    assert accept.write(studio, scene.project, items, user, version="another") == {}


def test_a_call_that_was_cut_short_is_repeated(
    make_pushed: MakeScene,
    studio: Studio,
    cut_studio: Callable[[Callable[[httpx.Request], str]], Studio],
    user: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accept, "PAUSE", 0.0)
    scene = make_pushed(4)
    lost = {2: "after", 4: "before"}
    posts = 0

    def some(request: httpx.Request) -> str:
        nonlocal posts
        posts += request.method == "POST"
        return lost.get(posts, "") if request.method == "POST" else ""

    made = accept.write(cut_studio(some), scene.project, predicted(scene, [0, 1, 2]), user, version="v1")
    assert posts == 5
    assert {task: [(a, user)] for task, a in made.items()} == {
        task: each for task, each in held(studio, scene).items() if each
    }
    # As if Label Studio ended between storing the annotation and noting that the task has enough.
    studio.patch_task(scene.tasks[1].id, is_labeled=False)
    dead = cut_studio(lambda request: "before" if request.method == "POST" else "")
    with pytest.raises(StudioError, match="no answer"):
        accept.write(dead, scene.project, predicted(scene), user, version="v1")
    again = accept.write(studio, scene.project, predicted(scene), user, version="v1")
    assert {task: again[task] for task in made} == made
    assert labeled(studio, scene) == [True] * 4


def test_two_at_once_accept_every_task_once(make_pushed: MakeScene, studio: Studio, user: int) -> None:
    scene = make_pushed(6)
    items = predicted(scene)
    with ThreadPoolExecutor(2) as both:
        calls = [both.submit(accept.write, studio, scene.project, items, user, version="v1") for _ in "ab"]
        one, two = (each.result() for each in calls)
    assert one == two
    assert held(studio, scene) == {task: [(annotation, user)] for task, annotation in one.items()}
    assert labeled(studio, scene) == [True] * 6


# ---- taking back


def test_what_is_taken_back_is_served_again(
    make_pushed: MakeScene, studio: Studio, ann: Studio, user: int
) -> None:
    scene = make_pushed(4)
    made = accept.write(studio, scene.project, predicted(scene, [0, 1, 3]), user, version="v1")
    assert list(walk(ann, scene.id)) == [scene.tasks[2].id]
    assert accept.undo(studio, scene.project, made, user) == list(made)
    assert labeled(studio, scene) == [False, False, True, False]
    assert [t["total_annotations"] for t in studio.tasks(scene.id)] == [0, 0, 1, 0]
    assert accept.undo(studio, scene.project, made, user) == list(made)
    assert accept.undo(studio, scene.project, {}, user) == []
    again = accept.write(studio, scene.project, predicted(scene, [3]), user, version="v1")
    assert set(again) == {scene.tasks[3].id}
    assert set(again.values()).isdisjoint(made.values())
    assert list(walk(ann, scene.id)) == [scene.tasks[0].id, scene.tasks[1].id]


def test_what_people_did_to_it_stays(
    make_pushed: MakeScene, studio: Studio, ann: Studio, user: int
) -> None:
    scene = make_pushed(8)
    ids = [task.id for task in scene.tasks]
    made = accept.write(studio, scene.project, predicted(scene), user, version="v1")
    edit(ann, made[ids[0]], result=[box()])
    edit(studio, made[ids[1]], result=[box()])  # by the person whose token the service was given
    edit(ann, made[ids[2]], ground_truth=True)
    path = f"/api/tasks/{ids[3]}/annotations/{made[ids[3]]}/drafts?project={scene.id}"
    call(ann, "POST", path, result=[box()], lead_time=1)
    edit(studio, made[ids[4]], completed_by=ann.me()["id"])
    theirs = ann.create_annotation(ids[5], result=[box(LABELS[1])])["id"]
    studio.delete_annotation(made[ids[6]])
    before = held(studio, scene)
    assert accept.undo(studio, scene.project, made, user) == ids[5:]
    after = held(studio, scene)
    assert [after[task] for task in ids[:5]] == [before[task] for task in ids[:5]]
    assert after[ids[5]] == [(theirs, ann.me()["id"])]
    assert labeled(studio, scene) == [True] * 6 + [False] * 2


# ---- without the model's boxes


def test_blind_tasks_are_served_in_their_place_without_boxes(
    make_pushed: MakeScene, studio: Studio, ann: Studio, pool: Pool
) -> None:
    scene = make_pushed(3)
    scores = [t["predictions"][0]["score"] for t in studio.tasks(scene.id)]
    assert set_results(studio, scene.id, "v1", {scene.tasks[0].id: (), 10**9: ()}) == 1
    assert set_results(studio, scene.id, "another", {scene.tasks[1].id: ()}) == 0
    assert push(studio, pool, scene.project, "v1").pushed == 0
    assert [t["predictions"][0]["score"] for t in studio.tasks(scene.id)] == scores
    shown = []
    for _ in scene.tasks:
        served = ann.next_task(scene.id)
        assert served is not None
        opened = ann.task(served["id"])
        for each in (served, opened):
            (prediction,) = each["predictions"]
            shown.append((each["id"], len(prediction["result"]), prediction["model_version"]))
        ann.create_annotation(served["id"], result=[])
    first, second, third = (task.id for task in scene.tasks)
    assert shown == [(t, boxes, "v1") for t, boxes in ((first, 0), (second, 1), (third, 1)) for _ in "ab"]


# ---- home to the ledger


def test_the_ledger_hears_of_it_by_webhook_and_by_comparison(
    make_pushed: MakeScene, studio: Studio, receiver: Receiver, pool: Pool, user: int
) -> None:
    scene = make_pushed(3)
    connect(
        studio, scene.id, backend_url=receiver.url, secret=SECRET, match=lambda labels: {"bin": LABELS[0]}
    )
    made = accept.write(studio, scene.project, predicted(scene), user, version="v1")
    hear(receiver, pool, "ANNOTATION_CREATED", 3)
    assert drain(pool).changed == 3
    by_webhook = pool.annotations(scene.id)
    assert {a.task: a.id for a in by_webhook} == made
    assert {a.annotator for a in by_webhook} == {str(user)}
    assert {a.change for a in by_webhook} == {Change(kept=1, moved=0, relabelled=0, added=0, deleted=0)}
    assert {r.origin for a in by_webhook for r in a.regions} == {"prediction"}
    pool.save_project(replace(pool.project(scene.id), cursor=None))
    assert reconcile(studio, pool, pool.project(scene.id))["changed"] == 0
    assert pool.annotations(scene.id) == by_webhook

    accept.undo(studio, scene.project, made, user)
    (gone,) = hear(receiver, pool, "ANNOTATIONS_DELETED", 1)
    assert {each["id"] for each in gone["annotations"]} == set(made.values())
    assert drain(pool).deleted == 3
    assert pool.annotations(scene.id) == []
    assert {body["action"] for _, body in receiver.events} == {"ANNOTATION_CREATED", "ANNOTATIONS_DELETED"}


def test_a_comparison_alone_finds_what_was_accepted_and_what_was_taken_back(
    make_pushed: MakeScene, studio: Studio, pool: Pool, user: int
) -> None:
    scene = make_pushed(3)
    reconcile(studio, pool, pool.project(scene.id))
    made = accept.write(studio, scene.project, predicted(scene), user, version="v1")
    assert reconcile(studio, pool, pool.project(scene.id))["changed"] == 3
    assert {(a.task, a.id, a.annotator) for a in pool.annotations(scene.id)} == {
        (task, annotation, str(user)) for task, annotation in made.items()
    }
    accept.undo(studio, scene.project, made, user)
    assert reconcile(studio, pool, pool.project(scene.id))["deleted"] == 3
    assert pool.annotations(scene.id) == []


def hear(receiver: Receiver, pool: Pool, action: str, count: int) -> list[dict[str, Any]]:
    """Wait for a number of events of a kind, put all that came into the inbox; those of the kind."""

    def came() -> list[dict[str, Any]]:
        return [body for _, body in receiver.events if body["action"] == action]

    assert receiver.wait(lambda _: len(came()) >= count), [b["action"] for _, b in receiver.events]
    for _, body in receiver.events:
        pool.receive(events(body))
    return came()
