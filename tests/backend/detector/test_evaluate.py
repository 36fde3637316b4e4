from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.detector.evaluate import evaluate, match, measure, paired_difference, summary
from backend.detector.predict import Detector
from pool.schema import BadInput, Box, NotReady, Prediction, Region
from tests.backend.detector.conftest import CLASSES

LABELS = ("bin", "垃圾", "never labelled")
# ultralytics closes every curve at recall 1 with precision 0, which costs half a step of a hundred.
FLAWLESS = 0.995


def grid(*labels: str, score: float | None = None, shift: float = 0.0) -> tuple[Region, ...]:
    """Boxes side by side, each half as high as the image."""
    width = 1 / max(len(labels), 1)
    return tuple(
        Region(label, Box(i * width + shift, 0.2, (i + 0.9) * width + shift, 0.7), score)
        for i, label in enumerate(labels)
    )


def test_flawless_predictions() -> None:
    truth = {"a": grid("bin", "bin", "垃圾"), "b": grid("垃圾"), "c": ()}
    found = {s: tuple(Region(r.label, r.box, 0.9) for r in regions) for s, regions in truth.items()}
    numbers = summary(match(found, truth, LABELS))
    assert numbers["precision"] == numbers["recall"] == 1.0
    for key in ("map50", "map50_95", "map50/bin", "map50_95/bin", "map50/垃圾", "map50_95/垃圾"):
        assert numbers[key] == pytest.approx(FLAWLESS), key
    assert {k: v for k, v in numbers.items() if k.startswith(("images", "boxes", "failed"))} == {
        "images": 3, "boxes": 4, "boxes/bin": 2, "boxes/垃圾": 2, "boxes/never labelled": 0, "failed": 0,
    }  # fmt: skip


def test_a_label_without_a_true_box_is_absent_not_zero() -> None:
    truth = {"a": grid("bin")}
    found = {"a": (*grid("bin", score=0.9), Region("never labelled", Box(0, 0, 1, 1), 0.99))}
    numbers = summary(match(found, truth, LABELS))
    assert numbers["boxes/never labelled"] == 0
    assert not [
        key for key in numbers if key.startswith("map") and key.endswith(("never labelled", "垃圾"))
    ]
    assert numbers["map50"] == pytest.approx(FLAWLESS)


def test_nothing_found_is_zero() -> None:
    numbers = summary(match({}, {"a": grid("bin")}, LABELS))
    assert numbers["map50"] == numbers["map50_95"] == numbers["recall"] == numbers["map50/bin"] == 0.0


def test_no_true_box_at_all_gives_counts_only() -> None:
    numbers = summary(match({"a": grid("bin", score=0.5)}, {"a": ()}, LABELS))
    assert numbers["images"] == 1
    assert numbers["boxes"] == 0
    assert not [key for key in numbers if key.startswith(("map", "precision", "recall"))]


def test_right_box_wrong_label_is_wrong() -> None:
    truth = {"a": grid("bin", "垃圾")}
    found = {"a": grid("垃圾", "bin", score=0.9)}
    assert summary(match(found, truth, LABELS))["map50"] == 0.0


def test_overlap_decides_which_thresholds_are_met() -> None:
    # Two boxes of width .45, one moved by .09: overlap .36 / .54 = 2/3, so IoU .5 to .65 are met.
    truth = {"a": grid("bin", "bin")[:1]}
    found = {"a": grid("bin", "bin", score=0.9, shift=0.09)[:1]}
    matches = match(found, truth, LABELS)
    assert matches.hits[0].tolist() == [[True] * 4 + [False] * 6]
    assert summary(matches)["map50_95"] == pytest.approx(FLAWLESS * 0.4)


def test_one_object_is_found_once_and_by_the_surest_box() -> None:
    truth = {"a": (Region("bin", Box(0.1, 0.1, 0.5, 0.5)),)}
    exact, loose = Box(0.1, 0.1, 0.5, 0.5), Box(0.1, 0.1, 0.5, 0.55)
    found = {"a": (Region("bin", loose, 0.4), Region("bin", exact, 0.8), Region("bin", exact, 0.2))}
    matches = match(found, truth, LABELS)
    assert matches.scores[0].tolist() == [0.8, 0.4, 0.2]
    assert matches.hits[0].any(1).tolist() == [True, False, False]


def brute_average_precision(hits: Sequence[bool], scores: Sequence[float], objects: int) -> float:
    """Area under the best precision at or beyond each recall, written the slow way.

    101 recall levels joined by straight lines (the trapezoid rule), the curve starting at precision
    1 and falling to 0 past the last recall reached.
    """
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    recall, precision = [0.0], [1.0]
    right = 0
    for rank, i in enumerate(order, start=1):
        right += hits[i]
        recall.append(right / objects)
        precision.append(right / rank)
    envelope = [max(precision[i:]) for i in range(len(precision))]
    recall, envelope = [*recall, recall[-1], 1.0], [*envelope, 0.0, 0.0]
    levels = [i / 100 for i in range(101)]
    heights = []
    for level in levels:
        at = max(i for i, r in enumerate(recall) if r <= level + 1e-12)
        if at == len(recall) - 1:
            heights.append(envelope[-1])
            continue
        span = recall[at + 1] - recall[at]
        share = (level - recall[at]) / span if span else 0.0
        heights.append(envelope[at] + share * (envelope[at + 1] - envelope[at]))
    return sum((a + b) / 200 for a, b in pairwise(heights))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.booleans(), min_size=1, max_size=12),
    st.integers(0, 6),
    st.randoms(use_true_random=False),
)
def test_average_precision_against_the_slow_way(hits: list[bool], missed: int, random: object) -> None:
    objects = sum(hits) + missed
    if objects == 0:
        return
    scores = [0.99 - 0.05 * i for i in range(len(hits))]
    truth: dict[str, tuple[Region, ...]] = {}
    found: dict[str, tuple[Region, ...]] = {}
    for i, hit in enumerate(hits):
        truth[f"p{i}"] = (Region("bin", Box(0.1, 0.1, 0.4, 0.4)),) if hit else ()
        found[f"p{i}"] = (Region("bin", Box(0.1, 0.1, 0.4, 0.4), scores[i]),)
    for i in range(missed):
        truth[f"m{i}"] = (Region("bin", Box(0.5, 0.5, 0.9, 0.9)),)
    names = list(truth)
    random.shuffle(names)  # type: ignore[attr-defined]
    numbers = summary(match(found, {name: truth[name] for name in names}, LABELS))
    assert numbers["map50/bin"] == pytest.approx(brute_average_precision(hits, scores, objects), abs=1e-6)


def test_unknown_labels() -> None:
    with pytest.raises(BadInput, match="dog"):
        match({}, {"a": grid("dog")}, LABELS)
    known = match({"a": grid("bin", "dog", score=0.9)}, {"a": grid("bin", "bin")[:1]}, LABELS)
    assert known.guesses[0].tolist() == [0]


def test_paired_difference() -> None:
    rng = np.random.default_rng(0)
    truth = {f"{i}": grid("bin", "垃圾") for i in range(24)}
    good, bad = {}, {}
    for i, (sample, regions) in enumerate(truth.items()):
        boxes = tuple(Region(r.label, r.box, float(rng.uniform(0.3, 0.9))) for r in regions)
        good[sample] = boxes
        bad[sample] = boxes if i % 3 else boxes[:1]
    champion, candidate = match(bad, truth, LABELS), match(good, truth, LABELS)
    ahead = paired_difference(champion, candidate, rounds=60)
    expected = summary(candidate)["map50_95"] - summary(champion)["map50_95"]
    assert ahead.value == pytest.approx(expected)
    assert 0 < ahead.low <= ahead.value <= ahead.high
    behind = paired_difference(candidate, champion, rounds=60)
    assert (behind.value, behind.low, behind.high) == pytest.approx((-ahead.value, -ahead.high, -ahead.low))
    same = paired_difference(candidate, candidate, rounds=10)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert ahead == paired_difference(champion, candidate, rounds=60)
    with pytest.raises(BadInput, match="champion"):
        paired_difference(champion, match(good, dict(list(truth.items())[:5]), LABELS))
    with pytest.raises(BadInput, match="key"):
        paired_difference(champion, candidate, key="map50/never labelled")


Truths = list[tuple[str, Path, tuple[Region, ...]]]


@pytest.fixture(scope="module")
def guessed(detector: Callable[..., Detector], tmp_path_factory: pytest.TempPathFactory) -> Truths:
    """Square pictures whose truth is most of what the network is sure of: neither 0 nor 1 comes out."""
    from tests.backend.detector.conftest import picture

    folder = tmp_path_factory.mktemp("holdout") / "images" / "val"
    folder.mkdir(parents=True)
    for i in range(8):
        picture(50 + i, 96, 96).save(folder / f"{i}.png")
    found = detector(conf=0.3).predict([(p.stem, p) for p in sorted(folder.iterdir())])
    truths: Truths = []
    for prediction in found:
        assert isinstance(prediction, Prediction)
        inside = [
            r for r in prediction.regions if min(r.box.x1, r.box.y1) > 0 and max(r.box.x2, r.box.y2) < 1
        ]
        regions = tuple(Region(r.label, r.box) for i, r in enumerate(inside) if i % 3 != 1)
        truths.append((prediction.sample, folder / f"{prediction.sample}.png", regions))
    return truths


@pytest.mark.slow
def test_numbers_are_those_of_ultralytics_val(
    detector: Callable[..., Detector], weights: Callable[[str], Path], guessed: Truths, tmp_path: Path
) -> None:
    from backend.detector.dataset import write_dataset
    from backend.detector.runtime import library

    ours = evaluate(detector(), guessed, CLASSES)
    data = write_dataset(tmp_path / "set", [(path, regions) for _, path, regions in guessed], CLASSES)
    theirs = library("models").YOLO(str(weights("yolo11"))).val(
        data=str(data), imgsz=96, rect=False, plots=False, device="cpu", workers=0, verbose=False,
        batch=4, project=str(tmp_path / "runs"),
    )  # fmt: skip
    assert 0.05 < theirs.box.map50 < 0.95
    for key, value in {
        "map50": theirs.box.map50,
        "map50_95": theirs.box.map,
        "precision": theirs.box.mp,
        "recall": theirs.box.mr,
    }.items():
        assert ours[key] == pytest.approx(float(value), abs=5e-3), key
    for index, ap in zip(theirs.box.ap_class_index, theirs.box.ap50, strict=True):
        assert ours[f"map50/{CLASSES[index]}"] == pytest.approx(float(ap), abs=1e-2)


def test_a_few_mapped_labels_are_measured_alone(detector: Callable[..., Detector], guessed: Truths) -> None:
    mapping = {"bin": "桶", "person": "人"}
    rows = [
        (sample, path, tuple(Region(mapping[str(r.label)], r.box) for r in regions if r.label in mapping))
        for sample, path, regions in guessed
    ]
    numbers = evaluate(detector(label_map=mapping), rows, ("人", "桶"))
    whole = evaluate(detector(), guessed, CLASSES)
    assert numbers["boxes"] == sum(len(regions) for _, _, regions in rows) > 0
    assert numbers["map50/桶"] == pytest.approx(whole["map50/bin"], abs=0.02)
    assert numbers["map50/人"] == pytest.approx(whole["map50/person"], abs=0.02)


def test_images_that_fail_are_counted_and_their_objects_missed(
    detector: Callable[..., Detector], guessed: Truths, tmp_path: Path
) -> None:
    heard: list[tuple[int, int]] = []
    rows = [*guessed[:2], ("gone", tmp_path / "gone.png", guessed[2][2])]
    matches = measure(detector(), rows, CLASSES, lambda done, total: heard.append((done, total)))
    assert matches.failed == summary(matches)["failed"] == 1
    assert len(matches.scores[2]) == 0
    assert len(matches.truths[2]) == len(guessed[2][2]) > 0
    assert heard[-1] == (3, 3)


def test_a_holdout_without_boxes_is_not_ready(detector: Callable[..., Detector], guessed: Truths) -> None:
    with pytest.raises(NotReady, match="holdout"):
        evaluate(detector(), [(sample, path, ()) for sample, path, _ in guessed], CLASSES)
