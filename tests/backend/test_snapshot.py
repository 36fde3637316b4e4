from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from backend import snapshot
from pool import yolo
from pool.schema import Annotation, Box, NotReady, Project, Region, Sample
from pool.store import Pool

AT = datetime(2026, 11, 1, tzinfo=UTC)
BIN = Region("bin", Box(0.1, 0.1, 0.4, 0.5))


def sample(name: str, *, holdout: bool = False) -> Sample:
    digest = name.encode().hex().ljust(64, "0")
    return Sample(digest, 640, 480, f"{name}.jpg", digest, 0, digest, holdout)


def annotation(
    number: int, of: Sample, regions: tuple[Region, ...], who: str = "1", **more: object
) -> Annotation:
    made = Annotation(number, 1, number, of.id, who, regions, AT, AT)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool.open(f"sqlite:///{tmp_path / 'pool.sqlite'}") as pool:
        pool.save_project(Project(1, "Bins", "label", "image", "image", ("bin",), {}, "secret"))
        yield pool


def test_skips_are_no_labels_and_the_holdout_stays_apart(pool: Pool) -> None:
    seen, skipped, kept = sample("seen"), sample("skipped"), sample("kept", holdout=True)
    pool.add_samples([seen, skipped, kept])
    pool.save_annotations(
        [
            annotation(1, seen, (BIN,)),
            annotation(2, skipped, (BIN,), skipped=True),
            annotation(3, kept, (BIN,)),
        ]
    )
    for side, names in ((False, ["seen.jpg"]), (True, ["kept.jpg"])):
        rows, strange = snapshot.rows(pool, 1, holdout=side, labels=["bin"])
        assert [row.sample.name for row in rows] == names
        assert not strange


def test_a_starred_annotation_overrides_the_others(pool: Pool) -> None:
    one = sample("one")
    pool.add_samples([one])
    other = replace(BIN, box=Box(0.6, 0.6, 0.9, 0.9))
    pool.save_annotations(
        [
            annotation(1, one, (BIN,), "1"),
            annotation(2, one, (BIN,), "2"),
            annotation(3, one, (other,), "3", ground_truth=True),
        ]
    )
    (row,), _ = snapshot.rows(pool, 1, holdout=False, labels=["bin"])
    assert [r.box for r in row.regions] == [other.box]


def test_an_image_with_a_label_that_is_unknown_here_teaches_nothing(pool: Pool) -> None:
    """Without that box it would teach that nothing is there."""
    one, two, empty = sample("one"), sample("two"), sample("empty")
    pool.add_samples([one, two, empty])
    pool.save_annotations(
        [
            annotation(1, one, (BIN, replace(BIN, label="new"), replace(BIN, label=None))),
            annotation(2, two, (BIN,)),
            annotation(3, empty, ()),
        ]
    )
    rows, strange = snapshot.rows(pool, 1, holdout=False, labels=["bin"])
    assert {row.sample.name: len(row.regions) for row in rows} == {"two.jpg": 1, "empty.jpg": 0}
    assert set(strange) <= {"new", "no label"}
    assert strange


def test_a_turned_box_is_measured_as_it_is_taught(tmp_path: Path) -> None:
    """Label Studio turns about the upper left corner, so the frame may lie elsewhere."""
    from backend.detector.dataset import write_dataset

    one = sample("one")
    turned = replace(BIN, box=Box(0.5, 0.2, 0.8, 0.3, rotation=90.0))
    outside = replace(BIN, box=Box(0.01, 0.01, 0.3, 0.02, rotation=180.0))
    measured = snapshot.upright(snapshot.Row(one, (turned, outside)))
    image = tmp_path / "one.png"
    Image.new("RGB", (one.width, one.height)).save(image)
    write_dataset(tmp_path / "set", [(image, (turned, outside))], ["bin"])
    (written,) = (tmp_path / "set").rglob("*one*.txt")
    taught = yolo.from_lines(written.read_text().splitlines(), ["bin"])
    assert len(measured) == len(taught) == 2
    for a, b in zip(measured, taught, strict=True):
        assert (a.box.x1, a.box.y1, a.box.x2, a.box.y2) == pytest.approx(
            (b.box.x1, b.box.y1, b.box.x2, b.box.y2), abs=1e-6
        )
    assert measured[0].box.x1 < 0.5


def test_equal_labels_give_equal_ids_and_come_back_as_they_were(pool: Pool) -> None:
    one, two = sample("one"), sample("two")
    pool.add_samples([one, two])
    rows = [snapshot.Row(one, (BIN,)), snapshot.Row(two, ())]
    first = snapshot.take(1, rows, ["bin"], [])
    assert first.id == snapshot.take(1, list(reversed(rows)), ["bin"], []).id
    moved = [snapshot.Row(one, (replace(BIN, box=Box(0.1, 0.1, 0.4, 0.51)),)), snapshot.Row(two, ())]
    assert first.id != snapshot.take(1, moved, ["bin"], []).id
    pool.save_snapshot(first)
    restored = {r.sample.name: r.regions for r in snapshot.restore(pool, first.id, "train")}
    assert restored == {"one.jpg": (BIN,), "two.jpg": ()}


def test_a_leak_is_refused_by_name() -> None:
    root = sample("root", holdout=True)
    variant = replace(sample("snowy"), root=root.root, parent=root.id, source="generated")
    with pytest.raises(NotReady, match=r"snowy\.jpg"):
        snapshot.check_split([snapshot.Row(variant, ())], {root.root})
