"""At the gate of a stream: an image comes, and goes to a person, needs nobody, or is let go.

The first that applies: a look-alike of what was asked lately is let go; what the model is sure enough of
needs nobody; where a limit is used up, it is let go; a strategy that wants it sends it to a person.

`decide` changes nothing. `settle` gives the memory after what was really done, which may differ: where
sending failed, nothing was spent. The strategy learns of all images but look-alikes and those that no
limit left room for: neither says what it would do with the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from pool.schema import BadInput
from sampler import limits, recent
from sampler.limits import Limits, Spent
from sampler.recent import Recent
from sampler.records import Record
from sampler.stream import Item, Quota, compared
from sampler.streams import DEFAULT, named

Action = Literal["ask", "auto", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival(Item):
    """An image at the gate.

    ``at`` is when it came, with its timezone. ``confidence`` in [0, 1], higher = surer of every box and
    of no miss; None where nothing was calibrated. ``labels`` are those of its shown boxes, ``phash`` is
    its perceptual hash.
    """

    at: datetime
    confidence: float | None = None
    labels: Collection[str] = ()
    phash: int | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """Settings: ``strategy`` by name under a ``quota``, ``limits`` of what people are asked in a time.

    An image with at least the confidence ``auto`` needs nobody; None: each may need somebody. Images
    within ``bits`` differing bits of 64 are look-alikes; None: no two are.

    Raises:
        BadInput: an unknown strategy, or a number out of range.
    """

    quota: Quota
    strategy: str = DEFAULT
    limits: Limits = field(default_factory=Limits)
    bits: int | None = recent.BITS
    auto: float | None = None

    def __post_init__(self) -> None:
        named(self.strategy)
        if self.bits is not None and not 0 <= self.bits < 64:
            raise BadInput("bits", "from 0 to 63", self.bits)
        if self.auto is not None and not 0 <= self.auto <= 1:
            raise BadInput("auto", "a confidence in [0, 1]", self.auto)


@dataclass(frozen=True, slots=True)
class Memory:
    """Everything a gate remembers: the ``state`` of a ``strategy``, and how often it did what."""

    strategy: str
    state: Any
    spent: Spent = field(default_factory=dict)
    recent: Recent = ()
    ask: int = 0
    auto: int = 0
    drop: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``ask`` a person, ``auto``: nobody is needed, or ``drop``; and why, in at most 140 characters."""

    action: Action
    reason: str


def begin(gate: Gate) -> Memory:
    """The memory before the first image."""
    return Memory(gate.strategy, named(gate.strategy).begin(gate.quota))


def decide(memory: Memory, gate: Gate, item: Arrival) -> Verdict:
    """What becomes of an image. Nothing changes.

    Raises:
        BadInput: the time has no timezone though there are limits, or the embedding is no row of finite
            numbers though the strategy looks at it.
    """
    shut = _copied(memory, gate, item)
    if shut is not None:
        return Verdict("drop", shut)
    if gate.auto is not None and item.confidence is not None and item.confidence >= gate.auto:
        sure = compared("confidence", item.confidence, "threshold", gate.auto)
        return Verdict("auto", f"Accepted without a person: {sure}")
    shut = _closed(memory, gate, item)
    if shut is not None:
        return Verdict("drop", shut)
    strategy, state = named(gate.strategy), _state(memory, gate)
    wanted = strategy.wants(state, item, gate.quota)
    why = strategy.explain(state, item, gate.quota)
    return Verdict("ask", f"Asked: {why}") if wanted else Verdict("drop", f"Not asked: {why}")


def free(memory: Memory, gate: Gate, item: Arrival) -> bool:
    """Could a person be asked about this image: no look-alike was lately, and no limit is used up?"""
    return _copied(memory, gate, item) is None and _closed(memory, gate, item) is None


def settle(memory: Memory, gate: Gate, item: Arrival, action: Action, *, paid: bool = True) -> Memory:
    """The memory after an image of which ``action`` is what was really done.

    ``paid`` False: the asking was on top of the strategy's budget, which is not spent; limits are.

    Raises:
        BadInput: an unknown action, or as in `decide`.
    """
    if action not in ("ask", "auto", "drop"):
        raise BadInput("action", "one of ask, auto, drop", action)
    state, asked = _state(memory, gate), action == "ask"
    unheard = action == "drop" and (_copied(memory, gate, item) or _closed(memory, gate, item))
    if not unheard:
        state = named(gate.strategy).advance(state, item, gate.quota, asked and paid)
    after = replace(
        memory,
        strategy=gate.strategy,
        state=state,
        ask=memory.ask + asked,
        auto=memory.auto + (action == "auto"),
        drop=memory.drop + (action == "drop"),
    )
    if not asked:
        return after
    spent = limits.spend(memory.spent, gate.limits, item.at, item.labels)
    known = memory.recent if item.phash is None else recent.remember(memory.recent, item.phash)
    return replace(after, spent=spent, recent=known)


def dump(memory: Memory) -> Record:
    """The memory as a record for JSON, below 100 kB with every strategy."""
    return {
        "strategy": memory.strategy,
        "state": named(memory.strategy).dump(memory.state),
        "spent": {name: list(window) for name, window in memory.spent.items()},
        "recent": recent.dump(memory.recent),
        "ask": memory.ask,
        "auto": memory.auto,
        "drop": memory.drop,
    }


def load(record: Mapping[str, Any], gate: Gate) -> Memory:
    """The memory of a record that `dump` made.

    The state of a strategy that is not the gate's, or that the strategy cannot read, begins afresh; all
    else is kept.

    Raises:
        BadInput: the record is of something else.
    """
    strategy = named(gate.strategy)
    state = strategy.begin(gate.quota)
    try:
        if record["strategy"] == gate.strategy:
            with suppress(BadInput):
                state = strategy.load(record["state"])
        spent = {name: (int(start), int(count)) for name, (start, count) in record["spent"].items()}
        counts = [int(record[name]) for name in ("ask", "auto", "drop")]
        return Memory(gate.strategy, state, spent, recent.load(record["recent"]), *counts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput("record", "what a gate's memory was dumped to", error) from error


def _state(memory: Memory, gate: Gate) -> Any:
    """The strategy's state; afresh where the gate was given another strategy since."""
    if memory.strategy == gate.strategy:
        return memory.state
    return named(gate.strategy).begin(gate.quota)


def _copied(memory: Memory, gate: Gate, item: Arrival) -> str | None:
    """Why an image is a look-alike; None where it is none."""
    if item.phash is None or gate.bits is None or not recent.seen(memory.recent, item.phash, gate.bits):
        return None
    bits = recent.nearest(memory.recent, item.phash)
    return (
        f"Not asked: looks like an image asked about lately, {bits} of 64 bits differ (at most {gate.bits})"
    )


def _closed(memory: Memory, gate: Gate, item: Arrival) -> str | None:
    shut = limits.allows(memory.spent, gate.limits, item.at, item.labels)
    return None if shut is None else f"Not asked: {shut}"
