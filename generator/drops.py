"""How raindrops fall, wobble and expose a sensor: published formulas, no picture.

Drops are given by the diameter D, in mm, of the sphere of equal volume. All functions take and return
arrays of any one shape, or numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from generator.weather import Severity

Floats = NDArray[np.float64]

RATES: Mapping[Severity, float] = MappingProxyType({"light": 2.5, "moderate": 10.0, "heavy": 50.0})
"""Rain rate in mm/h: the upper bounds of slight, moderate and heavy rain (WMO-No. 8, chapter 14)."""
N0 = 8000.0
"""Drops per m^3 and mm of diameter as D goes to 0 (Marshall & Palmer 1948)."""
LARGEST = 6.0
"""mm; larger drops break up (Pruppacher & Klett 1997, section 10.3)."""
SURFACE_TENSION = 0.0728
"""N/m, water against air at 20 degrees C; the two below are of water at 20 degrees C as well."""
DENSITY = 998.0
"""kg/m^3."""
VISCOSITY = 1.0e-6
"""Kinematic, m^2/s."""
SPEED_FIT = (0.34785, -3.17414, 9.49157, -0.10374)
"""Cubic in the radius in mm, fitted to Gunn & Kinzer (1949)."""
FITTED = (0.04, 2.64)
"""Radii in mm between which the fit holds: the smallest drop measured, and where the cubic turns down."""


def slope(rate: float) -> float:
    """Lambda in 1/mm of the size distribution at a rain rate in mm/h (Marshall & Palmer 1948)."""
    return float(4.1 * rate**-0.21)


def density(diameter: ArrayLike, rate: float) -> Floats:
    """Drops per m^3 of air and mm of diameter: N0 exp(-Lambda D) (Marshall & Palmer 1948)."""
    return np.asarray(N0 * np.exp(-slope(rate) * np.asarray(diameter, dtype=np.float64)))


def number(smallest: float, rate: float) -> float:
    """Drops per m^3 from ``smallest`` to LARGEST mm: the integral of `density`."""
    steep = slope(rate)
    return N0 / steep * (math.exp(-steep * smallest) - math.exp(-steep * LARGEST))


def draw(rng: np.random.Generator, count: int, smallest: float, rate: float) -> Floats:
    """``count`` diameters from ``smallest`` to LARGEST mm with the density of `density`, (count,)."""
    steep = slope(rate)
    chance = rng.random(count) * -math.expm1(-steep * (LARGEST - smallest))
    return np.asarray(smallest - np.log1p(-chance) / steep)


def extinction(rate: float) -> float:
    """How fast light is lost on its way through rain, 1/m; visibility is 3.912 / extinction.

    Drops are large against the wavelength and take twice their cross-section (van de Hulst 1957), so this
    is pi / 2 times the second moment of `density`: 0.365 R^0.63 per km, the value of Shettle (1990).
    """
    return math.pi / 2 * N0 * 2 / slope(rate) ** 3 * 1e-6


def speed(diameter: ArrayLike) -> Floats:
    """Terminal speed in still air at sea level, m/s; never falls with the diameter.

    The cubic of SPEED_FIT in the radius r = D / 2 in mm: within 0.2 m/s of Gunn & Kinzer (1949) from 0.1 to
    5.8 mm of diameter. A radius outside FITTED has the speed of the nearest one inside: a cubic would
    slow down the largest drops, and let the smallest rise.
    """
    radius = np.clip(np.asarray(diameter, dtype=np.float64) / 2, *FITTED)
    return np.asarray(np.polyval(SPEED_FIT, radius))


def flattening(diameter: ArrayLike) -> Floats:
    """Height over width of a drop, in (0, 1]: 1.030 - 0.062 D (Pruppacher & Beard 1970), at most 1."""
    return np.asarray(np.minimum(1.030 - 0.062 * np.asarray(diameter, dtype=np.float64), 1.0))


def frequency(diameter: ArrayLike, mode: int = 2) -> Floats:
    """Oscillations per second of one mode, 2 or higher (Rayleigh 1879, as Garg & Nayar 2006 use it).

    sqrt(n (n - 1) (n + 2) sigma / (4 pi^2 rho r^3)): falls as r^-1.5.
    """
    radius = np.asarray(diameter, dtype=np.float64) / 2e3
    stiffness = mode * (mode - 1) * (mode + 2) * SURFACE_TENSION / DENSITY
    return np.asarray(np.sqrt(stiffness / (4 * math.pi**2 * radius**3)))


def damping(diameter: ArrayLike, mode: int = 2) -> Floats:
    """Seconds until an oscillation is down to 1/e: r^2 / ((n - 1) (2 n + 1) nu) (Lamb 1932, art. 355)."""
    radius = np.asarray(diameter, dtype=np.float64) / 2e3
    return np.asarray(radius**2 / ((mode - 1) * (2 * mode + 1) * VISCOSITY))


def wobble(diameter: Floats, time: Floats, phase: Floats, amplitude: Floats) -> Floats:
    """Brightness of an oscillating drop over that of one at rest, at ``time`` in s; all broadcast together.

    The axially symmetric mode 2 and the first one beside the axis, mode 3, carry what is seen along
    a streak (Garg & Nayar 2006); mode 3 has half the ``amplitude``, and a phase of its own. Oscillations
    decay by `damping`. Lies within 1.5 amplitudes of 1.
    """
    second, third = (
        np.exp(-time / damping(diameter, mode))
        * np.sin(2 * math.pi * frequency(diameter, mode) * time + shift)
        for mode, shift in ((2, phase), (3, 2.4 * phase))
    )
    return np.asarray(1 + amplitude * (second + 0.5 * third))


def opacity(height: ArrayLike, fall: ArrayLike, exposure: float) -> Floats:
    """Share of the exposure for which a drop covers a point of its path, in [0, 1]: h / (v T).

    ``height`` in m along the path, ``fall`` in m/s, ``exposure`` in s. A streak's intensity is
    (1 - opacity) background + opacity drop (Garg & Nayar 2007).
    """
    path = np.asarray(fall, dtype=np.float64) * exposure
    return np.asarray(np.minimum(np.asarray(height, dtype=np.float64) / path, 1.0))
