from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio

from backend.demo import diffusion
from backend.demo.diffusion_card import measure, table
from backend.demo.judge_diffusion import Judged, alter, evidence, psnr, sheet, structure
from backend.demo.pairs import TRAIN_SEEDS, Plan, View, chosen, cut, draw, words
from backend.demo.train_diffusion import FACTS, LIMIT, Training, fit, make, noise_levels
from backend.demo.weather import CONDITIONS, pictures
from generator.diffusion.options import SMALL_STEPS
from generator.diffusion.residual import load
from pool.schema import BadInput, Box, Region

SHIPPED = Path(str(diffusion.__path__[0]))
TINY = Plan(
    minutes=1e6,
    steps=4,
    scenes=2,
    weathers=2,
    check=1,
    checked=(96, 64),
    size=(128, 96),
    views=(View((64, 64), (0.5, 1.0), 2, 0.5), View((64, 32), (0.4, 0.6), 1, 0.5)),
    widths=(16, 16),
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    draw(folder, TINY)
    return folder


@pytest.fixture(scope="module")
def shipped() -> Any:
    torch.set_num_threads(1)
    pipe = load(SHIPPED)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def street() -> NDArray[np.uint8]:
    picture = pictures(400_002, ("clear",))["clear"].image
    return np.asarray(cv2.resize(picture, (64, 48), interpolation=cv2.INTER_AREA), np.uint8)


def test_a_scene_is_drawn_in_conditions_of_its_own() -> None:
    lots = [chosen(seed, 6) for seed in range(TRAIN_SEEDS, TRAIN_SEEDS + 200)]
    assert all(len(set(lot)) == 6 and "clear" not in lot for lot in lots)
    assert {name for lot in lots for name in lot} == set(CONDITIONS) - {"clear"}
    assert sorted(chosen(1, 99)) == sorted(set(CONDITIONS) - {"clear"})


def test_what_is_drawn_is_what_the_weather_draws_and_is_not_drawn_twice(drawn: Path) -> None:
    paths = sorted(drawn.iterdir())
    assert [path.name for path in paths] == [f"{TRAIN_SEEDS}.npy", f"{TRAIN_SEEDS + 1}.npy"]
    before = [path.stat().st_mtime_ns for path in paths]
    draw(drawn, TINY)
    assert [path.stat().st_mtime_ns for path in paths] == before
    names = ["clear", *chosen(TRAIN_SEEDS, 2)]
    wanted = pictures(TRAIN_SEEDS, names, TINY.size)
    for name, image in zip(names, np.load(paths[0]), strict=True):
        np.testing.assert_array_equal(image, wanted[name].image)


def test_a_batch_shows_the_same_place_in_both_and_tells_the_condition(tmp_path: Path) -> None:
    # A scene whose conditions are its own picture, each darkened by a factor of its own.
    rng = np.random.default_rng(0)
    clear = rng.integers(100, 256, (96, 128, 3))
    factors = {name: 1 / (2 + k) for k, name in enumerate(chosen(TRAIN_SEEDS, 2))}
    stack = [clear, *(clear * factor for factor in factors.values())]
    np.save(tmp_path / f"{TRAIN_SEEDS}.npy", np.stack(stack).astype(np.uint8))
    by_words = {frozenset(words(name).split()): factor for name, factor in factors.items()}
    told, shapes = set(), set()
    for step in range(60):
        sources, targets, texts = cut([tmp_path / f"{TRAIN_SEEDS}.npy"], TINY, step)
        assert sources.dtype == targets.dtype == np.uint8
        assert sources.shape == targets.shape
        shapes.add(sources.shape)
        for source, target, text in zip(sources, targets, texts, strict=True):
            told.add(text)
            if text:
                np.testing.assert_allclose(target, source * by_words[frozenset(text.split())], atol=1.5)
    assert shapes == {(2, 64, 64, 3), (1, 32, 64, 3)}
    assert "" in told
    assert len(told) > 2


def test_a_step_always_sees_the_same(drawn: Path) -> None:
    paths = sorted(drawn.iterdir())
    one, again, other = (cut(paths, TINY, step) for step in (3, 3, 4))
    assert all(np.array_equal(one[k], again[k]) for k in (0, 1))
    assert one[2] == again[2]
    assert one[0].shape != other[0].shape or not np.array_equal(one[0], other[0])


def test_most_noise_is_what_the_model_is_sampled_at() -> None:
    levels = noise_levels(np.random.default_rng(0), 20_000, 4)
    values, counts = np.unique(levels, return_counts=True)
    assert values.min() >= 0
    assert values.max() == 999
    often = counts > 1000
    assert values[often].tolist() == [249, 499, 749, 999]
    assert (np.diff(counts[often]) > 0).all()
    assert counts[often].sum() < 0.9 * len(levels)


def test_training_goes_on_as_if_never_stopped(drawn: Path, tmp_path: Path) -> None:
    paths = sorted(drawn.iterdir())
    straight = Training(TINY)
    for _ in range(4):
        straight.advance(paths)
    stopped = Training(TINY)
    for _ in range(2):
        stopped.advance(paths)
    stopped.keep(tmp_path / "checkpoint.pt")
    _, step, _ = fit(tmp_path, TINY, drawn)
    assert step == 4
    resumed = Training(TINY)
    resumed.resume(tmp_path / "checkpoint.pt")
    assert resumed.step == 4
    for mine, other in ((straight.weights, resumed.weights), (straight.averaged, resumed.averaged)):
        for a, b in zip(mine, other, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert any(not torch.equal(a, b) for a, b in zip(straight.weights, Training(TINY).weights, strict=True))


def test_without_scenes_there_is_no_training(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="pairs"):
        fit(tmp_path, TINY, tmp_path)


@pytest.mark.slow
def test_a_tiny_plan_makes_measures_and_describes_a_model(tmp_path: Path) -> None:
    out = tmp_path / "model"
    make(out, tmp_path / "work", TINY)
    found = measure(out, TINY)
    assert set(found) == set(CONDITIONS) - {"clear"}
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "sha256" in card
    assert "4 steps of AdamW" in card
    assert all(f"| {words(name)} |" in card for name in found)
    assert (out / FACTS).is_file()
    assert sheet(load(out), [400_000], ["night"], width=64).shape == (96, 128, 3)


def test_the_shipped_folder_is_small_and_in_half_precision() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < LIMIT
    assert (SHIPPED / "README.md").is_file()
    assert load(SHIPPED, torch.float16).unet.dtype == torch.float16
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pkl", ".ckpt")]


def test_night_is_darker_and_the_same_seed_is_the_same_picture(
    shipped: Any, street: NDArray[np.uint8]
) -> None:
    night = alter(shipped, street, "night", 5)
    assert night.shape == street.shape
    assert night.mean() < 0.6 * street.mean()
    np.testing.assert_array_equal(alter(shipped, street, "night", 5), night)
    assert not np.array_equal(alter(shipped, street, "night", 6), night)


def test_haze_is_paler_and_a_sandstorm_browner(shipped: Any, street: NDArray[np.uint8]) -> None:
    haze, sand = (
        alter(shipped, street, name, 5).astype(float) for name in ("haze:heavy", "sandstorm:heavy")
    )
    assert haze.std() < 0.8 * street.std()
    assert haze.min(axis=2).mean() > street.min(axis=2).mean() + 10
    assert (sand[..., 0] - sand[..., 2]).mean() > (
        street[..., 0].astype(float) - street[..., 2]
    ).mean() + 25


def test_any_size_keeps_its_size(shipped: Any) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (37, 51, 3), np.uint8)
    assert alter(shipped, picture, "dusk", 1, steps=1).shape == (37, 51, 3)
    assert SMALL_STEPS > 1


def test_psnr_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (2, 20, 30, 3), np.uint8)
    wanted = peak_signal_noise_ratio(other, one)  # type: ignore[no-untyped-call]
    assert psnr(one, other) == pytest.approx(wanted)
    assert psnr(one, one) > 100


def test_structure_stays_under_veil_and_darkness_and_goes_with_a_shift(street: NDArray[np.uint8]) -> None:
    region = Region("garbage", Box(0.2, 0.2, 0.9, 0.9))
    dark = np.asarray(street * 0.4 + 20, np.uint8)
    kept, veiled = structure(street, street, region), structure(street, dark, region)
    moved = structure(street, np.roll(street, 5, axis=1), region)
    assert kept > 0.95
    assert veiled > 0.85
    assert moved < 0.8
    assert structure(street, np.full_like(street, 99), region) == pytest.approx(0, abs=1e-6)


def test_evidence_sees_what_changed(street: NDArray[np.uint8]) -> None:
    same, dark = evidence(street, street), evidence(street, street // 2)
    half = len(same) // 2
    np.testing.assert_array_equal(same[half:], 0)
    assert dark[half] < -0.1


def test_the_table_has_a_row_for_each_and_the_mean_weighs_boxes() -> None:
    one = Judged(20, 10, 1, 1, 1, 1.0, 30, 1)
    none = Judged(10, 10, 0, 1, 0, float("nan"), 0, 0.5)
    rows = table({"rain:light": one, "night": none})
    assert len(rows) == 5
    assert rows[2].startswith("| rain light | 20.0 | 10.0 | 1.00 |")
    assert rows[4] == "| mean | 15.0 | 10.0 | 0.50 | 1.00 | 0.50 | 1.00 of 30 | 0.75 |"
