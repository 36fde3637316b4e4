from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.detector.head import carried_classes, cold_start
from backend.detector.predict import Detector, DetectorOptions
from backend.detector.weights import class_names, load_module, load_trainable
from pool.schema import BadInput, MissingWeights, Prediction
from tests.backend.detector.conftest import ARCHITECTURES, CLASSES

Weights = Callable[[str], Path]


def class_layers(module: Any) -> list[Any]:
    branches = (getattr(module.model[-1], name, None) for name in ("cv3", "one2one_cv3"))
    return [layers[-1] for branch in branches if branch is not None for layers in branch]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("yolov8", ("满", "空", "垃圾桶")),
        ("yolo11", ("a", "b", "c", "d")),
        ("yolo26", ("a", "b", "c", "d")),
    ],
)
def test_everything_but_the_class_layer_is_kept(
    name: str, labels: tuple[str, ...], weights: Weights, tmp_path: Path
) -> None:
    base = load_module(weights(name))
    out = cold_start(weights(name), labels, tmp_path / "cold.pt")
    module = load_trainable(out)
    assert class_names(out) == labels
    old, new = base.state_dict(), module.state_dict()
    assert old.keys() == new.keys()
    changed = {key for key in old if old[key].shape != new[key].shape or not old[key].equal(new[key])}
    expected = {id(p) for layer in class_layers(module) for p in layer.parameters()}
    assert {id(dict(module.named_parameters())[key]) for key in changed} == expected


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_untaught_labels_are_silent_and_known_ones_speak_as_before(
    name: str, weights: Weights, photos: list[tuple[str, Path]], tmp_path: Path
) -> None:
    labels = ("untaught", "人", "BIN", "never seen")
    mapping = {"person": "人"}
    cold = cold_start(weights(name), labels, tmp_path / "cold.pt", label_map=mapping)
    options = DetectorOptions(imgsz=96, threads=1, device="cpu")
    before = Detector(weights(name), options, version="m", label_map={"person": "人", "bin": "BIN"})
    after = Detector(cold, options, version="m", label_map={label: label for label in labels})
    boxes = 0
    for old, new in zip(before.predict(photos), after.predict(photos), strict=True):
        assert isinstance(old, Prediction)
        assert isinstance(new, Prediction)
        assert [r.label for r in old.regions] == [r.label for r in new.regions]
        scores = [[r.score or 0.0 for r in p.regions] for p in (old, new)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-3)
        boxes += len(new.regions)
    assert boxes > 5


def test_the_head_is_drawn_from_its_seed(weights: Weights, tmp_path: Path) -> None:
    import torch

    state = torch.get_rng_state()
    first = cold_start(weights("yolo26"), ("a", "b"), tmp_path / "1.pt", seed=3).read_bytes()
    again = cold_start(weights("yolo26"), ("a", "b"), tmp_path / "2.pt", seed=3).read_bytes()
    other = cold_start(weights("yolo26"), ("a", "b"), tmp_path / "3.pt", seed=4).read_bytes()
    assert first == again != other
    assert torch.get_rng_state().equal(state)


def test_untaught_labels_start_from_the_prior(weights: Weights, tmp_path: Path) -> None:
    module = load_module(cold_start(weights("yolo11"), ("a", "b"), tmp_path / "cold.pt"))
    for layer, stride in zip(class_layers(module), module.stride.tolist(), strict=True):
        prior = math.log(5 / 2 / (640 / stride) ** 2)
        assert layer.bias.tolist() == pytest.approx([prior, prior], rel=1e-3)
        assert 0.003 < float(layer.weight.std()) < 0.03


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_fresh_head_can_be_trained(name: str, weights: Weights, tmp_path: Path) -> None:
    import torch

    module = load_trainable(cold_start(weights(name), ("a", "b"), tmp_path / "cold.pt")).train()
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    from ultralytics.utils import DEFAULT_CFG

    module.args = DEFAULT_CFG
    batch = {
        "img": torch.rand(2, 3, 64, 64),
        "cls": torch.tensor([[0.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.4, 0.6, 0.3, 0.5]]),
        "batch_idx": torch.tensor([0.0, 1.0]),
    }
    loss, _ = module(batch)
    loss.sum().backward()
    for layer in class_layers(module):
        assert layer.weight.grad is not None
    assert any(float(layer.weight.grad.abs().sum()) > 0 for layer in class_layers(module))


def test_an_architecture_alone_is_enough(tmp_path: Path) -> None:
    out = cold_start(Path("yolo11n.yaml"), ("bin",), tmp_path / "scratch.pt")
    assert class_names(out) == ("bin",)


def test_which_class_a_label_comes_from() -> None:
    assert carried_classes(CLASSES, ("Person", "x", "垃圾")) == {0: 3, 2: 2}
    assert carried_classes(("car", "truck"), ("v",), {"car": "v", "truck": "v"}) == {0: 0}
    # The map's word on a class counts more than its name.
    assert carried_classes(("car", "van"), ("car", "v"), {"car": "v"}) == {1: 0}
    assert carried_classes(("car",), ("car",), {"car": "other"}) == {}


def test_labels_must_be_some_and_different(weights: Weights, tmp_path: Path) -> None:
    for labels in ((), ("a", "a")):
        with pytest.raises(BadInput, match="labels"):
            cold_start(weights("yolo11"), labels, tmp_path / "cold.pt")
    with pytest.raises(MissingWeights):
        cold_start(tmp_path / "gone.pt", ("a",), tmp_path / "cold.pt")
    assert list(tmp_path.iterdir()) == []
