"""What the client relies on, asked of a real Label Studio."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from backend.demo.server import LabelStudioServer
from backend.studio.client import ANSWERS, Studio
from backend.studio.convert import annotation, prediction_item
from backend.studio.labeling import parse
from backend.studio.media import Fetcher
from backend.studio.transport import Refusal
from pool.schema import BadImage, Box, Change, Prediction, Project, Region, StudioError
from tests.live.conftest import CONFIG, LABELS, picture

EVER = datetime(2000, 1, 1, tzinfo=UTC)
TWO_KEYS = CONFIG.replace('<Header value="$why"/>', '<Text name="why" value="$why"/>')
PAIR = (
    '<View><Image name="image" value="$image"/><Rectangle name="rect" toName="image"/>'
    '<Labels name="kind" toName="image"><Label value="a"/></Labels></View>'
)


@pytest.fixture
def project(studio: Studio, titles: Iterator[str]) -> int:
    return int(studio.create_project(next(titles), CONFIG)["id"])


def items(tasks: list[int], version: str) -> list[dict[str, Any]]:
    return [{"task": task, "result": [], "score": 0.5, "model_version": version} for task in tasks]


def test_the_server_and_its_people(studio: Studio, ann: Studio) -> None:
    assert studio.version().startswith("1.23")
    assert studio.users()[str(ann.me()["id"])] == "Ann Müller"


def test_imported_tasks_keep_their_order_and_are_listed_once(studio: Studio, project: int) -> None:
    data = [{"image": f"/data/upload/{project}/{i}.jpg", "why": f"n{i}"} for i in range(501)]
    ids = studio.import_tasks(project, data)
    listed = list(studio.tasks(project, 200, only=("id", "data")))
    assert [task["id"] for task in listed] == ids
    assert [task["data"] for task in listed] == data
    assert {task["id"] for task in studio.tasks_since(project, EVER, 90, only=("id", "updated_at"))} == set(
        ids
    )
    studio.delete_tasks(project, ids[1:])
    assert [task["id"] for task in studio.tasks(project)] == ids[:1]


def test_what_touches_a_task(studio: Studio, ann: Studio, project: int) -> None:
    first, second = studio.import_tasks(project, [{"image": "a.jpg"}, {"image": "b.jpg"}])

    def touched(since: datetime) -> list[int]:
        return [task["id"] for task in studio.tasks_since(project, since)]

    now = datetime.now(UTC)
    assert touched(now) == []
    ann.create_annotation(second, result=[], lead_time=2.5)
    ann.create_annotation(first, result=[], was_cancelled=True)
    assert touched(now) == [first, second]
    now = datetime.now(UTC)
    studio.import_predictions(project, items([first], "v"))
    assert touched(now) == []
    studio.patch_task(second, overlap=2, is_labeled=False)
    assert touched(now) == [second]


def test_predictions_in_and_out(studio: Studio, project: int) -> None:
    tasks = studio.import_tasks(project, [{"image": f"{i}.jpg"} for i in range(3)])
    assert studio.import_predictions(project, items(tasks, "v1") + items(tasks[:1], "v2")) == 4
    assert studio.prediction_counts(project) == {"v1": 3, "v2": 1}
    held = studio.predicted(project, "v1")
    assert list(held) == tasks
    assert studio.patch_prediction(held[tasks[0]][0], cluster=3)["cluster"] == 3
    studio.delete_prediction(held[tasks[0]][0])
    assert list(studio.predicted(project, "v1")) == tasks[1:]
    studio.delete_predictions(project, "v1")
    assert studio.prediction_counts(project) == {"v2": 1}


def test_what_the_validator_skips_is_explained(studio: Studio, project: int) -> None:
    (task,) = studio.import_tasks(project, [{"image": "a.jpg"}])
    bad = {**items([task], "v")[0], "score": 1.7}
    assert studio.import_predictions(project, [*items([task], "v"), bad]) == 1
    (line,) = studio.refusals(CONFIG, [*items([task], "v"), bad])
    assert line.startswith(f"task {task}: Score")
    with pytest.raises(Refusal) as caught:
        studio.import_predictions(project, items([10**9], "v"))
    assert caught.value.status == 400


@pytest.mark.parametrize("config", [CONFIG, TWO_KEYS])
def test_uploads_and_their_way_back(studio: Studio, titles: Iterator[str], config: str) -> None:
    number = int(studio.create_project(next(titles), config)["id"])
    files = [(f"满 {i % 2}.png", picture(number, i)) for i in range(60)]
    urls = studio.upload(number, files)
    with Fetcher(studio.url, studio.headers) as fetcher:
        assert [fetcher.fetch(1, url)[0] for url in urls] == [data for _, data in files]
        assert all(fetcher.fetch(1, url)[1].endswith(".png") for url in urls[:2])
        with pytest.raises(StudioError):
            fetcher.fetch(1, f"/data/upload/{number}/nothing.png")
        with pytest.raises(BadImage, match="404"):
            fetcher.fetch(1, "s3://no-such-bucket/x.png")
    assert httpx.get(studio.url + urls[0]).status_code == 401


def test_a_personal_token_works_everywhere_and_its_access_token_is_refused(
    studio: Studio, server: LabelStudioServer
) -> None:
    # Label Studio gives a user one personal token and refuses a second: the server object keeps it.
    with Studio(studio.url, server.personal_token()) as other:
        assert other.me()["id"] == studio.me()["id"]
        access = other.headers()["Authorization"].removeprefix("Bearer ")
    with pytest.raises(StudioError, match="short-lived"):
        Studio(studio.url, access)
    with Studio(studio.url, "f" * 40) as wrong, pytest.raises(Refusal, match="legacy token is wrong"):
        wrong.me()


@pytest.mark.parametrize("config", [CONFIG, PAIR])
def test_boxes_go_out_and_come_home_unchanged(studio: Studio, titles: Iterator[str], config: str) -> None:
    number = int(studio.create_project(next(titles), config)["id"])
    found = parse(config)
    label = found.labels[0].value
    shown = (
        Region(label, Box(0.1, 0.2, 0.5, 0.75), 0.9),
        Region(label, Box(0.5, 0.5, 0.9, 0.9, 30.0), 0.2),
    )
    (task,) = studio.import_tasks(number, [{"image": "a.jpg"}])
    item = prediction_item(task, Prediction("s", "v", shown, (), uncertainty=0.25), found, (16, 12))
    assert studio.import_predictions(number, [item]) == 1
    parent = studio.predicted(number, "v")[task][0]
    studio.create_annotation(task, result=item["result"], parent_prediction=parent)
    here = Project(number, "p", found.control, found.image_tag, found.image_key, LABELS, {}, "s")
    (light,) = studio.tasks(number, only=ANSWERS)
    stored = studio.task(task)
    parents = stored["predictions"][0]["result"]
    assert annotation(light["annotations"][0], here, "s", light["predictions"][0]["result"]) == annotation(
        stored["annotations"][0], here, "s", parents
    )
    read = annotation(stored["annotations"][0], here, "s", parents)
    assert stored["predictions"][0]["score"] == 0.75
    assert read.change == Change(kept=2)
    assert [region.label for region in read.regions] == [label, label]
    assert read.regions[1].box.rotation == 30.0
    assert read.regions[0].box.x2 == pytest.approx(0.5)


def test_webhooks_and_tabs_keep_what_is_not_changed(studio: Studio, project: int) -> None:
    hook = studio.create_webhook(
        project, "http://127.0.0.1:9/webhook", actions=["TASKS_CREATED"], send_for_all_actions=False
    )
    assert studio.update_webhook(hook["id"], is_active=False)["actions"] == ["TASKS_CREATED"]
    studio.delete_webhook(hook["id"])
    assert studio.webhooks(project) == []
    view = studio.create_view(project, {"title": "Open", "ordering": ["tasks:id"]})
    assert studio.update_view(view["id"], {"title": "Mine"})["data"]["ordering"] == ["tasks:id"]
    assert [each["data"]["title"] for each in studio.views(project)] == ["Mine"]


def test_the_stream_ends_and_wrong_ids_are_told_apart(studio: Studio, project: int) -> None:
    assert studio.next_task(project) is None
    (task,) = studio.import_tasks(project, [{"image": "a.jpg"}])
    found = studio.next_task(project)
    assert found is not None
    assert found["id"] == task
    with pytest.raises(Refusal, match="No Project"):
        studio.next_task(10**9)
    with pytest.raises(Refusal, match="at least 3 characters"):
        studio.create_project("ab", CONFIG)
    assert studio.find_projects(studio.project(project)["title"])[0]["id"] == project


def test_a_storage_address_is_asked_for_by_its_packed_form(studio: Studio, project: int) -> None:
    (task,) = studio.import_tasks(project, [{"image": "s3://b/a.jpg"}])
    assert studio.task(task)["data"] == {"image": "s3://b/a.jpg"}
    packed = base64.urlsafe_b64encode(b"s3://b/a.jpg").decode()
    with Fetcher(studio.url, studio.headers) as fetcher, pytest.raises(BadImage, match="404"):
        fetcher.fetch(task, f"/tasks/{task}/resolve/?fileuri={packed}")
