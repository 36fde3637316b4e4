"""How long Label Studio waits for /health and /webhook while a training runs on the same machine.

Twenty clients keep a connection each. `paced`: every client asks ten times a second, as a busy office
would; `flood`: each asks again as soon as it was answered. The floor is a bare ASGI program under the
same server, asked in the same way, in the same run, beside the same training.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from backend import processes  # noqa: E402
from backend.demo.server import free_port  # noqa: E402
from backend.house import open_house  # noqa: E402
from backend.settings import child_environment, load  # noqa: E402
from benchmarks.closing import close  # noqa: E402
from pool.schema import ModelVersion, Project  # noqa: E402

CLIENTS = 20
PACE = 0.1
LIMIT_MS = 25.0
SECRET = "bench-secret"
FLOOR = """
import sys, uvicorn
async def app(scope, receive, send):
    if scope["type"] != "http": return
    while (await receive()).get("more_body"): pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", lifespan="off")
"""
Bytes = Callable[[int], bytes]


def health(_: int) -> bytes:
    return b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def webhook(n: int) -> bytes:
    stamp = f"2026-11-01T00:00:00.{n:06d}Z"
    body = json.dumps(
        {
            "action": "ANNOTATION_CREATED",
            "project": {"id": 1},
            "task": {"id": n, "data": {"image": f"/data/upload/1/{n}.jpg"}},
            "annotation": {
                "id": n,
                "task": n,
                "project": 1,
                "updated_at": stamp,
                "created_at": stamp,
                "result": [],
            },
        }
    ).encode()
    head = f"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Thresher-Secret: {SECRET}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(port: int, make: Bytes, first: int, times: int, pace: float, out: list[float]) -> None:
    """One client: ``times`` requests on one connection, their seconds into ``out``."""
    await asyncio.sleep(pace * random.random())  # people do not press a button in step
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for n in range(times):
        began = time.perf_counter()
        writer.write(make(first + n))
        status = await reader.readline()
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        await reader.readexactly(length)
        took = time.perf_counter() - began
        assert status.split()[1][:1] == b"2", status
        out.append(took)
        await asyncio.sleep(max(0.0, pace - took))
    writer.close()


def measure(port: int, make: Bytes, times: int, pace: float, first: int) -> dict[str, float]:
    """Milliseconds of all clients together."""
    out: list[float] = []

    async def crowd() -> None:
        await asyncio.gather(
            *(ask(port, make, first + c * times, times, pace, out) for c in range(CLIENTS))
        )

    began = time.perf_counter()
    asyncio.run(crowd())
    spent = time.perf_counter() - began
    cuts = statistics.quantiles(out, n=100)
    return {
        "p50_ms": cuts[49] * 1e3,
        "p99_ms": cuts[98] * 1e3,
        "max_ms": max(out) * 1e3,
        "per_s": len(out) / spent,
    }


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            measure(port, health, 1, 0.0, 0)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(port)


def train_beside(folder: Path, stop: threading.Event) -> threading.Thread:
    """A real training of the demo's detector on drawn scenes, until ``stop`` is set."""
    from backend.demo.run import WEIGHTS
    from backend.demo.scenes import LABELS, jpeg, render
    from backend.detector.dataset import write_dataset
    from backend.detector.train import Cancelled, TrainOptions, TrainSpec, train

    rows = []
    for seed in range(300_000, 300_024):
        scene = render(seed)
        path = folder / f"{seed}.jpg"
        path.write_bytes(jpeg(scene))
        rows.append((path, scene.regions))
    data = write_dataset(folder / "set", rows, LABELS)
    spec = TrainSpec(folder / "job", WEIGHTS, data, LABELS, TrainOptions(epochs=1000, imgsz=320, batch=8))
    begun = threading.Event()

    def run() -> None:
        try:
            train(spec, lambda *_: begun.set(), stop.is_set)
        except Cancelled:
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    return thread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 45 seconds on two idle cores")
    quick = parser.parse_args().quick
    paced, flood = (40, 60) if quick else (200, 500)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = load(data_dir=folder / "data", port=free_port(), log_level="ERROR")
        with open_house(settings) as house:
            house.pool.save_project(Project(1, "Bench", "label", "image", "image", ("bin",), {}, SECRET))
            house.pool.add_model(ModelVersion("bench", 1, "none.pt", "0" * 64, ("bin",), datetime.now(UTC)))
        floor_port = free_port()
        running: list[subprocess.Popen[bytes]] = [
            processes.start(processes.own_command("serve", "--no-worker"), child_environment(settings)),
            processes.start([sys.executable, "-c", FLOOR, str(floor_port)], child_environment(settings)),
        ]
        stop = threading.Event()
        thread = None
        try:
            for port in (settings.port, floor_port):
                wait_for(port)
            thread = train_beside(folder, stop)
            cases: list[tuple[str, int, Bytes]] = [
                ("health", settings.port, health),
                ("webhook", settings.port, webhook),
                ("floor", floor_port, webhook),
            ]
            for index, (what, port, make) in enumerate(cases):
                for how, times, pace in (("paced", paced, PACE), ("flood", flood, 0.0)):
                    found = measure(port, make, times, pace, 1 + (2 * index + (how == "flood")) * 1_000_000)
                    figures |= {f"{what}_{how}_{k}": round(v, 2) for k, v in found.items()}
                    print(f"{what:8} {how:6} " + "  ".join(f"{k} {v:8.2f}" for k, v in found.items()))
        finally:
            stop.set()
            if thread is not None:
                thread.join()
            for process in running:
                processes.stop(process)
        with open_house(settings) as house:
            figures["events_stored"] = house.pool.inbox_size()
    figures["events_sent"] = CLIENTS * (paced + flood)
    ratios = {
        f"{what}_p99_to_limit": round(figures[f"{what}_paced_p99_ms"] / LIMIT_MS, 3)
        for what in ("health", "webhook")
    } | {"webhook_p99_to_floor": round(figures["webhook_paced_p99_ms"] / figures["floor_paced_p99_ms"], 2)}
    close("service", figures, ratios, resource.RUSAGE_CHILDREN)


if __name__ == "__main__":
    main()
