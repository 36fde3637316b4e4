"""A project's answers as the consensus room reads them, and its report."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from backend import evidence, snapshot
from backend.house import House
from backend.settings import Settings
from backend.voting import Voting, sizes, study, voting
from consensus import page, report, rules
from consensus.evidence import Evidence
from consensus.evidence import evidence as compared
from consensus.plain import Document
from consensus.report import About
from consensus.rules import Rules
from consensus.study import Study
from consensus.tasks import Image
from pool.images import decode
from pool.schema import Annotation, BadImage, BadInput, Prediction, Sample

THUMB = 640
"""Longer side of the pictures in a report, in pixels."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What people answered in a project, skipped answers among them, and the images."""

    project: int
    annotations: list[Annotation]
    samples: Mapping[str, Sample]
    study: Study


def answers(house: House, project: int) -> Answers:
    """Everything that people answered; what no person wrote is left out."""
    machine = {str(name) for name in (house.pool.state(*snapshot.MACHINE) or {}).values()}
    given = [a for a in snapshot.answers(house.pool, project) if a.annotator not in machine]
    samples = house.pool.samples(sorted({a.sample for a in given}))
    return Answers(project, given, samples, study(house.settings, given, samples))


def guidelines(settings: Settings) -> Rules:
    """The rules that answers are checked against.

    Raises:
        BadInput: the file cannot be read, or something in it is not known.
    """
    if settings.rules is None:
        return rules.DEFAULT
    return rules_of(settings.rules)


def rules_of(path: Path) -> Rules:
    """The rules of a YAML file.

    Raises:
        BadInput: the file cannot be read, or something in it is not known.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("rules", "a YAML file in UTF-8 that can be read", str(path), str(error)) from None
    return rules.load(text, path.name)


def document(house: House, project: int) -> Document:
    """The consensus report of a project, as it is in the ledger."""
    found, target, s = answers(house, project), house.pool.project(project), house.settings
    how = voting(s, by_sample(found).values(), found.samples)
    return report.document(
        found.study,
        About(
            source=f"project {project} · {target.title}",
            title=target.title,
            made_at=datetime.now(UTC),
            id=project,
            images=images(house, project, found.samples),
            people=_people(house, found),
            rules=guidelines(s),
            quorum=s.quorum,
            least=s.least_votes,
            trust=how.trust,
            evidence=_evidence(house, found, how),
        ),
    )


def _people(house: House, found: Answers) -> dict[str, str]:
    """What each annotator is called; who reviewed is told apart from the same person annotating."""
    known, shown = house.pool.annotators(), {}
    for name in found.study.sheet.annotators:
        person = name.removesuffix(snapshot.REVIEWER)
        shown[name] = known.get(person, person) + name[len(person) :]
    return shown


def by_sample(found: Answers) -> dict[str, list[Annotation]]:
    """The answers of each image that are no skips."""
    given: dict[str, list[Annotation]] = defaultdict(list)
    for annotation in found.annotations:
        if not annotation.skipped:
            given[annotation.sample].append(annotation)
    return dict(given)


def images(house: House, project: int, samples: Mapping[str, Sample]) -> dict[str, Image]:
    """What a report says of each image, with the address that opens its task."""
    studio = house.settings.studio_public_url or house.settings.studio_url
    tasks = {t.sample: t.id for t in house.pool.tasks(project)}
    return {
        s.id: Image(
            name=s.name,
            task=tasks.get(s.id, 0),
            source=s.source,
            url=f"{studio}/projects/{project}/data?task={tasks[s.id]}" if s.id in tasks else None,
        )
        for s in samples.values()
    }


def _evidence(house: House, found: Answers, how: Voting) -> Evidence | None:
    """People's labels beside what a model says that learned neither the image nor a look-alike."""
    labels = how.agreed(found.annotations, found.samples)
    given = {name: labels[name].regions for name in by_sample(found)}
    predictions = list(_unseen(house, found, set(given)))
    return compared(given, predictions, sizes(found.samples)) if predictions else None


def _unseen(house: House, found: Answers, wanted: set[str]) -> Iterator[Prediction]:
    """The newest out-of-sample prediction of each image that has one."""
    for model in reversed(house.pool.models(found.project)):
        taught = house.pool.samples(sorted(evidence.learned_by(house, model)))
        roots = {s.root for s in taught.values()}
        free = sorted(name for name in wanted if found.samples[name].root not in roots)
        for prediction in _with_probs(house, model.version, free):
            wanted.discard(prediction.sample)
            yield prediction


def _with_probs(house: House, version: str, names: Sequence[str]) -> Iterator[Prediction]:
    """Predictions with the probabilities of their boxes, which the ledger keeps apart."""
    if not names:
        return
    where = {
        name: (block, k)
        for block in house.pool.signals(version, names, ("probs",))
        for k, name in enumerate(block.samples)
    }
    for prediction in house.pool.predictions(version, names):
        block, k = where.get(prediction.sample, (None, 0))
        probs = None
        if block is not None and block.probs is not None and block.labels == prediction.classes:
            probs = block.probs[block.starts[k] : block.starts[k + 1]]
        whole = probs is not None and len(probs) == len(prediction.regions) and np.isfinite(probs).all()
        yield replace(prediction, probs=probs if whole else None)


def pictures(house: House, document: Document, most: int) -> dict[str, bytes]:
    """Small pictures of the images that a page of the document shows; those that are gone are left out."""
    found: dict[str, bytes] = {}
    for sample in house.pool.samples(page.pictured(document, most)).values():
        with suppress(BadImage, OSError):
            found[sample.id] = thumbnail(house.images.local(sample).read_bytes())
    return found


def thumbnail(data: bytes) -> bytes:
    """A picture as a small JPEG, upright.

    Raises:
        BadImage: it is no picture, or one that is far too large.
    """
    from PIL import Image as Pictures

    upright = decode(data).data
    with Pictures.open(io.BytesIO(upright)) as picture:
        picture.draft("RGB", (THUMB, THUMB))
        small = picture.convert("RGB")
    small.thumbnail((THUMB, THUMB))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80)
    return out.getvalue()
