from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from backend.studio.protocol import (
    CHANGED,
    DELETED,
    SECRETS,
    PredictRequest,
    SetupRequest,
    WebhookRequest,
    events,
    health,
    predictions,
    project_id,
    setup,
    stripped,
    versions,
)
from pool.schema import BadInput
from tests.backend.studio.bodies import named, rest, sent

NOW = datetime(2026, 11, 23, 12, 30, 15, tzinfo=UTC)
INVITE = "invite-token-of-the-organization"
LEGACY = "legacy-token-of-the-creator"


# ---- requests


def test_every_setup_that_label_studio_sent_is_read() -> None:
    seen = {SetupRequest.model_validate(body).project_id for _, body in sent("setup")}
    assert seen == {1, 3, 4, 5, 6, 8, 11, 13}
    first = SetupRequest.model_validate(named("setup", "0002-connect"))
    assert first.project_id == 1
    assert first.label_config.startswith("<View>")
    assert first.hostname == "http://127.0.0.1:8099"
    assert first.extra_params == {"conf": 0.25}


def test_the_creators_token_is_neither_shown_nor_dumped() -> None:
    read = SetupRequest.model_validate(named("setup", "0002-connect"))
    assert read.access_token is not None
    assert LEGACY not in repr(read) + str(read.model_dump()) + read.model_dump_json()


def test_every_predict_that_label_studio_sent_is_read_and_answered_in_order() -> None:
    for name, body in sent("predict"):
        read = PredictRequest.model_validate(body)
        asked = [task["id"] for task in body["tasks"]]
        assert [task.id for task in read.tasks] == asked, name
        assert [task.data for task in read.tasks] == [task["data"] for task in body["tasks"]]
        assert read.project_id == int(body["project"].split(".")[0])
        found = {
            asked[0]: {"task": asked[0], "result": [{"id": "x"}], "score": 0.4, "model_version": "old"}
        }
        answer = predictions(read.tasks, found, "v2")
        assert len(answer["results"]) == len(asked)
        assert answer["results"][0] == {"result": [{"id": "x"}], "score": 0.4, "model_version": "v2"}
        empty = {"result": [], "score": 0.0, "model_version": "v2"}
        assert all(result == empty for result in answer["results"][1:])


def test_interactive_requests_carry_what_was_drawn() -> None:
    drawn = PredictRequest.model_validate(named("predict", "stubb-0026"))
    assert drawn.context is not None
    assert [item["id"] for item in drawn.context] == ["k1"]
    assert PredictRequest.model_validate(named("predict", "0012")).context is None
    odd = PredictRequest.model_validate({"tasks": [], "params": {"context": {"result": "x"}}})
    assert odd.context == []


def test_tasks_may_be_asked_twice_and_the_project_left_out() -> None:
    read = PredictRequest.model_validate({"tasks": [{"id": 3}, {"id": 3}], "project": None})
    assert read.project_id is None
    item = {"result": [], "score": 0.5, "model_version": "v"}
    assert predictions(read.tasks, {3: item}, "v")["results"] == [item, item]


def test_a_request_without_tasks_is_refused() -> None:
    with pytest.raises(ValidationError):
        PredictRequest.model_validate({"project": "1.2"})


@pytest.mark.parametrize(("text", "number"), [("7.1795373660", 7), ("7", 7), (7, 7)])
def test_project_ids(text: str | int, number: int) -> None:
    assert project_id(text) == number


@pytest.mark.parametrize("text", ["", "x.1", None, ".5", "-1.2", "１.2"])
def test_what_is_no_project_id(text: str | None) -> None:
    with pytest.raises(BadInput, match="project"):
        project_id(text)


def test_small_answers() -> None:
    assert setup("v1") == {"model_version": "v1"}
    assert health(None)["status"] == "UP"
    assert versions(("v1", "v2")) == {"versions": ["v1", "v2"]}


# ---- events


def test_every_webhook_that_label_studio_sent_becomes_events() -> None:
    counts: Counter[str] = Counter()
    for name, body in sent("webhook"):
        found = events(body, NOW)
        assert found, name
        assert {event.action for event in found} == {body["action"]}
        assert {event.project for event in found} == {body["project"]["id"]}
        assert WebhookRequest.model_validate(body).events(NOW) == found
        for event in found:
            counts[event.action] += 1
            text = json.dumps(event.body)
            assert INVITE not in text, name
            assert "task_data_password" not in text
            if event.action in CHANGED:
                assert event.body["annotation"]["task"] == event.body["task"]["id"]
                assert "image" in event.body["task"]["data"]
                assert "project" not in event.body
    assert counts.keys() == {
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "TASKS_CREATED",
        "PROJECT_UPDATED",
        "START_TRAINING",
    }


def test_keys_tell_changes_apart_and_deliveries_not() -> None:
    """One change reaches two webhooks; two changes of one annotation are two events."""
    keys: dict[str, str] = {}
    for _, body in sent("webhook"):
        for event in events(body, NOW):
            text = json.dumps(event.body, sort_keys=True)
            assert keys.setdefault(event.key, text) == text
    created = events(named("webhook", "stub-0051"), NOW)[0].key
    again = events(named("webhook", "stubb-0001"), NOW)[0].key
    assert created == again
    updated = [events(named("webhook", f"stub-{n}"), NOW)[0] for n in ("0053", "0054")]
    assert len({created, updated[0].key, updated[1].key}) == 3
    assert updated[0].body["annotation"]["id"] == updated[1].body["annotation"]["id"]


def test_a_bulk_creation_is_one_event_for_each_annotation_with_its_task() -> None:
    body = named("webhook", "pred2ann")
    found = events(body, NOW)
    assert [event.body["annotation"]["id"] for event in found] == [111, 112]
    assert [event.body["task"]["id"] for event in found] == [363, 364]
    assert all(event.action == "ANNOTATIONS_CREATED" for event in found)


def test_deletions_are_one_event_for_each_id() -> None:
    body = {
        "action": "ANNOTATIONS_DELETED",
        "annotations": [{"id": 3}, {"id": 4}, {}],
        "project": {"id": 2},
    }
    found = events(body, NOW)
    assert [(e.key, e.project, e.body) for e in found] == [
        ("ANNOTATIONS_DELETED:3", 2, {"annotation": {"id": 3}}),
        ("ANNOTATIONS_DELETED:4", 2, {"annotation": {"id": 4}}),
    ]
    assert found[0].action in DELETED


def test_tasks_are_kept_in_short() -> None:
    (found,) = events(named("webhook", "0061-task-create"), NOW)
    assert found.body["tasks"] == [
        {
            "id": 21,
            "data": {"image": "http://127.0.0.1:8099/data/local-files/?d=bins/bin_000.jpg"},
            "meta": {"weather": "snow", "parent": 1, "seed": 42},
            "project": 1,
            "overlap": 1,
            "is_labeled": False,
            "updated_at": "2026-11-22T18:58:46.511514Z",
        }
    ]


def test_training_may_be_asked_for_again_a_minute_later() -> None:
    body = named("webhook", "0063-train-api")
    keys = [events(body, NOW + timedelta(seconds=s))[0].key for s in (0, 30, 60)]
    assert keys[0] == keys[1] != keys[2]


def test_other_events_of_equal_content_are_one() -> None:
    body = named("webhook", "0062-project-update")
    keys = {events(body, NOW + timedelta(hours=h))[0].key for h in (0, 1)}
    assert len(keys) == 1
    assert events({**body, "project": {**body["project"], "title": "new"}}, NOW)[0].key not in keys


def test_bodies_without_payload_are_events_of_their_minute() -> None:
    body = {"action": "ANNOTATION_CREATED"}
    first, second = events(body, NOW)[0], events(body, NOW + timedelta(minutes=1))[0]
    assert first.key != second.key
    assert (first.project, first.body) == (0, body)


def test_unknown_actions_are_fine() -> None:
    (found,) = events(
        {"action": "LABEL_LINK_CREATED", "label_link": {"id": 1}, "project": 5, "new": [1]}, NOW
    )
    assert (found.action, found.project) == ("LABEL_LINK_CREATED", 5)
    assert found.body["label_link"] == {"id": 1}
    assert found.body["new"] == [1]


@pytest.mark.parametrize("body", [{}, {"action": ""}, {"action": 3}, {"action": None}, [], "x"])
def test_what_is_no_event_is_refused(body: Any) -> None:
    with pytest.raises(BadInput, match="webhook"):
        events(body, NOW)


def test_the_project_of_an_annotation_is_used_where_the_body_has_none() -> None:
    payload = rest("POST /api/tasks/{id}/annotations/")
    (found,) = events({"action": "ANNOTATION_CREATED", "annotation": payload}, NOW)
    assert found.project == payload["project"]
    assert found.body["task"] == {"id": payload["task"]}


texts = st.text(max_size=4)
values = st.none() | st.booleans() | st.integers(-9, 9) | st.just(0.5) | texts
tree = values | st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=3)
actions = st.sampled_from([*sorted(CHANGED), *sorted(DELETED), "START_TRAINING", "TASKS_DELETED", "NEW"])
things = st.dictionaries(st.sampled_from(["id", "task", "project", "updated_at", "token"]), tree)


@settings(deadline=None, max_examples=50)
@given(
    actions,
    st.dictionaries(
        st.sampled_from(["annotation", "annotations", "task", "tasks", "project", "x"]),
        tree | things | st.lists(tree | things, max_size=3),
    ),
)
def test_no_body_with_an_action_breaks_the_intake(action: str, rest_of: dict[str, Any]) -> None:
    found = events({"action": action, **rest_of}, NOW)
    assert found
    assert all(isinstance(event.project, int) and event.action == action for event in found)
    assert found == events({"action": action, **rest_of}, NOW)


@given(
    st.recursive(
        values,
        lambda t: (
            st.lists(t, max_size=3)
            | st.dictionaries(texts | st.sampled_from(sorted(SECRETS)), t, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_no_secret_survives_at_any_depth(value: Any) -> None:
    def keys(v: Any) -> set[str]:
        if isinstance(v, dict):
            return {k.lower() for k in v} | {k for inner in v.values() for k in keys(inner)}
        return {k for inner in v for k in keys(inner)} if isinstance(v, list) else set()

    assert not keys(stripped(value)) & SECRETS
