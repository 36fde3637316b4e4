from __future__ import annotations

import copy
import gc
import json
from collections import Counter
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.studio import convert, tasks
from backend.studio.export import Export, read
from backend.studio.labeling import LabelingConfig
from consensus.marks import marks
from consensus.sheet import BEGUN, CHANGED, SCRATCH, UNTOUCHED, Sheet, sheet
from pool.schema import Annotation, BadInput, Label
from tests.backend.studio.bodies import sent

CONFIG = LabelingConfig("label", "image", "image", (Label("b"), Label("a")), False)
PAIR = LabelingConfig("kind", "image", "image", (Label("a"), Label("b")), False, shape="rect")
NO_JSON = "no json"
AT = "2026-03-01T12:00:00.250000Z"

Json = dict[str, Any]


def written(found: object) -> bytes:
    return json.dumps(found).encode()


def item(number: object = "r", label: str | None = "a", **changes: Any) -> Json:
    value = {"x": 10, "y": 20, "width": 30.5, "height": 40, "rotation": 0, "rectanglelabels": [label]}
    if label is None:
        del value["rectanglelabels"]
    value |= changes.pop("value", {})
    base = {"id": number, "from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    return {**base, "original_width": 500, "original_height": 375, "value": value} | changes


def said(number: int, *result: Json, by: object = 1, **changes: Any) -> Json:
    return {"id": number, "completed_by": by, "created_at": AT, "result": list(result)} | changes


def task(number: int, *annotations: Json, data: Json | None = None, **changes: Any) -> Json:
    given = {"image": f"/data/upload/3/{number}.jpg"} if data is None else data
    return {"id": number, "data": given, "annotations": list(annotations), "predictions": []} | changes


def records(found: list[Json], config: LabelingConfig) -> tuple[list[Annotation], Counter[str]]:
    """The annotations as `convert.annotation` reads them one at a time, and what it leaves out."""
    out, ignored = [], Counter[str]()
    project: Any = Connected(**{f.name: getattr(config, f.name) for f in fields(config)})
    for one in found:
        sample = str(one["data"].get("sample") or "") or f"task-{one['id']}"
        known = {p["id"]: p for p in reversed(one["predictions"]) if isinstance(p, dict)}
        for given_ in one["annotations"]:
            parent = known.get(given_.get("parent_prediction"), {}).get("result")
            body = {**given_, "task": one["id"]}
            out.append(convert.annotation(body, project, sample, parent))
            if not given_.get("was_cancelled"):
                ignored.update(convert.read(given_.get("result"), project).ignored)
    return out, ignored


@dataclass(frozen=True, slots=True)
class Connected(LabelingConfig):
    """A config that has a project's id, so that `convert.annotation` reads pairs of tags too."""

    id: int = 1


def assert_same(found: Sheet, expected: Sheet) -> None:
    """Equal but for boxes over the edge, which a record cuts off."""
    for field in fields(Sheet):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        if field.name == "boxes":
            a = np.where((found.turn == 0)[:, None], np.clip(a, 0, 1), a)
        if isinstance(a, tuple):
            assert a == b, field.name
        else:
            assert a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b, err_msg=field.name)


def check(found: list[Json], config: LabelingConfig) -> Export:
    """`read` says what `convert` says."""
    expected, ignored = records(found, config)
    out = read(written(found), config=config)
    size = {a.sample: (500, 375) for a in expected if stated(found, a.sample)}
    assert_same(out.sheet, sheet(expected, size))
    assert out.ignored == +ignored
    return out


def stated(found: list[Json], sample: str) -> bool:
    """Does any item of the sample tell the size of its image?"""
    for one in found:
        if (str(one["data"].get("sample") or "") or f"task-{one['id']}") == sample:
            results = [a.get("result") for a in one["annotations"] if not a.get("was_cancelled")]
            results += [p.get("result") for p in one["predictions"] if isinstance(p, dict)]
            results += [a["prediction"]["result"] for a in one["annotations"] if a.get("prediction")]
            for result in results:
                listed = json.loads(result) if isinstance(result, str) and result != NO_JSON else result
                if any(isinstance(i, dict) and i.get("original_width") for i in listed or []):
                    return True
    return False


# ---- the same as one annotation at a time

numbers = st.sampled_from([0, 5, 10.5, 33.3, 50, 99.9, -7, 130])
odd: st.SearchStrategy[Any] = st.sampled_from([None, "12", True, [], 10**400])
turns = st.sampled_from([0, 0, 0, 0.0, 30, 450, -30, None, False])
plain: list[Any] = [["a"], ["b"], ["袋"], [], ["a", "b"], ["", "b"], [""], ["", "", "a", "b"]]
names = st.sampled_from([*plain, None, "a", [1], ["a", None]])
ids = st.sampled_from(["r1", "r2", "r3", "r4", "", None, 7, "7"])


@st.composite
def items(draw: st.DrawFn, pair: bool, strange: bool) -> Any:
    if strange and draw(st.integers(0, 9)) == 0:
        return draw(
            st.sampled_from([None, 3, "x", {}, {"type": "relation", "from_id": "r1"}, {"value": 3}])
        )
    kinds = [("label", "rectanglelabels"), ("other", "polygonlabels"), ("text", "choices")]
    if pair:
        kinds = [("rect", "rectangle"), ("kind", "labels"), ("kind", "labels"), ("text", "choices")]
    name, kind = draw(st.sampled_from(kinds))
    value: Json = {key: draw(numbers) for key in ("x", "y", "width", "height")}
    value["rotation"] = draw(turns)
    if kind != "rectangle":
        value[kind] = draw(names if strange else st.sampled_from(plain))
    if kind == "polygonlabels":
        value = {"points": [[1, 2], [3, 4]], "polygonlabels": ["a"]}
    if strange and draw(st.integers(0, 5)) == 0:
        value[draw(st.sampled_from(sorted({"x", "width", "rotation"} & value.keys()) or ["z"]))] = draw(odd)
    if draw(st.integers(0, 9)) == 0:
        value.pop("height", None)
    out: Json = {"id": draw(ids), "from_name": name, "to_name": "image", "type": kind, "value": value}
    if draw(st.booleans()):
        out |= {"original_width": 500, "original_height": 375}
    if draw(st.integers(0, 9)) == 0:
        out["to_name"] = draw(st.sampled_from(["elsewhere", None]))
    if draw(st.integers(0, 9)) == 0:
        del out["to_name"]
    return out


people = st.sampled_from([1, 2, "ann", {"id": 3, "email": "x@y"}, {"email": "x@y"}, None, "", 0])
times = st.sampled_from([AT, "2026-03-01T12:00:00Z", "2026-03-01T14:00:00+02:00", "2026-03-01T12:00:00"])


@st.composite
def exports(draw: st.DrawFn, pair: bool, strange: bool) -> list[Json]:
    out, number = [], 0
    for k in range(draw(st.integers(1, 4))):
        results: st.SearchStrategy[Any] = st.lists(items(pair, strange), max_size=5)
        drawn = [
            {"id": 90 + p, "result": draw(results), "model_version": draw(st.sampled_from(["v1", None]))}
            for p in range(draw(st.integers(0, 2)))
        ]
        annotations = []
        for _ in range(draw(st.integers(0, 3))):
            number += 1
            result: Any = draw(results)
            parent = draw(st.sampled_from([None, 90, 91, 92, {"id": 90}]))
            known = [p for p in drawn if p["id"] == parent]
            repeats: bool = draw(st.booleans())
            if known and repeats:
                result = copy.deepcopy(known[0]["result"])
                for one in result[: draw(st.integers(0, 2))]:
                    if isinstance(one, dict) and isinstance(one.get("value"), dict):
                        one["value"]["x"] = draw(st.sampled_from([5.01, 40]))
                if draw(st.integers(0, 3)) == 0:
                    result = [*result[1:], *result[:1]]
            if strange and draw(st.integers(0, 5)) == 0:
                result = draw(st.sampled_from([json.dumps(result), None, {}, NO_JSON]))
            annotations.append(
                {
                    "id": number, "created_at": draw(times), "updated_at": draw(st.none() | times),
                    "completed_by": draw(people), "result": result,
                    "was_cancelled": draw(st.sampled_from([False, False, False, True])),
                    "ground_truth": draw(st.sampled_from([False, False, True])),
                    "lead_time": draw(st.sampled_from([None, 3, 2.5])),
                    "parent_prediction": parent if not isinstance(parent, dict) else parent["id"],
                }
            )  # fmt: skip
        data = draw(st.sampled_from([{"image": "/a.jpg"}, {"sample": "one"}, {"sample": ""}]))
        out.append(task(k + 1, *annotations, data=dict(data), predictions=drawn))
    return out


@settings(deadline=None, max_examples=60)
@given(exports(pair=False, strange=False))
def test_an_export_reads_as_its_annotations_do_one_at_a_time(found: list[Json]) -> None:
    check(found, CONFIG)


@settings(deadline=None, max_examples=60)
@given(exports(pair=False, strange=True))
def test_so_it_does_where_items_are_written_strangely(found: list[Json]) -> None:
    check(found, CONFIG)


@settings(deadline=None, max_examples=60)
@given(exports(pair=True, strange=True))
def test_so_it_does_where_rectangle_and_labels_are_two_tags(found: list[Json]) -> None:
    check(found, PAIR)


# ---- what the reader adds


def test_real_annotations_are_read_alike() -> None:
    found = []
    for _, body in sent("webhook"):
        given_ = body.get("annotation")
        if isinstance(given_, dict) and given_.get("result") is not None:
            found.append(task(int(body["task"]["id"]), given_, data=body["task"]["data"]))
    assert len(found) > 20
    out = check(found, CONFIG)
    assert out.labels == ("b", "a")  # the config's order
    assert len(out.sheet.owner) > 20
    known = {(p, int(n)) for p, n in zip(out.predictions.task, out.predictions.number, strict=True)}
    copies = {
        (t["id"], a["prediction"]["id"]) for t in found for a in t["annotations"] if a.get("prediction")
    }
    assert known == copies


def test_pictures_say_where_they_are_and_what_is_known_of_them() -> None:
    found = [
        task(1, said(1, item()), data={"image": "/data/local-files/?d=c/a%20b.jpg", "condition": "rain"}),
        task(2, data={"sample": "abc", "name": "bin 2", "photo": "s3://b/b.png", "source": "generated"}),
        task(3, data={"sample": "abc", "photo": "s3://b/c.png"}),
        task(4, data={"text": "nothing to see"}),
    ]
    out = read(written(found))
    assert list(out.pictures) == ["task-1", "abc", "task-4"]
    first, second, third = out.pictures.values()
    assert (first.image, first.name) == ("/data/local-files/?d=c/a%20b.jpg", "a b.jpg")
    assert first.data["condition"] == "rain"
    assert (second.image, second.name, second.tasks) == ("s3://b/b.png", "bin 2", (2, 3))
    assert second.data["source"] == "generated"
    assert (third.image, third.name) == ("", "task-4")
    assert out.sheet.samples == ("task-1",)


def test_boxes_over_the_edge_stay_as_drawn() -> None:
    out = read(written([task(1, said(1, item(value={"x": -5, "width": 120}), item("q", None)))]))
    np.testing.assert_allclose(out.sheet.boxes[0], [-0.05, 0.2, 1.15, 0.6])
    assert (out.outside, out.unnamed) == (1, 1)
    assert marks(out.sheet).boxes[0].tolist() == [0.0, 0.2, 1.0, pytest.approx(0.6)]


def test_what_was_left_out_is_counted() -> None:
    broken = item("b", value={"x": None})
    polygon = {"id": "p", "type": "polygonlabels", "from_name": "poly", "value": {"points": []}}
    many = item("m", value={"rectanglelabels": ["a", "b", "c"]})
    out = read(written([task(1, said(1, item(), broken, polygon, many), said(2, polygon, by=None))]))
    assert out.ignored == {"broken": 1, "polygonlabels": 2, "second label": 2}
    assert out.anonymous == 1
    assert out.sheet.annotators == ("1", "unknown")


def test_how_an_answer_began() -> None:
    seen = {"id": 9, "model_version": "v1", "score": 0.25, "result": [item(score=0.5), item("q", "b")]}
    gone = item("q", "b", value={"x": 60})
    answers = [
        said(1, item(), item("q", "b")),
        said(2, item(), item("q", "b"), parent_prediction=9),
        said(3, item("new"), item("q", "b"), parent_prediction=9),  # deleted, and drawn anew in its place
        said(4, item(), gone, parent_prediction=9),
        said(5, item(), parent_prediction=9),
        said(6, item(), item("q", "b"), parent_prediction=8),
        said(7, item(), item("q", "b"), parent_prediction=9, was_cancelled=True),
    ]
    out = read(written([task(1, *answers, predictions=[seen])]))
    assert out.sheet.start.tolist() == [SCRATCH, UNTOUCHED, UNTOUCHED, CHANGED, CHANGED, BEGUN, BEGUN]
    told = out.predictions
    assert (told.versions, told.score.tolist(), told.number.tolist()) == (("v1",), [0.25], [9])
    assert told.owner.tolist() == [0, 0]
    assert [told.labels[k] for k in told.label] == ["a", "b"]
    assert told.confidence[0] == 0.5
    assert np.isnan(told.confidence[1])


def test_an_export_with_ids_of_predictions_uses_the_copies_in_its_annotations() -> None:
    seen = {"id": 9, "model_version": "v1", "result": [item()]}
    answers = [said(k, item(), parent_prediction=9, prediction=seen) for k in (1, 2)]
    out = read(written([task(1, *answers, predictions=[9]), task(2, said(3, item(), prediction={}))]))
    assert out.sheet.start.tolist() == [UNTOUCHED, UNTOUCHED, SCRATCH]
    assert out.predictions.number.tolist() == [9]


# ---- forms of the file


def test_forms_of_the_same_export() -> None:
    found = [task(k, said(k, item(f"r{k}"))) for k in range(1, 200)]
    whole = read(written(found)).sheet
    lines = "\n".join(json.dumps(one) for one in found).encode()
    for form in (
        b"\xef\xbb\xbf" + written(found),
        written({"total": 199, "tasks": found}),
        lines,
        lines + b"\n",
    ):
        assert_same(read(form).sheet, whole)
    assert_same(read(json.dumps(found[0], indent=2).encode()).sheet, read(written(found[:1])).sheet)


def test_a_piece_more_or_less_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [task(k, said(k, item(f"r{k}", label="ab"[k % 2]), by=k % 3)) for k in range(1, 20)]
    whole = read(written(found))
    monkeypatch.setattr(tasks, "PIECE", 3)
    assert_same(read(written(found)).sheet, whole.sheet)


def test_the_garbage_collector_is_as_before() -> None:
    assert gc.isenabled()
    read(written([task(1)]))
    assert gc.isenabled()
    with pytest.raises(BadInput):
        read(b"[")
    assert gc.isenabled()


def test_an_export_without_annotations_is_empty() -> None:
    out = read(written([task(1), task(2)]))
    assert (out.sheet.samples, out.sheet.boxes.shape, out.control) == ((), (0, 4), None)
    assert marks(out.sheet).boxes.shape == (0, 4)


# ---- choices


def tagged(name: str, image: str = "image", kind: str = "rectanglelabels") -> Json:
    return item(name, from_name=name, to_name=image, type=kind)


def test_several_controls_ask_for_a_choice() -> None:
    found = written([task(1, said(1, tagged("front"), tagged("back"), tagged("back")))])
    with pytest.raises(BadInput, match="Choose one of: back, front"):
        read(found)
    with pytest.raises(BadInput, match=r"'side'.*Choose one of: back, front"):
        read(found, control="side")
    out = read(found, control="back")
    assert (out.control, len(out.sheet.owner)) == ("back", 2)
    assert out.ignored == {"rectanglelabels": 1}


def test_several_images_ask_for_a_choice() -> None:
    found = written([task(1, said(1, tagged("label", "left"), tagged("label", "right")))])
    with pytest.raises(BadInput, match="Choose one of: left, right"):
        read(found)
    out = read(found, image_tag="right")
    assert (out.image_tag, len(out.sheet.owner)) == ("right", 1)


def test_a_rectangle_beside_labels_is_found_without_a_config() -> None:
    shape = tagged("rect", kind="rectangle")
    name = {**tagged("kind", kind="labels"), "id": "rect"}
    name["value"] = {**name["value"], "labels": ["b"]}
    out = read(written([task(1, said(1, shape, name))]))
    assert (out.control, out.labels, len(out.sheet.owner)) == ("kind", ("b",), 1)
    alone = read(written([task(1, said(1, shape))]))
    assert (alone.control, alone.unnamed) == ("rect", 1)


# ---- what is no export


@pytest.mark.parametrize(
    ("data", "said_"),
    [
        (b"", "an empty file"),
        (b" \n", "an empty file"),
        (b"[]", "an empty file"),
        (b"id,image\n1,a.jpg", "id,image"),
        (b"[{'id': 1}]", "line 1, character 3"),
        (b'[{"id": 1,\n "lead_time": NaN}]', r"line 2, character 15.*NaN.*neither NaN"),
        (b'[{"id": 1', "the end of the file"),
        (b'{"tasks": 3}', "a list of tasks"),
        (b'{"detail": "Not found."}', "item 1 must be a task with its id, data and annotations"),
        (b"[1, 2]", "item 1 must be a task, but got 1"),
        (written([task(1), {"id": 2, "annotator": 1, "annotation_id": 3}]), "item 2.*JSON_MIN"),
        (written([{"id": 1, "data": {}}]), r"task 1.: annotations must be a list.*fields=all"),
        (written([{**task(1), "id": None}]), "item 1: id must be a whole number"),
        (written([task(1, {"created_at": AT, "result": []})]), r"task 1.: annotation 1: id must be"),
        (written([task(1, said(1), said(2, created_at=None))]), "annotation 2: created_at must be a time"),
        (written([task(1, said(1, updated_at="soon"))]), "annotation 1: updated_at must be a time.*'soon'"),
        (written([{**task(1), "annotations": ["x"]}]), "annotation 1 must be an annotation"),
        (b'[{"id": 1, "data": {"a": "\xff"}, "annotations": []}]', "item 1 must be JSON in UTF-8"),
        (b'[{"id": null, "data": {"a": "\xff"}, "annotations": []}]', "item 1 must be JSON in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_export_says_so(data: bytes, said_: str) -> None:
    with pytest.raises(BadInput, match=f"(?s){said_}") as caught:
        read(data)
    assert '"JSON"' in str(caught.value)


def test_numbers_written_as_text_are_ids_all_the_same() -> None:
    out = read(written([{**task(1, said(1, item())), "id": "7"}]))
    assert out.sheet.task.tolist() == [7]


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: f"[{{{text}".encode()))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(BadInput):
        read(data)
