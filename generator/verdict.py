"""What the gates said of a variant, as the ledger keeps it, and of a whole job."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pool.schema import BadInput


@dataclass(frozen=True, slots=True)
class Check:
    """One gate's figure and the bounds it was held against; an open bound is infinite.

    ``value`` NaN was not measurable: the gate passes, and ``text`` says so. ``passed`` may be true outside
    the bounds where a gate has a reason, which ``text`` gives. ``text`` is a sentence for people.
    """

    gate: str
    value: float
    low: float
    high: float
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks of one variant, the gravest first.

    ``reason`` is the sentence of the gravest check that failed; of a variant that passed it says so.
    """

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate let the variant through."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that refused it, the gravest first."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def reason(self) -> str:
        """One sentence: why it was refused, with the figures, or that it was not."""
        return self.failed[0].text if self.failed else f"Passed all {len(self.checks)} checks."


def as_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain JSON; NaN and open bounds become null."""
    checks = [
        {
            key: None if isinstance(x, float) and not math.isfinite(x) else x
            for key, x in asdict(check).items()
        }
        for check in verdict.checks
    ]
    return {"passed": verdict.passed, "reason": verdict.reason, "checks": checks}


def from_json(record: Mapping[str, Any]) -> Verdict:
    """A verdict from what `as_json` gave, equal to the first.

    Raises BadInput for anything else.
    """
    try:
        return Verdict(tuple(_check(check) for check in record["checks"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput("verdict", "what as_json gives", record) from error


def _check(record: Mapping[str, Any]) -> Check:
    def number(name: str, missing: float) -> float:
        return missing if record[name] is None else float(record[name])

    return Check(
        gate=str(record["gate"]),
        value=number("value", math.nan),
        low=number("low", -math.inf),
        high=number("high", math.inf),
        passed=bool(record["passed"]),
        text=str(record["text"]),
    )


def summary(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """A whole job in plain JSON.

    ``variants`` and ``passed`` count, ``rate`` is their share, null of none. ``gates`` takes each gate to
    how often it was ``measured`` and ``passed`` when it was, that ``rate`` (null where it never was), and
    for how many variants it was the ``reason`` of a refusal.
    """
    every = list(verdicts)
    gates: dict[str, dict[str, Any]] = {}
    for verdict in every:
        for check in verdict.checks:
            row = gates.setdefault(check.gate, {"measured": 0, "passed": 0, "rate": None, "reason": 0})
            known = not math.isnan(check.value)
            row["measured"] += known
            row["passed"] += known and check.passed
        if verdict.failed:
            gates[verdict.failed[0].gate]["reason"] += 1
    for row in gates.values():
        row["rate"] = _share(row["passed"], row["measured"])
    passed = sum(verdict.passed for verdict in every)
    return {"variants": len(every), "passed": passed, "rate": _share(passed, len(every)), "gates": gates}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
