"""A small house: twelve drawn pictures, half of them holdout, the demo's weights, no Label Studio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from backend import learning
from backend.demo.run import WEIGHTS
from backend.demo.scenes import LABELS
from backend.house import House
from backend.intake import one
from backend.settings import load
from pool.schema import Annotation, Project, Region, Sample, Task
from tests.pool.drawings import encode, scene

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 12


@contextmanager
def small_house(folder: Path, **settings: object) -> Iterator[House]:
    given = {"data_dir": folder, "imgsz": 64, "threads": 1, "device": "cpu", "holdout_share": 0.5}
    opened = House(load(**{**given, **settings}))
    opened.pool.save_project(Project(1, "Bins", "label", "image", "image", LABELS, {}, "secret"))
    samples = [one(opened, encode(scene(seed)), f"{seed}.jpg") for seed in range(COUNT)]
    opened.pool.bind_tasks([Task(1, n, s.id, f"/data/{n}.jpg") for n, s in enumerate(samples, 1)])
    name, sha256 = opened.registry.register(WEIGHTS)
    learning.first_model(opened, opened.pool.project(1), name, sha256, LABELS)
    yield opened
    opened.close()


def sides(house: House) -> tuple[list[Sample], list[Sample]]:
    """Pictures to learn from, and holdout."""
    samples = sorted(house.pool.samples().values(), key=lambda s: s.id)
    return [s for s in samples if not s.holdout], [s for s in samples if s.holdout]


def say(
    house: House,
    sample: Sample,
    annotator: str,
    regions: Sequence[Region] = (),
    *,
    skipped: bool = False,
    lead_time: float | None = None,
) -> None:
    task = next(t.id for t in house.pool.tasks(1) if t.sample == sample.id)
    number = len(house.pool.annotations(1)) + 1
    said = Annotation(
        number,
        1,
        task,
        sample.id,
        annotator,
        tuple(regions),
        NOW,
        NOW,
        skipped=skipped,
        lead_time=lead_time,
    )
    house.pool.save_annotations([said])
