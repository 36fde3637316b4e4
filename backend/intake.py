"""What comes in: images from files and from Label Studio's tasks, annotations from people."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.house import House, Job
from pool.images import SUFFIXES, Picture, decode, near_duplicates
from pool.schema import BadInput, Failure, Project, Sample, Task, ThresherError
from pool.split import is_holdout

if TYPE_CHECKING:
    from backend.studio.collect import Found

log = logging.getLogger("thresher.intake")

CHUNK = 32
READERS = 4  # decoding releases the interpreter lock; more threads than this wait for the disk
ARRIVED = "arrived"
"""Kind of state that lists samples of new tasks, a batch each, that a stream has not judged yet."""
NEAR = 4  # differing bits of 64 at which two pictures are called near-duplicates


@dataclass
class Taken:
    """Samples in the order they came, what could not be used, and counts of what happened to the files."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Every image file under the given files and folders, sorted, hidden ones left out.

    Raises:
        BadInput: a path is not there, or none of them holds an image.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            found += sorted(
                p for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)
            )
        elif path.is_file():
            found.append(path)
        else:
            raise BadInput("path", "an image file or a folder of images", str(path))
    if not found:
        kinds = " ".join(sorted(SUFFIXES))
        raise BadInput("path", f"a folder that holds images ({kinds})", ", ".join(map(str, paths)))
    return found


def from_files(house: House, paths: Sequence[Path], job: Job) -> Taken:
    """Read image files into the pool; one that cannot be used is recorded and the rest go on."""
    files = image_files(paths)
    taken = Taken()

    def read(path: Path) -> tuple[str, bytes]:
        return path.name, path.read_bytes()

    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(files), CHUNK):
            job.tell("read", start, len(files))
            part = files[start : start + CHUNK]
            pictures = readers.map(lambda p: _attempt(house, str(p), lambda: read(p)), part)
            _enter(house, [str(p) for p in part], pictures, taken)
    job.tell("read", len(files), len(files))
    return taken


def from_tasks(house: House, project_id: int, job: Job) -> dict[str, Any]:
    """Fetch the images of Label Studio's tasks that the pool does not know yet."""
    project = house.pool.project(project_id)
    failures = [f for f in house.pool.failures(project_id) if f.subject.startswith("task ")]
    broken = {f.subject for f in failures if f.stage == "add"}
    found = new_tasks(house, project)
    house.pool.bind_tasks(found.known)
    # Label Studio may give the number of a deleted task to another one.
    alive = {f"task {t.id}" for t in found.known} | {f"task {t.id}" for t in found.unknown}
    for stage in {f.stage for f in failures}:
        house.pool.clear_failures(stage, [f.subject for f in failures if f.subject not in alive])
    taken = Taken()
    late = False
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(found.unknown), CHUNK):
            job.check()
            job.tell("fetch", start, len(found.unknown))
            part = found.unknown[start : start + CHUNK]
            pictures = readers.map(
                lambda t: _attempt(house, f"task {t.id}", lambda: _fetch(house, t.id, t.uri)), part
            )
            samples = _enter(house, [f"task {t.id}" for t in part], pictures, taken, project_id)
            pairs = [(t, s) for t, s in zip(part, samples, strict=True) if s is not None]
            # Before the tasks are known: what is known is never taken for new again.
            remember(house, project_id, [s.id for _, s in pairs])
            house.pool.bind_tasks([Task(project_id, t.id, s.id, t.uri) for t, s in pairs])
            late = late or any(f"task {t.id}" in broken for t, _ in pairs)
    if late:
        # Comparisons went past these while their image could not be had: the next one reads everything.
        house.pool.save_project(replace(house.pool.project(project_id), cursor=None))
    job.tell("fetch", len(found.unknown), len(found.unknown))
    return {"tasks": len(found.known) + len(taken.samples), **taken.counts}


def remember(house: House, project: int, samples: Sequence[str]) -> None:
    """Samples that came as tasks wait for the judgement of the project's stream, where it has one."""
    if house.settings.stream_budget is not None and samples:
        key = f"{project}/{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{samples[0][:16]}"
        house.pool.change_state(ARRIVED, key, lambda _: {"samples": list(samples)})


def one(house: House, data: bytes, name: str) -> Sample:
    """A single image into the pool.

    Raises:
        BadImage: it cannot be used.
    """
    s = house.settings
    picture = decode(data, max_bytes=s.max_image_bytes, max_pixels=s.max_image_pixels)
    _enter(house, [name], iter([(name, picture)]), Taken())
    return house.pool.sample(picture.id)


def new_tasks(house: House, project: Project) -> Found:
    """Tasks that the ledger does not know, or whose image is another one now."""
    from backend.studio.collect import find_tasks

    return find_tasks(house.studio, house.pool, project)


def answers(house: House, project_id: int, job: Job, *, full: bool) -> dict[str, Any]:
    """Bring home what Label Studio holds and the ledger does not.

    Waiting webhooks are the worker's business: they may call for jobs, which only it can queue.
    """
    from backend.studio.collect import reconcile

    job.tell("collect", 0, 0, "comparing with Label Studio")
    report = reconcile(house.studio, house.pool, house.pool.project(project_id), full=full)
    job.tell("collect", 1, 1)
    return dict(report)


def _fetch(house: House, task: int, uri: str) -> tuple[str, bytes]:
    data, name = house.fetcher.fetch(task, uri)
    return name, data


def _attempt(
    house: House, subject: str, read: Callable[[], tuple[str, bytes]]
) -> tuple[str, Picture] | Failure:
    try:
        name, data = read()
        s = house.settings
        return name, decode(data, max_bytes=s.max_image_bytes, max_pixels=s.max_image_pixels)
    except (ThresherError, OSError) as error:
        return Failure(subject, "add", str(error), datetime.now(UTC))


def _enter(
    house: House,
    subjects: Sequence[str],
    pictures: Iterator[tuple[str, Picture] | Failure],
    taken: Taken,
    project: int | None = None,
) -> list[Sample | None]:
    """Pictures become samples; the answer has one entry per subject, None where it failed."""
    out: list[Sample | None] = []
    failures: list[Failure] = []
    kin = Kin(house)
    for result in pictures:
        if isinstance(result, Failure):
            failures.append(result)
            out.append(None)
            continue
        name, picture = result
        house.images.put(picture)
        root, holdout = kin.side(picture)
        taken.counts["near_duplicates"] += root != picture.id
        out.append(_sample(picture, name, root, holdout))
    fresh = [sample for sample in out if sample is not None]
    new = house.pool.add_samples(fresh)
    taken.counts["new"] += sum(new)
    taken.counts["duplicates"] += len(new) - sum(new)
    taken.counts["failed"] += len(failures)
    taken.samples += fresh
    taken.failures += failures
    # A file that was gone is there again, and wants a look.
    house.pool.clear_failures("predict", [sample.id for sample in fresh])
    house.pool.clear_failures("add", [s for s, made in zip(subjects, out, strict=True) if made is not None])
    house.pool.record_failures(failures, project)
    return out


def keep(house: House, picture: Picture, name: str) -> Sample:
    """An image that a stream picked enters the pool; it is holdout only where a look-alike is.

    What a strategy picked would bend the yardstick towards what the model finds hard.
    """
    house.images.put(picture)
    root, holdout = Kin(house).side(picture)
    sample = _sample(picture, name, root, holdout and root != picture.id)
    house.pool.add_samples([sample])
    return sample


def _sample(picture: Picture, name: str, root: str, holdout: bool) -> Sample:
    return Sample(
        id=picture.id,
        width=picture.width,
        height=picture.height,
        name=name,
        original=picture.original,
        phash=picture.phash,
        root=root,
        holdout=holdout,
        suffix=picture.suffix,
    )


class Kin:
    """Who is a near-duplicate of whom: the same scene must not stand on both sides of the split."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._ids, self._hashes = house.pool.phashes()
        self._sides: dict[str, tuple[str, bool]] = {}  # of pictures that are not in the ledger yet

    def side(self, picture: Picture) -> tuple[str, bool]:
        """The root of the first known picture that looks the same, or the picture itself; is it holdout?

        The side of the split goes with the root: the share that is held out may have changed since.
        """
        near = np.flatnonzero(near_duplicates(picture.phash, self._hashes, NEAR))
        same = [self._ids[i] for i in near]
        if picture.id in same:  # known already: it keeps what it has
            return self._known(picture.id)
        if same:
            side = self._known(same[0])
        else:
            side = picture.id, is_holdout(picture.id, self._house.settings.holdout_share)
        self._ids.append(picture.id)
        self._hashes = np.append(self._hashes, np.uint64(picture.phash))
        self._sides[picture.id] = side
        return side

    def _known(self, sample: str) -> tuple[str, bool]:
        found = self._house.pool.samples([sample]).get(sample)
        return (found.root, found.holdout) if found else self._sides[sample]
