"""A1111's samplers as diffusers schedulers, and where A1111's img2img begins."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator.diffusion.scheduler_names import NAMES, SAMPLERS, SMOOTH, SPACED, TIMESTEP_CLASSES, read
from pool.schema import BadInput

__all__ = ["NAMES", "Start", "read", "scheduler", "seed_noise", "start"]

_KEPT = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type"),
    *("rescale_betas_zero_snr", "clip_sample", "clip_sample_range", "set_alpha_to_one", "steps_offset"),
    *("thresholding", "dynamic_thresholding_ratio", "sample_max_value"),
    *("original_inference_steps", "timestep_scaling"),
)
"""What a checkpoint's scheduler config says about the model; the rest of it describes another sampler."""
_NO_SAMPLE = {
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "EulerAncestralDiscreteScheduler"),
    *("DPMSolverSDEScheduler", "PNDMScheduler"),
}
"""Classes that cannot follow a model which predicts the image itself."""


def scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A new diffusers scheduler that samples as A1111's ``name`` does, for the checkpoint of ``config``.

    ``config`` is the checkpoint's scheduler config: scheduler_config.json as a dictionary, or the
    ``config`` of its scheduler. Noise levels, what the model predicts, and zero terminal SNR are kept.
    Trailing steps too, unless the name says a schedule: a model with them was trained for them.

    Returns a ``SchedulerMixin``. Raises BadInput for names as `read` does, for a flow-matching config,
    and where the class cannot follow what the model predicts.
    """
    import diffusers

    sampler, schedule = read(name)
    known = SAMPLERS[sampler]
    cls = getattr(diffusers, known.scheduler)
    takes = inspect.signature(cls.__init__).parameters
    # Defaults that another class filled in say nothing about the checkpoint.
    defaults = config.get("_use_default_values", ())
    said = {key: value for key, value in config.items() if key not in defaults}
    kept = {key: said[key] for key in _KEPT if key in said}
    _check(name, known.scheduler, takes, kept, str(said.get("_class_name", "")))

    spaced = SPACED[known.spacing]
    levels = {**spaced[""], **SMOOTH[schedule]} if schedule in SMOOTH else spaced[schedule]
    settings = {"steps_offset": 1, **known.settings, **kept, **levels}
    if schedule == "" and said.get("timestep_spacing") == "trailing":
        settings["timestep_spacing"] = "trailing"
    return cls(**{key: value for key, value in settings.items() if key in takes})


def _check(name: str, cls: str, takes: Mapping[str, Any], kept: Mapping[str, Any], origin: str) -> None:
    if origin.startswith("FlowMatch"):
        raise BadInput("model", "a noise-predicting model such as SD 1.5 or SDXL", origin)
    fix = "Use DDIM or Euler."
    if kept.get("rescale_betas_zero_snr") and "rescale_betas_zero_snr" not in takes:
        raise BadInput("sampler", "one that knows this model's zero terminal SNR", name, fix)
    if kept.get("prediction_type") == "sample" and cls in _NO_SAMPLE:
        raise BadInput("sampler", "one for a model that predicts the image itself", name, fix)


def seed_noise(scheduler: Any, seeds: list[int]) -> None:
    """Give a scheduler that draws its own noise (DPM++ SDE) the seed of each image of the next batch.

    It does not use the pipeline's generators, so that without this no image could be made again. Call it
    before each batch; other schedulers are left as they are. ``seeds`` has one number >= 0 per image.
    """
    if hasattr(scheduler, "noise_sampler_seed"):
        scheduler.noise_sampler_seed = list(seeds)


@dataclass(frozen=True, slots=True)
class Start:
    """Where img2img begins: ``begin`` is the index into ``scheduler.timesteps``, ``count`` the steps run.

    ``strength`` is what makes diffusers' img2img and inpaint pipelines begin just there.
    """

    begin: int
    count: int
    strength: float


def start(scheduler: Any, steps: int, strength: float) -> Start:
    """Where A1111 begins img2img of ``steps`` steps at a denoising strength in [0, 1].

    diffusers runs ``int(strength * steps)`` steps. A1111 has t = int(min(strength, .999) * steps) and runs
    the last t + 1 (the setting "do exactly the amount of steps" is off by default); its DDIM, PLMS and
    UniPC run t. With 20 Karras steps of SD 1.5 at .34 that is noise of sigma .397 instead of .27.
    Solvers of second order list every step twice but the first; ``begin`` counts them as listed.
    A strength of 0 still runs one step, as in A1111.

    At full strength an inpaint pipeline begins with noise alone, A1111 with the image under that noise.
    """
    if steps < 1:
        raise BadInput("steps", "1 or more", steps)
    if not 0 <= strength <= 1:
        raise BadInput("strength", "a number in [0, 1]", strength)
    kept = int(min(strength, 0.999) * steps)
    count = max(kept, 1) if type(scheduler).__name__ in TIMESTEP_CLASSES else kept + 1
    # Half a step more than the count: a product that floats round down would lose a step.
    return Start((steps - count) * int(scheduler.order), count, min((count + 0.5) / steps, 1.0))
