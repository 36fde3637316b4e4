"""What weather does to surfaces: wet ground that mirrors the street, snow on all that faces up."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.demo.air import Shot
from backend.demo.canvas import FIRST
from backend.demo.darkroom import Field
from backend.demo.stage import noise

_TILE = 256


def upward(plain: NDArray[np.uint8], dark: NDArray[np.uint8]) -> Field:
    """How much the painted surfaces face the sky, (h, w) in [0, 1], at half the size of the sheets.

    ``plain`` and ``dark`` (2h, 2w, 3) are one scene under a plain sky and under one that takes away from
    what faces up: the share that is missing says how much that is, whatever the colour.
    """
    size = (plain.shape[1] // 2, plain.shape[0] // 2)
    bright = cv2.resize(plain, size, interpolation=cv2.INTER_AREA).astype(np.float32).sum(axis=2)
    less = cv2.resize(dark, size, interpolation=cv2.INTER_AREA).astype(np.float32).sum(axis=2)
    missing = (bright - less) / np.maximum(bright, 24)
    return np.asarray(np.clip((missing - 0.14) / 0.36, 0, 1), dtype=np.float32)


def patches(shot: Shot, metres: float, chance: np.random.Generator) -> Field:
    """Soft noise (h, w) on the ground plan, mean 0, standard deviation 1; it repeats after ``metres``."""
    size = np.float32(_TILE / metres)
    start = chance.uniform(0, _TILE, 2).astype(np.float32)
    return np.asarray(
        cv2.remap(
            noise(),
            shot.at.x * size + start[0],
            shot.at.z * size + start[1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
    )


def mirror(shot: Shot) -> Field:
    """What still water on the ground would show, (3, h, w): every thing upside down below its foot.

    A point as high above the ground as its mirror image is below it lies as far above the foot of an
    upright thing as the image lies below it, whatever the distance.
    """
    camera, at = shot.camera, shot.at
    height, width = shot.sky.shape
    columns = (np.arange(width, dtype=np.float32) + np.float32(0.5 - width / 2)) / np.float32(camera.focal)
    front = shot.wall / np.maximum(np.cos(camera.yaw) - np.sin(camera.yaw) * columns, 0.05)
    foot = (camera.horizon + camera.eye * camera.focal / front).astype(np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    from_row = np.clip(2 * foot[None, :] - 1 - rows, 0, height - 1).astype(np.float32)
    from_column = np.broadcast_to(np.arange(width, dtype=np.float32), (height, width))
    out = np.stack(
        [cv2.remap(p, np.ascontiguousarray(from_column), from_row, cv2.INTER_LINEAR) for p in shot.planes]
    )
    for owner in range(FIRST, int(at.owner.max()) + 1):
        own = (at.owner == owner).astype(np.uint8)
        x, y, wide, high = cv2.boundingRect(own)
        if wide == 0:
            continue
        depth = float(at.depth[y : y + high, x : x + wide][own[y : y + high, x : x + wide] > 0][0])
        axis = round(camera.horizon + camera.eye * camera.focal / depth)
        first, last = max(2 * axis - y - high, 0), min(2 * axis - y, height)
        if last <= first:
            continue
        source = slice(2 * axis - last, 2 * axis - first)
        mask = own[source, x : x + wide][::-1] > 0
        for k in range(3):
            np.copyto(
                out[k, first:last, x : x + wide], shot.planes[k, source, x : x + wide][::-1], where=mask
            )
    return np.asarray(out, dtype=np.float32)


def wetted(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    """The picture with wet ground: darker, mirroring more at a flat angle, with puddles."""
    ground = shot.at.ground.astype(np.float32)
    steep = shot.camera.eye / np.hypot(shot.at.depth, np.float32(shot.camera.eye))
    fresnel = 0.08 + 0.92 * (1 - steep) ** 3
    lie = patches(shot, 9.0, chance) + 0.35 * patches(shot, 2.3, chance)
    puddle = np.clip((lie - (1.7 - 1.35 * strength)) * 4, 0, 1) * ground
    shown = mirror(shot)
    unit = shot.camera.width / 640
    rough = (max(round(5 * unit), 1), max(round(27 * unit), 1))
    film = np.clip(0.35 + 0.65 * strength, 0, 1) * ground
    share = np.clip(0.85 * film * fresnel * (1 - puddle) + puddle * (0.42 + 0.55 * fresnel), 0, 0.92)
    soil = (1 - np.float32(0.42) * film) * (1 - np.float32(0.25) * puddle)
    sheen = np.float32(52) * film * fresnel
    out = np.empty_like(shot.planes)
    for k in range(3):
        blurred = cv2.blur(shown[k], rough)
        seen = blurred + (shown[k] - blurred) * puddle * np.float32(0.85)
        base = shot.planes[k] * soil
        out[k] = base + (seen + sheen - base) * share
    return out


def snowed(shot: Shot, strength: float, chance: np.random.Generator) -> Field:
    """The picture with snow on the ground and on all that faces up, more and thicker with strength."""
    at = shot.at
    above = shot.above if shot.above is not None else at.ground.astype(np.float32)
    lie = patches(shot, 4.0, chance) + 0.5 * patches(shot, 1.1, chance)
    level = -2.0 + 3.8 * strength
    bare = np.clip((level + lie) * 1.1, 0, 1)
    laid = np.clip((level + 0.55 + 0.5 * lie) * 1.1, 0, 1)
    share = above * np.where(at.ground, bare, laid)
    share = np.maximum(share, _caps(shot, strength))
    shade = np.float32(0.93) + np.float32(0.05) * lie * np.clip(share, 0, 1)
    tone = np.array((240, 244, 250), np.float32)[:, None, None] * shade
    # Snow hides what it lies on but not the soft shadows around it.
    soft = cv2.GaussianBlur(shot.planes.mean(axis=0), (0, 0), max(0.012 * at.depth.shape[1], 1.0))
    lightness = np.clip(soft / 105, 0.74, 1.0)
    return np.asarray(shot.planes + (tone * lightness - shot.planes) * share, dtype=np.float32)


def _caps(shot: Shot, strength: float) -> Field:
    """Snow on the upper edges of things, (h, w) in [0, 1], as thick as it lies there."""
    at = shot.at
    height, width = at.depth.shape
    thick = (0.02 + 0.07 * strength) * shot.camera.focal / at.depth
    rows = np.arange(height, dtype=np.float32)[:, None] - thick
    columns = np.ascontiguousarray(np.broadcast_to(np.arange(width, dtype=np.float32), rows.shape))
    beyond = cv2.remap(at.depth, columns, np.maximum(rows, 0).astype(np.float32), cv2.INTER_NEAREST)
    edge = (at.owner >= FIRST) & (beyond > at.depth + 0.4)
    return np.asarray(cv2.GaussianBlur(edge.astype(np.float32), (0, 0), 0.7))
