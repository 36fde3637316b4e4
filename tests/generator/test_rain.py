"""Streaks against geometry and Garg and Nayar's law; pictures against what rain must do to them."""

from __future__ import annotations

import math
from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from backend.demo.scenes import render
from generator import drops
from generator.falling import Camera, Flight, expose, fly, sheet
from generator.outdoors import clamped, decode, encode, ground, overcast, patches, veiled
from generator.pixels import Pixels, Plane
from generator.rain import rain
from generator.weather import Severity
from pool.schema import BadInput

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
FAR = np.float32(25.0)


def street(height: int, width: int) -> Plane:
    """Depth of a level street in front of a wall 25 m away."""
    row = np.arange(height, dtype=np.float32)[:, None] - 0.45 * height
    depth = np.minimum(0.9 * width * 1.5 / np.maximum(row, 1e-3), FAR)
    return np.broadcast_to(depth, (height, width)).astype(np.float32)


def fine(image: Pixels) -> float:
    """Energy of what is finer than a few pixels."""
    grey = image.astype(np.float64).mean(axis=2)
    return float(np.std(grey - gaussian_filter(grey, 3)))


# The camera


def test_camera_by_hand() -> None:
    camera = Camera(640, 480)
    # 32.4 mm of focal length, pixels of 36 / 640 mm.
    assert camera.pixels(0.1, 3.0) == pytest.approx(32.4 / (36 / 640) * 0.1 / 3.0)
    assert camera.defocus(camera.focus) == 0
    assert camera.defocus(1.0) == pytest.approx(576 * 0.002 * 7 / 8)
    # A pyramid: a third of the base, 10 / .9 m by 7.5 / .9 m, times the height.
    assert camera.volume(0, 10) == pytest.approx(10 / 0.9 * 7.5 / 0.9 * 10 / 3)


def test_particles_fill_the_air_evenly() -> None:
    rng, camera, one = np.random.default_rng(0), Camera(64, 48), np.ones(40_000)
    flight = fly(rng, camera, (1.0, 4.0), 0.002 * one, 0.001 * one, 0 * one, 6 * one)
    half = np.cbrt((1 + 64) / 2)  # half of the volume lies before this
    assert (flight.distance < half).mean() == pytest.approx(0.5, abs=0.01)
    assert flight.down == pytest.approx(camera.pixels(0.1, flight.distance))
    assert flight.area == pytest.approx(
        math.pi / 4 * camera.pixels(1e-3, 1.0) ** 2 * 2 / flight.distance**2
    )


# One streak


def streak(distance: float = 1.0, along: float = 0.0, blur: float = 0.0, y: float = 50.0) -> Flight:
    values = (40.0, y, along, 30.0, 0.6, blur, distance)
    return Flight(*(np.array([value]) for value in values))


def draw(flight: Flight, depth: Plane) -> tuple[Plane, Plane]:
    owner, moment = flight.trace()
    return expose(flight, owner, moment, np.full(len(owner), 1.5), depth)


DEEP = np.full((101, 81), 9.0, dtype=np.float32)


@given(st.floats(-30, 30), st.floats(0, 4), st.floats(20, 80))
@settings(max_examples=20, deadline=None)
def test_a_streak_covers_its_own_area_wherever_it_is(along: float, blur: float, y: float) -> None:
    cover, glow = draw(streak(along=along, blur=blur, y=y), DEEP)
    assert -np.log1p(-cover.astype(np.float64)).sum() == pytest.approx(0.6, rel=1e-3)
    assert glow == pytest.approx(1.5 * cover, abs=1e-6)


def test_a_streak_is_as_long_as_its_path_and_as_opaque_as_the_law_says() -> None:
    camera, size = Camera(640, 480), 0.002
    one = np.ones(1)
    fall = float(drops.speed(2.0))
    flight = fly(
        np.random.default_rng(3), camera, (1.0, 1.0001), size * one, size * one, 0 * one, fall * one
    )
    rows = draw(flight, np.full((480, 640), 9.0, dtype=np.float32))[0].sum(axis=1)
    length = fall / 60 * 576
    assert (rows > rows.max() / 2).sum() == pytest.approx(length, abs=3)
    # Across the streak: its width in pixels, times a disc's mean height, times h / (v T).
    opacity = float(drops.opacity(size, fall, 1 / 60))
    assert np.median(rows[rows > rows.max() / 2]) == pytest.approx(
        576 * size * math.pi / 4 * opacity, rel=0.05
    )


def test_a_drop_behind_a_surface_is_hidden() -> None:
    depth = DEEP.copy()
    depth[:50] = 0.5
    cover = draw(streak(), depth)[0]
    assert cover[:49].max() == 0
    assert cover[52:60, 39:41].min() > 0
    assert draw(streak(distance=9.5), DEEP)[0].max() == 0


def test_defocus_spreads_a_streak() -> None:
    sharp, soft = draw(streak(), DEEP)[0], draw(streak(blur=3.0), DEEP)[0]
    assert soft.max() < sharp.max() / 3
    across = soft[50] / soft[50].sum()
    middle = (across * np.arange(81)).sum()
    assert middle == pytest.approx(39.5, abs=0.1)
    assert math.sqrt((across * (np.arange(81) - middle) ** 2).sum()) == pytest.approx(3.0, rel=0.25)


def test_a_sheet_covers_what_its_particles_do_and_leans_with_them() -> None:
    rng = np.random.default_rng(0)
    thin = sheet(rng, (300, 400), 40_000, 0.01, 15, 0.5)
    assert -np.log1p(-thin.astype(np.float64)).sum() == pytest.approx(400, rel=0.03)
    centred = thin - thin.mean()

    def alike(shift: int) -> float:
        return float((centred[:-10, 10:380] * centred[10:, 10 + shift : 380 + shift]).mean())

    assert max(range(-10, 11), key=alike) == 5  # ten rows down, five to the right


# Light, veil and ground


def test_light_and_back() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    assert np.array_equal(encode(decode(every)), every)
    assert decode(every)[[11], [12], 0] == pytest.approx([0.5028865])  # byte 188
    assert encode(np.full((1, 1, 3), 7, dtype=np.float32)).tolist() == [[[255] * 3]]


def test_contrast_falls_to_a_fiftieth_at_the_visibility() -> None:
    depth = np.array([[150.0]], dtype=np.float32)
    air = np.ones(3, dtype=np.float32)
    seen = veiled(np.zeros((1, 1, 3), dtype=np.float32), depth, 3.912 / 100, air, 50.0)
    assert 1 - seen[0, 0, 0] == pytest.approx(0.02, abs=1e-4)
    assert clamped(np.array([[0.0, np.inf]], dtype=np.float32)).tolist() == [[np.float32(0.1), 200.0]]


def test_a_blue_sky_turns_to_cloud_and_what_is_near_does_not() -> None:
    blue = np.tile(np.array([0.1, 0.2, 0.6], dtype=np.float32), (20, 20, 1))
    depth = np.full((20, 20), 5, dtype=np.float32)
    depth[:10] = np.inf
    colour = np.ptp(overcast(blue, depth, 0.8, 0.6), axis=2)
    assert colour[15] == pytest.approx(0.8 * 0.6 * 0.5)
    assert colour[5].max() < 0.25 * colour[15].min()


def test_ground_is_the_street_and_neither_wall_nor_thing() -> None:
    depth, image = street(240, 320).copy(), np.full((240, 320, 3), 110, dtype=np.uint8)
    image[:115] = 150, 90, 60
    image[120:180, 150:190] = 20, 120, 60
    level = ground(image, depth)
    assert level[150:, :140].min() > 0.8
    assert level[:100].max() == 0
    assert level[130:170, 160:180].max() < 0.1
    assert ground(image, np.full_like(depth, 7)).max() == 0


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_patches_are_evenly_distributed(height: int, width: int, seed: int) -> None:
    noise = patches(np.random.default_rng(seed), (height, width), 4)
    assert noise.shape == (height, width)
    even = np.linspace(0, 1, noise.size) if noise.size > 1 else [0]
    assert np.sort(noise, axis=None) == pytest.approx(even, abs=1e-6)


# The picture


@pytest.fixture(scope="module")
def scenes() -> list[Pixels]:
    return [render(seed, (320, 240)).image for seed in (3, 8, 12)]


def wall_under_sky(height: int = 240, width: int = 320) -> Pixels:
    """Nothing but a dark wall (lower half) and a bright sky."""
    image = np.full((height, width, 3), 60, dtype=np.uint8)
    image[: height // 2] = 225
    return image


def test_severer_rain_shows_more_streaks() -> None:
    near = np.full((240, 320), FAR, dtype=np.float32)
    for seed in range(3):
        falls = [rain(wall_under_sky(), near, s, np.random.default_rng(seed)) for s in SEVERITIES]
        wet = [fine(image[130:]) for image in falls]
        assert wet[0] > 0.5
        assert wet[1] > 1.2 * wet[0]
        assert wet[2] > 1.2 * wet[1]


def test_streaks_are_upright_and_bright() -> None:
    near = np.full((240, 320), FAR, dtype=np.float32)
    wet = rain(wall_under_sky(), near, "moderate", np.random.default_rng(1))[130:]
    plane = wet.astype(np.float64).mean(axis=2)
    assert np.abs(np.diff(plane, axis=1)).mean() > 1.5 * np.abs(np.diff(plane, axis=0)).mean()
    detail = plane - np.median(plane)
    assert detail.max() > 3 * -detail.min()  # drops are brighter than what is behind them


def test_severer_rain_leaves_less_light_and_colour(scenes: list[Pixels]) -> None:
    for image in scenes:
        depth = street(240, 320)
        row = [image, *(rain(image, depth, s, np.random.default_rng(2)) for s in SEVERITIES)]
        colour = [float(cv2.cvtColor(i, cv2.COLOR_RGB2HSV)[..., 1].mean()) for i in row]
        spread = [float(np.std(i.astype(np.float64).mean(axis=2))) for i in row]
        assert colour == sorted(colour, reverse=True)
        assert spread == sorted(spread, reverse=True)


def test_things_keep_their_shape(scenes: list[Pixels]) -> None:
    for image in scenes:
        wet = rain(image, street(240, 320), "heavy", np.random.default_rng(5))
        before, after = (gaussian_filter(i.astype(np.float64).mean(axis=2), 1.5) for i in (image, wet))
        for axis in (0, 1):
            change = [np.diff(plane, axis=axis).ravel() for plane in (before, after)]
            assert np.corrcoef(change)[0, 1] > 0.6


def test_same_seed_same_pixels_and_nothing_else_is_touched(scenes: list[Pixels]) -> None:
    image, depth = scenes[0].copy(), street(240, 320)
    first = rain(image, depth, "moderate", np.random.default_rng(7))
    assert np.array_equal(first, rain(image, depth, "moderate", np.random.default_rng(7)))
    assert not np.array_equal(first, rain(image, depth, "moderate", np.random.default_rng(8)))
    assert np.array_equal(image, scenes[0])


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
        wet = rain(plain, depth, severity, np.random.default_rng(0))
        assert wet.shape == plain.shape
        assert wet.dtype == np.uint8
        if value == 0:
            assert wet.max() == 0  # nothing there that could light a drop


def test_bad_input() -> None:
    image, rng = np.zeros((9, 9, 3), dtype=np.uint8), np.random.default_rng(0)
    good = np.ones((9, 9), dtype=np.float32)
    for bad_image, depth, severity in (
        (image, good[:8], "light"),
        (image, good * np.nan, "light"),
        (image, -good, "light"),
        (image, good, "extreme"),
        (image[..., 0], good, "light"),
        (image.astype(np.float32), good, "light"),
    ):
        with pytest.raises(BadInput):
            rain(bad_image, depth, severity, rng)  # type: ignore[arg-type]
