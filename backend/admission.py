"""What becomes of a painted picture: stored, looked at, held against the gates, and taken in if it passes.

Rejected pictures are kept with the reason, for people to look at and to overrule. Whatever passes enters
the pool like any other image, on the side of the split where its root is, and its parent's boxes are
only proposed: they become labels when a person says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend import learning, variants
from backend.house import House, Job
from backend.intake import NEAR
from generator import png
from generator.gates import Case, Seen, judge
from generator.limits import Limits
from generator.pixels import Boxes, Pixels
from generator.verdict import as_json
from pool.boxes import clip, to_array, upright
from pool.columns import join
from pool.images import Picture, decode
from pool.phash import distances, near_duplicates
from pool.schema import (
    IN_POOL,
    BadInput,
    Failure,
    ModelVersion,
    Prediction,
    Region,
    Sample,
    Variant,
    VariantState,
)

log = logging.getLogger("thresher.admission")


HOLDOUT = "It looks like a holdout image, which must not teach."


@dataclass(frozen=True, slots=True)
class Painted:
    """A planned variant with its parent, both pictures, or the ``error`` that left it without one."""

    variant: Variant
    parent: Sample
    source: Pixels | None
    picture: Pixels | None
    error: str = ""


def limits(text: str) -> Limits:
    """Thresholds of the gates: the defaults, changed by words such as ``strange=1, found=0.6``.

    Raises:
        BadInput: no such threshold, or no number.
    """
    known = {f.name: f.type for f in fields(Limits)}
    given: dict[str, Any] = {}
    for part in (p.strip() for p in text.split(",") if p.strip()):
        name, equals, value = (each.strip() for each in part.partition("="))
        if not equals or name not in known:
            raise BadInput("THRESHER_GATES", f"name=number, the names being {', '.join(known)}", part)
        try:
            given[name] = int(value) if known[name] == "int" else float(value)
        except ValueError:
            raise BadInput("THRESHER_GATES", f"a number for {name}", value) from None
    return Limits(**given)


class Judge:
    """Holds a job's pictures against the gates; for one thread."""

    def __init__(self, house: House, model: ModelVersion) -> None:
        self._house, self._model = house, model
        self.vocabulary = variants.vocabulary(house)
        self._limits = limits(house.settings.gates)
        names, self._hashes = house.pool.phashes()
        known = house.pool.samples()
        self._roots = np.array([known[name].root for name in names], dtype=np.str_)
        self._holdout = self._hashes[[known[name].holdout for name in names]]

    def finish(self, painted: Sequence[Painted]) -> list[Variant]:
        """Store, look at and judge pictures; the variants as the ledger now has them."""
        house = self._house
        done = [replace(p.variant, state="failed", reason=p.error) for p in painted if p.picture is None]
        made = [p for p in painted if p.picture is not None]
        files = [_stored(house, p) for p in made]
        seen = self._looked_at(files)
        before = self._parents([p.parent.id for p in made])
        fresh: list[tuple[Sample, Prediction]] = []
        for each, file in zip(made, files, strict=True):
            found = seen[file.id]
            known = replace(each.variant, sample=file.id, suffix=file.suffix, bytes=len(file.data))
            if isinstance(found, Failure):
                done.append(replace(known, state="failed", reason=found.message))
                continue
            try:
                verdict = judge(
                    self._case(each, file, found, before), self._effects(each.variant), self._limits
                )
            except Exception as error:  # whatever it is, it is about this picture
                log.exception("%s: a gate failed", each.parent.name)
                done.append(replace(known, state="failed", reason=f"A gate failed: {error}"))
                continue
            state: VariantState = "passed" if verdict.passed else "rejected"
            reason = verdict.reason
            if verdict.passed and near_holdout(file.phash, self._holdout):
                state, reason = "rejected", HOLDOUT
            done.append(replace(known, state=state, gates=as_json(verdict), reason=reason))
            if state == "passed":
                fresh.append((sample_of(each.parent, done[-1], file), found))
                self._hashes = np.append(self._hashes, np.uint64(file.phash))
                self._roots = np.append(self._roots, each.parent.root)
        house.pool.add_samples([s for s, _ in fresh])
        house.pool.save_predictions(learning.measured(house, self._model, [p for _, p in fresh]))
        house.pool.save_variants(done)
        return done

    def _looked_at(self, files: Sequence[Picture]) -> dict[str, Prediction | Failure]:
        if not files:
            return {}
        named = {f.id: self._house.images.local(f"{f.id}{f.suffix}") for f in files}
        results = self._house.detector(self._model).predict(list(named.items()))
        return dict(zip(named, results, strict=True))

    def _parents(self, names: Sequence[str]) -> dict[str, tuple[Prediction, Any]]:
        """What the champion sees on the parents, and their embeddings, by sample."""
        pool, version = self._house.pool, self._model.version
        columns = join(pool.signals(version, names, ("embedding",)), ())
        rows = columns.embedding
        vectors = {} if rows is None else dict(zip(columns.samples, rows, strict=True))
        return {p.sample: (p, vectors.get(p.sample)) for p in pool.predictions(version, names)}

    def _case(
        self,
        each: Painted,
        file: Picture,
        found: Prediction,
        before: Mapping[str, tuple[Prediction, Any]],
    ) -> Case:
        parent, vector = before.get(each.parent.id, (None, None))
        others = self._hashes[self._roots != each.parent.root]
        assert each.source is not None
        assert each.picture is not None
        trusted = each.variant.regions
        return Case(
            parent=each.source,
            variant=each.picture,
            boxes=hulls(each.variant, each.parent),
            labels=tuple(r.label for r in trusted),
            before=_seen(() if parent is None else parent.regions),
            after=_seen(found.regions),
            parent_embedding=_floats(vector),
            variant_embedding=_floats(found.embedding),
            nearest=int(distances(file.phash, others).min()) if len(others) else 64,
        )

    def _effects(self, variant: Variant) -> Any:
        shown_as = variants.condition(self.vocabulary, variant.condition)
        return () if shown_as is None else shown_as.effects


def sample_of(parent: Sample, variant: Variant, picture: Picture) -> Sample:
    """A variant as a sample of the pool, on its root's side of the split."""
    return Sample(
        id=picture.id,
        width=picture.width,
        height=picture.height,
        name=variants.name_of(parent, variant),
        original=picture.original,
        phash=picture.phash,
        root=parent.root,
        holdout=False,
        suffix=picture.suffix,
        source="generated",
        parent=parent.id,
        recipe=variant.recipe,
    )


def near_holdout(phash: int, holdout: NDArray[np.uint64]) -> bool:
    """Whether a picture looks like one of these holdout images: then it must not teach."""
    return bool(near_duplicates(phash, holdout, NEAR).any())


def hulls(variant: Variant, parent: Sample) -> Boxes:
    """The upright boxes around what a variant proposes, (n, 4) normalised."""
    return clip(to_array(upright(r.box, parent.width, parent.height) for r in variant.regions))


def accept(house: House, wanted: Sequence[Variant]) -> int:
    """Take in variants that the gates or a person turned away; how many. Their tasks are made after that.

    Raises:
        BadInput: one is not rejected, its parent or root is holdout, or it looks like a holdout image.
    """
    for each in wanted:
        if each.state not in ("rejected", "refused"):
            raise BadInput("VARIANT", "a rejected one", f"{each.id[:12]} ({each.state})")
    parents = house.pool.samples([v.parent for v in wanted])
    every = house.pool.samples()
    held = {s.id for s in every.values() if s.holdout}
    hashes = np.array([every[name].phash for name in sorted(held)], dtype=np.uint64)
    taken = []
    for each in wanted:
        parent = parents[each.parent]
        picture = decode(house.images.read(f"{each.sample}{each.suffix}"))
        if {parent.id, parent.root} & held or near_holdout(picture.phash, hashes):
            raise BadInput("VARIANT", "one that has nothing of a holdout image", each.id[:12], HOLDOUT)
        house.pool.add_samples([sample_of(parent, each, picture)])
        taken.append(replace(each, state="accepted", reason=f"A person accepted it. {each.reason}"))
    house.pool.save_variants(taken)
    return len(taken)


def refuse(house: House, project: int, wanted: Sequence[Variant]) -> int:
    """Take variants out of the queue again, with their tasks in Label Studio; how many.

    Raises:
        BadInput: one is not in the pool, or people have answered on it.
    """
    for each in wanted:
        if each.state not in IN_POOL:
            raise BadInput("VARIANT", "one that passed", f"{each.id[:12]} ({each.state})")
    samples = [v.sample for v in wanted if v.sample is not None]
    tasks = house.pool.tasks_of(project, samples)
    if tasks:
        from backend.intake import answers

        # Label Studio deletes a task with its answers: what was given a moment ago must be seen first.
        answers(house, project, Job("refuse"), full=False)
    answered = {a.sample for a in house.pool.annotations(project, samples)}
    for each in wanted:
        if each.sample in answered:
            raise BadInput(
                "VARIANT",
                "one that nobody answered",
                each.id[:12],
                "Delete its annotations first, in Label Studio.",
            )
    numbers = [t.id for t in tasks]
    if numbers:
        house.studio.delete_tasks(project, numbers)
        house.pool.drop_tasks(project, numbers)
    house.pool.save_variants([replace(v, state="refused", reason="A person refused it.") for v in wanted])
    return len(wanted)


def found(house: House, project: int, words: Sequence[str]) -> list[Variant]:
    """The variants that these beginnings of ids name.

    Raises:
        UnknownRecord: none, or several, begin like that.
        BadInput: it belongs to another project.
    """
    out = []
    for word in words:
        each = house.pool.variant(word)
        if each.project != project:
            raise BadInput("VARIANT", f"one of project {project}", f"{word} of project {each.project}")
        out.append(each)
    return list({v.id: v for v in out}.values())


def _stored(house: House, painted: Painted) -> Picture:
    assert painted.picture is not None
    picture = decode(png.write(painted.picture, painted.variant.recipe))
    house.images.put(picture)
    return picture


def _seen(regions: Sequence[Region]) -> Seen:
    return Seen(
        to_array(r.box for r in regions),
        tuple(r.label for r in regions),
        np.array([r.score or 0.0 for r in regions], dtype=np.float64),
    )


def _floats(vector: Any) -> Any:
    return None if vector is None or not np.isfinite(vector).all() else np.asarray(vector, dtype=np.float64)
