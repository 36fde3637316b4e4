"""Aggregates against sorted lists and by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.schema import BadInput
from sampler.aggregates import AGGREGATES, per_cost, topk, total
from sampler.effort import Effort
from sampler.measures import Evidence
from sampler.uncertainty import combine, gather, score
from tests.sampler.looks import seen

chances = st.floats(0, 1)
crowds = st.lists(st.lists(chances, min_size=1, max_size=9), min_size=2, max_size=8)
efforts = st.builds(Effort, image=st.floats(0.1, 100), box=st.floats(0, 100))


def test_top_k_counts_only_the_boxes_there_are() -> None:
    values, starts = np.array([1.0, 0.0, 1.0, 1.0, 0.4, 0.4, 0.1]), np.array([0, 1, 3])
    assert topk(values, starts) == pytest.approx([1.0, 0.5, (1 + 0.4 + 0.4) / 3])
    assert topk(values, starts, k=1) == pytest.approx([1.0, 1.0, 1.0])
    assert topk(values, starts, k=99) == pytest.approx([1.0, 0.5, 1.9 / 4])
    with pytest.raises(BadInput, match="k must be 1 or more"):
        topk(np.ones(2), np.array([0]), k=0)


@given(crowds, efforts)
def test_a_squashed_sum_orders_like_the_sum_and_stays_below_1(
    images: list[list[float]], effort: Effort
) -> None:
    predictions = [seen(*scores) for scores in images]
    sums = np.array([sum(2 * min(p, 1 - p) for p in scores) for scores in images])
    prices = np.array([effort.image + effort.box * len(scores) for scores in images])
    for aggregate, worth in (("sum", sums), ("cost", sums / prices * effort.image)):
        squashed = score(predictions, "least_confidence", aggregate, effort)
        assert (squashed < 1).all()
        clear = worth[:, None] > worth[None, :] + 1e-9
        assert (squashed[:, None] > squashed[None, :])[clear].all()


@given(crowds, efforts)
def test_only_the_ratio_of_the_efforts_matters(images: list[list[float]], effort: Effort) -> None:
    predictions = [seen(*scores) for scores in images]
    slow = Effort(3 * effort.image, 3 * effort.box)
    assert score(predictions, "entropy", "cost", effort) == pytest.approx(
        score(predictions, "entropy", "cost", slow)
    )


@given(crowds)
def test_where_boxes_cost_nothing_the_sum_is_left(images: list[list[float]]) -> None:
    predictions = [seen(*scores) for scores in images]
    free = score(predictions, "entropy", "cost", Effort(7.0, 0.0))
    assert free.tolist() == score(predictions, "entropy", "sum").tolist()


def test_a_crowd_of_small_doubts_is_not_worth_its_time() -> None:
    crowd, one = seen(*[0.97] * 10), seen(0.5)
    by_sum, by_cost = (score([crowd, one], "entropy", a, Effort(10, 5)) for a in ("sum", "cost"))
    assert by_sum[0] > by_sum[1]
    assert by_cost[0] < by_cost[1]


def test_an_image_without_boxes_costs_no_box() -> None:
    bare, box = score([seen(background=0.5), seen(0.5)], "entropy", "cost", Effort(10, 10))
    assert bare == pytest.approx(1 / 2)
    assert box == pytest.approx((1 / 2) / (1 + 1 / 2))
    evidence, starts = gather([seen(background=0.5), seen(0.5)])
    assert evidence.phantom is not None
    assert evidence.phantom.tolist() == [True, False]
    counted = Evidence(evidence.scores)  # nobody said that the first box is none
    assert combine(counted, starts, "entropy", "cost", Effort(10, 10)) == pytest.approx([1 / 3, 1 / 3])


@given(st.lists(st.lists(chances, min_size=1, max_size=5), min_size=1, max_size=5), st.integers(1, 4))
def test_dearer_images_are_worth_less_and_never_nothing(images: list[list[float]], price: int) -> None:
    values = np.concatenate(images)
    starts = np.cumsum([0, *(len(i) for i in images[:-1])])
    dear = per_cost(values, starts, np.full(len(images), float(price)))
    assert (dear <= total(values, starts)).all()
    assert ((dear > 0) == (np.add.reduceat(values, starts) / price > 0)).all()


def test_every_aggregate_is_by_name() -> None:
    values, starts = np.array([0.3]), np.array([0])
    assert {name: float(f(values, starts, np.array([1.0]))[0]) for name, f in AGGREGATES.items()} == {
        "topk": 0.3,
        "max": 0.3,
        "mean": 0.3,
        "sum": pytest.approx(0.3 / 1.3),
        "cost": pytest.approx(0.3 / 1.3),
    }
