"""Every threshold of the gates, with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pool.schema import BadInput


@dataclass(frozen=True, slots=True)
class Limits:
    """When a variant is refused. Shares, confidences and similarities lie in [0, 1].

    The structure limits are a trade between two sets of drawn streets. On 420 boxes under seven simple
    weathers ``structure_lost`` refuses every object that was moved or painted out, 89 % of those that lost
    their upper third and 86 % of those that grew by 15 %. On 527 boxes of 12 streets, each drawn clear and
    in 17 conditions with their own light and shadows, it refuses 14 % of the good ones, most of them in
    heavy rain, heavy snow and at night, and 95 % of those whose upper third was painted away;
    ``structure_sure`` with ``similar_sure`` leaves 28 % of the good ones and all of the others to the
    detector's word. At .6 and .4 that was 48 %.

    Bounds of novelty depend on what embeds the images. With EfficientNet-Lite0 a hazy picture is .79 like
    its clear parent and two different photos .52 on average; with the small detector of the demonstration,
    12 streets in 17 conditions are -.39 to 1.00 like their clear parents, and different streets -.30 to .97
    like each other. So the default refuses only what is the parent's opposite, and equal pictures: raise
    ``novelty_low`` where your embeddings mean more.
    """

    structure_lost: float = 0.35
    """A box that keeps less than this (`structure.kept`) has lost its label, whatever the detector says."""
    structure_sure: float = 0.45
    """A box that keeps this much, and is ``similar_sure``, holds its label, whatever the detector says."""
    similar_sure: float = 0.3
    """The same of the second witness (`structure.similar`)."""
    found: float = 0.7
    """Least share of the boxes found in the parent that must be found again, once structure is in doubt."""
    found_overlap: float = 0.5
    """IoU from which a detection is the parent's box."""
    found_score: float = 0.25
    """Least confidence of a detection that finds a box."""
    strange: int = 0
    """Most new objects that the parent's picture has no edges for."""
    strange_score: float = 0.5
    """Confidence from which a new detection is an object."""
    strange_overlap: float = 0.3
    """A detection with this IoU with a known box, or half inside one, is nothing new."""
    novelty_low: float = -0.5
    """Least cosine similarity of the embeddings of variant and parent."""
    novelty_high: float = 0.9995
    """Most cosine similarity: above it the detector has nothing to learn from the variant."""
    brightest: float = 16.0
    """Grey levels (0 to 255) that the brightest hundredth of the pixels must reach; night reaches 30."""
    contrast: float = 8.0
    """Grey levels between the darkest and the brightest hundredth of the pixels."""
    noise: float = 20.0
    """Most grey levels of noise that the quietest fifth of the picture may have more than its parent's."""
    difference: float = 1.5
    """Least mean difference from the parent at 64 pixels, in units of CIELAB; a JPEG of quality 85 gives
    .7 at 640 x 480 and 1.2 at 320 x 240, light snow 1.9 at the least."""
    twin_bits: int = 0
    """A hash this close (0 to 64 bits) to another image's is that image again."""

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if not np.isfinite(getattr(self, name)):
                raise BadInput(f"limits.{name}", "a finite number", getattr(self, name))
        for low, high in (("structure_lost", "structure_sure"), ("novelty_low", "novelty_high")):
            if getattr(self, low) > getattr(self, high):
                raise BadInput(
                    f"limits.{low}", f"at most {high}, {getattr(self, high)}", getattr(self, low)
                )
