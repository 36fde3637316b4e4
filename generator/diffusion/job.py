"""One batch of one recipe: from sources to variants of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from generator import prompt
from generator.diffusion import modes, padding
from generator.diffusion.bench import Bench
from generator.diffusion.padding import Size
from generator.diffusion.source import Source
from generator.pixels import Pixels
from generator.prompt import Lora
from generator.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Files:
    """Where the parts of a recipe lie: ``controls`` in its order, ``vae`` None for the model's own."""

    checkpoint: Path
    vae: Path | None
    loras: tuple[tuple[Lora, Path], ...]
    controls: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One recipe at one padded size, with all that it needs loaded."""

    recipe: Recipe
    xl: bool
    files: Files
    bench: Bench
    size: Size

    def run(self, sources: Sequence[Source], works: Sequence[Size]) -> list[Pixels]:
        """The variants of sources whose sizes at work are ``works`` and fit into ``size``."""
        import torch

        from generator.diffusion.decoding import decode
        from generator.diffusion.quiet import quiet
        from generator.diffusion.schedulers import scheduler, seed_noise, start

        recipe, bench = self.recipe, self.bench
        scaled = [padding.resize(source.image, work) for source, work in zip(sources, works, strict=True)]
        with quiet(), torch.no_grad():
            steps = scheduler(recipe.sampler, bench.parts["scheduler"].config)
            seed_noise(steps, [source.seed for source in sources])
            begin = 1.0
            if recipe.strength is not None and recipe.mode in ("img2img", "inpaint"):
                steps.set_timesteps(recipe.steps)
                begin = start(steps, recipe.steps, recipe.strength).strength
            told = bench.encode(
                prompt.parse(recipe.prompt), prompt.parse(recipe.negative), recipe.clip_skip
            )
            nets = bench.controls(self.files.controls)
            pipe = bench.pipeline(modes.pipeline_name(recipe, self.xl), nets, steps)
            given = modes.arguments(
                recipe,
                images=self._tensor(scaled),
                masks=self._masks(sources, works),
                conditions=self._conditions(scaled),
                told=told,
                # Noise from the processor is the same on every device.
                generators=[torch.Generator("cpu").manual_seed(source.seed) for source in sources],
                strength=begin,
            )
            pictures = decode(bench.parts["vae"], pipe(**given).images, careful=self.xl)
        return [
            self._finish(picture, source, work)
            for picture, source, work in zip(pictures, sources, works, strict=True)
        ]

    def _conditions(self, images: Sequence[Pixels]) -> list[Tensor]:
        """What each ControlNet looks at, (n, 3, h, w) in [0, 1]."""
        from generator import controls

        return [
            self._tensor([controls.image(control.kind, image) for image in images])
            for control in self.recipe.controls
        ]

    def _tensor(self, images: Sequence[Pixels]) -> Tensor:
        import torch

        stack = np.stack([padding.pad(image, self.size) for image in images])
        return torch.from_numpy(stack).permute(0, 3, 1, 2).float().div(255)

    def _masks(self, sources: Sequence[Source], works: Sequence[Size]) -> Tensor:
        """1 where may be painted, also in the padding, shape (n, 1, h, w)."""
        import torch

        masks = np.ones((len(sources), 1, self.size[1], self.size[0]), np.float32)
        for mask, source, (width, height) in zip(masks, sources, works, strict=True):
            mask[0, :height, :width] -= padding.inside(source.boxes, (width, height))
        return torch.from_numpy(masks)

    def _finish(self, picture: Pixels, source: Source, work: Size) -> Pixels:
        cropped = padding.crop(picture, work)
        if self.recipe.mode == "txt2img":
            return cropped
        sized = padding.resize(cropped, (source.image.shape[1], source.image.shape[0]))
        return (
            padding.put_back(sized, source.image, source.boxes) if self.recipe.mode == "inpaint" else sized
        )
