r"""Prompts in A1111's syntax: what counts how much, and which LoRAs are asked for.

::

    (x)  [x]  (x:1.3)       weight 1.1, 1 / 1.1 and 1.3; nested ones multiply
    \( \) \[ \] \\ \|       the character itself; any other backslash goes and leaves what follows it
    BREAK                   what follows starts in a new window of 77 tokens
    <lora:name:0.8>         a LoRA of weight 0.8; <lora:name> is 1, <lora:name:te:unet> gives the two apart
    （ ） ： ，               read as ( ) : and , wherever they stand; \，is the full-width one itself

Brackets that are never closed reach to the end, and closing ones that close nothing are text, as in A1111.
``<lyco:…>`` is a LoRA too, as in A1111 since 1.5. The full-width forms are the one step beyond A1111, where
they are text and ``（雪：1.2）`` quietly weighs nothing. No other full-width sign is touched.

What changes the prompt in the course of the steps (``[a:b:0.5]``, ``[a|b]``), what mixes several prompts
(``AND``), and networks other than LoRA are refused with what to write instead: the picture would not be the
one asked for. In a negative prompt A1111 reads no LoRA tags; leave them out there.

The parser is our own because the kept ones read other languages: compel's ``(x)1.2`` takes A1111's
``(x:1.2)`` for text, sd-parsers splits files into fields and leaves prompts alone, and
diffusion-prompt-embedder knows neither LoRA tags nor what it cannot do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from pool.schema import BadInput

LONGEST: Final = 10_000
"""Characters of a prompt, at most."""

_TAG = re.compile(r"<(\w+)[:：]([^<>]+)>")
_TOKEN = re.compile(
    r"""\\(?P<literal>[()\[\]\\|（）：，])
      | (?P<backslash>\\)
      | [:：]\s*(?P<number>[+-]?[.\d]+)\s*(?P<end>[)）\]])
      | (?P<bracket>[()\[\]（）])
      | (?P<bar>\|)
      | (?P<text>[^\\()\[\]:|（）：]+|[:：])""",
    re.VERBOSE,
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_AND = re.compile(r"\bAND\b")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_ESCAPED = re.compile(r"[()\[\]\\（）：，]|<(?=\w)|\bA(?=ND\b)|\bB(?=REAK\b)")
_HALF_WIDTH: Final = str.maketrans("（）：，", "():,")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of text, white space included, and how much it counts (1 = plainly; finite).

    A chunk without text is `BREAK`: what follows it starts in a new window of 77 tokens.
    """

    text: str
    weight: float = 1.0


BREAK: Final = Chunk("")


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA by its file's name, and how strongly it acts: finite, 1 = as it was trained, 0 = not at all.

    ``text_encoder_weight`` is None where the text encoder's layers have the same ``weight``.
    """

    name: str
    weight: float = 1.0
    text_encoder_weight: float | None = None

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip() or re.search(r"[<>:：\n]", self.name):
            fix = "Write it as <lora:snowfall:0.8>."
            raise BadInput("LoRA", "the name of a file, without < > and :", self.name, fix)
        for weight in (self.weight, self.text_encoder_weight):
            if weight is not None and not math.isfinite(weight):
                raise BadInput(f"LoRA {self.name}", "of a finite weight", weight, "Take one near 1.")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in its parts; neighbours in ``chunks`` differ in weight or are parted by a `BREAK`."""

    chunks: tuple[Chunk, ...] = ()
    loras: tuple[Lora, ...] = ()


def parse(text: str) -> Prompt:
    """The parts of a prompt in A1111's syntax (see above), LoRAs in the order of their tags.

    Raises BadInput for what is not supported, for a weight that is no finite number, and for a prompt of
    more than 10,000 characters.
    """
    if len(text) > LONGEST:
        raise BadInput("prompt", f"of at most {LONGEST:,} characters", len(text), "Shorten it.")
    loras = tuple(_lora(tag) for tag in _TAG.finditer(text))
    reading = _Reading()
    for token in _TOKEN.finditer(_TAG.sub("", text)):
        reading.take(token)
    return Prompt(_merge(reading.finish()), loras)


def format(prompt: Prompt) -> str:  # noqa: A001 (prompt.format is the way back from prompt.parse)
    """The prompt as text that `parse` reads as an equal one, LoRA tags last.

    Neighbouring chunks of equal weight are read back as one.
    """
    chunks, parts = prompt.chunks, []
    for i, chunk in enumerate(chunks):
        if not chunk.text:
            # BREAK swallows the white space beside it: a bare backslash keeps what is its neighbours'.
            before = i > 0 and chunks[i - 1].weight == 1 and chunks[i - 1].text[-1:].isspace()
            after = i + 1 < len(chunks) and chunks[i + 1].weight == 1 and chunks[i + 1].text[:1].isspace()
            parts.append("\\" * before + " BREAK " + "\\" * after)
        elif chunk.weight == 1:
            parts.append(_escape(chunk.text))
        else:
            parts.append(f"({_escape(chunk.text)}:{number(chunk.weight)})")
    return "".join([*parts, *map(_tag, prompt.loras)])


def number(value: float) -> str:
    """A finite number as A1111 writes it: ``7``, ``0.34``; all of its digits and never an exponent."""
    return f"{Decimal(repr(float(value))):f}".removesuffix(".0")


@dataclass(slots=True)
class _Open:
    """A bracket not yet closed: the position of its first text, and whether a | stands right in it."""

    bracket: str
    start: int
    alternates: bool = False


@dataclass(slots=True)
class _Reading:
    """What was read so far: texts (None for a BREAK), their weights, and the brackets around the next."""

    texts: list[str | None] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    opened: list[_Open] = field(default_factory=list)

    def take(self, token: re.Match[str]) -> None:
        """Take the next token of `_TOKEN`."""
        written = token[0].translate(_HALF_WIDTH)
        match token.lastgroup:
            case "literal":
                self._add(token["literal"])
            case "backslash":
                pass
            case "bracket" if written in "([":
                self.opened.append(_Open(written, len(self.texts)))
            case "bracket" | "end" if closed := self._close(written):
                self._multiply(closed, written)
            case "bar":
                if self.opened:
                    self.opened[-1].alternates = True
                self._add(written)
            case _:
                self._text(written)

    def finish(self) -> list[tuple[str | None, float]]:
        """All texts and their weights; what was never closed reaches to here."""
        for left in self.opened:
            self._scale(left.start, 1.1 if left.bracket == "(" else 1 / 1.1)
        return list(zip(self.texts, self.weights, strict=True))

    def _close(self, written: str) -> _Open | None:
        """The innermost open bracket that the last character of ``written`` closes, now no longer open."""
        kind = "(" if written.endswith(")") else "["
        for i in reversed(range(len(self.opened))):
            if self.opened[i].bracket == kind:
                return self.opened.pop(i)
        return None

    def _multiply(self, closed: _Open, written: str) -> None:
        weight = written[1:-1].strip()
        if closed.bracket == "(":
            if weight and not _NUMBER.fullmatch(weight):
                raise BadInput("prompt", "with numbers for weights", written, "Write it as (snow:1.2).")
            self._scale(closed.start, float(weight) if weight else 1.1)
        elif weight or closed.alternates:
            what = "prompt editing [from:to:when]" if weight else "alternation [a|b]"
            fix = r"Write one prompt for all steps, weights as in (snow:0.5), and text as in \[a\|b\]."
            got = "".join(text or " BREAK " for text in self.texts[closed.start :]) + written
            raise BadInput("prompt", f"without {what}", "[" + got, fix)
        else:
            self._scale(closed.start, 1 / 1.1)

    def _scale(self, start: int, factor: float) -> None:
        self.weights[start:] = [weight * factor for weight in self.weights[start:]]

    def _text(self, written: str) -> None:
        if _AND.search(written):
            fix = r"Write a comma for it, or A\ND for the word."
            raise BadInput("prompt", "without AND, which mixes several prompts", written, fix)
        first, *rest = _BREAK.split(written)
        self._add(first)
        for text in rest:
            self._add(None)
            self._add(text)

    def _add(self, text: str | None) -> None:
        self.texts.append(text)
        self.weights.append(1.0)


def _merge(read: Iterable[tuple[str | None, float]]) -> tuple[Chunk, ...]:
    chunks: list[Chunk] = []
    for text, weight in read:
        if not math.isfinite(weight):
            raise BadInput("prompt", "of finite weights", text, "Take weights near 1.")
        if text is None:
            chunks.append(BREAK)
        elif text and chunks and chunks[-1].text and chunks[-1].weight == weight:
            chunks[-1] = Chunk(chunks[-1].text + text, weight)
        elif text:
            chunks.append(Chunk(text, weight))
    return tuple(chunks)


def _lora(tag: re.Match[str]) -> Lora:
    """A tag's LoRA: its name, then the weights of text encoder and UNet, by place or as te= and unet=."""
    if tag[1].casefold() not in {"lora", "lyco"}:
        fix = r"Leave it out, or write <\ for a plain <."
        raise BadInput("prompt", "without networks other than LoRA", tag[0], fix)
    name, *items = re.split("[:：]", tag[2])
    named = dict(item.split("=", 1) for item in items if "=" in item)
    placed = [item for item in items if "=" not in item]
    encoder = named.pop("te", placed[0] if placed else "1")
    unet = named.pop("unet", placed[1] if len(placed) > 1 else encoder)
    if named or len(placed) > 2 or not all(_NUMBER.fullmatch(weight.strip()) for weight in (encoder, unet)):
        fix = "Write it as <lora:snowfall:0.8>, or <lora:snowfall:0.5:0.8> (text encoder first)."
        raise BadInput("LoRA", "a name and one or two weights", tag[0], fix)
    return Lora(name.strip(), float(unet), None if float(encoder) == float(unet) else float(encoder))


def _tag(lora: Lora) -> str:
    weights = [lora.weight] if lora.text_encoder_weight is None else [lora.text_encoder_weight, lora.weight]
    return f"<lora:{':'.join([lora.name, *map(number, weights)])}>"


def _escape(text: str) -> str:
    # A bare backslash is dropped, and parts what would be read as a tag or a keyword.
    return _ESCAPED.sub(lambda m: m[0] + "\\" if m[0] in "<AB" else "\\" + m[0], text)
