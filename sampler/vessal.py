"""VeSSAL: volume sampling for a stream, where a picture unlike those asked about before is likelier drawn.

Saran, Yousefi, Krishnamurthy, Langford and Ash, "Streaming Active Learning with Deep Neural Networks",
ICML 2023. With z = sqrt(uncertainty) * embedding, S = ridge * I + the sum of z zᵀ over what was asked,
and M the mean of z zᵀ over all images so far, an image is drawn with the chance

    p = min(1, rate * zᵀ S⁻¹ z / tr(S⁻¹ M)),

which is `rate` on average, however z is spread. S⁻¹ follows by Sherman and Morrison's formula: O(d²).

Unlike in the paper the stream has no end. The rate is the budget, corrected by what a token bucket says
is owed, and M forgets, so that drift is followed. Embeddings are scaled to length 1 and projected at
random to `DIMS` numbers (signs: Achlioptas 2003), so that the state fits a row of a table: about 11 kB.
Images without an embedding differ in their uncertainty alone.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pool.schema import BadInput
from sampler.draws import draw, rate
from sampler.records import Record, dumped, loaded
from sampler.stream import Item, Quota, compared, exhausted

DIMS = 32
RIDGE = 0.01
MEMORY = 0.001
"""Weight of the newest image in M, once there were as many images."""
_SIGNS = 2023  # seed of the projection: one for all, or a state would mean something else elsewhere
_MATRICES = ("inverse", "mean")
_FLOAT = np.dtype("<f4")

Array = NDArray[np.float32]

_FRESH = (np.eye(DIMS, dtype=_FLOAT) / np.float32(RIDGE)).tobytes()
_EMPTY = bytes(DIMS * DIMS * _FLOAT.itemsize)
_NOTHING = np.ones(1, dtype=np.float32)  # where no embedding says anything, all images look alike


@dataclass(frozen=True, slots=True)
class Volume:
    """What VeSSAL remembers: ``seen`` and ``asked`` images, ``tokens``, and two matrices.

    ``inverse`` is S⁻¹ and ``mean`` is M, each `DIMS` x `DIMS` float32 numbers as bytes, which nobody can
    change by accident. M is of ``counted`` images, whose embeddings have the length ``width``; 0 before
    the first.
    """

    seen: int = 0
    asked: int = 0
    tokens: float = 0.0
    counted: int = 0
    width: int = 0
    inverse: bytes = _FRESH
    mean: bytes = _EMPTY


def begin(quota: Quota) -> Volume:
    """The state before the first image."""
    return Volume(tokens=quota.level)


def chance(state: Volume, item: Item, quota: Quota) -> float:
    """The chance p, in [0, 1], with which this image is drawn; nothing changes.

    Raises:
        BadInput: the embedding is no row of finite numbers.
    """
    z, known = _weighted(item), _fitting(state, item)
    inverse = _matrix(known.inverse)
    gain = _gain(z, inverse)
    weight = _weight(known)
    usual = (1 - weight) * float(np.vdot(inverse, _matrix(known.mean))) + weight * gain
    share = rate(known.tokens, quota)
    # No image so far was in doubt at all: then none is more worth asking about than another.
    return min(share * gain / usual, 1.0) if usual > 0 else share


def wants(state: Volume, item: Item, quota: Quota) -> bool:
    """Should a person see this image? Nothing changes; errors as in `chance`."""
    return quota.refill(state.tokens) >= 1 and draw(quota.seed, state.seen) < chance(state, item, quota)


def advance(state: Volume, item: Item, quota: Quota, asked: bool) -> Volume:
    """The state after this image, of which ``asked`` says whether a person was really asked."""
    z, known = _weighted(item), _fitting(state, item)
    mean = _matrix(known.mean)
    mean = mean + np.float32(_weight(known)) * (_square(z) - mean)
    after = replace(
        known,
        seen=state.seen + 1,
        asked=state.asked + asked,
        tokens=quota.refill(state.tokens) - asked,
        counted=known.counted + 1,
        mean=mean.tobytes(),
    )
    if not asked:
        return after
    inverse = _matrix(known.inverse)
    toward = inverse @ z
    inverse = inverse - _square(toward) / np.float32(1 + _gain(z, inverse))
    return replace(after, inverse=inverse.tobytes())


def explain(state: Volume, item: Item, quota: Quota) -> str:
    """What `wants` went by, in words and numbers."""
    if quota.refill(state.tokens) < 1:
        return exhausted(state.tokens, quota)
    return compared("draw", draw(quota.seed, state.seen), "chance", chance(state, item, quota))


def dump(state: Volume) -> Record:
    """The state as a record for JSON, the matrices in base64."""
    texts = {name: base64.b64encode(getattr(state, name)).decode() for name in _MATRICES}
    return dumped(state) | texts


def load(record: Mapping[str, object]) -> Volume:
    """The state of a record that `dump` made; counters with matrices of another size begin those afresh.

    Raises:
        BadInput: the record is of something else.
    """
    state = loaded(Volume, {name: value for name, value in record.items() if name not in _MATRICES})
    inverse, mean = (_bytes(record.get(name)) for name in _MATRICES)
    if len(inverse) == len(mean) == len(_FRESH):
        return replace(state, inverse=inverse, mean=mean)
    return _fresh(state, 0)


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error:
        return b""


def _fresh(state: Volume, width: int) -> Volume:
    return replace(state, width=width, counted=0, inverse=_FRESH, mean=_EMPTY)


def _fitting(state: Volume, item: Item) -> Volume:
    """The state, with fresh matrices where embeddings have another length than before: a new model's."""
    if item.embedding is None or len(item.embedding) == state.width:
        return state
    return _fresh(state, len(item.embedding))


def _weight(state: Volume) -> float:
    return max(1 / (state.counted + 1), MEMORY)


def _gain(z: Array, inverse: Array) -> float:
    return max(float(z @ inverse @ z), 0.0)  # rounding may take a little below 0


def _square(v: Array) -> Array:
    return np.asarray(np.outer(v, v), dtype=np.float32)


def _matrix(data: bytes) -> Array:
    return np.frombuffer(data, dtype=_FLOAT).reshape(DIMS, DIMS)


def _weighted(item: Item) -> Array:
    """z = sqrt(uncertainty) * the projected embedding, (DIMS,)."""
    root = np.sqrt(np.float32(item.uncertainty))
    row = np.asarray(_NOTHING if item.embedding is None else item.embedding, dtype=np.float32)
    length = np.linalg.norm(row) if row.ndim == 1 else np.float32(np.nan)
    if not np.isfinite(length):
        raise BadInput("embedding", "a row of finite numbers", item.embedding, "Predict the image again.")
    if length == 0:
        row, length = _NOTHING, np.float32(1)
    return np.asarray((row @ _projection(row.size)) * (root / length), dtype=np.float32)


@lru_cache(maxsize=8)
def _projection(width: int) -> Array:
    """(width, DIMS) signs, scaled so that lengths are kept on average; what fits already stays as it is."""
    if width <= DIMS:
        return np.eye(width, DIMS, dtype=np.float32)
    words = np.random.Philox(key=_SIGNS).random_raw(width * DIMS // 64 + 1).astype("<u8")
    bits = np.unpackbits(words.view(np.uint8))[: width * DIMS].reshape(width, DIMS)
    return np.asarray((2 * bits.astype(np.float32) - 1) / np.sqrt(np.float32(DIMS)))
