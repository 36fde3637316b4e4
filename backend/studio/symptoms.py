"""What can be wrong between a project and this service, judged from what was read: pure functions.

Most of it fails without a message in Label Studio: a webhook that is gone, a queue that turned random, a
score column that is empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from backend.studio import hooks
from backend.studio.connect import UNCERTAINTY, WAYS_OUT
from backend.studio.labeling import LabelingConfig, parse
from pool.schema import ModelVersion, Project, ThresherError

Json = dict[str, Any]
State = Literal["ok", "warning", "problem"]

CONNECT: Final = "Run `thresher connect {0}`; what people made stays."
PUSH: Final = "Run `thresher prelabel`, which pushes as well; `thresher status` shows how far it is."
ORDER: Final = (
    "Run `thresher connect {0}`, which sets it through the API (Label Studio's page marks it as "
    "Enterprise, Community obeys all the same)."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw. ``fix`` says what to do about a ``warning`` or ``problem``; empty for ``ok``."""

    check: str
    state: State
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the checks look at, read once. ``held`` has the served version's rows by task."""

    project: Project
    now: Mapping[str, Any]
    hooks: Sequence[Json]
    backends: Sequence[Json]
    counts: Mapping[str, int]
    held: Mapping[int, Sequence[int]]
    champion: ModelVersion | None
    known_tasks: int
    backend_url: str

    @property
    def served(self) -> str:
        """The model version, or backend title, that the project is set to."""
        return str(self.now["model_version"] or "")

    @property
    def backend(self) -> Json | None:
        """Label Studio's entry of this service."""
        return next((b for b in self.backends if hooks.same(str(b["url"]), self.backend_url)), None)


def ok(check: str, detail: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", detail)


def warning(check: str, detail: str, fix: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(check, "warning", detail, fix)


def problem(check: str, detail: str, fix: str) -> Finding:
    """Something does not work."""
    return Finding(check, "problem", detail, fix)


def config(seen: Seen) -> Iterator[Finding]:
    """The labeling config, as it is now and as it was when the project was connected."""
    try:
        found = parse(str(seen.now["label_config"]), seen.project.control)
    except ThresherError as error:
        yield problem(
            "labeling config", str(error), "Mend it in Label Studio: Settings, Labeling Interface."
        )
        return
    labels = tuple(label.value for label in found.labels)
    if (found.image_tag, found.image_key) != (seen.project.image_tag, seen.project.image_key) or (
        labels != seen.project.labels
    ):
        detail = f"changed since the project was connected; its labels are now {', '.join(labels)}"
        yield problem("labeling config", detail, CONNECT.format(seen.project.id))
    elif not found.shows_why:
        fix = 'Add <Header value="$why"/> in Settings, Labeling Interface.'
        yield warning("labeling config", "annotators do not see why they are asked", fix)
    else:
        yield ok("labeling config", f"boxes by {found.control!r} on {found.image_key!r}")
    yield from _labels(seen, found)


def _labels(seen: Seen, found: LabelingConfig) -> Iterator[Finding]:
    if seen.champion is None:
        yield problem("label map", "the project has no model", CONNECT.format(seen.project.id))
        return
    labels = [label.value for label in found.labels]
    means = {
        name: name if name in labels else seen.project.label_map.get(name) for name in seen.champion.classes
    }
    met = {label for label in means.values() if label in labels}
    unmet = [label for label in labels if label not in met]
    if not met:
        fix = (
            'Name them in the config, as in <Label value="car" predicted_values="automobile,truck"/>, and '
            "connect again."
        )
        detail = f"no class of {seen.champion.version} ({', '.join(seen.champion.classes)}) means a label"
        yield problem("label map", detail, fix)
    elif unmet:
        fix = "Nothing, if it shall learn them: label some and run `thresher round learn`."
        yield warning("label map", f"{seen.champion.version} does not know {', '.join(unmet)} yet", fix)
    else:
        yield ok(
            "label map", ", ".join(f"{name} = {label}" for name, label in means.items() if label in labels)
        )


def backend(seen: Seen) -> Iterator[Finding]:
    """The project's ML backends: ours must be there, and be the first."""
    ours = seen.backend
    if ours is None:
        detail = f"the project has no entry for {seen.backend_url}"
        others = ", ".join(str(each["url"]) for each in seen.backends)
        if others:
            detail += f", only for {others}"
        yield problem("ML backend", detail, CONNECT.format(seen.project.id))
    elif ours["state"] != "CO":
        reason = f": {ours['error_message']}" if ours.get("error_message") else ""
        yield problem(
            "ML backend",
            f"Label Studio says {ours.get('readable_state', ours['state'])} of {ours['url']}{reason}",
            "Start the service (`thresher serve`). If it runs, Label Studio's machine or container does "
            "not reach this address: set THRESHER_BACKEND_URL to one it does; if the address is private, "
            f"{WAYS_OUT}.",
        )
    else:
        yield ok("ML backend", f"connected at {ours['url']}")
    if len(seen.backends) > 1:
        first = seen.backends[0]
        yield warning(
            "several ML backends",
            f"Label Studio asks only the first for predictions: {first['title']} at {first['url']}",
            "Remove the others in Settings, Model, and after that their webhooks in Settings, Webhooks.",
        )


def webhook(seen: Seen) -> Iterator[Finding]:
    """The webhook that brings people's work, and those that only cost time."""
    found = hooks.find(seen.hooks, seen.backend_url)
    if not found:
        detail = "there is none to this service: what people do arrives only by polling"
        yield problem(
            "webhook", detail, f"{CONNECT.format(seen.project.id)} If that is blocked, {WAYS_OUT}."
        )
    else:
        wrong = hooks.differences(found[0], seen.project.secret)
        if wrong:
            yield problem("webhook", "; ".join(wrong.values()), CONNECT.format(seen.project.id))
        else:
            yield ok("webhook", f"{found[0]['url']} with secret and all events")
    doubles = [each for each in found[1:] if each["is_active"]]
    if doubles:
        detail = f"{len(doubles) + 1} active ones reach this service; each delays every submit"
        yield warning("double webhooks", detail, CONNECT.format(seen.project.id))
    reached = [hooks.address(str(each["url"])) for each in seen.backends] + [
        hooks.address(seen.backend_url)
    ]
    stale = [
        str(each["url"])
        for each in seen.hooks
        if each["is_active"]
        and str(each["url"]).rstrip("/").endswith("/webhook")
        and not any(hooks.same(str(each["url"]), known) for known in reached)
    ]
    if stale:
        yield warning(
            "stale webhooks",
            f"{', '.join(stale)}: their ML backend is gone, but each may delay every submit by a second",
            "Delete them in Settings, Webhooks, if nothing else listens there.",
        )


def queue(seen: Seen) -> Iterator[Finding]:
    """Whether people meet the most uncertain image first."""
    if seen.now["sampling"] == UNCERTAINTY:
        yield ok("queue order", "most uncertain first")
    else:
        yield warning("queue order", f"{seen.now['sampling']}", ORDER.format(seen.project.id))
    overlap = int(seen.now["maximum_annotations"])
    if overlap > 1:
        yield warning(
            "annotations per task",
            f"{overlap}: Label Studio serves tasks that others began, at random, before uncertain ones",
            "Set maximum_annotations back to 1 through the API; second opinions are asked task by task.",
        )
    if int(seen.now["min_annotations_to_start_training"]) > 0:
        yield warning(
            "training on submit",
            "it delays the person who submits, and also counts skips and edits",
            "Switch it off in Settings, Model; thresher counts labels itself.",
        )
    if not seen.now["show_collab_predictions"]:
        fix = "Settings, Annotation: switch on 'Use predictions to prelabel tasks'."
        yield warning("shown predictions", "people do not see the model's boxes", fix)
    yield ok(
        "task locks",
        "a task stays with whoever opened it for LABEL_STUDIO_TASK_LOCK_TTL seconds (a day unless set; "
        "3600 is better), which cannot be read from outside",
    )


def served(seen: Seen) -> Iterator[Finding]:
    """Whether the project serves the champion's predictions, and whether every task has one."""
    total, version = int(seen.now["task_number"]), seen.served
    champion = seen.champion.version if seen.champion else None
    if not total:
        yield ok("served version", "the project has no tasks yet")
        return
    if not seen.counts.get(version):  # Label Studio lists what is set, too, with a count of 0
        title = any(version == each["title"] for each in seen.backends)
        what = f"{version!r}, an ML backend's title," if title else repr(version)
        yield problem(
            "served version",
            f"the project is set to {what} and not to a version that has predictions: order is random, "
            "the score column empty",
            PUSH,
        )
        return
    if version != champion:
        detail = f"{version} is served, the champion is {champion}"
        yield warning("served version", detail, PUSH)
    else:
        yield ok("served version", f"{version}, the champion")
    without = total - len(seen.held)
    if without > 0:
        yield problem(
            "coverage",
            f"{without} of {total} tasks have no prediction of {version}: Label Studio serves them to "
            "nobody while another task has one",
            PUSH,
        )
    else:
        yield ok("coverage", f"all {total} tasks have a prediction of {version}")
    doubles = sum(len(rows) > 1 for rows in seen.held.values())
    if doubles:
        yield warning("double predictions", f"{doubles} tasks hold {version} more than once", PUSH)
    if total > seen.known_tasks:
        yield warning("new tasks", f"{total - seen.known_tasks} tasks are not in the pool yet", PUSH)


CHECKS: Final = (config, backend, webhook, queue, served)
