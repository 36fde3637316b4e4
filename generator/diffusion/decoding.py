"""From latents to pictures, with a look at whether they are pictures at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from generator.pixels import Pixels
from pool.schema import ThresherError

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger("thresher.generator")


def decode(vae: Any, latents: Tensor, careful: bool) -> list[Pixels]:
    """The pictures of latents (n, c, h, w), one after another, so that a batch needs no more than one.

    ``careful`` decodes in float32 from the start (SDXL's VAE overflows in float16); otherwise that is the
    second try, where half precision gave no picture. Raises ThresherError naming the cause where there is
    no picture even so.
    """
    import torch

    if not bool(torch.isfinite(latents).all()):
        raise ThresherError(
            f"The model's UNet gave no numbers in {_name(vae.dtype)}: paint in bfloat16 or float32, or "
            "choose a lower guidance scale."
        )
    before, singles = vae.dtype, [latents[i : i + 1] for i in range(len(latents))]
    if before != torch.float32 and not careful:
        pictures = [_picture(vae, one) for one in singles]
        if all(picture is not None and picture.any() for picture in pictures):
            return [picture for picture in pictures if picture is not None]
        _log.info("The VAE gave no picture in %s; it is tried again in float32.", _name(before))
    try:
        if before != torch.float32:
            vae.to(torch.float32)
        found = [_picture(vae, one) for one in singles]
    finally:
        if before != torch.float32:
            vae.to(before)
    for picture in found:
        if picture is None:
            raise ThresherError(
                "The VAE gave no numbers even in float32: its weights are broken or no VAE's."
            )
        if not picture.any():
            raise ThresherError(
                "The picture is black all over: the model or its VAE does not suit the recipe."
            )
    return [picture for picture in found if picture is not None]


def _picture(vae: Any, latents: Tensor) -> Pixels | None:
    """One picture; None where it is not made of numbers."""
    import torch

    config = vae.config
    scaled = latents.to(vae.dtype) / config.scaling_factor
    means, deviations = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if means is not None and deviations is not None:
        mean, deviation = (scaled.new_tensor(values).view(1, -1, 1, 1) for values in (means, deviations))
        scaled = scaled * deviation + mean
    with torch.no_grad():
        raw = vae.decode(scaled, return_dict=False)[0][0].float()
    if not bool(torch.isfinite(raw).all()):
        return None
    pixels = (raw.clamp(-1, 1) + 1) * 127.5
    array: Pixels = np.ascontiguousarray(pixels.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy())
    return array


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
