"""How well the demonstration's small diffusion model does, on drawn scenes that it has not seen.

For each scene and condition there is a truth: the same street drawn in that weather. Against it stand
the model's picture and, as the least to be better than, the untouched source.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.demo.pairs import words
from pool.schema import Region

CHECK_SEEDS = 400_000
"""First seed of the scenes to measure on."""
JUDGE_SEEDS = 450_000
"""First seed of the scenes whose true pictures the classifier of conditions learns from."""
SHOWN = (
    "rain:heavy",
    "snow:heavy",
    "sandstorm:heavy",
    "haze:heavy",
    "dusk",
    "street lamp",
    "night",
    "glare",
)
_KEPT = 0.05
"""Share of true pairs that may fall below the threshold of structure."""

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found for one condition over all scenes.

    ``psnr`` and ``identity`` are dB to the truth, of the model's picture and of the untouched source.
    ``told`` is the share of pictures that the classifier gives this condition's name, ``told_true`` the
    same of true pictures, ``family`` the share where the weather is right and the severity may not be.
    ``kept`` is the share of boxes whose structure stays, of ``boxes``. ``detail`` is the picture's fine
    variation over that of the truth: 1 is as much, less is smoother.
    """

    psnr: float
    identity: float
    told: float
    told_true: float
    family: float
    kept: float
    boxes: int
    detail: float


def alter(pipe: Any, source: Image, name: str, seed: int, steps: int | None = None) -> Image:
    """The source, uint8 RGB (h, w, 3), in the condition ``name``; the same seed gives the same picture."""
    import torch
    from PIL import Image as Pictures

    from generator.diffusion.options import SMALL_STEPS

    high, wide = source.shape[:2]
    down, right = (-side % pipe.unet.factor for side in (high, wide))
    padded = cv2.copyMakeBorder(source, 0, down, 0, right, cv2.BORDER_REPLICATE)
    found = pipe(
        words(name),
        image=Pictures.fromarray(padded),
        num_inference_steps=steps or SMALL_STEPS,
        guidance_scale=1.0,
        image_guidance_scale=1.0,
        generator=[torch.Generator().manual_seed(seed)],
        output_type="np",
    ).images[0]
    return np.asarray(np.rint(found[:high, :wide] * 255), np.uint8)


def statistics(image: Image) -> NDArray[np.float64]:
    """Colour, contrast, veil and fine structure of three horizontal bands of an image."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) / 255
    grey = lab[..., 0]
    low = cv2.erode(image.min(axis=2), np.ones((15, 15))).astype(np.float32) / 255
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 2.0)
    across, along = (np.abs(cv2.Sobel(fine, cv2.CV_32F, dx, 1 - dx)) for dx in (1, 0))
    found: list[float] = []
    for rows in np.array_split(np.arange(len(image)), 3):
        part = slice(rows[0], rows[-1] + 1)
        found += [
            *lab[part].mean(axis=(0, 1)),
            *lab[part].std(axis=(0, 1)),
            low[part].mean(),
            fine[part].std(),
        ]
        found += [float(np.log((across[part].mean() + 1e-4) / (along[part].mean() + 1e-4)))]
        found += [(fine[part] > 0.08).mean(), (fine[part] < -0.08).mean()]
        found += [(grey[part] > 0.85).mean(), (grey[part] < 0.1).mean()]
    return np.array(found)


def evidence(source: Image, image: Image) -> NDArray[np.float64]:
    """What tells a condition: statistics of the picture and how they differ from its source's."""
    return np.concatenate([statistics(image), statistics(image) - statistics(source)])


def structure(source: Image, image: Image, region: Region) -> float:
    """How far edges inside a box keep their place and direction, in [0, 1].

    Normalised gradient fields (Haber and Modersitzki 2006), weighted by the source's edges.
    """
    high, wide = source.shape[:2]
    box = region.box
    rows = slice(int(box.y1 * high), max(int(np.ceil(box.y2 * high)), int(box.y1 * high) + 4))
    columns = slice(int(box.x1 * wide), max(int(np.ceil(box.x2 * wide)), int(box.x1 * wide) + 4))
    fields: list[NDArray[np.float32]] = []
    for picture in (source, image):
        grey = cv2.cvtColor(picture[rows, columns], cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
        fields.append(np.stack([cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0)]))
    own, other = fields
    weight, length = (np.sqrt((field**2).sum(axis=0)) for field in fields)
    alike = np.abs((own * other).sum(axis=0)) / (weight * length + 1e-4)
    return float((alike * weight).sum() / (weight.sum() + 1e-6))


def psnr(image: Image, truth: Image) -> float:
    """Peak signal to noise ratio in dB."""
    error = ((image.astype(np.float64) - truth) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def fineness(image: Image) -> float:
    """Standard deviation of what a small blur takes away."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float((grey - cv2.GaussianBlur(grey, (0, 0), 2.0)).std())


def classifier(scenes: int, size: tuple[int, int]) -> Any:
    """A logistic regression that names conditions by `evidence`, made of other scenes' true pictures."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from backend.demo.weather import pictures

    rows, names = [], []
    for seed in range(JUDGE_SEEDS, JUDGE_SEEDS + scenes):
        drawn = pictures(seed, size=size)
        for name, scene in drawn.items():
            rows.append(evidence(drawn["clear"].image, scene.image))
            names.append(name)
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=3000)).fit(rows, names)


def judge(pipe: Any, scenes: int, size: tuple[int, int]) -> tuple[dict[str, Judged], float, float]:
    """Per condition what was found, the threshold of structure and the mean seconds per picture.

    The threshold is what 95 of 100 boxes of true pairs reach.
    """
    from backend.demo.weather import CONDITIONS, pictures

    names = [name for name in CONDITIONS if name != "clear"]
    teller = classifier(3 * scenes, size)
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    boxes: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    seconds = []
    for seed in range(CHECK_SEEDS, CHECK_SEEDS + scenes):
        drawn = pictures(seed, size=size)
        source = drawn["clear"].image
        for name in names:
            truth = drawn[name]
            begun = time.process_time()
            made = alter(pipe, source, name, seed)
            seconds.append(time.process_time() - begun)
            told, told_true = teller.predict([evidence(source, made), evidence(source, truth.image)])
            rows[name].append(
                (
                    psnr(made, truth.image),
                    psnr(source, truth.image),
                    told == name,
                    told_true == name,
                    told.partition(":")[0] == name.partition(":")[0],
                    fineness(made) / max(fineness(truth.image), 1e-6),
                )
            )
            boxes[name] += [
                (structure(source, made, region), structure(source, truth.image, region))
                for region in truth.regions
            ]
    truths = [true for found in boxes.values() for _, true in found]
    threshold = float(np.quantile(truths, _KEPT)) if truths else 0.0
    found = {}
    for name in names:
        near, identity, told, told_true, family, detail = (
            float(v) for v in np.mean(np.array(rows[name], float), 0)
        )
        kept = (
            float(np.mean([made >= threshold for made, _ in boxes[name]])) if boxes[name] else float("nan")
        )
        found[name] = Judged(near, identity, told, told_true, family, kept, len(boxes[name]), detail)
    return found, threshold, float(np.mean(seconds))


def sheet(pipe: Any, seeds: Sequence[int], names: Sequence[str] = SHOWN, width: int = 240) -> Image:
    """Clear pictures, and below each condition the model's over the truth: one pair of rows per scene."""
    from backend.demo.weather import pictures

    rows = []
    for seed in seeds:
        drawn = pictures(seed, ("clear", *names))
        source = drawn["clear"].image
        made = [source, *(alter(pipe, source, name, seed) for name in names)]
        true = [source, *(drawn[name].image for name in names)]
        true[0] = np.full_like(source, 255)
        for pictures_of_row in (made, true):
            high = round(width * source.shape[0] / source.shape[1])
            small = [cv2.resize(p, (width, high), interpolation=cv2.INTER_AREA) for p in pictures_of_row]
            rows.append(np.concatenate(small, axis=1))
    return np.concatenate(rows, axis=0)


def write_sheet(path: Path, pipe: Any, seeds: Sequence[int]) -> None:
    """Write the contact sheet as JPEG or PNG, as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.cvtColor(sheet(pipe, seeds), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
