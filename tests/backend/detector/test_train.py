from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.detector.dataset import Row, write_dataset
from backend.detector.train import Cancelled, Trained, TrainOptions, TrainSpec, note, train
from backend.detector.train import _crash as crash_text
from backend.detector.train import _new_lines as new_lines
from backend.detector.weights import class_names, load_trainable
from pool.schema import BadInput, Box, MissingWeights, Region, ThresherError
from tests.backend.detector.conftest import CLASSES, picture
from tests.waiting import until

QUICK = TrainOptions(epochs=3, imgsz=64, batch=4, threads=1, device="cpu", close_mosaic=1, patience=0)


def labelled(folder: Path, count: int, start: int = 0) -> list[Row]:
    """Pictures with one labelled box each, and one without any."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for i in range(start, start + count):
        path = folder / f"{i}.png"
        picture(i, 64, 64).save(path)
        box = Region(CLASSES[i % 4], Box(0.2, 0.2, 0.7, 0.8))
        rows.append((path, [] if i == start else [box]))
    return rows


@pytest.fixture
def spec(weights: Callable[[str], Path], tmp_path: Path) -> TrainSpec:
    data = write_dataset(tmp_path / "set", labelled(tmp_path / "photos", 12), CLASSES)
    return TrainSpec(tmp_path / "job", weights("yolo11"), data, CLASSES, QUICK)


def lines(spec: TrainSpec) -> list[dict[str, Any]]:
    text = (spec.folder / "progress.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def differ(first: Path, second: Path) -> bool:
    old, new = load_trainable(first).state_dict(), load_trainable(second).state_dict()
    return any(not old[key].equal(new[key]) for key in old)


# Imported by every Python process that finds it on its path: notes who wants to speak to the world.
LISTENER = """
import socket, traceback
def note(*arguments, **_):
    with open({path!r}, "a") as file:
        file.write(repr(arguments) + "".join(traceback.format_stack()))
    raise OSError("no network in this test")
socket.getaddrinfo = socket.socket.connect = socket.create_connection = note
"""


@pytest.mark.slow
def test_a_training_without_validation(
    spec: TrainSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls.txt"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(LISTENER.format(path=str(calls)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    heard: list[tuple[int, int, str]] = []
    before = set(Path.cwd().iterdir())
    done = train(spec, lambda *told: heard.append(told))
    assert not {p.name for p in set(Path.cwd().iterdir()) - before if p.name == "runs" or p.suffix == ".pt"}
    assert not calls.exists(), calls.read_text()
    assert (done.epochs, dict(done.metrics)) == (3, {})
    assert [told[:2] for told in heard] == [(1, 3), (2, 3), (3, 3)]
    assert all(told[2].startswith("loss ") and "mAP" not in told[2] for told in heard)
    assert done.weights == (spec.folder / "weights.pt").resolve()
    assert class_names(done.weights) == CLASSES
    assert differ(spec.weights, done.weights)
    assert str(tmp_path).encode() not in done.weights.read_bytes()
    assert not list(spec.folder.rglob("*.jpg")) + list(spec.folder.rglob("*.ttf"))
    assert [line["epoch"] for line in lines(spec)] == [1, 2, 3]
    assert {"epoch", "epochs", "losses", "seconds"} == set(lines(spec)[0])
    assert done.seconds > 0

    started = time.monotonic()
    assert train(spec) == done  # it is not run twice
    assert time.monotonic() - started < 1


@pytest.mark.slow
def test_a_cancelled_training_goes_on_where_it_stopped(spec: TrainSpec, tmp_path: Path) -> None:
    data = write_dataset(
        tmp_path / "set",
        labelled(tmp_path / "photos", 12),
        CLASSES,
        val=labelled(tmp_path / "v", 3, start=50),
    )
    spec = replace(spec, data=data)
    heard: list[int] = []
    with pytest.raises(Cancelled, match="go on"):
        train(spec, lambda epoch, *_: heard.append(epoch), lambda: bool(heard))
    stopped = heard[-1]
    assert stopped < 3
    (spec.folder / "run" / "weights" / "last.pt").write_bytes(b"half a checkp")  # killed while writing
    done = train(spec, lambda epoch, *_: heard.append(epoch))
    assert heard[-1] == 3
    assert heard[len(heard) - (3 - stopped) :] == list(range(stopped + 1, 4))
    assert done.epochs == 3
    assert set(done.metrics) == {"map50", "map50_95"}
    best = max(line["map50_95"] for line in lines(spec))
    assert done.metrics["map50_95"] == best
    assert class_names(done.weights) == CLASSES


@pytest.mark.slow
def test_labels_that_the_base_does_not_know(spec: TrainSpec, tmp_path: Path) -> None:
    rows = [(path, [Region("新", r.box) for r in regions]) for path, regions in labelled(tmp_path / "p", 6)]
    data = write_dataset(tmp_path / "other", rows, ("新", "人"))
    spec = replace(
        spec, data=data, labels=("新", "人"), label_map={"person": "人"}, options=replace(QUICK, epochs=1)
    )
    done = train(spec)
    assert class_names(done.weights) == class_names(spec.folder / "start.pt") == ("新", "人")


@pytest.mark.slow
def test_a_crash_ends_with_the_last_words_of_the_log(spec: TrainSpec, tmp_path: Path) -> None:
    for text in (tmp_path / "set" / "labels" / "train").glob("*.txt"):
        text.write_text("77 0.5 0.5 0.2 0.2\n")  # a class that the set does not have
    with pytest.raises(ThresherError) as caught:
        train(spec)
    assert "failed with exit code 1" in str(caught.value)
    assert str(spec.folder / "train.log") in str(caught.value)
    assert "No valid images found" in str(caught.value) or "exceeds dataset class count" in str(
        caught.value
    )
    assert "\x1b" not in str(caught.value)
    assert not (spec.folder / "result.json").exists()


@pytest.mark.slow
def test_a_dataset_of_other_labels_is_refused_in_the_child(spec: TrainSpec) -> None:
    with pytest.raises(ThresherError, match="a dataset of"):
        train(replace(spec, labels=("a", "b", "c", "d")))


PARENT = """
import sys
from pathlib import Path
from backend.detector.train import TrainOptions, TrainSpec, train
folder, weights, data = map(Path, sys.argv[1:4])
options = TrainOptions(epochs=50, imgsz=64, batch=4, threads=1, device="cpu", close_mosaic=1, patience=0)
train(TrainSpec(folder, weights, data, sys.argv[4:], options))
"""


def children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_a_training_dies_with_its_parent_and_survives_it(spec: TrainSpec) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(spec.folder), str(spec.weights), str(spec.data), *CLASSES]
    )
    try:
        until(lambda: (spec.folder / "resume.pt").exists(), 120)
        (child,) = children(parent.pid)
        assert os.getpriority(os.PRIO_PROCESS, child) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    until(lambda: not alive(child), 10)
    reached = lines(spec)[-1]["epoch"]
    assert reached < 50
    stored = json.loads((spec.folder / "spec.json").read_text())
    heard: list[int] = []
    same = replace(spec, options=TrainOptions(**stored["options"]))
    with pytest.raises(Cancelled):
        train(same, lambda epoch, *_: heard.append(epoch), lambda: bool(heard))
    # An epoch whose checkpoint was not yet copied is done again, and no other.
    assert heard[0] in (reached, reached + 1)


@pytest.mark.slow
def test_a_killed_training_says_how_to_go_on(spec: TrainSpec) -> None:
    killed: list[int] = []

    def kill(*_: object) -> None:
        if not killed:  # a second epoch may have been told of before the first was heard
            killed.extend(children(os.getpid()))
            (child,) = killed
            os.kill(child, signal.SIGKILL)

    with pytest.raises(ThresherError, match="lower batch or imgsz"):
        train(replace(spec, options=replace(QUICK, epochs=30)), kill)


def finished(spec: TrainSpec) -> Trained:
    """A job folder in which a training has ended already."""
    spec.folder.mkdir(parents=True)
    result = {"weights": "weights.pt", "epochs": 3, "seconds": 1.5, "metrics": {"map50": 0.5}}
    (spec.folder / "result.json").write_text(json.dumps(result))
    return Trained((spec.folder / "weights.pt").resolve(), 3, 1.5, {"map50": 0.5})


def test_a_finished_job_is_read_not_run(spec: TrainSpec) -> None:
    expected = finished(spec)
    assert train(spec) == expected
    elsewhere = replace(QUICK, device="0", threads=7, workers=1)
    assert train(replace(spec, options=elsewhere)) == expected  # where it runs is not what it is


@pytest.mark.parametrize(
    "change",
    [{"options": replace(QUICK, epochs=4)}, {"labels": ("a",)}, {"label_map": {"person": "人"}}],
)
def test_a_folder_belongs_to_one_training(change: dict[str, Any], spec: TrainSpec) -> None:
    finished(spec)
    train(spec)
    with pytest.raises(BadInput, match="the same training"):
        train(replace(spec, **change))
    other = spec.folder / "other.pt"
    other.write_bytes(spec.weights.read_bytes())
    with pytest.raises(BadInput, match="the same training"):
        train(replace(spec, weights=other))


def test_what_is_not_there_is_said_before_anything_starts(spec: TrainSpec, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"gone\.pt"):
        train(replace(spec, weights=tmp_path / "gone.pt"))
    with pytest.raises(BadInput, match="data"):
        train(replace(spec, data=tmp_path / "gone.yaml"))


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"imgsz": 0}, {"batch": 0}, {"freeze": -1}, {"lr0": 0.0}, {"lr0": 1.0}]
)
def test_impossible_options_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(change))):
        TrainOptions(**change)


def test_only_whole_new_lines_are_heard(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text('{"epoch": 1}\n')
    news = new_lines(path)
    assert next(news) is None  # what an earlier attempt wrote is no news
    with path.open("a") as file:
        file.write('{"epoch": 2}\n{"epo')
        file.flush()
        assert next(news) == {"epoch": 2}
        assert next(news) is None
        file.write('ch": 3}\n')
        file.flush()
        assert [next(news), next(news)] == [{"epoch": 3}, None]
    unborn = new_lines(tmp_path / "later.jsonl")
    assert next(unborn) is None
    (tmp_path / "later.jsonl").write_text('{"epoch": 1}\n')
    assert next(unborn) == {"epoch": 1}


def test_a_line_in_words() -> None:
    assert note({"losses": {"box": 1.25, "cls": 0.5}}) == "loss 1.75"
    assert note({"losses": {"box": 1.0}, "map50": 0.41234, "map50_95": 0.2}) == "loss 1.00, mAP50 0.412"


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes(
        b"\n".join([b"line %d" % i for i in range(40)]) + b"\rbar 10%\r\x1b[Kbar 100%\n\nlast \xff word\n"
    )
    text = crash_text(1, log)
    assert "exit code 1" in text
    assert text.splitlines()[-3:] == ["  bar 10%", "  bar 100%", "  last � word"]
    assert "line 39" in text
    assert "line 20" not in text
    assert "memory" in crash_text(-signal.SIGKILL, log)
    assert "signal 15" in crash_text(-signal.SIGTERM, log)
