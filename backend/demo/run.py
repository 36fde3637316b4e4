"""``thresher demo``: Label Studio, this service and a pool of pictures, from nothing to a first batch."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from backend import connecting, console, gallery, loop, overview, processes
from backend.demo import home
from backend.demo.labeling import config_for
from backend.demo.server import LabelStudioServer, migrated_template, write_private
from backend.house import House, Job, open_house
from backend.settings import Settings, child_environment, env_file
from backend.workflows import Jobs
from pool.schema import BadInput, StudioError, ThresherError

WEIGHTS = Path(__file__).parent / "weights" / "street-bins.pt"
FIRST_SEED = 0
VARIED = ["rain:heavy", "snow:heavy", "sandstorm:moderate", "haze:moderate", "night", "glare"]
"""Weather and light of the demo's variants."""


@dataclass(frozen=True, slots=True)
class Options:
    """What ``thresher demo`` was asked for; ``images`` None means drawn street scenes."""

    folder: Path
    images: Path | None = None
    labels: str | None = None
    weights: str | None = None
    count: int = 200
    studio_port: int = 8080
    port: int = 9090


def run(options: Options) -> None:
    """Start everything, print where to look, and end everything on Ctrl-C or SIGTERM.

    Raises:
        BadInput: a port is taken, or pictures without labels (or the other way round) were given.
    """
    labels = check(options)
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with ExitStack() as stack, _ending():
        with console.bars(show=True) as tell:
            pictures, server = _prepare(options, folder, tell)
            stack.callback(server.stop)
            house, service = _open(options, folder, server, stack)
            project, report = _fill(options, house, server, pictures, labels, tell)
        _tell_where(house, server, project, options, time.monotonic() - started)
        console.table("Asked in this round", ["route", "images", "for example"], report)
        if options.images is None:
            vary(house, project, folder)
        _wait(server, service)


def check(options: Options) -> tuple[str, ...]:
    """The project's labels; everything that can be wrong is said before anything starts."""
    from backend.demo.scenes import LABELS

    if (options.images is None) != (options.labels is None):
        raise BadInput(
            "--images and --labels",
            "given together",
            "only one of them",
            'For your own pictures: make demo IMAGES=/my/folder LABELS="cat,dog".',
        )
    if options.images is not None and not options.images.is_dir():
        raise BadInput("--images", "a folder of pictures", str(options.images))
    same_as_before(options)
    processes.require_free_port("127.0.0.1", options.studio_port, "--studio-port")
    processes.require_free_port("127.0.0.1", options.port, "--port")
    if options.labels is None:
        return LABELS
    named = parse_labels(options.labels)
    if not named:
        raise BadInput("--labels", "one or more names separated by commas", options.labels)
    return named


def same_as_before(options: Options) -> None:
    """A folder holds one demo.

    Raises:
        BadInput: it was started with other pictures, labels or weights.
    """
    if not (options.folder / "demo.json").exists():
        return
    known = home.load(options.folder)
    labels = None if known.drawn else ",".join(known.labels)
    images = None if known.drawn else known.images
    wanted = str(options.images.resolve()) if options.images else None
    given = ",".join(parse_labels(options.labels)) if options.labels else None
    if (images and str(Path(images).resolve()), labels) != (wanted, given) or (
        options.weights not in (None, known.weights)
    ):
        raise BadInput(
            "--folder",
            "the folder of this very demo, or a new one",
            str(options.folder),
            f"It holds {'drawn scenes' if known.drawn else f'{images} with labels {labels}'}: "
            "choose another with --folder (make demo FOLDER=...), or delete it.",
        )


def parse_labels(text: str) -> tuple[str, ...]:
    """Labels separated by commas, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _prepare(options: Options, folder: Path, tell: Callable[..., None]) -> tuple[Path, LabelStudioServer]:
    """Label Studio starts in a thread while the scenes are drawn in this one."""

    def start() -> LabelStudioServer:
        began = lambda what, seconds: tell("start", 0, 0, f"{what}, {seconds:.0f} s")  # noqa: E731
        template = migrated_template(folder / "template", began)
        server = LabelStudioServer(folder / "studio", options.studio_port, template)
        server.start(began)
        tell("start", 1, 1, "Label Studio is up")
        return server

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(start)
        try:
            pictures = options.images or draw(folder, options.count, tell)
        except BaseException:
            future.result().stop()
            raise
        return pictures, future.result()


def draw(folder: Path, count: int, tell: Callable[..., None]) -> Path:
    """Drawn scenes as JPEG files, with what is really in them in ``truth.json`` for the simulation."""
    from backend.demo.scenes import jpeg, render

    images = folder / "images"
    images.mkdir(exist_ok=True)
    truth_file = folder / "truth.json"
    truth: dict[str, Any] = json.loads(truth_file.read_text()) if truth_file.exists() else {}
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        path = images / f"street-{seed:05d}.jpg"
        tell("draw", seed - FIRST_SEED, count)
        if path.exists() and path.name in truth:
            continue
        scene = render(seed)
        path.write_bytes(jpeg(scene))
        truth[path.name] = [[r.label, r.box.x1, r.box.y1, r.box.x2, r.box.y2] for r in scene.regions]
    write_private(truth_file, json.dumps(truth))
    tell("draw", count, count)
    return images


def _open(
    options: Options, folder: Path, server: LabelStudioServer, stack: ExitStack
) -> tuple[House, subprocess.Popen[bytes]]:
    settings = home.settings(folder, server, options.port, drawn=options.images is None)
    house = stack.enter_context(open_house(settings))
    write_private(folder / "thresher.env", env_file(settings))  # so that `thresher` works from this folder
    service = processes.start(
        processes.own_command("serve"), child_environment(settings), folder / "thresher.log", cwd=folder
    )
    stack.callback(processes.stop, service)
    _await_service(settings, service, folder / "thresher.log")
    return house, service


def _fill(
    options: Options,
    house: House,
    server: LabelStudioServer,
    pictures: Path,
    labels: tuple[str, ...],
    tell: Callable[..., None],
) -> tuple[int, list[list[object]]]:
    folder = options.folder.resolve()
    weights = options.weights or str(WEIGHTS)
    if not (folder / "demo.json").exists():
        title = "Street bins" if options.images is None else (options.images.name[:40] or "My pictures")
        made = house.studio.create_project(title.ljust(3, "."), config_for(labels))
        drawn, where = options.images is None, str(pictures)
        new = home.Home(
            int(made["id"]),
            options.studio_port,
            options.port,
            where,
            labels,
            weights,
            drawn,
            home.invited(),
        )
        home.save(folder, new)
    known = home.load(folder)
    known = replace(
        known, studio_port=options.studio_port, port=options.port, people=home.sign_up(server, known.people)
    )
    home.save(folder, known)
    project = known.project
    fresh = house.pool.champion(project) is None  # also after a start that was cut short
    cold = fresh and options.images is not None and options.weights is None
    connecting.connect(house, project, weights if fresh else None, cold_start=cold)
    loop.add(house, project, [pictures], Job("demo-add", tell))
    jobs = Jobs(house.settings)
    if not any(r.closed_at is None for r in house.pool.rounds(project)):
        done = overview.follow_with(
            house, jobs, jobs.start("ask", project, size=house.settings.ask_size), tell
        )
        if done.state != "done":
            raise StudioError(
                f"The first round could not be asked: {done.error}. See {folder / 'thresher.log'}."
            )
    jobs.close()
    return project, routed(house, project)


def routed(house: House, project: int) -> list[list[object]]:
    """How many images the open round sent where, with a reason as an example."""
    rounds = [r for r in house.pool.rounds(project) if r.closed_at is None]
    decisions = house.pool.decisions(rounds[-1].id) if rounds else []
    rows: list[list[object]] = []
    for route, meaning in (("human", "one person"), ("double", "two people"), ("auto", "nobody")):
        those = [d for d in decisions if d.route == route]
        rows.append([f"{route} ({meaning})", len(those), those[0].reason if those else ""])
    waiting = house.pool.counts(project)["tasks"] - len(decisions)
    rows.append(["waiting in the pool", waiting, "served after those asked, the least certain first"])
    return rows


def _tell_where(
    house: House, server: LabelStudioServer, project: int, options: Options, seconds: float
) -> None:
    admin = server.admin
    console.facts(
        f"Ready after {seconds:.0f} s",
        {
            "Label Studio": f"{server.url}/projects/{project}/data  (press Label All Tasks)",
            "log-in": f"{admin.email}  {admin.password}",
            "service": f"http://127.0.0.1:{options.port}/health",
            "agreement": f"http://127.0.0.1:{options.port}/projects/{project}/consensus",
            "model": house.champion(project).version,
            "next": f"{_then(options)}   (in another terminal)",
            "look": f"cd {options.folder}; {program().resolve()} status   (or doctor, round ask …)",
            "stop": "Ctrl-C",
        },
    )


def vary(house: House, project: int, folder: Path) -> None:
    """Paint a few of the hardest scenes in other weather, and draw the contact sheet of what came of it.

    The demo is ready without it: a failure is told, and ends nothing.
    """
    sheet = folder / "variants.png"
    if not sheet.exists():
        jobs = Jobs(house.settings)
        with console.bars(show=True) as tell:
            job = jobs.start(
                "generate", project, weather=VARIED, parents=["hardest:3"], per_parent=len(VARIED)
            )
            done = overview.follow_with(house, jobs, job, tell)
        jobs.close()
        try:
            if done.state != "done":
                raise ThresherError(str(done.error))
            gallery.sheet(house, project, sheet)
        except ThresherError as error:
            console.say(("no variants: ", "yellow"), str(error))
            return
    counts = Counter(v.state for v in house.pool.variants(project))
    console.say(
        f"Painted {sum(counts.values())} variants of the hardest scenes by diffusion; the gates let "
        f"{counts['passed'] + counts['accepted']} into the pool. Look at them: ",
        (str(sheet), "bold"),
    )


def _then(options: Options) -> str:
    """What comes after the first batch: only drawn scenes can be labelled by simulated people."""
    if options.images is None:
        return f"{program()} simulate --folder {options.folder}"
    return f"label a few; then cd {options.folder}; {program().resolve()} round learn"


def program() -> Path:
    """The ``thresher`` beside this very Python, as one would type it here."""
    own = Path(sys.executable).with_name("thresher")
    return own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own


def _await_service(
    settings: Settings, service: subprocess.Popen[bytes], log: Path, patience: float = 90.0
) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and service.poll() is None:
        try:
            if httpx.get(f"{settings.public_url}/health", timeout=1.0, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
    raise StudioError(f"The service did not come up; its log {log} ends with:\n{tail}")


@contextmanager
def _ending() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the demo in order; also where a shell started it with Ctrl-C ignored."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except KeyboardInterrupt:
        console.say("\nstopping Label Studio and the service …")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(server: LabelStudioServer, service: subprocess.Popen[bytes]) -> None:
    tick = threading.Event()
    while not tick.wait(0.5):
        if server.pid is None:
            raise StudioError(f"Label Studio ended by itself; its log is {server.log}.")
        if service.poll() is not None:
            raise StudioError(
                f"The service ended by itself with code {service.returncode}; see thresher.log."
            )
