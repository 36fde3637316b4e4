from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from generator.diffusion.residual import (
    TOKENS,
    PixelShuffleVAE,
    ResidualUNet,
    likely,
    load,
    schedule,
    untrained,
)
from pool.schema import MissingWeights

WORDS = ("haze", "heavy", "night", "rain")


def small(seed: int = 0, patch: int = 2) -> Any:
    """A tiny pipeline with random weights everywhere, so that it does change its source."""
    torch.manual_seed(seed)
    pipe = untrained(WORDS, (16, 16), patch=patch, hidden=16)
    for weight in (*pipe.unet.conv_out.parameters(), *pipe.unet.touch[-1].parameters()):
        torch.nn.init.normal_(weight, std=0.05)
    pipe.unet.eval()
    pipe.text_encoder.eval()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def street(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def run(pipe: Any, told: list[str], images: list[Image.Image], seeds: list[int], steps: int = 2) -> Any:
    return pipe(
        told,
        image=images,
        num_inference_steps=steps,
        guidance_scale=1.0,
        image_guidance_scale=1.0,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
    ).images


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_autoencoder_gives_back_every_bit(patch: int, rows: int, columns: int, seed: int) -> None:
    made = torch.Generator().manual_seed(seed)
    picture = torch.rand((2, 3, rows * patch, columns * patch), generator=made) * 2 - 1
    vae = PixelShuffleVAE(patch)
    folded = vae.encode(picture).latent_dist
    assert folded.mode().shape == (2, vae.config.latent_channels, rows, columns)
    assert torch.equal(folded.mode(), folded.sample())
    assert torch.equal(vae.decode(folded.mode()).sample, picture)
    assert torch.equal(
        vae.decode(vae.encode(picture, return_dict=False)[0].mean, return_dict=False)[0], picture
    )


def test_folding_puts_each_patch_into_the_channels_of_its_place() -> None:
    picture = torch.arange(3 * 4 * 6, dtype=torch.float32).reshape(1, 3, 4, 6)
    folded = PixelShuffleVAE(2).encode(picture).latent_dist.mode()
    for colour in range(3):
        patch = picture[0, colour, 2:4, 4:6].flatten()
        assert torch.equal(folded[0, colour * 4 : colour * 4 + 4, 1, 2], patch)


def test_an_untrained_model_leaves_its_source_as_it_is() -> None:
    pipe = untrained(WORDS, (16, 16), patch=2, hidden=16)
    pipe.set_progress_bar_config(disable=True)
    source = street()
    found = run(pipe, ["rain heavy"], [source], [0])[0]
    assert np.abs(found * 255 - np.asarray(source)).max() < 0.01


def test_a_change_of_the_last_layer_is_added_to_the_source() -> None:
    unet = untrained(WORDS, (16, 16), patch=2, hidden=16).unet
    torch.nn.init.constant_(unet.touch[-1].bias, -0.25)
    noisy, source = torch.randn(2, 12, 8, 8), torch.randn(2, 12, 8, 8)
    found = unet(torch.cat([noisy, source], 1), torch.tensor([5, 900]), torch.randn(2, TOKENS, 16)).sample
    torch.testing.assert_close(found, source - 0.25)


def test_sizes_must_be_multiples_of_the_patch_only() -> None:
    unet = untrained(WORDS, (16, 16, 32), patch=4, hidden=16).unet
    assert (unet.patch, unet.factor) == (4, 16)
    told = torch.randn(1, TOKENS, 16)
    for rows, columns in ((4, 8), (5, 7)):
        found = unet(torch.randn(1, 96, rows, columns), 3, told, return_dict=False)[0]
        assert found.shape == (1, 48, rows, columns)
    with pytest.raises(RuntimeError, match="divisible"):
        PixelShuffleVAE(4).encode(torch.zeros(1, 3, 18, 16))


def test_saved_and_loaded_it_makes_the_same_picture(tmp_path: Path) -> None:
    pipe = small()
    wanted = run(pipe, ["rain heavy"], [street()], [7])
    pipe.save_pretrained(tmp_path)
    again = load(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert isinstance(again.unet, ResidualUNet)
    assert isinstance(again.vae, PixelShuffleVAE)
    np.testing.assert_array_equal(run(again, ["rain heavy"], [street()], [7]), wanted)
    plain = StableDiffusionInstructPix2PixPipeline.from_pretrained(
        str(tmp_path), local_files_only=True, safety_checker=None
    )
    plain.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(run(plain, ["rain heavy"], [street()], [7]), wanted)


def test_half_precision_is_near(tmp_path: Path) -> None:
    pipe = small()
    wanted = run(pipe, ["night"], [street()], [7])
    pipe.to(dtype=torch.float16).save_pretrained(tmp_path)
    again = load(tmp_path, torch.float32)
    again.set_progress_bar_config(disable=True)
    assert again.unet.dtype == again.vae.dtype == again.text_encoder.dtype == torch.float32
    assert np.abs(run(again, ["night"], [street()], [7]) - wanted).max() < 0.02
    assert load(tmp_path, torch.float16).unet.dtype == torch.float16


def test_the_seed_alone_decides_the_picture() -> None:
    pipe = small()
    one, again, other = (run(pipe, ["night"], [street()], [seed])[0] for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_words_reach_the_picture() -> None:
    pipe = small()
    night, rain = (run(pipe, [told], [street()], [3])[0] for told in ("night", "rain heavy"))
    assert not np.array_equal(night, rain)


def test_an_item_of_a_batch_is_what_it_is_alone() -> None:
    pipe = small()
    told, sources, seeds = ["night", "rain", "haze heavy"], [street(seed=k) for k in range(3)], [5, 6, 7]
    together = run(pipe, told, sources, seeds)
    for k in range(3):
        alone = run(pipe, [told[k]], [sources[k]], [seeds[k]])[0]
        np.testing.assert_allclose(together[k], alone, atol=1e-4)


@pytest.mark.parametrize("told", ["", "大雪", "rain " * 40, "snow \N{SNOWMAN} at night, please", "\n\t"])
def test_unknown_words_are_read_as_bytes(told: str) -> None:
    found = run(small(), [told], [street()], [1], steps=1)
    assert found.shape == (1, 16, 24, 3)
    assert np.isfinite(found).all()


def test_known_words_are_one_piece_each() -> None:
    pieces = untrained(WORDS, (16, 16), hidden=16).tokenizer
    read = pieces("Heavy rain, night").input_ids
    assert pieces.convert_ids_to_tokens(read) == [
        "<|startoftext|>", "heavy</w>", "rain</w>", ",</w>", "night</w>", "<|endoftext|>",
    ]  # fmt: skip
    assert len(set(pieces.get_vocab().values())) == len(pieces.get_vocab())
    assert pieces.model_max_length == TOKENS


def test_noise_begins_as_nothing_but_noise() -> None:
    noise = schedule()
    kept = noise.alphas_cumprod.double()
    assert kept[-1] == 0
    assert (kept[1:] < kept[:-1]).all()
    noise.set_timesteps(4)
    assert noise.timesteps.tolist() == [999, 749, 499, 249]
    ratios = [math.sqrt((1 - float(kept[t])) / float(kept[t])) for t in (749, 499, 249)]
    assert 1.5 < ratios[0] < 2.5
    assert 0.5 < ratios[1] < 0.9
    assert 0.1 < ratios[2] < 0.3


def test_the_likeliest_picture_is_the_best_linear_guess_of_the_change() -> None:
    made = torch.Generator().manual_seed(0)
    source = torch.rand((1, 1, 200, 200), generator=made) * 2 - 1
    change = torch.randn(source.shape, generator=made) * 0.5
    noise = torch.randn(source.shape, generator=made)
    for at in (50, 249, 499, 749):
        noisy = schedule().add_noise(source + change, noise, torch.tensor([at]))
        kept = schedule().alphas_cumprod[at]
        seen = noisy - kept.sqrt() * source
        slope = (seen * change).sum() / (seen**2).sum()
        torch.testing.assert_close(likely(noisy, source, at), source + slope * seen, atol=0.05, rtol=0)
    torch.testing.assert_close(likely(noise, source, torch.tensor(999)), source)
    torch.testing.assert_close(likely(noise, source, torch.tensor([0])), noise, atol=0.01, rtol=0)


def test_each_item_has_a_level_of_noise_of_its_own() -> None:
    noisy, source = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    both = likely(noisy, source, torch.tensor([300, 800]))
    for k, at in enumerate((300, 799.6)):
        torch.testing.assert_close(both[k], likely(noisy, source, at)[k])


def test_where_there_is_no_model_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="train_diffusion"):
        load(tmp_path / "nothing")
