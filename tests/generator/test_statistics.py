"""Statistics of pictures whose answers are known, and what stays the same at another size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from backend.demo import scenes
from generator.pixels import Pixels
from generator.statistics import NAMES, RATIOS, change, measure
from pool.schema import BadInput


def flat(*colour: int, size: tuple[int, int] = (240, 320)) -> Pixels:
    return np.full((*size, 3), colour, np.uint8)


def test_names_come_in_order() -> None:
    assert tuple(measure(flat(9, 9, 9))) == NAMES == tuple(change(flat(9, 9, 9), flat(1, 2, 3)))
    assert set(NAMES) > RATIOS


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 40, 90), (10, 120, 250)])
def test_a_flat_picture_has_its_colour_and_nothing_else(colour: tuple[int, int, int]) -> None:
    found = measure(flat(*colour))
    lightness, a, b = rgb2lab(np.array(colour, np.uint8)[None, None])[0, 0]
    assert found["brightness"] == pytest.approx(lightness / 100, abs=0.004)
    assert found["saturation"] == pytest.approx(np.hypot(a, b) / 128, abs=0.008)
    assert found["warmth"] == pytest.approx((colour[0] - colour[2]) / 255, abs=1e-6)
    assert found["haze"] == pytest.approx(min(colour) / 255, abs=1e-6)
    for name in ("contrast", "above", "afterglow", "detail", "streaks", "flecks", "lights"):
        assert found[name] == pytest.approx(0, abs=1e-5), name


def test_whiteness_is_of_the_lower_half() -> None:
    image = flat(60, 70, 60)
    image[120:] = 250
    assert measure(image)["whiteness"] == pytest.approx(1)
    assert measure(image[::-1].copy())["whiteness"] == 0
    image[120:] = (250, 180, 60)
    assert measure(image)["whiteness"] == 0


def test_above_and_afterglow_compare_the_thirds() -> None:
    image = flat(100, 100, 100)
    image[:80] = (200, 150, 100)
    found = measure(image)
    lightness = rgb2lab(np.array([[(200, 150, 100), (100, 100, 100)]], np.uint8))[0, :, 0] / 100
    assert found["above"] == pytest.approx(lightness[0] - lightness[1], abs=0.005)
    assert found["afterglow"] == pytest.approx(100 / 255, abs=1e-5)


def test_contrast_of_halves_is_half_their_difference() -> None:
    image = flat(0, 0, 0)
    image[:, 160:] = 255
    assert measure(image)["contrast"] == pytest.approx(0.5, abs=1e-3)


def drops(kind: str) -> Pixels:
    image = flat(70, 70, 70)
    for k in range(40):
        row, column = 10 + (k * 53) % 200, 10 + (k * 37) % 300
        if kind == "steep":
            image[row : row + 28, column : column + 2] = 200
        elif kind == "level":
            image[row : row + 2, column : column + 28] = 200
        else:
            image[row : row + 4, column : column + 4] = 200
    return image


def test_streaks_are_steep_and_flecks_are_round() -> None:
    steep, level, round_ = (measure(drops(kind)) for kind in ("steep", "level", "round"))
    assert steep["streaks"] > 0.01
    assert level["streaks"] < steep["streaks"] / 5
    assert round_["streaks"] < steep["streaks"] / 20
    assert round_["flecks"] > 0.005
    assert steep["flecks"] < round_["flecks"] / 3


def test_lights_need_darkness() -> None:
    night = flat(12, 12, 12)
    night[40:60, 100:120] = 240
    assert measure(night)["lights"] == pytest.approx(400 / (240 * 320), abs=1e-4)
    day = flat(160, 160, 160)
    day[40:60, 100:120] = 240
    assert measure(day)["lights"] == 0


def test_a_spread_changes_by_halves() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 12, (240, 320, 1)).repeat(3, axis=2)
    half = change(
        (128 + 2 * noise).clip(0, 255).astype(np.uint8), (128 + noise).clip(0, 255).astype(np.uint8)
    )
    assert half["detail"] == pytest.approx(-1, abs=0.06)
    assert half["contrast"] == pytest.approx(-1, abs=0.06)
    assert half["brightness"] == pytest.approx(0, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_any_picture_is_measured_within_the_ranges(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = (rng.integers(0, 256, (height, width, 3)) ** rng.integers(0, 2)).astype(np.uint8)
    found = measure(image)
    for name, value in found.items():
        low, high = (-1, 1) if name in ("warmth", "above", "afterglow") else (0, 1)
        assert low - 1e-6 <= value <= high + 1e-6, name
    assert found["lights"] <= 0.25 + 1e-9
    assert found["contrast"] <= 0.5 + 1e-6
    assert set(change(image, image).values()) == {0.0}


@pytest.mark.parametrize("seed", [0, 3, 8])
def test_the_same_picture_at_another_size_says_nearly_the_same(seed: int) -> None:
    import cv2

    image = scenes.render(seed, (640, 480)).image
    large = measure(image)
    for size in ((500, 375), (427, 320), (1280, 960)):
        other = measure(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
        for name in NAMES:
            assert other[name] == pytest.approx(large[name], abs=0.015, rel=0.12), (name, size)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3)),
        np.zeros((0, 9, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: Pixels) -> None:
    with pytest.raises(BadInput, match="uint8 RGB"):
        measure(image)
