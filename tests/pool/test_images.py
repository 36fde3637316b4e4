"""Stored image files: whole or absent, where their hash says, in a folder or elsewhere."""

from __future__ import annotations

import stat
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pool.images import Images, Picture, decode
from pool.schema import BadImage, BadInput, Sample, ThresherError
from tests.pool.drawings import encode, scene
from tests.pool.records import make_sample


@pytest.fixture(scope="module")
def picture() -> Picture:
    return decode(encode(scene(1, 40, 30)))


def sample_of(picture: Picture) -> Sample:
    return replace(make_sample("x"), id=picture.id, suffix=picture.suffix)


@pytest.fixture(params=["folder", "file url", "memory"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Images:
    root = {
        "folder": str(tmp_path / "图片" / "images"),
        "file url": f"file://{tmp_path}/images",
        "memory": f"memory://{uuid.uuid4()}/images",
    }[request.param]
    return Images(root, cache=tmp_path / "cache")


def test_what_is_put_is_read(images: Images, picture: Picture) -> None:
    sample = sample_of(picture)
    assert not images.exists(sample)
    images.put(picture)
    images.put(picture)
    assert images.exists(sample)
    assert images.exists(picture.id + ".jpg")
    assert images.read(sample) == images.read(picture.id + ".jpg") == picture.data
    assert images.local(sample).read_bytes() == picture.data
    assert images.local(sample).suffix == ".jpg"
    assert images.local(sample) == images.local(picture.id + ".jpg")


def test_what_is_missing_is_named(images: Images, picture: Picture) -> None:
    for ask in (images.read, images.local):
        with pytest.raises(BadImage, match=f"{picture.id}.jpg is not in"):
            ask(sample_of(picture))


def test_another_handle_on_the_same_root_sees_the_files(
    images: Images, picture: Picture, tmp_path: Path
) -> None:
    images.put(picture)
    root = images._fs.unstrip_protocol(images._root)
    assert Images(root, cache=tmp_path / "other").read(sample_of(picture)) == picture.data


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd.jpg",
        "a" * 63 + ".jpg",
        "A" * 64 + ".jpg",
        "a" * 64,
        "a" * 64 + ".jpg/../x",
        "a" * 64 + ".pt",
        "",
    ],
)
def test_names_that_are_no_hash_are_refused(images: Images, name: str) -> None:
    for ask in (images.read, images.local, images.exists):
        with pytest.raises(BadInput, match="image file"):
            ask(name)


def test_a_damaged_file_is_noticed_and_put_repairs_a_torn_one(tmp_path: Path, picture: Picture) -> None:
    images, sample = Images(str(tmp_path)), sample_of(picture)
    images.put(picture)
    path = images.local(sample)
    path.write_bytes(picture.data[:-1] + b"\0")
    with pytest.raises(BadImage, match="damaged"):
        images.read(sample)
    path.write_bytes(picture.data[:100])
    images.put(picture)
    assert images.read(sample) == picture.data


def test_a_damaged_remote_file_is_never_cached(picture: Picture, tmp_path: Path) -> None:
    images, sample = Images(f"memory://{uuid.uuid4()}", cache=tmp_path), sample_of(picture)
    images.put(picture)
    images._fs.pipe_file(images._path(picture.id, ".jpg"), b"other bytes")
    with pytest.raises(BadImage, match="damaged"):
        images.local(sample)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_cache_serves_without_the_remote(picture: Picture, tmp_path: Path) -> None:
    images, sample = Images(f"memory://{uuid.uuid4()}", cache=tmp_path), sample_of(picture)
    images.put(picture)
    first = images.local(sample)
    assert tmp_path in first.parents
    images._fs.rm(images._path(picture.id, ".jpg"))
    assert images.local(sample) == first
    assert not images.exists(sample)


def test_two_writers_and_a_reader_see_the_whole_file_or_none(tmp_path: Path) -> None:
    """Large enough that writing takes several system calls."""
    picture = decode(encode(scene(2, 1600, 1200), "BMP"))
    assert len(picture.data) > 5_000_000
    sample = sample_of(picture)
    images = Images(str(tmp_path))
    start, done = threading.Barrier(3), threading.Event()

    def write() -> None:
        start.wait()
        images.put(picture)

    def read() -> int:
        start.wait()
        whole = 0
        while not done.is_set() or not whole:
            if images.exists(sample):
                # Raises where a part of the file shows.
                assert len(images.read(sample)) == len(picture.data)
                whole += 1
        return whole

    with ThreadPoolExecutor(3) as workers:
        reader = workers.submit(read)
        for writer in [workers.submit(write) for _ in range(2)]:
            writer.result()
        done.set()
        assert reader.result() >= 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{picture.id}.bmp"]


def test_a_write_that_fails_leaves_nothing(
    tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        Images(str(tmp_path)).put(picture)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_others_may_read_the_files(tmp_path: Path, picture: Picture) -> None:
    images = Images(str(tmp_path))
    images.put(picture)
    assert stat.S_IMODE(images.local(sample_of(picture)).stat().st_mode) == 0o644


def test_roots_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="images root"):
        Images("nosuchstore://bucket/x")
    # Its package is not among the project's, so this message is what a user sees.
    with pytest.raises(ThresherError, match="not installed"):
        Images("gcs://bucket/x")
