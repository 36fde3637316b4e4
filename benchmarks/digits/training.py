"""A short training of a tiny detector: on small pictures a real trainer would mostly wait for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from backend.detector.evaluate import Truth
from benchmarks.digits.scenes import SIDE
from pool.schema import Region

VARIANTS = 8
"""How often each picture is varied for one training."""
TOPOLOGY: dict[str, Any] = {
    "nc": 4,
    "scales": {"n": [1.0, 0.25, 1024]},
    "scale": "n",
    "backbone": [
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "Conv", [96, 3, 2]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 1, "Conv", [256, 3, 1]],
        [-1, 1, "Conv", [384, 3, 2]],
        [-1, 1, "Conv", [384, 3, 1]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 3], 1, "Concat", [1]],
        [-1, 1, "Conv", [256, 3, 1]],
        [[8], 1, "Detect", ["nc"]],
    ],
}
"""Nine plain layers and the head of yolo11 on one level: 8 pixels wide places."""


def blank(labels: Sequence[str], folder: Path) -> Path:
    """Weights that know nothing, as ``blank.pt`` in the folder."""
    from backend.detector.head import cold_start
    from backend.detector.runtime import library

    library("utils").YAML.save(folder / "tiny.yaml", TOPOLOGY)
    return cold_start(folder / "tiny.yaml", labels, folder / "blank.pt", seed=0)


@dataclass(frozen=True)
class Loop:
    """Training without a trainer's start: AdamW on random batches, the rate falling along a cosine.

    The ``frozen`` first layers stay as the base has them, so that they see each variant of a picture once.
    """

    labels: tuple[str, ...]
    steps: int
    rate: float = 0.01
    frozen: int = 0
    batch: int = 32

    def __call__(self, base: Path, rows: Sequence[Truth], seed: int, folder: Path) -> Path:
        import torch

        from backend.detector.head import cold_start
        from backend.detector.runtime import library
        from backend.detector.weights import load_trainable, save_module

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        model = load_trainable(cold_start(base, self.labels, folder / "start.pt", seed=seed))
        model.args = library("cfg").get_cfg()
        images, targets = _variants(rows, self.labels)
        stem = model.model[: self.frozen]
        with torch.no_grad():
            seen = torch.cat([stem(part) for part in images.split(256)])
        for index, layer in enumerate(stem):
            model.model[index] = _passed(layer)
        model.train()
        trained = [p for n, p in model.named_parameters() if "dfl" not in n]
        for parameter in trained:
            parameter.requires_grad = True
        optimizer = torch.optim.AdamW(trained, lr=self.rate, weight_decay=5e-4, fused=True)
        falling = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, self.steps, pct_start=0.1)
        for _ in range(self.steps):
            picked = torch.randint(len(seen), (self.batch,)).tolist()
            of = torch.cat([torch.full((len(targets[i]),), float(n)) for n, i in enumerate(picked)])
            found = torch.cat([targets[i] for i in picked])
            batch = {"img": seen[picked], "batch_idx": of, "cls": found[:, :1], "bboxes": found[:, 1:]}
            loss, _ = model.loss(batch)
            optimizer.zero_grad()
            loss.sum().backward()
            torch.nn.utils.clip_grad_norm_(trained, 10.0)
            optimizer.step()
            falling.step()
        for index, layer in enumerate(stem):
            model.model[index] = layer
        save_module(model, folder / "weights.pt")
        return folder / "weights.pt"


def _passed(layer: Any) -> Any:
    import torch

    passed: Any = torch.nn.Identity()
    passed.f, passed.i, passed.type = layer.f, layer.i, "passed"
    return passed


def _variants(rows: Sequence[Truth], labels: Sequence[str]) -> tuple[Any, list[Any]]:
    """Each picture VARIANTS times, moved by up to six pixels and lit differently, and its targets."""
    import torch

    images, targets = [], []
    for _, path, regions in rows:
        pixels = torch.from_numpy(np.asarray(Image.open(path), dtype=np.float32) / 255).permute(2, 0, 1)
        boxes = torch.tensor([_target(r, labels) for r in regions], dtype=torch.float32).reshape(-1, 5)
        for _ in range(VARIANTS):
            dx, dy = (int(v) for v in torch.randint(-6, 7, (2,)))
            gain = 0.8 + 0.4 * torch.rand(3, 1, 1)
            images.append((torch.roll(pixels, (dy, dx), (1, 2)) * gain).clamp(0, 1))
            low = boxes[:, 1:3] - boxes[:, 3:] / 2 + torch.tensor([dx, dy]) / SIDE
            a, b = low.clamp(0, 1), (low + boxes[:, 3:]).clamp(0, 1)
            kept = ((b - a) / boxes[:, 3:]).prod(1) > 0.5  # what left the picture by half is no target
            targets.append(torch.cat([boxes[:, :1], (a + b) / 2, b - a], 1)[kept])
    return torch.stack(images), targets


def _target(region: Region, labels: Sequence[str]) -> list[float]:
    b = region.box
    return [labels.index(str(region.label)), (b.x1 + b.x2) / 2, (b.y1 + b.y2) / 2, b.x2 - b.x1, b.y2 - b.y1]
