"""Small models with random weights in the shapes of SD 1.5 and SDXL, their LoRAs, ControlNets and files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WIDTH = 32
"""Of the tiny text encoders; SDXL's UNet is told both of them side by side."""
WORDS = ("snow", "night", "rain", "street", "heavy")


def tokenizer(folder: Path, padding: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's byte-level tokenizer with merges for a few words; its files are left in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    characters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(hidden))]
    tokens = characters + [character + "</w>" for character in characters]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            if (parts[0], parts[1]) not in merges:
                merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            if parts[0] not in tokens:
                tokens.append(parts[0])
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab, rules = folder / "vocab.json", folder / "merges.txt"
    vocab.write_text(json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8")
    rules.write_text("#version: 0.2\n" + "\n".join(f"{a} {b}" for a, b in merges) + "\n", encoding="utf-8")
    return CLIPTokenizer(vocab=str(vocab), merges=str(rules), model_max_length=77, pad_token=padding)


def text_config(words: Any, **more: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=WIDTH,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        **more,
    )


def vae(seed: int = 1) -> AutoencoderKL:
    torch.manual_seed(seed)
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
    )


def unet(channels: int = 4, seed: int = 2) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32, 32, 32),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def unet_xl(channels: int = 4, seed: int = 3) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        cross_attention_dim=2 * WIDTH,
        attention_head_dim=(2, 4, 4),
        norm_num_groups=8,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    )


def schedule() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
    )


def sd(folder: Path, channels: int = 4, seed: int = 10) -> StableDiffusionPipeline:
    """A tiny SD 1.5; with 8 channels it is an InstructPix2Pix, with 9 an inpainting model."""
    words = tokenizer(folder)
    torch.manual_seed(seed)
    cls = StableDiffusionInstructPix2PixPipeline if channels == 8 else StableDiffusionPipeline
    return cls(
        vae=vae(seed + 1),
        text_encoder=CLIPTextModel(text_config(words)),
        tokenizer=words,
        unet=unet(channels, seed + 2),
        scheduler=schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(folder: Path, channels: int = 4, seed: int = 20) -> StableDiffusionXLPipeline:
    words, words_2 = tokenizer(folder), tokenizer(folder, "!")
    torch.manual_seed(seed)
    return StableDiffusionXLPipeline(
        vae=vae(seed + 1),
        text_encoder=CLIPTextModel(text_config(words)),
        text_encoder_2=CLIPTextModelWithProjection(text_config(words_2, hidden_act="gelu")),
        tokenizer=words,
        tokenizer_2=words_2,
        unet=unet_xl(channels, seed + 2),
        scheduler=schedule(),
        add_watermarker=False,
    )


def residual(folder: Path, seed: int = 50) -> Any:
    """A tiny model of the package's own kind, its last layers speaking."""
    from generator.diffusion.residual import ResidualUNet, assemble
    from generator.diffusion.residual import schedule as residual_schedule

    words = tokenizer(folder)
    torch.manual_seed(seed)
    model = ResidualUNet(
        sample_size=8,
        in_channels=96,
        out_channels=64,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    with torch.no_grad():
        for weight in (model.conv_out.weight, model.touch[-1].weight):
            weight.normal_(std=0.2)
    return assemble(model, CLIPTextModel(text_config(words)), words, residual_schedule())


def controlnet(base: UNet2DConditionModel, seed: int = 30) -> ControlNetModel:
    """One that speaks: a new ControlNet is silent, since its last layers begin at zero."""
    torch.manual_seed(seed)
    net = ControlNetModel.from_unet(base, conditioning_embedding_out_channels=(8, 8, 16, 16))
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "controlnet_down_blocks" in name or "controlnet_mid_block" in name or "conv_out" in name:
                weight.normal_(std=0.5)
    return net


def lora(path: Path, base: UNet2DConditionModel, text: Any = None, seed: int = 40, rank: int = 2) -> Path:
    """A kohya LoRA file for every attention layer of the UNet and, if given, of the text encoder."""
    torch.manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}

    def add(prefix: str, name: str, layer: torch.nn.Linear) -> None:
        key = f"{prefix}_{name.replace('.', '_')}"
        weights[f"{key}.lora_down.weight"] = torch.randn(rank, layer.in_features) * 0.7
        weights[f"{key}.lora_up.weight"] = torch.randn(layer.out_features, rank) * 0.7
        weights[f"{key}.alpha"] = torch.tensor(float(rank))

    for name, layer in base.named_modules():
        if re.search(r"attn\d\.(to_[qkv]|to_out\.0)$", name):
            add("lora_unet", name, layer)
    for name, layer in text.named_modules() if text is not None else ():
        if re.search(r"self_attn\.(q|k|v|out)_proj$", name):
            add("lora_te", f"text_model.{name.removeprefix('text_model.')}", layer)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)
    return path


def write_file(path: Path, pipe: StableDiffusionPipeline) -> Path:
    """The pipeline as one checkpoint in the names of the original Stable Diffusion, configs beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = {
        f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}": value
        for key, value in pipe.text_encoder.state_dict().items()
    }
    weights = (
        {f"model.diffusion_model.{k}": v for k, v in _unet_names(pipe.unet).items()}
        | {f"first_stage_model.{k}": v for k, v in vae_names(pipe.vae).items()}
        | text
    )
    save_file({key: value.contiguous().clone() for key, value in weights.items()}, path)
    configs = path.with_suffix(".config")
    pipe.unet.save_config(configs / "unet")
    pipe.vae.save_config(configs / "vae")
    pipe.scheduler.save_config(configs / "scheduler")
    pipe.text_encoder.config.save_pretrained(configs / "text_encoder")
    pipe.save_config(configs)
    return path


def _unet_names(model: UNet2DConditionModel) -> Mapping[str, torch.Tensor]:
    per_block = model.config.layers_per_block + 1
    tops = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    inner = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    attended = {
        int(k.split(".")[1]) for k in model.state_dict() if re.match(r"up_blocks\.\d+\.attentions", k)
    }

    def rename(key: str) -> str:
        stem, kind = key.rsplit(".", 1)
        if stem in tops:
            return f"{tops[stem]}.{kind}"
        parts = key.split(".")
        if parts[0] == "mid_block":
            place = f"middle_block.{1 if parts[1] == 'attentions' else 2 * int(parts[2])}"
            rest = parts[3:]
        else:
            block, group, layer, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
            if parts[0] == "down_blocks":
                number = 1 + block * per_block + (per_block - 1 if group == "downsamplers" else layer)
                slot = {"resnets": "0", "attentions": "1", "downsamplers": "0"}[group]
                place = f"input_blocks.{number}.{slot}"
            else:
                number = block * per_block + (per_block - 1 if group == "upsamplers" else layer)
                above = "2" if block in attended else "1"
                place = f"output_blocks.{number}.{ {'resnets': '0', 'attentions': '1'}.get(group, above) }"
            if group == "downsamplers":
                rest = ["op", *rest[1:]]
        if rest[0] in inner:
            rest = [inner[rest[0]], *rest[1:]]
        return ".".join([place, *rest])

    return {rename(key): value for key, value in model.state_dict().items()}


def vae_names(model: AutoencoderKL) -> Mapping[str, torch.Tensor]:
    """The VAE's weights in the names that separate VAE files have."""
    levels = len(model.config.block_out_channels)

    def rename(key: str) -> str:
        key = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
        key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
        key = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", key)
        key = re.sub(
            r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", key
        )
        key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
        key = key.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_shortcut", "nin_shortcut")
        for new, old in (
            ("to_q", "q"),
            ("to_k", "k"),
            ("to_v", "v"),
            ("to_out.0", "proj_out"),
            ("group_norm", "norm"),
        ):
            key = key.replace(f"attn_1.{new}.", f"attn_1.{old}.")
        return key.replace("conv_norm_out", "norm_out")

    def shaped(key: str, value: torch.Tensor) -> torch.Tensor:
        linear = re.search(r"mid\.attn_1\.(q|k|v|proj_out)\.weight", key)
        return value[:, :, None, None] if linear else value

    return {rename(k): shaped(rename(k), v) for k, v in model.state_dict().items()}


def checksum(model: torch.nn.Module) -> str:
    """Of all base weights, whatever adapters wrap them."""
    import hashlib

    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        if "lora" not in name:
            digest.update(name.replace(".base_layer", "").encode())
            digest.update(weight.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
