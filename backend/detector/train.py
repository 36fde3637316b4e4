"""Training in a process of its own, watched from outside.

The parent (`train`) writes a job folder and starts ``python -m backend.detector.train spec.json``
there; `trainer` is what runs inside. A training that was killed goes on from its last whole epoch
when the same job is started again; one that finished is not run twice.

::

    spec.json        what to train, as the parent wrote it
    start.pt         the base with a head for the job's labels, where it has another one
    progress.jsonl   a line per epoch
    train.log        everything ultralytics said
    resume.pt        the last whole checkpoint
    weights.pt       the result: unfused, float16, without paths
    result.json      written last: the training is done
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import backend
from backend.detector.runtime import log
from backend.detector.weights import write_atomically
from pool.schema import BadInput, MissingWeights, ThresherError

_LOG_LINES = 12
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Cancelled(ThresherError):
    """Somebody stopped the training; the job can be started again and goes on."""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train; the defaults suit tens to hundreds of images on weights that already see.

    ``lr0`` is AdamW's first learning rate, falling along a cosine to a hundredth. ``freeze`` is the
    number of first layers that stay as they are (10 = the backbone of YOLOv8/11/26). ``patience``
    ends a training after that many epochs without a better validation, 0 never; without validation
    images it has no meaning. ``close_mosaic`` is the number of last epochs on plain images.
    ``threads`` of torch, 0 = all cores; ``workers`` load images beside a GPU and are unused on a
    CPU. Of several devices the first is used.
    """

    epochs: int = 30
    imgsz: int = 640
    batch: int = 8
    lr0: float = 0.001
    freeze: int = 0
    patience: int = 15
    close_mosaic: int = 5
    seed: int = 0
    threads: int = 0
    workers: int = 4
    device: str = ""

    def __post_init__(self) -> None:
        for name in ("epochs", "imgsz", "batch"):
            if getattr(self, name) < 1:
                raise BadInput(name, "at least 1", getattr(self, name))
        for name in ("freeze", "patience", "close_mosaic", "threads", "workers"):
            if getattr(self, name) < 0:
                raise BadInput(name, "0 or more", getattr(self, name))
        if not 0 < self.lr0 < 1:
            raise BadInput("lr0", "between 0 and 1", self.lr0)


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """A training job: its ``folder``, the ``weights`` to start from, a ``data`` yaml, the ``labels``.

    ``labels`` are those of the dataset, in order. ``label_map`` (class of the base -> label) says
    what the base already knows under another name.
    """

    folder: Path
    weights: Path
    data: Path
    labels: Sequence[str]
    options: TrainOptions = field(default_factory=TrainOptions)
    label_map: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training.

    ``epochs`` and ``seconds`` are of whole epochs over all attempts, ``metrics`` those of the epoch
    whose ``weights`` were taken (``map50_95``, ``map50`` on the validation images; empty without).
    """

    weights: Path
    epochs: int
    seconds: float
    metrics: Mapping[str, float]


Heard = Callable[[int, int, str], None]


def train(
    spec: TrainSpec,
    on_progress: Heard | None = None,
    should_cancel: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train in a child process of low priority; returns when it is done.

    ``on_progress(epoch, epochs, note)`` is called after each epoch, ``should_cancel`` asked about
    twice a second. The child dies with this process, and with the thread that called.

    Raises:
        Cancelled: ``should_cancel`` said so; the job goes on from its last epoch when started again.
        MissingWeights: the base weights or the dataset are not there.
        BadInput: the folder holds another training.
        ThresherError: the training crashed; the text ends with its last log lines.
    """
    folder = spec.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _claim(spec, folder)
    if not (folder / "result.json").exists():
        with (folder / "train.log").open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "backend.detector.train", str(folder / "spec.json")],
                cwd=Path(backend.__file__).resolve().parents[1],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                _watch(child, folder, on_progress, should_cancel)
            finally:
                _end(child)
    return _result(folder)


def _claim(spec: TrainSpec, folder: Path) -> None:
    """Write the job's spec, or find that the folder already holds this very job."""
    if not spec.weights.exists():
        raise MissingWeights(f"Weights {spec.weights} are not there, so nothing can be trained from them.")
    if not spec.data.exists():
        raise BadInput("data", "a data.yaml that exists", str(spec.data))
    job: dict[str, Any] = {
        "weights": str(spec.weights.resolve()),
        "data": str(spec.data.resolve()),
        "labels": list(spec.labels),
        "label_map": dict(spec.label_map),
        "options": asdict(spec.options),
    }
    path = folder / "spec.json"
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        if _identity(old) != _identity(job):
            fix = "Use a new job folder, or delete this one to start over."
            raise BadInput("folder", "empty, or holding the same training", str(folder), fix)
    job["parent"] = os.getpid()
    write_atomically(path, json.dumps(job, ensure_ascii=False, indent=1).encode())


def _identity(job: Mapping[str, Any]) -> tuple[object, ...]:
    """What makes a training this one. Where files lie and how fast it runs may differ next time."""
    places = {"device", "threads", "workers"}
    options = {key: value for key, value in job["options"].items() if key not in places}
    return Path(job["weights"]).name, job["labels"], job["label_map"], options


def _watch(
    child: subprocess.Popen[bytes],
    folder: Path,
    on_progress: Heard | None,
    should_cancel: Callable[[], bool],
) -> None:
    lines = _new_lines(folder / "progress.jsonl")
    while True:
        code = child.poll()  # before reading, so that the last lines of an ended child are read too
        for line in lines:
            if line is None:
                break
            if on_progress:
                on_progress(line["epoch"], line["epochs"], note(line))
        if code is not None:
            break
        if should_cancel():
            raise Cancelled("The training was cancelled; start it again to go on from its last epoch.")
        try:
            child.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    if code != 0:
        raise ThresherError(_crash(code, folder / "train.log"))


def _new_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """Whole lines added to a file since this iterator was made; None whenever there is none yet."""
    position = path.stat().st_size if path.exists() else 0
    while True:
        if path.exists():
            with path.open("rb") as file:
                file.seek(position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    position += len(line)
                    yield json.loads(line)
        yield None


def note(line: Mapping[str, Any]) -> str:
    """A progress line in words: ``loss 2.31, mAP50 0.412``."""
    parts = [f"loss {sum(line['losses'].values()):.2f}"]
    if "map50" in line:
        parts.append(f"mAP50 {line['map50']:.3f}")
    return ", ".join(parts)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop the child and what it started, first politely."""
    for how, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 30.0)):
        if child.poll() is not None:
            return
        os.killpg(child.pid, how)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def _crash(code: int, path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
    lines = [line for line in _ANSI.sub("", text).splitlines() if line.strip()][-_LOG_LINES:]
    if code == -signal.SIGKILL:
        why = "was killed by the system, most likely for memory: lower batch or imgsz and start it again"
    elif code < 0:
        why = f"was stopped by signal {-code}: start it again to go on from its last epoch"
    else:
        why = f"failed with exit code {code}"
    return f"The training {why}. The end of {path}:\n" + "\n".join(f"  {line}" for line in lines)


def _result(folder: Path) -> Trained:
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return Trained(folder / result["weights"], result["epochs"], result["seconds"], result["metrics"])


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent goes (Linux; elsewhere nothing happens)."""
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # it went before we asked
        sys.exit("The process that started this training is gone.")


def main(arguments: Sequence[str]) -> None:
    """Entry of the child: ``python -m backend.detector.train SPEC.json``."""
    path = Path(arguments[0]).resolve()
    spec = json.loads(path.read_text(encoding="utf-8"))
    die_with(spec["parent"])
    os.nice(10)
    os.chdir(path.parent)
    from backend.detector.trainer import run_training

    started = time.monotonic()
    run_training(path.parent, spec)
    log.info("done in %.0f s", time.monotonic() - started)


if __name__ == "__main__":
    main(sys.argv[1:])
