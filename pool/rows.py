"""Records to rows and back; pure, and the only place that knows how a value is written down.

A region is a JSON array ``[label, x1, y1, x2, y2, rotation, score, id, origin]`` without its
trailing nulls: a pool of ten thousand images holds hundreds of thousands of them. Floats keep every
digit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Table

from pool.schema import (
    Annotation,
    BadInput,
    Box,
    Change,
    Consensus,
    Decision,
    Edit,
    Event,
    Failure,
    ModelVersion,
    Prediction,
    Progress,
    Project,
    Region,
    Round,
    Sample,
    Snapshot,
    Task,
    Variant,
)

R = TypeVar("R")
Row = dict[str, Any]
"""What a table takes or gives: column name to plain value."""


@dataclass(frozen=True)
class Codec:
    """How one field is written and read back."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def dump(value: object, *, nan: bool = True) -> str:
    """Compact JSON, with characters as themselves where UTF-8 can hold them.

    A body from outside may contain lone surrogates or NUL, which no text column holds; then
    everything beyond ASCII is escaped.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=nan)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def region_to_json(region: Region) -> list[Any]:
    """One region as a short list."""
    box = region.box
    edges = [float(box.x1), float(box.y1), float(box.x2), float(box.y2), float(box.rotation)]
    score = None if region.score is None else float(region.score)
    cells: list[Any] = [region.label, *edges, score, region.id, region.origin]
    while cells[-1] is None:
        cells.pop()
    return cells


def region_from_json(cells: Sequence[Any]) -> Region:
    """The region that ``region_to_json`` wrote."""
    label, x1, y1, x2, y2, rotation, *rest = cells
    return Region(label, Box(x1, y1, x2, y2, rotation), *rest)


def dump_regions(regions: Iterable[Region]) -> str:
    """Regions as one JSON text; refuses a coordinate or score that is no number."""
    cells = [region_to_json(region) for region in regions]
    try:
        return dump(cells, nan=False)
    except ValueError:
        raise BadInput("region", "made of finite numbers", cells) from None


def load_regions(text: str) -> tuple[Region, ...]:
    """Regions in the order in which they were written."""
    return tuple(region_from_json(cells) for cells in json.loads(text))


def _share(name: str) -> Codec:
    def write(value: float | None) -> float | None:
        if value is not None and not 0.0 <= value <= 1.0:
            raise BadInput(name, "a number in [0, 1]", value)
        return None if value is None else float(value)

    return Codec(write, lambda value: value)


def _phash(value: int) -> int:
    if not 0 <= value < 1 << 64:
        raise BadInput("phash", "an unsigned 64-bit number", value)
    return value - (1 << 64) if value >= 1 << 63 else value


def _change(value: Change | None) -> str | None:
    if value is None:
        return None
    return dump([value.kept, value.moved, value.relabelled, value.added, value.deleted])


JSON = Codec(dump, json.loads)
WORDS = Codec(dump, lambda text: tuple(json.loads(text)))
MAPPING = Codec(lambda value: dump(dict(value)), json.loads)
REGIONS = Codec(dump_regions, load_regions)
PHASH = Codec(_phash, lambda value: value % (1 << 64))
UNCERTAINTY = _share("uncertainty")
CHANGE = Codec(_change, lambda text: None if text is None else Change(*json.loads(text)))


@dataclass(frozen=True)
class Mapper(Generic[R]):
    """Between one record type and its rows: a column for each field, by the field's name.

    ``codecs`` names the fields that are not written as they are; ``skip`` those that the owner of
    the table writes itself.
    """

    record: type[R]
    codecs: Mapping[str, Codec] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()

    @cached_property
    def names(self) -> list[str]:
        """The record's fields that are columns, in their order."""
        return [each.name for each in fields(self.record) if each.name not in self.skip]  # type: ignore[arg-type]

    def columns(self, table: Table) -> list[Column[Any]]:
        """What to select so that ``load`` finds its fields, in the record's order."""
        return [table.c[name] for name in self.names]

    def row(self, record: R) -> Row:
        """The record as a row."""
        row = {name: getattr(record, name) for name in self.names}
        for name, codec in self.codecs.items():
            row[name] = codec.write(row[name])
        return row

    def rows(self, records: Iterable[R]) -> list[Row]:
        """Many records as rows, each the same columns."""
        return [self.row(record) for record in records]

    def load(self, rows: Iterable[Sequence[Any]]) -> list[R]:
        """Rows selected by ``columns`` as records."""
        names = self.names
        codecs = [(names.index(name), codec.read) for name, codec in self.codecs.items()]
        found = []
        for row in rows:
            cells = list(row)
            for place, read in codecs:
                cells[place] = read(cells[place])
            found.append(self.record(*cells))
        return found


PROJECTS = Mapper(Project, {"labels": WORDS, "label_map": MAPPING})
SAMPLES = Mapper(Sample, {"phash": PHASH})
TASKS = Mapper(Task)
MODELS = Mapper(ModelVersion, {"classes": WORDS, "metrics": MAPPING})
FAILURES = Mapper(Failure)
ANNOTATIONS = Mapper(Annotation, {"regions": REGIONS, "change": CHANGE})
ROUNDS = Mapper(Round)
DECISIONS = Mapper(Decision, {"uncertainty": UNCERTAINTY, "p_select": _share("p_select")})
CONSENSUS = Mapper(Consensus, {"score": _share("score"), "regions": REGIONS, "annotators": WORDS})
VARIANTS = Mapper(Variant, {"regions": REGIONS, "gates": MAPPING})
EDITS = Mapper(Edit, {"before": JSON, "after": JSON})
SNAPSHOTS = Mapper(Snapshot, {"manifest": MAPPING})
EVENTS = Mapper(Event, {"body": MAPPING})
PROGRESS = Mapper(Progress)
PREDICTIONS = Mapper(
    Prediction,
    {
        "regions": REGIONS,
        "classes": WORDS,
        "background": _share("background"),
        "uncertainty": UNCERTAINTY,
    },
    skip=frozenset({"probs", "embedding", "box_embeddings", "localisation", "disagreement"}),
)
