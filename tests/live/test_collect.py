from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.studio.client import Studio
from backend.studio.collect import drain, find_tasks, reconcile
from backend.studio.connect import connect
from backend.studio.protocol import events
from backend.studio.push import push
from pool.schema import Annotation, Change, StudioError, Task
from pool.store import Pool
from tests.live.conftest import LABELS, SECRET, Scene, sample
from tests.live.receiver import Receiver

MakeScene = Callable[[int], Scene]


def box(label: str = LABELS[0], x: float = 10.0, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": 20.0, "width": 30.0, "height": 40.0, "rotation": 0, "rectanglelabels": [label]}
    return {
        "id": "b1",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 16,
        "original_height": 12,
        "image_rotation": 0,
        "value": value,
        **more,
    }


def call(person: Studio, method: str, path: str, **body: Any) -> Any:
    answer = httpx.request(method, person.url + path, json=body, headers=person.headers(), timeout=60)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def edit(person: Studio, annotation: int, **fields: Any) -> None:
    call(person, "PATCH", f"/api/annotations/{annotation}/", **fields)


def delete(person: Studio, annotation: int) -> None:
    call(person, "DELETE", f"/api/annotations/{annotation}/")


def truth(scene: Scene, folder: Path) -> list[Annotation]:
    """What a ledger that knows nothing yet makes of Label Studio as it is now."""
    with Pool.open(f"sqlite:///{folder / 'fresh.sqlite'}") as fresh:
        fresh.save_project(replace(scene.project, cursor=None))
        fresh.add_samples(list(scene.pool.samples().values()))
        fresh.bind_tasks(scene.pool.tasks(scene.id))
        reconcile(scene.studio, fresh, fresh.project(scene.id))
        found = fresh.annotations(scene.id)
    (folder / "fresh.sqlite").unlink()
    return found


def compare(scene: Scene, *, full: bool = False) -> dict[str, int]:
    return reconcile(scene.studio, scene.pool, scene.pool.project(scene.id), full=full)


@pytest.fixture
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe a time stamp at once; the waiting is for servers with long transactions."""
    monkeypatch.setattr("backend.studio.collect.SETTLING", timedelta(0))


@pytest.fixture
def heard(receiver: Receiver, studio: Studio, pool: Pool) -> Callable[[Scene, str, int], None]:
    """Waits for a number of events of a kind, and puts all that came into the inbox."""

    def hear(scene: Scene, action: str, count: int) -> None:
        assert receiver.wait(
            lambda _: sum(body["action"] == action for _, body in receiver.events) >= count
        ), f"{count} times {action}, got {[body['action'] for _, body in receiver.events]}"
        for _, body in receiver.events:
            pool.receive(events(body))

    return hear


@pytest.fixture
def joined(make_scene: MakeScene, receiver: Receiver, studio: Studio) -> Scene:
    scene = make_scene(4)
    connect(
        studio,
        scene.id,
        backend_url=receiver.url,
        secret=SECRET,
        match=lambda labels: {"bin": LABELS[0]},
    )
    return scene


def test_webhooks_bring_creations_edits_skips_and_deletions(
    joined: Scene,
    ann: Studio,
    bob: Studio,
    heard: Callable[[Scene, str, int], None],
    tmp_path: Path,
) -> None:
    tasks = joined.tasks
    first = ann.create_annotation(tasks[0].id, result=[box()], lead_time=4.5)
    ann.create_annotation(tasks[1].id, result=[box()], was_cancelled=True)
    gone = bob.create_annotation(tasks[2].id, result=[box(LABELS[2])])
    heard(joined, "ANNOTATION_CREATED", 3)
    taken = drain(joined.pool)
    assert (taken.events >= 3, taken.changed, taken.deleted, taken.failed) == (True, 3, 0, 0)
    edit(ann, first["id"], result=[box(LABELS[1], x=11.0)])
    delete(bob, gone["id"])
    heard(joined, "ANNOTATIONS_DELETED", 1)
    taken = drain(joined.pool)
    assert (taken.changed, taken.deleted, taken.failed) == (1, 1, 0)
    assert drain(joined.pool).events == 0

    mine, skip = joined.pool.annotations(joined.id)
    assert mine.regions[0].label == LABELS[1]
    assert mine.regions[0].box.x1 == pytest.approx(0.11)
    assert (mine.annotator, mine.lead_time, mine.sample) == (str(ann.me()["id"]), 4.5, tasks[0].sample)
    assert (skip.skipped, skip.regions) == (True, ())
    assert joined.pool.annotations(joined.id) == truth(joined, tmp_path)


def test_events_may_come_twice_and_before_the_comparison_or_after(
    joined: Scene, ann: Studio, receiver: Receiver, heard: Callable[[Scene, str, int], None], tmp_path: Path
) -> None:
    made = ann.create_annotation(joined.tasks[0].id, result=[box()])
    edit(ann, made["id"], result=[])
    delete(ann, made["id"])
    ann.create_annotation(joined.tasks[1].id, result=[box()])
    assert compare(joined)["changed"] == 1
    heard(joined, "ANNOTATION_CREATED", 2)
    heard(joined, "ANNOTATIONS_DELETED", 1)
    before = joined.pool.inbox_size()
    heard(joined, "ANNOTATIONS_DELETED", 1)
    assert joined.pool.inbox_size() == before
    drain(joined.pool)
    assert joined.pool.annotations(joined.id) == truth(joined, tmp_path)
    assert len(joined.pool.annotations(joined.id)) == 1


@pytest.mark.usefixtures("no_settling")
def test_an_event_that_comes_late_raises_no_dead(
    joined: Scene, ann: Studio, heard: Callable[[Scene, str, int], None]
) -> None:
    compare(joined)
    seen = ann.create_annotation(joined.tasks[0].id, result=[box()])
    compare(joined)
    missed = ann.create_annotation(joined.tasks[1].id, result=[box()])
    delete(ann, seen["id"])
    delete(ann, missed["id"])
    compare(joined)
    heard(joined, "ANNOTATION_CREATED", 2)
    with_deletions = [event for event in joined.pool.inbox(100) if "DELETED" in event.action]
    joined.pool.finish([event.key for event in with_deletions])
    taken = drain(joined.pool)
    assert (taken.late, taken.changed) == (2, 0)
    assert joined.pool.annotations(joined.id) == []


@pytest.mark.usefixtures("no_settling")
def test_lost_webhooks_are_made_good_by_the_comparison(
    make_scene: MakeScene, ann: Studio, bob: Studio, tmp_path: Path
) -> None:
    scene = make_scene(6)
    ids = [task.id for task in scene.tasks]
    assert compare(scene)["tasks"] == 6  # the first comparison reads everything
    assert compare(scene)["tasks"] == 0
    kept = ann.create_annotation(ids[0], result=[box()])
    lost = ann.create_annotation(ids[1], result=[box()])
    skipped = bob.create_annotation(ids[2], result=[box()], was_cancelled=True)
    counts = compare(scene)
    assert {key: counts[key] for key in ("tasks", "annotations", "skipped", "changed", "deleted")} == {
        "tasks": 3,
        "annotations": 2,
        "skipped": 1,
        "changed": 3,
        "deleted": 0,
    }
    assert compare(scene)["tasks"] == 0
    edit(bob, kept["id"], result=[box(LABELS[1])])
    delete(bob, lost["id"])
    edit(bob, skipped["id"], was_cancelled=False)
    counts = compare(scene)
    assert (counts["tasks"], counts["changed"], counts["deleted"]) == (3, 2, 1)
    assert scene.pool.annotations(scene.id) == truth(scene, tmp_path)
    assert scene.pool.counts(scene.id)["skipped"] == 0
    assert scene.pool.annotators()[str(ann.me()["id"])] == "Ann Müller"


@pytest.mark.usefixtures("no_settling")
def test_a_bulk_deletion_in_the_data_manager_is_found(make_scene: MakeScene, ann: Studio) -> None:
    scene = make_scene(3)
    for task in scene.tasks:
        ann.create_annotation(task.id, result=[box()])
    compare(scene)
    chosen = {"all": False, "included": [task.id for task in scene.tasks[:2]]}
    call(
        ann,
        "POST",
        f"/api/dm/actions?id=delete_tasks_annotations&project={scene.id}",
        selectedItems=chosen,
    )
    assert compare(scene)["deleted"] == 2
    assert [each.task for each in scene.pool.annotations(scene.id)] == [scene.tasks[2].id]


def test_deleted_tasks_are_found_by_the_full_comparison(make_scene: MakeScene, ann: Studio) -> None:
    scene = make_scene(3)
    for task in scene.tasks:
        ann.create_annotation(task.id, result=[box()])
    compare(scene)
    scene.studio.delete_tasks(scene.id, [scene.tasks[1].id])
    assert compare(scene)["dropped_tasks"] == 0
    counts = compare(scene, full=True)
    assert (counts["dropped_tasks"], counts["deleted"]) == (1, 1)
    assert [task.id for task in scene.pool.tasks(scene.id)] == [scene.tasks[0].id, scene.tasks[2].id]
    assert compare(scene, full=True)["dropped_tasks"] == 0


def test_a_deleted_task_is_heard_of_by_webhook(
    joined: Scene, ann: Studio, heard: Callable[[Scene, str, int], None]
) -> None:
    ann.create_annotation(joined.tasks[0].id, result=[box()])
    compare(joined)
    call(joined.studio, "DELETE", f"/api/tasks/{joined.tasks[0].id}/")
    heard(joined, "TASKS_DELETED", 1)
    assert drain(joined.pool).deleted == 1
    assert joined.tasks[0].id not in {task.id for task in joined.pool.tasks(joined.id)}


def test_drafts_are_counted_and_no_labels(make_scene: MakeScene, ann: Studio) -> None:
    scene = make_scene(2)
    call(ann, "POST", f"/api/tasks/{scene.tasks[0].id}/drafts", result=[box()], lead_time=1)
    counts = compare(scene)
    assert (counts["drafts"], counts["annotations"]) == (1, 0)
    assert scene.pool.annotations(scene.id) == []


@pytest.mark.usefixtures("no_settling")
def test_answers_to_images_that_the_pool_has_not_met_wait_for_them(
    make_scene: MakeScene, ann: Studio
) -> None:
    scene = make_scene(2)
    compare(scene)
    uri = scene.tasks[0].uri
    [new] = scene.studio.import_tasks(scene.id, [{"image": uri}])
    ann.create_annotation(new, result=[box()])
    ann.create_annotation(scene.tasks[0].id, result=[box()])
    counts = compare(scene)
    assert (counts["new_tasks"], counts["changed"]) == (1, 1)
    assert compare(scene)["new_tasks"] == 1
    found = find_tasks(scene.studio, scene.pool, scene.project)
    assert [task.id for task in found.known] == [task.id for task in scene.tasks]
    assert [(each.id, each.uri) for each in found.unknown] == [(new, uri)]
    scene.pool.bind_tasks([Task(scene.id, new, scene.tasks[0].sample, uri)])
    counts = compare(scene)
    assert (counts["new_tasks"], counts["changed"]) == (0, 1)
    assert compare(scene)["tasks"] == 0
    assert len(scene.pool.annotations(scene.id)) == 2


def test_tasks_are_known_by_their_claim_until_their_image_is_replaced(make_scene: MakeScene) -> None:
    scene = make_scene(1)
    held = sample(scene.id, 7)
    scene.pool.add_samples([held])
    data = [{"image": "/data/upload/1/a.png", "sample": held.id}, {"image": "s3://b/c.png", "sample": "?"}]
    claimed, foreign = scene.studio.import_tasks(scene.id, data)
    found = find_tasks(scene.studio, scene.pool, scene.project)
    assert [task.sample for task in found.known] == [scene.tasks[0].sample, held.id]
    assert [(each.id, each.uri) for each in found.unknown] == [(foreign, "s3://b/c.png")]
    scene.pool.bind_tasks(found.known)
    scene.studio.patch_task(claimed, data={"image": "/data/upload/1/other.png", "sample": held.id})
    found = find_tasks(scene.studio, scene.pool, scene.project)
    assert [each.id for each in found.unknown] == [claimed, foreign]


def test_what_became_of_the_predicted_boxes_is_kept_when_the_prediction_goes(
    make_scene: MakeScene, ann: Studio, pool: Pool
) -> None:
    scene = make_scene(2)
    scene.predict("v1", [0.5, 0.4])
    push(scene.studio, pool, scene.project, "v1")
    shown = next(iter(scene.studio.tasks(scene.id)))["predictions"][0]
    moved = [{**each, "value": {**each["value"], "x": 40.0}} for each in shown["result"]]
    ann.create_annotation(
        scene.tasks[0].id, result=[*moved, box(LABELS[2], id="new")], parent_prediction=shown["id"]
    )
    scene.predict("v2", [0.4, 0.5])
    assert push(scene.studio, pool, scene.project, "v2").retired == ["v1"]
    [said] = pool.annotations(scene.id)
    assert said.change == Change(moved=1, added=1)
    assert said.parent_prediction == shown["id"]
    # Label Studio has forgotten the prediction by now; the ledger must not.
    compare(scene, full=True)
    assert pool.annotations(scene.id) == [said]


def test_a_list_that_is_too_short_deletes_nothing(
    make_scene: MakeScene, ann: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene(3)
    for task in scene.tasks:
        ann.create_annotation(task.id, result=[box()])
    compare(scene)

    def short(*_: object, **__: object) -> Iterator[Any]:
        return iter(())

    monkeypatch.setattr(scene.studio, "tasks", short)
    with pytest.raises(StudioError, match="Nothing was deleted"):
        compare(scene, full=True)
    assert len(scene.pool.annotations(scene.id)) == 3
    assert len(scene.pool.tasks(scene.id)) == 3


@pytest.mark.usefixtures("no_settling")
def test_after_any_sequence_of_changes_the_ledger_is_what_label_studio_is(
    joined: Scene,
    ann: Studio,
    bob: Studio,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    """Half of the webhooks are lost, some come late or twice; comparisons happen in between."""
    dice = random.Random(7)
    alive: list[int] = []
    for step in range(30):
        person = dice.choice((ann, bob))
        match dice.choice(("create", "create", "edit", "delete", "skip", "hear", "compare")):
            case "create" | "skip" as what:
                task = dice.choice(joined.tasks).id
                made = person.create_annotation(
                    task, result=[box(dice.choice(LABELS), x=float(step))], was_cancelled=what == "skip"
                )
                alive.append(int(made["id"]))
            case "edit" if alive:
                edit(person, dice.choice(alive), result=[box(dice.choice(LABELS), x=float(step))])
            case "delete" if alive:
                delete(person, alive.pop(dice.randrange(len(alive))))
            case "hear":
                arrived = [body for _, body in receiver.events if dice.random() < 0.5]
                for body in arrived:
                    joined.pool.receive(events(body))
                drain(joined.pool)
            case "compare":
                compare(joined)
    drain(joined.pool)
    compare(joined)
    assert joined.pool.annotations(joined.id) == truth(joined, tmp_path)
    assert {each.id for each in joined.pool.annotations(joined.id)} == set(alive)
