"""Samplers by A1111's names: noise levels by k-diffusion's formulas, starts by A1111's arithmetic."""

from __future__ import annotations

import inspect
import warnings
from functools import cache
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.diffusion.scheduler_names import SAMPLERS, SMOOTH
from generator.diffusion.schedulers import NAMES, read, scheduler, seed_noise, start
from pool.schema import BadInput

torch.set_num_threads(1)

pytestmark = [
    # diffusers turns tensors into arrays in a way that numpy 2 deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning"),
    # torchsde remarks that a noise level of float32 lies a rounding outside of its interval.
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]

SD15: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
    "trained_betas": None,
}
ALPHAS = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
SIGMAS = np.sqrt((1 - ALPHAS) / ALPHAS)
SAME = {f"{sampler} {schedule}" for sampler in SAMPLERS for schedule in ("Uniform", "Normal")}
OWN = {"DDIM", "PLMS", "UniPC", "LCM", "TCD"}


def karras(steps: int) -> np.ndarray[Any, Any]:
    """Karras et al. 2022, eq. 5, between the weakest and strongest noise of SD 1.5, rho 7."""
    ramp = np.linspace(0, 1, steps)
    high, low = SIGMAS[-1] ** (1 / 7), SIGMAS[0] ** (1 / 7)
    return (high + ramp * (low - high)) ** 7  # type: ignore[no-any-return]


@cache
def made_of(name: str) -> Any:
    """The scheduler for SD 1.5; some take a second to make, and setting the steps begins anew."""
    return scheduler(name, SD15)


def level(made: Any, begin: int) -> float:
    """The noise at which the scheduler begins, as sigma."""
    if hasattr(made, "sigmas") and len(made.sigmas) >= len(made.timesteps) and "LCM" not in str(type(made)):
        return float(made.sigmas[begin])
    return float(SIGMAS[int(made.timesteps[begin])])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SAME])
def test_every_name_makes_a_scheduler_that_finds_the_image(name: str) -> None:
    """With a model that knows the one image there is, img2img must end at that image."""
    made = made_of(name)
    np.testing.assert_allclose(made.alphas_cumprod.numpy(), ALPHAS, rtol=1e-4)
    made.set_timesteps(20)
    begin = start(made, 20, 0.34).begin
    if hasattr(made, "set_begin_index"):
        made.set_begin_index(begin)
    image = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    seed_noise(made, [3, 4])
    steps = made.timesteps[begin:]
    x = made.add_noise(image, noise, steps[:1].repeat(2))
    assert (x - image).abs().mean() > 0.1
    generator = torch.Generator().manual_seed(2)
    takes = inspect.signature(made.step).parameters
    more = {"generator": generator} if "generator" in takes else {}
    for t in steps:
        sigma = np.exp(np.interp(float(t), np.arange(1000), np.log(SIGMAS)))
        alpha = 1 / np.sqrt(1 + sigma**2)
        told = (made.scale_model_input(x, t) - alpha * image) / (alpha * sigma)
        x = made.step(told, t, x, **more).prev_sample
    # What ends at SD's weakest noise keeps it (.029); LMS is biased in img2img, as its note says.
    assert (x - image).abs().mean() < (0.16 if name.startswith("LMS") else 0.035)


def test_karras_levels_are_those_of_the_paper() -> None:
    for name in (known for known in NAMES if known.endswith("Karras")):
        made = made_of(name)
        made.set_timesteps(20)
        levels = [level(made, k * made.order) for k in range(20)]
        np.testing.assert_allclose(levels, karras(20), rtol=1e-3)


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "Heun", "LMS", "DPM2", "DPM2 a", "DPM++ SDE"])
@pytest.mark.parametrize("steps", [7, 20])
def test_even_levels_are_those_of_k_diffusion(sampler: str, steps: int) -> None:
    every = {
        "": np.linspace(999, 0, steps),
        "Normal": np.linspace(999, 0, steps),
        "Simple": np.array([999 - int(k * 1000 / steps) for k in range(steps)]),
        "SGM Uniform": np.linspace(999, 0, steps + 1)[:-1],
        "DDIM": np.arange(1, 1000, 1000 // steps)[:steps][::-1],
    }
    for schedule, times in every.items():
        made = made_of(f"{sampler} {schedule}".strip())
        made.set_timesteps(steps)
        levels = [level(made, k * made.order) for k in range(steps)]
        expected = np.exp(np.interp(times, np.arange(1000), np.log(SIGMAS)))
        # One training step at the weakest noise is a tenth of the level.
        np.testing.assert_allclose(levels, expected, rtol=0.03, atol=0.01)


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "DPM++ 3M SDE", "DEIS", "DPM++ 2S a"])
def test_the_multistep_solvers_are_sgm_uniform_when_even(sampler: str) -> None:
    made = scheduler(f"{sampler} SGM Uniform", SD15)
    made.set_timesteps(20)
    expected = np.linspace(999, 0, 21)[:-1].round()
    np.testing.assert_allclose(made.timesteps.numpy(), expected, atol=1)


def test_exponential_levels_are_even_in_their_logarithm() -> None:
    for name in (known for known in NAMES if known.endswith("Exponential")):
        made = made_of(name)
        made.set_timesteps(12)
        levels = [level(made, k * made.order) for k in range(12)]
        np.testing.assert_allclose(levels, np.geomspace(SIGMAS[-1], SIGMAS[0], 12), rtol=1e-3)


def test_uniform_and_normal_are_what_no_schedule_is() -> None:
    for name in SAME & set(NAMES):
        assert scheduler(name, SD15).config == made_of(read(name)[0]).config


def test_ddim_steps_are_those_of_a1111() -> None:
    for name in ("DDIM", "DDIM Karras"):
        made = made_of(name)
        made.set_timesteps(20)
        assert made.timesteps.tolist() == list(range(1, 1000, 50))[::-1]
        assert not made.config.clip_sample


@pytest.mark.parametrize(
    ("name", "is_"),
    [
        ("DPM++ 2M Karras", ("DPM++ 2M", "Karras")),
        ("dpm++2mkarras", ("DPM++ 2M", "Karras")),
        ("k_dpmpp_2m", ("DPM++ 2M", "")),
        ("k_dpmpp_2m_sde_ka", ("DPM++ 2M SDE", "Karras")),
        ("DPM++ 2M SDE Heun Exponential", ("DPM++ 2M SDE Heun", "Exponential")),
        ("DPM++ 3M SDE Exponential", ("DPM++ 3M SDE", "Exponential")),
        ("DPM++ 3M Karras", ("DPM++ 3M SDE", "Karras")),
        ("ＤＰＭ＋＋ ３Ｍ Karras", ("DPM++ 3M SDE", "Karras")),
        ("DPM++ 2M Automatic", ("DPM++ 2M", "Karras")),
        ("DPM++ 3M SDE Automatic", ("DPM++ 3M SDE", "Exponential")),
        ("Euler a Automatic", ("Euler a", "")),
        ("EULER A", ("Euler a", "")),
        ("k_euler_ancestral", ("Euler a", "")),
        ("Euler DDIM", ("Euler", "DDIM")),
        ("ddim", ("DDIM", "")),
        ("DDIM DDIM", ("DDIM", "")),
        ("PLMS Karras", ("PLMS", "")),
        ("UniPC Automatic", ("UniPC", "")),
        ("LMS Karras", ("LMS", "Karras")),
        ("Heun Beta", ("Heun", "Beta")),
        ("DPM2 a Karras", ("DPM2 a", "Karras")),
        ("DPM++ SDE SGM Uniform", ("DPM++ SDE", "SGM Uniform")),
        ("TCD", ("TCD", "")),
    ],
)
def test_names_as_people_write_them(name: str, is_: tuple[str, str]) -> None:
    assert read(name) == is_


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=200)
def test_case_and_spaces_mean_nothing(name: str, data: st.DataObject) -> None:
    letters = [
        data.draw(st.sampled_from([c.upper(), c.lower(), c + " ", c + "_"])) if c != " " else ""
        for c in name
    ]
    sampler, schedule = read(name)
    assert read("".join(letters)) == (sampler, schedule)
    assert f"{sampler} {schedule}".strip() == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("DPM fast", "DPM\\+\\+ 2M Karras"),
        ("DPM adaptive Karras", "DPM\\+\\+ 2M Karras"),
        ("Restart", "Heun Karras"),
        ("DDIM CFG++", "DDIM"),
        ("DPM++ 4M Karras", "DPM\\+\\+ 2M Karras"),
        ("Eular a", "Euler a"),
        ("雪", "Euler a"),
        ("", "DPM\\+\\+ 2M"),
        ("Euler a Karras", "Use Euler a, Euler a Uniform"),
        ("DPM++ 2M Align Your Steps", "DPM\\+\\+ 2M Karras"),
        ("DPM++ 2M KL Optimal", "DPM\\+\\+ 2M Karras"),
        ("DPM++ 2M DDIM", "DPM\\+\\+ 2M SGM Uniform"),
        ("LCM Karras", "Use LCM"),
    ],
)
def test_what_diffusers_does_not_have(name: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        scheduler(name, SD15)


def test_the_table_knows_the_classes() -> None:
    for name, known in SAMPLERS.items():
        takes = inspect.signature(getattr(diffusers, known.scheduler).__init__).parameters
        assert set(known.settings) <= set(takes), name
        if name not in OWN:
            settings_ = {key for smooth in SMOOTH.values() for key in smooth}
            assert known.smooth == (settings_ <= set(takes)), name


def test_what_the_checkpoint_says_is_kept() -> None:
    config = SD15 | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "solver_order": 1}
    made = scheduler("DPM++ 2M Karras", config).config
    assert made.prediction_type == "v_prediction"
    assert made.rescale_betas_zero_snr
    assert made.solver_order == 2
    betas = np.linspace(0.001, 0.02, 1000)
    trained = scheduler("Euler", SD15 | {"trained_betas": betas.tolist()})
    np.testing.assert_allclose(trained.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)


def test_another_samplers_settings_are_not_kept() -> None:
    library: Any = diffusers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = library.EulerDiscreteScheduler(use_karras_sigmas=True, beta_schedule="scaled_linear")
    made = scheduler("DPM++ 2M Exponential", other.config)
    assert made.config.use_exponential_sigmas
    assert not made.config.use_karras_sigmas
    assert made.config.beta_schedule == "scaled_linear"
    # DDIM's own default would clip latents; a default of another class is no wish.
    assert not scheduler("DDIM", library.DDIMScheduler(steps_offset=1).config).config.clip_sample
    assert scheduler("DDIM", SD15 | {"clip_sample": True}).config.clip_sample


def test_trailing_steps_stay_unless_another_schedule_is_asked_for() -> None:
    config = SD15 | {"timestep_spacing": "trailing"}
    for name in ("DDIM", "Euler", "Euler a", "LCM"):
        made = scheduler(name, config)
        made.set_timesteps(4)
        assert made.timesteps.tolist()[0] == 999
        assert made.config.timestep_spacing == "trailing"
    assert scheduler("Euler Uniform", config).config.timestep_spacing == "linspace"
    assert scheduler("Euler Karras", config).config.timestep_spacing == "linspace"


def test_models_that_a_class_cannot_follow() -> None:
    with pytest.raises(BadInput, match="zero terminal SNR"):
        scheduler("Heun", SD15 | {"rescale_betas_zero_snr": True})
    for name in ("Euler a", "DPM++ SDE", "DPM2", "DPM2 a", "PLMS"):
        with pytest.raises(BadInput, match="predicts the image itself"):
            scheduler(name, SD15 | {"prediction_type": "sample"})
    with pytest.raises(BadInput, match="FlowMatch"):
        scheduler("Euler", {"_class_name": "FlowMatchEulerDiscreteScheduler"})


@pytest.mark.parametrize(("strength", "sigma"), [(0.34, 0.397), (0.5, 1.484), (0.65, 3.465), (0.8, 7.384)])
def test_img2img_begins_where_a1111_does(strength: float, sigma: float) -> None:
    count = int(strength * 20) + 1
    assert karras(20)[20 - count] == pytest.approx(sigma, abs=2e-3)
    for name in (known for known in NAMES if known.endswith("Karras")):
        made = made_of(name)
        made.set_timesteps(20)
        begun = start(made, 20, strength)
        assert begun.count == count
        assert level(made, begun.begin) == pytest.approx(sigma, abs=5e-3)


PIPELINES = [
    name
    for base in ("StableDiffusion", "StableDiffusionXL")
    for name in (
        f"{base}Img2ImgPipeline",
        f"{base}InpaintPipeline",
        f"{base}ControlNetImg2ImgPipeline",
        f"{base}ControlNetInpaintPipeline",
    )
]


@given(
    name=st.sampled_from(PIPELINES),
    sampler=st.sampled_from(["Euler", "Heun Karras", "DPM++ 2M Karras", "DDIM", "DPM2 a", "DPM++ SDE"]),
    steps=st.integers(1, 40),
    strength=st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_the_pipelines_begin_just_there(name: str, sampler: str, steps: int, strength: float) -> None:
    made = made_of(sampler)
    made.set_timesteps(steps)
    begun = start(made, steps, strength)
    pipeline = SimpleNamespace(scheduler=made)
    times, count = getattr(diffusers, name).get_timesteps(pipeline, steps, begun.strength, "cpu")
    assert count == begun.count
    assert torch.equal(times, made.timesteps[begun.begin :])
    if hasattr(made, "begin_index"):
        assert made.begin_index == begun.begin
    kept = int(min(strength, 0.999) * steps)
    assert begun.count == (max(kept, 1) if sampler == "DDIM" else kept + 1)
    assert 0 < begun.strength <= 1


@pytest.mark.parametrize(
    ("steps", "strength"), [(0, 0.5), (-1, 0.5), (20, -0.1), (20, 1.1), (20, float("nan"))]
)
def test_starts_that_are_none(steps: int, strength: float) -> None:
    with pytest.raises(BadInput):
        start(scheduler("Euler", SD15), steps, strength)


def test_dpm_sde_makes_the_same_noise_for_the_same_seed_in_any_company() -> None:
    def sample(seeds: list[int]) -> torch.Tensor:
        made = scheduler("DPM++ SDE Karras", SD15)
        seed_noise(made, seeds)
        made.set_timesteps(4)
        x: torch.Tensor = torch.ones(len(seeds), 4, 8, 8) * made.init_noise_sigma
        for t in made.timesteps:
            x = made.step(0.1 * x, t, x).prev_sample
        return x

    alone, pair = sample([7]), sample([5, 7])
    assert torch.equal(alone[0], pair[1])
    assert not torch.equal(pair[0], pair[1])
    seed_noise(scheduler("Euler", SD15), [1])  # others have no noise of their own to seed
