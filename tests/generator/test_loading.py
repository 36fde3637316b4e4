"""Weights from folders and files: what they are, what is refused, and what is said of missing ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from generator.diffusion import architectures, loading
from generator.diffusion.memory import Batches, out_of_memory, saving
from generator.diffusion.options import PainterOptions, pick_device, pick_dtype
from pool.schema import BadInput, MissingWeights
from tests.generator import tiny

FIRST = "model.diffusion_model.input_blocks.0.0.weight"
ATTENTION = "model.diffusion_model.input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("weights")
    base = tiny.sd(root / "tokenizer")
    base.save_pretrained(root / "sd")
    tiny.write_file(root / "sd.safetensors", base)
    tiny.sdxl(root / "words").save_pretrained(root / "xl")
    tiny.controlnet(base.unet).save_pretrained(root / "control")
    shutil.copy(root / "control" / "diffusion_pytorch_model.safetensors", root / "control.safetensors")
    return root


def test_kinds_are_read_from_configs_and_headers(folder: Path) -> None:
    assert loading.kind(folder / "sd") == loading.kind(folder / "sd.safetensors")
    assert loading.kind(folder / "sd") == loading.Kind(4, tiny.WIDTH, xl=False)
    assert loading.kind(folder / "xl") == loading.Kind(4, 2 * tiny.WIDTH, xl=True)


def test_headers_of_full_size_files(tmp_path: Path) -> None:
    """Shapes as the published checkpoints have them; a header costs no weights."""
    plain = {FIRST: torch.zeros(320, 9, 3, 3), ATTENTION.format(1): torch.zeros(320, 768)}
    save_file(plain, tmp_path / "inpainting.safetensors")
    assert loading.kind(tmp_path / "inpainting.safetensors") == loading.Kind(9, 768, xl=False)
    large = {
        FIRST: torch.zeros(320, 4, 3, 3),
        ATTENTION.format(4): torch.zeros(640, 2048),
        "model.diffusion_model.label_emb.0.0.weight": torch.zeros(2, 2),
        "v_pred": torch.zeros(0),
    }
    save_file(large, tmp_path / "xl.safetensors")
    found = loading.kind(tmp_path / "xl.safetensors")
    assert found == loading.Kind(4, 2048, xl=True, prediction="v_prediction")


def test_one_file_has_the_folders_weights(folder: Path) -> None:
    whole = loading.load(folder / "sd", torch.float32)
    single = loading.load(
        folder / "sd.safetensors", torch.float32, [folder / "nowhere", folder / "tokenizer"]
    )
    for name in ("unet", "vae", "text_encoder"):
        assert tiny.checksum(whole[name]) == tiny.checksum(single[name])
    for text in ("snow at night", "重い雪"):
        assert whole["tokenizer"](text)["input_ids"] == single["tokenizer"](text)["input_ids"]
    assert "safety_checker" not in whole


def test_precision_is_as_asked(folder: Path) -> None:
    parts = loading.load(folder / "sd.safetensors", torch.float16, [folder / "tokenizer"])
    assert {parts[name].dtype for name in ("unet", "vae", "text_encoder")} == {torch.float16}


def test_a_single_file_needs_a_tokenizer(folder: Path) -> None:
    with pytest.raises(MissingWeights, match=r"vocab\.json and merges\.txt .* into .*nowhere"):
        loading.load(folder / "sd.safetensors", torch.float32, [folder / "nowhere"])


def test_a_single_file_of_an_unknown_family_needs_configs(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "sd.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(BadInput, match=r"alone\.config"):
        loading.load(tmp_path / "alone.safetensors", torch.float32, [folder / "tokenizer"])


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin", ".pth"])
def test_pickles_are_refused_unopened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\x80\x04cos\nsystem\n.")
    for read in (
        loading.kind,
        lambda file: loading.load(file, torch.float32),
        lambda file: loading.load_vae(file, None, torch.float32),
        lambda file: loading.load_control(file, None, torch.float32),
    ):
        with pytest.raises(BadInput, match="safetensors"):
            read(path)


def test_pickles_in_a_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "sd"
    shutil.copytree(folder / "sd", copy)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(MissingWeights, match="could not be loaded"):
        loading.load(copy, torch.float32)


def test_broken_files_are_named(folder: Path, tmp_path: Path) -> None:
    for content in (b"", b"\xff" * 40, (10).to_bytes(8, "little") + b"not json!!"):
        (tmp_path / "broken.safetensors").write_bytes(content)
        with pytest.raises(BadInput, match=r"broken\.safetensors"):
            loading.kind(tmp_path / "broken.safetensors")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="Stable Diffusion checkpoint"):
        loading.kind(tmp_path / "other.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingWeights, match="lacks config"):
        loading.kind(tmp_path / "empty")


def test_a_cut_off_file_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "sd.config", tmp_path / "cut.config")
    data = (folder / "sd.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(MissingWeights, match="fetch it again"):
        loading.load(tmp_path / "cut.safetensors", torch.float32, [folder / "tokenizer"])


def test_controls_from_a_folder_and_a_file(folder: Path) -> None:
    unet = tiny.unet(seed=12)
    whole = loading.load_control(folder / "control", unet, torch.float32)
    assert whole.config.cross_attention_dim == tiny.WIDTH
    with pytest.raises(BadInput, match="family"):
        loading.load_control(folder / "control", tiny.unet_xl(), torch.float32)


def test_vaes_from_a_folder_and_a_file(folder: Path, tmp_path: Path) -> None:
    other, own = tiny.vae(5), tiny.vae(6)
    other.save_pretrained(tmp_path / "vae")
    save_file(dict(tiny.vae_names(other)), tmp_path / "vae.safetensors")
    for path in (tmp_path / "vae", tmp_path / "vae.safetensors"):
        assert tiny.checksum(loading.load_vae(path, own, torch.float32)) == tiny.checksum(other)
    with pytest.raises(BadInput, match="vae"):
        loading.load_vae(folder / "control.safetensors", own, torch.float32)


PUBLISHED = [
    (False, "unet", 859_520_964),
    (False, "vae", 83_653_863),
    (False, "text_encoder", 123_060_480),
    (True, "unet", 2_567_463_684),
    (True, "vae", 83_653_863),
    (True, "text_encoder_2", 694_659_840),
]


@pytest.mark.parametrize(("xl", "part", "count"), PUBLISHED)
def test_architectures_have_the_published_number_of_weights(xl: bool, part: str, count: int) -> None:
    import diffusers
    import transformers

    config = dict(architectures.configs(xl)[f"{part}/config.json"])
    with torch.device("meta"):
        if part.startswith("text"):
            cls = getattr(transformers, config["architectures"][0])
            model: Any = cls(transformers.CLIPTextConfig(**config))
        else:
            model = getattr(diffusers, config["_class_name"]).from_config(config)
    assert sum(weight.numel() for weight in model.parameters()) == count


def test_architectures_widen_the_first_layer_only(tmp_path: Path) -> None:
    architectures.write(tmp_path, architectures.configs(xl=False, channels=9))
    wide = json.loads((tmp_path / "unet" / "config.json").read_text())
    plain = architectures.configs(xl=False)["unet/config.json"]
    assert {key for key in wide if wide[key] != plain[key]} == {"in_channels"}


def test_batches_halve_grow_and_remember() -> None:
    batches = Batches(0, growing=True)
    for used, size in ((0.1, 2), (0.2, 4), (0.39, 8), (0.5, 8)):
        batches.fitted("a", batches.size("a"), used)
        assert batches.size("a") == size
    assert batches.size("b") == 1
    assert batches.halve("a", 8) == 4
    batches.fitted("a", 4, 0.1)
    assert batches.size("a") == 4
    batches.fitted("b", 3, 0.1)
    assert batches.size("b") == 1
    assert batches.halve("b", 1) == 0
    assert batches.size("b") == 1
    fixed = Batches(6, growing=True)
    fixed.fitted("a", 6, 0.0)
    assert fixed.size("a") == 6
    assert fixed.halve("a", 5) == 2


@pytest.mark.parametrize(
    ("error", "so"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_is_out_of_memory(error: Exception, so: bool) -> None:
    assert out_of_memory(error) is so


def test_saving_grows_as_memory_shrinks() -> None:
    gigabyte, weights, pixels = 2**30, int(2.1 * 2**30), 512 * 512
    found = [saving(free * gigabyte, weights, pixels) for free in (24, 8, 4, 2, 1)]
    assert found == ["none", "none", "tiles", "offload", "offload"]
    assert saving(24 * gigabyte, weights, 4096 * 4096) == "tiles"


def test_options_are_checked() -> None:
    for options in ({"dtype": "float8"}, {"batch": -1}, {"threads": -1}):
        with pytest.raises(BadInput):
            PainterOptions(**options)
    with pytest.raises(BadInput, match="device"):
        pick_device("abacus")
    assert pick_dtype("auto", torch.device("cpu")) is torch.float32
    assert pick_dtype("auto", torch.device("cuda")) is torch.float16
    assert pick_dtype("bfloat16", torch.device("cpu")) is torch.bfloat16
