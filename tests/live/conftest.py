"""A real Label Studio for the tests of this folder: one server per session, one project per test."""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from backend.demo.server import LabelStudioServer, free_port, migrated_template
from backend.studio.client import Studio
from pool.schema import Box, ModelVersion, Prediction, Project, Region, Sample, Task
from pool.store import Pool
from tests.live.receiver import Receiver

CACHE = Path(__file__).parents[2] / ".cache" / "labelstudio"
LABELS = ("未满溢的垃圾桶", "满溢的垃圾桶", "garbage")
CONFIG = (
    '<View><Header value="$why"/><Image name="image" value="$image"/>'
    '<RectangleLabels name="label" toName="image">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + "</RectangleLabels></View>"
)
SECRET = "a-secret-of-the-tests"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def template() -> Path:
    """An empty database; the first use on a machine takes about a minute."""
    return migrated_template(CACHE)


@pytest.fixture(scope="session")
def server(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    with LabelStudioServer(tmp_path_factory.mktemp("label-studio"), free_port(), template) as running:
        yield running


@pytest.fixture(scope="session")
def studio(server: LabelStudioServer) -> Iterator[Studio]:
    """Label Studio as the administrator sees it."""
    with Studio(server.url, server.admin.token) as client:
        yield client


@pytest.fixture(scope="session")
def ann(server: LabelStudioServer) -> Iterator[Studio]:
    """Label Studio as a first annotator sees it."""
    with Studio(server.url, server.add_user("ann@example.com", "ann-pass-1234", "Ann Müller")) as client:
        yield client


@pytest.fixture(scope="session")
def bob(server: LabelStudioServer) -> Iterator[Studio]:
    """Label Studio as a second annotator sees it."""
    with Studio(server.url, server.add_user("bob@example.com", "bob-pass-1234", "Bob 李")) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool.open(f"sqlite:///{tmp_path / 'pool.sqlite'}") as opened:
        yield opened


@dataclass
class Scene:
    """A project in Label Studio and in the ledger, with a champion and pictures as tasks."""

    studio: Studio
    pool: Pool
    project: Project
    tasks: list[Task] = field(default_factory=list)

    @property
    def id(self) -> int:
        return self.project.id

    def predict(self, version: str, uncertainties: Sequence[float], *, promote: bool = True) -> None:
        """Let a model version have seen the pictures, the n-th with the n-th uncertainty."""
        self.pool.add_model(
            ModelVersion(
                version, self.id, f"{version}.pt", version, ("bin", "full", "litter"), datetime.now(UTC)
            )
        )
        if promote:
            self.pool.promote(version)
        self.pool.save_predictions(
            [
                Prediction(
                    sample=task.sample,
                    model_version=version,
                    regions=(
                        Region(LABELS[i % 3], Box(0.1, 0.2, 0.5, 0.75), score=0.9 - i / 1000, id=f"r{i}"),
                    ),
                    classes=("bin", "full", "litter"),
                    uncertainty=u,
                    measure="entropy",
                )
                for i, (task, u) in enumerate(zip(self.tasks, uncertainties, strict=True))
            ]
        )


@pytest.fixture(scope="session")
def titles() -> Iterator[str]:
    return (f"live {n}" for n in itertools.count(1))


@pytest.fixture
def make_scene(studio: Studio, pool: Pool, titles: Iterator[str]) -> Callable[[int], Scene]:
    """Makes a project with n small pictures uploaded, known to the ledger."""

    def make(pictures: int) -> Scene:
        made = studio.create_project(next(titles), CONFIG)
        number = int(made["id"])
        project = Project(
            number, str(made["title"]), "label", "image", "image", LABELS, {"bin": LABELS[0]}, SECRET
        )
        pool.save_project(project)
        scene = Scene(studio, pool, project)
        if pictures:
            uris = studio.upload(number, [(f"street {i}.png", picture(number, i)) for i in range(pictures)])
            ids = studio.import_tasks(
                number, [{"image": uri, "why": "", "route": "waiting"} for uri in uris]
            )
            samples = [sample(number, i) for i in range(pictures)]
            pool.add_samples(samples)
            scene.tasks = [
                Task(number, task, each.id, uri) for task, each, uri in zip(ids, samples, uris, strict=True)
            ]
            pool.bind_tasks(scene.tasks)
        return scene

    return make


def picture(project: int, number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 12), (project % 256, number % 256, 99)).save(out, "PNG")
    return out.getvalue()


def sample(project: int, number: int) -> Sample:
    key = f"{project:032x}{number:032x}"
    return Sample(key, 16, 12, f"street {number}.png", key, number, key, holdout=False, suffix=".png")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="thresher")
