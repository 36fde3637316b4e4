"""Result items of many annotations as columns, and which of them are boxes of one control.

An item is read as :mod:`.convert` reads it, which takes one annotation at a time; what its numbers mean is
in :mod:`.percent`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from backend.studio.convert import SAME, change
from backend.studio.mending import BROKEN
from backend.studio.structs import Item, Value
from consensus.sheet import Bools, Floats, Ints
from pool.schema import BadInput, Box, Change, Region

NOTHING: Final = Value()
Kind = tuple[str | None, str | UnsetType | None, str | None]
"""The ``from_name``, ``to_name`` and ``type`` of an item."""

KIND: Final = attrgetter("from_name", "to_name", "type")
PLACE: Final = attrgetter("x", "y", "width", "height", "rotation")
LABELLED: Final = ("rectanglelabels", "labels")
SHAPE: Final = "rectangle"
TURNED: Final = 0.1
"""Degrees by which a turned box differs from one that is not turned, as in `convert.change`."""


@dataclass(frozen=True, slots=True)
class Items:
    """Result items, every column (n,) but ``place`` (n, 5).

    ``owner`` is the number of the result, ascending. ``kind`` and ``label`` are positions among the
    book's kinds and labels, ``more`` counts further labels. ``identity`` stands for the region's id, 0
    for none. ``place`` holds x, y, width and height in percent and the rotation, infinite where not
    given, NaN where null.
    """

    owner: Ints
    kind: Ints
    label: Ints
    more: Ints
    identity: NDArray[np.int64]
    place: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of results, (n,), with ``boxes`` (n, 4) normalised and not cut off; see `Items`."""

    owner: Ints
    label: Ints
    identity: NDArray[np.int64]
    boxes: Floats
    turn: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class Control:
    """Names of the tags that draw the boxes; ``shape`` is the Rectangle tag beside a Labels tag."""

    name: str | None
    image_tag: str | None
    shape: str | None = None


class _Numbers(dict[Any, int]):
    """Numbers of names in the order in which they come."""

    def __missing__(self, name: object) -> int:
        self[name] = len(self)
        return self[name]


class Book:
    """Kinds of items and labels, numbered in the order in which they come; label 0 is None."""

    def __init__(self) -> None:
        self.kinds: dict[Kind, int] = _Numbers()
        self.labels: dict[str | None, int] = _Numbers({None: 0})

    def write(self, results: Sequence[Sequence[Item]], first: int, *, scored: bool) -> Items:
        """The items of results as columns; ``first`` is the number of the first result.

        Scores of annotated boxes are the model's, also where a person changed the box: they are read only
        where ``scored``.
        """
        items = list(chain.from_iterable(results))
        values = [item.value or NOTHING for item in items]
        kinds: list[Kind] = list(map(KIND, items))
        plain = {kind[2] for kind in set(kinds)} == {"rectanglelabels"}
        lists = [
            (
                v.rectanglelabels
                if plain or k[2] == "rectanglelabels"
                else v.labels
                if k[2] == "labels"
                else None
            )
            or ()
            for v, k in zip(values, kinds, strict=True)
        ]
        names = [(some[0] or _first(some)) if some else None for some in lists]
        ids = [item.id for item in items]
        count = len(items)
        hashed = map(hash if set(map(type, ids)) == {str} else _identity, ids)
        more = np.fromiter(map(len, lists), np.intp, count) - 1
        for k in np.flatnonzero(more).tolist():
            more[k] = max(sum(map(bool, lists[k])) - 1, 0)
        places = np.fromiter(chain.from_iterable(map(PLACE, values)), np.float64, 5 * count)
        return Items(
            owner=np.repeat(np.arange(first, first + len(results)), list(map(len, results))),
            kind=np.fromiter(map(self.kinds.__getitem__, kinds), np.intp, count),
            label=np.fromiter(map(self.labels.__getitem__, names), np.intp, count),
            more=more,
            identity=np.fromiter(hashed, np.int64, count),
            place=places.reshape(-1, 5),
            score=np.array([i.score for i in items], dtype=np.float64)
            if scored
            else np.full(count, np.nan),
        )

    def boxes(self, items: Items, control: Control) -> tuple[Boxes, Counter[str]]:
        """The boxes that ``control`` drew, and a count of everything else, as `convert.read` does."""
        ours = np.array([_is_ours(kind, control) for kind in self.kinds], dtype=np.bool_)[items.kind]
        ours &= ~np.isinf(items.place[:, :4]).any(axis=1)
        ignored: Counter[str] = Counter()
        types = [kind[2] or "unknown" for kind in self.kinds]
        for code, count in enumerate(np.bincount(items.kind[~ours], minlength=len(types)).tolist()):
            if count:
                ignored[types[code]] += count
        rows = np.flatnonzero(ours)
        boxes, turn, sound = _geometry(items.place[rows])
        ignored[BROKEN] += int((~sound).sum())
        ignored["second label"] += int(items.more[rows[sound]].sum())
        rows = rows[sound]
        found = Boxes(
            owner=items.owner[rows],
            label=items.label[rows],
            identity=items.identity[rows],
            boxes=boxes[sound],
            turn=turn[sound],
            score=items.score[rows],
        )
        if control.shape is not None:
            shapes = np.array([kind[0] == control.shape for kind in self.kinds], dtype=np.intp)
            found = _united(found, shapes[items.kind[rows]])
        return found, +ignored

    def control(self, items: Items, name: str | None, image_tag: str | None) -> Control:
        """The tags that draw boxes, as far as the items tell.

        Raises:
            BadInput: they leave a choice that ``name`` or ``image_tag`` does not make.
        """
        placed = set(np.unique(items.kind[np.isfinite(items.place[:, :4]).all(axis=1)]).tolist())
        kinds = [kind for code, kind in enumerate(self.kinds) if code in placed]
        if image_tag is not None:
            _only("image_tag", "one with boxes on it (to_name)", _strings(k[1] for k in kinds), image_tag)
            kinds = [kind for kind in kinds if kind[1] in (image_tag, UNSET)]
        names = _strings(k[0] for k in kinds if k[2] in LABELLED)
        names = names or _strings(k[0] for k in kinds if k[2] == SHAPE)
        chosen = _only("control", "one that draws boxes (from_name)", names, name)
        images = _strings(k[1] for k in kinds if k[0] == chosen)
        image = _only("image_tag", "one with boxes on it (to_name)", images, image_tag)
        shapes = _strings(k[0] for k in kinds if k[2] == SHAPE and k[1] in (image, UNSET))
        if (chosen, "labels") not in {(kind[0], kind[2]) for kind in kinds}:
            shapes = []
        if len(shapes) > 1:
            raise BadInput(
                f"control {chosen!r}", "beside one Rectangle tag", shapes, "Give the labeling config."
            )
        return Control(chosen, image, shapes[0] if shapes else None)


def joined(parts: Sequence[Items]) -> Items:
    """The rows of all parts, at least one."""
    return Items(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Items)))


def untouched(after: Boxes, before: Boxes, row: Ints, parent: Ints, labels: Sequence[str | None]) -> Bools:
    """Which annotations repeat the prediction that they began as, (k,).

    ``row`` (k,) are their numbers in ``after``, ``parent`` (k,) those of the predictions in ``before``.
    The verdict is that of `convert.change`: all kept, nothing added and nothing deleted. Regions of the
    same ids in the same order are compared all at once, anything else one annotation at a time.
    """
    first, last = np.searchsorted(after.owner, row), np.searchsorted(after.owner, row, side="right")
    start, stop = np.searchsorted(before.owner, parent), np.searchsorted(before.owner, parent, side="right")
    verdict = last - first == stop - start
    count = np.where(verdict, last - first, 0)
    case = np.repeat(np.arange(len(row)), count)
    step = np.arange(len(case)) - np.repeat(np.cumsum(count) - count, count)
    a, b = first[case] + step, start[case] + step
    strange = np.zeros(len(row), dtype=np.bool_)
    strange[case[(after.identity[a] != before.identity[b]) | (after.identity[a] == 0)]] = True
    moved = np.abs(_cut(after)[a] - _cut(before)[b]).max(axis=1, initial=0.0)
    turned = np.abs((after.turn[a] - before.turn[b] + 180.0) % 360.0 - 180.0)
    kept = (after.label[a] == before.label[b]) & (moved <= SAME) & (turned <= TURNED)
    verdict[case[~kept]] = False
    for k in np.flatnonzero(strange).tolist():
        old = _records(before, start[k], stop[k], labels)
        verdict[k] = change(old, _records(after, first[k], last[k], labels)) == Change(kept=len(old))
    return np.asarray(verdict)


def outside(found: Boxes) -> Bools:
    """Which boxes reach over the edge of the picture, (n,), turned ones left out."""
    return np.asarray((_cut(found) != found.boxes).any(axis=1))


def _is_ours(kind: Kind, control: Control) -> bool:
    named = kind[0] is not None and kind[0] in (control.name, control.shape)
    return named and kind[1] in (control.image_tag, UNSET)


def _cut(found: Boxes) -> Floats:
    """The boxes as `convert.read` gives them, cut off at the edge unless they are turned."""
    return np.where((found.turn == 0.0)[:, None], np.clip(found.boxes, 0.0, 1.0), found.boxes)


def _records(found: Boxes, start: int, stop: int, labels: Sequence[str | None]) -> list[Region]:
    cut = _cut(replace(found, **{f.name: getattr(found, f.name)[start:stop] for f in fields(Boxes)}))
    columns = (cut.tolist(), *(c[start:stop].tolist() for c in (found.turn, found.label, found.identity)))
    return [
        Region(labels[label], Box(x1, y1, x2, y2, turn), id=str(identity) if identity else None)
        for (x1, y1, x2, y2), turn, label, identity in zip(*columns, strict=True)
    ]


def _geometry(place: Floats) -> tuple[Floats, Floats, Bools]:
    """Normalised boxes, their turns, and which of them are boxes; as `percent.box` without the cut."""
    x, y, width, height = (place[:, :4] / 100.0).T
    turn = place[:, 4] % 360.0
    sides = np.column_stack([x, y, x + width, y + height])
    sound = np.isfinite(place).all(axis=1) & ((turn == 0.0) | ((width >= 0.0) & (height >= 0.0)))
    low, high = np.minimum(sides[:, :2], sides[:, 2:]), np.maximum(sides[:, :2], sides[:, 2:])
    return np.hstack([low, high]), turn, sound


def _united(found: Boxes, tags: Ints) -> Boxes:
    """The halves of a region that two tags share as one, at the place of the first."""
    kept: list[int] = []
    label = found.label.copy()
    parts: dict[tuple[int, int], tuple[int, set[int]]] = {}
    columns = (found.owner.tolist(), found.identity.tolist(), tags.tolist())
    for row, (owner, identity, tag) in enumerate(zip(*columns, strict=True)):
        place, seen = parts.get((owner, identity), (row, {tag}))
        if identity and tag not in seen:
            seen.add(tag)
            label[place] = label[place] or label[row]
            continue
        parts[owner, identity] = (row, {tag})
        kept.append(row)
    whole = replace(found, label=label)
    return Boxes(*(getattr(whole, f.name)[kept] for f in fields(Boxes)))


def _only(field: str, expected: str, names: list[str], chosen: str | None) -> str | None:
    """The chosen name, or the only one; None where there is none at all."""
    listed = f"Choose one of: {', '.join(names)}."
    if chosen is not None and names and chosen not in names:
        raise BadInput(field, f"the name of {expected}", chosen, listed)
    if chosen is None and len(names) > 1:
        raise BadInput(field, f"chosen: {expected}", names, listed)
    return chosen or (names[0] if names else None)


def _strings(names: Iterable[object]) -> list[str]:
    return sorted({name for name in names if isinstance(name, str)})


def _first(names: Sequence[str]) -> str | None:
    return next((name for name in names if name), None)


def _identity(given: object) -> int:
    """A number for a region's id, 0 for none; as good as the id itself within one result."""
    return hash(given) if type(given) is str else 0 if given is None else hash(str(given))
