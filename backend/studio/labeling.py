"""What a labeling config says about boxes: its control, its image and its labels.

A config is XML written by people, so it is parsed by defusedxml with document types forbidden, as
Label Studio does itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pool.schema import BadInput, Label

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FIELD: Final = "the labeling config"
VARIABLE: Final = re.compile(r"\$(\w+)")
PLAIN: Final = re.compile(r"\$(\w+)\Z")
WHY: Final = re.compile(r"\$why\b")
EXAMPLE: Final = (
    'Use <Image name="image" value="$image"/> and <RectangleLabels name="label" toName="image"> '
    "with a <Label> for each class."
)


@dataclass(frozen=True, slots=True)
class LabelingConfig:
    """The part of a labeling config that boxes need.

    ``control`` is the name that results carry as ``from_name``: the RectangleLabels tag, or the Labels tag
    beside a Rectangle tag, whose name is then ``shape``. ``image_tag`` is the Image tag's name
    (``to_name``), ``image_key`` the task data key of its picture. ``labels`` are in the config's order.
    ``shows_why`` says that some tag shows ``$why``, the sentence for annotators.
    """

    control: str
    image_tag: str
    image_key: str
    labels: tuple[Label, ...]
    shows_why: bool
    shape: str | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    control: Element
    shape: str | None

    @property
    def name(self) -> str:
        return str(self.control.get("name"))


def parse(config: str, control: str | None = None) -> LabelingConfig:
    """Read a config; ``control`` chooses by name where several tags draw labelled boxes.

    Raises BadInput for a config that is no XML, draws no labelled boxes or offers a choice that was not
    made, and for pictures that are not one plain ``$key`` of the task data.
    """
    root = _root(config)
    chosen = _choose(list(_candidates(root)), control)
    image_tag = str(chosen.control.get("toName"))
    labels = tuple(_labels(chosen.control))
    if not labels:
        raise BadInput(
            f"the control {chosen.name!r}",
            "given its labels in the config",
            "no <Label> (labels from task data are not supported)",
            EXAMPLE,
        )
    return LabelingConfig(
        control=chosen.name,
        image_tag=image_tag,
        image_key=_image_key(root, image_tag),
        labels=labels,
        shows_why=any(WHY.search(tag.get("value", "")) for tag in root.iter()),
        shape=chosen.shape,
    )


def data_keys(config: str) -> set[str]:
    """The task data keys that Label Studio demands of every task: of all tags with a name and a value.

    A tag without a name, such as ``<Header value="$why"/>``, shows a key without demanding it.
    """
    keys: set[str] = set()
    for tag in _root(config).iter():
        found = VARIABLE.search(tag.get("value", "")) if tag.get("name") else None
        if found:
            keys.add(found.group(1))
    return keys


def _root(config: str) -> Element:
    from xml.etree.ElementTree import ParseError

    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        root: Element = ElementTree.fromstring(config, forbid_dtd=True)
    except ParseError as error:
        raise BadInput(FIELD, "well-formed XML", str(error), EXAMPLE) from error
    except DefusedXmlException as error:
        raise BadInput(FIELD, "XML without DTD and entities", str(error), "Remove the DOCTYPE.") from error
    except ValueError as error:  # a declared encoding that does not fit a text
        raise BadInput(FIELD, "well-formed XML", str(error), "Remove the XML declaration.") from error
    return root


def _candidates(root: Element) -> Iterator[_Candidate]:
    """Tags that give labelled boxes on an Image: RectangleLabels, or Labels beside a Rectangle."""
    images = {tag.get("name") for tag in root.iter("Image")}
    for tag in root.iter():
        target = tag.get("toName", "")
        if not tag.get("name") or not images.intersection(target.split(",")):
            continue
        if tag.tag == "RectangleLabels":
            yield _Candidate(tag, None)
        elif tag.tag == "Labels":
            shapes = [t.get("name") for t in root.iter("Rectangle") if t.get("toName") == target]
            if shapes and shapes[0]:
                yield _Candidate(tag, shapes[0])


def _choose(candidates: list[_Candidate], control: str | None) -> _Candidate:
    names = [candidate.name for candidate in candidates]
    listed = ", ".join(names)
    if control is not None and control not in names:
        fix = f"Choose one of: {listed}." if names else EXAMPLE
        raise BadInput("control", "the name of a tag that draws labelled boxes on an Image", control, fix)
    if not candidates:
        raise BadInput(FIELD, "one that draws labelled boxes on an Image", "no such tag", EXAMPLE)
    if control is None and len(candidates) > 1:
        raise BadInput("control", "chosen where several tags draw boxes", None, f"Choose one of: {listed}.")
    return candidates[0] if control is None else candidates[names.index(control)]


def _labels(control: Element) -> Iterator[Label]:
    seen: set[str] = set()
    for tag in control.iter("Label"):
        # Results carry the alias where there is one.
        value = tag.get("alias") or tag.get("value") or ""
        if not value or value in seen:
            continue
        seen.add(value)
        category = tag.get("category", "").strip()
        yield Label(
            value=value,
            predicted_values=tuple(
                v.strip() for v in tag.get("predicted_values", "").split(",") if v.strip()
            ),
            category=int(category) if category.isascii() and category.isdigit() else None,
        )


def _image_key(root: Element, name: str) -> str:
    one = "one picture per task"
    repeated = any("{{" in str(tag.get("name")) for tag in root.iter("Image"))
    if repeated or "," in name:
        raise BadInput(
            FIELD, one, "boxes on several images", 'Let toName name a single <Image value="$image">.'
        )
    image = next(tag for tag in root.iter("Image") if tag.get("name") == name)
    if image.get("valueList"):
        raise BadInput(FIELD, one, f"valueList={image.get('valueList')!r}", 'Use value="$image" instead.')
    value = image.get("value", "")
    if value == "$undefined$":
        raise BadInput(
            f"value of the Image {name!r}",
            "a named data key",
            value,
            'Name the key, as in value="$image": Label Studio then finds uploaded files under it.',
        )
    found = PLAIN.match(value)
    if not found:
        raise BadInput(
            f"value of the Image {name!r}",
            "one plain key of the task data such as $image",
            value,
            "Paths and lists ($images[0], $a.b) and fixed addresses are not supported: put the picture's "
            "address into a key of its own.",
        )
    return found.group(1)
