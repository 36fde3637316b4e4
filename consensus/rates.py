"""A count out of a count, with how far it can be trusted.

A person who slipped once in three boxes and one who slipped a hundred times in three hundred have the
same rate; the interval tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from consensus.sheet import Floats
from pool.schema import BadInput

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` out of ``of``, both whole numbers.

    ``value`` lies in [0, 1] and is NaN where nothing could be counted. ``low`` and ``high`` bound the
    rate that lies behind it (Wilson 1927) with 95 % confidence: two rates whose intervals lie apart
    differ, two that overlap may be one. The interval takes the cases as independent. Boxes of one
    image are not quite, so that it is somewhat narrow where images differ much.

    Raises:
        BadInput: not 0 <= count <= of.
    """

    count: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.of:
            raise BadInput("count", f"between 0 and {self.of}", self.count)

    @property
    def value(self) -> float:
        """The share, NaN of nothing."""
        return self.count / self.of if self.of else float("nan")

    @property
    def low(self) -> float:
        """Lower bound, in [0, value]; NaN of nothing."""
        return float(wilson([self.count], [self.of])[0][0])

    @property
    def high(self) -> float:
        """Upper bound, in [value, 1]; NaN of nothing."""
        return float(wilson([self.count], [self.of])[1][0])


def rates(count: ArrayLike, of: ArrayLike) -> tuple[Rate, ...]:
    """A rate for each place of two columns (n,).

    Raises:
        BadInput: columns of different length, or a count that is not within [0, of].
    """
    parts, wholes = np.asarray(count), np.asarray(of)
    if parts.ndim != 1 or parts.shape != wholes.shape:
        raise BadInput("count", f"a column like `of`, {wholes.shape}", parts.shape)
    return tuple(Rate(int(k), int(n)) for k, n in zip(parts, wholes, strict=True))


def wilson(count: ArrayLike, of: ArrayLike, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Bounds of rates, two arrays shaped like ``count``, in [0, 1]; NaN where ``of`` is 0.

    The score interval (Wilson 1927; advised for small counts by Brown, Cai and DasGupta 2001): unlike
    rate +- 2 deviations it stays within [0, 1] and has a width also at 0 and at 1.

    Args:
        count: how many of each.
        of: out of how many.
        level: confidence, above 0 and below 1.

    Raises:
        BadInput: ``level`` out of range, or a count that is not within [0, of].
    """
    if not 0.0 < level < 1.0:
        raise BadInput("level", "above 0 and below 1", level)
    k, n = np.asarray(count, dtype=np.float64), np.asarray(of, dtype=np.float64)
    if not np.all((k >= 0.0) & (k <= n) & np.isfinite(n)):
        raise BadInput("count", "between 0 and `of`", count)
    z = NormalDist().inv_cdf((1.0 + level) / 2.0)
    some = np.where(n > 0.0, n, np.nan)
    share = k / some
    middle = share + z * z / (2.0 * some)
    reach = z * np.sqrt(share * (1.0 - share) / some + (z / (2.0 * some)) ** 2)
    stretch = 1.0 + z * z / some
    # Rounding may leave a bound a hair on the wrong side of the share, or of 0 and 1.
    low, high = (middle - reach) / stretch, (middle + reach) / stretch
    return np.where(k == 0.0, 0.0 * share, np.minimum(low, share)), np.where(
        k == n, 1.0 + 0.0 * share, np.maximum(high, share)
    )
