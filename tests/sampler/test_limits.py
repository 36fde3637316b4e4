"""Quotas by the minute, the hour and the day: the words, the windows, and clocks that go wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler.limits import WINDOWS, Limit, Limits, Spent, allows, parse, spend

NOON = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
LABELS = ["garbage", "满溢的垃圾桶", "a=b/c"]

moments = st.integers(-7200, 90000).map(lambda seconds: NOON + timedelta(seconds=seconds))
arrivals = st.lists(st.tuples(moments, st.sets(st.sampled_from(LABELS))), max_size=80)
limits = st.lists(
    st.builds(
        Limit,
        st.sampled_from(sorted(WINDOWS)),
        st.integers(0, 6),
        st.none() | st.sampled_from(LABELS),
    ),
    max_size=5,
    unique_by=lambda limit: limit.name,
).map(lambda each: Limits(tuple(each)))


def through(arrivals: list[tuple[datetime, set[str]]], held: Limits) -> list[tuple[datetime, set[str]]]:
    """The images that are let through, each of them spent."""
    spent: Spent = {}
    passed = []
    for at, labels in arrivals:
        if allows(spent, held, at, labels) is None:
            spent = spend(spent, held, at, labels)
            passed.append((at, labels))
    return passed


def window(at: datetime, limit: Limit) -> datetime:
    """Start of a calendar window, by the fields of the calendar."""
    at = at.astimezone(UTC).replace(second=0, microsecond=0)
    if limit.window != "minutely":
        at = at.replace(minute=0)
    return at.replace(hour=0) if limit.window == "daily" else at


def test_the_words() -> None:
    text = "minutely=5, hourly=100 ,daily = 1000,daily/garbage=50, hourly / two words = 7, daily/垃圾=3"
    assert parse(text) == Limits(
        (
            Limit("minutely", 5),
            Limit("hourly", 100),
            Limit("daily", 1000),
            Limit("daily", 50, "garbage"),
            Limit("hourly", 7, "two words"),
            Limit("daily", 3, "垃圾"),
        )
    )
    assert parse("") == parse("  ") == Limits()


@given(st.sampled_from(sorted(WINDOWS)), st.text(min_size=1, max_size=30), st.integers(0, 10**9 - 1))
def test_any_label_without_a_comma_is_read_back(name: str, label: str, value: int) -> None:
    label = label.replace(",", "").strip()
    if label:
        assert parse(f"{name}/{label}={value}").each == (Limit(name, value, label),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("weekly=5", "minutely, hourly, daily"),
        ("hourly", "whole number"),
        ("hourly=", "whole number"),
        ("hourly=-1", "whole number"),
        ("hourly=1.5", "whole number"),
        ("hourly=many", "whole number"),
        ("hourly=9999999999", "whole number"),
        ("daily/=5", "whole number"),
        ("daily/ =5", "whole number"),
        ("daily=5,", "whole number"),
        ("daily5", "whole number"),
        ("daily/a=5, b=6", "'b=6'"),
        ("daily=5, daily=6", "one value for each"),
        ("daily/a=5, daily/ a =6", "daily/a"),
    ],
)
def test_what_is_no_limit_is_named(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse(text)


@pytest.mark.parametrize("make", [lambda: Limit("weekly", 1), lambda: Limit("daily", -1)])
def test_a_limit_out_of_range_is_named(make: Callable[[], Limit]) -> None:
    with pytest.raises(BadInput):
        make()


@settings(deadline=None, max_examples=150)
@given(arrivals, limits)
def test_in_order_of_time_each_window_lets_through_what_it_may_and_no_less(
    arrivals: list[tuple[datetime, set[str]]], held: Limits
) -> None:
    """Against counts by calendar window, kept for all time."""
    counts: Counter[tuple[str, datetime]] = Counter()
    expected = []
    arrivals.sort(key=lambda arrival: arrival[0])
    for at, labels in arrivals:
        own = [limit for limit in held.each if limit.label is None or limit.label in labels]
        if all(counts[limit.name, window(at, limit)] < limit.value for limit in own):
            counts.update((limit.name, window(at, limit)) for limit in own)
            expected.append((at, labels))
    assert through(arrivals, held) == expected


@settings(deadline=None, max_examples=150)
@given(arrivals, limits)
def test_a_clock_that_jumps_never_lets_more_through(
    arrivals: list[tuple[datetime, set[str]]], held: Limits
) -> None:
    """Each image counts in one window, and windows that were left are not opened again."""
    passed = through(arrivals, held)
    for limit in held.each:
        own = [at for at, labels in passed if limit.label is None or limit.label in labels]
        counts: Counter[datetime] = Counter()
        latest = NOON - timedelta(days=9)
        for at in own:
            latest = max(latest, at)
            counts[window(latest, limit)] += 1
        assert all(count <= limit.value for count in counts.values())


@given(st.integers(1, 3600), st.integers(1, 20))
def test_an_hour_that_is_used_up_stays_so_when_the_clock_is_set_back(back: int, value: int) -> None:
    held = Limits((Limit("hourly", value),))
    spent: Spent = {}
    for _ in range(value):
        spent = spend(spent, held, NOON, [])
    assert allows(spent, held, NOON - timedelta(seconds=back), []) is not None
    assert allows(spent, held, NOON + timedelta(seconds=3599.9), []) is not None
    assert allows(spent, held, NOON + timedelta(hours=1), []) is None


def test_which_limit_and_until_when() -> None:
    held = parse("minutely=1, hourly=2, daily=3, daily/满溢的垃圾桶=1")
    spent = spend({}, held, NOON + timedelta(minutes=5), [])
    at = NOON + timedelta(minutes=5, seconds=20)
    assert allows(spent, held, at, []) == "minutely limit of 1 used up until 12:06 UTC"
    spent = spend(spent, held, NOON + timedelta(minutes=6), ["满溢的垃圾桶"])
    at = NOON + timedelta(minutes=8)
    assert allows(spent, held, at, []) == "hourly limit of 2 used up until 13:00 UTC"
    says = "daily limit of 1 for “满溢的垃圾桶” used up until 2026-03-06 00:00 UTC"
    assert allows(spent, held, at, {"满溢的垃圾桶", "garbage"}) == says  # opens last
    spent = spend(spent, held, NOON + timedelta(hours=3), [])
    assert allows(spent, held, NOON + timedelta(hours=5), []) == (
        "daily limit of 3 used up until 2026-03-06 00:00 UTC"
    )


def test_a_timezone_changes_nothing_and_none_is_refused() -> None:
    held = parse("daily=1")
    spent = spend({}, held, datetime(2026, 3, 6, 7, 59, tzinfo=timezone(timedelta(hours=8))), [])
    assert allows(spent, held, datetime(2026, 3, 5, 23, 59, tzinfo=UTC), []) is not None
    assert allows(spent, held, datetime(2026, 3, 6, 8, 0, tzinfo=timezone(timedelta(hours=8))), []) is None
    with pytest.raises(BadInput, match="timezone"):
        allows({}, held, NOON.replace(tzinfo=None), [])


def test_nothing_is_not_asked_and_no_limit_never_ends() -> None:
    assert allows({}, parse("daily/garbage=0"), NOON, ["garbage"]) is not None
    assert allows({}, parse("daily/garbage=0"), NOON, ["bin"]) is None
    assert spend({}, Limits(), NOON, ["garbage"]) == {}


def test_spending_leaves_the_old_state_alone_and_forgets_limits_that_are_gone() -> None:
    held = parse("hourly=5, daily/garbage=5")
    spent = spend({}, held, NOON, ["garbage"])
    assert spend(spent, held, NOON, []) == {**spent, "hourly": (spent["hourly"][0], 2)}
    assert spent["hourly"][1] == spent["daily/garbage"][1] == 1
    assert set(spend(spent, parse("hourly=5"), NOON, [])) == {"hourly"}
    assert set(json.loads(json.dumps(spent))) == {"hourly", "daily/garbage"}
