"""Snowfall against integrals and observed visibilities; pictures against what snow must do to them."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.ndimage import find_objects, gaussian_filter, label

from backend.demo.scenes import render
from generator import snow as snowfall
from generator.pixels import Pixels, Plane
from generator.snow import snow
from generator.weather import Severity
from pool.schema import BadInput
from tests.generator.test_rain import FAR, fine, street, wall_under_sky

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
OPEN: Plane = np.full((240, 320), FAR, dtype=np.float32)


def test_gunn_and_marshall_by_hand() -> None:
    assert snowfall.slope(1.0) == 2.55
    assert snowfall.intercept(1.0) == 3800
    assert snowfall.slope(4.0) == pytest.approx(2.55 / 1.9453, rel=1e-4)
    assert snowfall.intercept(4.0) == pytest.approx(3800 / 3.3404, rel=1e-4)


@given(st.floats(0.2, 8))
def test_numbers_are_integrals(rate: float) -> None:
    def density(d: float) -> float:
        return snowfall.intercept(rate) * math.exp(-snowfall.slope(rate) * d)

    assert snowfall.number(0.5, 2.0, rate) == pytest.approx(quad(density, 0.5, 2.0)[0], rel=1e-6)
    cross = quad(lambda d: math.pi / 4 * (0.1 ** (-1 / 3) * d) ** 2 * density(d), 0, 60)[0] * 1e-6
    assert snowfall.extinction(rate) == pytest.approx(2 * cross, rel=1e-3)


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.5])
def test_the_flakes_bring_the_water_that_they_are_named_for(rate: float) -> None:
    def flux(d: float) -> float:
        number = snowfall.intercept(rate) * math.exp(-snowfall.slope(rate) * d)
        return math.pi / 6 * d**3 * number * float(snowfall.speed(d))

    assert quad(flux, 0, 20)[0] * 3.6e-3 == pytest.approx(rate, rel=0.35)


def test_visibility_as_observers_class_it() -> None:
    # Light snow leaves 1 km or more, moderate .5 to 1 km; heavy is about .5 km and less.
    seen = {severity: 3.912 / snowfall.extinction(rate) for severity, rate in snowfall.RATES.items()}
    assert seen["light"] > 1000 > seen["moderate"] > 600 > seen["heavy"]


def test_fall_speed() -> None:
    # .8 d^.16: d = 2 mm and less, 5 mm, 12 mm and more
    flakes = np.array([0.1, 5 / snowfall.LOOSENESS, 9])
    assert snowfall.speed(flakes) == pytest.approx([0.894, 1.035, 1.191], abs=1e-3)


def test_severer_snow_shows_more_flakes() -> None:
    for seed in range(3):
        falls = [snow(wall_under_sky(), OPEN, s, np.random.default_rng(seed)) for s in SEVERITIES]
        detail = [fine(image[130:]) for image in falls]
        assert detail[0] > 1
        assert detail[1] > 1.15 * detail[0]
        assert detail[2] > 1.15 * detail[1]


def test_flakes_are_soft_spots_of_many_sizes() -> None:
    far = np.full((480, 640), FAR, dtype=np.float32)
    white = snow(wall_under_sky(480, 640), far, "light", np.random.default_rng(0))
    plane = white[260:].astype(np.float64).mean(axis=2)
    spots, count = label(plane > np.median(plane) + 20)
    boxes = find_objects(spots)
    heights = np.array([b[0].stop - b[0].start for b in boxes])
    widths = np.array([b[1].stop - b[1].start for b in boxes])
    assert count > 100
    assert np.quantile(heights, 0.95) >= 2 * np.quantile(heights, 0.2)
    assert np.median(heights / widths) < 6


@pytest.mark.parametrize("seed", [3, 8, 12])
def test_severer_snow_is_whiter_and_covers_the_ground(seed: int) -> None:
    image, depth = render(seed, (320, 240)).image, street(240, 320)
    row = [image, *(snow(image, depth, s, np.random.default_rng(2)) for s in SEVERITIES)]
    colour = [float(np.ptp(i.astype(np.int64), axis=2).mean()) for i in row]
    assert colour == sorted(colour, reverse=True)
    lower = [float(i[200:].mean()) for i in row]
    assert lower == sorted(lower)
    assert lower[-1] > lower[0] + 15


@pytest.mark.parametrize("seed", [3, 8, 12])
def test_things_keep_their_shape(seed: int) -> None:
    image = render(seed, (320, 240)).image
    white = snow(image, street(240, 320), "heavy", np.random.default_rng(5))
    before, after = (gaussian_filter(i.astype(np.float64).mean(axis=2), 1.5)[:110] for i in (image, white))
    for axis in (0, 1):
        change = [np.diff(plane, axis=axis).ravel() for plane in (before, after)]
        assert np.corrcoef(change)[0, 1] > 0.5


def test_snow_lies_on_ledges_but_not_on_rows_of_them() -> None:
    image = np.full((240, 320, 3), 120, dtype=np.uint8)
    image[100:] = 70
    image[150:230:6, 40:280] = 30
    lying = snowfall._ledges(image)
    assert lying[99:101, 20:300].max(axis=0).min() > 0.5
    assert lying[160:220, 60:260].mean() < 0.05
    assert lying[:90].max() == 0


def test_same_seed_same_pixels() -> None:
    image: Pixels = render(3, (320, 240)).image
    kept = image.copy()
    first = snow(image, OPEN, "moderate", np.random.default_rng(7))
    assert np.array_equal(first, snow(image, OPEN, "moderate", np.random.default_rng(7)))
    assert not np.array_equal(first, snow(image, OPEN, "moderate", np.random.default_rng(8)))
    assert np.array_equal(image, kept)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (17, 16), (37, 101), (101, 33)])
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("value", [0, 127, 255])
def test_odd_sizes_and_plain_pictures(shape: tuple[int, int], severity: Severity, value: int) -> None:
    plain = np.full((*shape, 3), value, dtype=np.uint8)
    for depth in (
        street(*shape),
        np.full(shape, np.inf, dtype=np.float32),
        np.zeros(shape, dtype=np.float32),
    ):
        white = snow(plain, depth, severity, np.random.default_rng(0))
        assert white.shape == plain.shape
        assert white.dtype == np.uint8
        if value == 0:
            assert white.max() == 0  # nothing there that could light a flake


def test_bad_input() -> None:
    image, depth = np.zeros((9, 9, 3), dtype=np.uint8), np.ones((9, 8), dtype=np.float32)
    with pytest.raises(BadInput):
        snow(image, depth, "light", np.random.default_rng(0))
