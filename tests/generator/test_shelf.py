"""Finding models by name and by hash, against hashes computed here and the paths that were written."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from generator.diffusion.hashes import short_hash
from generator.diffusion.shelf import FOLDERS, Shelf
from pool.schema import BadInput, Forbidden, MissingWeights


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tensors(payload: bytes, **about: str) -> bytes:
    """A safetensors file of one tensor of bytes."""
    header = json.dumps(
        {
            "__metadata__": about,
            "x": {"dtype": "U8", "shape": [len(payload)], "data_offsets": [0, len(payload)]},
        }
    ).encode()
    return len(header).to_bytes(8, "little") + header + payload


def put(root: Path, name: str, data: bytes | None = None) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tensors(name.encode()) if data is None else data)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "Stable-diffusion/realisticVisionV60B1_v60B1VAE.safetensors",
        "Stable-diffusion/sd15/dream.v1.5.safetensors",
        "Stable-diffusion/夜景.safetensors",
        "Stable-diffusion/old.ckpt",
        "Stable-diffusion/diffused/model_index.json",
        "Stable-diffusion/diffused/unet/diffusion_pytorch_model.safetensors",
        "Stable-diffusion/diffused/vae/diffusion_pytorch_model.safetensors",
        "VAE/vae-ft-mse-840000-ema-pruned.safetensors",
        "Lora/weather/snowfall.safetensors",
        "ControlNet/control_v11e_sd15_shuffled.safetensors",
        "ControlNet/control_v11f1e_sd15_tile.safetensors",
        "ControlNet/control_v11f1p_sd15_depth.safetensors",
        "ControlNet/control_v11p_sd15_softedge.safetensors",
        "ControlNet/sd-controlnet-canny/config.json",
        "ControlNet/sd-controlnet-canny/diffusion_pytorch_model.safetensors",
    ):
        put(tmp_path, name)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("realisticVisionV60B1_v60B1VAE", "realisticVisionV60B1_v60B1VAE.safetensors"),
        ("REALISTICvisionv60b1_v60b1vae.SafeTensors", "realisticVisionV60B1_v60B1VAE.safetensors"),
        ("dream.v1.5", "sd15/dream.v1.5.safetensors"),
        ("sd15/dream.v1.5", "sd15/dream.v1.5.safetensors"),
        ("sd15\\dream.v1.5.safetensors", "sd15/dream.v1.5.safetensors"),
        ("sd15_dream.v1.5", "sd15/dream.v1.5.safetensors"),
        (" 夜景 ", "夜景.safetensors"),
        ("diffused", "diffused"),
    ],
)
def test_by_name(root: Path, name: str, file: str) -> None:
    assert Shelf(root).checkpoint(name) == root / "Stable-diffusion" / file


def test_each_kind_from_its_folder(root: Path) -> None:
    shelf = Shelf(root)
    assert shelf.vae("vae-ft-mse-840000-ema-pruned").parent == root / "VAE"
    assert shelf.lora("snowfall") == root / "Lora/weather/snowfall.safetensors"
    with pytest.raises(MissingWeights):
        shelf.lora("dream.v1.5")
    assert shelf.names() == {
        "checkpoint": ("diffused", "realisticVisionV60B1_v60B1VAE", "sd15/dream.v1.5", "夜景"),
        "vae": ("vae-ft-mse-840000-ema-pruned",),
        "lora": ("weather/snowfall",),
        "control": (
            "control_v11e_sd15_shuffled",
            "control_v11f1e_sd15_tile",
            "control_v11f1p_sd15_depth",
            "control_v11p_sd15_softedge",
            "sd-controlnet-canny",
        ),
    }


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("canny", "sd-controlnet-canny"),
        ("depth", "control_v11f1p_sd15_depth.safetensors"),
        ("soft edge", "control_v11p_sd15_softedge.safetensors"),
        ("tile", "control_v11f1e_sd15_tile.safetensors"),
    ],
)
def test_controls_by_their_kind(root: Path, kind: Any, file: str) -> None:
    assert Shelf(root).control(kind) == root / "ControlNet" / file
    assert Shelf(root).control(kind, "control_v11f1e_sd15_tile").stem.endswith("tile")


@pytest.mark.parametrize("name", ["control_sd15_hed", "soft-edge-xl", "pidinet_1", "t_pidi"])
def test_soft_edges_have_many_names(tmp_path: Path, name: str) -> None:
    put(tmp_path, "ControlNet/canny.safetensors")
    path = put(tmp_path, f"ControlNet/{name}.safetensors")
    assert Shelf(tmp_path).control("soft edge") == path


def test_no_control_of_the_kind(tmp_path: Path) -> None:
    put(tmp_path, "ControlNet/canny.safetensors")
    with pytest.raises(MissingWeights, match=r"for depth .*ControlNet, which holds canny"):
        Shelf(tmp_path).control("depth")


def test_hashes_are_those_of_a1111(root: Path) -> None:
    file = root / "VAE/vae-ft-mse-840000-ema-pruned.safetensors"
    assert short_hash(file, "vae") == sha(file.read_bytes())[:10]
    lora = root / "Lora/weather/snowfall.safetensors"
    assert short_hash(lora, "lora") == sha(b"Lora/weather/snowfall.safetensors")[:12]
    assert Shelf(root).short_hash(lora) == short_hash(lora, "lora")
    assert Shelf(root).short_hash(file) == short_hash(file, "vae")


def test_a_lora_hash_is_what_the_safetensors_library_wrote(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    weights: dict[str, Any] = {"b": np.arange(6, dtype=np.float32), "a": np.ones((2, 2), np.float16)}
    for name, about in (("one", {"note": "x"}), ("two", {"note": "much longer than before"})):
        save_file(weights, tmp_path / f"{name}.safetensors", metadata=about)
    size = sum(array.nbytes for array in weights.values())
    payload = (tmp_path / "one.safetensors").read_bytes()[-size:]
    assert short_hash(tmp_path / "one.safetensors", "lora") == sha(payload)[:12]
    assert short_hash(tmp_path / "two.safetensors", "lora") == sha(payload)[:12]
    assert short_hash(tmp_path / "one.safetensors", "vae") != short_hash(
        tmp_path / "two.safetensors", "vae"
    )


def test_the_hash_of_a_folder_sees_every_weight_and_nothing_else(root: Path, tmp_path: Path) -> None:
    folder = root / "Stable-diffusion/diffused"
    parts = ("unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")
    lines = "".join(f"{part} {sha((folder / part).read_bytes())}\n" for part in parts)
    first = short_hash(folder, "checkpoint")
    assert first == sha(lines.encode())[:10]
    put(folder, "README.md", b"changed")
    assert short_hash(folder, "checkpoint") == first
    put(folder, parts[1], tensors(b"changed"))
    assert short_hash(folder, "checkpoint") != first


def test_a_changed_file_has_a_new_hash(tmp_path: Path) -> None:
    path = put(tmp_path, "a.safetensors", b"one")
    assert short_hash(path, "vae") == sha(b"one")[:10]
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert short_hash(path, "vae") == sha(b"two")[:10]


def test_large_files_in_blocks(tmp_path: Path) -> None:
    data = bytes(range(256)) * (9 << 10) + b"end"
    assert short_hash(put(tmp_path, "a.safetensors", data), "checkpoint") == sha(data)[:10]


@pytest.mark.parametrize("data", [b"", b"12", b"\0" * 8, (99).to_bytes(8, "little") + b"{}"])
def test_a_lora_that_is_none(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadInput, match="header is broken"):
        short_hash(put(tmp_path, "broken.safetensors", data), "lora")


def test_the_hash_finds_what_is_called_otherwise(root: Path) -> None:
    shelf = Shelf(root)
    for find, file in (
        (shelf.checkpoint, root / "Stable-diffusion/sd15/dream.v1.5.safetensors"),
        (shelf.vae, root / "VAE/vae-ft-mse-840000-ema-pruned.safetensors"),
        (shelf.lora, root / "Lora/weather/snowfall.safetensors"),
    ):
        own = shelf.short_hash(file)
        assert find("another name", own) == find("", own.upper()) == find("another", own[:8]) == file
        assert find(file.stem, own) == file


def test_more_digits_and_old_hashes_agree_too(tmp_path: Path) -> None:
    data = bytes(0x100000) + b"middle" + bytes(70_000) + b"end"
    path = put(tmp_path, "Stable-diffusion/big.safetensors", data)
    old = sha(data[0x100000:0x110000])[:8]
    for written in (sha(data), sha(data)[:10], old):
        assert Shelf(tmp_path).checkpoint("big", written) == path
    for wrong in (sha(data)[:9] + "x", old[::-1], sha(data)[:7]):
        with pytest.raises(BadInput):
            Shelf(tmp_path).checkpoint("big", wrong)


def test_another_file_under_the_same_name(root: Path) -> None:
    own = Shelf(root).short_hash(root / "Stable-diffusion/夜景.safetensors")
    with pytest.raises(BadInput, match="leave the hash out") as caught:
        Shelf(root).checkpoint("夜景", "fe7578cb5e")
    assert own in str(caught.value)
    assert "fe7578cb5e" in str(caught.value)
    other = Shelf(root).short_hash(root / "Stable-diffusion/sd15/dream.v1.5.safetensors")
    with pytest.raises(BadInput, match=r"sd15/dream.v1.5 has it: name that"):
        Shelf(root).checkpoint("夜景", other)


def test_one_name_twice(root: Path) -> None:
    twin = put(root, "Stable-diffusion/xl/dream.v1.5.safetensors", tensors(b"twin"))
    with pytest.raises(BadInput, match=r"one of sd15/dream.v1.5, xl/dream.v1.5"):
        Shelf(root).checkpoint("dream.v1.5")
    assert Shelf(root).checkpoint("xl/dream.v1.5") == twin
    assert Shelf(root).checkpoint("dream.v1.5", Shelf(root).short_hash(twin)) == twin
    top = put(root, "Stable-diffusion/dream.v1.5.safetensors", tensors(b"top"))
    assert Shelf(root).checkpoint("dream.v1.5") == top


def test_missing_says_which_where_and_what_is_near(root: Path) -> None:
    with pytest.raises(MissingWeights) as caught:
        Shelf(root).checkpoint("realisticVisionV51", "0123456789")
    text = str(caught.value)
    assert "realisticVisionV51 (hash 0123456789)" in text
    assert str(root / "Stable-diffusion") in text
    assert "which holds diffused, realisticVisionV60B1_v60B1VAE, sd15/dream.v1.5, 夜景" in text
    assert "Near it: realisticVisionV60B1_v60B1VAE." in text
    with pytest.raises(MissingWeights, match="which holds nothing"):
        Shelf(root / "nowhere").vae("x")
    with pytest.raises(MissingWeights, match="THRESHER_DIFFUSION_DIR"):
        Shelf(None).vae("x")
    with pytest.raises(MissingWeights):
        Shelf(root).checkpoint("")


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/passwd", "..", "C:\\x", "~/x", "..\\x", "/", "a\0b", "\\\\server\\x"],
)
def test_names_that_lead_out(root: Path, name: str) -> None:
    put(root, "x.safetensors")
    for shelf in (Shelf(root), Shelf(root, hub=True)):
        with pytest.raises(Forbidden):
            shelf.checkpoint(name)
        with pytest.raises(Forbidden):
            shelf.control("canny", name)


@pytest.mark.parametrize("name", ["old", "old.ckpt", "OLD.CKPT", "missing.pt", "missing.bin"])
def test_pickles_are_refused(root: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"Pickles run code .* Convert it"):
        Shelf(root).checkpoint(name)
    path = put(root, "Stable-diffusion/old.safetensors")
    if "old" in name:
        assert Shelf(root).checkpoint("old") == path


def test_folders_of_pickles_are_refused(root: Path) -> None:
    put(root, "ControlNet/canny-2/diffusion_pytorch_model.bin")
    with pytest.raises(BadInput, match="Pickles"):
        Shelf(root).control("canny", "canny-2")
    assert "canny-2" not in Shelf(root).names()["control"]


def test_what_comes_with_the_project(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own model"
    put(folder, "unet/diffusion_pytorch_model.safetensors")
    shelf = Shelf(None, more={"small": folder})
    assert shelf.checkpoint("Small") == folder
    assert shelf.checkpoint("small", shelf.short_hash(folder)) == folder
    assert shelf.names()["checkpoint"] == ("small",)
    put(root, "Stable-diffusion/small.safetensors")
    assert Shelf(root, more={"small": folder}).checkpoint("small") == folder
    with pytest.raises(MissingWeights):
        shelf.vae("small")


def test_a_folder_of_another_case_and_links(tmp_path: Path) -> None:
    path = put(tmp_path, "elsewhere/snow.safetensors")
    (tmp_path / "models/lora").mkdir(parents=True)
    (tmp_path / "models/lora/linked").symlink_to(path.parent)
    (tmp_path / "models/lora/linked/circle").symlink_to(tmp_path / "models/lora")
    assert Shelf(tmp_path / "models").lora("linked/snow").samefile(path)


def test_the_hub_only_where_it_is_allowed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[str] = []

    def refuse(name: str, **_: Any) -> str:
        asked.append(name)
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(MissingWeights):
        Shelf(root).vae("stabilityai/sd-vae-ft-mse")
    assert asked == []
    with pytest.raises(MissingWeights, match=r"stabilityai/sd-vae-ft-mse could not be fetched .* VAE\."):
        Shelf(root, hub=True).vae("stabilityai/sd-vae-ft-mse")
    assert asked == ["stabilityai/sd-vae-ft-mse"]


def test_what_the_hub_gives(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    cache = tmp_path / "cache"
    one = put(cache, "lora.safetensors")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(cache))
    pipeline = SimpleNamespace(download=lambda name, **_: str(cache / name))
    monkeypatch.setitem(sys.modules, "diffusers", SimpleNamespace(DiffusionPipeline=pipeline))
    shelf = Shelf(root, hub=True)
    assert shelf.checkpoint("owner/model") == cache / "owner/model"
    assert shelf.control("canny", "owner/net") == cache
    assert shelf.lora("owner/lora") == one
    put(cache, "second.safetensors")
    with pytest.raises(BadInput, match="with one"):
        shelf.lora("owner/lora")
    assert shelf.checkpoint("sd15/dream.v1.5").is_relative_to(root)  # what is here is not fetched


def test_every_kind_has_a_folder() -> None:
    assert sorted(FOLDERS.values()) == ["ControlNet", "Lora", "Stable-diffusion", "VAE"]
