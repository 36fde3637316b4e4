from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.studio.collect import drain
from backend.studio.protocol import CHANGED, DELETED, events
from pool.schema import Event, Project, Sample, StudioError, Task
from pool.store import Pool
from tests.backend.studio.bodies import sent

START = datetime(2026, 1, 1, tzinfo=UTC)
TASKS = 3


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool.open(f"sqlite:///{tmp_path_factory.mktemp('pool') / 'pool.sqlite'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """Projects, tasks and annotations that no other example used."""
    return itertools.count(1)


def connected(pool: Pool, numbers: Iterator[int]) -> Project:
    number = next(numbers)
    project = Project(number, "streets", "label", "image", "image", ("bin",), {}, "secret")
    pool.save_project(project)
    keys = [f"{number:032x}{n:032x}" for n in range(TASKS)]
    pool.add_samples([Sample(k, 10, 10, "a.jpg", k, n, k, holdout=False) for n, k in enumerate(keys)])
    pool.bind_tasks([Task(number, number * 100 + n, key, f"/data/{n}.jpg") for n, key in enumerate(keys)])
    return project


def payload(project: Project, number: int, task: int, minute: int, **fields: Any) -> dict[str, Any]:
    stamp = (START + timedelta(minutes=minute)).isoformat()
    return {
        "id": project.id * 1000 + number,
        "task": project.id * 100 + task,
        "project": project.id,
        "completed_by": 7,
        "result": [],
        "was_cancelled": False,
        "created_at": START.isoformat(),
        "updated_at": stamp,
        **fields,
    }


def said(project: Project, body: dict[str, Any]) -> list[Event]:
    return events({**body, "project": {"id": project.id}})


def created(
    project: Project, number: int, task: int, minute: int, action: str = "ANNOTATION_CREATED"
) -> Event:
    made = payload(project, number, task, minute)
    [event] = said(project, {"action": action, "annotation": made, "task": {"id": made["task"]}})
    return event


def deleted(project: Project, number: int) -> Event:
    [event] = said(
        project, {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": project.id * 1000 + number}]}
    )
    return event


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(st.sampled_from(["write", "delete"]), st.integers(0, 3), st.integers(0, TASKS - 1)),
    max_size=14,
)


def story(project: Project, plan: list[Step]) -> tuple[list[Event], set[int]]:
    """Events in the order in which Label Studio sends them, and who is alive at the end."""
    told: list[Event] = []
    known: dict[int, int] = {}
    gone: set[int] = set()
    for minute, (what, number, task) in enumerate(plan):
        if number in gone:
            continue  # an id is never used again
        if what == "write":
            action = "ANNOTATION_UPDATED" if number in known else "ANNOTATION_CREATED"
            task = known.setdefault(number, task)
            told.append(created(project, number, task, minute, action))
        elif number in known:
            gone.add(number)
            told.append(deleted(project, number))
    return told, {project.id * 1000 + number for number in known.keys() - gone}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=steps, cuts=st.lists(st.integers(0, 14), max_size=3), twice=st.booleans())
def test_the_inbox_ends_in_the_same_ledger_however_it_is_cut(
    pool: Pool, numbers: Iterator[int], plan: list[Step], cuts: list[int], twice: bool
) -> None:
    project = connected(pool, numbers)
    told, alive = story(project, plan)
    last = 0
    for cut in [*sorted(cuts), len(told)]:
        pool.receive(told[last:cut] + (told[:cut] if twice else []))
        drain(pool)
        last = max(last, cut)
    assert {each.id for each in pool.annotations(project.id)} == alive
    newest = {event.body["annotation"]["id"]: event for event in told if "annotation" in event.body}
    for each in pool.annotations(project.id):
        assert each.updated_at.isoformat() == newest[each.id].body["annotation"]["updated_at"]
    assert pool.inbox_size() == 0
    assert drain(pool).events == 0


def test_an_event_is_done_only_once_its_job_is_queued(pool: Pool, numbers: Iterator[int]) -> None:
    project = connected(pool, numbers)
    wish = Event("wish", project.id, "START_TRAINING", {})
    pool.receive([wish])

    def full(kind: str, number: int) -> None:
        raise StudioError("the queue is away")

    with pytest.raises(StudioError):
        drain(pool, full)
    assert pool.inbox_size() == 1
    queued: list[tuple[str, int]] = []
    drain(pool, lambda kind, number: queued.append((kind, number)))
    assert queued == [("learn", project.id)]
    assert pool.inbox_size() == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=steps, dies=st.integers(1, 3))
def test_a_drain_that_dies_before_it_finishes_its_events_is_repeated_without_harm(
    pool: Pool, numbers: Iterator[int], plan: list[Step], dies: int
) -> None:
    class Killed(BaseException):
        pass

    project = connected(pool, numbers)
    told, alive = story(project, plan)
    pool.receive(told)
    left = dies

    def finish(keys: list[str]) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Killed
        type(pool).finish(pool, keys)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backend.studio.collect.BATCH", 3)
        patch.setattr(pool, "finish", finish)
        for _ in range(dies + 1):
            try:
                drain(pool)
            except Killed:
                continue
    assert {each.id for each in pool.annotations(project.id)} == alive
    assert pool.inbox_size() == 0


def test_every_real_webhook_goes_through(pool: Pool) -> None:
    """All that Label Studio was seen to send, for projects and tasks that the ledger knows."""
    told = [event for _, body in sent("webhook") for event in events(body)]
    for number in {event.project for event in told}:
        pool.save_project(Project(number, "real", "label", "image", "image", ("a",), {}, "secret"))
    key = "f" * 64
    pool.add_samples([Sample(key, 10, 10, "a.jpg", key, 5, key, holdout=False)])
    changed = [event for event in told if event.action in CHANGED]
    pool.bind_tasks(
        [Task(e.project, int(e.body["annotation"]["task"]), key, "/data/a.jpg") for e in changed]
    )
    pool.receive(told)
    taken = drain(pool)
    assert (taken.failed, taken.unknown) == (0, 0)
    written = {event.body["annotation"]["id"]: event for event in changed}
    gone = {event.body["annotation"]["id"] for event in told if event.action in DELETED}
    found = {a.id: a for project in pool.projects() for a in pool.annotations(project.id, [key])}
    assert found.keys() == written.keys() - gone
    assert len(found) > 10
    for number, each in found.items():
        raw = written[number].body["annotation"]
        boxes = {item.get("id") for item in raw["result"] if item["type"] == "rectanglelabels"}
        assert each.skipped == raw["was_cancelled"]
        assert len(each.regions) == (0 if each.skipped else len(boxes))


def test_jobs_are_called_for(pool: Pool, numbers: Iterator[int]) -> None:
    project = connected(pool, numbers)
    pool.receive(said(project, {"action": "START_TRAINING"}))
    pool.receive(said(project, {"action": "TASKS_CREATED", "tasks": [{"id": 5}]}))
    pool.receive(said(project, {"action": "PROJECT_UPDATED"}))
    pool.receive([created(project, 1, 77, 0)])
    taken = drain(pool)
    assert taken.jobs == {("learn", project.id), ("prelabel", project.id)}
    assert (taken.events, taken.unknown) == (4, 1)
    assert taken.as_dict()["jobs"] == [["learn", project.id], ["prelabel", project.id]]


def test_deleted_tasks_take_their_annotations_with_them(pool: Pool, numbers: Iterator[int]) -> None:
    project = connected(pool, numbers)
    pool.receive([created(project, 1, 0, 0), created(project, 2, 1, 0)])
    pool.receive(said(project, {"action": "TASKS_DELETED", "tasks": [{"id": project.id * 100}]}))
    taken = drain(pool)
    assert (taken.changed, taken.deleted) == (2, 1)
    assert [each.id for each in pool.annotations(project.id)] == [project.id * 1000 + 2]
    assert [task.id for task in pool.tasks(project.id)] == [project.id * 100 + 1, project.id * 100 + 2]


def test_a_broken_event_is_noted_and_holds_up_nothing(pool: Pool, numbers: Iterator[int]) -> None:
    project = connected(pool, numbers)
    bodies: list[dict[str, Any]] = [
        {},
        {"annotation": None},
        {"annotation": {"id": "x", "task": project.id * 100}},
        {"annotation": payload(project, 9, 0, 0, created_at="yesterday")},
    ]
    broken = [
        Event(f"broken-{n}-{project.id}", project.id, "ANNOTATION_CREATED", body)
        for n, body in enumerate(bodies)
    ]
    pool.receive([*broken, created(project, 1, 0, 0)])
    taken = drain(pool)
    assert (taken.events, taken.failed, taken.changed) == (5, 4, 1)
    assert {f.subject for f in pool.failures()} >= {event.key for event in broken}


def test_an_event_older_than_the_last_comparison_is_left_alone(pool: Pool, numbers: Iterator[int]) -> None:
    project = connected(pool, numbers)
    pool.save_project(replace(project, cursor=START + timedelta(minutes=5)))
    pool.receive([created(project, 1, 0, 4), created(project, 2, 0, 5)])
    taken = drain(pool)
    assert (taken.late, taken.changed) == (1, 1)
    assert [each.id for each in pool.annotations(project.id)] == [project.id * 1000 + 2]
