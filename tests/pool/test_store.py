"""The rules of the ledger: what may be repeated, what wins over what, what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pool.database import CHUNK
from pool.schema import (
    BadInput,
    Consensus,
    Decision,
    Edit,
    Event,
    Failure,
    Progress,
    Round,
    Snapshot,
    Task,
    UnknownRecord,
    Variant,
)
from pool.store import Pool
from tests.pool.records import (
    LABELS,
    NOW,
    make_annotation,
    make_model,
    make_prediction,
    make_project,
    make_sample,
    settle,
    sha,
)


def test_empty_questions_have_empty_answers(pool: Pool) -> None:
    assert pool.add_samples([]) == []
    assert pool.bind_tasks([]) == 0
    assert pool.save_annotations([]) == 0
    assert pool.delete_annotations(1, [], NOW) == 0
    assert pool.receive([]) == 0
    pool.save_predictions([])
    pool.save_decisions([])
    pool.save_consensus(1, [])
    pool.save_annotators({})
    pool.record_failures([])
    pool.clear_failures("add", [])
    pool.mark_asked(1, {})
    pool.clear_asked(1, [])
    pool.finish([])
    assert pool.samples([]) == {}
    assert pool.samples() == {}
    assert pool.by_original(sha("a")) is None
    assert pool.champion(1) is None
    ids, hashes = pool.phashes()
    assert ids == []
    assert hashes.dtype == np.uint64
    assert hashes.shape == (0,)
    assert list(pool.predictions("v1")) == []
    assert list(pool.predictions("v1", [])) == []
    assert set(pool.counts(1).values()) == {0}


@pytest.mark.parametrize(
    "ask",
    [
        lambda pool: pool.project(7),
        lambda pool: pool.sample(sha("x")),
        lambda pool: pool.model("v9"),
        lambda pool: pool.snapshot("s9"),
        lambda pool: pool.promote("v9"),
        lambda pool: pool.refuse("v9", "why"),
        lambda pool: pool.set_metrics("v9", {}),
        lambda pool: pool.close_round("r9", NOW, "done"),
    ],
)
def test_unknown_things_are_named(pool: Pool, ask: Callable[[Pool], object]) -> None:
    with pytest.raises(UnknownRecord, match=r"7|v9|s9|r9|[0-9a-f]{64}"):
        ask(pool)


def test_dangling_references_are_named_and_nothing_is_written(pool: Pool) -> None:
    (sample,) = settle(pool, "a")
    pool.add_model(make_model("v1"))
    with pytest.raises(UnknownRecord, match="sample " + sha("x")):
        pool.save_predictions([make_prediction(sample, "v1"), make_prediction(make_sample("x"), "v1")])
    assert list(pool.predictions("v1")) == []
    with pytest.raises(UnknownRecord, match="model version v8"):
        pool.save_predictions([make_prediction(sample, "v8")])
    with pytest.raises(UnknownRecord, match="project 5"):
        pool.add_model(make_model("v5", project=5))
    with pytest.raises(UnknownRecord, match="project 5"):
        pool.open_round(Round("r", 5, 1, "v1", 1, NOW))
    with pytest.raises(UnknownRecord, match="round r"):
        pool.save_decisions([decision("r", sample.id)])
    with pytest.raises(UnknownRecord, match="project 5"):
        pool.save_snapshot(Snapshot("s", 5, {}, NOW))
    with pytest.raises(UnknownRecord, match="sample"):
        pool.save_annotations([make_annotation(1, make_sample("x"))])
    with pytest.raises(UnknownRecord, match=r"sample .* and 2 more"):
        pool.bind_tasks([Task(1, 10 + i, sha(f"no{i}"), "u") for i in range(5)])
    with pytest.raises(UnknownRecord, match="sample"):
        pool.save_consensus(1, [Consensus(sha("x"), None, (), (), 0)])
    assert pool.counts(1)["tasks"] == 1


# Samples and tasks


def test_the_same_sample_twice_is_no_error(pool: Pool) -> None:
    a, b = make_sample("a"), make_sample("b")
    assert pool.add_samples([a, a, b]) == [True, False, True]
    assert pool.add_samples([replace(a, name="other"), make_sample("c")]) == [False, True]
    assert pool.sample(a.id) == a


def test_more_samples_than_one_statement_holds(pool: Pool) -> None:
    many = [make_sample(str(i)) for i in range(3 * CHUNK + 7)]
    random.Random(0).shuffle(many)
    assert all(pool.add_samples(many))
    assert not any(pool.add_samples(many))
    assert list(pool.samples()) == sorted(each.id for each in many)
    wanted = [each.id for each in many[: 2 * CHUNK]]
    assert pool.samples([*wanted, sha("absent")]).keys() == set(wanted)


@pytest.mark.parametrize("phash", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_hashes_keep_all_64_bits(pool: Pool, phash: int) -> None:
    pool.add_samples([make_sample("a", phash=phash)])
    assert pool.sample(sha("a")).phash == phash
    assert pool.phashes()[1].tolist() == [phash]


@pytest.mark.parametrize("phash", [-1, 2**64])
def test_hashes_outside_64_bits_are_refused(pool: Pool, phash: int) -> None:
    with pytest.raises(BadInput, match="phash"):
        pool.add_samples([make_sample("a", phash=phash)])


def test_binding_again_moves_a_task_but_keeps_what_the_loop_did(pool: Pool) -> None:
    a, b = settle(pool, "ab")
    pool.mark_asked(1, {1: 2, 99: 1})
    pool.mark_pushed(1, [1, 2], "v1")
    assert pool.bind_tasks([Task(1, 1, b.id, "moved"), Task(1, 3, a.id, "new", asked=True, overlap=3)]) == 1
    assert pool.tasks(1) == [
        Task(1, 1, b.id, "moved", asked=True, overlap=2, pushed="v1"),
        Task(1, 2, b.id, "/data/b.jpg", pushed="v1"),
        Task(1, 3, a.id, "new", asked=True, overlap=3),
    ]
    pool.clear_asked(1, [1, 3])
    assert [task.asked for task in pool.tasks(1)] == [False, False, False]
    pool.drop_tasks(1, [1, 2, 77])
    assert [task.id for task in pool.tasks(1)] == [3]
    assert pool.sample(b.id) == b


def test_the_last_word_about_a_task_in_one_batch_counts(pool: Pool) -> None:
    a, b = settle(pool, "ab", projects=(2,))
    pool.save_project(make_project(1))
    assert pool.bind_tasks([Task(1, 1, a.id, "x"), Task(1, 1, b.id, "y")]) == 1
    assert pool.tasks(1) == [Task(1, 1, b.id, "y")]


def test_tasks_of_one_project_do_not_touch_another(pool: Pool) -> None:
    settle(pool, "ab", projects=(1, 2))
    pool.mark_asked(1, {1: 2})
    pool.mark_pushed(2, [1], "v2")
    pool.drop_tasks(1, [2])
    assert [(t.id, t.asked, t.pushed) for t in pool.tasks(1)] == [(1, True, None)]
    assert [(t.id, t.asked, t.pushed) for t in pool.tasks(2)] == [(1, False, "v2"), (2, False, None)]


def test_an_overlap_of_nobody_is_refused(pool: Pool) -> None:
    (sample,) = settle(pool, "a")
    with pytest.raises(BadInput, match="overlap"):
        pool.mark_asked(1, {1: 0})
    with pytest.raises(BadInput, match="overlap"):
        pool.bind_tasks([Task(1, 2, sample.id, "u", overlap=0)])


# Models


def test_a_version_names_one_file_of_weights(pool: Pool) -> None:
    pool.save_project(make_project())
    pool.save_project(make_project(2))
    model = make_model("v1")
    pool.add_model(model)
    pool.add_model(replace(model, note="again"))
    assert pool.models(1) == [model]
    with pytest.raises(BadInput, match="v1 already names other weights"):
        pool.add_model(replace(model, sha256=sha("other")))
    with pytest.raises(BadInput):
        pool.add_model(replace(model, project=2))


def test_there_is_one_champion_in_each_project(pool: Pool) -> None:
    pool.save_project(make_project(1))
    pool.save_project(make_project(2))
    for number, (version, project) in enumerate([("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2)]):
        pool.add_model(make_model(version, project, created_at=NOW + timedelta(seconds=number)))
    assert pool.champion(1) is None
    pool.promote("b1")
    for version in ("a1", "a2", "a2", "a3", "a1"):
        pool.promote(version)
        champion = pool.champion(1)
        assert champion is not None
        assert champion.version == version
    assert [(m.version, m.state) for m in pool.models(1)] == [
        ("a1", "champion"),
        ("a2", "retired"),
        ("a3", "retired"),
    ]
    assert [m.state for m in pool.models(2)] == ["champion"]


def test_a_second_champion_cannot_be_added(pool: Pool) -> None:
    pool.save_project(make_project())
    pool.add_model(make_model("v1", state="champion"))
    with pytest.raises(BadInput, match="champion"):
        pool.add_model(make_model("v2", state="champion"))
    assert [m.version for m in pool.models(1)] == ["v1"]


def test_refused_says_why_and_the_champion_cannot_be(pool: Pool) -> None:
    pool.save_project(make_project())
    pool.add_model(make_model("v1", state="champion"))
    pool.add_model(make_model("v2"))
    pool.refuse("v2", "0.02 worse on the holdout")
    assert (pool.model("v2").state, pool.model("v2").note) == ("refused", "0.02 worse on the holdout")
    with pytest.raises(BadInput, match="not the champion"):
        pool.refuse("v1", "no")
    assert pool.champion(1) == make_model("v1", state="champion")


def test_metrics_are_replaced_and_may_be_undefined(pool: Pool) -> None:
    pool.save_project(make_project())
    pool.add_model(make_model("v1", metrics={"map50": 0.5}))
    pool.set_metrics("v1", {"map50_95": 0.1 + 0.2, "垃圾": float("nan")})
    found = pool.model("v1").metrics
    assert list(found) == ["map50_95", "垃圾"]
    assert found["map50_95"] == 0.1 + 0.2
    assert np.isnan(found["垃圾"])


# Predictions and failures


def test_a_prediction_is_replaced_within_its_version_only(pool: Pool) -> None:
    a, b = settle(pool, "ab")
    pool.add_model(make_model("v1"))
    pool.add_model(make_model("v2"))
    old, new, other = (
        make_prediction(a, "v1"),
        make_prediction(a, "v1", 0.9, 3),
        make_prediction(a, "v2", 0.1),
    )
    pool.save_predictions([old, make_prediction(b, "v1", 0.2)])
    pool.save_predictions([other, old, new])
    assert list(pool.predictions("v1", [a.id])) == [new]
    assert list(pool.predictions("v2")) == [other]
    assert pool.uncertainties(1, "v1") == {a.id: 0.9, b.id: 0.2}


def test_predictions_come_in_order_and_page_by_page(pool: Pool) -> None:
    many = [make_sample(str(i)) for i in range(450)]
    pool.save_project(make_project())
    pool.add_model(make_model("v1"))
    pool.add_samples(many)
    pool.save_predictions([make_prediction(each, "v1", boxes=1) for each in many])
    ordered = sorted(each.id for each in many)
    assert [each.sample for each in pool.predictions("v1")] == ordered
    asked = [ordered[i] for i in range(449, -1, -2)]
    assert [each.sample for each in pool.predictions("v1", asked)] == sorted(asked)


def test_reading_predictions_holds_nothing_open(pool: Pool) -> None:
    """A half-read iterator must not keep the next write waiting."""
    (sample,) = settle(pool, "a")
    pool.add_model(make_model("v1"))
    pool.save_predictions([make_prediction(sample, "v1")])
    reading = pool.predictions("v1")
    next(reading)
    pool.save_predictions([make_prediction(sample, "v1", 0.7)])
    assert pool.uncertainties(1, "v1") == {sample.id: 0.7}


def test_unpredicted_leaves_out_what_is_done_and_what_failed(pool: Pool) -> None:
    a, b, c, d = settle(pool, "abcd")
    pool.add_samples([make_sample("in no task")])
    pool.bind_tasks([Task(1, 50, d.id, "the same image in a second task")])
    pool.add_model(make_model("v1"))
    pool.add_model(make_model("v2"))
    pool.save_predictions([make_prediction(a, "v1")])
    pool.record_failures([Failure(b.id, "predict", "broken", NOW)], 1, "v1")
    pool.record_failures([Failure(c.id, "add", "of no model", NOW)], 1)
    assert pool.unpredicted(1, "v1") == sorted([c.id, d.id])
    assert pool.unpredicted(1, "v2") == sorted([a.id, b.id, c.id, d.id])
    assert pool.unpredicted(2, "v1") == []
    pool.clear_failures("predict", [b.id])
    assert pool.unpredicted(1, "v1") == sorted([b.id, c.id, d.id])


def test_predictions_that_cannot_be_right_are_refused(pool: Pool) -> None:
    (sample,) = settle(pool, "a")
    pool.add_model(make_model("v1"))
    good = make_prediction(sample, "v1")
    bad: dict[str, dict[str, object]] = {
        "uncertainty": {"uncertainty": 1.2},
        "background": {"background": float("nan")},
        "probs": {"probs": np.zeros((3, 2), np.float16)},
        "embedding": {"embedding": np.zeros((1, 8), np.float16)},
        "float16": {"embedding": np.full(8, 1e6, np.float32)},
    }
    for name, change in bad.items():
        with pytest.raises(BadInput, match=name):
            pool.save_predictions([replace(good, **change)])  # type: ignore[arg-type]
    assert list(pool.predictions("v1")) == []


def test_failures_are_kept_once_by_stage_subject_project_and_version(pool: Pool) -> None:
    later = NOW + timedelta(seconds=1)
    pool.record_failures([Failure("x.jpg", "add", "first", NOW)])
    pool.record_failures([Failure("x.jpg", "add", "second", later)])
    pool.record_failures([Failure("x.jpg", "add", "in project 1", NOW)], 1)
    assert [each.message for each in pool.failures()] == ["in project 1", "second"]
    assert [each.message for each in pool.failures(1)] == ["in project 1"]
    assert pool.failures(2) == []
    pool.clear_failures("other", ["x.jpg"])
    assert len(pool.failures()) == 2
    pool.clear_failures("add", ["x.jpg"])
    assert pool.failures() == []


# Annotations


def test_the_newer_state_of_an_annotation_wins_in_any_order(pool: Pool) -> None:
    (sample,) = settle(pool, "a")
    states = [
        make_annotation(5, sample, NOW + timedelta(microseconds=i), lead_time=float(i)) for i in range(4)
    ]
    for seed in range(6):
        shuffled = states * 2
        random.Random(seed).shuffle(shuffled)
        for each in shuffled:
            pool.save_annotations([each])
        assert pool.annotations(1) == [states[-1]]
    assert pool.save_annotations(states) == 0
    assert pool.save_annotations([replace(states[-1], lead_time=99.0)]) == 0
    assert pool.annotations(1) == [states[-1]]


def test_time_zones_do_not_fool_the_order(pool: Pool) -> None:
    from datetime import timezone

    (sample,) = settle(pool, "a")
    noon_in_shanghai = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=8)))
    five_utc = datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert pool.save_annotations([make_annotation(1, sample, five_utc)]) == 1
    assert pool.save_annotations([make_annotation(1, sample, noon_in_shanghai)]) == 0
    stamp = pool.stamps(1)[1]
    assert (stamp, stamp.tzinfo) == (five_utc, UTC)


def test_a_batch_with_two_states_counts_the_newer_once(pool: Pool) -> None:
    (sample,) = settle(pool, "a")
    old, new = make_annotation(1, sample), make_annotation(1, sample, NOW + timedelta(seconds=1))
    assert pool.save_annotations([new, old]) == 1
    assert pool.annotations(1) == [new]


def test_a_deleted_annotation_seen_again_is_live_again(pool: Pool) -> None:
    (sample,) = settle(pool, "a")
    first, second = make_annotation(1, sample), make_annotation(2, sample)
    pool.save_annotations([first, second])
    assert pool.delete_annotations(1, [1, 2, 3], NOW) == 2
    assert pool.delete_annotations(1, [1, 2], NOW) == 0
    assert (pool.annotations(1), pool.stamps(1)) == ([], {})
    assert pool.save_annotations([first]) == 1
    assert pool.annotations(1) == [first]
    newer = replace(second, updated_at=NOW + timedelta(seconds=1), skipped=True)
    assert pool.save_annotations([newer]) == 1
    assert pool.annotations(1) == [first, newer]


def test_a_late_message_does_not_bring_back_what_was_deleted_since(pool: Pool) -> None:
    (sample,) = settle(pool, "a")
    pool.save_annotations([make_annotation(1, sample, NOW + timedelta(seconds=1))])
    pool.delete_annotations(1, [1], NOW)
    assert pool.save_annotations([make_annotation(1, sample, NOW)]) == 0
    assert pool.annotations(1) == []


def test_deleting_in_one_project_leaves_the_others(pool: Pool) -> None:
    (sample,) = settle(pool, "a", projects=(1, 2))
    pool.save_annotations([make_annotation(1, sample), make_annotation(2, sample, project=2)])
    assert pool.delete_annotations(1, [1, 2], NOW) == 1
    assert [each.id for each in pool.annotations(2)] == [2]


def test_naive_datetimes_are_refused(pool: Pool) -> None:
    (sample,) = settle(pool, "a")
    naive = datetime(2026, 3, 1)
    with pytest.raises(BadInput, match="time zone"):
        pool.save_annotations([make_annotation(1, sample, naive)])
    with pytest.raises(BadInput, match="time zone"):
        pool.report(Progress("j", "s", 0, 0, "", naive))


def test_names_of_annotators_follow_label_studio(pool: Pool) -> None:
    pool.save_annotators({"1": "王芳", "2": "Bo"})
    pool.save_annotators({"2": "Bo Li"})
    assert pool.annotators() == {"1": "王芳", "2": "Bo Li"}


# Rounds and consensus


def decision(name: str, sample: str, **changes: object) -> Decision:
    plain = Decision(sample, name, "v1", "human", 0.5, "entropy", "top", "2 of 5 boxes near 0.5")
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_round_opens_and_closes_once(pool: Pool) -> None:
    pool.save_project(make_project())
    second, first = Round("r2", 1, 2, "v1", 3, NOW), Round("r1", 1, 1, "v1", 3, NOW)
    for each in (second, first, replace(first, asked=99)):
        pool.open_round(each)
    pool.close_round("r1", NOW, "promoted")
    pool.close_round("r1", NOW + timedelta(hours=1), "again")
    assert pool.rounds(1) == [replace(first, closed_at=NOW, outcome="promoted"), second]


def test_decisions_keep_their_order_and_their_first_wording(pool: Pool) -> None:
    samples = settle(pool, "abcde")
    pool.open_round(Round("r", 1, 1, "v1", 5, NOW))
    order = [samples[i].id for i in (3, 0, 4, 1, 2)]
    pool.save_decisions([decision("r", each) for each in order[:3]])
    pool.save_decisions([decision("r", each, reason="retried") for each in order])
    found = pool.decisions("r")
    assert [each.sample for each in found] == order
    assert [each.reason == "retried" for each in found] == [False, False, False, True, True]
    assert pool.decisions("other") == []


@pytest.mark.parametrize("change", [{"uncertainty": 1.5}, {"p_select": -0.1}])
def test_decisions_outside_their_range_are_refused(pool: Pool, change: dict[str, object]) -> None:
    (sample,) = settle(pool, "a")
    pool.open_round(Round("r", 1, 1, "v1", 5, NOW))
    with pytest.raises(BadInput, match=next(iter(change))):
        pool.save_decisions([decision("r", sample.id, **change)])


def test_edits_are_a_book_that_is_only_added_to(pool: Pool) -> None:
    settle(pool, "a", projects=(1, 2))
    first = Edit(1, 7, "overlap", 0, 1, 2, "review-1", "rev@x", NOW)
    second = Edit(1, 8, "data.consensus_score", 0, None, 0.5, "review-2", "rev@x", NOW)
    other = replace(first, project=2)
    pool.record_edits([first, second])
    pool.record_edits([other])
    assert pool.edits(1) == [first, second]
    assert pool.edits(1, "review-2") == [second]
    third = replace(first, field="data.why", before=None, after="so")
    pool.record_edits([third])
    later = NOW + timedelta(minutes=1)
    pool.mark_undone([first], later)
    pool.mark_undone([first, other], later + timedelta(hours=1))  # the first time counts
    assert pool.edits(1) == [replace(first, undone_at=later), second, third]
    other = replace(other, undone_at=later + timedelta(hours=1))
    assert pool.edits(2) == [other]


def test_variants_are_planned_once_and_tried_again_only_after_a_failure(pool: Pool) -> None:
    (parent,) = settle(pool, "a", projects=(1, 2))
    first = Variant("a1", 1, "job-1", parent.id, "night", "night\nSteps: 4", 7, NOW)
    second = replace(first, id="a2", seed=8, created_at=NOW + timedelta(seconds=1))
    assert pool.plan_variants([first, second]) == 2
    done = replace(first, state="passed", sample="s" * 64, bytes=100, gates={"structure": {"value": 1.0}})
    lost = replace(second, state="failed", reason="no memory")
    pool.save_variants([done, lost])
    again = [replace(first, job="job-2"), replace(second, job="job-2")]
    assert pool.plan_variants(again) == 1
    assert pool.plan_variants([again[1]]) == 1  # its job may have died: whoever wants it makes it
    assert pool.variants(1) == [done, again[1]]
    assert pool.variants(1, job="job-2") == [again[1]]
    assert pool.variants(1, states=["passed"]) == [done]
    assert pool.variants(2) == []
    assert pool.variants_of(1, ["s" * 64, parent.id]) == {"s" * 64: done}
    assert pool.variants_of(2, ["s" * 64]) == {}
    assert pool.variant_bytes() == 100


def test_a_variant_is_found_by_the_beginning_of_its_id(pool: Pool) -> None:
    (parent,) = settle(pool, "a", projects=(1,))
    first = Variant("ab1", 1, "job", parent.id, "dusk", "r", 7, NOW)
    pool.plan_variants([first, replace(first, id="ab2")])
    assert pool.variant("ab1") == first
    for start, why in (("ab", "several"), ("x", "no variant"), ("", "no variant"), ("%", "no variant")):
        with pytest.raises(UnknownRecord, match=f"(?i){why}"):
            pool.variant(start)
    with pytest.raises(UnknownRecord, match="sample"):
        pool.plan_variants([replace(first, id="c", parent="f" * 64)])


def test_consensus_is_replaced(pool: Pool) -> None:
    (sample,) = settle(pool, "a", projects=(1, 2))
    old = Consensus(sample.id, None, (), ("1",), 0)
    new = Consensus(sample.id, 0.5, (), ("1", "2"), 1)
    pool.save_consensus(1, [old])
    pool.save_consensus(1, [old, new])
    assert pool.consensus(1) == {sample.id: new}
    assert pool.consensus(2) == {}
    pool.save_consensus(2, [old])
    pool.save_consensus(1, [])  # the second annotation was deleted: nothing is compared any more
    assert (pool.consensus(1), pool.consensus(2)) == ({}, {sample.id: old})


def test_a_snapshot_is_immutable(pool: Pool) -> None:
    pool.save_project(make_project())
    first = Snapshot("s", 1, {"classes": list(LABELS), "train": {}}, NOW)
    pool.save_snapshot(first)
    pool.save_snapshot(replace(first, manifest={}))
    assert pool.snapshot("s") == first


# Inbox and progress


def test_an_event_comes_in_once_ever(pool: Pool) -> None:
    one, two = Event("k1", 1, "ANNOTATION_CREATED", {"id": 1}), Event("k2", 1, "ANNOTATION_UPDATED", {})
    assert pool.receive([one, two, one]) == 2
    assert pool.receive([one]) == 0
    pool.finish(["k1", "never seen"])
    assert pool.receive([one]) == 0
    assert pool.inbox(10) == [two]
    assert pool.inbox_size() == 1
    pool.finish(["k1", "k2"])
    assert pool.inbox(10) == []


def test_the_inbox_is_in_order_of_arrival(pool: Pool) -> None:
    keys = [f"k{i}" for i in range(2 * CHUNK + 3)]
    random.Random(1).shuffle(keys)
    events = [Event(key, 1, "A", {"key": key}) for key in keys]
    half = len(events) // 2
    assert pool.receive(events[:half]) + pool.receive(events) == len(events)
    assert pool.inbox(10_000) == events
    assert pool.inbox(5) == events[:5]
    pool.finish(keys[1:3])
    assert [each.key for each in pool.inbox(2)] == [keys[0], keys[3]]


def test_progress_is_what_a_job_said_last(pool: Pool) -> None:
    first, later = Progress("j1", "predict", 1, 9, "", NOW), Progress("j2", "train", 0, 0, "", NOW)
    pool.report(first)
    pool.report(replace(later, at=NOW + timedelta(seconds=1)))
    pool.report(replace(first, done=5))
    assert [(each.job, each.done) for each in pool.progress()] == [("j2", 0), ("j1", 5)]
    pool.forget("j2")
    pool.forget("no such job")
    assert [each.job for each in pool.progress()] == ["j1"]


def test_counts(pool: Pool) -> None:
    a, b, c, d = settle(pool, "abcd", projects=(1, 2))
    held = make_sample("h", holdout=True)
    pool.add_samples([held, make_sample("in no task")])
    pool.bind_tasks([Task(1, 10, held.id, "h"), Task(1, 11, a.id, "the same image again")])
    pool.mark_asked(1, {1: 1, 2: 2})
    pool.add_model(make_model("v1"))
    pool.add_model(make_model("v2"))
    pool.promote("v2")
    pool.save_predictions([make_prediction(each, "v1") for each in (a, b, c)])
    pool.save_predictions([make_prediction(each, "v2") for each in (a, held)])
    pool.save_annotations(
        [
            make_annotation(1, a),
            make_annotation(2, a),
            make_annotation(3, b),
            make_annotation(4, c, skipped=True),
            make_annotation(5, d),
            make_annotation(6, d, project=2),
        ]
    )
    pool.delete_annotations(1, [5], NOW)
    pool.record_failures([Failure("x", "add", "m", NOW)], 1)
    pool.record_failures([Failure("y", "add", "m", NOW)])
    pool.receive([Event("1", 1, "A", {}), Event("2", 1, "A", {}), Event("3", 2, "A", {})])
    pool.finish(["2"])
    pool.open_round(Round("r", 1, 1, "v2", 2, NOW))
    assert pool.counts(1) == {
        "samples": 5,
        "holdout": 1,
        "tasks": 6,
        "asked": 2,
        "predicted": 2,
        "annotations": 3,
        "skipped": 1,
        "labelled": 2,
        "failures": 1,
        "inbox": 1,
        "rounds": 1,
        "models": 2,
    }
    assert pool.counts(2)["labelled"] == 1
