"""Prompt embeddings against the pipelines' own, against loops over tokens, and cut by hand."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.diffusion.embeddings import LOOKBACK, Token, blocks, encode
from generator.prompt import Chunk, Prompt, parse
from pool.schema import BadInput
from tests.generator import tiny_clip

torch.set_num_threads(1)

COMMA = 7
TOKENIZER = tiny_clip.tokenizer()
ENCODER = tiny_clip.encoder(TOKENIZER)
SECOND_TOKENIZER = tiny_clip.tokenizer(pad="!")
SECOND = tiny_clip.encoder(SECOND_TOKENIZER, width=24, seed=1, projection=10)


def sd(encoder: Any = ENCODER) -> Any:
    return SimpleNamespace(tokenizer=TOKENIZER, text_encoder=encoder, config=SimpleNamespace())


def sdxl(zeros: bool) -> Any:
    import diffusers

    library: Any = diffusers
    return library.StableDiffusionXLPipeline(
        vae=None,
        unet=None,
        scheduler=library.EulerDiscreteScheduler(steps_offset=1),
        tokenizer=TOKENIZER,
        text_encoder=ENCODER,
        tokenizer_2=SECOND_TOKENIZER,
        text_encoder_2=SECOND,
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    )


def states(ids: list[int], layer: int | None = None) -> torch.Tensor:
    """What the encoder says to one block: its output, or what its layer number ``layer`` gave, unnormed."""
    caught: list[torch.Tensor] = []
    hook = None
    if layer is not None:
        hook = ENCODER.encoder.layers[layer].register_forward_hook(
            lambda *a: caught.append(a[2][0] if isinstance(a[2], tuple) else a[2])
        )
    with torch.no_grad():
        out = ENCODER(torch.tensor([ids])).last_hidden_state
    if hook is not None:
        hook.remove()
        return caught[0]
    return out  # type: ignore[no-any-return]


def padded(*words: str) -> list[int]:
    """One block's token numbers, by the vocabulary alone."""
    ids = [TOKENIZER.convert_tokens_to_ids(word + "</w>") for word in words]
    end = TOKENIZER.eos_token_id
    return [TOKENIZER.bos_token_id, *ids, *[end] * (76 - len(ids))]


@pytest.mark.parametrize("negative", ["", "rain", "heavy snow, 雪"])
@pytest.mark.parametrize("prompt", ["a photo of snow", "Night, (street", "垃圾 in rain"])
def test_a_plain_prompt_is_the_pipelines_own(prompt: str, negative: str) -> None:
    import diffusers

    library: Any = diffusers
    pipeline = library.StableDiffusionPipeline(
        vae=None,
        unet=None,
        scheduler=library.EulerDiscreteScheduler(steps_offset=1),
        tokenizer=TOKENIZER,
        text_encoder=ENCODER,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with torch.no_grad():
        own = pipeline.encode_prompt(prompt, "cpu", 1, True, negative)
    ours = encode(pipeline, Prompt((Chunk(prompt),)), Prompt((Chunk(negative),)))
    assert torch.equal(ours.positive, own[0])
    assert torch.equal(ours.negative, own[1])
    assert ours.pooled is ours.negative_pooled is None


@pytest.mark.parametrize("clip_skip", [1, 2])
@pytest.mark.parametrize("negative", ["", "rain"])
@pytest.mark.parametrize("zeros", [True, False])
def test_sdxl_is_the_pipelines_own_at_any_clip_skip(zeros: bool, negative: str, clip_skip: int) -> None:
    pipeline = sdxl(zeros)
    said = None if zeros and not negative else negative
    with torch.no_grad():
        own = pipeline.encode_prompt("a photo of snow", device="cpu", negative_prompt=said)
    ours = encode(pipeline, parse("a photo of snow"), parse(negative), clip_skip=clip_skip)
    assert ours.pooled is not None
    assert ours.negative_pooled is not None
    assert ours.positive.shape == (1, 77, 16 + 24)
    assert ours.pooled.shape == (1, 10)
    for mine, theirs in zip(
        (ours.positive, ours.negative, ours.pooled, ours.negative_pooled), own, strict=True
    ):
        assert torch.equal(mine, theirs)
    assert bool((ours.negative == 0).all()) == (zeros and not negative)


def test_weights_by_a_loop_over_tokens() -> None:
    ours = encode(sd(), parse("a (photo of:1.3) [snow]"), parse("")).positive.numpy()
    plain = states(padded("a", "photo", "of", "snow")).numpy().astype(np.float64)[0]
    heavy = plain.copy()
    for position, weight in {2: 1.3, 3: 1.3, 4: 1 / 1.1}.items():
        heavy[position] *= weight
    assert np.abs(plain.mean() / heavy.mean() - 1) > 1e-3
    np.testing.assert_allclose(ours[0], heavy * (plain.mean() / heavy.mean()), atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.7])
def test_each_block_keeps_its_own_mean(weight: float) -> None:
    prompt = parse(f"(snow:{weight}) rain BREAK night (street:{weight})")
    ours = encode(sd(), prompt, parse("")).positive[0]
    for k, words in enumerate([("snow", "rain"), ("night", "street")]):
        mean = states(padded(*words)).mean()
        assert torch.allclose(ours[77 * k : 77 * k + 77].mean(), mean, atol=1e-6)


def test_a_mean_of_nothing_is_not_restored() -> None:
    encoder = tiny_clip.encoder(TOKENIZER)
    torch.nn.init.ones_(encoder.final_layer_norm.weight)
    torch.nn.init.zeros_(encoder.final_layer_norm.bias)
    plain = encode(sd(encoder), parse("snow rain"), parse("")).positive
    heavy = encode(sd(encoder), parse("(snow:1.5) rain"), parse("")).positive
    assert torch.allclose(heavy[:, 1], 1.5 * plain[:, 1])
    assert torch.allclose(heavy[:, 2:], plain[:, 2:])


@pytest.mark.parametrize("skip", [1, 2, 3])
def test_clip_skip_counts_layers_from_the_last(skip: int) -> None:
    ours = encode(sd(), parse("a photo"), parse(""), clip_skip=skip).positive[0].numpy()
    layer = states(padded("a", "photo"), layer=3 - skip)[0].detach().numpy().astype(np.float64)
    norm = ENCODER.final_layer_norm
    level = (layer - layer.mean(-1, keepdims=True)) / np.sqrt(layer.var(-1, keepdims=True) + norm.eps)
    expected = level * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("skip", [0, 4, -1])
def test_no_such_layer(skip: int) -> None:
    with pytest.raises(BadInput, match="from 1 to 3"):
        encode(sd(), parse("snow"), parse(""), clip_skip=skip)


def test_the_norm_may_lie_one_level_deeper() -> None:
    class Nested(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text_model, self.config, self.device = ENCODER, ENCODER.config, torch.device("cpu")

        def forward(self, ids: torch.Tensor, output_hidden_states: bool) -> Any:
            return ENCODER(ids, output_hidden_states=output_hidden_states)

    args = parse("a (photo:1.2)"), parse("")
    nested, flat = encode(sd(Nested()), *args, clip_skip=2), encode(sd(), *args, clip_skip=2)
    assert torch.equal(nested.positive, flat.positive)


def test_long_prompts_are_blocks_end_to_end_and_the_negative_is_as_long() -> None:
    ours = encode(sd(), parse("snow " * 75 + "rain " * 75 + "night"), parse("street"))
    assert ours.positive.shape == ours.negative.shape == (1, 3 * 77, 16)
    rows = [padded(*["snow"] * 75), padded(*["rain"] * 75), padded("night")]
    expected = torch.cat([states(row) for row in rows], dim=1)
    assert torch.allclose(ours.positive, expected, atol=1e-5)
    empty = torch.cat([states(row) for row in (padded("street"), padded(), padded())], dim=1)
    assert torch.allclose(ours.negative, empty, atol=1e-5)
    back = encode(sd(), parse("street"), parse("snow " * 75 + "rain " * 75 + "night"))
    assert torch.equal(back.positive, ours.negative)
    assert torch.equal(back.negative, ours.positive)


def test_sdxl_pools_the_first_block() -> None:
    pipeline = sdxl(False)
    long = encode(pipeline, parse("snow BREAK rain"), parse(""))
    short = encode(pipeline, parse("snow"), parse(""))
    assert long.positive.shape == (1, 154, 40)
    assert long.pooled is not None
    assert short.pooled is not None
    assert torch.allclose(long.pooled, short.pooled, atol=1e-6)


def test_halves_stay_halves() -> None:
    encoder = tiny_clip.encoder(TOKENIZER).to(torch.bfloat16)
    ours = encode(sd(encoder), parse("(snow:1.4) rain"), parse(""))
    assert ours.positive.dtype == ours.negative.dtype == torch.bfloat16
    assert bool(ours.positive.isfinite().all())


def plain(*ids: int) -> list[Token]:
    return [Token(number, 1.0) for number in ids]


def sizes(*pieces: list[Token] | None) -> list[int]:
    return [len(block) for block in blocks(pieces, COMMA)]


def test_cut_by_hand() -> None:
    words = plain(*[1] * 200)
    assert sizes() == [0]
    assert sizes(words[:75]) == [75]
    assert sizes(words[:76]) == [75, 1]
    assert sizes(words[:151]) == [75, 75, 1]
    # The comma at 55 is the first within 20 tokens of the end, the one at 54 is too far.
    assert sizes([*words[:55], *plain(COMMA), *words[:40]]) == [56, 40]
    assert sizes([*words[:54], *plain(COMMA), *words[:40]]) == [75, 20]
    # A comma that would be cut off itself begins the next block, nothing else moves.
    assert sizes([*words[:70], *plain(COMMA), *words[:4], *plain(COMMA, 1)]) == [75, 2]
    # What fits exactly is not moved.
    assert sizes([*words[:70], *plain(COMMA), *words[:4]]) == [75]
    assert sizes(None) == [0]
    assert sizes(words[:3], None) == [3]
    assert sizes(None, words[:3], None, None, words[:2]) == [0, 3, 0, 2]
    # The last comma counts across chunks, and never one before a BREAK.
    assert sizes([*words[:60], *plain(COMMA)], words[:20]) == [61, 20]
    assert sizes([*words[:60], *plain(COMMA)], None, words[:80]) == [61, 75, 5]


@given(
    st.lists(st.lists(st.sampled_from([1, 2, 3, 4, 5, COMMA]), max_size=130), max_size=4),
    st.integers(20, 75),
)
@settings(max_examples=100, deadline=None)
def test_blocks_lose_nothing_and_end_early_only_at_commas(texts: list[list[int]], room: int) -> None:
    pieces = [plain(*text) for text in texts]
    cut = blocks(pieces, COMMA, room)
    assert [token for block in cut for token in block] == [token for piece in pieces for token in piece]
    assert all(len(block) <= room for block in cut)
    for block, following in itertools.pairwise(cut):
        recent = [k for k, token in enumerate(block) if token.id == COMMA and room - k <= LOOKBACK]
        if len(block) < room:
            assert recent[-1] == len(block) - 1
        elif following[0].id != COMMA:
            assert not recent or recent[-1] == room - 1
