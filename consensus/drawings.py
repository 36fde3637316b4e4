"""The report's charts as SVG text: they need no script, no network and no plotting library.

Colours are classes of the report's style sheet, so that one drawing serves light, dark and paper. Each
drawing has a title and a description for those who cannot see it. Undefined numbers (None, NaN) leave
a gap. All text is escaped here: a drawing may stand in a page as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

WIDTH, HEIGHT = 380.0, 210.0
"""Size of a chart in its own units, about CSS pixels: small enough to stay legible on a phone."""

LEFT, RIGHT, TOP, BOTTOM = 34.0, 12.0, 14.0, 32.0
FEW = 20
"""Figures of fewer shared images are shown in grey: chance alone moves them by a tenth and more."""

SIDES = ("left", "top", "right", "bottom")


def finite(value: object) -> float | None:
    """The number, or None for whatever is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def few(samples: object) -> bool:
    """Whether a figure of so many shared images is to be shown in grey."""
    return (finite(samples) or 0) < FEW


def frame(body: str, width: float, height: float, title: str, description: str, name: str) -> str:
    """An SVG element of fixed proportions around a drawing; ``name`` is its class."""
    role = "group" if "<a " in body else "img"  # what is inside of an image cannot be reached
    return (
        f'<svg class="drawing {name}" viewBox="0 0 {short(width)} {short(height)}" '
        f'width="{short(width)}" height="{short(height)}" role="{role}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{body}</svg>"
    )


def short(number: float) -> str:
    """A coordinate in as few characters as carry it."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


def text(x: float, y: float, words: str, name: str = "", anchor: str = "middle") -> str:
    """A line of text at a place."""
    kind = f' class="{name}"' if name else ""
    return f'<text x="{short(x)}" y="{short(y)}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    return f'<path class="{name}" d="M{short(x1)} {short(y1)}L{short(x2)} {short(y2)}"/>'


def histogram(scores: Sequence[float | None], title: str) -> str:
    """How many images have which score: ten bars of a tenth each, and one for exactly 1."""
    known = [s for s in (finite(s) for s in scores) if s is not None]
    counts = [0] * 11
    for score in known:
        counts[10 if score >= 1 else max(0, int(score * 10))] += 1
    most = max(counts) or 1
    step, floor = (WIDTH - LEFT - RIGHT) / 11, HEIGHT - BOTTOM
    body = [_line(LEFT, floor, WIDTH - RIGHT, floor, "axis")]
    for k, count in enumerate(counts):
        x, tall = LEFT + k * step, (floor - TOP - 14) * count / most
        span = "exactly 1" if k == 10 else f"{k / 10:.1f} to under {(k + 1) / 10:.1f}"
        body.append(
            f'<rect class="bar{" best" if k == 10 else ""}" x="{short(x + 1.5)}" y="{short(floor - tall)}" '
            f'width="{short(step - 3)}" height="{short(tall)}" rx="1.5">'
            f"<title>{escape(f'{span}: {count:,} images')}</title></rect>"
        )
        if count:
            body.append(text(x + step / 2, floor - tall - 4, f"{count:,}", "value"))
        if k in (0, 5, 10):
            body.append(text(x + (step / 2 if k == 10 else 0), floor + 14, f"{k / 10:g}", "tick"))
    body.append(text(LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 4, "consensus score of the image", "tick"))
    told = ", ".join(f"{k / 10:.1f}: {count}" for k, count in enumerate(counts) if count)
    return frame("".join(body), WIDTH, HEIGHT, title, f"Images by score, from: {told or 'none'}.", "chart")


def lines(
    places: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    ticks: Mapping[float, str],
    title: str,
    rule: float | None = None,
    hollow: Sequence[bool] = (),
) -> str:
    """Curves over common places, each with its name at its end.

    Args:
        places: position of each point, any unit, ascending.
        series: values by the curve's name, one for each place.
        ticks: text by place along the lower edge.
        title: what the drawing shows.
        rule: a place to mark by an upright line.
        hollow: for each place whether its points rest on few images.
    """
    known = [v for row in series.values() for v in map(finite, row) if v is not None]
    low = min(0.0, math.floor(min(known, default=0.0) * 5) / 5)
    high = max(1.0, max(known, default=1.0))
    start, end = (min(places), max(places)) if places else (0.0, 1.0)
    right, floor = WIDTH - 82, HEIGHT - BOTTOM

    def across(place: float) -> float:
        return LEFT + (right - LEFT) * ((place - start) / (end - start) if end > start else 0.5)

    def up(value: float) -> float:
        return floor - (floor - TOP) * (value - low) / (high - low)

    body = []
    for level in sorted({low, 0.0, 0.5, 1.0}):
        body.append(_line(LEFT, up(level), right, up(level), "grid"))
        body.append(text(LEFT - 6, up(level) + 4, f"{level:.1f}".replace("-", "−"), "tick", "end"))
    body += [text(across(place), floor + 15, words, "tick") for place, words in ticks.items()]
    if rule is not None and start <= rule <= end:
        body.append(_line(across(rule), TOP, across(rule), floor, "rule"))
    ends: list[tuple[float, str, int]] = []
    for k, (name, row) in enumerate(series.items()):
        values = [finite(v) for v in row]
        points = [(across(p), up(v), v, p) for p, v in zip(places, values, strict=True) if v is not None]
        body.append(f'<path class="curve s{k}" d="{_path(places, values, across, up)}"/>')
        for x, y, value, place in points:
            name_of_point = f"point s{k}{' hollow' if hollow and hollow[places.index(place)] else ''}"
            body.append(
                f'<circle class="{name_of_point}" cx="{short(x)}" cy="{short(y)}" r="3">'
                f"<title>{escape(f'{name} {value:.3f}')}</title></circle>"
            )
        if points:
            ends.append((points[-1][1], name, k))
    spot = -math.inf
    for y, name, k in sorted(ends):
        spot = max(y + 4, spot + 14)
        body.append(text(right + 8, spot, name, f"name s{k}", "start"))
    told = "; ".join(
        f"{name} from {_said(row[0])} to {_said(row[-1])}" for name, row in series.items() if len(row)
    )
    return frame("".join(body), WIDTH, HEIGHT, title, f"{told or 'No points'}.", "chart")


def _said(value: float | None) -> str:
    number = finite(value)
    return "undefined" if number is None else f"{number:.2f}"


def _path(places: Sequence[float], values: Sequence[float | None], across: Any, up: Any) -> str:
    """A line through the known points, broken where one is not known."""
    steps, pen = [], "M"
    for place, value in zip(places, values, strict=True):
        if value is None:
            pen = "M"
            continue
        steps.append(f"{pen}{short(across(place))} {short(up(value))}")
        pen = "L"
    return "".join(steps)


def sweep(rows: Sequence[Mapping[str, Any]], tau: float) -> str:
    """The figures over the least IoU of two boxes of one object, with the one in use marked."""
    rows = sorted(rows, key=lambda row: row["tau"])
    places = [float(row["tau"]) for row in rows]
    return lines(
        places,
        {name: [row[key] for row in rows] for key, name in FIGURES.items()},
        {p: f"{p:g}" for p in places[:: max(1, (len(places) + 5) // 6)]},
        "Agreement by the least overlap (IoU) that two boxes of one object must have",
        rule=tau,
    )


FIGURES = {"consensus_score": "Score", "f1": "F1", "alpha": "Alpha"}


def trend(rows: Sequence[Mapping[str, Any]]) -> str:
    """Consensus score and F1 by period; points that rest on few images are hollow."""
    places = [moment(row["start"]) for row in rows]
    ticks = {moment(row["start"]): str(row["start"])[:10] for row in (*rows[:1], *rows[-1:])}
    return lines(
        places,
        {FIGURES[key]: [row[key] for row in rows] for key in ("consensus_score", "f1")},
        ticks,
        "Agreement over time",
        hollow=[few(row["samples"]) for row in rows],
    )


def moment(iso: str) -> float:
    """Seconds since 1970 of an ISO date or time."""
    return datetime.fromisoformat(iso).timestamp()


def sparkline(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """One person's agreement over time, faint, under its moving average; as high as the values differ."""
    width, height = 96.0, 26.0
    both = [[finite(row[key]) for row in rows] for key in ("agreement", "ewma")]
    known = [v for row in both for v in row if v is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    low, high = min(low, high - 0.1), high

    def across(k: float) -> float:
        return 3 + (width - 6) * (k / (len(rows) - 1) if len(rows) > 1 else 0.5)

    def up(value: float) -> float:
        return height - 3 - (height - 6) * (value - low) / (high - low)

    order = [float(k) for k in range(len(rows))]
    body = f'<path class="faint" d="{_path(order, both[0], across, up)}"/>'
    body += f'<path class="curve s0" d="{_path(order, both[1], across, up)}"/>'
    told = " to ".join(_said(row["ewma"]) for row in (*rows[:1], *rows[-1:]))
    return frame(body, width, height, title, f"Moving average: {told or 'nothing known'}.", "spark")


def interval(rate: Mapping[str, Any], most: float, words: str) -> str:
    """A rate as a bar, its 95 % interval as a line over it; ``most`` is the end of the scale."""
    width, height, value = 64.0, 14.0, finite(rate["value"])
    if value is None:
        return ""
    scale = (width - 4) / max(most, 1e-9)
    body = f'<rect class="bar" x="0" y="3" width="{short(min(value, most) * scale)}" height="8" rx="1.5"/>'
    low, high = finite(rate["low"]), finite(rate["high"])
    if low is not None and high is not None:
        x1, x2 = low * scale, min(high, most) * scale
        body += f'<path class="whisker" d="M{short(x1)} 7H{short(x2)}M{short(x1)} 4V10M{short(x2)} 4V10"/>'
    return frame(body, width, height, words, "Bar: the rate. Line: its 95 % interval.", "spark")


def edges(bias: Mapping[str, Any], name: str) -> str:
    """Where a person's edges lie against the consensus box (dashed), three times as far off as they are.

    The numbers are shares of the side: positive = outward, too loose.
    """
    width, height, x1, y1, x2, y2 = 250.0, 150.0, 90.0, 44.0, 162.0, 104.0
    shift = {side: finite(bias[side]) for side in SIDES}

    def moved(side: str) -> float:
        return max(-0.12, min(0.12, shift[side] or 0.0)) * 3

    wide, tall = x2 - x1, y2 - y1
    a, b = x1 - moved("left") * wide, y1 - moved("top") * tall
    c, d = x2 + moved("right") * wide, y2 + moved("bottom") * tall
    body = [
        f'<rect class="drawn" x="{short(a)}" y="{short(b)}" '
        f'width="{short(c - a)}" height="{short(d - b)}"/>',
        f'<rect class="truth" x="{x1}" y="{y1}" width="{wide}" height="{tall}"/>',
    ]
    spots = {
        "left": (60.0, 78.0, "end"),
        "top": (126.0, 14.0, "middle"),
        "right": (192.0, 78.0, "start"),
        "bottom": (126.0, 144.0, "middle"),
    }
    for side, (x, y, anchor) in spots.items():
        value = shift[side]
        words = "–" if value is None else signed(value)
        strong = " strong" if value is not None and abs(value) >= 0.05 else ""
        body.append(text(x, y, words, f"value{strong}", anchor))
    told = ", ".join(f"{s} {signed(v)}" for s, v in shift.items() if v is not None)
    title = f"How the edges of {name} lie"
    return frame("".join(body), width, height, title, f"Outward is positive: {told or 'unknown'}.", "edges")


def signed(share: float) -> str:
    """A share as per cent with its sign, 0 without one."""
    words = f"{100 * share:+.1f} %"
    return "0.0 %" if words[1:] == "0.0 %" else words.replace("-", "−")
