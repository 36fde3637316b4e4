from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backend.studio import percent
from backend.studio.convert import (
    FIRST,
    annotation,
    annotator,
    change,
    prediction_item,
    priority,
    read,
    results,
    shown,
)
from backend.studio.labeling import LabelingConfig, parse
from pool.schema import BadInput, Box, Change, Label, Prediction, Project, Region
from tests.backend.studio.bodies import named, rest, sent

PROJECT = Project(1, "bins", "label", "image", "image", ("a", "b"), {}, "secret")
PAIR = LabelingConfig("kind", "image", "image", (Label("a"), Label("b")), False, shape="rect")
SIZE = (500, 375)

shares = st.floats(0.0, 1.0)
scores = st.none() | st.floats(0.0, 1.0)
labels = st.none() | st.text(min_size=1)
ids = st.none() | st.text(min_size=1, max_size=8)
origins = st.sampled_from([None, "manual", "prediction", "prediction-changed"])


@st.composite
def boxes(draw: st.DrawFn, turned: bool = True) -> Box:
    x1, x2 = sorted((draw(shares), draw(shares)))
    y1, y2 = sorted((draw(shares), draw(shares)))
    rotation = draw(st.just(0.0) | st.floats(0.0, 359.0)) if turned else 0.0
    return Box(x1, y1, x2, y2, rotation)


regions = st.builds(Region, label=labels, box=boxes(), score=scores, id=ids, origin=origins)
unique = st.lists(regions, max_size=6, unique_by=lambda r: r.id or id(r))


def alike(a: Box, b: Box) -> bool:
    pairs = zip((a.x1, a.y1, a.x2, a.y2, a.rotation), (b.x1, b.y1, b.x2, b.y2, b.rotation), strict=True)
    return all(math.isclose(x, y, abs_tol=1e-9) for x, y in pairs)


def same(found: Region, given_: Region) -> bool:
    rest_of = replace(found, box=given_.box)
    return rest_of == given_ and alike(found.box, given_.box)


# ---- regions


@given(unique)
def test_regions_survive_the_way_to_label_studio_and_back(given_: list[Region]) -> None:
    items = json.loads(json.dumps(results(given_, PROJECT, SIZE)))
    found = read(items, PROJECT)
    assert found.ignored == {}
    assert len(found.regions) == len(given_)
    assert all(map(same, found.regions, given_))


@given(unique)
def test_so_they_do_where_rectangle_and_labels_are_two_tags(given_: list[Region]) -> None:
    named_ = [replace(region, id=f"r{i}") for i, region in enumerate(given_)]
    items = results(named_, PAIR, SIZE)
    assert len(items) == sum(1 if region.label is None else 2 for region in named_)
    found = read(items, PAIR)
    assert found.ignored == {}
    assert len(found.regions) == len(named_)
    assert all(map(same, found.regions, named_))


def test_an_item_is_written_as_label_studio_writes_it() -> None:
    region = Region("满溢", Box(0.05, 0.1, 0.27, 0.4), 0.36, "p1_0", "prediction")
    (item,) = results([region], PROJECT, SIZE)
    assert item == {
        "id": "p1_0",
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": 500,
        "original_height": 375,
        "image_rotation": 0,
        "score": 0.36,
        "origin": "prediction",
        "value": {
            "x": 5.0,
            "y": 10.0,
            "width": pytest.approx(22.0),
            "height": pytest.approx(30.0),
            "rotation": 0.0,
            "rectanglelabels": ["满溢"],
        },
    }


def test_real_predictions_are_reproduced() -> None:
    """What Label Studio stored and showed is what these functions write for the same regions."""
    for name, body in sent("predict"):
        for task in body["tasks"]:
            for stored in task["predictions"]:
                found = read(stored["result"], PROJECT)
                if not all("original_width" in item for item in stored["result"]):
                    continue
                again = results(found.regions, PROJECT, SIZE)
                assert again == [
                    {**item, "value": {**item["value"], **cast_numbers(item["value"])}}
                    for item in stored["result"]
                    if item["from_name"] == "label"
                ], name


def cast_numbers(value: dict[str, Any]) -> dict[str, Any]:
    return {key: pytest.approx(value[key]) for key in ("x", "y", "width", "height", "rotation")}


def item(**changes: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["a"]}
    value |= changes.pop("value", {})
    base = {"id": "r", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}
    return base | changes


def test_boxes_over_the_edge_are_kept_and_clipped() -> None:
    found = read([item(value={"x": -5, "y": 90, "width": 120, "height": 20})], PROJECT)
    assert found.regions[0].box == Box(0.0, 0.9, 1.0, 1.0)
    assert found.ignored == {}


def test_a_turned_frame_is_not_clipped() -> None:
    found = read([item(value={"x": 90, "y": 10, "width": 30, "height": 5, "rotation": 450})], PROJECT)
    assert alike(found.regions[0].box, Box(0.9, 0.1, 1.2, 0.15, 90.0))


def test_a_box_drawn_backwards_is_the_same_box() -> None:
    found = read([item(value={"x": 40, "y": 60, "width": -30, "height": -40})], PROJECT)
    assert alike(found.regions[0].box, Box(0.1, 0.2, 0.4, 0.6))


def test_the_turn_of_the_picture_on_the_screen_is_not_looked_at() -> None:
    found = read([item(image_rotation=90, original_width=500, original_height=375)], PROJECT)
    assert alike(found.regions[0].box, Box(0.1, 0.2, 0.4, 0.6))


def test_labels_none_one_or_many() -> None:
    found = read(
        [
            item(id="1", value={"rectanglelabels": []}),
            item(id="2", type="rectangle"),
            item(id="3", value={"rectanglelabels": ["b", "a"]}),
        ],
        PROJECT,
    )
    assert [region.label for region in found.regions] == [None, None, "b"]
    assert found.ignored == {"second label": 1}


def test_the_halves_of_a_region_meet_in_any_order_and_without_the_shape_known() -> None:
    place = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
    rect = {"id": "q", "from_name": "rect", "to_name": "image", "type": "rectangle", "value": place}
    kind = {**rect, "from_name": "kind", "type": "labels", "value": {**place, "labels": ["a"]}}
    lone = {**rect, "id": "z"}
    for items in ([rect, kind, lone], [lone, kind, rect]):
        found = read(items, PAIR)
        assert sorted((r.id or "", r.label) for r in found.regions) == [("q", "a"), ("z", None)]
    only_project = replace(PROJECT, control="kind")
    found = read([rect, kind, lone], only_project)
    assert [(r.id, r.label) for r in found.regions] == [("q", "a")]
    assert found.ignored == {"rectangle": 2}


def test_two_boxes_of_one_tag_are_two_regions_even_with_one_id() -> None:
    assert len(read([item(), item(value={"x": 50})], PROJECT).regions) == 2


def test_what_is_no_box_of_ours_is_counted() -> None:
    found = read(
        [
            item(),
            {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right", "labels": []},
            item(id="k", from_name="kp", type="keypointlabels", value={"keypointlabels": ["tip"]}),
            item(id="e", type="ellipselabels", value={})
            | {"value": {"x": 1, "y": 1, "radiusX": 2, "radiusY": 2}},
            item(to_name="map"),
            item(from_name="note", type="textarea", value={"text": ["torn"]}),
            {"from_name": "weather", "to_name": "image", "type": "choices", "value": {"choices": ["rain"]}},
            item(id="n", value={"x": float("nan")}),
            item(id="s", value={"width": "30"}),
            item(id="h", value={"height": 10**400}),
            item(id="t", value={"rotation": 5, "width": -3}),
            "no item",
        ],
        PROJECT,
    )
    assert len(found.regions) == 1
    assert found.ignored == {
        "relation": 1,
        "keypointlabels": 1,
        "ellipselabels": 1,
        "rectanglelabels": 1,
        "textarea": 1,
        "choices": 1,
        "broken": 5,
    }


@pytest.mark.parametrize(("result", "ignored"), [(None, {}), ({}, {}), ("[]", {}), ("{", {"broken": 1})])
def test_results_that_are_no_list(result: object, ignored: dict[str, int]) -> None:
    found = read(result, PROJECT)
    assert (found.regions, found.ignored) == ((), ignored)


def test_a_result_may_come_as_text() -> None:
    assert read(json.dumps([item()]), PROJECT) == read([item()], PROJECT)


numbers: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([])
)
junk = numbers | st.lists(numbers, max_size=3) | st.dictionaries(st.text(max_size=3), numbers, max_size=3)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        junk
        | st.fixed_dictionaries(
            {
                "from_name": st.just("label"),
                "value": st.dictionaries(st.sampled_from(["x", "y", "width", "height", "rotation"]), junk),
            },
            optional={"id": junk, "type": junk, "score": junk, "origin": junk, "to_name": st.just("image")},
        )
    )
)
def test_no_result_breaks_the_reading(result: list[Any]) -> None:
    found = read(result, PROJECT)
    for region in found.regions:
        assert all(map(math.isfinite, (region.box.x1, region.box.y1, region.box.x2, region.box.y2)))


def test_boxes_must_be_finite_and_pictures_have_a_size() -> None:
    with pytest.raises(BadInput, match="finite"):
        percent.value(Box(0, 0, math.inf, 1))
    with pytest.raises(BadInput, match="size"):
        results([Region("a", Box(0, 0, 1, 1))], PROJECT, (0, 10))


# ---- predictions


def prediction(**changes: Any) -> Prediction:
    shown = (Region("a", Box(0.1, 0.2, 0.3, 0.4), 0.9), Region("b", Box(0, 0, 1, 1), 0.2))
    return replace(Prediction("s" * 64, "v1", shown, ("a", "b"), uncertainty=0.25), **changes)


def test_a_prediction_item_has_what_the_import_takes() -> None:
    found = prediction_item(7, prediction(), PROJECT, SIZE)
    assert (found["task"], found["score"], found["model_version"]) == (7, 0.75, "v1")
    assert set(found) == {"task", "result", "score", "model_version"}
    assert [i["score"] for i in found["result"]] == [0.9, 0.2]
    names = [i["id"] for i in found["result"]]
    assert len(set(names)) == 2
    assert names == [i["id"] for i in prediction_item(8, prediction(), PROJECT, SIZE)["result"]]
    assert not set(names) & {
        i["id"] for i in prediction_item(7, prediction(model_version="v2"), PROJECT, SIZE)["result"]
    }
    json.dumps(found, allow_nan=False)


def test_ids_of_regions_are_kept() -> None:
    shown = (Region("a", Box(0, 0, 1, 1), 0.5, id="mine"),)
    assert prediction_item(7, prediction(regions=shown), PROJECT, SIZE)["result"][0]["id"] == "mine"


@pytest.mark.parametrize(
    ("uncertainty", "score"),
    [
        (0.0, 1.0),
        (1.0, FIRST),
        (0.3, 0.7),
        (-2, 1.0),
        (9, FIRST),
        (None, 0.0),
        (math.nan, 0.0),
        (math.inf, FIRST),
    ],
)
def test_the_most_uncertain_is_served_first(uncertainty: float | None, score: float) -> None:
    assert priority(uncertainty) == pytest.approx(score)


@given(st.floats(), st.floats())
def test_priority_is_a_finite_share_and_falls_with_uncertainty(a: float, b: float) -> None:
    assert 0.0 <= priority(a) <= 1.0
    if a <= b:
        assert priority(a) >= priority(b)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(unique)
def test_label_studios_own_validator_accepts_what_is_written(given_: list[Region]) -> None:
    from label_studio_sdk.label_interface.interface import LabelInterface

    known = [replace(r, label="b", score=min(max(r.score or 0.0, 0.0), 1.0)) for r in given_]
    rectangle = '<RectangleLabels name="label" toName="image"><Label value="b"/></RectangleLabels>'
    two = (
        '<Rectangle name="rect" toName="image"/>'
        '<Labels name="kind" toName="image"><Label value="b"/></Labels>'
    )
    for tags in (rectangle, two):
        config = f'<View><Image name="image" value="$image"/>{tags}</View>'
        found = prediction_item(1, prediction(regions=tuple(known)), parse(config), SIZE)
        errors = cast("Any", LabelInterface)(config).validate_prediction(found, return_errors=True)
        assert errors == []


# ---- annotations


def test_an_annotation_of_the_rest_api() -> None:
    task = rest("GET /api/tasks/{id}/")
    parent = task["predictions"][0]["result"]
    first, second = (annotation(payload, PROJECT, "s", parent) for payload in task["annotations"])
    assert (first.id, first.project, first.task, first.sample) == (4, 1, 50, "s")
    assert first.annotator == "1"
    assert first.lead_time == 4.5
    assert first.created_at == datetime(2026, 11, 23, 0, 35, 5, 338119, UTC)
    assert first.updated_at == datetime(2026, 11, 23, 0, 35, 5, 338181, UTC)
    assert [(r.id, r.label, r.origin) for r in first.regions] == [
        ("p0", "a", "prediction"),
        ("p1", "a", "prediction-changed"),
        ("h1", "b", "manual"),
    ]
    assert all(region.score is None for region in first.regions)
    assert first.parent_prediction == 46
    assert first.change == Change(kept=1, relabelled=1, added=1)
    assert not first.skipped
    assert (second.skipped, second.regions, second.change) == (True, (), None)


def test_the_list_and_the_single_task_give_the_same_annotation() -> None:
    one, listed = rest("GET /api/tasks/{id}/"), rest("GET /api/tasks/")
    assert isinstance(one["annotations"][0]["completed_by"], dict)
    assert isinstance(listed["annotations"][0]["completed_by"], int)
    by_id = {a["id"]: a for a in listed["annotations"]}
    for payload in one["annotations"]:
        assert annotation(payload, PROJECT, "s") == annotation(by_id[payload["id"]], PROJECT, "s")


@pytest.mark.parametrize(
    "call",
    [
        "POST /api/tasks/{id}/annotations/",
        "PATCH /api/annotations/{id}/",
        "POST /api/tasks/{id}/annotations/ with parent",
        "POST /api/tasks/{id}/annotations/ skipped",
    ],
)
def test_answers_to_submitting(call: str) -> None:
    payload = rest(call)
    found = annotation(payload, PROJECT, "s")
    assert found.id == payload["id"]
    assert found.skipped is payload["was_cancelled"]
    assert found.ground_truth is payload["ground_truth"]
    assert found.parent_prediction == payload["parent_prediction"]
    assert found.change is None


def test_webhooks_bring_their_own_parent() -> None:
    untouched = annotation(named("webhook", "0275-ui")["annotation"], PROJECT, "s")
    assert untouched.change == Change(kept=3)
    redrawn = annotation(named("webhook", "0055-ann-parent-pred")["annotation"], PROJECT, "s")
    assert redrawn.change == Change(relabelled=1, deleted=1)


def test_a_prediction_that_is_not_the_parent_is_not_compared_with() -> None:
    payload = named("webhook", "0275-ui")["annotation"]
    other = {**payload, "parent_prediction": payload["parent_prediction"] + 1}
    assert annotation(other, PROJECT, "s").change is None
    none = {**payload, "parent_prediction": None}
    assert annotation(none, PROJECT, "s", payload["prediction"]["result"]).change is None


def test_every_annotation_that_label_studio_sent_is_read() -> None:
    seen = 0
    for name, body in sent("webhook"):
        found = body.get("annotation")
        for payload in found if isinstance(found, list) else [found] if found else []:
            made = annotation(payload, PROJECT, "s")
            assert made.id == payload["id"], name
            assert made.annotator == str(payload["completed_by"])
            assert made.updated_at.tzinfo is UTC
            assert len(made.regions) == (0 if made.skipped else len(payload["result"]))
            seen += 1
    assert seen == 48


@pytest.mark.parametrize(
    ("completed_by", "name"),
    [
        (3, "3"),
        ({"id": 3, "email": "a@b"}, "3"),
        ({"email": "a@b"}, "a@b"),
        (None, "unknown"),
        ({}, "unknown"),
    ],
)
def test_annotators(completed_by: object, name: str) -> None:
    assert annotator(completed_by) == name


def test_ids_may_come_as_objects_and_times_in_other_zones() -> None:
    payload = {
        "id": 1,
        "task": {"id": 9, "data": {}},
        "created_at": "2026-11-23T02:00:00+02:00",
        "parent_prediction": {"id": 4},
    }
    found = annotation(payload, PROJECT, "s")
    assert (found.task, found.parent_prediction) == (9, 4)
    assert found.created_at == found.updated_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert found.regions == ()


@pytest.mark.parametrize("key", ["id", "task", "created_at"])
def test_what_is_no_annotation_is_refused(key: str) -> None:
    payload = {"id": 1, "task": 9, "created_at": "2026-11-23T02:00:00Z"}
    del payload[key]
    with pytest.raises(BadInput, match=key):
        annotation(payload, PROJECT, "s")


# ---- change

plain = st.builds(
    Region,
    label=st.sampled_from(["a", "b", None]),
    box=boxes(turned=False),
    id=st.none() | st.sampled_from(["1", "2", "3"]),
)


@given(st.lists(plain, max_size=6), st.lists(plain, max_size=6))
def test_every_box_before_and_after_is_counted_once(before: list[Region], after: list[Region]) -> None:
    found = change(before, after)
    stayed = found.kept + found.moved + found.relabelled
    assert stayed + found.deleted == len(before)
    assert stayed + found.added == len(after)
    assert min(found.added, found.deleted) >= 0


@given(st.lists(plain, max_size=6))
def test_nothing_done_is_all_kept(before: list[Region]) -> None:
    named_ = [replace(region, id=str(i)) for i, region in enumerate(before)]
    assert change(named_, named_) == Change(kept=len(named_))
    assert change(named_, list(reversed(named_))) == Change(kept=len(named_))
    assert change([], named_) == Change(added=len(named_))
    assert change(named_, []) == Change(deleted=len(named_))


@given(boxes(turned=False), st.sampled_from(["a", "b"]))
def test_a_box_drawn_anew_in_its_place_is_the_same_object(box: Box, label: str) -> None:
    assume(box.x2 - box.x1 > 0.01 and box.y2 - box.y1 > 0.01)
    before, after = Region("a", box, id="1"), Region(label, box, id="new", origin="manual")
    expected = Change(kept=1) if label == "a" else Change(relabelled=1)
    assert change([before], [after]) == expected


def test_moved_turned_relabelled_and_far_away() -> None:
    old = Region("a", Box(0.1, 0.1, 0.3, 0.3), id="1")
    assert change([old], [replace(old, box=Box(0.11, 0.1, 0.31, 0.3))]) == Change(moved=1)
    assert change([old], [replace(old, box=Box(0.1 + 1e-9, 0.1, 0.3, 0.3))]) == Change(kept=1)
    assert change([old], [replace(old, box=replace(old.box, rotation=10.0))]) == Change(moved=1)
    assert change([old], [replace(old, box=replace(old.box, rotation=359.99))]) == Change(kept=1)
    assert change([old], [replace(old, label="b", box=Box(0, 0, 1, 1))]) == Change(relabelled=1)
    # The same id keeps them together however far the box went; without it they are two objects.
    away = Box(0.7, 0.7, 0.9, 0.9)
    assert change([old], [replace(old, box=away)]) == Change(moved=1)
    assert change([old], [replace(old, box=away, id="2")]) == Change(added=1, deleted=1)


def test_the_best_overlap_is_paired_first() -> None:
    before = [Region("a", Box(0.0, 0.0, 0.4, 0.4)), Region("b", Box(0.05, 0.0, 0.45, 0.4))]
    after = [Region("b", Box(0.05, 0.0, 0.45, 0.4)), Region("a", Box(0.0, 0.0, 0.4, 0.4))]
    assert change(before, after) == Change(kept=2)


def test_one_box_stands_for_one_object() -> None:
    box = Box(0.1, 0.1, 0.5, 0.5)
    twins = [Region("a", box), Region("a", replace(box, x2=0.49))]
    assert change(twins, [Region("a", box)]) == Change(kept=1, deleted=1)
    assert change([Region("a", box)], twins) == Change(kept=1, added=1)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=6), st.floats(0, 1), st.booleans())
def test_people_meet_no_weak_box_and_none_on_a_holdout_image(
    scores: list[float | None], floor: float, holdout: bool
) -> None:
    regions = tuple(Region("bin", Box(0, 0, 0.5, 0.5), score=s) for s in scores)
    found = Prediction("a" * 64, "v", regions, ("bin",), uncertainty=0.3)
    met = shown(found, floor, holdout=holdout)
    assert met.regions == (
        () if holdout else tuple(r for r in regions if r.score is None or r.score >= floor)
    )
    assert (met.uncertainty, met.model_version) == (0.3, "v")
