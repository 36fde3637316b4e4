"""Gates against planted failures, on both sides of each limit, and verdicts through JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator import picture, structure
from generator.gates import Case, Seen, judge
from generator.limits import Limits
from generator.pixels import Boxes, Pixels
from generator.verdict import Check, Verdict, as_json, from_json, summary
from generator.weather import Effect
from pool.schema import BadInput
from tests.generator.planted import CONDITIONS, haze, moved, night, painted_out, scaled, street

LIMITS = Limits()
DARKER = (Effect("brightness", -1.0, -0.08),)
HAZIER = (Effect("haze", 0.05, math.inf),)
NOTHING = Seen(np.zeros((0, 4)), (), np.zeros(0))


@cache
def scene(seed: int = 5003) -> tuple[Pixels, Boxes, tuple[str | None, ...]]:
    return street(seed)


def seen(boxes: Boxes, labels: Sequence[str | None], score: float = 0.9) -> Seen:
    return Seen(boxes, tuple(labels), np.full(len(boxes), score))


def case(variant: Pixels, seed: int = 5003) -> Case:
    """A variant in which the detector finds all that it found in its parent, which is everything."""
    parent, boxes, labels = scene(seed)
    return Case(parent, variant, boxes, labels, seen(boxes, labels), seen(boxes, labels))


def gates(verdict: Verdict) -> list[str]:
    return [check.gate for check in verdict.failed]


def check(verdict: Verdict, gate: str) -> Check:
    return next(check for check in verdict.checks if check.gate == gate)


@pytest.mark.parametrize("name", [name for name in CONDITIONS if name != "snow"])
def test_weather_passes(name: str) -> None:
    verdict = judge(case(CONDITIONS[name](scene()[0], 1)), ())
    assert verdict.passed, verdict.reason
    assert verdict.failed == ()
    assert verdict.reason == f"Passed all {len(verdict.checks)} checks."


def test_a_copy_is_refused() -> None:
    parent, _, _ = scene()
    verdict = judge(case(parent), ())
    assert gates(verdict) == ["copy"]
    assert check(verdict, "copy").value == 0.0
    assert verdict.reason == "Differs from its parent by 0.00 CIELAB units on average."


def test_a_copy_that_was_compressed_again_or_has_grain_is_refused() -> None:
    import cv2

    parent, _, _ = scene()
    coded = cv2.imencode(".jpg", parent[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    again = cv2.cvtColor(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
    grain = np.random.default_rng(0).normal(0, 4, parent.shape)
    for variant in (again, parent + grain):
        pixels = np.asarray(np.clip(variant, 0, 255), dtype=np.uint8)
        assert gates(judge(case(pixels), ())) == ["copy"]


def test_garbage_is_refused_for_what_it_is() -> None:
    parent, _, _ = scene()
    rng = np.random.default_rng(0)
    loud = np.clip(parent + rng.normal(0, 70, parent.shape), 0, 255).astype(np.uint8)
    for gate, variant in {
        "black": np.full_like(parent, 3),
        "uniform": np.full_like(parent, 200),
        "noise": rng.integers(0, 256, parent.shape, dtype=np.uint8),
    }.items():
        verdict = judge(case(variant), ())
        assert gates(verdict)[0] == gate
        assert verdict.reason == check(verdict, gate).text
    assert "noise" in gates(judge(case(loud), ()))


def test_snow_rain_and_grain_of_night_are_no_noise() -> None:
    parent, _, _ = scene()
    for change in CONDITIONS.values():
        verdict = judge(case(change(parent, 5)), ())
        assert not {"noise", "black", "uniform", "copy"} & set(gates(verdict))


@pytest.mark.parametrize("sigma", [2.0, 10.0, 30.0])
def test_noise_is_measured_in_grey_levels(sigma: float) -> None:
    slope = np.tile(np.linspace(80, 170, 200)[None, :, None], (160, 1, 3))
    # The same in all three colours, so that luminance has the whole of it.
    grain = np.random.default_rng(0).normal(0, sigma, (160, 200, 1))
    assert picture.noise((slope + grain).clip(0, 255).astype(np.uint8)) == pytest.approx(sigma, rel=0.12)


def test_the_wrong_condition_is_refused_and_the_right_one_is_not() -> None:
    parent, _, _ = scene()
    dark, pale = case(night(parent, 1)), case(haze(parent, 1))
    assert judge(dark, DARKER).passed
    assert judge(pale, HAZIER).passed
    assert gates(judge(dark, HAZIER)) == ["effect: haze"]
    assert gates(judge(pale, DARKER)) == ["effect: brightness"]
    assert "brightness changed by +" in judge(pale, DARKER).reason
    with pytest.raises(BadInput, match=r"effect must be one of .*brightness.*, but got 'wetness'"):
        judge(dark, [Effect("wetness", 0.0, 1.0)])


PLANTED = ("moved a tenth", "moved a quarter", "painted out", "top gone", "another scene", "scaled")


@pytest.mark.parametrize("blind", [True, False])
def test_planted_failures_are_refused(blind: bool) -> None:
    """With a detector that finds everything, the worst of all witnesses, and one that finds nothing."""
    refused = dict.fromkeys((*PLANTED, "good"), 0)
    total = 0
    for number, seed in enumerate([seed for seed in range(5001, 5010) if len(scene(seed)[1])][:3]):
        parent, boxes, _ = scene(seed)
        box = boxes[np.argmax(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))]
        for name in ("haze", "night", "dusk", "rain"):
            change = CONDITIONS[name]
            good = change(parent, number)
            variants = {
                "good": good,
                "moved a tenth": moved(good, box, 0.1),
                "moved a quarter": moved(good, box, 0.25),
                "painted out": painted_out(good, box),
                "top gone": painted_out(good, box, 0.35),
                "another scene": change(scene(seed + 10)[0], number),
                "scaled": scaled(good, box, 1.15),
            }
            total += 1
            for kind, variant in variants.items():
                one = case(variant, seed)
                verdict = judge(replace(one, after=NOTHING) if blind else one, ())
                assert verdict.passed or verdict.failed[0].gate in ("structure", "found")
                refused[kind] += not verdict.passed
    for kind in ("moved a tenth", "moved a quarter", "painted out", "another scene"):
        assert refused[kind] >= 0.95 * total
    for kind in ("top gone", "scaled"):
        assert refused[kind] >= (0.95 if blind else 0.75) * total
    assert refused["good"] <= (0.25 if blind else 0.1) * total


def with_structure(monkeypatch: pytest.MonkeyPatch, kept: Sequence[float], similar: float = 0.9) -> None:
    monkeypatch.setattr(structure, "kept", lambda parent, variant, boxes: np.array(kept[: len(boxes)]))
    monkeypatch.setattr(structure, "similar", lambda parent, variant, boxes: np.full(len(boxes), similar))


def four(after: Seen, before: Seen | None = None) -> Case:
    parent, _, _ = scene()
    boxes = np.array([[0.1 + 0.2 * k, 0.3, 0.25 + 0.2 * k, 0.6] for k in range(4)])
    labels = ("bin", "bin", "garbage", None)
    return Case(parent, haze(parent, 1), boxes, labels, before or seen(boxes, ("bin",) * 4), after)


BOXES = four(NOTHING).boxes


def test_what_the_detector_fails_on_is_wanted_where_structure_is_sure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_structure(monkeypatch, [0.9, 0.9, 0.9, 0.9])
    verdict = judge(four(NOTHING), ())
    assert verdict.passed
    found = check(verdict, "found")
    assert found.value == 0.0 < found.low
    assert found.text == (
        "The detector finds 0 of the 3 boxes again that it found in the parent, "
        "and the others still have their structure."
    )


def test_what_the_detector_fails_on_is_refused_where_structure_is_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_structure(monkeypatch, [0.9, 0.4, 0.9, 0.9])
    assert gates(judge(four(NOTHING), ())) == ["found"]
    with_structure(monkeypatch, [0.9, 0.9, 0.9, 0.9], similar=0.2)
    assert gates(judge(four(NOTHING), ())) == ["found"]
    with_structure(monkeypatch, [math.nan, 0.9, 0.9, 0.9])
    assert gates(judge(four(NOTHING), ())) == ["found"]


def test_what_is_in_doubt_and_found_again_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    with_structure(monkeypatch, [0.4, 0.4, 0.4, 0.4])
    assert judge(four(seen(BOXES, ("bin",) * 4)), ()).passed
    # One of three is missed: below the least share, and it is in doubt.
    verdict = judge(four(seen(BOXES[[0, 3]], ("bin",) * 2)), ())
    assert gates(verdict) == ["found"]
    assert check(verdict, "found").value == pytest.approx(2 / 3)
    assert judge(four(seen(BOXES[[0, 3]], ("bin",) * 2)), (), replace(LIMITS, found=0.6)).passed


def test_lost_structure_is_refused_whatever_the_detector_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with_structure(monkeypatch, [0.9, 0.1, 0.9, 0.2])
    verdict = judge(four(seen(BOXES, ("bin",) * 4)), ())
    assert gates(verdict) == ["structure"]
    assert verdict.reason == "2 of 4 boxes lost their structure, the worst keeps 0.10."


@pytest.mark.parametrize(
    ("after", "again"),
    [
        (seen(BOXES, ("bin",) * 4), 3),
        (seen(BOXES, ("bin",) * 4, 0.2), 0),
        (seen(BOXES, ("garbage",) * 4), 1),
        (seen(np.add(BOXES, [0.03, 0, 0.03, 0]), ("bin",) * 4), 3),
        (seen(np.add(BOXES, [0.08, 0, 0.08, 0]), ("bin",) * 4), 0),
        (NOTHING, 0),
    ],
    ids=["all", "unsure", "another label", "near", "beside", "nothing"],
)
def test_a_box_is_found_by_place_label_and_confidence(after: Seen, again: int) -> None:
    # Of four boxes the third has another label than the detector gave it: it was never found.
    found = check(judge(four(after), ()), "found")
    assert found.value == pytest.approx(again / 3)


def test_what_the_detector_missed_in_the_parent_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with_structure(monkeypatch, [0.4, 0.4, 0.4, 0.4])
    verdict = judge(four(NOTHING, before=NOTHING), ())
    assert verdict.passed
    assert math.isnan(check(verdict, "found").value)
    assert check(verdict, "found").text == "Not measurable: found."
    # Only the first was found before: it alone is asked for.
    verdict = judge(four(seen(BOXES[:1], ("bin",)), before=seen(BOXES[:1], ("bin",))), ())
    assert check(verdict, "found").value == 1.0


def pasted(parent: Pixels, box: Sequence[float]) -> Pixels:
    """Something with many edges where the parent had others."""
    height, width = parent.shape[:2]
    x1, y1, x2, y2 = (int(v) for v in np.array(box) * (width, height, width, height))
    out = parent.copy()
    rows, columns = np.mgrid[y1:y2, x1:x2]
    out[y1:y2, x1:x2] = np.where(((rows + columns) // 6 % 2)[..., None], (220, 60, 40), (30, 30, 80))
    return out


def test_a_new_object_counts_only_where_the_parent_had_no_such_edges() -> None:
    parent, boxes, labels = scene()
    place = np.array([[0.02, 0.02, 0.28, 0.3]])
    extra = seen(np.concatenate((boxes, place)), (*labels, "garbage"))
    mistaken = replace(case(haze(parent, 1)), after=extra)
    verdict = judge(mistaken, ())
    assert verdict.passed, verdict.reason
    assert (
        check(verdict, "strange").text
        == "0 of the 1 confident new objects have edges that the parent had not."
    )
    painted = replace(case(haze(pasted(parent, place[0]), 1)), after=extra)
    assert gates(judge(painted, ())) == ["strange"]
    assert judge(painted, (), replace(LIMITS, strange=1)).passed
    # Nothing that the detector is unsure of, saw before, or that is a part of a known box.
    unsure = replace(painted, after=seen(place, ("garbage",), 0.4))
    before = replace(painted, before=extra)
    part = replace(
        painted, after=seen(boxes[:1] * [1, 1, 0, 1] + (boxes[:1, [0]] + 0.01) * [0, 0, 1, 0], ("bin",))
    )
    for one in (unsure, before, part):
        assert "strange" not in gates(judge(one, ()))


def test_embeddings_of_another_world_and_the_same_one_are_refused() -> None:
    parent, _, _ = scene()
    one = replace(case(haze(parent, 1)), parent_embedding=np.array([1.0, 0.0]))
    for angle, passes in ((0.0, False), (0.3, True), (1.2, True), (2.0, True), (2.2, False), (3.0, False)):
        turned = replace(one, variant_embedding=5.0 * np.array([math.cos(angle), math.sin(angle)]))
        verdict = judge(turned, ())
        assert check(verdict, "novelty").value == pytest.approx(math.cos(angle))
        assert gates(verdict) == ([] if passes else ["novelty"])
    for missing in (None, np.zeros(2)):
        verdict = judge(replace(one, variant_embedding=missing), ())
        assert verdict.passed
        assert math.isnan(check(verdict, "novelty").value)
        assert check(verdict, "novelty").text == "Not measurable: novelty."


def test_a_twin_of_another_image_is_refused() -> None:
    parent, _, _ = scene()
    assert gates(judge(replace(case(haze(parent, 1)), nearest=0), ())) == ["twin"]
    assert judge(replace(case(haze(parent, 1)), nearest=1), ()).passed
    assert gates(judge(replace(case(haze(parent, 1)), nearest=4), (), replace(LIMITS, twin_bits=4))) == [
        "twin"
    ]


def test_a_parent_without_boxes_is_judged_by_the_rest() -> None:
    parent, _, _ = scene()
    empty = np.zeros((0, 4))
    one = Case(parent, haze(parent, 1), empty, (), NOTHING, NOTHING)
    verdict = judge(one, HAZIER)
    assert verdict.passed
    assert math.isnan(check(verdict, "structure").value)
    assert check(verdict, "strange").value == 0.0
    place = np.array([[0.02, 0.02, 0.28, 0.3]])
    painted = replace(one, variant=haze(pasted(parent, place[0]), 1), after=seen(place, ("garbage",)))
    assert gates(judge(painted, ())) == ["strange"]


def test_what_does_not_fit_together_is_refused() -> None:
    parent, boxes, labels = scene()
    with pytest.raises(BadInput, match="variant must be as large"):
        Case(parent, parent[1:], boxes, labels, NOTHING, NOTHING)
    with pytest.raises(BadInput, match="labels must be one for each"):
        Case(parent, parent, boxes, labels[1:], NOTHING, NOTHING)
    with pytest.raises(BadInput, match="seen must be"):
        Seen(boxes, labels, np.zeros(len(boxes) + 1))
    with pytest.raises(BadInput, match=r"limits\.structure_lost must be at most"):
        Limits(structure_lost=0.7)
    with pytest.raises(BadInput, match=r"limits\.noise must be a finite number"):
        Limits(noise=math.nan)


finite = st.floats(allow_nan=False, allow_infinity=False)
checks = st.builds(
    Check,
    gate=st.text(),
    value=finite,
    low=st.just(-math.inf) | finite,
    high=st.just(math.inf) | finite,
    passed=st.booleans(),
    text=st.text(),
)


@given(st.lists(checks, max_size=5))
def test_verdicts_come_back_from_json(every: list[Check]) -> None:
    verdict = Verdict(tuple(every))
    text = json.dumps(as_json(verdict), allow_nan=False)
    assert from_json(json.loads(text)) == verdict


def test_what_was_not_measurable_comes_back_from_json_so() -> None:
    verdict = Verdict((Check("found", math.nan, 0.7, math.inf, True, "Not measurable: found."),))
    record = as_json(verdict)
    assert record["checks"][0] == {
        "gate": "found", "value": None, "low": 0.7, "high": None, "passed": True,
        "text": "Not measurable: found.",
    }  # fmt: skip
    assert math.isnan(from_json(record).checks[0].value)
    wrong: list[dict[str, Any]] = [
        {},
        {"checks": [{}]},
        {"checks": 3},
        {"checks": [{**record["checks"][0], "low": "x"}]},
    ]
    for broken in wrong:
        with pytest.raises(BadInput, match="verdict must be what as_json gives"):
            from_json(broken)


def test_judged_verdicts_are_plain_json() -> None:
    parent, _, _ = scene()
    verdict = judge(case(night(parent, 1)), DARKER)
    text = json.dumps(as_json(verdict), allow_nan=False)
    back = from_json(json.loads(text))
    assert as_json(back) == as_json(verdict)
    assert back.passed == verdict.passed


def test_a_job_in_figures() -> None:
    def verdict(copy: bool, found: float) -> Verdict:
        return Verdict(
            (
                Check("found", found, 0.7, math.inf, not found < 0.7, "found"),
                Check("copy", 0.0 if copy else 9.0, 1.5, math.inf, not copy, "copy"),
            )
        )

    report = summary(
        [verdict(False, 1.0), verdict(True, math.nan), verdict(True, 0.2), verdict(False, 0.9)]
    )
    assert report == {
        "variants": 4,
        "passed": 2,
        "rate": 0.5,
        "gates": {
            "found": {"measured": 3, "passed": 2, "rate": 2 / 3, "reason": 1},
            "copy": {"measured": 4, "passed": 2, "rate": 0.5, "reason": 1},
        },
    }
    assert summary([]) == {"variants": 0, "passed": 0, "rate": None, "gates": {}}
    only = summary([verdict(False, math.nan)])["gates"]["found"]
    assert only == {"measured": 0, "passed": 0, "rate": None, "reason": 0}
    json.dumps(report, allow_nan=False)
