"""Images into Label Studio's own store, with their addresses known and no task made of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote, urlsplit

from backend.studio.labeling import data_keys
from backend.studio.transport import SLOW, Refusal, Transport
from pool.schema import StudioError

FILES: Final = 50
"""Files in one request; Label Studio's own limit is 100."""
BYTES: Final = 32 * 1024 * 1024
"""Bytes in one request, which both sides hold in memory."""
ENDINGS: Final = frozenset({".bmp", ".gif", ".jpg", ".jpeg", ".png", ".svg", ".webp"})
"""Image endings that Label Studio accepts as uploads; TIFF is not among them."""

File = tuple[str, bytes]


def upload(net: Transport, project: int, files: Sequence[File]) -> list[str]:
    """Store ``files``, (name, bytes) each; their data addresses ``/data/upload/…`` in the order given.

    Raises StudioError for endings that Label Studio does not take, before anything is sent.
    """
    wrong = sorted({PurePosixPath(name).suffix.lower() or "nameless" for name, _ in files} - ENDINGS)
    if wrong:
        raise StudioError(
            f"Label Studio stores no {', '.join(wrong)} files as images: convert them to JPEG or PNG first."
        )
    if not files:
        return []
    config = str(net.one("GET", f"/api/projects/{project}/")["label_config"])
    send = _send_plain if len(data_keys(config)) <= 1 else _send_marked
    prefix = urlsplit(net.url).path
    return [
        f"{prefix}/data/{quote(stored)}" for batch in batches(files) for stored in send(net, project, batch)
    ]


def batches(files: Sequence[File]) -> Iterator[list[File]]:
    """Cut into requests by number and bytes; a file larger than the limit goes alone."""
    batch: list[File] = []
    size = 0
    for name, data in files:
        if batch and (len(batch) >= FILES or size + len(data) > BYTES):
            yield batch
            batch, size = [], 0
        batch.append((name, data))
        size += len(data)
    if batch:
        yield batch


def _send_plain(net: Transport, project: int, batch: Sequence[File]) -> list[str]:
    answer = _post(net, project, batch)
    ids = [int(number) for number in answer["file_upload_ids"]]
    path = f"/api/projects/{project}/file-uploads"
    stored = {int(file["id"]): str(file["file"]) for file in net.many(path, {"ids": json.dumps(ids)})}
    if len(ids) != len(batch) or stored.keys() != set(ids):
        raise StudioError(f"GET {path}: sent {len(batch)} files, Label Studio stored {len(stored)}.")
    return [stored[number] for number in ids]


def _send_marked(net: Transport, project: int, batch: Sequence[File]) -> list[str]:
    """Upload to a project whose config demands several data keys.

    Label Studio stores the files, then refuses to guess a task from each and answers 400 without their
    ids. A mark at the beginning of each name finds them again among all files of this user.
    """
    mark = secrets.token_hex(6)
    marks = [f"{mark}{index:03d}" for index in range(len(batch))]
    try:
        _post(net, project, [(f"{m}-{name}", data) for m, (name, data) in zip(marks, batch, strict=True)])
    except Refusal as error:
        if error.status != 400 or "more than one data key" not in error.detail:
            raise
    path = f"/api/projects/{project}/file-uploads"
    names = [str(file["file"]) for file in net.many(path, {"all": "true"}, timeout=SLOW)]
    found = [next((name for name in names if f"-{m}-" in name), "") for m in marks]
    if not all(found):
        count = sum(map(bool, found))
        raise StudioError(f"GET {path}: sent {len(batch)} files, Label Studio stored {count}.")
    return found


def _post(net: Transport, project: int, batch: Sequence[File]) -> dict[str, Any]:
    # One field name per file: Label Studio keeps only the last file of a repeated name.
    files = [(f"file{index}", (name, data)) for index, (name, data) in enumerate(batch)]
    params = {"commit_to_project": "false"}
    return net.one("POST", f"/api/projects/{project}/import", params, files=files, timeout=SLOW)
