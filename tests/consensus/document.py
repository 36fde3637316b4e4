"""A whole document of the report, made up: every kind of thing, hostile text, undefined numbers."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta
from typing import Any

EVIL = "<script>alert(1)</script>\"'</style><!--"
LABELS: tuple[str | None, ...] = ("bin", "garbage bag", "垃圾袋", EVIL, None)
PEOPLE = {"3": "Anna", "5": "Bojan", "8": "陈伟", "13": EVIL, "21": ""}
KINDS = ("missing", "extra", "label", "location", "duplicate", "merged")


def rate(value: float | None, of: int = 200) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "count": 0, "of": 0}
    room = 1.96 * (max(value * (1 - value), 0.004) / of) ** 0.5
    return {
        "value": value,
        "low": max(0.0, value - room),
        "high": min(1.0, value + room),
        "count": round(value * of),
        "of": of,
    }


def weeks(count: int, level: float, slope: float, dice: random.Random) -> list[dict[str, Any]]:
    rows, ewma = [], level
    for k in range(count):
        f1 = min(1.0, level + slope * k + dice.gauss(0, 0.02))
        ewma = 0.7 * ewma + 0.3 * f1
        rows.append(
            {
                "start": (date(2026, 1, 5) + timedelta(weeks=k)).isoformat(),
                "samples": 12 + 9 * k,
                "agreement": f1,
                "ewma": ewma,
                "consensus_score": f1 - 0.2,
                "f1": f1,
                "alpha": f1 - 0.1,
            }
        )
    return rows


def task(number: int, dice: random.Random) -> dict[str, Any]:
    """An image with a few objects, each drawn by most people with a loose hand."""
    people = dice.sample(list(PEOPLE), dice.choice((2, 3, 3, 4)))
    boxes: list[dict[str, Any]] = []
    consensus: list[dict[str, Any]] = []
    conflicts: list[dict[str, Any]] = []
    for _ in range(dice.randint(1, 5)):
        x, y = dice.uniform(0.03, 0.7), dice.uniform(0.1, 0.6)
        place = [x, y, x + dice.uniform(0.08, 0.25), y + dice.uniform(0.12, 0.35), 0.0]
        name = dice.choice(LABELS[:3])
        votes = 0
        for person in people:
            mine = [c + dice.gauss(0, 0.006) for c in place[:4]] + [0.0]
            luck = dice.random()
            if luck < 0.12:
                conflicts.append(conflict("missing", person, None, name, place))
                continue
            said: str | None = name
            if luck < 0.2:
                said = dice.choice(LABELS)
                conflicts.append(conflict("label", person, said, name, mine))
            elif luck < 0.25:
                kind = dice.choice(KINDS[3:])
                conflicts.append(conflict(kind, person, name, name, mine))
            votes += said == name
            boxes.append({"annotator": person, "label": said, "box": mine})
        consensus.append(agreed(name, place, votes, len(people)))
    wrong = sum(1 - c["share"] for c in consensus)
    split = sum(c["share"] < 1 for c in consensus)
    return {
        "task": number,
        "sample": f"{number:064x}",
        "name": f"street_{number:04d}.jpg",
        "source": "generated" if number % 7 == 0 else "camera",
        "annotators": people,
        "consensus_score": 1 - split / len(consensus),
        "vote_share": 1 - wrong / len(consensus),
        "f1": max(0.0, 1 - 1.4 * wrong / len(consensus)),
        "expected_errors": wrong,
        "objects": len(consensus),
        "disputed": split,
        "width": 960,
        "height": 640,
        "url": f"https://studio.example/projects/3/data?task={number}",
        "boxes": boxes,
        "consensus": consensus,
        "conflicts": conflicts,
    }


def conflict(
    kind: str, person: str, label: str | None, expected: str | None, box: list[float]
) -> dict[str, Any]:
    return {"kind": kind, "annotator": person, "label": label, "expected": expected, "box": box}


def agreed(label: str | None, box: list[float], votes: int, voters: int) -> dict[str, Any]:
    said = {"votes": votes, "voters": voters, "share": votes / voters}
    return {"label": label, "box": box, **said, "confidence": 0.9 * votes / voters}


def special(number: int) -> dict[str, Any]:
    """An image by one person, of unknown size, with a turned box and an address that is none."""
    return {
        "task": number,
        "sample": f"{number:064x}",
        "name": EVIL,
        "source": "camera",
        "annotators": ["3"],
        "consensus_score": None,
        "vote_share": None,
        "f1": None,
        "expected_errors": None,
        "objects": 1,
        "disputed": 0,
        "width": None,
        "height": None,
        "url": "javascript:alert(1)",
        "boxes": [{"annotator": "3", "label": EVIL, "box": [0.2, 0.2, 0.4, 0.5, 30.0]}],
        "consensus": [
            {
                "label": EVIL,
                "box": [0.2, 0.2, 0.4, 0.5, 30.0],
                "votes": 1,
                "voters": 1,
                "share": 1.0,
                "confidence": 1.0,
            }
        ],
        "conflicts": [conflict("extra", "3", EVIL, None, [0.2, 0.2, 0.4, 0.5, 30.0])],
    }


def person(number: str, name: str, k: int, dice: random.Random) -> dict[str, Any]:
    known = k < 4
    return {
        "annotator": number,
        "name": name,
        "samples": 160 - 30 * k if known else 6,
        "compared": 150 - 30 * k if known else 6,
        "boxes": 800 - 150 * k if known else 0,
        "skipped": k,
        "seconds": 31.5 + k if known else None,
        "f1": 0.93 - 0.04 * k if known else None,
        "iou": 0.89 - 0.02 * k if known else None,
        "miss": rate(0.02 + 0.03 * k if known else None),
        "extra": rate(0.015 * k if known else None),
        "confusion": rate(0.04 + 0.02 * (k % 2) if known else None),
        "location": rate(0.02 if known else None),
        "duplicate": rate(0.0 if known else None),
        "merged": rate(0.01 if known else None),
        "edges": {
            "left": 0.01 + 0.03 * k,
            "top": -0.02 * k,
            "right": 0.06 if k == 2 else 0.004,
            "bottom": None if k == 3 else 0.015,
            "area_ratio": 1 + 0.06 * k,
            "boxes": 640,
        },
        "vitality": 0.02 - 0.015 * k if known else None,
        "repeat_f1": 0.94 if k == 0 else None,
        "repeats": 9 if k == 0 else 0,
        "gold": {"f1": 0.9, "iou": 0.87, "samples": 20} if k < 2 else None,
        "untouched": rate(0.4 if known else None),
        "trend": weeks(8, 0.9 - 0.03 * k, -0.02 if k == 3 else 0.004, dice) if known else [],
        "drift": {1: "up", 3: "down"}.get(k),
        "drift_since": "2026-02-02T09:00:00+00:00" if k in (1, 3) else None,
    }


def sample(images: int = 60, seed: int = 7) -> dict[str, Any]:
    """A document of ``images`` images by five people."""
    dice = random.Random(seed)
    tasks = [task(100 + k, dice) for k in range(images - 1)] + [special(99)]
    tasks.sort(key=lambda t: -(t["expected_errors"] if t["expected_errors"] is not None else -1))
    people = list(PEOPLE)
    pairs = [
        {
            "first": one,
            "second": other,
            "samples": 6 if "21" in (one, other) else 90 - 10 * j,
            "f1": None if (one, other) == ("13", "21") else 0.95 - 0.09 * i - 0.05 * j,
            "low": 0.9 - 0.09 * i - 0.05 * j,
            "high": 0.98 - 0.09 * i - 0.05 * j,
            "iou": 0.9 - 0.03 * i,
            "pq": 0.8,
        }
        for i, one in enumerate(people)
        for j, other in enumerate([*people[i + 1 :], "ground truth", "model:street-7"])
    ]
    findings = [
        {
            "rule": rule,
            "severity": severity,
            "task": t["task"],
            "sample": t["sample"],
            "name": t["name"],
            "annotator": t["annotators"][0],
            "annotation": 7000 + t["task"],
            "message": message,
            "boxes": [t["consensus"][0]["box"]],
            "evidence": [c["box"] for c in t["consensus"][1:2]],
            "url": t["url"],
        }
        for rule, severity, message in (
            ("tight", "check", "The left edge lies 14 % of the width outside of the others' box."),
            (
                "one object per box",
                "violation",
                "This box encloses two objects that others drew apart.",
            ),
        )
        for t in tasks[:4]
    ]
    findings.append(
        {**findings[0], "rule": EVIL, "message": EVIL, "boxes": [], "evidence": [], "annotator": None}
    )
    return {
        "schema": "thresher.consensus/1",
        "made_at": "2026-03-02T09:30:00+00:00",
        "source": "project 3 · Street bins",
        "settings": {"tau": 0.5, "quorum": 0.5, "least_votes": 1, "rules": "street_bins.yaml"},
        "project": {
            "title": "Street bins 垃圾",
            "id": 3,
            "first": "2026-01-05T08:00:00+00:00",
            "last": "2026-02-27T17:00:00+00:00",
            "samples": images,
            "compared": images - 1,
            "annotators": 5,
            "annotations": 3 * images,
            "boxes": 12345,
            "objects": 3 * images,
            "skipped": 4,
            "agreed_empty": 2,
            "everybody_skipped": 1,
            "consensus_score": 0.684,
            "vote_share": 0.861,
            "f1": 0.872,
            "mean_f1": 0.858,
            "iou": 0.884,
            "pq": 0.771,
            "alpha": {"exist": 0.702, "label": 0.911, "joint": 0.741},
            "label_studio_iou": 0.79,
            "intervals": {"consensus_score": [0.64, 0.73], "f1": [0.85, 0.89], "alpha_joint": [0.70, 0.78]},
            "too_few": False,
        },
        "tasks": tasks,
        "annotators": [person(number, name, k, dice) for k, (number, name) in enumerate(PEOPLE.items())],
        "pairs": pairs,
        "labels": [
            {
                "label": name,
                "objects": 80 - 15 * k,
                "boxes": 240 - 40 * k,
                "f1": 0.92 - 0.1 * k if k < 4 else None,
                "iou": 0.9 - 0.02 * k,
                "alpha": 0.85 - 0.12 * k if k < 4 else None,
            }
            for k, name in enumerate(LABELS)
        ],
        "confusion": {
            "labels": [*LABELS, "absent"],
            "counts": [
                [210, 12, 0, 0, 1, 14],
                [9, 160, 31, 0, 0, 22],
                [0, 18, 88, 2, 0, 4],
                [0, 0, 1, 12, 0, 30],
                [0, 0, 0, 0, 0, 0],
                [11, 6, 3, 0, 2, 0],
            ],
            "top": [
                {"expected": LABELS[1], "said": LABELS[2], "count": 31, "tasks": [100, 101, 102]},
                {"expected": EVIL, "said": "absent", "count": 30, "tasks": [99]},
                {"expected": "absent", "said": "bin", "count": 11, "tasks": []},
                {"expected": "bin", "said": None, "count": 1, "tasks": [123456]},
            ],
        },
        "anchoring": {
            "scratch": {"f1": 0.84, "samples": 120},
            "model": {"f1": 0.93, "samples": 80},
            "mixed": {"f1": 0.86, "samples": 95},
            "gap": 0.09,
            "low": 0.04,
            "high": 0.14,
        },
        "guidelines": {
            "counts": [
                {"rule": "tight", "severity": "check", "count": 4},
                {"rule": "one object per box", "severity": "violation", "count": 4},
                {"rule": EVIL, "severity": "check", "count": 1},
            ],
            "annotators": dict(Counter(f["annotator"] for f in findings if f["annotator"] is not None)),
            "findings": findings,
        },
        "trend": weeks(8, 0.85, 0.006, dice),
        "sweep": [
            {
                "tau": t / 100,
                "consensus_score": 0.7 - (t / 100) ** 4,
                "f1": 0.88 - (t / 100) ** 6,
                "alpha": a,
            }
            for t, a in zip(range(30, 100, 10), (0.75, 0.75, 0.741, 0.72, 0.65, 0.4, -0.13), strict=True)
        ],
        "sources": [
            {"source": "camera", "samples": images - 8, "consensus_score": 0.7, "f1": 0.88, "alpha": 0.76},
            {"source": "generated", "samples": 8, "consensus_score": 0.55, "f1": 0.8, "alpha": None},
        ],
        "label_errors": [
            {
                "task": t["task"],
                "sample": t["sample"],
                "name": t["name"],
                "kind": ("missed", "swapped", "located", "spurious")[k % 4],
                "score": 0.97 - 0.02 * k if k < 14 else 0.4 - 0.1 * (k - 14),
                "label": t["consensus"][0]["label"],
                "expected": LABELS[k % 5],
                "box": t["consensus"][0]["box"],
                "url": t["url"],
            }
            for k, t in enumerate(tasks[:17])
        ],
        "warnings": ["3 answers hold boxes without a label.", EVIL],
    }
