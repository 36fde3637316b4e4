"""Whom the loop asks, with the demo's real weights and no Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend import asking, briefing, doubts, learning, requests
from backend.asking import Wish, affordable, decide, wish
from backend.demo.scenes import LABELS
from backend.house import House, Job
from pool.columns import join
from pool.schema import BadInput, Box, Decision, NotReady, Region, Round
from sampler.batch import Lane, Pick
from sampler.strategies import STRATEGIES
from tests.backend.small import NOW, say, sides, small_house

JOB = Job("round")
FAINT = 0.08  # at this size the demo's weights are sure of little


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with small_house(tmp_path) as opened:
        learning.look(opened, opened.champion(1), Job("look"))
        yield opened


def asked(house: House, size: int, round_id: str = "round", **given_: object) -> list[Decision]:
    return decide(
        house, house.champion(1), wish(house.settings, {"size": size, **given_}), round_id, JOB
    ).decisions


def test_who_skips_has_answered_and_holdout_images_want_two_people(house: House) -> None:
    plain, holdout = sides(house)
    say(house, plain[0], "ann")
    say(house, plain[1], "ann", skipped=True)
    say(house, holdout[0], "ann")
    say(house, holdout[1], "ann", skipped=True)
    say(house, holdout[1], "bob")
    say(house, holdout[2], "ann")
    say(house, holdout[2], "ann")  # twice the same person is one person
    wanted = briefing.undecided(house, 1)
    assert wanted.keys() == {s.id for s in (*plain[2:], holdout[0], *holdout[2:])}
    assert {wanted[s.id].people for s in plain[2:]} == {0}
    assert (wanted[holdout[0].id].people, wanted[holdout[2].id].people) == (1, 1)


def test_holdout_images_that_nobody_saw_come_before_those_that_wait_for_a_second_person(
    house: House,
) -> None:
    plain, holdout = sides(house)
    assert len(holdout) > 2
    for sample in holdout[:-1]:
        say(house, sample, "ann")
    picks = asked(house, 2, strategy="top_n")
    assert [d.sample for d in picks if d.strategy == "holdout"] == [holdout[-1].id]
    chosen = [d for d in picks if d.strategy == "top_n"]
    assert {d.sample for d in chosen} <= {s.id for s in plain}
    values = house.pool.uncertainties(1, house.champion(1).version)
    assert sorted((values[s.id] for s in plain), reverse=True)[:2] == pytest.approx(
        [d.uncertainty for d in chosen]
    )


def test_what_people_see_hides_weak_boxes_behind_the_background(house: House) -> None:
    for prediction in house.pool.predictions(house.champion(1).version):
        seen = asking.as_shown(prediction, 0.25)
        scores = np.array([r.score for r in prediction.regions], dtype=float)
        assert len(seen.regions) == (scores >= 0.25).sum()
        assert seen.background >= max([prediction.background, *scores[scores < 0.25]])


def test_each_strategy_chooses_from_what_the_detector_saw(house: House) -> None:
    plain, _ = sides(house)
    say(house, plain[0], "ann")
    for strategy in STRATEGIES:
        decisions = asked(house, 3, strategy=strategy)
        assert decisions == asked(house, 3, strategy=strategy)
        human = [d for d in decisions if d.route == "human"]
        assert len({d.sample for d in human}) == 3
        assert {d.strategy for d in human} == {strategy}
        assert {d.sample for d in human} <= {s.id for s in plain[1:]}
        chance = 3 / (len(plain) - 1) if strategy == "random" else 1.0
        assert [d.p_select for d in human] == pytest.approx([chance] * 3)


def test_strategies_are_told_what_there_is(house: House) -> None:
    model = house.champion(1)
    plain, _ = sides(house)
    say(house, plain[0], "ann")
    wanted = briefing.undecided(house, 1)
    columns = briefing.read(house, model, wanted, ())
    values = np.zeros(len(columns))
    signals = briefing.signals_of(house, model, columns, wanted, values, "ppal", "entropy")
    seen = {p.sample: p for p in house.pool.predictions(model.version)}
    assert signals.embedding is not None
    assert signals.context is not None
    assert signals.boxes is not None
    assert signals.detail is not None
    assert signals.difficulty is not None
    assert np.isfinite(signals.embedding).all()
    (known,) = house.pool.signals(model.version, [plain[0].id], ("embedding",))
    np.testing.assert_array_equal(signals.context, known.embedding)
    assert signals.boxes.tolist() == [len(seen[s].regions) for s in columns.samples]
    boxes = signals.detail(np.array([2, 0]))
    assert np.diff(boxes.starts).tolist() == signals.boxes[[2, 0]].tolist()
    for image, prediction in enumerate(seen[s] for s in columns.samples):
        assert signals.kind is not None
        if prediction.regions:
            doubt = min(prediction.regions, key=lambda r: abs((r.score or 0.0) - 0.5))
            assert LABELS[signals.kind[image]] == doubt.label
        else:
            assert signals.kind[image] == -1


@pytest.mark.parametrize("measure", [m for m in doubts.names() if m != "committee"])
def test_each_measure_tells_images_apart(house: House, measure: str) -> None:
    if measure == "disagreement":  # the demo's weights have one head
        with pytest.raises(BadInput, match="disagreement"):
            asked(house, 2, measure=measure)
        return
    decisions = asked(house, 2, measure=measure, strategy="top_n")
    chosen = [d for d in decisions if d.strategy == "top_n"]
    assert len(chosen) == 2
    assert {d.measure for d in decisions} == {measure}
    assert all(0 <= d.uncertainty <= 1 for d in decisions)


def test_a_committee_needs_a_second_version(house: House) -> None:
    with pytest.raises(NotReady, match="two model versions"):
        asked(house, 2, measure="committee")


def test_a_committee_of_two_versions(house: House) -> None:
    first = house.champion(1)
    second = replace(first, version="second", parent=first.version, state="candidate")
    house.pool.add_model(second)
    seen = list(house.pool.predictions(first.version))
    other = next(i for i, p in enumerate(seen) if p.regions)
    house.pool.save_predictions(
        [
            replace(p, model_version="second", regions=p.regions[1:] if i == other else p.regions)
            for i, p in enumerate(seen)
        ]
    )
    names = [p.sample for p in seen]
    values = doubts.looked_at(house, second, names, "committee", JOB)
    lost = (seen[other].regions[0].score or 0) / min(len(seen[other].regions), 3)
    assert values[other] == pytest.approx(lost, abs=1e-6)
    assert (np.delete(values, other) == 0).all()


def test_lanes_of_a_round(tmp_path: Path) -> None:
    with small_house(tmp_path, holdout_share=0.0, audit_share=0.25, free_share=0.25) as house:
        learning.look(house, house.champion(1), Job("look"))
        wanted = sides(house)[0][5]
        report = requests.add(house, 1, [wanted.name])
        assert report == {"requested": 1, "waiting": 1}
        decisions = asked(house, 8)
        lanes = [d.strategy for d in decisions]
        assert lanes.count("audit") == 2
        assert lanes.count("uncertainty_herding") in (5, 6)  # the wish may be drawn for the audit
        assert lanes.count("free") == 8 - 2 - lanes.count("uncertainty_herding")
        assert {d.p_select for d in decisions if d.strategy == "audit"} == {2 / 12}
        for d in decisions:
            assert ("Picked at random:" in d.reason) == (d.strategy == "audit")
        requests.drop(house, 1, [d.sample for d in decisions])
        assert house.pool.state(briefing.REQUESTS, "1") in ({"samples": []}, {"samples": [wanted.id]})


def test_requests_are_by_name_or_id_and_say_what_is_wrong(house: House) -> None:
    some = sides(house)[0]
    assert requests.add(house, 1, [some[0].id, some[1].name])["waiting"] == 2
    assert requests.add(house, 1, [some[0].id])["waiting"] == 2
    with pytest.raises(BadInput, match="NAME must be the name or id of one image of project 1"):
        requests.add(house, 1, ["nothing.jpg"])
    with pytest.raises(BadInput, match="holdout"):
        requests.add(house, 1, [sides(house)[1][0].name])
    say(house, some[2], "ann")
    with pytest.raises(BadInput, match="waits for an answer"):
        requests.add(house, 1, [some[2].name])


def test_costly_labels_go_to_two_people(tmp_path: Path) -> None:
    with small_house(tmp_path, holdout_share=0.0, double_labels=LABELS, show_floor=FAINT) as house:
        model = house.champion(1)
        learning.look(house, model, Job("look"))
        seen = {p.sample: p for p in house.pool.predictions(model.version)}
        decisions = asked(house, 6)
        assert any(d.route == "double" for d in decisions)
        for d in decisions:
            drawn = any((r.score or 0) >= house.settings.show_floor for r in seen[d.sample].regions)
            assert d.route == ("double" if drawn else "human")


def test_reasons_name_what_is_rare(tmp_path: Path) -> None:
    with small_house(tmp_path, show_floor=FAINT) as house:
        model = house.champion(1)
        learning.look(house, model, Job("look"))
        plain, _ = sides(house)
        seen = {p.sample: p for p in house.pool.predictions(model.version)}
        shown = {s.id: {r.label for r in seen[s.id].regions if (r.score or 0) >= FAINT} for s in plain}
        common = next(label for label in LABELS if any(there - {label} for there in shown.values()))
        say(house, plain[0], "ann", [Region(common, Box(0, 0, 0.1, 0.1))] * 30)
        decisions = [d for d in asked(house, 5, strategy="top_n") if d.strategy == "top_n"]
        for d in decisions:
            assert ("rare class" in d.reason) == bool(shown[d.sample] - {common})
        assert any("rare class" in d.reason for d in decisions)


def test_a_working_time_bounds_the_round(house: House) -> None:
    everything = asked(house, 6)
    little = asked(house, 6, minutes=0.5)
    assert 1 <= len(little) < len(everything)
    assert {d.sample for d in little} <= {d.sample for d in everything}


lanes = st.sampled_from(["strategy", "audit", "free", "holdout"])


@given(st.lists(st.tuples(lanes, st.floats(1, 100)), min_size=1, max_size=30), st.floats(1, 3000))
def test_what_is_affordable_costs_no_more(rows: list[tuple[Lane, float]], budget: float) -> None:
    picks = [
        Pick(i, lane, "double" if lane == "holdout" else "human", 1.0) for i, (lane, _) in enumerate(rows)
    ]
    cost = np.array([price for _, price in rows])
    kept = affordable(picks, cost, budget)
    spent = sum(cost[p.index] * (2 if p.route == "double" else 1) for p in kept)
    places = [p.index for p in kept]
    assert places == sorted(places)
    for pick in kept:  # a drawing that lost images gave each a smaller chance
        whole = sum(p.lane == pick.lane for p in picks)
        left = sum(p.lane == pick.lane for p in kept)
        assert pick.p_select == pytest.approx(left / whole if pick.lane == "audit" else 1.0)
    assert spent <= budget * (1 + 1e-9) or len(kept) == 1
    if spent > budget or len(kept) == len(picks):
        return
    # One more would have been too much: the first one left out, in the order of the line.
    rest = [p for p in picks if p.index not in places]
    assert spent + max(cost[p.index] * (2 if p.route == "double" else 1) for p in rest) > budget


def test_a_fresh_head_is_not_asked_what_it_doubts(tmp_path: Path) -> None:
    with small_house(tmp_path) as house:
        model = house.champion(1)
        learning.look(house, model, Job("look"))
        house.pool.promote(model.version, learning.COLD)
        assert {d.strategy for d in asked(house, 3)} == {"max_herding", "holdout"}
        assert {d.strategy for d in asked(house, 3, strategy="top_n")} == {"top_n", "holdout"}
        say(house, sides(house)[0][0], "ann", [Region(LABELS[0], Box(0, 0, 0.5, 0.5))])
        assert {d.strategy for d in asked(house, 3)} == {"uncertainty_herding", "holdout"}


def test_an_open_round_keeps_its_images(house: House) -> None:
    first = asked(house, 3, "first")
    house.pool.open_round(Round("first", 1, 1, house.champion(1).version, 3, NOW))
    house.pool.save_decisions(first)
    second = asked(house, 3, "second")
    assert not {d.sample for d in first} & {d.sample for d in second}


def test_calibrated_and_raw_doubts_are_the_same_without_a_calibration(house: House) -> None:
    model = house.champion(1)
    columns = join(house.pool.signals(model.version), LABELS)
    values = doubts.measured(house, model, columns, "entropy")
    known = house.pool.uncertainties(1, model.version)
    assert values.tolist() == pytest.approx([known[s] for s in columns.samples])
    assert doubts.refresh(house, model) == 0


def test_a_wish_is_the_settings_where_nothing_else_is_given(house: House) -> None:
    s = house.settings
    assert wish(s, {}) == Wish(s.ask_size, s.strategy, s.measure)
    assert wish(s, {"size": 3, "minutes": 2.5}) == Wish(3, s.strategy, s.measure, 2.5)
