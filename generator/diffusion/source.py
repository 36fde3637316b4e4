"""What a diffusion model is given for one variant."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from generator.pixels import Boxes, Pixels


@dataclass(frozen=True, slots=True)
class Source:
    """A parent image, the ``boxes`` that inpainting must leave alone, and the variant's own ``seed``."""

    image: Pixels
    seed: int
    boxes: Boxes = field(default_factory=lambda: np.empty((0, 4)))
