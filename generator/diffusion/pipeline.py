"""The painter: recipes and source images in, variants out.

No safety checker is ever loaded: the images are street photos of whoever runs this, and a checker that
blackens a picture would put black pictures into a training pool.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generator import prompt
from generator.diffusion import loading, memory, modes, padding
from generator.diffusion.adapters import Adapter
from generator.diffusion.bench import Bench
from generator.diffusion.job import Files, Job
from generator.diffusion.options import PainterOptions, pick_device, pick_dtype
from generator.diffusion.padding import Size
from generator.diffusion.source import Source
from generator.pixels import Pixels
from generator.prompt import Lora
from generator.recipe import SEEDS, Recipe
from pool.schema import BadInput, ThresherError

if TYPE_CHECKING:
    from generator.diffusion.shelf import Shelf

_log = logging.getLogger("thresher.generator")


class Painter:
    """Runs recipes on a shelf's models; what is loaded stays for the next recipe.

    Nothing is loaded before it is needed. One painter belongs to one thread.
    """

    def __init__(self, shelf: Shelf, options: PainterOptions = PainterOptions()) -> None:  # noqa: B008 -- frozen
        self._shelf = shelf
        self._options = options
        self._bench: Bench | None = None
        self._batches: memory.Batches | None = None

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe with every file's short hash filled in, and the names of ControlNets left open.

        Looks at files only, and loads nothing. Raises BadInput where a hash in the recipe is not that of
        the file found or where the model is for another mode, MissingWeights where a file is missing.
        """
        modes.check(recipe)
        files = self._find(recipe)
        modes.check_model(recipe, loading.kind(files.checkpoint))
        shelf = self._shelf
        return replace(
            recipe,
            model_hash=shelf.short_hash(files.checkpoint),
            vae_hash=shelf.short_hash(files.vae) if files.vae else "",
            loras={lora.name: shelf.short_hash(path) for lora, path in files.loras},
            controls=tuple(
                replace(control, model=control.model or path.stem)
                for control, path in zip(recipe.controls, files.controls, strict=True)
            ),
        )

    def paint(self, recipe: Recipe, sources: Sequence[Source]) -> list[Pixels]:
        """One variant of each source, in their order, each exactly as large as its source.

        In txt2img it is as large as the recipe says, or as its source. Otherwise a size in the recipe is
        that at which is painted; the result is scaled back. In inpaint the pixels inside the boxes are the
        source's own, to the bit.

        A variant depends on its own source, seed and recipe, not on what else is painted with it (up to
        the rounding of batched arithmetic, a few grey levels at most).

        Raises BadInput for what does not fit, MissingWeights for missing files, and ThresherError where
        memory does not hold a single image or the model gives no picture.
        """
        modes.check(recipe)
        for source in sources:
            _check_source(source)
        if not sources:
            return []
        files = self._find(recipe)
        kind = loading.kind(files.checkpoint)
        modes.check_model(recipe, kind)
        works = [recipe.size or (source.image.shape[1], source.image.shape[0]) for source in sources]
        bench = self._prepare(files, max(width * height for width, height in works))
        factor = _factor(bench.parts)
        painted: dict[int, Pixels] = {}
        for size, positions in padding.by_size([padding.padded(work, factor) for work in works]).items():
            job = Job(recipe, kind.xl, files, bench, size)
            key = (files.checkpoint, size, len(recipe.controls), recipe.cfg > 1)
            waiting = list(positions)
            while waiting:
                chunk = waiting[: self._sizes.size(key)]
                done = self._attempt(job, [sources[i] for i in chunk], [works[i] for i in chunk], key)
                painted.update(zip(chunk, done, strict=False))
                waiting = waiting[len(done) :]
        return [painted[position] for position in range(len(sources))]

    def close(self) -> None:
        """Gives all memory back; the painter may be used again, and then loads anew."""
        if self._bench is not None:
            self._bench.clear()
        self._bench = None

    @property
    def _sizes(self) -> memory.Batches:
        if self._batches is None:
            on_cuda = pick_device(self._options.device).type == "cuda"
            self._batches = memory.Batches(self._options.batch, growing=on_cuda)
        return self._batches

    def _prepare(self, files: Files, pixels: int) -> Bench:
        import torch

        if self._bench is None:
            device = pick_device(self._options.device)
            if self._options.threads:
                torch.set_num_threads(self._options.threads)
            self._bench = Bench(device, pick_dtype(self._options.dtype, device), self._options.compile)
        bench = self._bench
        tokenizers = [files.checkpoint.parent / "tokenizer"]
        if self._shelf.root is not None:
            tokenizers.append(self._shelf.root / "tokenizer")
        bench.lay(files.checkpoint, files.vae, tokenizers, pixels)
        bench.wear([_adapter(lora, path) for lora, path in files.loras])
        return bench

    def _attempt(
        self, job: Job, sources: Sequence[Source], works: Sequence[Size], key: Any
    ) -> list[Pixels]:
        """The variants of the sources; none where memory ran out and fewer are to be tried."""
        device = job.bench.device
        memory.forget_peak(device)
        try:
            done = job.run(sources, works)
        except (RuntimeError, MemoryError) as error:
            if not memory.out_of_memory(error):
                raise
            left = self._sizes.halve(key, len(sources))
            if not left:
                width, height = job.size
                raise ThresherError(
                    f"Memory does not hold even one image of {width} x {height}: set a smaller size in the "
                    "recipe, or free memory on the device."
                ) from error
        else:
            self._sizes.fitted(key, len(sources), memory.peak(device))
            return done
        _log.warning("Memory ran out with %d images at once; going on with %d.", len(sources), left)
        memory.tidy(device)
        return []

    def _find(self, recipe: Recipe) -> Files:
        shelf = self._shelf
        return Files(
            shelf.checkpoint(recipe.model, recipe.model_hash),
            shelf.vae(recipe.vae, recipe.vae_hash) if recipe.vae else None,
            tuple(
                (lora, shelf.lora(lora.name, recipe.loras.get(lora.name, ""))) for lora in _loras(recipe)
            ),
            tuple(shelf.control(control.kind, control.model) for control in recipe.controls),
        )


def _check_source(source: Source) -> None:
    image = source.image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise BadInput(
            "image", "an array of RGB bytes, (height, width, 3)", (image.dtype.name, image.shape)
        )
    if not 0 <= source.seed < SEEDS:
        raise BadInput("Seed", f"from 0 to {SEEDS - 1}", source.seed, "Draw one for each variant.")


def _loras(recipe: Recipe) -> tuple[Lora, ...]:
    """The LoRAs that the prompt asks for; one that is asked for twice counts the sum."""
    asked: dict[str, Lora] = {}
    for lora in prompt.parse(recipe.prompt).loras:
        text = lora.weight if lora.text_encoder_weight is None else lora.text_encoder_weight
        old = asked.get(lora.name, Lora(lora.name, 0.0, 0.0))
        asked[lora.name] = Lora(
            lora.name, old.weight + lora.weight, (old.text_encoder_weight or 0.0) + text
        )
    return tuple(asked.values())


def _adapter(lora: Lora, path: Path) -> Adapter:
    text = lora.weight if lora.text_encoder_weight is None else lora.text_encoder_weight
    return Adapter(path, lora.weight, text)


def _factor(parts: Any) -> int:
    """What widths and heights must be multiples of: how often the VAE and then the UNet halve them."""
    levels = len(parts["vae"].config.block_out_channels) + len(parts["unet"].config.block_out_channels) - 2
    return int(2**levels)
