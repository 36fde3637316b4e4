"""The document: what is in it, what it says of single images, and that it is plain data."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from consensus import page, tables
from consensus.agreement import Pairs, count_pairs, pooled
from consensus.annotators import against_gold
from consensus.fusion import fuse_all
from consensus.matrix import bounds, matrix
from consensus.queue import review_order
from consensus.report import SCHEMA, About, document
from consensus.sheet import GOLD
from consensus.study import of_annotations, study
from consensus.tallies import tally
from consensus.tasks import Image
from pool.schema import Annotation
from tests.consensus.scenes import answers, drew, region
from tests.consensus.simulation import CONFUSES, LABELS, MISSES, job

A = region("bin", 0.1, 0.1, 0.3, 0.3)
A_AS_GARBAGE = region("garbage", 0.1, 0.1, 0.3, 0.3)
B = region("garbage", 0.5, 0.5, 0.75, 0.75)
BESIDE = region("garbage", 0.62, 0.5, 0.87, 0.75)  # IoU with B: 0.35
AT = datetime(2026, 3, 1, tzinfo=UTC)


def made(annotations: list[Annotation], **about: Any) -> dict[str, Any]:
    return document(of_annotations(annotations), About("here", "Bins", AT, **about))


def test_what_each_image_says() -> None:
    found = made(
        [
            drew("a", A, B, sample="one"),
            drew("b", A_AS_GARBAGE, sample="one"),
            drew("a", A, sample="two"),
            drew("b", A, sample="two"),
            drew("c", A, sample="two"),
            drew("a", sample="none", skipped=True),
            drew("a", A, sample="alone"),
        ],
        images={"one": Image("one.jpg", 7, "generated", "http://studio/7")},
        people={"a": "Ann"},
    )
    assert found["schema"] == SCHEMA == page.SCHEMA
    assert [t["sample"] for t in found["tasks"]] == ["one", "two", "alone", "none"]
    one, two, alone, none = found["tasks"]
    assert (one["name"], one["task"], one["source"], one["url"]) == (
        "one.jpg",
        7,
        "generated",
        "http://studio/7",
    )
    assert (one["consensus_score"], one["expected_errors"], one["disputed"]) == (0.0, 1.0, 2)
    assert two["consensus_score"] == 1.0
    assert [t["consensus_score"] for t in (alone, none)] == [None, None]
    assert alone["disputed"] is None
    said = {(c["annotator"], c["kind"]): (c["label"], c["expected"]) for c in one["conflicts"]}
    assert said == {
        ("a", "label"): ("bin", "garbage"),  # what the other says, not what won
        ("b", "label"): ("garbage", "bin"),
        ("a", "extra"): ("garbage", None),
        ("b", "missing"): (None, "garbage"),
    }
    assert one["consensus"][0]["votes"] == 2
    assert {s["source"]: s["samples"] for s in found["sources"]} == {"camera": 1, "generated": 1}
    assert [a["name"] for a in found["annotators"]] == ["Ann", "b", "c"]
    project = found["project"]
    assert (project["samples"], project["compared"], project["everybody_skipped"]) == (4, 2, 1)


def test_a_near_miss_is_one_conflict() -> None:
    found = made([drew("a", B), drew("b", B), drew("c", BESIDE)])
    assert [(c["annotator"], c["kind"]) for c in found["tasks"][0]["conflicts"]] == [("c", "location")]


def test_consensus_boxes_are_those_of_fusion() -> None:
    sheet = job(200).sheet
    found = document(study(sheet), About("here", "Bins", AT))
    kept = sum(len(t["consensus"]) for t in found["tasks"])
    assert kept > 1000
    everything = [drew("a", A, B), drew("b", A), drew("c", A)]
    fused = fuse_all(everything)["s"]
    (task,) = made(everything)["tasks"]
    assert [c["box"][:4] for c in task["consensus"]] == [
        [r.box.x1, r.box.y1, r.box.x2, r.box.y2] for r in fused.regions
    ]
    (task,) = made(everything, quorum=1.0)["tasks"]
    assert len(task["consensus"]) == 2


@given(answers())
@settings(max_examples=30, deadline=None)
def test_any_document_is_plain_data_that_can_be_shown(given_: list[Annotation]) -> None:
    found = made(given_)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "<html" in page.render(found)
    assert set(tables.tables(found)) >= {"tasks", "pairs", "annotators"}


def test_nothing_at_all_is_a_document_too() -> None:
    found = made([])
    assert found["project"]["consensus_score"] is None
    assert found["tasks"] == found["pairs"] == found["trend"] == []
    assert "<html" in page.render(found)


def test_ground_truth_stands_among_the_pairs() -> None:
    told = of_annotations([drew("a", A, B), drew("b", A), drew("r", A, B, ground_truth=True)])
    rows = {(p.first, p.second): p for p in matrix(told)}
    assert set(rows) == {("a", "b"), ("a", GOLD), ("b", GOLD)}
    assert rows["a", GOLD].f1 == 1.0
    assert rows["b", GOLD].f1 == pytest.approx(2 / 3)


def test_the_matrix_and_the_profiles_say_the_same_of_the_ground_truth() -> None:
    wide = {who: region("bin", x, 0.1, x + 0.2, 0.3) for who, x in (("a", 0.1), ("b", 0.15), ("gold", 0.2))}
    told = of_annotations(
        [drew("a", wide["a"]), drew("b", wide["b"]), drew("r", wide["gold"], ground_truth=True)]
    )
    rows = {p.first: p for p in matrix(told) if p.second == GOLD}
    assert (rows["a"].f1, rows["b"].f1) == (0.0, 1.0)  # b's box lies between, and joins nobody
    assert np.isnan(rows["a"].iou)
    gold = against_gold(told.sheet, told.tau)
    assert {who: (p.f1, p.samples) for who, p in rows.items()} == {
        who: (row.f1, row.images) for who, row in gold.items()
    }


def test_the_matrix_compares_nobody_with_their_own_verdict() -> None:
    told = of_annotations(
        [
            drew("a", A, sample="s", number=1, ground_truth=True),
            drew("a", A, sample="t", number=2),
            drew("b", B, sample="s", number=3),
        ]
    )
    assert [(p.first, p.f1, p.samples) for p in matrix(told) if p.second == GOLD] == [("b", 0.0, 1)]


def test_bounds_of_pairs_hold_the_truth_as_often_as_said() -> None:
    """Of a hundred parts of one job, nearly all bounds hold the F1 of the whole."""
    whole = study(job(6000, people=3, least=3, most=3).sheet)
    pairs = count_pairs(whole.marks, whole.objects)
    truth = pooled(pairs).f1
    held = []
    for k in range(100):
        some = pairs.sample % 100 == k
        part = Pairs(*(getattr(pairs, name)[some] for name in Pairs.__slots__))
        low, high = bounds(part, pooled(part))
        held.append((low <= truth) & (truth <= high))
        assert (high - low < 0.2).all()
    assert 0.9 < np.mean(held) < 0.99


def test_bounds_have_a_width_where_all_agree() -> None:
    rows = matrix(of_annotations([drew("a", A, B), drew("b", A, B)]))
    assert rows[0].f1 == rows[0].high == 1.0
    assert 0.3 < rows[0].low < 0.7
    rows = matrix(of_annotations([drew(who, sample=s) for who in "ab" for s in ("x", "y", "z")]))
    assert (rows[0].f1, rows[0].high) == (1.0, 1.0)
    assert rows[0].low < 0.6


def test_how_reliable_each_person_is_for_each_label() -> None:
    made_job = job(400)
    found = document(study(made_job.sheet), About("here", "Bins", AT))
    people = {
        a["annotator"]: {r["label"]: r["right"] for r in a["reliability"]} for a in found["annotators"]
    }
    assert set(people[made_job.sheet.annotators[0]]) == {*LABELS, "absent"}
    names = made_job.sheet.annotators
    mean = {who: np.mean([rates[label] for label in LABELS]) for who, rates in people.items()}
    assert min(mean, key=lambda who: mean[who]) in (names[CONFUSES], names[MISSES])
    assert made([drew("a", A), drew("b", A)])["annotators"][0]["reliability"] is None


def test_figures_of_periods_and_sources_add_up() -> None:
    sheet = job(300).sheet
    found = document(study(sheet), About("here", "Bins", AT))
    assert sum(row["samples"] for row in found["trend"]) == found["project"]["compared"]
    assert found["sweep"][2]["consensus_score"] == found["project"]["consensus_score"]
    figures = tally(study(sheet)).figures()
    assert found["project"]["f1"] == pytest.approx(figures.f1, abs=1e-6)
    low, high = found["project"]["intervals"]["f1"]
    assert low < found["project"]["f1"] < high
    counts = np.array(found["confusion"]["counts"])
    assert counts.shape == (len(found["confusion"]["labels"]),) * 2


def test_what_is_taken_for_what_leads_to_images() -> None:
    given_ = [
        answer
        for k in range(1, 8)
        for answer in (
            drew("a", A, sample=f"s{k}", number=3 * k),
            drew("b", A, sample=f"s{k}", number=3 * k + 1),
            drew("c", A_AS_GARBAGE, *[B] * (k == 7), sample=f"s{k}", number=3 * k + 2),
        )
    ]
    images = {f"s{k}": Image(f"{k}.jpg", 10 * (k % 7)) for k in range(1, 8)}
    found = made(given_, images=images)
    top = found["confusion"]["top"]
    assert [(m["expected"], m["said"], m["count"]) for m in top] == [
        ("bin", "garbage", 7),
        ("garbage", "absent", 2),
        ("absent", "garbage", 1),
    ]
    # The worst image has no task that is known; the rest are equal, and five are enough.
    assert top[0]["tasks"] == [10, 20, 30, 40, 50]
    assert top[2]["tasks"] == []
    assert [m["tasks"] for m in made(given_)["confusion"]["top"]] == [[1], [1], [1]]


def test_findings_are_counted_by_person() -> None:
    turned = region("bin", 0.4, 0.4, 0.5, 0.5, -7.5)
    found = made(
        [drew("a", A, turned, sample=s, number=k) for k, s in enumerate("xy")]
        + [drew("b", A, sample=s, number=k + 5) for k, s in enumerate("xy")]
    )["guidelines"]
    assert found["annotators"] == {"a": 2}
    assert sum(row["count"] for row in found["counts"]) == len(found["findings"]) == 2


def test_images_come_in_the_order_of_review() -> None:
    told = study(job(150, least=1).sheet)
    names = [t["sample"] for t in document(told, About("here", "Bins", AT))["tasks"]]
    first = [told.marks.samples[k] for k in review_order(told)]
    assert 0 < len(first) < len(names)
    assert names[: len(first)] == first
    assert names[len(first) :] == sorted(set(told.marks.samples) - set(first))


@pytest.mark.parametrize("days", [[0, 7, 14, 36, 37], [0, 1, 2, 3, 3]])
def test_each_image_is_in_one_period(days: list[int]) -> None:
    """Of weeks with gaps as of equal parts, which end with an answer; a moment of old is one more."""
    moments = [AT + timedelta(days=day) for day in days] + [AT.replace(year=1026)]
    given_ = [
        replace(
            drew(who, A, *[B] * (who == "b" and k % 2), sample=f"s{k}"), created_at=then, updated_at=then
        )
        for k, then in enumerate(moments)
        for who in "ab"
    ]
    rows = made(given_)["trend"]
    assert sum(row["samples"] for row in rows) == len(moments)
    assert len(rows) == len(set(moments)) - (37 in days)
    assert rows[0]["start"] < "1027"
    right = sum(row["samples"] * row["consensus_score"] for row in rows)
    assert right == pytest.approx(3 * 1.0 + 3 * 0.5)
