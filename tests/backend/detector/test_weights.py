from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.detector.weights import class_names, load_module, load_trainable, save_module, write_atomically
from pool.schema import BadInput, MissingWeights
from tests.backend.detector.conftest import CLASSES


def test_class_names_in_index_order(weights: Callable[[str], Path]) -> None:
    assert class_names(weights("yolo11")) == CLASSES


def test_saving_loses_nothing_and_says_nothing_of_the_machine(
    weights: Callable[[str], Path], tmp_path: Path
) -> None:
    module = load_module(weights("yolo26"))
    module.args["data"] = module.args["project"] = "/home/somebody/secret"
    save_module(module, tmp_path / "a.pt")
    save_module(module, tmp_path / "other" / "b.pt")
    first, second = (tmp_path / "a.pt").read_bytes(), (tmp_path / "other" / "b.pt").read_bytes()
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert b"somebody" not in first
    assert str(tmp_path).encode() not in first
    again = load_module(tmp_path / "a.pt").state_dict()
    for name, value in module.state_dict().items():
        assert again[name].dtype == value.dtype
        assert again[name].shape == value.shape
        if value.is_floating_point():
            assert (again[name] == value.half().float()).all()
    assert next(module.parameters()).is_floating_point()
    assert next(module.parameters()).dtype.itemsize == 4  # the module given stays float32


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"<html>404</html>"])
def test_files_that_are_no_weights(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.pt"):
        load_module(tmp_path / "x.pt")


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="not there"):
        load_module(tmp_path / "yolo11n.pt")
    assert list(tmp_path.iterdir()) == []


class Evil:
    """A pickle that runs code when it is read carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_weights_cannot_run_code(tmp_path: Path) -> None:
    import torch

    torch.save({"model": Evil(tmp_path / "pwned")}, tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps({"model": Evil(tmp_path / "pwned")}))
    for name in ("zip.pt", "bare.pt"):
        with pytest.raises(BadInput):
            load_module(tmp_path / name)
    assert not (tmp_path / "pwned").exists()
    # The bait is real: read carelessly it would have worked.
    torch.load(tmp_path / "zip.pt", weights_only=False)
    assert (tmp_path / "pwned").exists()


def test_other_tasks_are_refused(tmp_path: Path) -> None:
    from backend.detector.runtime import library

    model = library("nn.tasks").ClassificationModel("yolo11n-cls.yaml", nc=2, verbose=False)
    model.task = "classify"
    save_module(model, tmp_path / "classify.pt")
    with pytest.raises(BadInput, match="classify"):
        load_module(tmp_path / "classify.pt")


def test_fused_weights_cannot_be_trained(weights: Callable[[str], Path], tmp_path: Path) -> None:
    module = load_module(weights("yolo11"))
    save_module(module.fuse(verbose=False), tmp_path / "fused.pt")
    load_module(tmp_path / "fused.pt")
    with pytest.raises(BadInput, match="fused"):
        load_trainable(tmp_path / "fused.pt")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
