"""LoRAs on top of a checkpoint: put on, weighted, and taken off without a trace.

They are never fused into the weights: what was added could then only be subtracted again with rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.diffusion.loading import refuse_pickle
from generator.diffusion.quiet import quiet
from pool.schema import BadInput


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA's file and how much it counts in the UNet and in the text encoders; 0 is not at all."""

    path: Path
    unet: float
    text: float


def wear(pipe: Any, adapters: Sequence[Adapter], worn: Sequence[Path]) -> tuple[Path, ...]:
    """Gives the pipeline's models exactly these LoRAs instead of the files ``worn``, and returns theirs.

    Files are read only where they differ from those worn. Raises BadInput, with none worn, for a file that
    is no LoRA or does not fit the model.
    """
    wanted = tuple(adapter.path for adapter in adapters)
    with quiet():
        if wanted != tuple(worn):
            pipe.unload_lora_weights()
            _read(pipe, wanted)
        if wanted:
            _weigh(pipe, adapters)
    return wanted


def _read(pipe: Any, paths: Sequence[Path]) -> None:
    for position, path in enumerate(paths):
        refuse_pickle(path)
        try:
            pipe.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=_name(position), local_files_only=True
            )
        except Exception as error:
            # Three libraries have their own words for it; here all mean that the file does not fit.
            pipe.unload_lora_weights()
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise BadInput("lora", "a LoRA made for the model's family", path.name, reason) from error


def _weigh(pipe: Any, adapters: Sequence[Adapter]) -> None:
    having = pipe.get_list_adapters()
    weights = [
        {
            part: adapter.unet if part == "unet" else adapter.text
            for part, names in having.items()
            if _name(position) in names
        }
        for position, adapter in enumerate(adapters)
    ]
    pipe.set_adapters([_name(position) for position in range(len(adapters))], weights)


def _name(position: int) -> str:
    return f"lora{position}"
