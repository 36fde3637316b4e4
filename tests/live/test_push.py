from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest

from backend.demo.server import LabelStudioServer
from backend.studio.client import Studio
from backend.studio.notes import note_tasks, request_second_opinion, set_clusters, set_scores
from backend.studio.push import push
from pool.schema import Failure, StudioError
from pool.store import Pool
from tests.live.conftest import CONFIG, LABELS, Scene

MakeScene = Callable[[int], Scene]
Cut = Callable[[httpx.Request], str]


class Cutting(httpx.BaseTransport):
    """The wire, with a pair of scissors: ``before`` loses the request, ``after`` only the answer."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._wire = httpx.HTTPTransport()
        self.sent: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(f"{request.method} {request.url.path}")
        verdict = self._cut(request)
        if verdict == "before":
            raise httpx.ConnectError("cut", request=request)
        response = self._wire.handle_request(request)
        if verdict == "after":
            response.read()
            response.close()
            raise httpx.ReadError("cut", request=request)
        return response

    def close(self) -> None:
        self._wire.close()


@pytest.fixture
def cut_studio(server: LabelStudioServer) -> Iterator[Callable[[Cut], tuple[Studio, Cutting]]]:
    """Label Studio over a wire that is cut where the test says."""
    opened = []

    def make(cut: Cut) -> tuple[Studio, Cutting]:
        studio = Studio(server.url, server.admin.token)
        studio._net._http.close()
        wire = Cutting(cut)
        studio._net._http = httpx.Client(transport=wire, timeout=60)
        opened.append(studio)
        return studio, wire

    yield make
    for each in opened:
        each.close()


def never(request: httpx.Request) -> str:
    return ""


def is_import(request: httpx.Request) -> bool:
    return request.url.path.endswith("/import/predictions")


def rows(studio: Studio, project: int) -> dict[int, list[tuple[str, float]]]:
    """(version, score) of all predictions by task."""
    return {
        int(task["id"]): sorted((each["model_version"], each["score"]) for each in task["predictions"])
        for task in studio.tasks(project)
    }


def walk(studio: Studio, project: int, steps: int = 100) -> Iterator[int]:
    """Task ids as one person meets them, answering each."""
    for _ in range(steps):
        task = studio.next_task(project)
        if task is None:
            return
        yield int(task["id"])
        studio.create_annotation(int(task["id"]), result=[])


def spread(count: int) -> list[float]:
    """Distinct uncertainties in an order that is neither up nor down."""
    return [((i * 7) % count + 1) / (count + 1) for i in range(count)]


def by_uncertainty(scene: Scene, uncertainties: list[float]) -> list[int]:
    pairs = sorted(zip(uncertainties, scene.tasks, strict=True), key=lambda pair: -pair[0])
    return [task.id for _, task in pairs]


def served_by_uncertainty(studio: Studio, scene: Scene) -> None:
    studio.update_project(scene.id, sampling="Uncertainty sampling")


def test_a_push_stores_every_prediction_once_and_switches(
    make_scene: MakeScene, studio: Studio, pool: Pool
) -> None:
    scene = make_scene(7)
    wanted = spread(7)
    scene.predict("v1", wanted)
    told: list[tuple[int, int]] = []
    report = push(studio, pool, scene.project, "v1", on_progress=lambda *at: told.append(at))
    assert (report.tasks, report.held, report.pushed, report.missing, report.repaired) == (7, 0, 7, 0, 0)
    assert report.switched
    assert told == [(0, 7), (7, 7)]
    stored = rows(studio, scene.id)
    for task, u in zip(scene.tasks, wanted, strict=True):
        [(version, score)] = stored[task.id]
        assert version == "v1"
        assert score == pytest.approx(1 - u)
    assert studio.project(scene.id)["model_version"] == "v1"
    assert {task.pushed for task in pool.tasks(scene.id)} == {"v1"}
    first = next(iter(studio.tasks(scene.id)))["predictions"][0]["result"][0]
    assert first["value"]["rectanglelabels"] == [LABELS[0]]
    assert first["value"]["x"] == pytest.approx(10)
    assert first["value"]["height"] == pytest.approx(55)
    assert (first["original_width"], first["original_height"]) == (16, 12)
    assert first["score"] == pytest.approx(0.9)

    again = push(studio, pool, scene.project, "v1")
    assert (again.held, again.pushed, again.switched) == (7, 0, True)
    assert rows(studio, scene.id) == stored


def test_weak_boxes_stay_in_the_ledger(make_scene: MakeScene, studio: Studio, pool: Pool) -> None:
    scene = make_scene(3)
    scene.predict("v1", [0.1, 0.2, 0.3])  # boxes of 0.9, 0.899 and 0.898
    push(studio, pool, scene.project, "v1", show_floor=0.8985)
    assert [len(task["predictions"][0]["result"]) for task in studio.tasks(scene.id)] == [1, 1, 0]


def test_an_answer_that_is_lost_after_the_commit_makes_no_doubles(
    make_scene: MakeScene, pool: Pool, cut_studio: Callable[[Cut], tuple[Studio, Cutting]]
) -> None:
    scene = make_scene(9)
    scene.predict("v1", spread(9))
    cuts = iter(["after"])
    cut, wire = cut_studio(lambda request: next(cuts, "") if is_import(request) else "")
    report = push(cut, pool, scene.project, "v1")
    assert (report.pushed, report.missing, report.repaired) == (9, 0, 0)
    assert sum("import/predictions" in sent for sent in wire.sent) == 1
    assert all(len(each) == 1 for each in rows(scene.studio, scene.id).values())


@pytest.mark.parametrize(
    ("method", "end", "which", "arrived"),
    [
        ("POST", "/import/predictions", 1, False),
        ("POST", "/import/predictions", 2, True),
        ("GET", "/model-versions/", 2, True),
        ("GET", "/api/predictions/", 1, True),
        ("PATCH", "/api/projects/{}/", 1, False),
        ("PATCH", "/api/projects/{}/", 1, True),
        ("DELETE", "/model-versions/", 1, True),
    ],
)
def test_a_push_that_is_killed_anywhere_is_finished_by_the_next(
    method: str,
    end: str,
    which: int,
    arrived: bool,
    make_scene: MakeScene,
    pool: Pool,
    cut_studio: Callable[[Cut], tuple[Studio, Cutting]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process ends at one of its requests, before or after Label Studio has done what it says."""
    monkeypatch.setattr("backend.studio.push.CHUNK", 2)
    scene = make_scene(3)
    scene.predict("v1", spread(3))
    push(scene.studio, pool, scene.project, "v1")
    scene.predict("v2", spread(3)[::-1])

    class Killed(BaseException):
        """As SIGKILL: nothing in the code catches it."""

    met = 0

    def kill(request: httpx.Request) -> str:
        nonlocal met
        met += request.method == method and request.url.path.endswith(end.format(scene.id))
        if met < which:
            return ""
        if arrived:
            with httpx.Client(timeout=60) as line:
                line.send(request)
        raise Killed

    dying, _ = cut_studio(kill)
    with pytest.raises(Killed):
        push(dying, pool, scene.project, "v2")
    held = rows(scene.studio, scene.id).values()
    assert all(len(each) == len(dict(each)) for each in held)
    served = scene.studio.project(scene.id)["model_version"]
    assert all(served in dict(each) for each in held)
    report = push(scene.studio, pool, scene.project, "v2")
    assert (report.switched, report.missing) == (True, 0)
    assert [[v for v, _ in each] for each in rows(scene.studio, scene.id).values()] == [["v2"]] * 3
    assert scene.studio.project(scene.id)["model_version"] == "v2"


def test_a_server_that_stays_away_ends_the_push_with_words(
    make_scene: MakeScene,
    pool: Pool,
    cut_studio: Callable[[Cut], tuple[Studio, Cutting]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.studio.push.PAUSE", 0.01)
    scene = make_scene(2)
    scene.predict("v1", [0.5, 0.6])
    cut, wire = cut_studio(lambda request: "before" if is_import(request) else "")
    with pytest.raises(StudioError, match="no answer"):
        push(cut, pool, scene.project, "v1")
    assert sum("import/predictions" in sent for sent in wire.sent) == 3
    assert scene.studio.project(scene.id)["model_version"] in (None, "")


def test_doubles_are_removed(make_scene: MakeScene, studio: Studio, pool: Pool) -> None:
    scene = make_scene(3)
    scene.predict("v1", spread(3))
    push(studio, pool, scene.project, "v1")
    extra = [{"task": scene.tasks[1].id, "result": [], "score": 0.5, "model_version": "v1"}] * 2
    studio.import_predictions(scene.id, extra)
    before = {task: ids[0] for task, ids in studio.predicted(scene.id, "v1").items()}
    report = push(studio, pool, scene.project, "v1")
    assert (report.repaired, report.pushed) == (2, 0)
    assert studio.predicted(scene.id, "v1") == {task: [kept] for task, kept in before.items()}


def test_a_version_is_served_only_when_the_whole_pool_holds_it(
    make_scene: MakeScene, studio: Studio, pool: Pool
) -> None:
    scene = make_scene(4)
    scene.predict("v1", spread(4))
    push(studio, pool, scene.project, "v1")
    people = [{"task": scene.tasks[0].id, "result": [], "score": 0.4, "model_version": "by hand"}]
    studio.import_predictions(scene.id, people)

    everything = scene.tasks
    scene.tasks = everything[:3]
    scene.predict("v2", [0.1, 0.2, 0.3])
    report = push(studio, pool, scene.project, "v2")
    assert (report.pushed, report.missing, report.switched, report.retired) == (3, 1, False, [])
    assert studio.project(scene.id)["model_version"] == "v1"
    assert studio.prediction_counts(scene.id) == {"v1": 4, "v2": 3, "by hand": 1}

    # The last image turns out to be broken: the pool will never hold a prediction for it.
    last = everything[3]
    failure = Failure(last.sample, "predict", "truncated", datetime.now(UTC))
    pool.record_failures([failure], scene.id, "v2")
    report = push(studio, pool, scene.project, "v2")
    assert (report.pushed, report.unreadable, report.switched, report.retired) == (1, 1, True, ["v1"])
    assert studio.prediction_counts(scene.id) == {"v2": 4, "by hand": 1}
    assert rows(studio, scene.id)[last.id] == [("v2", 1.0)]


def test_a_second_version_starves_nobody(
    make_scene: MakeScene, studio: Studio, ann: Studio, bob: Studio, pool: Pool
) -> None:
    """While v2 arrives piece by piece, both people are served in v1's order; then in v2's."""
    scene = make_scene(8)
    first = spread(8)
    scene.predict("v1", first)
    served_by_uncertainty(studio, scene)
    push(studio, pool, scene.project, "v1")
    order = by_uncertainty(scene, first)
    [one] = walk(ann, scene.id, 1)
    everything, scene.tasks = scene.tasks, scene.tasks[:2]
    second = [0.5, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6]
    scene.predict("v2", second[:2])
    assert not push(studio, pool, scene.project, "v2").switched
    [two] = walk(bob, scene.id, 1)
    assert [one, two] == order[:2]
    scene.tasks = everything[2:]
    scene.predict("v2", second[2:])
    assert push(studio, pool, scene.project, "v2").switched
    scene.tasks = everything
    rest = [task for task in by_uncertainty(scene, second) if task not in (one, two)]
    assert list(walk(ann, scene.id)) == rest


def test_two_people_are_served_the_most_uncertain_images_in_turn(
    make_scene: MakeScene, studio: Studio, ann: Studio, bob: Studio, pool: Pool
) -> None:
    scene = make_scene(10)
    wanted = spread(10)
    scene.predict("v1", wanted)
    served_by_uncertainty(studio, scene)
    push(studio, pool, scene.project, "v1")
    seen: list[int] = []
    people = {"ann": walk(ann, scene.id), "bob": walk(bob, scene.id)}
    while people:
        for name in list(people):
            met = next(people[name], None)
            if met is None:
                del people[name]
            else:
                seen.append(met)
    assert seen == by_uncertainty(scene, wanted)


def test_scores_and_clusters_move_tasks_in_the_queue(
    make_scene: MakeScene, studio: Studio, ann: Studio, bob: Studio, pool: Pool
) -> None:
    scene = make_scene(6)
    scene.predict("v1", [0.9, 0.7, 0.4, 0.89, 0.69, 0.88])
    served_by_uncertainty(studio, scene)
    push(studio, pool, scene.project, "v1")
    ids = [task.id for task in scene.tasks]
    clusters = dict(zip(ids, [0, 1, 2, 0, 1, 0], strict=True))
    assert set_clusters(studio, scene.id, "v1", clusters) == 6
    assert set_clusters(studio, scene.id, "elsewhere", clusters) == 0
    # One of each group, the most uncertain of it first; then those groups again.
    assert list(walk(ann, scene.id, 3)) == [ids[0], ids[1], ids[2]]
    assert set_scores(studio, scene.id, "v1", {ids[5]: 0.0}) == 1
    assert next(walk(bob, scene.id, 1)) == ids[5]


def test_a_task_that_is_gone_does_not_hold_up_the_others(
    make_scene: MakeScene, studio: Studio, pool: Pool
) -> None:
    scene = make_scene(4)
    scene.predict("v1", spread(4))
    studio.delete_tasks(scene.id, [scene.tasks[2].id])
    report = push(studio, pool, scene.project, "v1")
    assert (report.tasks, report.gone, report.pushed, report.switched) == (3, 1, 3, True)
    assert [task.id for task in pool.tasks(scene.id)] == [scene.tasks[i].id for i in (0, 1, 3)]


def test_boxes_that_label_studio_refuses_cost_only_themselves(
    make_scene: MakeScene, studio: Studio, pool: Pool
) -> None:
    scene = make_scene(3)
    scene.predict("v1", [0.2, 0.5, 0.8])
    # Somebody renamed a label after the model was matched with the project.
    studio.update_project(scene.id, label_config=CONFIG.replace(f'"{LABELS[1]}"', '"renamed"'))
    report = push(studio, pool, scene.project, "v1")
    assert (report.pushed, report.missing, report.switched) == (3, 0, True)
    assert any(LABELS[1] in line for line in report.refused)
    stored = {t["id"]: t["predictions"] for t in studio.tasks(scene.id)}
    assert [len(stored[task.id][0]["result"]) for task in scene.tasks] == [1, 0, 1]
    assert stored[scene.tasks[1].id][0]["score"] == pytest.approx(0.5)
    assert [failure.subject for failure in pool.failures(scene.id)] == [f"task {scene.tasks[1].id}"]


def test_notes_are_written_where_they_differ_and_keep_the_rest(
    make_scene: MakeScene, studio: Studio
) -> None:
    scene = make_scene(3)
    ids = [task.id for task in scene.tasks]
    notes = {t: {"why": "2 of 5 boxes near 0.5", "route": "human", "uncertainty": 0.7} for t in ids[:2]}
    told: list[tuple[int, int]] = []
    assert note_tasks(studio, scene.id, notes, lambda *at: told.append(at)) == 2
    assert told == [(0, 2), (1, 2), (2, 2)]
    data = {t["id"]: t["data"] for t in studio.tasks(scene.id)}
    assert data[ids[0]] == {"image": scene.tasks[0].uri, **notes[ids[0]]}
    assert data[ids[2]]["route"] == "waiting"
    stamps = [t["updated_at"] for t in studio.tasks(scene.id)]
    assert note_tasks(studio, scene.id, notes) == 0
    assert [t["updated_at"] for t in studio.tasks(scene.id)] == stamps
    assert note_tasks(studio, scene.id, {ids[0]: {"route": "double"}, 10**9: {"route": "double"}}) == 1
    data = {t["id"]: t["data"] for t in studio.tasks(scene.id)}
    assert data[ids[0]] == {"image": scene.tasks[0].uri, **notes[ids[0]], "route": "double"}


def test_a_second_opinion_brings_a_finished_task_back_for_somebody_else(
    make_scene: MakeScene, studio: Studio, ann: Studio, bob: Studio, pool: Pool
) -> None:
    scene = make_scene(2)
    scene.predict("v1", [0.9, 0.1])
    served_by_uncertainty(studio, scene)
    push(studio, pool, scene.project, "v1")
    assert len(list(walk(ann, scene.id))) == 2
    assert studio.next_task(scene.id) is None
    first = scene.tasks[0].id
    assert request_second_opinion(studio, first) is True
    assert request_second_opinion(studio, first) is False
    assert ann.next_task(scene.id) is None
    assert list(walk(bob, scene.id)) == [first]
    assert request_second_opinion(studio, first) is False
    task = studio.task(first)
    assert (task["overlap"], task["is_labeled"]) == (2, True)
