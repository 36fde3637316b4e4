"""The HTTP door, with the bodies that Label Studio really sends."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backend import heartbeat
from backend.app import NOT_CONNECTED, create_app
from backend.house import House, open_house
from backend.settings import Settings, load
from pool.schema import ModelVersion, Project
from tests.waiting import until

BODIES = Path(__file__).parents[1] / "fixtures" / "labelstudio"
SECRET = "s3cret"
SIGNED = {"X-Thresher-Secret": SECRET}


def bodies(name: str) -> list[dict[str, Any]]:
    return [json.loads(line)["body"] for line in (BODIES / f"{name}.jsonl").read_text().splitlines()]


def connected(house: House) -> None:
    house.pool.save_project(Project(1, "Bins", "label", "image", "image", ("bin",), {"bin": "bin"}, SECRET))
    house.pool.add_model(
        ModelVersion("bins-p1-0a", 1, "bins-0a.pt", "0a" * 32, ("bin",), datetime.now(UTC))
    )
    house.pool.promote("bins-p1-0a")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(data_dir=tmp_path, api_key="0" * 40, log_level="ERROR")


@pytest.fixture
def service(settings: Settings) -> Iterator[TestClient]:
    with open_house(settings) as house:
        connected(house)
    with TestClient(create_app(settings)) as client:
        yield client


def inbox(settings: Settings) -> list[str]:
    with open_house(settings) as house:
        return [e.key for e in house.pool.inbox(1000)]


def test_health_and_setup_tell_the_version_that_serves(service: TestClient) -> None:
    assert service.get("/health").json()["status"] == "UP"
    for body in bodies("setup"):
        version = service.post("/setup", json=body).json()["model_version"]
        assert version == ("bins-p1-0a" if body["project"].startswith("1.") else NOT_CONNECTED)


def test_a_promotion_reaches_setup_without_a_restart(service: TestClient, settings: Settings) -> None:
    with open_house(settings) as house:
        house.pool.add_model(
            ModelVersion("bins-p1-r1-0b", 1, "b.pt", "0b" * 32, ("bin",), datetime.now(UTC))
        )
        house.pool.promote("bins-p1-r1-0b")
    asked = bodies("setup")[0]
    until(lambda: service.post("/setup", json=asked).json()["model_version"] == "bins-p1-r1-0b")
    assert "bins-p1-0a" in service.get("/versions").json()["versions"]


def test_real_webhooks_are_stored_once(service: TestClient, settings: Settings) -> None:
    for _ in range(2):
        for body in bodies("webhook"):
            assert service.post("/webhook", json=body, headers=SIGNED).status_code == 201
    keys = inbox(settings)
    assert len(keys) == len(set(keys))
    assert any(k.startswith("ANNOTATION_CREATED:1:") for k in keys)
    assert any(k.startswith("ANNOTATIONS_DELETED:3") for k in keys)


def test_a_webhook_without_the_secret_stores_nothing_but_a_wish_to_train(
    service: TestClient, settings: Settings
) -> None:
    created = next(b for b in bodies("webhook") if b["action"] == "ANNOTATION_CREATED")
    training = next(b for b in bodies("webhook") if b["action"] == "START_TRAINING")
    assert service.post("/webhook", json=created, headers={"X-Thresher-Secret": "wrong"}).status_code == 401
    assert service.post("/webhook", json=created).status_code == 200
    assert inbox(settings) == []
    assert service.post("/webhook", json=training).status_code == 201
    assert len(inbox(settings)) == 1


def test_what_is_stored_holds_no_secret_of_label_studio(service: TestClient, settings: Settings) -> None:
    for body in bodies("webhook"):
        project = body.setdefault("project", {})
        project.update(token="invite-me", task_data_password="hidden")
        service.post("/webhook", json=body, headers=SIGNED)
    with open_house(settings) as house:
        text = json.dumps([dict(e.body) for e in house.pool.inbox(1000)])
    assert "invite-me" not in text
    assert "hidden" not in text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"no": "action"}'])
def test_a_broken_body_is_a_clear_400(service: TestClient, body: bytes) -> None:
    answer = service.post("/webhook", content=body, headers=SIGNED)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_broken_predict_names_the_field(service: TestClient) -> None:
    answer = service.post("/predict", json={"tasks": [{"id": "x"}], "project": "1.2"})
    assert answer.status_code == 400
    assert "tasks.0.id" in answer.json()["error"]


def test_an_unconnected_project_is_told_so_and_nothing_is_made_up(service: TestClient) -> None:
    answer = service.post("/predict", json=bodies("predict")[0] | {"project": "99.1795373660"})
    assert answer.status_code == 404
    assert "thresher connect 99" in answer.json()["error"]


def test_a_project_connected_a_moment_ago_is_known(service: TestClient, settings: Settings) -> None:
    body = bodies("predict")[0] | {"project": "2.1795373660"}
    assert service.post("/predict", json=body).status_code == 404
    with open_house(settings) as house:
        house.pool.save_project(
            Project(2, "B", "label", "image", "image", ("bin",), {"bin": "bin"}, SECRET)
        )
        house.pool.add_model(ModelVersion("bins-p2-0a", 2, "b.pt", "0a" * 32, ("bin",), datetime.now(UTC)))
        house.pool.promote("bins-p2-0a")
    answer = service.post("/predict", json=body)
    assert answer.status_code == 200
    assert [r["model_version"] for r in answer.json()["results"]] == ["bins-p2-0a"] * len(body["tasks"])


def test_a_webhook_is_noticed_also_after_a_restart(settings: Settings) -> None:
    with open_house(settings) as house:
        connected(house)
        for body in bodies("webhook")[:2]:
            before = heartbeat.heard(house.pool)
            with TestClient(create_app(settings)) as service:
                service.post("/webhook", json=body, headers=SIGNED)
                until(lambda: heartbeat.heard(house.pool) != before)  # noqa: B023 (called at once)


def test_a_predicting_process_that_dies_is_an_error_and_the_next_one_answers(service: TestClient) -> None:
    body = bodies("predict")[0]
    assert service.post("/predict", json=body).status_code == 200
    predictor = service.app.state.predictor  # type: ignore[attr-defined]
    (child,) = predictor._pool._processes.values()
    child.kill()
    child.join()
    assert service.post("/predict", json=body).status_code == 503
    assert service.post("/predict", json=body).status_code == 200


def test_basic_auth_guards_every_route_but_health(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path, basic_user="ls", basic_pass="pw", log_level="ERROR")
    with open_house(settings) as house:
        connected(house)
    with TestClient(create_app(settings)) as service:
        assert service.get("/health").status_code == 200
        for method, path in [
            ("POST", "/setup"),
            ("POST", "/predict"),
            ("GET", "/versions"),
            ("GET", "/metrics"),
        ]:
            assert service.request(method, path).status_code == 401
        assert service.post("/webhook", json=bodies("webhook")[1]).status_code == 401
        assert service.post("/webhook", json=bodies("webhook")[1], headers=SIGNED).status_code == 201
        good = {"Authorization": "Basic " + base64.b64encode(b"ls:pw").decode()}
        assert service.post("/setup", json=bodies("setup")[0], headers=good).status_code == 200
        wrong = {"Authorization": "Basic " + base64.b64encode(b"ls:no").decode()}
        assert service.get("/metrics", headers=wrong).status_code == 401


def test_metrics_are_what_the_ledger_holds(service: TestClient) -> None:
    text = service.get("/metrics").text
    assert 'thresher_count{noun="models",project="1"} 1.0' in text
    assert "thresher_worker_alive 0.0" in text
    assert "thresher_inbox_events 0.0" in text
