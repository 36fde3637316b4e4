"""One street in every weather: the same boxes and edges, veils by true depth, old pictures unchanged."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.demo import weather
from backend.demo.air import Layer, Shot, fall, veiled
from backend.demo.camera import Camera
from backend.demo.canvas import FIRST, GROUND, WALL
from backend.demo.darkroom import Space, space
from backend.demo.scenes import Scene, condition, paint, render
from backend.demo.surfaces import mirror
from backend.demo.weather import CONDITIONS, DAYLIGHTS, SEVERITIES, pictures, scene
from pool.schema import BadInput

SMALL = (200, 150)
SEEDS = (0, 1, 12)
"""Of a night with a tree, an overcast day, and a low sun on a shop."""


@pytest.fixture(scope="module")
def streets() -> dict[int, dict[str, Scene]]:
    return {seed: pictures(seed, size=SMALL) for seed in SEEDS}


def grey(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.asarray(image.astype(np.float64).mean(axis=2))


def edges(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Strength of brightness edges, of the logarithm so that the level of light does not count."""
    log = np.log(cv2.GaussianBlur(grey(image), (0, 0), 1.2) + 4.0)
    down, across = np.gradient(log)
    return np.asarray(np.hypot(down, across))


def alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize(
    ("seed", "size", "box", "pixels"),
    [
        (
            0,
            (640, 480),
            ("overflowing bin", 0.5859375, 0.2947916666666667, 0.6890625, 0.5833333333333334),
            "112a2d3b879d6d3f181b24432892804e10141f33375e2029342b1b1e607e35293c3e65727a5f2922"
            "37705c6b842b6725313059555f253157343b3d37a6637563",
        ),
        (
            4,
            (640, 480),
            ("garbage", 0.24921875, 0.5520833333333334, 0.44765625, 0.640625),
            "9ba6b4ba90958a9ab2b8bac4978cb8b1b5b8c6c899cbbfb7b9bfc2cfd5cbb2beb7bfbac1d2bcb8ab"
            "c3c9dad6d0cdc6bfafc4c2cec7cac59a79817b837a877a70",
        ),
        (
            1,
            (160, 120),
            ("non-overflowing bin", 0.096875, 0.31666666666666665, 0.253125, 0.775),
            "2c306f2d9668fffc2828797c9d72767d21307532a17bfcfe2029792eaa7a475623246f2d6d79516e"
            "63234f314a4c4a489695ab28a9a136827c9a99649a902c49",
        ),
        (
            6,
            (160, 120),
            ("overflowing bin", 0.43125, 0.42083333333333334, 0.5875, 0.8375),
            "abbdd199998e879398cf5cc5b454875758634f57a552515a5ba72855655853a82eedf14a583e4cb2"
            "364ca2617979759a523b42343c6f6964706a76717f856c66",
        ),
    ],
)
def test_scenes_are_drawn_as_when_weights_were_trained_on_them(
    seed: int, size: tuple[int, int], box: tuple[str, float, float, float, float], pixels: str
) -> None:
    """Single pixels, grain and all, as they were before there was weather; a grey level for rounding."""
    drawn = render(seed, size)
    first = drawn.regions[0]
    assert (first.label, first.box.x1, first.box.y1, first.box.x2, first.box.y2) == box
    step = size[0] // 8
    shown = drawn.image[size[1] // 16 :: size[1] // 8, step // 2 :: step, 1].astype(int).ravel()
    assert np.abs(shown - np.frombuffer(bytes.fromhex(pixels), np.uint8)).max() <= 1


def test_every_condition_shows_the_same_boxes(streets: dict[int, dict[str, Scene]]) -> None:
    for seed, shown in streets.items():
        assert tuple(shown) == CONDITIONS
        expected = render(seed, SMALL).regions
        assert expected
        for name, drawn in shown.items():
            assert drawn.regions == expected, name
            assert drawn.conditions == name


@pytest.mark.parametrize("seed", range(20, 28))
def test_painting_in_another_light_moves_nothing(seed: int) -> None:
    """Lit windows spend chance differently, which must not shift what is drawn after them."""
    size = (64, 64)
    own = paint(seed, size)
    for lit in (0.0, 1.0):
        other = paint(seed, size, lambda light, _, lit=lit: replace(light, lit=lit))  # type: ignore[misc]
        assert other.regions == own.regions
        assert other.depths == own.depths
        assert (other.stage.canvas.owner == own.stage.canvas.owner).all()


def test_edges_of_one_street_lie_on_each_other(streets: dict[int, dict[str, Scene]]) -> None:
    for seed, shown in streets.items():
        stranger = streets[SEEDS[(SEEDS.index(seed) + 1) % len(SEEDS)]]
        plain = edges(shown["dim"].image)
        for name in ("dusk", "street lamp", "night", "haze:moderate", "glare"):
            near = alike(plain, edges(shown[name].image))
            assert near > 0.35, (seed, name)
            assert near > 2 * alike(plain, edges(stranger[name].image)), (seed, name)


def test_clear_is_the_seeds_own_daylight() -> None:
    for seed in SEEDS:
        drawn, own = scene(seed, "clear", (128, 96)), render(seed, (128, 96))
        assert (drawn.image == own.image).all() == (condition(seed) in DAYLIGHTS)


def test_one_by_one_and_together_give_equal_pixels(streets: dict[int, dict[str, Scene]]) -> None:
    backwards = pictures(12, CONDITIONS[::-1], SMALL)
    for name in ("clear", "rain:heavy", "snow:light", "haze:heavy", "night", "glare"):
        alone = scene(12, name, SMALL)
        assert (alone.image == streets[12][name].image).all(), name
        assert (alone.image == backwards[name].image).all(), name


def measure(image: NDArray[np.uint8], plain: NDArray[np.uint8], kind: str) -> float:
    """What more of a weather must make more of."""
    values = image.astype(np.float64)
    if kind == "rain":
        streaks = grey(image)
        return float(np.abs(np.diff(streaks, axis=1)).mean() / np.abs(np.diff(streaks, axis=0)).mean())
    if kind == "snow":
        return float((values.min(axis=2) > 150).mean())
    if kind == "sandstorm":
        return -alike(edges(plain), edges(image)) + float((values[..., 0] - values[..., 2]).mean()) / 255
    return -float(grey(image).std())


@pytest.mark.parametrize("kind", ["rain", "snow", "sandstorm", "haze"])
@pytest.mark.parametrize("take", [0, 1])
def test_more_severe_is_more_of_it(kind: str, take: int, streets: dict[int, dict[str, Scene]]) -> None:
    names = [f"{kind}:{severity}" for severity in SEVERITIES]
    for seed in SEEDS:
        plain = streets[seed]["dim"].image
        shown = streets[seed] if take == 0 else pictures(seed, names, SMALL, take)
        found = [measure(shown[name].image, plain, kind) for name in names]
        assert found == sorted(found), (seed, found)
        assert len(set(found)) == 3


def test_kinds_are_told_apart_by_what_they_are(streets: dict[int, dict[str, Scene]]) -> None:
    for shown in streets.values():
        mean = {name: drawn.image.reshape(-1, 3).mean(axis=0) for name, drawn in shown.items()}
        warmth = {name: value[0] / value[2] for name, value in mean.items()}
        level = {name: value.mean() for name, value in mean.items()}
        assert all(
            warmth["sandstorm:light"] > warmth[n] for n in CONDITIONS if n[:4] in ("rain", "snow", "haze")
        )
        assert level["night"] < 0.75 * level["dim"]
        assert level["dim"] < 0.75 * level["haze:light"]
        assert level["street lamp"] > 1.5 * level["night"]
        assert level["rain:heavy"] < level["snow:heavy"]
        assert shown["glare"].image.max(axis=2).mean() > shown["dim"].image.max(axis=2).mean() + 40


def test_far_things_fade_more_than_near_ones() -> None:
    """Half of the light comes through a thickness of log 2, whatever shines behind it."""
    depth = np.array([[0.0, 5.0, 10.0, 20.0]], np.float32)
    planes = np.full((3, 1, 4), 80, np.float32)
    air = np.array((200, 150, 100), np.float32)
    seen = veiled(planes, np.float32(np.log(2) / 5) * depth, air)
    for k in range(3):
        expected = [80 * share + air[k] * (1 - share) for share in (1.0, 0.5, 0.25, 0.0625)]
        assert seen[k, 0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 8])
def test_haze_on_a_street_thickens_with_its_depth(seed: int) -> None:
    """What heavy haze leaves of the small contrasts in light haze falls with the distance."""
    shown = pictures(seed, ("haze:light", "haze:heavy"), (320, 240))
    done = paint(seed, (320, 240))
    at = space(done.stage.half, done.stage.canvas.owner[1::2, 1::2], done.stage.wall, done.depths)
    thin, thick = (
        cv2.GaussianBlur(image, (0, 0), 1.5) - cv2.GaussianBlur(image, (0, 0), 5)
        for image in (grey(shown[name].image) for name in ("haze:light", "haze:heavy"))
    )
    middle = float(np.median(at.depth[at.depth < 30]))
    zones = (at.depth < 0.8 * middle, (at.depth > 1.1 * middle) & (at.depth < 30))
    left = [float((thin[zone] * thick[zone]).sum() / (thin[zone] ** 2).sum()) for zone in zones]
    assert 1 > left[0] > 1.15 * left[1] > 0


def _plain(camera: Camera, owner: NDArray[np.uint8], wall: float, depths: tuple[float, ...]) -> Shot:
    at = space(camera, owner, wall, depths)
    height, width = owner.shape
    rows = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], (height, width))
    columns = np.broadcast_to(np.arange(width, dtype=np.float32), (height, width))
    planes = np.stack((rows, columns, owner.astype(np.float32)))
    return Shot(planes, at, np.zeros((height, width), np.float32), camera, wall, np.array([0.0, 1.0, 0.0]))


@pytest.mark.parametrize("yaw", [0.0, 0.3])
def test_still_water_shows_points_as_far_below_the_ground_as_they_are_above(yaw: float) -> None:
    camera = Camera(320, 240, focal=300.0, horizon=70.0, eye=1.7, yaw=yaw)
    wall, thing = 7.0, np.array([0.6, 0.0, 4.8])
    near = camera.depth(thing[0], thing[2])
    owner = np.full((240, 320), WALL, np.uint8)
    at = space(camera, np.full_like(owner, GROUND), wall, ())
    owner[at.z < wall] = GROUND
    owner[: int(camera.horizon)] = WALL
    u, v = camera.project(np.stack((thing, thing + np.array((0, 1.1, 0))))).T
    owner[round(v[1]) : round(v[0]), round(u[0]) - 15 : round(u[0]) + 15] = FIRST
    shown = mirror(_plain(camera, owner, wall, (near,)))
    for spot, part in (
        (thing + np.array((0, 0.3, 0)), FIRST),
        (thing + np.array((0.02, 0.6, 0)), FIRST),
        (np.array([-1.0, 0.5, wall]), WALL),
        (np.array([-0.5, 1.2, wall]), WALL),
    ):
        up = camera.project(spot[None])[0]
        down = camera.project((spot * (1, -1, 1))[None])[0]
        column, row = int(down[0]), int(down[1])
        assert owner[row, column] == GROUND
        assert shown[2, row, column] == part
        assert shown[0, row, column] == pytest.approx(up[1], abs=1.6)
        assert shown[1, row, column] == pytest.approx(up[0], abs=1.6)


def test_nothing_falls_behind_what_is_nearer() -> None:
    camera = Camera(320, 240, focal=300.0, horizon=70.0, eye=1.7, yaw=0.0)
    owner = np.full((240, 320), WALL, np.uint8)
    owner[:, 160:] = FIRST
    shot = _plain(camera, owner, 9.0, (3.0,))
    layer = Layer(distance=5.0, count=2000, length=0.2, width=0.02, opacity=0.5, blur=0.5)
    cover = fall(shot, layer, 0.1, np.random.default_rng(0))
    assert (cover[:, 160:] == 0).all()
    assert (cover[:, :160] > 0.05).mean() > 0.05
    assert 0 <= cover.min() <= cover.max() <= 0.5
    none = fall(shot, replace(layer, count=0.0), 0.1, np.random.default_rng(0))
    assert not none.any()


def test_small_and_large_pictures_are_covered_alike() -> None:
    covers = []
    for width in (160, 320, 640):
        camera = Camera(width, width * 3 // 4, 0.95 * width, 0.3 * width, 1.7, 0.0)
        shot = _plain(camera, np.full((camera.height, width), WALL, np.uint8), 9.0, ())
        layer = Layer(distance=5.0, count=1700, length=0.24, width=0.008, opacity=1.0, blur=0.5)
        covers.append(float(fall(shot, layer, 0.0, np.random.default_rng(3)).mean()))
    assert max(covers) < 1.8 * min(covers)


@pytest.mark.parametrize("seed", SEEDS)
def test_snow_lies_on_what_faces_up(seed: int) -> None:
    done = paint(seed, SMALL)
    at: Space = space(done.stage.half, done.stage.canvas.owner[1::2, 1::2], done.stage.wall, done.depths)
    shown = pictures(seed, ("haze:light", "snow:heavy"), SMALL)
    ground, wall = at.ground & (at.depth < 12), at.owner == WALL
    white = shown["snow:heavy"].image.min(axis=2) > 175
    assert white[ground].mean() > 0.6
    assert white[ground].mean() > white[wall].mean() + 0.25


def test_another_take_is_the_same_weather_at_another_moment() -> None:
    names = (
        "clear",
        "rain:heavy",
        "snow:moderate",
        "sandstorm:moderate",
        "haze:moderate",
        "night",
        "glare",
    )
    first, second = pictures(12, names, SMALL), pictures(12, names, SMALL, take=1)
    assert (first["clear"].image == second["clear"].image).all()
    for name in names[1:]:
        one, two = first[name].image, second[name].image
        assert first[name].regions == second[name].regions
        assert (one != two).mean() > 0.2, name
        soft = [np.asarray(cv2.GaussianBlur(grey(image), (0, 0), 5), np.float64) for image in (one, two)]
        assert abs(float(soft[0].mean() - soft[1].mean())) < 14, name
        assert alike(soft[0], soft[1]) > 0.8, name


@pytest.mark.parametrize("size", [(64, 64), (640, 480), (97, 121)])
def test_every_condition_can_be_drawn_at_any_size(size: tuple[int, int]) -> None:
    for name, drawn in pictures(3, size=size).items():
        assert drawn.image.shape == (size[1], size[0], 3)
        assert drawn.image.dtype == np.uint8
        assert drawn.image.std() > 4, name


@pytest.mark.parametrize(
    ("seed", "name", "size", "take", "field"),
    [
        (1, "fog", SMALL, 0, "name"),
        (1, "rain", SMALL, 0, "name"),
        (-1, "clear", SMALL, 0, "seed"),
        (1, "dusk", (40, 480), 0, "size"),
        (1, "night", SMALL, -1, "take"),
    ],
)
def test_impossible_wishes_are_refused(
    seed: int, name: str, size: tuple[int, int], take: int, field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        weather.scene(seed, name, size, take)
    assert caught.value.field == field
