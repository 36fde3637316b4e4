"""The models in memory: one checkpoint with its VAE and LoRAs, and the ControlNets used last."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.diffusion import adapters, loading, memory
from generator.diffusion.adapters import Adapter
from generator.diffusion.memory import Saving
from generator.diffusion.quiet import quiet

if TYPE_CHECKING:
    import torch

    from generator.diffusion.embeddings import Embeddings
    from generator.prompt import Prompt

CONTROLS_KEPT = 3
"""ControlNets that stay in memory although the recipe at hand does not ask for them."""
_log = logging.getLogger("thresher.generator")


class Bench:
    """Loads what a recipe needs beyond what lies here already, and no part twice.

    Every pipeline is a view of the same parts, so that changing the mode costs nothing.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, compiled: bool = False) -> None:
        self.device, self.dtype = device, dtype
        self.saving: Saving = "none"
        self.parts: Mapping[str, Any] = {}
        self._compiled = compiled
        self._checkpoint: Path | None = None
        self._vae: Path | None = None
        self._own_vae: Any = None
        self._worn: tuple[Path, ...] = ()
        self._controls: OrderedDict[Path, Any] = OrderedDict()
        self._hooked: Any = None

    def lay(self, checkpoint: Path, vae: Path | None, tokenizers: Sequence[Path], pixels: int) -> None:
        """Has the checkpoint and the VAE (None: its own) here; ``pixels`` is how large an image will be."""
        if checkpoint != self._checkpoint:
            self.clear()
            self.parts = loading.load(checkpoint, self.dtype, tokenizers)
            self._own_vae = self.parts["vae"]
            try:
                self._settle(pixels)
            except BaseException:
                self.clear()  # or the next recipe would find parts that lie in different places
                raise
            self._checkpoint = checkpoint
        if vae != self._vae:
            self._unhook()
            chosen = loading.load_vae(vae, self._own_vae, self.dtype) if vae else self._own_vae
            self.parts = {**self.parts, "vae": self._placed(chosen)}
            self._vae = vae
        if self.saving != "none" and hasattr(self.parts["vae"], "enable_tiling"):
            self.parts["vae"].enable_tiling()

    def _settle(self, pixels: int) -> None:
        free = memory.free(self.device)
        self.saving = "none"
        if free is not None:
            weights = sum(_bytes(part) for part in self.parts.values())
            self.saving = memory.saving(free, weights, pixels, self.dtype.itemsize)
        for part in self.parts.values():
            self._placed(part)
        if self._compiled:
            self.parts["unet"].compile()
        _log.info("Models on %s in %s; memory saved by: %s.", self.device, self.dtype, self.saving)

    def _placed(self, part: Any) -> Any:
        """A model where it works, in the form for use; anything else as it is."""
        if hasattr(part, "parameters"):
            part.eval().requires_grad_(False)
            if self.saving != "offload":
                part.to(self.device)
        return part

    def controls(self, paths: Sequence[Path]) -> list[Any]:
        """The ControlNets of these files, in this order."""
        for path in paths:
            if path not in self._controls:
                net = loading.load_control(path, self.parts["unet"], self.dtype)
                self._controls[path] = self._placed(net)
            self._controls.move_to_end(path)
        while len(self._controls) > max(CONTROLS_KEPT, len(set(paths))):
            self._controls.popitem(last=False)
        return [self._controls[path] for path in paths]

    def wear(self, wanted: Sequence[Adapter]) -> None:
        """Exactly these LoRAs on the checkpoint, none where the sequence is empty."""
        if not wanted and not self._worn:
            return
        pipe = self._view(self._plain)
        worn, self._worn = self._worn, ()
        self._worn = adapters.wear(pipe, wanted, worn)

    def encode(self, positive: Prompt, negative: Prompt, clip_skip: int) -> Embeddings:
        """The two prompts as the text encoders, with the LoRAs worn, read them."""
        from generator.diffusion import embeddings

        # Weights of tokens and states must lie together, which the hooks of offloading do not see to.
        self._unhook()
        encoders = [part for name, part in self.parts.items() if name.startswith("text_encoder")]
        for encoder in encoders:
            encoder.to(self.device)
        told = embeddings.encode(self._view(self._plain), positive, negative, clip_skip=clip_skip)
        if self.saving == "offload":
            for encoder in encoders:
                encoder.to("cpu")
        return told

    def pipeline(self, name: str, controls: Sequence[Any], scheduler: Any) -> Any:
        """diffusers' pipeline of that name around the parts that lie here, ready to run."""
        pipe = self._view(name, controls, scheduler)
        if self.saving == "offload":
            self._unhook()
            pipe.enable_model_cpu_offload(device=self.device)
            self._hooked = pipe
        return pipe

    @property
    def _plain(self) -> str:
        return "StableDiffusionXLPipeline" if "tokenizer_2" in self.parts else "StableDiffusionPipeline"

    def _view(self, name: str, controls: Sequence[Any] = (), scheduler: Any = None) -> Any:
        import inspect

        import diffusers

        cls = getattr(diffusers, name)
        takes = inspect.signature(cls.__init__).parameters
        parts: dict[str, Any] = {key: part for key, part in self.parts.items() if key in takes}
        if "requires_safety_checker" in takes:
            parts |= {"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None}
        if "add_watermarker" in takes:
            parts["add_watermarker"] = False
        if controls:
            parts["controlnet"] = controls[0] if len(controls) == 1 else list(controls)
        with quiet():
            pipe = cls(**parts | ({"scheduler": scheduler} if scheduler is not None else {}))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def _unhook(self) -> None:
        if self._hooked is not None:
            self._hooked.remove_all_hooks()
            self._hooked = None

    def clear(self) -> None:
        """Nothing in memory any more."""
        self._unhook()
        self.parts, self._own_vae, self._checkpoint, self._vae, self._worn = {}, None, None, None, ()
        self._controls.clear()
        memory.tidy(self.device)


def _bytes(part: Any) -> int:
    if not hasattr(part, "parameters"):
        return 0
    return sum(int(weight.numel() * weight.element_size()) for weight in part.parameters())
