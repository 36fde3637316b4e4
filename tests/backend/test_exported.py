"""`thresher audit EXPORT`: a file alone, without server, ledger or model; run as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from consensus.page import SCHEMA

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "ultralytics", "diffusers", "ray", "sklearn", "label_studio_sdk", "pandas", "dbos")
EVIL = "<script>alert(1)</script>"


def item(label: str | None, x: float, y: float, w: float, h: float, **more: object) -> dict[str, Any]:
    value: dict[str, Any] = {"x": x, "y": y, "width": w, "height": h, "rotation": 0}
    value |= {"rectanglelabels": [label]} if label else {}
    return {
        "type": "rectanglelabels", "from_name": "label", "to_name": "image",
        "original_width": 400, "original_height": 300, "value": value, **more,
    }  # fmt: skip


POLYGON = {
    "type": "polygonlabels", "from_name": "label", "to_name": "image",
    "value": {"points": [[1, 2], [3, 4], [5, 1]], "polygonlabels": ["bin"]},
}  # fmt: skip
BIN, BAG = item("bin", 10, 10, 30, 40), item("garbage", 60, 60, 20, 30)


def annotation(number: int, who: int, *items: dict[str, Any], **more: object) -> dict[str, Any]:
    moment = f"2026-03-0{1 + number % 9}T12:00:00.000000Z"
    return {
        "id": number, "completed_by": who, "result": list(items), "was_cancelled": False,
        "ground_truth": False, "created_at": moment, "updated_at": moment, "lead_time": 12.5, **more,
    }  # fmt: skip


def task(number: int, *annotations: dict[str, Any], **data: object) -> dict[str, Any]:
    return {
        "id": number, "data": {"image": f"/data/upload/1/0a1b2c3d-photo{number}.jpg", **data},
        "annotations": list(annotations), "predictions": [],
    }  # fmt: skip


TASKS = [
    task(1, annotation(11, 1, BIN, BAG), annotation(12, 2, BIN, BAG)),
    task(2, annotation(21, 1, BIN, BAG), annotation(22, 2, BIN), source="generated"),
    task(3, annotation(31, 1), annotation(32, 2)),
    task(4, annotation(41, 1, BIN)),
    task(5, annotation(51, 1, item(EVIL, 10, 10, 30, 40)), annotation(52, 2, BIN, was_cancelled=True)),
]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(TASKS), encoding="utf-8")
    return path


def thresher(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from backend.cli import main\n"
        "sys.argv = ['thresher', *sys.argv[1:]]\n"
        "try:\n    main()\n"
        f"finally:\n    print('LOADED', [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder), "COLUMNS": "140"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def document(folder: Path, *words: object) -> dict[str, Any]:
    run = thresher(folder, "audit", *words, "--json")
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_a_file_alone_gives_the_whole_report(export: Path, tmp_path: Path) -> None:
    run = thresher(tmp_path, "audit", export, "--json")
    assert run.stderr.strip() == "LOADED []"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["export.json"]  # nothing is left behind
    found = json.loads(run.stdout)
    assert found["schema"] == SCHEMA
    project = found["project"]
    assert project["consensus_score"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert project["f1"] == pytest.approx(2 * 3 / 7)
    assert set(project["alpha"]) == {"exist", "label", "joint"}
    assert (project["samples"], project["compared"], project["agreed_empty"]) == (5, 3, 1)
    assert (project["skipped"], project["too_few"]) == (1, True)
    rows = {t["task"]: t for t in found["tasks"]}
    assert found["tasks"][0]["task"] == 2
    assert {n: rows[n]["consensus_score"] for n in rows} == {1: 1.0, 2: 0.5, 3: 1.0, 4: None, 5: None}
    assert rows[2]["name"] == "photo2.jpg"
    assert {s["source"]: s["consensus_score"] for s in found["sources"]} == {
        "camera": 1.0,
        "generated": 0.5,
    }
    assert [(p["first"], p["second"], p["samples"]) for p in found["pairs"]] == [("1", "2", 3)]
    assert [a["annotator"] for a in found["annotators"]] == ["1", "2"]


def test_identical_answers_score_exactly_one(tmp_path: Path) -> None:
    path = tmp_path / "same.json"
    same = [task(n, *(annotation(10 * n + k, k, BIN, BAG, BIN | {"id": "x"}) for k in (1, 2, 3)))
            for n in range(1, 4)]  # fmt: skip
    path.write_text(json.dumps(same), encoding="utf-8")
    project = document(tmp_path, path)["project"]
    for name in ("consensus_score", "vote_share", "f1", "mean_f1", "iou", "pq", "label_studio_iou"):
        assert project[name] == 1.0
    assert project["alpha"] == {"exist": 1.0, "label": 1.0, "joint": 1.0}


def test_settings_and_rules_are_taken_from_the_command(export: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "name: ours\nrules:\n  size: {severity: violation, limits: {bin: {max_width: 50 px}}}\n"
    )
    found = document(tmp_path, export, "--tau", "0.9", "--quorum", "0", "--rules", rules)
    assert found["settings"] == {"tau": 0.9, "quorum": 0.0, "least_votes": 1, "rules": "ours"}
    assert [c["rule"] for c in found["guidelines"]["counts"]] == ["size"]
    bag = [len(t["consensus"]) for t in found["tasks"] if t["task"] == 2]
    assert bag == [1]


def test_page_and_tables_are_written(export: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (1600, 1200), (90, 120, 60)).save(photos / "photo2.jpg")
    run = thresher(
        tmp_path, "audit", export, "--html", tmp_path / "out" / "report.html", "--csv", tmp_path / "csv",
        "--images", photos,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "consensus score" in run.stdout
    assert "too few" in run.stdout
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert EVIL not in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    tables = {p.name for p in (tmp_path / "csv").iterdir()}
    assert {"tasks.csv", "pairs.csv", "annotators.csv", "conflicts.csv", "objects.csv"} <= tables


def test_label_errors_need_the_name_of_a_model_that_learned_none_of_it(tmp_path: Path) -> None:
    seen = {"id": 1, "model_version": "v7", "score": 0.3, "result": [
        {**BIN, "score": 0.95}, {**item("garbage", 60, 5, 20, 20), "score": 0.9}]}  # fmt: skip
    told = [task(1, annotation(11, 1, BIN, BAG)) | {"predictions": [seen]}]
    path = tmp_path / "told.json"
    path.write_text(json.dumps(told), encoding="utf-8")
    assert document(tmp_path, path)["label_errors"] == []
    errors = document(tmp_path, path, "--model", "v7")["label_errors"]
    assert [(e["kind"], e["expected"], e["task"]) for e in errors[:1]] == [("missed", "garbage", 1)]
    run = thresher(tmp_path, "audit", path, "--model", "v8")
    assert run.returncode == 1
    assert "a model version in the export (v7)" in run.stderr


@pytest.mark.parametrize(
    ("content", "words", "told"),
    [
        ("{", (), "JSON"),
        ("[]", (), "task"),
        (json.dumps([{"id": 1, "image": "a.jpg", "label": []}]), (), "JSON"),
        (json.dumps(TASKS), ("--tau", "0"), "--tau must be above 0"),
        (json.dumps(TASKS), ("--quorum", "2"), "--quorum must be between 0 and 1"),
        (json.dumps(TASKS), ("--images", "/nowhere", "--html", "x.html"), "--images"),
        (json.dumps(TASKS), ("--images", "."), "--images must be given together with --html"),
        (json.dumps(TASKS), ("--html", "export.json"), "It holds something else"),
        (json.dumps(TASKS), ("--csv", "export.json"), "--csv must be a folder"),
        (json.dumps([task(1, annotation(1, 1, POLYGON), annotation(2, 2, POLYGON))]), (), "polygonlabels"),
        (
            json.dumps([TASKS[0], task(1, annotation(5, 3, BIN), image="/data/b.jpg")]),
            (),
            "task 1 with two",
        ),
        ("[" * 100_000, (), "brackets within brackets"),
        (json.dumps(TASKS), ("--html", "export.json/x.html"), "--html"),
        (json.dumps(TASKS), ("--project", "1"), "--project"),
        (json.dumps(TASKS), ("--rules", "none.yaml"), "rules"),
        (json.dumps(TASKS), ("--control", "other"), "other"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    tmp_path: Path, content: str, words: Sequence[str], told: str
) -> None:
    (tmp_path / "export.json").write_text(content, encoding="utf-8")
    run = thresher(tmp_path, "audit", tmp_path / "export.json", *words)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert run.stderr.startswith("error: ")
    assert told in run.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["export.json"]


def test_one_of_several_image_tags_can_be_chosen(tmp_path: Path) -> None:
    other = BIN | {"to_name": "second"}
    path = tmp_path / "two.json"
    path.write_text(json.dumps([task(1, annotation(1, 1, BIN, other), annotation(2, 2, BIN))]))
    run = thresher(tmp_path, "audit", path)
    assert run.returncode == 1
    assert "image, second" in run.stderr
    assert document(tmp_path, path, "--image-tag", "image")["project"]["consensus_score"] == 1.0


def test_dates_labels_and_places_beyond_reason_are_survived(tmp_path: Path) -> None:
    moments = ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00")
    far = [
        annotation(k, k, item("bin", 1e300, 5, 10, 10), created_at=moments[k - 1], lead_time=1e308)
        for k in (1, 2)
    ]
    many = [
        task(10 + k, *(annotation(100 + 2 * k + w, w, item(f"label {k}", 5, 5, 20, 20)) for w in (1, 2)))
        for k in range(60)
    ]
    path = tmp_path / "far.json"
    path.write_text(json.dumps([task(1, *far), *many]), encoding="utf-8")
    run = thresher(tmp_path, "audit", path, "--json", "--html", tmp_path / "far.html")
    assert run.returncode == 0
    assert run.stderr.strip() == "LOADED []"
    found = json.loads(run.stdout)
    assert len(found["confusion"]["labels"]) == 42
    assert found["confusion"]["labels"][-2:] == ["21 other labels", "absent"]
    assert '="inf"' not in (tmp_path / "far.html").read_text(encoding="utf-8")


def test_what_a_reader_should_know_first(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("labels: [dog]\n", encoding="utf-8")
    flat = item("bin", 10, 10, 0, 20)
    starred = [annotation(1, 1, BIN, ground_truth=True), annotation(2, 2, BIN), annotation(3, 3, flat)]
    path = tmp_path / "e.json"
    path.write_text(json.dumps([task(1, *starred)]), encoding="utf-8")
    told = document(tmp_path, path, "--rules", rules)["warnings"]
    assert any(w.startswith("1 counts as a judge") for w in told)
    assert any("rules.yaml are for dog" in w for w in told)
    assert any(w.startswith("1 boxes have no area") for w in told)


def test_options_of_an_export_are_refused_without_one(tmp_path: Path) -> None:
    run = thresher(tmp_path, "audit", "--images", tmp_path)
    assert run.returncode == 1
    assert "--images must be given together with an export file" in run.stderr
