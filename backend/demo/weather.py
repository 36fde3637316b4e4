"""The same street in every weather and light: pictures that differ in nothing else, with the same boxes.

A street is painted once per light and developed once per condition. Weather is laid over the unfinished
picture with its true depth, so that a veil thickens with distance and a drop hides behind a bin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from backend.demo.air import Layer, Shot, fall, flare, mixed, muted, turbulence, veiled
from backend.demo.camera import Camera
from backend.demo.darkroom import Field, Lamp, expose, film
from backend.demo.furniture import LAMP_HEIGHT
from backend.demo.light import Light, light, sun_at
from backend.demo.scenes import Painting, Scene, paint
from backend.demo.surfaces import snowed, upward, wetted
from pool.schema import BadInput

SEVERITIES: dict[str, float] = {"light": 0.3, "moderate": 0.6, "heavy": 1.0}
"""How strong each severity is, where 1 is the strongest."""
CONDITIONS: tuple[str, ...] = (
    "clear",
    *(f"{kind}:{severity}" for kind in ("rain", "snow", "sandstorm", "haze") for severity in SEVERITIES),
    "dim",
    "dusk",
    "street lamp",
    "night",
    "glare",
)
"""Every condition that a scene can be drawn in."""
DAYLIGHTS: tuple[str, ...] = ("noon", "overcast", "low sun")
_JITTER = 0.1

Weather = Callable[[Shot, float, np.random.Generator], Field]


@dataclass(frozen=True, slots=True)
class Look:
    """The light a condition is painted in, the weather laid over it, and the film's grain in grey levels.

    With ``lamp`` one more street lamp stands where it lights what the picture shows.
    """

    light: str
    weather: Weather | None = None
    grain: float | None = None
    lamp: bool = False


def scene(seed: int, name: str, size: tuple[int, int] = (640, 480), take: int = 0) -> Scene:
    """The street of ``render(seed, size)`` in the condition ``name``, one of ``CONDITIONS``; same boxes.

    ``clear`` is the seed's own light where that is a daylight. Another ``take`` (0 or more) is another
    moment of the same weather: other drops, flakes and clouds of dust, and a strength up to a tenth
    more or less.

    Raises BadInput for an unknown name, a negative seed or take, and a size that ``render`` refuses.
    """
    return pictures(seed, (name,), size, take)[name]


def pictures(
    seed: int, names: Sequence[str] = CONDITIONS, size: tuple[int, int] = (640, 480), take: int = 0
) -> dict[str, Scene]:
    """``scene`` in several conditions, faster than one by one: those of one light share a painting."""
    for name in names:
        if name not in CONDITIONS:
            raise BadInput("name", "one of " + ", ".join(CONDITIONS), name)
    if take < 0:
        raise BadInput("take", "0 or more", take)
    looks = {name: _LOOKS[name.partition(":")[0]] for name in names}
    paintings: dict[str, Painting] = {}
    shots: dict[str, Shot] = {}
    for look in looks.values():
        if look.light not in paintings:
            paintings[look.light] = paint(seed, size, partial(_relight, seed, look.light))
            shots[look.light] = _shot(seed, paintings[look.light], look.lamp)
        if look.weather is _snow and shots[look.light].above is None:
            dark = paint(seed, size, partial(_relight, seed, "no light from above"))
            above = upward(paintings[look.light].stage.canvas.colour, dark.stage.canvas.colour)
            shots[look.light] = replace(shots[look.light], above=above)
    return {
        name: Scene(
            _develop(seed, name, take, look, paintings[look.light], shots[look.light]),
            paintings[look.light].regions,
            name,
        )
        for name, look in looks.items()
    }


def _shot(seed: int, done: Painting, lamp: bool) -> Shot:
    stage, lamps = done.stage, done.lamps
    if lamp:
        rng = np.random.default_rng([seed, 4])
        z = stage.wall - float(rng.uniform(1.2, 2.6))
        column = float(rng.uniform(0.25, 0.75)) * stage.camera.width
        lamps = (*lamps, Lamp(stage.camera.ground(column, z), LAMP_HEIGHT, z, 0.8))
    negative = expose(stage, lamps, done.depths)
    return Shot(negative.planes, negative.at, negative.sky, stage.half, stage.wall, stage.light.toward)


def _develop(seed: int, name: str, take: int, look: Look, done: Painting, shot: Shot) -> NDArray[np.uint8]:
    chance = np.random.default_rng([seed, 3, CONDITIONS.index(name), take])
    strength = SEVERITIES.get(name.partition(":")[2], 1.0) * (1 + _JITTER * float(chance.uniform(-1, 1)))
    planes = shot.planes.copy() if look.weather is None else look.weather(shot, strength, chance)
    grain = done.stage.light.grain if look.grain is None else look.grain
    # A copy, so that pictures of one painting do not depend on which was developed first.
    return film(planes, grain, deepcopy(done.stage.rng))


def _relight(seed: int, kind: str, own: Light, camera: Camera) -> Light:
    """The light ``kind`` on the day of this seed; ``own`` is what ``render`` would show it in."""
    rng = np.random.default_rng([seed, 2])
    if kind == "clear":
        return own if own.name in DAYLIGHTS else light(str(rng.choice(DAYLIGHTS)), rng)
    if kind in ("overcast", "dusk"):
        return own if own.name == kind else light(kind, rng)
    if kind == "no light from above":
        # A sun that takes away: against the same under a plain sky, surfaces that face up are dark.
        plain = _relight(seed, "overcast", own, camera)
        return replace(plain, toward=np.array([0.0, 1.0, 0.0]), sun=np.full(3, -0.6))
    if kind == "glare":
        low = light("low sun", rng)
        aside, row = float(rng.uniform(-0.34, 0.34)), float(rng.uniform(0.02, 0.2)) * camera.height
        climb = np.arctan((camera.horizon - row) / camera.focal * np.cos(aside))
        # Lower, and the shadows would have no end.
        toward = sun_at(180 - float(np.degrees(camera.yaw + aside)), max(float(np.degrees(climb)), 9.0))
        return replace(low, toward=toward, ambient=low.ambient * 1.15, shade_line=None, air=0.016)
    dark = light("night", rng)
    if kind == "night":
        return replace(dark, lamps=0.0, lit=dark.lit * 0.35)
    return replace(dark, lit=max(dark.lit, 0.2))


def _rain(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    out = muted(shot.planes, 0.15 + 0.25 * strength) * np.float32(0.95 - 0.22 * strength)
    grey = np.array((152, 158, 166), np.float32) * (1 - 0.2 * strength)
    out = mixed(out, grey, shot.sky * np.float32(0.45 + 0.45 * strength))
    out = wetted(replace(shot, planes=out), strength, chance)
    out = veiled(out, (0.005 + 0.030 * strength) * shot.at.depth, grey)
    wind = float(chance.normal(0, 0.10)) + 0.10 * strength * float(chance.choice((-1, 1)))
    for layer in (
        Layer(distance=5.0, count=1700 * strength, length=0.24, width=0.008, opacity=0.26, blur=0.5),
        Layer(distance=2.6, count=480 * strength, length=0.28, width=0.006, opacity=0.30, blur=0.5),
        Layer(distance=1.1, count=70 * strength**1.3, length=0.30, width=0.006, opacity=0.26, blur=1.2),
    ):
        fallen = fall(shot, layer, wind, chance)
        out = mixed(out, np.array((216, 222, 230), np.float32), fallen)
    return out


def _snow(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    out = muted(shot.planes, 0.12 + 0.18 * strength) * np.float32(0.97 - 0.07 * strength)
    white = np.array((222, 226, 231), np.float32)
    out = mixed(out, white, shot.sky * np.float32(0.5 + 0.4 * strength))
    out = snowed(replace(shot, planes=out), strength, chance)
    out = veiled(out, (0.006 + 0.050 * strength) * shot.at.depth, white)
    wind = float(chance.normal(0, 0.5))
    for layer in (
        Layer(distance=5.0, count=2600 * strength, length=0.0, width=0.015, opacity=0.80, blur=0.7),
        Layer(distance=2.6, count=420 * strength, length=0.008, width=0.013, opacity=0.85, blur=0.9),
        Layer(distance=1.0, count=42 * strength, length=0.025, width=0.022, opacity=0.62, blur=3.2),
    ):
        out = mixed(out, np.array((246, 248, 250), np.float32), fall(shot, layer, wind, chance))
    return out


def _sandstorm(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    ochre = np.array((206, 158, 96), np.float32) * np.float32(1 - 0.16 * strength)
    filtered = np.array((1.0, 0.86, 0.64), np.float32) ** np.float32(0.4 + 0.8 * strength)
    out = muted(shot.planes, 0.35 * strength) * filtered[:, None, None] * np.float32(1 - 0.22 * strength)
    gusts = turbulence(shot, chance)
    dust = strength * (0.115 * shot.at.depth + 0.16) * np.exp(np.float32(0.34) * gusts)
    clouds = ochre[:, None, None] * (1 + np.float32(0.055) * gusts)
    out = veiled(out, dust, clouds)
    slant = float(chance.choice((-1, 1))) * float(chance.uniform(1.2, 1.45))
    layer = Layer(distance=2.2, count=900 * strength, length=0.10, width=0.004, opacity=0.28, blur=0.6)
    return mixed(out, np.array((232, 192, 132), np.float32), fall(shot, layer, slant, chance))


def _haze(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    pale = np.array((210, 211, 208), np.float32) + float(chance.uniform(-4, 4))
    out = muted(shot.planes, 0.2 * strength)
    banks = 1 + np.float32(0.12) * turbulence(shot, chance)
    return veiled(out, 0.17 * strength * shot.at.depth * banks, pale)


def _dim(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    tone = np.array((0.55, 0.59, 0.66), np.float32) / np.float32(strength)
    return muted(shot.planes, 0.3) * tone[:, None, None]


def _dark(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    return muted(shot.planes, 0.3) * np.float32(1.75 / strength)


def _glare(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    return flare(shot, strength, chance)


_LOOKS: dict[str, Look] = {
    "clear": Look("clear"),
    "rain": Look("overcast", _rain, 3.0),
    "snow": Look("overcast", _snow, 2.5),
    "sandstorm": Look("overcast", _sandstorm, 4.5),
    "haze": Look("overcast", _haze),
    "dim": Look("overcast", _dim, 5.0),
    "dusk": Look("dusk"),
    "street lamp": Look("street lamp", lamp=True),
    "night": Look("night", _dark, 8.0),
    "glare": Look("glare", _glare),
}
