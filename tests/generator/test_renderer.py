"""Every condition rendered: monotone in severity, the same for a seed, and never an accident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backend.demo.scenes import condition, render
from generator import renderer
from generator.pixels import Pixels
from generator.statistics import change, measure
from generator.weather import SEVERITIES, default
from pool.schema import BadInput

CONDITIONS = default().conditions
DAYLIGHT = [seed for seed in range(300, 400) if condition(seed) in ("noon", "overcast", "low sun")]


@cache
def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Pixels:
    return render(seed, size).image


def variant(image: Pixels, name: str, seed: int = 0) -> Pixels:
    return renderer.render(image, CONDITIONS[name], seed)


def holds(name: str, changes: dict[str, float]) -> bool:
    return all(e.low <= changes[e.statistic] <= e.high for e in CONDITIONS[name].effects)


@pytest.mark.parametrize(
    ("family", "statistic", "sign"),
    [
        ("rain", "brightness", -1),
        ("rain", "saturation", -1),
        ("snow", "whiteness", 1),
        ("snow", "saturation", -1),
        ("sandstorm", "detail", -1),
        ("sandstorm", "contrast", -1),
        ("haze", "haze", 1),
        ("haze", "detail", -1),
        ("haze", "contrast", -1),
    ],
)
def test_heavier_weather_does_more(family: str, statistic: str, sign: int) -> None:
    steps = []
    for seed in DAYLIGHT[:4]:
        image = scene(seed)
        done = [change(image, variant(image, f"{family}:{s}", seed))[statistic] for s in SEVERITIES]
        steps.append([sign * value for value in (0.0, *done)])
    grown = np.diff(np.array(steps), axis=1)
    assert (grown.mean(axis=0) > 0).all()
    assert (grown > -1e-3).mean() > 0.9


@pytest.mark.parametrize("name", CONDITIONS)
def test_effects_hold_in_daylight_and_the_parent_itself_fails(name: str) -> None:
    passed = [holds(name, change(scene(s), variant(scene(s), name, s))) for s in DAYLIGHT[:6]]
    assert sum(passed) >= 5
    assert not holds(name, change(scene(DAYLIGHT[0]), scene(DAYLIGHT[0])))


@pytest.mark.slow
def test_effects_hold_in_most_scenes_and_drawings_and_seldom_for_another_family() -> None:
    from backend.demo.weather import CONDITIONS as DRAWN
    from backend.demo.weather import pictures

    seeds = DAYLIGHT[12:32]
    rendered = {n: [change(scene(s), variant(scene(s), n, s)) for s in seeds] for n in CONDITIONS}
    for name, changes in rendered.items():
        assert np.mean([holds(name, c) for c in changes]) >= 0.9, name
    drawn: dict[str, list[dict[str, float]]] = {n: [] for n in CONDITIONS}
    for seed in range(700, 720):
        of = pictures(seed, DRAWN, (320, 240))
        for name in CONDITIONS:
            drawn[name].append(change(of["clear"].image, of[name].image))
    for name, changes in drawn.items():
        assert np.mean([holds(name, c) for c in changes]) >= 0.85, name
    others = [
        np.mean([holds(b, c) for c in rendered[a] + drawn[a]])
        for a in CONDITIONS
        for b in CONDITIONS
        if CONDITIONS[a].family != CONDITIONS[b].family
    ]
    assert np.mean(others) < 0.2


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_seed_is_a_picture(name: str) -> None:
    image = scene(DAYLIGHT[0], (160, 120))
    before = image.copy()
    first = variant(image, name, 5)
    assert np.array_equal(first, variant(image, name, 5))
    assert not np.array_equal(first, variant(image, name, 6))
    assert np.array_equal(image, before)
    assert first.shape == image.shape
    assert first.dtype == np.uint8


@pytest.mark.parametrize("name", [n for n in CONDITIONS if not n.endswith(("light", "moderate"))])
@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(16, 16), (61, 97), (97, 33)])
def test_flat_pictures_of_any_size_do_not_trip_it(name: str, level: int, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), level, np.uint8)
    out = variant(image, name)
    assert out.shape == image.shape
    assert np.isfinite(list(measure(out).values())).all()


@settings(max_examples=15, deadline=None)
@given(
    st.integers(16, 120), st.integers(16, 120), st.integers(0, 2**31), st.sampled_from(sorted(CONDITIONS))
)
def test_any_picture_can_be_rendered(height: int, width: int, seed: int, name: str) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = variant(image, name, seed)
    assert out.shape == image.shape
    assert out.dtype == np.uint8


def edges(image: Pixels) -> NDArray[np.float64]:
    down, across = np.gradient(image.mean(axis=2))
    return np.asarray(np.hypot(down, across), dtype=np.float64)


@pytest.mark.parametrize("name", ["haze:light", "sandstorm:light", "dim", "dusk", "street lamp", "glare"])
def test_nothing_moves(name: str) -> None:
    for seed in DAYLIGHT[:3]:
        image = scene(seed)
        before, after = edges(image), edges(variant(image, name, seed))
        here = np.corrcoef(before.ravel(), after.ravel())[0, 1]
        moved = np.corrcoef(np.roll(before, 4, axis=1).ravel(), after.ravel())[0, 1]
        assert here > moved + 0.2


def refused(image: Pixels, name: str, seed: int, changes: Sequence[tuple[str, object]] = ()) -> str:
    with pytest.raises(BadInput) as error:
        renderer.render(image, replace(CONDITIONS[name], **dict(changes)), seed)  # type: ignore[arg-type]
    return error.value.field


def test_what_cannot_be_rendered_is_refused() -> None:
    image = scene(DAYLIGHT[0], (160, 120))
    assert refused(image, "night", -1) == "seed"
    assert refused(image[..., 0], "night", 0) == "image"
    assert refused(image.astype(np.float32), "night", 0) == "image"
    assert refused(image, "night", 0, [("name", "smoke"), ("family", "smoke")]) == "condition"
    assert refused(image, "night", 0, [("severity", "heavy")]) == "condition"
    assert refused(image, "snow:heavy", 0, [("severity", None)]) == "condition"
