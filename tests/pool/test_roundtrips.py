"""What goes into the ledger comes out of it, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pool.schema import Annotation, Event, ModelVersion, Project, Task
from pool.store import Pool
from pool.tables import metadata
from tests.pool import records
from tests.pool.conftest import BACKENDS
from tests.pool.records import make_model, make_project, make_sample, same_matrix, sha

# One ledger serves all examples of a test: it is emptied before each, which hypothesis cannot see.
examples = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", params=BACKENDS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('roundtrip') / 'ledger.db'}"
    else:
        url = request.getfixturevalue("server").make("roundtrips", template="migrated")
    with Pool.open(url) as pool:
        yield pool


@pytest.fixture
def fresh(shared: Pool) -> Callable[[], Pool]:
    """The shared ledger, emptied, with one project, one sample, one model and one round."""

    def emptied() -> Pool:
        with shared._db.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        shared.save_project(make_project())
        shared.add_samples([make_sample("a")])
        shared.add_model(make_model("v1"))
        return shared

    return emptied


Fresh = Callable[[], Pool]


@given(record=records.projects)
@examples
def test_project(fresh: Fresh, record: Project) -> None:
    pool = fresh()
    pool.save_project(record)
    assert pool.project(record.id) == record
    changed = replace(record, title="new", cursor=records.NOW)
    pool.save_project(changed)
    assert {each.id: each for each in pool.projects()}[record.id] == changed


@given(batch=st.lists(records.samples(), max_size=6, unique_by=lambda each: each.id))
@examples
def test_samples(fresh: Fresh, batch: list[Any]) -> None:
    pool = fresh()
    known = make_sample("a")
    batch = [each for each in batch if each.id != known.id]
    assert pool.add_samples(batch) == [True] * len(batch)
    assert pool.samples() == {each.id: each for each in sorted([known, *batch], key=lambda each: each.id)}
    assert pool.samples([each.id for each in batch]) == {each.id: each for each in batch}
    ids, hashes = pool.phashes()
    assert dict(zip(ids, hashes.tolist(), strict=True)) == {each.id: each.phash for each in [known, *batch]}
    for each in batch:
        found = pool.by_original(each.original)
        assert found is not None
        assert found.original == each.original


@given(batch=st.lists(records.tasks, max_size=6, unique_by=lambda each: each.id))
@examples
def test_tasks(fresh: Fresh, batch: list[Task]) -> None:
    pool = fresh()
    assert pool.bind_tasks(batch) == len(batch)
    assert pool.tasks(1) == sorted(batch, key=lambda each: each.id)


@given(record=records.models.filter(lambda each: each.version != "v1"))
@examples
def test_model(fresh: Fresh, record: ModelVersion) -> None:
    pool = fresh()
    pool.add_model(record)
    assert pool.model(record.version) == record
    assert record in pool.models(1)


@given(record=records.predictions(sha("a"), "v1"))
@examples
def test_prediction(fresh: Fresh, record: Any) -> None:
    pool = fresh()
    pool.save_predictions([record])
    (found,) = pool.predictions("v1")
    assert found == record
    assert found.probs is None
    names = ("embedding", "probs", "localisation", "disagreement", "box_embeddings")
    (block,) = pool.signals("v1", columns=names)
    assert block.samples == (record.sample,)
    assert block.labels == record.classes
    assert block.counts.tolist() == [len(record.regions)]
    np.testing.assert_array_equal(block.background, np.array([record.background], np.float16))
    told = [np.nan if region.score is None else region.score for region in record.regions]
    np.testing.assert_array_equal(block.score, np.array(told, np.float16))
    assert same_matrix(block.probs, record.probs)
    assert same_matrix(None if block.embedding is None else block.embedding[0], record.embedding)
    for name in names[2:] if record.regions else ():
        assert same_matrix(getattr(block, name), getattr(record, name))


@given(batch=st.lists(records.annotations, max_size=5, unique_by=lambda each: each.id))
@examples
def test_annotations(fresh: Fresh, batch: list[Annotation]) -> None:
    pool = fresh()
    assert pool.save_annotations(batch) == len(batch)
    ordered = sorted(batch, key=lambda each: each.id)
    assert pool.annotations(1) == ordered
    assert pool.annotations(1, [sha("a")]) == ordered
    assert pool.annotations(1, [sha("b")]) == []
    assert pool.stamps(1) == {each.id: each.updated_at for each in batch}


@given(opened=records.rounds, decided=records.decisions)
@examples
def test_round_and_decision(fresh: Fresh, opened: Any, decided: Any) -> None:
    pool = fresh()
    pool.open_round(opened)
    assert pool.rounds(1) == [opened]
    decided = replace(decided, round=opened.id)
    pool.save_decisions([decided])
    assert pool.decisions(opened.id) == [decided]


@given(record=records.consensus)
@examples
def test_consensus(fresh: Fresh, record: Any) -> None:
    pool = fresh()
    pool.save_consensus(1, [record])
    assert pool.consensus(1) == {record.sample: record}


@given(record=records.edits)
@examples
def test_edit(fresh: Fresh, record: Any) -> None:
    pool = fresh()
    pool.record_edits([record])
    assert pool.edits(1) == [record]


@given(record=records.variants)
@examples
def test_variant(fresh: Fresh, record: Any) -> None:
    pool = fresh()
    pool.save_variants([record])
    assert pool.variants(1) == [record]


@given(record=records.snapshots)
@examples
def test_snapshot(fresh: Fresh, record: Any) -> None:
    pool = fresh()
    pool.save_snapshot(record)
    assert pool.snapshot(record.id) == record
    # The id is the hash of the manifest's text: the order of its keys must survive.
    assert list(pool.snapshot(record.id).manifest) == list(record.manifest)


@given(batch=st.lists(records.events, max_size=5, unique_by=lambda each: each.key))
@examples
def test_events(fresh: Fresh, batch: list[Event]) -> None:
    pool = fresh()
    assert pool.receive(batch) == len(batch)
    assert pool.inbox(100) == batch
    assert pool.inbox_size() == len(batch)


@given(
    batch=st.lists(records.failures, max_size=5, unique_by=lambda each: (each.stage, each.subject)),
    project=st.none() | records.ids,
)
@examples
def test_failures(fresh: Fresh, batch: list[Any], project: int | None) -> None:
    pool = fresh()
    pool.record_failures(batch, project)
    assert sorted(pool.failures(project), key=repr) == sorted(batch, key=repr)


@given(record=records.reports)
@examples
def test_progress(fresh: Fresh, record: Any) -> None:
    pool = fresh()
    pool.report(record)
    assert pool.progress() == [record]
    pool.forget(record.job)
    assert pool.progress() == []


@given(names=st.dictionaries(records.words, records.words, max_size=5))
@examples
def test_annotators(fresh: Fresh, names: dict[str, str]) -> None:
    pool = fresh()
    pool.save_annotators(names)
    assert pool.annotators() == names


def test_what_no_database_can_hold_is_replaced_not_fatal(pool: Pool, tmp_path: Path) -> None:
    """A file name need not be UTF-8 on Linux; Python then shows it with lone surrogates."""
    name = (tmp_path / "x").joinpath(b"\xce\xb4\xff.jpg".decode("utf-8", "surrogateescape")).name
    pool.add_samples([make_sample("a", name=name + "\0")])
    assert pool.sample(sha("a")).name == "δ\ufffd.jpg\ufffd"
    pool.receive([Event("k", 1, "A", {"text": "\ud800\0 未", "key\0": [1.5, None]})])
    assert pool.inbox(1)[0].body == {"text": "\ud800\0 未", "key\0": [1.5, None]}
