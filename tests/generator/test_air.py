"""Koschmieder's law to the digit, airlight, and dust."""

from __future__ import annotations

import math

import numpy as np
import pytest

from generator.air import HAZE, OCHRE, SAND, airlight, extinction, haze, sandstorm, transmission, turbulence
from generator.outdoors import decode
from generator.pixels import Pixels, Plane
from generator.weather import SEVERITIES
from pool.schema import BadInput


def board(height: int = 120, width: int = 160) -> Pixels:
    """Black and white squares."""
    squares = (np.add.outer(np.arange(height) // 10, np.arange(width) // 10) % 2).astype(np.uint8)
    return np.repeat(squares[..., None] * 255, 3, axis=2)


def at(metres: float, image: Pixels) -> Plane:
    return np.full(image.shape[:2], metres, np.float32)


@pytest.mark.parametrize("visibility", [10.0, 50.0, 2000.0])
def test_contrast_at_the_visibility_is_two_percent(visibility: float) -> None:
    assert extinction(visibility) * visibility == pytest.approx(3.912, abs=5e-4)
    depth = np.array([[0, visibility, 2 * visibility]], np.float32)
    assert transmission(depth, visibility)[0] == pytest.approx([1, 0.02, 0.0004], rel=1e-4)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("metres", [2.0, 6.0, 12.0])
def test_haze_leaves_the_contrast_that_the_law_says(severity: str, metres: float) -> None:
    image = board()
    # The scatter of the visibility is the only chance in haze.
    scatter = math.exp(np.random.default_rng(3).normal(0, 0.1))
    out = decode(haze(image, at(metres, image), severity, np.random.default_rng(3)))  # type: ignore[arg-type]
    black, white = out[image[..., 0] == 0], out[image[..., 0] == 255]
    left = math.exp(-math.log(50) / (HAZE[severity] * scatter) * metres)  # type: ignore[index]
    assert white.mean() - black.mean() == pytest.approx(left, abs=0.006)
    air = airlight(decode(image))
    assert black.mean() == pytest.approx(float(air.mean()) * (1 - left), abs=0.006)


def test_far_away_only_the_air_is_seen() -> None:
    image = board()
    out = decode(haze(image, at(200, image), "heavy", np.random.default_rng(0)))
    assert np.ptp(out) < 0.02
    assert out.mean(axis=(0, 1)) == pytest.approx(airlight(decode(image)), abs=0.01)


def test_severities_are_shorter_and_shorter_visibilities() -> None:
    for table in (HAZE, SAND):
        values = [table[severity] for severity in SEVERITIES]
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (220, 30, 10), (20, 60, 240)])
def test_air_is_nearly_grey_and_of_a_daylight_level(colour: tuple[int, int, int]) -> None:
    air = airlight(decode(np.full((30, 40, 3), colour, np.uint8)))
    assert air.min() > 0.25
    assert air.max() < 0.8
    assert air.max() / air.min() < 1.15


def test_dust_is_ochre_warms_and_dims() -> None:
    image = np.full((120, 160, 3), 180, np.uint8)
    far = decode(sandstorm(image, at(200, image), "heavy", np.random.default_rng(0))).mean(axis=(0, 1))
    assert far / far[0] == pytest.approx(OCHRE, abs=0.03)
    near = [
        decode(sandstorm(image, at(0.1, image), severity, np.random.default_rng(0))).mean(axis=(0, 1))
        for severity in SEVERITIES
    ]
    clear = float(decode(image)[0, 0, 0])
    assert clear > near[0].mean() > near[1].mean() > near[2].mean()
    assert 1 < near[0][0] / near[0][2] < near[1][0] / near[1][2] < near[2][0] / near[2][2]


def test_dust_blurs_what_is_far_more_than_what_is_near() -> None:
    image = board()

    def sharpness(metres: float) -> float:
        out = decode(sandstorm(image, at(metres, image), "moderate", np.random.default_rng(1)))[..., 1]
        steps = np.abs(np.diff(out, axis=1))
        return float(np.quantile(steps, 0.97) / (np.quantile(out, 0.95) - np.quantile(out, 0.05)))

    assert sharpness(14) < 0.9 * sharpness(1)


def test_turbulence_is_standardised_and_has_several_sizes() -> None:
    noise = turbulence((240, 320), np.random.default_rng(0))
    assert noise.mean() == pytest.approx(0, abs=1e-4)
    assert noise.std() == pytest.approx(1, abs=1e-4)
    spectrum = np.abs(np.fft.rfft2(noise)) ** 2
    # Sideways it changes more slowly.
    assert np.abs(np.diff(noise, axis=0)).mean() > np.abs(np.diff(noise, axis=1)).mean()
    bands = [spectrum[0, low:high].sum() for low, high in ((1, 4), (4, 12), (12, 40))]
    assert bands[0] > bands[1] > bands[2] > 0


@pytest.mark.parametrize("render", [haze, sandstorm])
def test_depths_and_severities_must_fit(render: object) -> None:
    image = board()
    with pytest.raises(BadInput, match="depth"):
        haze(image, np.ones((3, 3), np.float32), "light", np.random.default_rng(0))
    with pytest.raises(BadInput, match="severity"):
        sandstorm(image, at(1, image), "extreme", np.random.default_rng(0))  # type: ignore[arg-type]
