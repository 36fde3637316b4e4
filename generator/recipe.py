"""A recipe says everything that a variant is made from, in the words of A1111's web UI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["txt2img", "img2img", "inpaint", "instruct", "render"]
"""``inpaint`` repaints all but the boxes, ``instruct`` is InstructPix2Pix, ``render`` is no diffusion."""
ControlKind = Literal["canny", "depth", "soft edge", "tile"]


@dataclass(frozen=True, slots=True)
class Control:
    """One ControlNet: what it looks at, which model, and how much it counts (``weight``, 0 to 2).

    ``start`` and ``end`` are the part of the steps during which it counts, in [0, 1]. An empty ``model``
    is whichever the shelf holds for the kind.
    """

    kind: ControlKind
    model: str = ""
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one variant is made.

    ``prompt`` and ``negative`` are in A1111's syntax, LoRA tags included. ``sampler`` is A1111's name with
    its schedule, such as ``DPM++ 2M Karras``. ``cfg`` is the guidance scale and ``image_cfg`` that of the
    source image in InstructPix2Pix. ``strength`` is A1111's denoising strength in [0, 1]: how much of the
    source is given up; None in txt2img. ``clip_skip`` counts as A1111 does, 1 = the last layer. ``seed`` -1
    means one is drawn, and recorded, when the recipe is run. ``size`` is (width, height) in pixels; None is
    the source's own. ``model``, ``vae`` and ``loras`` name what it was made with, the ``_hash`` fields are
    A1111's short hashes of these files, ``loras`` takes a name to its hash. For ``render`` the prompt is
    the condition's name and ``model`` the renderer's. ``extra`` keeps what else an infotext said.
    """

    prompt: str
    negative: str = ""
    mode: Mode = "img2img"
    steps: int = 20
    sampler: str = "DPM++ 2M Karras"
    cfg: float = 7.0
    image_cfg: float = 1.5
    strength: float | None = None
    clip_skip: int = 1
    seed: int = -1
    size: tuple[int, int] | None = None
    model: str = ""
    model_hash: str = ""
    vae: str = ""
    vae_hash: str = ""
    loras: Mapping[str, str] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
