"""What each guideline rule finds: masks over all boxes at once, and words for what they leave.

Turned boxes have no width and height that could be held against the image's or another person's;
`rotated` speaks of them, the rules of edges, size and aspect do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from consensus.borders import SLACK, beyond, margin
from consensus.edges import MAD, by_size
from consensus.overlap import pair_iou
from consensus.pairs import intersection, own_pairs
from consensus.rules import Limit, Rules
from consensus.sheet import Floats, Ints
from consensus.slips import Agreed, Slips, broken, duplicates, merged, outside, split
from consensus.study import Study
from pool.boxes import area

EDGES = ("left", "upper", "right", "lower")
OUTWARD = np.array([-1.0, -1.0, 1.0, 1.0])

ADJECTIVES = {"width": "wide", "height": "high", "area": "large", "aspect": "times as wide as high"}

Quad = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Breach:
    """Boxes of one answer, rows of the sheet, that break a rule; not ``sure`` where a person must look."""

    rows: tuple[int, ...]
    message: str
    evidence: tuple[Quad, ...] = ()
    sure: bool = True


def rotated(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Turned boxes."""
    for k in np.flatnonzero(study.marks.turn != 0.0).tolist():
        degrees = _figure(float(study.marks.turn[k]))
        yield Breach((int(study.marks.row[k]),), f"The box is turned by {degrees}° instead of upright.")


def over_several(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """One box over several objects, see `slips.merged`."""
    slips = merged(study, common, rules.merged.covered, rules.merged.matched)
    for rows, things, sure in _each(slips):
        message = f"One box lies over {len(things)} objects that others drew one by one."
        if not sure:
            message = (
                f"{len(things)} objects that others drew lie inside this box and have none of their own."
            )
        yield Breach(rows, message, _quads(common.boxes[things]), sure)


def in_pieces(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Several boxes in one object, see `slips.split`."""
    slips = split(study, common, rules.split.covered, rules.split.matched)
    for rows, things, sure in _each(slips):
        message = f"{len(rows)} boxes lie inside one object that others drew as a whole"
        message += "." if sure else ", as did this person."
        yield Breach(_by_place(study, rows), message, _quads(common.boxes[things]), sure)


def twice(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Boxes drawn twice, see `slips.duplicates`."""
    sheet, marks = study.sheet, study.marks
    slips = duplicates(study, rules.duplicate.iou)
    mark = np.full(len(sheet.owner), -1, dtype=np.intp)
    mark[marks.row] = np.arange(len(marks.row))
    one, two = mark[slips.row], mark[slips.other]
    overlap = pair_iou(
        marks.boxes[one], marks.boxes[two], marks.turn[one], marks.turn[two], marks.aspect[one]
    )
    for k, row in enumerate(slips.row.tolist()):
        label, other = (marks.labels[int(marks.label[m[k]])] for m in (one, two))
        names = "" if label == other else f", as {_name(label)} and as {_name(other)}"
        message = f"The same object is boxed twice (IoU {overlap[k]:.2f}){names}."
        yield Breach((row,), message, _quads(marks.boxes[two[k : k + 1]]))


def loose_or_tight(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Edges off those of the others who drew the object upright: beyond the middle one or two of theirs."""
    rule, marks = rules.tight, study.marks
    upright = np.flatnonzero(marks.turn == 0.0)
    for block in by_size(study.objects[upright]):
        count = block.shape[1] - 1
        if count < rule.others:
            continue
        rows = upright[block].reshape(-1)
        own = marks.boxes[rows]
        below, above = (edge.reshape(-1, 4) for edge in _others(marks.boxes[upright[block]]))
        theirs, middle = np.clip(own, below, above), (below + above) / 2.0
        off = OUTWARD * (own - theirs)
        share = off / np.tile(middle[:, 2:] - middle[:, :2], 2)
        pixels = off * np.tile(study.sheet.sizes[marks.sample[rows]], 2)
        # Where the size is unknown the pixels are NaN, and the share alone decides.
        far = (np.abs(share) > rule.share + SLACK) & ~(np.abs(pixels) <= rule.pixels + SLACK)
        some = np.flatnonzero(far.any(axis=1))
        columns = (column[some].tolist() for column in (marks.row[rows], theirs, far, pixels, share))
        for row, box, wrong, distance, part in zip(*columns, strict=True):
            parts = [
                f"the {EDGES[e]} edge is {_distance(distance[e], part[e])} too far {_way(part[e])}"
                for e in range(4)
                if wrong[e]
            ]
            message = f"Compared with {count} others, {' and '.join(parts)}."
            yield Breach((row,), message, (tuple(box),))


def overlapping(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Boxes of one person that overlap, less those that count as drawn twice."""
    marks, sizes = study.marks, area(study.marks.boxes)
    i, j, iou = own_pairs(study, 0.0)
    share = intersection(iou, sizes[i], sizes[j]) / np.minimum(sizes[i], sizes[j])
    twin = (iou >= rules.duplicate.iou) & (rules.duplicate.severity != "off")
    found = np.flatnonzero((share > rules.overlap.share + SLACK) & ~twin)
    columns = (column.tolist() for column in (marks.row[i[found]], marks.row[j[found]], share[found]))
    for one, other, part in zip(*columns, strict=True):
        rows = _by_place(study, (one, other))
        yield Breach(rows, f"Two boxes overlap by {_percent(part)} of the smaller one.")


def unnamed(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Boxes without a label."""
    nameless = np.array([label is None for label in study.marks.labels], dtype=np.bool_)
    for row in study.marks.row[nameless[study.marks.label]].tolist():
        yield Breach((row,), "The box has no label.")


def off_image(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Boxes beyond the border, see `slips.outside`."""
    sheet, rule = study.sheet, rules.outside
    rows = outside(study, rule.pixels, rule.share).row
    far = beyond(sheet, rows)
    sizes = np.tile(sheet.sizes[sheet.sample[sheet.owner[rows]]], 2)
    allowed = np.tile(margin(sheet.sizes, rule.pixels, rule.share)[sheet.sample[sheet.owner[rows]]], 2)
    for k, row in enumerate(rows.tolist()):
        parts = [
            f"{_distance(far[k, e] * sizes[k, e], far[k, e])} beyond the {EDGES[e]} border"
            for e in np.flatnonzero(far[k] > allowed[k]).tolist()
        ]
        yield Breach((row,), f"The box reaches {', '.join(parts)}.")


def no_box(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Boxes that are none, see `slips.broken`."""
    for row in broken(study).row.tolist():
        numbers = bool(np.isfinite(study.sheet.boxes[row]).all() and np.isfinite(study.sheet.turn[row]))
        yield Breach(
            (row,), "The box has no area." if numbers else "The box has coordinates that are not numbers."
        )


def sized(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Boxes smaller or larger than their label allows."""
    marks = study.marks
    for position, label in enumerate(marks.labels):
        limits = rules.size.limits.get(label, ()) if label is not None else ()
        at = np.flatnonzero((marks.label == position) & (marks.turn == 0.0)) if limits else marks.row[:0]
        for limit in limits:
            value = _extent(study, at, limit)
            wrong = value > limit.value + SLACK if limit.most else value < limit.value - SLACK
            word, bound = ADJECTIVES[limit.side], "most" if limit.most else "least"
            for k in np.flatnonzero(wrong).tolist():
                message = (
                    f"The box is {_measure(value[k], limit)} {word}; "
                    f"{_name(label)} is at {bound} {_measure(limit.value, limit)} {word}."
                )
                yield Breach((int(marks.row[at[k]]),), message)


def odd_shape(study: Study, rules: Rules, common: Agreed) -> Iterator[Breach]:
    """Boxes far wider or higher than others of their label."""
    marks, rule = study.marks, rules.aspect
    known = np.isfinite(study.sheet.sizes[marks.sample, 0])
    upright = np.flatnonzero((marks.turn == 0.0) & known)
    sides = (marks.boxes[upright, 2:] - marks.boxes[upright, :2]) * study.sheet.sizes[marks.sample[upright]]
    aspect = sides[:, 0] / sides[:, 1]
    for block in by_size(marks.label[upright]):
        for group in block if block.shape[1] >= rule.boxes else block[:0]:
            logs = np.log(aspect[group])
            middle = np.median(logs)
            spread = MAD * np.median(np.abs(logs - middle))
            # Without any spread every other box would be infinitely odd.
            odd = np.flatnonzero((np.abs(logs - middle) > rule.spread * spread) & (spread > SLACK))
            label = marks.labels[int(marks.label[upright[group[0]]])]
            for k in group[odd].tolist():
                message = (
                    f"The box is {_figure(aspect[k])} times as wide as high; "
                    f"{_figure(float(np.exp(middle)))} is typical of {_name(label)}."
                )
                yield Breach((int(marks.row[upright[k]]),), message)


BREACHES: dict[str, Callable[[Study, Rules, Agreed], Iterator[Breach]]] = {
    "rotated": rotated,
    "merged": over_several,
    "split": in_pieces,
    "duplicate": twice,
    "tight": loose_or_tight,
    "overlap": overlapping,
    "unnamed": unnamed,
    "outside": off_image,
    "broken": no_box,
    "size": sized,
    "aspect": odd_shape,
}
"""What finds the breaches of each rule of `rules.Rules`."""


def _others(boxes: Floats) -> tuple[Floats, Floats]:
    """The lower and the upper median of the others' edges, each (groups, size, 4) as ``boxes``.

    Both are the median of an odd number of others. Between the two middle ones of an even number nobody
    can tell who is right: one loose person among three must not make the other two look tight.
    """
    size = boxes.shape[1]
    rank = np.argsort(np.argsort(boxes, axis=1), axis=1)
    ranked = np.sort(boxes, axis=1)
    low, high = (size - 2) // 2, (size - 1) // 2  # the middle of what is left without the box itself
    below = np.take_along_axis(ranked, low + (low >= rank), axis=1)
    above = np.take_along_axis(ranked, high + (high >= rank), axis=1)
    return below, above


def _extent(study: Study, at: Ints, limit: Limit) -> Floats:
    """What a limit limits, for rows of the marks, in its unit; NaN where that takes a size nobody knows."""
    boxes, sizes = study.marks.boxes[at], study.sheet.sizes[study.marks.sample[at]]
    sides = boxes[:, 2:] - boxes[:, :2]
    if limit.unit != "%":
        sides = sides * sizes
    width, height = sides.T
    values = {"width": width, "height": height, "area": width * height, "aspect": width / height}
    return np.asarray(values[limit.side])


def _each(slips: Slips) -> Iterator[tuple[tuple[int, ...], Ints, bool]]:
    """Rows, objects and certainty of each slip."""
    for part in np.split(np.arange(len(slips.row)), slips.first[1:]):
        if part.size:
            rows = tuple(np.unique(slips.row[part]).tolist())
            yield rows, np.unique(slips.object[part]), bool(slips.sure[part[0]])


def _by_place(study: Study, rows: tuple[int, ...]) -> tuple[int, ...]:
    boxes = study.sheet.boxes
    return tuple(sorted(rows, key=lambda row: (boxes[row].tolist(), row)))


def _quads(boxes: Floats) -> tuple[Quad, ...]:
    return tuple(sorted((x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.tolist()))


def _distance(pixels: float, share: float) -> str:
    """A distance in pixels where they are known, and as a share."""
    part = _percent(abs(share))
    return part if math.isnan(pixels) else f"{_figure(abs(pixels))} px ({part})"


def _way(outward: float) -> str:
    return "out" if outward > 0.0 else "in"


def _measure(value: float, limit: Limit) -> str:
    if limit.unit == "%":
        return f"{_percent(value)} of the image"
    unit = {"width": " px", "height": " px", "area": " px²", "aspect": ""}[limit.side]
    return f"{_figure(value)}{unit}"


def _percent(share: float) -> str:
    return f"{_figure(100.0 * share)} %"


def _figure(value: float) -> str:
    """Three digits, or all of a larger whole number."""
    return f"{value:.0f}" if abs(value) >= 100.0 else f"{value:.3g}"


def _name(label: str | None) -> str:
    return "an unnamed box" if label is None else f"“{label}”"
