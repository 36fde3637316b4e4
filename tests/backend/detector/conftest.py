"""Real ultralytics networks, made small and loud enough to draw boxes without any training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.detector.predict import Detector, DetectorOptions

CLASSES = ("bin", "full bin", "垃圾", "person")
ARCHITECTURES = ("yolo11", "yolov8", "yolo26")


@pytest.fixture(scope="session", autouse=True)
def _own_library_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """ultralytics reads these once, while it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("ultralytics")))
        patch.setenv("YOLO_VERBOSE", "false")
        patch.setenv("YOLO_OFFLINE", "true")
        yield


def make_architecture(name: str, folder: Path) -> Path:
    """An ultralytics architecture at an eighth of its width."""
    import yaml
    from ultralytics.utils import ROOT

    text = next((ROOT / "cfg" / "models").rglob(f"{name}.yaml")).read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    config["scales"] = {"n": [0.33, 0.125, 256]}
    path = folder / f"{name}n.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def make_weights(name: str, folder: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    """Random weights that answer to what they see, every class loud in some places and quiet in most."""
    import torch

    from backend.detector.head import cold_start
    from backend.detector.weights import load_module, save_module

    path = folder / f"{name}.pt"
    cold_start(make_architecture(name, folder), classes, path, seed=7)
    module = load_module(path)
    pixels = np.stack([np.asarray(picture(seed, 96, 96)) for seed in range(100, 112)])
    pictures = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(11)
        # Batch norms that know their inputs: without them a random network fades to zero with depth.
        module.train()
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 0.5
        for _ in range(4):
            module(pictures)
        module.eval()
        for branch in ("cv3", "one2one_cv3"):
            for layers in getattr(module.model[-1], branch, None) or ():
                layers[-1].weight.normal_(0.0, 1.0)
                layers[-1].register_forward_hook(_spread)
        module(pictures)
        for layer in module.modules():
            layer._forward_hooks.clear()
        bins = torch.arange(module.model[-1].reg_max)
        for branch in ("cv2", "one2one_cv2"):
            for layers in getattr(module.model[-1], branch, None) or ():
                # Edges about one cell from the centre, so that most boxes lie inside the picture.
                layers[-1].weight.mul_(0.3)
                layers[-1].bias.copy_((-0.8 * bins).repeat(4) if len(bins) > 1 else torch.ones(4))
    save_module(module, path)
    return path


def _spread(layer: Any, _: Any, output: Any) -> None:
    """Make a class layer's answers on these pictures vary around -3 by 2, class by class."""
    mean, deviation = output.mean((0, 2, 3)), output.std((0, 2, 3))
    layer.weight.mul_((2.0 / deviation)[:, None, None, None])
    layer.bias.copy_((layer.bias - mean) * 2.0 / deviation - 3.0)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = make_weights(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


def picture(seed: int, width: int, height: int) -> Image.Image:
    """Rectangles of random colours on a gradient."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 255, width)[None, :, None] * rng.random(3)[None, None, :]
    pixels = np.repeat(ramp, height, axis=0)
    for _ in range(6):
        x, y = int(rng.integers(0, width - 8)), int(rng.integers(0, height - 8))
        w, h = int(rng.integers(8, width)), int(rng.integers(8, height))
        pixels[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels.astype(np.uint8))


SIZES = ((96, 64), (64, 96), (96, 96), (96, 64), (120, 50), (64, 96), (96, 64), (33, 71))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """Eight pictures of mixed shapes, as (sample id, file)."""
    folder = tmp_path_factory.mktemp("照片")
    rows = []
    for seed, (width, height) in enumerate(SIZES):
        path = folder / f"图{seed}.png"
        picture(seed, width, height).save(path)
        rows.append((f"sample{seed}", path))
    return rows


IDENTITY = {name: name for name in CLASSES}


@pytest.fixture(scope="session")
def detector(weights: Callable[[str], Path]) -> Callable[..., Detector]:
    """Detectors of an architecture, loaded once each; on one thread, for the machine may be shared."""
    made: dict[str, Detector] = {}

    def get(name: str = "yolo11", label_map: dict[str, str] | None = None, **changes: Any) -> Detector:
        mapping = label_map or IDENTITY
        key = repr((name, mapping, changes))
        if key not in made:
            options = DetectorOptions(**{"imgsz": 96, "threads": 1, "device": "cpu", **changes})
            made[key] = Detector(weights(name), options, version="m1", label_map=mapping)
        return made[key]

    return get
