"""A folder as a stream: every image file that appears in it is judged."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Event

from backend import console, heartbeat, streaming
from backend.house import House
from backend.streaming import Judged
from pool.images import SUFFIXES
from pool.schema import BadInput, ThresherError

log = logging.getLogger("thresher.watching")

KNOWN = 100_000  # files whose latest state is remembered

Tell = Callable[[Path, Judged], None]


def show(house: House, project: int, folder: Path, *, existing: bool, as_json: bool) -> None:
    """Watch until interrupted, a line for each image; with ``as_json`` each is one JSON object."""

    def tell(path: Path, judged: Judged) -> None:
        if as_json:
            said = {"file": str(path), "sample": judged.sample, **asdict(judged.verdict)}
            sys.stdout.write(json.dumps(said, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        else:
            style = {"ask": "yellow", "auto": "green", "drop": "dim"}[judged.verdict.action]
            console.say((f"{judged.verdict.action:<5}", style), path.name, "  ", judged.verdict.reason)

    if not as_json:
        alive = heartbeat.alive(house.pool)
        console.say(f"Watching {folder}; stop with Ctrl+C.")
        if not alive:
            console.say("No worker is running: images are judged, and become tasks once one is.")
    watch(house, project, folder, tell, existing=existing, stop=Event())


def watch(house: House, project: int, folder: Path, tell: Tell, *, existing: bool, stop: Event) -> None:
    """Judge image files as they come, until ``stop`` is set; ``tell`` hears of each.

    With ``existing`` those that are there already come first, by name. A file that cannot be read yet,
    as while it is being copied, is tried again when it changes.

    Raises:
        BadInput: ``folder`` is no folder.
        NotReady: no stream is set up.
    """
    if not folder.is_dir():
        raise BadInput("FOLDER", "a folder", str(folder), "Make it first, or check its name.")
    streaming.gate(house, house.champion(project))
    done: dict[Path, tuple[int, int]] = {}
    for path in _coming(folder.resolve(), existing=existing, stop=stop):
        try:
            now = (path.stat().st_mtime_ns, path.stat().st_size)
            if done.get(path) == now or not path.is_file():
                continue
            judged = streaming.arrive(house, project, path.read_bytes(), path.name)
        except (ThresherError, OSError) as error:  # the next image may fare better
            log.warning("%s: %s", path.name, error)
            continue
        done.pop(path, None)
        done[path] = now
        if len(done) > KNOWN:
            del done[next(iter(done))]
        tell(path, judged)
        if stop.is_set():
            return


def _coming(folder: Path, *, existing: bool, stop: Event) -> Iterator[Path]:
    from watchfiles import Change, watch

    # The watcher wakes at least this often, in milliseconds; at its first waking it is surely listening.
    for changes in watch(
        folder, stop_event=stop, debounce=400, step=100, rust_timeout=200, yield_on_timeout=True
    ):
        if existing:
            existing = False
            yield from sorted(path for path in folder.rglob("*") if _is_image(folder, path))
        paths = {Path(name) for change, name in changes if change is not Change.deleted}
        yield from sorted(path for path in paths if _is_image(folder, path))


def _is_image(folder: Path, path: Path) -> bool:
    inside = path.relative_to(folder)
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in inside.parts)
