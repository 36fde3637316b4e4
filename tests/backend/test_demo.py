"""What `thresher demo` refuses before it starts anything."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from backend.demo import home
from backend.demo.run import Options, check, program
from backend.demo.scenes import LABELS
from backend.demo.server import free_port
from backend.demo.simulation import Needs
from pool.schema import BadInput


def options(folder: Path, **changes: object) -> Options:
    values = {"folder": folder, "studio_port": free_port(), "port": free_port(), **changes}
    return Options(**values)  # type: ignore[arg-type]


def remember(folder: Path, pictures: Path | None, labels: tuple[str, ...]) -> None:
    where = str(folder / "images" if pictures is None else pictures)
    home.save(folder, home.Home(1, 8080, 9090, where, labels, "w.pt", pictures is None, ()))


def test_drawn_scenes_bring_their_labels(tmp_path: Path) -> None:
    assert check(options(tmp_path)) == LABELS
    assert check(options(tmp_path, images=tmp_path, labels=" cat, dog ,,cat")) == ("cat", "dog")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": "cat"}, "--images and --labels"),
        ({"images": Path("/")}, "--images and --labels"),
        ({"images": Path("/no/such"), "labels": "cat"}, "/no/such"),
        ({"images": Path("/"), "labels": " , "}, "--labels"),
    ],
)
def test_half_a_wish_is_named(tmp_path: Path, given: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check(options(tmp_path, **given))


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInput, match="--port"):
            check(options(tmp_path, port=taken.getsockname()[1]))


def test_a_folder_holds_one_demo(tmp_path: Path) -> None:
    pictures = tmp_path / "mine"
    pictures.mkdir()
    drawn, own = tmp_path / "drawn", tmp_path / "own"
    drawn.mkdir()
    own.mkdir()
    remember(drawn, None, LABELS)
    remember(own, pictures, ("cat", "dog"))
    check(options(drawn))
    check(options(own, images=pictures, labels="cat,dog"))
    wrong = (
        options(drawn, images=pictures, labels="cat,dog"),
        options(own),
        options(own, images=tmp_path, labels="cat,dog"),
        options(own, images=pictures, labels="cat"),
        options(own, images=pictures, labels="cat,dog", weights="other.pt"),
    )
    for each in wrong:
        with pytest.raises(BadInput, match="--folder"):
            check(each)


def test_people_stop_once_somebody_is_at_every_image_that_was_asked_about() -> None:
    needs = Needs({1: 1, 2: 2, 3: 0}, lambda *_: None)
    assert needs.more()
    needs.begun(1)
    needs.begun(9)  # not asked about: served while the others were taken
    needs.begun(2)
    assert needs.more()  # of 2 a second answer is wanted
    needs.begun(2)
    assert not needs.more()
    for task in (9, 2, 1):
        needs.took(task)
    assert not needs.more()
    needs.took(2)
    assert (needs.more(), needs.submitted) == (False, 4)


def test_the_program_is_named_as_one_types_it_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "env" / "bin" / "python"
    monkeypatch.setattr("sys.executable", str(own))
    monkeypatch.chdir(tmp_path)
    assert program() == Path("env/bin/thresher")
    monkeypatch.chdir("/")
    monkeypatch.setattr("sys.executable", "/elsewhere/bin/python")
    assert program() == Path("elsewhere/bin/thresher")
