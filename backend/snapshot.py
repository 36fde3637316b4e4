"""Training sets out of the ledger: what people said, one row per image, nothing of the holdout."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from backend.settings import Settings
from backend.voting import PLAIN, Voting, voting
from pool.boxes import clip, from_array, to_array
from pool.boxes import upright as hull
from pool.schema import Annotation, Box, NotReady, Region, Sample, Snapshot
from pool.store import Pool

MACHINE = ("accept", "user")
"""Where the ledger remembers who writes the annotations that no person made."""


REVIEWS = "reviews"
"""Kind of state that remembers, by project, the ids of the predictions that hold a consensus."""
REVIEWER = " (review)"


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled image."""

    sample: Sample
    regions: tuple[Region, ...]


def answers(pool: Pool, project: int, samples: Sequence[str] | None = None) -> list[Annotation]:
    """People's annotations as they count, skipped ones among them, in the order of their ids.

    What a reviewer made of the consensus is a verdict, also before somebody starred it: a copy of the
    majority is no further vote. Its author judges there, and has another name than as an annotator.
    """
    ours = set((pool.state(REVIEWS, str(project)) or {}).get("predictions", ()))
    return [
        replace(a, ground_truth=not a.skipped, annotator=a.annotator + REVIEWER)
        if a.parent_prediction in ours
        else a
        for a in pool.annotations(project, samples)
    ]


def labelled(
    pool: Pool, project: int, samples: Sequence[str] | None = None, *, people: bool = False
) -> dict[str, list[Annotation]]:
    """Annotations that count as labels, by sample: skipped ones do not.

    What was accepted without a person counts only while no person answered; with ``people`` never.
    """
    machine = {str(name) for name in (pool.state(*MACHINE) or {}).values()}
    by_sample: dict[str, list[Annotation]] = defaultdict(list)
    accepted: dict[str, list[Annotation]] = defaultdict(list)
    for annotation in answers(pool, project, samples):
        if not annotation.skipped:
            whose = accepted if annotation.annotator in machine else by_sample
            whose[annotation.sample].append(annotation)
    return dict(by_sample) if people else {**accepted, **by_sample}


def rows(
    pool: Pool,
    project: int,
    *,
    holdout: bool,
    labels: Sequence[str],
    how: Voting = PLAIN,
    people: bool = False,
) -> tuple[list[Row], Counter[str]]:
    """Every labelled image on one side of the split, with what its annotators say together.

    Starred annotations (``ground_truth``) override the others. An image with a box of no label, or of
    one that the project does not have, is left out as a whole: without that box it would teach that
    nothing is there. The second part of the answer counts those boxes by label. ``how`` makes one of
    several answers; ``people`` leaves out what was accepted without a person.
    """
    given = labelled(pool, project, people=people)
    samples = pool.samples(list(given))
    known = set(labels)
    wanted = [s for s in sorted(given) if samples[s].holdout is holdout]
    fused = how.agreed([a for s in wanted for a in given[s]], samples)
    strange = Counter(
        r.label or "no label" for s in wanted for r in fused[s].regions if r.label not in known
    )
    whole = [s for s in wanted if all(r.label in known for r in fused[s].regions)]
    return [Row(samples[s], tuple(fused[s].regions)) for s in whole], strange


def voting_of(pool: Pool, project: int, settings: Settings) -> Voting:
    """How several people's answers become one in a project, by all that they answered there."""
    given = labelled(pool, project, people=True)
    return voting(settings, given.values(), pool.samples(list(given)))


def upright(row: Row) -> tuple[Region, ...]:
    """The regions by the upright box around each, inside the image: as a detector is taught them."""
    size = (row.sample.width, row.sample.height)
    hulls = from_array(clip(to_array(hull(r.box, *size) for r in row.regions)))
    return tuple(
        replace(region, box=box)
        for region, box in zip(row.regions, hulls, strict=True)
        if box.x2 > box.x1 and box.y2 > box.y1
    )


def check_split(train: Sequence[Row], holdout_roots: set[str]) -> None:
    """Refuse a training set that shares a root image with the holdout.

    Raises:
        NotReady: naming the images.
    """
    leaks = [row.sample.name for row in train if row.sample.holdout or row.sample.root in holdout_roots]
    if leaks:
        names = ", ".join(leaks[:5])
        raise NotReady(
            f"{len(leaks)} training images share a root with the holdout ({names}): nothing was trained."
        )


def take(project: int, train: Sequence[Row], classes: Sequence[str], holdout: Sequence[Row]) -> Snapshot:
    """An immutable snapshot; its id is the sha256 of the manifest, so equal labels give equal ids."""
    manifest: Mapping[str, object] = {
        "classes": list(classes),
        "train": {row.sample.id: _write(row.regions) for row in train},
        "holdout": {row.sample.id: _write(row.regions) for row in holdout},
    }
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Snapshot(hashlib.sha256(text.encode()).hexdigest(), project, manifest, datetime.now(UTC))


def restore(pool: Pool, snapshot_id: str, part: Literal["train", "holdout"]) -> list[Row]:
    """The rows of a snapshot as they were frozen, whatever people changed since."""
    written = pool.snapshot(snapshot_id).manifest[part]
    samples = pool.samples(list(written))
    return [Row(samples[sample], _read(regions)) for sample, regions in written.items()]


def _write(regions: Sequence[Region]) -> list[list[Any]]:
    rows = [
        [r.label, *(round(v, 6) for v in (r.box.x1, r.box.y1, r.box.x2, r.box.y2, r.box.rotation))]
        for r in regions
    ]
    return sorted(rows, key=str)


def _read(rows: Sequence[Sequence[Any]]) -> tuple[Region, ...]:
    return tuple(Region(str(label), Box(*map(float, numbers))) for label, *numbers in rows)
