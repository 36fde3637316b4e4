"""A detector for labels that nobody has trained yet: old eyes, new words."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.detector.runtime import library
from backend.detector.weights import load_trainable, module_classes, save_module
from pool.schema import BadInput

_WHISPER = 0.01  # standard deviation of the weights of an untaught label


def cold_start(
    base: Path,
    labels: Sequence[str],
    out: Path,
    *,
    label_map: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Write weights for ``labels`` made from ``base``; returns ``out``.

    Architecture, backbone, neck and box branch stay as they are; the last layer of the class branch
    is new, drawn from ``seed`` and biased so that an untrained label stays near silent. A label that
    the base already knows keeps what is known of it (see `carried_classes`; ``label_map`` goes from
    a class of the base to a label). The same input gives the same bytes. ``base`` may also be an
    architecture of ultralytics (``yolo11n.yaml``): then everything is drawn from ``seed``.

    Raises:
        BadInput: no labels, a label twice, or a base that cannot be trained further.
        MissingWeights: ``base`` is not there.
    """
    if not labels or len(set(labels)) != len(labels):
        raise BadInput("labels", "at least one label, each once", list(labels))
    import torch

    source = None if base.suffix in (".yaml", ".yml") else load_trainable(base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = str(base) if source is None else copy.deepcopy(source.yaml)
        model = library("nn.tasks").DetectionModel(config, nc=len(labels), verbose=False)
        model.names = dict(enumerate(labels))
        model.nc, model.task = len(labels), "detect"
        carried: dict[int, int] = {}
        if source is not None:
            model.load(source, verbose=False)
            carried = carried_classes(module_classes(source), labels, label_map)
        _speak(model, source, carried)
    save_module(model, out)
    return out


def carried_classes(
    classes: Sequence[str], labels: Sequence[str], label_map: Mapping[str, str] | None = None
) -> dict[int, int]:
    """Index of a label -> index of the class it is carried over from.

    By ``label_map`` where it speaks of a class, else by the same name without regard to case; the
    first class of a label wins.
    """
    column = {label: index for index, label in enumerate(labels)}
    column_folded = {label.casefold().strip(): index for label, index in column.items()}
    found: dict[int, int] = {}
    for index, name in enumerate(classes):
        if label_map and name in label_map:
            target = column.get(label_map[name])
        else:
            target = column_folded.get(name.casefold().strip())
        if target is not None:
            found.setdefault(target, index)
    return found


def _speak(model: Any, source: Any | None, carried: Mapping[int, int]) -> None:
    """Set the last class layer row by row: known labels as the source has them, others near silent.

    The silent rows are small noise below a bias of rare objects, the initialisation of focal-loss
    detectors (Lin et al. 2017, section 4.1): the default initialisation of a convolution, on
    features that were trained to be loud, would draw confident boxes of labels nobody has taught.
    The library's own transfer is not enough: between models of equal class count it copies the rows
    by position, whatever the classes are called.
    """
    import torch

    head, old = model.model[-1], source.model[-1] if source is not None else None
    for branch in ("cv3", "one2one_cv3"):
        levels = getattr(head, branch, None)
        for level, layers in enumerate(levels if levels is not None else ()):
            layer, stride = layers[-1], float(head.stride[level])
            with torch.no_grad():
                layer.weight.normal_(0.0, _WHISPER)
                # ultralytics' own prior: five objects in a picture of 640 pixels, shared by the labels.
                layer.bias.fill_(math.log(5 / head.nc / (640 / stride) ** 2))
                for label, index in carried.items():
                    known = getattr(old, branch)[level][-1]
                    layer.weight[label] = known.weight[index]
                    layer.bias[label] = known.bias[index]
