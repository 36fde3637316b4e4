"""Rule files as people write them: what they mean, and what is said about their mistakes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import consensus.rules
from consensus.breaches import BREACHES
from consensus.rules import DEFAULT, Limit, Rules, load, suited
from pool.schema import BadInput

SHIPPED = Path(consensus.rules.__file__).with_name("street_bins.yaml")

WHOLE = """
name: 街头垃圾桶
labels: [垃圾, "off"]
least_visible: 25 %
rules:
  rotated: off
  merged: check
  duplicate: {severity: violation, iou: 0.9, text: " Delete one. "}
  tight: {share: 20%, pixels: 0, others: 3}
  overlap: {severity: violation, share: 1}
  size:
    limits:
      垃圾: {max_area: 40 %, min_width: 12 px, max_aspect: 2.5}
      "off": {}
  aspect: {spread: 4, boxes: 50}
"""


def test_a_file_means_what_it_says() -> None:
    rules = load(WHOLE)
    assert (rules.name, rules.labels, rules.least_visible) == ("街头垃圾桶", ("垃圾", "off"), 0.25)
    assert (rules.rotated.severity, rules.merged.severity) == ("off", "check")
    assert (rules.duplicate.severity, rules.duplicate.iou, rules.duplicate.text) == (
        "violation",
        0.9,
        "Delete one.",
    )
    assert (rules.tight.share, rules.tight.pixels, rules.tight.others) == (0.2, 0.0, 3)
    assert (rules.overlap.severity, rules.overlap.share) == ("violation", 1.0)
    assert rules.size.limits == {
        "垃圾": (
            Limit("width", False, 12.0, "px"),
            Limit("area", True, 0.4, "%"),
            Limit("aspect", True, 2.5, ""),
        ),
        "off": (),
    }
    assert (rules.aspect.spread, rules.aspect.boxes) == (4.0, 50)


def test_what_a_file_does_not_name_keeps_its_general_setting() -> None:
    rules = load(WHOLE)
    for name in ("split", "unnamed", "outside", "broken"):
        assert rules.rules[name] == DEFAULT.rules[name]
    assert rules.merged == replace(DEFAULT.merged, severity="check")
    assert rules.tight.severity == DEFAULT.tight.severity


@pytest.mark.parametrize("text", ["", "# nothing\n", "rules: {}", "labels: []"])
def test_an_empty_file_is_the_general_rules(text: str) -> None:
    assert load(text, "general") == DEFAULT


@pytest.mark.parametrize(
    ("word", "severity"),
    [("off", "off"), ('"off"', "off"), ("no", "off"), ("check", "check"), ("violation", "violation")],
)
def test_severities(word: str, severity: str) -> None:
    assert load(f"rules: {{split: {word}}}").split.severity == severity
    assert load(f"rules: {{split: {{severity: {word}}}}}").split.severity == severity


def test_the_rules_of_the_team_that_this_began_with() -> None:
    rules = load(SHIPPED.read_text(encoding="utf-8"), SHIPPED.name)
    assert rules.labels == ("non-overflowing bin", "overflowing bin", "garbage")
    assert rules.least_visible == 0.3
    assert rules.overlap.severity == "off"
    for name in ("rotated", "merged", "split", "duplicate", "unnamed", "outside", "broken"):
        assert rules.rules[name].severity == "violation"
    assert (rules.tight.share, rules.tight.pixels) == (0.1, 4.0)
    assert set(rules.size.limits) == set(rules.labels)
    assert all(rules.size.limits.values())


def test_every_rule_is_checked_by_something() -> None:
    assert set(DEFAULT.rules) == set(BREACHES)


def test_a_project_with_other_labels_has_the_general_rules() -> None:
    rules = load(SHIPPED.read_text(encoding="utf-8"))
    assert suited(rules, ["garbage", None]) is rules
    assert suited(rules, ["car", None]) is DEFAULT
    assert suited(rules, []) is DEFAULT
    anything = Rules(name="any")
    assert suited(anything, ["car"]) is anything


MISTAKES = [
    ("- a", "r.yaml must be settings by name, but got ['a']. Write name: value, one on each line."),
    ("tigth: 1", "r.yaml must be made of name, labels, least_visible, rules, but got 'tigth'."),
    ("rules: [tight]", "r.yaml: rules must be settings by name, but got ['tight']."),
    ("rules: {tigth: off}", "but got 'tigth'. Did you mean tight?"),
    (
        "rules: {tight: {shares: 1}}",
        "r.yaml: rules.tight must be made of severity, text, share, pixels, others",
    ),
    ("rules: {tight: {share: 0}}", "rules.tight.share must be a share above 0 and at most 1, but got 0."),
    ("rules: {tight: {share: 110 %}}", "Write 0.3, or 30 %."),
    ("rules: {tight: {share: true}}", "rules.tight.share must be a share"),
    ("rules: {tight: {share: 4 px}}", "rules.tight.share must be a share"),
    ("rules: {tight: {share: .nan}}", "rules.tight.share must be a share"),
    ("rules: {tight: {pixels: -1}}", "rules.tight.pixels must be a number of 0 or more, but got -1."),
    ("rules: {tight: {pixels: .inf}}", "rules.tight.pixels must be a number of 0 or more, but got inf."),
    ("rules: {tight: {pixels: 4 px}}", "Write it without quotes and without a unit."),
    ("rules: {tight: {others: 2.5}}", "rules.tight.others must be a whole number above 0, but got 2.5."),
    ("rules: {aspect: {spread: 0}}", "rules.aspect.spread must be a number above 0, but got 0."),
    ("rules: {aspect: {boxes: true}}", "rules.aspect.boxes must be a whole number above 0, but got True."),
    ("rules: {tight: maybe}", "rules.tight must be violation, check or off, but got 'maybe'."),
    ("rules: {tight: on}", "rules.tight must be violation, check or off, but got True."),
    ("rules: {tight: {severity: 1}}", "rules.tight.severity must be violation, check or off, but got 1."),
    ("rules: {tight: {text: 1}}", "rules.tight.text must be text, but got 1. Put it in quotes."),
    ("rules: {tight: {text: ' '}}", "rules.tight.text must be text"),
    ("name: 2024-05-01", "r.yaml: name must be text"),
    ("labels: bin", "r.yaml: labels must be a list of names, but got 'bin'. Write [one, another]."),
    ("labels: [bin, no]", "r.yaml: labels must be a list of names, but got False. Put it in quotes."),
    ("labels: [bin, bin]", "r.yaml: labels must be a list of different names"),
    ("least_visible: 30", "r.yaml: least_visible must be a share above 0 and at most 1, but got 30."),
    (
        "labels: [bin]\nrules: {size: {limits: {bim: {}}}}",
        "rules.size.limits must be made of bin, but got 'bim'. Did you mean bin?",
    ),
    ("rules: {size: {limits: {1: {}}}}", "rules.size.limits must be a list of names, but got 1."),
    ("rules: {size: {limits: [bin]}}", "rules.size.limits must be settings by name"),
    (
        "rules: {size: {limits: {bin: {min_width: 12}}}}",
        "rules.size.limits.bin.min_width must be a number with its unit, but got 12. Write 12 px, or 40 %",
    ),
    ("rules: {size: {limits: {bin: {min_with: 1 px}}}}", "Did you mean min_width?"),
    ("rules: {size: {limits: {bin: {max_aspect: 2 px}}}}", "max_aspect must be a number above 0"),
    (
        "rules: {size: {limits: {bin: {min_width: 9 px, max_width: 8 px}}}}",
        "rules.size.limits.bin.max_width must be at least min_width, but got '8 px'. Swap the two.",
    ),
    ("rules: {split: off, split: check}", "r.yaml, line 1 must be YAML with each name once"),
    ("name: x\nrules: {", "r.yaml, line 2 must be YAML"),
    ("{[a]: b}", "r.yaml, line 1 must be YAML"),
    ("{a: &b [*b]}", "r.yaml must be made of name"),
    ("name: 2024-99-99", "r.yaml must be YAML"),
    ("!!python/object:os.system {}", "r.yaml, line 1 must be YAML"),
    ("[" * 1200, "r.yaml must be YAML"),
    ("a\0b", "r.yaml must be YAML"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[m[0][:40].replace("\0", "0") for m in MISTAKES])
def test_mistakes_are_named(text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(text, "r.yaml")
    assert said in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_rules_or_a_named_mistake(text: str) -> None:
    try:
        said = load(text).name
    except BadInput as error:
        said = error.field
    assert said.startswith("rules.yaml")


def test_a_limit_on_both_sides_may_be_one_size() -> None:
    rules = load("rules: {size: {limits: {bin: {min_width: 8 px, max_width: 8 px, max_height: 2 %}}}}")
    assert len(rules.size.limits["bin"]) == 3


def test_yaml_is_loaded_only_with_a_file() -> None:
    code = "import sys, consensus.rules, consensus.guidelines; sys.exit('yaml' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SHIPPED.parents[1])
