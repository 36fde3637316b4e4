"""Boxes over pictures as SVG text: what everybody drew, what they say together, and where they differ.

A picture is defined once in the page and shown by reference wherever it is needed, whole or as a crop.
People are told apart by colour, by dashes and by a letter; conflicts by number, sign and the list
beside the drawing: nothing is said by colour alone. All text is escaped here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from consensus.drawings import finite, short

UNITS = 1000.0
"""Width of every picture in the drawings' units."""

COLOURS = 7
LONGEST = 24
"""Characters of a label on a picture before it is cut off (the whole label is its title)."""

SIGNS = {"missing": "−", "extra": "+", "label": "≠", "location": "↔", "duplicate": "2×", "merged": "∪"}
"""The sign of each kind of conflict, in the order of the report."""

MEANINGS = {
    "missing": "did not draw an object that the others agree on",
    "extra": "drew a box that the others do not have",
    "label": "gave an object another label than the others",
    "location": "drew the object, but in another place or size",
    "duplicate": "drew the same object twice",
    "merged": "drew one box around several objects",
}


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where boxes are drawn: ``picture`` is the id of a symbol of the page, None for a plain ground.

    ``height`` is in the units of a width of 1000.
    """

    picture: str | None
    height: float


def canvas(width: int | None, height: int | None, picture: str | None) -> Canvas:
    """The canvas of an image by its pixels; 4:3 where they are not known."""
    return Canvas(picture, UNITS * (height / width if width and height else 0.75))


def symbol(name: str, address: str, height: float) -> str:
    """The one definition of a picture, for `overlay` and `crop` to refer to."""
    size = f'width="1000" height="{short(height)}"'
    return (
        f'<symbol id="{escape(name)}" viewBox="0 0 1000 {short(height)}" preserveAspectRatio="none">'
        f'<image href="{escape(address)}" {size} preserveAspectRatio="none"/></symbol>'
    )


def styles(people: Sequence[str], order: Mapping[str, int]) -> dict[str, int]:
    """A number for the look of each person of an image, the same on every image as far as possible.

    ``order`` gives the place of each person in the report. Of two people of one image with the same
    colour the second gets the next free one. From 7 on colours repeat with other dashes, from 28 on all.
    """
    given: dict[str, int] = {}
    for person in people:
        wanted = order.get(person, 0)
        free = [s for s in range(wanted, wanted + COLOURS) if s % COLOURS not in given.values()]
        given[person] = free[0] % COLOURS if free else len(given)
    return given


def letter(place: int) -> str:
    """A, B, ... Z, A2, B2, ...: a person's mark on one image."""
    return chr(ord("A") + place % 26) + (str(place // 26 + 1) if place >= 26 else "")


def swatch(style: int) -> str:
    """A short line in a person's colour and dashes, for legends."""
    return (
        '<svg class="swatch" viewBox="0 0 26 12" width="26" height="12" aria-hidden="true">'
        f'<path class="{_style(style)}" d="M1 6H25"/></svg>'
    )


def overlay(
    task: Mapping[str, Any], names: Mapping[str, str], canvas: Canvas, style: Mapping[str, int]
) -> str:
    """An image of the document with everybody's boxes, the consensus and the numbered conflicts.

    ``names`` are what people are called by their id, ``style`` as `styles` gives it; a layer of the
    drawing (``data-layer``) is a person's position in ``style``, ``consensus`` or ``conflicts``.
    """
    layers = [_ground(canvas)]
    for place, (person, number) in enumerate(style.items()):
        mine = [b for b in task["boxes"] if b["annotator"] == person]
        drawn = "".join(_person(b, names.get(person, person), number, place, canvas) for b in mine)
        layers.append(f'<g data-layer="{place}">{drawn}</g>')
    layers.append(f'<g data-layer="consensus">{_agreed(task["consensus"], canvas)}</g>')
    layers.append(f'<g data-layer="conflicts">{_pills(task["conflicts"], names, canvas)}</g>')
    boxes, conflicts = len(task["boxes"]), len(task["conflicts"])
    title = f"{task['name']}: {boxes} boxes of {len(style)} people, {conflicts} conflicts, listed beside"
    return _svg("".join(layers), (0, 0, UNITS, canvas.height), title, "overlay")


def crop(
    boxes: Sequence[Sequence[float]],
    evidence: Sequence[Sequence[float]],
    canvas: Canvas,
    title: str,
) -> str:
    """A piece of a picture around ``boxes`` (solid) and ``evidence`` (dashed), with room about them."""
    places = [p for p in (_place(b, canvas) for b in (*boxes, *evidence)) if p is not None]
    x1 = max(0.0, min((p[0] for p in places), default=0.0))
    y1 = max(0.0, min((p[1] for p in places), default=0.0))
    x2 = min(UNITS, max((p[0] + p[2] for p in places), default=UNITS))
    y2 = min(canvas.height, max((p[1] + p[3] for p in places), default=canvas.height))
    wide = min(UNITS, max((x2 - x1) * 1.6, (y2 - y1) * 1.6 * 4 / 3, 120.0))
    tall = wide * 0.75
    left, top = (x1 + x2 - wide) / 2, (y1 + y2 - tall) / 2
    room = canvas.height - tall
    top = min(max(top, 0.0), room) if room > 0 else room / 2
    left = min(max(left, 0.0), UNITS - wide)
    body = _ground(canvas)
    body += "".join(_outlined(b, "evidence", canvas) for b in evidence)
    body += "".join(_outlined(b, "found", canvas) for b in boxes)
    return _svg(body, (left, top, wide, tall), title, "crop")


def _svg(body: str, view: tuple[float, float, float, float], title: str, name: str) -> str:
    box = " ".join(short(v) for v in view)
    return f'<svg class="{name}" viewBox="{box}" role="img"><title>{escape(title)}</title>{body}</svg>'


def _ground(canvas: Canvas) -> str:
    size = f'width="1000" height="{short(canvas.height)}"'
    if canvas.picture is None:
        return f'<rect class="ground" {size}/>'
    return f'<use href="#{escape(canvas.picture)}" {size}/>'


def _style(number: int) -> str:
    return f"p{number % COLOURS} d{(number % COLOURS + number // COLOURS) % 4}"


def _place(box: Sequence[float], canvas: Canvas) -> tuple[float, float, float, float, float] | None:
    """Left, top, width, height and turn in the drawing's units; None for a box that cannot be drawn."""
    known = [n for n in map(finite, box) if n is not None]
    if len(known) < 4 or len(known) != len(box):
        return None
    x1, y1, x2, y2 = known[:4]
    turn = known[4] if len(known) > 4 else 0.0
    return (
        x1 * UNITS,
        y1 * canvas.height,
        max(0.0, x2 - x1) * UNITS,
        max(0.0, y2 - y1) * canvas.height,
        turn,
    )


def _rect(place: tuple[float, float, float, float, float], name: str) -> str:
    x, y, wide, tall, turn = place
    turned = f' transform="rotate({short(turn)} {short(x)} {short(y)})"' if turn else ""
    size = f'width="{short(wide)}" height="{short(tall)}"'
    return f'<rect class="{name}" x="{short(x)}" y="{short(y)}" {size}{turned}/>'


def _outlined(box: Sequence[float], name: str, canvas: Canvas) -> str:
    place = _place(box, canvas)
    return "" if place is None else _rect(place, "halo") + _rect(place, name)


def _person(box: Mapping[str, Any], name: str, style: int, place: int, canvas: Canvas) -> str:
    spot = _place(box["box"], canvas)
    if spot is None:
        return ""
    x, y, wide, tall, _ = spot
    # Each person's letter has a corner of its own, so that four on one object can all be read.
    cx = x + (wide if place % 2 else 0.0)
    cy = y + (tall if place % 4 > 1 else 0.0)
    words = escape(f"{name}: {box['label'] if box['label'] is not None else 'no label'}")
    return (
        f"<g><title>{words}</title>{_rect(spot, 'halo')}{_rect(spot, _style(style))}"
        f'<circle class="mark p{style % COLOURS}" cx="{short(cx)}" cy="{short(cy)}" r="11"/>'
        f'<text class="mark" x="{short(cx)}" y="{short(cy + 5)}">{letter(place)}</text></g>'
    )


def _agreed(regions: Sequence[Mapping[str, Any]], canvas: Canvas) -> str:
    """The consensus boxes, each with its label below, moved down where two labels would meet."""
    body: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for region in regions:
        spot = _place(region["box"], canvas)
        if spot is None:
            continue
        label = region["label"] if region["label"] is not None else "no label"
        brief = label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
        wide, floor = 11.0 * len(brief), canvas.height - 6
        x = max(4.0, min(spot[0] + 4, UNITS - wide))
        y = min(spot[1] + spot[3] + 20, floor)
        while y < floor and any(abs(y - b) < 21 and x < a + w and a < x + wide for a, b, w in taken):
            y += 7.0
        taken.append((x, y, wide))
        words = escape(f"Consensus: {label}, {region['votes']} of {region['voters']} votes")
        body.append(
            f"<g><title>{words}</title>{_rect(spot, 'agreed under')}{_rect(spot, 'agreed')}"
            f'<text class="said" x="{short(x)}" y="{short(y)}">{escape(brief)}</text></g>'
        )
    return "".join(body)


def _pills(conflicts: Sequence[Mapping[str, Any]], names: Mapping[str, str], canvas: Canvas) -> str:
    """A numbered sign at the middle of each conflict's upper edge, moved down where two would meet."""
    body: list[str] = []
    taken: list[tuple[float, float]] = []
    for number, conflict in enumerate(conflicts, 1):
        spot = _place(conflict["box"], canvas)
        if spot is None:
            continue
        x = min(max(spot[0] + spot[2] / 2, 34.0), UNITS - 34.0)
        y = min(max(spot[1], 18.0), canvas.height - 18.0)
        while any(abs(x - a) < 68 and abs(y - b) < 34 for a, b in taken) and y < canvas.height - 18:
            y += 17.0
        taken.append((x, y))
        who = names.get(conflict["annotator"], conflict["annotator"])
        words = escape(f"{number}. {who} {MEANINGS[conflict['kind']]}")
        body.append(
            f'<g class="pill" data-conflict="{number}"><title>{words}</title>{_rect(spot, "spot")}'
            f'<rect class="plate" x="{short(x - 31)}" y="{short(y - 16)}" width="62" height="32" rx="16"/>'
            f'<text x="{short(x)}" y="{short(y + 7)}">{number} {SIGNS[conflict["kind"]]}</text></g>'
        )
    return "".join(body)
