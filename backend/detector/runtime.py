"""ultralytics as this project wants it: quiet, safe, without telemetry, never fetching on its own.

ultralytics keeps a settings file. It looks for its folder in ``YOLO_CONFIG_DIR`` once, while it is
imported, so whoever owns the environment must have set that before (`backend.settings` does).
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from typing import Any

log = logging.getLogger("thresher.detector")

_INTEGRATIONS = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")


def cores() -> int:
    """Processor cores that this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(threads: int) -> None:
    """Let torch use ``threads`` cores, or all of them for 0.

    Call it after the device was chosen: ultralytics sets its own number while choosing a CPU.
    """
    import torch

    torch.set_num_threads(threads or cores())


def library(module: str) -> Any:
    """A module of ultralytics (``"nn.tasks"``) in a tamed library; it is typed too thinly to be checked."""
    tame()
    return importlib.import_module(f"ultralytics.{module}")


@functools.cache
def tame() -> None:
    """Make the library behave in this process; every entry point calls it before using ultralytics.

    Usage events and integrations are switched off in memory, packages are never installed behind
    the operator's back, plotting fonts are never fetched, and checkpoints are unpickled with an
    allow-list of model classes, so that a file named ``.pt`` cannot run code.
    """
    from PIL import Image

    utils: Any = importlib.import_module("ultralytics.utils")
    events: Any = importlib.import_module("ultralytics.utils.events")
    checks: Any = importlib.import_module("ultralytics.utils.checks")
    data: Any = importlib.import_module("ultralytics.data.utils")
    tasks: Any = importlib.import_module("ultralytics.nn.tasks")
    utils.LOGGER.setLevel(logging.ERROR)
    # Not SETTINGS.update(): that would write the operator's settings file.
    dict.update(utils.SETTINGS, dict.fromkeys(_INTEGRATIONS, False))
    events.events.enabled = False
    checks.AUTOINSTALL = False
    data.check_font = lambda *_: None
    tasks.SAFE_LOAD = True
    # The library replaces Pillow's open for everybody, to look for a HEIC plugin in files it cannot read:
    # what the pool says about a broken file must not depend on whether a detector was loaded.
    patches: Any = importlib.import_module("ultralytics.utils.patches")
    Image.open = patches._image_open
