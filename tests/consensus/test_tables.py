"""The CSV texts read back with the csv module, against the document."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pytest

from consensus.tables import tables
from tests.consensus.document import EVIL, sample

DOCUMENT = sample(30)


def read(text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


def number(text: str) -> float | None:
    return None if text == "" else float(text)


TABLES = {name: read(text) for name, text in tables(DOCUMENT).items()}


def test_there_is_a_row_for_each_thing() -> None:
    tasks, guidelines = DOCUMENT["tasks"], DOCUMENT["guidelines"]["findings"]
    assert {name: len(rows) for name, rows in TABLES.items()} == {
        "tasks": len(tasks),
        "objects": sum(len(t["consensus"]) for t in tasks),
        "pairs": len(DOCUMENT["pairs"]),
        "annotators": len(DOCUMENT["annotators"]),
        "conflicts": sum(len(t["conflicts"]) for t in tasks),
        "labels": len(DOCUMENT["labels"]),
        "guidelines": sum(max(1, len(f["boxes"]) + len(f["evidence"])) for f in guidelines),
    }


@pytest.mark.parametrize(("table", "key"), [("tasks", "tasks"), ("pairs", "pairs"), ("labels", "labels")])
def test_numbers_come_back_exactly_and_undefined_ones_empty(table: str, key: str) -> None:
    for row, source in zip(TABLES[table], DOCUMENT[key], strict=True):
        for name, value in source.items():
            if isinstance(value, float) or (
                value is None and name not in ("label", "url", "width", "height")
            ):
                assert number(row[name]) == value


def test_lists_of_a_task_are_counted() -> None:
    for row, task in zip(TABLES["tasks"], DOCUMENT["tasks"], strict=True):
        assert [int(row[k]) for k in ("annotators", "boxes", "conflicts")] == [
            len(task[k]) for k in ("annotators", "boxes", "conflicts")
        ]


def test_rates_edges_and_gold_have_columns_of_their_own() -> None:
    first, last = TABLES["annotators"][0], TABLES["annotators"][-1]
    person = DOCUMENT["annotators"][0]
    assert number(first["miss"]) == person["miss"]["value"]
    assert number(first["untouched_high"]) == person["untouched"]["high"]
    assert int(first["merged_of"]) == person["merged"]["of"]
    assert number(first["edge_left"]) == person["edges"]["left"]
    assert number(first["edges_area_ratio"]) == person["edges"]["area_ratio"]
    assert number(first["gold_iou"]) == person["gold"]["iou"]
    assert [last[k] for k in ("miss", "miss_low", "gold_f1", "vitality")] == [""] * 4


def test_boxes_are_rows_with_their_corners() -> None:
    boxes = [c["box"] for t in DOCUMENT["tasks"] for c in t["consensus"]]
    got = [[float(row[k]) for k in ("x1", "y1", "x2", "y2", "rotation")] for row in TABLES["objects"]]
    assert got == boxes
    confidence = [c["confidence"] for t in DOCUMENT["tasks"] for c in t["consensus"]]
    assert [float(row["confidence"]) for row in TABLES["objects"]] == confidence
    finding = DOCUMENT["guidelines"]["findings"][0]
    rows = [row for row in TABLES["guidelines"] if row["finding"] == "1"]
    assert [row["role"] for row in rows] == ["box"] * len(finding["boxes"]) + ["evidence"] * len(
        finding["evidence"]
    )
    assert TABLES["guidelines"][-1]["role"] == TABLES["guidelines"][-1]["x1"] == ""


def test_text_comes_back_as_it_was() -> None:
    assert [row["label"] for row in TABLES["labels"]] == [r["label"] or "" for r in DOCUMENT["labels"]]
    assert EVIL in {row["name"] for row in TABLES["annotators"]}
    strange: dict[str, Any] = sample(3)
    strange["labels"][0]["label"] = 'a,"b"\nc\t垃圾'
    assert read(tables(strange)["labels"])[0]["label"] == 'a,"b"\nc\t垃圾'


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@cell", "\tx", "\rx"])
def test_a_spreadsheet_sees_no_formula(text: str) -> None:
    strange = sample(3)
    strange["labels"][0].update(label=text, f1=-0.5)
    row = read(tables(strange)["labels"])[0]
    assert row["label"] == "'" + text
    assert row["f1"] == "-0.5"


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_no_number_is_an_empty_cell(value: float | None) -> None:
    strange = sample(3)
    strange["pairs"][0]["f1"] = value
    assert read(tables(strange)["pairs"])[0]["f1"] == ""


def test_nothing_gives_lines_of_names_alone() -> None:
    empty = {**sample(3), "tasks": [], "pairs": [], "annotators": [], "labels": []}
    empty["guidelines"] = {"counts": [], "findings": []}
    assert all(text.count("\n") == 1 for text in tables(empty).values())
