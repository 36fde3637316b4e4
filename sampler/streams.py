"""Strategies for a stream behind one interface: asking changes nothing, spending does.

::

    strategy, quota = named("quantile"), Quota(budget=0.05)
    state = strategy.begin(quota)
    wanted = strategy.wants(state, item, quota)
    state = strategy.advance(state, item, quota, wanted and really_asked)

| goal | strategy |
|---|---|
| the most uncertain images, whatever the scale and the drift | ``quantile`` (default) |
| uncertain images that are unlike each other | ``vessal`` |
| what a strategy must beat | ``random`` |
| the literature's thresholds, for comparison | ``fixed``, ``variable``, ``split`` |

A state is an immutable record of a few numbers, `vessal`'s of 11 kB; `dump` makes it fit for JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from pool.schema import BadInput
from sampler import draws, stream, thresholds, vessal
from sampler.records import Record, dumped, loaded
from sampler.stream import Item, Quota

DEFAULT = "quantile"

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class StreamStrategy(Generic[State]):
    """``begin`` gives the state before the first image; ``wants`` says whether a person should see one.

    ``explain`` tells what ``wants`` goes by, in at most 100 characters. ``advance`` gives the state after
    an image, of which its last argument says whether a person was really asked. ``dump`` and ``load``
    turn a state into a record for JSON and back; ``load`` raises BadInput where the record is of
    something else.
    """

    begin: Callable[[Quota], State]
    wants: Callable[[State, Item, Quota], bool]
    explain: Callable[[State, Item, Quota], str]
    advance: Callable[[State, Item, Quota, bool], State]
    dump: Callable[[State], Record]
    load: Callable[[Mapping[str, object]], State]


def named(name: str) -> StreamStrategy[Any]:
    """The strategy of that name.

    Raises:
        BadInput: an unknown name.
    """
    if name not in STREAMS:
        raise BadInput("strategy", f"one of {', '.join(STREAMS)}", name)
    return STREAMS[name]


def replay(items: Iterable[Item], quota: Quota, strategy: str = DEFAULT) -> list[int]:
    """Places in a recorded stream at which a person would have been asked, had each been answered."""
    chosen = named(strategy)
    state, asked = chosen.begin(quota), []
    for place, item in enumerate(items):
        wanted = chosen.wants(state, item, quota)
        state = chosen.advance(state, item, quota, wanted)
        if wanted:
            asked.append(place)
    return asked


def _wants(state: stream.Stream, item: Item, quota: Quota) -> bool:
    return stream.wants(state, item.uncertainty, quota)


def _explain(state: stream.Stream, item: Item, quota: Quota) -> str:
    return stream.explain(state, item.uncertainty, quota)


def _advance(state: stream.Stream, item: Item, quota: Quota, asked: bool) -> stream.Stream:
    return stream.advance(state, item.uncertainty, quota, asked=asked)


_threshold = partial(
    StreamStrategy,
    begin=thresholds.begin,
    dump=dumped,
    load=partial(loaded, thresholds.Threshold),
)

STREAMS: Mapping[str, StreamStrategy[Any]] = {
    "quantile": StreamStrategy(
        Quota.begin, _wants, _explain, _advance, dumped, partial(loaded, stream.Stream)
    ),
    "fixed": _threshold(
        wants=thresholds.wants_fixed, explain=thresholds.explain_fixed, advance=thresholds.advance_fixed
    ),
    "variable": _threshold(
        wants=thresholds.wants_variable,
        explain=thresholds.explain_variable,
        advance=thresholds.advance_variable,
    ),
    "split": _threshold(
        wants=thresholds.wants_split, explain=thresholds.explain_split, advance=thresholds.advance_split
    ),
    "vessal": StreamStrategy(
        vessal.begin, vessal.wants, vessal.explain, vessal.advance, vessal.dump, vessal.load
    ),
    "random": StreamStrategy(
        draws.begin, draws.wants, draws.explain, draws.advance, dumped, partial(loaded, draws.Coin)
    ),
}
