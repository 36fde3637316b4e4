"""What a live head knows of single anchors beside their classes: features, edges, a second opinion.

A head answers at thousands of anchors, a picture keeps a few boxes. Everything here is read at the
anchors of kept boxes only, from the forward pass that found them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from backend.detector.runtime import library


@dataclass(frozen=True)
class Traits:
    """What is known of ``n`` anchors, in the order asked for.

    ``embeddings`` (n, e) are the features from which the class layer reads its answer.
    ``localisation`` (n,) in [0, 1] is how undecided the edges are, see `edge_entropy`; None for heads
    that name one distance per edge. ``second`` (n, classes) are the probabilities of the head that
    did not draw the boxes; None where there is no other.
    """

    embeddings: Tensor
    localisation: Tensor | None
    second: Tensor | None


class LiveHead:
    """The head of an ultralytics detector, listened to while the model works.

    An anchor's embedding is what the last layer of the class branch reads there: the only features
    of a head that have one width on all levels of the pyramid, and those in which its classes are
    linear. Features of the neck (three widths) would need a projection that nobody has trained.

    YOLOv10 and YOLO26 answer twice over the same anchors, by one-to-many and one-to-one assignment,
    and ultralytics drops the head that is not in use when it fuses a model for inference. Its class
    branch alone is kept, a few percent of the weights, and runs on the surroundings of kept anchors.
    Measured on YOLO26n and YOLOv10n, 640 pixels, one CPU thread: 5 to 100 boxes take 1 to 5 % of a
    pass in batches of 16 and 2 to 9 % alone; the branch over whole maps takes 7 %. All other traits
    take less than 1 %.

    Of heads that take their classes from text (YOLO-World, YOLOE) nothing is told: their class
    layers end in the space of the words.
    """

    def __init__(self, module: Any, device: Any) -> None:
        """Listen to ``module``, a ``Detect`` that is not fused yet, in the mode it will be used in.

        ``device`` is where the model will run.
        """
        heads = library("nn.modules.head")
        self.module = module
        self._heard: dict[int, Tensor] = {}
        self._known = type(module) in (heads.Detect, heads.v10Detect)
        branches: tuple[Any, Any] = module.cv3, getattr(module, "one2one_cv3", None)
        own, other = branches[::-1] if module.end2end else branches
        # Held here, it outlives the fusing that takes it from the head.
        self._second = other.to(device) if self._known and other is not None else None
        for level, layers in enumerate(own if self._known else ()):
            layers[-1].register_forward_pre_hook(partial(self._hear, level))

    def _hear(self, level: int, _: nn.Module, inputs: tuple[Tensor]) -> None:
        self._heard[level] = inputs[0]

    def traits(self, raw: Mapping[str, Any], image: Tensor, anchor: Tensor) -> Traits | None:
        """Traits of anchors of the latest pass, once; None for a head that is not known.

        Args:
            raw: what the head in use gave for the batch: ``boxes`` (B, 4 * bins, A) and ``feats``.
            image: (n,) index in the batch.
            anchor: (n,) index over all levels, as in ``boxes``.
        """
        heard = [self._heard.pop(level) for level in sorted(self._heard)]
        if not self._known:
            return None
        embeddings = torch.empty(len(anchor), heard[0].shape[1], device=anchor.device)
        logits = torch.empty(len(anchor), self.module.nc, device=anchor.device)
        for level, rows, y, x in _places(heard, anchor):
            embeddings[rows] = heard[level][image[rows], :, y, x].float()
            if self._second is not None:
                logits[rows] = answers(self._second[level], raw["feats"][level], image[rows], y, x).float()
        bins = self.module.reg_max
        return Traits(
            embeddings=embeddings,
            localisation=edge_entropy(raw["boxes"][image, :, anchor], bins) if bins > 1 else None,
            second=None if self._second is None else logits.sigmoid(),
        )


def edge_entropy(logits: Tensor, bins: int) -> Tensor:
    """How undecided a box is about the place of its edges, (n,) in [0, 1]: 0 sure, 1 any place will do.

    ``logits`` (n, 4 * bins) hold for each edge, left, top, right, bottom, a distribution over ``bins``
    (2 or more) distances (Li et al. 2020, Generalized Focal Loss); a flat one marks an edge that is
    hard to see (Li et al. 2021, Generalized Focal Loss V2). The mean of the four entropies, as a
    share of the largest possible, ln ``bins``.
    """
    shares = logits.float().view(len(logits), 4, bins).softmax(2)
    entropy: Tensor = torch.special.entr(shares).sum(2).mean(1)
    return (entropy / math.log(bins)).clamp(0.0, 1.0)


def answers(branch: nn.Module, maps: Tensor, image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """What a branch says at single places (n, outputs) of maps (B, channels, H, W), as over whole maps.

    An answer depends on the place's surroundings only, so the branch is run on cuttings of their
    size; or on the maps, where these have fewer places. ``branch`` is a chain of convolutions of odd
    kernels that keep the size of the map. A cutting that would reach over the border is moved inside:
    then its border is the map's own and the padding of the convolutions falls where it would have.
    """
    reach = sum(layer.kernel_size[0] // 2 for layer in branch.modules() if isinstance(layer, nn.Conv2d))
    batch, _, height, width = maps.shape
    rows, columns = min(2 * reach + 1, height), min(2 * reach + 1, width)
    if len(image) * rows * columns >= batch * height * width:
        whole: Tensor = branch(maps)
        return whole[image, :, y, x]
    top, left = (y - reach).clamp(0, height - rows), (x - reach).clamp(0, width - columns)
    down = top[:, None, None] + torch.arange(rows, device=y.device)[:, None]
    across = left[:, None, None] + torch.arange(columns, device=x.device)
    cuttings = maps[image[:, None, None], :, down, across].permute(0, 3, 1, 2)
    each = torch.arange(len(image), device=image.device)
    answer: Tensor = branch(cuttings)
    return answer[each, :, y - top, x - left]


def _places(maps: Sequence[Tensor], anchor: Tensor) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Level by level: which of the anchors lie there, and in which row and column of its map."""
    start = 0
    for level, features in enumerate(maps):
        height, width = features.shape[2:]
        rows = ((anchor >= start) & (anchor < start + height * width)).nonzero().view(-1)
        place = anchor[rows] - start
        if len(rows):
            yield level, rows, place // width, place % width
        start += height * width
