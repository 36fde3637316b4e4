"""A Label Studio export as a consensus report: no ledger, no server, no model."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from backend.auditing import guidelines, thumbnail
from backend.settings import Settings
from backend.studio.export import Export, Predictions, read
from backend.studio.gathering import Picture
from consensus import page, report
from consensus.evidence import Evidence, evidence
from consensus.fusion import fuse_study
from consensus.plain import Document
from consensus.report import About
from consensus.study import Study, study
from consensus.tasks import Image
from pool.schema import BadImage, BadInput, Box, Prediction, Region

UPLOADED = re.compile(r".*/data/upload/\d+/[0-9a-f]{8}-([^/]+)")


def load(path: Path, control: str | None = None, image_tag: str | None = None) -> Export:
    """A Label Studio export.

    Raises:
        BadInput: the file cannot be read, or is no such export.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput("export", "a file that can be read", str(path), str(error.strerror)) from None
    return read(data, control=control, image_tag=image_tag)


def document(found: Export, name: str, settings: Settings, model: str | None = None) -> Document:
    """The consensus report of an export; ``model`` is a version in it that never learned its labels.

    Raises:
        BadInput: the export holds no boxes, or no predictions of that version.
    """
    if found.control is None and found.ignored:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(found.ignored.items()))
        raise BadInput(
            "the export", "one with boxes (RectangleLabels)", kinds, "Other shapes are not compared."
        )
    rules = guidelines(settings)
    made = study(found.sheet, settings.tau)
    pictures = {
        p.sample: Image(
            name=_stored(p) or p.name,
            task=p.tasks[0],
            source="generated" if p.data.get("source") == "generated" else "camera",
        )
        for p in found.pictures.values()
    }
    return report.document(
        made,
        About(
            source=name,
            title=name,
            made_at=datetime.now(UTC),
            images=pictures,
            rules=rules,
            quorum=settings.quorum,
            least=settings.least_votes,
            evidence=None if model is None else _evidence(found, made, settings, model),
            warnings=_warnings(found),
        ),
    )


def _stored(picture: Picture) -> str:
    """The name of a file before Label Studio stored it with eight digits and a hyphen in front."""
    found = UPLOADED.fullmatch(picture.image.partition("?")[0])
    return "" if found is None or "name" in picture.data else found[1]


def _warnings(found: Export) -> list[str]:
    """What was in the file and is not in the report."""
    told = [f"{n} items of type {kind} were not read" for kind, n in sorted(found.ignored.items())]
    for count, words in (
        (found.unnamed, "boxes have no label"),
        (found.outside, "boxes reach over the edge of their picture"),
        (found.anonymous, "annotations do not say who made them; they count as one person"),
    ):
        if count:
            told.append(f"{count} {words}")
    return told


def _evidence(found: Export, made: Study, settings: Settings, model: str) -> Evidence:
    versions = found.predictions.versions
    if model not in versions:
        known = ", ".join(str(v) for v in versions if v) or "none: export the tasks with their predictions"
        raise BadInput("--model", f"a model version in the export ({known})", model)
    fused = fuse_study(made, settings.quorum, settings.least_votes)
    names, labels = made.marks.samples, made.marks.labels
    given: dict[str, list[Region]] = {names[k]: [] for k in np.unique(made.marks.answered[:, 0]).tolist()}
    columns = (fused.sample.tolist(), fused.label.tolist(), fused.boxes.tolist(), fused.turn.tolist())
    for sample, label, box, turn in zip(*columns, strict=True):
        x1, y1, x2, y2 = box
        given[names[sample]].append(Region(labels[label], Box(x1, y1, x2, y2, turn)))
    sizes = {
        name: (int(size[0]), int(size[1]))
        for name, size in zip(names, made.sheet.sizes.tolist(), strict=True)
        if np.isfinite(size).all()
    }
    return evidence(given, _foretold(found, found.predictions, versions.index(model)), sizes)


def _foretold(found: Export, told: Predictions, version: int) -> list[Prediction]:
    """The newest prediction of a version for each sample, less boxes without label or confidence."""
    sample = {task: p.sample for p in found.pictures.values() for task in p.tasks}
    rows = np.flatnonzero(told.version == version)
    newest = {
        sample[task]: row
        for row, task in zip(rows.tolist(), told.task[rows].tolist(), strict=True)
        if task in sample
    }
    classes = tuple(name for name in told.labels if name is not None)
    regions: dict[int, list[Region]] = defaultdict(list)
    wanted = np.isin(told.owner, list(newest.values())) & np.isfinite(told.confidence)
    for k in np.flatnonzero(wanted).tolist():
        label = told.labels[told.label[k]]
        if label is not None:
            x1, y1, x2, y2 = told.boxes[k].tolist()
            box = Box(x1, y1, x2, y2, float(told.turn[k]))
            regions[int(told.owner[k])].append(Region(label, box, float(told.confidence[k])))
    return [
        Prediction(name, str(told.versions[version]), tuple(regions[row]), classes)
        for name, row in newest.items()
    ]


def pictures(folder: Path, found: Export, document: Document, most: int) -> dict[str, bytes]:
    """Small pictures of the images that a page of the document shows, from files of the same names.

    A file is the image's if it has its name, as Label Studio stored it or as it was before.

    Raises:
        BadInput: there is no such folder.
    """
    if not folder.is_dir():
        raise BadInput("--images", "a folder of pictures", str(folder))
    files = {p.name: p for p in sorted(folder.rglob("*")) if p.is_file()}
    made: dict[str, bytes] = {}
    for name in page.pictured(document, most):
        picture = found.pictures[name]
        stored = Path(picture.image.partition("?")[0]).name
        path = next((files[n] for n in (stored, _stored(picture), picture.name) if n in files), None)
        if path is not None:
            with suppress(BadImage, OSError):
                made[name] = thumbnail(path.read_bytes())
    return made
