"""Everything that is known of a project's agreement, as one document.

The document is plain data (schema ``thresher.consensus/1``): `page.render` shows it, `tables.tables` cuts
it into CSV files, JSON keeps it. A figure that is undefined is None in it, never 0 or 1. Boxes are
``[x1, y1, x2, y2, rotation]``, normalised, the rotation in degrees clockwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np

from consensus.agreement import count_pairs, shared
from consensus.anchoring import Anchoring, Company, anchoring
from consensus.annotators import annotators
from consensus.audit import suspicions
from consensus.compatible import label_studio_iou
from consensus.conflicts import conflicts, ground
from consensus.evidence import Evidence
from consensus.fusion import QUORUM, Trust, fuse_study, learn_trust
from consensus.guidelines import Finding, check, summary
from consensus.labels import by_label, confusion, top_confusions
from consensus.marks import turns, usable
from consensus.matrix import matrix
from consensus.plain import Document, moment, number, place
from consensus.profiles import points, profiles
from consensus.rules import DEFAULT, Rules, suited
from consensus.sheet import Bools, Floats, Ints
from consensus.study import Study
from consensus.sweep import TAUS, sweep
from consensus.tallies import FEW, Figures, Tallies, intervals, tally
from consensus.tasks import Image, tasks
from consensus.trend import Trend, trend

SCHEMA: Final = "thresher.consensus/1"
ERRORS: Final = ("missed", "swapped", "located", "spurious")
"""Names of the kinds of label error, by number; see `audit`."""
MANY: Final = 40
"""Most labels of the confusion matrix; the rarer ones are taken together."""
SUSPECTS: Final = 500
"""Most label errors that a document holds, the surest first."""
EXAMPLES: Final = 5
"""Most images named for each thing that is taken for another."""


@dataclass(frozen=True, slots=True)
class About:
    """What a report says beside the figures.

    ``source`` says where the answers come from, ``images`` what is known of each sample, ``people`` the
    names to show for annotators. ``rules`` are the guidelines. ``quorum`` and ``least`` are those of
    `fusion.fuse_study`, ``trust`` what is known of the annotators (None: it is learned from the study).
    ``evidence`` holds out-of-sample predictions.
    """

    source: str
    title: str
    made_at: datetime
    id: int | None = None
    images: Mapping[str, Image] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)
    rules: Rules = DEFAULT
    quorum: float = QUORUM
    least: int = 1
    trust: Trust | None = None
    evidence: Evidence | None = None
    warnings: Sequence[str] = ()


def document(study: Study, about: About) -> Document:
    """The report of a study."""
    met = shared(study.marks, study.objects)
    pairs = count_pairs(study.marks, study.objects, met)
    rules = suited(about.rules, study.marks.labels)
    at = ground(study, visible=rules.least_visible)
    found = conflicts(study, at)
    counted = tally(study, pairs)
    trust = about.trust or learn_trust(study)
    fused = fuse_study(study, about.quorum, about.least, trust)
    course = trend(study, found)
    began = anchoring(study, pairs)
    images = tasks(study, pairs, found, fused, at.common, about.images)
    return {
        "schema": SCHEMA,
        "made_at": about.made_at.isoformat(timespec="seconds"),
        "source": about.source,
        "settings": {
            "tau": study.tau,
            "quorum": about.quorum,
            "least_votes": about.least,
            "rules": rules.name,
        },
        "project": _project(study, about, counted),
        "tasks": images,
        "annotators": profiles(
            study, annotators(study, at, found, pairs), began, course, about.people, trust
        ),
        "pairs": [
            {
                "first": row.first,
                "second": row.second,
                "samples": row.samples,
                **{name: number(getattr(row, name)) for name in ("f1", "low", "high", "iou", "pq")},
            }
            for row in matrix(study, pairs)
        ],
        "labels": [
            {
                "label": row.label,
                "objects": row.objects,
                "boxes": row.boxes,
                **{name: number(getattr(row, name)) for name in ("f1", "iou", "alpha")},
            }
            for row in by_label(study, met)
        ],
        "confusion": _confusion(study, images),
        "anchoring": _anchoring(began),
        "guidelines": _guidelines(study, about, check(study, rules, at.common)),
        "trend": _trend(study, counted, course),
        "sweep": [
            {"tau": tau, **_short(figures)} for tau, figures in zip(TAUS, sweep(study.sheet), strict=True)
        ],
        "sources": _sources(counted, about),
        "label_errors": _label_errors(about),
        "warnings": [*about.warnings, *_cautions(study, about)],
    }


def _cautions(study: Study, about: About) -> list[str]:
    """What a reader should know before they believe the figures."""
    sheet, told = study.sheet, []
    given = np.unique(sheet.annotator[~sheet.skipped & sheet.truth])
    judges = np.setdiff1d(given, sheet.annotator[~sheet.skipped & ~sheet.truth]).tolist()
    for name in (sheet.annotators[k] for k in judges):
        shown = about.people.get(name, name)
        told.append(
            f"{shown} counts as a judge, not as an annotator: all of their answers are ground truth"
        )
    rules = about.rules
    if rules.labels and not set(rules.labels) & set(study.marks.labels):
        told.append(
            f"the rules {rules.name} are for {', '.join(rules.labels)}, which nobody used here: "
            "the general rules were checked instead"
        )
    void = int((~usable(sheet.boxes, turns(sheet.turn))).sum())
    if void:
        told.append(f"{void} boxes have no area, or no place that is a number, and count as not drawn")
    return told


def _short(figures: Figures) -> Document:
    return {
        "consensus_score": number(figures.consensus_score),
        "f1": number(figures.f1),
        "alpha": number(figures.alpha_joint),
    }


def _project(study: Study, about: About, counted: Tallies) -> Document:
    sheet, marks = study.sheet, study.marks
    figures = counted.figures()
    times = sheet.created[np.isfinite(sheet.created)]
    compatible = label_studio_iou(study)
    compared = compatible[np.isfinite(compatible)]
    names = ("consensus_score", "vote_share", "f1", "mean_f1", "iou", "pq")
    skipped = np.setdiff1d(sheet.sample[sheet.skipped], sheet.sample[~sheet.skipped])
    return {
        "title": about.title,
        "id": about.id,
        "first": moment(float(times.min())) if times.size else None,
        "last": moment(float(times.max())) if times.size else None,
        "samples": len(sheet.samples),
        "compared": figures.compared,
        "annotators": len(np.unique(marks.answered[:, 1])),
        "annotations": len(marks.answer),
        "boxes": figures.boxes,
        "objects": figures.objects,
        "skipped": int(sheet.skipped.sum()),
        "agreed_empty": figures.agreed_empty,
        "everybody_skipped": len(skipped),
        **{name: number(getattr(figures, name)) for name in names},
        "alpha": {
            "exist": number(figures.alpha_exist),
            "label": number(figures.alpha_label),
            "joint": number(figures.alpha_joint),
        },
        "label_studio_iou": number(float(compared.mean())) if compared.size else None,
        "intervals": {
            name: [number(low), number(high)] for name, (low, high) in intervals(counted).items()
        },
        "too_few": figures.compared < FEW,
    }


def _confusion(study: Study, rows: Sequence[Document]) -> Document:
    """What is taken for what, and the first of the images, as ``rows`` order them, where that happened."""
    told = confusion(study)
    said: list[str | None] = [*told.labels, "absent"]
    place = {row["sample"]: k for k, row in enumerate(rows)}
    order = np.array([place[sample] for sample in study.marks.samples], dtype=np.intp)
    top = []
    for mixup in top_confusions(study):
        images = np.unique(order[study.votes.sample[mixup.objects]]).tolist()
        known = dict.fromkeys(rows[k]["task"] for k in images if rows[k]["task"])
        top.append(
            {
                "expected": said[mixup.theirs],
                "said": said[mixup.said],
                "count": mixup.count,
                "tasks": list(known)[:EXAMPLES],
            }
        )
    return {**_fewer(said, told.counts), "top": top}


def _fewer(labels: list[str | None], counts: Ints) -> Document:
    """A matrix that people can look at: the most frequent labels, and all others as one."""
    absent = len(labels) - 1
    if absent <= MANY:
        return {"labels": labels, "counts": counts.tolist()}
    often = counts.sum(axis=0) + counts.sum(axis=1)
    kept = np.sort(np.argsort(-often[:absent], kind="stable")[:MANY])
    place = np.full(len(labels), MANY, dtype=np.intp)
    place[kept], place[absent] = np.arange(MANY), MANY + 1
    small = np.zeros((MANY + 2, MANY + 2), dtype=np.intp)
    np.add.at(small, (place[:, None], place), counts)
    rest = f"{absent - MANY} other labels"
    return {"labels": [*(labels[k] for k in kept.tolist()), rest, "absent"], "counts": small.tolist()}


def _anchoring(began: Anchoring) -> Document:
    def company(given: Company) -> Document:
        return {"f1": number(given.f1), "samples": given.images}

    return {
        "scratch": company(began.scratch),
        "model": company(began.shown),
        "mixed": company(began.mixed),
        **{name: number(getattr(began, name)) for name in ("gap", "low", "high")},
    }


def _guidelines(study: Study, about: About, findings: Sequence[Finding]) -> Document:
    sheet = study.sheet
    count = Counter((finding.rule, str(finding.severity)) for finding in findings)
    rows = []
    for finding in findings:
        image = about.images.get(finding.sample) or Image(finding.sample, finding.task)
        rows.append(
            {
                "rule": finding.rule,
                "severity": finding.severity,
                "task": image.task,
                "sample": finding.sample,
                "name": image.name,
                "annotator": finding.annotator,
                "annotation": finding.annotation,
                "message": finding.message,
                "boxes": [place(sheet.boxes[k].tolist(), float(sheet.turn[k])) for k in finding.rows],
                "evidence": [place(box) for box in finding.evidence],
                "url": image.url,
            }
        )
    return {
        "counts": [
            {"rule": rule, "severity": severity, "count": n}
            for (rule, severity), n in sorted(count.items())
        ],
        "annotators": dict(summary(findings).annotators),
        "findings": rows,
    }


def _trend(study: Study, counted: Tallies, course: Trend) -> list[Document]:
    """The project's periods; an image belongs to that of its newest answer."""
    newest: Floats = np.full(len(study.marks.samples), -np.inf)
    answered = study.marks.answered[:, 0]
    np.maximum.at(newest, answered, study.sheet.created[study.marks.answer])
    rows = points([moment(t) for t in course.start.tolist()], course.project)
    period = np.searchsorted(course.start, newest, side="right") - 1
    for row, k in zip(rows, np.flatnonzero(course.project.images > 0).tolist(), strict=True):
        within = (period == k) & (newest <= course.end[k])
        row |= _short(counted.select(within).figures())
    return rows


def _sources(counted: Tallies, about: About) -> list[Document]:
    """Camera images apart from generated ones: agreement on painted weather is its own matter."""
    kinds = np.array(
        [image.source if (image := about.images.get(s)) else "camera" for s in counted.samples]
    )
    rows = []
    for kind in sorted(set(kinds.tolist())):
        chosen: Bools = np.asarray(kinds == kind)
        figures = counted.select(chosen).figures()
        rows.append({"source": kind, "samples": figures.compared, **_short(figures)})
    return rows


def _label_errors(about: About) -> list[Document]:
    seen = about.evidence
    if seen is None:
        return []
    found = suspicions(seen)
    rows: list[Document] = []
    for k in range(min(len(found.score), SUSPECTS)):
        name, given, predicted = seen.samples[found.sample[k]], int(found.given[k]), int(found.seen[k])
        image = about.images.get(name) or Image(name, 0)
        drawn = (
            (seen.given_boxes, seen.given_turn, given)
            if given >= 0
            else (seen.seen_boxes, seen.seen_turn, predicted)
        )
        rows.append(
            {
                "task": image.task,
                "sample": name,
                "name": image.name,
                "kind": ERRORS[found.kind[k]],
                "score": number(float(found.score[k])),
                "label": seen.labels[seen.given_label[given]] if given >= 0 else None,
                "expected": seen.labels[found.label[k]] if found.label[k] >= 0 else None,
                "box": place(drawn[0][drawn[2]].tolist(), float(drawn[1][drawn[2]])),
                "url": image.url,
            }
        )
    return rows
