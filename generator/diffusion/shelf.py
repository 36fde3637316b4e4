"""Where models lie: folders named as in A1111's ``models``, so that its folder can be used as it is.

::

    Stable-diffusion/   VAE/   Lora/   ControlNet/      any folders within them

A model is a .safetensors file or a diffusers folder. Its name is the file's without the suffix, upper and
lower case alike, with or without the folders above it. Recipes from elsewhere name files that may be called
differently here: then the hash finds them. Pickles (.ckpt, .pt, .pth, .bin) are never opened.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from generator.diffusion.hashes import Kind, agrees, short_hash
from generator.recipe import ControlKind
from pool.schema import BadInput, Forbidden, MissingWeights

FOLDERS: Mapping[Kind, str] = {
    "checkpoint": "Stable-diffusion",
    "vae": "VAE",
    "lora": "Lora",
    "control": "ControlNet",
}
_WORDS: Mapping[Kind, str] = {
    "checkpoint": "checkpoint",
    "vae": "VAE",
    "lora": "LoRA",
    "control": "ControlNet",
}
_HINTS: Mapping[ControlKind, str] = {
    "canny": "canny",
    "depth": "depth",
    "soft edge": "soft[ _-]?edge|hed|pidi(net)?",
    "tile": "tile",
}
"""What the names of ControlNets of a kind hold, as a word."""
_PICKLES = {".ckpt", ".pt", ".pth", ".bin"}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MARKS = ("model_index.json", "diffusion_pytorch_model*")
"""What says that a folder is one model, in diffusers' format."""
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Shelf:
    """The models of one folder, those in ``more`` (checkpoints that come with the project, by name), and,
    only where ``hub`` says so, those of the Hugging Face hub, as ``owner/name``.

    Every look-up raises MissingWeights where nothing fits, with where to put it and what is near; BadInput
    for a pickle, for a name that fits several files, and for a file whose hash is not the recipe's; and
    Forbidden for names that lead out of the folder. A given hash means that the file is read once.
    """

    root: Path | None
    _: KW_ONLY
    more: Mapping[str, Path] = field(default_factory=dict)
    hub: bool = False

    def checkpoint(self, name: str, hash: str = "") -> Path:  # noqa: A002 (A1111's word)
        """A whole model, by name or by its A1111 short hash."""
        return self._find("checkpoint", name, hash)

    def vae(self, name: str, hash: str = "") -> Path:  # noqa: A002
        """A VAE."""
        return self._find("vae", name, hash)

    def lora(self, name: str, hash: str = "") -> Path:  # noqa: A002
        """A LoRA: always a file."""
        return self._find("lora", name, hash)

    def control(self, kind: ControlKind, name: str = "") -> Path:
        """A ControlNet; without a name, the first in the order of names that is called after its kind."""
        if name:
            return self._find("control", name, "")
        word = re.compile(rf"(?<![a-z])({_HINTS[kind]})(?![a-z])", re.IGNORECASE)
        models = self._models("control")
        for known, path in models.items():
            if word.search(known.rpartition("/")[2]):
                return path
        raise self._missing("control", f"for {kind}", models)

    def short_hash(self, path: Path) -> str:
        """The A1111 short hash of a model that a look-up gave; see `generator.diffusion.hashes`."""
        folder = self._folder("lora")
        lora = folder is not None and path.is_relative_to(folder)
        return short_hash(path, "lora" if lora else "checkpoint")

    def names(self) -> dict[Kind, tuple[str, ...]]:
        """What is there, per kind, sorted; names within folders carry them (``sd15/dream``)."""
        return {kind: tuple(self._models(kind)) for kind in FOLDERS}

    def _find(self, kind: Kind, name: str, written: str) -> Path:
        wanted = _plain(name)
        _refuse(name, wanted)
        models = self._models(kind)
        named = [known for known in models if wanted in _spellings(known)] if wanted else []
        exact = [known for known in named if _key(known) == wanted]
        named = exact or named
        if len(named) > 1 and written:
            named = [known for known in named if agrees(models[known], kind, written)] or named
        if len(named) > 1:
            raise BadInput(_WORDS[kind], f"one of {', '.join(named)}", name, "Name it with its folder.")
        if named and (not written or agrees(models[named[0]], kind, written)):
            return models[named[0]]
        # Only now are files read that were not named: that may take a while for many large ones.
        others = [known for known in models if written and agrees(models[known], kind, written)]
        if named:
            own = short_hash(models[named[0]], kind)
            fix = f"{others[0]} has it: name that." if others else (
                f"Put the right file into {FOLDERS[kind]}, or leave the hash out to use this one."
            )  # fmt: skip
            raise BadInput(f"{_WORDS[kind]} {name}", f"the file with the hash {written}", own, fix)
        if others:
            return models[others[0]]
        self._refuse_pickles(kind, name, wanted)
        if self.hub and _HUB_ID.fullmatch(name.strip()):
            return _fetch(kind, name.strip())
        raise self._missing(kind, name + (f" (hash {written})" if written else ""), models, wanted)

    def _folder(self, kind: Kind) -> Path | None:
        """The kind's folder, however its name is spelled; None where there is none."""
        if self.root is None or not self.root.is_dir():
            return None
        return next(
            (f for f in sorted(self.root.iterdir()) if f.name.lower() == FOLDERS[kind].lower()), None
        )

    def _models(self, kind: Kind) -> dict[str, Path]:
        """Every model of a kind by its name, sorted; the project's own come first, and before any of the
        same name; a file comes before a folder of the same name."""
        folder = self._folder(kind)
        found = {} if folder is None else {
            file.relative_to(folder).as_posix().removesuffix(file.suffix if file.is_file() else ""): file
            for file in _walk(folder)
            if _is_model(file, kind)
        }  # fmt: skip
        own = self.more if kind == "checkpoint" else {}
        return {**own, **dict(sorted(found.items())), **own}

    def _refuse_pickles(self, kind: Kind, name: str, wanted: str) -> None:
        folder = self._folder(kind)
        stem = wanted.removesuffix(Path(wanted).suffix) if Path(wanted).suffix in _PICKLES else wanted
        for file in [] if folder is None else _walk(folder):
            inside = file.is_dir() and not any(file.rglob("*.safetensors"))
            if (inside or file.suffix.lower() in _PICKLES) and stem in _spellings(
                file.relative_to(folder or file).as_posix().removesuffix("" if inside else file.suffix)
            ):
                raise BadInput(_WORDS[kind], "in a .safetensors file", file.name, _PICKLE_FIX)
        if stem != wanted:
            raise BadInput(_WORDS[kind], "in a .safetensors file", name, _PICKLE_FIX)

    def _missing(
        self, kind: Kind, what: str, models: Mapping[str, Path], wanted: str = ""
    ) -> MissingWeights:
        thing = f"The {_WORDS[kind]} {what} is not here"
        if self.root is None:
            return MissingWeights(
                f"{thing}: set THRESHER_DIFFUSION_DIR to a folder of models as A1111 has it, and put the "
                f"file into its {FOLDERS[kind]}."
            )
        place = self._folder(kind) or self.root / FOLDERS[kind]
        shown = ", ".join([*models][:20]) + (f" and {len(models) - 20} more" if len(models) > 20 else "")
        near = difflib.get_close_matches(
            wanted, {s for known in models for s in _spellings(known)}, cutoff=0.5
        )
        close = [known for known in models if _spellings(known) & {*near}]
        return MissingWeights(
            f"{thing}: put its .safetensors file or its diffusers folder into {place}, "
            f"which holds {shown or 'nothing'}." + (f" Near it: {', '.join(close)}." if close else "")
        )


_PICKLE_FIX = (
    "Pickles run code when they are opened. Convert it where you trust it: load it with "
    "torch.load(path, weights_only=True) and write its tensors with safetensors.torch.save_file."
)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _plain(name: str) -> str:
    """A name as a recipe writes it, as `_key` has it: Windows' separators and the suffix gone."""
    return _key(name.strip().replace("\\", "/")).removesuffix(".safetensors")


def _spellings(known: str) -> set[str]:
    """A name with its folders, without, and with them as A1111's infotext writes them (``sd15_dream``)."""
    key = _key(known)
    return {key, key.rpartition("/")[2], key.replace("/", "_")}


def _refuse(name: str, wanted: str) -> None:
    parts = wanted.split("/")
    if wanted.startswith(("/", "~")) or ".." in parts or "\0" in name or re.match(r"[a-z]:", wanted):
        raise Forbidden(f"{name!r} leads out of the folder of models: name a model that lies in it.")


def _is_model(path: Path, kind: Kind) -> bool:
    if path.is_dir():
        return kind != "lora" and any(path.rglob("*.safetensors"))
    return path.suffix.lower() == ".safetensors"


def _walk(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Files and diffusers folders, links followed; no deeper than links in a circle could matter."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not any(any(path.glob(mark)) for mark in _MARKS):
            if depth < _DEEPEST:
                yield from _walk(path, depth + 1)
        else:
            yield path


def _fetch(kind: Kind, name: str) -> Path:
    """A model of the hub, in diffusers' own cache; of a LoRA its only file."""
    from huggingface_hub import snapshot_download

    try:
        if kind == "checkpoint":
            from diffusers import DiffusionPipeline

            return Path(DiffusionPipeline.download(name, use_safetensors=True))
        found = Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:
        # A missing network shows itself in many types of three libraries; each means the same here.
        reason = type(error).__name__
        fix = f"Check the name and the network, or put its files into {FOLDERS[kind]}."
        raise MissingWeights(f"{name} could not be fetched from the hub ({reason}). {fix}") from error
    if kind != "lora":
        return found
    files = sorted(found.glob("*.safetensors"))
    if len(files) != 1:
        raise BadInput(
            "LoRA", "a repository with one .safetensors file", name, "Put the file you mean into Lora."
        )
    return files[0]
