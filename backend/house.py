"""The house as one object: settings, ledger, images, weights and Label Studio, opened once per process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from backend import settings as settings_module
from backend.detector.registry import Registry
from backend.settings import Settings
from pool.images import Images
from pool.schema import BadInput, ModelVersion, NotReady, Project
from pool.store import Pool

if TYPE_CHECKING:
    from backend.detector.predict import Detector
    from backend.studio.client import Studio
    from backend.studio.media import Fetcher
    from generator.diffusion.pipeline import Painter

log = logging.getLogger("thresher.house")


class Tell(Protocol):
    """Hears how far a piece of work is; ``total`` 0 means unknown."""

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        """Take one notice."""


def silent(step: str, done: int, total: int, note: str = "") -> None:
    """A Tell for when nobody listens."""


class Stopped(Exception):
    """Somebody cancelled the job; what it did so far stays, the step counts as not done."""


@dataclass(frozen=True)
class Job:
    """A running piece of work: its id, whom to tell, and whether somebody wants it stopped."""

    id: str
    tell: Tell = silent
    cancelled: Callable[[], bool] = lambda: False

    def check(self) -> None:
        """Raise Stopped if somebody wants the job stopped; called between pieces of work."""
        if self.cancelled():
            raise Stopped(self.id)


class House:
    """Everything a verb needs. Opening it loads no model and speaks to no server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings_module.quiet_libraries(settings)
        make_folder(settings)
        self.pool = Pool.open(settings.ledger_url)
        self.images = Images(settings.images_root)
        self.registry = Registry(settings.model_dir)
        self._detector: tuple[tuple[str, dict[str, str]], Detector] | None = None

    def close(self) -> None:
        """Close the ledger and the connection to Label Studio."""
        if "studio" in self.__dict__:
            self.studio.close()
        if "painter" in self.__dict__:
            self.painter.close()
        self.pool.close()

    @cached_property
    def studio(self) -> Studio:
        """Label Studio, spoken to as the user whose token the settings hold.

        Raises:
            NotReady: no token is set.
        """
        from backend.studio.client import Studio

        if self.settings.api_key is None:
            raise NotReady(
                "No Label Studio token is set: copy one from its Account & Settings page and set "
                "LABEL_STUDIO_API_KEY (legacy and personal access tokens both work)."
            )
        return Studio(self.settings.studio_url, self.settings.api_key.get_secret_value())

    @cached_property
    def fetcher(self) -> Fetcher:
        """Fetches the images of tasks, from allowed hosts only."""
        from backend.studio.media import Fetcher

        return Fetcher(
            self.settings.studio_url,
            self.studio.headers,
            allowed_hosts=self.settings.media_hosts,
            public_urls=(self.settings.studio_public_url,) if self.settings.studio_public_url else (),
            max_bytes=self.settings.max_image_bytes,
        )

    def champion(self, project: int) -> ModelVersion:
        """The model version that serves a project.

        Raises:
            NotReady: the project is not connected yet.
        """
        model = self.pool.champion(project)
        if model is None:
            raise NotReady(f"Project {project} has no model yet: run `thresher connect {project}` first.")
        return model

    def detector(self, model: ModelVersion) -> Detector:
        """The detector of a model version, loaded once and kept until another version is wanted.

        Connecting a project again may change what its classes mean, which counts as another.
        """
        from backend.detector.predict import Detector, DetectorOptions

        labels = label_map(self.pool.project(model.project), model)
        if self._detector is None or self._detector[0] != (model.version, labels):
            log.info("loading %s", model.version)
            s = self.settings
            options = DetectorOptions(
                imgsz=s.imgsz,
                conf=s.conf_floor,
                iou=s.iou,
                device=s.device,
                threads=s.threads,
                batch=s.batch,
            )
            path = self.registry.path(model.weights)
            detector = Detector(path, options, version=model.version, label_map=labels)
            self._detector = ((model.version, labels), detector)
        return self._detector[1]

    @cached_property
    def painter(self) -> Painter:
        """What paints variants by diffusion; it loads a model when it is first used, and keeps it."""
        from backend.variants import shelf
        from generator.diffusion.options import PainterOptions
        from generator.diffusion.pipeline import Painter

        s = self.settings
        options = PainterOptions(device=_torch_device(s.device), batch=s.diffusion_batch, threads=s.threads)
        return Painter(shelf(self), options)

    def only_project(self, wanted: int | None) -> Project:
        """The project a command means: the one named, or the only one connected.

        Raises:
            NotReady: none is connected.
            BadInput: several are, and none was named.
            UnknownRecord: the one named is not connected.
        """
        if wanted is not None:
            return self.pool.project(wanted)
        projects = self.pool.projects()
        if not projects:
            raise NotReady("No project is connected yet: run `thresher connect PROJECT_ID`.")
        if len(projects) > 1:
            ids = ", ".join(f"{p.id} ({p.title})" for p in projects)
            raise BadInput("--project", f"one of {ids}", wanted, "Several projects are connected.")
        return projects[0]


def make_folder(settings: Settings) -> None:
    """The data folder.

    Raises:
        BadInput: it cannot be made.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            "THRESHER_DATA_DIR",
            "a folder that can be made and written",
            str(settings.data_dir),
            str(error.strerror),
        ) from None


def _torch_device(device: str) -> str:
    """The detector's word for a device in torch's words: its first GPU where it has several."""
    first = device.split(",")[0].strip()
    return f"cuda:{first}" if first.isdigit() else first


def label_map(project: Project, model: ModelVersion) -> dict[str, str]:
    """Model class to project label: retrained models speak the project's labels themselves."""
    known = set(project.labels)
    own = {name: name for name in model.classes if name in known}
    return {**own, **{k: v for k, v in project.label_map.items() if k in model.classes and v in known}}


@contextmanager
def open_house(settings: Settings) -> Iterator[House]:
    """A house that is closed again at the end."""
    house = House(settings)
    try:
        yield house
    finally:
        house.close()
