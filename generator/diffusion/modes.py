"""What each mode of a recipe asks of a model, and how diffusers is called for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from generator.diffusion.loading import Kind
from generator.recipe import KEYS, Mode, Recipe
from pool.schema import BadInput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from generator.diffusion.embeddings import Embeddings

_FORMS: Mapping[Mode, str] = {
    "txt2img": "",
    "img2img": "Img2Img",
    "inpaint": "Inpaint",
    "instruct": "InstructPix2Pix",
}
_FROM_SOURCE = ("img2img", "inpaint")


def check(recipe: Recipe) -> None:
    """Raises BadInput for what no model could do, before anything is loaded."""
    if recipe.mode not in _FORMS:
        fix = "Rendering needs no diffusion model."
        raise BadInput(KEYS["mode"], f"one of {', '.join(_FORMS)}", recipe.mode, fix)
    if recipe.mode in _FROM_SOURCE:
        if recipe.strength is None:
            fix = "0.3 to 0.6 are usual; 1 gives the source up."
            raise BadInput(KEYS["strength"], f"given in {recipe.mode}", None, fix)
        if recipe.strength * recipe.steps < 1:
            least = f"at least {1 / recipe.steps:.3g} with {recipe.steps} steps"
            raise BadInput(KEYS["strength"], least, recipe.strength, "Less than one step would be run.")
    if recipe.mode == "instruct":
        if recipe.controls:
            fix = "Leave them out, or use img2img."
            raise BadInput("ControlNet", "left out in instruct", recipe.controls[0].kind, fix)
        if recipe.image_cfg < 1:
            raise BadInput(KEYS["image_cfg"], "1 or more", recipe.image_cfg, "1.5 is usual.")
    for control in recipe.controls:
        if control.start >= control.end:
            fix = "Let it start before it ends; 0 to 1 is all steps."
            raise BadInput(
                "ControlNet Guidance End", f"more than its start, {control.start}", control.end, fix
            )


def check_model(recipe: Recipe, kind: Kind) -> None:
    """Raises BadInput where the checkpoint was made for another mode."""
    plain, instruct, inpaint = kind.latents, 2 * kind.latents, 2 * kind.latents + 1
    made_for = {plain: "txt2img, img2img and inpaint", instruct: "instruct", inpaint: "inpaint"}
    fits = {"instruct": (instruct,), "inpaint": (plain, inpaint)}.get(recipe.mode, (plain,))
    if kind.channels not in fits:
        wanted = f"one whose UNet has {' or '.join(map(str, fits))} input channels in {recipe.mode}"
        use = made_for.get(kind.channels, "other uses")
        raise BadInput(KEYS["model"], wanted, kind.channels, f"{recipe.model or 'This one'} is for {use}.")


def pipeline_name(recipe: Recipe, xl: bool) -> str:
    """The diffusers class for the recipe."""
    control = "ControlNet" if recipe.controls else ""
    return f"StableDiffusion{'XL' if xl else ''}{control}{_FORMS[recipe.mode]}Pipeline"


def arguments(
    recipe: Recipe,
    *,
    images: Tensor,
    masks: Tensor,
    conditions: Sequence[Tensor],
    told: Embeddings,
    generators: Sequence[torch.Generator],
    strength: float,
) -> dict[str, Any]:
    """What the pipeline is called with.

    ``images`` are (n, 3, h, w) in [0, 1], ``masks`` (n, 1, h, w) are 1 where inpainting may paint,
    ``conditions`` are like ``images`` for each control. ``strength`` is diffusers' own.
    """
    count, _, height, width = images.shape
    given: dict[str, Any] = {
        "num_inference_steps": recipe.steps,
        "guidance_scale": recipe.cfg,
        "generator": list(generators),
        "output_type": "latent",
        "prompt_embeds": told.positive.expand(count, -1, -1),
        "negative_prompt_embeds": told.negative.expand(count, -1, -1),
    }
    if told.pooled is not None and told.negative_pooled is not None:
        given["pooled_prompt_embeds"] = told.pooled.expand(count, -1)
        given["negative_pooled_prompt_embeds"] = told.negative_pooled.expand(count, -1)
    if conditions:
        shown = conditions[0] if len(conditions) == 1 else list(conditions)
        one = len(conditions) == 1
        given["image" if recipe.mode == "txt2img" else "control_image"] = shown
        for name, values in (
            ("controlnet_conditioning_scale", [float(control.weight) for control in recipe.controls]),
            ("control_guidance_start", [float(control.start) for control in recipe.controls]),
            ("control_guidance_end", [float(control.end) for control in recipe.controls]),
        ):
            given[name] = values[0] if one else values
    if recipe.mode != "txt2img":
        given["image"] = images
    if recipe.mode in _FROM_SOURCE:
        given["strength"] = strength
    if recipe.mode == "inpaint":
        given["mask_image"] = masks
    if recipe.mode == "instruct":
        given["image_guidance_scale"] = recipe.image_cfg
    elif recipe.mode != "img2img":
        given |= {"height": height, "width": width}
    return given
