"""Train the small diffusion model that the demonstration changes weather and light with, and measure it.

``python -m backend.demo.train_diffusion --out backend/demo/diffusion``

It learns from drawn scenes, each in clear weather and others, to make the one of the other by the
other's name. A card with what was measured is written beside the weights. One thread trains, a second
process draws ahead. No network. What a clock ends is not reproduced to the bit; the way is.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.demo.pairs import Plan, cut, draw, words
from pool.schema import BadInput

if TYPE_CHECKING:
    import torch

log = logging.getLogger("thresher.demo")

LIMIT = 20_000_000
"""Most bytes that the folder may have."""
FACTS = "training.json"
"""Beside the weights: ``steps`` and ``seconds`` of training, the ``scenes`` drawn by its end, and ``notes``
of what else made them, where a person wrote some.
"""
_FIRST = 40
_SAMPLED = 0.85
_PACE = 3.0


def blank(plan: Plan) -> Any:
    """An untrained pipeline whose tokenizer knows the conditions' words."""
    import torch

    from backend.demo.weather import CONDITIONS
    from generator.diffusion.residual import untrained

    torch.manual_seed(plan.seed)
    vocabulary = sorted({word for name in CONDITIONS for word in words(name).split()})
    return untrained(vocabulary, plan.widths)


def noise_levels(rng: np.random.Generator, count: int, steps: int) -> NDArray[np.int64]:
    """Timesteps to train on: most are those that the model is sampled at, the noisier the oftener.

    What is decided at high noise, the tone of the whole, is learned late and never mended by later steps.
    """
    sampled = np.round(np.arange(1000, 0, -1000 / steps)).astype(np.int64) - 1
    odds = np.arange(steps + 2, 2, -1) / np.arange(steps + 2, 2, -1).sum()
    anywhere = rng.integers(0, 1000, count)
    return np.where(rng.random(count) < _SAMPLED, rng.choice(sampled, count, p=odds), anywhere)


def loss(
    pipe: Any,
    sources: NDArray[np.uint8],
    targets: NDArray[np.uint8],
    texts: Sequence[str],
    step: int,
    seed: int,
) -> torch.Tensor:
    """Error of one batch: squared, of what is fine counted twice, of low noise counted more."""
    import torch
    from torch.nn import functional

    from generator.diffusion.options import SMALL_STEPS

    patch = pipe.unet.patch
    source, target = (
        torch.from_numpy(a).permute(0, 3, 1, 2).float() / 127.5 - 1 for a in (sources, targets)
    )
    ids = pipe.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(seed * 1_000_003 + step))
    at = torch.from_numpy(noise_levels(np.random.default_rng([seed, step, 1]), len(target), SMALL_STEPS))
    noisy = pipe.scheduler.add_noise(target, noise, at)
    both = torch.cat([functional.pixel_unshuffle(x, patch) for x in (noisy, source)], dim=1)
    both = both.contiguous(memory_format=torch.channels_last)
    hidden = pipe.text_encoder(ids).last_hidden_state
    found = functional.pixel_shuffle(pipe.unet(both, at, hidden).sample, patch)
    error = found - target
    fine = error - functional.avg_pool2d(error, 5, 1, 2, count_include_pad=False)
    kept = pipe.scheduler.alphas_cumprod[at]
    weight = (kept / (1 - kept + 1e-4)).clamp(1.0, 3.0)[:, None, None, None]
    return torch.as_tensor((weight * (error**2 + fine**2)).mean())


class Training:
    """A pipeline in training: its weights, their running average, and how far it has come."""

    def __init__(self, plan: Plan) -> None:
        import torch

        self.plan, self.pipe = plan, blank(plan)
        self.pipe.unet.to(memory_format=torch.channels_last).train()
        self.pipe.text_encoder.train()
        self.weights = [*self.pipe.unet.parameters(), *self.pipe.text_encoder.parameters()]
        # What is told enters through few weights, which must be quick for the rest to rely on them.
        telling = [w for name, w in self.pipe.unet.named_parameters() if "emb" in name]
        telling += self.pipe.text_encoder.parameters()
        known = {id(weight) for weight in telling}
        rest = [weight for weight in self.weights if id(weight) not in known]
        groups = [{"params": rest, "pace": 1.0}, {"params": telling, "pace": _PACE}]
        self.optimizer = torch.optim.AdamW(groups, lr=plan.rate, weight_decay=1e-3)
        self.averaged = [weight.detach().clone() for weight in self.weights]
        self.step, self.seconds, self.error = 0, 0.0, 0.0

    @property
    def done(self) -> float:
        """How much of the plan is done, 1 = all."""
        return max(self.step / self.plan.steps, self.seconds / (self.plan.minutes * 60))

    def advance(self, paths: Sequence[Path]) -> None:
        """One step on a batch from these scenes."""
        import torch

        begun = time.monotonic()
        rate = self.plan.rate * min(1.0, (self.step + 1) / 100)
        for group in self.optimizer.param_groups:
            group["lr"] = group["pace"] * rate * float(0.02 + 0.98 * np.cos(self.done * np.pi / 2) ** 2)
        error = loss(self.pipe, *cut(paths, self.plan, self.step), self.step, self.plan.seed)
        torch.autograd.backward(error)
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        keep = min(0.9985, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.averaged, self.weights, strict=True):
            mean.lerp_(now.detach(), 1 - keep)
        self.error = error.item() if self.step == 1 else 0.98 * self.error + 0.02 * error.item()
        self.seconds += time.monotonic() - begun

    def keep(self, path: Path) -> None:
        """Write all that is needed to go on from here."""
        import torch

        state = {"unet": self.pipe.unet.state_dict(), "encoder": self.pipe.text_encoder.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "averaged": self.averaged}
        state |= {"step": self.step, "seconds": self.seconds, "shown": self.error}
        partial = path.with_suffix(".part")
        torch.save(state, partial)
        partial.rename(path)

    def resume(self, path: Path) -> None:
        """Go on from what ``keep`` wrote."""
        import torch

        state = torch.load(path, weights_only=True)
        self.pipe.unet.load_state_dict(state["unet"])
        self.pipe.text_encoder.load_state_dict(state["encoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged, self.step = state["averaged"], state["step"]
        self.seconds, self.error = state["seconds"], state["shown"]
        log.info("going on from step %d", self.step)

    def finish(self) -> Any:
        """The pipeline with its averaged weights."""
        import torch

        with torch.no_grad():
            for weight, mean in zip(self.weights, self.averaged, strict=True):
                weight.copy_(mean)
        self.pipe.unet.eval()
        self.pipe.text_encoder.eval()
        return self.pipe


def fit(work: Path, plan: Plan, pairs: Path) -> tuple[Any, int, float]:
    """Train on the scenes drawn so far, going on from a checkpoint in ``work`` if one is there.

    Returns the pipeline with its averaged weights, the steps and the seconds that training took.
    Raises BadInput when ``pairs`` holds no scene.
    """
    import torch

    torch.set_num_threads(1)
    training, saved = Training(plan), work / "checkpoint.pt"
    if saved.exists():
        training.resume(saved)
    due = training.seconds + plan.saved_every
    paths: list[Path] = []
    while training.done < 1:
        if not paths or training.step % 50 == 0:
            paths = sorted(pairs.glob("*.npy"))
            if not paths:
                raise BadInput("pairs", "a folder with drawn scenes", str(pairs), "Draw them first.")
        training.advance(paths)
        if training.step % 100 == 0:
            now = (training.step, training.seconds, len(paths), training.error)
            log.info("step %d, %.0f s, %d scenes: loss %.4f", *now)
        if training.seconds >= due or training.done >= 1:
            due = training.seconds + plan.saved_every
            training.keep(saved)
    return training.finish(), training.step, training.seconds


def save(pipe: Any, out: Path, facts: Mapping[str, float]) -> None:
    """Write a trained pipeline to the folder ``out`` in float16, and the facts of its training."""
    import torch

    pipe.unet.to(memory_format=torch.contiguous_format)
    pipe.to(dtype=torch.float16).save_pretrained(out, safe_serialization=True)
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)
    (out / FACTS).write_text(json.dumps(dict(facts), indent=2) + "\n", encoding="utf-8")


def make(out: Path, work: Path, plan: Plan) -> None:
    """Draw, train, and write the model to ``out``; what lies in ``work`` already is gone on from.

    Raises BadInput when the folder became larger than ``LIMIT``.
    """
    pairs = work / "pairs"
    # Drawing goes on beside the training, which begins with what is there.
    drawing = multiprocessing.get_context("spawn").Process(target=draw, args=(pairs, plan), daemon=True)
    drawing.start()
    try:
        while drawing.is_alive() and len(list(pairs.glob("*.npy"))) < min(_FIRST, plan.scenes):
            time.sleep(0.2)
        pipe, steps, seconds = fit(work, plan, pairs)
    finally:
        drawing.terminate()
        drawing.join()
    save(pipe, out, {"steps": steps, "seconds": round(seconds), "scenes": len(list(pairs.glob("*.npy")))})
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if size > LIMIT:
        raise BadInput("weights", f"at most {LIMIT} bytes", size, "Lower the plan's widths.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the command line."""
    from backend.demo.diffusion_card import measure

    parser = argparse.ArgumentParser(description="Train the demonstration's small diffusion model.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model and its README.md")
    parser.add_argument("--minutes", type=float, default=Plan().minutes, help="how long to train")
    parser.add_argument(
        "--work", type=Path, help="folder for scenes and checkpoints, to go on after a stop"
    )
    parser.add_argument("--measure", action="store_true", help="only measure what is in the folder")
    parser.add_argument("--picture", type=Path, help="where a contact sheet goes, JPEG or PNG")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    plan = Plan(minutes=options.minutes)
    if not options.measure:
        with tempfile.TemporaryDirectory() as scratch:
            make(options.out, options.work or Path(scratch), plan)
    measure(options.out, plan, options.picture)


if __name__ == "__main__":
    main()
