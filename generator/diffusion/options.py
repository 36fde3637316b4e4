"""Where and how the diffusion models run: device, precision, batch, and what may be fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from pool.schema import BadInput

if TYPE_CHECKING:
    import torch

SMALL_STEPS = 4
"""Denoising steps that the small model that ships is meant to be sampled with."""
Precision = Literal["auto", "float32", "float16", "bfloat16"]


@dataclass(frozen=True, slots=True)
class PainterOptions:
    """How a painter works; none of it changes what a recipe asks for.

    ``device`` is torch's word for it, empty the best there is (CUDA, then Apple's, then the processor).
    ``dtype`` "auto" is float16 on CUDA and float32 elsewhere. ``batch`` images go through together: 0 lets
    it grow on CUDA until memory is well used and is 1 elsewhere; whatever it is, it is halved where memory
    runs out. ``threads`` is torch's number of them, 0 leaves it. ``compile`` compiles the UNet: minutes
    once, then faster steps.
    """

    device: str = ""
    dtype: Precision = "auto"
    batch: int = 0
    threads: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Precision):
            raise BadInput("dtype", f"one of {', '.join(get_args(Precision))}", self.dtype)
        for name, value in (("batch", self.batch), ("threads", self.threads)):
            if value < 0:
                raise BadInput(name, "0 or more", value)


def pick_device(wanted: str) -> torch.device:
    """The device of that name, or the best one there is where the name is empty."""
    import torch

    if not wanted:
        wanted = (
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise BadInput("device", "cpu, cuda, cuda:1 or mps", wanted) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadInput(
            "device", "one that this machine has", wanted, "Leave it empty to take the best there is."
        )
    return device


def pick_dtype(wanted: Precision, device: torch.device) -> torch.dtype:
    """The precision of the weights on this device."""
    import torch

    if wanted == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    precisions = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    return precisions[wanted]
