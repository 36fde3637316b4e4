"""A detector looks at images: boxes, class probabilities, embedding and background in one pass.

Images are decoded and resized by a few threads while the network works, gathered by input shape and
sent through in batches. Each image keeps the smallest input rectangle it would have on its own, so
what the model says about it does not depend on which images happened to travel with it.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.detector.runtime import cores, library, log, set_threads
from backend.detector.weights import load_export, load_module, module_classes
from pool.schema import BadImage, BadInput, Box, Failure, NoLabelMap, NotReady, Prediction, Region

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from backend.detector.anchors import LiveHead
    from backend.detector.signals import Signals

_HALF_MAX = float(np.finfo(np.float16).max)
_WINDOW = 4  # batches of resized images that may wait for companions of their own shape


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """How to look.

    ``imgsz`` is the longer side of the network's input in pixels (rounded up to the model's
    stride; exports of fixed shape keep theirs). ``conf`` is the confidence floor in [0, 1): boxes
    must be above it. ``iou`` in [0, 1] is the overlap from which two boxes of one label are the same
    object. ``device`` is ultralytics' ("" best, "cpu", "0"). ``threads`` of torch, 0 = all cores.
    ``nms`` False uses the end-to-end head of models that have one (YOLOv10, YOLO26).
    ``multi_label`` lets one anchor draw a box for every label above the floor, as mAP counts it.
    """

    imgsz: int = 640
    conf: float = 0.05
    iou: float = 0.6
    max_det: int = 100
    device: str = ""
    threads: int = 0
    batch: int = 16
    nms: bool = True
    multi_label: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.conf < 1:
            raise BadInput("conf", "a floor in [0, 1)", self.conf)
        if not 0 <= self.iou <= 1:
            raise BadInput("iou", "in [0, 1]", self.iou)
        for name in ("imgsz", "max_det", "batch"):
            if getattr(self, name) < 1:
                raise BadInput(name, "at least 1", getattr(self, name))
        if self.threads < 0:
            raise BadInput("threads", "0 (all cores) or more", self.threads)


@dataclass(frozen=True)
class _Item:
    """A decoded image, resized for the network; ``shape`` is its own (height, width)."""

    index: int
    sample: str
    pixels: NDArray[np.uint8]
    shape: tuple[int, int]


class Detector:
    """A loaded model that speaks a project's labels.

    ``classes`` are the model's own class names in index order, ``labels`` the project labels it
    reaches, in the order of those classes: the columns of ``Prediction.probs``. Safe to use from
    several threads; forward passes take turns.

    A ``.pt`` file gives everything that its head knows: ``localisation`` is None for YOLO26, whose
    edges have no distribution, ``disagreement`` for models with one head. An export (ONNX, OpenVINO,
    TorchScript) shows no feature maps, so ``embedding``, ``box_embeddings`` and these are None; one
    that suppresses inside shows one class per box, so its ``probs`` hold the score in that label's
    column and 0 elsewhere.
    """

    def __init__(
        self, weights: Path, options: DetectorOptions, *, version: str, label_map: Mapping[str, str]
    ) -> None:
        """Load ``weights`` and fold their classes onto labels by ``label_map`` (class -> label).

        Raises:
            MissingWeights: the file is not there, or an export's runtime is not installed.
            BadInput: the file is no detector, or the device does not exist.
            NoLabelMap: ``label_map`` names none of the model's classes.
        """
        self.weights, self.options, self.version = weights, options, version
        self._backend, self._head = _load(weights, options)
        set_threads(options.threads)
        self.classes = module_classes(self._backend)
        from backend.detector.signals import LabelSpace

        self._space = LabelSpace(self.classes, label_map)
        self.labels = self._space.labels
        if not self.labels:
            known = ", ".join(repr(name) for name in list(label_map)[:20]) or "nothing"
            raise NoLabelMap(
                f"None of the classes of {weights.name} is mapped to a label (the map knows {known}): "
                "connect the project again with these weights."
            )
        self._letterbox = self._make_letterbox()
        self._lock = threading.Lock()

    def tuned(self, *, conf: float, iou: float, max_det: int, multi_label: bool = False) -> Detector:
        """The same loaded model with other choices of boxes."""
        twin = copy.copy(self)
        twin.options = replace(self.options, conf=conf, iou=iou, max_det=max_det, multi_label=multi_label)
        return twin

    def predict(
        self,
        images: Sequence[tuple[str, Path]],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[Prediction | Failure]:
        """One result per ``(sample id, file)``, in the order given.

        An image that cannot be read, or on which the network fails even alone, becomes a `Failure`
        of stage ``predict``; the others are not touched by it. ``on_progress(done, total)`` is
        called as results are handed out. Images must be upright (EXIF orientation applied).

        Raises:
            NotReady: the network fails on an empty picture as well, as for want of memory.
        """
        done: dict[int, Prediction | Failure] = {}
        waiting: dict[tuple[int, ...], list[_Item]] = {}
        handed = 0
        for index, item in self._decoded(images):
            if isinstance(item, Failure):
                done[index] = item
            else:
                bucket = waiting.setdefault(item.pixels.shape, [])
                bucket.append(item)
                if len(bucket) >= self.options.batch:
                    done.update(self._look(waiting.pop(item.pixels.shape)))
                elif sum(map(len, waiting.values())) >= _WINDOW * self.options.batch:
                    # Dicts keep order: the first bucket holds the image that blocks the line.
                    done.update(self._look(waiting.pop(next(iter(waiting)))))
            while handed in done:
                yield done.pop(handed)
                handed += 1
                if on_progress:
                    on_progress(handed, len(images))
        for bucket in waiting.values():
            done.update(self._look(bucket))
        for index in sorted(done):
            yield done[index]
            handed += 1
            if on_progress:
                on_progress(handed, len(images))

    def _decoded(self, images: Sequence[tuple[str, Path]]) -> Iterator[tuple[int, _Item | Failure]]:
        """Images decoded ahead of their use, in order; at most two batches are held."""
        ahead: deque[tuple[int, Future[_Item | Failure]]] = deque()
        workers = ThreadPoolExecutor(max_workers=min(4, cores()), thread_name_prefix="decode")
        try:
            for index, (sample, path) in enumerate(images):
                ahead.append((index, workers.submit(self._decode, index, sample, path)))
                if len(ahead) >= 2 * self.options.batch:
                    first, future = ahead.popleft()
                    yield first, future.result()
            while ahead:
                first, future = ahead.popleft()
                yield first, future.result()
        finally:
            workers.shutdown(wait=True, cancel_futures=True)

    def _decode(self, index: int, sample: str, path: Path) -> _Item | Failure:
        try:
            image = library("utils.patches").imread(str(path))
            if image is None:
                raise BadImage(f"{path.name} cannot be read as an image.")
            height, width = image.shape[:2]
            return _Item(index, sample, self._letterbox(image=image), (height, width))
        except Exception as error:  # one broken file must not end the run, whatever the codec raised
            return _failure(sample, error)

    def _look(self, items: Sequence[_Item]) -> dict[int, Prediction | Failure]:
        """Forward images of one shape together, or one by one where that fails."""
        try:
            return dict(zip((i.index for i in items), self._forward(items), strict=True))
        except Exception as error:  # out of memory, a bad export, a driver: the library decides
            if len(items) == 1:
                self._prove(items[0], error)
                return {items[0].index: _failure(items[0].sample, error)}
            log.warning("a batch of %d images failed (%s): one by one", len(items), error)
        out: dict[int, Prediction | Failure] = {}
        for item in items:
            out.update(self._look([item]))
        return out

    def _prove(self, item: _Item, error: Exception) -> None:
        """Where the network fails on an empty square as well, the image is not to blame."""
        empty = self._letterbox(image=np.zeros((64, 64, 3), dtype=np.uint8))
        try:
            self._forward([replace(item, pixels=empty, shape=(64, 64))])
        except Exception:  # the same that was caught before, most likely
            raise NotReady(
                f"{self.version} fails on any picture: {error}. Free the device's memory or choose another "
                "one (THRESHER_DEVICE), then try again: nothing is lost."
            ) from error

    def _forward(self, items: Sequence[_Item]) -> list[Prediction]:
        import torch

        from backend.detector.signals import Choice, read

        o = self.options
        choice = Choice(o.conf, o.iou, o.max_det, o.multi_label)
        batch = torch.from_numpy(np.stack([item.pixels for item in items]))
        with self._lock, torch.inference_mode():
            # BGR height-width-channel bytes to the RGB planes in [0, 1] that YOLO was trained on.
            planes = batch.to(self._backend.device).permute(0, 3, 1, 2).contiguous().flip(1)
            signals = read(self._backend(planes.float().div_(255)), self._head, self._space, choice)
        size = (items[0].pixels.shape[0], items[0].pixels.shape[1])
        return [self._prediction(item, s, size) for item, s in zip(items, signals, strict=True)]

    def _prediction(self, item: _Item, signals: Signals, size: tuple[int, int]) -> Prediction:
        height, width = item.shape
        scale_boxes = library("utils.ops").scale_boxes
        boxes = scale_boxes(size, signals.boxes.clone(), item.shape).cpu().numpy().astype(np.float64)
        boxes = np.clip(boxes / (width, height, width, height), 0.0, 1.0)
        # Boxes that lay wholly in the padding have no area once clipped to the image.
        real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        scores, labels = signals.scores.cpu().numpy(), signals.labels.cpu().numpy()
        regions = tuple(
            Region(
                label=self.labels[labels[i]],
                box=Box(*boxes[i].tolist()),
                score=float(scores[i]),
                id=region_id(item.sample, self.version, order),
            )
            for order, i in enumerate(np.flatnonzero(real))
        )

        def kept(values: Tensor | None) -> NDArray[np.float16] | None:
            return None if values is None else _half(values.cpu().numpy()[real])

        embedding = signals.embedding
        return Prediction(
            sample=item.sample,
            model_version=self.version,
            regions=regions,
            classes=self.labels,
            background=signals.background,
            probs=signals.probs.cpu().numpy()[real].astype(np.float16),
            embedding=None if embedding is None else _half(embedding.cpu().numpy()),
            box_embeddings=kept(signals.box_embeddings),
            localisation=kept(signals.localisation),
            disagreement=kept(signals.disagreement),
        )

    def _make_letterbox(self) -> Any:
        letterbox = library("data.augment").LetterBox
        backend = self._backend
        dynamic = backend.format == "pt" or bool(getattr(backend, "dynamic", False))
        stride = int(backend.stride)
        fixed = getattr(backend, "imgsz", None)
        if not dynamic and fixed:
            return letterbox(tuple(fixed), auto=False, stride=stride)
        side = -(-self.options.imgsz // stride) * stride
        return letterbox((side, side), auto=dynamic, stride=stride)


def region_id(sample: str, version: str, order: int) -> str:
    """The id of a model's box: the same for the same image, model and rank, ten letters long."""
    return hashlib.blake2b(f"{sample}\0{version}\0{order}".encode(), digest_size=5).hexdigest()


def _load(weights: Path, options: DetectorOptions) -> tuple[Any, LiveHead | None]:
    """ultralytics' common interface to the weights, and the head where they are a live model."""
    try:
        device = library("utils.torch_utils").select_device(options.device, verbose=False)
    except ValueError as error:
        raise BadInput("device", "one that torch has here", options.device, 'Use "cpu" or "".') from error
    if weights.suffix != ".pt":
        return load_export(weights, device), None
    from backend.detector.anchors import LiveHead

    module = load_module(weights)
    if getattr(module.model[-1], "one2one_cv2", None) is not None:
        module.end2end = not options.nms
    # Before the backend fuses the model, and with it drops the head that is not in use.
    head = LiveHead(module.model[-1], device)
    backend = library("nn.autobackend").AutoBackend(model=module, device=device, verbose=False)
    backend.eval()
    log.debug("loaded %s on %s", weights.name, backend.device)
    return backend, head


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Float16 that stays finite."""
    return np.clip(values, -_HALF_MAX, _HALF_MAX).astype(np.float16)


def _failure(sample: str, error: Exception) -> Failure:
    message = str(error).strip() or type(error).__name__
    return Failure(subject=sample, stage="predict", message=message, at=datetime.now(UTC))
