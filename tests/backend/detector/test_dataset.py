from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.detector.dataset import Row, write_dataset
from pool.schema import BadInput, Box, Region
from pool.yolo import from_lines
from tests.backend.detector.conftest import picture

LABELS = ("未满溢的垃圾桶", "overflowing bin", "yes: 'no'\n#")


def photo(folder: Path, name: str, *, size: tuple[int, int] = (40, 30), seed: int = 0) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, *size).save(path)
    return path


def rows(folder: Path, count: int, regions: Sequence[Region] = ()) -> list[Row]:
    return [(photo(folder, f"{i}.jpg", seed=i), regions) for i in range(count)]


corner = st.floats(0, 1)
boxes = st.builds(
    lambda x, y, w, h: Box(x, y, min(1.0, x + w), min(1.0, y + h)),
    st.floats(0, 0.9),
    st.floats(0, 0.9),
    st.floats(0.05, 1),
    st.floats(0.05, 1),
)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.builds(Region, st.sampled_from(LABELS), boxes), max_size=5))
def test_ultralytics_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, regions: list[Region]
) -> None:
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    from backend.detector.runtime import tame

    tame()
    folder = tmp_path_factory.mktemp("集")
    other = Region(LABELS[1], Box(0.1, 0.2, 0.3, 0.4))
    train = [(photo(folder, "a/图.jpg"), regions), (photo(folder, "b/图.jpg", seed=1), [other])]
    data = check_det_dataset(write_dataset(folder / "set", train, LABELS, val=rows(folder / "c", 1)))
    assert data["names"] == dict(enumerate(LABELS))
    dataset = YOLODataset(img_path=data["train"], data=data, task="detect", augment=False, imgsz=64)
    read = {Path(item["im_file"]).stem: item for item in dataset.labels}
    assert sorted(read) == ["图", "图_"]
    unique = {(r.label, r.box) for r in regions}  # the library drops repeated lines
    assert len(read["图"]["cls"]) == len(unique)
    found = sorted(
        (int(c), *np.round(b, 5).tolist())
        for (c,), b in zip(read["图"]["cls"], read["图"]["bboxes"], strict=True)
    )
    expected = sorted(
        (LABELS.index(str(label)), (b.x1 + b.x2) / 2, (b.y1 + b.y2) / 2, b.x2 - b.x1, b.y2 - b.y1)
        for label, b in unique
    )
    for ours, theirs in zip(sorted(expected), found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_the_round_trip_through_our_own_reader(tmp_path: Path) -> None:
    regions = (Region(LABELS[2], Box(0.25, 0.5, 0.75, 1.0)), Region(LABELS[0], Box(0.0, 0.0, 0.5, 0.125)))
    write_dataset(tmp_path / "set", rows(tmp_path, 1, regions), LABELS)
    text = (tmp_path / "set" / "labels" / "train" / "0.txt").read_text(encoding="utf-8")
    assert from_lines(text.splitlines(), LABELS) == regions


def test_without_validation_the_yaml_names_the_training_images(tmp_path: Path) -> None:
    import yaml

    data = write_dataset(tmp_path / "set", rows(tmp_path, 2), LABELS)
    content = yaml.safe_load(data.read_text(encoding="utf-8"))
    assert content["train"] == content["val"] == "images/train"
    assert str(tmp_path) not in data.read_text(encoding="utf-8")
    assert "未满溢的垃圾桶" in data.read_text(encoding="utf-8")
    assert (tmp_path / "set" / "labels" / "train" / "1.txt").read_text() == ""


def test_a_turned_box_becomes_the_upright_one_around_it(tmp_path: Path) -> None:
    # 20 x 10 pixels at (20, 10), turned by 90 degrees clockwise about its top-left corner.
    path = photo(tmp_path, "a.png", size=(100, 50))
    region = Region(LABELS[0], Box(0.2, 0.2, 0.4, 0.4, rotation=90.0))
    write_dataset(tmp_path / "set", [(path, [region])], LABELS)
    (read,) = from_lines((tmp_path / "set" / "labels" / "train" / "a.txt").read_text().splitlines(), LABELS)
    assert (read.box.x1, read.box.y1) == pytest.approx((0.1, 0.2), abs=1e-6)
    assert (read.box.x2, read.box.y2) == pytest.approx((0.2, 0.6), abs=1e-6)


def test_images_are_links_except_those_that_the_library_would_rewrite(tmp_path: Path) -> None:
    from ultralytics.data.utils import verify_image_label

    whole = photo(tmp_path, "whole.jpg", size=(40, 40))
    phone = photo(tmp_path, "phone.jpg", size=(40, 40), seed=1)
    phone.write_bytes(phone.read_bytes() + b"maker notes after the picture")
    before = phone.read_bytes()
    write_dataset(tmp_path / "set", [(whole, ()), (phone, ())], LABELS)
    images = tmp_path / "set" / "images" / "train"
    assert (images / "whole.jpg").samefile(whole)
    assert not (images / "phone.jpg").samefile(phone)
    for name in ("whole.jpg", "phone.jpg"):
        label = tmp_path / "set" / "labels" / "train" / name.replace("jpg", "txt")
        assert verify_image_label((str(images / name), str(label), "", False, 3, 0, 0, False))[0]
    assert (images / "phone.jpg").read_bytes() != before  # the library did rewrite its copy
    assert phone.read_bytes() == before


@pytest.mark.parametrize("refused", [["link"], ["link", "symlink"]])
def test_file_systems_without_links(
    refused: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: object) -> None:
        raise OSError("not supported")

    for name in refused:
        monkeypatch.setattr(os, name, no)
    source = photo(tmp_path, "a.png")
    write_dataset(tmp_path / "set", [(source, ())], LABELS)
    written = tmp_path / "set" / "images" / "train" / "a.png"
    assert written.is_symlink() is ("symlink" not in refused)
    with Image.open(written) as image:
        assert image.size == (40, 30)


def test_writing_again_replaces_the_whole_set(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", rows(tmp_path, 3), LABELS)
    write_dataset(tmp_path / "set", rows(tmp_path, 1), LABELS, val=rows(tmp_path / "v", 2))
    names = sorted(p.relative_to(tmp_path / "set").as_posix() for p in (tmp_path / "set").rglob("*.jpg"))
    assert names == ["images/train/0.jpg", "images/val/0.jpg", "images/val/1.jpg"]
    assert not list(tmp_path.glob(".set*"))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(BadInput, match="folder"):
        write_dataset(tmp_path / "home", rows(tmp_path, 1), LABELS)
    assert (tmp_path / "home" / "thesis.txt").exists()


@pytest.mark.parametrize("label", [None, "dog"])
def test_a_label_outside_the_project_is_named(label: str | None, tmp_path: Path) -> None:
    bad = [Region(label, Box(0.1, 0.1, 0.2, 0.2))]
    with pytest.raises(BadInput, match=r"label in 0\.jpg"):
        write_dataset(tmp_path / "set", rows(tmp_path, 1, bad), LABELS)
    assert not (tmp_path / "set").exists()
    assert not list(tmp_path.glob(".set*"))


def test_an_image_is_on_one_side_only(tmp_path: Path) -> None:
    both = rows(tmp_path, 2)
    with pytest.raises(BadInput, match=r"0\.jpg"):
        write_dataset(tmp_path / "set", both, LABELS, val=both[:1])
    with pytest.raises(BadInput, match="at least one"):
        write_dataset(tmp_path / "set", [], LABELS)
