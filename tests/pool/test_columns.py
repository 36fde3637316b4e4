"""Signals by columns: what was saved comes back, in any grouping, the latest of each image."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.columns import Columns, empty, join, of_predictions
from pool.schema import BadInput, Box, Decision, Prediction, Region, Round, Task
from pool.store import Pool
from tests.pool import records
from tests.pool.records import NOW, make_annotation, make_model, make_project, make_sample, sha

ALL = ("embedding", "probs", "localisation", "disagreement", "box_embeddings")


def seen(name: str, scores: list[float], *, labels: str = "ab", dims: int = 3, salt: int = 0) -> Prediction:
    draw = np.random.default_rng([len(name), ord(name[0]), salt])
    boxes = len(scores)
    return Prediction(
        sample=sha(name),
        model_version="v1",
        regions=tuple(
            Region(labels[i % len(labels)], Box(0.0, 0.0, 0.5, 0.5), score=s) for i, s in enumerate(scores)
        ),
        classes=tuple(labels),
        background=0.25,
        probs=draw.random((boxes, len(labels))).astype(np.float16),
        embedding=draw.random(dims).astype(np.float16) if dims else None,
        box_embeddings=draw.random((boxes, 2)).astype(np.float16),
        localisation=draw.random(boxes).astype(np.float16),
    )


def joined(pool: Pool, labels: str = "ab", wanted: list[str] | None = None) -> Columns:
    return join(pool.signals("v1", wanted, ALL), tuple(labels))


@pytest.fixture
def settled(pool: Pool) -> Pool:
    pool.save_project(make_project())
    pool.add_samples([make_sample(name) for name in "abcdef"])
    pool.add_model(make_model("v1"))
    return pool


def test_the_latest_of_each_image_is_read_once(settled: Pool) -> None:
    settled.save_predictions([seen("a", [0.9, 0.5]), seen("b", []), seen("c", [0.25])])
    settled.save_predictions([seen("b", [0.75], salt=1)])
    settled.save_predictions([seen("d", [0.125, 0.5, 0.25])])
    found = joined(settled)
    assert sorted(found.samples) == sorted(map(sha, "abcd"))
    at = {sample: i for i, sample in enumerate(found.samples)}
    for name, scores in {"a": [0.9, 0.5], "b": [0.75], "c": [0.25], "d": [0.125, 0.5, 0.25]}.items():
        one = found.of(np.array([at[sha(name)]]))
        np.testing.assert_array_equal(one.score, np.array(scores, np.float16))
        assert one.kind.tolist() == [i % 2 for i in range(len(scores))]
        expected = seen(name, scores, salt=1 if name == "b" else 0)
        for column in ALL:
            told = getattr(expected, column)
            given = getattr(one, column)
            if told is None:
                assert given is None
            else:
                np.testing.assert_array_equal(given, told[None] if column == "embedding" else told)


def test_saving_the_same_again_keeps_one_block(settled: Pool) -> None:
    for _ in range(3):
        settled.save_predictions([seen("a", [0.9]), seen("b", [])])
    assert len(list(settled.signals("v1"))) == 1


def test_only_what_is_wanted_is_read(settled: Pool) -> None:
    settled.save_predictions([seen(name, [0.5]) for name in "abcd"])
    found = joined(settled, wanted=[sha("d"), sha("b"), sha("never seen")])
    assert set(found.samples) == {sha("b"), sha("d")}
    (bare,) = settled.signals("v1", [sha("a")])
    assert bare.embedding is bare.probs is None
    assert list(settled.signals("v1", [])) == []
    assert list(settled.signals("another")) == []


def test_images_that_know_different_things_stand_together(settled: Pool) -> None:
    settled.save_predictions(
        [seen("a", [0.5], labels="ab"), seen("b", [0.5, 0.25], labels="bc"), seen("c", [0.5], dims=0)]
    )
    found = joined(settled, "cb")
    at = {sample: i for i, sample in enumerate(found.samples)}
    assert found.of(np.array([at[sha("a")]])).kind.tolist() == [-1]
    assert found.of(np.array([at[sha("b")]])).kind.tolist() == [1, 0]
    known = seen("b", [0.5, 0.25], labels="bc").probs
    assert known is not None
    np.testing.assert_array_equal(found.of(np.array([at[sha("b")]])).probs, known[:, ::-1])
    assert found.embedding is not None
    assert np.isnan(found.embedding[at[sha("c")]]).all()
    assert np.isfinite(found.embedding[at[sha("a")]]).all()


@given(batch=st.lists(records.predictions(sha("a"), "v1"), max_size=5))
def test_images_are_found_where_they_went(batch: list[Prediction]) -> None:
    numbered = [
        Prediction(
            str(i), "v1", p.regions, p.classes, p.background, probs=p.probs, localisation=p.localisation
        )
        for i, p in enumerate(batch)
    ]
    labels = sorted({label for p in batch for label in p.classes})
    whole = join(of_predictions(numbered), labels)
    assert sorted(whole.samples) == [str(i) for i in range(len(batch))]
    order = np.random.default_rng(len(batch)).permutation(len(whole))
    mixed = whole.of(order)
    for i, sample in enumerate(mixed.samples):
        told = [np.nan if r.score is None else r.score for r in numbered[int(sample)].regions]
        mine = slice(mixed.starts[i], mixed.starts[i + 1])
        np.testing.assert_array_equal(mixed.score[mine], np.array(told, np.float16))
        names = [labels[k] if k >= 0 else None for k in mixed.kind[mine]]
        known = numbered[int(sample)].classes
        assert names == [r.label if r.label in known else None for r in numbered[int(sample)].regions]


def test_nothing_is_a_table_too() -> None:
    none = join([], ("a",))
    assert (len(none), none.counts.tolist(), none.labels) == (0, [], ("a",))
    assert len(empty().of(np.zeros(0, np.intp))) == 0


def test_waiting_knows_the_holdout_and_who_answered(settled: Pool) -> None:
    names = "abcd"
    settled.bind_tasks([Task(1, 10 + i, sha(name), name) for i, name in enumerate(names)])
    settled.save_annotations(
        [
            make_annotation(1, make_sample("a"), NOW),
            make_annotation(2, make_sample("a"), NOW, annotator="other"),
        ]
    )
    settled.open_round(Round("r", 1, 1, "v1", 1, NOW))
    settled.save_decisions([Decision(sha("b"), "r", "v1", "human", 0.5, "entropy", "top_n", "why")])
    holdout = {name: make_sample(name).holdout for name in names}
    assert settled.waiting(1) == {
        sha(name): (holdout[name], 2 if name == "a" else 0, make_sample(name).phash, None)
        for name in sorted("acd", key=sha)
    }
    settled.delete_annotations(1, [2], NOW)
    settled.close_round("r", NOW, "done")
    assert settled.waiting(1) == {
        sha(name): (holdout[name], 1 if name == "a" else 0, make_sample(name).phash, None)
        for name in sorted("abcd", key=sha)
    }
    assert settled.waiting(2) == {}


def test_a_state_is_what_was_last_made_of_it(pool: Pool) -> None:
    assert pool.state("stream", "1") is None
    for _ in range(3):
        now = pool.change_state("stream", "1", lambda old: {"n": (old or {"n": 0})["n"] + 1, "名": "雪"})
    assert now == pool.state("stream", "1") == {"n": 3, "名": "雪"}
    assert pool.state("stream", "2") is pool.state("calibration", "1") is None


def test_a_state_whose_change_fails_stays(pool: Pool) -> None:
    pool.change_state("stream", "1", lambda _: {"n": 1})
    with pytest.raises(ZeroDivisionError):
        pool.change_state("stream", "1", lambda _: {"n": 1 // 0})
    assert json.dumps(pool.state("stream", "1")) == '{"n": 1}'


def test_uncertainties_are_written_anew(settled: Pool) -> None:
    settled.bind_tasks([Task(1, 10 + i, sha(name), name) for i, name in enumerate("ab")])
    settled.save_predictions([seen("a", [0.5]), seen("b", [])])
    settled.set_uncertainties("v1", {sha("a"): 0.25, sha("never seen"): 1.0}, "margin")
    assert settled.uncertainties(1, "v1") == {sha("a"): 0.25}
    with pytest.raises(BadInput, match="uncertainty"):
        settled.set_uncertainties("v1", {sha("a"): 1.5}, "margin")


def test_states_are_listed_by_the_beginning_of_their_key_and_forgotten(pool: Pool) -> None:
    for key in ("1/b", "1/a", "11/a", "1_a"):
        pool.change_state("due", key, lambda _, key=key: {"of": key})  # type: ignore[misc]
    assert list(pool.states("due", "1/")) == ["1/a", "1/b"]
    assert pool.states("due", "1/")["1/a"] == {"of": "1/a"}
    assert len(pool.states("due")) == 4
    assert pool.states("other") == {}
    pool.forget_states("due", ["1/a", "never"])
    assert list(pool.states("due", "1/")) == ["1/b"]
