"""Single opens and interactive calls: Label Studio asks, the service's predicting process looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend import loop, predictor
from backend.demo.scenes import jpeg, render
from backend.demo.server import LabelStudioServer
from backend.detector.predict import Detector
from backend.house import Job
from backend.studio import protocol
from pool.schema import NotReady, Region
from tests.live.home import Home, open_home

SCENES = 8


@pytest.fixture(scope="module")
def home(
    server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory, titles: Iterator[str]
) -> Iterator[Home]:
    """No worker runs: whatever is predicted here was asked for by Label Studio itself."""
    with open_home(server, tmp_path_factory.mktemp("predict"), next(titles), SCENES) as opened:
        yield opened


def seen(home: Home, task: int) -> tuple[Region, ...]:
    """The champion's boxes in a task's image, as the ledger has them; none on a holdout image."""
    pool = home.house.pool
    sample = pool.sample(next(t.sample for t in pool.tasks(home.project) if t.id == task))
    (prediction,) = pool.predictions(home.house.champion(home.project).version, [sample.id])
    return () if sample.holdout else prediction.regions


def strong(home: Home, task: int) -> list[Region]:
    """Those of them that people are shown at once."""
    return [r for r in seen(home, task) if (r.score or 0) >= home.house.settings.show_floor]


def interact(home: Home, task: int, drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What comes back when an annotator points at something with the smart tool."""
    studio = home.house.studio
    (backend,) = studio.backends(home.project)
    if not backend["is_interactive"]:
        studio.update_backend(int(backend["id"]), is_interactive=True)
    answer = httpx.post(
        f"{studio.url}/api/ml/{backend['id']}/interactive-annotating",
        json={"task": task, "context": {"result": drawn}},
        headers=studio.headers(),
        timeout=60,
    )
    answer.raise_for_status()
    return list(answer.json()["data"]["result"])


def area(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    """A rectangle as the editor sends it, in percent."""
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    return {
        "id": "drawn-1", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
        "original_width": 640, "original_height": 480, "image_rotation": 0,
        "value": value | {"rectanglelabels": ["garbage"]},
    }  # fmt: skip


def test_a_task_that_is_opened_gets_the_champions_boxes_once(home: Home) -> None:
    studio, version = home.house.studio, home.house.champion(home.project).version
    for task in home.house.pool.tasks(home.project)[:4]:
        for _ in range(2):
            opened = studio.task(task.id)
        (prediction,) = opened["predictions"]
        assert prediction["model_version"] == version
        for shown, kept in zip(prediction["result"], strong(home, task.id), strict=True):
            assert shown["score"] == pytest.approx(kept.score)
            assert shown["value"]["x"] == pytest.approx(kept.box.x1 * 100)
            assert shown["value"]["rectanglelabels"] == [kept.label]
            assert (shown["original_width"], shown["original_height"]) == (640, 480)
        assert 0 <= prediction["score"] <= 1


def test_a_task_that_somebody_else_imported_is_looked_at_and_known_from_then_on(home: Home) -> None:
    studio = home.house.studio
    (uri,) = studio.upload(home.project, [("by hand.jpg", jpeg(render(7001)))])
    (task,) = studio.import_tasks(home.project, [{"image": uri, "why": ""}])
    (prediction,) = studio.task(task)["predictions"]
    assert len(prediction["result"]) == len(strong(home, task))


def test_an_image_that_cannot_be_read_is_answered_and_recorded(home: Home) -> None:
    studio = home.house.studio
    (uri,) = studio.upload(home.project, [("broken.jpg", b"\xff\xd8\xff" + bytes(200))])
    (task,) = studio.import_tasks(home.project, [{"image": uri, "why": ""}])
    (prediction,) = studio.task(task)["predictions"]
    assert prediction["result"] == []
    assert f"task {task}" in {f.subject for f in home.house.pool.failures(home.project)}
    studio.delete_tasks(home.project, [task])
    loop.adopt(home.house, home.project, Job("adopt"))
    # Label Studio on SQLite gives the number of a deleted task to the next one, which is another image.
    assert home.house.pool.failures(home.project) == []


def test_an_interactive_call_answers_with_what_is_in_the_area(home: Home) -> None:
    samples = home.house.pool.samples()
    task = next(t for t in home.house.pool.tasks(home.project) if not samples[t.sample].holdout)
    everything = interact(home, task.id, [area(0, 0, 100, 100)])
    boxes = seen(home, task.id)
    # Weak boxes are hidden from those who open the task, not from those who point at something.
    assert len(everything) == len(boxes) > len(strong(home, task.id))
    one = boxes[0].box
    x, y, width, height = one.x1 * 100, one.y1 * 100, (one.x2 - one.x1) * 100, (one.y2 - one.y1) * 100
    found = interact(home, task.id, [area(x, y, width, height)])
    assert 0 < len(found) < len(everything)
    for item in found:
        value = item["value"]
        assert x <= value["x"] + value["width"] / 2 <= x + width
        assert y <= value["y"] + value["height"] / 2 <= y + height


def test_a_model_that_fails_says_nothing_in_its_name(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    studio = home.house.studio
    (uri,) = studio.upload(home.project, [("new.jpg", jpeg(render(7002)))])
    (task,) = studio.import_tasks(home.project, [{"image": uri, "why": ""}])
    monkeypatch.setattr(predictor, "_house", home.house)
    asked = protocol.PredictRequest.model_validate(
        {"tasks": [{"id": task, "data": {"image": uri}}], "project": f"{home.project}.1"}
    )
    with monkeypatch.context() as broken:
        broken.setattr(Detector, "_forward", out_of_memory)
        with pytest.raises(NotReady, match="any picture"):
            predictor._answer(home.project, asked)
    assert [f for f in home.house.pool.failures(home.project) if f.subject == f"task {task}"] == []
    version, items = predictor._answer(home.project, asked)
    assert (version, list(items)) == (home.house.champion(home.project).version, [task])
    studio.delete_tasks(home.project, [task])
    home.house.pool.drop_tasks(home.project, [task])


def out_of_memory(*_: object) -> None:
    raise RuntimeError("CUDA out of memory")


def test_what_was_answered_is_not_pushed_again(home: Home) -> None:
    house = home.house
    loop.adopt(house, home.project, Job("adopt"))
    loop.prelabel(house, home.project, Job("prelabel"))
    report = loop.push(house, home.project, Job("push"))
    assert report["repaired"] == 0
    assert report["held"] >= 4
    assert report["switched"]
    held = house.studio.predicted(home.project, house.champion(home.project).version)
    assert all(len(rows) == 1 for rows in held.values())
    assert len(held) == len(house.pool.tasks(home.project)) == SCENES + 1
