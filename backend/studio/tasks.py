"""Tasks with their annotations as Label Studio exports them, decoded piece by piece.

A file of 100 MB is cut into tasks first and each is decoded into typed structs when its turn comes, so
that memory holds the text and the tasks of one piece. A task that does not fit the structs (written by
another program, say) is read loosely instead, and becomes the same structs with its broken parts marked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from backend.studio import mending
from backend.studio.mending import EXPORT
from backend.studio.structs import Prediction, Task
from pool.schema import BadInput

PIECE: Final = 32
"""Tasks decoded together: few enough for their structs to stay in the processor's cache."""
FIELD: Final = "the export"


class _Page(Struct, gc=False):
    tasks: list[Raw] | UnsetType = UNSET


_TASK: Final = msgspec.json.Decoder(Task)
_PREDICTION: Final = msgspec.json.Decoder(Prediction)


def pieces(data: bytes) -> Iterator[list[Task]]:
    """The tasks of an export in the order of the file, `PIECE` at a time.

    Reads a list of tasks (the format JSON), an answer of the REST API with ``tasks``, a single task, and
    one task on each line.

    Raises:
        BadInput: no JSON, no task at all, or something that is no task with its annotations.
    """
    try:
        yield from _pieces(data)
    except RecursionError:
        raise BadInput(FIELD, "JSON of a few levels", "brackets within brackets", EXPORT) from None


def _pieces(data: bytes) -> Iterator[list[Task]]:
    raws = _cut(data)
    if not raws:
        raise BadInput(FIELD, "at least one task", "an empty file", EXPORT)
    for start in range(0, len(raws), PIECE):
        yield [_task(raw, start + k) for k, raw in enumerate(raws[start : start + PIECE])]


def predictions(task: Task) -> Iterator[Prediction]:
    """The predictions of a task: its own, and where it has only their ids the copies in its annotations."""
    known: set[int | None] = {None}
    for given in task.predictions or ():
        if isinstance(given, Prediction):
            known.add(given.id)
            yield given
    seen = {b"", b"null", b"{}"}
    for annotation in task.annotations:
        text = bytes(annotation.prediction)
        copied = None if text in seen else _copied(text)
        seen.add(text)
        if copied is not None and copied.id not in known:
            known.add(copied.id)
            yield copied


def _copied(text: bytes) -> Prediction | None:
    try:
        return _PREDICTION.decode(text)
    except msgspec.ValidationError:
        given = json.loads(text)
        return mending.prediction(given) if isinstance(given, Mapping) else None


def _cut(data: bytes) -> list[Raw]:
    data = data.removeprefix(b"\xef\xbb\xbf")
    first = data[:1000].lstrip()[:1]
    try:
        if first == b"[":
            return msgspec.json.decode(data, type=list[Raw])
        if first == b"{":
            return _objects(data)
        if not first and not data.strip():
            return []
    except msgspec.ValidationError as error:
        raise BadInput(
            FIELD, 'a list of tasks, or an object with the list "tasks"', str(error), EXPORT
        ) from error
    except msgspec.DecodeError as error:
        raise _malformed(data, error) from error
    raise BadInput(FIELD, "JSON", _excerpt(data, 0), EXPORT)


def _objects(data: bytes) -> list[Raw]:
    """One object, or one on each line."""
    try:
        page = msgspec.json.decode(data, type=_Page)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        if "trailing characters" not in str(error):
            raise
        return msgspec.json.Decoder(Raw).decode_lines(data)
    return [Raw(data)] if isinstance(page.tasks, UnsetType) else page.tasks


def _malformed(data: bytes, error: msgspec.DecodeError) -> BadInput:
    """Where the text stops to be JSON."""
    found = str(error).rpartition("(byte ")[2].rstrip(")")
    place = int(found) if found.isdigit() else len(data)
    line = data.count(b"\n", 0, place) + 1
    column = place - data.rfind(b"\n", 0, place)
    got = _excerpt(data, place) if place < len(data) else "the end of the file"
    fix = (
        "JSON knows neither NaN nor Infinity. " if got.startswith(("NaN", "Infinity", "-Infinity")) else ""
    )
    return BadInput(f"{FIELD}, line {line}, character {column},", "JSON", got, fix + EXPORT)


def _excerpt(data: bytes, place: int) -> str:
    return data[place : place + 40].decode(errors="replace")


def _task(raw: Raw, position: int) -> Task:
    where = f"{FIELD}, item {position + 1}"
    try:
        return _TASK.decode(raw)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(where, "JSON in UTF-8", str(error), EXPORT) from error
    try:
        given = json.loads(bytes(raw))
    except ValueError as error:
        raise BadInput(where, "JSON in UTF-8", str(error), EXPORT) from error
    return mending.task(given, where)
