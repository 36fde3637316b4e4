"""The model folder: weights kept under the hash of their own bytes.

Two doors lead in. `Registry.resolve` takes what a project or a request may name: plain names only.
`Registry.resolve_path` is for the operator, who may also name a file anywhere on the machine.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from backend.detector.runtime import library
from pool.schema import BadInput, Forbidden, MissingWeights

_FOLDER_SUFFIXES = ("_openvino_model", "_ncnn_model", "_saved_model")
_FILE_SUFFIXES = (".pt", ".onnx", ".torchscript", ".engine")
_HASHED = re.compile(r"-[0-9a-f]{8}$")


class Registry:
    """Weights in the folder ``root``, as ``<stem>-<first 8 of sha256><suffix>``.

    ``fetch`` allows names that ultralytics publishes (``yolo11n.pt``) to be downloaded.
    """

    def __init__(self, root: Path, *, fetch: bool = True) -> None:
        self.root, self.fetch = root, fetch

    def register(self, path: Path) -> tuple[str, str]:
        """Keep a copy of weights; returns its name in the registry and its sha256 (hex).

        The same bytes give the same name, whatever the file was called the second time, and are
        stored once. The copy appears under its name only when it is whole.

        Raises:
            MissingWeights: there is no such file or folder.
            BadInput: neither a known weights file nor a known export folder.
        """
        if not path.exists():
            raise MissingWeights(f"Weights {path} are not there: name a file that exists.")
        suffix = _suffix(path)
        digest = sha256(path)
        held = self._holding(digest, suffix)
        if held is not None:
            return held, digest
        stem = _HASHED.sub("", path.name.removesuffix(suffix)) or "weights"
        stem = re.sub(r"[^\w.-]", "_", stem).lstrip(".") or "weights"
        name = f"{stem}-{digest[:8]}{suffix}"
        self._place(path, self.root / name)
        return name, digest

    def path(self, name: str) -> Path:
        """The file of a registered name.

        Raises:
            Forbidden: not a plain name.
            MissingWeights: nothing is registered under it.
        """
        target = self.root / _plain(name)
        if not target.exists():
            raise MissingWeights(
                f"Weights {name!r} are not in the model folder {self.root}: put the file back there, or "
                "register it again."
            )
        return target

    def resolve(self, name: str) -> Path:
        """The file that a plain name stands for: registered, or published by ultralytics.

        A published one is fetched once and kept in the folder under its own name.

        Raises:
            Forbidden: the name holds a path.
            MissingWeights: unknown here, and not to be had.
        """
        plain = _plain(name)
        target = self.root / plain
        return target if target.exists() else self._fetched(plain)

    def resolve_path(self, name_or_path: str) -> Path:
        """Like `resolve`, for the operator: a path that exists on this machine is taken as it is.

        Raises:
            MissingWeights: no such file, and no such name.
        """
        given = Path(name_or_path).expanduser()
        if given.exists():
            return given.resolve()
        if given.name != name_or_path:
            raise MissingWeights(f"Weights {name_or_path} are not there: name a file that exists.")
        return self.resolve(name_or_path)

    def _holding(self, digest: str, suffix: str) -> str | None:
        """The registered name of these bytes, if the file still is what its name says."""
        for held in sorted(self.root.glob(f"*-{digest[:8]}{suffix}")):
            if sha256(held) == digest:
                return held.name
        return None

    def _place(self, source: Path, target: Path) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        draft = self.root / f".{uuid4().hex}"
        try:
            if source.is_dir():
                shutil.copytree(source, draft)
            else:
                shutil.copyfile(source, draft)
            draft.rename(target)
        except OSError:
            if not target.exists():  # another process was first with the same bytes
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True) if draft.is_dir() else draft.unlink(missing_ok=True)

    def _fetched(self, name: str) -> Path:
        downloads = library("utils.downloads")
        if name not in downloads.GITHUB_ASSETS_NAMES:
            raise MissingWeights(
                f"Weights {name!r} are neither in the model folder {self.root} nor a name that ultralytics "
                "publishes (such as yolo11n.pt): name a file that exists, with its path."
            )
        fix = (
            f"On a machine with internet access, download {name} from the ultralytics assets release and "
            f"copy it to {self.root / name}; or name other weights with their path."
        )
        if not self.fetch:
            raise MissingWeights(f"Weights {name} are not on this machine and fetching is off. {fix}")
        self.root.mkdir(parents=True, exist_ok=True)
        box = self.root / f".{uuid4().hex}"
        try:
            fetched = Path(downloads.attempt_download_asset(box / name, retry=0, progress=False))
            if not fetched.is_file():
                raise FileNotFoundError(name)
            fetched.replace(self.root / name)
        except Exception as error:  # whatever the network did, the fix is the same
            reason = str(error).strip() or type(error).__name__
            raise MissingWeights(
                f"Weights {name} are not on this machine and could not be fetched ({reason}). {fix}"
            ) from error
        finally:
            shutil.rmtree(box, ignore_errors=True)
        return self.root / name


def sha256(path: Path) -> str:
    """Sha256 (hex) of a file's bytes; of a folder's relative names and bytes, in name order."""
    digest = hashlib.sha256()
    if path.is_file():
        for block in _blocks(path):
            digest.update(block)
        return digest.hexdigest()
    for member in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(member.relative_to(path).as_posix().encode() + b"\0")
        digest.update(member.stat().st_size.to_bytes(8, "big"))
        for block in _blocks(member):
            digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def _plain(name: str) -> str:
    if not name or name.startswith(".") or Path(name).name != name or "\\" in name or "\0" in name:
        raise Forbidden(f"Weights must be a plain name such as yolo11n.pt here, not {name!r}.")
    return name


def _suffix(path: Path) -> str:
    known = _FOLDER_SUFFIXES if path.is_dir() else _FILE_SUFFIXES
    for suffix in known:
        if path.name.endswith(suffix):
            return suffix
    kinds = ", ".join(known)
    raise BadInput("weights", f"a {'folder' if path.is_dir() else 'file'} ending in {kinds}", path.name)
