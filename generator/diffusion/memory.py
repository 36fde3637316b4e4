"""How much fits: batches that grow and shrink, and what is given up where memory is short."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

Saving = Literal["none", "tiles", "offload"]

WORK_PER_PIXEL = 12_000
"""Bytes that one image needs beside the weights, per pixel, at two bytes per number: an upper estimate.

It is set by the VAE's decoder, whose widest layers hold 512 and 256 channels at full size.
"""
_WELL_USED = 0.4
_LARGEST = 64


def saving(free: int, weights: int, pixels: int, number: int = 2) -> Saving:
    """What to give up for one image of ``pixels`` to fit; all in bytes but ``pixels``.

    ``tiles`` decodes images in tiles; ``offload`` keeps in device memory only the model that is at work.
    ``number`` is the size of a number, 2 in float16.
    """
    if weights >= 0.9 * free:
        return "offload"
    return "tiles" if weights + WORK_PER_PIXEL * pixels * number / 2 > free else "none"


def out_of_memory(error: BaseException) -> bool:
    """Whether the device (or the allocator of the processor) could not give more memory."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


class Batches:
    """How many images go through together, learned separately for each ``key`` (model and size).

    ``fixed`` is where to begin, 0 for 1. Growing ones double while the peak of memory is below 40 % of the
    device: doubling a batch at most doubles the peak, so it stays below 80 %. What once ran out of memory
    is not tried again.
    """

    def __init__(self, fixed: int, growing: bool) -> None:
        self._first, self._growing = max(fixed, 1), growing and not fixed
        self._size: dict[Hashable, int] = {}
        self._ceiling: dict[Hashable, int] = {}

    def size(self, key: Hashable) -> int:
        """How many to take now."""
        return self._size.get(key, self._first)

    def halve(self, key: Hashable, tried: int) -> int:
        """After ``tried`` images did not fit: how many to try instead, 0 where not even one fits."""
        self._size[key] = self._ceiling[key] = tried // 2
        if not self._size[key]:
            # The next recipe may ask for less, and the memory may be free again by then.
            del self._size[key], self._ceiling[key]
            return 0
        return self._size[key]

    def fitted(self, key: Hashable, tried: int, used: float) -> None:
        """After ``tried`` images went through with ``used`` of the device's memory, a share in [0, 1]."""
        if self._growing and tried == self.size(key) and used < _WELL_USED:
            self._size[key] = min(2 * tried, self._ceiling.get(key, _LARGEST))


def free(device: Any) -> int | None:
    """Bytes free on a CUDA device; None elsewhere, where nothing says it."""
    import torch

    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def forget_peak(device: Any) -> None:
    """Begins to measure the peak of memory anew."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: Any) -> float:
    """The largest share of the device's memory that was in use; 1 where nothing says it."""
    import torch

    if device.type != "cuda":
        return 1.0
    return float(torch.cuda.max_memory_allocated(device) / torch.cuda.mem_get_info(device)[1])


def tidy(device: Any) -> None:
    """Gives unused memory back to the device."""
    import gc

    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
