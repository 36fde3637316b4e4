"""The formulas against the measurements and the other fits in the literature, and against integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest

from generator import drops

# Gunn & Kinzer (1949): diameter in mm, speed in m/s.
MEASURED = np.array(
    [
        [0.1, 0.27], [0.2, 0.72], [0.3, 1.17], [0.5, 2.06], [0.8, 3.27], [1.0, 4.03],
        [1.5, 5.41], [2.0, 6.49], [2.5, 7.41], [3.0, 8.06], [3.5, 8.53], [4.0, 8.83],
        [4.5, 9.00], [5.0, 9.09], [5.5, 9.15], [5.8, 9.17],
    ]
)  # fmt: skip
rates = st.floats(0.1, 150)
sizes = st.floats(0.05, 8)


def test_speed_as_measured() -> None:
    assert drops.speed(MEASURED[:, 0]) == pytest.approx(MEASURED[:, 1], abs=0.16)


def test_speed_against_another_fit() -> None:
    size = np.linspace(0.6, 5.5, 99)
    assert drops.speed(size) == pytest.approx(
        9.65 - 10.3 * np.exp(-0.6 * size), abs=0.35
    )  # Atlas et al. 1973


def test_speed_never_falls_and_stays_what_it_is_outside_the_fit() -> None:
    assert (np.diff(drops.speed(np.linspace(0, 20, 999))) >= 0).all()
    assert drops.speed(0.0) == drops.speed(0.08) > 0
    assert drops.speed(6.0) == drops.speed(99.0) == pytest.approx(9.2, abs=0.1)


@given(rates)
def test_number_is_the_integral(rate: float) -> None:
    for smallest in (0.5, 2.0):
        whole, _ = quad(lambda d: float(drops.density(d, rate)), smallest, drops.LARGEST)
        assert drops.number(smallest, rate) == pytest.approx(whole, rel=1e-6)


def test_marshall_palmer_by_hand() -> None:
    assert drops.slope(1.0) == pytest.approx(4.1)
    assert drops.slope(25.0) == pytest.approx(2.086, abs=1e-3)  # 4.1 / 25^.21, 25^.21 = 1.966
    assert drops.density(1.0, 1.0) == pytest.approx(8000 * math.exp(-4.1))
    assert drops.density(0.0, 7.0) == 8000


@pytest.mark.parametrize("rate", [1.0, 5.0, 25.0])
def test_the_drops_bring_the_rain_that_they_are_named_for(rate: float) -> None:
    # mm^3 per m^2 and s, in mm/h: within what Marshall and Palmer's fit is off by.
    def flux(d: float) -> float:
        return math.pi / 6 * d**3 * float(drops.density(d, rate)) * float(drops.speed(d))

    assert quad(flux, 0, drops.LARGEST)[0] * 3.6e-3 == pytest.approx(rate, rel=0.3)


@given(rates)
def test_extinction_as_published(rate: float) -> None:
    assert drops.extinction(rate) * 1e3 == pytest.approx(0.365 * rate**0.63, rel=2e-3)
    second, _ = quad(lambda d: d**2 * float(drops.density(d, rate)), 0, 40)
    assert drops.extinction(rate) == pytest.approx(2 * math.pi / 4 * second * 1e-6, rel=1e-3)


@pytest.mark.parametrize("rate", drops.RATES.values())
def test_drawn_sizes_follow_the_distribution(rate: float) -> None:
    size = drops.draw(np.random.default_rng(0), 4000, 0.5, rate)
    assert size.min() >= 0.5
    assert size.max() <= drops.LARGEST
    share = drops.number(0.5, rate)
    assert kstest(size, lambda d: 1 - np.array([drops.number(x, rate) for x in d]) / share).pvalue > 0.01


def test_flattening_of_pruppacher_and_beard() -> None:
    assert drops.flattening([0.1, 0.4]).tolist() == [1, 1]
    assert drops.flattening([1.0, 5.0]) == pytest.approx([0.968, 0.72])


def test_frequency_by_hand() -> None:
    # 2 mm across: sqrt(8 x .0728 / (4 pi^2 x 998 x 1e-9)) = sqrt(14782).
    assert drops.frequency(2.0) == pytest.approx(121.6, abs=0.1)
    assert drops.frequency(2.0, 3) / drops.frequency(2.0, 2) == pytest.approx(math.sqrt(30 / 8))


@given(sizes, st.integers(2, 6))
def test_oscillation_scales(size: float, mode: int) -> None:
    assert drops.frequency(2 * size, mode) == pytest.approx(float(drops.frequency(size, mode)) * 2**-1.5)
    assert drops.frequency(size, mode + 1) > drops.frequency(size, mode)
    assert drops.damping(2 * size, mode) == pytest.approx(4 * float(drops.damping(size, mode)))
    assert drops.damping(size, mode + 1) < drops.damping(size, mode)


def test_damping_by_hand() -> None:
    assert drops.damping(2.0) == pytest.approx(0.2)  # 1e-6 / (1 x 5 x 1e-6)


@given(sizes, st.floats(0, 0.1), st.floats(0, 6.3), st.floats(0, 0.6))
def test_wobble_is_bounded_and_dies_down(size: float, time: float, phase: float, amplitude: float) -> None:
    one = [np.array([x]) for x in (size, time, phase, amplitude)]
    assert abs(float(drops.wobble(*one)[0]) - 1) <= 1.5 * amplitude + 1e-12
    one[1] = np.array([30 * float(drops.damping(size))])
    assert drops.wobble(*one) == pytest.approx([1.0], abs=1e-9)


def test_wobble_repeats_at_its_frequency() -> None:
    time = np.arange(4096) / 4096 / 2  # half a second
    bright = drops.wobble(np.full(4096, 4.0), time, np.zeros(4096), np.full(4096, 0.2)) - 1
    peak = np.argmax(np.abs(np.fft.rfft(bright))) * 2
    assert peak == pytest.approx(float(drops.frequency(4.0)), abs=2)


def test_opacity() -> None:
    assert drops.opacity(0.002, 6.5, 1 / 60) == pytest.approx(0.018462, abs=1e-5)
    assert drops.opacity(0.5, 1.0, 0.01) == 1
