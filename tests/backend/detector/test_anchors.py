from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax
from scipy.stats import entropy

from backend.detector.predict import Detector, DetectorOptions
from pool.schema import Prediction
from tests.backend.detector.conftest import CLASSES, IDENTITY, make_architecture

Make = Callable[..., Detector]
Weights = Callable[[str], Path]
Photos = list[tuple[str, Path]]
Floats = NDArray[np.float64]

CASES = [
    (name, nms)
    for name, heads in (("yolo11", 1), ("yolov8", 1), ("yolo26", 2), ("yolov10n", 2))
    for nms in (True, False)[:heads]
]
DUAL = [case for case in CASES if case[0] in ("yolo26", "yolov10n")]


def seen(detector: Detector, photos: Photos) -> list[Prediction]:
    results = list(detector.predict(photos))
    assert all(isinstance(r, Prediction) for r in results), results
    return [r for r in results if isinstance(r, Prediction)]


def corners(prediction: Prediction) -> Floats:
    rows = [(r.box.x1, r.box.y1, r.box.x2, r.box.y2) for r in prediction.regions]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def numbers(values: Any) -> Floats:
    """A signal of the model as float64: what is there, whole and finite."""
    assert values is not None
    assert values.dtype == np.float16
    assert np.isfinite(values).all()
    return np.asarray(values, dtype=np.float64)


@dataclass
class Whole:
    """Every anchor of one image as the unfused model tells it, one row each."""

    boxes: Floats
    features: Floats
    edges: Floats
    own: Floats
    other: Floats | None


@functools.cache
def unfused(path: Path) -> Any:
    """A model that nobody has fused, hooked or cut; it decodes the boxes of either head as xywh."""
    from backend.detector.weights import load_module

    module = load_module(path)
    module.end2end = False
    return module


def whole(path: Path, detector: Detector, photo: tuple[str, Path]) -> Whole:
    """Both heads of an unfused model over whole maps."""
    import torch

    from backend.detector.runtime import library

    item: Any = detector._decode(0, *photo)
    planes = torch.from_numpy(item.pixels[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    module = unfused(path)
    head = module.model[-1]
    with torch.inference_mode():
        _, raw = module(planes)
        used, spare = ("one2many", "one2one") if detector.options.nms else ("one2one", "one2many")
        branch = raw.get(used, raw)
        layers = head.one2one_cv3 if used == "one2one" else head.cv3
        read = [level[:-1](maps) for level, maps in zip(layers, branch["feats"], strict=True)]
        boxes = library("utils.ops").xywh2xyxy(head._inference(branch)[0, :4].T)
        boxes = library("utils.ops").scale_boxes(planes.shape[2:], boxes, item.shape)
    height, width = item.shape
    shares = boxes.numpy().astype(np.float64) / (width, height, width, height)
    return Whole(
        boxes=np.clip(shares, 0, 1),
        features=torch.cat([maps.flatten(2) for maps in read], 2)[0].T.double().numpy(),
        edges=branch["boxes"][0].T.double().numpy(),
        own=branch["scores"][0].T.double().numpy(),
        other=raw[spare]["scores"][0].T.double().numpy() if spare in raw else None,
    )


@pytest.mark.parametrize(("name", "nms"), CASES)
def test_every_box_has_the_signals_of_its_own_anchor(
    name: str, nms: bool, detector: Make, weights: Weights, photos: Photos
) -> None:
    some = [photos[i] for i in (0, 2, 7)]  # lying, square, and upright with padding on three sides
    truths = [whole(weights(name), detector(name, nms=nms), photo) for photo in some]
    for multi_label in (False, True):
        d = detector(name, nms=nms).tuned(conf=0.05, iou=0.6, max_det=100, multi_label=multi_label)
        for truth, prediction in zip(truths, seen(d, some), strict=True):
            assert len(prediction.regions) > 20
            check(truth, prediction)


def check(truth: Whole, prediction: Prediction) -> None:
    # Boxes in the padding are dropped, so a row's rank says nothing: its box and probabilities do.
    probs = numbers(prediction.probs)
    apart = np.abs(truth.boxes[None] - corners(prediction)[:, None]).max(2)
    apart += np.abs(expit(truth.own)[None] - probs[:, None]).max(2)
    anchor = apart.argmin(1)
    assert apart.min(1).max() < 2e-3
    embeddings = numbers(prediction.box_embeddings)
    np.testing.assert_allclose(embeddings, truth.features[anchor], rtol=2e-3, atol=2e-3)
    bins = truth.edges.shape[1] // 4
    if bins == 1:
        assert prediction.localisation is None
    else:
        shares = softmax(truth.edges[anchor].reshape(-1, 4, bins), axis=2)
        expected = entropy(shares, axis=2).mean(1) / np.log(bins)
        np.testing.assert_allclose(numbers(prediction.localisation), expected, atol=1e-3)
    if truth.other is None:
        assert prediction.disagreement is None
    else:
        label = [CLASSES.index(str(r.label)) for r in prediction.regions]
        gap = np.abs(expit(truth.own) - expit(truth.other))[anchor, label]
        np.testing.assert_allclose(numbers(prediction.disagreement), gap, atol=2e-3)
        assert gap.max() > 0.1, "the heads must differ, or the comparison says nothing"


@pytest.mark.parametrize(("name", "nms"), DUAL)
def test_heads_disagree_by_the_amount_they_were_set_apart(
    name: str, nms: bool, weights: Weights, photos: Photos, tmp_path: Path
) -> None:
    import torch

    from backend.detector.weights import load_module, save_module

    module = load_module(weights(name))
    head = module.model[-1]
    head.one2one_cv2, head.one2one_cv3 = copy.deepcopy(head.cv2), copy.deepcopy(head.cv3)
    with torch.no_grad():
        for layers in head.one2one_cv3:
            layers[-1].bias[3] += 1.5
    save_module(module, tmp_path / "twins.pt")
    options = DetectorOptions(imgsz=96, threads=1, device="cpu", nms=nms)
    # The heads are one for the two classes of the first label.
    label_map = {"bin": "满", "full bin": "满", "person": "人"}
    d = Detector(tmp_path / "twins.pt", options, version="m", label_map=label_map)
    boxes = {"满": 0, "人": 0}
    for prediction in seen(d, photos[:4]):
        disagreement = numbers(prediction.disagreement)
        for region, found in zip(prediction.regions, disagreement, strict=True):
            shift = 0.0 if region.label == "满" else 1.5 if nms else -1.5
            score = region.score or 0.0
            assert found == pytest.approx(abs(expit(logit(score) + shift) - score), abs=2e-3)
            boxes[str(region.label)] += 1
    assert min(boxes.values()) > 20


@pytest.mark.parametrize("end_to_end", [False, True])
@pytest.mark.parametrize("nms", [False, True])
def test_a_model_saved_fused_has_one_head_only(
    nms: bool, end_to_end: bool, weights: Weights, photos: Photos, tmp_path: Path
) -> None:
    from backend.detector.weights import load_module, save_module

    module = load_module(weights("yolo26"))
    module.end2end = end_to_end
    save_module(module.fuse(verbose=False), tmp_path / "fused.pt")
    options = DetectorOptions(imgsz=96, threads=1, device="cpu", nms=nms)
    (prediction,) = seen(
        Detector(tmp_path / "fused.pt", options, version="m", label_map=IDENTITY), photos[:1]
    )
    assert prediction.disagreement is None
    assert len(numbers(prediction.box_embeddings)) == len(prediction.regions) > 5


def test_of_a_head_that_reads_words_nothing_is_told(photos: Photos, tmp_path: Path) -> None:
    from backend.detector.runtime import library
    from backend.detector.weights import save_module

    world = library("nn.tasks").WorldModel(
        str(make_architecture("yolov8-worldv2", tmp_path)), verbose=False
    )
    world.names, world.task = dict(enumerate(map(str, range(80)))), "detect"
    save_module(world, tmp_path / "world.pt")
    options = DetectorOptions(imgsz=96, threads=1, device="cpu", conf=0.0, max_det=5)
    d = Detector(tmp_path / "world.pt", options, version="m", label_map={"7": "七"})
    (prediction,) = seen(d, photos[:1])
    assert prediction.regions
    assert prediction.embedding is not None
    assert prediction.box_embeddings is prediction.localisation is prediction.disagreement is None


@pytest.mark.parametrize(("name", "nms"), CASES)
def test_no_box_has_no_signals(name: str, nms: bool, detector: Make, photos: Photos) -> None:
    d = detector(name, nms=nms)
    (some,), nothing = seen(d, photos[:1]), seen(d.tuned(conf=0.9999, iou=0.6, max_det=100), photos[:2])
    width = numbers(some.box_embeddings).shape[1]
    for prediction in nothing:
        assert prediction.regions == ()
        assert numbers(prediction.box_embeddings).shape == (0, width)
        for before, values in (
            (some.localisation, prediction.localisation),
            (some.disagreement, prediction.disagreement),
        ):
            assert (values is None) == (before is None)
            assert values is None or numbers(values).shape == (0,)


@pytest.mark.parametrize(("name", "nms"), CASES)
def test_company_does_not_change_signals(name: str, nms: bool, detector: Make, photos: Photos) -> None:
    d = detector(name, nms=nms).tuned(
        conf=0.3, iou=0.6, max_det=7
    )  # few, so that they are read from cuttings
    for together, photo in zip(seen(d, photos), photos, strict=True):
        (alone,) = seen(d, [photo])
        for field in ("box_embeddings", "localisation", "disagreement"):
            ours, theirs = getattr(together, field), getattr(alone, field)
            assert (ours is None) == (theirs is None)
            if ours is not None:
                np.testing.assert_allclose(numbers(ours), numbers(theirs), rtol=2e-3, atol=2e-3)


def test_no_pass_is_remembered(detector: Make, photos: Photos) -> None:
    d = detector("yolo26")
    seen(d, photos)
    assert d._head is not None
    assert d._head._heard == {}


def test_signals_fall_with_their_boxes_and_stay_finite(detector: Make) -> None:
    import torch

    from backend.detector.predict import _Item
    from backend.detector.signals import Signals

    signals = Signals(
        # The second box lies wholly in the padding above an image of 96 x 32.
        boxes=torch.tensor([[1.0, 40, 9, 50], [1, 1, 9, 20], [20, 40, 30, 60]]),
        scores=torch.tensor([0.5, 0.4, 0.3]),
        labels=torch.tensor([0, 1, 2]),
        probs=torch.eye(4)[:3],
        background=0.0,
        embedding=None,
        box_embeddings=torch.tensor([[1e9, -torch.inf], [2, 2], [3, 3]]),
        localisation=torch.tensor([0.25, 0.5, 1]),
        disagreement=torch.tensor([0, 0.5, 0.75]),
    )
    item = _Item(0, "sample", np.zeros((96, 96, 3), np.uint8), (32, 96))
    prediction = detector()._prediction(item, signals, (96, 96))
    most = float(np.finfo(np.float16).max)
    assert [r.score for r in prediction.regions] == pytest.approx([0.5, 0.3])
    assert numbers(prediction.box_embeddings).tolist() == [[most, -most], [3, 3]]
    assert numbers(prediction.localisation).tolist() == [0.25, 1]
    assert numbers(prediction.disagreement).tolist() == [0, 0.75]


@given(arrays(np.float64, st.tuples(st.integers(0, 4), st.just(4 * 5)), elements=st.floats(-60, 60)))
@settings(deadline=None, max_examples=50)
def test_edges_are_as_undecided_as_their_distributions_are_flat(logits: Floats) -> None:
    import torch

    from backend.detector.anchors import edge_entropy

    found = edge_entropy(torch.from_numpy(logits), 5).numpy()
    shares = softmax(logits.reshape(len(logits), 4, 5), axis=2)
    np.testing.assert_allclose(found, entropy(shares, axis=2).mean(1) / np.log(5), atol=1e-5)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_ends_of_indecision() -> None:
    import torch

    from backend.detector.anchors import edge_entropy

    flat, sharp = torch.zeros(4, 16), torch.zeros(4, 16)
    sharp[:, 3] = 1e4
    half = torch.cat((flat[:2], sharp[:2]))
    rows = torch.stack([flat.flatten(), sharp.flatten(), half.flatten()])
    np.testing.assert_allclose(edge_entropy(rows, 16), [1.0, 0.0, 0.5], atol=1e-6)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_branch_says_at_a_place_what_it_says_over_the_whole_map(data: st.DataObject) -> None:
    import torch
    from torch import nn

    from backend.detector.anchors import answers
    from backend.detector.runtime import library

    conv = library("nn.modules.conv").Conv
    batch, height, width = (data.draw(st.integers(1, most)) for most in (3, 16, 16))
    kernels = data.draw(st.sampled_from([(1, 1), (3, 1), (3, 3), (5, 3)]))
    places = data.draw(
        st.lists(
            st.tuples(*(st.integers(0, size - 1) for size in (batch, height, width))),
            min_size=1,
            max_size=4,
        )
    )
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(data.draw(st.integers(0, 99)))
        branch = nn.Sequential(
            conv(3, 4, kernels[0]), conv(4, 4, kernels[1], g=4), nn.Conv2d(4, 2, 1)
        ).eval()
        for layer in branch.modules():
            if isinstance(layer, nn.BatchNorm2d):  # so that a place outside the map would not be silent
                layer.bias.normal_(2.0, 1.0)
        maps = torch.randn(batch, 3, height, width)
        image, y, x = torch.tensor(places).T
        np.testing.assert_allclose(
            answers(branch, maps, image, y, x), branch(maps)[image, :, y, x], rtol=1e-4, atol=1e-4
        )
