"""Image numbers against a plain loop, and what the boxes of one image may not do to another's."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool.schema import BadInput, Prediction
from sampler import uncertainty
from sampler.effort import Effort
from sampler.uncertainty import AGGREGATES, MEASURES, Evidence, binary_entropy, combine, gather, score
from tests.sampler.looks import seen

chances = st.floats(0, 1)
halves = st.floats(0, 1, width=16)
anything = st.one_of(st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 2.0, 5e-324]))
EFFORT = Effort(8.0, 3.0)


def known(boxes: Sequence[Sequence[float]], background: float) -> Prediction:
    """A box is its score and class probability, how undecided its edges are, and its heads' difference."""
    scores, edges, heads = ([box[i] for box in boxes] for i in range(3))
    if not boxes:
        return seen(background=background)
    return seen(
        *scores,
        background=background,
        probs=[[p] for p in scores],
        localisation=edges,
        disagreement=heads,
    )


@given(st.lists(anything, max_size=8), anything)
def test_any_input_gives_a_number_between_0_and_1(scores: list[float], background: float) -> None:
    extra = [min(max(s, -6e4), 6e4) for s in scores]
    predictions = [
        seen(
            *scores,
            background=background,
            probs=[[s] for s in extra] if scores else None,
            localisation=extra,
            disagreement=extra,
        ),
        seen(None, probs=[[math.nan]], localisation=[math.nan], disagreement=[math.nan]),
        seen(background=background),
    ]
    for measure in MEASURES:
        for aggregate in AGGREGATES:
            values = score(predictions, measure, aggregate)
            assert np.isfinite(values).all()
            assert ((values >= 0) & (values <= 1)).all()


def test_a_score_that_is_no_number_counts_as_a_half() -> None:
    nan = [math.nan]
    unread = [
        seen(math.nan, probs=[nan], localisation=nan, disagreement=nan),
        seen(None, probs=[nan], localisation=nan, disagreement=nan),
        seen(background=math.nan),
    ]
    half = seen(0.5, probs=[[0.5]], localisation=[0.5], disagreement=[0.5])
    for measure in MEASURES:
        values = score([*unread, half], measure, "max")
        assert values[:2].tolist() == [values[3]] * 2
        assert values[2] == values[3] or values[2] == 1
    for measure in ("entropy", "least_confidence", "margin"):
        assert score(unread, measure, "max").tolist() == [1, 1, 1]


def plain(values: Sequence[float], aggregate: str, boxes: int) -> float:
    """The aggregates once more, without arrays."""
    if aggregate == "max":
        return max(values)
    if aggregate == "mean":
        return math.fsum(values) / len(values)
    if aggregate == "sum":
        return math.fsum(values) / (1 + math.fsum(values))
    if aggregate == "cost":
        worth = EFFORT.image * math.fsum(values) / (EFFORT.image + EFFORT.box * boxes)
        return worth / (1 + worth)
    strongest = sorted(values, reverse=True)[:3]
    return math.fsum(strongest) / len(strongest)


def bits(p: float) -> float:
    return 0.0 if p in (0, 1) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)


SCALAR: dict[str, Callable[[Sequence[float]], float]] = {
    "entropy": lambda box: bits(box[0]),
    "least_confidence": lambda box: 2 * min(box[0], 1 - box[0]),
    "margin": lambda box: 1 - abs(box[0] - (1 - box[0])),
    "multilabel": lambda box: bits(box[0]) / (1 + bits(box[0])) if box[0] >= 0.01 else 0.0,
    "localisation": lambda box: box[1],
    "disagreement": lambda box: box[2],
}


@given(st.lists(st.tuples(st.lists(st.tuples(halves, halves, halves), max_size=7), halves), max_size=6))
def test_images_against_a_plain_loop(
    images: list[tuple[list[tuple[float, float, float]], float]],
) -> None:
    predictions = [known(boxes, background) for boxes, background in images]
    for measure, scalar in SCALAR.items():
        for aggregate in AGGREGATES:
            expected = [
                plain(
                    [scalar(box) for box in boxes or [(whisper, bits(whisper), bits(whisper))]],
                    aggregate,
                    len(boxes),
                )
                for boxes, whisper in images
            ]
            assert score(predictions, measure, aggregate, EFFORT) == pytest.approx(expected, abs=1e-6)


def test_every_name_has_its_second_implementation() -> None:
    assert set(SCALAR) == set(MEASURES)
    assert set(AGGREGATES) == {"topk", "max", "mean", "sum", "cost"}


@given(st.lists(st.lists(chances, max_size=5), max_size=6), st.data())
def test_an_image_does_not_depend_on_its_neighbours(images: list[list[float]], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(images))))
    predictions = [seen(*scores, background=0.03) for scores in images]
    for aggregate in AGGREGATES:
        together = score(predictions, "entropy", aggregate)
        shuffled = score([predictions[i] for i in order], "entropy", aggregate)
        assert together[list(order)] == pytest.approx(shuffled, abs=1e-12)


@given(st.lists(chances, min_size=1, max_size=6), st.data())
def test_the_order_of_boxes_means_nothing(scores: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(scores))
    for aggregate in AGGREGATES:
        values = score([seen(*scores), seen(*shuffled)], "entropy", aggregate)
        assert values[0] == pytest.approx(values[1], abs=1e-12)


def test_an_empty_image_is_its_background() -> None:
    silent, whisper, box = score([seen(), seen(background=0.04), seen(0.5)])
    assert silent == 0
    assert whisper == pytest.approx(binary_entropy(0.04))
    assert box == 1
    assert score([seen(0.99, background=0.5)])[0] < 0.1  # where boxes are, the background is silent


def test_what_nobody_can_say_of_a_whisper_is_its_entropy() -> None:
    empty, box = seen(background=0.04), seen(0.9, localisation=[0.25], disagreement=[0.75])
    for measure, noted in (("localisation", 0.25), ("disagreement", 0.75)):
        values = score([empty, box], measure)
        assert values == pytest.approx([float(binary_entropy(0.04)), noted])
        assert score([empty], measure) == pytest.approx(values[:1])  # no box lacks anything


def test_a_column_that_some_models_have_is_a_half_for_the_others() -> None:
    with_edges, without = seen(0.9, 0.9, localisation=[0.25, 0.125]), seen(0.9)
    assert score([without, with_edges, seen()], "localisation", "max").tolist() == [0.5, 0.25, 0.0]
    with pytest.raises(BadInput, match="localisation must be known of the boxes"):
        score([without, seen()], "localisation")
    with pytest.raises(BadInput, match="probs must be known of the boxes"):
        score([without, seen()], "multilabel")


def test_margin_reads_the_probabilities_where_a_model_gives_them() -> None:
    torn = seen(0.9, probs=[[0.9, 0.875]])
    clear = seen(0.9, probs=[[0.9, 0.0]])
    without = seen(0.9)
    narrow = seen(0.5, probs=[[0.5]])
    values = score([torn, clear, without, narrow, seen(background=0.5)], "margin", "max")
    assert values == pytest.approx([0.975, 0.2, 0.2, 1.0, 1.0], abs=1e-3)
    assert score([torn], "entropy")[0] < 0.5  # the top score alone sees no doubt


def test_nothing_gives_nothing() -> None:
    for measure in MEASURES:
        assert score([], measure).shape == (0,)
    evidence, starts = gather([])
    assert evidence.scores.shape == starts.shape == (0,)


def test_wrong_names_list_the_right_ones() -> None:
    with pytest.raises(
        BadInput, match=r"measure must be one of entropy, .*, disagreement, but got 'entrpy'"
    ):
        score([seen(0.5)], measure="entrpy")
    with pytest.raises(BadInput, match="aggregate must be one of topk, max, mean, sum, cost"):
        score([], aggregate="median")


def test_arrays_that_do_not_fit_are_refused() -> None:
    one = Evidence(np.array([0.5]))
    for starts in ([1], [0, 0], [0, 1]):
        with pytest.raises(BadInput, match="starts"):
            combine(one, starts)
    with pytest.raises(BadInput, match=r"probs must be of shape \(1, classes\)"):
        score([seen(0.5, probs=[[0.5], [0.4]])], "margin")
    two = np.zeros(2, dtype=np.float16)
    misfits: list[tuple[str, Prediction, Evidence]] = [
        ("localisation", replace(seen(0.5), localisation=two), replace(one, localisation=two)),
        ("disagreement", replace(seen(0.5), disagreement=two), replace(one, disagreement=two)),
    ]
    for name, prediction, evidence in misfits:
        with pytest.raises(BadInput, match=rf"{name} must be of shape \(1,\).*Predict 0+ again"):
            score([prediction], "entropy")
        with pytest.raises(BadInput, match=rf"{name} must be of shape \(1,\)"):
            combine(evidence, [0])
    with pytest.raises(BadInput, match=r"probs must be of shape \(1, classes\)"):
        combine(Evidence(np.array([0.5]), probs=np.zeros(1)), [0])


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    block=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_blocks_cut_between_images_only(lengths: list[int], block: int, seed: int) -> None:
    starts, m = np.cumsum([0, *lengths[:-1]]), sum(lengths)
    rng = np.random.default_rng(seed)
    column = rng.random(m).astype(np.float16)
    evidence = Evidence(column, rng.random((m, 3)).astype(np.float16), column, column, rng.random(m) < 0.3)
    for measure in MEASURES:
        for aggregate in AGGREGATES:
            whole = combine(evidence, starts, measure, aggregate)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(uncertainty, "BLOCK", block)
                assert combine(evidence, starts, measure, aggregate) == pytest.approx(whole, abs=1e-12)


def test_millions_of_boxes_in_half_precision_are_never_all_in_double() -> None:
    m = 4_000_000
    evidence, starts = Evidence(np.full(m, 0.25, np.float16)), np.arange(0, m, 1000)
    tracemalloc.start()
    values = combine(evidence, starts, "entropy", "mean")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values == pytest.approx(np.full(4000, float(binary_entropy(0.25))))
    assert peak < 16 * uncertainty.BLOCK * 8 < m * 8 * 5  # a whole column takes five such arrays
