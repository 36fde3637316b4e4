"""Settings on one line, ``Key: value, Key: "a, value"``, as A1111 writes them beneath an image.

A comma ends a value only where a key and a colon follow, so a value with commas is whole even if nobody
quoted it. Outside of quotes ``，`` and ``：`` do the same, as people write them by hand. A value in quotes
is a JSON string; JSON objects and lists without quotes are kept as they are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

_KEY = re.compile(r"\s*+(\w[\w \-/]*+)[:：]\s*+")
_NEXT = re.compile(r"[,，]\s*+(?=\w[\w \-/]*+[:：]|$)")
_QUOTED = re.compile(r'[,:，：\n]|^["{\[]|^\s|\s$')
_JSON = json.JSONDecoder(strict=False)


def join(settings: Mapping[str, str]) -> str:
    """The settings on one line, values in quotes where `split` needs them.

    A key is made of letters, digits, ``_``, ``-``, ``/`` and, between them, spaces.
    """
    return ", ".join(
        f"{key}: {json.dumps(value, ensure_ascii=False) if _QUOTED.search(value) else value}"
        for key, value in settings.items()
    ).rstrip()


def split(line: str) -> dict[str, str]:
    """Keys and their values without quotes, in order; of a repeated key the last value.

    Empty where the line begins with no key and colon.
    """
    found: dict[str, str] = {}
    at = 0
    while key := _KEY.match(line, at):
        value, at = _value(line, key.end())
        found[key[1].strip()] = value
    return found


def flow(lines: Iterable[str]) -> str:
    """Settings that were broken into lines on one line again; a break parts them where a key follows."""
    whole = ""
    for line in lines:
        whole = whole.rstrip().rstrip(",，") + (", " if whole and _KEY.match(line) else " ") + line
    return whole.strip().rstrip(",，")


def _value(line: str, start: int) -> tuple[str, int]:
    """The value that begins at ``start``, and where the next key does."""
    if line[start : start + 1] in {'"', "{", "["}:
        try:
            value, end = _JSON.raw_decode(line, start)
        except (ValueError, RecursionError):
            pass  # no JSON after all, but a name that begins with a quote or a bracket
        else:
            rest = line[end:].lstrip()
            after = _NEXT.match(rest)
            if after or not rest:
                stop = len(line) - len(rest) + (after.end() if after else 0)
                return (value if isinstance(value, str) else line[start:end]), stop
    after = _NEXT.search(line, start)
    return line[start : after.start() if after else len(line)].strip(), after.end() if after else len(line)
