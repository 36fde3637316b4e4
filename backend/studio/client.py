"""Label Studio's REST API in the words of this project, measured on Community 1.23.

Why plain HTTP and not the SDK's ``LabelStudio`` object: importing it costs 2.6 s and 160 MB in every
process (1800 modules, pandas among them), it repeats POSTs by default, and its models follow Enterprise.
What only the SDK has is the validator that Label Studio itself runs, and :meth:`Studio.refusals` uses it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

from backend.studio import listing, uploads
from backend.studio.transport import SLOW, Refusal, Transport
from pool.schema import StudioError

log = logging.getLogger("thresher.studio")

Json = dict[str, Any]
T = TypeVar("T")

CHUNK: Final = 500
"""Predictions, tasks or ids in one request."""
ANSWERS: Final = (
    "id", "data", "updated_at", "draft_exists", "annotations", "predictions",
    "result", "completed_by", "created_at", "was_cancelled", "ground_truth", "lead_time",
    "parent_prediction", "task", "project",
)  # fmt: skip
"""Fields for ``only`` that tell what people answered and what they saw; in half the time of all fields."""


class Studio:
    """A Label Studio server and one user's token; usable from many threads at once.

    Nothing is sent before the first call. Every failure is a StudioError that names the call and the fix;
    an answer that says no is a :class:`backend.studio.transport.Refusal` with its ``status``. Calls that
    change anything are sent once.
    """

    def __init__(self, url: str, api_key: str, *, timeout: float = 60.0) -> None:
        self._net = Transport(url, api_key, timeout)
        self.url = self._net.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Studio({self.url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._net.close()

    def headers(self) -> dict[str, str]:
        """Headers that authorise a request to this server; fresh at each call, for :mod:`.media`."""
        return self._net.headers()

    # ---- the server and its people

    def version(self) -> str:
        """The release, such as ``1.23.2``."""
        return str(self._net.call("GET", "/api/version")["release"])

    def me(self) -> Json:
        """The token's user: ``id``, ``email``, ``active_organization`` and more."""
        return self._net.one("GET", "/api/current-user/whoami")

    def users(self) -> dict[str, str]:
        """Display name by user id (as text) of everybody in the organization."""
        return {str(user["id"]): _display_name(user) for user in self.members()}

    def members(self) -> list[Json]:
        """Everybody in the organization: ``id``, ``email``, names; who was removed is called Deleted."""
        return self._net.many("/api/users/")

    def create_user(self, email: str, /, **fields: Any) -> Json:
        """A new member of the organization without any password, so that nobody can log in as them.

        ``fields`` are ``username`` (required), ``first_name`` and ``last_name``.
        """
        return self._net.one("POST", "/api/users/", body={"email": email, **fields})

    # ---- projects

    def project(self, project: int) -> Json:
        """One project with all its settings."""
        return self._net.one("GET", f"/api/projects/{project}/")

    def find_projects(self, title: str) -> list[Json]:
        """Projects with exactly this title, oldest first."""
        found: list[Json] = []
        page = 1
        while True:
            answer = self._net.one(
                "GET", "/api/projects/", {"title": title, "page": page, "page_size": 100}
            )
            found += answer["results"]
            if not answer.get("next"):
                break
            page += 1
        return sorted((p for p in found if p["title"] == title), key=lambda p: int(p["id"]))

    def create_project(self, title: str, config: str, **fields: Any) -> Json:
        """A new project; ``title`` has 3 to 50 characters, ``config`` is the labeling config's XML."""
        return self._net.one(
            "POST", "/api/projects/", body={"title": title, "label_config": config, **fields}
        )

    def update_project(self, project: int, /, **fields: Any) -> Json:
        """Change settings, such as ``sampling``, ``model_version`` or ``label_config``."""
        return self._net.one("PATCH", f"/api/projects/{project}/", body=fields)

    # ---- tasks

    def tasks(self, project: int, page_size: int = 100, *, only: Sequence[str] = ()) -> Iterator[Json]:
        """Every task with its annotations and predictions, ordered by id, each exactly once.

        Pages are cut by id and not by number, so tasks that come or go meanwhile move no other. Image
        addresses are as stored (``s3://`` stays), not as the browser sees them. ``only`` names the fields
        wanted, of tasks and of their annotations alike (see :data:`ANSWERS`); predictions come whole.
        """
        yield from listing.by_id(self._net, project, page_size, _fields(only))

    def tasks_since(
        self, project: int, since: datetime, page_size: int = 100, *, only: Sequence[str] = ()
    ) -> Iterator[Json]:
        """Tasks touched at or after ``since`` (aware), the newest first, each once, then stops.

        Creating, changing and deleting an annotation touches its task; predictions do not. Take the time
        for the next call before this one starts: what changes while it runs belongs to the next.
        """
        yield from listing.newest(self._net, project, since, page_size, _fields(only))

    def task(self, task: int) -> Json:
        """One task with annotations and predictions; ``completed_by`` is an object here.

        If the project has an ML backend and the task no prediction, Label Studio asks the backend first.
        """
        return self._net.one("GET", f"/api/tasks/{task}/", {"resolve_uri": "false"})

    def patch_task(self, task: int, /, **fields: Any) -> Json:
        """Change ``data``, ``meta``, ``overlap`` or ``is_labeled`` (``data`` is replaced as a whole)."""
        return self._net.one("PATCH", f"/api/tasks/{task}/", body=fields)

    def delete_tasks(self, project: int, ids: Sequence[int]) -> None:
        """Delete tasks of this project with all their annotations; unknown ids are no error."""
        for some in _chunks(ids, CHUNK):
            chosen = {"selectedItems": {"all": False, "included": list(some)}}
            params = {"id": "delete_tasks", "project": str(project)}
            self._net.call("POST", "/api/dm/actions/", params=params, body=chosen, timeout=SLOW)

    def next_task(self, project: int) -> Json | None:
        """What the label stream would show this user next; None when nothing is left.

        Label Studio locks the task for the user, as it does for a person.
        """
        try:
            return self._net.one("GET", f"/api/projects/{project}/next/")
        except Refusal as error:
            if error.status == 404 and "no tasks" in error.detail.lower():
                return None
            raise

    # ---- images and tasks in

    def upload(self, project: int, files: Sequence[tuple[str, bytes]]) -> list[str]:
        """Store images in Label Studio; their data addresses (``/data/upload/…``) in the order given.

        ``files`` are (name, bytes). No tasks are made. Raises StudioError for endings it does not
        take, such as ``.tif``.
        """
        return uploads.upload(self._net, project, files)

    def import_tasks(self, project: int, data: Sequence[Mapping[str, Any]]) -> list[int]:
        """Make tasks of these ``data`` objects; their ids in the same order.

        Raises StudioError, with nothing made of the failing chunk, if a key the config needs is missing.
        """
        ids: list[int] = []
        for some in _chunks(data, CHUNK):
            answer = self._net.one(
                "POST",
                f"/api/projects/{project}/import",
                {"return_task_ids": "true"},
                body=[{"data": dict(item)} for item in some],
                timeout=SLOW,
            )
            made = answer.get("task_ids")
            if not isinstance(made, list) or len(made) != len(some):
                raise StudioError(
                    f"POST /api/projects/{project}/import: expected {len(some)} task ids, got "
                    f"{answer.get('task_count')} tasks without them. Is this Community?"
                )
            ids += map(int, made)
        return ids

    # ---- predictions

    def prediction_counts(self, project: int) -> dict[str, int]:
        """How many predictions the project holds of each model version."""
        answer = self._net.one("GET", f"/api/projects/{project}/model-versions/")
        return {str(version): int(count) for version, count in answer.items()}

    def predicted(self, project: int, version: str) -> dict[int, list[int]]:
        """Ids of this version's predictions by task id, oldest first (several: pushed twice)."""
        found: dict[int, list[int]] = {}
        for item in self._net.many("/api/predictions/", {"project": project}, timeout=SLOW):
            if item["model_version"] == version:
                found.setdefault(int(item["task"]), []).append(int(item["id"]))
        return {task: sorted(ids) for task, ids in sorted(found.items())}

    def import_predictions(self, project: int, items: Sequence[Mapping[str, Any]]) -> int:
        """Add predictions in bulk; how many Label Studio says it made.

        An item is ``{task, result, score, model_version}``; other fields are dropped by Label Studio. It
        skips items its validator refuses, without a word: compare the count, ask :meth:`refusals` why.
        Nothing here is unique: the same item twice is two predictions.
        """
        made = 0
        for some in _chunks(items, CHUNK):
            try:
                answer = self._net.one(
                    "POST",
                    f"/api/projects/{project}/import/predictions",
                    body=[dict(item) for item in some],
                    timeout=SLOW,
                )
            except StudioError as error:
                if made:
                    error.add_note(f"{made} of {len(items)} predictions were made before this call.")
                raise
            made += int(answer["created"])
        if made != len(items):
            log.warning("project %d: sent %d predictions, Label Studio made %d", project, len(items), made)
        return made

    def refusals(self, config: str, items: Sequence[Mapping[str, Any]]) -> list[str]:
        """Why Label Studio skips some of these predictions, one line each, by the SDK's own validator.

        ``config`` is the project's labeling config. Slow to start: it imports the SDK (about 3 s).
        """
        from label_studio_sdk.label_interface.interface import LabelInterface

        interface = cast("Any", LabelInterface)(config)
        lines: list[str] = []
        for item in items:
            try:
                errors = interface.validate_prediction(dict(item), return_errors=True)
            except Exception as error:  # as Label Studio does around the same call
                errors = [str(error)]
            if isinstance(errors, list):
                lines += [f"task {item.get('task')}: {error}" for error in errors]
        return lines

    def patch_prediction(self, prediction: int, /, **fields: Any) -> Json:
        """Change one prediction; the only way to ``cluster``, ``neighbors`` and ``mislabeling``."""
        return self._net.one("PATCH", f"/api/predictions/{prediction}/", body=fields)

    def delete_predictions(self, project: int, version: str) -> None:
        """Delete all predictions of one version; clears the project's ``model_version`` if it was it."""
        if not version:
            raise StudioError("delete_predictions needs a version: an empty one would delete all of them.")
        path = f"/api/projects/{project}/model-versions/"
        self._net.call("DELETE", path, body={"model_version": version}, timeout=SLOW)

    def delete_prediction(self, prediction: int) -> None:
        """Delete one prediction."""
        self._net.call("DELETE", f"/api/predictions/{prediction}/")

    # ---- annotations

    def create_annotation(self, task: int, /, **fields: Any) -> Json:
        """Submit an annotation: ``result``, ``lead_time``, ``was_cancelled``…

        The token's user made it unless ``completed_by`` names another one. The same ``unique_id`` (a UUID)
        is refused the second time, with 409.
        """
        return self._net.one("POST", f"/api/tasks/{task}/annotations/", body=fields)

    def patch_annotation(self, annotation: int, /, **fields: Any) -> Json:
        """Change one annotation; ``ground_truth`` True takes the star from the task's others."""
        return self._net.one("PATCH", f"/api/annotations/{annotation}/", body=fields)

    def delete_annotation(self, annotation: int) -> None:
        """Delete one annotation and the drafts that people keep of it."""
        self._net.call("DELETE", f"/api/annotations/{annotation}/")

    def delete_annotations(self, project: int, tasks: Sequence[int], user: int) -> None:
        """Delete all annotations and drafts of one user on these tasks; far faster than one by one."""
        for some in _chunks(tasks, CHUNK):
            chosen = {"selectedItems": {"all": False, "included": list(some)}, "annotator": str(user)}
            params = {"id": "delete_tasks_annotations", "project": str(project)}
            self._net.call("POST", "/api/dm/actions/", params=params, body=chosen, timeout=SLOW)

    # ---- webhooks, ML backends, Data Manager tabs

    def webhooks(self, project: int) -> list[Json]:
        """The project's webhooks."""
        return self._net.many("/api/webhooks/", {"project": project})

    def create_webhook(self, project: int, url: str, **fields: Any) -> Json:
        """A new webhook of the project: ``actions``, ``headers``, ``send_for_all_actions``…"""
        return self._net.one("POST", "/api/webhooks/", body={"project": project, "url": url, **fields})

    def update_webhook(self, webhook: int, /, **fields: Any) -> Json:
        """Change a webhook. Its actions are always sent along: Label Studio empties them otherwise."""
        path = f"/api/webhooks/{webhook}/"
        if "actions" not in fields:
            fields["actions"] = self._net.one("GET", path)["actions"]
        return self._net.one("PATCH", path, body=fields)

    def delete_webhook(self, webhook: int) -> None:
        """Delete a webhook."""
        self._net.call("DELETE", f"/api/webhooks/{webhook}/")

    def backends(self, project: int) -> list[Json]:
        """The project's ML backends; Label Studio asks each for its health before it answers."""
        return self._net.many("/api/ml/", {"project": project})

    def create_backend(self, project: int, url: str, title: str, **fields: Any) -> Json:
        """Connect an ML backend; it must answer /health and /setup during this call."""
        body = {"project": project, "url": url, "title": title, **fields}
        return self._net.one("POST", "/api/ml/", body=body)

    def update_backend(self, backend: int, /, **fields: Any) -> Json:
        """Change an ML backend. ``url`` and ``project`` are always sent: Label Studio fails without.

        It checks the backend's health during this call with the credentials sent along, so a backend
        behind Basic auth needs ``auth_method``, ``basic_auth_user`` and ``basic_auth_pass`` each time.
        """
        path = f"/api/ml/{backend}"
        if not {"url", "project"} <= fields.keys():
            now = self._net.one("GET", path)
            fields = {"url": now["url"], "project": now["project"], **fields}
        return self._net.one("PATCH", path, body=fields)

    def delete_backend(self, backend: int) -> None:
        """Disconnect an ML backend; the webhook that Label Studio made for it stays."""
        self._net.call("DELETE", f"/api/ml/{backend}")

    def views(self, project: int) -> list[Json]:
        """The project's Data Manager tabs."""
        return self._net.many("/api/dm/views/", {"project": project})

    def create_view(self, project: int, data: Mapping[str, Any]) -> Json:
        """A new tab; ``data`` holds ``title``, ``filters``, ``ordering``, ``hiddenColumns``…"""
        return self._net.one("POST", "/api/dm/views/", body={"project": project, "data": dict(data)})

    def update_view(self, view: int, data: Mapping[str, Any]) -> Json:
        """Change a tab; keys of ``data`` that are not given stay as they are."""
        path = f"/api/dm/views/{view}/"
        now = self._net.one("GET", path)
        body = {"project": now["project"], "data": {**now["data"], **data}}
        return self._net.one("PATCH", path, body=body)


def _display_name(user: Mapping[str, Any]) -> str:
    full = f"{user.get('first_name') or ''} {user.get('last_name') or ''}".strip()
    return full or str(user.get("username") or user.get("email") or user["id"])


def _fields(only: Sequence[str]) -> dict[str, str]:
    return {"fields": "all", **({"include": ",".join(only)} if only else {})}


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
