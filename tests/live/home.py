"""A small loop of its own on the real server: drawn scenes, the demo's detector, a service to talk to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from backend import connecting, loop, processes
from backend.demo.labeling import config_for
from backend.demo.people import PEOPLE, annotate
from backend.demo.run import WEIGHTS
from backend.demo.scenes import LABELS, jpeg, render
from backend.demo.server import LabelStudioServer, free_port
from backend.house import House, Job, open_house
from backend.settings import Settings, child_environment, load
from backend.studio import convert
from backend.studio.client import Studio
from backend.workflows import Jobs, JobStatus
from tests.waiting import until

ROOT = Path(__file__).parents[2]
FIRST = 5000


class Home:
    """An open house on a connected project with drawn scenes, and what runs beside it."""

    def __init__(self, house: House, project: int, folder: Path) -> None:
        self.house, self.project, self.folder = house, project, folder
        self.jobs = Jobs(house.settings)
        self.service: subprocess.Popen[bytes] | None = None

    def serve(self) -> None:
        """Start the API alone and wait until it answers."""
        self.service = self.start(processes.own_command("serve", "--no-worker"))
        until(lambda: self._up(), 90)

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        return processes.start(
            command, child_environment(self.house.settings, PYTHONPATH=str(ROOT)), self.folder / "log"
        )

    def crash(self, kind: str, index: int, when: str) -> int:
        """Run a worker that is killed in a step; its exit status."""
        script = str(Path(__file__).with_name("crashing_worker.py"))
        worker = self.start([sys.executable, script, kind, str(index), when])
        try:
            return worker.wait(180)
        finally:
            processes.stop(worker)

    @contextmanager
    def worker(self) -> Iterator[None]:
        process = self.start(processes.own_command("worker"))
        try:
            yield
        finally:
            processes.stop(process)

    def finish(self, job: str, patience: float = 300) -> JobStatus:
        until(lambda: self.jobs.status(job).state not in ("queued", "running"), patience)
        return self.jobs.status(job)

    def label(self, studio: Studio, person: int, limit: int) -> list[int]:
        """One simulated person labels up to ``limit`` tasks that Label Studio hands out; their ids."""
        project = self.house.pool.project(self.project)
        done: list[int] = []
        while len(done) < limit and (task := studio.next_task(self.project)) is not None:
            seed = int(task["data"]["name"].removeprefix("scene-").removesuffix(".jpg"))
            drawn = task["predictions"][0]["result"] if task["predictions"] else []
            regions, seconds = annotate(
                render(seed).regions,
                convert.read(drawn, project).regions,
                PEOPLE[person],
                np.random.default_rng(seed),
            )
            studio.create_annotation(
                int(task["id"]),
                result=convert.results(regions, project, (640, 480)),
                lead_time=seconds,
                parent_prediction=task["predictions"][0]["id"] if task["predictions"] else None,
            )
            done.append(int(task["id"]))
        return done

    def _up(self) -> bool:
        try:
            return httpx.get(
                f"{self.house.settings.public_url}/health", timeout=1, trust_env=False
            ).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def open_home(
    server: LabelStudioServer, folder: Path, title: str, scenes: int, **changes: object
) -> Iterator[Home]:
    """Everything up to a connected project with tasks; nothing predicted yet."""
    port = free_port()
    given: dict[str, object] = {
        "data_dir": folder / "data",
        "studio_url": server.url,
        "api_key": server.admin.token,
        "port": port,
        "backend_url": f"http://127.0.0.1:{port}",
        "imgsz": 160,
        "epochs": 2,
        "threads": 1,
        "holdout_share": 0.25,
        "reconcile_seconds": 2.0,
        "log_level": "INFO",
    }
    settings: Settings = load(**{**given, **changes})
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for seed in range(FIRST, FIRST + scenes):
        (pictures / f"scene-{seed}.jpg").write_bytes(jpeg(render(seed)))
    with open_house(
        settings.model_copy(update={"backend_url": f"http://127.0.0.1:{settings.port}"})
    ) as house:
        made = house.studio.create_project(title, config_for(LABELS))
        home = Home(house, int(made["id"]), folder)
        home.serve()
        try:
            connecting.connect(house, home.project, str(WEIGHTS))
            loop.add(house, home.project, [pictures], Job("add"))
            yield home
        finally:
            home.jobs.close()
            if home.service is not None:
                processes.stop(home.service)
