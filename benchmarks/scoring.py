"""How fast a pool is looked at, against the bare network, ultralytics' own batches and one image at a time.

`prelabel` is the real verb, from files to the ledger. Its `limit` is the same network on tensors that lie
ready, of the very rectangles and batches that `prelabel` made. `predict_stream` is ultralytics'
predict(stream=True) in batches of 8, which pads mixed photos to squares; `one_at_a_time` is what an ML
backend of Label Studio does: a request over HTTP for each image, answered by predict() of that image.

The contestants take turns on the same photos and cores. A ratio says how many times as fast `prelabel` is:
the median of the rounds' own ratios. Its `_cpu` is the same of CPU seconds, its `_best` of everybody's
fastest round: on a machine that others use too, the three tell how far to trust the first.
"""

from __future__ import annotations

import argparse
import copy
import http.client
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from backend import intake, learning  # noqa: E402
from backend.demo.run import WEIGHTS  # noqa: E402
from backend.detector.predict import Detector  # noqa: E402
from backend.detector.runtime import library, set_threads  # noqa: E402
from backend.detector.weights import class_names  # noqa: E402
from backend.house import House, Job  # noqa: E402
from backend.settings import isolated  # noqa: E402
from benchmarks.closing import close  # noqa: E402
from pool.schema import BadInput, ModelVersion, Project, Task  # noqa: E402

SHARED = ROOT.parent / "shared"
PHOTOS, REAL_WEIGHTS = SHARED / "data" / "coco128" / "images", SHARED / "weights" / "yolo11n-coco.pt"
DRAWN = ((640, 480), (480, 640), (640, 427), (640, 360), (500, 375), (640, 640))
STREAM_BATCH = 8

Work = Callable[[], float]
"""Looks at all photos once; returns CPU seconds that it cost another process."""
Times = dict[str, NDArray[np.float64]]
"""Of each contestant (rounds, 2): wall and CPU seconds."""
Figures = dict[str, float]


class Street(House):
    """A house whose model versions are all the same weights, loaded once: looking is timed, not loading."""

    loaded: tuple[str, Detector] | None = None
    rounds = itertools.count(1)

    def detector(self, model: ModelVersion) -> Detector:
        if self.loaded is None or self.loaded[0] != model.weights:
            self.loaded = model.weights, super().detector(model)
        found = copy.copy(self.loaded[1])
        found.version = model.version
        return found


def photos(folder: Path | None, count: int, drawn: Path) -> list[Path]:
    """The first ``count`` image files in a folder, or as many drawn scenes where there is none."""
    if folder is not None:
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".png"))
        if len(found) < count:
            raise BadInput("--images", f"a folder of at least {count} photos", str(folder))
        return found[:count]
    from backend.demo.scenes import jpeg, render

    drawn.mkdir()
    for seed in range(count):
        (drawn / f"{seed:03}.jpg").write_bytes(jpeg(render(seed, DRAWN[seed % len(DRAWN)])))
    return sorted(drawn.iterdir())


def enter(house: House, files: Sequence[Path], sizes: Sequence[int], classes: tuple[str, ...]) -> list[str]:
    """The photos in the pool, and for each size n a project n of the first n; their paths there."""
    samples = intake.from_files(house, files, Job("add")).samples
    for n in sizes:
        house.pool.save_project(Project(n, f"{n}", "label", "image", "image", classes, {}, "secret"))
        house.pool.bind_tasks([Task(n, i, s.id, s.name) for i, s in enumerate(samples[:n], start=n * 1000)])
    return [str(house.images.local(sample)) for sample in samples]


class Prelabel:
    """The verb on project ``n``, again and again as if its model were new."""

    def __init__(self, house: Street, n: int, weights: Path, classes: tuple[str, ...]) -> None:
        self.house, self.n, self.classes = house, n, classes
        self.weights, self.sha = house.registry.register(weights)
        self.shapes: list[tuple[int, ...]] = []
        # As the detector loaded it: the limit must be the very same network.
        self.network: Any = house.detector(self._version())._backend

    def _version(self) -> ModelVersion:
        name = f"round-{next(self.house.rounds)}"
        model = ModelVersion(name, self.n, self.weights, self.sha, self.classes, datetime.now(UTC))
        self.house.pool.add_model(model)
        return model

    def __call__(self) -> float:
        model, self.shapes = self._version(), []
        hook = self.network.register_forward_pre_hook(lambda _, given: self.shapes.append(given[0].shape))
        report = learning.look(self.house, model, Job("prelabel"))
        hook.remove()
        assert (report["predicted"], report["failed"]) == (self.n, 0), report
        return 0.0

    def limit(self) -> Work:
        """The network alone on the batches of the latest run."""
        import torch

        return partial(forward, self.network, [torch.rand(shape) for shape in self.shapes])


def forward(network: Any, batches: Sequence[Any]) -> float:
    import torch

    with torch.inference_mode():
        for batch in batches:
            network(batch)
    return 0.0


def yolo(weights: str | Path) -> Any:
    """ultralytics' model of a file, in a tamed library."""
    return library("models").YOLO(str(weights), task="detect")


def predict_stream(model: Any, files: Sequence[str], how: Mapping[str, Any]) -> float:
    """ultralytics' own way with many images."""
    results = model.predict(list(files), stream=True, batch=STREAM_BATCH, **how)
    assert len([rows(result.boxes) for result in results]) == len(files)
    return 0.0


def rows(boxes: Any) -> list[list[float]]:
    """Boxes as plain numbers: x1 y1 x2 y2 in [0, 1], score and class."""
    columns = (boxes.xyxyn.tolist(), boxes.conf.tolist(), boxes.cls.tolist())
    return [[*box, score, kind] for box, score, kind in zip(*columns, strict=True)]


def serve(port: Connection, how: Mapping[str, Any], threads: int) -> None:
    """An ML backend at its least: one image in, its boxes out, and the CPU seconds that it took."""
    library("models")  # while the parent still prepares
    models: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            began = time.process_time()
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if asked["weights"] not in models:
                models[asked["weights"]] = yolo(asked["weights"])
            found = rows(models[asked["weights"]].predict(asked["image"], **how)[0].boxes)
            set_threads(threads)  # the first predict() has set ultralytics' own number
            answer = {"result": found, "cpu": time.process_time() - began}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


def ml_backend(how: Mapping[str, Any], threads: int) -> Callable[[Path, Sequence[str]], Work]:
    """Starts a server in a process that ends with ours; returns what makes the work of asking it."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    spawn.Process(target=serve, args=(theirs, dict(how), threads), daemon=True).start()
    port = cache(ours.recv)

    def ask(weights: Path, image: str) -> float:
        with closing(http.client.HTTPConnection("127.0.0.1", port())) as connection:
            connection.request("POST", "/predict", json.dumps({"weights": str(weights), "image": image}))
            return float(json.loads(connection.getresponse().read())["cpu"])

    return lambda weights, files: lambda: sum(ask(weights, image) for image in files)


def contest(contestants: Mapping[str, Work], rounds: int, threads: int) -> Times:
    """What each spent, in turns; every other round in reverse, so that nobody always follows the same."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name in list(contestants)[:: -1 if number % 2 else 1]:
            set_threads(threads)  # ultralytics sets its own number whenever it chooses a CPU
            wall, cpu = time.perf_counter(), time.process_time()
            elsewhere = contestants[name]()
            took = time.perf_counter() - wall
            spent[name].append((took, time.process_time() - cpu + elsewhere))
    return {name: np.asarray(each) for name, each in spent.items()}


def exported(weights: Path, imgsz: int, folder: Path) -> Path:
    """The weights for OpenVINO, for pictures of any size."""
    source = folder / weights.name  # an export is written beside its source
    shutil.copyfile(weights, source)
    with warnings.catch_warnings(action="ignore"):  # torch, of how ultralytics exports
        return Path(yolo(source).export(format="openvino", dynamic=True, half=False, imgsz=imgsz))


def compared(times: Times, count: int, prefix: str, table: Table) -> tuple[Figures, Figures]:
    """Figures and ratios of a contest, which also become rows of the table."""
    figures, ratios, ours = {}, {}, times["prelabel"]
    for name, spent in times.items():
        wall, cpu = np.median(spent, axis=0) / count
        best = spent[:, 0].min() / count
        figures[f"{prefix}{name}_images_per_s"] = round(1 / wall, 2)
        figures[f"{prefix}{name}_best_images_per_s"] = round(1 / best, 2)
        figures[f"{prefix}{name}_cpu_ms_per_image"] = round(cpu * 1e3, 1)
        cells = [f"{prefix}{name}", f"{1 / wall:.2f}", f"{1 / best:.2f}", f"{cpu * 1e3:.1f}"]
        if name != "prelabel":
            ratio, of_cpu = np.median(spent / ours, axis=0).round(2).tolist()
            of_best = round(spent[:, 0].min() / ours[:, 0].min(), 2)
            ratios[f"{prefix}{name}"] = ratio
            figures |= {f"to_{prefix}{name}_cpu": of_cpu, f"to_{prefix}{name}_best": of_best}
            cells += [f"{ratio:.2f}", f"{of_best:.2f}", f"{of_cpu:.2f}"]
        table.add_row(*cells)
    return figures, ratios


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast a pool is looked at.")
    parser.add_argument("--images", type=Path, default=PHOTOS if PHOTOS.is_dir() else None)
    parser.add_argument("--weights", type=Path, default=REAL_WEIGHTS if REAL_WEIGHTS.is_file() else WEIGHTS)
    parser.add_argument("--threads", type=int, default=2, help="cores for everybody")
    parser.add_argument("--quick", action="store_true", help="eight photos: under 45 seconds")
    given = parser.parse_args()
    sizes, count, rounds = ((4, 8), 8, 2) if given.quick else ((32, 64, 128), 64, 5)
    if hasattr(os, "sched_setaffinity"):  # OpenVINO, decoding threads and the server keep to them as well
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    figures: Figures = {"photos": count, "rounds": rounds, "threads": given.threads}
    table = Table("", "images/s", "at best", "CPU ms/image", "ours to it", "at best", "in CPU")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = isolated(data_dir=folder / "data", threads=given.threads, device="cpu")
        house = stack.enter_context(closing(Street(settings)))
        how: dict[str, Any] = {"device": "cpu", "verbose": False, "max_det": 100}
        how |= {"imgsz": settings.imgsz, "conf": settings.conf_floor, "iou": settings.iou}
        asking = ml_backend(how, given.threads)
        classes = class_names(given.weights)
        files = enter(house, photos(given.images, sizes[-1], folder / "drawn"), sizes, classes)
        growing = {n: Prelabel(house, n, given.weights, classes) for n in sizes}
        for n, work in growing.items():  # upwards and before all else: the peak never falls again
            work()
            figures[f"prelabel_{n}_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        grown = contest({str(n): work for n, work in growing.items()}, rounds, given.threads)
        each = {n: float(np.median(grown[str(n)][:, 0])) / n for n in sizes}
        for n, seconds in each.items():
            figures[f"prelabel_{n}_images_per_s"] = round(1 / seconds, 2)
            table.add_row(f"prelabel of {n}", f"{1 / seconds:.2f}")
        ratios = {"growth_per_image": round(each[sizes[-1]] / each[sizes[0]], 2)}
        for prefix in ("", "openvino_"):
            weights = exported(given.weights, settings.imgsz, folder) if prefix else given.weights
            ours = Prelabel(house, count, weights, classes)
            ours()
            contestants: dict[str, Work] = {
                "prelabel": ours,
                "limit": ours.limit(),
                "predict_stream": partial(predict_stream, yolo(weights), files[:count], how),
                "one_at_a_time": asking(weights, files[:count]),
            }
            for rival in list(contestants.values())[1:]:
                rival()  # once untimed, as ours: kernels are made at the first picture of a shape
            found = compared(contest(contestants, rounds, given.threads), count, prefix, table)
            figures, ratios = figures | found[0], found[1] | ratios
    Console(highlight=False, width=120).print(table)
    close("scoring", figures, ratios)


if __name__ == "__main__":
    main()
