"""Which images variants are made from: the ones that the champion gets most wrong, or doubts most.

Never a holdout image or one of its roots: what measures the model must not teach it, not even in the rain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from backend import briefing, snapshot
from backend.evidence import match
from backend.house import House
from backend.studio.convert import shown
from generator.balance import blend
from pool.columns import join
from pool.schema import BadInput, ModelVersion, NotReady, Prediction, Region, Sample
from sampler.strategies import Signals, select

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parent:
    """An image to make variants of; ``regions`` are what people say of it, or else the champion."""

    sample: Sample
    regions: tuple[Region, ...]


def chosen(house: House, model: ModelVersion, words: Sequence[str], seed: int) -> list[Parent]:
    """The parents that somebody wants: ``hardest:20``, ``random:20``, or file names and ids of images.

    The same ``seed`` and the same knowledge give the same images.

    Raises:
        BadInput: no such image, one that is holdout or itself generated, or a number that is none.
        NotReady: there is no image to choose from.
    """
    known = eligible(house, model.project)
    if not known:
        raise NotReady(
            f"Project {model.project} has no camera image outside the holdout: run `thresher add FOLDER`."
        )
    picked: list[str] = []
    for word in words:
        how, _, number = word.partition(":")
        if how in ("hardest", "random") and (number or word == how):
            count = _number(word, number or "20")
            ranked = (
                hardest(house, model, known, count, seed) if how == "hardest" else _any(known, count, seed)
            )
            picked += ranked
        else:
            picked.append(_named(house, model.project, known, word))
    return with_boxes(house, model, [known[s] for s in dict.fromkeys(picked)])


def check(house: House, project: int, words: Sequence[str]) -> None:
    """Refuse names and numbers that `chosen` would refuse, without choosing.

    Raises:
        BadInput: see `chosen`.
    """
    known = eligible(house, project)
    for word in words:
        how, _, number = word.partition(":")
        if how in ("hardest", "random") and (number or word == how):
            _number(word, number or "20")
        else:
            _named(house, project, known, word)


def eligible(house: House, project: int) -> dict[str, Sample]:
    """Camera images of a project that variants may be made from, by id."""
    samples = house.pool.samples([t.sample for t in house.pool.tasks(project)])
    roots = house.pool.samples([s.root for s in samples.values()])
    return {
        name: s
        for name, s in samples.items()
        if s.source == "camera" and not s.holdout and not (s.root in roots and roots[s.root].holdout)
    }


def hardest(
    house: House, model: ModelVersion, known: Mapping[str, Sample], count: int, seed: int
) -> list[str]:
    """The ``count`` hardest images, spread by what they look like.

    Labelled images are as hard as the champion's boxes differ from what people say (1 - F1), others as
    hard as it is unsure; both as ranks, so that neither scale wins. Uncertainty herding spreads them.
    """
    columns = join(house.pool.signals(model.version, known.keys(), ("embedding",)), ())
    names = [s for s in columns.samples if s in known]
    if not names:
        raise NotReady(f"{model.version} has looked at no image yet: run `thresher prelabel` first.")
    errors = image_errors(house, model, names)
    unsure = house.pool.uncertainties(model.project, model.version)
    error = np.array([errors.get(s, np.nan) for s in names])
    doubt = np.array([unsure.get(s, np.nan) for s in names], dtype=np.float64)
    rank = blend(error, doubt, ~np.isnan(error))
    there = np.flatnonzero(np.isfinite(rank))
    place = {s: i for i, s in enumerate(columns.samples)}
    rows = np.array([place[names[i]] for i in there], dtype=np.intp)
    embedding = briefing.whole(columns.embedding)
    signals = Signals(rank[there], embedding=None if embedding is None else embedding[rows])
    picks = select(signals, count, "uncertainty_herding", seed)
    return [names[there[i]] for i in picks]


def image_errors(house: House, model: ModelVersion, samples: Sequence[str]) -> dict[str, float]:
    """1 - F1 of the champion's boxes on each labelled image, in [0, 1], higher = worse; by sample.

    Where both people and the champion see nothing there is no error.
    """
    answers = snapshot.labelled(house.pool, model.project, samples, people=True)
    known = house.pool.samples(list(answers))
    how = snapshot.voting_of(house.pool, model.project, house.settings)
    fused = how.agreed([a for given in answers.values() for a in given], known)
    errors = {}
    for seen in house.pool.predictions(model.version, list(answers)):
        boxes = shown(seen, house.settings.show_floor, holdout=False).regions
        truth = snapshot.upright(snapshot.Row(known[seen.sample], tuple(fused[seen.sample].regions)))
        found, _ = match(boxes, truth)
        total = len(boxes) + len(truth)
        errors[seen.sample] = 1.0 - 2.0 * float((found > 0).sum()) / total if total else 0.0
    return errors


def condition_errors(house: House, model: ModelVersion) -> tuple[dict[str, float], dict[str, int]]:
    """How weak the champion is in each condition, in [0, 1], and how many variants there are of each.

    By what people answered on variants of the condition; where nobody answered yet, by the share of the
    parents' boxes that the detector did not find again when the gates looked.
    """
    made = house.pool.variants(model.project, states=("passed", "accepted"))
    errors = image_errors(house, model, [v.sample for v in made if v.sample])
    told: dict[str, list[float]] = {}
    lost: dict[str, list[float]] = {}
    for each in made:
        if each.sample in errors:
            told.setdefault(each.condition, []).append(errors[each.sample])
        again = next((c["value"] for c in each.gates.get("checks", ()) if c["gate"] == "found"), None)
        if again is not None:
            lost.setdefault(each.condition, []).append(1.0 - float(again))
    known = {name: float(np.mean(values)) for name, values in {**lost, **told}.items()}
    return known, dict(Counter(v.condition for v in made))


def with_boxes(house: House, model: ModelVersion, samples: Sequence[Sample]) -> list[Parent]:
    """What people say of each image, or what the champion sees on it where nobody said anything."""
    names = [s.id for s in samples]
    answers = snapshot.labelled(house.pool, model.project, names, people=True)
    how = snapshot.voting_of(house.pool, model.project, house.settings)
    fused = how.agreed([a for given in answers.values() for a in given], {s.id: s for s in samples})
    seen: dict[str, Prediction] = {p.sample: p for p in house.pool.predictions(model.version, names)}
    out = []
    for sample in samples:
        if sample.id in answers:
            out.append(Parent(sample, tuple(fused[sample.id].regions)))
        elif sample.id in seen:
            met = shown(seen[sample.id], house.settings.show_floor, holdout=False)
            out.append(Parent(sample, met.regions))
        else:
            out.append(Parent(sample, ()))
    return out


def _any(known: Mapping[str, Sample], count: int, seed: int) -> list[str]:
    names = sorted(known)
    order = np.random.default_rng(seed).permutation(len(names))
    return [names[i] for i in order[:count]]


def _number(word: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise BadInput("--parents", "hardest:N or random:N with a whole number N above 0", word)
    return int(text)


def _named(house: House, project: int, known: Mapping[str, Sample], word: str) -> str:
    if word in known:
        return word
    found = [s.id for s in known.values() if s.name == word]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(
            "--parents", "one image", f"{word}, which is the name of {len(found)}", ", ".join(found)
        )
    every = house.pool.samples([t.sample for t in house.pool.tasks(project)]).values()
    other = next((s for s in every if word in (s.id, s.name)), None)
    if other is not None:
        what = (
            "generated itself" if other.source == "generated" else "holdout, which only measures the model"
        )
        raise BadInput("--parents", "a camera image outside the holdout", f"{word} ({what})")
    near = get_close_matches(word, [s.name for s in known.values()], 3, 0.6)
    fix = f"Near names: {', '.join(near)}." if near else ""
    raise BadInput("--parents", "hardest:N, random:N, or the name or id of an image", word, fix)
