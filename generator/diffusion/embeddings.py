"""Prompts in A1111's weights as the text encoders' states: what diffusers takes as ``prompt_embeds``.

Done here, and not by a library, for two reasons. compel reads another syntax and weighs differently
(towards the empty prompt), so that an A1111 recipe would give another picture; and its penultimate layer,
like diffusers' own ``clip_skip``, needs ``text_model``, which transformers 5 took from CLIPTextModel.

As in A1111 (modules/sd_hijack_clip.py and sd_emphasis.py of stable-diffusion-webui, emphasis "Original"):

- A prompt is cut into blocks of 75 tokens; one that would be cut within 20 tokens after a comma goes on in
  the next block from that comma; BREAK begins a new block. Each block is encoded alone, and they are laid
  end to end.
- Each token's state is multiplied by its weight, then all states of a block by one number that gives the
  block the mean it had before.
- Clip skip counts from the end: 1 is the last layer, 2 the one before, with the final norm over it. SDXL
  always takes the layer before the last of both encoders, without the norm, whatever clip skip says.

Textual inversions are not supported: their names are read as words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from generator.prompt import Prompt
from pool.schema import BadInput

if TYPE_CHECKING:
    from torch import Tensor

LOOKBACK = 20
"""How many tokens after a comma a block may be shortened by: A1111's default."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One prompt and one negative prompt for a diffusers pipeline.

    ``positive`` and ``negative`` are (1, 77 n, d), equally long. ``pooled`` and ``negative_pooled`` are
    (1, p) in SDXL and None elsewhere.
    """

    positive: Tensor
    negative: Tensor
    pooled: Tensor | None = None
    negative_pooled: Tensor | None = None


class Token(NamedTuple):
    """A token's number in the vocabulary, and how much it counts."""

    id: int
    weight: float


def blocks(pieces: Sequence[Sequence[Token] | None], comma: int, room: int = 75) -> list[list[Token]]:
    """The tokens of a prompt in blocks of at most ``room``, at least one; None among the pieces is a BREAK.

    ``comma`` is the comma's number in the vocabulary.
    """
    done: list[list[Token]] = []
    block: list[Token] = []
    for piece in pieces:
        if piece is None:
            done.append(block)
            block = []
            continue
        for token in piece:
            if len(block) == room:
                cut = _cut(block, token, comma)
                done.append(block[:cut])
                block = block[cut:]
            block.append(token)
    return [*done, block] if block or not done else done


def _cut(block: list[Token], following: Token, comma: int) -> int:
    """Where a full block ends: after a comma of its last tokens, or nowhere sooner."""
    if following.id != comma:
        for position in range(len(block) - 1, max(len(block) - LOOKBACK, 0) - 1, -1):
            if block[position].id == comma:
                return position + 1
    return len(block)


def encode(pipeline: Any, prompt: Prompt, negative: Prompt, *, clip_skip: int = 1) -> Embeddings:
    """Encode a prompt and a negative prompt with the pipeline's own tokenizers and text encoders.

    ``pipeline`` is any Stable Diffusion 1, 2 or XL pipeline; LoRAs must be in it already, tags in the
    prompts are not looked at. The shorter of the two is filled up with empty blocks, since diffusers wants
    equal lengths. An empty negative prompt is all zeros where the pipeline says so
    (``force_zeros_for_empty_prompt``, SDXL), as in diffusers and A1111.

    A block whose mean is less than a hundredth of its mean magnitude is not scaled back: there the ratio
    of A1111 is that of two roundings, and may turn the sign.

    Raises BadInput where the text encoder has no layer for ``clip_skip``.
    """
    import torch

    second = getattr(pipeline, "text_encoder_2", None)
    readers = [_Reader(pipeline.tokenizer, pipeline.text_encoder)] if pipeline.text_encoder else []
    if second is not None:
        readers.append(_Reader(pipeline.tokenizer_2, second))
    else:
        layers = int(readers[0].encoder.config.num_hidden_layers)
        if not 1 <= clip_skip <= layers:
            raise BadInput("clip_skip", f"from 1 to {layers}, the layers of the text encoder", clip_skip)
    # -2 of the hidden states is the layer before the last; SDXL's encoders were trained to give that one.
    skip = clip_skip if second is None else 2
    texts = [[reader.blocks(text) for reader in readers] for text in (prompt, negative)]
    length = max(len(cut) for text in texts for cut in text)
    with torch.no_grad():
        (positive, pooled), (other, other_pooled) = (
            _encode(readers, [[*cut, *[[]] * (length - len(cut))] for cut in text], skip, second is None)
            for text in texts
        )
    empty = not any(chunk.text.strip() for chunk in negative.chunks)
    if empty and getattr(pipeline.config, "force_zeros_for_empty_prompt", False) and second is not None:
        other = torch.zeros_like(other)
        other_pooled = None if other_pooled is None else torch.zeros_like(other_pooled)
    return Embeddings(positive, other, pooled, other_pooled)


@dataclass(frozen=True, slots=True)
class _Reader:
    """A tokenizer and its encoder."""

    tokenizer: Any
    encoder: Any

    @property
    def width(self) -> int:
        """Tokens per block, the two special ones included."""
        return min(int(self.tokenizer.model_max_length), int(self.encoder.config.max_position_embeddings))

    def blocks(self, prompt: Prompt) -> list[list[Token]]:
        """The prompt's tokens; each chunk is cut into tokens alone, as in A1111."""
        pieces: list[list[Token] | None] = []
        for chunk in prompt.chunks:
            if not chunk.text:
                pieces.append(None)
                continue
            ids = self.tokenizer(chunk.text, add_special_tokens=False, truncation=False, verbose=False)
            pieces.append([Token(number, chunk.weight) for number in ids["input_ids"]])
        return blocks(pieces, self.tokenizer.convert_tokens_to_ids(",</w>"), self.width - 2)


def _encode(
    readers: Sequence[_Reader], text: Sequence[Sequence[Sequence[Token]]], skip: int, normed: bool
) -> tuple[Tensor, Tensor | None]:
    """States of one prompt, (1, n * width, d), the encoders side by side, and its first block's pooled."""
    import torch

    states, pooled = [], None
    for reader, cut in zip(readers, text, strict=True):
        tokenizer, encoder = reader.tokenizer, reader.encoder
        start, end = Token(tokenizer.bos_token_id, 1.0), Token(tokenizer.eos_token_id, 1.0)
        fill = Token(tokenizer.pad_token_id, 1.0)
        rows = [[start, *block, end, *[fill] * (reader.width - len(block) - 2)] for block in cut]
        ids = torch.tensor([[token.id for token in row] for row in rows], device=encoder.device)
        weights = torch.tensor([[token.weight for token in row] for row in rows], device=encoder.device)
        out = encoder(ids, output_hidden_states=True)
        if normed and skip == 1:
            layer = out.last_hidden_state
        else:
            layer = out.hidden_states[-skip]
            # transformers 4 keeps the norm one level deeper.
            layer = getattr(encoder, "text_model", encoder).final_layer_norm(layer) if normed else layer
        states.append(_weigh(layer, weights).flatten(0, 1).unsqueeze(0))
        pooled = getattr(out, "text_embeds", None)
    return torch.cat(states, dim=-1), None if pooled is None else pooled[:1]


def _weigh(states: Tensor, weights: Tensor) -> Tensor:
    """States (n, width, d) times weights (n, width), each block brought back to its own mean."""
    import torch

    if bool((weights == 1).all()):
        return states
    plain = states.float()
    heavy = plain * weights.unsqueeze(-1)
    before, after = plain.mean((1, 2), keepdim=True), heavy.mean((1, 2), keepdim=True)
    small = 0.01 * plain.abs().mean((1, 2), keepdim=True)
    told = (before.abs() > small) & (after.abs() > small)
    ratio = torch.where(told, before / torch.where(told, after, 1.0), 1.0)
    return (heavy * ratio).to(states.dtype)
