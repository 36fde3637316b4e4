"""Guessed depths against those of drawn scenes, whose depths are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from backend.demo.darkroom import space
from backend.demo.scenes import condition, paint
from generator.depth import EYE, FAR, FOCAL, HORIZON, NEAR, estimate, ground, guided
from generator.pixels import Plane

DAYLIGHT = [seed for seed in range(200, 300) if condition(seed) in ("noon", "overcast", "low sun")][:8]
SIZE = (320, 240)


def truth(seed: int) -> tuple[Plane, Plane]:
    """Guessed and true depth of a drawn scene, one of every 16 pixels."""
    from backend.demo.scenes import render

    done = paint(seed, SIZE)
    stage = done.stage
    at = space(stage.half, stage.canvas.owner[1::2, 1::2], stage.wall, done.depths)
    return estimate(render(seed, SIZE).image)[2::4, 2::4], at.depth[2::4, 2::4]


def test_depths_of_drawn_streets_are_ordered_and_near_the_truth() -> None:
    ranks, errors, flat_errors = [], [], []
    for seed in DAYLIGHT:
        guessed, true = truth(seed)
        ranks.append(spearmanr(guessed.ravel(), true.ravel()).statistic)
        near = true < 190
        errors.append(np.median(np.abs(np.log(guessed[near] / true[near]))))
        flat = np.repeat(ground(SIZE[1])[2::4, None], true.shape[1], axis=1)
        flat_errors.append(np.median(np.abs(np.log(flat[near] / true[near]))))
    assert np.median(ranks) > 0.6
    assert np.median(errors) < 0.35
    # A street is no empty plain: walls stand up.
    assert np.median(errors) < 0.6 * np.median(flat_errors)


def test_flat_ground_is_that_of_a_level_pinhole_camera() -> None:
    height = 400
    depths = ground(height)
    row = 300
    assert depths[row] == pytest.approx(EYE * FOCAL * height / (row + 0.5 - HORIZON * height), rel=1e-5)
    assert depths[0] == pytest.approx(FAR)
    assert (np.diff(depths) <= 0).all()


def test_a_wall_stands_where_the_ground_ends_and_the_sky_is_far() -> None:
    image = np.full((240, 320, 3), (120, 118, 115), np.uint8)
    image[60:170] = (120, 50, 40)
    image[:60] = (120, 170, 230)
    depth = estimate(image)
    foot = ground(240)[170]
    assert depth[130, 160] == pytest.approx(foot, rel=0.35)
    assert depth[10, 160] > 0.9 * FAR
    assert depth[230, 160] < depth[190, 160] < depth[100, 160] < depth[10, 160]


def test_a_guided_filter_keeps_its_guide_and_forgets_noise() -> None:
    rng = np.random.default_rng(0)
    step = np.zeros((60, 60), np.float32)
    step[:, 30:] = 1
    noisy = step + rng.normal(0, 0.2, step.shape).astype(np.float32)
    a, b = guided(step, noisy, radius=4, epsilon=1e-3)
    smooth = a * step + b
    assert np.abs(smooth - step).mean() < 0.25 * np.abs(noisy - step).mean()
    assert smooth[:, 30:].mean() - smooth[:, :30].mean() == pytest.approx(1, abs=0.05)
    constant_a, constant_b = guided(np.full_like(step, 0.5), noisy, radius=4, epsilon=1e-3)
    assert np.abs(constant_a).max() < 1e-2
    assert constant_b.mean() == pytest.approx(noisy.mean(), abs=0.05)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 140), st.integers(1, 140), st.integers(0, 99), st.sampled_from([0, 128, 255, -1]))
def test_any_picture_has_depths_in_range(height: int, width: int, seed: int, level: int) -> None:
    rng = np.random.default_rng(seed)
    image = (
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        if level < 0
        else np.full((height, width, 3), level)
    )
    depth = estimate(image.astype(np.uint8))
    assert depth.shape == (height, width)
    assert depth.dtype == np.float32
    assert depth.min() >= NEAR * 0.999
    assert depth.max() <= FAR * 1.001
    assert np.array_equal(depth, estimate(image.astype(np.uint8)))
