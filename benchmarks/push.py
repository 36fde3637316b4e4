"""How fast predictions get into Label Studio: our push against its own "Retrieve predictions" action.

Both store the same boxes for the same tasks on the same server in the same run. The action asks an ML
backend that answers at once from memory, so its time is Label Studio's own; ours is the whole push, from
the ledger over reading back what was stored to the version switch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402

from backend.demo.server import LabelStudioServer, free_port, migrated_template  # noqa: E402
from backend.studio.client import Studio  # noqa: E402
from backend.studio.convert import prediction_item  # noqa: E402
from backend.studio.push import push  # noqa: E402
from benchmarks.closing import close  # noqa: E402
from pool.schema import Box, ModelVersion, Prediction, Project, Region, Sample, Task  # noqa: E402
from pool.store import Pool  # noqa: E402
from tests.live.receiver import Receiver  # noqa: E402

LABELS = ("未满溢的垃圾桶", "满溢的垃圾桶", "garbage")
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    + "".join(f'<Label value="{label}"/>' for label in LABELS)
    + "</RectangleLabels></View>"
)
BOXES = 5
# With this setting, which `deploy/compose.yaml` has, Label Studio counts the predictions of the tasks in a
# request again, not those of the whole project.
COUNTERS = {"fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short": "true"}
VERSION, RIVAL, NEXT = "bench-1", "retrieved", "bench-2"


def predictions(tasks: Sequence[Task], version: str) -> list[Prediction]:
    """Five boxes in each image."""
    return [
        Prediction(
            sample=task.sample,
            model_version=version,
            regions=tuple(
                Region(LABELS[b % 3], Box(0.1 * b, 0.1, 0.1 * b + 0.2, 0.4), score=0.9 - 0.1 * b)
                for b in range(BOXES)
            ),
            classes=LABELS,
            uncertainty=n / len(tasks),
            measure="entropy",
        )
        for n, task in enumerate(tasks)
    ]


def fill(studio: Studio, pool: Pool, count: int) -> tuple[Project, list[Task]]:
    """A project with tasks in Label Studio and in the ledger."""
    made = int(studio.create_project("Bench", CONFIG)["id"])
    project = Project(made, "Bench", "label", "image", "image", LABELS, {}, "secret")
    pool.save_project(project)
    uris = [f"http://127.0.0.1/{n}.jpg" for n in range(count)]
    ids = studio.import_tasks(made, [{"image": uri} for uri in uris])
    keys = [f"{n:064x}" for n in range(count)]
    pool.add_samples([Sample(k, 1280, 720, f"{n}.jpg", k, n, k, holdout=False) for n, k in enumerate(keys)])
    pool.bind_tasks([Task(made, i, k, uri) for i, k, uri in zip(ids, keys, uris, strict=True)])
    return project, pool.tasks(made)


def retrieve(studio: Studio, project: int, tasks: Sequence[Task]) -> float:
    """Seconds of Label Studio's own action for these tasks; all of them must hold a row afterwards."""
    began = time.perf_counter()
    httpx.post(
        f"{studio.url}/api/dm/actions/",
        params={"id": "retrieve_tasks_predictions", "project": project},
        json={"selectedItems": {"all": False, "included": [task.id for task in tasks]}},
        headers=studio.headers(),
        timeout=1800,
    ).raise_for_status()
    spent = time.perf_counter() - began
    assert studio.predicted(project, RIVAL).keys() == {task.id for task in tasks}
    return spent


def pushed(
    studio: Studio, pool: Pool, project: Project, tasks: Sequence[Task], version: str
) -> tuple[float, float]:
    """Seconds of a whole push, and until every task held the version; each must hold exactly one row."""
    version = f"{version}-p{project.id}"
    pool.add_model(ModelVersion(version, project.id, f"{version}.pt", version, LABELS, datetime.now(UTC)))
    pool.save_predictions(predictions(tasks, version))
    filled: list[float] = []

    def tell(done: int, total: int) -> None:
        if done == total:
            filled.append(time.perf_counter())

    began = time.perf_counter()
    report = push(studio, pool, project, version, on_progress=tell)
    spent = time.perf_counter() - began
    stored = studio.predicted(project.id, version)
    assert report.switched
    assert stored.keys() == {task.id for task in tasks}
    assert all(len(rows) == 1 for rows in stored.values())
    return spent, filled[0] - began


def bare(studio: Studio, pool: Pool, count: int) -> float:
    """Seconds of the import requests alone: Label Studio's own limit for rows that go in by its API."""
    project, tasks = fill(studio, pool, count)
    items = [
        prediction_item(task.id, prediction, project, (1280, 720))
        for prediction, task in zip(predictions(tasks, VERSION), tasks, strict=True)
    ]
    began = time.perf_counter()
    assert studio.import_predictions(project.id, items) == count
    return time.perf_counter() - began


def rival(studio: Studio, pool: Pool, asked: int) -> float:
    """Seconds of the retrieve action in a project of its own."""
    project, tasks = fill(studio, pool, asked)
    with Receiver(RIVAL) as backend:
        for prediction, task in zip(predictions(tasks, RIVAL), tasks, strict=True):
            item = prediction_item(task.id, prediction, project, (1280, 720))
            backend.answers[task.id] = {"result": item["result"], "score": item["score"]}
        entry = studio.create_backend(project.id, backend.url, "rival")
        seconds = retrieve(studio, project.id, tasks)
        studio.delete_backend(int(entry["id"]))
    for hook in studio.webhooks(project.id):
        studio.delete_webhook(int(hook["id"]))
    return seconds


def ours(studio: Studio, pool: Pool, count: int, *, again: bool) -> dict[str, float]:
    """Seconds of a push and of one that finds everything there; with ``again``, of the next version too."""
    project, tasks = fill(studio, pool, count)
    seconds = {"push_s": pushed(studio, pool, project, tasks, VERSION)[0]}
    began = time.perf_counter()
    repeated = push(studio, pool, project, f"{VERSION}-p{project.id}")
    seconds["nothing_to_push_s"] = time.perf_counter() - began
    assert (repeated.held, repeated.pushed) == (count, 0)
    if again:
        # After the switch the old version is removed, slowly, so that people can go on saving.
        whole, filled = pushed(studio, pool, project, tasks, NEXT)
        seconds |= {"next_version_s": filled, "old_version_removed_s": whole - filled}
        assert studio.prediction_counts(project.id) == {f"{NEXT}-p{project.id}": count}
    return seconds


@contextmanager
def server(settings: Mapping[str, str] | None = None) -> Iterator[tuple[Studio, Pool]]:
    """A fresh Label Studio and an empty ledger."""
    template = migrated_template(ROOT / ".cache" / "labelstudio")
    with (
        tempfile.TemporaryDirectory() as name,
        LabelStudioServer(Path(name) / "studio", free_port(), template, settings) as running,
        Studio(running.url, running.admin.token) as studio,
        Pool.open(f"sqlite:///{name}/pool.sqlite") as pool,
    ):
        yield studio, pool


def grown(counts: Sequence[int], settings: Mapping[str, str] | None) -> dict[int, float]:
    """Rows per second of a push into pools of these sizes."""
    with server(settings) as (studio, pool):
        return {n: n / ours(studio, pool, n, again=False)["push_s"] for n in counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 pushed, 60 retrieved: under 45 seconds")
    quick = parser.parse_args().quick
    count, asked = (300, 60) if quick else (1000, 1000)
    with server() as (studio, pool):
        seconds = {"retrieve_s": rival(studio, pool, asked), "bare_import_s": bare(studio, pool, count)}
        seconds |= ours(studio, pool, count, again=not quick)
    figures = {key: round(value, 3) for key, value in seconds.items()} | {
        "pushed": count,
        "retrieved": asked,
        "push_rows_per_s": round(count / seconds["push_s"], 1),
        "retrieve_rows_per_s": round(asked / seconds["retrieve_s"], 1),
    }
    if not quick:
        for name, settings in (("", None), ("_one_pass_counters", COUNTERS)):
            for n, speed in grown((1000, 2000, 4000), settings).items():
                figures[f"push_rows_per_s_of_{n}{name}"] = round(speed, 1)
    for key, value in figures.items():
        print(f"{key:44} {value:10}")
    close(
        "push",
        figures,
        {
            "push_to_retrieve": round(figures["push_rows_per_s"] / figures["retrieve_rows_per_s"], 1),
            "push_to_bare_import": round(seconds["bare_import_s"] / seconds["push_s"], 2),
        },
    )


if __name__ == "__main__":
    main()
