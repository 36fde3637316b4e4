"""The consensus report as people read it: the document as one HTML page that needs nothing else.

The same template makes a file (own content security policy, pictures inside, no request to anywhere)
and a live page (the server's nonce, links to the downloads). The page can be read without its script,
which only sorts, filters and hides.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from consensus import drawings, heatmap, overlays
from consensus.gallery import Gallery
from pool.schema import BadInput

if TYPE_CHECKING:
    import jinja2

Document = Mapping[str, Any]

SCHEMA = "thresher.consensus/1"
WORST = 40
"""How many images are shown with everybody's boxes unless told otherwise."""

ROWS = 2000
"""Most rows of the table of images: a browser stays quick, and the rest is in the exports."""

PEOPLE = 30
"""Most people in the heat map, those with most images first."""

FINDINGS, CROPS, SUSPECTS = 500, 9, 12
"""Most rows of findings and of label errors; pictures for each rule, and of label errors."""

PROBABLE = 0.5
"""Score from which a label error is called probable; below it is a hint, and hidden at first."""

DASH = "–"
RATES = {
    "miss": "Missed",
    "extra": "Extra",
    "confusion": "Other label",
    "location": "Badly placed",
    "duplicate": "Twice",
    "merged": "Merged",
    "untouched": "Left as predicted",
}


@dataclass(frozen=True, slots=True)
class Live:
    """What a served page has that a file has not.

    ``nonce`` is that of the answer's Content-Security-Policy header, ``base`` the address of the
    report's downloads, to which ``tasks.csv``, ``report.json`` and the like are appended.
    """

    nonce: str
    base: str


def render(
    document: Document,
    pictures: Mapping[str, bytes] | None = None,
    live: Live | None = None,
    worst: int = WORST,
) -> str:
    """The page of a document, as text to be written in UTF-8.

    Args:
        document: of the schema ``thresher.consensus/1``.
        pictures: small JPEG, PNG or WebP files by sample (see `pictured`), put into the page once
            each; boxes of other images are drawn on a plain ground of the same proportions.
        live: for a served page; None makes a file that stands alone.
        worst: how many images to show with everybody's boxes.

    Raises:
        BadInput: the document is of another schema, ``worst`` is below 0, or the nonce is none.
    """
    from markupsafe import Markup

    if document.get("schema") != SCHEMA:
        raise BadInput("document['schema']", repr(SCHEMA), document.get("schema"), "Make the report again.")
    if worst < 0:
        raise BadInput("worst", "0 or more", worst)
    if live is not None and not re.fullmatch(r"[A-Za-z0-9+/_=-]{8,}", live.nonce):
        raise BadInput("live.nonce", "at least 8 letters and digits (base64)", live.nonce)
    gallery = Gallery(document, pictures or {})
    shown = _worst(document["tasks"], worst)
    anchors = _anchors(document["tasks"], shown)
    template = _environment().get_template("report.html")
    page = template.render(
        d=document,
        live=live,
        style=Markup(_part("report.css")),
        script=Markup(_part("report.js")),
        policy=policy(),
        gallery=gallery,
        kinds=overlays.SIGNS,
        meanings=overlays.MEANINGS,
        rates=RATES,
        rate_end=_longest(document["annotators"]),
        shown=[_task(task, gallery) for task in shown],
        anchors=anchors,
        examples={t["task"]: t for t in reversed(document["tasks"]) if t["task"]},
        rows=document["tasks"][:ROWS],
        heat=_heat(document),
        rules=_rules(document["guidelines"]["findings"]),
        most_findings=FINDINGS,
        suspects=SUSPECTS,
        errors=_by_weight(document["label_errors"]),
        draw=_drawings(),
        alpha_word=alpha_word,
        swatch=lambda style: Markup(overlays.swatch(style)),
        sprites=gallery.symbols,
    )
    # Half a surrogate pair, as JSON allows it in a label, cannot be written to a file.
    return page.encode("utf-8", "replace").decode("utf-8")


def pictured(document: Document, worst: int = WORST) -> list[str]:
    """The samples whose pictures the page shows, each once: what is worth making small pictures of."""
    shown = _worst(document["tasks"], worst)
    crops = [row for group in _rules(document["guidelines"]["findings"]).values() for row in group]
    rows = (*shown, *crops, *_by_weight(document["label_errors"])[0][:SUSPECTS])
    return list(dict.fromkeys(row["sample"] for row in rows))


def policy(nonce: str | None = None) -> str:
    """The Content-Security-Policy of the page: of the file by the hashes of its parts, else by nonce.

    The file carries it in itself; a server sends that of its nonce as a header.
    """
    if nonce is None:
        style, script = _hash(_part("report.css")), _hash(_part("report.js"))
    else:
        style = script = f"'nonce-{nonce}'"
    only = f"default-src 'none'; img-src data:; style-src {style}; script-src {script}"
    rest = "base-uri 'none'; form-action 'none'"
    return f"{only}; {rest}" if nonce is None else f"{only}; {rest}; frame-ancestors 'none'"


def _hash(part: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"


def alpha_word(alpha: object) -> str:
    """What Krippendorff (2004, p. 241) allows to conclude at this alpha."""
    value = drawings.finite(alpha)
    if value is None:
        return "undefined"
    if value < 0.667:
        return "do not rely on these labels"
    return "tentative conclusions only" if value < 0.8 else "reliable"


def _worst(tasks: Sequence[Document], count: int) -> list[Document]:
    """The first images that people differ on."""
    differ = (task for task in tasks if task["conflicts"] or task["disputed"])
    return list(itertools.islice(differ, count))


def _anchors(tasks: Sequence[Document], shown: Iterable[Document]) -> dict[str, str]:
    """Where in the page each shown image is, by sample.

    By the id of its task; where that is unknown (0) or another image's as well, by its sample.
    """
    count = Counter(task["task"] for task in tasks)

    def anchor(number: int, sample: str) -> str:
        if number and count[number] == 1:
            return f"task-{number}"
        # Any text may name a sample, but not any text a place.
        return f"image-{hashlib.sha256(sample.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"

    return {task["sample"]: anchor(task["task"], task["sample"]) for task in shown}


def _by_weight(errors: Sequence[Document]) -> tuple[Sequence[Document], Sequence[Document]]:
    """The label errors, surest first, cut into those that are probable and those that are hints only."""
    probable = sum((drawings.finite(error["score"]) or 0.0) >= PROBABLE for error in errors)
    return errors[:probable], errors[probable:]


def _task(task: Document, gallery: Gallery) -> dict[str, Any]:
    from markupsafe import Markup

    people = list(dict.fromkeys([*task["annotators"], *(b["annotator"] for b in task["boxes"])]))
    style = overlays.styles(people, gallery.order)
    drawing = overlays.overlay(task, gallery.names, gallery.canvas(task["sample"]), style)
    legend = [(k, overlays.letter(k), gallery.name(p), style[p]) for k, p in enumerate(people)]
    return {"task": task, "drawing": Markup(drawing), "legend": legend}


def _heat(document: Document) -> dict[str, Any]:
    """The people of the heat map by number of images, references after them, and its cells."""
    people = sorted(document["annotators"], key=lambda p: (-p["samples"], p["annotator"]))[:PEOPLE]
    ids = [p["annotator"] for p in people]
    known = {p["annotator"] for p in document["annotators"]}
    ids += sorted({p[side] for p in document["pairs"] for side in ("first", "second")} - known)
    place = {person: k for k, person in enumerate(ids)}
    cells = {
        (place[p["first"]], place[p["second"]]): p
        for p in document["pairs"]
        if p["first"] in place and p["second"] in place
    }
    names = {p["annotator"]: p["name"] or p["annotator"] for p in people}
    return {
        "ids": ids,
        "names": [names.get(i, i) for i in ids],
        "cells": cells,
        "left_out": len(known) - len(people),
    }


def _rules(findings: Iterable[Document]) -> dict[str, list[Document]]:
    """The first findings of each rule that can be shown as pictures."""
    shown: dict[str, list[Document]] = {}
    for finding in findings:
        group = shown.setdefault(finding["rule"], [])
        if finding["boxes"] and len(group) < CROPS:
            group.append(finding)
    return {rule: group for rule, group in shown.items() if group}


def _longest(people: Iterable[Document]) -> float:
    """The end of the scale that all bars of rates share."""
    ends = (drawings.finite(p[r]["high"]) for p in people for r in RATES if r != "untouched" and p[r])
    return max((end for end in ends if end is not None), default=1.0)


def _drawings() -> dict[str, Callable[..., Any]]:
    """The drawings as markup: they escape what they show themselves."""
    from markupsafe import Markup

    def markup(draw: Callable[..., str]) -> Callable[..., Any]:
        return lambda *given, **named: Markup(draw(*given, **named))

    shown = (
        drawings.histogram,
        drawings.sweep,
        drawings.trend,
        drawings.sparkline,
        drawings.interval,
        drawings.edges,
        heatmap.heatmap,
    )
    return {draw.__name__: markup(draw) for draw in shown}


@functools.cache
def _part(name: str) -> str:
    return files("consensus").joinpath("templates", name).read_text("utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("consensus"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=_count,
        day=_day,
        link=_link,
        known=drawings.finite,
        share=_share,
        tone=_tone,
        few=drawings.few,
    )
    return made


def _count(value: object) -> str:
    number = drawings.finite(value)
    return DASH if number is None else f"{number:,.0f}".replace(",", "\u202f")


def _day(iso: object) -> str:
    return str(iso)[:10] if iso else DASH


def _link(url: object) -> str | None:
    """An address that may stand in the page: http and https only."""
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None


def _share(counts: Sequence[int], k: int) -> float:
    return counts[k] / sum(counts) if sum(counts) else 0.0


def _tone(share: float) -> int:
    """Which of the colours of the confusion matrix a share of its row has, 0 (none) to 5."""
    return sum(share > step for step in (0.0, 0.05, 0.15, 0.35, 0.65))
