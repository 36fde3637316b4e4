"""Street scenes with waste bins, drawn from a seed, with exact boxes around what can be seen.

``render`` is a pure function of its arguments: the same seed gives the same pixels. Boxes are counted
from the painted pixels of each object, after everything in front of it was painted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from backend.demo.bins import MODELS, Model
from backend.demo.bins import SHARES as MODEL_SHARES
from backend.demo.camera import Camera
from backend.demo.canvas import FIRST, Canvas, Silhouette
from backend.demo.cars import CAR
from backend.demo.darkroom import Lamp, develop
from backend.demo.facades import paint_fronts
from backend.demo.furniture import DECOYS, LAMP, LAMP_HEIGHT, TREE, Prop
from backend.demo.heaps import bags, cartons, mattress, scatter
from backend.demo.light import LIGHTS, SHARES, Light, light
from backend.demo.stage import Place, Stage
from backend.demo.street import Street, paint_ground, paint_sky, spot, street
from backend.demo.walkers import PERSON
from pool.schema import BadInput, Box, Region

LABELS: tuple[str, ...] = ("non-overflowing bin", "overflowing bin", "garbage")
LEAST_VISIBLE = 0.30
"""Share of an object that must be seen for it to get a box."""
EMPTY_SHARE = 0.08
_LEAST_PIXELS = 7
_QUALITY = 88


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn photo: ``image`` uint8 RGB (h, w, 3), ``regions`` far to near, ``conditions`` its light."""

    image: NDArray[np.uint8]
    regions: tuple[Region, ...]
    conditions: str


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that stands in a scene; ``label`` None for what is no bin and no garbage."""

    label: str | None
    place: Place
    reach: float
    paint: Callable[[Stage], None]


def condition(seed: int) -> str:
    """The light of a scene, one of ``backend.demo.light.LIGHTS``, without drawing it."""
    return str(np.random.default_rng([seed, 1]).choice(LIGHTS, p=SHARES))


@dataclass(frozen=True, slots=True)
class Painting:
    """A painted scene before it is developed, with the distances of its things in the order of painting."""

    stage: Stage
    lamps: tuple[Lamp, ...]
    depths: tuple[float, ...]
    regions: tuple[Region, ...]


def render(seed: int, size: tuple[int, int] = (640, 480)) -> Scene:
    """Draw the scene of a seed at ``size`` (width, height) in pixels, each at least 64.

    Another size is another picture: what is too small to be painted leaves its share of chance to others.

    Raises BadInput for a negative seed or a smaller size.
    """
    done = paint(seed, size)
    return Scene(develop(done.stage, done.lamps, done.depths), done.regions, condition(seed))


def paint(
    seed: int, size: tuple[int, int] = (640, 480), relight: Callable[[Light, Camera], Light] | None = None
) -> Painting:
    """Paint the scene of a seed, in another light where ``relight`` makes one of the seed's own.

    Whatever the light, the same things stand at the same places. Raises BadInput as ``render`` does.
    """
    width, height = size
    if seed < 0:
        raise BadInput("seed", "0 or more", seed)
    if min(size) < 64:
        raise BadInput("size", "at least 64 by 64 pixels", size)
    rng = np.random.default_rng([seed, 0])
    plan, camera = _view(rng, width * 2, height * 2)
    own = light(condition(seed), rng)
    shown = own if relight is None else relight(own, camera)
    stage = Stage(camera, shown, Canvas(camera.width, camera.height), plan.wall, rng, own.lit)
    paint_sky(stage)
    paint_ground(stage, plan)
    paint_fronts(stage)
    things = _furnish(stage, plan, empty=bool(rng.random() < EMPTY_SHARE))
    things.sort(key=lambda t: -camera.depth(t.place.x, t.place.z))
    shapes: list[Silhouette] = []
    for number, thing in enumerate(things):
        stage.canvas.begin(FIRST + number)
        thing.paint(stage)
        shapes.append(stage.canvas.end())
    regions = tuple(
        region
        for thing, shape in zip(things, shapes, strict=True)
        if (region := _region(stage, thing, shape))
    )
    depths = tuple(camera.depth(t.place.x, t.place.z) for t in things)
    return Painting(stage, tuple(_lamps(stage, plan, things)), depths, regions)


def jpeg(scene: Scene) -> bytes:
    """The scene's image as JPEG; the same scene gives the same bytes."""
    from PIL import Image

    out = BytesIO()
    Image.fromarray(scene.image).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _region(stage: Stage, thing: Thing, shape: Silhouette) -> Region | None:
    if thing.label is None:
        return None
    share, seen = stage.canvas.visible(shape)
    if seen is None or share < LEAST_VISIBLE:
        return None
    width, height = stage.canvas.width, stage.canvas.height
    x1, y1, x2, y2 = seen
    if min(x2 - x1, y2 - y1) < _LEAST_PIXELS * 2:
        return None
    return Region(thing.label, Box(x1 / width, y1 / height, x2 / width, y2 / height))


def _view(rng: np.random.Generator, width: int, height: int) -> tuple[Street, Camera]:
    """Where the photographer stands, and the street in front of them."""
    style = rng.choice(4, p=(0.42, 0.16, 0.24, 0.18))
    kerb, deep = [
        (float(rng.uniform(-1.5, 0.0)), float(rng.uniform(5.0, 9.0))),
        (float(rng.uniform(-1.5, 0.0)), float(rng.uniform(4.0, 5.5))),
        (float(rng.uniform(1.8, 3.6)), float(rng.uniform(5.6, 8.5))),
        (float(rng.uniform(4.6, 6.4)), float(rng.uniform(8.6, 12.0))),
    ][int(style)]
    high = rng.random()
    if high < 0.6:
        eye, horizon = rng.uniform(1.45, 1.8), rng.uniform(0.32, 0.46)
    elif high < 0.78:
        eye, horizon = rng.uniform(1.0, 1.3), rng.uniform(0.40, 0.52)
    else:
        eye, horizon = rng.uniform(2.2, 3.2), rng.uniform(0.12, 0.27)
    yaw = float(np.clip(rng.normal(0, 0.28), -0.6, 0.6))
    focal = float(rng.uniform(0.82, 1.12)) * width
    # Enough ground in front of the wall for things to stand on with their feet in the picture.
    row = min(float(horizon) * height, height - 1.5 * float(eye) * focal / deep)
    return street(kerb, deep, rng), Camera(width, height, focal, max(row, 0.02 * height), float(eye), yaw)


def _furnish(stage: Stage, plan: Street, empty: bool) -> list[Thing]:
    """Choose what stands where."""
    rng = stage.rng
    things: list[Thing] = []
    if not empty:
        for _ in range(int(rng.choice([0, 1, 2, 3], p=(0.07, 0.45, 0.36, 0.12)))):
            _bins(stage, plan, things)
        for _ in range(int(rng.choice([0, 1, 2, 3], p=(0.24, 0.42, 0.24, 0.1)))):
            _garbage(stage, plan, things)
        if not things:
            _garbage(stage, plan, things)
    labelled = [t for t in things if t.label]
    for _ in range(int(rng.choice([1, 2, 3, 4, 5], p=(0.2, 0.3, 0.25, 0.15, 0.1)))):
        _decoy(stage, plan, things)
    if labelled and rng.random() < 0.5:
        _occluder(stage, plan, things, labelled)
    for prop, chance in ((LAMP, 0.3), (TREE, 0.3), (PERSON, 0.25)):
        if rng.random() < chance:
            low = max(plan.kerb + 0.3, 3.0)
            _stand(stage, prop, spot(stage, low, max(low + 0.2, plan.wall - 0.5)), things)
    if plan.kerb > 4.4 and rng.random() < 0.4:
        _park(stage, plan, things, side=float(rng.choice([-1, 1])))
    return things


def _free(
    stage: Stage, things: list[Thing], place: Place, reach: float, slack: float = 0.85, nearest: float = 2.9
) -> bool:
    """Whether a footprint of this radius fits there, with its foot in the picture and not too close."""
    camera = stage.camera
    edge = 0.94 * camera.eye * camera.focal / (camera.height - camera.horizon)
    if camera.depth(place.x, place.z) < max(nearest, edge) or place.z > stage.wall - 0.12:
        return False
    return all(
        np.hypot(place.x - t.place.x, place.z - t.place.z) > (reach + t.reach) * slack for t in things
    )


def _bins(stage: Stage, plan: Street, things: list[Thing]) -> None:
    """A bin, or a row of wheelie bins."""
    rng = stage.rng
    model = MODELS[int(rng.choice(len(MODELS), p=MODEL_SHARES))]
    count = int(rng.choice([1, 2, 3, 4], p=(0.35, 0.3, 0.22, 0.13))) if model.name == "wheelie bin" else 1
    if model.name == "dumpster" and rng.random() < 0.2:
        count = 2
    at = _berth(stage, plan, model)
    turn = float(rng.normal(0, 0.2)) + (
        np.pi if model.name == "wheelie bin" and rng.random() < 0.12 else 0.0
    )
    for k in range(count):
        offset = (k - (count - 1) / 2) * (model.width + float(rng.uniform(0.06, 0.3)))
        place = Place(at.x + offset, at.z + float(rng.normal(0, 0.06)), turn + float(rng.normal(0, 0.08)))
        reach = min(model.width, model.depth) / 2
        if _free(stage, things, place, reach, 0.95):
            full = bool(rng.random() < 0.44)
            size = float(rng.uniform(0.86, 1.14))
            things.append(
                Thing(LABELS[1] if full else LABELS[0], place, reach, _bin(model, place, full, size))
            )


def _bin(model: Model, place: Place, full: bool, size: float) -> Callable[[Stage], None]:
    return lambda stage: model.paint(stage, place, full, size)


def _berth(stage: Stage, plan: Street, model: Model) -> Place:
    """Against the wall, by the kerb, or anywhere between."""
    rng = stage.rng
    front = max(plan.kerb + model.depth / 2 + 0.25, 3.0)
    back = max(plan.wall - model.depth / 2 - 0.15, front + 0.1)
    where = rng.random()
    if where < 0.42:
        z = back
    elif where < 0.6:
        z = min(front + 0.1, back)
    else:
        z = float(rng.uniform(front, back))
    column = float(rng.uniform(0.14, 0.86)) * stage.camera.width
    return Place(stage.camera.ground(column, z), z)


def _garbage(stage: Stage, plan: Street, things: list[Thing]) -> None:
    """Rubbish on the ground, mostly beside a bin."""
    rng = stage.rng
    kinds = ((bags, 0.45), (cartons, 0.45), (scatter, 0.4), (mattress, 0.5))
    choice = int(rng.choice(4, p=(0.43, 0.19, 0.33, 0.05)))
    paint, reach = kinds[choice]
    hosts = [t for t in things if t.label in LABELS[:2]]
    for _ in range(8):
        low = max(plan.kerb + 0.3, 2.6)
        place = spot(stage, low, max(plan.wall - 0.5, low + 0.1), 0.1)
        if paint is mattress:
            z = plan.wall - 0.62
            place = Place(stage.camera.ground(float(rng.uniform(0.1, 0.9)) * stage.camera.width, z), z)
        elif hosts and rng.random() < 0.6:
            host = hosts[int(rng.integers(len(hosts)))]
            aside = (host.reach + reach + float(rng.uniform(-0.08, 0.4))) * float(rng.choice([-1, 1]))
            place = Place(host.place.x + aside, host.place.z - float(rng.uniform(-0.1, 0.5)))
        if _free(stage, things, place, reach, 0.8):
            things.append(Thing(LABELS[2], place, reach, _laid(paint, place)))
            return


def _laid(paint: Callable[[Stage, Place], None], place: Place) -> Callable[[Stage], None]:
    return lambda stage: paint(stage, place)


def _decoy(stage: Stage, plan: Street, things: list[Thing]) -> None:
    rng = stage.rng
    prop = DECOYS[int(rng.integers(len(DECOYS)))]
    low = max(plan.kerb + 0.3, 2.8)
    place = spot(stage, low, max(plan.wall - prop.depth / 2 - 0.1, low + 0.1))
    turned = Place(place.x, place.z, float(rng.normal(0, 0.12)))
    _stand(stage, prop, turned, things)


def _stand(stage: Stage, prop: Prop, place: Place, things: list[Thing]) -> None:
    reach = prop.width / 2
    if _free(stage, things, place, reach):
        things.append(Thing(None, place, reach, _laid(prop.paint, place)))


def _occluder(stage: Stage, plan: Street, things: list[Thing], labelled: list[Thing]) -> None:
    """Something between the camera and a bin, so that part of it is hidden."""
    rng = stage.rng
    target = labelled[int(rng.integers(len(labelled)))]
    if plan.kerb > 4.4 and rng.random() < 0.5:
        _park(stage, plan, things, side=0.0, target=target)
        return
    bollard, bicycle = DECOYS[0], DECOYS[9]
    prop = (LAMP, PERSON, TREE, bollard, bicycle)[int(rng.choice(5, p=(0.25, 0.3, 0.2, 0.12, 0.13)))]
    for _ in range(6):
        share = float(rng.uniform(0.55, 0.9))
        aside = float(rng.normal(0, 0.22))
        place = Place(target.place.x * share + aside, target.place.z * share, float(rng.normal(0, 0.1)))
        near = 2.3 if prop is not PERSON else 2.8
        if place.z > max(plan.kerb + 0.2, near) and _free(stage, things, place, 0.15, 0.9, 2.3):
            things.append(
                Thing(None, place, prop.width / 2 if prop is not TREE else 0.3, _laid(prop.paint, place))
            )
            return


def _park(
    stage: Stage, plan: Street, things: list[Thing], side: float, target: Thing | None = None
) -> None:
    """A car at the kerb, with one end towards the middle of the picture or towards a target."""
    rng = stage.rng
    z = plan.kerb - 1.15
    if target is not None:
        x = target.place.x * z / target.place.z + float(rng.choice([-1, 1])) * float(rng.uniform(1.9, 2.4))
    else:
        x = stage.camera.ground((0.5 + side * float(rng.uniform(0.5, 0.75))) * stage.camera.width, z)
    place = Place(x, z, 0.0, -0.12)
    if all(t.place.z > plan.kerb or abs(t.place.x - x) > 5 for t in things):
        ends = stage.camera.view(np.array([[x - 2.5, 0, z - 1], [x + 2.5, 0, z - 1]]))[:, 2]
        if ends.min() > 1.0:
            things.append(Thing(None, place, 0.6, _laid(CAR.paint, place)))


def _lamps(stage: Stage, plan: Street, things: list[Thing]) -> list[Lamp]:
    """The street lamps that light the scene: those in it, and one or two outside the picture."""
    if stage.light.lamps == 0:
        return []
    rng = stage.rng
    out = [
        Lamp(t.place.x, LAMP_HEIGHT, t.place.z - 0.7)
        for t in things
        if t.reach == LAMP.width / 2 and t.label is None
    ]
    targets = [t.place for t in things if t.label] or [spot(stage, max(plan.kerb, 2.5), plan.wall)]
    for _ in range(int(rng.integers(1, 3)) if not out else 1):
        near = targets[int(rng.integers(len(targets)))]
        x, z = near.x + float(rng.normal(0, 2.6)), near.z + float(rng.uniform(-3.0, 1.0))
        out.append(Lamp(x, LAMP_HEIGHT, z, float(rng.uniform(0.6, 1.1))))
    return out
