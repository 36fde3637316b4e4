"""The images that people were asked about last, by their hashes: a stream's look-alikes need nobody.

A camera shows the same thing many times in a row. The state is a tuple of 64-bit perceptual hashes
(`pool.phash`), the newest last.
"""

from __future__ import annotations

MOST = 256
"""Images remembered."""
BITS = 4
"""Most bits of 64 in which the hashes of look-alikes differ."""

Recent = tuple[int, ...]


def nearest(recent: Recent, phash: int) -> int | None:
    """Fewest differing bits from a remembered hash, in [0, 64]; None where nothing is remembered."""
    return min(((phash ^ other).bit_count() for other in recent), default=None)


def seen(recent: Recent, phash: int, bits: int = BITS) -> bool:
    """Does a remembered hash differ in at most ``bits`` of 64? Nothing changes."""
    found = nearest(recent, phash)
    return found is not None and found <= bits


def remember(recent: Recent, phash: int, most: int = MOST) -> Recent:
    """The hashes with one more; of more than ``most`` the oldest go."""
    return (*recent, phash)[-most:]


def dump(recent: Recent) -> list[str]:
    """The hashes as 16 hexadecimal digits each: JSON's readers round integers of 64 bits."""
    return [f"{phash:016x}" for phash in recent]


def load(record: list[str]) -> Recent:
    """What `dump` made a record of."""
    return tuple(int(phash, 16) for phash in record)
