"""Small CLIP text encoders with random weights, and tokenizers that know a few words, for tests."""

from __future__ import annotations

from typing import Any

WORDS = ("snow", "rain", "night", "street", "a", "of", "photo", "heavy", ",")


def _symbols() -> list[str]:
    """One printable character per byte: printable bytes are themselves, the others are moved beyond 255."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = {byte: 256 + k for k, byte in enumerate(b for b in range(256) if b not in printable)}
    return [chr(moved.get(byte, byte)) for byte in (*printable, *sorted(moved))]


def tokenizer(words: tuple[str, ...] = WORDS, pad: str = "<|endoftext|>") -> Any:
    """A CLIPTokenizer over bytes in which each of the words is one token."""
    from transformers import CLIPTokenizer

    tokens = _symbols()
    tokens += [symbol + "</w>" for symbol in tokens]
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                tokens.append("".join(pair))
            parts = ["".join(pair), *parts[2:]]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary: Any = {token: number for number, token in enumerate(tokens)}
    rules: Any = merges
    return CLIPTokenizer(vocab=vocabulary, merges=rules, model_max_length=77, pad_token=pad)


def encoder(reader: Any, *, width: int = 16, layers: int = 3, seed: int = 0, projection: int = 0) -> Any:
    """A CLIPTextModel for the tokenizer, or one with a projection of that width.

    The final norm is moved off its zero mean, which would leave no mean to restore.
    """
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(reader),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=projection or width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=reader.bos_token_id,
        eos_token_id=reader.eos_token_id,
        pad_token_id=reader.pad_token_id,
    )
    model: Any = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
    model.eval()
    norm = next(module for name, module in model.named_modules() if name.endswith("final_layer_norm"))
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    torch.nn.init.uniform_(norm.bias, -0.5, 0.9)
    return model
