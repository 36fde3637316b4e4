"""The gate of a stream as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler.gatekeeper import Arrival, Gate, Memory, begin, decide, dump, load, settle
from sampler.limits import parse
from sampler.recent import MOST, nearest
from sampler.stream import Quota, Stream, replay
from sampler.streams import STREAMS
from tests.sampler.clouds import cloud

START = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
LABELS = ["garbage", "满溢的垃圾桶"]
QUOTA = Quota(0.2)


def arrivals(n: int, seed: int = 0, d: int = 48) -> Iterator[Arrival]:
    """An image every ten seconds; a third of them are copies of earlier ones."""
    rng = np.random.default_rng(seed)
    points, hashes = cloud(n, d, seed), rng.integers(0, 2**63, n)
    for i in range(n):
        copy = int(rng.integers(0, i + 1)) if rng.random() < 1 / 3 else i
        yield Arrival(
            float(rng.beta(2, 5)),
            points[i],
            at=START + timedelta(seconds=10 * i),
            confidence=float(rng.random()),
            labels={label for label in LABELS if rng.random() < 0.5},
            phash=int(hashes[copy]) ^ int(rng.integers(0, 2)),
        )


def image(**changes: Any) -> Arrival:
    return replace(Arrival(0.9, at=START, confidence=0.5, labels={"garbage"}, phash=0xFF), **changes)


def run(gate: Gate, images: Iterator[Arrival]) -> tuple[Memory, list[str]]:
    memory = begin(gate)
    done: list[str] = []
    for item in images:
        verdict = decide(memory, gate, item)
        assert len(verdict.reason) <= 140
        memory = settle(memory, gate, item, verdict.action)
        done.append(verdict.action)
    return memory, done


def test_the_first_reason_that_applies_decides() -> None:
    gate = Gate(QUOTA, limits=parse("hourly=1"), auto=0.9)
    item = image()
    asked = decide(begin(gate), gate, item)
    assert (asked.action, asked.reason) == ("ask", "Asked: uncertainty 0.90, the first of its stream")
    memory = settle(begin(gate), gate, item, "ask")
    # A look-alike that is sure, with the limit used up: sure and used up: used up.
    copied = decide(memory, gate, image(phash=0xFE, confidence=0.95))
    sure = decide(memory, gate, image(phash=0xFF00, confidence=0.95))
    closed = decide(memory, gate, image(phash=0xFF00))
    assert [v.action for v in (copied, sure, closed)] == ["drop", "auto", "drop"]
    assert "1 of 64 bits differ" in copied.reason
    assert sure.reason == "Accepted without a person: confidence 0.95 above the threshold 0.90"
    assert closed.reason == "Not asked: hourly limit of 1 used up until 13:00 UTC"
    later = image(uncertainty=0.31, phash=None, at=START + timedelta(hours=1))
    refused = decide(memory, gate, later)
    assert (refused.action, refused.reason) == (
        "drop",
        "Not asked: uncertainty 0.31 below the threshold 0.90",
    )


@pytest.mark.parametrize(
    ("auto", "confidence", "action"),
    [
        (0.9, 0.9, "auto"),
        (0.9, 0.89, "ask"),
        (0.9, None, "ask"),
        (0.9, float("nan"), "ask"),
        (None, 1.0, "ask"),
        (0.0, 0.0, "auto"),
    ],
)
def test_only_a_confidence_that_is_one_is_trusted(
    auto: float | None, confidence: float | None, action: str
) -> None:
    gate = Gate(QUOTA, auto=auto)
    assert decide(begin(gate), gate, image(confidence=confidence)).action == action


@pytest.mark.parametrize(
    ("bits", "phash", "action"), [(4, 0xF0, "drop"), (3, 0xF0, "ask"), (None, 0xFF, "ask")]
)
def test_look_alikes_within_the_bits_are_let_go(bits: int | None, phash: int, action: str) -> None:
    gate = Gate(Quota(0.9), bits=bits)
    memory = settle(begin(gate), gate, image(), "ask")
    assert decide(memory, gate, image(phash=phash)).action == action


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(STREAMS)), st.integers(0, 999), st.floats(0.05, 0.5))
def test_whatever_the_strategy_no_limit_is_broken_and_no_look_alike_asked(
    name: str, seed: int, budget: float
) -> None:
    gate = Gate(Quota(budget, seed=seed), name, parse("minutely=2, hourly=9, daily/garbage=4"), auto=0.8)
    memory = begin(gate)
    asked: list[Arrival] = []
    for item in arrivals(80, seed):
        before = dump(memory)
        verdict = decide(memory, gate, item)
        assert decide(memory, gate, item) == verdict
        assert dump(memory) == before
        assert len(verdict.reason) <= 140
        if verdict.action == "ask":
            assert item.phash is not None
            near = nearest(tuple(a.phash for a in asked if a.phash is not None), item.phash)
            assert near is None or near > 4
            asked.append(item)
        assert (item.confidence or 0) < 0.8 or verdict.action != "ask"
        memory = settle(memory, gate, item, verdict.action)
    for seconds, most in ((60, 2), (3600, 9)):
        windows = [int(a.at.timestamp()) // seconds for a in asked]
        assert max((windows.count(w) for w in windows), default=0) <= most
    assert sum("garbage" in a.labels for a in asked) <= 4
    assert memory.ask == len(asked)
    assert memory.ask + memory.auto + memory.drop == 80


@pytest.mark.parametrize("name", STREAMS)
def test_a_restart_after_every_image_is_not_noticed(name: str) -> None:
    gate = Gate(QUOTA, name, parse("hourly=30, daily/满溢的垃圾桶=25"), auto=0.9)
    expected, done = run(gate, arrivals(200))
    memory, found = begin(gate), []
    for item in arrivals(200):
        text = json.dumps(dump(memory), allow_nan=False)
        assert load(json.loads(text), gate) == memory
        memory = load(json.loads(text), gate)
        verdict = decide(memory, gate, item)
        memory = settle(memory, gate, item, verdict.action)
        found.append(verdict.action)
    assert (memory, found) == (expected, done)
    assert set(done) == {"ask", "auto", "drop"}


@pytest.mark.parametrize("name", STREAMS)
def test_the_record_stays_small(name: str) -> None:
    gate = Gate(
        Quota(0.9), name, parse("minutely=5, hourly=300, daily=9000, daily/garbage=9000"), bits=None
    )
    memory = begin(gate)
    for i, item in enumerate(arrivals(MOST + 20)):
        memory = settle(memory, gate, replace(item, phash=2**63 + i), "ask")
    assert len(memory.recent) == MOST
    assert len(json.dumps(dump(memory))) < 20_000


@pytest.mark.parametrize("name", STREAMS)
def test_with_nothing_else_set_the_gate_is_its_strategy(name: str) -> None:
    gate = Gate(QUOTA, name, bits=None)
    _, done = run(gate, arrivals(200))
    strategy = STREAMS[name]
    state: Any = strategy.begin(QUOTA)
    for item, action in zip(arrivals(200), done, strict=True):
        wanted = strategy.wants(state, item, QUOTA)
        assert action == ("ask" if wanted else "drop")
        state = strategy.advance(state, item, QUOTA, wanted)


def test_another_strategy_begins_afresh_and_all_else_is_kept() -> None:
    gate = Gate(QUOTA, "vessal", parse("hourly=30"))
    memory, _ = run(gate, arrivals(60))
    other = replace(gate, strategy="quantile")
    read = load(json.loads(json.dumps(dump(memory))), other)
    assert read == replace(memory, strategy="quantile", state=QUOTA.begin())
    item = image(at=START + timedelta(hours=9))
    assert decide(memory, other, item) == decide(read, other, item)
    assert settle(memory, other, item, "ask") == settle(read, other, item, "ask")


@pytest.mark.parametrize("state", [{"hue": 1.0}, {"seen": "x"}, {"seen": None}])
def test_a_state_that_cannot_be_read_begins_afresh_and_all_else_is_kept(state: dict[str, object]) -> None:
    gate = Gate(QUOTA)
    memory, _ = run(gate, arrivals(60))
    read = load(dump(memory) | {"state": state}, gate)
    assert read == replace(memory, state=QUOTA.begin())


def test_matrices_of_other_dimensions_begin_afresh_and_counters_are_kept() -> None:
    gate = Gate(QUOTA, "vessal")
    memory, _ = run(gate, arrivals(60))
    record = dump(memory)
    read = load(record | {"state": record["state"] | {"inverse": "AAAAAA=="}}, gate)
    assert (read.state.seen, read.state.asked) == (memory.state.seen, memory.state.asked)
    assert read.state.counted == 0
    assert read.recent == memory.recent


@pytest.mark.parametrize(
    "record", [{}, {"strategy": "quantile"}, {"spent": {"daily": 3}}, {"recent": ["x"]}]
)
def test_a_record_of_something_else_is_refused(record: dict[str, object]) -> None:
    gate = Gate(QUOTA)
    whole = dump(begin(gate)) | record if "spent" in record or "recent" in record else record
    with pytest.raises(BadInput, match="record"):
        load(whole, gate)


def test_what_was_really_done_is_settled_not_what_was_decided() -> None:
    gate = Gate(QUOTA, limits=parse("hourly=5"))
    item = image()
    assert decide(begin(gate), gate, item).action == "ask"
    failed = settle(begin(gate), gate, item, "drop")
    assert (failed.ask, failed.drop, failed.spent, failed.recent) == (0, 1, {}, ())
    assert failed.state == Stream(1, 0, 0.9, 0.0, QUOTA.level + QUOTA.budget)
    sent = settle(begin(gate), gate, item, "ask")
    assert (sent.ask, sent.drop, sent.recent) == (1, 0, (0xFF,))
    assert sent.spent["hourly"][1] == 1
    assert sent.state.tokens == failed.state.tokens - 1


def test_the_strategy_learns_of_accepted_images_but_not_of_those_nobody_could_be_asked_about() -> None:
    gate = Gate(QUOTA, limits=parse("hourly=1"), auto=0.9)
    memory = settle(begin(gate), gate, image(), "ask")
    for item in (image(), image(phash=0), image(phash=None)):  # a look-alike, and two at a closed gate
        assert decide(memory, gate, item).action == "drop"
        assert settle(memory, gate, item, "drop").state == memory.state
    accepted = image(phash=0, confidence=0.95)
    assert settle(memory, gate, accepted, "auto").state.seen == memory.state.seen + 1


def test_a_long_night_at_a_closed_gate_leaves_the_picks_as_they_were() -> None:
    rng = np.random.default_rng(4)
    values = rng.beta(2, 6, 3000).tolist()
    gate = Gate(Quota(0.05), limits=parse("daily=40"), bits=None)

    def images() -> Iterator[Arrival]:
        for i, u in enumerate(values):  # 1000 images a day
            yield Arrival(u, at=START.replace(hour=0) + timedelta(seconds=86.4 * i))

    _, done = run(gate, images())
    picks = np.flatnonzero(np.array(done) == "ask")
    assert [int(((picks >= day) & (picks < day + 1000)).sum()) for day in (0, 1000, 2000)] == [40] * 3
    free = replay(values, Quota(0.05))
    assert np.mean(np.array(values)[picks]) > 0.95 * np.mean(np.array(values)[free])


def test_reasons_stay_short_with_the_longest_numbers_and_labels() -> None:
    label = "垃圾<b>\n" * 40
    gate = Gate(QUOTA, limits=parse(f"minutely/{label.strip()}=999999999"))
    memory = replace(begin(gate), spent={gate.limits.each[0].name: (int(START.timestamp()), 10**9)})
    verdict = decide(memory, gate, image(labels={label.strip()}))
    assert "“垃圾‹b› " in verdict.reason
    assert len(verdict.reason) <= 140


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Gate(QUOTA, "quantiles"), "strategy"),
        (lambda: Gate(QUOTA, bits=64), "bits"),
        (lambda: Gate(QUOTA, bits=-1), "bits"),
        (lambda: Gate(QUOTA, auto=1.5), "auto"),
        (lambda: Gate(QUOTA, auto=float("nan")), "auto"),
        (lambda: image(uncertainty=float("nan")), "uncertainty"),
        (lambda: settle(begin(Gate(QUOTA)), Gate(QUOTA), image(), "skip"), "action"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_named(make: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        make()
