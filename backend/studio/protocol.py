"""What Label Studio says to an ML backend and to a webhook, and what it hears back.

Requests are pydantic models that ignore keys they do not know; a webhook's body becomes events for the
durable inbox: small, without secrets, and with a key that makes a second delivery harmless. Label Studio
signs nothing, numbers nothing and sends nothing twice on purpose, but one change reaches every webhook
of the project, and an ML backend's own webhook is one of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from pool.schema import BadInput, Event

Json = dict[str, Any]

CHANGED: Final = frozenset({"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"})
"""Actions whose events carry one annotation as it now is."""
DELETED: Final = frozenset({"ANNOTATIONS_DELETED", "ANNOTATION_DELETED"})
"""Actions whose events carry the id of an annotation that is gone."""
START_TRAINING: Final = "START_TRAINING"
UNKNOWN_PROJECT: Final = 0

SECRETS: Final = frozenset({
    "token", "access_token", "refresh_token", "api_key", "password", "secret", "authorization",
    "task_data_login", "task_data_password", "basic_auth_user", "basic_auth_pass", "headers",
})  # fmt: skip
"""Keys that never reach the inbox: a project's payload holds the organization's invite token."""
TASK_KEYS: Final = ("id", "data", "meta", "project", "overlap", "is_labeled", "updated_at")


class Body(BaseModel):
    """A request of Label Studio; unknown keys are dropped."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, protected_namespaces=())


class SetupRequest(Body):
    """``POST /setup``: sent after every health check, so at each page that shows the project.

    ``project`` is ``<id>.<seconds since the epoch of its creation>``. ``access_token`` is the legacy
    token of the project's creator even where legacy tokens are off, and is not used here.
    """

    project: str | int
    label_config: str = Field(default="", alias="schema")
    hostname: str = ""
    access_token: SecretStr | None = None
    extra_params: Any = None

    @property
    def project_id(self) -> int:
        """The project's id."""
        return project_id(self.project)


class TaskBody(Body):
    """A task inside ``/predict``; image addresses in ``data`` are as stored, never presigned."""

    id: int
    data: Json = Field(default_factory=dict)
    meta: Json | None = None
    is_labeled: bool = False
    overlap: int = 1


class Params(Body):
    """``context`` holds what an annotator draws with a smart tool; None for plain predictions."""

    context: Json | None = None


class PredictRequest(Body):
    """``POST /predict``: all tasks of one request, at once, whatever their number."""

    tasks: list[TaskBody]
    project: str | int | None = None
    label_config: str = ""
    params: Params = Field(default_factory=Params)

    @property
    def project_id(self) -> int | None:
        """The project's id, None where Label Studio did not say."""
        return None if self.project in (None, "") else project_id(self.project)

    @property
    def context(self) -> list[Json] | None:
        """Result items of an interactive request; None for a plain one."""
        if self.params.context is None:
            return None
        items = self.params.context.get("result")
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


class WebhookRequest(BaseModel):
    """``POST /webhook``: an action and what it is about; new actions are no error."""

    model_config = ConfigDict(extra="allow")

    action: str = ""

    def events(self, received: datetime | None = None) -> list[Event]:
        """The body as events; see :func:`events`."""
        return events(self.model_dump(), received)


def project_id(text: str | int | None) -> int:
    """``"7.1795373660"`` (or 7) is project 7. Raises BadInput otherwise."""
    head = str(text).partition(".")[0]
    if not (head.isascii() and head.isdigit()):
        raise BadInput("project", "a project id such as '7.1795373660'", text)
    return int(head)


# ---- answers


def health(version: str | None) -> Json:
    """Answer to ``GET /health``, due within one second; ``version`` is None before there is a model."""
    return {"status": "UP", "model_class": "thresher", "model_version": version}


def setup(version: str) -> Json:
    """Answer to ``POST /setup``, due within three seconds; every prediction must carry this version."""
    return {"model_version": version}


def versions(known: Sequence[str]) -> Json:
    """Answer to ``GET /versions``."""
    return {"versions": list(known)}


def predictions(tasks: Sequence[TaskBody], found: Mapping[int, Mapping[str, Any]], version: str) -> Json:
    """Answer to ``POST /predict``: one result for each task, in the order asked.

    ``found`` holds prediction items by task id (as from ``convert.prediction_item``). A task without one
    gets an empty prediction of score 0, which asks a person: one result too few and Label Studio
    stores none at all. All carry ``version``, since it stores others again at every call.
    """
    empty: Json = {"result": [], "score": 0.0}
    answers = [found.get(task.id, empty) for task in tasks]
    return {
        "model_version": version,
        "results": [
            {"result": item["result"], "score": item["score"], "model_version": version} for item in answers
        ],
    }


# ---- events


def events(body: Mapping[str, Any], received: datetime | None = None) -> list[Event]:
    """A webhook's body as events for the inbox, in its order.

    Annotations come one per event, whatever the action: ``body`` is ``{"annotation": {…}, "task": {…}}``
    for :data:`CHANGED`, ``{"annotation": {"id": …}}`` for :data:`DELETED`. Other actions keep ``project``
    (without its secrets) and what else they carry, tasks in short. The key is action, annotation and
    its ``updated_at``, otherwise a hash of the body. ``START_TRAINING`` may be meant twice with equal
    bodies, so its key holds the minute of ``received`` (default: now) as well.

    Raises BadInput if the body is no object with an action.
    """
    action = body.get("action") if isinstance(body, Mapping) else None
    if not isinstance(action, str) or not action:
        got = sorted(map(str, body)) if isinstance(body, Mapping) else type(body).__name__
        raise BadInput("webhook", "an object with an action", got)
    project = _project_of(body)
    if action in CHANGED:
        pairs = list(_annotated(body))
        if pairs:
            return [_changed(action, project, annotation, task) for annotation, task in pairs]
    if action in DELETED:
        gone = _ids(body.get("annotations")) or _ids(body.get("annotation"))
        if gone:
            return [_deleted(action, project, number) for number in gone]
    return [_other(action, project, body, received or datetime.now(UTC))]


def stripped(value: Any) -> Any:
    """A copy of JSON without the values of :data:`SECRETS`, at any depth."""
    if isinstance(value, Mapping):
        return {str(key): stripped(item) for key, item in value.items() if str(key).lower() not in SECRETS}
    return [stripped(item) for item in value] if isinstance(value, list) else value


def _changed(action: str, project: int, annotation: Json, task: Json) -> Event:
    number, stamp = annotation["id"], annotation.get("updated_at") or _digest(annotation)
    return Event(
        key=f"{action}:{number}:{stamp}",
        project=project or _project_of(annotation),
        action=action,
        body={"annotation": annotation, "task": _short(task)},
    )


def _deleted(action: str, project: int, number: int) -> Event:
    return Event(f"{action}:{number}", project, action, {"annotation": {"id": number}})


def _other(action: str, project: int, body: Mapping[str, Any], received: datetime) -> Event:
    kept = {key: value for key, value in body.items() if key not in ("tasks", "task", "annotation")}
    rest: Json = stripped(kept)
    tasks = body.get("tasks")
    if isinstance(tasks, list):
        rest["tasks"] = [_short(task) for task in tasks if isinstance(task, Mapping)]
    key = f"{action}:{_digest(rest)}"
    if action == START_TRAINING or rest.keys() <= {"action"}:
        key += f":{received.astimezone(UTC):%Y-%m-%dT%H:%M}"
    return Event(key, project, action, rest)


def _annotated(body: Mapping[str, Any]) -> Iterator[tuple[Json, Json]]:
    """Each annotation of the body with its task; one change sends objects, a bulk action lists."""
    tasks = {_id(task): task for task in _listed(body.get("task"))}
    for annotation in _listed(body.get("annotation")):
        if _id(annotation) is not None:
            number = _id({"id": annotation.get("task")})
            yield annotation, tasks.get(number, {"id": number})


def _short(task: Mapping[str, Any]) -> Json:
    return {key: task[key] for key in TASK_KEYS if key in task}


def _project_of(body: Mapping[str, Any]) -> int:
    project = body.get("project")
    return _id(project if isinstance(project, Mapping) else {"id": project}) or UNKNOWN_PROJECT


def _ids(value: object) -> list[int]:
    return [number for item in _listed(value) if (number := _id(item)) is not None]


def _id(value: Mapping[str, Any]) -> int | None:
    found = value.get("id")
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _listed(value: object) -> list[Json]:
    items = value if isinstance(value, list) else [value]
    return [dict(item) for item in items if isinstance(item, Mapping)]


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
