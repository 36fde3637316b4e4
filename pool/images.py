"""Image files kept by the hash of their bytes, in a folder or any store that fsspec knows."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from pool.phash import near_duplicates
from pool.pictures import ENDINGS, SUFFIXES, Picture, decode
from pool.schema import BadImage, BadInput, Sample, ThresherError

__all__ = ["SUFFIXES", "Images", "Picture", "decode", "near_duplicates"]


class Images:
    """The stored bytes of all samples, under ``root``: a folder, or a URL that fsspec knows.

    A file's name is the hash of its content, so that writing twice, also by two processes, gives
    the same file; it appears whole or not at all. ``cache`` is the folder for local copies of a
    remote root.
    """

    def __init__(self, root: str, *, cache: Path | None = None) -> None:
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        try:
            self._fs: Any
            self._fs, self._root = fsspec.core.url_to_fs(root)
        except ImportError as error:
            raise ThresherError(
                f"Images at {root} need a package that is not installed ({error}). "
                "For S3: pip install 'thresher[s3]'."
            ) from error
        except ValueError as error:
            raise BadInput(
                "images root", "a folder or a URL that fsspec knows", root, str(error)
            ) from error
        self._local = isinstance(self._fs, LocalFileSystem)
        place = hashlib.sha256(root.encode()).hexdigest()[:16]
        self._cache = cache or Path.home() / ".cache" / "thresher" / "images" / place

    def put(self, picture: Picture) -> None:
        """Store the picture's bytes; nothing to do where they are stored already."""
        path = self._path(picture.id, picture.suffix)
        if self._size(path) == len(picture.data):
            return
        if self._local:
            _write_whole(Path(path), picture.data)
        else:
            self._upload(path, picture.data)

    def read(self, sample: Sample | str) -> bytes:
        """The stored bytes of a sample, or of a file named by id and ending (``<sha256>.jpg``).

        Raises:
            BadImage: the file is missing, or no longer what its name says.
        """
        name, suffix = _name(sample)
        try:
            data = bytes(self._fs.cat_file(self._path(name, suffix)))
        except FileNotFoundError:
            raise _missing(name, suffix, self._root) from None
        if hashlib.sha256(data).hexdigest() != name:
            raise BadImage(f"The stored file {name}{suffix} is damaged; delete it and add the image again.")
        return data

    def local(self, sample: Sample | str) -> Path:
        """Path of a file on this machine with the sample's bytes: itself, or a cached copy.

        Raises:
            BadImage: the file is missing or damaged.
        """
        name, suffix = _name(sample)
        path = Path(self._path(name, suffix)) if self._local else self._cache / name[:2] / (name + suffix)
        if path.is_file():
            return path
        if self._local:
            raise _missing(name, suffix, self._root)
        _write_whole(path, self.read(sample))
        return path

    def exists(self, sample: Sample | str) -> bool:
        """Whether the sample's file is stored."""
        return bool(self._fs.exists(self._path(*_name(sample))))

    def _path(self, name: str, suffix: str) -> str:
        # Names are checked so that a ledger from elsewhere cannot point outside the root.
        if not re.fullmatch(r"[0-9a-f]{64}", name) or suffix not in ENDINGS.values():
            raise BadInput("image file", "a sha256 in hex with .jpg, .png, .webp or .bmp", name + suffix)
        return f"{self._root}/{name[:2]}/{name}{suffix}"

    def _upload(self, path: str, data: bytes) -> None:
        """Object stores have no folders and put a whole file at once; other stores need the folder."""
        try:
            self._fs.pipe_file(path, data)
        except FileNotFoundError:
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, data)

    def _size(self, path: str) -> int | None:
        try:
            return int(self._fs.size(path))
        except FileNotFoundError:
            return None


def _name(sample: Sample | str) -> tuple[str, str]:
    if isinstance(sample, Sample):
        return sample.id, sample.suffix
    name, dot, ending = sample.partition(".")
    return name, dot + ending


def _missing(name: str, suffix: str, root: str) -> BadImage:
    return BadImage(f"The image file {name}{suffix} is not in {root}; add the image again.")


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside the place and move into it, so that nobody ever sees a part of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes files that only their owner may read; other services read the pool too.
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
