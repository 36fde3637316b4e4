"""What has to change in Label Studio so that it shows the consensus; what it takes is tried live."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backend.studio.convert import results
from backend.studio.review import SOON, VERSION, Difference, Wanted, accepted, differences, people, starred
from pool.schema import Box, Project, Region

PROJECT = Project(1, "Bins", "label", "image", "image", ("bin", "垃圾"), {}, "secret")
BIN = Region("bin", Box(0.1, 0.2, 0.3, 0.4))
RESULT = results([BIN], PROJECT, (640, 480))
DATA = {"consensus_score": 0.5, "review": "open"}


def answer(number: int, who: object, **more: Any) -> dict[str, Any]:
    return {
        "id": number, "completed_by": who, "updated_at": f"2026-03-01T12:00:{number:02}Z",
        "was_cancelled": False, "ground_truth": False, "parent_prediction": None, **more,
    }  # fmt: skip


def prediction(number: int, version: str, score: float | None, result: object = ()) -> dict[str, Any]:
    return {"id": number, "model_version": version, "score": score, "result": result}


def task(**more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": 7, "data": {"image": "a.jpg"}, "overlap": 1, "is_labeled": True,
        "annotations": [answer(1, 5), answer(2, {"id": 6})], "predictions": [prediction(3, "v1", 0.7)],
    }  # fmt: skip
    return plain | more


def found(now: dict[str, Any], wanted: Wanted) -> dict[str, tuple[Any, Any]]:
    rows = differences({7: now}, {7: wanted}, PROJECT, "v1")
    return {d.field: (d.before, d.after) for d in rows}


def test_everything_is_missing_at_first_and_nothing_afterwards() -> None:
    wanted = Wanted(DATA, RESULT, 0.5, opinions=3)
    assert found(task(), wanted) == {
        "data.consensus_score": (None, 0.5),
        "data.review": (None, "open"),
        "prediction": (None, {"result": RESULT, "score": 0.5}),
        "overlap": (1, 3),
        "score": (0.7, SOON),
    }
    after = task(
        data={"image": "a.jpg", **DATA},
        overlap=3,
        predictions=[prediction(3, "v1", SOON), prediction(4, VERSION, 0.5, RESULT)],
    )
    assert found(after, wanted) == {}


@pytest.mark.parametrize(
    ("score", "region", "differs"),
    [
        (0.5, BIN, False),
        (0.5000001, BIN, False),
        (None, BIN, True),
        (0.4, BIN, True),
        (0.5, replace(BIN, label="垃圾"), True),
        (0.5, replace(BIN, box=Box(0.1, 0.2, 0.3, 0.41)), True),
        (0.5, replace(BIN, box=Box(0.1, 0.2, 0.3, 0.4, 5.0)), True),
        (0.5, replace(BIN, score=0.7, id="other"), False),  # how it is written is no difference
    ],
)
def test_a_prediction_is_written_again_only_if_it_shows_something_else(
    score: float | None, region: Region, differs: bool
) -> None:
    held = prediction(4, VERSION, score, results([region], PROJECT, (640, 480)))
    assert bool(found(task(predictions=[held]), Wanted({}, RESULT, 0.5))) is differs


def test_one_more_opinion_is_asked_for_only_while_it_is_missing() -> None:
    three = task(annotations=[answer(n, n) for n in (1, 2, 3)], overlap=3, predictions=[])
    assert "score" not in found(three, Wanted({}, RESULT, 0.5, opinions=3))
    skipped = task(annotations=[answer(1, 1), answer(2, 2), answer(3, 3, was_cancelled=True)], overlap=5)
    wanted = found(skipped, Wanted({}, RESULT, 0.5, opinions=3))
    assert "overlap" not in wanted  # somebody wants five already
    assert wanted["score"] == (0.7, SOON)
    assert people(skipped) == {1, 2}


def test_what_a_reviewer_made_of_the_consensus_is_starred_once() -> None:
    ours = prediction(4, VERSION, 0.5, RESULT)
    now = task(
        annotations=[
            answer(1, 5, parent_prediction=3),
            answer(2, 6, parent_prediction=4),
            answer(3, 7, parent_prediction=4),
            answer(9, 8, parent_prediction=4, was_cancelled=True),
        ],
        predictions=[ours],
    )
    assert accepted(now) == 3
    assert not starred(now)
    (star,) = differences({7: now}, {7: Wanted({}, RESULT, 0.5)}, PROJECT, "v1")
    assert star == Difference(7, "ground_truth", 3, False, True)
    now["annotations"][0]["ground_truth"] = True  # somebody settled it otherwise
    assert starred(now)
    assert found(now, Wanted({}, RESULT, 0.5)) == {}


def test_a_key_that_should_not_be_there_and_tasks_that_are_gone() -> None:
    now = task(data={"image": "a.jpg", "review": "open"}, predictions=[prediction(4, VERSION, 0.5, RESULT)])
    assert found(now, Wanted({"review": None}, RESULT, 0.5)) == {"data.review": ("open", None)}
    assert differences({}, {7: Wanted(DATA)}, PROJECT, "v1") == []
