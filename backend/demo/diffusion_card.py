"""Measure the demonstration's small diffusion model and write down what is known about it."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backend.demo.judge_diffusion import CHECK_SEEDS, Judged, alter, judge, write_sheet
from backend.demo.pairs import TRAIN_SEEDS, Plan, words
from backend.demo.train_diffusion import FACTS

_LIMITS = (
    "It knows drawings, not photos: on a photo the change of colour and light may pass, what falls and",
    "lies will not look real. It never moves or removes what is in the picture, and casts no new shadows.",
    "What it learned in this time is tone, veil and darkness. It draws no streaks of rain, no flakes and",
    "no sheets of snow, hardly any lamplight or sun, and severities differ less than they should. Noise",
    "that it does not fully remove is left as soft blotches; one step instead of four leaves none, but",
    "then every seed gives the same picture.",
)


def measure(out: Path, plan: Plan, picture: Path | None = None) -> dict[str, Judged]:
    """Measure the model in ``out``, write its card there and, if asked, a contact sheet to ``picture``."""
    import torch

    from generator.diffusion.options import SMALL_STEPS
    from generator.diffusion.residual import load

    torch.set_num_threads(1)
    pipe = load(out)
    pipe.set_progress_bar_config(disable=True)
    if picture is not None:
        write_sheet(picture, pipe, plan.shown)
    size = plan.checked
    found, threshold, seconds = judge(pipe, plan.check, size)
    once = timed(pipe, plan.size)
    lines = [
        f"Measured on {plan.check} scenes from seed {CHECK_SEEDS} on, never trained on, at",
        f"{size[0]}x{size[1]}, {SMALL_STEPS} steps, guidance 1:",
        "",
        "- PSNR in dB to the truth; `source` is that of the untouched source",
        "- `named`: how often a logistic regression on colours and texture, made of other scenes' true",
        "  pictures, names the condition; `truth` the same of true pictures; `weather` severity aside",
        f"- `boxes kept`: edges agree with the source's by {threshold:.2f} or more, as in 95 of 100 boxes",
        "  of true pairs",
        "- `detail`: fine variation over that of the truth",
        f"- {seconds:.1f} s per picture at that size, {once:.1f} s at {plan.size[0]}x{plan.size[1]}:",
        "  processor time of one thread of a busy machine",
        "",
        *table(found),
    ]
    (out / "README.md").write_text(card(out, plan, lines), encoding="utf-8")
    return found


def timed(pipe: Any, size: tuple[int, int]) -> float:
    """Processor seconds that one picture of ``size`` (w, h) takes."""
    source = np.full((size[1], size[0], 3), 128, np.uint8)
    begun = time.process_time()
    alter(pipe, source, "night", 0)
    return time.process_time() - begun


def card(out: Path, plan: Plan, measured: Sequence[str]) -> str:
    """What is known about the weights, as Markdown; ``measured`` are the lines of what was measured."""
    import diffusers
    import torch
    import transformers

    facts = json.loads((out / FACTS).read_text(encoding="utf-8"))
    files = [path for path in sorted(out.rglob("*")) if path.suffix == ".safetensors"]
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file() and path.suffix != ".md")
    sizes = [
        f"- `{path.relative_to(out).as_posix()}` {path.stat().st_size:,} bytes, sha256\n"
        f"  `{hashlib.sha256(path.read_bytes()).hexdigest()}`"
        for path in files
    ]
    lines = [
        "# A small diffusion model of weather and light",
        "",
        "InstructPix2Pix in form: a source picture and a condition's name go in, the picture in that",
        "condition comes out. It works on folded pixels, without a learned autoencoder, and predicts the",
        "clean picture as source + change (`generator/diffusion/residual.py`). Trained from nothing on the",
        "drawn scenes of the demonstration. Licence: AGPL-3.0, as the project.",
        "",
        "- told a condition's name in plain words: `rain heavy`, `sandstorm light`, `night`, `street lamp`",
        "- made by `python -m backend.demo.train_diffusion --out backend/demo/diffusion`",
        f"  with diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch",
        f"  {torch.__version__}, Python {platform.python_version()}",
        f"- {facts['scenes']} scenes from seed {TRAIN_SEEDS} on at {plan.size[0]}x{plan.size[1]}, each",
        f"  clear and in {plan.weathers} conditions drawn by lot; {facts['steps']} steps of AdamW from",
        f"  {plan.rate}, seed {plan.seed}, averaged weights; {facts['seconds']} s on one thread of a busy",
        "  machine. The clock ends the training, so another run gives other weights",
        *(f"- {line}" for line in facts.get("notes", ())),
        f"- {total:,} bytes in all, float16",
        *sizes,
        "",
        *measured,
        "",
        *_LIMITS,
    ]
    return "\n".join(lines) + "\n"


def table(found: Mapping[str, Judged]) -> list[str]:
    """Markdown rows of what was found, and of the mean."""
    lines = [
        "| told | PSNR | source | named | truth | weather | boxes kept | detail |",
        "|---|---|---|---|---|---|---|---|",
    ]
    every = list(found.values())
    total = sum(one.boxes for one in every)
    middle = {
        part: float(np.mean([getattr(one, part) for one in every]))
        for part in ("psnr", "identity", "told", "told_true", "family", "detail")
    }
    kept = sum(one.kept * one.boxes for one in every if one.boxes) / max(total, 1)
    mean = Judged(**middle, kept=kept, boxes=total)
    for name, one in (*found.items(), ("mean", mean)):
        lines.append(
            f"| {words(name)} | {one.psnr:.1f} | {one.identity:.1f} | {one.told:.2f} | "
            f"{one.told_true:.2f} | {one.family:.2f} | {one.kept:.2f} of {one.boxes} | {one.detail:.2f} |"
        )
    return lines
