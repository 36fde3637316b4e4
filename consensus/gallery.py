"""What the report shows of images and people: who has which colour, and which pictures it needs."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from consensus import overlays

Document = Mapping[str, Any]


class Gallery:
    """The pictures and the people of a page: who has which colour, which picture is needed."""

    def __init__(self, document: Document, pictures: Mapping[str, bytes]) -> None:
        self._pictures = {s: a for s, data in pictures.items() if (a := address(data)) is not None}
        self._canvases: dict[str, overlays.Canvas] = {}
        self._size = {t["sample"]: (t["width"], t["height"]) for t in document["tasks"]}
        self.order = {p["annotator"]: k for k, p in enumerate(document["annotators"])}
        self.names = {p["annotator"]: p["name"] or p["annotator"] for p in document["annotators"]}
        self.labels = {row["label"]: k for k, row in enumerate(document["labels"])}

    def name(self, person: str) -> str:
        """What a person is called."""
        return str(self.names.get(person, person))

    def marks(self, task: Document) -> dict[str, str]:
        """What the filters look for: people and labels by number, kinds of conflict by name."""
        who = {self.order[a] for a in task["annotators"] if a in self.order}
        said = {b["label"] for b in (*task["boxes"], *task["consensus"])}
        return {
            "who": " ".join(map(str, sorted(who))),
            "labels": " ".join(map(str, sorted(self.labels[name] for name in said if name in self.labels))),
            "kinds": " ".join(sorted({c["kind"] for c in task["conflicts"]})),
        }

    def canvas(self, sample: str) -> overlays.Canvas:
        """Where to draw an image's boxes; its picture will be part of the page."""
        if sample not in self._canvases:
            picture = f"picture-{len(self._canvases)}" if sample in self._pictures else None
            self._canvases[sample] = overlays.canvas(*self._size.get(sample, (None, None)), picture)
        return self._canvases[sample]

    def crop(self, sample: str, boxes: Any, evidence: Any, title: str) -> str:
        """`overlays.crop` of an image, as markup."""
        from markupsafe import Markup

        return Markup(overlays.crop(boxes, evidence, self.canvas(sample), title))

    def symbols(self) -> str:
        """The definitions of all pictures that were asked for, as markup; to be called last."""
        from markupsafe import Markup

        return Markup(
            "".join(
                overlays.symbol(canvas.picture, self._pictures[sample], canvas.height)
                for sample, canvas in self._canvases.items()
                if canvas.picture is not None
            )
        )


def address(data: bytes) -> str | None:
    """A picture as a data: address by its first bytes; None where it is no JPEG, PNG or WebP."""
    for kind, start in (("jpeg", b"\xff\xd8\xff"), ("png", b"\x89PNG\r\n"), ("webp", b"RIFF")):
        if data.startswith(start):
            return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return None
