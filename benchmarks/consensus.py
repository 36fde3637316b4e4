"""What it costs to read an export of 10,000 tasks and to say how far its 12 annotators agree.

The job is simulated: 3 to 5 people a task, about 8 boxes each, 300,000 in all. Reading and every figure
have a row of their own, in CPU seconds. The sum "metrics" is what peers compute too, and a little more:
matching, votes, pairs, alphas, scores, figures by label and expected errors.

Peers run on the same machine on a share of the same tasks, and their seconds are scaled up to all:
KALOS (greedy matching alone, without its alpha), ensemble-boxes (weighted boxes fusion), and the formula
of Label Studio's agreement (mean best IoU) written in plain Python, pair by pair of annotations as the
library that published it does. They are compared with our "metrics", which match, count and rate.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import combinations, count
from pathlib import Path
from typing import Any, TypeVar

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from backend.studio.export import read  # noqa: E402
from benchmarks.closing import close  # noqa: E402
from consensus.agreement import (  # noqa: E402
    consensus_score,
    count_pairs,
    count_votes,
    pooled,
    sample_f1,
    shared,
    vote_share,
)
from consensus.alpha import alphas  # noqa: E402
from consensus.annotators import annotators  # noqa: E402
from consensus.compatible import label_studio_iou  # noqa: E402
from consensus.dawid_skene import dawid_skene  # noqa: E402
from consensus.edges import edges  # noqa: E402
from consensus.fusion import fuse_study, learn_trust  # noqa: E402
from consensus.labels import by_label, confusion  # noqa: E402
from consensus.marks import marks  # noqa: E402
from consensus.matching import TAU, cluster_marks  # noqa: E402
from consensus.queue import expected_errors  # noqa: E402
from consensus.sheet import Sheet  # noqa: E402
from consensus.slips import slips  # noqa: E402
from consensus.study import Study, study  # noqa: E402
from consensus.tallies import intervals, tally  # noqa: E402
from tests.consensus.simulation import export, job  # noqa: E402

TASKS = 10_000
METRICS = (
    "marks",
    "matching",
    "votes",
    "shared boxes",
    "pairs",
    "scores",
    "alphas",
    "labels",
    "expected errors",
)
PART = 10_000
"""Tasks simulated at once; a larger job is several of them."""
UPDATES = 200
PEERS = {"kalos": "kalos", "fused": "wbf", "label studio's IoU": "label_studio_iou"}

Found = TypeVar("Found")
Seconds = dict[str, float]
Answer = list[tuple[tuple[float, float, float, float], int]]


def timed(name: str, spent: Seconds, work: Callable[[], Found]) -> Found:
    """Do it, and note the CPU seconds if they are the least so far."""
    began = time.process_time()
    found = work()
    spent[name] = min(time.process_time() - began, spent.get(name, float("inf")))
    return found


def write(path: Path, tasks: int) -> None:
    """A simulated export of so many tasks."""
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, tasks, PART):
            for position, task in enumerate(export(job(min(PART, tasks - start), seed=7 + start))):
                task["id"] += start
                file.write("[" if start + position == 0 else ",")
                json.dump(task, file)
        file.write("]")


def figures_of(sheet: Sheet, spent: Seconds) -> Study:
    """Every figure once."""
    counted = timed("marks", spent, lambda: marks(sheet))
    objects = timed("matching", spent, lambda: cluster_marks(counted))
    votes = timed("votes", spent, lambda: count_votes(counted, objects))
    found = Study(sheet, counted, objects, votes, TAU)
    met = timed("shared boxes", spent, lambda: shared(counted, objects))
    pairs = timed("pairs", spent, lambda: count_pairs(counted, objects, met))
    images = len(sheet.samples)
    timed(
        "scores", spent,
        lambda: (consensus_score(votes), vote_share(votes), sample_f1(pairs, images), pooled(pairs)),
    )  # fmt: skip
    timed("alphas", spent, lambda: alphas(found))
    timed("labels", spent, lambda: by_label(found, met))
    timed("expected errors", spent, lambda: expected_errors(found))
    timed("our label studio IoU", spent, lambda: label_studio_iou(found))
    timed("confusion", spent, lambda: confusion(found))
    tallies = timed("tallies", spent, lambda: tally(found, pairs))
    timed("figures", spent, tallies.figures)
    timed("intervals", spent, lambda: intervals(tallies))
    timed("dawid-skene", spent, lambda: dawid_skene(found))
    timed("edges", spent, lambda: edges(found))
    timed("slips", spent, lambda: slips(found))
    timed("annotators", spent, lambda: annotators(found))
    trust = learn_trust(found)
    timed("fusion", spent, lambda: fuse_study(found))
    timed("trusting fusion", spent, lambda: fuse_study(found, trust=trust))
    return found


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """CPU seconds of reading and of each figure, the least of some rounds, and the most memory held."""
    figures_of(read(json.dumps(export(job(50))).encode()).sheet, {})  # imports on first use are not timed
    spent: Seconds = {}
    data = path.read_bytes()
    for _ in range(rounds):
        sheet = timed("parse", spent, lambda: read(data).sheet)
    for _ in range(rounds):
        figures_of(sheet, spent)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": spent, "peak_mb": peak, "file_mb": len(data) / 1e6, "boxes": len(sheet.owner)}


def update() -> float:
    """Milliseconds from a changed task's answers to the project's new figures, the middle of many."""
    whole = tally(study(job(1_000).sheet)).sums
    sheets = [read(json.dumps(task).encode()).sheet for task in export(job(UPDATES))]
    spent = []
    for sheet in sheets:
        before = tally(study(sheet)).sums
        began = time.process_time()
        (whole - before + tally(study(sheet)).sums).figures()
        spent.append(time.process_time() - began)
    return float(np.median(spent)) * 1e3


# ---- peers


def drawn(found: Study) -> list[list[Answer]]:
    """Tasks as lists of answers, an answer as a list of boxes with their labels."""
    counted = found.marks
    tasks: list[list[Answer]] = [[] for _ in counted.samples]
    answers: list[Answer] = [[] for _ in counted.answered]
    for task, answer in zip(counted.answered[:, 0].tolist(), answers, strict=True):
        tasks[task].append(answer)
    columns = zip(counted.place.tolist(), counted.boxes.tolist(), counted.label.tolist(), strict=True)
    for place, (x1, y1, x2, y2), label in columns:
        answers[place].append(((x1, y1, x2, y2), label))
    return tasks


def best_iou(one: Answer, other: Answer) -> float:
    """Mean over the boxes of one of the largest IoU with a box of the other under the same label."""
    total = 0.0
    for (x1, y1, x2, y2), label in one:
        best = 0.0
        for (u1, v1, u2, v2), named in other:
            if named == label:
                both = max(min(x2, u2) - max(x1, u1), 0.0) * max(min(y2, v2) - max(y1, v1), 0.0)
                best = max(best, both / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - both))
        total += best
    return total / len(one) if one else 0.0


def label_studio(tasks: list[list[Answer]]) -> list[float]:
    """The formula that Label Studio published, of each task."""
    found = []
    for answers in tasks:
        pairs = [
            min(best_iou(a, b), best_iou(b, a)) if a or b else 1.0 for a, b in combinations(answers, 2)
        ]
        found.append(sum(pairs) / len(pairs))
    return found


def kalos(tasks: list[list[Answer]]) -> None:
    from kalos.correspondence.correspondence_algorithms import (
        COST_FUNCTIONS,
        THRESHOLD_FUNCTIONS,
        match_greedy,
        precompute_pairwise_scores,
    )

    for answers in tasks:
        number = count()
        by_rater = {
            f"p{k}": [
                {
                    "id": next(number),
                    "rater_id": f"p{k}",
                    "category_id": label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
                for (x1, y1, x2, y2), label in answer
            ]
            for k, answer in enumerate(answers)
        }
        image = {"annotations_by_rater": by_rater, "rater_list": list(by_rater)}
        scores = precompute_pairwise_scores(image, THRESHOLD_FUNCTIONS["bbox_iou_similarity"], TAU)
        match_greedy(image, scores, COST_FUNCTIONS["category_lenient"], TAU)


def fused(tasks: list[list[Answer]]) -> None:
    from ensemble_boxes import weighted_boxes_fusion

    for answers in tasks:
        boxes = [[box for box, _ in answer] for answer in answers]
        labels = [[label for _, label in answer] for answer in answers]
        weighted_boxes_fusion(boxes, [[1.0] * len(b) for b in boxes], labels, iou_thr=TAU)


def peers(tasks: int) -> tuple[Seconds, float]:
    """CPU seconds of each peer for so many tasks, and how far our Label Studio IoU is from the formula."""
    found = study(job(tasks).sheet)
    given = drawn(found)
    spent: Seconds = {}
    for work in (kalos, fused):
        work(given[:20])  # compiles and imports on first use
        timed(work.__name__, spent, lambda: work(given))  # noqa: B023
    theirs = timed("label studio's IoU", spent, lambda: label_studio(given))
    return spent, float(np.abs(label_studio_iou(found) - theirs).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without 100,000 tasks: under a minute")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, 1 if options.measure.stat().st_size > 5e8 else 3)))
        return
    sizes = (1_000, 10_000) if options.quick else (1_000, 10_000, 100_000)
    figures: dict[str, float] = {}
    results: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for tasks in sizes:
            path = Path(folder) / f"{tasks}.json"
            write(path, tasks)
            command = [sys.executable, __file__, "--measure", str(path)]
            results[tasks] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            path.unlink()
    print(f"{'CPU seconds':20}" + "".join(f"{tasks:>12,}" for tasks in sizes))
    rows = {
        name: [results[tasks]["seconds"][name] for tasks in sizes] for name in results[1_000]["seconds"]
    }
    rows["metrics"] = [sum(rows[name][k] for name in METRICS) for k in range(len(sizes))]
    for name, row in rows.items():
        print(f"{name:20}" + "".join(f"{seconds:12.3f}" for seconds in row))
    for name in ("boxes", "file_mb", "peak_mb"):
        print(f"{name:20}" + "".join(f"{results[tasks][name]:12,.0f}" for tasks in sizes))
    figures |= {
        f"{name.replace(' ', '_').replace('-', '_')}_cpu_s": round(row[1], 3) for name, row in rows.items()
    }
    figures |= {f"peak_{tasks}_mb": round(results[tasks]["peak_mb"]) for tasks in sizes}
    figures["update_ms"] = round(update(), 2)
    print(f"{'one task anew':20}{figures['update_ms']:12.2f} ms")

    share = 300 if options.quick else 1_000
    spent, difference = peers(share)
    ours, ratios = rows["metrics"][1], {}
    for name, seconds in spent.items():
        scaled = seconds * TASKS / share
        print(f"{name:20}{scaled:12.3f} CPU s for {TASKS:,} tasks, from {share:,} measured")
        ratios[PEERS[name]] = round(scaled / ours, 1)
        figures[f"{PEERS[name]}_cpu_s"] = round(scaled, 2)
    print(f"our Label Studio IoU differs from the formula's by at most {difference:.1g}")
    ratios = {"fastest_peer": min(ratios.values()), **ratios}
    same = spent["label studio's IoU"] * TASKS / share / rows["our label studio IoU"][1]
    ratios["label_studio_iou_for_the_same_figure"] = round(same, 1)
    ratios |= {
        f"growth_{name}_{sizes[k + 1] // 1000}k": round(rows[name][k + 1] / rows[name][k], 1)
        for name in ("parse", "metrics")
        for k in range(len(sizes) - 1)
    }
    close("consensus", figures, ratios, resource.RUSAGE_CHILDREN)


if __name__ == "__main__":
    main()
