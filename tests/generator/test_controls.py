"""Conditioning images: shapes, directions, and figures by other libraries."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from generator.controls import image
from generator.depth import estimate
from generator.pixels import Pixels
from generator.recipe import ControlKind
from pool.schema import BadInput
from tests.generator.planted import haze, night, street

KINDS: tuple[ControlKind, ...] = get_args(ControlKind)


def square() -> Pixels:
    """A light square on a dark ground."""
    picture = np.full((80, 101, 3), 60, np.uint8)
    picture[20:60, 30:70] = 190
    return picture


@given(
    st.sampled_from(KINDS),
    st.integers(16, 90),
    st.integers(16, 90),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_any_picture_gives_one_of_its_size(
    kind: ControlKind, width: int, height: int, seed: int, flat: bool
) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (1, 1, 3) if flat else (height, width, 3), dtype=np.uint8)
    picture = np.ascontiguousarray(np.broadcast_to(picture, (height, width, 3)))
    before = picture.copy()
    control = image(kind, picture)
    assert control.shape == picture.shape
    assert control.dtype == np.uint8
    assert (image(kind, picture) == control).all()
    assert (picture == before).all()
    if kind != "tile":
        assert (control == control[..., :1]).all()
    if flat and kind in ("canny", "soft edge"):
        assert not control.any()
    if flat and kind == "tile":
        assert (control == picture).all()


def test_canny_is_thin_white_lines_where_the_edges_are() -> None:
    control = image("canny", square())[..., 0]
    assert set(np.unique(control)) == {0, 255}
    mask = np.zeros((80, 101), bool)
    mask[20:60, 30:70] = True
    outline = mask & ~ndimage.binary_erosion(mask)
    near = ndimage.binary_dilation(outline, iterations=2)
    assert not control[~near].any()
    assert 0.8 * outline.sum() < (control > 0).sum() < 1.3 * outline.sum()


@pytest.mark.parametrize("dark", [False, True])
def test_canny_is_that_of_scikit_image_with_thresholds_about_the_median(dark: bool) -> None:
    from skimage.feature import canny

    picture = night(street(5002)[0], 1) if dark else street(5002)[0]
    ours = image("canny", picture)[..., 0] > 0
    grey = picture @ np.array([0.299, 0.587, 0.114])
    middle = float(np.median(grey))
    # At night thresholds about the median would make edges of grain.
    assert (middle < 24) == dark
    middle = max(middle, 24.0)
    theirs = canny(grey, 1.0, middle * 0.67, middle * 1.33)  # type: ignore[no-untyped-call]
    for some, others in ((ours, theirs), (theirs, ours)):
        assert (some & ndimage.binary_dilation(others, iterations=2)).sum() / some.sum() > 0.9


def test_soft_edges_are_brighter_where_gradients_are_longer() -> None:
    picture = street(5002)[0]
    control = image("soft edge", picture)[..., 0].astype(float)
    lengths = np.max(
        [ndimage.gaussian_gradient_magnitude(picture[..., k].astype(float), 1.2) for k in range(3)], axis=0
    )
    assert (
        np.corrcoef(control.ravel(), np.minimum(lengths, np.percentile(lengths, 99)).ravel())[0, 1] > 0.95
    )
    assert control.max() == 255
    assert len(np.unique(control)) > 100


def test_soft_edges_do_not_need_contrast() -> None:
    picture = street(5002)[0]
    clear, pale = (image("soft edge", p)[..., 0].astype(float) for p in (picture, haze(picture, 0)))
    assert np.corrcoef(clear.ravel(), pale.ravel())[0, 1] > 0.8


def fine(picture: NDArray[np.floating]) -> float:
    return float(np.std(picture - ndimage.gaussian_filter(picture, (2, 2, 0))))


def test_a_tile_keeps_colours_and_loses_detail() -> None:
    picture = street(5002)[0].astype(float)
    control = image("tile", street(5002)[0]).astype(float)
    assert control.mean(axis=(0, 1)) == pytest.approx(picture.mean(axis=(0, 1)), abs=1.5)
    smooth = ndimage.gaussian_filter(picture, (4, 4, 0))
    assert np.abs(smooth - control).mean() < 4
    assert fine(control) < 0.2 * fine(picture)


def test_depth_is_inverse_near_is_white() -> None:
    picture = street(5002)[0]
    depth, control = estimate(picture), image("depth", picture)[..., 0].astype(float)
    assert (control.min(), control.max()) == (0, 255)
    assert control.flat[depth.argmin()] == 255
    assert control.flat[depth.argmax()] == 0
    low, high = 1 / depth.max(), 1 / depth.min()
    assert control == pytest.approx(255 * (1 / depth - low) / (high - low), abs=0.6)
    assert control[-20:].mean() > control[:60].mean() + 50


def test_other_kinds_and_other_arrays_are_refused() -> None:
    with pytest.raises(BadInput, match="kind must be canny, depth, soft edge or tile, but got 'pose'"):
        image("pose", square())  # type: ignore[arg-type]
    for bad in (square()[..., 0], square().astype(float), square()[:0], np.zeros((20, 20, 4), np.uint8)):
        with pytest.raises(BadInput, match="picture must be uint8 RGB"):
            image("canny", bad)
