"""Detector weights as files: read them, name their classes, write them.

A checkpoint is read with ultralytics' allow-list unpickler (see `runtime.tame`). What is written is
the unfused float16 model with its class names and nothing of the machine that made it: no paths, no
dates, so that equal models are equal bytes.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from backend.detector.runtime import library
from pool.schema import BadInput, MissingWeights

# Read back by ultralytics when it loads a checkpoint; everything else in its training arguments
# (paths above all) says where the model was made and stays out.
_KEPT_ARGS = ("imgsz", "task", "single_cls")


def load_module(path: Path) -> Any:
    """The float32 detection model of a ``.pt`` checkpoint, in eval mode.

    Raises:
        MissingWeights: there is no such file.
        BadInput: the file is no checkpoint of an ultralytics detector.
    """
    if not path.is_file():
        raise MissingWeights(f"Weights {path} are not there: register them again or name another file.")
    fix = "Use detection weights such as yolo11n.pt, or a model trained here."
    try:
        module, _ = library("nn.tasks").load_checkpoint(str(path))
    except Exception as error:  # the library has a dozen ways to say that a file is not what it wants
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(f"weights {path}", "a checkpoint of ultralytics", reason, fix) from error
    head = module.model[-1]
    if module.task != "detect" or not isinstance(head, library("nn.modules.head").Detect):
        got = f"{module.task} weights with a {type(head).__name__} head"
        raise BadInput(f"weights {path}", "detection weights with a YOLO head", got, fix)
    return module


def load_trainable(path: Path) -> Any:
    """Like `load_module`, for weights that training can go on from.

    Raises:
        MissingWeights: there is no such file.
        BadInput: not a detector, or one whose batch-norm layers were folded away for inference.
    """
    module = load_module(path)
    if module.is_fused():
        fix = "Use the checkpoint it was made from, as training wrote it."
        raise BadInput(f"weights {path}", "an unfused checkpoint", "one fused for inference", fix)
    return module


def module_classes(module: Any) -> tuple[str, ...]:
    """Class names in index order."""
    return tuple(str(module.names[i]) for i in range(len(module.names)))


def class_names(path: Path) -> tuple[str, ...]:
    """Class names of weights in index order, of a checkpoint or an export.

    Raises:
        MissingWeights: there is no such file.
        BadInput: the file is no detector.
    """
    if path.suffix == ".pt":
        return module_classes(load_module(path))
    return module_classes(load_export(path, device="cpu"))


def load_export(path: Path, device: Any) -> Any:
    """An exported detector (ONNX, OpenVINO, TorchScript …) behind ultralytics' common interface.

    Raises:
        MissingWeights: there is no such file or folder, or its runtime is not installed.
        BadInput: the export is no detector.
    """
    if not path.exists():
        raise MissingWeights(f"Weights {path} are not there: register them again or name another file.")
    import torch

    try:
        backend = library("nn.autobackend").AutoBackend(
            model=str(path), device=torch.device(device), fp16=False, verbose=False
        )
    except ModuleNotFoundError as error:
        raise MissingWeights(
            f"Weights {path} need the Python package {error.name}, which is not installed: "
            f"install it (pip install {error.name}) or use a .pt file."
        ) from error
    except Exception as error:
        fix = "Export it again with `yolo export`, or use a .pt file."
        raise BadInput(
            f"weights {path}", "an ultralytics export", str(error) or type(error), fix
        ) from error
    if backend.task != "detect":
        raise BadInput(f"weights {path}", "an exported detector", f"one for the task {backend.task}")
    return backend


def save_module(module: Any, path: Path) -> None:
    """Write a model as an ultralytics checkpoint, atomically; the module given is left as it is."""
    import copy

    import torch

    model = copy.deepcopy(module).cpu().half().eval()
    arguments = dict(getattr(model, "args", {}) or {})
    model.args = {key: arguments[key] for key in _KEPT_ARGS if key in arguments}
    model.pt_path = None
    model.criterion = None
    for parameter in model.parameters():
        parameter.requires_grad = False
    checkpoint = {
        "epoch": -1,
        "model": model,
        "train_args": dict(model.args),
        "version": library("utils.torch_utils").__version__,
        "license": "AGPL-3.0 (https://ultralytics.com/license)",
    }
    # Through a buffer: torch writes the file's own name into an archive that it saves by path.
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_atomically(path, buffer.getvalue())


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old or the new bytes, never half of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
