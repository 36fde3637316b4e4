"""How many images people may be asked about in a minute, an hour and a day, in all and by class.

::

    limits = parse("minutely=5, hourly=100, daily=1000, daily/garbage=50")

The words are those of Roboflow's active learning. Windows are those of the calendar in UTC: an hour's
limit opens again at the full hour. A limit with a label counts the images on which that label is shown.

A clock that goes back never lets more through: an image from before a window's start counts in that
window, as if time had stood still.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pool.schema import BadInput
from sampler.routing import plain

WINDOWS: Mapping[str, int] = {"minutely": 60, "hourly": 3600, "daily": 86400}
"""Length of each window in seconds."""
_LIMIT = re.compile(rf"\s*({'|'.join(WINDOWS)})\s*(?:/(.*\S.*))?=\s*(\d{{1,9}})\s*", re.ASCII | re.DOTALL)

Spent = Mapping[str, tuple[int, int]]
"""By the name of each limit: when its window began, in seconds since 1970, and the images asked in it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``value`` images, 0 or more, in a ``window`` of `WINDOWS`; of all, or of one ``label``."""

    window: str
    value: int
    label: str | None = None

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise BadInput("window", f"one of {', '.join(WINDOWS)}", self.window)
        if self.value < 0:
            raise BadInput(self.name, "0 or more images", self.value)

    @property
    def name(self) -> str:
        """``daily`` or ``daily/garbage``."""
        return self.window if self.label is None else f"{self.window}/{self.label}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that hold together; none at all is no limit."""

    each: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        names = [limit.name for limit in self.each]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise BadInput("limits", "one value for each window and label", ", ".join(twice), "Keep one.")

    def of(self, labels: Collection[str]) -> Iterator[Limit]:
        """Those that an image with these labels counts in."""
        return (limit for limit in self.each if limit.label is None or limit.label in labels)


def parse(text: str) -> Limits:
    """Limits written as ``window=value`` or ``window/label=value``, between commas.

    A label is all between the first ``/`` and the last ``=``, without spaces around it, so that both
    signs may be in it; one with a comma is for `Limit` itself. No text is no limit.

    Raises:
        BadInput: a part is no limit, or a window and label stand twice.
    """
    return Limits(tuple(map(_limit, text.split(","))) if text.strip() else ())


def _limit(part: str) -> Limit:
    found = _LIMIT.fullmatch(part)
    if found is None:
        example = "Write for example minutely=5, hourly=100, daily/garbage=50."
        raise BadInput("limit", f"{', '.join(WINDOWS)} with = and a whole number", part.strip(), example)
    window, label, value = found.groups()
    return Limit(window, int(value), None if label is None else label.strip())


def allows(spent: Spent, limits: Limits, at: datetime, labels: Collection[str]) -> str | None:
    """None where an image may be asked about; else which limit is used up, and until when.

    Of several, the one that opens last is named. Nothing changes.

    Args:
        at: when the image came, with its timezone.
        labels: those shown on the image.

    Raises:
        BadInput: ``at`` has no timezone.
    """
    closed: list[tuple[int, Limit]] = []
    for limit in limits.of(labels):
        start, count = _window(spent, limit, at)
        if count >= limit.value:
            closed.append((start + WINDOWS[limit.window], limit))
    if not closed:
        return None
    opens, limit = max(closed, key=lambda pair: pair[0])
    what = "" if limit.label is None else f" for “{plain(limit.label)}”"
    return f"{limit.window} limit of {limit.value}{what} used up until {_clock(opens, at)}"


def spend(spent: Spent, limits: Limits, at: datetime, labels: Collection[str]) -> Spent:
    """What is spent after an image that people were asked about; limits that are gone are forgotten."""
    counted = {limit.name for limit in limits.of(labels)}
    after: dict[str, tuple[int, int]] = {}
    for limit in limits.each:
        if limit.name in counted:
            start, count = _window(spent, limit, at)
            after[limit.name] = (start, count + 1)
        elif limit.name in spent:
            after[limit.name] = spent[limit.name]
    return after


def _window(spent: Spent, limit: Limit, at: datetime) -> tuple[int, int]:
    """Start of the window that counts at that time, and the images asked in it."""
    if at.tzinfo is None:
        raise BadInput("at", "a time with its timezone", at)
    length = WINDOWS[limit.window]
    now = int(at.timestamp() // length) * length
    start, count = spent.get(limit.name, (now, 0))
    return (now, 0) if now > start else (start, count)


def _clock(seconds: int, at: datetime) -> str:
    opens = datetime.fromtimestamp(seconds, UTC)
    same = opens.date() == at.astimezone(UTC).date()
    return f"{opens:%H:%M} UTC" if same else f"{opens:%Y-%m-%d %H:%M} UTC"
