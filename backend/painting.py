"""The generating job: planned variants are painted, judged, and enter the pool if they pass.

Batch by batch, so that a killed job goes on with what is still planned. While one batch is painted, the one
before it is encoded, stored and judged by another thread.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from backend import admission, variants
from backend.house import House, Job
from generator import infotext
from generator.pixels import Pixels
from generator.recipe import Recipe, key
from generator.renderer import render
from generator.weather import Vocabulary
from pool.schema import BadImage, MissingWeights, ModelVersion, NotReady, Sample, ThresherError, Variant

log = logging.getLogger("thresher.painting")

CHUNK = 8
"""Pictures painted between two writes, if no larger batch is set; a kill costs two of these at most."""
SPARE = 1_000_000_000
"""Bytes that a local disk keeps free."""


def paint(house: House, model: ModelVersion, job: Job) -> dict[str, Any]:
    """Make every variant of the project that is planned and not made yet, also what a dead job left.

    Raises:
        NotReady: the disk budget is spent, or the disk nearly full; what is made stays.
        MissingWeights: a model was taken away since the job was planned.
    """
    todo = house.pool.variants(model.project, states=["planned"])
    done = sum(v.state != "planned" for v in house.pool.variants(model.project, job=job.id))
    total, states = len(todo) + done, Counter[str]()
    judge = admission.Judge(house, model)
    began, here = time.monotonic(), 0
    try:
        with ThreadPoolExecutor(1, "judge") as finisher:
            last: Future[list[Variant]] | None = None
            for recipe, part in chunks(todo, max(CHUNK, house.settings.diffusion_batch)):
                job.check()
                check_room(house)
                painted = _painted(house, judge.vocabulary, recipe, part)
                if last is not None:
                    states.update(v.state for v in last.result())
                last = finisher.submit(judge.finish, painted)
                here += len(part)
                pace = _pace(here, len(todo), time.monotonic() - began, states)
                job.tell("paint", done + here, total, pace)
            if last is not None:
                states.update(v.state for v in last.result())
    finally:
        if "painter" in house.__dict__:
            house.painter.close()  # training and detection want the memory
    job.tell("paint", total, total)
    return {"painted": here, **{name: states[name] for name in ("passed", "rejected", "failed")}}


def chunks(todo: Sequence[Variant], most: int = CHUNK) -> Iterator[tuple[Recipe, list[Variant]]]:
    """Variants of one recipe and size together, at most ``most`` of them; seeds are the variants' own."""
    groups: dict[tuple[str, str], list[Variant]] = {}
    recipes: dict[str, Recipe] = {}
    for each in todo:
        recipe = infotext.parse(each.recipe)
        name = key(recipe)
        recipes.setdefault(name, recipe)
        groups.setdefault((each.condition, name), []).append(each)
    for (_, name), members in groups.items():
        for start in range(0, len(members), most):
            yield recipes[name], members[start : start + most]


def check_room(house: House) -> None:
    """Refuse to go on where variants take more of the disk than they may.

    Raises:
        NotReady: saying how much they take, and what to do.
    """
    limit, used = house.settings.variants_gb * 1e9, house.pool.variant_bytes()
    if used >= limit:
        raise NotReady(
            f"Variants take {used / 1e9:.2f} GB, and {limit / 1e9:g} GB are allowed: raise "
            "THRESHER_VARIANTS_GB, then ask for the same again: what is made is not made twice."
        )
    folder = house.settings.data_dir
    if house.settings.images_url is None and shutil.disk_usage(folder).free < SPARE:
        raise NotReady(
            f"Less than {SPARE / 1e9:g} GB are free on the disk of {folder.resolve()}: make room, then ask "
            "for the same again."
        )


def _painted(
    house: House, known: Vocabulary, recipe: Recipe, part: Sequence[Variant]
) -> list[admission.Painted]:
    """The pictures of one recipe; a failure that is a picture's own costs only itself."""
    samples = house.pool.samples([v.parent for v in part])
    out: list[admission.Painted] = []
    ready: list[tuple[Variant, Sample, Pixels]] = []
    for each in part:
        parent = samples[each.parent]
        try:
            ready.append((each, parent, read(house, parent)))
        except BadImage as error:
            out.append(admission.Painted(each, parent, None, None, str(error)))
    if not ready:
        return out
    try:
        pictures: list[Pixels | str] = list(_pictures(house, known, recipe, ready))
    except MissingWeights:
        raise
    except ThresherError:
        # One of them may have done it: alone, it costs only itself.
        pictures = [_alone(house, known, recipe, one) for one in ready]
    for (each, parent, source), picture in zip(ready, pictures, strict=True):
        if isinstance(picture, str):
            log.warning("%s: %s", parent.name, picture)
            out.append(admission.Painted(each, parent, source, None, picture))
        else:
            out.append(admission.Painted(each, parent, source, picture))
    return out


def _alone(
    house: House, known: Vocabulary, recipe: Recipe, one: tuple[Variant, Sample, Pixels]
) -> Pixels | str:
    """One picture, or why there is none."""
    try:
        return _pictures(house, known, recipe, [one])[0]
    except MissingWeights:
        raise
    except ThresherError as error:
        return str(error)


def _pictures(
    house: House, known: Vocabulary, recipe: Recipe, ready: Sequence[tuple[Variant, Sample, Pixels]]
) -> list[Pixels]:
    if recipe.mode == "render":
        condition = variants.condition(known, recipe.prompt)
        if condition is None:
            raise NotReady(
                f"The vocabulary has no condition {recipe.prompt!r} any more (THRESHER_WEATHER)."
            )
        return [render(picture, condition, each.seed) for each, _, picture in ready]
    from generator.diffusion.source import Source

    sources = [Source(p, v.seed, admission.hulls(v, s)) for v, s, p in ready]
    return house.painter.paint(recipe, sources)


def read(house: House, sample: Sample) -> Pixels:
    """A sample's picture as RGB bytes.

    Raises:
        BadImage: its file is gone or damaged.
    """
    try:
        with Image.open(house.images.local(sample)) as image:
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage(f"The image of {sample.name} cannot be read: {error}.") from error


def _pace(done: int, total: int, seconds: float, states: Counter[str]) -> str:
    rate = done / max(seconds, 1e-9)
    left = (total - done) / rate if rate else 0.0
    refused = f", {states['rejected']} rejected" if states["rejected"] else ""
    return f"{rate:.2f} images/s, {_clock(left)} left{refused}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min"
        if hours
        else f"{minutes} min {rest:02d} s"
        if minutes
        else f"{rest} s"
    )
