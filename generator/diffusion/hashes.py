"""The short hashes by which A1111's infotext names model files.

Sources: modules/hashes.py, modules/sd_models.py and extensions-builtin/Lora/network.py of
stable-diffusion-webui, and library/train_util.py of kohya-ss/sd-scripts, where the LoRA hash comes from.
Diffusers folders have no hash in A1111; theirs is this project's own.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pool.schema import BadInput

Kind = Literal["checkpoint", "vae", "lora", "control"]

_BLOCK = 1 << 20


def short_hash(path: Path, kind: Kind) -> str:
    """A1111's short hash of a model, lower-case hex.

    Checkpoints, VAEs and ControlNets: the first 10 digits of the file's sha256. LoRAs: the first 12 of the
    sha256 of what follows the safetensors header, so that a changed description keeps the hash. (A1111
    trusts a LoRA's own ``sshs_model_hash`` before that; it is the same number, put there by the trainer.)
    A diffusers folder: the first 10 of the sha256 over its .safetensors files, each as its name relative to
    the folder and its sha256, sorted.

    Reads the whole file once per process and version of the file (size and time of change). Raises BadInput
    for a LoRA that is no safetensors file.
    """
    if kind == "lora":
        return _digest(path, payload=True)[:12]
    if path.is_dir():
        files = sorted(path.rglob("*.safetensors"))
        lines = sorted(f"{file.relative_to(path).as_posix()} {_digest(file)}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:10]
    return _digest(path)[:10]


def agrees(path: Path, kind: Kind, written: str) -> bool:
    """Whether a hash in a recipe is the file's, compared as far as both go and from 8 digits on.

    8 digits of a file other than a LoRA may also be A1111's hash of before 2023: that of 64 KiB in it.
    """
    wanted = written.strip().lower()
    if len(wanted) == 8 and kind != "lora" and path.is_file() and _old_hash(path) == wanted:
        return True
    own = short_hash(path, kind)
    return len(wanted) >= 8 and (own.startswith(wanted) or wanted.startswith(own))


def _old_hash(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(0x100000)
        return hashlib.sha256(file.read(0x10000)).hexdigest()[:8]


def _digest(path: Path, *, payload: bool = False) -> str:
    about = path.stat()
    return _read(path, about.st_size, about.st_mtime_ns, payload)


@lru_cache(maxsize=1024)
def _read(path: Path, size: int, changed: int, payload: bool) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if payload:
            start = 8 + int.from_bytes(file.read(8), "little")
            if not 8 < start <= size:
                raise BadInput(
                    "LoRA", "a .safetensors file", path.name, "Its header is broken: fetch it again."
                )
            file.seek(start)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
