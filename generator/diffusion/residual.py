"""A small diffusion model in the form of InstructPix2Pix that keeps its source's detail.

Two departures from the usual form make a model of a few megabytes usable. Its "autoencoder" has no
weights: pixel-unshuffle (Shi et al. 2016) folds patches into channels and back without loss. And its
UNet predicts the clean picture as source + change, so that detail never has to pass the bottleneck; a
few full-resolution convolutions at the end draw what is finer than a patch and hide its edges.

Importing this file imports torch and diffusers: do so inside functions only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ConfigMixin,
    DDIMScheduler,
    ModelMixin,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pool.schema import MissingWeights

TOKENS = 16
"""Most pieces of text that the model reads, marks of beginning and end included."""
_TOUCH = 16
_STEER = 5
_CHANGE = 0.25


class Exact:
    """The distribution that an encoder without uncertainty gives: all of it at ``mean``."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """The mean."""
        return self.mean

    def mode(self) -> Tensor:
        """The mean."""
        return self.mean


class PixelShuffleVAE(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """An exact, weight-free autoencoder: (n, 3, h, w) in [-1, 1] to (n, 3 patch², h/patch, w/patch).

    ``patch`` is a power of two. Heights and widths must be multiples of it.
    """

    config_name = "config.json"
    # None, or every cast to half precision is warned of.
    _keep_in_fp32_modules = None

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, patch: int = 4, scaling_factor: float = 1.0, force_upcast: bool = False) -> None:
        super().__init__()
        # Pipelines read the factor from the number of levels and the channels from here.
        levels = int(math.log2(patch)) + 1
        self.register_to_config(block_out_channels=(1,) * levels, latent_channels=3 * patch * patch)
        # A model without a parameter has no dtype and no device for the pipeline to ask for.
        self.none = nn.Parameter(torch.zeros(1), requires_grad=False)

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Fold patches into channels."""
        folded = Exact(functional.pixel_unshuffle(x, self.config.patch))
        return AutoencoderKLOutput(latent_dist=folded) if return_dict else (folded,)

    def decode(self, z: Tensor, return_dict: bool = True, generator: Any = None) -> Any:
        """Unfold channels into patches."""
        x = functional.pixel_shuffle(z, self.config.patch)
        return DecoderOutput(sample=x) if return_dict else (x,)


class ResidualUNet(UNet2DConditionModel):  # type: ignore[misc]
    """A UNet over folded pixels that predicts the clean picture as source + change.

    ``in_channels`` is twice 3 patch²: the noisy picture, then the source. ``out_channels`` is patch² times
    3 + k: unfolded, a first change of 3 channels and k more that steer the full-resolution convolutions.
    Heights and widths in pixels must be multiples of `patch`, and are best multiples of `factor`.
    """

    _keep_in_fp32_modules = None

    # diffusers reads from the signature what a saved configuration may hold.
    @functools.wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        steer = self.config.out_channels // self.patch**2
        last = nn.Conv2d(_TOUCH, 3, 3, padding=1)
        self.touch = nn.Sequential(
            nn.Conv2d(6 + steer, _TOUCH, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(_TOUCH, _TOUCH, 3, padding=1),
            nn.SiLU(),
            last,
        )
        # An untrained model leaves its source as it is.
        for weight in (*self.conv_out.parameters(), *last.parameters()):
            nn.init.zeros_(weight)

    @property
    def patch(self) -> int:
        """Pixels along the side of a folded patch."""
        return math.isqrt(self.config.in_channels // 6)

    @property
    def factor(self) -> int:
        """What heights and widths in pixels are best multiples of, as they were in training."""
        return int(self.patch * 2 ** (len(self.config.block_out_channels) - 1))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        *args: Any,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> Any:
        """The clean picture, folded, from (noisy, source) along channels."""
        noisy, source = sample.chunk(2, dim=1)
        guess = likely(noisy, source, timestep)
        found = super().forward(
            torch.cat([guess, source], dim=1),
            timestep,
            encoder_hidden_states,
            *args,
            return_dict=False,
            **kwargs,
        )[0]
        steer = functional.pixel_shuffle(found, self.patch)
        around = [functional.pixel_shuffle(part, self.patch) for part in (guess, source)]
        change = steer[:, :3] + self.touch(torch.cat([*around, steer], dim=1))
        clean = source + functional.pixel_unshuffle(change, self.patch)
        return UNet2DConditionOutput(sample=clean) if return_dict else (clean,)


@functools.cache
def _kept() -> Tensor:
    return torch.as_tensor(schedule().alphas_cumprod)


def likely(noisy: Tensor, source: Tensor, timestep: Tensor | float) -> Tensor:
    """The likeliest clean picture if each value of the change were drawn from N(0, ``_CHANGE``).

    Pure noise says nothing, so that it gives the source; with little noise it is the noisy picture itself.
    A network that saw the noise at full strength would first have to learn to look away. The timesteps are
    those of `schedule`; samplers that step between them get the nearest.
    """
    at = torch.as_tensor(timestep).round().long().clamp(0, len(_kept()) - 1).cpu()
    kept = _kept()[at].reshape(-1, 1, 1, 1)
    weight = kept.sqrt() * _CHANGE / (kept * _CHANGE + 1 - kept)
    return source + weight.to(noisy) * (noisy - kept.sqrt().to(noisy) * source)


def schedule() -> DDIMScheduler:
    """Noise for pictures whose large forms are known from the source.

    Levels fall from pure noise (zero terminal SNR, Lin et al. 2024) to little noise quickly, so that few
    steps leave most of the work to where streaks and flakes are decided.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-6,
        beta_end=0.004,
        beta_schedule="scaled_linear",
        prediction_type="sample",
        clip_sample=False,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )


def tokenizer(words: Sequence[str]) -> Any:
    """A CLIPTokenizer that holds each of ``words`` as one piece and any other word as its bytes."""
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters)]
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        left = ""
        for right in (*word[:-1], word[-1] + "</w>"):
            if left:
                merges[(left, right)] = None
                pieces.append(left + right)
            left += right
    pieces = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=list(merges),
        model_max_length=TOKENS,
        pad_token="<|endoftext|>",
    )


def untrained(words: Sequence[str], widths: Sequence[int], patch: int = 4, hidden: int = 64) -> Any:
    """A pipeline that has learned nothing yet: its change is zero.

    ``widths`` are the UNet's channels from fine to coarse, multiples of 16; attention is at the coarsest
    only, so that memory grows with the picture and not with its square. The words also enter every level
    with the time.
    """
    pieces = tokenizer(words)
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(pieces),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            bos_token_id=pieces.bos_token_id,
            eos_token_id=pieces.eos_token_id,
            pad_token_id=pieces.pad_token_id,
        )
    )
    plain = len(widths) - 1
    unet = ResidualUNet(
        in_channels=6 * patch**2,
        out_channels=(3 + _STEER) * patch**2,
        layers_per_block=1,
        block_out_channels=tuple(widths),
        norm_num_groups=16,
        cross_attention_dim=hidden,
        attention_head_dim=4,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * plain,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )
    return assemble(unet, encoder, pieces, schedule())


def assemble(unet: ResidualUNet, text_encoder: Any, tokenizer: Any, scheduler: Any) -> Any:
    """A StableDiffusionInstructPix2PixPipeline of these parts, without a safety checker."""
    return StableDiffusionInstructPix2PixPipeline(
        vae=PixelShuffleVAE(unet.patch),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The StableDiffusionInstructPix2PixPipeline saved in ``folder``, its weights as ``dtype``.

    diffusers' own ``from_pretrained`` reads the folder too once this module is imported: it takes classes
    that are not its own from what is imported already.

    Raises MissingWeights where there is no such folder.
    """
    if not (folder / "model_index.json").is_file():
        raise MissingWeights(
            f"There is no diffusion model in {folder}: python -m backend.demo.train_diffusion makes one."
        )
    unet = ResidualUNet.from_pretrained(str(folder / "unet"), torch_dtype=dtype, local_files_only=True)
    encoder = CLIPTextModel.from_pretrained(
        str(folder / "text_encoder"), dtype=dtype, local_files_only=True
    )
    pieces = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
    pipe = assemble(unet, encoder, pieces, DDIMScheduler.from_pretrained(str(folder / "scheduler")))
    pipe.vae.to(dtype=dtype)
    return pipe
