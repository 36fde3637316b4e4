"""The frozen holdout: a share, for ever, and only ever growing with the share."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput
from pool.split import draw, is_holdout
from tests.pool.records import sha

roots = st.text(max_size=64)
shares = st.floats(0, 1)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.2, 0.5, 0.9])
def test_the_share_is_kept_within_binomial_bounds(share: float) -> None:
    n = 20_000
    held = sum(is_holdout(sha(f"image {i}"), share) for i in range(n))
    # Four standard deviations: fixed images, so this passes always or never.
    assert abs(held - n * share) < 4 * math.sqrt(n * share * (1 - share))


def test_the_draw_is_even_over_the_whole_range() -> None:
    n, bins = 20_000, 20
    counted = [0] * bins
    for i in range(n):
        counted[int(draw(sha(f"image {i}")) * bins)] += 1
    chi_square = sum((found - n / bins) ** 2 / (n / bins) for found in counted)
    # The 99.9 % point of chi-square with 19 degrees of freedom.
    assert chi_square < 43.8


@given(root=roots, low=shares, high=shares)
def test_a_larger_share_only_adds(root: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert is_holdout(root, low) <= is_holdout(root, high)
    assert not is_holdout(root, 0.0)
    assert is_holdout(root, 1.0)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a", 0.17692108356508618),
        ("b", 0.3060236489293199),
        ("c", 0.40572303287246714),
        ("垃圾", 0.5554809833998926),
    ],
)
def test_the_holdout_of_last_year_is_the_holdout_of_today(word: str, value: float) -> None:
    """Changing these numbers would put images that were trained on into the measure."""
    assert draw(sha(word)) == value


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_that_are_none(share: float) -> None:
    with pytest.raises(BadInput, match="holdout share"):
        is_holdout(sha("a"), share)
