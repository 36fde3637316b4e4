"""Six kinds of light: how surfaces are lit while they are painted, and what colour the sky has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.demo.camera import Points
from backend.demo.canvas import Colour

LIGHTS: tuple[str, ...] = ("noon", "overcast", "low sun", "dusk", "night", "haze")
SHARES: tuple[float, ...] = (0.22, 0.22, 0.16, 0.14, 0.15, 0.11)
"""How often each light occurs, in the order of ``LIGHTS``."""

Rgb = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Light:
    """One light. Factors are per channel (3,), 1 = a white surface shows full brightness.

    ``toward`` is the unit vector to the sun, or to the brightest part of the sky. ``sun`` adds to
    ``ambient`` on surfaces that face it. ``shadow`` is what remains of a surface in cast shadow and
    ``softness`` the blur of its edge in metres. ``grade`` multiplies everything but the sky and what
    glows. ``air`` is the haze per metre and ``veil`` its colour. ``lamps`` is the strength of street
    lamps, ``lit`` the share of lit windows, ``grain`` the noise in grey levels. ``shade_line`` is the
    height in metres at the camera's side of the street under which a house behind the camera keeps
    the sun away; None where there is none.
    """

    name: str
    toward: Points
    sun: Rgb
    ambient: Rgb
    shadow: Rgb
    softness: float
    contact: float
    grade: Rgb
    sky: tuple[Colour, Colour]
    cloud: Colour
    cloudiness: float
    air: float
    veil: Colour
    lamps: float
    lit: float
    grain: float
    shade_line: float | None = None

    @property
    def casts(self) -> bool:
        """Whether things throw a shadow with an edge."""
        return bool(self.sun.max() > 0.2)

    def shade(self, normal: Points) -> Colour:
        """Factors for red, green, blue by which a surface with this unit normal shows its colour."""
        dome = 0.80 + 0.20 * float(normal[1])
        facing = max(float(normal @ self.toward), 0.0)
        # Plain numbers: this is asked for every polygon, and arrays of three are slow.
        (a, b, c), (r, g, k) = self.ambient.tolist(), self.sun.tolist()
        return a * dome + r * facing, b * dome + g * facing, c * dome + k * facing

    def shades(self, normals: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for a patch of normals (h, w, 3)."""
        dome = 0.80 + 0.20 * normals[..., 1:2]
        facing = np.maximum(normals @ self.toward.astype(np.float32), 0.0)[..., None]
        return np.asarray(self.ambient.astype(np.float32) * dome + self.sun.astype(np.float32) * facing)


def sun_at(azimuth: float, elevation: float) -> Points:
    """Unit vector to a sun at ``azimuth`` degrees (0 behind the camera, 90 to the right)."""
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.array([np.sin(a) * np.cos(e), np.sin(e), -np.cos(a) * np.cos(e)])


def _rgb(*values: float) -> Rgb:
    return np.array(values, dtype=np.float64)


def _noon(rng: np.random.Generator) -> Light:
    side = rng.choice([-1, 1])
    sun, ambient = _rgb(0.86, 0.80, 0.66), _rgb(0.64, 0.68, 0.76)
    return Light(
        name="noon",
        toward=sun_at(side * rng.uniform(20, 62), rng.uniform(42, 62)),
        sun=sun,
        ambient=ambient,
        shadow=_rgb(0.48, 0.52, 0.60),
        softness=0.02,
        contact=0.45,
        grade=_rgb(1.0, 1.0, 1.0),
        sky=((86, 146, 214), (196, 220, 238)),
        cloud=(250, 250, 250),
        cloudiness=float(rng.uniform(0.1, 0.6)),
        air=0.004,
        veil=(205, 220, 235),
        lamps=0.0,
        lit=0.0,
        grain=2.0,
    )


def _overcast(rng: np.random.Generator) -> Light:
    level = rng.uniform(0.84, 1.0)
    return Light(
        name="overcast",
        toward=sun_at(rng.uniform(-40, 40), 70),
        sun=_rgb(0.20, 0.20, 0.19),
        ambient=_rgb(1.02, 1.04, 1.06),
        shadow=_rgb(0.8, 0.8, 0.82),
        softness=0.2,
        contact=0.62,
        grade=_rgb(0.97, 0.99, 1.0) * level,
        sky=((176, 184, 192), (214, 218, 221)),
        cloud=(232, 234, 236),
        cloudiness=float(rng.uniform(0.5, 1.0)),
        air=0.009,
        veil=(205, 209, 213),
        lamps=0.0,
        lit=0.06,
        grain=2.5,
    )


def _low_sun(rng: np.random.Generator) -> Light:
    side = rng.choice([-1, 1])
    return Light(
        name="low sun",
        toward=sun_at(side * rng.uniform(38, 72), rng.uniform(11, 23)),
        sun=_rgb(1.50, 1.06, 0.58),
        ambient=_rgb(0.50, 0.52, 0.64),
        shadow=_rgb(0.44, 0.50, 0.66),
        softness=0.03,
        contact=0.45,
        grade=_rgb(1.04, 0.97, 0.88),
        sky=((112, 150, 200), (250, 214, 164)),
        cloud=(255, 226, 186),
        cloudiness=float(rng.uniform(0.2, 0.8)),
        air=0.012,
        veil=(244, 206, 160),
        lamps=0.0,
        lit=0.08,
        grain=2.5,
        shade_line=float(rng.uniform(0.15, 1.3)) if rng.random() < 0.3 else None,
    )


def _dusk(rng: np.random.Generator) -> Light:
    level = rng.uniform(0.85, 1.1)
    return Light(
        name="dusk",
        toward=sun_at(rng.uniform(-70, 70), 35),
        sun=_rgb(0.16, 0.12, 0.12),
        ambient=_rgb(0.96, 0.96, 0.98),
        shadow=_rgb(0.8, 0.8, 0.84),
        softness=0.2,
        contact=0.5,
        grade=_rgb(0.42, 0.38, 0.50) * level,
        sky=((52, 60, 108), (232, 142, 104)),
        cloud=(196, 108, 112),
        cloudiness=float(rng.uniform(0.3, 0.9)),
        air=0.012,
        veil=(110, 92, 116),
        lamps=float(rng.uniform(0.45, 0.8)),
        lit=float(rng.uniform(0.25, 0.45)),
        grain=4.0,
    )


def _night(rng: np.random.Generator) -> Light:
    level = rng.uniform(0.8, 1.3)
    return Light(
        name="night",
        toward=sun_at(rng.uniform(-50, 50), 60),
        sun=_rgb(0.18, 0.16, 0.12),
        ambient=_rgb(0.94, 0.94, 0.94),
        shadow=_rgb(0.85, 0.85, 0.85),
        softness=0.2,
        contact=0.4,
        grade=_rgb(0.165, 0.175, 0.25) * level,
        sky=((9, 12, 26), (42, 40, 56)),
        cloud=(52, 46, 58),
        cloudiness=float(rng.uniform(0.1, 0.7)),
        air=0.010,
        veil=(30, 30, 42),
        lamps=float(rng.uniform(0.8, 1.25)),
        lit=float(rng.uniform(0.12, 0.38)),
        grain=6.5,
    )


def _haze(rng: np.random.Generator) -> Light:
    warm = rng.uniform(-4, 10)
    return Light(
        name="haze",
        toward=sun_at(rng.uniform(-50, 50), 55),
        sun=_rgb(0.10, 0.10, 0.08),
        ambient=_rgb(1.0, 1.0, 1.0),
        shadow=_rgb(0.85, 0.85, 0.86),
        softness=0.3,
        contact=0.5,
        grade=_rgb(0.98, 0.98, 0.97),
        sky=((206 + warm, 207, 205 - warm), (214 + warm, 214, 210 - warm)),
        cloud=(222, 222, 220),
        cloudiness=0.15,
        air=float(rng.uniform(0.075, 0.16)),
        veil=(208 + warm, 209, 206 - warm),
        lamps=float(rng.choice([0.0, 0.35])),
        lit=0.15,
        grain=2.5,
    )


_MAKERS: dict[str, Callable[[np.random.Generator], Light]] = {
    "noon": _noon,
    "overcast": _overcast,
    "low sun": _low_sun,
    "dusk": _dusk,
    "night": _night,
    "haze": _haze,
}


def light(name: str, rng: np.random.Generator) -> Light:
    """A light of the kind ``name`` (one of ``LIGHTS``), with the small differences days have."""
    return _MAKERS[name](rng)
