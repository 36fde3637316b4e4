from __future__ import annotations

from backend.gate import judge

OLD = {"map50_95": 0.4}


def measured(value: float, low: float, high: float) -> dict[str, float]:
    return {"map50_95": value, "change_low": low, "change_high": high}


def test_only_what_is_worse_beyond_chance_is_refused() -> None:
    better = judge(measured(0.5, 0.02, 0.18), OLD, 20)
    assert (better.outcome, better.reason[:6]) == ("promoted", "Better")
    assert judge(measured(0.41, -0.05, 0.07), OLD, 20).outcome == "promoted"
    assert judge(measured(0.39, -0.06, 0.04), OLD, 20).outcome == "promoted"
    refused = judge(measured(0.3, -0.2, -0.01), OLD, 20)
    assert refused.outcome == "refused"
    assert "0.400 → 0.300 on 20 holdout images" in refused.reason
    assert "-0.200 to -0.010" in refused.reason


def test_without_a_holdout_nothing_is_promoted() -> None:
    assert "No holdout image" in judge({"map50_95": 1.0}, {"map50_95": 0.0}, 0).reason
    empty = judge({}, None, 5)
    assert empty.outcome == "refused"
    assert "None of the 5" in empty.reason


def test_the_first_measured_model_is_promoted() -> None:
    assert judge({"map50_95": 0.1}, None, 5).outcome == "promoted"
