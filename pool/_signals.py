"""Columns of predictions in the ledger: blocks of images, each column one blob; the latest block wins."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from pool.columns import PER_BOX, PER_IMAGE, Columns, of_predictions
from pool.database import Database, chunks
from pool.rows import WORDS, Row
from pool.schema import Prediction
from pool.tables import signals

_BLOCKS = 64  # read in one transaction


def save(connection: Connection, version: str, records: Sequence[Prediction]) -> None:
    """Append the predictions of one version; the very same images again replace their block."""
    for part in of_predictions(records):
        row = _row(version, part)
        connection.execute(
            delete(signals).where(signals.c.model_version == version, signals.c.name == row["name"])
        )
        connection.execute(insert(signals), [row])


def blocks(
    db: Database, version: str, wanted: Collection[str] | None, columns: Sequence[str]
) -> Iterator[Columns]:
    """Blocks of a version with each image once, as it was last saved, in the order saved.

    ``columns`` names what is read beside score, kind and background.
    """
    latest: dict[str, int] = {}
    with db.read() as connection:
        known = select(signals.c.seq, signals.c.samples).where(signals.c.model_version == version)
        for seq, samples in connection.execute(known.order_by(signals.c.seq)):
            latest.update(dict.fromkeys(WORDS.read(samples), seq))
    if wanted is not None:
        latest = {sample: latest[sample] for sample in wanted if sample in latest}
    read = ("background", "score", "kind", *columns)
    query = select(*(signals.c[name] for name in ("seq", "classes", "samples", "counts", *read)))
    for part in chunks(sorted(set(latest.values())), _BLOCKS):
        with db.read() as connection:
            rows = connection.execute(query.where(signals.c.seq.in_(part)).order_by(signals.c.seq)).all()
        for row in rows:
            block = _load(row._mapping, read)
            mine = [i for i, sample in enumerate(block.samples) if latest.get(sample) == row.seq]
            yield block if len(mine) == len(block) else block.of(np.asarray(mine, dtype=np.intp))


def _row(version: str, part: Columns) -> Row:
    blobs = {name: getattr(part, name) for name in (*PER_IMAGE, *PER_BOX)}
    return {
        "model_version": version,
        "name": hashlib.blake2b("\0".join(sorted(part.samples)).encode(), digest_size=16).hexdigest(),
        "classes": WORDS.write(part.labels),
        "samples": WORDS.write(part.samples),
        "counts": part.counts.astype("<u2").tobytes(),
    } | {name: None if column is None else column.tobytes() for name, column in blobs.items()}


def _load(row: Any, read: Sequence[str]) -> Columns:
    samples, labels = WORDS.read(row["samples"]), WORDS.read(row["classes"])
    starts = np.concatenate(([0], np.cumsum(np.frombuffer(row["counts"], "<u2").astype(np.intp))))
    many = int(starts[-1])
    taken: dict[str, Any] = {}
    for name in read:
        blob = row[name]
        if blob is None:
            taken[name] = None
            continue
        values = np.frombuffer(blob, "<i2" if name == "kind" else "<f2")
        length = len(samples) if name in PER_IMAGE else many
        wide = name in ("embedding", "probs", "box_embeddings")
        width = len(labels) if name == "probs" else values.size // max(length, 1)
        taken[name] = values.reshape(length, width) if wide else values
    return Columns(labels, samples, starts, **taken)
