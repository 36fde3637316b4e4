"""What choosing needs of a prediction lies apart from its boxes, in columns; small states have a place.

Written out with plain types rather than taken from pool.tables: those move on, this step must not.
"""

import hashlib
import json
from itertools import groupby
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BLOBS = ("localisation", "disagreement", "embedding", "probs", "box_embeddings")
BATCH = 200


def upgrade() -> None:
    op.create_table(
        "signals",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("model_version", "name", "classes", "samples")),
        *(sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("counts", "background", "score", "kind")),
        *(sa.Column(name, sa.LargeBinary(), nullable=True) for name in BLOBS),
        sa.PrimaryKeyConstraint("seq", name="pk_signals"),
        sa.ForeignKeyConstraint(["model_version"], ["models.version"], name="fk_signals_model_version_models"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_signals_version_name", "signals", ["model_version", "name"])
    op.create_table(
        "states",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("kind", "key", "body")),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_states"),
    )
    _to_columns(op.get_bind())
    for name in ("probs", "embedding"):
        op.drop_column("predictions", name)


def downgrade() -> None:
    for name in ("probs", "embedding"):
        op.add_column("predictions", sa.Column(name, sa.LargeBinary(), nullable=True))
    _to_rows(op.get_bind())
    op.drop_table("states")
    op.drop_table("signals")


predictions = sa.table(
    "predictions",
    *(sa.column(name) for name in ("model_version", "sample", "background", "classes", "regions", "probs", "embedding")),
)
signals = sa.table(
    "signals",
    *(sa.column(name) for name in ("seq", "model_version", "name", "classes", "samples", "counts")),
    *(sa.column(name) for name in ("background", "score", "kind", *BLOBS)),
)


def _to_columns(connection: sa.Connection) -> None:
    p = predictions.c
    query = sa.select(*p).order_by(p.model_version, p.sample)
    last = ("", "")
    while True:
        after = sa.tuple_(p.model_version, p.sample) > sa.tuple_(*map(sa.literal, last))
        rows = connection.execute(query.where(after).limit(BATCH)).all()
        if not rows:
            return
        last = (rows[-1].model_version, rows[-1].sample)

        def alike(row: "sa.Row[Any]") -> tuple[str, str, bool, int]:
            return row.model_version, row.classes, row.probs is None, len(row.embedding or b"")

        for (version, classes, _, _), group in groupby(sorted(rows, key=alike), alike):
            connection.execute(sa.insert(signals), [_block(version, classes, list(group))])


def _block(version: str, classes: str, rows: "list[sa.Row[Any]]") -> dict[str, Any]:
    place = {label: index for index, label in enumerate(json.loads(classes))}
    regions = [json.loads(row.regions) for row in rows]
    boxes = [box for each in regions for box in each]
    scores = [box[6] if len(box) > 6 and box[6] is not None else np.nan for box in boxes]
    samples = [row.sample for row in rows]
    return {
        "model_version": version,
        "name": hashlib.blake2b("\0".join(sorted(samples)).encode(), digest_size=16).hexdigest(),
        "classes": classes,
        "samples": json.dumps(samples, ensure_ascii=False, separators=(",", ":")),
        "counts": np.array([len(each) for each in regions], "<u2").tobytes(),
        "background": np.array([row.background for row in rows], "<f2").tobytes(),
        "score": np.array(scores, "<f2").tobytes(),
        "kind": np.array([place.get(box[0], -1) for box in boxes], "<i2").tobytes(),
        "embedding": b"".join(row.embedding for row in rows) if rows[0].embedding is not None else None,
        "probs": b"".join(row.probs for row in rows) if rows[0].probs is not None else None,
    }


def _to_rows(connection: sa.Connection) -> None:
    p = predictions.c
    query = sa.select(*(signals.c[name] for name in ("model_version", "classes", "samples", "counts", "embedding", "probs")))
    for block in connection.execute(query.order_by(signals.c.seq)).all():
        samples, classes = json.loads(block.samples), len(json.loads(block.classes))
        ends = np.cumsum(np.frombuffer(block.counts, "<u2")) * classes * 2
        width = len(block.embedding) // len(samples) if block.embedding is not None else 0
        for i, sample in enumerate(samples):
            start = int(ends[i - 1]) if i else 0
            row = {
                "embedding": None if block.embedding is None else block.embedding[i * width : (i + 1) * width],
                "probs": None if block.probs is None else block.probs[start : int(ends[i])],
            }
            connection.execute(
                sa.update(predictions).where(p.model_version == block.model_version, p.sample == sample).values(**row)
            )
