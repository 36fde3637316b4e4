"""Recipes as A1111 writes them beneath an image, both ways.

::

    prompt, on any number of lines
    Negative prompt: what should not be seen, too
    Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 712934690, Size: 500x375, Key: "any, value"

The settings begin at the first line that starts with ``Steps:`` (or are the last line, if that begins with
another of A1111's words and holds three of them), and may go on over several lines. Keys may be in any
case and order; how they are parted from values is said in `generator.pairs`.

Beyond A1111: ``Mode`` is written where the other keys do not say it. Without it, a recipe with a denoising
strength is img2img, with an image guidance scale as well InstructPix2Pix, and txt2img without one or with a
second, larger pass (``Hires …``). ``Sampler: DPM++ 2M, Schedule type: Karras`` of A1111 since 1.9 (SD.Next:
``Scheduler``) is read as the older ``DPM++ 2M Karras``, which all of them read. A ControlNet's resize mode,
thresholds and model hash are not kept: no variant is made with them.

``parse(text(recipe)) == recipe`` for every recipe whose text has at most 1,000,000 characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from generator import pairs
from generator.prompt import number
from generator.recipe import KEYS, Control, ControlKind, Recipe
from pool.schema import BadInput

LONGEST: Final = 1_000_000
"""Characters of an infotext, at most."""

_NEGATIVE = re.compile(r"\s*Negative prompt\s*[:：]")
_STEPS = re.compile(r"\s*Steps\s*[:：]")
_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LORA = re.compile(r"\s*+([^:]++):\s*+([^\s,:]*+)\s*+(?:,|$)")
_UNIT = re.compile(r"controlnet(?: (\d+))?")
_WORDS: Final = {word.casefold(): name for name, word in KEYS.items()}

_MODULES: Final[Mapping[ControlKind, str]] = {
    "canny": "canny",
    "depth": "depth_midas",
    "soft edge": "softedge_pidinet",
    "tile": "tile_resample",
}
"""The preprocessor that A1111 is told for each kind."""
_KINDS: Final[Mapping[str, ControlKind]] = {
    "canny": "canny",
    "depth": "depth",
    "softedge": "soft edge",
    "hed": "soft edge",
    "pidinet": "soft edge",
    "tile": "tile",
}
"""What preprocessors' names begin with, and models' names hold."""
_AUTOMATIC: Final[Mapping[str, str]] = {
    "DPM++ 2M": "Karras",
    "DPM++ SDE": "Karras",
    "DPM++ 2M SDE": "Exponential",
    "DPM++ 2M SDE Heun": "Exponential",
    "DPM++ 2S a": "Karras",
    "DPM++ 3M SDE": "Exponential",
    "DPM2": "Karras",
    "DPM2 a": "Karras",
    "Restart": "Karras",
}
"""The schedule that A1111's "Automatic" means for a sampler; the model's own for all others."""


def text(recipe: Recipe) -> str:
    """The recipe in A1111's layout, one form for equal recipes but for the order of LoRAs and extras."""
    written: dict[str, Any] = {
        "steps": recipe.steps,
        "sampler": recipe.sampler,
        "cfg": number(recipe.cfg),
        "image_cfg": number(recipe.image_cfg)
        if recipe.mode == "instruct" or recipe.image_cfg != 1.5
        else None,
        "seed": recipe.seed,
        "size": recipe.size and f"{recipe.size[0]}x{recipe.size[1]}",
        "model_hash": recipe.model_hash or None,
        "model": recipe.model or None,
        "vae_hash": recipe.vae_hash or None,
        "vae": recipe.vae or None,
        "strength": None if recipe.strength is None else number(recipe.strength),
        "clip_skip": recipe.clip_skip if recipe.clip_skip != 1 else None,
        "loras": ", ".join(f"{name}: {short}" for name, short in recipe.loras.items()) or None,
    }
    said = {KEYS[name]: str(value) for name, value in written.items() if value is not None}
    hashes = {KEYS["loras"]: said.pop(KEYS["loras"])} if recipe.loras else {}
    implied = _implied({**said, **recipe.extra})
    if recipe.mode != implied or recipe.mode == "instruct":
        said[KEYS["mode"]] = recipe.mode
    units = {f"ControlNet {i}": _unit(control) for i, control in enumerate(recipe.controls)}
    negative = recipe.negative and f"Negative prompt: {recipe.negative}"
    settings = pairs.join({**said, **units, **hashes, **recipe.extra})
    return "\n".join(part for part in (recipe.prompt, negative, settings) if part)


def parse(text: str) -> Recipe:
    """The recipe that an infotext tells, or a bare prompt; what it leaves out is as in ``Recipe("")``.

    Raises BadInput with the infotext's own word for a value that is none, and for more than 1,000,000
    characters.
    """
    if len(text) > LONGEST:
        raise BadInput(
            "infotext", f"of at most {LONGEST:,} characters", len(text), "Cut it down to one recipe."
        )
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip().split("\n")
    at = _settings(lines)
    words, settings = lines[:at], pairs.split(pairs.flow(lines[at:]))
    cut = next((i for i, line in enumerate(words) if _NEGATIVE.match(line)), len(words))
    negative = _NEGATIVE.sub("", "\n".join(words[cut:]), count=1)
    return _recipe("\n".join(words[:cut]), negative, settings)


def _settings(lines: list[str]) -> int:
    """The line that the settings begin at."""
    steps = next((i for i, line in enumerate(lines) if _STEPS.match(line)), None)
    if steps is not None:
        return steps
    first, *others = [key.casefold() in _WORDS for key in pairs.split(lines[-1])] or [False]
    return len(lines) - (first and sum(others) >= 2)


def _recipe(prompt: str, negative: str, settings: Mapping[str, str]) -> Recipe:
    said: dict[str, Any] = {}
    extra: dict[str, str] = {}
    units: dict[int, Control] = {}
    schedule = ""
    for key, value in settings.items():
        word = key.casefold()
        if unit := _UNIT.fullmatch(word):
            units[int(unit[1] or 0)] = _control(key, pairs.split(value))
        elif word in {"schedule type", "scheduler"}:
            schedule = value
        elif name := _WORDS.get(word):
            said[name] = _READ.get(name, _as_it_is)(KEYS[name], value)
        else:
            extra[key] = value
    if schedule:
        said["sampler"] = _sampler(said.get("sampler", "DPM++ 2M"), schedule)
    keys = {KEYS[name]: "" for name in said} | extra
    return Recipe(
        prompt,
        negative,
        **{"mode": _implied(keys), **said},
        controls=tuple(units[i] for i in sorted(units)),
        extra=extra,
    )


def _implied(settings: Iterable[str]) -> str:
    """The mode that A1111's own keys tell."""
    keys = {key.casefold() for key in settings}
    if "denoising strength" not in keys or any(key.startswith("hires ") for key in keys):
        return "txt2img"
    return "instruct" if "image cfg scale" in keys else "img2img"


def _sampler(name: str, schedule: str) -> str:
    if schedule.casefold() == "automatic":
        schedule = _AUTOMATIC.get(name, "")
    plain = schedule.casefold() in {"", "uniform", "default"}
    return name if plain or name.casefold().endswith(" " + schedule.casefold()) else f"{name} {schedule}"


def _unit(control: Control) -> str:
    return pairs.join(
        {
            "Module": _MODULES[control.kind],
            "Model": control.model or "None",
            "Weight": number(control.weight),
            "Guidance Start": number(control.start),
            "Guidance End": number(control.end),
        }
    )


def _control(key: str, settings: Mapping[str, str]) -> Control:
    """A ControlNet as sd-webui-controlnet writes it, in the words of 2023 (``preprocessor``) or of now."""
    said = {word.casefold(): value for word, value in settings.items()}
    module, model = said.get("module", said.get("preprocessor", "none")), said.get("model", "none")
    bare = re.sub(r"\[\w++\]$", "", model).strip()
    span = re.fullmatch(
        r"\(\s*+([^\s,)]++)\s*+,\s*+([^\s,)]++)\s*+\)", said.get("starting/ending", "(0, 1)")
    )
    start, end = span.groups() if span else ("", "")
    return Control(
        _kind(key, module.casefold(), model.casefold()),
        "" if bare.casefold() == "none" else bare,
        _real(f"{key} Weight", said.get("weight", "1")),
        _real(f"{key} Guidance Start", said.get("guidance start", start)),
        _real(f"{key} Guidance End", said.get("guidance end", end)),
    )


def _kind(key: str, module: str, model: str) -> ControlKind:
    for word, kind in _KINDS.items():
        if module.startswith(word) or (module == "none" and re.search(rf"(?<![a-z]){word}", model)):
            return kind
    fix = "Leave the unit out, or take another preprocessor."
    raise BadInput(key, f"a ControlNet for {', '.join(_MODULES)}", f"{module}, {model}", fix)


def _as_it_is(word: str, value: str) -> str:
    return value


def _whole(word: str, value: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,20}", value):
        raise BadInput(word, "a whole number", value, f"Write it as {word}: 20.")
    return int(value)


def _real(word: str, value: str) -> float:
    if not _REAL.fullmatch(value):
        raise BadInput(word, "a number", value, f"Write it as {word}: 0.5.")
    return float(value)


def _size(word: str, value: str) -> tuple[int, int]:
    sides = re.fullmatch(r"(\d{1,9})\s*[x×*]\s*(\d{1,9})", value, re.IGNORECASE)
    if not sides:
        raise BadInput(word, "a width and a height", value, f"Write it as {word}: 512x512.")
    return int(sides[1]), int(sides[2])


def _hashes(word: str, value: str) -> dict[str, str]:
    found, at = {}, 0
    while one := _LORA.match(value, at):
        found[one[1].strip()] = one[2]
        at = one.end()
    if value[at:].strip():
        raise BadInput(word, "names and hashes", value, f'Write it as {word}: "snowfall: f8324b7af7d9".')
    return found


_READ: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "steps": _whole,
    "clip_skip": _whole,
    "seed": _whole,
    "cfg": _real,
    "image_cfg": _real,
    "strength": _real,
    "size": _size,
    "loras": _hashes,
    "mode": lambda word, value: value.casefold(),
}
