"""A recipe says everything that a variant is made from, in the words of A1111's web UI."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any, Final, Literal, get_args

from generator.prompt import LONGEST, Lora
from pool.schema import BadInput

Mode = Literal["txt2img", "img2img", "inpaint", "instruct", "render"]
"""``inpaint`` repaints all but the boxes, ``instruct`` is InstructPix2Pix, ``render`` is no diffusion."""
ControlKind = Literal["canny", "depth", "soft edge", "tile"]

KEYS: Final[Mapping[str, str]] = {
    "steps": "Steps",
    "sampler": "Sampler",
    "cfg": "CFG scale",
    "image_cfg": "Image CFG scale",
    "seed": "Seed",
    "size": "Size",
    "model_hash": "Model hash",
    "model": "Model",
    "vae_hash": "VAE hash",
    "vae": "VAE",
    "strength": "Denoising strength",
    "clip_skip": "Clip skip",
    "mode": "Mode",
    "loras": "Lora hashes",
}
"""A1111's word for each field (``Mode`` is our own), in the order of an infotext; errors speak of these."""

SEEDS: Final = 2**32
"""Seeds lie in [0, 2^32), as in A1111."""

_LARGEST: Final = sys.float_info.max
_CUT = re.compile(r"^[^\S\n]*(?:Negative prompt|Steps)[^\S\n]*[:：]", re.MULTILINE)
_KEY = re.compile(r"\w(?:[\w \-/]*[\w\-/])?")
_RESERVED = re.compile(
    "|".join([*map(str.casefold, KEYS.values()), "negative prompt", "schedule type", "scheduler"])
    + r"|controlnet(?: \d+)?"
)
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_WITH_HASH = re.compile(r".* \[\w+\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Control:
    """One ControlNet: what it looks at, which model, and how much it counts (``weight``, 0 to 2).

    ``start`` and ``end`` are the part of the steps during which it counts, in [0, 1]. An empty ``model``
    is whichever the shelf holds for the kind. Raises BadInput for anything else.
    """

    kind: ControlKind
    model: str = ""
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        _choice("ControlNet", self.kind, get_args(ControlKind))
        _line("ControlNet Model", self.model)
        if self.model.casefold() == "none" or _WITH_HASH.fullmatch(self.model):
            fix = "Leave out the hash in brackets; for whichever model there is, leave it empty."
            raise BadInput("ControlNet Model", "a model's name alone", self.model, fix)
        _set(self, "weight", _real("ControlNet Weight", self.weight, 2.0, "1 is its usual weight."))
        _set(self, "start", _real("ControlNet Guidance Start", self.start, 1.0, "0 is the first step."))
        _set(self, "end", _real("ControlNet Guidance End", self.end, 1.0, "1 is the last step."))
        if self.start > self.end:
            fix = "Let it start before it ends; 0 to 1 is all steps."
            raise BadInput("ControlNet Guidance End", f"at least its start, {self.start}", self.end, fix)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one variant is made.

    ``prompt`` and ``negative`` are in A1111's syntax, LoRA tags included. ``sampler`` is A1111's name with
    its schedule, such as ``DPM++ 2M Karras``. ``cfg`` is the guidance scale and ``image_cfg`` that of the
    source image in InstructPix2Pix. ``strength`` is A1111's denoising strength in [0, 1]: how much of the
    source is given up; None in txt2img. ``clip_skip`` counts as A1111 does, 1 = the last layer. ``seed`` -1
    means one is drawn, and recorded, when the recipe is run. ``size`` is (width, height) in pixels; None is
    the source's own. ``model``, ``vae`` and ``loras`` name what it was made with, the ``_hash`` fields are
    A1111's short hashes of these files, ``loras`` takes a name to its hash. For ``render`` the prompt is
    the condition's name and ``model`` the renderer's. ``extra`` keeps what else an infotext said.

    Steps are 1 to 1000, clip_skip 1 to 12, each side of size 16 to 4096, guidance scales finite and not
    negative, seed -1 or in [0, 2^32). Every recipe can be written as an infotext, so a prompt has at most
    10,000 characters, is kept without the white space around it and with ``\\n`` for its line ends, and has
    no line that begins with ``Steps:`` or ``Negative prompt:``, where an infotext is cut; no text has
    control characters, and only prompts and values of ``extra`` more than one line. Raises BadInput with
    A1111's word for the field.
    """

    prompt: str
    negative: str = ""
    mode: Mode = "img2img"
    steps: int = 20
    sampler: str = "DPM++ 2M Karras"
    cfg: float = 7.0
    image_cfg: float = 1.5
    strength: float | None = None
    clip_skip: int = 1
    seed: int = -1
    size: tuple[int, int] | None = None
    model: str = ""
    model_hash: str = ""
    vae: str = ""
    vae_hash: str = ""
    loras: Mapping[str, str] = field(default_factory=dict)
    controls: tuple[Control, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _set(self, "prompt", _prompt("Prompt", self.prompt))
        _set(self, "negative", _prompt("Negative prompt", self.negative))
        _choice(KEYS["mode"], self.mode, get_args(Mode))
        _whole(KEYS["steps"], self.steps, 1, 1000, "20 to 30 are usual.")
        _whole(KEYS["clip_skip"], self.clip_skip, 1, 12, "1 takes all layers, 2 all but the last.")
        _whole(KEYS["seed"], self.seed, -1, SEEDS - 1, "-1 draws one.")
        _set(self, "cfg", _real(KEYS["cfg"], self.cfg, _LARGEST, "7 is usual."))
        _set(self, "image_cfg", _real(KEYS["image_cfg"], self.image_cfg, _LARGEST, "1.5 is usual."))
        if self.strength is not None:
            fix = "0 leaves the source as it is, 1 gives it up."
            _set(self, "strength", _real(KEYS["strength"], self.strength, 1.0, fix))
        if self.size is not None:
            if not isinstance(self.size, tuple) or len(self.size) != 2:
                raise BadInput("Size", "a width and a height", self.size, "Write it as 512x512.")
            for side in self.size:
                _whole(KEYS["size"], side, 16, 4096, "Leave it out for the source's own.")
        for name in ("sampler", "model", "model_hash", "vae", "vae_hash"):
            _line(KEYS[name], getattr(self, name))
        if not self.sampler:
            raise BadInput("Sampler", "named", self.sampler, "Take DPM++ 2M Karras.")
        for name, short in self.loras.items():
            _line(KEYS["loras"], Lora(name).name)
            if not re.fullmatch(r"[^\s,:]*", _line(KEYS["loras"], short)):
                raise BadInput(KEYS["loras"], "a hash for each name", short, "Leave it empty if unknown.")
        for name, value in self.extra.items():
            if not _KEY.fullmatch(name) or _RESERVED.fullmatch(name.casefold()):
                fix = "Use letters, digits, spaces, - and /, and no word of A1111's for a field of its own."
                raise BadInput("extra", "keyed by other words than the fields'", name, fix)
            _text(name, value)
        _set(self, "loras", dict(self.loras))
        _set(self, "extra", dict(self.extra))


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with this seed: what is recorded once one is drawn."""
    return replace(recipe, seed=seed)


def key(recipe: Recipe) -> str:
    """What tells recipes apart but for their seeds: with the parent and a seed it names one variant.

    The sha256 (hex) of all fields but the seed that are not as in ``Recipe("")``, so that the key of a
    recipe stays when recipes learn new fields. The order of names in ``loras`` and ``extra`` is nothing.
    """
    plain = asdict(Recipe(""))
    said = {
        name: value for name, value in asdict(recipe).items() if name != "seed" and value != plain[name]
    }
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _set(record: object, name: str, value: Any) -> None:
    # Frozen records are put into their one form here, while they are made, and never after.
    object.__setattr__(record, name, value)


def _choice(word: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise BadInput(word, f"one of {', '.join(choices)}", value, f"Take {choices[0]}, for one.")


def _whole(word: str, value: object, low: int, high: int, fix: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadInput(word, f"a whole number from {low} to {high}", value, fix)


def _real(word: str, value: object, high: float, fix: str) -> float:
    """The number as a float in [0, ``high``]; -0.0 becomes 0.0, its equal."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= high:
        span = "a finite number, 0 or more" if high == _LARGEST else f"a number from 0 to {high:g}"
        raise BadInput(word, span, value, fix)
    return float(value) + 0.0


def _text(word: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadInput(word, "text", value, "Write it in quotes.")
    if found := _UNWRITABLE.search(value):
        raise BadInput(word, "without control characters", found[0], "Take it out.")
    return value


def _line(word: str, value: object) -> str:
    text = _text(word, value)
    if "\n" in text or text != text.strip():
        raise BadInput(word, "one line without white space around it", text, "Trim it.")
    return text


def _prompt(word: str, value: object) -> str:
    one_way = value.replace("\r\n", "\n").replace("\r", "\n").strip() if isinstance(value, str) else value
    text = _text(word, one_way)
    if len(text) > LONGEST:
        raise BadInput(word, f"of at most {LONGEST:,} characters", len(text), "Shorten it.")
    if cut := _CUT.search(text):
        fix = "An infotext is cut there: write it in the middle of a line."
        raise BadInput(word, "without a line that begins so", cut[0].strip(), fix)
    return text
