"""A bench replays what people labelled, from where the project's models began, and says what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend import bench
from backend.house import House
from backend.replay import Run
from pool.schema import Box, NotReady, Region
from tests.backend.played import played
from tests.backend.small import say, sides, small_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with small_house(tmp_path) as opened:
        yield opened


def teach_house(house: House) -> None:
    plain, holdout = sides(house)
    for number, sample in enumerate([*plain, *holdout]):
        label = house.pool.project(1).labels[number % 3]
        say(house, sample, "ann", [Region(label, Box(0.2, 0.2, 0.7, 0.8, 10.0))])


def test_a_bench_replays_what_people_labelled(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plain, holdout = sides(house)
    project = house.pool.project(1)
    with pytest.raises(NotReady, match="outside the holdout"):
        bench.run(house, project, [], 2, 1, None, None, True)
    say(house, plain[0], "ann", skipped=True)
    say(house, plain[0], "ann")
    with pytest.raises(NotReady, match="in the holdout"):
        bench.run(house, project, [], 2, 1, None, None, True)
    for number, sample in enumerate([*plain[1:], *holdout]):
        turned = Box(0.2, 0.2, 0.7, 0.8, 10.0)
        say(house, sample, "ann", [Region(project.labels[number % 3], turned)])
    told: dict[str, Any] = {}

    def fake(*args: Any, **kwargs: Any) -> list[Run]:
        told.update(kwargs, rows=args[0], test=args[1], base=args[2], labels=args[3], strategies=args[4])
        return played(2, top_n=1.5)

    monkeypatch.setattr(bench, "replay", fake)
    bench.run(house, project, ["top_n"], 2, 1, None, None, True, tmp_path / "curves.png")
    said = json.loads(capsys.readouterr().out)
    assert {name for name, _, _ in told["rows"]} == {s.id for s in plain}
    assert {name for name, _, _ in told["test"]} == {s.id for s in holdout}
    boxes = [r.box for _, _, regions in (*told["rows"], *told["test"]) for r in regions]
    assert {b.rotation for b in boxes} == {0.0}
    assert told["base"] == house.registry.path(house.champion(1).weights)
    assert (told["initial"], told["size"], told["rounds"]) == (len(plain) // 4, len(plain) // 4, 1)
    assert (told["strategies"], list(told["seeds"])) == (["random", "count", "top_n"], [0, 1])
    assert [s["strategy"] for s in said["summary"]] == ["random", "count", "top_n"]
    assert len(said["runs"]) == 6
    assert said["caution"] == ""
    assert said["base"] == house.champion(1).version
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    bench.run(house, project, ["top_n"], 2, 1, 1, 2, False)
    assert (told["initial"], told["size"]) == (2, 1)
    shown = capsys.readouterr().out
    assert "top_n: " in shown
    assert "random: what the others are measured by" in shown


def test_a_replay_begins_before_anything_was_learned(house: House) -> None:
    root = house.champion(1)
    house.pool.add_model(replace(root, version="later", state="candidate", parent=root.version))
    house.pool.promote("later")
    assert bench.beginning(house, house.pool.project(1)) == house.pool.model(root.version)


@pytest.mark.slow
def test_a_real_model_is_taught_measured_and_picks(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    teach_house(house)
    bench.run(house, house.pool.project(1), ["top_n"], 1, 1, 1, 2, True, steps=2)
    said = json.loads(capsys.readouterr().out)
    assert [(r["strategy"], [n["images"] for n in r["rounds"]]) for r in said["runs"]] == [
        ("random", [2, 3]),
        ("count", [2, 3]),
        ("top_n", [2, 3]),
    ]
    firsts = [r["rounds"][0] for r in said["runs"]]
    assert firsts[0] == firsts[1] == firsts[2]
    assert all(0 <= n["map50_95"] <= n["map50"] <= 1 for r in said["runs"] for n in r["rounds"])
    assert "one seed" in said["summary"][-1]["verdict"]
