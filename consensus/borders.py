"""Where boxes leave the image, and what is left of them there."""

from __future__ import annotations

import numpy as np

from consensus.marks import inside, turns, usable
from consensus.overlap import hulls
from consensus.sheet import Bools, Floats, Ints, Sheet

PIXELS, SHARE = 1.0, 0.002
"""How far beyond the border is no slip: in pixels, or as a share of an image of unknown size."""

SLACK = 1e-9


def beyond(sheet: Sheet, rows: Ints) -> Floats:
    """How far boxes reach beyond the left, top, right and lower border, (rows, 4), 0 where they do not.

    As shares of the image's width and height; of turned boxes the outermost corners. NaN for what is no
    box, and for turned ones in images of unknown size, whose corners nobody can tell.
    """
    boxes, angles = sheet.boxes[rows], turns(sheet.turn[rows])
    sample = sheet.sample[sheet.owner[rows]]
    known: Bools = np.all(np.isfinite(sheet.sizes), axis=1)
    sound = np.flatnonzero(usable(boxes, angles) & ((angles == 0.0) | known[sample]))
    aspect = sheet.aspects[sample[sound]]
    around = hulls(boxes[sound], angles[sound], aspect)
    around[:, 0::2] /= aspect[:, None]
    out = np.full((len(rows), 4), np.nan)
    out[sound] = np.maximum(np.column_stack([-around[:, :2], around[:, 2:] - 1.0]), 0.0)
    return out


def margin(sizes: Floats, pixels: float = PIXELS, share: float = SHARE) -> Floats:
    """``pixels`` as shares of each image's width and height, (samples, 2); ``share`` where unknown."""
    return np.where(np.isfinite(sizes), pixels / sizes, share)


def leaving(sheet: Sheet, pixels: float = PIXELS, share: float = SHARE) -> Bools:
    """Which boxes, (n,), reach further beyond the image than that."""
    boxes = sheet.boxes
    inner = (sheet.turn == 0.0) & (boxes.min(axis=1) >= 0.0) & (boxes.max(axis=1) <= 1.0)
    rows = np.flatnonzero(~inner)  # few, and only these need a closer look
    allowed = margin(sheet.sizes, pixels, share)[sheet.sample[sheet.owner[rows]]]
    out = np.zeros(len(boxes), dtype=np.bool_)
    out[rows] = (beyond(sheet, rows) > np.tile(allowed + SLACK, 2)).any(axis=1)
    return out


def void(sheet: Sheet) -> Bools:
    """Which boxes, (n,), are none: no area inside the image, or coordinates that are no numbers.

    A box that lies outside as a whole is not void: `leaving` says what is wrong with it.
    """
    angles = turns(sheet.turn)
    kept = usable(inside(sheet.boxes, angles), angles) | leaving(sheet)
    return np.asarray(~kept | ~np.isfinite(sheet.boxes).all(axis=1))
