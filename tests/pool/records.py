"""Builders of plain records, and strategies for any record that the ledger must carry."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pool.columns import Matrix
from pool.schema import (
    Annotation,
    Box,
    Change,
    Consensus,
    Decision,
    Edit,
    Event,
    Failure,
    ModelVersion,
    Prediction,
    Progress,
    Project,
    Region,
    Round,
    Sample,
    Snapshot,
    Task,
    Variant,
)
from pool.store import Pool

LABELS = ("未满溢的垃圾桶", "满溢的垃圾桶", "垃圾")
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def sha(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


def make_sample(word: str, **changes: object) -> Sample:
    name = sha(word)
    plain = Sample(name, 640, 480, f"{word}.jpg", name, int(name[:16], 16), name, holdout=False)
    return replace(plain, **changes)  # type: ignore[arg-type]


def make_project(number: int = 1, **changes: object) -> Project:
    plain = Project(number, "街景", "label", "image", "image", LABELS, {"garbage": "垃圾"}, secret="s3cret")
    return replace(plain, **changes)  # type: ignore[arg-type]


def make_model(version: str, project: int = 1, **changes: object) -> ModelVersion:
    plain = ModelVersion(version, project, f"{version}.pt", sha(version), ("bin", "garbage"), NOW)
    return replace(plain, **changes)  # type: ignore[arg-type]


def make_prediction(
    sample: Sample, version: str, uncertainty: float | None = 0.5, boxes: int = 2
) -> Prediction:
    regions = tuple(
        Region("垃圾", Box(0.1 * i / boxes, 0.1, 0.5, 0.5 + 0.1 * i / boxes), score=0.9 - 0.01 * i)
        for i in range(boxes)
    )
    return Prediction(
        sample.id,
        version,
        regions,
        ("bin", "garbage"),
        0.04,
        uncertainty,
        "entropy",
        np.full((boxes, 2), 0.25, dtype=np.float16),
        np.arange(8, dtype=np.float16),
    )


def make_annotation(number: int, sample: Sample, at: datetime = NOW, **changes: object) -> Annotation:
    regions = (Region("垃圾", Box(0.1, 0.1, 0.4, 0.5), id=f"r{number}", origin="manual"),)
    plain = Annotation(number, 1, number, sample.id, "ann", regions, NOW, at)
    return replace(plain, **changes)  # type: ignore[arg-type]


def settle(pool: Pool, words: str = "abc", projects: tuple[int, ...] = (1,)) -> list[Sample]:
    """Connect projects and bind one task per sample to each of them; ids count from 1."""
    samples = [make_sample(word) for word in words]
    pool.add_samples(samples)
    for number in projects:
        pool.save_project(make_project(number))
        pool.bind_tasks([Task(number, i, s.id, f"/data/{s.name}") for i, s in enumerate(samples, start=1)])
    return samples


# PostgreSQL holds neither NUL nor lone surrogates in text; tests of their own cover those.
words = st.one_of(
    st.sampled_from(LABELS),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)
shares = st.floats(0, 1)
ids = st.integers(1, 2**53)
counts = st.integers(0, 2**31 - 1)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1990, 1, 1), datetime(2190, 1, 1), timezones=zones)
numbers = st.floats(allow_nan=False, allow_infinity=False)
boxes = st.builds(Box, numbers, numbers, numbers, numbers, numbers)
origins = st.sampled_from(["manual", "prediction", "prediction-changed"])
regions = st.builds(
    Region, st.none() | words, boxes, st.none() | shares, st.none() | words, st.none() | origins
)
region_lists = st.lists(regions, max_size=5).map(tuple)
word_lists = st.lists(words, max_size=4).map(tuple)
changes = st.builds(Change, counts, counts, counts, counts, counts)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | numbers | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(st.text(max_size=8), json_values, max_size=4)
metrics = st.dictionaries(words, numbers, max_size=4)
sizes = st.integers(1, 2**31 - 1)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    name = sha(draw(st.text(max_size=9)))
    return Sample(
        id=name,
        width=draw(sizes),
        height=draw(sizes),
        name=draw(words),
        original=draw(st.sampled_from([name, sha("other")])),
        phash=draw(st.integers(0, 2**64 - 1)),
        root=draw(st.sampled_from([name, sha("root")])),
        holdout=draw(st.booleans()),
        suffix=draw(st.sampled_from([".jpg", ".png", ".webp", ".bmp"])),
        source=draw(st.sampled_from(["camera", "generated"])),
        parent=draw(st.none() | st.just(sha("parent"))),
        recipe=draw(st.none() | words),
    )


@st.composite
def predictions(draw: st.DrawFn, sample: str, version: str) -> Prediction:
    found = draw(region_lists)
    classes = draw(word_lists)
    half = st.floats(width=16, allow_nan=False, allow_infinity=False)

    def matrix(shape: tuple[int, ...]) -> Matrix:
        return draw(arrays.arrays(np.float16, shape, elements=half))

    return Prediction(
        sample,
        version,
        found,
        classes,
        draw(shares),
        draw(st.none() | shares),
        draw(st.none() | words),
        matrix((len(found), len(classes))) if draw(st.booleans()) else None,
        matrix((draw(st.integers(1, 6)),)) if draw(st.booleans()) else None,
        matrix((len(found), draw(st.integers(1, 4)))) if draw(st.booleans()) else None,
        matrix((len(found),)) if draw(st.booleans()) else None,
        matrix((len(found),)) if draw(st.booleans()) else None,
    )


def same_matrix(a: Matrix | None, b: Matrix | None) -> bool:
    """Dataclasses leave the matrices out of equality; this compares them bit for bit."""
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


projects = st.builds(
    Project,
    ids,
    words,
    words,
    words,
    words,
    word_lists,
    st.dictionaries(words, words, max_size=3),
    words,
    st.none() | ids,
    st.none() | ids,
    st.none() | moments,
)
states = st.sampled_from(["candidate", "retired", "refused"])
models = st.builds(
    ModelVersion,
    words,
    st.just(1),
    words,
    words,
    word_lists,
    moments,
    states,
    st.none() | words,
    st.none() | words,
    metrics,
    words,
)
tasks = st.builds(
    Task, st.just(1), ids, st.just(sha("a")), words, st.booleans(), st.integers(1, 9), st.none() | words
)
annotations = st.builds(
    Annotation,
    ids,
    st.just(1),
    ids,
    st.just(sha("a")),
    words,
    region_lists,
    moments,
    moments,
    st.none() | st.floats(0, 1e9),
    st.booleans(),
    st.booleans(),
    st.none() | ids,
    st.none() | changes,
)
routes = st.sampled_from(["auto", "human", "double"])
decisions = st.builds(
    Decision, st.just(sha("a")), st.just("r1"), words, routes, shares, words, words, words, shares
)
consensus = st.builds(
    Consensus, st.just(sha("a")), st.none() | shares, region_lists, word_lists, st.integers(0, 99)
)
rounds = st.builds(
    Round, words, st.just(1), counts, words, counts, moments, st.none() | moments, st.none() | words
)
edits = st.builds(
    Edit, st.just(1), ids, words, ids, json_values, json_values, words, words, moments, st.none() | moments
)
variants = st.builds(
    Variant,
    words,
    st.just(1),
    words,
    st.just(sha("a")),
    words,
    words,
    st.integers(0, 2**32 - 1),
    moments,
    region_lists,
    st.sampled_from(["planned", "passed", "rejected", "accepted", "refused", "failed"]),
    st.none() | words,
    st.just(".png"),
    counts,
    bodies,
    words,
)
snapshots = st.builds(Snapshot, words, st.just(1), bodies, moments)
events = st.builds(Event, words, ids, words, bodies)
failures = st.builds(Failure, words, words, words, moments)
reports = st.builds(Progress, words, words, ids, ids, words, moments)
