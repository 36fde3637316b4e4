from __future__ import annotations

import copy
import functools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.detector.predict import Detector, DetectorOptions, region_id
from pool.schema import BadInput, Failure, MissingWeights, NoLabelMap, NotReady, Prediction
from tests.backend.detector.conftest import ARCHITECTURES, CLASSES, IDENTITY

Make = Callable[..., Detector]
Photos = list[tuple[str, Path]]
CASES = [*((name, True) for name in ARCHITECTURES), ("yolo26", False)]


def seen(detector: Detector, photos: Photos) -> list[Prediction]:
    results = list(detector.predict(photos))
    assert all(isinstance(r, Prediction) for r in results), results
    return [r for r in results if isinstance(r, Prediction)]


def table(prediction: Prediction) -> NDArray[np.float64]:
    """Rows of x1 y1 x2 y2 score label, as the prediction holds them."""
    rows = [
        (r.box.x1, r.box.y1, r.box.x2, r.box.y2, r.score or 0.0, prediction.classes.index(str(r.label)))
        for r in prediction.regions
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 6)


@functools.cache
def library(path: Path, *, end_to_end: bool) -> Any:
    """ultralytics' own model of a file; which head it uses is fixed by its first prediction."""
    from backend.detector.runtime import library as tamed

    return tamed("models").YOLO(str(path), task="detect")


def stock(path: Path, photo: Path, *, end_to_end: bool = False, **arguments: Any) -> NDArray[np.float64]:
    """The same rows from ultralytics' own predict."""
    options = {"imgsz": 96, "conf": 0.05, "iou": 0.6, "max_det": 100, "device": "cpu", "verbose": False}
    nms = False if end_to_end else None
    model = library(path, end_to_end=end_to_end)
    (result,) = model.predict(str(photo), nms=nms, **{**options, "agnostic_nms": False, **arguments})
    boxes = result.boxes
    rows = np.concatenate([boxes.xyxyn, boxes.conf[:, None], boxes.cls[:, None]], axis=1).astype(np.float64)
    real = (rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])
    return np.asarray(rows[real])


@pytest.mark.parametrize(("name", "nms"), CASES)
def test_boxes_are_those_of_ultralytics(
    name: str, nms: bool, detector: Make, weights: Callable[[str], Path], photos: Photos
) -> None:
    # ultralytics lets an end-to-end anchor answer with several classes, which is our multi_label.
    some = photos[2:]
    ours = seen(detector(name, nms=nms, multi_label=not nms), some)
    boxes = 0
    for prediction, (_, photo) in zip(ours, some, strict=True):
        theirs = stock(weights(name), photo, end_to_end=not nms)
        np.testing.assert_allclose(table(prediction), theirs, atol=2e-4)
        boxes += len(theirs)
    assert boxes > 20, "the networks must draw boxes, or the comparison says nothing"


@pytest.mark.parametrize(("name", "nms"), CASES)
def test_probabilities_belong_to_their_boxes(name: str, nms: bool, detector: Make, photos: Photos) -> None:
    for prediction in seen(detector(name, nms=nms), photos):
        scores = table(prediction)[:, 4]
        assert prediction.classes == CLASSES
        assert prediction.probs is not None
        assert prediction.embedding is not None
        assert prediction.probs.shape == (len(scores), len(CLASSES))
        assert prediction.probs.dtype == prediction.embedding.dtype == np.float16
        columns = table(prediction)[:, 5].astype(int)
        own = prediction.probs[np.arange(len(scores)), columns]
        np.testing.assert_array_equal(own, scores.astype(np.float16))
        assert (own == prediction.probs.max(1, initial=0)).all()
        assert (np.diff(scores) <= 0).all()
        assert (scores > 0.05).all()
        assert 0 <= prediction.background <= 0.05
        corners = table(prediction)[:, :4]
        assert ((corners >= 0) & (corners <= 1)).all()
        assert (corners[:, 2:] > corners[:, :2]).all()


def test_the_embedding_is_the_mean_of_the_neck(detector: Make, photos: Photos) -> None:
    import torch

    d = detector()
    maps: list[torch.Tensor] = []
    head = d._backend.model.model[-1]
    hook = head.register_forward_pre_hook(lambda _, inputs: maps.extend(inputs[0]))
    (prediction,) = seen(d, photos[:1])
    hook.remove()
    expected = np.concatenate([m.numpy()[0].mean((1, 2)) for m in maps])
    assert prediction.embedding is not None
    np.testing.assert_allclose(prediction.embedding, expected, rtol=2e-3, atol=1e-4)
    for other in seen(d, photos[1:3]):
        assert other.embedding is not None
        assert (other.embedding != prediction.embedding).any()


@pytest.mark.parametrize("batch", [2, 16])
def test_company_does_not_change_an_image(batch: int, detector: Make, photos: Photos) -> None:
    together = seen(detector(batch=batch), photos * 2)
    alone = {p.sample: p for photo in photos for p in seen(detector(batch=batch), [photo])}
    assert [p.sample for p in together] == [sample for sample, _ in photos * 2]
    for prediction in together:
        np.testing.assert_allclose(table(prediction), table(alone[prediction.sample]), atol=1e-4)


def test_a_broken_file_fails_alone(detector: Make, photos: Photos, tmp_path: Path) -> None:
    broken, empty, missing = tmp_path / "b.jpg", tmp_path / "e.png", tmp_path / "missing.png"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    empty.write_bytes(b"")
    rows = [photos[0], ("broken", broken), photos[1], ("empty", empty), ("missing", missing), photos[2]]
    results = list(detector(batch=2).predict(rows))
    kinds = [type(r) for r in results]
    assert kinds == [Prediction, Failure, Prediction, Failure, Failure, Prediction]
    failures = [r for r in results if isinstance(r, Failure)]
    assert [f.subject for f in failures] == ["broken", "empty", "missing"]
    assert {f.stage for f in failures} == {"predict"}
    assert all(f.message and f.at.tzinfo is not None for f in failures)


class Choking:
    """A network that fails on any batch with one of the given widths or of more than a size."""

    def __init__(self, backend: Any, *, most: int, width: int = -1) -> None:
        self.backend, self.most, self.width, self.calls = backend, most, width, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def __call__(self, planes: Any) -> Any:
        self.calls += 1
        if len(planes) > self.most or planes.shape[-1] == self.width:
            raise RuntimeError("out of memory")
        return self.backend(planes)


def test_a_batch_that_does_not_fit_is_done_one_by_one(detector: Make, photos: Photos) -> None:
    expected = seen(detector(), photos)
    d = copy.copy(detector())
    choking = d._backend = Choking(d._backend, most=1)
    for ours, theirs in zip(seen(d, photos), expected, strict=True):
        np.testing.assert_allclose(table(ours), table(theirs), atol=1e-4)
    assert choking.calls > len(photos)


def test_an_image_that_always_fails_is_the_only_failure(detector: Make, photos: Photos) -> None:
    d = copy.copy(detector())
    d._backend = Choking(d._backend, most=16, width=64)  # the two upright pictures of 64 x 96 and 33 x 71
    results = list(d.predict(photos))
    failed = [r.subject for r in results if isinstance(r, Failure)]
    assert failed == ["sample1", "sample5", "sample7"]
    assert len(results) == len(photos)
    assert {r.message for r in results if isinstance(r, Failure)} == {"out of memory"}


def test_a_network_that_always_fails_blames_no_image(detector: Make, photos: Photos) -> None:
    d = copy.copy(detector())
    working = d._backend
    d._backend = Choking(working, most=0)
    with pytest.raises(NotReady, match="any picture: out of memory"):
        list(d.predict(photos))
    d._backend = working
    assert not [r for r in d.predict(photos) if isinstance(r, Failure)]


def test_one_label_for_all_classes_is_class_agnostic(
    detector: Make, weights: Callable[[str], Path], photos: Photos
) -> None:
    d = detector(label_map=dict.fromkeys(CLASSES, "thing"))
    assert (d.labels, d.classes) == (("thing",), CLASSES)
    for prediction, (_, photo) in zip(seen(d, photos), photos, strict=True):
        theirs = stock(weights("yolo11"), photo, agnostic_nms=True)
        np.testing.assert_allclose(table(prediction)[:, :5], theirs[:, :5], atol=2e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_unwanted_class_hides_nothing(
    name: str, detector: Make, weights: Callable[[str], Path], photos: Photos, tmp_path: Path
) -> None:
    import torch

    from backend.detector.weights import load_module, save_module

    module = load_module(weights(name))
    with torch.no_grad():  # the same network, born unable to say "person"
        for branch in ("cv3", "one2one_cv3"):
            for layers in getattr(module.model[-1], branch, None) or ():
                layers[-1].weight[3], layers[-1].bias[3] = 0.0, -50.0
    save_module(module, tmp_path / "mute.pt")
    wanted = {name: name for name in CLASSES[:3]}
    for prediction, (_, photo) in zip(seen(detector(name, wanted), photos[:4]), photos, strict=False):
        np.testing.assert_allclose(table(prediction), stock(tmp_path / "mute.pt", photo), atol=2e-4)


def test_labels_come_in_the_order_of_the_classes(detector: Make, photos: Photos) -> None:
    d = detector(label_map={"person": "人", "full bin": "满", "bin": "满"})
    assert d.labels == ("满", "人")
    for prediction in seen(d, photos):
        assert prediction.classes == ("满", "人")
        assert {r.label for r in prediction.regions} <= {"满", "人"}
        assert prediction.probs is not None
        assert prediction.probs.shape == (len(prediction.regions), 2)


@pytest.mark.parametrize(("name", "nms"), CASES)
def test_background_is_the_next_box_below_the_floor(
    name: str, nms: bool, detector: Make, photos: Photos
) -> None:
    d = detector(name, nms=nms)
    low = seen(d.tuned(conf=0.005, iou=0.6, max_det=5000), photos[:3])
    for floor in (0.08, 0.2, 0.4, 0.97):
        high = seen(d.tuned(conf=floor, iou=0.6, max_det=5000), photos[:3])
        for below, prediction in zip(low, high, strict=True):
            scores = table(below)[:, 4]
            np.testing.assert_allclose(table(prediction), table(below)[scores > floor], atol=1e-5)
            quiet = scores[scores <= floor]
            assert prediction.background == pytest.approx(quiet.max(initial=0.0), abs=1e-5)


def test_progress_counts_every_result(detector: Make, photos: Photos, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    rows = [*photos, ("missing", tmp_path / "missing.png")]
    list(detector(batch=2).predict(rows, lambda done, total: heard.append((done, total))))
    assert heard == [(i + 1, len(rows)) for i in range(len(rows))]
    assert list(detector().predict([])) == []


def test_nobody_decodes_after_the_reader_left(detector: Make, photos: Photos) -> None:
    results = detector(batch=1).predict(photos * 20)
    next(results)
    assert any(t.name.startswith("decode") for t in threading.enumerate())
    assert isinstance(results, Iterator)
    results.close()  # type: ignore[attr-defined]
    assert not any(t.name.startswith("decode") for t in threading.enumerate())


def test_two_threads_share_one_network(detector: Make, photos: Photos) -> None:
    d = detector()
    expected = [table(p) for p in seen(d, photos)]
    results: dict[int, list[Prediction]] = {}
    threads = [threading.Thread(target=lambda i=i: results.update({i: seen(d, photos)})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for predictions in results.values():
        for prediction, rows in zip(predictions, expected, strict=True):
            np.testing.assert_allclose(table(prediction), rows, atol=1e-5)


def test_region_ids_are_stable_and_distinct(detector: Make, photos: Photos) -> None:
    first, again = seen(detector(), photos), seen(detector(), photos)
    ids = [r.id for p in first for r in p.regions]
    assert ids == [r.id for p in again for r in p.regions]
    assert len(set(ids)) == len(ids)
    assert region_id("s", "m1", 0) != region_id("s", "m2", 0) != region_id("s", "m2", 1)
    assert first[0].regions[0].id == region_id("sample0", "m1", 0)


def test_other_choices_on_the_same_network(detector: Make, photos: Photos) -> None:
    d = detector()
    few = d.tuned(conf=0.5, iou=0.6, max_det=2)
    square = [photos[2]]  # without padding, whose boxes would use up the two
    for prediction, all_of_it in zip(seen(few, square), seen(d, square), strict=True):
        expected = table(all_of_it)
        np.testing.assert_allclose(table(prediction), expected[expected[:, 4] > 0.5][:2], atol=1e-6)
    assert d.options.max_det == 100


def test_torch_gets_the_threads_asked_for(weights: Callable[[str], Path]) -> None:
    import torch

    from backend.detector.runtime import cores

    before = torch.get_num_threads()
    try:
        for threads, expected in ((1, 1), (0, cores()), (3, 3)):
            options = DetectorOptions(device="cpu", threads=threads)
            Detector(weights("yolo11"), options, version="m", label_map=IDENTITY)
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "change", [{"conf": 1.0}, {"conf": -0.1}, {"iou": 1.1}, {"imgsz": 0}, {"batch": 0}, {"threads": -1}]
)
def test_impossible_options_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(change))):
        DetectorOptions(**change)


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    for name in ("gone.pt", "gone.onnx"):
        with pytest.raises(MissingWeights, match="not there"):
            Detector(tmp_path / name, DetectorOptions(), version="m", label_map=IDENTITY)


def test_a_device_that_is_not_there(weights: Callable[[str], Path]) -> None:
    with pytest.raises(BadInput, match="device"):
        Detector(weights("yolo11"), DetectorOptions(device="77"), version="m", label_map=IDENTITY)


def test_a_map_that_meets_no_class(weights: Callable[[str], Path]) -> None:
    with pytest.raises(NoLabelMap, match="'dog'"):
        Detector(weights("yolo11"), DetectorOptions(device="cpu"), version="m", label_map={"dog": "dog"})


def test_photos_of_a_bus_stop(tmp_path: Path) -> None:
    """With weights that were trained on COCO, people and a bus are found in the library's own photo."""
    path = os.environ.get("THRESHER_TEST_WEIGHTS")
    if not path:
        pytest.skip("THRESHER_TEST_WEIGHTS names no COCO-trained weights")
    from ultralytics.utils import ASSETS

    options = DetectorOptions(imgsz=640, conf=0.4, threads=1, device="cpu")
    d = Detector(Path(path), options, version="coco", label_map={"person": "人", "bus": "bus"})
    (prediction,) = seen(d, [("bus", ASSETS / "bus.jpg")])
    labels = [r.label for r in prediction.regions]
    assert labels.count("人") >= 3
    assert labels.count("bus") == 1
