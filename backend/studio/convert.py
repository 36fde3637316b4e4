"""Boxes, predictions and annotations between this project's records and Label Studio's result JSON.

A region is one item of ``result`` (RectangleLabels), or two with the same id (Rectangle beside Labels).
How an item gives the place of its box is in :mod:`.percent`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import numpy as np

from backend.studio import percent
from backend.studio.labeling import LabelingConfig
from backend.studio.listing import moment
from pool.boxes import iou_matrix, to_array
from pool.schema import Annotation, BadInput, Change, Origin, Prediction, Project, Region, Sample

log = logging.getLogger("thresher.studio")

Json = dict[str, Any]
Target = Project | LabelingConfig
"""Names the tags of a project; only the LabelingConfig knows a Rectangle tag beside a Labels tag."""

UNKNOWN_ANNOTATOR: Final = "unknown"
SAME: Final = 5e-4
"""A side that moved less than this share of the picture was not moved by a person."""
FIRST: Final = 1e-3
"""Least score of an image that no round asked about: below it there is room for those that one did."""
LAST: Final = 1.0
"""Score of a task that people meet after all others: an unreadable image, a holdout image not asked."""
SAME_OBJECT: Final = 0.5
"""IoU from which a box that was drawn anew counts as the predicted one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in a result: its boxes in order, and how many items of other kinds.

    ``ignored`` counts items by Label Studio's type (``relation``, ``keypointlabels``, ``choices``…),
    broken boxes as ``broken`` and second labels of one box as ``second label``.
    """

    regions: tuple[Region, ...]
    ignored: Mapping[str, int]


# ---- to Label Studio


def results(regions: Iterable[Region], project: Target, size: tuple[int, int]) -> list[Json]:
    """Regions as result items; ``size`` is the picture's width and height in pixels.

    Pass the LabelingConfig as ``project`` where Rectangle and Labels are two tags.
    """
    return [item for region in regions for item in _items(region, project, size)]


def prediction_item(task: int, prediction: Prediction, project: Target, size: tuple[int, int]) -> Json:
    """One item for the bulk import of predictions.

    Its ``score`` is 1 - uncertainty, in [0, 1] and finite, since Label Studio serves the lowest first; an
    uncertainty that is missing or NaN gives 0, which asks a person. Region ids are made from the
    sample, the version and the place in the list, so the same prediction gives the same ids.
    """
    named = [
        region if region.id else replace(region, id=_region_id(prediction, index))
        for index, region in enumerate(prediction.regions)
    ]
    return {
        "task": task,
        "result": results(named, project, size),
        "score": priority(prediction.uncertainty),
        "model_version": prediction.model_version,
    }


def shown(prediction: Prediction, floor: float, *, holdout: bool) -> Prediction:
    """A prediction as people meet it: no box below ``floor``, and none at all on a holdout image.

    What people say of a holdout image measures the model. Whoever starts from a model's boxes leaves the
    nearly right ones as they are, and the measure leans towards the model that drew them.
    """
    kept = () if holdout else tuple(r for r in prediction.regions if r.score is None or r.score >= floor)
    return replace(prediction, regions=kept)


def task_item(
    task: int, prediction: Prediction, project: Target, sample: Sample, show_floor: float
) -> Json:
    """What Label Studio is to hold of a prediction for a task that shows ``sample``.

    Only boxes that people should meet (see :func:`shown`). A holdout image is never the model's choice, and
    of generated ones a round takes no more than its share: both stand last until a round asks for them.
    """
    met = shown(prediction, show_floor, holdout=sample.holdout)
    item = prediction_item(task, met, project, (sample.width, sample.height))
    return item | {"score": LAST} if sample.holdout or sample.source == "generated" else item


def priority(uncertainty: float | None) -> float:
    """Label Studio's prediction score, in [0, 1], lowest served first: 1 - uncertainty."""
    if uncertainty is None or math.isnan(uncertainty):
        return 0.0
    return max(1.0 - min(max(float(uncertainty), 0.0), 1.0), FIRST)


def _region_id(prediction: Prediction, index: int) -> str:
    text = f"{prediction.sample}/{prediction.model_version}/{index}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _items(region: Region, project: Target, size: tuple[int, int]) -> list[Json]:
    width, height = size
    if width <= 0 or height <= 0:
        raise BadInput("size", "width and height of the picture in pixels, both positive", size)
    place = percent.value(region.box)
    common: Json = {
        "to_name": project.image_tag,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    optional = {"id": region.id, "score": percent.number(region.score), "origin": region.origin}
    common |= {key: value for key, value in optional.items() if value is not None}
    shape = project.shape if isinstance(project, LabelingConfig) else None
    labels = [] if region.label is None else [region.label]
    if shape is None:
        value = {**place, "rectanglelabels": labels}
        return [{**common, "from_name": project.control, "type": "rectanglelabels", "value": value}]
    items: list[Json] = [{**common, "from_name": shape, "type": "rectangle", "value": place}]
    if labels:
        value = {**place, "labels": labels}
        items.append({**common, "from_name": project.control, "type": "labels", "value": value})
    return items


# ---- from Label Studio


def read(result: object, project: Target) -> Reading:
    """The boxes of a result (a list, or its JSON text), and a count of everything else.

    A box that reaches over the picture's edge is kept and its upright Box clipped to [0, 1]; a turned
    box keeps its frame, which may lie outside while the box does not. A box without label has the label
    None; of several labels the first is taken. Scores stay as they are; ids may be None.
    """
    ignored: Counter[str] = Counter()
    found: list[Region] = []
    parts: dict[str, tuple[int, set[str]]] = {}
    for item in _listed(result, ignored):
        if not _is_ours(item, project):
            ignored[str(item.get("type") or "unknown")] += 1
            continue
        region = _region(item, ignored)
        if region is None:
            continue
        tag = str(item["from_name"])
        place, tags = parts.get(region.id or "", (-1, set()))
        if region.id and place >= 0 and tag not in tags:
            # The second half of a region that two tags share.
            tags.add(tag)
            known = found[place]
            found[place] = replace(known, label=known.label or region.label)
            continue
        if region.id:
            parts[region.id] = (len(found), {tag})
        found.append(region)
    return Reading(tuple(found), dict(ignored))


def annotation(
    payload: Mapping[str, Any],
    project: Project,
    sample: str,
    parent: object = None,
) -> Annotation:
    """An annotation as the REST API or a webhook gives it.

    ``parent`` is the result of the prediction it began as, if the caller has it; a webhook's own copy is
    used where its id fits. With it ``change`` is counted, without it ``change`` is None. Regions carry
    no score: Label Studio leaves the model's on boxes that people changed. Skipped annotations have no
    regions, since Label Studio sends the untouched prediction with them.
    """
    skipped = bool(payload.get("was_cancelled"))
    reading = read([] if skipped else payload.get("result") or [], project)
    if reading.ignored:
        log.info("annotation %s: ignored %s", payload.get("id"), dict(reading.ignored))
    regions = tuple(replace(region, score=None) for region in reading.regions)
    parent_id = _number(payload.get("parent_prediction"))
    if parent is None:
        parent = _own_parent(payload, parent_id)
    compared = None
    if parent is not None and parent_id is not None and not skipped:
        compared = change(read(parent, project).regions, regions)
    created = moment(_required(payload, "created_at"))
    lead_time = payload.get("lead_time")
    return Annotation(
        id=int(_required(payload, "id")),
        project=project.id,
        task=int(_task_id(payload)),
        sample=sample,
        annotator=annotator(payload.get("completed_by")),
        regions=regions,
        created_at=created,
        updated_at=moment(payload.get("updated_at") or _required(payload, "created_at")),
        lead_time=float(lead_time) if isinstance(lead_time, int | float) else None,
        ground_truth=bool(payload.get("ground_truth")),
        skipped=skipped,
        parent_prediction=parent_id,
        change=compared,
    )


def annotator(completed_by: object) -> str:
    """The annotator's id as text, from a number, an object with ``id`` or ``email``, or nothing."""
    if isinstance(completed_by, Mapping):
        completed_by = completed_by.get("id") or completed_by.get("email")
    return UNKNOWN_ANNOTATOR if completed_by in (None, "") else str(completed_by)


def change(before: Sequence[Region], after: Sequence[Region]) -> Change:
    """What a person did to the predicted boxes ``before`` to arrive at ``after``.

    Boxes belong together by id, then the most overlapping ones (a box deleted and drawn anew). A box
    with another label counts as relabelled, whether it also moved or not.
    """
    pairs = _pairs(before, after)
    counts = Counter(_verdict(before[i], after[j]) for i, j in pairs)
    return Change(
        kept=counts["kept"],
        moved=counts["moved"],
        relabelled=counts["relabelled"],
        added=len(after) - len(pairs),
        deleted=len(before) - len(pairs),
    )


def _pairs(before: Sequence[Region], after: Sequence[Region]) -> list[tuple[int, int]]:
    waiting: dict[str, list[int]] = {}
    for i, region in enumerate(before):
        if region.id:
            waiting.setdefault(region.id, []).append(i)
    pairs = [(waiting[r.id].pop(0), j) for j, r in enumerate(after) if r.id and waiting.get(r.id)]
    left = sorted(set(range(len(before))) - {i for i, _ in pairs})
    right = sorted(set(range(len(after))) - {j for _, j in pairs})
    if not left or not right:
        return pairs
    overlap = iou_matrix(to_array(before[i].box for i in left), to_array(after[j].box for j in right))
    while overlap.size:
        row, column = np.unravel_index(int(np.argmax(overlap)), overlap.shape)
        if overlap[row, column] < SAME_OBJECT:
            break
        pairs.append((left[int(row)], right[int(column)]))
        overlap[row, :] = overlap[:, column] = -1.0
    return pairs


def _verdict(before: Region, after: Region) -> str:
    if before.label != after.label:
        return "relabelled"
    a, b = before.box, after.box
    turned = abs((a.rotation - b.rotation + 180.0) % 360.0 - 180.0)
    moved = max(abs(a.x1 - b.x1), abs(a.y1 - b.y1), abs(a.x2 - b.x2), abs(a.y2 - b.y2))
    return "kept" if moved <= SAME and turned <= 0.1 else "moved"


def _own_parent(payload: Mapping[str, Any], parent_id: int | None) -> object:
    copy = payload.get("prediction")
    if isinstance(copy, Mapping) and parent_id is not None and copy.get("id") == parent_id:
        return copy.get("result")
    return None


def _task_id(payload: Mapping[str, Any]) -> Any:
    task = _required(payload, "task")
    return task.get("id") if isinstance(task, Mapping) else task


def _required(payload: Mapping[str, Any], key: str) -> Any:
    value = payload.get(key)
    if value is None:
        raise BadInput(f"annotation.{key}", "present", None, "Is this an annotation of Label Studio 1.23?")
    return value


def _listed(result: object, ignored: Counter[str]) -> list[Mapping[str, Any]]:
    if isinstance(result, str):
        try:
            result = json.loads(result)
        except ValueError:
            ignored["broken"] += 1
            return []
    if not isinstance(result, list):
        return []
    ignored.update("broken" for item in result if not isinstance(item, Mapping))
    return [item for item in result if isinstance(item, Mapping)]


def _is_ours(item: Mapping[str, Any], project: Target) -> bool:
    """Is this a rectangle drawn with our control, whatever other tags wrote about the same region?"""
    names = {project.control}
    if isinstance(project, LabelingConfig) and project.shape:
        names.add(project.shape)
    value = item.get("value")
    return (
        item.get("from_name") in names
        and item.get("to_name", project.image_tag) == project.image_tag
        and isinstance(value, Mapping)
        and {"x", "y", "width", "height"} <= value.keys()
    )


def _region(item: Mapping[str, Any], ignored: Counter[str]) -> Region | None:
    value = item["value"]
    labels = value.get(str(item.get("type")))
    names = [str(label) for label in labels if label] if isinstance(labels, list) else []
    box = percent.box(value)
    if box is None:
        ignored["broken"] += 1
        return None
    if len(names) > 1:
        ignored["second label"] += len(names) - 1
    score, origin, identity = percent.number(item.get("score")), item.get("origin"), item.get("id")
    return Region(
        label=names[0] if names else None,
        box=box,
        score=score,
        id=str(identity) if identity not in (None, "") else None,
        origin=origin if origin in get_args(Origin) else None,
    )


def _number(value: object) -> int | None:
    """An id: a number, or an object that has one."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
