"""Accepting and taking back where answers are lost, Label Studio breaks half-way and people are at work."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.studio import accept
from backend.studio.accept import service_user, undo, write
from backend.studio.client import Studio
from backend.studio.notes import set_results
from backend.studio.transport import Refusal
from pool.schema import Project, StudioError

Json = dict[str, Any]

PROJECT = Project(1, "streets", "label", "image", "image", ("bin",), {"bin": "bin"}, "secret")
TASKS = 6
USER, PERSON, OWNER = 9, 5, 1
FAULTS = ("fine", "lost", "unanswered", "half", "locked")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOX: Json = {"type": "rectanglelabels", "value": {"x": 1.0}}
ITEMS = {task: [BOX | {"id": f"r{task}"}] for task in range(1, TASKS + 1)}


class Memory:
    """The part of Label Studio that accepting speaks to. ``faults`` are used up, one a write."""

    def __init__(self, faults: list[str] | None = None) -> None:
        self.faults = faults or []
        self.tasks: dict[int, Json] = {n: self.task(n) for n in range(1, TASKS + 1)}
        self.members: list[Json] = [{"id": OWNER, "email": "owner@example.com"}]
        self.unique: dict[str, int] = {}
        self.next_id = 100
        self.sent: list[str] = []
        self.answer_users: Callable[[Json], httpx.Response] = self.joined
        self.rival: Callable[[], object] | None = None

    def task(self, number: int) -> Json:
        rows = [{"id": 10 * number + n, "model_version": v} for n, v in enumerate(("v1", "v2", "v1"))]
        return {
            "id": number, "overlap": 1, "is_labeled": False, "draft_exists": False,
            "annotations": [], "predictions": rows,
        }  # fmt: skip

    def add(self, number: int, by: int, **fields: Any) -> Json:
        made = {"id": self.next_id, "completed_by": by, "created_at": NOW.isoformat()}
        made |= {"updated_at": NOW.isoformat(), "parent_prediction": None, **fields}
        self.next_id += 1
        self.tasks[number]["annotations"].append(made)
        return made

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"null")
        self.sent.append(f"{request.method} {path}")
        number = int(found[0]) if (found := re.findall(r"/(\d+)/", path)) else 0
        if request.method == "POST" and path.endswith("/annotations/"):
            return self.annotated(request, number, body)
        routes: dict[str, Callable[[], object]] = {
            "GET /api/users/": lambda: self.members,
            "POST /api/users/": lambda: self.answer_users(body),
            "GET /api/tasks/": lambda: {"tasks": self.listed(request)},
            f"GET /api/tasks/{number}/": lambda: self.opened(number),
            f"PATCH /api/tasks/{number}/": lambda: self.tasks[number].update(body),
            f"DELETE /api/annotations/{number}/": lambda: self.deleted({number}),
            "POST /api/dm/actions/": lambda: self.action(body),
            "GET /api/predictions/": lambda: [
                {**row, "task": n} for n, task in self.tasks.items() for row in task["predictions"]
            ],
            f"PATCH /api/predictions/{number}/": lambda: self.patched(number, body),
        }
        done = routes[f"{request.method} {path}"]()
        return done if isinstance(done, httpx.Response) else httpx.Response(200, json=done or {})

    def annotated(self, request: httpx.Request, number: int, body: Json) -> httpx.Response:
        fault = self.faults.pop(0) if self.faults else "fine"
        if self.rival is not None:
            other, self.rival = self.rival, None
            other()
        if number not in self.tasks or fault == "gone":
            self.tasks.pop(number, None)
            return httpx.Response(404, json={"detail": "No Task matches the given query."})
        if fault == "locked":
            return httpx.Response(500, json={"detail": "database is locked"})
        if fault == "refused":
            return httpx.Response(400, json={"detail": "no"})
        if fault == "lost":
            raise httpx.ConnectError("the line broke", request=request)
        held = {each["id"] for task in self.tasks.values() for each in task["annotations"]}
        if self.unique.get(body["unique_id"]) in held:
            return httpx.Response(409, json={"detail": "Annotation with this unique id already exists"})
        fields = {key: body[key] for key in ("result", "parent_prediction", "ground_truth")}
        made = self.add(number, body["completed_by"], **fields)
        self.unique[body["unique_id"]] = made["id"]
        if fault == "half":
            return httpx.Response(500, json={"detail": "database is locked"})
        self.tasks[number]["is_labeled"] = True
        if fault == "unanswered":
            raise httpx.ReadError("the line broke", request=request)
        return httpx.Response(201, json=made)

    def listed(self, request: httpx.Request) -> list[Json]:
        after = json.loads(request.url.params["query"])["filters"]["items"][0]["value"]
        size = int(request.url.params["page_size"])
        return [task for n, task in sorted(self.tasks.items()) if n > after][:size]

    def opened(self, number: int) -> Json:
        task = self.tasks[number]
        named = [each | {"completed_by": {"id": each["completed_by"]}} for each in task["annotations"]]
        return task | {"annotations": named}

    def action(self, body: Json) -> None:
        user = int(body["annotator"])
        tasks = [self.tasks[n] for n in body["selectedItems"]["included"]]
        self.deleted({a["id"] for t in tasks for a in t["annotations"] if a["completed_by"] == user})

    def deleted(self, ids: set[int]) -> None:
        for task in self.tasks.values():
            task["annotations"] = [each for each in task["annotations"] if each["id"] not in ids]
            task["is_labeled"] = bool(task["annotations"])

    def patched(self, row: int, body: Json) -> None:
        held = [each for task in self.tasks.values() for each in task["predictions"]]
        next(each for each in held if each["id"] == row).update(body)

    def joined(self, body: Json) -> httpx.Response:
        made = {"id": USER, **body}
        self.members.append(made)
        return httpx.Response(201, json=made)

    def by(self, user: int) -> dict[int, list[int]]:
        return {
            n: mine
            for n, task in self.tasks.items()
            if (mine := [each["id"] for each in task["annotations"] if each["completed_by"] == user])
        }


class Line:
    """A Studio whose far end is whichever Memory is plugged in."""

    def __init__(self) -> None:
        self.memory = Memory()
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


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "PAUSE", 0.0)


def until_done(studio: Studio, memory: Memory) -> dict[int, int]:
    """Write again and again, as a job that is retried."""
    for _ in range(20):
        try:
            return write(studio, PROJECT, ITEMS, USER, version="v1")
        except StudioError:
            continue
    raise AssertionError("a write never got through")


# ---- the service's user


def test_the_user_is_made_once(line: Line) -> None:
    memory = Memory()
    studio = line.to(memory)
    assert service_user(studio) == service_user(studio) == USER
    assert memory.sent.count("POST /api/users/") == 1
    made = memory.members[-1]
    assert "password" not in made
    assert (made["email"], made["first_name"], made["last_name"]) == (
        accept.EMAIL, "thresher", "(auto-accept)",
    )  # fmt: skip


def test_a_user_that_another_process_made_meanwhile_is_taken(line: Line) -> None:
    memory = Memory()

    def first(body: Json) -> httpx.Response:
        memory.joined(body)
        return httpx.Response(400, json={"validation_errors": {"email": ["already exists."]}})

    memory.answer_users = first
    assert service_user(line.to(memory)) == USER


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (403, {"detail": "no users here"}, "no users here"),
        (400, {"validation_errors": {"email": ["already exists."]}}, "email: already exists"),
        (201, {"id": USER}, "outside of the organization"),
    ],
)
def test_a_user_that_cannot_be_made_is_asked_of_a_person(
    line: Line, status: int, body: Json, says: str
) -> None:
    memory = Memory()
    memory.answer_users = lambda _: httpx.Response(status, json=body)
    with pytest.raises(StudioError, match=rf"{accept.EMAIL}.*{says}.*invitation link"):
        service_user(line.to(memory))


# ---- writing and taking back


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    faults=st.lists(st.sampled_from(FAULTS), max_size=14),
    theirs=st.sets(st.integers(1, TASKS)),
    drafts=st.sets(st.integers(1, TASKS)),
    page=st.integers(1, TASKS + 1),
)
def test_whatever_fails_every_free_task_ends_with_one_annotation(
    line: Line, faults: list[str], theirs: set[int], drafts: set[int], page: int
) -> None:
    memory = Memory(faults)
    for number in theirs:
        memory.add(number, PERSON)
    for number in drafts:
        memory.tasks[number]["draft_exists"] = True
    studio = line.to(memory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accept, "PAGE", page)
        made = until_done(studio, memory)
        memory.faults = []
        assert {task: [annotation] for task, annotation in made.items()} == memory.by(USER)
        assert made.keys() == memory.tasks.keys() - theirs - drafts
        assert all(memory.tasks[task]["is_labeled"] for task in made)
        for task in made:
            (seen,) = memory.tasks[task]["annotations"]
            assert seen["result"] == [each | {"origin": "prediction"} for each in ITEMS[task]]
            assert (seen["parent_prediction"], seen["ground_truth"]) == (10 * task, False)
        assert write(studio, PROJECT, ITEMS, USER, version="v1") == made

        assert undo(studio, PROJECT, made, USER) == sorted(made)
        assert memory.by(USER) == {}
        assert memory.by(PERSON).keys() == theirs
        assert undo(studio, PROJECT, made, USER) == sorted(made)
        assert write(studio, PROJECT, ITEMS, USER, version="v1").keys() == made.keys()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    touched=st.dictionaries(
        st.integers(1, TASKS), st.sampled_from(("edited", "draft", "taken over", "beside", "deleted"))
    ),
    page=st.integers(1, TASKS + 1),
)
def test_what_people_touched_stays(line: Line, touched: dict[int, str], page: int) -> None:
    memory = Memory()
    studio = line.to(memory)
    made = write(studio, PROJECT, ITEMS, USER, version="v1")
    for number, how in touched.items():
        task = memory.tasks[number]
        if how == "edited":
            task["annotations"][0]["updated_at"] = (NOW + timedelta(minutes=1)).isoformat()
        elif how == "draft":
            task["draft_exists"] = True
        elif how == "taken over":
            task["annotations"][0]["completed_by"] = PERSON
        elif how == "beside":
            memory.add(number, PERSON)
        else:
            task["annotations"].clear()
    kept = {number for number, how in touched.items() if how in ("edited", "draft", "taken over")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accept, "PAGE", page)
        assert undo(studio, PROJECT, made, USER) == sorted(made.keys() - kept)
    for number, task in memory.tasks.items():
        left = [each["id"] for each in task["annotations"]]
        assert (made[number] in left) == (number in kept)
        assert len(left) == (number in kept or touched.get(number) == "beside")


def test_two_processes_that_read_the_same_page_write_one_annotation(line: Line) -> None:
    memory = Memory()
    studio = line.to(memory)
    theirs: dict[int, int] = {}
    memory.rival = lambda: theirs.update(write(studio, PROJECT, ITEMS, USER, version="v1"))
    assert write(studio, PROJECT, ITEMS, USER, version="v1") == theirs
    assert memory.by(USER) == {task: [annotation] for task, annotation in theirs.items()}
    assert theirs.keys() == ITEMS.keys()


def test_what_another_batch_accepted_on_the_same_task_stays(line: Line) -> None:
    memory = Memory()
    studio = line.to(memory)
    other = memory.add(1, USER)["id"]
    mine = memory.add(1, USER)["id"]
    assert undo(studio, PROJECT, {1: mine}, USER) == [1]
    assert memory.by(USER) == {1: [other]}


def test_another_versions_prediction_is_not_accepted_twice_nor_taken_for_this_ones(line: Line) -> None:
    memory = Memory()
    studio = line.to(memory)
    made = write(studio, PROJECT, {1: ITEMS[1]}, USER, version="v2")
    assert memory.tasks[1]["annotations"][0]["parent_prediction"] == 11
    assert write(studio, PROJECT, {1: ITEMS[1]}, USER, version="v1") == {}
    assert write(studio, PROJECT, {2: ITEMS[2]}, USER, version="v3") == {}
    assert memory.by(USER) == {1: [made[1]]}


def test_a_task_that_waits_for_a_second_person_is_not_called_finished(line: Line) -> None:
    memory = Memory(["half"])
    memory.tasks[1]["overlap"] = 2
    assert write(line.to(memory), PROJECT, {1: ITEMS[1]}, USER, version="v1").keys() == {1}
    assert not memory.tasks[1]["is_labeled"]


def test_tasks_that_are_gone_are_passed_over(line: Line) -> None:
    memory = Memory(["gone"])
    del memory.tasks[2]
    studio = line.to(memory)
    told: list[tuple[int, int]] = []
    made = write(studio, PROJECT, ITEMS, USER, version="v1", on_progress=lambda *now: told.append(now))
    assert made.keys() == {3, 4, 5, 6}
    assert told == [*((n, TASKS) for n in range(5)), (TASKS, TASKS)]
    assert undo(studio, PROJECT, {**made, 2: 999}, USER) == [3, 4, 5, 6]


def test_a_clear_no_ends_it_at_once_and_an_unclear_one_after_three_tries(line: Line) -> None:
    for fault, tries in (("refused", 1), ("locked", 3), ("lost", 3)):
        memory = Memory([fault] * 5)
        with pytest.raises(Refusal if fault != "lost" else StudioError, match="/api/tasks/1/annotations/"):
            write(line.to(memory), PROJECT, ITEMS, USER, version="v1")
        assert memory.sent.count("POST /api/tasks/1/annotations/") == tries
        assert memory.by(USER) == {}


def test_nothing_to_do_asks_nothing_and_no_more_pages_than_needed(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "PAGE", 2)
    memory = Memory()
    studio = line.to(memory)
    assert write(studio, PROJECT, {}, USER, version="v1") == {}
    assert undo(studio, PROJECT, {}, USER) == []
    assert memory.sent == []
    made = write(studio, PROJECT, {2: ITEMS[2]}, USER, version="v1")
    assert memory.sent == ["GET /api/tasks/", "POST /api/tasks/2/annotations/"]
    memory.sent.clear()
    undo(studio, PROJECT, made, USER)
    assert memory.sent == ["GET /api/tasks/", "POST /api/dm/actions/"]


def test_emptied_results_are_those_of_the_version_and_no_other(line: Line) -> None:
    memory = Memory()
    assert set_results(line.to(memory), PROJECT.id, "v1", dict.fromkeys((1, 4, 77), ())) == 4
    emptied = {row["id"] for t in memory.tasks.values() for row in t["predictions"] if "result" in row}
    assert emptied == {10, 12, 40, 42}
