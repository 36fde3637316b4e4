"""What annotators drew against the guidelines: findings with words, numbers and the boxes that show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from consensus.breaches import BREACHES, Breach, Quad
from consensus.rules import Rule, Rules, Severity
from consensus.slips import Agreed, agreed
from consensus.study import Study


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of one rule by one person on one image.

    ``annotation`` and ``task`` are Label Studio's ids. ``rows`` are the offending boxes, rows of the
    study's sheet; ``evidence`` holds the boxes that they are held against, normalised ``xyxyn``, those of
    turned boxes before they were turned. ``message`` is plain text with people's own labels in it: a
    page must escape it.
    """

    rule: str
    severity: Severity
    sample: str
    annotator: str
    annotation: int
    task: int
    message: str
    rows: tuple[int, ...]
    evidence: tuple[Quad, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """How many findings there are by rule, by severity and by annotator, each sorted by name."""

    rules: Mapping[str, int]
    severities: Mapping[str, int]
    annotators: Mapping[str, int]


def check(study: Study, rules: Rules, common: Agreed | None = None) -> tuple[Finding, ...]:
    """Everything in the answers that count that the rules do not allow.

    Rules that compare people need others who drew the object: an answer that stands alone is judged by
    its shapes only. Sizes in pixels and aspects need the image's size; where it is unknown they say
    nothing. Who is held against others is not proven wrong: the others may be.

    Args:
        study: the boxes and their objects.
        rules: what is asked of them.
        common: `slips.agreed` of the study, where it is at hand.

    Returns:
        findings by sample, annotator, rule and place in the image, the same for any order of answers.
    """
    common = agreed(study) if common is None else common
    found = [
        (name, rule, breach)
        for name, rule in rules.rules.items()
        if rule.severity != "off"
        for breach in BREACHES[name](study, rules, common)
    ]
    return _told(study, found)


def summary(findings: Iterable[Finding]) -> Summary:
    """Counts of findings."""
    found = list(findings)
    return Summary(
        dict(sorted(Counter(f.rule for f in found).items())),
        dict(sorted(Counter(str(f.severity) for f in found).items())),
        dict(sorted(Counter(f.annotator for f in found).items())),
    )


def _told(study: Study, found: Sequence[tuple[str, Rule, Breach]]) -> tuple[Finding, ...]:
    """Breaches with their rule and whose they are, sorted.

    Sorted by what they say; where the boxes stood in the sheet only settles equal ones.
    """
    sheet = study.sheet
    answer = sheet.owner[[breach.rows[0] for _, _, breach in found]]
    ids = (column[answer].tolist() for column in (sheet.sample, sheet.annotator, sheet.number, sheet.task))
    place = np.nan_to_num(sheet.boxes, nan=-1.0).tolist()
    told = [
        Finding(
            rule=name,
            severity=rule.severity if breach.sure else "check",
            sample=sheet.samples[sample],
            annotator=sheet.annotators[annotator],
            annotation=number,
            task=task,
            message=f"{breach.message} {rule.text}".rstrip(),
            rows=breach.rows,
            evidence=breach.evidence,
        )
        for (name, rule, breach), sample, annotator, number, task in zip(found, *ids, strict=True)
    ]
    told.sort(key=lambda f: (f.sample, f.annotator, f.rule, [place[r] for r in f.rows], f.message, f.rows))
    return tuple(told)
