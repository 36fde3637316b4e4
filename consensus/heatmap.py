"""The matrix of every two people as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from consensus.drawings import few, finite, frame, short, text

STEPS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Where the colours of the heat map change; finer at the top, where people who agree differ."""

SIDE, HEAD = 46.0, 112.0
"""A cell, and the room for names at the left and above."""


TITLES = {"f1": "F1", "iou": "mean IoU", "pq": "panoptic quality"}
LONGEST = 15
"""Characters of a name before it is cut off (the whole name is its title)."""


def heat(value: float | None) -> int:
    """Which of the heat map's colours a value has, 0 (low) to 8."""
    return 0 if value is None else sum(value >= step for step in STEPS)


def heatmap(names: Sequence[str], rows: Mapping[tuple[int, int], Mapping[str, Any]], figure: str) -> str:
    """Every two people's ``figure``, symmetric; cells of few shared images are grey and hatched.

    The page that shows it defines the pattern ``hatch``. Each cell leads to the images of its two people.

    Args:
        names: of the people, in order.
        rows: the pair's row of the document by the positions of its two people.
        figure: the key of the figure to show.
    """
    count, body = len(names), []
    for k, name in enumerate(names):
        shown = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        title, at = f"<title>{escape(name)}</title>", HEAD + (k + 0.5) * SIDE + 4
        body.append(f"<g>{title}{text(HEAD - 8, at, shown, 'who', 'end')}</g>")
        turned = f'transform="translate({short(at)} {short(HEAD - 8)}) rotate(-55)"'
        body.append(f"<g {turned}>{title}{text(0, 0, shown, 'who', 'start')}</g>")
    for (one, other), row in rows.items():
        body += [_cell(names, row, figure, one, other), _cell(names, row, figure, other, one)]
    known = [v for row in rows.values() if (v := finite(row[figure])) is not None]
    told = f"{len(rows)} pairs, from {min(known):.2f} to {max(known):.2f}" if known else "no pairs"
    size = HEAD + count * SIDE + 4
    title = f"Agreement of every two people: {TITLES[figure]}"
    return frame("".join(body), size + 60, size, title, told, "heat")


def _cell(names: Sequence[str], row: Mapping[str, Any], figure: str, y: int, x: int) -> str:
    value, low, high = finite(row[figure]), finite(row["low"]), finite(row["high"])
    shown = "–" if value is None else f"{value:.2f}"
    words = f"{names[y]} and {names[x]}: {TITLES[figure]} {shown}"
    if figure == "f1" and low is not None and high is not None:
        words += f" (95 % interval {low:.2f} to {high:.2f})"
    words += f", {row['samples'] or 0:,} shared images"
    faint = few(row["samples"])
    tone = "few" if faint else f"h{heat(value)}"
    left, top = HEAD + x * SIDE, HEAD + y * SIDE
    place = (
        f'x="{short(left + 1)}" y="{short(top + 1)}" width="{short(SIDE - 2)}" height="{short(SIDE - 2)}"'
    )
    body = f'<rect class="{tone}" {place} rx="3"/>'
    if faint:
        body += f'<rect fill="url(#hatch)" {place} rx="3"/>'
    body += text(left + SIDE / 2, top + SIDE / 2 + 4, shown, f"{tone} number")
    return f'<a href="#images" data-pair="{y} {x}"><title>{escape(words)}</title>{body}</a>'
