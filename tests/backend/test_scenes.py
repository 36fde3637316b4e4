"""Drawn street scenes: equal seeds give equal bytes, boxes are tight, hidden things have none."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backend.demo import scenes
from backend.demo.bins import MODELS
from backend.demo.camera import Camera, cut
from backend.demo.canvas import FIRST, GROUND, Canvas
from backend.demo.heaps import bags
from backend.demo.light import LIGHTS, SHARES, light
from backend.demo.scenes import EMPTY_SHARE, LABELS, LEAST_VISIBLE, Scene, Thing, condition, jpeg, render
from backend.demo.stage import Place, Stage
from backend.demo.train_weights import CHECK_SEEDS, EASY, LIMIT, TRAIN_SEEDS, Plan, make, seeds
from pool.schema import BadInput

SMALL = (160, 120)
WEIGHTS = Path(scenes.__file__).parent / "weights" / "street-bins.pt"


def camera(width: int = 320, height: int = 240) -> Camera:
    return Camera(width, height, focal=300.0, horizon=80.0, eye=1.6, yaw=0.3)


def stage(name: str = "noon", size: tuple[int, int] = (320, 240)) -> Stage:
    rng = np.random.default_rng(4)
    seen = Camera(*size, focal=size[0] * 0.95, horizon=size[1] * 0.35, eye=1.6, yaw=0.0)
    return Stage(seen, light(name, rng), Canvas(*size), 9.0, rng)


def rectangle(x1: float, y1: float, x2: float, y2: float) -> NDArray[np.float64]:
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])


@pytest.fixture(scope="module")
def gallery() -> dict[int, Scene]:
    """Two small scenes of each light, by seed."""
    chosen = [seed for name in LIGHTS for seed in islice(seeds(0, (name,)), 2)]
    return {seed: render(seed, SMALL) for seed in chosen}


def test_equal_seeds_give_equal_bytes(gallery: dict[int, Scene]) -> None:
    seed, first = next(iter(gallery.items()))
    again = render(seed, SMALL)
    assert jpeg(first) == jpeg(again)
    assert first.regions == again.regions
    assert len({jpeg(scene) for scene in gallery.values()}) == len(gallery)


def test_a_scene_is_a_picture_in_its_light(gallery: dict[int, Scene]) -> None:
    for seed, scene in gallery.items():
        assert scene.image.shape == (120, 160, 3)
        assert scene.image.dtype == np.uint8
        assert scene.conditions == condition(seed)
    with Image.open(BytesIO(jpeg(scene))) as picture:
        assert picture.size == SMALL
        close = np.abs(np.asarray(picture.convert("RGB"), dtype=int) - scene.image).mean()
    assert close < 6


def test_boxes_lie_inside_and_have_known_labels(gallery: dict[int, Scene]) -> None:
    found = [region for scene in gallery.values() for region in scene.regions]
    assert {region.label for region in found} == set(LABELS)
    assert len(found) > len(gallery)
    for region in found:
        assert 0 <= region.box.x1 < region.box.x2 <= 1
        assert 0 <= region.box.y1 < region.box.y2 <= 1
        assert (region.score, region.id, region.origin) == (None, None, None)


@pytest.mark.parametrize("hidden", [0.0, 0.5, 0.9])
def test_what_is_covered_is_counted_and_the_box_is_tight(hidden: float) -> None:
    canvas = Canvas(200, 100)
    canvas.begin(FIRST)
    canvas.fill(rectangle(40, 20, 140, 80), (200, 0, 0))
    shape = canvas.end()
    canvas.begin(FIRST + 1)
    canvas.fill(rectangle(40, 10, 40 + 100 * hidden, 95), (0, 0, 200))
    share, box = canvas.visible(shape)
    assert share == pytest.approx(1 - hidden, abs=0.025)
    assert box is not None
    assert np.abs(np.array(box) - (40 + 100 * hidden, 20, 140, 80)).max() <= 1


def test_what_lies_beyond_the_frame_counts_as_hidden() -> None:
    canvas = Canvas(100, 100)
    canvas.begin(FIRST)
    canvas.fill(rectangle(-60, 20, 20, 60), (200, 0, 0))
    canvas.fill(rectangle(-60, 60, 20, 70), (180, 0, 0))
    share, box = canvas.visible(canvas.end())
    assert share == pytest.approx(0.25, abs=0.02)
    assert box is not None
    assert np.abs(np.array(box) - (0, 20, 20, 70)).max() <= 1


def test_nothing_painted_is_nothing_seen() -> None:
    canvas = Canvas(50, 50)
    canvas.begin(FIRST)
    assert canvas.visible(canvas.end()) == (0.0, None)


def _alone(paint: Callable[[Stage, Place], None], place: Place, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels that a thing changes on an empty sheet: an oracle that knows nothing of owners."""
    set_up = stage(size=size)
    set_up.canvas.colour[:] = (255, 0, 255)
    set_up.canvas.begin(FIRST)
    paint(set_up, place)
    return np.asarray((set_up.canvas.colour != (255, 0, 255)).any(axis=2))


@pytest.mark.parametrize("name", [model.name for model in MODELS])
@pytest.mark.parametrize("full", [False, True])
def test_a_bins_box_is_where_its_pixels_are(name: str, full: bool) -> None:
    model = next(model for model in MODELS if model.name == name)
    place = Place(0.1, 5.0, 0.2)

    def paint(on: Stage, at: Place) -> None:
        model.paint(on, at, full, 1.0)

    size = (480, 360)
    changed = _alone(paint, place, size)
    set_up = stage(size=size)
    set_up.canvas.begin(FIRST)
    paint(set_up, place)
    share, box = set_up.canvas.visible(set_up.canvas.end())
    assert share == 1.0
    assert box is not None
    columns, rows = np.flatnonzero(changed.any(axis=0)), np.flatnonzero(changed.any(axis=1))
    expected = np.array((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    assert np.abs(np.array(box) - expected).max() <= 2
    height = (box[3] - box[1]) / set_up.camera.scale(place.x, place.z)
    assert 0.75 * model.height < height < (2.6 if full else 1.5) * model.height


def test_a_bin_that_overflows_towers_over_one_that_does_not() -> None:
    for model in MODELS:
        tops = []
        for full in (False, True):
            set_up = stage(size=(480, 360))
            set_up.canvas.begin(FIRST)
            model.paint(set_up, Place(0.0, 5.0, 0.0), full, 1.0)
            box = set_up.canvas.visible(set_up.canvas.end())[1]
            assert box is not None
            tops.append(box[1])
        assert tops[1] < tops[0], model.name


@pytest.mark.parametrize(("cover", "boxes"), [(0.60, 1), (0.78, 0)])
def test_an_object_that_is_hardly_visible_gets_no_box(cover: float, boxes: int) -> None:
    set_up = stage(size=(480, 360))
    thing = Thing(LABELS[2], Place(0.0, 5.0), 0.4, lambda on: bags(on, Place(0.0, 5.0)))
    set_up.canvas.begin(FIRST)
    thing.paint(set_up)
    shape = set_up.canvas.end()
    owned = set_up.canvas.owner == FIRST
    full = int(owned.sum())
    by_column = np.cumsum(owned.sum(axis=0))
    set_up.canvas.owner[:, : int(np.searchsorted(by_column, cover * full))] = GROUND
    left = int((set_up.canvas.owner == FIRST).sum()) / full
    assert (left >= LEAST_VISIBLE) is bool(boxes)
    assert (scenes._region(set_up, thing, shape) is not None) is bool(boxes)


def test_each_light_occurs_about_as_often_as_stated() -> None:
    counts = Counter(condition(seed) for seed in range(3000))
    for name, share in zip(LIGHTS, SHARES, strict=True):
        assert counts[name] / 3000 == pytest.approx(share, abs=4 * np.sqrt(share / 3000))


def test_lights_look_different(gallery: dict[int, Scene]) -> None:
    def seen(name: str) -> NDArray[np.float64]:
        images = [scene.image for scene in gallery.values() if scene.conditions == name]
        return np.concatenate(images).reshape(-1, 3).astype(float)

    assert max(seen("night").mean(), seen("dusk").mean()) < seen("noon").mean() - 20
    assert seen("haze").std() < 0.7 * seen("noon").std()
    warmth = {name: seen(name)[:, 0].mean() / seen(name)[:, 2].mean() for name in LIGHTS}
    assert warmth["low sun"] > 1.15 * warmth["overcast"]


@pytest.mark.slow
def test_about_as_many_scenes_are_empty_as_stated() -> None:
    empty = sum(not render(seed, (160, 120)).regions for seed in range(500, 800))
    assert empty / 300 == pytest.approx(EMPTY_SHARE, abs=4 * np.sqrt(EMPTY_SHARE / 300))


@pytest.mark.parametrize(("seed", "size", "field"), [(-1, SMALL, "seed"), (1, (40, 480), "size")])
def test_impossible_wishes_are_refused(seed: int, size: tuple[int, int], field: str) -> None:
    with pytest.raises(BadInput, match=field):
        render(seed, size)


def test_projection_agrees_with_similar_triangles() -> None:
    straight = Camera(640, 480, focal=500.0, horizon=200.0, eye=1.5, yaw=0.0)
    u, v = straight.project(np.array([[1.0, 0.0, 5.0]]))[0]
    assert (u, v) == pytest.approx((320 + 500 * 1 / 5, 200 + 500 * 1.5 / 5))
    assert straight.scale(1.0, 5.0) == pytest.approx(100.0)


def test_a_ground_place_is_seen_in_the_column_it_was_chosen_for() -> None:
    seen = camera()
    for column in (10.0, 160.0, 300.0):
        x = seen.ground(column, 6.0)
        assert seen.project(np.array([[x, 0.0, 6.0]]))[0, 0] == pytest.approx(column)


def test_a_plane_maps_as_its_points_do() -> None:
    seen = camera()
    origin, along, up = np.array([0.5, 0.0, 7.0]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    lens = seen.plane(along, up, origin)
    a, b = 1.3, 0.7
    mapped = lens @ (a, b, 1.0)
    expected = seen.project((origin + a * along + b * up)[None])[0]
    assert mapped[:2] / mapped[2] == pytest.approx(expected)


def test_a_smaller_camera_sees_the_same_smaller() -> None:
    point = np.array([[0.4, 1.0, 6.0]])
    assert camera().scaled(0.5).project(point) == pytest.approx(camera().project(point) / 2)


def test_cutting_a_square() -> None:
    half = cut(rectangle(0, 0, 2, 2), 0, least=1.0)
    assert half[:, 0].min() == pytest.approx(1.0)
    assert half[:, 0].max() == pytest.approx(2.0)
    assert len(cut(rectangle(0, 0, 2, 2), 1, most=-1.0)) == 0


def test_shadows_fall_away_from_the_sun_and_only_where_there_is_one() -> None:
    pole = np.array([(-0.1, 0, 5), (0.1, 0, 5), (0.1, 3, 5), (-0.1, 3, 5.0)])
    sunny = stage("low sun")
    sunny.cast(pole)
    assert sunny.shadow.any()
    foot = sunny.half.project(np.array([[0.0, 0, 5]]))[0, 0]
    centre = np.flatnonzero(sunny.shadow.any(axis=0)).mean()
    assert np.sign(centre - foot) == -np.sign(sunny.light.toward[0])
    dull = stage("overcast")
    dull.cast(pole)
    assert not dull.shadow.any()


def test_training_check_and_pool_scenes_are_never_the_same() -> None:
    plan = Plan()
    train = set(islice(seeds(TRAIN_SEEDS, EASY), plan.scenes))
    check = set(islice(seeds(CHECK_SEEDS), plan.check))
    pool = set(range(10_000))
    assert not train & check
    assert not train & pool
    assert not check & pool
    assert {condition(seed) for seed in train} == set(EASY)
    assert {condition(seed) for seed in check} == set(LIGHTS)


def test_the_card_speaks_of_the_weights_beside_it() -> None:
    data, text = WEIGHTS.read_bytes(), (WEIGHTS.parent / "README.md").read_text(encoding="utf-8")
    assert len(data) <= LIMIT
    assert hashlib.sha256(data).hexdigest() in text
    assert all(f"| {name} |" in text for name in LIGHTS)
    for place in (b"/work", b"/root", b"/home", b"/tmp"):
        assert place not in data


@pytest.mark.slow
def test_the_weights_speak_the_labels_and_can_be_trained_further() -> None:
    from backend.detector.weights import load_trainable, module_classes

    assert module_classes(load_trainable(WEIGHTS)) == LABELS


@pytest.mark.slow
def test_the_weights_can_be_made_again(tmp_path: Path) -> None:
    out = tmp_path / "weights" / "small.pt"
    found = make(out, tmp_path / "work", Plan(scenes=8, check=14, legs=((1, 0.002), (1, 0.001)), imgsz=64))
    assert set(found) == {"all", "easy", "hard", *LIGHTS}
    assert found["all"]["images"] == found["easy"]["images"] + found["hard"]["images"] == 14
    assert hashlib.sha256(out.read_bytes()).hexdigest() in (out.parent / "README.md").read_text()
