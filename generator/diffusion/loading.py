"""Weights from files: diffusers folders and single .safetensors files, never pickles.

What a checkpoint is for (its input channels, SD or SDXL) is read from its config or from the header of
its file, so that a recipe that does not fit is refused before gigabytes are read.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.diffusion import architectures
from generator.diffusion.quiet import quiet
from pool.schema import BadInput, MissingWeights, ThresherError

if TYPE_CHECKING:
    import torch

_FIRST = "model.diffusion_model.input_blocks.0.0.weight"
_TEXT_WIDTHS = (
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
)
_FLAGS = ("force_zeros_for_empty_prompt", "requires_aesthetics_score", "is_cosxl_edit")
_LARGEST_HEADER = 100_000_000
_SD, _SDXL = 768, 2048


@dataclass(frozen=True, slots=True)
class Kind:
    """What a checkpoint is.

    ``channels`` are its UNet's inputs: as many as its latents have for plain models, twice as many for
    InstructPix2Pix, twice and one for inpainting. ``text_width`` is the width of the text it is told,
    768 in SD 1.5 and 2048 in SDXL. ``prediction`` is what a single file's UNet predicts. ``residual`` is
    this package's own small model.
    """

    channels: int
    text_width: int
    xl: bool
    latents: int = 4
    prediction: str = "epsilon"
    residual: bool = False


def refuse_pickle(path: Path) -> None:
    """Raises BadInput for files that run code when they are read."""
    if path.is_file() and path.suffix.lower() != ".safetensors":
        raise BadInput(
            "weights", "a diffusers folder or a .safetensors file", path.name,
            "Other formats may run code when they are opened: convert the file first.",
        )  # fmt: skip


def kind(path: Path) -> Kind:
    """What the checkpoint is, from its config or its file's header alone."""
    refuse_pickle(path)
    if path.is_dir():
        return _folder_kind(path)
    shapes = _shapes(path)
    if _FIRST not in shapes:
        raise BadInput("model", "a Stable Diffusion checkpoint", path.name, "It may be a VAE or a LoRA.")
    width = next((shapes[key][1] for key in _TEXT_WIDTHS if key in shapes), 0)
    prediction = "v_prediction" if "v_pred" in shapes else "epsilon"
    xl = "model.diffusion_model.label_emb.0.0.weight" in shapes
    return Kind(shapes[_FIRST][1], width, xl, prediction=prediction)


def _folder_kind(path: Path) -> Kind:
    unet = _config(path / "unet" / "config.json")
    vae = _config(path / "vae" / "config.json")
    index = _config(path / "model_index.json")
    return Kind(
        int(unet.get("in_channels", 4)),
        int(unet.get("cross_attention_dim", 1280)),
        unet.get("addition_embed_type") == "text_time",
        int(vae.get("latent_channels", 4)),
        residual=index.get("unet", ["", ""])[1] == "ResidualUNet",
    )


def _config(path: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise MissingWeights(
            f"{path.parent} lacks {path.name}, or it is broken: fetch the whole diffusers folder again."
        ) from None
    return loaded


def _shapes(path: Path) -> dict[str, list[int]]:
    """The shape of every tensor in a .safetensors file, from its header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length)) if length <= _LARGEST_HEADER else None
        except ValueError:
            header = None
    if not isinstance(header, dict):
        raise BadInput("weights", "a whole .safetensors file", path.name, "Fetch it again.")
    header.pop("__metadata__", None)
    return {key: list(entry["shape"]) for key, entry in header.items()}


def load(path: Path, dtype: torch.dtype, tokenizers: Sequence[Path] = ()) -> dict[str, Any]:
    """The parts of a checkpoint by diffusers' names, in main memory.

    ``tokenizers`` are the folders in which the words of a single file are looked for. The safety checker
    is never among the parts. Raises MissingWeights where a part or the tokenizer is not there.
    """
    refuse_pickle(path)
    with quiet():
        try:
            pipe = _load_folder(path, dtype) if path.is_dir() else _load_file(path, dtype, tokenizers)
        except ThresherError:
            raise
        except Exception as error:
            # The libraries raise a dozen kinds for files that do not fit; here they mean the same.
            raise MissingWeights(
                f"{path} could not be loaded ({_first_line(error)}); fetch it again."
            ) from error
    flags = {name: pipe.config[name] for name in _FLAGS if name in pipe.config}
    absent = ("safety_checker", "feature_extractor", "image_encoder")
    return flags | {name: part for name, part in pipe.components.items() if name not in absent}


def _load_folder(path: Path, dtype: torch.dtype) -> Any:
    import diffusers

    found = kind(path)
    if found.residual:
        from generator.diffusion import residual

        return residual.load(path, dtype)
    cls = diffusers.StableDiffusionXLPipeline if found.xl else diffusers.StableDiffusionPipeline
    absent: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    if not found.xl:
        absent |= {"safety_checker": None, "requires_safety_checker": False}
    return cls.from_pretrained(path, dtype=dtype, use_safetensors=True, local_files_only=True, **absent)


def _load_file(path: Path, dtype: torch.dtype, tokenizers: Sequence[Path]) -> Any:
    import diffusers

    found = kind(path)
    with tempfile.TemporaryDirectory() as folder:
        beside = path.with_suffix(".config")
        if beside.is_dir():
            config = beside
        else:
            if found.text_width not in (_SD, _SDXL):
                raise BadInput(
                    "model", "SD 1.5 or SDXL where it is a single file", path.name,
                    f"Put its diffusers config files into {beside.name}/ beside it.",
                )  # fmt: skip
            config = Path(folder)
            architectures.write(config, architectures.configs(found.xl, found.channels, found.prediction))
        words: dict[str, Any] = {"tokenizer": _tokenizer(path, tokenizers, "<|endoftext|>")}
        if found.xl:
            words["tokenizer_2"] = _tokenizer(path, tokenizers, "!")
            cls = diffusers.StableDiffusionXLPipeline
        else:
            words |= {"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None}
            cls = diffusers.StableDiffusionPipeline
        return cls.from_single_file(
            str(path), config=str(config), dtype=dtype, local_files_only=True, **words
        )


def _tokenizer(path: Path, folders: Sequence[Path], padding: str) -> Any:
    from transformers import CLIPTokenizer

    for folder in folders:
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            vocab, merges = str(folder / "vocab.json"), str(folder / "merges.txt")
            return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77, pad_token=padding)
    places = " or ".join(str(folder) for folder in folders) or "a folder named tokenizer beside it"
    raise MissingWeights(
        f"{path.name} is a single file and needs CLIP's tokenizer: put vocab.json and merges.txt of "
        f"openai/clip-vit-large-patch14 into {places}."
    )


def load_vae(path: Path, like: Any, dtype: torch.dtype) -> Any:
    """A VAE of its own, from a folder or a file; ``like`` is the checkpoint's VAE, whose shape a file has.

    Raises BadInput where its latents are not of the checkpoint's kind.
    """
    import diffusers

    refuse_pickle(path)
    if not isinstance(like, diffusers.AutoencoderKL):
        raise BadInput("vae", "empty for a model that works on pixels", path.name)
    with quiet():
        try:
            if path.is_dir():
                vae = diffusers.AutoencoderKL.from_pretrained(
                    path, dtype=dtype, use_safetensors=True, local_files_only=True
                )
            else:
                with tempfile.TemporaryDirectory() as folder:
                    like.save_config(folder)
                    vae = diffusers.AutoencoderKL.from_single_file(
                        str(path), config=folder, dtype=dtype, local_files_only=True
                    )
        except Exception as error:
            raise BadInput("vae", "a VAE of the model's kind", path.name, _first_line(error)) from error
    if vae.config.latent_channels != like.config.latent_channels:
        raise BadInput(
            "vae", f"one with {like.config.latent_channels} latent channels", vae.config.latent_channels
        )
    return vae


def load_control(path: Path, unet: Any, dtype: torch.dtype) -> Any:
    """A ControlNet for ``unet``, whose shape a single file is taken to have.

    Raises BadInput where it was made for another family of models.
    """
    import diffusers

    refuse_pickle(path)
    with quiet():
        try:
            if path.is_dir():
                net = diffusers.ControlNetModel.from_pretrained(
                    path, dtype=dtype, use_safetensors=True, local_files_only=True
                )
            else:
                with tempfile.TemporaryDirectory() as folder:
                    Path(folder, "config.json").write_text(
                        json.dumps(_control_config(unet)), encoding="utf-8"
                    )
                    net = diffusers.ControlNetModel.from_single_file(
                        str(path), config=folder, dtype=dtype, local_files_only=True
                    )
        except Exception as error:
            raise BadInput(
                "control", "a ControlNet of the model's kind", path.name, _first_line(error)
            ) from error
    if net.config.cross_attention_dim != unet.config.cross_attention_dim:
        raise BadInput("control", "a ControlNet made for the model's family", path.name, "Choose another.")
    return net


def _control_config(unet: Any) -> Mapping[str, Any]:
    import inspect

    from diffusers import ControlNetModel

    takes = inspect.signature(ControlNetModel.__init__).parameters
    return {key: value for key, value in unet.config.items() if key in takes} | {
        "_class_name": "ControlNetModel",
        "in_channels": unet.config.out_channels,
    }


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
