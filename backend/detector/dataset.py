"""Training sets on disk, in the layout that YOLO trainers read.

::

    data.yaml
    images/train/<name>.jpg   labels/train/<name>.txt
    images/val/<name>.jpg     labels/val/<name>.txt
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from pool.schema import BadInput, Region
from pool.yolo import to_lines

Row = tuple[Path, Sequence[Region]]


def write_dataset(
    folder: Path, train: Sequence[Row], labels: Sequence[str], *, val: Sequence[Row] = ()
) -> Path:
    """Write images and boxes into ``folder``; returns its ``data.yaml``.

    ``train`` and ``val`` are (image file, its regions); an image without regions teaches that there
    is nothing to see. Images are hard links where the file system allows it, symbolic links or
    copies elsewhere. Rotated boxes become the upright boxes around them. Without ``val`` the yaml
    names the training images there, since the format demands something, and `train.train` knows not
    to measure on them. An older dataset in ``folder`` is replaced as a whole.

    Raises:
        BadInput: no training image, a region whose label is not in ``labels``, an image on both
            sides of the split, or a ``folder`` that holds something else.
    """
    if not train:
        raise BadInput("train", "at least one labelled image", "none")
    both = {path.resolve() for path, _ in train} & {path.resolve() for path, _ in val}
    if both:
        name = min(both).name
        raise BadInput("val", "no image of the training side", name, "An image belongs to one side only.")
    if folder.exists() and any(folder.iterdir()) and not (folder / "data.yaml").exists():
        raise BadInput("folder", "an empty folder or an older dataset", str(folder))
    draft = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        _write_side(draft, "train", train, labels)
        _write_side(draft, "val", val, labels)
        _write_yaml(draft, labels, has_val=bool(val))
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder / "data.yaml"


def _write_side(folder: Path, side: str, rows: Sequence[Row], labels: Sequence[str]) -> None:
    images, texts = folder / "images" / side, folder / "labels" / side
    images.mkdir(parents=True)
    texts.mkdir(parents=True)
    used: set[str] = set()
    for path, regions in rows:
        stem = path.stem
        while stem in used:  # equal names from different folders; the text file knows no suffix
            stem += "_"
        used.add(stem)
        _link(path, images / f"{stem}{path.suffix}")
        width, height = _size(path, regions)
        try:
            lines = to_lines(regions, labels, width=width, height=height)
        except BadInput as error:
            raise BadInput(f"{error.field} in {path.name}", error.expected, error.got, error.fix) from None
        (texts / f"{stem}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _size(path: Path, regions: Sequence[Region]) -> tuple[int, int]:
    """Width and height in pixels; only turned boxes need them, so only then is the file opened."""
    if all(region.box.rotation % 360 == 0 for region in regions):
        return 1, 1
    from PIL import Image

    with Image.open(path) as image:
        return image.size


def _link(source: Path, target: Path) -> None:
    source = source.resolve()
    if _may_be_repaired(source):
        shutil.copyfile(source, target)
        return
    for link in (os.link, os.symlink):
        try:
            link(source, target)
        except OSError:
            continue
        return
    shutil.copyfile(source, target)


def _may_be_repaired(path: Path) -> bool:
    """Whether ultralytics would rewrite this file while it reads the set.

    It saves JPEGs anew that do not end with the end-of-image marker (phones append data there).
    Through a link that would change the pool's own file, whose name is the hash of its bytes.
    """
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        return False
    with path.open("rb") as file:
        file.seek(-min(2, path.stat().st_size), os.SEEK_END)
        return file.read() != b"\xff\xd9"


def _write_yaml(folder: Path, labels: Sequence[str], *, has_val: bool) -> None:
    import yaml

    data = {
        "train": "images/train",
        "val": "images/val" if has_val else "images/train",
        "names": dict(enumerate(labels)),
    }
    text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
