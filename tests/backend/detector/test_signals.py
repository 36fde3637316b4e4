from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.detector.predict import Detector, DetectorOptions
from backend.detector.weights import class_names
from pool.boxes import iou_matrix, to_array
from pool.schema import MissingWeights, Prediction
from tests.backend.detector.conftest import CLASSES, IDENTITY

unit = st.floats(0, 1, width=32)


@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=6),
    st.data(),
)
@settings(deadline=None, max_examples=30)
def test_folding_takes_the_best_class_of_each_label(wanted: list[str | None], data: st.DataObject) -> None:
    import torch

    from backend.detector.signals import LabelSpace

    classes = [f"class{i}" for i in range(len(wanted))]
    label_map = {name: label for name, label in zip(classes, wanted, strict=True) if label}
    space = LabelSpace(classes, label_map)
    assert space.labels == tuple(dict.fromkeys(label for label in wanted if label))
    expected_columns = [space.labels.index(label) if label else -1 for label in wanted]
    assert space.columns(torch.arange(len(classes))).tolist() == expected_columns
    if not space.labels:
        return
    probs = data.draw(arrays(np.float32, (2, len(classes), 3), elements=unit))
    folded = space.fold(torch.from_numpy(probs)).numpy()
    for column, label in enumerate(space.labels):
        members = [i for i, name in enumerate(wanted) if name == label]
        np.testing.assert_array_equal(folded[:, column], probs[:, members].max(1))


def test_finished_rows_carry_one_class_each() -> None:
    import torch

    from backend.detector.signals import Choice, LabelSpace, read

    space = LabelSpace(["a", "b", "c"], {"c": "x", "a": "y"})
    rows = torch.tensor(
        [
            [0, 0, 9, 9, 0.3, 0],
            [1, 1, 8, 8, 0.9, 2],
            [2, 2, 7, 7, 0.8, 1],  # of a class that nobody wants
            [3, 3, 6, 6, 0.04, 2],  # below the floor
            [0, 0, 0, 0, 0.0, 0],  # filling of a fixed-size output
        ]
    )
    (signals,) = read(rows[None], None, space, Choice(0.05, 0.6, 100, False))
    assert space.labels == ("y", "x")
    assert signals.labels.tolist() == [1, 0]
    np.testing.assert_allclose(signals.scores, [0.9, 0.3])
    np.testing.assert_allclose(signals.probs, [[0, 0.9], [0.3, 0]])
    np.testing.assert_allclose(signals.boxes, rows[[1, 0], :4])
    assert signals.background == pytest.approx(0.04)
    assert signals.embedding is signals.anchors is None
    (first,) = read([rows[None]], None, space, Choice(0.05, 0.6, 1, False))
    assert first.labels.tolist() == [1]


def export(path: Path, **arguments: Any) -> Path:
    """An export made by ultralytics of a copy of the weights in its own folder."""
    import warnings

    from backend.detector.runtime import library

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about itself
        return Path(
            library("models").YOLO(str(path)).export(imgsz=96, device="cpu", verbose=False, **arguments)
        )


@pytest.fixture(scope="module")
def exported(
    weights: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    made: dict[str, Path] = {}

    def make(**arguments: Any) -> Path:
        key = str(arguments)
        if key not in made:
            copy = tmp_path_factory.mktemp("export") / "model.pt"
            copy.write_bytes(weights("yolo11").read_bytes())
            made[key] = export(copy, **arguments)
        return made[key]

    return make


def look(path: Path, photos: list[tuple[str, Path]]) -> list[Prediction]:
    options = DetectorOptions(imgsz=96, threads=1, device="cpu")
    results = list(Detector(path, options, version="m", label_map=IDENTITY).predict(photos))
    assert all(isinstance(r, Prediction) for r in results), results
    return [r for r in results if isinstance(r, Prediction)]


def shows_nothing_of_its_head(prediction: Prediction) -> bool:
    p = prediction
    return all(s is None for s in (p.embedding, p.box_embeddings, p.localisation, p.disagreement))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
@pytest.mark.slow
def test_an_export_draws_the_boxes_of_its_checkpoint(
    exported: Callable[..., Path], weights: Callable[[str], Path], photos: list[tuple[str, Path]]
) -> None:
    square = [photos[2]]  # an export of fixed size always sees a square
    (live,), (frozen,) = look(weights("yolo11"), square), look(exported(format="torchscript"), square)
    assert class_names(exported(format="torchscript")) == CLASSES
    assert shows_nothing_of_its_head(frozen)
    assert live.probs is not None
    assert frozen.probs is not None
    assert len(frozen.regions) > 5
    np.testing.assert_allclose(frozen.probs, live.probs, atol=2e-3)
    assert frozen.background == pytest.approx(live.background, abs=1e-4)
    assert [r.label for r in frozen.regions] == [r.label for r in live.regions]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
@pytest.mark.slow
def test_an_export_that_suppresses_inside_shows_one_class_per_box(
    exported: Callable[..., Path], photos: list[tuple[str, Path]]
) -> None:
    path = exported(format="torchscript", nms=True, conf=0.05, iou=0.6)
    predictions = look(path, photos[:4])
    assert sum(len(p.regions) for p in predictions) > 5
    for prediction in predictions:
        assert prediction.probs is not None
        assert shows_nothing_of_its_head(prediction)
        scores = np.array([r.score for r in prediction.regions], dtype=np.float16)
        np.testing.assert_array_equal(prediction.probs.max(1, initial=0), scores)
        assert (np.count_nonzero(prediction.probs, axis=1) == 1).all()


@pytest.mark.slow
def test_onnx_draws_the_boxes_of_its_checkpoint(
    exported: Callable[..., Path], weights: Callable[[str], Path], photos: list[tuple[str, Path]]
) -> None:
    pytest.importorskip("onnx", reason="the exporter needs onnx")
    pytest.importorskip("onnxruntime", reason="running an .onnx file needs onnxruntime")
    (live,) = look(weights("yolo11"), [photos[2]])
    (frozen,) = look(exported(format="onnx"), [photos[2]])
    assert class_names(exported(format="onnx")) == CLASSES
    assert shows_nothing_of_its_head(frozen)
    assert live.probs is not None
    assert frozen.probs is not None
    np.testing.assert_allclose(frozen.probs, live.probs, atol=2e-3)


@pytest.mark.slow
def test_openvino_draws_the_boxes_of_its_checkpoint(
    exported: Callable[..., Path], weights: Callable[[str], Path], photos: list[tuple[str, Path]]
) -> None:
    pytest.importorskip("openvino", reason="running an OpenVINO folder needs openvino")
    (live,) = look(weights("yolo11"), [photos[2]])
    (frozen,) = look(exported(format="openvino"), [photos[2]])
    assert class_names(exported(format="openvino")) == CLASSES
    assert shows_nothing_of_its_head(frozen)
    assert live.probs is not None
    assert frozen.probs is not None
    # OpenVINO computes in bfloat16 where the processor can: close boxes may change places, and the
    # weakest of two that overlap may be another one.
    overlap = iou_matrix(to_array(r.box for r in live.regions), to_array(r.box for r in frozen.regions))
    partner = overlap.argmax(axis=1)
    same = overlap.max(axis=1) > 0.9
    assert same.mean() > 0.9
    np.testing.assert_allclose(
        frozen.probs[partner[same]].astype(float), live.probs[same].astype(float), atol=0.04
    )


def test_a_missing_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    (tmp_path / "model.onnx").write_bytes(b"not read before the runtime is there")
    with pytest.raises(MissingWeights, match="pip install onnxruntime"):
        class_names(tmp_path / "model.onnx")
