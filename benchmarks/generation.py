"""What the generating job costs beside the diffusion model alone, and what it costs to go on after a kill.

The job plans variants in a ledger, reads parents, paints, encodes PNG files with their recipes, stores and
judges them (structure, statistics, a look by the detector) and takes them into the pool. The bare pipeline
is the same model in diffusers' own words, on the same pictures in the same batches, and nothing else.

With a GPU the shape of Stable Diffusion 1.5 is timed as well, with random weights, which cost the same:
512 x 512, 20 steps, float16, in batches that grow until memory is used, with torch.compile and without.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from backend import learning, painting, variants  # noqa: E402
from backend.demo.run import WEIGHTS  # noqa: E402
from backend.demo.scenes import LABELS, jpeg, render  # noqa: E402
from backend.house import House, Job, open_house  # noqa: E402
from backend.intake import one  # noqa: E402
from backend.settings import isolated  # noqa: E402
from backend.variants import SMALL_FOLDER, Wish  # noqa: E402
from benchmarks.closing import close  # noqa: E402
from generator import infotext  # noqa: E402
from pool.schema import Project, Task, Variant  # noqa: E402

SIZE = (320, 240)
PLANNED = (1_000, 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few pictures, under 45 seconds")
    quick = parser.parse_args().quick
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = isolated(
            data_dir=Path(folder), imgsz=320, threads=1, holdout_share=0.0, diffusion_batch=4
        )
        with open_house(settings) as house:
            parents = _fill(house, 4 if quick else 24)
            job, bare = _paint(house, parents, 2)
            figures["pictures"] = 2 * parents
            figures["job_images_per_second"] = round(job, 3)
            figures["bare_images_per_second"] = round(bare, 3)
            size = f"{SIZE[0]} x {SIZE[1]}"
            print(f"{2 * parents} pictures of {size}: job {job:.3f}/s, model alone {bare:.3f}/s")
            for count in PLANNED[:1] if quick else PLANNED:
                seconds = _resume(house, count)
                figures[f"resume_seconds_{count}"] = round(seconds, 3)
                print(f"looking at {count:,} finished variants before going on: {seconds:.3f} s")
    figures |= _gpu(quick)
    close("generation", figures, {"job_over_bare_pipeline": round(job / bare, 3)})


def _fill(house: House, count: int) -> int:
    house.pool.save_project(Project(1, "Bins", "label", "image", "image", LABELS, {}, "secret"))
    samples = [one(house, jpeg(render(seed, SIZE)), f"street-{seed}.jpg") for seed in range(count)]
    house.pool.bind_tasks([Task(1, n, s.id, f"/data/{n}.jpg") for n, s in enumerate(samples, 1)])
    name, sha256 = house.registry.register(WEIGHTS)
    learning.first_model(house, house.pool.project(1), name, sha256, LABELS)
    learning.look(house, house.champion(1), Job("look"))
    return len({s.id for s in samples})


def _paint(house: House, parents: int, each: int) -> tuple[float, float]:
    """Images per second of the whole job, and of the model alone on the same work."""
    wish = Wish(("night", "haze:moderate"), parents=(f"random:{parents}",), per_parent=each)
    model = house.champion(1)
    variants.plan(house, model, wish, Job("warm"))
    todo = house.pool.variants(1, job="warm")
    _bare(house, todo[:1])
    painting._painted(house, variants.vocabulary(house), infotext.parse(todo[0].recipe), todo[:1])
    began = time.perf_counter()
    painting.paint(house, model, Job("warm"))
    job = len(todo) / (time.perf_counter() - began)
    began = time.perf_counter()
    _bare(house, todo)
    return job, len(todo) / (time.perf_counter() - began)


_PIPES: dict[str, Any] = {}


def _bare(house: House, todo: list[Variant]) -> None:
    """The same pictures by diffusers alone, in the same batches."""
    import torch

    from generator.diffusion import residual

    if "small" not in _PIPES:
        _PIPES["small"] = residual.load(SMALL_FOLDER)
        _PIPES["small"].set_progress_bar_config(disable=True)
    pipe, size = _PIPES["small"], house.settings.diffusion_batch
    samples = house.pool.samples()
    for recipe, part in painting.chunks(todo):
        for start in range(0, len(part), size):
            some = part[start : start + size]
            stack = np.stack([painting.read(house, samples[v.parent]) for v in some])
            factor = pipe.unet.factor
            high, wide = (-(-n // factor) * factor for n in stack.shape[1:3])
            stack = np.pad(
                stack, ((0, 0), (0, high - stack.shape[1]), (0, wide - stack.shape[2]), (0, 0)), "reflect"
            )
            pipe(
                [recipe.prompt] * len(some),
                image=torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255,
                num_inference_steps=recipe.steps,
                guidance_scale=recipe.cfg,
                image_guidance_scale=recipe.image_cfg,
                generator=[torch.Generator().manual_seed(v.seed) for v in some],
                output_type="np",
            )


def _resume(house: House, count: int) -> float:
    """Seconds that a job needs before it goes on, with this many variants finished already."""
    from dataclasses import replace

    (known, *_) = house.pool.variants(1)
    job = f"old-{count}"
    house.pool.save_variants([replace(known, id=f"{count}-{n}", job=job) for n in range(count)])
    began = time.perf_counter()
    painting.paint(house, house.champion(1), Job(job))
    return time.perf_counter() - began


def _gpu(quick: bool) -> dict[str, Any]:
    """Images per second of the shape of Stable Diffusion 1.5 on a GPU, by batch; nothing without one."""
    import torch

    if not torch.cuda.is_available():
        return {}
    import diffusers

    from generator.diffusion import architectures

    config = architectures.configs(xl=False)
    unet = diffusers.UNet2DConditionModel.from_config(config["unet/config.json"]).to("cuda", torch.float16)
    vae = diffusers.AutoencoderKL.from_config(config["vae/config.json"]).to("cuda", torch.float16)
    steps = diffusers.DPMSolverMultistepScheduler.from_config(config["scheduler/scheduler_config.json"])
    figures: dict[str, Any] = {}
    for compiled in (False,) if quick else (False, True):
        model = torch.compile(unet) if compiled else unet
        batch = 1
        while True:
            try:
                rate = _rate(model, vae, steps, batch)
            except torch.cuda.OutOfMemoryError:
                break
            name = f"sd15_{'compiled_' if compiled else ''}batch_{batch}_images_per_second"
            figures[name] = round(rate, 3)
            print(f"{name}: {rate:.3f}")
            if quick and batch == 4:
                break
            batch *= 2
    return figures


def _rate(unet: Any, vae: Any, steps: Any, batch: int) -> float:
    import torch

    told = torch.randn(2 * batch, 77, 768, device="cuda", dtype=torch.float16)
    began = 0.0
    with torch.no_grad():
        for turn in range(2):  # the first one warms up
            torch.cuda.synchronize()
            began = time.perf_counter()
            latents = torch.randn(batch, 4, 64, 64, device="cuda", dtype=torch.float16)
            steps.set_timesteps(20, device="cuda")
            for at in steps.timesteps:
                both = steps.scale_model_input(torch.cat([latents] * 2), at)
                without, with_ = unet(both, at, encoder_hidden_states=told).sample.chunk(2)
                latents = steps.step(without + 7.0 * (with_ - without), at, latents).prev_sample
            vae.decode(latents / vae.config.scaling_factor)
            torch.cuda.synchronize()
            del turn
    return batch / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
