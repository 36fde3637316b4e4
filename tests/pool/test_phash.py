"""Near-duplicates: found when resized or re-encoded, not confused with other pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from pool.phash import distances, near_duplicates, perceptual_hash
from pool.pictures import decode
from tests.pool.drawings import encode, read, scene

words = st.integers(0, 2**64 - 1)
# At most this many of 64 bits is what the loop calls a near-duplicate.
NEAR = 4


def reference(image: Image.Image) -> int:
    """The same hash by SciPy's transform and plain loops."""
    small = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=float)
    slow = [round(float(value), 3) for value in dctn(small, norm="ortho")[1:9, 1:9].ravel()]
    middle = sum(sorted(slow)[31:33]) / 2
    return int("".join("1" if value > middle else "0" for value in slow), 2)


@pytest.mark.parametrize("seed", range(20))
def test_the_hash_is_that_of_an_independent_transform(seed: int) -> None:
    assert (perceptual_hash(scene(seed)) ^ reference(scene(seed))).bit_count() <= 1


def test_the_hash_of_a_drawn_picture_stays_the_same() -> None:
    """Hashes are kept in ledgers for years; pixels are given directly, so that no codec has a say."""
    y, x = np.mgrid[0:32, 0:32]
    picture = Image.fromarray(((x * x + 3 * x * y + y * y * y) // 9 % 256).astype(np.uint8))
    assert f"{perceptual_hash(picture):016x}" == GOLDEN


GOLDEN = "1d620df7e29de830"


@pytest.mark.parametrize("colour", ["black", "white", "red"])
def test_a_picture_of_one_colour_hashes_to_nothing(colour: str) -> None:
    assert perceptual_hash(Image.new("RGB", (200, 100), colour)) == 0


def test_transparency_counts_as_white() -> None:
    image = scene(1)
    clear = image.convert("RGBA")
    assert perceptual_hash(clear) == perceptual_hash(image)
    clear.putalpha(0)
    assert perceptual_hash(clear) == 0


@given(one=words, many=st.lists(words, max_size=20))
def test_distances_count_bits(one: int, many: list[int]) -> None:
    counted = distances(one, np.array(many, dtype=np.uint64))
    assert counted.tolist() == [(one ^ other).bit_count() for other in many]
    for limit in (0, 4, 64):
        found = near_duplicates(one, np.array(many, dtype=np.uint64), limit)
        assert found.tolist() == [(one ^ other).bit_count() <= limit for other in many]


def copies(image: Image.Image) -> dict[str, bytes]:
    w, h = image.size
    return {
        "jpeg 90": encode(image, quality=90),
        "jpeg 40": encode(image, quality=40),
        "webp": encode(image, "WEBP", quality=60),
        "half": encode(image.resize((w // 2, h // 2))),
        "double": encode(image.resize((w * 2, h * 2))),
        "third, nearest": encode(image.resize((w // 3, h // 3), Image.Resampling.NEAREST)),
        "grey": encode(image.convert("L")),
        "brighter": encode(ImageEnhance.Brightness(image).enhance(1.1)),
        "sharper": encode(ImageEnhance.Sharpness(image).enhance(2)),
    }


def test_copies_are_near_and_others_are_far() -> None:
    """Measured on 40 drawn pictures and nine kinds of copies."""
    plain = np.array([decode(encode(scene(seed), "PNG")).phash for seed in range(40)], dtype=np.uint64)
    missed = 0
    for seed in range(40):
        for data in copies(scene(seed)).values():
            found = near_duplicates(decode(data).phash, plain, NEAR)
            assert not np.delete(found, seed).any()
            missed += not found[seed]
    assert missed <= 0.03 * 40 * 9
    apart = np.array([np.delete(distances(int(word), plain), i) for i, word in enumerate(plain)])
    assert apart.min() > 2 * NEAR
    assert 28 < apart.mean() < 34


def test_exact_copies_have_one_id_and_near_ones_two() -> None:
    data = encode(scene(1))
    again = encode(read(data), quality=60)
    assert decode(data).id == decode(bytes(data)).id
    assert decode(data).id != decode(again).id
    assert (decode(data).phash ^ decode(again).phash).bit_count() <= NEAR
