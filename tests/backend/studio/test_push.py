"""A push against Label Studio's import as it fails: answers lost, rows half written, rows written late."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.studio.client import Studio
from backend.studio.push import PushReport, push
from pool.schema import Box, Failure, ModelVersion, Prediction, Project, Region, Sample, StudioError, Task
from pool.store import Pool

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="bin"/></RectangleLabels></View>'
)
TASKS = 7
PROJECT = Project(1, "streets", "label", "image", "image", ("bin",), {"bin": "bin"}, "secret")
FAULTS = ("fine", "lost", "unanswered", "half", "after", "late")


class Memory:
    """The part of Label Studio that a push speaks to. ``faults`` are used up, one for each import."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = list(faults)
        self.rows: list[dict[str, Any]] = []
        self.late: list[dict[str, Any]] = []
        self.served: str | None = None
        self.switches: list[tuple[str, bool]] = []
        self.next_id = 1
        self.tasks = list(range(1, TASKS + 1))

    def add(self, items: list[dict[str, Any]]) -> None:
        for item in items:
            self.rows.append({**item, "id": self.next_id})
            self.next_id += 1

    def whole(self, version: str) -> bool:
        return set(self.tasks) <= {row["task"] for row in self.rows if row["model_version"] == version}

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"null")
        routes: dict[str, Callable[[], httpx.Response]] = {
            "POST /api/projects/1/import/predictions": lambda: self.imported(request, body),
            "GET /api/predictions/": lambda: httpx.Response(200, json=self.rows),
            "GET /api/projects/1/": lambda: httpx.Response(200, json=self.project()),
            "PATCH /api/projects/1/": lambda: self.switched(body),
            "GET /api/projects/1/model-versions/": lambda: httpx.Response(200, json=self.counted()),
            "DELETE /api/projects/1/model-versions/": lambda: self.retired(body["model_version"]),
            "GET /api/dm/views/": lambda: httpx.Response(200, json=[]),
            "GET /api/users/": lambda: httpx.Response(200, json=[]),
            "GET /api/tasks/": lambda: httpx.Response(200, json={"tasks": self.listed(request)}),
        }
        if path.startswith("/api/predictions/") and request.method == "DELETE":
            self.rows = [row for row in self.rows if row["id"] != int(path.split("/")[3])]
            return httpx.Response(204)
        return routes[f"{request.method} {path}"]()

    def imported(self, request: httpx.Request, items: list[dict[str, Any]]) -> httpx.Response:
        fault = self.faults.pop(0) if self.faults else "fine"
        waiting, self.late = self.late, []
        if fault == "late":
            self.late = items
        else:
            self.add(items[: len(items) // 2] if fault == "half" else [] if fault == "lost" else items)
        self.add(waiting)
        if fault == "after":
            return httpx.Response(500, json={"detail": "database is locked"})
        if fault != "fine":
            raise httpx.ReadError("the line broke", request=request)
        return httpx.Response(201, json={"created": len(items)})

    def project(self) -> dict[str, Any]:
        return {"id": 1, "label_config": CONFIG, "model_version": self.served, "task_number": TASKS}

    def switched(self, body: dict[str, Any]) -> httpx.Response:
        self.served = body["model_version"]
        self.switches.append((str(self.served), self.whole(str(self.served))))
        return httpx.Response(200, json=self.project())

    def counted(self) -> dict[str, int]:
        versions = [row["model_version"] for row in self.rows]
        return {version: versions.count(version) for version in set(versions)}

    def retired(self, version: str) -> httpx.Response:
        self.rows = [row for row in self.rows if row["model_version"] != version]
        return httpx.Response(200, json={})

    def listed(self, request: httpx.Request) -> list[dict[str, Any]]:
        filters = json.loads(request.url.params["query"]).get("filters")
        after = filters["items"][0]["value"] if filters else 0
        stamp = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
        return [
            {"id": task, "updated_at": stamp, "annotations": [], "data": {}}
            for task in self.tasks
            if task > after
        ]


class Line:
    """A Studio whose far end is whichever Memory is plugged in: opening one costs more than a push."""

    def __init__(self) -> None:
        self.memory = Memory([])
        self.studio = Studio("http://label.studio", "0" * 40)
        self.studio._net._http.close()
        wire = httpx.MockTransport(lambda request: self.memory.answer(request))
        self.studio._net._http = httpx.Client(transport=wire)

    def to(self, memory: Memory) -> Studio:
        self.memory = memory
        return self.studio


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    made = Line()
    with made.studio:
        yield made


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    path = tmp_path_factory.mktemp("pool") / "pool.sqlite"
    with Pool.open(f"sqlite:///{path}") as opened:
        opened.save_project(PROJECT)
        keys = [f"{n:064x}" for n in range(1, TASKS + 1)]
        opened.add_samples(
            [Sample(k, 640, 480, "a.jpg", k, n, k, holdout=False) for n, k in enumerate(keys)]
        )
        opened.bind_tasks([Task(1, n, key, f"/data/{n}.jpg") for n, key in enumerate(keys, 1)])
        for version in ("v1", "v2"):
            opened.add_model(
                ModelVersion(version, 1, f"{version}.pt", version, ("bin",), datetime.now(UTC))
            )
            region = Region("bin", Box(0.1, 0.1, 0.2, 0.3), score=0.8)
            opened.save_predictions(
                [
                    Prediction(key, version, (region,), ("bin",), uncertainty=n / TASKS)
                    for n, key in enumerate(keys)
                ]
            )
        yield opened


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.studio.push.PAUSE", 0.0)


def until_done(studio: Studio, pool: Pool, version: str) -> PushReport:
    """Push again and again, as a job that is retried."""
    for _ in range(20):
        try:
            return push(studio, pool, PROJECT, version)
        except StudioError:
            continue
    raise AssertionError("a push never got through")


faulty = given(faults=st.lists(st.sampled_from(FAULTS), max_size=12), chunk=st.integers(1, TASKS + 1))
unhurried: Any = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=12, **unhurried)
@faulty
def test_whatever_fails_every_task_ends_with_one_row_and_no_switch_comes_too_early(
    pool: Pool, line: Line, faults: list[str], chunk: int
) -> None:
    every_task_ends_with_one_row(pool, line, faults, chunk)


@pytest.mark.slow
@settings(max_examples=150, **unhurried)
@faulty
def test_whatever_fails_many_times(pool: Pool, line: Line, faults: list[str], chunk: int) -> None:
    every_task_ends_with_one_row(pool, line, faults, chunk)


def every_task_ends_with_one_row(pool: Pool, line: Line, faults: list[str], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backend.studio.push.CHUNK", chunk)
        memory = Memory(faults)
        theirs = [{"task": 1, "result": [], "score": 0.1, "model_version": "somebody's"}]
        memory.add(theirs)
        studio = line.to(memory)
        until_done(studio, pool, "v1")
        until_done(studio, pool, "v2")
        # What Label Studio wrote after the last look at it is for the next push to find.
        memory.faults = []
        memory.add(memory.late)
        memory.late = []
        report = until_done(studio, pool, "v2")
    assert report.pushed == 0
    ours = sorted(
        (row["task"], row["model_version"]) for row in memory.rows if row["model_version"] != "v1"
    )
    assert ours == sorted([(1, "somebody's")] + [(task, "v2") for task in memory.tasks])
    assert memory.served == "v2"
    assert memory.switches == [("v1", True), ("v2", True)]
    for row in memory.rows:
        if row["model_version"] == "v2":
            assert row["score"] == pytest.approx(1 - (row["task"] - 1) / TASKS)
    assert not [row for row in memory.rows if row["model_version"] == "v1"]


def test_a_request_that_is_too_large_is_halved(pool: Pool, line: Line) -> None:
    memory = Memory([])
    sizes: list[int] = []
    whole = memory.imported

    def limited(request: httpx.Request, items: list[dict[str, Any]]) -> httpx.Response:
        sizes.append(len(items))
        return httpx.Response(413) if len(items) > 2 else whole(request, items)

    memory.imported = limited  # type: ignore[method-assign]
    assert until_done(line.to(memory), pool, "v1").pushed == TASKS
    assert memory.whole("v1")
    assert len(memory.rows) == TASKS
    assert sizes == [7, 3, 1, 2, 4, 2, 2]


def test_what_an_open_stored_without_a_look_at_the_image_is_sent_again(pool: Pool, line: Line) -> None:
    memory = Memory([])
    hollow: list[dict[str, Any]] = [
        {"task": task, "result": [], "score": 0.0, "model_version": "v1"} for task in (2, 3)
    ]
    memory.add(hollow)
    pool.record_failures([Failure("task 3", "predict", "no answer", datetime.now(UTC))], 1)
    report = push(line.to(memory), pool, PROJECT, "v1")
    assert (report.held, report.pushed, report.switched) == (1, TASKS - 1, True)
    shown = {row["task"]: len(row["result"]) for row in memory.rows}
    assert shown == {task: int(task != 2) for task in memory.tasks}  # nobody said that 2 went wrong
    assert len(memory.rows) == TASKS
    assert pool.failures(1) == []


def test_a_refusal_that_nobody_can_mend_is_raised_as_it_is(pool: Pool, line: Line) -> None:
    memory = Memory([])
    memory.imported = lambda *_: httpx.Response(403, json={"detail": "no"})  # type: ignore[method-assign]
    with pytest.raises(StudioError, match="403"):
        push(line.to(memory), pool, PROJECT, "v1")
    assert memory.switches == []


def test_a_project_without_tasks_is_left_alone(tmp_path: Path, line: Line) -> None:
    memory = Memory([])
    with Pool.open(f"sqlite:///{tmp_path / 'empty.sqlite'}") as empty:
        empty.save_project(PROJECT)
        report = push(line.to(memory), empty, PROJECT, "v1")
    assert (report.tasks, report.switched) == (0, False)
    assert memory.switches == []
    assert json.loads(json.dumps(report.as_dict()))["version"] == "v1"


def test_an_old_version_goes_piece_by_piece(
    pool: Pool, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never more rows in one request than people can wait for, never longer than a push may take."""
    monkeypatch.setattr("backend.studio.push.GENTLE", 2)
    monkeypatch.setattr("backend.studio.push.PATIENCE", 3)
    memory = Memory([])
    studio = line.to(memory)
    push(studio, pool, PROJECT, "v1")
    at_once: list[int] = []
    retire = memory.retired

    def counted(version: str) -> httpx.Response:
        at_once.append(memory.counted()[version])
        return retire(version)

    memory.retired = counted  # type: ignore[method-assign]
    told: list[tuple[int, int]] = []
    first = push(studio, pool, PROJECT, "v2", on_progress=lambda *at: told.append(at))
    assert (first.switched, first.retired, first.left) == (True, [], 4)
    assert told == [(0, 7), (7, 7), (0, 7)]
    second = push(studio, pool, PROJECT, "v2")
    assert (second.retired, second.left) == (["v1"], 0)
    assert at_once == [2]
    assert memory.counted() == {"v2": TASKS}


def test_a_switch_that_somebody_undoes_at_once_is_noticed(pool: Pool, line: Line) -> None:
    memory = Memory([])
    memory.switched = lambda body: httpx.Response(200, json=memory.project())  # type: ignore[method-assign]
    with pytest.raises(StudioError, match="serves None"):
        push(line.to(memory), pool, PROJECT, "v1")
