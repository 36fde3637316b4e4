"""Exposure, noise, lamps and glare against their formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from generator import light
from generator.depth import EYE, FOCAL, HORIZON
from generator.outdoors import LUMA, Light, decode
from generator.pixels import Pixels, Plane

GREY = np.full((240, 320, 3), 150, np.uint8)
LEVEL = float(decode(GREY)[0, 0, 0])
Change = Callable[[Pixels, Plane, np.random.Generator], Pixels]


def at(metres: float, image: Pixels = GREY) -> Plane:
    return np.full(image.shape[:2], metres, np.float32)


def made(change: Change, metres: float = 6, seed: int = 0, image: Pixels = GREY) -> Light:
    return decode(change(image, at(metres, image), np.random.default_rng(seed)))


@pytest.mark.parametrize(("change", "low", "high"), [(light.dim, 1.2, 1.5), (light.night, 2.8, 3.4)])
def test_darkness_is_an_exposure_in_stops(change: Change, low: float, high: float) -> None:
    for seed in range(5):
        stops = np.log2(LEVEL / float((made(change, seed=seed) @ LUMA).mean()))
        # Noise cut off at black lightens a night a little.
        assert low - 0.2 < stops < high + 0.1


def test_order_of_darkness() -> None:
    means = [float((made(change) @ LUMA).mean()) for change in (light.dim, light.dusk, light.night)]
    assert LEVEL > means[0] > means[1] > means[2] > 0


def test_rods_see_blue_and_hardly_red() -> None:
    red, blue = (np.full((60, 80, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    day = float((decode(red) @ LUMA).mean() / (decode(blue) @ LUMA).mean())
    night = float(
        (made(light.night, image=red) @ LUMA).mean() / (made(light.night, image=blue) @ LUMA).mean()
    )
    assert day > 2
    assert night < 1
    grey = made(light.night).mean(axis=(0, 1))
    assert grey[2] > 1.2 * grey[0]


@pytest.mark.parametrize("electrons", [500.0, 5000.0])
@pytest.mark.parametrize("level", [0.2, 0.6])
def test_noise_is_of_photons_and_of_reading(electrons: float, level: float) -> None:
    flat = np.full((300, 300, 3), level, np.float32)
    noise = light.grain(flat, electrons, np.random.default_rng(0)) - flat
    expected = np.sqrt(level / electrons + (light.READ / electrons) ** 2)
    assert noise.std() == pytest.approx(expected, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=4 * expected / 500)


def test_relative_noise_grows_as_light_falls() -> None:
    def relative(change: Change) -> float:
        tone = made(change)[100:140, 150:170] @ LUMA
        return float(tone.std() / tone.mean())

    assert relative(light.dim) < relative(light.dusk) < relative(light.night)


def test_lamplight_falls_with_the_square_and_is_warm() -> None:
    lamp = [(160.0, 0.0, 8.0)]
    lit = [float(light._lamplight(at(metres), lamp)[150, 160]) for metres in (8.0, 28.0, 48.0)]
    assert lit[0] > lit[1] > lit[2] > 0
    # Seen at eye level: 3 m below the lamp, so the cone counts as well.
    row = (HORIZON * 240 - 150) / (FOCAL * 240)
    for metres, value in zip((28.0, 48.0), lit[1:], strict=True):
        down = light.LAMP_HEIGHT - EYE - row * metres
        square = down**2 + (metres - 8) ** 2
        expected = 11 * (down / np.sqrt(square + 0.05)) ** 1.5 / (square + 2)
        assert value == pytest.approx(expected, rel=1e-3)
    under, beside = (made(light.street_lamp, seed=s).reshape(-1, 3) for s in (1, 1))
    assert under[:, 0].mean() > 1.3 * beside[:, 2].mean()


def test_street_lamps_leave_pools_in_a_night() -> None:
    for seed in range(4):
        lamp, night = (made(change, 12, seed) @ LUMA for change in (light.street_lamp, light.night))
        assert lamp.mean() > night.mean()
        assert np.quantile(lamp, 0.98) > 3 * np.quantile(lamp, 0.1)


def test_dusk_glows_over_the_horizon_where_there_is_sky() -> None:
    depth = at(6)
    depth[:100] = 60
    out = decode(light.dusk(GREY, depth, np.random.default_rng(0)))
    low, zenith, ground = (
        out[80:92].mean(axis=(0, 1)),
        out[:8].mean(axis=(0, 1)),
        out[200:].mean(axis=(0, 1)),
    )
    assert low[0] > 1.5 * low[2]
    assert zenith[2] > zenith[0]
    assert ground[2] > ground[0]
    assert low @ LUMA > zenith @ LUMA


def test_glare_veils_by_the_square_of_the_angle() -> None:
    angles = np.array([0.0, 10.0, 20.0], np.float32)
    spread = light.point_spread(angles)
    assert spread[0] == pytest.approx(1 / 4)
    assert spread[1] / spread[2] == pytest.approx(4, rel=0.04)


def test_glare_lifts_black_and_lowers_contrast() -> None:
    squares = (np.add.outer(np.arange(240) // 10, np.arange(320) // 10) % 2).astype(np.uint8)
    image = np.repeat(squares[..., None] * 200, 3, axis=2)
    out = light.glare(image, at(6), np.random.default_rng(0)).astype(int)
    black = out[image[..., 0] == 0]
    assert black.min() > 60
    lower = slice(160, None)
    assert out[lower].std() < 0.8 * image[lower].std()
    assert out[:60].max() == 255


def test_dim_is_flat_and_has_little_colour() -> None:
    image = np.full((120, 160, 3), (150, 90, 60), np.uint8)
    image[:, 80:] = (60, 36, 24)
    out = made(light.dim, image=image)
    before, after = decode(image), out
    ratio = [(x[:, 120:].mean() / x[:, :40].mean()) for x in (before, after)]
    assert ratio[1] > 1.2 * ratio[0]
    assert after[..., 0].mean() / after[..., 2].mean() < 0.8 * before[..., 0].mean() / before[..., 2].mean()
