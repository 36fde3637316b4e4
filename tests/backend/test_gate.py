from __future__ import annotations

from backend.gate import judge


def test_better_and_equal_are_promoted_worse_is_refused() -> None:
    old = {"map50_95": 0.4}
    assert judge({"map50_95": 0.41}, old, 20).outcome == "promoted"
    assert judge({"map50_95": 0.4}, old, 20).outcome == "promoted"
    refused = judge({"map50_95": 0.39}, old, 20)
    assert refused.outcome == "refused"
    assert "0.400 → 0.390 on 20 holdout images" in refused.reason


def test_without_a_holdout_nothing_is_promoted() -> None:
    assert judge({"map50_95": 1.0}, {"map50_95": 0.0}, 0).outcome == "refused"


def test_the_first_measured_model_is_promoted() -> None:
    assert judge({"map50_95": 0.1}, None, 5).outcome == "promoted"
