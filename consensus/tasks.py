"""Each image's part of a report: its figures, everybody's boxes, the consensus and the conflicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from consensus.agreement import Pairs, consensus_score, sample_f1, vote_share
from consensus.conflicts import KINDS, LABEL, LOCATION, MISSING, Conflicts
from consensus.fusion import Fused
from consensus.labels import without_winner
from consensus.plain import Document, number, places
from consensus.queue import expected_errors, review_order
from consensus.sheet import Ints
from consensus.slips import Agreed
from consensus.study import Study


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of a sample beside its answers; ``url`` opens its task in Label Studio."""

    name: str
    task: int
    source: str = "camera"
    url: str | None = None


def tasks(
    study: Study,
    pairs: Pairs,
    found: Conflicts,
    fused: Fused,
    common: Agreed,
    images: Mapping[str, Image],
) -> list[Document]:
    """A row for each image: by `queue.review_order`, then those that nobody can compare, by name."""
    sheet, marks, votes = study.sheet, study.marks, study.votes
    figures = {
        "consensus_score": consensus_score(votes),
        "vote_share": vote_share(votes),
        "f1": sample_f1(pairs, len(marks.samples)),
        "expected_errors": expected_errors(study),
    }
    count = len(marks.samples)
    objects = np.bincount(votes.sample, minlength=count)
    disputed = np.bincount(votes.sample, weights=~votes.unanimous, minlength=count).astype(np.intp)
    people: dict[int, list[str]] = defaultdict(list)
    for sample, who in marks.answered.tolist():
        people[sample].append(marks.annotators[who])
    boxes, agreed, quarrels = _boxes(study), _agreed(study, fused), _conflicts(study, found, common)
    task = np.zeros(count, dtype=np.intp)
    task[sheet.sample] = sheet.task
    compared = review_order(study)
    order = np.concatenate([compared, np.setdiff1d(np.arange(count), compared)])  # samples are sorted
    rows: list[Document] = []
    for k in order.tolist():
        name = marks.samples[k]
        image = images.get(name) or Image(name, int(task[k]))
        known = bool(np.isfinite(sheet.sizes[k]).all())
        rows.append(
            {
                "task": image.task,
                "sample": name,
                "name": image.name,
                "source": image.source,
                "annotators": people[k],
                **{figure: number(float(column[k])) for figure, column in figures.items()},
                "objects": int(objects[k]),
                "disputed": int(disputed[k]) if votes.voters[k] >= 2 else None,
                "width": int(sheet.sizes[k, 0]) if known else None,
                "height": int(sheet.sizes[k, 1]) if known else None,
                "url": image.url,
                "boxes": boxes[k],
                "consensus": agreed[k],
                "conflicts": quarrels[k],
            }
        )
    return rows


def summary(study: Study, found: Conflicts) -> dict[str, str]:
    """The conflicts of each image in a few words, such as "2 missing, 1 label"; by sample."""
    count = np.bincount(
        found.sample * len(KINDS) + found.kind, minlength=len(study.marks.samples) * len(KINDS)
    )
    table = count.reshape(-1, len(KINDS))
    return {
        name: ", ".join(f"{n} {kind}" for n, kind in zip(row, KINDS, strict=True) if n)
        for name, row in zip(study.marks.samples, table.tolist(), strict=True)
    }


def _boxes(study: Study) -> dict[int, list[Document]]:
    marks = study.marks
    rows: dict[int, list[Document]] = defaultdict(list)
    columns = (marks.sample.tolist(), marks.annotator.tolist(), marks.label.tolist())
    for sample, who, label, box in zip(*columns, places(marks.boxes, marks.turn), strict=True):
        rows[sample].append({"annotator": marks.annotators[who], "label": marks.labels[label], "box": box})
    return rows


def _agreed(study: Study, fused: Fused) -> dict[int, list[Document]]:
    labels = study.marks.labels
    rows: dict[int, list[Document]] = defaultdict(list)
    columns = (fused.sample, fused.label, fused.votes, fused.voters, fused.confidence)
    spots = places(fused.boxes, fused.turn)
    for (sample, label, votes, voters, sure), box in zip(
        zip(*(column.tolist() for column in columns), strict=True), spots, strict=True
    ):
        rows[sample].append(
            {
                "label": labels[label],
                "box": box,
                "votes": votes,
                "voters": voters,
                "share": number(votes / voters),
                "confidence": number(sure),
            }
        )
    return rows


def _conflicts(study: Study, found: Conflicts, common: Agreed) -> dict[int, list[Document]]:
    marks, votes = study.marks, study.votes
    rows: dict[int, list[Document]] = defaultdict(list)
    lost = found.mark < 0
    boxes = np.where(lost[:, None], common.boxes[found.object], marks.boxes[found.mark])
    turn = np.where(lost, common.turn[found.object], marks.turn[found.mark])
    expected = votes.label[found.object]
    own = (found.kind == LABEL) & (marks.label[found.mark] == expected)
    expected = np.where(own, without_winner(marks, study.objects)[found.object], expected)
    columns: tuple[Ints, ...] = (found.sample, found.annotator, found.kind, expected, found.mark)
    for (sample, who, kind, theirs, mark), box in zip(
        zip(*(column.tolist() for column in columns), strict=True), places(boxes, turn), strict=True
    ):
        tells = kind in (MISSING, LABEL, LOCATION)
        rows[sample].append(
            {
                "kind": KINDS[kind],
                "annotator": marks.annotators[who],
                "label": marks.labels[int(marks.label[mark])] if mark >= 0 else None,
                "expected": marks.labels[theirs] if tells else None,
                "box": box,
            }
        )
    return rows
