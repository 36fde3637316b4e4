"""A replay compares in pairs, and tells strategies what the loop tells them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend import briefing, doubts, learning
from backend.detector.predict import DetectorOptions
from backend.house import House, Job
from backend.replay import Run, epochs_of, replay, signals_of, with_controls
from pool.schema import BadInput, Box, Failure, NotReady, Prediction, Region
from sampler.strategies import select
from tests.backend.small import say, sides, small_house


def test_a_round_has_at_least_the_steps_that_it_shall_have() -> None:
    assert (epochs_of(200, 40, 8), epochs_of(200, 41, 8), epochs_of(1, 500, 8)) == (40, 34, 1)
    for images in (1, 7, 8, 9, 100):
        batches = -(-images // 8)
        assert (epochs_of(30, images, 8) - 1) * batches < 30 <= epochs_of(30, images, 8) * batches


LABELS = ("easy", "rare")
ROWS = [
    (f"s{i}", Path(f"/{i}.jpg"), (Region(LABELS[i % 7 == 0], Box(0, 0, 1, 1)),) * (1 + i % 3))
    for i in range(30)
]


class Taught:
    """Notes every training and writes down what was learned from."""

    def __init__(self) -> None:
        self.calls: list[tuple[Path, tuple[str, ...], int]] = []

    def __call__(self, base: Path, rows: Sequence[Any], seed: int, folder: Path) -> Path:
        assert list(folder.iterdir()) == []
        names = tuple(name for name, _, _ in rows)
        self.calls.append((base, names, seed))
        (folder / "w.json").write_text(json.dumps(names))
        return folder / "w.json"


class Seen:
    """A detector that is sure of what it learned, and of the rest the less the higher its number is."""

    def __init__(self, weights: Path, options: DetectorOptions, *, version: str, label_map: Any) -> None:
        self.known = set(json.loads(weights.read_text()))
        assert dict(label_map) == {label: label for label in LABELS}

    def predict(self, images: Sequence[tuple[str, Path]]) -> Iterator[Prediction]:
        for name, _ in images:
            number = int(name[1:])
            score = 0.99 if name in self.known else 0.9 - 0.4 * number / 30
            regions = tuple(
                Region(LABELS[number % 2], Box(0, 0, 1, 1), score=score) for _ in range(1 + number % 3)
            )
            probs = np.full((len(regions), 2), score, dtype=np.float16)
            embedding = np.array([number, 1], dtype=np.float16)
            yield Prediction(name, "m", regions, LABELS, 0.0, probs=probs, embedding=embedding)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Taught:
    monkeypatch.setattr("backend.detector.predict.Detector", Seen)
    learned = {"map50": 0.5, "map50_95": 0.25}
    monkeypatch.setattr(
        "backend.replay.evaluate",
        lambda d, rows, labels: {key: v + len(d.known) / 100 for key, v in learned.items()},
    )
    return Taught()


def play(engine: Taught, *strategies: str, seeds: Sequence[int] = (0, 1), **changes: Any) -> list[Run]:
    counts = {"initial": 6, "size": 4, "rounds": 3, **changes}
    options = DetectorOptions()
    return replay(
        ROWS,
        ROWS[:3],
        Path("/b.pt"),
        LABELS,
        strategies,
        seeds=seeds,
        options=options,
        teach=engine,
        **counts,
    )


def test_strategies_are_compared_in_pairs(engine: Taught) -> None:
    runs = play(engine, "top_n", "core_set")
    assert [(r.strategy, r.seed) for r in runs] == [
        (name, seed) for seed in (0, 1) for name in ("random", "count", "top_n", "core_set")
    ]
    assert all([r.images for r in one.rounds] == [6, 10, 14, 18] for one in runs)
    firsts = [[one.rounds[0] for one in runs if one.seed == seed] for seed in (0, 1)]
    assert all(first is every[0] for every in firsts for first in every)
    assert len(engine.calls) == 2 * (1 + 4 * 3)  # the first model is trained once a seed
    assert {base for base, _, _ in engine.calls} == {Path("/b.pt")}  # never a warm start
    first_sets = {seed: names for _, names, seed in reversed(engine.calls) if len(names) == 6}
    assert first_sets[0] != first_sets[1]
    for _, names, seed in engine.calls:
        assert names[:6] == first_sets[seed]
        assert len(set(names)) == len(names)
    for one in runs:
        assert one.rounds[-1].map50_95 == pytest.approx(0.25 + 0.18)


def test_a_strategy_picks_from_what_the_rounds_own_model_sees(engine: Taught) -> None:
    play(engine, "top_n", seeds=[0])
    top = [names for _, names, _ in engine.calls][-3:]
    start = {int(name[1:]) for name in top[0][:6]}
    # The higher the number the closer to one half; labelled images are no candidates.
    expected = [f"s{i}" for i in sorted(set(range(30)) - start, reverse=True)]
    assert list(top[-1][6:]) == expected[:12]
    assert [len(names) for names in top] == [10, 14, 18]
    assert all(after[: len(before)] == before for before, after in pairwise(top))
    crowded = [names for _, names, _ in engine.calls][4:7]
    assert all(int(name[1:]) % 3 == 2 for name in crowded[0][6:])


def test_the_same_again_and_whoever_else_takes_part(engine: Taught) -> None:
    def picks(*strategies: str) -> list[tuple[Path, tuple[str, ...], int]]:
        engine.calls.clear()
        play(engine, *strategies)
        return list(engine.calls)

    first = picks("clasp", "max_herding")
    assert picks("clasp", "max_herding") == first
    other = picks("max_herding", "random", "clasp", "top_n")
    assert set(first) <= set(other)


def test_boxes_are_counted_on_the_labelled_images(engine: Taught) -> None:
    of = {name: len(regions) for name, _, regions in ROWS}
    runs = play(engine, seeds=[3])
    sets = [names for _, names, _ in engine.calls]
    assert [r.boxes for r in runs[0].rounds] == [sum(of[n] for n in names) for names in sets[:4]]
    assert [r.boxes for r in runs[1].rounds][1:] == [sum(of[n] for n in names) for names in sets[4:]]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"initial": 0}, "initial"),
        ({"size": 0}, "size"),
        ({"rounds": 0}, "rounds"),
        ({"seeds": []}, "seeds"),
        ({"initial": 18}, "rows"),
    ],
)
def test_what_cannot_be_replayed_is_refused_before_any_training(
    engine: Taught, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadInput, match=field):
        play(engine, **changes)
    with pytest.raises(BadInput, match="strategy"):
        play(engine, "no such")
    assert engine.calls == []


def test_a_test_without_boxes_is_refused_before_any_training(engine: Taught) -> None:
    empty = [(name, path, ()) for name, path, _ in ROWS[:3]]
    counts: dict[str, Any] = {"initial": 6, "size": 4, "rounds": 3}
    with pytest.raises(NotReady, match="no labelled box"):
        replay(
            ROWS,
            empty,
            Path("/b.pt"),
            LABELS,
            [],
            seeds=[0],
            options=DetectorOptions(),
            teach=engine,
            **counts,
        )
    assert engine.calls == []


def test_an_image_that_cannot_be_read_ends_the_replay(
    engine: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Seen, images: Any) -> Iterator[Failure]:
        yield Failure("s7", "predict", "torn", None)  # type: ignore[arg-type]

    monkeypatch.setattr(Seen, "predict", broken)
    with pytest.raises(NotReady, match="s7 cannot be replayed: torn"):
        play(engine)


def test_controls_come_first_and_once() -> None:
    assert with_controls(["top_n", "random", "top_n"]) == ["random", "count", "top_n"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with small_house(tmp_path) as opened:
        yield opened


def test_strategies_are_told_what_the_loop_tells_them(house: House) -> None:
    model = house.champion(1)
    learning.look(house, model, Job("look"))
    plain, _ = sides(house)
    for sample in plain[:3]:
        say(house, sample, "ann", [Region("garbage", Box(0.1, 0.1, 0.5, 0.5))])
    wanted = briefing.undecided(house, 1)
    columns = briefing.read(house, model, wanted, ())
    values = doubts.measured(house, model, columns, "entropy")
    theirs = briefing.signals_of(house, model, columns, wanted, values, "ppal", "entropy")
    images, _ = learning.files(house, list(house.pool.samples().values()))
    seen = {
        p.sample: p
        for p in house.detector(model).predict(list(images.items()))
        if isinstance(p, Prediction)
    }
    known = [seen[sample.id] for sample in plain[:3]]
    ours = signals_of([seen[s] for s in columns.samples], known, columns.labels, theirs.turn)
    for name in ("uncertainty", "embedding", "boxes", "kind"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(mine, other, atol=2e-3, err_msg=name)
    assert ours.context is not None
    assert theirs.context is not None
    assert sorted(ours.context.tolist()) == sorted(theirs.context.tolist())
    assert ours.detail is not None
    assert theirs.detail is not None
    some = np.array([2, 0])
    for name in ("embedding", "score", "label", "starts"):
        np.testing.assert_allclose(
            getattr(ours.detail(some), name), getattr(theirs.detail(some), name), atol=2e-3, err_msg=name
        )
    assert len(select(ours, 3, "ppal")) == 3
