"""What a strategy would have saved, measured on labels that one already has.

The labels are hidden and given back in batches, as people would have given them: a model is trained on
what is labelled, looks at the rest, a strategy picks, and so on. Strategies are compared in pairs: for
each seed all of them start from the same drawn images and the same first model, are measured on the same
test images, and train with the same seed. Every round starts again from the same base weights, or the
order in which a model met its images would be measured as well; how a `Teach` shares out its optimisation
steps is its own affair, and equal for all. `random` and `count` always take part: what a strategy gains
over the first says whether it helps, over the second whether it knows more than where much is to be seen.

::

    teach = taught(TrainOptions(imgsz=320), steps=200, labels=labels)
    runs = replay(rows, test, base, labels, ["top_n"], seeds=range(3), initial=40, size=20, rounds=4,
                  options=DetectorOptions(imgsz=320), teach=teach)
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.briefing import doubtful
from backend.detector.evaluate import Truth, evaluate
from backend.detector.train import TrainOptions, TrainSpec, train
from backend.house import Tell, silent
from pool.columns import Columns, join, of_predictions
from pool.schema import BadInput, NotReady, Prediction
from sampler.ppal import BoxColumns
from sampler.selection import Indices, random_n
from sampler.strategies import Signals, names, select
from sampler.uncertainty import score

if TYPE_CHECKING:
    from backend.detector.predict import Detector, DetectorOptions

CONTROLS = ("random", "count")
"""What every strategy is compared with."""

Teach = Callable[[Path, Sequence[Truth], int, Path], Path]
"""``(base weights, labelled rows, seed, empty folder) -> weights``, of labels in a fixed order."""


@dataclass(frozen=True, slots=True)
class Round:
    """What was labelled and how good the model was: ``map50`` and ``map50_95`` in [0, 1] on the test.

    ``images`` and ``boxes`` are labelled so far, ``seconds`` went into training, looking and choosing.
    """

    images: int
    boxes: int
    map50: float
    map50_95: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """The rounds of one strategy from one seed; the first is shared by all strategies of the seed."""

    strategy: str
    seed: int
    rounds: tuple[Round, ...]


@dataclass(frozen=True)
class _State:
    """A trained model, what it was trained on, and what it sees of all rows."""

    labelled: Indices
    seen: Sequence[Prediction]
    round: Round


def with_controls(strategies: Iterable[str]) -> list[str]:
    """The controls, then the strategies that are none, each once.

    Raises:
        BadInput: an unknown name.
    """
    wanted = list(dict.fromkeys([*CONTROLS, *strategies]))
    for name in wanted:
        if name not in names():
            raise BadInput("strategy", f"one of {', '.join(names())}", name)
    return wanted


def replay(
    rows: Sequence[Truth],
    test: Sequence[Truth],
    base_weights: Path,
    labels: Sequence[str],
    strategies: Sequence[str],
    *,
    seeds: Collection[int],
    initial: int,
    size: int,
    rounds: int,
    options: DetectorOptions,
    teach: Teach,
    tell: Tell = silent,
) -> list[Run]:
    """Label ``initial`` drawn images, then ``rounds`` batches of ``size``, by each strategy and control.

    ``rows`` and ``test`` are (sample id, image file, true regions); ``labels`` in the order that
    ``teach`` trains them. The same arguments give the same choices.

    Raises:
        BadInput: an unknown strategy, no seed, a count below 1, or too few rows for a choice in the
            last round.
        NotReady: no box in ``test``, or an image that cannot be read.
    """
    wanted = with_controls(strategies)
    if not seeds:
        raise BadInput("seeds", "at least one", list(seeds))
    for name, value in (("initial", initial), ("size", size), ("rounds", rounds)):
        if value < 1:
            raise BadInput(name, "at least 1", value)
    if initial + rounds * size >= len(rows):
        fix = "Ask for fewer or smaller rounds, or label more images first."
        raise BadInput("rows", f"more than {initial + rounds * size} labelled images", len(rows), fix)
    if not any(regions for _, _, regions in test):
        raise NotReady(
            "The test images show no labelled box, so no model can be measured: label some first."
        )
    bench = _Bench(rows, test, base_weights, tuple(labels), options, teach)
    total = len(seeds) * (1 + rounds * len(wanted))
    runs: list[Run] = []
    done = 0
    for seed in seeds:
        tell("replay", done, total, f"seed {seed}")
        first = bench.state(random_n(len(rows), initial, seed).indices, seed)
        done += 1
        for name in wanted:
            states = [first]
            for turn in range(rounds):
                tell("replay", done, total, f"seed {seed}, {name}, round {turn + 1} of {rounds}")
                states.append(bench.next(states[-1], name, size, seed, turn))
                done += 1
            runs.append(Run(name, seed, tuple(state.round for state in states)))
    tell("replay", done, total)
    return runs


@dataclass(frozen=True)
class _Bench:
    """What stays the same from round to round."""

    rows: Sequence[Truth]
    test: Sequence[Truth]
    base: Path
    labels: tuple[str, ...]
    options: DetectorOptions
    teach: Teach

    def next(self, before: _State, strategy: str, size: int, seed: int, turn: int) -> _State:
        """Let a strategy pick by what the last model sees, and train on what is labelled then."""
        began = time.monotonic()
        free = np.setdiff1d(np.arange(len(self.rows)), before.labelled)
        seen = [before.seen[i] for i in free]
        signals = signals_of(seen, [before.seen[i] for i in before.labelled], self.labels, turn)
        rng = np.random.default_rng([seed, turn])
        picked = free[select(signals, size, strategy, rng)]
        return self.state(np.concatenate([before.labelled, picked]), seed, began)

    def state(self, labelled: Indices, seed: int, began: float | None = None) -> _State:
        """Train on these rows, look at all of them, measure on the test."""
        from backend.detector.predict import Detector

        began = time.monotonic() if began is None else began
        mine = [self.rows[i] for i in labelled]
        known = {label: label for label in self.labels}
        with tempfile.TemporaryDirectory() as folder:
            weights = self.teach(self.base, mine, seed, Path(folder))
            detector = Detector(weights, self.options, version="replay", label_map=known)
        seen = _look(detector, self.rows)
        seconds = time.monotonic() - began
        found = evaluate(detector, self.test, self.labels)
        boxes = sum(len(regions) for _, _, regions in mine)
        now = Round(len(mine), boxes, found["map50"], found["map50_95"], seconds)
        return _State(labelled, seen, now)


def _look(detector: Detector, rows: Sequence[Truth]) -> list[Prediction]:
    seen = []
    for result in detector.predict([(sample, path) for sample, path, _ in rows]):
        if not isinstance(result, Prediction):
            raise NotReady(f"{result.subject} cannot be replayed: {result.message}")
        seen.append(result)
    return seen


def signals_of(
    seen: Sequence[Prediction], labelled: Sequence[Prediction], labels: Sequence[str], turn: int
) -> Signals:
    """What the loop tells strategies, of images that wait and images with labels, seen by one model.

    Nothing is calibrated here, and `ppal` weighs all classes alike: both need a labelled holdout of
    their own, which a replay keeps for its test.
    """
    place = {prediction.sample: i for i, prediction in enumerate(seen)}
    columns = join(of_predictions(seen), labels)
    columns = columns.of(np.argsort([place[sample] for sample in columns.samples], kind="stable"))
    context = join(of_predictions(labelled), labels).embedding
    return Signals(
        score(seen),
        embedding=columns.embedding,
        context=context,
        boxes=columns.counts,
        kind=doubtful(columns),
        turn=turn,
        detail=lambda some: _boxes(columns.of(some)),
    )


def _boxes(columns: Columns) -> BoxColumns:
    vectors = columns.box_embeddings
    if vectors is None:
        vectors = np.zeros((len(columns.score), 1), dtype=np.float16)
    return BoxColumns(np.nan_to_num(vectors), np.nan_to_num(columns.score), columns.kind, columns.starts)


def taught(
    options: TrainOptions,
    steps: int,
    labels: Sequence[str],
    label_map: Mapping[str, str] | None = None,
    should_cancel: Callable[[], bool] = lambda: False,
) -> Teach:
    """The project's own training, in a process of its own, with the same number of steps every round.

    ``options.epochs`` is replaced by as many whole epochs as come to at least ``steps`` batches, for with
    equal epochs a larger set would also be trained longer, and the curve would show both. ``options.seed``
    is replaced by the round's; mosaics are left out, as the loop does.
    """

    def teach(base: Path, rows: Sequence[Truth], seed: int, folder: Path) -> Path:
        from backend.detector.dataset import write_dataset

        data = write_dataset(folder / "dataset", [(path, regions) for _, path, regions in rows], labels)
        epochs = epochs_of(steps, len(rows), options.batch)
        spec = TrainSpec(
            folder / "training",
            base,
            data,
            labels,
            replace(options, epochs=epochs, seed=seed, close_mosaic=epochs, patience=0),
            label_map or {},
        )
        return train(spec, None, should_cancel).weights

    return teach


def epochs_of(steps: int, images: int, batch: int) -> int:
    """The fewest whole epochs of at least ``steps`` batches, at least 1."""
    return max(1, -(-steps // -(-images // batch)))
