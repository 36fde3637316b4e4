"""Weather and light by physics instead of diffusion, from the same vocabulary.

What this is for: a control condition for every comparison with a diffusion model, a reference of what
light, moderate and heavy mean, and something to make variants with where no model is at hand. It is never
passed off as diffusion: a recipe that uses it has the mode ``render`` and names it as its model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from generator.pixels import Pixels, Plane
from generator.weather import Condition, Severity
from pool.schema import BadInput

NAME = "physical"
"""With the version it is the model that a recipe names: ``physical 1``."""
VERSION = "1"
"""Goes up when the same seed gives other pixels."""

Weather = Callable[[Pixels, Plane, Severity, np.random.Generator], Pixels]
Light = Callable[[Pixels, Plane, np.random.Generator], Pixels]


def render(image: Pixels, condition: Condition, seed: int) -> Pixels:
    """The image (h, w, 3) in another weather or light, of the same size; nothing in it moves.

    The same seed gives the same pixels. Severities of one family share wind, patches and clouds, not the
    single drops and flakes. Raises BadInput for a condition of the user's own that
    has no renderer, a negative seed, and anything but uint8 RGB.
    """
    from generator.depth import estimate

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape) == 0:
        raise BadInput("image", "uint8 RGB, (height, width, 3)", (str(image.dtype), image.shape))
    if seed < 0:
        raise BadInput("seed", "0 or more", seed)
    rng = np.random.default_rng([seed, *condition.family.encode()])
    weathers, lights = _weathers(), _lights()
    if condition.severity is not None and condition.family in weathers:
        return weathers[condition.family](image, estimate(image), condition.severity, rng)
    if condition.severity is None and condition.family in lights:
        return lights[condition.family](image, estimate(image), rng)
    known = ", ".join([f"{family}:light" for family in weathers] + list(lights))
    raise BadInput(
        "condition", f"one with a renderer (such as {known})", condition.name, "Use a diffusion model."
    )


def _weathers() -> Mapping[str, Weather]:
    from generator.air import haze, sandstorm
    from generator.rain import rain
    from generator.snow import snow

    return {"rain": rain, "snow": snow, "sandstorm": sandstorm, "haze": haze}


def _lights() -> Mapping[str, Light]:
    from generator import light

    return {
        "dim": light.dim,
        "dusk": light.dusk,
        "street lamp": light.street_lamp,
        "night": light.night,
        "glare": light.glare,
    }
