"""A1111's sampler names, and the diffusers schedulers that they stand for.

The word sampler here is A1111's own, as its infotext writes it; what it names is a scheduler of diffusers.
A name is a sampler and, after it, the schedule of noise levels: ``DPM++ 2M Karras``. Without one it is
the checkpoint's own levels, evenly spaced in time. ``Automatic`` is what A1111 1.9 and later choose by that
word. A1111's names and defaults: modules/sd_samplers_kdiffusion.py, sd_samplers_timesteps.py and
sd_schedulers.py of stable-diffusion-webui.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pool.schema import BadInput

Spacing = Literal["every", "one more", "linear", "own"]


@dataclass(frozen=True, slots=True)
class Sampler:
    """One sampler: the diffusers class, its settings, and which schedules that class can follow.

    ``smooth`` says that it takes the schedules of ``SMOOTH``. ``spacing`` names its entry in ``SPACED``.
    ``automatic`` is the schedule of A1111's Automatic. ``note`` says how it differs from A1111.
    """

    scheduler: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    smooth: bool = True
    spacing: Spacing = "every"
    automatic: str = ""
    note: str = ""


_MULTI = "DPMSolverMultistepScheduler"
_SDE: Mapping[str, Any] = {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}
_LATENT: Mapping[str, Any] = {"clip_sample": False, "set_alpha_to_one": False}

SAMPLERS: Mapping[str, Sampler] = {
    "DPM++ 2M": Sampler(
        _MULTI, {"algorithm_type": "dpmsolver++", "solver_order": 2}, spacing="one more", automatic="Karras"
    ),
    "DPM++ SDE": Sampler("DPMSolverSDEScheduler", automatic="Karras"),
    "DPM++ 2M SDE": Sampler(_MULTI, _SDE, spacing="one more", automatic="Exponential"),
    "DPM++ 2M SDE Heun": Sampler(
        _MULTI, {**_SDE, "solver_type": "heun"}, spacing="one more", automatic="Exponential"
    ),
    "DPM++ 3M SDE": Sampler(
        _MULTI, {**_SDE, "solver_order": 3}, spacing="one more", automatic="Exponential"
    ),
    "DPM++ 2S a": Sampler(
        "DPMSolverSinglestepScheduler",
        {**_SDE, "lower_order_final": True},
        spacing="linear",
        automatic="Karras",
        note="The nearest that diffusers has; A1111 asks the model twice per step, this once.",
    ),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler", smooth=False),
    "Euler": Sampler("EulerDiscreteScheduler"),
    "LMS": Sampler(
        "LMSDiscreteScheduler",
        note="In img2img diffusers weighs the first three steps as if others had gone before.",
    ),
    "Heun": Sampler("HeunDiscreteScheduler"),
    "DPM2": Sampler(
        "KDPM2DiscreteScheduler", automatic="Karras", note="A1111 drops the last level but one."
    ),
    "DPM2 a": Sampler(
        "KDPM2AncestralDiscreteScheduler", automatic="Karras", note="A1111 drops the last level but one."
    ),
    "DDIM": Sampler("DDIMScheduler", _LATENT, smooth=False, spacing="own"),
    "PLMS": Sampler(
        "PNDMScheduler",
        {"skip_prk_steps": True, "set_alpha_to_one": False},
        smooth=False,
        spacing="own",
    ),
    "UniPC": Sampler(
        "UniPCMultistepScheduler",
        # bh1 has no finite last step to a noise of zero; A1111 too ends at the weakest noise.
        {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        smooth=False,
        spacing="own",
    ),
    "LCM": Sampler("LCMScheduler", _LATENT, smooth=False, spacing="own"),
    "TCD": Sampler(
        "TCDScheduler", _LATENT, smooth=False, spacing="own", note="No sampler of A1111 itself."
    ),
    "DEIS": Sampler("DEISMultistepScheduler", spacing="one more", note="No sampler of A1111 itself."),
}

SMOOTH: Mapping[str, Mapping[str, Any]] = {
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
    "Beta": {"use_beta_sigmas": True},
}
"""Curves between the checkpoint's strongest and weakest noise; A1111 and diffusers compute them alike."""

_LINSPACE, _TRAILING = {"timestep_spacing": "linspace"}, {"timestep_spacing": "trailing"}
SPACED: Mapping[Spacing, Mapping[str, Mapping[str, Any]]] = {
    # Trailing is Simple to the step, and SGM Uniform to less than one training step.
    "every": {
        "": _LINSPACE,
        "Uniform": _LINSPACE,
        "Normal": _LINSPACE,
        "SGM Uniform": _TRAILING,
        "Simple": _TRAILING,
        "DDIM": {"timestep_spacing": "leading", "steps_offset": 1},
    },
    # The linspace of these classes spaces one level more and leaves out the last: that is SGM Uniform.
    # Uniform itself they cannot follow; it too begins at the strongest noise and differs most at the end.
    "one more": {
        "": _LINSPACE,
        "Uniform": _LINSPACE,
        "Normal": _LINSPACE,
        "SGM Uniform": _LINSPACE,
        "Simple": _TRAILING,
    },
    "linear": {"": {}, "Uniform": {}, "Normal": {}, "SGM Uniform": {}},
    # A1111's DDIM, PLMS and UniPC keep their own steps whatever schedule is chosen beside them.
    "own": {"": {}},
}

_ALIASES: Mapping[str, str] = {
    # A1111 has one third-order sampler, 3M SDE: a recipe that says 3M was made with it.
    "DPM++ 3M": "DPM++ 3M SDE",
    "DPM++ 2S": "DPM++ 2S a",
    "DPM++ 2S ancestral": "DPM++ 2S a",
    "Euler ancestral": "Euler a",
    "DPM 2": "DPM2",
    "DPM 2 a": "DPM2 a",
    "DPM 2 ancestral": "DPM2 a",
    "PNDM": "PLMS",
    "UniPC multistep": "UniPC",
}
_SCHEDULE_ALIASES: Mapping[str, str] = {
    "ka": "Karras",
    "exp": "Exponential",
    "polyexponential": "Exponential",  # the same curve at A1111's rho of 1
    "DDIM uniform": "DDIM",
}
_UNMATCHED: Mapping[str, str] = {
    "DPM fast": "DPM++ 2M Karras",
    "DPM adaptive": "DPM++ 2M Karras",
    "Restart": "Heun Karras",
    "HeunPP2": "Heun",
    "DDIM CFG++": "DDIM",
    "Euler a CFG++": "Euler a",
    "Euler CFG++": "Euler",
}

TIMESTEP_CLASSES = {"DDIMScheduler", "PNDMScheduler", "UniPCMultistepScheduler"}
"""What A1111 runs by timesteps of its own, whatever schedule is chosen beside them."""


def _schedules(sampler: Sampler) -> tuple[str, ...]:
    return (*SPACED[sampler.spacing], *(SMOOTH if sampler.smooth else ()))


NAMES: tuple[str, ...] = tuple(
    f"{name} {schedule}".strip() for name, sampler in SAMPLERS.items() for schedule in _schedules(sampler)
)
"""Every name that `scheduler` takes, spelled as A1111 spells it."""


def _key(name: str) -> str:
    """A name without case, spaces, full-width letters, and k-diffusion's prefix: ``k_dpmpp_2m`` too."""
    plain = re.sub(r"^\s*(k|sample)_", "", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"\W", "", re.sub(r"[\s_-]", "", plain).replace("++", "pp"))


_SAMPLER_KEYS = {_key(name): name for name in SAMPLERS} | {_key(k): v for k, v in _ALIASES.items()}
_SCHEDULE_KEYS = (
    {_key(name): name for spaced in SPACED.values() for name in spaced}
    | {_key(name): name for name in SMOOTH}
    | {_key(k): v for k, v in _SCHEDULE_ALIASES.items()}
    | {"automatic": "Automatic", "alignyoursteps": "Align Your Steps", "kloptimal": "KL Optimal"}
)


def read(name: str) -> tuple[str, str]:
    """The sampler and the schedule that a name stands for: keys of `SAMPLERS` and of `SMOOTH` or `SPACED`.

    An empty schedule is the checkpoint's own levels. Raises BadInput for a sampler that diffusers does not
    have, with the nearest names and, where there is one, what to use in its stead.
    """
    key = _key(name)
    # The whole name first, then the longest sampler: "DDIM" is a sampler and a schedule.
    for cut in range(len(key), 0, -1):
        sampler, schedule = _SAMPLER_KEYS.get(key[:cut]), _SCHEDULE_KEYS.get(key[cut:])
        if sampler is not None and schedule is not None:
            return sampler, _choose(name, sampler, schedule)
    for other, instead in _UNMATCHED.items():
        if key.startswith(_key(other)):
            raise BadInput("sampler", "one that diffusers has", name, f"Nearest to {other}: {instead}.")
    close = difflib.get_close_matches(key, [_key(known) for known in NAMES], n=3, cutoff=0.5)
    near = [known for match in close for known in NAMES if _key(known) == match] or list(SAMPLERS)
    raise BadInput("sampler", "an A1111 sampler name", name, f"Near it: {', '.join(near)}.")


def _choose(name: str, sampler: str, schedule: str) -> str:
    known = SAMPLERS[sampler]
    if known.spacing == "own" and known.scheduler in TIMESTEP_CLASSES:
        return ""
    chosen = known.automatic if schedule == "Automatic" else schedule
    if chosen not in _schedules(known):
        can = ", ".join(f"{sampler} {other}".strip() for other in _schedules(known))
        raise BadInput("sampler", f"a schedule that diffusers' {sampler} can follow", name, f"Use {can}.")
    return chosen
