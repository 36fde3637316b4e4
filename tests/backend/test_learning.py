"""What the loop does with images and answers, with the demo's real weights and no Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import learning
from backend.house import House, Job
from backend.intake import one
from pool.schema import NotReady
from tests.backend.small import COUNT, small_house
from tests.pool.drawings import encode, scene


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with small_house(tmp_path) as opened:
        yield opened


def test_an_image_that_is_gone_costs_only_itself(house: House) -> None:
    lost = next(iter(house.pool.samples().values()))
    house.images.local(lost).unlink()
    report = learning.look(house, house.champion(1), Job("look"))
    assert (report["predicted"], report["failed"]) == (COUNT - 1, 1)
    (failure,) = house.pool.failures(1)
    assert failure.subject == lost.id
    assert house.pool.unpredicted(1, house.champion(1).version) == []  # what can be had is served
    number = int(lost.name.removesuffix(".jpg"))
    assert one(house, encode(scene(number)), lost.name) == lost  # as the message says: add it again
    assert learning.look(house, house.champion(1), Job("look"))["predicted"] == 1
    assert house.pool.failures(1) == []


def test_a_store_that_is_away_blames_no_image(house: House) -> None:
    folder = Path(house.settings.images_root)
    folder.rename(folder.with_name("unmounted"))
    with pytest.raises(NotReady, match="mounted"):
        learning.look(house, house.champion(1), Job("look"))
    folder.with_name("unmounted").rename(folder)
    assert house.pool.failures(1) == []
    assert learning.look(house, house.champion(1), Job("look"))["predicted"] == COUNT
