"""Structure against a naive field, scikit-image's SSIM, invariants, and planted failures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

from generator.limits import Limits
from generator.pixels import Boxes, Pixels
from generator.structure import LEAST_SIDE, kept, similar
from pool.schema import BadInput
from tests.generator.planted import CONDITIONS, moved, painted_out, scaled, street

Measure = Callable[[Pixels, Pixels, Boxes], NDArray[np.float64]]
LIMITS = Limits()


@pytest.fixture(scope="module")
def scene() -> tuple[Pixels, Boxes]:
    picture, boxes, _ = street(5002)
    return picture, boxes


def grey(picture: Pixels) -> NDArray[np.float64]:
    """Luma of ITU-R BT.601 in whole grey levels."""
    return np.asarray(np.rint(picture @ np.array([0.299, 0.587, 0.114])))


def tiles(box: NDArray[np.float64], shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    height, width = shape[:2]
    x1, y1, x2, y2 = box
    aside, above = 0.08 * (x2 - x1), 0.08 * (y2 - y1)
    rows = [
        min(max(round((y1 - above + k / 3 * (y2 - y1 + 2 * above)) * height), 0), height) for k in range(4)
    ]
    left, right = (min(max(round(x * width), 0), width) for x in (x1 - aside, x2 + aside))
    return [(slice(a, b), slice(left, right)) for a, b in pairwise(rows)]


def naive_kept(parent: Pixels, variant: Pixels, box: NDArray[np.float64]) -> float:
    """By angles, in double precision, with scipy's filters."""
    angles, lengths, clear = [], [], []
    weights = np.array([3.0, 10.0, 3.0]) / 32.0
    for picture in (parent, variant):
        smooth = ndimage.gaussian_filter(grey(picture), 1.0, mode="mirror")
        step = np.array([-1.0, 0.0, 1.0])
        one, other = (
            ndimage.correlate1d(
                ndimage.correlate1d(smooth, step, axis, mode="mirror"), weights, 1 - axis, mode="mirror"
            )
            for axis in (1, 0)
        )
        long = np.hypot(one, other)
        least = 0.6 * ndimage.gaussian_filter(long, 9.0, mode="mirror") + 0.05
        angles.append(np.arctan2(other, one))
        lengths.append(long)
        clear.append(long**2 / (long**2 + least**2))
    weight = lengths[0] * clear[0]
    alike = lengths[0] * np.minimum(*clear) * np.cos(2 * (angles[0] - angles[1]))
    return float(min(max(alike[t].sum() / weight[t].sum(), 0.0) for t in tiles(box, parent.shape)))


@pytest.mark.parametrize("name", ["night", "snow", "haze"])
def test_kept_is_what_a_naive_field_by_angles_gives(scene: tuple[Pixels, Boxes], name: str) -> None:
    parent, boxes = scene
    variant = moved(CONDITIONS[name](parent, 3), boxes[0], 0.02)
    expected = [naive_kept(parent, variant, box) for box in boxes]
    assert kept(parent, variant, boxes) == pytest.approx(expected, abs=0.01)


def test_similar_is_ssim_of_the_evened_pictures(scene: tuple[Pixels, Boxes]) -> None:
    parent, boxes = scene
    variant = CONDITIONS["snow"](parent, 3)

    def even(picture: Pixels) -> NDArray[np.float64]:
        values = grey(picture)
        mean = ndimage.gaussian_filter(values, 4.0, mode="mirror")
        square = ndimage.gaussian_filter(values**2, 4.0, mode="mirror")
        return np.asarray((values - mean) / (np.sqrt(np.maximum(square - mean**2, 0)) + 1.0))

    _, plane = structural_similarity(  # type: ignore[no-untyped-call]
        even(parent), even(variant), data_range=1.0, K1=0.05**0.5, K2=0.1**0.5, sigma=1.5,
        gaussian_weights=True, use_sample_covariance=False, full=True,
    )  # fmt: skip
    expected = [min(float(plane[t].mean()) for t in tiles(box, parent.shape)) for box in boxes]
    assert similar(parent, variant, boxes) == pytest.approx(np.clip(expected, 0, 1), abs=0.01)


@pytest.mark.parametrize("measure", [kept, similar])
def test_a_picture_keeps_all_of_itself(scene: tuple[Pixels, Boxes], measure: Measure) -> None:
    parent, boxes = scene
    assert measure(parent, parent.copy(), boxes) == pytest.approx(np.ones(len(boxes)), abs=1e-5)


@given(st.floats(0.3, 1.0), st.floats(0.0, 1.0), st.booleans())
@settings(max_examples=15, deadline=None)
def test_brightness_contrast_and_inversion_do_not_matter(
    scene: tuple[Pixels, Boxes], gain: float, room: float, inverted: bool
) -> None:
    parent, boxes = scene
    values = gain * (parent - 127.5) * (-1 if inverted else 1)
    variant = np.rint(values + 127.5 + room * 127.5 * (1 - gain)).astype(np.uint8)
    assert kept(parent, variant, boxes).min() > 0.85


@given(st.integers(0, 2**32 - 1), st.integers(16, 70), st.integers(16, 70))
@settings(max_examples=25, deadline=None)
def test_any_pictures_give_figures_from_0_to_1(seed: int, width: int, height: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2))
    boxes = np.concatenate(
        (np.sort(rng.uniform(-0.2, 1.2, (3, 2, 2)), axis=1).reshape(3, 4), [[0, 0, 1, 1]])
    )
    small = ((boxes[:, 2:] - boxes[:, :2]) * (width, height)).min(axis=1) < LEAST_SIDE
    for measure in (kept, similar):
        values = measure(one, other, boxes)
        assert values.shape == (4,)
        assert np.isnan(values[small]).all()
        known = values[~np.isnan(values)]
        assert ((known >= 0) & (known <= 1)).all()
        assert not np.isnan(values[-1])


def test_unrelated_pictures_keep_nothing() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (200, 200, 3), dtype=np.uint8) for _ in range(2))
    assert kept(one, other, np.array([[0.1, 0.1, 0.9, 0.9]]))[0] < 0.1


def test_no_boxes_small_boxes_and_boxes_without_edges(scene: tuple[Pixels, Boxes]) -> None:
    parent, _ = scene
    height, width = parent.shape[:2]
    flat = np.full_like(parent, 90)
    whole = np.array([[0.0, 0.0, 1.0, 1.0]])
    sliver = np.array([[0.5, 0.2, 0.5 + 5 / width, 0.8], [0.5, 0.2, 0.8, 0.2 + 5 / height]])
    least = np.array([[0.5, 0.2, 0.5 + LEAST_SIDE / width, 0.8]])
    assert kept(parent, parent, np.zeros((0, 4))).shape == (0,)
    assert np.isnan(kept(parent, parent, sliver)).all()
    assert np.isnan(similar(parent, parent, sliver)).all()
    assert not np.isnan(kept(parent, parent, least)).any()
    assert np.isnan(kept(flat, parent, whole)).all()
    assert kept(parent, flat, whole)[0] < 0.05
    assert np.isnan(kept(parent, parent, whole + 3)).all()


def test_large_pictures_are_judged_by_what_is_seen_at_a_thousand_pixels(
    scene: tuple[Pixels, Boxes],
) -> None:
    parent, boxes = scene
    variant = CONDITIONS["rain"](parent, 1)

    def drawn(times: int) -> NDArray[np.float64]:
        one, other = (p.repeat(times, axis=0).repeat(times, axis=1) for p in (parent, variant))
        return kept(one, other, boxes)

    assert drawn(10) == pytest.approx(drawn(5), abs=0.03)


def test_pictures_of_two_sizes_are_refused(scene: tuple[Pixels, Boxes]) -> None:
    parent, boxes = scene
    for measure in (kept, similar):
        with pytest.raises(BadInput, match="variant must be as large as its parent"):
            measure(parent, parent[:-1], boxes)


def test_only_the_worst_tile_counts(scene: tuple[Pixels, Boxes]) -> None:
    parent, boxes = scene
    box = boxes[np.argmax((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))]
    variant = painted_out(parent, box, 0.3)
    edges = np.linspace(box[1] + 0.34 * (box[3] - box[1]), box[3], 2)
    rest = np.array([[box[0], edges[0], box[2], edges[1]]])
    assert kept(parent, variant, box[None])[0] < 0.4
    assert kept(parent, variant, rest)[0] > 0.8


Rates = dict[str, tuple[float, float]]


@pytest.fixture(scope="module")
def rates() -> Rates:
    """Share of boxes that lost their structure, and that are in doubt, for good variants and failures."""
    figures: dict[str, list[tuple[float, float]]] = {}
    streets = [street(seed)[:2] for seed in range(5000, 5008)]
    streets = [(picture, boxes) for picture, boxes in streets if len(boxes)]
    for number, (parent, boxes) in enumerate(streets):
        stranger = streets[(number + 1) % len(streets)][0]
        sides = ((boxes[:, 2:] - boxes[:, :2]) * (320, 240)).min(axis=1)
        for change in CONDITIONS.values():
            good = change(parent, number)
            for box in boxes[sides >= 12][:1]:
                planted = {
                    "good": good,
                    "moved a tenth": moved(good, box, 0.10),
                    "moved a quarter": moved(good, box, 0.25),
                    "painted out": painted_out(good, box),
                    "top gone": painted_out(good, box, 0.35),
                    "another scene": change(stranger, number),
                    "scaled": scaled(good, box, 1.15),
                }
                for kind, variant in planted.items():
                    pair = kept(parent, variant, box[None])[0], similar(parent, variant, box[None])[0]
                    figures.setdefault(kind, []).append(pair)
    out: Rates = {}
    for kind, pairs in figures.items():
        one, other = np.array(pairs).T
        doubt = (one < LIMITS.structure_sure) | (other < LIMITS.similar_sure)
        out[kind] = float(np.mean(one < LIMITS.structure_lost)), float(np.mean(doubt))
    return out


@pytest.mark.parametrize("kind", ["moved a tenth", "moved a quarter", "painted out", "another scene"])
def test_what_moved_or_is_gone_has_lost_its_structure(rates: Rates, kind: str) -> None:
    assert rates[kind][0] >= 0.97


@pytest.mark.parametrize("kind", ["top gone", "scaled"])
def test_what_changed_in_part_has_mostly_lost_it_and_is_in_doubt(rates: Rates, kind: str) -> None:
    assert rates[kind][0] >= 0.75
    assert rates[kind][1] >= 0.95


def test_weather_alone_loses_little(rates: Rates) -> None:
    assert rates["good"][0] <= 0.05
    assert rates["good"][1] <= 0.12
