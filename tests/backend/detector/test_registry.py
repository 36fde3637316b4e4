from __future__ import annotations

import hashlib
import shutil
import threading
from pathlib import Path

import pytest

from backend.detector.registry import Registry, sha256
from pool.schema import BadInput, Forbidden, MissingWeights


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "best.pt"
    path.parent.mkdir()
    path.write_bytes(b"weights" * 1000)
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", fetch=False)


def files(registry: Registry) -> list[str]:
    return sorted(p.name for p in registry.root.iterdir())


def test_bytes_are_kept_under_their_hash(registry: Registry, source: Path) -> None:
    name, digest = registry.register(source)
    assert digest == hashlib.sha256(source.read_bytes()).hexdigest() == sha256(source)
    assert name == f"best-{digest[:8]}.pt"
    assert registry.path(name).read_bytes() == source.read_bytes()
    source.unlink()
    assert registry.path(name).exists()


def test_registering_again_changes_nothing(registry: Registry, source: Path) -> None:
    first = registry.register(source)
    twin = source.with_name("another name.pt")
    twin.write_bytes(source.read_bytes())
    assert registry.register(source) == registry.register(twin) == first
    assert registry.register(registry.path(first[0])) == first
    assert files(registry) == [first[0]]


def test_changed_bytes_get_another_name(registry: Registry, source: Path) -> None:
    first, _ = registry.register(source)
    source.write_bytes(b"better weights")
    second, _ = registry.register(source)
    assert files(registry) == sorted([first, second])
    assert registry.path(first).read_bytes() == b"weights" * 1000


def test_names_do_not_grow(registry: Registry, source: Path, tmp_path: Path) -> None:
    name, _ = registry.register(source)
    changed = tmp_path / name
    changed.write_bytes(b"trained further")
    again, digest = registry.register(changed)
    assert again == f"best-{digest[:8]}.pt"


def test_odd_names_stay_plain(registry: Registry, source: Path) -> None:
    odd = source.with_name(".. 满的 bin?*.pt")
    odd.write_bytes(b"odd")
    name, digest = registry.register(odd)
    assert name == f"_满的_bin__-{digest[:8]}.pt"
    assert registry.path(name).read_bytes() == b"odd"


def test_a_folder_export_is_one_thing(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "yolo_openvino_model"
    (folder / "deep").mkdir(parents=True)
    (folder / "m.xml").write_text("<net/>")
    (folder / "deep" / "m.bin").write_bytes(b"123")
    name, digest = registry.register(folder)
    assert name == f"yolo-{digest[:8]}_openvino_model"
    assert registry.register(folder) == (name, digest)
    assert (registry.path(name) / "deep" / "m.bin").read_bytes() == b"123"
    (folder / "deep" / "m.bin").write_bytes(b"124")
    assert registry.register(folder)[1] != digest
    assert len(files(registry)) == 2


def test_many_at_once_keep_one_whole_file(registry: Registry, source: Path) -> None:
    results: list[tuple[str, str]] = []
    threads = [threading.Thread(target=lambda: results.append(registry.register(source))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert len(results) == 8
    assert files(registry) == [results[0][0]]
    assert sha256(registry.path(results[0][0])) == results[0][1]


def test_a_failed_copy_leaves_nothing(
    registry: Registry, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="no space"):
        registry.register(source)
    assert files(registry) == []


def test_only_weights_are_registered(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadInput, match=r"\.onnx"):
        registry.register(tmp_path / "notes.txt")
    with pytest.raises(BadInput, match="_openvino_model"):
        registry.register(tmp_path)
    with pytest.raises(MissingWeights, match="not there"):
        registry.register(tmp_path / "gone.pt")


@pytest.mark.parametrize(
    "name", ["../best.pt", "/etc/passwd", "a/b.pt", "..", ".", "", ".hidden.pt", "a\\b.pt", "a\0.pt", "x/"]
)
def test_a_project_cannot_leave_the_folder(registry: Registry, source: Path, name: str) -> None:
    registry.register(source)
    for ask in (registry.resolve, registry.path):
        with pytest.raises(Forbidden, match="plain name"):
            ask(name)


def test_registered_names_resolve(registry: Registry, source: Path) -> None:
    name, _ = registry.register(source)
    assert registry.resolve(name) == registry.resolve_path(name) == registry.path(name)
    with pytest.raises(MissingWeights, match=r"gone\.pt"):
        registry.path("gone.pt")


def test_the_operator_may_name_a_path(registry: Registry, source: Path) -> None:
    assert registry.resolve_path(str(source)) == source.resolve()
    with pytest.raises(MissingWeights, match="not there"):
        registry.resolve_path(str(source.with_name("gone.pt")))


def test_unknown_names_say_what_to_do(registry: Registry) -> None:
    with pytest.raises(MissingWeights, match=r"neither in the model folder.*yolo11n\.pt"):
        registry.resolve("mymodel.pt")
    with pytest.raises(
        MissingWeights, match=r"fetching is off\. On a machine with internet access.*copy it"
    ):
        registry.resolve("yolo11n.pt")


def test_fetched_weights_are_kept_under_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ultralytics.utils import downloads

    calls: list[Path] = []

    def fetch(file: Path, **_: object) -> str:
        calls.append(file)
        file.parent.mkdir(parents=True)
        file.write_bytes(b"published")
        return str(file)

    monkeypatch.setattr(downloads, "attempt_download_asset", fetch)
    registry = Registry(tmp_path / "models")
    path = registry.resolve("yolo11n.pt")
    assert path == registry.root / "yolo11n.pt"
    assert registry.resolve("yolo11n.pt").read_bytes() == b"published"
    assert len(calls) == 1
    assert files(registry) == ["yolo11n.pt"]
    name, digest = registry.register(path)
    assert name == f"yolo11n-{digest[:8]}.pt"


def test_offline_says_what_to_do_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    def offline(*_: object, **__: object) -> None:
        raise requests.ConnectionError("name resolution failed")

    monkeypatch.setattr(requests, "get", offline)
    registry = Registry(tmp_path / "models")
    with pytest.raises(MissingWeights) as caught:
        registry.resolve("yolo11n.pt")
    text = str(caught.value)
    assert "yolo11n.pt are not on this machine and could not be fetched" in text
    assert f"copy it to {registry.root / 'yolo11n.pt'}" in text
    assert files(registry) == []
