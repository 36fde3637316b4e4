"""From a detector's raw output to boxes and what is known of them, an embedding and what was left over.

Pure torch: one forward pass goes in, one `Signals` per image comes out. All choices (which boxes,
which label) are made among the project's labels, not the model's classes: probabilities are folded
onto labels first, so a class that nobody asked for can neither hide a wanted one on the same anchor
nor take its place in the limit of boxes, and two classes that mean one label do not draw two boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou
from ultralytics.utils import nms

if TYPE_CHECKING:
    from backend.detector.anchors import LiveHead

# Below this an anchor whispers nothing that anybody could act on; comparing thousands of such
# anchors with the kept boxes would cost more than the answer is worth.
_SILENCE = 1e-3
# ultralytics stops suppressing after a time limit and returns the rest of the batch EMPTY; on a
# busy machine that would turn photos into background.
_NO_LIMIT = 3600.0


@dataclass(frozen=True)
class Signals:
    """What one image told: ``n`` boxes, ``m`` labels.

    ``boxes`` (n, 4) are xyxy in pixels of the network's input, ``scores`` (n,) in [0, 1] strongest
    first, ``labels`` (n,) column indices, ``probs`` (n, m) sigmoid outputs with
    ``probs[i, labels[i]] == scores[i]``. ``background`` is the strongest box that only the
    confidence floor cut off. ``embedding`` (d,) is the mean over all places of the neck's feature
    maps, None where the model does not show them.

    ``anchors`` (n,) are the indices of the anchors that the boxes came from. Of these a live head
    tells more, see `anchors.Traits`: ``box_embeddings`` (n, e), ``localisation`` (n,) in [0, 1] and
    ``disagreement`` (n,) in [0, 1], by how much the model's other head scores the box's label
    differently at the same anchor. Each is None where the model has none.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    probs: Tensor
    background: float
    embedding: Tensor | None
    anchors: Tensor | None = None
    box_embeddings: Tensor | None = None
    localisation: Tensor | None = None
    disagreement: Tensor | None = None


@dataclass(frozen=True)
class Choice:
    """Which candidates become boxes; the fields are those of `predict.DetectorOptions`."""

    conf: float
    iou: float
    max_det: int
    multi_label: bool


class LabelSpace:
    """The project's labels that a model reaches, as columns over its classes."""

    def __init__(self, classes: Sequence[str], label_map: Mapping[str, str]) -> None:
        members: dict[str, list[int]] = {}
        for index, name in enumerate(classes):
            if name in label_map:
                members.setdefault(label_map[name], []).append(index)
        self.labels = tuple(members)
        self._members = tuple(torch.tensor(indices) for indices in members.values())
        self._column = torch.full((len(classes),), -1)
        for column, indices in enumerate(self._members):
            self._column[indices] = column
        self._plain = all(len(indices) == 1 for indices in self._members)
        self._order = torch.cat(self._members) if self._members else torch.zeros(0, dtype=torch.long)

    def fold(self, probs: Tensor) -> Tensor:
        """Class probabilities (B, classes, A) as label probabilities (B, m, A): the best class speaks."""
        if self._plain:
            return probs.index_select(1, self._order.to(probs.device))
        return torch.stack([probs[:, i.to(probs.device)].amax(1) for i in self._members], 1)

    def columns(self, classes: Tensor) -> Tensor:
        """Column of each class index, -1 where no label wants it."""
        return self._column.to(classes.device)[classes.long()]


def read(output: Any, head: LiveHead | None, space: LabelSpace, choice: Choice) -> list[Signals]:
    """Signals of each image of a batch.

    ``output`` is what the model returned: ``(decoded, raw)`` of a live ultralytics model, whose
    ``head`` is needed then, or the bare tensor of an export. Three shapes are known: every anchor
    with every class (NMS here), an end-to-end head's anchors (no NMS), and finished rows
    ``x1 y1 x2 y2 score class`` of exports that choose inside. Finished rows carry one class only:
    their ``probs`` are the score in that label's column and 0 elsewhere.
    """
    raw = output[1] if isinstance(output, (list, tuple)) and len(output) > 1 else None
    decoded = output[0] if isinstance(output, (list, tuple)) else output
    if isinstance(raw, dict) and head is not None:
        module = head.module
        branch = raw["one2one" if module.end2end else "one2many"] if "one2one" in raw else raw
        embeddings = torch.cat([f.float().mean((2, 3)) for f in branch["feats"]], 1)
        if module.end2end:  # its decoded rows are already cut down to the best 300 over ALL classes
            # The head's own decoder: the published output has dropped the anchors by now.
            boxes = module._get_decode_boxes(branch).float().transpose(1, 2)
            probs = space.fold(branch["scores"].float().sigmoid()).transpose(1, 2)
            found = [_end_to_end(b, p, choice, e) for b, p, e in zip(boxes, probs, embeddings, strict=True)]
        else:
            found = _suppressed(decoded.float(), space, choice, list(embeddings))
        return _told(found, head, branch, space)
    if decoded.shape[-1] == 6:
        return [_rows(rows.float(), space, choice) for rows in decoded]
    return _suppressed(decoded.float(), space, choice, [None] * len(decoded))


def _suppressed(
    decoded: Tensor, space: LabelSpace, choice: Choice, embeddings: Sequence[Tensor | None]
) -> list[Signals]:
    """Non-maximum suppression per label of (B, 4 + classes, A), boxes as xywh."""
    probs = space.fold(decoded[:, 4:])
    kept, anchors = nms.non_max_suppression(
        torch.cat((decoded[:, :4], probs), 1),
        choice.conf,
        choice.iou,
        multi_label=choice.multi_label,
        max_det=choice.max_det,
        max_time_img=_NO_LIMIT,
        return_idxs=True,
    )
    out = []
    for image, (rows, anchor) in enumerate(zip(kept, anchors, strict=True)):
        at = anchor.long().view(-1)
        boxes = box_convert(decoded[image, :4].T, "cxcywh", "xyxy")
        out.append(
            Signals(
                boxes=rows[:, :4],
                scores=rows[:, 4],
                labels=rows[:, 5].long(),
                probs=probs[image].T[at],
                background=_cut_off(boxes, probs[image].T, rows, choice),
                embedding=embeddings[image],
                anchors=at,
            )
        )
    return out


def _cut_off(boxes: Tensor, probs: Tensor, kept: Tensor, choice: Choice) -> float:
    """Score of the strongest box that a lower floor would have let through, in [0, conf].

    Anchors around a kept box of the same label are its echoes, not something overlooked, exactly as
    suppression would have had it.
    """
    best, label = probs.max(1)
    quiet = best <= choice.conf
    audible = quiet & (best > _SILENCE)
    if len(kept) and bool(audible.any()):
        overlap = box_iou(boxes[audible], kept[:, :4]) > choice.iou
        same = label[audible][:, None] == kept[:, 5].long()[None]
        own = best[audible][~(overlap & same).any(1)]
        if len(own):
            return float(own.max())
        quiet = quiet & ~audible
    return float(best[quiet].max()) if bool(quiet.any()) else 0.0


def _end_to_end(boxes: Tensor, probs: Tensor, choice: Choice, embedding: Tensor) -> Signals:
    """The strongest anchors of a head that was trained to answer once per object; boxes (A, 4) xyxy."""
    columns = probs.shape[1]
    best, each = probs.max(1)
    if choice.multi_label:
        scores, index = probs.flatten().topk(min(choice.max_det, probs.numel()))
        anchor, label = index // columns, index % columns
    else:
        scores, anchor = best.topk(min(choice.max_det, len(best)))
        label = each[anchor]
    keep = scores > choice.conf
    quiet = best[best <= choice.conf]
    return Signals(
        boxes=boxes[anchor[keep]],
        scores=scores[keep],
        labels=label[keep],
        probs=probs[anchor[keep]],
        background=float(quiet.max()) if len(quiet) else 0.0,
        embedding=embedding,
        anchors=anchor[keep],
    )


def _told(
    found: Sequence[Signals], head: LiveHead, raw: Mapping[str, Any], space: LabelSpace
) -> list[Signals]:
    """The same with what the head knows of each box's anchor, asked for the whole batch at once."""
    sizes = [len(signals.scores) for signals in found]
    labels = torch.cat([signals.labels for signals in found])
    anchors = torch.cat([signals.anchors for signals in found if signals.anchors is not None])
    image = torch.cat([torch.full_like(signals.labels, i) for i, signals in enumerate(found)])
    traits = head.traits(raw, image, anchors)
    if traits is None:
        return list(found)
    disagreement = None
    if traits.second is not None:
        second = space.fold(traits.second[:, :, None])[:, :, 0].gather(1, labels[:, None])[:, 0]
        disagreement = (second - torch.cat([signals.scores for signals in found])).abs()

    def shared(values: Tensor | None) -> Sequence[Tensor | None]:
        return [None] * len(found) if values is None else torch.split(values, sizes)

    parts = zip(
        found, shared(traits.embeddings), shared(traits.localisation), shared(disagreement), strict=True
    )
    return [
        replace(signals, box_embeddings=features, localisation=edges, disagreement=apart)
        for signals, features, edges, apart in parts
    ]


def _rows(rows: Tensor, space: LabelSpace, choice: Choice) -> Signals:
    """Finished rows (n, 6) of an export: chosen already, so only filtered."""
    column = space.columns(rows[:, 5].clamp(min=0))
    rows, column = rows[column >= 0], column[column >= 0]
    order = rows[:, 4].argsort(descending=True, stable=True)
    rows, column = rows[order], column[order]
    quiet = rows[rows[:, 4] <= choice.conf, 4]
    keep = (rows[:, 4] > choice.conf).nonzero().view(-1)[: choice.max_det]
    probs = rows.new_zeros((len(keep), len(space.labels)))
    probs[torch.arange(len(keep)), column[keep]] = rows[keep, 4]
    return Signals(
        boxes=rows[keep, :4],
        scores=rows[keep, 4],
        labels=column[keep],
        probs=probs,
        background=float(quiet.max()) if len(quiet) else 0.0,
        embedding=None,
    )
