"""Reliability: against crowd-kit, against EM written out with loops, and where it knows nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.dawid_skene import Reliability, dawid_skene, posterior
from consensus.study import Study, of_annotations
from pool.schema import Annotation, BadInput, Region
from tests.consensus.scenes import answers, drew, region

NAMES = ("bin", "garbage", "袋")
MISSES = (0.03, 0.05, 0.04, 0.2, 0.06, 0.03)
CONFUSES = (0.05, 0.03, 0.25, 0.04, 0.02, 0.05)


def job(
    samples: int, seed: int = 0, people: int = 4
) -> tuple[list[Annotation], dict[tuple[str, int], str]]:
    """Answers of ``people`` out of six with planted errors, and the true label by sample and place."""
    rng = np.random.default_rng(seed)
    given_: list[Annotation] = []
    truth: dict[tuple[str, int], str] = {}
    for k in range(samples):
        sample = f"s{k:04d}"
        names = [NAMES[rng.choice(3, p=[0.5, 0.2, 0.3])] for _ in range(rng.poisson(6))]
        for place, name in enumerate(names):
            truth[sample, place] = name
        for person in rng.permutation(6)[:people].tolist():
            drawn = []
            for place, name in enumerate(names):
                if rng.random() < MISSES[person]:
                    continue
                other = rng.choice([n for n in NAMES if n != name])
                drawn.append(at(place, str(other) if rng.random() < CONFUSES[person] else name))
            if rng.random() < 0.2:
                drawn.append(at(int(rng.integers(30, 60)), str(rng.choice(NAMES))))
            given_.append(drew(f"p{person}", *drawn, sample=sample, number=len(given_)))
    return given_, truth


def at(place: int, label: str | None) -> Region:
    x, y = place % 8 / 8, place // 8 / 8
    return region(label, x, y, x + 0.1, y + 0.1)


def place_of(study: Study) -> list[tuple[str, int]]:
    """Sample and place of each object."""
    marks = study.marks
    first = np.unique(study.objects, return_index=True)[1]
    spots = np.round(marks.boxes[first, 0] * 8) + 8 * np.round(marks.boxes[first, 1] * 8)
    return [
        (marks.samples[s], int(p))
        for s, p in zip(marks.sample[first].tolist(), spots.tolist(), strict=True)
    ]


def ballots(study: Study) -> list[dict[int, int]]:
    """Each object's votes by annotator; "absent" is the number of labels."""
    marks = study.marks
    here: dict[int, list[int]] = {}
    for sample, person in marks.answered.tolist():
        here.setdefault(sample, []).append(person)
    out = [dict.fromkeys(here[s], len(marks.labels)) for s in study.votes.sample.tolist()]
    for k, person, label in zip(
        study.objects.tolist(), marks.annotator.tolist(), marks.label.tolist(), strict=True
    ):
        out[k][person] = label
    return out


@pytest.mark.filterwarnings("ignore::Warning")  # crowd-kit speaks an older pandas
def test_labels_and_confusions_of_crowd_kit() -> None:
    pandas = pytest.importorskip("pandas")
    aggregation = pytest.importorskip("crowdkit.aggregation.classification.dawid_skene")
    study = of_annotations(job(300, seed=1)[0])
    rows = [(k, who, value) for k, given_ in enumerate(ballots(study)) for who, value in given_.items()]
    frame = pandas.DataFrame(rows, columns=["task", "worker", "label"])
    peer = aggregation.DawidSkene(n_iter=200, tol=1e-9).fit(frame)
    got = dawid_skene(study, smoothing=1e-6, most=200, tolerance=1e-9)
    theirs = peer.labels_.reindex(range(len(got.posterior))).to_numpy()
    assert got.posterior.argmax(axis=1).tolist() == theirs.tolist()
    assert got.prior == pytest.approx(peer.priors_.reindex(range(4)).to_numpy(), abs=0.005)
    for (worker, vote), row in peer.errors_.iterrows():
        assert got.confusion[worker, :, vote] == pytest.approx(row.reindex(range(4)).to_numpy(), abs=0.02)


def test_planted_errors_are_found() -> None:
    given_, truth = job(1000, seed=2)
    study = of_annotations(given_)
    got = dawid_skene(study)
    label = [study.marks.labels.index(name) for name in NAMES]
    for person in range(6):
        rows = got.confusion[person][label]
        misses, confuses = MISSES[person], CONFUSES[person]
        assert rows[:, 3] == pytest.approx(misses, abs=0.035)
        assert (rows[:, 3] @ [0.5, 0.2, 0.3]) == pytest.approx(misses, abs=0.02)
        right = np.diagonal(rows[:, label])
        assert (right @ [0.5, 0.2, 0.3]) == pytest.approx((1 - misses) * (1 - confuses), abs=0.02)
    places = place_of(study)
    real = [k for k, place in enumerate(places) if place in truth]
    by_posterior, by_vote = got.posterior[:, :-1].argmax(axis=1), study.votes.label
    wrong = [
        sum(study.marks.labels[said[k]] != truth[places[k]] for k in real)
        for said in (by_posterior, by_vote)
    ]
    assert 0 < wrong[0] < 0.8 * wrong[1]
    noise = np.array([place not in truth for place in places])
    assert (got.posterior[noise].argmax(axis=1) == 3).mean() > 0.9


def slowly(study: Study, smoothing: float, iterations: int) -> tuple[list[list[float]], float]:
    """The same EM, one vote at a time: posterior and log-likelihood."""
    values, people = len(study.marks.labels) + 1, len(study.marks.annotators)
    every = ballots(study)
    taught = [k for k, votes in enumerate(every) if len(votes) > 1]

    def believed(votes: dict[int, int], prior: list[float], table: list[list[list[float]]]) -> list[float]:
        joint = [prior[t] * math.prod(table[a][t][v] for a, v in votes.items()) for t in range(values)]
        return [*(j / sum(joint) for j in joint), math.log(sum(joint))]

    belief = {k: [list(every[k].values()).count(t) / len(every[k]) for t in range(values)] for k in taught}
    for _ in range(iterations):
        prior = [sum(belief[k][t] for k in taught) + 0.01 for t in range(values)]
        prior = [p / sum(prior) for p in prior]
        counts = np.zeros((people, values, values))
        for k in taught:
            for a, v in every[k].items():
                counts[a, :, v] += belief[k]
        group = counts.sum(axis=0) + 0.01
        pull = smoothing * group / group.sum(axis=1, keepdims=True)
        table = ((counts + pull) / (counts + pull).sum(axis=2, keepdims=True)).tolist()
        belief = {k: believed(every[k], prior, table)[:-1] for k in taught}
    final = [believed(votes, prior, table) for votes in every]
    return [row[:-1] for row in final], sum(final[k][-1] for k in taught)


def several(scenes: Sequence[Sequence[Annotation]]) -> list[Annotation]:
    return [replace(a, sample=f"s{k}") for k, scene in enumerate(scenes) for a in scene]


@given(st.lists(answers(), min_size=1, max_size=4), st.sampled_from([0.1, 5.0]), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_steps_are_those_of_the_paper(
    scenes: list[list[Annotation]], smoothing: float, iterations: int
) -> None:
    study = of_annotations(several(scenes))
    got = dawid_skene(study, smoothing, iterations, 1e-300)
    if got.iterations == iterations:
        expected, likelihood = slowly(study, smoothing, iterations)
        assert got.posterior == pytest.approx(np.array(expected).reshape(got.posterior.shape), abs=1e-7)
        assert got.log_likelihood == pytest.approx(likelihood, abs=1e-6)


@given(st.lists(answers(), min_size=1, max_size=3), st.data())
@settings(max_examples=40, deadline=None)
def test_names_and_order_mean_nothing(scenes: list[list[Annotation]], data: st.DataObject) -> None:
    given_ = several(scenes)
    names = data.draw(st.permutations(["person 0", "person 1", "person 2", "person 3"]))
    swap = {f"person {k}": name for k, name in enumerate(names)}
    renamed = [replace(a, annotator=swap[a.annotator]) for a in data.draw(st.permutations(given_))]
    one, other = of_annotations(given_), of_annotations(renamed)
    before, after = dawid_skene(one), dawid_skene(other)
    assert after.prior == pytest.approx(before.prior, abs=1e-6)
    for k, name in enumerate(one.marks.annotators):
        assert after.confusion[other.marks.annotators.index(swap[name])] == pytest.approx(
            before.confusion[k], abs=1e-6
        )
    assert sorted(after.posterior.round(6).tolist()) == sorted(before.posterior.round(6).tolist())


@given(st.lists(answers(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_tables_are_probabilities(scenes: list[list[Annotation]]) -> None:
    study = of_annotations(several(scenes))
    got = dawid_skene(study)
    for table in (got.prior, got.confusion, got.typical, got.posterior):
        assert (table >= 0).all()
        assert table.sum(axis=-1) == pytest.approx(np.ones(table.shape[:-1]), abs=1e-8)
    assert posterior(study, got.prior, got.confusion).tolist() == got.posterior.tolist()
    assert got.objects == sum(len(votes) > 1 for votes in ballots(study))
    assert got.log_likelihood <= 0


def test_opposite_witnesses_stay_undecided() -> None:
    given_ = [
        drew(who, at(0, label), sample=f"s{k}")
        for k in range(40)
        for who, label in (("a", "bin"), ("b", "garbage"))
    ]
    got = dawid_skene(of_annotations(given_), tolerance=1e-12)
    assert got.posterior[:, :2] == pytest.approx(0.5, abs=1e-3)
    assert got.posterior[:, 0].tolist() == got.posterior[:, 1].tolist()


def test_a_tie_is_no_accident_of_rounding() -> None:
    """Every case has its mirror image, so nothing tells the labels apart, however long EM goes on."""
    given_: list[Annotation] = []
    for k in range(20):
        for mirror in (0, 1):
            for p in range(3):
                label = "bin" if (p < 1 + k % 2) != mirror else "garbage"
                given_.append(drew(f"p{p}", at(0, label), sample=f"s{k:02d}{mirror}", number=len(given_)))
    got = dawid_skene(of_annotations(given_), most=300, tolerance=1e-14)
    assert got.posterior[:, 0].tolist() == got.posterior[:, 1].tolist()


def test_images_with_one_answer_teach_nothing() -> None:
    given_ = job(60, seed=3)[0]
    alone = [drew("p3", at(1, "bin"), sample=f"alone {k}") for k in range(500)]
    with_them, without = (dawid_skene(of_annotations(a)) for a in ([*given_, *alone], given_))
    assert with_them.confusion.tolist() == without.confusion.tolist()
    assert (with_them.objects, with_them.log_likelihood) == (without.objects, without.log_likelihood)
    assert len(with_them.posterior) == len(without.posterior) + 500


def test_a_stranger_is_like_the_group() -> None:
    given_ = [*job(60, seed=4)[0], drew("new", at(1, "bin"), sample="alone")]
    study = of_annotations(given_)
    got = dawid_skene(study)
    assert got.confusion[study.marks.annotators.index("new")] == pytest.approx(got.typical)


@pytest.mark.parametrize(
    "given_", [[], [drew("a")], [drew("a", at(0, None))], [drew("a"), drew("b", number=2)]]
)
def test_nothing_to_learn_from(given_: list[Annotation]) -> None:
    study = of_annotations(given_)
    got = dawid_skene(study)
    values = len(study.marks.labels) + 1
    assert got.prior == pytest.approx(np.full(values, 1 / values))
    assert got.confusion == pytest.approx(
        np.full((len(study.marks.annotators), values, values), 1 / values)
    )
    assert got.posterior.shape == (len(study.votes.label), values)
    assert (got.objects, got.log_likelihood) == (0, 0.0)


def test_an_unfinished_run_says_so() -> None:
    study = of_annotations(job(80, seed=5)[0])
    short, long = dawid_skene(study, most=1), dawid_skene(study)
    assert short.iterations == 1 < long.iterations < 200
    assert isinstance(long, Reliability)
    assert long.log_likelihood > short.log_likelihood


def test_many_annotators_who_rarely_meet() -> None:
    rng = np.random.default_rng(6)
    given_ = [
        drew(f"p{p}", *(at(k, "bin") for k in range(4) if rng.random() < 0.8), sample=f"s{s}")
        for s in range(150)
        for p in rng.permutation(200)[:4].tolist()
    ]
    got = dawid_skene(of_annotations(given_))
    assert got.confusion.shape == (200, 2, 2) or got.confusion.shape[0] == len(
        {a.annotator for a in given_}
    )
    assert np.median(got.confusion[:, 0, 0]) == pytest.approx(0.8, abs=0.05)


def test_wrong_input_is_named() -> None:
    study = of_annotations([drew("a", at(0, "bin"))])
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(BadInput, match="smoothing must be above 0"):
            dawid_skene(study, smoothing=bad)
        with pytest.raises(BadInput, match="tolerance must be above 0"):
            dawid_skene(study, tolerance=bad)
    with pytest.raises(BadInput, match="most must be 1 or more"):
        dawid_skene(study, most=0)
    with pytest.raises(BadInput, match=r"prior must be of shape \(2,\)"):
        posterior(study, np.ones(3), np.ones((1, 2, 2)))
    with pytest.raises(BadInput, match=r"confusion must be of shape \(1, 2, 2\)"):
        posterior(study, np.ones(2), np.ones((2, 2, 2)))
