"""What people see of variants: a list, counts, and the contact sheet of parents by conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image

from backend import painting
from backend.house import House
from generator import grid
from generator.variants import PHYSICAL
from pool.boxes import to_array
from pool.schema import BadImage, BadInput, NotReady, Sample, Variant, VariantState

STATES: tuple[VariantState, ...] = get_args(VariantState)
MOST = 12
"""Parents on one contact sheet."""
WIDTH = 220


def rows(house: House, project: int, states: Sequence[VariantState] = ()) -> list[dict[str, Any]]:
    """Every variant as plain values, oldest first; ``answered`` says whether people labelled it."""
    variants = house.pool.variants(project, states=states)
    parents = house.pool.samples([v.parent for v in variants])
    answers = {a.sample for a in house.pool.annotations(project) if not a.skipped}
    return [
        {
            "id": v.id,
            "state": v.state,
            "condition": v.condition,
            "by": "renderer" if f"Model: {PHYSICAL}" in v.recipe else "diffusion",
            "parent": parents[v.parent].name,
            "sample": v.sample,
            "seed": v.seed,
            "answered": v.sample in answers,
            "reason": v.reason,
            "gates": v.gates,
            "recipe": v.recipe,
            "job": v.job,
            "created_at": v.created_at,
        }
        for v in variants
    ]


def counts(listed: Sequence[dict[str, Any]]) -> list[list[object]]:
    """How many variants of each condition are in each state: rows of a table, its columns as `STATES`."""
    by = Counter((row["condition"] or "recipe", row["state"]) for row in listed)
    names = sorted({name for name, _ in by})
    return [[name, *(by[name, state] or "" for state in STATES)] for name in names]


def sheet(
    house: House, project: int, path: Path, *, parents: int = MOST, states: Sequence[VariantState] = ()
) -> int:
    """Write the contact sheet, parents down and conditions across, as PNG or JPEG; how many variants.

    The parents with the newest variants come first; of several variants of one kind the newest is shown.

    Raises:
        BadInput: the file is to be no picture.
        NotReady: there are no variants to show.
    """
    data, shown = picture(house, project, path.suffix.lower(), parents=parents, states=states)
    path.write_bytes(data)
    return shown


def picture(
    house: House, project: int, ending: str, *, parents: int = MOST, states: Sequence[VariantState] = ()
) -> tuple[bytes, int]:
    """The contact sheet as the bytes of a file with this ending, and how many variants it shows."""
    if ending not in (".png", ".jpg", ".jpeg"):
        raise BadInput("--out", "a file named .png or .jpg", ending or "no ending")
    made = [v for v in house.pool.variants(project, states=states) if v.sample is not None]
    if not made:
        raise NotReady("There are no variants to show: run `thresher generate` first.")
    newest = list(dict.fromkeys(v.parent for v in reversed(made)))[:parents]
    samples = house.pool.samples(newest)
    conditions = sorted({v.condition or "recipe" for v in made if v.parent in samples})
    listed = [_row(house, samples[name], [v for v in made if v.parent == name]) for name in newest]
    whole = grid.sheet([row for row in listed if row is not None], conditions, width=WIDTH)
    out = BytesIO()
    if ending == ".png":
        Image.fromarray(whole).save(out, "PNG")
    else:
        Image.fromarray(whole).save(out, "JPEG", quality=88)
    return out.getvalue(), sum(len(row.variants) for row in listed if row is not None)


def _row(house: House, parent: Sample, variants: Sequence[Variant]) -> grid.Row | None:
    try:
        source = painting.read(house, parent)
    except BadImage:
        return None
    cells = {}
    for each in variants:
        try:
            with Image.open(house.images.local(f"{each.sample}{each.suffix}")) as image:
                pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
        except BadImage:
            continue
        note = each.reason if each.state in ("rejected", "refused") else ""
        cells[each.condition or "recipe"] = grid.Cell(
            pixels, each.state, note, to_array(r.box for r in each.regions)
        )
    return grid.Row(source, parent.name, cells)
