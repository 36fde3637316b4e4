"""Files into the pool: what is new, what is known, what looks the same, and what cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend import intake
from backend.house import House, Job, open_house
from backend.settings import load
from pool.schema import BadInput, Sample
from tests.pool.drawings import encode, scene


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = House(load(data_dir=tmp_path / "data", holdout_share=0.5))
    yield opened
    opened.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def put(folder: Path, name: str, image: Image.Image, **options: Any) -> None:
    (folder / name).write_bytes(encode(image, **options))


def enter(house: House, folder: Path) -> dict[str, Sample]:
    intake.from_files(house, [folder], Job("add"))
    return {sample.name: sample for sample in house.pool.samples().values()}


def test_pictures_of_one_scene_stay_on_one_side_of_the_split(house: House, pictures: Path) -> None:
    for seed in range(8):
        put(pictures, f"{seed}.jpg", scene(seed), quality=95)
        put(pictures, f"{seed} again.jpg", scene(seed).resize((300, 225)), quality=60)
    first = enter(house, pictures)
    for seed in range(8):  # later, in another batch
        put(pictures, f"{seed} later.jpg", scene(seed), quality=75)
    known = enter(house, pictures)
    assert len(known) == 24
    for seed in range(8):
        family = [known[f"{seed}{which}.jpg"] for which in ("", " again", " later")]
        assert len({each.root for each in family}) == 1
        assert len({each.holdout for each in family}) == 1
        assert family[0] == first[f"{seed}.jpg"]
    assert len({each.root for each in known.values()}) == 8
    assert {each.holdout for each in known.values()} == {True, False}


def test_the_side_goes_with_the_root_also_when_the_share_has_changed(
    tmp_path: Path, pictures: Path
) -> None:
    for seed in range(12):
        put(pictures, f"{seed}.jpg", scene(seed), quality=95)
    with open_house(load(data_dir=tmp_path / "data", holdout_share=0.1)) as before:
        sides = {name: sample.holdout for name, sample in enter(before, pictures).items()}
    for seed in range(12):
        put(pictures, f"{seed} copy.jpg", scene(seed), quality=60)
    with open_house(load(data_dir=tmp_path / "data", holdout_share=0.9)) as after:
        known = enter(after, pictures)
    assert {name: known[name].holdout for name in sides} == sides
    for seed in range(12):
        assert known[f"{seed} copy.jpg"].holdout is sides[f"{seed}.jpg"]


def test_a_file_that_is_there_already_is_counted_not_added(house: House, pictures: Path) -> None:
    put(pictures, "a.jpg", scene(1))
    put(pictures, "b.jpg", scene(2))
    (pictures / "copy of a.jpg").write_bytes((pictures / "a.jpg").read_bytes())
    taken = intake.from_files(house, [pictures], Job("add"))
    assert (taken.counts["new"], taken.counts["duplicates"]) == (2, 1)
    again = intake.from_files(house, [pictures], Job("add"))
    assert (again.counts["new"], again.counts["duplicates"]) == (0, 3)
    assert len(house.pool.samples()) == 2


def test_a_broken_file_costs_only_itself_and_is_forgiven_once_it_is_mended(
    house: House, pictures: Path
) -> None:
    put(pictures, "good.jpg", scene(1))
    (pictures / "torn.jpg").write_bytes(encode(scene(2))[:500])
    (pictures / "notes.txt").write_text("no picture")
    (pictures / ".hidden").mkdir()
    put(pictures / ".hidden", "thumb.jpg", scene(3))
    assert set(enter(house, pictures)) == {"good.jpg"}
    (failure,) = house.pool.failures()
    assert failure.subject == str(pictures / "torn.jpg")
    put(pictures, "torn.jpg", scene(2))
    assert set(enter(house, pictures)) == {"good.jpg", "torn.jpg"}
    assert house.pool.failures() == []


def test_a_place_without_pictures_is_named(house: House, pictures: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"):
        intake.image_files([pictures / "nowhere"])
    with pytest.raises(BadInput, match=r"\.jpg"):
        intake.image_files([pictures])
